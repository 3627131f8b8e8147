"""Scores of words, the query's bytes as operands: attention.py's for small heads -> assembly text.

A product of words is four of bytes, x * y = T(x + y) - T(x) - T(y) + 32640 (arithmetic.py).  While
a head is at work its query stays: x is the low byte of a table's address, y the index, and the sums
of T(x) and T(y) are a number that the query has and one that each key has brought.

What bounds it: a feature 32 * 2 + 2 looks of 12 cycles, 106; a row 380 more, the transfer and the
sums of five bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.arithmetic import OFFSET, TOP
from anachron.kernels.mos6502.cache import FIX_BYTES
from anachron.kernels.mos6502.instructions import (
    add_constant,
    add_to_word,
    clear,
    copy,
    lines,
    set_word,
)
from anachron.kernels.mos6502.streamed.head_shapes import RECORD
from anachron.kernels.mos6502.streamed.loops import count_rows, next_row

if TYPE_CHECKING:
    from anachron.kernels.mos6502.streamed.attention import Shape

MOST_FEATURES = 16  # the code is unrolled over them
SUMS = ("sum_a", "sum_b", "sum_c")  # of products that weigh 1, 256 and 65536
GROWS = (0.08, 0.05, 0.01)  # how often a sum's third byte does: high bytes are near 128
SCALE = sum(256 ** (i + j) for i in range(2) for j in range(2))


def applicable(shape: Shape) -> bool:
    return shape.query_bits == shape.key_bits == 16 and shape.head_size <= MOST_FEATURES


def scores(shape: Shape) -> str:
    """The scores of all rows, and the largest."""
    name, size = shape.name, shape.head_size
    fix = f"${RECORD + 2 * size:02x}"
    start = -size * (TOP * SCALE + OFFSET[16] ** 2)
    text = [
        copy("source_low", "query_low", 2),
        copy("source_high", "query_high", 2),
        f"    jsr take_{size}_16_16",
        # Every product lacks one TOP; what the offsets multiply to is counted in, too.
        add_constant("correction", start, FIX_BYTES),
        "    sec",
        *(
            f"    lda #0\n    sbc correction+{i}\n    sta correction+{i}"
            for i in range(FIX_BYTES)
        ),
    ]
    for d in range(size):
        for part in range(2):
            text.append(f"    lda query+{256 * part + 256 - size + d}")
            sites = [f"{name}_q{part}_{d}_{k}_{end}" for k in range(2) for end in ("low", "high")]
            text += [f"    sta {site}+1" for site in sites]
    text += [
        expansion.point_at(f"{name}_keys"),
        expansion.set_up(f"${RECORD:04x}", shape.key_bytes),
        set_word("past_low", "attend_scores"),
        clear("largest", shape.score_bytes),
        count_rows(name),
        f"{name}_score:",
        expansion.again(expansion.FETCH, f"${RECORD:04x}", shape.key_bytes),
        "    lda #0\n    sta sum_a+2\n    sta sum_b\n    sta sum_b+1\n    sta sum_b+2",
        *(
            f"    lda correction+{i}\n    sta {place}"
            for i, place in enumerate(("sum_a", "sum_a+1", "sum_c", "sum_c+1", "sum_c+2"))
        ),
        "    clc",
    ]
    for d in range(size):
        for k in range(2):
            text.append(f"    ldy ${RECORD + k * size + d:02x}")
            text += [_add(f"{name}_q{part}_{d}_{k}", part + k) for part in range(2)]
    for low, high in (("sum_a", "sum_b"), ("sum_b", "sum_c")):
        text.append(
            f"    clc\n    lda {high}\n    adc {low}+1\n    sta {high}\n    lda {high}+1\n"
            f"    adc {low}+2\n    sta {high}+1\n    bcc *+4             ;@ p=0.8\n"
            f"    inc {high}+2"
        )
    text.append("    sec")
    for i, byte in enumerate(("sum_a", "sum_b", "sum_c", "sum_c+1", "sum_c+2")):
        text.append(f"    lda {byte}\n    sbc {fix}+{i}\n    sta total+{i}")
    top = shape.score_bytes - 1
    text += [f"{name}_shift:\n    jsr $ffff           ;@ goes {{{name}_shift}}", "    ldy #0"]
    for i in range(shape.score_bytes):
        flip = f"    eor #$80\n    sta total+{i}\n" if i == top else ""
        more = "    iny\n" if i else ""
        text.append(f"{more}    lda total+{i}\n{flip}    sta (past_low),y")
    text.append("    lda largest\n    cmp total")
    text += [f"    lda largest+{i}\n    sbc total+{i}" for i in range(1, shape.score_bytes)]
    text += [
        f"    bcs {name}_smaller  ;@ p=1-min(5,seen)/seen",
        copy("largest", "total", shape.score_bytes),
        f"{name}_smaller:",
        add_to_word("past_low", str(shape.score_bytes)),
        next_row(f"{name}_score"),
    ]
    return lines(*text)


def _add(label: str, weight: int) -> str:
    """A sum grows by T of a byte of the query, an operand, and Y; the carry is clear."""
    total = SUMS[weight]
    return f"""\
{label}_low:
    lda products_low,y      ;@ p=0.5
    adc {total}
    sta {total}
{label}_high:
    lda products_high,y     ;@ p=0.5
    adc {total}+1
    sta {total}+1
    bcc *+5             ;@ p={1 - GROWS[weight]}
    inc {total}+2
    clc"""
