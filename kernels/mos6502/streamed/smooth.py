"""lookup by steps: what lies between two points of a table comes from a table -> assembly text.

A smooth function's table has few different steps.  For each, what d * fraction >> shift gives is a
row of bytes, less the step where it is negative, so that no byte is; the points hold the rest:

    y = points[u] + rows[step of u][fraction],    u = (x + (128 << shift)) >> shift

What bounds it: 70 cycles an element to find u and the fraction, 50 for five looks.

Exact for any x: above the table's end it is x >> tail, saturated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import (
    Vector,
    lines,
    load,
    shift_right,
    store_saturated,
)

SHIFTS = range(1, 8)
MOST_ROWS_BYTES = 2048
PLACES = 256


@dataclass(frozen=True)
class Steps:
    """points (256,) int16; places (256,) of each point's row among rows, bytes."""

    points: Array
    places: Array
    rows: bytes


def find_steps(table: Array, shift: int, bits: int) -> Steps | None:
    """A table of 257 points as rows of steps, or None where it has too many, or too large ones."""
    table = table.astype(np.int64)
    steps = np.diff(table)
    kinds = sorted(set(steps.tolist()))
    if shift not in SHIFTS or len(kinds) << shift > MOST_ROWS_BYTES:
        return None
    limit = 1 << bits - 1
    if max(abs(d) for d in kinds) > 255 or table.min() < -limit or table.max() >= limit:
        return None
    fraction = np.arange(1 << shift)
    rows = np.concatenate([(d * fraction >> shift) - min(d, 0) for d in kinds])
    places = np.array([kinds.index(d) << shift for d in steps.tolist()])
    return Steps(table[:-1] + np.minimum(steps, 0), places, rows.astype(np.uint8).tobytes())


def lookup(
    name: str, x: Vector, out: Vector, points: Vector, places: Vector, shift: int, tail: int
) -> str:
    """The routine: x int16 of at most 256 elements, out of the bits that the points fit.

    places  words: the addresses of the points' rows
    """
    n = out.size
    end = "" if n == 256 else f"    cpx #{n}\n"
    high = (
        f"    lda {points.high},y  ;@ p=0.2\n    adc #0\n    sta {out.high},x"
        if out.bits == 16
        else ""
    )
    return lines(
        f"{name}:\n    ldx #0\n_element:",
        f"""\
    lda {x.high},x
    clc
    adc #{1 << shift - 1}
    cmp #{1 << shift}
    bcc _inside         ;@ p=0.99
    jmp _outside
_inside:
    sta scratch
    lda {x.low},x
    sta term
_fraction:
    and #{(1 << shift) - 1}
    sta term+1
    lda scratch""",
        *(["    asl term\n    rol"] * (8 - shift)),
        f"""\
    tay
    sty index
    lda {places.low},y   ;@ p=0.2
    sta past_low
    lda {places.high},y  ;@ p=0.2
    sta past_low+1
    ldy term+1
    lda (past_low),y    ;@ p=0.3
    ldy index
    clc
    adc {points.low},y   ;@ p=0.2
    sta {out.low},x""",
        high,
        f"_next:\n    inx\n{end}    beq _done           ;@ times {n}\n    jmp _element\n_done:\n"
        f"    rts\n_outside:\n    lda {x.high},x\n    bpl _above          ;@ p=0.5\n"
        "    lda #0              ; the first point\n    sta scratch\n    sta term\n"
        "    jmp _fraction\n_above:",
        load(x, "total"),
        shift_right("total", 2, tail),
        "    lda #0\n    sta total+2\n    sta total+3",
        store_saturated(out, 4),
        "    jmp _next",
    )
