"""A second bound, finer than a screen's, for the rows that it leaves -> assembly text.

A screen's bounds are far above most sums: where many logits are alike, many rows would be done
exactly.  After some, the others are bounded once more by a chain that loses fewer bits, of the
table and, where they hold any, of the vector's elements; only those that may still be as large are
done exactly.

The finer chain ends modulo 255, too, and that is less than all sums can be apart; but the screen
has said of each row how far above the best it can be at most.  Where that is near, an end that
would be farther above can only be below.

What bounds it: 8 cycles a product, about 95 a row; 120 a column, once.

    <name>_finer_take, <name>_finer   the vector; whether row X cannot be as large as the best
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.bounds import Screen, place
from anachron.kernels.mos6502.residue.screen import (
    Rows,
    Second,
    add_columns,
    fill_table,
    take,
)

TABLE = "t_finer"
MOST_ABOVE = 240  # steps of the finer chain; from there to 254 is below


@dataclass(frozen=True)
class Finer:
    """What the code is made for.

    screen  the finer one         after  so many rows are done exactly before
    near    steps of the coarse screen above the best, up to which the finer one tells
    apart   bits by which the coarse screen's steps are coarser
    slack   steps of the finer one above the best, that the bound of a row reaches at most which
            the coarse one has no step above it
    """

    screen: Screen
    after: int
    near: int
    apart: int
    slack: int

    def leaves(self, end: int, least: int, finer_end: int, result: int) -> bool:
        """Whether it leaves a row, by its ends in both chains, when `result` is the best."""
        above = (finer_end - least_end(self.screen, result)) % 255
        near = end - least
        told = least > 0 and near <= self.near and finer_end < 255
        return not told or above <= (near << self.apart) + self.slack


def plan(
    coarse: Screen,
    weight: Array,
    bias: Array,
    origin: Array,
    highest: Array,
    fine: int,
    after: int,
) -> Finer | None:
    """A finer screen whose table loses `fine` bits, or None where it would tell nothing.

    Where elements lose bits, too, they lose one less: few vectors have any that is as large as it
    may be, and their rows are done exactly.

    weight (rows, columns) int8; bias (rows,); origin (columns,); highest (rows,) no sum exceeds
    """
    down = max(coarse.down - 1, 0)
    guarded = down < coarse.down
    finer = place(weight, bias, origin, highest, coarse.shift, down, fine, guarded=guarded)
    apart = coarse.coarse - finer.coarse
    if apart <= 0 or finer.coarse < 0:
        return None
    size = np.abs(weight.astype(np.int64)).sum(1)
    worst = (weight.shape[1] * ((1 << fine) - 1) << down) + ((1 << down) - 1) * size
    slack = (int(worst.max()) >> down + fine) + 7 + (1 << apart)
    near = MOST_ABOVE - slack >> apart
    return Finer(finer, after, near, apart, slack) if near > 0 else None


def least_end(screen: Screen, result: int) -> int:
    """Where the chain of a row ends, modulo 255, whose bound is that of the best result."""
    return int((result + (1 << screen.coarse) - 1 >> screen.coarse) - screen.lowest + 1) % 255


def fill(finer: Finer) -> str:
    """`fill_finer`: the table; once."""
    return fill_table(finer.screen.fine, TABLE, "fill_finer")


def second(
    rows: Rows,
    finer: Finer,
    x: Vector,
    again: float,
    first: float,
    left: float,
    far: float = 0.0,
) -> Second:
    """What the screen's search does besides.

    again  the share of the rows that the screen leaves, that are bounded once more
    first  the share of those that are the first of a vector
    left   the share of those that may still be the largest
    far    the share of the vector's elements that the finer screen's bytes do not hold
    """
    name = rows.name
    return Second(
        f"    lda #{finer.after + 1}\n    sta {name}_left",
        f"""\
    lda {name}_left           ; so many are done exactly first
    beq _told           ;@ p={again:.4f}
    dec {name}_left
    bne _whole          ;@ p={1 - (first * again) / (1 - again + first * again):.4f}
    jsr {name}_finer_take
    bne _whole          ;@ p=0.01
_told:
    jsr {name}_finer
    bcs _skip           ;@ p={1 - left:.4f}
_whole:""",
        _update(name, finer),
        _routines(rows, finer, x, far),
    )


def _update(name: str, finer: Finer) -> str:
    """After the best, `largest`, has changed: where its own bound would end; uses A, scratch."""
    screen = finer.screen
    rest = (1 - screen.lowest - (1 << 15 - screen.coarse)) % 255
    return lines(
        f"""\
    clc
    lda largest
    adc #{(1 << screen.coarse) - 1}
    sta scratch
    lda largest+1
    eor #$80
    adc #0""",
        *["    lsr\n    ror scratch"] * screen.coarse,
        f"    clc\n    adc scratch\n    adc #{rest}\n    adc #0\n    sta {name}_finer_least+1",
    )


def _routines(rows: Rows, finer: Finer, x: Vector, far: float) -> str:
    """`<name>_finer_take` and `<name>_finer`; both keep X."""
    name = rows.name
    guard = f"{name}_finer_far:" if finer.screen.guarded else ""
    return lines(
        f"""\
; {name}_finer_take: the vector; Z is clear where it cannot be: all rows are done exactly, then
{name}_finer_take:
    stx first""",
        take(rows, finer.screen, x, TABLE, f"{name}_finer", f"{far:.5f}"),
        "    ldx first",
        guard,
        f"""\
    lda #0
    sta {name}_left
    rts
{name}_sure:
    clc
    rts
; {name}_finer: the carry is set where row X cannot be as large as the best
{name}_finer:
    lda {name}_least+1
    beq {name}_sure           ;@ p=0.01
    lda {rows.at(f"{name}_bounds")},x
    sec
    sbc {name}_least+1
    cmp #{finer.near + 1}
    bcs {name}_sure           ;@ p=0.02""",
        "    asl\n" * finer.apart,
        f"""\
    adc #{finer.slack + 2}
    sta {name}_finer_most+1
    lda {rows.at(f"{name}_finer_constants")},x
    clc
{name}_finer_own:
    adc #0
{name}_finer_operands:""",
        add_columns(rows.block, rows.columns, TABLE),
        f"""\
    adc #0
    sec
{name}_finer_least:
    sbc #0
    sbc #0
    clc
    adc #1              ; 255 is 0
{name}_finer_most:
    cmp #0
    rts
{name}_left:
    .byte 0""",
    )
