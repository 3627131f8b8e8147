"""Vectors in a 6502's memory, and what takes several instructions: Python -> assembly text.

An int16 vector is two arrays, all low bytes and all high bytes, so that one index register reaches
256 numbers; an int8 vector is one array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Vector:
    """Where a row of numbers lies: label expressions of its low and, of int16, its high bytes."""

    low: str
    high: str
    size: int
    bits: int

    def at(self, offset: int) -> Vector:
        """The same from an element on."""
        if not offset:
            return self
        return Vector(f"{self.low}+{offset}", f"{self.high}+{offset}", self.size, self.bits)


def lines(*parts: str) -> str:
    """Text put together, empty parts left out."""
    return "\n".join(part.strip("\n") for part in parts if part)


def clear(name: str, size: int) -> str:
    """size bytes become 0; A is 0."""
    return lines("    lda #0", *(f"    sta {name}+{i}" for i in range(size)))


def copy(target: str, source: str, size: int) -> str:
    return lines(*(f"    lda {source}+{i}\n    sta {target}+{i}" for i in range(size)))


def set_word(target: str, value: str) -> str:
    """A word becomes a constant, an address mostly."""
    return f"    lda #<({value})\n    sta {target}\n    lda #>({value})\n    sta {target}+1"


def _fold(code: str, carry: str, target: str, source: str, sizes: tuple[int, int], up: int) -> str:
    size, source_size = sizes
    text = [f"    {carry}"]
    for i in range(up, size):
        operand = f"{source}+{i - up}" if i - up < source_size else "#0"
        text.append(f"    lda {target}+{i}\n    {code} {operand}\n    sta {target}+{i}")
    return lines(*text)


def add(target: str, source: str, size: int, source_size: int, up: int = 0) -> str:
    """target += source << 8 * up, an unsigned source of source_size bytes, modulo 2**(8 * size)."""
    return _fold("adc", "clc", target, source, (size, source_size), up)


def subtract(target: str, source: str, size: int, source_size: int, up: int = 0) -> str:
    """target -= source << 8 * up."""
    return _fold("sbc", "sec", target, source, (size, source_size), up)


def negate(target: str, size: int) -> str:
    """target = -target."""
    text = [f"    lda #0\n    sbc {target}+{i}\n    sta {target}+{i}" for i in range(size)]
    return lines("    sec", *text)


def add_constant(target: str, value: int, size: int) -> str:
    """target += value, modulo 2**(8 * size)."""
    data = (value % (1 << 8 * size)).to_bytes(size, "little")
    text = ["    clc"]
    text += [
        f"    lda {target}+{i}\n    adc #{b}\n    sta {target}+{i}" for i, b in enumerate(data)
    ]
    return lines(*text)


def add_to_word(target: str, value: str) -> str:
    """A word grows by a constant expression below 256 or of any size."""
    return (
        f"    clc\n    lda {target}\n    adc #<({value})\n    sta {target}\n"
        f"    lda {target}+1\n    adc #>({value})\n    sta {target}+1"
    )


def shift_right(name: str, size: int, amount: int) -> str:
    """A signed number of size bytes moves right by a constant, flooring."""
    text = []
    while amount >= 8:
        text += [f"    lda {name}+{i + 1}\n    sta {name}+{i}" for i in range(size - 1)]
        text.append(f"    asl\n    lda #0\n    adc #$ff\n    eor #$ff\n    sta {name}+{size - 1}")
        amount -= 8
    if amount > 4:  # to the left, then down by a byte: A has the bits above
        text.append(f"    lda {name}+{size - 1}\n    asl\n    lda #0\n    adc #$ff\n    eor #$ff")
        for _ in range(8 - amount):
            text.append(f"    asl {name}")
            text += [f"    rol {name}+{i}" for i in range(1, size)]
            text.append("    rol")
        text.append("    pha")
        text += [f"    lda {name}+{i + 1}\n    sta {name}+{i}" for i in range(size - 1)]
        text.append(f"    pla\n    sta {name}+{size - 1}")
        amount = 0
    for _ in range(amount):
        text.append(f"    lda {name}+{size - 1}\n    asl")
        text += [f"    ror {name}+{i}" for i in reversed(range(size))]
    return lines(*text)


def shift_left(name: str, size: int, amount: int) -> str:
    """A number of size bytes moves left by a constant."""
    text = []
    for _ in range(amount):
        text.append(f"    asl {name}")
        text += [f"    rol {name}+{i}" for i in range(1, size)]
    return lines(*text)


def load(vector: Vector, target: str, index: str = "x") -> str:
    """The element at an index register becomes a word in the zero page."""
    if vector.bits == 16:
        return (
            f"    lda {vector.low},{index}\n    sta {target}\n"
            f"    lda {vector.high},{index}\n    sta {target}+1"
        )
    return (
        f"    lda {vector.low},{index}\n    sta {target}\n"
        f"    ora #$7f           ; $ff where negative\n    bmi *+4            ;@ p=0.5\n"
        f"    lda #0\n    sta {target}+1"
    )


def store_saturated(vector: Vector, size: int, index: str = "x") -> str:
    """The signed `total` of so many bytes, saturated, becomes the element at an index register."""
    text = f"    jsr saturate_{vector.bits}_{size}\n    lda total\n    sta {vector.low},{index}"
    if vector.bits == 16:
        text += f"\n    lda total+1\n    sta {vector.high},{index}"
    return text


def each(name: str, size: int, body: Callable[[int], str]) -> str:
    """Loops over all elements, X counting within 256 of them; body gets the place of the first."""
    text = []
    for start in range(0, size, 256):
        n = min(256, size - start)
        end = "" if n == 256 else f"    cpx #{n}\n"
        text.append(
            f"{name}{f'_{start}' if start else ''}:\n    ldx #0\n_element:\n"
            f"{body(start)}\n    inx\n{end}    bne _element       ;@ times {n}"
        )
    return lines(*text)
