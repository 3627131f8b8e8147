"""rms_norm to int8 whose gain is one power of two -> assembly text.

As fast_norm.py, of which it has the measure, the reciprocal and the products; then

    x * r >> 15 + shift = (X * r - 32768 r) >> 15 + shift,  X = x + 32768, saturated to int8.

Where every x lies in -2048 .. 2047, and the shift allows it, in two products instead of four: with
m = x >> 4, a byte, and n the four bits below,

    x * r >> 15 + shift = (m * r + (n * r >> 4)) >> 11 + shift.

The first is (m + 128) * r less 128 r; that, negative, and the second term are added by a table of
16 entries, made for each vector.

What bounds it: products of two bytes at 25 cycles and their sums, 140 an element with two, 220 with
four; the measure 65 an element; the table 1100; root and reciprocal 900.

Exact for any vector of 128 elements at most, a power of two; pre_shift 4, root_shift 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import fast_norm
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.guard import add_square

SHIFTS = range(9)
SHORT_SHIFTS = range(2, 6)  # with which two products do: a byte's shift left by up to 3
SHORT = 2048  # elements from -SHORT to less than SHORT
TABLES = {"unit_upper": 256, "unit_lower": 256}  # y >> 4, and (y << 4) + 128
ENTRIES = 16
PARTS = ("norm_rest_low", "norm_rest_high", "norm_rest_top")  # of the table of n, by byte
UPPER = "norm_upper"  # m + 128 of each element


@dataclass(frozen=True)
class Shape:
    """What the routine is made for; shift: after the 15, bits: of the reciprocal's dividend.

    shortens  short elements take two products: a shift of SHORT_SHIFTS
    """

    size: int
    shift: int
    bits: int
    shortens: bool = False

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


def fill_tables() -> str:
    """`fill_units`: TABLES; once."""
    return """\
; fill_units: unit_upper, unit_lower; uses A, X
fill_units:
    ldx #0
_entry:
    txa
    lsr
    lsr
    lsr
    lsr
    sta unit_upper,x
    txa
    asl
    asl
    asl
    asl
    eor #$80
    sta unit_lower,x
    inx
    bne _entry          ;@ times 256
    rts"""


def routine(shape: Shape) -> str:
    """`<name>`: source_low, source_high point at x; a call has patched the rest."""
    name, n = shape.name, shape.size
    heading = f"; {name}: rms_norm of {n} words, int8; uses everything\n{name}:"
    if not shape.shortens:
        return lines(heading, fast_norm.reciprocal(name, n, shape.bits), _in_four(shape))
    return lines(
        heading,
        _measure(shape),
        f"    jsr {name}_reciprocal",
        _table(shape),
        _in_two(shape),
        f"{name}_long:\n    ldy #{n - 1}\n    jsr measure\n    jsr {name}_reciprocal",
        _in_four(shape),
        f"; {name}_reciprocal: total (2 bytes), of sum_a\n{name}_reciprocal:",
        fast_norm.of_measured(name, n, shape.bits),
        "    rts",
    )


def _measure(shape: Shape) -> str:
    """sum_a (4 bytes) = the sum of the squares of m, and m + 128 to UPPER, while x are short."""
    name = shape.name
    return f"""\
    lda #0
    sta sum_a
    sta sum_a+1
    sta sum_a+2
    sta sum_a+3
    ldx #{shape.size - 1}
{name}_measure:
{name}_low_1:
    ldy $ffff,x         ;@ p=0.1
    lda unit_upper,y  ;@ aligned
{name}_high_1:
    ldy $ffff,x         ;@ p=0.1
    cpy #{SHORT >> 8}
    bcc _short          ;@ p=plain_elements
    cpy #${(-SHORT >> 8) & 255:02x}
    bcs _short          ;@ p=stays_short
    jmp {name}_long
_short:
    ora unit_lower,y  ;@ aligned
    sta {UPPER},x       ;@ aligned
    eor #$80
    bpl _plus           ;@ p=0.5
    eor #$ff
    tay
    iny
    bne _square         ;@ always
_plus:
    tay
_square:
    clc
{add_square("square_low,y", "square_high,y", "aligned", "sum_a")}
    bcc *+4             ;@ p=0.97
    inc sum_a+2
    dex
    bpl {name}_measure   ;@ times {shape.size}, left left_at"""


def _table(shape: Shape) -> str:
    """The reciprocal, in total, into the operands; PARTS = (n * r >> 4) less what m's products have
    too much: T(low) + 256 T(high) + 128 r."""
    name = shape.name
    operands = [
        f"    sty {name}_{part}_m_{end}+1" for part in ("{}",) for end in ("low", "high")
    ]
    return lines(
        "    ldy total",
        *(text.format("low") for text in operands),
        """\
    lda products_low,y
    sta term
    lda products_high,y
    sta term+1
    ldy total+1""",
        *(text.format("high") for text in operands),
        """\
    clc
    lda products_low,y
    adc term+1
    sta term+1
    lda products_high,y
    adc #0
    sta term+2
    lda total+1
    lsr
    tax
    lda total
    ror
    tay
    lda #0
    ror
    clc                 ; 128 r: Y and X, bytes 1 and 2
    adc term
    sta term
    tya
    adc term+1
    sta term+1
    txa
    adc term+2
    sta term+2
    ldx #0              ; correction: a fraction, and three bytes
    stx correction
    sec
    txa
    sbc term
    sta correction+1
    txa
    sbc term+1
    sta correction+2
    txa
    sbc term+2
    sta correction+3
    stx scratch+2       ; scratch: 16 r, in units of the fraction
    lda total+1
    sta scratch+1
    lda total""",
        "    asl\n    rol scratch+1\n    rol scratch+2\n" * 3
        + "    asl\n    rol scratch+1\n    rol scratch+2\n    sta scratch",
        f"{name}_rest:",
        *(f"    lda correction+{i + 1}\n    sta {part},x   ;@ aligned" for i, part in
          enumerate(PARTS)),
        f"""\
    clc
    lda correction
    adc scratch
    sta correction
    lda correction+1
    adc scratch+1
    sta correction+1
    lda correction+2
    adc scratch+2
    sta correction+2
    bcc *+4             ;@ p=0.9
    inc correction+3
    inx
    cpx #{ENTRIES}
    bne {name}_rest      ;@ times {ENTRIES}""",
    )


def _in_two(shape: Shape) -> str:
    """The elements, if all are short."""
    name, up = shape.name, 5 - shape.shift

    def times(part: str, low: str, high: str, p: float) -> str:
        return f"""\
    sec
{name}_{part}_m_low:
    lda products_low,y      ;@ p={p}
    sbc less_product_low,y  ;@ aligned
    sta {low}
{name}_{part}_m_high:
    lda products_high,y     ;@ p={p}
    sbc less_product_high,y ;@ aligned
    sta {high}"""

    fits = f"""\
    cmp #${0x80 >> up:02x}
    bcc _fits           ;@ p=0.5
    cmp #${256 - (0x80 >> up):02x}
    bcc {name}_far            ;@ p=0.001
_fits:"""
    low, high, top = PARTS
    return lines(
        f"    ldx #{shape.size - 1}\n{name}_short:\n    ldy {UPPER},x       ;@ aligned",
        times("low", "total", "total+1", 0.5),
        times("high", "total+2", "total+3", 0.2),
        f"""\
{name}_low_2:
    lda $ffff,x         ;@ p=0.1
    and #{ENTRIES - 1}
    tay
    clc
    lda total
    adc {low},y         ;@ aligned
    lda total+1
    adc {high},y        ;@ aligned
    sta total+1
    lda total+3
    adc {top},y         ;@ aligned
    tay
    clc
    lda total+2
    adc total+1
    sta total+1
    tya
    adc #0""",
        fits if up else "",
        "    asl total+1\n    rol\n" * up,
        f"""\
{name}_out_2:
    sta $ffff,x
    dex
    bmi _done           ;@ times {shape.size}
    jmp {name}_short
_done:
    rts""",
        f"""\
{name}_far:
    asl
    lda #$7f
    adc #0              ; the sign
    jmp {name}_out_2"""
        if up
        else "",
    )


def _in_four(shape: Shape) -> str:
    name = shape.name
    return lines(
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
    if shape.shortens:
        operands |= {"low_1": x.low, "low_2": x.low, "high_1": x.high, "out_2": out.low}
    return fast_norm.call_patched(shape.name, name, x, operands)
