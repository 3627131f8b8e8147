"""lookup by slopes: between two points of a table a product of bytes -> assembly text.

For a table whose steps are too many for smooth.py.  With u the place and f the fraction of x, and d
the step from point u to the next,

    y = points[u] + floor(d f / 2**shift),    |d| = 256 h + l:  |d| f = (h f << 8) + l f

where l f comes by quarter squares (gating.py); of a negative step the quotient is rounded up and
taken off.

What bounds it: 40 cycles an element to find u and f, 60 for the product, 40 for what is added.

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
from anachron.kernels.mos6502.streamed.gating import LOW, TABLES

SHIFTS = range(1, 9)
NEGATIVE, LARGE = 0x80, 0x01


@dataclass(frozen=True)
class Slopes:
    """By place, 256 of each: points int16, size of the step to the next modulo 256, and its kind,
    NEGATIVE or not and LARGE where it is 256 or more."""

    points: Array
    sizes: Array
    kinds: Array


def find_slopes(table: Array, shift: int) -> Slopes | None:
    """A table of 257 points, or None where a step is too large."""
    table = table.astype(np.int64)
    steps = np.diff(table)
    if shift not in SHIFTS or np.abs(steps).max() > 511:
        return None
    if table.min() < -32768 or table.max() > 32767:
        return None
    sizes = np.abs(steps)
    kinds = np.where(steps < 0, NEGATIVE, 0) + np.where(sizes > 255, LARGE, 0)
    return Slopes(table[:-1], sizes & 0xFF, kinds)


def lookup(
    name: str,
    x: Vector,
    out: Vector,
    points: Vector,
    sizes: str,
    kinds: str,
    shift: int,
    tail: int,
) -> str:
    """The routine: x, out int16 of at most 256 elements."""
    n = out.size
    end = "" if n == 256 else f"    cpx #{n}\n"
    pages = [
        f"    lda #>{table}\n    sta {pointer}+1"
        for pointer, table in zip(LOW, TABLES, strict=True)
    ]
    f_low, f_high, g_low, g_high = LOW
    up = 8 - shift
    product = f"""\
    sta {f_low}
    sta {f_high}
    eor #$ff
    sta {g_low}
    sta {g_high}
    sec
    lda ({f_low}),y     ;@ p=0.4
    sbc ({g_low}),y     ;@ p=0.4
    sta term
    lda ({f_high}),y    ;@ p=0.4
    sbc ({g_high}),y    ;@ p=0.4"""
    shifted = "    asl term\n    rol\n" * up
    return lines(
        f"{name}:",
        *pages,
        f"    ldx #0\n{name}_element:",
        _place(name, x, shift),
        f"""\
    sta index
    tay
    lda {kinds},y        ;@ p=0.2
    sta scratch+2
    lda {sizes},y        ;@ p=0.2
    ldy scratch+1
{product}
    bit scratch+2
    bmi {name}_falls     ;@ p=0.5
{shifted}    ldy index
    clc
    adc {points.low},y   ;@ p=0.2
    sta {out.low},x
    lda {points.high},y  ;@ p=0.2
    adc #0
    sta {out.high},x
    lda scratch+2
    bne {name}_large     ;@ p=0.1
{name}_next:
    inx
{end}    beq {name}_done      ;@ times {n}
    jmp {name}_element
{name}_done:
    rts""",
        # What h adds: f to the left.
        f"{name}_large:",
        _whole(up),
        f"""\
    clc
    adc {out.low},x      ;@ p=0.2
    sta {out.low},x
    lda {out.high},x     ;@ p=0.2
    adc term+1
    sta {out.high},x
    jmp {name}_next
{name}_falls:
    sta term+2
    clc
    lda term
    adc #{(1 << shift) - 1}
    sta term
    lda term+2
    adc #0
{shifted}    sta term+2
    ldy index
    sec
    lda {points.low},y   ;@ p=0.2
    sbc term+2
    sta {out.low},x
    lda {points.high},y  ;@ p=0.2
    sbc #0
    sta {out.high},x
    lda scratch+2
    lsr
    bcc {name}_next      ;@ p=0.9""",
        _whole(up),
        f"""\
    sta term
    sec
    lda {out.low},x      ;@ p=0.2
    sbc term
    sta {out.low},x
    lda {out.high},x     ;@ p=0.2
    sbc term+1
    sta {out.high},x
    jmp {name}_next""",
        "" if shift == 8 else _outside(name, x, out, tail),
    )


def _whole(up: int) -> str:
    """term+1, A = the fraction so much to the left."""
    return "    lda #0\n    sta term+1\n    lda scratch+1\n" + "    asl\n    rol term+1\n" * up


def _place(name: str, x: Vector, shift: int) -> str:
    """A = the place, scratch+1 the fraction."""
    if shift == 8:
        return f"    lda {x.low},x\n    sta scratch+1\n    lda {x.high},x\n    eor #$80"
    return lines(
        f"""\
    lda {x.high},x
    clc
    adc #{1 << shift - 1}
    cmp #{1 << shift}
    bcc {name}_inside    ;@ p=0.99
    jmp {name}_outside
{name}_inside:
    sta scratch
    lda {x.low},x
    sta term
{name}_fraction:
    and #{(1 << shift) - 1}
    sta scratch+1
    lda scratch""",
        *(["    asl term\n    rol"] * (8 - shift)),
    )


def _outside(name: str, x: Vector, out: Vector, tail: int) -> str:
    return lines(
        f"{name}_outside:\n    lda {x.high},x\n    bpl {name}_above    ;@ p=0.5\n"
        "    lda #0              ; the first point\n    sta scratch\n    sta term\n"
        f"    jmp {name}_fraction\n{name}_above:",
        load(x, "total"),
        shift_right("total", 2, tail),
        "    lda #0\n    sta total+2\n    sta total+3",
        store_saturated(out, 4),
        f"    jmp {name}_next",
    )
