"""A second bound, finer than a screen's, for the rows that it leaves -> assembly text.

A screen's bounds are far above most sums: where many logits are alike, many rows would be done
exactly.  After some, the others are bounded once more by a chain whose table loses fewer bits; only
those that may still be as large are done exactly.

The finer chain ends modulo 255, too, and that is less than all sums can be apart; but the screen
has said how far above the best a row can be at most.  Where that is near, an end that would be
farther above can only be below.

What bounds it: 8 cycles a product, about 80 a row; 120 a column, once.

    <name>_finer     the carry is set where row X cannot be as large as the best
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.screen import (
    Rows,
    Screen,
    Second,
    add_columns,
    fill_table,
    take,
)

TABLE = "t_finer"
MOST_ABOVE = 160  # steps of the finer chain; from there to 254 is below


@dataclass(frozen=True)
class Finer:
    """What the code is made for.

    screen  the finer one         after  so many rows are done exactly before
    near    steps of the coarse screen above the best, up to which the finer one tells
    above   steps of the finer one above the best that such a row's bound reaches at most
    """

    screen: Screen
    after: int
    near: int
    above: int

    def leaves(self, end: int, least: int, finer_end: int, result: int) -> bool:
        """Whether it leaves a row, by its ends in both chains, when `result` is the best."""
        apart = (finer_end - least_end(self.screen, result)) % 255
        return least == 0 or end - least > self.near or apart <= self.above


def plan(coarse: Screen, finer: Screen, weight: Array, after: int) -> Finer | None:
    """How the finer of two screens of a matrix is used, or None where it would tell nothing."""
    lost = (1 << finer.down) - 1
    worst = (weight.shape[1] * ((1 << finer.fine) - 1) << finer.down) + lost * abs(weight).sum(1)
    slack = (int(worst.max()) >> finer.down + finer.fine) + 4
    apart = coarse.coarse - finer.coarse
    near = (MOST_ABOVE - slack - 3 >> apart) - 1 if apart > 0 else 0
    return Finer(finer, after, near, (near + 1 << apart) + slack + 3) if near > 0 else None


def least_end(screen: Screen, result: int) -> int:
    """Where the chain of a row ends, modulo 255, whose bound is that of the best result."""
    return int((result + (1 << screen.coarse) - 1 >> screen.coarse) - screen.lowest + 1) % 255


def fill(finer: Finer) -> str:
    """`fill_finer`: the table; once."""
    return fill_table(finer.screen.fine, TABLE, "fill_finer")


def second(
    rows: Rows, finer: Finer, x: Vector, again: float, first: float, left: float
) -> Second:
    """What the screen's search does besides.

    again  the share of the rows that the screen leaves, that are bounded once more
    first  the share of those that are the first of a vector
    left   the share of those that may still be the largest
    """
    name = rows.name
    return Second(
        f"    lda #{finer.after}\n    sta {name}_left",
        f"""\
    dec {name}_left
    bpl _whole          ;@ p={1 - again:.4f}
    jsr {name}_finer
    bcs _skip           ;@ p={1 - left:.4f}
_whole:""",
        _update(name, finer),
        _routine(rows, finer, x, first),
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


def _routine(rows: Rows, finer: Finer, x: Vector, first: float) -> str:
    """`<name>_finer`; keeps X.

    first  how often a call is the first of a vector, 0 .. 1
    """
    name = rows.name
    return lines(
        f"""\
; {name}_finer: the carry is set where row X cannot be as large as the best; keeps X
{name}_finer:
    lda {name}_left
    cmp #$ff
    beq _first          ;@ p={first:.4f}
    jmp {name}_taken
_first:
    stx first""",
        take(rows, finer.screen, x, TABLE, f"{name}_finer"),
        f"""\
    ldx first
    jmp {name}_taken
{name}_sure:
    clc
    rts
{name}_taken:
    lda #$ff
    sta {name}_left
    lda {name}_least+1
    beq {name}_sure           ;@ p=0.01
    lda {rows.at(f"{name}_bounds")},x
    sec
    sbc {name}_least+1
    cmp #{finer.near + 1}
    bcs {name}_sure           ;@ p=0.02
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
    cmp #{finer.above + 2}
    rts
{name}_left:
    .byte 0""",
    )
