"""What kernels call: products by table, division, roots, saturation -> assembly text.

A product of bytes is three looks into one table of the triangular kind:

    x * y = T(x + y) - T(x) - T(y) + 32640,    T(n) = n(n - 1)/2 - 255n + 32640 for n = 0 .. 510.

The 255n cancels; it keeps T within 0 .. 32640.  Sums of products need one look each: the sums of
T(x) and T(y) are known before.  The pointer that holds x in its low byte does the addition x + y.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.mos6502.instructions import (
    add,
    clear,
    copy,
    lines,
    shift_left,
    subtract,
)

TOP = 32640
CROSSED = "usual(page_crossed,0.5)"  # how often the bytes of two factors sum to more than 255
OFFSET = {8: 128, 16: 32768}  # makes a signed number unsigned; the top bit flipped does it


def triangular(n: np.ndarray) -> np.ndarray:
    """T(n).

    >>> triangular(np.array([0, 1, 255, 510]))
    array([32640, 32385,     0, 32385])
    """
    return n * (n - 1) // 2 - 255 * n + TOP


def fill_products() -> str:
    """Build the table and point at it; once, before anything else."""
    return """\
; fill_products: products_low and products_high, 512 bytes each, on pages; T(n+1) = T(n) + n - 255
fill_products:
    lda #<32640
    sta total
    lda #>32640
    sta total+1
    lda #$01            ; n - 255, first $ff01
    sta term
    lda #$ff
    sta term+1
    ldx #0
    stx product_low
    stx product_high
    lda #>products_low
    sta product_low+1
    lda #>products_high
    sta product_high+1
_first:
    lda total
    sta products_low,x
    lda total+1
    sta products_high,x
    jsr next_product
    bne _first          ;@ times 256
_second:
    lda total
    sta products_low+256,x
    lda total+1
    sta products_high+256,x
    jsr next_product
    bne _second         ;@ times 256
    rts
next_product:
    clc
    lda total
    adc term
    sta total
    lda total+1
    adc term+1
    sta total+1
    inc term
    bne _same           ;@ p=0.996
    inc term+1
_same:
    inx
    rts"""


def accumulate(total: str, carries: float, crosses: float = 0.5) -> str:
    """total (3 bytes) += T(low byte of product_low + Y); carry clear before and after.

    carries  how often, from 0 to 1, the third byte grows: T's mean over 65536
    crosses  how often the two factors sum to more than 255
    """
    return f"""\
    lda (product_low),y     ;@ p={crosses}
    adc {total}
    sta {total}
    lda (product_high),y    ;@ p={crosses}
    adc {total}+1
    sta {total}+1
    bcc *+5             ;@ p={1 - carries}
    inc {total}+2
    clc"""


def _product(a: str, b: str, up: int, first: bool = False) -> str:
    """total += a * b << 8 * up, two bytes: a from product_low, T(a) - 32640 in scratch."""
    return f"""\
    ldy {b}
    sec
    lda (product_low),y     ;@ aligned, plus 0..1 ~{CROSSED}
    sbc scratch
    sta term
    lda (product_high),y    ;@ aligned, plus 0..1 ~{CROSSED}
    sbc scratch+1
    sta term+1
    sec
    lda term
    sbc products_low,y
    sta term
    lda term+1
    sbc products_high,y
    sta term+1
""" + (copy("total", "term", 2) if first else add("total", "term", 4, 2, up))


def _take_factor(a: str) -> str:
    """Point the products at factor byte a, and keep T(a) - 32640 in scratch."""
    return f"""\
    ldy {a}
    sty product_low
    sty product_high
    sec
    lda products_low,y
    sbc #<32640
    sta scratch
    lda products_high,y
    sbc #>32640
    sta scratch+1"""


def multiply() -> str:
    """Words times words: `multiply` unsigned, `multiply_signed` signed."""
    return lines(
        """\
; multiply: total (4 bytes) = factor_a * factor_b, unsigned; uses A, Y, term, scratch
multiply:
    lda #0
    sta total+2
    sta total+3""",
        _take_factor("factor_a"),
        _product("factor_a", "factor_b", 0, first=True),
        _product("factor_a", "factor_b+1", 1),
        _take_factor("factor_a+1"),
        _product("factor_a+1", "factor_b", 1),
        _product("factor_a+1", "factor_b+1", 2),
        """\
    rts
; multiply_signed: total = factor_a * factor_b, signed: where one is negative, the unsigned product
; has counted 65536 times the other too much
multiply_signed:
    jsr multiply
    bit factor_a+1
    bpl _positive_a     ;@ p=usual(positive_a,0.5)""",
        subtract("total", "factor_b", 4, 2, 2),
        "_positive_a:\n    bit factor_b+1\n    bpl _positive_b     ;@ p=usual(positive_b,0.5)",
        subtract("total", "factor_a", 4, 2, 2),
        "_positive_b:\n    rts",
    )


def multiply_byte() -> str:
    """A word times a byte."""
    return lines(
        """\
; multiply_byte: total (4 bytes) = factor_a * factor_b's low byte; uses A, Y, term, scratch
multiply_byte:
    lda #0
    sta total+2
    sta total+3""",
        _take_factor("factor_b"),
        _product("factor_b", "factor_a", 0, first=True),
        _product("factor_b", "factor_a+1", 1),
        "    rts",
    )


def divide() -> str:
    """Long division of unsigned numbers: 32 bits by 16."""
    return f"""\
; divide: total (4 bytes) = total / divisor; the remainder in `remainder`; uses A, X
; divide_short: total+0,1 = total / divisor where the quotient is known to fit 16 bits; Y, too
divide:
    lda #0
    sta remainder
    sta remainder+1
{_quotient(4)}
    rts
divide_short:
    lda total+3
    sta remainder+1
    lda total+2
{_quotient_byte(1)}
{_quotient_byte(0)}
    sta remainder
    rts"""


def _quotient_byte(at: int) -> str:
    """Eight bits of a quotient take the place of a byte of `total`; A is the remainder's low byte.

    The carry is each bit: it comes in as the next one of the dividend goes out.
    """
    return f"""\
    ldx #8
_bit_{at}:
    rol total+{at}
    rol
    rol remainder+1
    bcs _over_{at}          ;@ p=usual(short_over,0.02)
    tay
    sec
    sbc divisor
    sta remainder
    lda remainder+1
    sbc divisor+1
    bcc _less_{at}          ;@ p=usual(short_less,0.5)
    sta remainder+1
    lda remainder
    bcs _next_{at}          ;@ always
_over_{at}:
    sbc divisor
    sta remainder
    lda remainder+1
    sbc divisor+1
    sta remainder+1
    lda remainder
    sec
    bcs _next_{at}          ;@ always
_less_{at}:
    tya
_next_{at}:
    dex
    bne _bit_{at}           ;@ times 8
    rol total+{at}"""


def _quotient(size: int) -> str:
    """Bits of `total`, of so many bytes, go to the remainder; those of the quotient come."""
    return f"""\
    ldx #{8 * size}
_bit:
{shift_left("total", size, 1)}
    rol remainder
    rol remainder+1
    bcs _fits           ;@ p=usual(quotient_over,0.05)
    lda remainder
    cmp divisor
    lda remainder+1
    sbc divisor+1
    bcc _next           ;@ p=usual(quotient_less,0.75)
_fits:
    lda remainder       ; the carry is set on both ways here
    sbc divisor
    sta remainder
    lda remainder+1
    sbc divisor+1
    sta remainder+1
    inc total
_next:
    dex
    bne _bit            ;@ times {8 * size}"""


def isqrt() -> str:
    """The integer root of 32 bits, two bits of the argument to one of the root."""
    return """\
; isqrt: root (2 bytes) = the largest integer whose square is at most total (4 bytes, lost);
; uses A, X, Y, remainder, term
isqrt:
    lda #0
    sta root
    sta root+1
    sta remainder
    sta remainder+1
    sta remainder+2
    ldx #16
_bit:
    ldy #2
_pull:
    asl total
    rol total+1
    rol total+2
    rol total+3
    rol remainder
    rol remainder+1
    rol remainder+2
    dey
    bne _pull           ;@ times 2
    asl root            ; the root so far, doubled
    rol root+1
    lda root            ; the trial: four times the root so far, and one
    asl
    sta term
    lda root+1
    rol
    sta term+1
    lda #0
    rol
    sta term+2
    inc term            ; even before
    sec
    lda remainder
    sbc term
    tay
    lda remainder+1
    sbc term+1
    pha
    lda remainder+2
    sbc term+2
    bcc _less           ;@ p=usual(root_less,0.5)
    sta remainder+2
    pla
    sta remainder+1
    sty remainder
    inc root
    bne _next           ;@ always
_less:
    pla
_next:
    dex
    bne _bit            ;@ times 16
    rts"""


def saturate(bits: int, size: int) -> str:
    """`saturate_<bits>_<size>`: total, signed, of size bytes, to int8 or int16."""
    keep = bits // 8  # the bytes that stay; those above must all be copies of their sign
    above = [f"total+{i}" for i in range(keep, size)]
    lowest = ["$00"] * (keep - 1) + ["$80"]
    highest = ["$ff"] * (keep - 1) + ["$7f"]
    if not above:
        return f"saturate_{bits}_{size}:\n    rts"
    return lines(
        f"; saturate_{bits}_{size}: total ({size} bytes, signed) clipped to int{bits}; uses A",
        f"saturate_{bits}_{size}:\n    lda total+{keep - 1}\n    bmi _negative       ;@ p=0.5",
        f"    lda {above[0]}",
        *(f"    ora {byte}" for byte in above[1:]),
        "    beq _fits           ;@ p=0.99\n    bne _clip           ;@ always",
        "_negative:",
        f"    lda {above[0]}",
        *(f"    and {byte}" for byte in above[1:]),
        "    cmp #$ff\n    beq _fits           ;@ p=0.99",
        f"_clip:\n    lda total+{size - 1}\n    bmi _lowest         ;@ p=0.5",
        *(f"    lda #{b}\n    sta total+{i}" for i, b in enumerate(highest)),
        "    rts\n_lowest:",
        *(f"    lda #{b}\n    sta total+{i}" for i, b in enumerate(lowest)),
        "_fits:\n    rts",
    )


def sum_bytes(page: str, total: str, count: str, n: int) -> str:
    """total (4 bytes) grows by T(byte), count (3) by the byte, for the n bytes that end a page."""
    return f"""\
    ldx #{256 - n & 255}
    clc
_bytes_{total}:
    ldy {page},x
    tya
    adc {count}
    sta {count}
    bcc _low_{total}      ;@ p=0.5
    inc {count}+1
    bne *+4             ;@ p=0.99
    inc {count}+2
    clc
_low_{total}:
    lda products_low,y
    adc {total}
    sta {total}
    lda products_high,y
    adc {total}+1
    sta {total}+1
    bcc *+9             ;@ p=0.75
    inc {total}+2
    bne *+4             ;@ p=0.99
    inc {total}+3
    clc
    inx
    bne _bytes_{total}  ;@ times {n}"""


def correct(bits: int, other_bits: int, size: int, result: str) -> str:
    """result (size bytes) = what a vector takes from its sums of products with another.

    From sum_a, count_a (its low bytes) and sum_b, count_b (its high bytes, top bit flipped; not of
    int8): the sum of T over all its products, plus the other's offset times its sum.
    """
    text = [copy("term", "sum_a", 4), "    lda #0\n    sta term+4\n    sta term+5"]
    if bits == 16:
        text.append(add("term", "sum_b", 6, 4, 1))
    text.append(copy(result, "term", size))
    if other_bits == 16:
        text.append(add(result, "term", size, 5, 1))
    text += [clear("term", 6), copy("term", "count_a", 3)]
    if bits == 16:
        text.append(add("term", "count_b", 6, 3, 1))
    up = other_bits // 8 - 1  # the offset is 2**7 or 2**15: bytes up, then one bit less
    text += [shift_left("term", 5, 7), add(result, "term", size, 5, up)]
    return lines(*text)
