"""The likeliest token among rows that end in several ways, run by run, the same one -> assembly.

    bound    screen.py's chain over the products' upper bytes, all rows of a run
    need     what a bound must be in this run for a row to be as large as the largest so far: a run
             has a shift of its own, and so a unit and a window
    exact    the row of the largest bound, then each that may be as large, by rows.py, one at a time

What bounds it: 8 cycles a product, about 40 a row and 110 a column; an exact row takes as long as
in rows.py and 100 more, a largest one 150.

A call does a run: X its last row, Y the end of its numbers in a table; its rows end where rows.py
has been told.  The first of equals is told by the rows' places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from anachron.kernels.mos6502 import largest
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.bounds import Screen
from anachron.kernels.mos6502.residue.screen import Rows, add_columns, take

NUMBERS = 6  # of a run, at `term` while it is done
LEAST = -32768  # a result; nothing is larger before the first


def right(screens: Iterable[Screen]) -> bool:
    """Whether a result moves a byte right and then more, not a byte less some bits."""
    return max(screen.coarse for screen in screens) > 8


def applicable(screens: Sequence[Screen]) -> bool:
    """Whether one routine tells what all runs need."""
    coarse = [screen.coarse for screen in screens]
    return min(coarse) >= 1 and (max(coarse) <= 8 or 8 <= min(coarse) <= max(coarse) <= 15)


def least_end(screen: Screen, result: int) -> int:
    """Where the chain of a row must end whose result may be as large."""
    units = -(-result >> screen.coarse)
    return min(max(0, units - screen.lowest + 1), 255)


def numbers(screens: Sequence[Screen], firsts: Sequence[int]) -> bytes:
    """The runs' numbers; firsts: the first row of each in its block."""
    found = []
    for screen, first in zip(screens, firsts, strict=True):
        more = (1 << screen.coarse) - 1
        rise = screen.lowest - 1 + (-LEAST >> screen.coarse)
        turns = abs(8 - screen.coarse)
        found += [first - 1, more, more >> 8, turns, rise, rise >> 8]
    return (np.array(found) & 0xFF).astype(np.uint8).tobytes()


def begin(rows: Rows, screen: Screen, x: Vector) -> str:
    """Before the first run: the vector into the chain, and nothing found."""
    return lines(
        take(rows, screen, x, screen.tables[1], rows.name),
        f"    lda #<{LEAST}\n    sta largest\n    lda #>{LEAST}\n    sta largest+1\n"
        "    lda #$ff            ; no token: any is better\n    sta next_token",
    )


def call(name: str, number: int, first: int, size: int) -> str:
    """Do run `number` of so many rows: a tail call."""
    last = NUMBERS * number + NUMBERS - 1
    return f"    ldx #{first + size - 1}\n    ldy #{last}\n    jmp {name}_seek"


def seek(rows: Rows, screens: Sequence[Screen], lasts: Sequence[str]) -> str:
    """`<name>_seek`: a run; next_token is the row of the largest result so far, in `largest`.

    lasts  the instructions whose operand is the row above which rows.py stops
    """
    name, out = rows.name, rows.out
    constants, bounds = rows.at(f"{name}_constants"), rows.at(f"{name}_bounds")
    guarded = f"{name}_far:\n    ora #0" if screens[0].guarded else ""
    result = f"{out.low},y", f"{out.high},y"
    turn = "    asl scratch\n    rol scratch+1\n    rol"
    start = "    lda #0\n    rol"
    if right(screens):
        turn, start = "    lsr\n    ror scratch+1", "    lda #0\n    rol"
    return lines(
        f"""\
; {name}_seek: a run's rows X, X-1, ..., its numbers' end in Y; uses everything
{name}_seek:
    stx {name}_again+1
    ldx #{NUMBERS - 1}
_number:
    lda {name}_runs,y
    sta term,x
    dey
    dex
    bpl _number         ;@ times {NUMBERS}
    ldx {name}_again+1
    lda #0
    sta largest+2
{name}_bound:
    lda {constants},x
    clc
{name}_own:
    adc #0
{name}_operands:""",
        add_columns(rows.block, rows.columns, screens[0].tables[1]),
        "    adc #0",
        guarded,
        f"""\
    sta {bounds},x
    cmp largest+2
    bcc _less           ;@ p=0.95
    sta largest+2
    stx index
_less:
    dex
    cpx term
    beq _bounded        ;@ times run_rows
    jmp {name}_bound
_bounded:
    jsr {name}_need
    lda largest+2
    cmp {name}_least+1
    bcc {name}_none     ;@ p=1 - run_entered
    ldx index
    jsr {name}_exact
{name}_again:
    ldx #0
{name}_row:
    lda {bounds},x
{name}_least:
    cmp #0
    bcc _skip           ;@ p=1 - run_exact
    cpx index
    beq _skip           ;@ p=run_first
    jsr {name}_exact
_skip:
    dex
    cpx term
    bne {name}_row      ;@ times run_rows
{name}_none:
    rts
; {name}_exact: row X is the likeliest so far, if it is; keeps X
{name}_exact:
    dex""",
        *(f"    stx {last}+1" for last in lasts),
        f"""\
    inx
    jsr {rows.kernel[0]}_rows
    inx                 ; Y is its place
{largest.challenge(result, "run_larger")}
    cpy next_token      ; of equals the first
    bcc _better         ;@ p=0.5
_worse:
    rts
_better:
    sty next_token
{largest.take(result)}
; {name}_need: what a bound must be in this run; keeps X
{name}_need:
    clc                 ; result + 32768, rounded up
    lda largest
    adc term+1
    sta scratch
    lda largest+1
    eor #$80
    adc term+2
    sta scratch+1
{start}
    ldy term+3
    beq _turned         ;@ p=run_still
_turn:
{turn}
    dey
    bne _turn           ;@ times run_turns
_turned:
    tay
    sec
    lda scratch+1
    sbc term+4
    sta scratch
    tya
    sbc term+5
    beq _byte           ;@ p=0.8
    asl                 ; less than any bound, or more
    lda #$ff
    adc #0
    sta {name}_least+1
    rts
_byte:
    lda scratch
    sta {name}_least+1
    rts""",
    )
