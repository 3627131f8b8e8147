"""rms_norm to int8 whose gain is one power of two: four products an element -> assembly text.

As fast_norm.py, of which it has the measure, the reciprocal and the products; then

    x * r >> 15 + shift = (X * r - 32768 r) >> 15 + shift,  X = x + 32768, saturated to int8.

What bounds it: four products of two bytes at 25 cycles and their sums, about 220 an element; the
measure 65 an element; root and reciprocal 900.

Exact for any vector of 128 elements at most, a power of two; pre_shift 4, root_shift 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import fast_norm
from anachron.kernels.mos6502.instructions import Vector, lines

SHIFTS = range(9)


@dataclass(frozen=True)
class Shape:
    """What the routine is made for; shift: after the 15, bits: of the reciprocal's dividend."""

    size: int
    shift: int
    bits: int

    @property
    def name(self) -> str:
        return f"norm8_{self.size}_{self.shift}_{self.bits}"


def applicable(size: int, gain: Array, attributes: dict) -> str:
    """Why this kernel cannot do a norm, or nothing."""
    first = int(gain[0])
    if (gain != first).any() or first < 1 or first & (first - 1):
        return "its gains are not one power of two"
    if find_shift(gain, attributes) not in SHIFTS:
        return "its shifts"
    return fast_norm.applicable(size, gain, {**attributes, "gain_shift": 0})


def find_shift(gain: Array, attributes: dict) -> int:
    """What is left of a gain_shift when the gain has been taken off."""
    shift: int = attributes["gain_shift"] - (int(gain[0]).bit_length() - 1)
    return shift


def routine(shape: Shape) -> str:
    """`<name>`: source_low, source_high point at x; a call has patched the rest."""
    name = shape.name
    return lines(
        f"; {name}: rms_norm of {shape.size} words, int8; uses everything\n{name}:",
        fast_norm.reciprocal(name, shape.size, shape.bits),
        fast_norm.patch(name),
        f"    ldx #{shape.size - 1}\n{name}_element:",
        fast_norm.products(name),
        _shifted(shape.shift),
        f"""\
    bpl _positive       ;@ p=0.5
    cmp #$ff            ; its byte below must have a sign, too
    bne _least          ;@ p=0.001
    lda total+2
    bmi _store          ;@ p=0.99
_least:
    lda #$80
    bne _store          ;@ always
_positive:
    bne _most           ;@ p=0.001
    lda total+2
    bpl _store          ;@ p=0.99
_most:
    lda #$7f
_store:
{name}_out_low:
    sta $ffff,x
    dex
    bmi *+5             ;@ times {shape.size}
    jmp {name}_element
    rts""",
    )


def _shifted(shift: int) -> str:
    """A, total+2 = (total - term) >> 15 + shift, flags of A."""
    text = [
        "    lda total\n    cmp term\n    lda total+1\n    sbc term+1",
        "    sta total+1" if not shift else "",
        "    lda total+2\n    sbc term+2\n    sta total+2\n    lda total+3\n    sbc term+3",
    ]
    if not shift:
        text.append("    asl total+1\n    rol total+2\n    rol")
    text += ["    cmp #$80\n    ror\n    ror total+2"] * (shift - 1)
    return lines(*text, "    tay")


def call(shape: Shape, name: str, x: Vector, out: Vector) -> str:
    """The op `name`."""
    operands = {"x_low": x.low, "x_high": x.high, "out_low": out.low}
    return fast_norm.call_patched(shape.name, name, x, operands)
