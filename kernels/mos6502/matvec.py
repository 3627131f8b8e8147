"""matvec: a matrix times a vector, any shape, exact in 32 bits -> assembly text.

    for each row:  total = constant - operand_fix + a + 256 b,  then shifted and saturated

a and b are the sums over the columns of T(w + 128 + low byte of x) and T(w + 128 + high byte of
x + 128): one look into the products' table each (arithmetic.py); what T adds beyond the products
is the row's constant, known when the matrix is packed, and the vector's correction, computed once
a vector.  A row is 4 bytes of constant, 1 of shift, then its weights + 128.

    prepare_<columns>_<bits>               the vector -> operand pages and operand_fix
    matvec_<columns>_<bits>_<result bits>  the rows

To add a faster variant: another pair of such functions, for the shapes and ranges it is exact on.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.arithmetic import accumulate, correct, sum_bytes, triangular
from anachron.kernels.mos6502.instructions import (
    Vector,
    add,
    add_to_word,
    clear,
    lines,
    set_word,
)

HEAD_BYTES = 5  # of a row: the constant and the shift
CARRIES = (0.05, 0.01)  # low bytes are any, high bytes and weights near 128
SUM_COLUMNS = 512  # so many terms of T fit the 24 bits of a sum


def pack_rows(weight: Array, bias: Array, shift: Array, x_bits: int) -> bytes:
    """The matrix as the kernel reads it.

    weight (rows, columns) int8, bias (rows,) int32, shift (rows,) 0 .. 31
    """
    weight = np.asarray(weight, np.int64) + 128
    columns = weight.shape[1]
    own = triangular(weight).sum(1) - 32640 * columns
    scale, offset = (257, 32768) if x_bits == 16 else (1, 128)
    constant = bias - scale * own - offset * weight.sum(1) + 128 * offset * columns
    head = np.empty((len(weight), HEAD_BYTES), np.uint8)
    head[:, :4] = (constant % (1 << 32)).astype("<u4").view(np.uint8).reshape(-1, 4)
    head[:, 4] = shift
    return np.hstack([head, weight.astype(np.uint8)]).tobytes()


def _chunks(columns: int) -> list[tuple[int, int]]:
    """(first column, how many) for each operand page."""
    return [(start, min(256, columns - start)) for start in range(0, columns, 256)]


def operand_pages(columns: int, bits: int) -> int:
    """Pages of the operand area that a vector needs: low and high bytes of each 256 columns."""
    return len(_chunks(columns)) * (bits // 8)


def _pages(chunk: int, bits: int, operand: str = "operand") -> list[str]:
    return [f"{operand}+{256 * (chunk * (bits // 8) + part)}" for part in range(bits // 8)]


def prepare(columns: int, bits: int) -> str:
    """The routine that takes a vector from source_low, source_high."""
    return take(f"prepare_{columns}_{bits}", columns, bits, 8, "operand", "operand_fix", 4)


def take(
    name: str, columns: int, bits: int, other_bits: int, operand: str, fix: str, size: int
) -> str:
    """A routine that takes a vector from source_low, source_high to the ends of pages.

    The top bit of each number is flipped; fix, a number of `size` bytes, becomes what its products
    with numbers of other_bits need.
    """
    text = [
        f"; {name}: the int{bits} vector at source_low, source_high -> {operand}, {fix}",
        f"; uses A, X, Y, sum_a, sum_b, count_a, count_b, term\n{name}:",
        *(clear(n, 4) for n in ("sum_a", "sum_b")),
        *(clear(n, 3) for n in ("count_a", "count_b")),
    ]
    for chunk, (start, n) in enumerate(_chunks(columns)):
        pages = _pages(chunk, bits, operand)
        if start:
            text.append("    inc source_low+1")
            text.append("    inc source_high+1" if bits == 16 else "")
        text.append(f"    ldy #0\n    ldx #{256 - n & 255}\n_take_{chunk}:\n    lda (source_low),y")
        if bits == 8:
            text.append("    eor #$80")
        text.append(f"    sta {pages[0]},x")
        if bits == 16:
            text.append(f"    lda (source_high),y\n    eor #$80\n    sta {pages[1]},x")
        text.append(f"    iny\n    inx\n    bne _take_{chunk}        ;@ times {n}")
        for page, total, count in zip(
            pages, ("sum_a", "sum_b"), ("count_a", "count_b"), strict=False
        ):
            text.append(f"{name}_{chunk}_{total}:")
            text.append(sum_bytes(page, total, count, n))
    text += [correct(bits, other_bits, size, fix), "    rts"]
    return lines(*text)


def rows(columns: int, bits: int, result_bits: int, fetch: str = "") -> str:
    """The routine that does rows_left rows from `row` on, into out_low, out_high.

    fetch  brings each row to where `row` points, where the rows are not in memory
    """
    name = f"matvec_{columns}_{bits}_{result_bits}"
    text = [
        f"; {name}: rows_left rows at `row` times the operand, int{result_bits}, to out_low,"
        f" out_high\n; uses A, X, Y, sum_a, sum_b, total\n{name}:",
        fetch,
        "    ldy #0\n    sec",
        *(
            f"    lda (row),y\n    sbc operand_fix+{i}\n    sta total+{i}"
            + ("\n    iny" if i < 3 else "")
            for i in range(4)
        ),
    ]
    for chunk, (start, n) in enumerate(_chunks(columns)):
        skip = HEAD_BYTES + start - (256 - n)
        if start % SUM_COLUMNS == 0:
            text += [clear("sum_a", 3), clear("sum_b", 3) if bits == 16 else ""]
        text.append(
            f"    clc\n    lda row\n    adc #<({skip % 65536})\n    sta _weight_{chunk}+1\n"
            f"    lda row+1\n    adc #>({skip % 65536})\n    sta _weight_{chunk}+2\n"
            f"    ldx #{256 - n & 255}\n    clc\n_weight_{chunk}:\n"
            f"    lda $ffff,x         ;@ p={(511 - n) / 512:.3f}\n"
            "    sta product_low\n    sta product_high"
        )
        for page, total, carries in zip(
            _pages(chunk, bits), ("sum_a", "sum_b"), CARRIES, strict=False
        ):
            text.append(f"    ldy {page},x\n" + accumulate(total, carries))
        text.append(f"    inx\n    bne _weight_{chunk}      ;@ times {n}")
        if (start + n) % SUM_COLUMNS == 0 or start + n == columns:
            text.append(add("total", "sum_a", 4, 3))
            text.append(add("total", "sum_b", 4, 3, 1) if bits == 16 else "")
    text += [
        "    ldy #4\n    lda (row),y\n    jsr shift_total",
        f"    jsr saturate_{result_bits}_4",
        "    ldy #0\n    lda total\n    sta (out_low),y",
        "    lda total+1\n    sta (out_high),y" if result_bits == 16 else "",
        "    inc out_low\n    bne *+4             ;@ p=0.996\n    inc out_low+1",
        "    inc out_high\n    bne *+4             ;@ p=0.996\n    inc out_high+1"
        if result_bits == 16
        else "",
        "" if fetch else add_to_word("row", str(HEAD_BYTES + columns)),
        "    lda rows_left\n    bne *+4             ;@ p=0.996\n    dec rows_left+1",
        "    dec rows_left\n    lda rows_left\n    ora rows_left+1",
        f"    beq _done           ;@ times rows\n    jmp {name}\n_done:\n    rts",
    ]
    return lines(*text)


def shift_total() -> str:
    """The shift of a row: by bytes, then by bits."""
    return """\
; shift_total: total (4 bytes, signed) >>= A (0 .. 31), flooring; uses A, Y
shift_total:
    cmp #8
    bcc _bits           ;@ times shift_bytes+1
    sbc #8
    pha
    lda total+1
    sta total
    lda total+2
    sta total+1
    lda total+3
    sta total+2
    asl
    lda #0
    adc #$ff
    eor #$ff
    sta total+3
    pla
    jmp shift_total
_bits:
    tay
    beq _done           ;@ p=usual(no_bits,0.1)
_bit:
    lda total+3
    asl
    ror total+3
    ror total+2
    ror total+1
    ror total
    dey
    bne _bit            ;@ times shift_bits
_done:
    rts"""


def call(
    name: str, x: Vector, out: Vector, matrix: str, prepared: bool, place: str = ""
) -> str:
    """The op `name`: a matrix at a label times x.

    prepared  the operand already holds x
    place     text that says where rows come from which are not in memory
    """
    text = [f"{name}:"]
    if not prepared:
        text.append(set_word("source_low", x.low))
        text.append(set_word("source_high", x.high) if x.bits == 16 else "")
        text.append(f"    jsr prepare_{x.size}_{x.bits}")
    text += [
        set_word("row", matrix),
        set_word("rows_left", str(out.size)),
        set_word("out_low", out.low),
        set_word("out_high", out.high) if out.bits == 16 else "",
        place,
        f"    jmp matvec_{x.size}_{x.bits}_{out.bits}",
    ]
    return lines(*text)
