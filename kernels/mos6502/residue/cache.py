"""Keys and values kept as residues -> assembly text: how a fast attention finds them.

For each modulus a key's feature d is an array over (head, position), so that one X picks a row and
no read crosses a page; a value is an array over its features, one for each position and modulus.
With them go the sums of t that every product has too much, negative: of a key's head, an array over
(head, position); of the values, running, an array over features.

What the guards of attention.py ask for is kept with them: how long a head's keys are, at most, and
how large the values.

    <name>_take      residues of a vector     <name>_keep_key, <name>_keep_value   store them
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import MIDDLE, add
from anachron.kernels.mos6502.residue.middle import (
    FAR,
    MODULI,
    begin_sum,
    chain,
    negate,
    subtract,
)

PAGE = 256
COARSE = 2  # bits of a sum of squares that no table of limits looks at


@dataclass(frozen=True)
class Shape:
    """What an attention's code is made for.

    measured  keys and queries are measured, values are
    """

    name: str
    size: int  # features of keys and of values
    heads: int
    n_rows: int
    measured: tuple[bool, bool] = (True, True)

    @property
    def head_size(self) -> int:
        return self.size // self.heads

    @property
    def moduli(self) -> tuple[int, ...]:
        return MODULI

    @property
    def key_stride(self) -> int:
        return self.heads * self.n_rows

    def key(self, modulus: int, feature: int) -> str:
        """The array of a feature of all heads' keys; feature head_size: the sums."""
        number = self.moduli.index(modulus) * (self.head_size + 1) + feature
        return f"{self.name}_cache+{_offset(number, self.key_stride)}"

    @property
    def key_bytes(self) -> int:
        return _pages(len(self.moduli) * (self.head_size + 1), self.key_stride) * PAGE

    def value(self, modulus: int, position: int) -> str:
        """The array of a position's value; position n_rows: the sums."""
        return f"{self.name}_cache+{self.value_offset(modulus, position)}"

    def value_offset(self, modulus: int, position: int) -> int:
        number = position * len(self.moduli) + self.moduli.index(modulus)
        return self.key_bytes + _offset(number, self.size)

    @property
    def _is_roomy(self) -> bool:
        """Arrays of keys leave room for what the guards keep, in their first page."""
        return PAGE % self.key_stride > self.heads

    @property
    def largest(self) -> str:
        """Squares of the values' high bytes so far, one or another."""
        spare = PAGE - PAGE % self.key_stride if self._is_roomy else self.cache_bytes - PAGE
        return f"{self.name}_cache+{spare}"

    @property
    def longest(self) -> str:
        """An array over heads: the largest sum of squares of a key so far, without COARSE bits."""
        return f"{self.largest}+1"

    @property
    def cache_bytes(self) -> int:
        n_pages = _pages(len(self.moduli) * (self.n_rows + 1), self.size)
        return self.key_bytes + (n_pages + (not self._is_roomy)) * PAGE

    @property
    def cache_pages(self) -> int:
        return self.cache_bytes // PAGE

    def taken(self, modulus: int) -> str:
        """The array of a vector's residues, as take leaves them."""
        return f"{self.name}_taken+{self.moduli.index(modulus) * self.size}"

    @property
    def squares(self) -> str:
        """The array of its high bytes' squares."""
        return f"{self.name}_taken+{len(self.moduli) * self.size}"

    @property
    def taken_bytes(self) -> int:
        return (len(self.moduli) + any(self.measured)) * self.size


def _offset(number: int, stride: int) -> int:
    """Where array `number` of so many bytes lies: none crosses a page."""
    in_page = PAGE // stride
    return number // in_page * PAGE + number % in_page * stride


def _pages(count: int, stride: int) -> int:
    return -(-count // (PAGE // stride))


def residues(shape: Shape) -> str:
    """The word of high byte Y and low byte taken(256),X, which A is, too: its other residues."""
    return lines(
        "    clc\n    adc high_mod255,y       ;@ aligned\n    adc #0",
        f"    sta {shape.taken(255)},x",
        f"    lda {shape.taken(256)},x    ;@ aligned\n    clc",
        add(MIDDLE, f"high_mod{MIDDLE},y       ;@ aligned"),
        f"    sta {shape.taken(MIDDLE)},x",
    )


def take(shape: Shape) -> str:
    """`<name>_take`: residues of the words that a call has put into its operands."""
    name = shape.name
    squares = f"    lda head_squares,y      ;@ aligned\n    sta {shape.squares},x"
    return lines(
        f"; {name}_take: the residues of a vector of {shape.size} words; uses A, X, Y",
        f"{name}_take:\n    ldx #{shape.size - 1}",
        f"{name}_take_high:\n    ldy $ffff,x             ;@ p=0.3",
        squares if any(shape.measured) else "",
        f"{name}_take_low:\n    lda $ffff,x             ;@ p=0.3\n    sta {shape.taken(256)},x",
        residues(shape),
        f"    dex\n    bpl {name}_take_high    ;@ times {shape.size}\n    rts",
    )


def measure(shape: Shape, where: str) -> str:
    """A = the squares of the head from feature X on; goes on at `where`, carry set, if too many."""
    text = [f"    lda {shape.squares},x    ;@ aligned\n    clc"]
    for d in range(1, shape.head_size):
        text.append(f"    adc {shape.squares}+{d},x    ;@ aligned\n    bcs {where}    ;@ p=0")
    return lines(*text, f"    cmp #{FAR}\n    bcs {where}         ;@ p=0")


def keep_key(shape: Shape) -> str:
    """`<name>_keep_key`: the vector taken becomes the key of `position`."""
    name, n = shape.name, shape.n_rows
    text = [f"; {name}_keep_key: what take left -> the keys' row at `position`; uses A, X, Y,"]
    text.append(f"; scratch\n{name}_keep_key:")
    if shape.measured[0]:
        text.append(_keep_lengths(shape))
    text.append(f"    ldx #0\n    ldy position\n{name}_key_head:\n    sty scratch")
    for m in shape.moduli:
        text += [
            f"    lda {shape.taken(m)}+{d},x    ;@ aligned\n    sta {shape.key(m, d)},y"
            for d in range(shape.head_size)
        ]
    for m in shape.moduli:
        reads = (f"    ldy {shape.taken(m)}+{d},x    ;@ aligned" for d in range(shape.head_size))
        terms = [(read, f"t{m},y            ;@ p=0.2", "") for read in reads]
        text += [begin_sum(m), chain(m, terms)]
        text.append(f"{negate(m)}\n    ldy scratch\n    sta {shape.key(m, shape.head_size)},y")
    text.append(
        f"    txa\n    clc\n    adc #{shape.head_size}\n    tax\n    tya\n    clc\n    adc #{n}\n"
        f"    tay\n    cpx #{shape.size}\n    beq _done           ;@ times {shape.heads}\n"
        f"    jmp {name}_key_head\n_done:\n    rts"
    )
    return lines(*text)


def _keep_lengths(shape: Shape) -> str:
    """The longest key of each head."""
    name = shape.name
    return lines(
        f"    ldx #0\n    ldy #0\n{name}_key_length:",
        measure(shape, f"{name}_key_long"),
        f"    bcc {name}_key_short    ;@ always\n{name}_key_long:\n    lda #{FAR}",
        f"{name}_key_short:",
        "    lsr" + "\n    lsr" * (COARSE - 1),
        f"""\
    sta scratch
    lda position
    beq {name}_key_first    ;@ p=0.05
    lda scratch
    cmp {shape.longest},y    ;@ aligned
    bcc {name}_key_kept     ;@ p=0.8
{name}_key_first:
    lda scratch
    sta {shape.longest},y
{name}_key_kept:
    txa
    clc
    adc #{shape.head_size}
    tax
    iny
    cpx #{shape.size}
    bne {name}_key_length    ;@ times {shape.heads}""",
    )


def keep_value(shape: Shape) -> str:
    """`<name>_keep_value`: the words that a call has put into its operands become the value of
    `position`."""
    name, size, n = shape.name, shape.size, shape.n_rows
    base = shape.value_offset(256, 0)
    offsets = [shape.value_offset(m, p) for p in range(n) for m in shape.moduli]
    text = [
        f"; {name}_keep_value: a vector of {size} words -> the values' row at `position`, and to"
        " their sums; uses A, X, Y, scratch",
        f"{name}_keep_value:\n    lda position\n    bne {name}_later    ;@ p=0.95\n"
        f"    ldx #{size - 1}\n{name}_clear:",
        *(f"    sta {shape.value(m, n)},x" for m in shape.moduli),
        f"    dex\n    bpl {name}_clear    ;@ times {size}",
        f"    sta {shape.largest}" if shape.measured[1] else "",
        f"{name}_later:\n    asl\n    clc\n    adc position\n    tax",
    ]
    for i, m in enumerate(shape.moduli):
        text.append(
            f"    lda {name}_value_low+{i},x\n    sta {name}_to_{m}+1\n"
            f"    lda {name}_value_page+{i},x\n    clc\n    adc {name}_page\n"
            f"    sta {name}_to_{m}+2"
        )
    measured = f"    lda head_squares,y      ;@ aligned\n    ora {shape.largest}\n"
    measured += f"    sta {shape.largest}"
    text += [
        f"    ldx #{size - 1}\n{name}_of_high:\n    ldy $ffff,x             ;@ p=0.1",
        measured if shape.measured[1] else "",
        f"{name}_of_low:\n    lda $ffff,x             ;@ p=0.1\n{name}_to_256:\n"
        "    sta $ffff,x\n    sta scratch\n    clc\n    adc high_mod255,y       ;@ aligned\n"
        f"    adc #0\n{name}_to_255:\n    sta $ffff,x\n    sta scratch+1\n"
        "    lda scratch\n    clc",
        add(MIDDLE, f"high_mod{MIDDLE},y       ;@ aligned"),
        f"{name}_to_{MIDDLE}:\n    sta $ffff,x\n    tay",
    ]
    for m in reversed(shape.moduli):
        where = {256: "    ldy scratch", 255: "    ldy scratch+1"}.get(m, "")
        text += [
            where,
            f"    lda {shape.value(m, n)},x    ;@ aligned",
            subtract(m, f"t{m},y          ;@ aligned"),
            f"    sta {shape.value(m, n)},x",
        ]
    low = ",".join(str(o & 0xFF) for o in offsets)
    page = ",".join(str(o >> 8) for o in offsets)
    text.append(
        f"    dex\n    bmi *+5             ;@ times {size}\n    jmp {name}_of_high\n    rts\n"
        f"{name}_value_low:\n    .byte {low}\n{name}_value_page:\n    .byte {page}"
    )
    assert base % PAGE == 0
    return lines(*text)
