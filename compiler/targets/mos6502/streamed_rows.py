"""FixedModel, ranges -> which matrices run in residues with rows from the expansion, and how.

Matrices with the same number of columns share a kernel.  Each row stops after as many chains as the
range of its sum asks for; where calibration saw inputs so much shorter than any proof allows that a
chain less would do, a guard looks at the length of the input, and the general rows do the matrix
again if it is too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.operands import vectors
from anachron.compiler.ranges import Ranges
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import zeropage
from anachron.kernels.mos6502.residue import guard
from anachron.kernels.mos6502.residue.moduli import MODULI, SMALL_MODULI, WIDE, reach, residue
from anachron.kernels.mos6502.streamed import matvec as streamed_matvec
from anachron.kernels.mos6502.streamed.ends import End
from anachron.kernels.mos6502.streamed.matvec import Kernel

PAGE = 256
ROOM = 1.3  # a guard is worth its time where inputs may be so much longer than any seen
ROW_PAGE = "row_page"  # where a record lies that the zero page does not hold
WIDE_REACH = -WIDE.lowest  # sums that three chains tell apart
WORTH_ROWS = 16  # a guard costs no more than a chain of so many rows
MOST_COLUMNS = 248  # a record fits a page


@dataclass(frozen=True)
class Run:
    """Rows of a matrix that end alike, in the order of memory; base: of the results' places."""

    end: End
    rows: Array
    base: int


@dataclass(frozen=True)
class Stream:
    """Matrices that share a kernel.

    runs    op -> its runs
    limits  op -> the longest input, as guard.measure measures, with which its sums surely fit
    """

    kernel: Kernel
    ops: tuple[Op, ...]
    runs: Mapping[str, tuple[Run, ...]]
    limits: Mapping[str, int] = field(default_factory=dict)


def plan_streams(
    fixed: FixedModel, ranges: Ranges, most_columns: int
) -> tuple[tuple[Stream, ...], dict[str, str]]:
    """The kernels, and op -> why it has none."""
    reasons: dict[str, str] = {}
    needs: dict[str, float] = {}
    guarded: dict[str, int] = {}
    for op in fixed.ops:
        if op.contract != "matvec":
            continue
        columns = op.constants["weight"].shape[1]
        proven = float(np.max(ranges.accumulators[op.name]["rows"]))
        needs[op.name] = proven
        most = reach(SMALL_MODULI[-1])
        expected = expected_sum(fixed, op)
        wide = fixed.values[op.inputs[0]].format.bits == 16
        if proven > most:
            guarded[op.name], needs[op.name] = most, expected
        elif wide and 0 < expected <= WIDE_REACH < proven and op.value.size >= WORTH_ROWS:
            guarded[op.name] = WIDE_REACH
            needs[op.name] = expected
        if columns > most_columns:
            reasons[op.name] = f"the code for more than {most_columns} columns does not fit"
        elif op.name in guarded and fixed.values[op.inputs[0]].format.bits == 8:
            reasons[op.name] = f"its sums may reach {proven:,.0f}"
        elif not 0 < needs[op.name] <= most:
            reasons[op.name] = f"its sums may reach {proven:,.0f}"
    ops = [op for op in fixed.ops if op.name in needs and op.name not in reasons]
    largest = max((needs[op.name] for op in ops), default=0.0)
    small = next(m for m in SMALL_MODULI if reach(m) >= largest)
    guarded = {name: min(most, reach(small)) for name, most in guarded.items()}
    found: dict[tuple[int, int], list[Op]] = {}
    for op in ops:
        bits = fixed.values[op.inputs[0]].format.bits
        found.setdefault((op.constants["weight"].shape[1], bits), []).append(op)
    streams = [
        _stream(fixed, ranges, columns, bits, small, group, guarded)
        for (columns, bits), group in found.items()
    ]
    return tuple(streams), reasons


def expected_sum(fixed: FixedModel, op: Op) -> float:
    """How large a matrix's sums may get, by the lengths that calibration saw; 0: unknown."""
    longest = fixed.values[op.inputs[0]].longest
    norms = np.linalg.norm(op.constants["weight"].astype(float), axis=1)
    return float(norms.max() * longest * ROOM)


def _stream(
    fixed: FixedModel,
    ranges: Ranges,
    columns: int,
    bits: int,
    small: int,
    ops: list[Op],
    guarded: Mapping[str, int],
) -> Stream:
    runs = {op.name: _runs(ranges, op, small, guarded.get(op.name)) for op in ops}
    ends = sorted({run.end for mine in runs.values() for run in mine})
    chains = max(e.chains for e in ends)
    size = columns + chains + 1
    start = PAGE - size
    fits = start >= zeropage.assign()["source_low"]
    origin = streamed_matvec.choose_origin([op.constants["weight"] for op in ops])
    if columns > streamed_matvec.MOST_UNROLLED:
        origin = (min(origin),) * columns
    kernel = Kernel(
        f"rows_{columns}_{bits}",
        columns,
        bits,
        chains,
        small,
        origin,
        f"${start:02x}" if fits else ROW_PAGE,
        tuple(ends),
        _crossing(fixed, ops, origin, (*MODULI, small)[:chains], bits),
    )
    limits = {op.name: _limit(op, guarded[op.name]) for op in ops if op.name in guarded}
    return Stream(kernel, tuple(ops), runs, limits)


def _crossing(
    fixed: FixedModel, ops: list[Op], origin: tuple[int, ...], moduli: tuple[int, ...], bits: int
) -> tuple[float, ...]:
    """How often w + x leaves a page, chain by chain: all weights, x of texts of the model's own."""
    found, sizes = [], []
    for op in ops:
        taken = op.constants["weight"].astype(np.int64) - np.array(origin)
        x = vectors(fixed, op.inputs[0])
        # (n, columns): the share of a column's weights that are n or more
        beyond = np.array([(taken >= n).mean(0) for n in range(PAGE + 1)])
        column = np.arange(x.shape[1])
        found.append([float(beyond[PAGE - residue(x, m, bits), column].mean()) for m in moduli])
        sizes.append(taken.size)
    return tuple(np.average(found, 0, weights=sizes).tolist())


def _runs(ranges: Ranges, op: Op, small: int, guarded: int | None) -> tuple[Run, ...]:
    proven, bits = ranges.accumulators[op.name], op.value.format.bits
    lowest, highest = np.asarray(proven["rows_lo"]), np.asarray(proven["rows_hi"])
    if guarded is not None:
        lowest, highest = np.maximum(lowest, -guarded), np.minimum(highest, guarded)
    shift = op.constants["shift"].astype(np.int64)
    limit = 1 << bits - 1
    found: dict[tuple[int, End], list[int]] = {}
    for row in range(len(shift)):
        low, high = int(lowest[row]), int(highest[row])
        chains = next(n for n in (2, 3, 4) if _holds(n, small, low, high))
        saturates = low >> shift[row] < -limit or high >> shift[row] >= limit
        end = End(chains, int(shift[row]), bits, bool(saturates))
        found.setdefault((row // PAGE, end), []).append(row)
    return tuple(
        Run(end, np.array(rows), page * PAGE) for (page, end), rows in sorted(found.items())
    )


def _holds(chains: int, small: int, low: int, high: int) -> bool:
    least, most = streamed_matvec.reach(chains, small)
    return least <= low and high <= most


def _limit(op: Op, most: int) -> int:
    """Of the sum of squares of (x >> 4), so that sums stay within `most`."""
    weight, bias = op.constants["weight"].astype(float), op.constants["bias"].astype(float)
    norms = np.maximum(np.linalg.norm(weight, axis=1), 1e-9)
    longest = float(((most - np.abs(bias)) / norms).min())
    return max(-1, guard.limit(longest, weight.shape[1]))
