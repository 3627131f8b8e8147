"""FixedModel, ranges, a stream -> how the likeliest token is found with rows from the expansion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.streamed_rows import PAGE, Run, Stream
from anachron.kernels.mos6502.streamed import screen
from anachron.kernels.mos6502.streamed.ends import End

COARSE = End(2, 0, 16, False)
MOST_OTHERS = 128  # rows of a page that end otherwise than most
MOST_COLUMNS = 128
CHAIN = 7.5  # cycles of a product
EXACT = 3000  # cycles that finding a row's record takes


@dataclass(frozen=True)
class StreamedScreening:
    """The matrix whose largest result is sought.

    most   how most of its rows end          screen  of those
    exact  rows that are done exactly in a pass, expected
    saves  cycles of a pass that all rows would take more, roughly
    """

    op: Op
    most: End
    screen: screen.Screen
    exact: float
    saves: float


def find_streamed_screening(
    fixed: FixedModel, ranges: Ranges, streams: tuple[Stream, ...]
) -> StreamedScreening | None:
    """How to find the largest logit, or None where it would gain nothing or cannot be proven."""
    op, first = fixed.ops[-1], fixed.generation.first_id
    stream = next((s for s in streams if op in s.ops), None)
    if stream is None or fixed.generation.mode == "sequence" or op.name in stream.limits:
        return None
    weight, bias = (op.constants[role].astype(np.int64) for role in ("weight", "bias"))
    rows, columns = weight.shape
    runs = stream.runs[op.name]
    ends: dict[End, int] = {}
    for run in runs:
        ends[run.end] = ends.get(run.end, 0) + len(run.rows)
    most = max(ends, key=lambda end: ends[end])
    paged = all(_most_of(runs, most, base) for base in range(0, rows, PAGE))
    others = max(
        sum(len(run.rows) for run in runs if run.base == base and run.end != most)
        for base in range(0, rows, PAGE)
    )
    fits = columns <= MOST_COLUMNS and others <= MOST_OTHERS and rows <= 2 * PAGE
    if not fits or not paged or most.saturates or most.bits != 16 or first >= PAGE:
        return None
    x = fixed.values[op.inputs[0]]
    if x.format.bits != 16:
        return None
    proven = ranges.accumulators[op.name]
    # The coarse sums of the others may be anything: nobody reads them.
    mine = np.concatenate([run.rows for run in runs if run.end == most])
    sums = np.asarray(proven["rows_lo"])[mine], np.asarray(proven["rows_hi"])[mine]
    made, record = None, stream.kernel.record_bytes
    for down in range(1, 9):
        made = made or screen.plan(weight[mine], bias[mine], sums, down, most.shift, record)
    if made is None:
        return None
    exact = _count(fixed, op, made, runs, most)
    many = len(mine)
    chains = CHAIN * columns * (most.chains - 2) + 40 * (most.chains - 2)
    saves = many * chains - 45 * rows - exact * (EXACT + CHAIN * columns * most.chains)
    saves -= (rows - many) * CHAIN * columns * 2 + 400 * columns
    return StreamedScreening(op, most, made, exact, saves) if saves > 0 else None


def with_coarse(stream: Stream) -> Stream:
    """The stream whose kernel ends rows so, too."""
    ends = tuple(sorted({*stream.kernel.ends, COARSE}))
    return replace(stream, kernel=replace(stream.kernel, ends=ends))


def _most_of(runs: tuple[Run, ...], most: End, base: int) -> Run | None:
    return next((run for run in runs if run.base == base and run.end == most), None)


def _count(
    fixed: FixedModel, op: Op, made: screen.Screen, runs: tuple[Run, ...], most: End
) -> float:
    """Rows that are done exactly, in texts of the model's own."""
    weight, bias = (op.constants[role].astype(np.int64) for role in ("weight", "bias"))
    rows = np.sort(np.concatenate([run.rows for run in runs if run.end == most]))
    rows = rows[rows >= fixed.generation.first_id]
    counts = []
    for x in chances.vectors(fixed, op.inputs[0]):
        coarse = weight[rows] @ (x >> made.down) + bias[rows]
        results = weight[rows] @ x + bias[rows] >> made.shift
        best, count = int(results[coarse.argmax()]), 1
        for sum_, result in zip(coarse.tolist(), results.tolist(), strict=True):
            if sum_ >= made.need(best):
                count, best = count + 1, max(best, result)
        counts.append(count)
    return float(np.mean(counts))
