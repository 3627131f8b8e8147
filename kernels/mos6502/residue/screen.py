"""The likeliest token without every logit, the same one: 8 cycles a product -> assembly text.

    bound    one chain over t(n) >> fine, of x >> down, modulo 255: for each row a number that its
             sum, in units of 2**(down + fine), does not exceed
    exact    the row of the largest bound, then each whose bound says that it may be as large, by
             matvec.py's rows, one at a time

What bounds it: 8 cycles a product, about 35 a row and 120 a column; an exact row takes a thousand.
Why the bounds hold: bounds.py.  Rows whose ends differ: run_screen.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from anachron.kernels.mos6502 import largest
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.bounds import TABLE, Screen, plan
from anachron.kernels.mos6502.residue.moduli import triangle

__all__ = ["TABLE", "Rows", "Screen", "fill_table", "make_table", "plan", "seek", "take"]

MOST_FINE = 8
CODE = 6  # bytes of a column
CROSSING = 0.07  # of the reads t+x,Y, measured on trained weights


def make_table(fine: int) -> bytes:
    """TABLE's bytes."""
    return ((triangle(np.arange(512)) >> fine) % 255).astype(np.uint8).tobytes()


def fill_table(fine: int, table: str = TABLE, name: str = "fill_screen") -> str:
    """`fill_screen`: build it; once."""
    shift = "    asl term+3\n    rol term+4\n    rol\n" * (8 - fine)
    half = """\
_{at}:
    lda term            ; t(n), 17 bits
    sta term+3
    lda term+1
    sta term+4
    lda term+2
{shift}    clc                 ; 256 = 1
    adc term+4
    adc #0
    cmp #255
    bne *+4             ;@ p=0.99
    lda #0
    sta {table}+{at},x
    inx                 ; t(n + 1) is n + 1 more
    txa
    clc
    adc term
    sta term
    lda term+1
    adc #{page}
    sta term+1
    bcc *+4             ;@ p=0.99
    inc term+2
    cpx #0
    bne _{at}             ;@ times 256"""
    halves = [half.format(at=256 * page, page=page, shift=shift, table=table) for page in (0, 1)]
    return lines(
        f"; {name}: {table}; uses A, X, term",
        f"{name}:\n    lda #0\n    ldx #4\n_clear:\n    sta term,x\n    dex\n"
        "    bpl _clear          ;@ times 5\n    inx",
        halves[0],
        "    inc term+1          ; 256 more, not 0",
        halves[1],
        "    rts",
    )


@dataclass(frozen=True)
class Rows:
    """The rows of a block among which the likeliest is sought.

    name     of the op         out      of the matrix's exact rows
    block    its label         columns  where each begins in it
    kernel   what does exact rows: its name, the label of their end, and the text that aims it there
    first    row of the matrix in its block          n        rows of the matrix
    skip     so many, from the first, are not asked for
    """

    name: str
    out: Vector
    block: str
    columns: tuple[int, ...]
    kernel: tuple[str, str, str]
    first: int
    skip: int

    @property
    def n(self) -> int:
        return self.out.size

    @property
    def last(self) -> int:
        return self.first + self.n - 1

    def at(self, label: str) -> str:
        """An array of the matrix's rows, by the block's row."""
        return f"{label}-{self.first}" if self.first else label


@dataclass(frozen=True)
class Second:
    """Another bound of rows that the screen leaves (finer.py): its texts.

    start, again  at the beginning; where a row is left: goes to _skip if it cannot be the largest
    update, more  after a new best; routines
    """

    start: str = ""
    again: str = ""
    update: str = ""
    more: str = ""


NONE = Second()


def seek(
    rows: Rows, screen: Screen, x: Vector, likely: float, second: Second = NONE
) -> str:
    """`<name>_seek`: next_token = the row of the largest result, the first of equals, in `largest`.

    x       the vector; packed has been prepared for it, and its block selected
    likely  the share of the rows that the screen leaves
    """
    name, (kernel, end, aim) = rows.name, rows.kernel
    low, high = rows.at(rows.out.low), rows.at(rows.out.high)
    bounds = rows.at(f"{name}_bounds")
    number = f"    sec\n    sbc #{rows.first}\n" if rows.first else ""
    return lines(
        f"; {name}_seek: next_token, and its result in `largest`; uses everything\n{name}_seek:",
        second.start,
        take(rows, screen, x, TABLE, name),
        _chain(rows),
        aim,
        f"""\
    lda #0              ; the least, and no token: any is better
    sta largest
    lda #$80
    sta largest+1
    lda #$ff
    sta next_token
    ldx index
    jsr {name}_exact
    ldx #{rows.first + rows.skip}
{name}_row:
    lda {bounds},x
{name}_least:
    cmp #0
    bcc _skip           ;@ p={1 - likely}
    cpx index
    beq _skip           ;@ p=0.1
{second.again}
    jsr {name}_exact
_skip:
    inx
    cpx #{rows.last + 1 & 255}
    bne {name}_row       ;@ times {rows.n - rows.skip}
    rts
; {name}_exact: row X is the likeliest so far, if it is; keeps X
{name}_exact:
    dex
    stx {end}_last+1
    inx
    jsr {kernel}_rows
    inx
{largest.challenge((f"{low},x", f"{high},x"), "0.3")}
    txa                 ; of equals the first
{number}    cmp next_token
    bcs _worse          ;@ p=0.5
_better:
    txa
{number}    sta next_token
    lda {high},x
    sta largest+1
    lda {low},x
    sta largest
    clc                 ; the bound that a row must have to be as large
    adc #<{_rise(screen)}
    sta scratch
    lda largest+1
    adc #>{_rise(screen)}
    bpl _high           ;@ p=0.9
    lda #0              ; any row
    sta scratch
_high:""",
        "    asl scratch\n    rol\n" * (8 - screen.coarse),
        f"    sta {name}_least+1",
        second.update,
        "_worse:\n    rts",
        second.more,
    )


def least_end(screen: Screen, result: int) -> int:
    """Where the chain of a row must end whose result may be as large."""
    return max(0, (result + (1 << screen.coarse) - 1 >> screen.coarse) - screen.lowest + 1)


def _rise(screen: Screen) -> int:
    """What makes a result, shifted right by `coarse`, the least end, modulo 256."""
    return ((1 - screen.lowest << screen.coarse) + (1 << screen.coarse) - 1) & 0xFFFF


def take(
    rows: Rows, screen: Screen, x: Vector, table: str, chain: str, far: str = "far_elements"
) -> str:
    """The vector into a chain's operands, and its own share into its start.

    far  where the screen is guarded, the share of elements that no byte holds
    """
    name, columns, lower = rows.name, len(rows.columns), screen.tables[0]
    operands = f"{chain}_operands+{CODE * (columns - 1) + 4}"
    clear = guard = ""
    if screen.guarded:
        clear = f"    lda #0\n    sta {chain}_far+1\n"
        guard = (
            f"    clc\n    adc #{1 << screen.down - 1}\n    cmp #{1 << screen.down}\n"
            f"    bcc *+7             ;@ p=1 - {far}\n    ldy #$ff\n    sty {chain}_far+1\n"
        )
    element = f"    lda {x.low},x\n"
    if x.bits == 16:
        narrow = "    asl\n    rol scratch\n" * (8 - screen.down)
        element = f"    lda {x.high},x\n    sta scratch\n{guard}{element}{narrow}    lda scratch\n"
    floor = "    asl sum_a+1\n    rol sum_a+2\n" * (8 - screen.fine)
    part = f"    and #{(1 << screen.fine) - 1}\n" if screen.fine < 8 else ""
    return f"""\
{clear}    lda #{screen.whole}
    sta sum_a
    lda #{screen.part}
    sta sum_a+1
    lda #0
    sta sum_a+2
    lda #<({operands})
    sta pointer
    lda #>({operands})
    sta pointer+1
    ldx #{columns - 1}
_column:
{element}    eor #$80
    ldy #0
    sta (pointer),y
    clc
    adc {name}_origins,x
    tay
    bcs _far            ;@ p=0.1
    lda {lower},y          ;@ aligned
    sta scratch
    lda {table},y       ;@ aligned
    bcc _near           ;@ always
_far:
    lda {lower}+256,y      ;@ aligned
    sta scratch
    lda {table}+256,y   ;@ aligned
    clc
_near:
    adc sum_a
    adc #0
    sta sum_a
    lda scratch
{part}    clc
    adc sum_a+1
    sta sum_a+1
    bcc *+4             ;@ p=0.8
    inc sum_a+2
    sec
    lda pointer
    sbc #{CODE}
    sta pointer
    bcs *+4             ;@ p=0.97
    dec pointer+1
    dex
    bpl _column         ;@ times {columns}
{floor}    clc
    lda sum_a
    adc sum_a+2
    adc #0
    eor #$ff
    sta {chain}_own+1"""


def add_columns(block: str, columns: Iterable[int], table: str) -> str:
    """A chain's additions, CODE bytes each: what `take` patches."""
    return lines(
        *(
            f"    ldy {block}+{offset},x   ;@ aligned\n    adc {table},y       ;@ p={CROSSING}"
            for offset in columns
        )
    )


def _chain(rows: Rows) -> str:
    """All rows' bounds."""
    name = rows.name
    return lines(
        f"""\
    lda #0
    sta largest
    ldx #{rows.last}
{name}_bound:
    lda {rows.at(f"{name}_constants")},x
    clc
{name}_own:
    adc #0
{name}_operands:""",
        add_columns(rows.block, rows.columns, TABLE),
        f"""\
    adc #0
    sta {rows.at(f"{name}_bounds")},x
    cmp largest
    bcc _less           ;@ p=0.95
    sta largest
    stx index
_less:
    dex
    cpx #{rows.first + rows.skip - 1 & 255}
    beq _bounded        ;@ times {rows.n - rows.skip}
    jmp {name}_bound
_bounded:""",
    )
