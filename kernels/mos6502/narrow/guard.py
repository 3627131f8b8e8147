"""What a narrow matrix does where no proof says that its sums fit -> assembly text.

After the rows: the vector is measured; up to a limit all sums fitted (Cauchy and Schwarz), and
beyond it a slow routine does the rows again that may not have, from the same weights.

    measure       sum_a (2 bytes) = the sum of x * x / 65, each rounded up
    exact rows    100 cycles a product, any sums

To guard another kernel: give exact_rows its weights and a record a row.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.arithmetic import TOP, accumulate, triangular
from anachron.kernels.mos6502.instructions import Vector, add, lines, set_word, subtract

UNIT = 65  # of squares: 128 * 128 / 65 is the largest that a byte holds
MOST_ELEMENTS = 128
RECORD = 8  # bytes a row: limit (2), constant (4), shift, place of the result


def squares() -> bytes:
    """`narrow_squares`, 384 bytes: x * x / UNIT, rounded up, by the byte of an int8 x.

    From 128 on it is the same by x + 128.
    """
    x = (np.arange(384) + 128) % 256 - 128
    return (-(-x * x // UNIT)).astype(np.uint8).tobytes()


def limits(weight: Array, bias: Array, lowest: int, highest: int, positive: bool) -> Array:
    """(rows,) the largest sum_a with which a row's sum lies in lowest .. highest; -1: none.

    positive  x has no negative elements: only weights of one sign can make a sum large
    """
    norms = longest(weight, bias, lowest, highest, positive)
    return np.where(norms > 0, np.floor(np.square(norms) / UNIT), -1).astype(np.int64)


def longest(weight: Array, bias: Array, lowest: int, highest: int, positive: bool) -> Array:
    """(rows,) the length of x up to which a row's sum lies in lowest .. highest."""
    weight, bias = weight.astype(float), bias.astype(float)
    up = np.linalg.norm(np.maximum(weight, 0) if positive else weight, axis=1)
    down = np.linalg.norm(np.minimum(weight, 0) if positive else weight, axis=1)
    return np.minimum(
        (highest - bias) / np.maximum(up, 1e-9), (bias - lowest) / np.maximum(down, 1e-9)
    )


def records(weight: Array, bias: Array, shift: Array, most: Array, place: Array) -> bytes:
    """What exact_rows reads of rows in the order of memory.

    most  limits, 0 and more      place  of the result
    """
    weight = weight.astype(np.int64)
    own = (TOP - triangular(weight + 128) - 128 * weight).sum(1) + bias.astype(np.int64)
    table = np.zeros((len(weight), RECORD), np.uint8)
    table[:, :2] = np.minimum(most, 65535).astype("<u2").view(np.uint8).reshape(-1, 2)
    table[:, 2:6] = (own % (1 << 32)).astype("<u4").view(np.uint8).reshape(-1, 4)
    table[:, 6], table[:, 7] = shift, place
    return table.tobytes()


def check(label: str, x: Vector, least: int, sure: float, exact: str) -> str:
    """The routine `label`: does the rows again where x is too long for some.

    least  the smallest limit      sure  how often, 0 to 1, x is not      exact  text of the call
    """
    return f"""\
{label}:
    lda #0
    sta sum_a+1
    ldy #{x.size - 1}
    clc
_element:
    ldx {x.low},y       ;@ p=0.1
    adc narrow_squares,x    ;@ aligned
    bcc _next           ;@ p=0.9
    inc sum_a+1
    clc
_next:
    dey
    bpl _element        ;@ times {x.size}
    sta sum_a
    lda #<{least}
    cmp sum_a
    lda #>{least}
    sbc sum_a+1
    bcc _long           ;@ p={1 - sure:.4f}
    rts
_long:
{exact}"""


def call(
    x: Vector, out: Vector, weights: str, origins: str, table: str, stride: int, n_rows: int
) -> str:
    """A tail call of exact rows: labels of the first row's weight, origins + 128, and records."""
    words = (
        ("source_low", x.low),
        ("row", weights),
        ("past_low", origins),
        ("key_low", table),
        ("count_a", str(stride)),
        ("out_low", out.low),
        ("out_high", out.high),
    )
    return lines(
        *(set_word(name, value) for name, value in words if value),
        f"    lda #{x.size}\n    sta count_b\n    lda #{n_rows}\n    sta rows_left\n"
        f"    jmp narrow_exact_{out.bits}",
    )


def exact_rows(bits: int) -> str:
    """`narrow_exact_<bits>`: rows with sums of 24 bits, by the products' table."""
    store = "    lda total\n    sta (out_low),y"
    if bits == 16:
        store += "\n    lda total+1\n    sta (out_high),y"
    return lines(
        f"""\
; narrow_exact_{bits}: rows_left rows again, where sum_a is above the row's limit, int{bits}
; row: the first row's weight in column 0; the next column is `count_a` bytes on, the next row one;
; past_low: what was taken off the weights of each column, + 128; key_low: records;
; source_low: x of count_b elements; out_low, out_high; uses everything but sum_a
narrow_exact_{bits}:
    lda #0
    sta sum_c
    sta sum_c+1
    sta sum_c+2
    tay
_own:                   ; sum_c: of T(x + 128) + 128 (x + 128)
    lda (source_low),y
    eor #$80
    tax
    lsr
    sta term+1
    lda #0
    ror
    clc
    adc products_low,x  ;@ aligned
    sta term
    lda term+1
    adc products_high,x ;@ aligned
    sta term+1
    clc
    lda term
    adc sum_c
    sta sum_c
    lda term+1
    adc sum_c+1
    sta sum_c+1
    bcc *+4             ;@ p=0.7
    inc sum_c+2
    iny
    cpy count_b
    bne _own            ;@ times exact_columns
_row:
    ldy #0
    lda (key_low),y
    cmp sum_a
    iny
    lda (key_low),y
    sbc sum_a+1
    bcc _exact          ;@ p=0.2
    jmp _next
_exact:
    iny""",
        *(f"    lda (key_low),y\n    sta total+{i}\n    iny" for i in range(4)),
        subtract("total", "sum_c", 4, 3),
        """\
    lda #0
    sta sum_b
    sta sum_b+1
    sta sum_b+2
    lda row
    sta pointer
    lda row+1
    sta pointer+1
    ldy #0
_column:
    sty index
    lda (source_low),y
    eor #$80
    sta product_low
    sta product_high
    lda (past_low),y
    ldy #0
    clc
    adc (pointer),y     ; the weight + 128
    tay
    clc""",
        accumulate("sum_b", 0.3),
        """\
    lda pointer
    adc count_a
    sta pointer
    lda pointer+1
    adc count_a+1
    sta pointer+1
    ldy index
    iny
    cpy count_b
    bne _column         ;@ times exact_columns""",
        add("total", "sum_b", 4, 3),
        f"""\
    ldy #6
    lda (key_low),y
    jsr shift_total
    jsr saturate_{bits}_4
    ldy #7
    lda (key_low),y
    tay
{store}
_next:
    clc
    lda key_low
    adc #{RECORD}
    sta key_low
    bcc *+4             ;@ p=0.97
    inc key_low+1
    inc row
    bne *+4             ;@ p=0.99
    inc row+1
    dec rows_left
    beq *+5             ;@ times rows
    jmp _row
    rts""",
    )
