"""rms_norm with the reciprocal's products by table, no signs -> assembly text.

One routine serves all norms of a size and shifts; a call patches the addresses of its vectors.

    measure     the sum of squares (residue/guard.py)      root      8 steps over the squares
    reciprocal  15 steps of division               element   4 products, and 2 with the gain

With X = x + 32768, x * r = X * r - 32768 r; with Y = y + 32768, y * g = Y * g - 32768 g.
products_low, products_high hold T(n), x * y = T(x + y) - T(x) - T(y) + 32640 (arithmetic.py); with
T(n) - 32640 in a table of its own, T(y + c) less that is y * c + T(c), of two bytes and no sign: of
a fixed factor c, T(c) is taken off once.

What bounds it: six products of two bytes at 22 cycles and their sums, about 270 an element; the
measure 65 an element; root and reciprocal 900.  Where the mean leaves 16 bits, the root and the
division of arithmetic.py take their place.

Exact for gains of 0 and more, of 128 elements at most, a power of two; pre_shift 4, root_shift 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.arithmetic import TOP, triangular
from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.products import add_middle, product_by_byte

PRE_SHIFT = 4
SIZES = (16, 32, 64, 128)
TABLES = {"less_product_low": 256, "less_product_high": 256}  # T(n) - 32640


@dataclass(frozen=True)
class Shape:
    """What the routine is made for; bits: of the reciprocal's dividend."""

    size: int
    gain_shift: int
    bits: int

    @property
    def name(self) -> str:
        return f"norm_{self.size}_{self.gain_shift}_{self.bits}"


def applicable(size: int, gain: Array, attributes: dict) -> str:
    """Why this kernel cannot do a norm, or nothing."""
    if size not in SIZES:
        return f"{size} elements"
    if attributes["pre_shift"] != PRE_SHIFT or attributes["root_shift"]:
        return "its shifts before the root"
    if gain.min() < 0:
        return "a gain is negative"
    if not 0 <= attributes["gain_shift"] <= 8 or not 16 <= attributes["reciprocal_bits"] <= 22:
        return "its shifts"
    return ""


def largest_shift(gain: Array, attributes: Mapping) -> int:
    """The largest gain_shift that the same gains can have: they may take a byte without a sign."""
    shift, most = attributes["gain_shift"], int(gain.max(initial=1))
    while shift < 8 and most << 1 <= 255:
        shift, most = shift + 1, most << 1
    return shift


def gain_constants(gain: Array) -> Array:
    """(3, size) bytes of what an element's gain products have too much, and 32768 g."""
    gain = gain.astype(np.int64)
    extra = triangular(gain) * 257 + 32768 * gain
    return np.stack([extra >> shift & 0xFF for shift in (0, 8, 16)])


def fill_tables() -> str:
    """`fill_less_products`: after fill_products."""
    return f"""\
; fill_less_products: less_product_low, less_product_high; uses A, X
fill_less_products:
    ldx #0
_entry:
    sec
    lda products_low,x
    sbc #<{TOP}
    sta less_product_low,x
    lda products_high,x
    sbc #>{TOP}
    sta less_product_high,x
    inx
    bne _entry          ;@ times 256
    rts"""


def routine(shape: Shape) -> str:
    """`<name>`: source_low, source_high point at x; a call has patched the rest."""
    name = shape.name
    return lines(
        f"; {name}: rms_norm of {shape.size} words; uses everything\n{name}:",
        reciprocal(name, shape.size, shape.bits),
        patch(name),
        _element(shape),
    )


def reciprocal(name: str, n: int, bits: int) -> str:
    """total (2 bytes) = the reciprocal root mean square of n words at source_low, source_high."""
    return lines(f"    ldy #{n - 1}\n    jsr measure", of_measured(name, n, bits))


def of_measured(name: str, n: int, bits: int) -> str:
    """total (2 bytes) = the reciprocal root mean square, of what `measure` leaves of n words."""
    down = 8 - (n.bit_length() - 1)  # the mean is the sum's upper bytes after so many shifts left
    start = bits - 15  # the dividend's bits that a divisor above them cannot reach
    return lines(
        "    asl sum_a\n    rol sum_a+1\n    rol sum_a+2\n    rol sum_a+3\n" * down,
        f"""\
    lda sum_a+3
    beq _short          ;@ p=1-usual(long_means, 0.001)
    lda sum_a+1
    sta total
    lda sum_a+2
    sta total+1
    lda sum_a+3
    sta total+2
    lda #0
    sta total+3
    jsr isqrt
    lda root
    sta divisor
    lda root+1
    sta divisor+1
    lda #0
    sta total
    sta total+1
    lda #{1 << bits - 16}
    sta total+2
    lda #0
    sta total+3
    jsr divide
    jmp {name}_scale
_short:
    ldx #0              ; the root of sum_a+1, sum_a+2""",
        *(
            f"    txa\n    ora #{1 << bit}\n    tay\n    lda sum_a+1\n"
            "    cmp square_low,y    ;@ aligned\n    lda sum_a+2\n"
            f"    sbc square_high,y   ;@ aligned\n    bcc _root_{bit}         ;@ p=0.5\n"
            f"    tya\n    tax\n_root_{bit}:"
            for bit in range(7, -1, -1)
        ),
        f"""\
    cpx #{(1 << start) + 1}
    bcs _divide         ;@ p=0.99
    lda #$ff            ; the largest reciprocal
    sta total
    lda #$7f
    sta total+1
    bne {name}_scale     ;@ always
_divide:
    stx divisor
    lda #0
    sta total
    sta total+1
    lda #{1 << start}
    ldx #15
_bit:
    asl
    bcs _less           ;@ p=0.3
    cmp divisor
    bcc _quotient       ;@ p=0.5
_less:
    sbc divisor
    sec
_quotient:
    rol total
    rol total+1
    dex
    bne _bit            ;@ times 15
{name}_scale:""",
    )


def patch(name: str) -> str:
    """The reciprocal, in total, into the operands; term (4 bytes): what its products have too much.

    T(low) (1 + 256) + T(high) (256 + 65536) + 32768 times itself
    """
    text = []
    for part, factor in (("low", "total"), ("high", "total+1")):
        text.append(f"    ldy {factor}")
        text += [
            f"    sty {name}_{part}_{place}_{end}+1" for place in "lh" for end in ("low", "high")
        ]
    return lines(
        *text,
        """\
    lda products_low,y
    sta term+2
    lda products_high,y
    sta term+3
    ldy total
    lda products_low,y
    sta term
    clc
    adc term+2
    sta scratch
    lda products_high,y
    sta term+1
    adc term+3
    sta scratch+1       ; T(low) + T(high): at most 65280
    clc
    lda term+1
    adc scratch
    sta term+1
    lda term+2
    adc scratch+1
    sta term+2
    bcc *+4             ;@ p=0.7
    inc term+3
    lda total+1         ; and 32768 times itself, for X is so much more than x
    lsr
    sta scratch+1
    lda total
    ror
    sta scratch
    lda #0
    ror
    clc
    adc term+1
    sta term+1
    lda scratch
    adc term+2
    sta term+2
    lda scratch+1
    adc term+3
    sta term+3""",
    )


def products(name: str) -> str:
    """total (4 bytes) = (x + 32768) * reciprocal + term, of the element X of x."""

    # How often a factor and the reciprocal's byte sum to more than 255: X's high byte is near 128,
    # the reciprocal's below.
    crosses = {"lowl": 0.5, "lowh": 0.5, "highl": 0.37, "highh": 0.02}

    def fixed(part: str, place: str, low: str, high: str) -> str:
        """By the reciprocal's byte `part`, of the byte `place` of X, which Y holds."""
        return product_by_byte(f"{name}_{part}_{place}", low, high, crosses[part + place])

    return lines(
        f"{name}_x_low:\n    ldy $ffff,x         ;@ p=0.1",
        fixed("low", "l", "total", "total+1"),
        fixed("high", "l", "correction", "correction+1"),
        f"{name}_x_high:\n    lda $ffff,x         ;@ p=0.1\n    eor #$80\n    tay",
        fixed("low", "h", "correction+2", "correction+3"),
        fixed("high", "h", "total+2", "total+3"),
        add_middle("correction"),
        add_middle("correction+2"),
    )


def unit_value() -> str:
    """scratch+1, total+2 = total, of 4 bytes, less term, of 4: >> 15, plus 32768; X, term stay."""
    return """\
    lda total           ; twice the upper part: >> 15
    cmp term
    lda total+1
    sbc term+1
    tay
    lda total+2
    sbc term+2
    sta total+2
    lda total+3
    sbc term+3
    cpy #$80            ; the bit that comes up
    rol total+2
    rol
    eor #$80            ; the unit value, and 32768 more
    sta scratch+1"""


def times_gain(name: str) -> str:
    """total, total+1, A = the unit value, Y and scratch+1, times the gain in product_low."""

    def by_gain(low: str, high: str) -> str:
        return f"""\
    sec
    lda (product_low),y     ;@ p=0.4
    sbc less_product_low,y  ;@ aligned
    sta {low}
    lda (product_high),y    ;@ p=0.4
    sbc less_product_high,y ;@ aligned
    {high}"""

    return lines(
        by_gain("total", "sta total+1"),
        "    ldy scratch+1",
        by_gain("correction", "tay"),
        f"""\
    clc
    lda total+1
    adc correction
    sta total+1
    bcc *+3             ;@ p=0.5
    iny
    sec
    lda total
{name}_c0:
    sbc $ffff,x         ;@ p=0.1
    sta total
    lda total+1
{name}_c1:
    sbc $ffff,x         ;@ p=0.1
    sta total+1
    tya
{name}_c2:
    sbc $ffff,x         ;@ p=0.1""",
    )


def _element(shape: Shape) -> str:
    name, up = shape.name, 8 - shape.gain_shift
    return lines(
        f"    ldx #{shape.size - 1}\n{name}_element:",
        products(name),
        unit_value(),
        f"""\
{name}_gain:
    lda $ffff,x         ;@ p=0.1
    sta product_low
    sta product_high
    ldy total+2""",
        times_gain(name),
        "    asl total\n    rol total+1\n    rol\n" * up,
        f"""\
{name}_out_high:
    sta $ffff,x
    lda total+1
{name}_out_low:
    sta $ffff,x
    dex
    bmi *+5             ;@ times {shape.size}
    jmp {name}_element
    rts""",
    )


def call(shape: Shape, name: str, x: Vector, out: Vector, gain: str) -> str:
    """The op `name`; gain: the label of its gains, then of the three bytes of their constants."""
    operands = {
        "x_low": x.low,
        "x_high": x.high,
        "gain": gain,
        **{f"c{i}": f"{gain}+{(i + 1) * shape.size}" for i in range(3)},
        "out_low": out.low,
        "out_high": out.high,
    }
    return call_patched(shape.name, name, x, operands)


def call_patched(routine: str, name: str, x: Vector, operands: Mapping[str, str]) -> str:
    """The op `name`: the measure's vector, and labels into instructions of the routine."""
    return lines(
        f"{name}:",
        set_word("source_low", x.low),
        set_word("source_high", x.high),
        *(
            f"    lda #<({label})\n    sta {routine}_{part}+1\n"
            f"    lda #>({label})\n    sta {routine}_{part}+2"
            for part, label in operands.items()
        ),
        f"    jmp {routine}",
    )
