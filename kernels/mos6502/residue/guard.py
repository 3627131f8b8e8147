"""What a fast matrix does where no proof says that its sums fit: look first -> assembly text.

The length of the input is measured; up to a limit the sums must fit (Cauchy and Schwarz), and
beyond it a slow routine does the rows that may not again, bit by bit, from the same weights.

    measure      sum_a (4 bytes) = the sum of squares of (x >> 4), for norms, too
    exact_rows   rows of a matrix, any sums of 32 bits

To guard another kernel: measure, compare with `limit`, and give exact_rows its weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import lines

SHIFT = 4  # of x before it is squared
TABLES = {"square_low": 256, "square_high": 256}


def limit(norm: float, size: int) -> int:
    """The largest sum of squares of (x >> 4) that keeps |x| within a norm.

    x is below 16 * ((x >> 4) + 1), so |x| <= 16 |x >> 4| + 15 sqrt(size).
    """
    room = norm - 15 * math.sqrt(size)
    return math.floor((room / 16) ** 2) if room > 0 else -1


def fill_squares() -> str:
    """`fill_squares`: n * n for n = 0 .. 255; each is 2n - 1 more than the one before."""
    return """\
; fill_squares: square_low, square_high; uses A, X, term
fill_squares:
    ldx #0
    stx term
    stx term+1
    stx term+2
_square:
    lda term
    sta square_low,x    ;@ aligned
    lda term+1
    sta square_high,x   ;@ aligned
    txa                 ; 2n + 1 more: n, and n with a carry
    sec
    adc term
    sta term
    bcc *+4             ;@ p=0.5
    inc term+1
    txa
    clc
    adc term
    sta term
    bcc *+4             ;@ p=0.5
    inc term+1
    inx
    bne _square         ;@ times 256
    rts"""


@dataclass(frozen=True)
class Reading:
    """How `measure` reads an element, Y, and finds what it squares: the text of each step.

    begin     before the first element           high    its high byte, flags by it
    test      what compares the high byte: cmp, or cpx where X has it
    low, low_of_less   A = x >> 4, modulo 256, of an element at least 0, and below
    far, reads         the label of what reads a long element, and its text
    """

    begin: str
    high: str
    test: str
    low: str
    low_of_less: str
    far: str
    reads: str


LOW = "    lda (source_low),y  ;@ p=0.1\n" + "    lsr\n" * SHIFT + "    sta term"
HIGH = "    lda (source_high),y ;@ p=0.1"
_UP = "    asl\n" * SHIFT + "    ora term"
SHIFTED = Reading("", lines(LOW, HIGH), "cmp", _UP, _UP, "_long", "")


def add_square(low: str, high: str, claim: str, total: str) -> str:
    """A total of bytes += a square, by its operands; the carry is clear before, and goes on."""
    return f"""\
    lda {low:15} ;@ {claim}
    adc {total}
    sta {total}
    lda {high:15} ;@ {claim}
    adc {total}+1
    sta {total}+1"""


def measure(reading: Reading = SHIFTED) -> str:
    """`measure`: the vector's own length."""
    begin = f"\n{reading.begin}" if reading.begin else ""
    reads = f"{reading.reads}\n" if reading.reads else ""
    return f"""\
; measure: sum_a (4 bytes) = the sum of (x >> 4) squared, x of Y + 1 words at source_low,
; source_high; uses A, X, Y, term, total
measure:{begin}
    lda #0
    sta sum_a
    sta sum_a+1
    sta sum_a+2
    sta sum_a+3
_element:
{reading.high}
    bmi _negative       ;@ p=0.5
    {reading.test} #16
    bcs {reading.far:15} ;@ p=long_elements
{reading.low}
    tax
    clc
{add_square("square_low,x", "square_high,x", "aligned", "sum_a")}
    bcc _next           ;@ p=0.97
    inc sum_a+2
    bne _next           ;@ p=0.99
    inc sum_a+3
_next:
    dey
    bpl _element        ;@ times elements
    rts
_negative:
    {reading.test} #$f1
    bcc {reading.far:15} ;@ p=long_elements
{reading.low_of_less}
    eor #$ff            ; less x, less 1
    tax
    clc
{add_square("square_low+1,x", "square_high+1,x", "p=0.01", "sum_a")}
    bcc _next           ;@ p=0.97
    inc sum_a+2
    bne _next           ;@ p=0.99
    inc sum_a+3
    bne _next           ;@ p=0.99
{reads}_long:                  ; beyond 255 in size: (256 h + l) squared, h up to 8
    bpl _size           ;@ p=0.5
    eor #$ff
    asl
    asl
    asl
    asl
    sta total
    lda (source_high),y
    eor #$ff
    lsr
    lsr
    lsr
    lsr
    sta total+1
    lda term
    eor #$0f
    ora total
    sta total
    inc total
    bne _sized          ;@ p=0.99
    inc total+1
    bne _sized          ;@ always
_size:
    asl
    asl
    asl
    asl
    ora term
    sta total
    lda (source_high),y
    lsr
    lsr
    lsr
    lsr
    sta total+1
_sized:
    ldx total
    clc
{add_square("square_low,x", "square_high,x", "aligned", "sum_a")}
    bcc *+8             ;@ p=0.9
    inc sum_a+2
    bne *+4             ;@ p=0.99
    inc sum_a+3
    asl total           ; 2 l, h times
    lda #0
    rol
    sta term
    ldx total+1
    bne _times          ;@ p=0.99
    jmp _next
_times:
    clc
    lda total
    adc sum_a+1
    sta sum_a+1
    lda term
    adc sum_a+2
    sta sum_a+2
    bcc *+4             ;@ p=0.99
    inc sum_a+3
    dex
    bne _times          ;@ times long_turns
    ldx total+1
    clc
    lda square_low,x    ;@ aligned
    adc sum_a+2
    sta sum_a+2
    bcc *+4             ;@ p=0.9
    inc sum_a+3
    jmp _next"""


def row_limits(limits: list[int]) -> bytes:
    """What exact_rows compares sum_a with, row by row: a limit's bytes 1 and 2."""
    return b"".join(min(max(0, n) >> 8, 0xFFFF).to_bytes(2, "little") for n in limits)


def exact_rows() -> str:
    """`exact_rows`: 32-bit sums, a bit of a weight at a time."""
    skip = lines(
        *(
            f"    clc\n    lda {pointer}\n    adc #{step}\n    sta {pointer}\n"
            f"    bcc *+4             ;@ p=0.9\n    inc {pointer}+1"
            for pointer, step in (
                ("past_high", 4),
                ("key_low", 2),
                ("row", 1),
                ("out_low", 1),
                ("out_high", 1),
            )
        )
    )
    return f"""\
; exact_rows: rows_left rows again, where sum_a is not below the row's limit:
; total = bias + the sum of weight * x, shifted, saturated, stored.
; row: the first row's weight in column 0; the next column is `count_a` bytes on, the next row one;
; past_low: what was taken off the weights of each column; past_high: 4 bytes of bias a row;
; key_low: 2 bytes of limit a row; source_low, source_high: x; count_b: columns; count_b+1: shift;
; out_low, out_high; uses everything but sum_a
exact_rows:
    ldy #0
    lda sum_a+3
    bne _exact          ;@ p=0.01
    lda sum_a+1
    cmp (key_low),y
    iny
    lda sum_a+2
    sbc (key_low),y
    bcs _exact          ;@ p=row_beyond
    jmp _next
_exact:
    ldy #0
_bias:
    lda (past_high),y
    sta total,y
    iny
    cpy #4
    bne _bias           ;@ times 4
    lda row
    sta pointer
    lda row+1
    sta pointer+1
    ldy #0
_column:
    sty index
    lda (source_high),y
    sta term+1
    asl
    lda #0
    adc #$ff
    eor #$ff
    sta term+2
    sta term+3
    lda (source_low),y
    sta term
    ora term+1
    beq _nothing        ;@ p=zero_columns
    lda (past_low),y
    ldy #0
    clc
    adc (pointer),y     ; the weight
    bpl _multiply       ;@ p=0.5
    eor #$ff            ; both change their signs
    clc
    adc #1
    tax
    sec
    lda #0
    sbc term
    sta term
    lda #0
    sbc term+1
    sta term+1
    lda #0
    sbc term+2
    sta term+2
    lda #0
    sbc term+3
    sta term+3
    txa
_multiply:
    lsr
    sta scratch
    bcc _even           ;@ p=1-weight_ones
    clc
    lda total
    adc term
    sta total
    lda total+1
    adc term+1
    sta total+1
    lda total+2
    adc term+2
    sta total+2
    lda total+3
    adc term+3
    sta total+3
_even:
    asl term
    rol term+1
    rol term+2
    rol term+3
    lda scratch
    bne _multiply       ;@ times weight_bits
_nothing:
    clc
    lda pointer
    adc count_a
    sta pointer
    lda pointer+1
    adc count_a+1
    sta pointer+1
    ldy index
    iny
    cpy count_b
    bne _column         ;@ times exact_columns
    lda count_b+1
    jsr shift_total
    jsr saturate_16_4
    ldy #0
    lda total
    sta (out_low),y
    lda total+1
    sta (out_high),y
_next:
{skip}
    dec rows_left
    beq *+5             ;@ times rows
    jmp exact_rows
    rts"""


def check(limit: int) -> str:
    """The carry is clear where sum_a is above a limit."""
    data = max(limit, 0).to_bytes(4, "little")
    return lines(
        f"    lda #{data[0]}\n    cmp sum_a",
        *(f"    lda #{b}\n    sbc sum_a+{i}" for i, b in enumerate(data[1:], 1)),
    )
