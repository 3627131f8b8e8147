"""Keys and values of int8 as a narrow attention finds them -> assembly text.

A number is kept once, its top bit flipped, for both moduli.  A key's
feature d is an array over (head, position), so that one X picks a row and no read crosses a page; a
value is an array over its features, one for each position.  With them go the sums of t that every
product has too much, negative, for both moduli: of a key's head, an array over (head, position); of
the values, running, an array over features.

    <name>_keep_key, <name>_keep_value   take the vector that a call has put into their operands
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.moduli import NARROW

PAGE = 256
MODULI = NARROW.moduli


@dataclass(frozen=True)
class Shape:
    """What an attention's code is made for."""

    name: str
    size: int  # features of keys and of values
    heads: int
    n_rows: int

    @property
    def head_size(self) -> int:
        return self.size // self.heads

    @property
    def key_stride(self) -> int:
        return self.heads * self.n_rows

    @property
    def coarse(self) -> int:
        """A head's length is measured in units of 65 << coarse, so that a byte holds it."""
        return (self.head_size - 1).bit_length()

    def key(self, feature: int) -> str:
        """The array of a feature of all heads' keys."""
        return f"{self.name}_cache+{_offset(feature, self.key_stride)}"

    def key_sums(self, modulus: int) -> str:
        return self.key(self.head_size + MODULI.index(modulus))

    @property
    def key_bytes(self) -> int:
        return _pages(self.head_size + len(MODULI) + 1, self.key_stride) * PAGE

    def value(self, position: int) -> str:
        """The array of a position's value."""
        return f"{self.name}_cache+{self.value_offset(position)}"

    def value_offset(self, position: int) -> int:
        return self.key_bytes + _offset(position, self.size)

    def value_sums(self, modulus: int) -> str:
        return self.value(self.n_rows + MODULI.index(modulus))

    @property
    def cache_bytes(self) -> int:
        return self.key_bytes + _pages(self.n_rows + len(MODULI), self.size) * PAGE

    @property
    def cache_pages(self) -> int:
        return self.cache_bytes // PAGE

    @property
    def longest(self) -> str:
        """The array of the longest key of each head so far."""
        return self.key(self.head_size + len(MODULI))


def _offset(number: int, stride: int) -> int:
    """Where array `number` of so many bytes lies: none crosses a page."""
    in_page = PAGE // stride
    return number // in_page * PAGE + number % in_page * stride


def _pages(count: int, stride: int) -> int:
    return -(-count // (PAGE // stride))


def length(terms: list[str], coarse: int) -> str:
    """A = a vector's length in units of 65 << coarse, rounded up; terms load Y with x + 128."""
    text = ["    lda #0\n    sta scratch\n    clc"]
    for term in terms:
        text.append(
            f"{term}\n    adc narrow_squares+128,y  ;@ p=0.5\n    bcc *+5             ;@ p=0.95\n"
            "    inc scratch\n    clc"
        )
    if coarse:
        # A byte holds it but for the rounding up.
        text.append(
            f"    adc #{(1 << coarse) - 1}\n    bcc *+4             ;@ p=0.95\n    inc scratch"
        )
        text += ["    lsr scratch\n    ror"] * coarse
    return lines(*text)


def sums(modulus: int, terms: list[str]) -> str:
    """A = less the sum of t(a) over what terms load into Y, a + 128.

    For signed a and b, a b = t(a + b) - t(a) - t(b), and t(n - 256) is t(n) + 128 modulo 256 and
    t(n - 1) modulo 255: all 128s of a product make one.
    """
    text = ["    lda #0\n    clc"]
    for number, term in enumerate(terms):
        text.append(term)
        text.append("    clc" if modulus == 256 and number else "")
        text.append(f"    adc t{modulus}+{modulus - 128},y            ;@ p=0.5")
    end = "    eor #$ff\n    clc\n    adc #1" if modulus == 256 else "    adc #0\n    eor #$ff"
    return lines(*text, end)


def keep_key(shape: Shape) -> str:
    """`<name>_keep_key`: the vector at source_low becomes the key of `position`."""
    name, n, size = shape.name, shape.n_rows, shape.head_size
    reads = [f"    ldy {shape.key(d)},x    ;@ aligned" for d in range(size)]
    store = lines(
        *(
            f"    lda (source_low),y  ;@ p=0.1\n    eor #$80\n    sta {shape.key(d)},x\n    iny"
            for d in range(size)
        )
    )
    return lines(
        f"; {name}_keep_key: the vector at source_low -> the keys' row at `position`; uses A, X,",
        f"; Y, scratch, index, first\n{name}_keep_key:",
        "    ldy #0\n    sty first\n    ldx position",
        f"{name}_key_head:\n{store}\n    sty index",
        *(f"{sums(m, reads)}\n    sta {shape.key_sums(m)},x" for m in MODULI),
        length(reads, shape.coarse),
        f"""\
    ldy position
    beq {name}_longer         ;@ p=0.05
    ldy first
    cmp {shape.longest},y    ;@ aligned
    bcc {name}_shorter        ;@ p=0.8
{name}_longer:
    ldy first
    sta {shape.longest},y
{name}_shorter:
    inc first
    txa
    clc
    adc #{n}
    tax
    ldy index
    cpy #{shape.size}
    beq {name}_kept      ;@ times {shape.heads}
    jmp {name}_key_head
{name}_kept:
    rts""",
    )


def keep_value(shape: Shape) -> str:
    """`<name>_keep_value`: the vector in the operand of `from` becomes the value of `position`."""
    name, size, n = shape.name, shape.size, shape.n_rows
    offsets = [shape.value_offset(p) for p in range(n)]
    low, high = (shape.value_sums(m) for m in MODULI)
    return f"""\
; {name}_keep_value: a vector -> the values' row at `position`, and to their sums; uses A, X, Y
{name}_keep_value:
    ldx position
    bne {name}_later          ;@ p=0.95
    txa
    ldx #{size - 1}
{name}_clear:
    sta {low},x
    sta {high},x
    dex
    bpl {name}_clear          ;@ times {size}
    ldx #0
{name}_later:
    lda {name}_value_low,x  ;@ p=0.1
    sta {name}_to+1
    lda {name}_value_page,x ;@ p=0.1
    clc
    adc {name}_page
    sta {name}_to+2
    ldx #{size - 1}
{name}_from:
    lda $ffff,x         ;@ p=0.1
    eor #$80
    tay
{name}_to:
    sta $ffff,x
    lda {low},x     ;@ aligned
    sec
    sbc t256,y          ;@ aligned
    sta {low},x
    lda {high},x    ;@ aligned
    sec
    sbc t255,y          ;@ aligned
    sbc #0
    sta {high},x
    dex
    bpl {name}_from     ;@ times {size}
    rts
{name}_value_low:
    .byte {",".join(str(o & 0xFF) for o in offsets)}
{name}_value_page:
    .byte {",".join(str(o >> 8) for o in offsets)}"""


def call_keep(shape: Shape, label: str, role: str, x: Vector, select: str = "") -> str:
    """The routine `label`: a key or a value into the cache at a label, if there are several."""
    choose = f"    ldy #>{select}\n    jsr {shape.name}_select" if select else ""
    if role == "key":
        place = f"    lda #<{x.low}\n    sta source_low\n    lda #>{x.low}\n    sta source_low+1"
    else:
        place = (
            f"    lda #<{x.low}\n    sta {shape.name}_from+1\n"
            f"    lda #>{x.low}\n    sta {shape.name}_from+2"
        )
    return lines(f"{label}:", choose, place, f"    jmp {shape.name}_keep_{role}")
