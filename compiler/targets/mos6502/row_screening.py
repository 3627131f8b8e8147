"""FixedModel, ranges, row groups -> how the likeliest token is found among rows that differ.

As screening.py, where the logits' rows have shifts of their own: each run of them has its screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.row_groups import CYCLES, RowGroup
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import bounds, run_screen
from anachron.kernels.mos6502.residue.bounds import Screen
from anachron.kernels.mos6502.residue.runs import Packed, Run

FINE = 8  # bits that the products' upper bytes have lost


@dataclass(frozen=True)
class Part:
    """A run's rows that are asked for, and the results that they are.

    found  names of claims -> what is expected of it
    """

    run: Run
    rows: Array
    screen: Screen
    found: dict[str, object]


@dataclass(frozen=True)
class RowScreening:
    """The matrix whose largest result is sought.

    down, guarded  of its screens, bounds.py
    exact  rows that are done exactly in a pass, expected
    saves  cycles of a pass that all rows would take more, roughly
    """

    op: Op
    down: int
    guarded: bool
    exact: float
    saves: int


def find_row_screening(
    fixed: FixedModel, ranges: Ranges, groups: Sequence[RowGroup]
) -> RowScreening | None:
    """How to find the largest logit, or None where it would gain nothing or cannot be proven."""
    op = fixed.ops[-1]
    group = next((g for g in groups if op in g.ops), None)
    if group is None or fixed.generation.mode == "sequence" or fixed.vocab_size > 256:
        return None
    ends = [end for part in group.parts[op.name] for end in part.ends]
    plain = all(end.bits == 16 and not end.part and not end.saturates for end in ends)
    if group.bits != 16 or not plain:
        return None
    packed = group.pack()
    runs = packed.runs[group.first_matrix(op)]
    x = ranges.values[op.inputs[0]]
    if len({run.block for run in runs}) > 1:
        return None
    whole = sum(CYCLES[end.basis] * group.columns + end.cycles for end in ends)
    chain = len(ends) * (8.1 * group.columns + 40) + 110 * group.columns + 300 * len(runs)
    best = None
    for down in range(1, 8):
        held = (x.lo >> down).min() >= -128 and (x.hi >> down).max() < 128
        made = RowScreening(op, down, not held, 0, 0)
        parts = find_parts(made, fixed, ranges, packed, runs)
        if parts:
            exact = sum(float(str(part.found["exact_rows"])) for part in parts)
            saves = round(whole - chain - exact * (whole / len(ends) + 120))
            if saves > (best.saves if best else 0):
                best = replace(made, exact=exact, saves=saves)
    return best


def find_parts(
    screening: RowScreening,
    fixed: FixedModel,
    ranges: Ranges,
    packed: Packed,
    runs: Sequence[Run],
) -> list[Part]:
    """The runs, those first that have the largest most often, or none where no code does them."""
    op, parts = screening.op, []
    weight, bias = (op.constants[role].astype(np.int64) for role in ("weight", "bias"))
    highest = np.asarray(ranges.accumulators[op.name]["rows_hi"])
    x = chances.vectors(fixed, op.inputs[0])
    results = x @ weight.T + bias >> op.constants["shift"].astype(np.int64)
    results[:, : fixed.generation.first_id] = run_screen.LEAST
    likeliest = np.bincount(results.argmax(1), minlength=len(weight))
    for run in runs:
        rows = packed.rows_of(run)
        skip = int((rows < fixed.generation.first_id).sum())  # they rise
        run, rows = replace(run, first=run.first + skip, size=run.size - skip), rows[skip:]
        if run.size:
            made = bounds.place(
                weight[rows],
                bias[rows],
                packed.origin,
                highest[rows],
                run.end.shift,
                screening.down,
                FINE,
                ready=True,
                guarded=screening.guarded,
            )
            parts.append(Part(run, rows, made, {}))
    if not run_screen.applicable([part.screen for part in parts]):
        return []
    parts.sort(key=lambda part: -int(likeliest[part.rows].sum()))
    counts = _counts(fixed, op, parts, packed.origin)
    for number, part in enumerate(parts):
        turns = abs(8 - part.screen.coarse)
        part.found.update(
            run_rows=part.run.size,
            run_turns=max(turns, 1),
            run_still=float(not turns),
            far_elements=_far(fixed, screening),
            **_shares(part, counts[:, number].mean(0)),
        )
    return parts


def found_in(
    fixed: FixedModel, screening: RowScreening, parts: Sequence[Part], origin: Array, number: int
) -> dict[str, object]:
    """What a run's claims ask for that depends on the text, position by position: only some want
    the likeliest token."""
    op = screening.op
    n = fixed.usual[op.inputs[0]].shape[1]
    counts = _counts(fixed, op, parts, origin)[:, number].reshape(-1, n, 3).mean(0)
    return {"far_elements": _far(fixed, screening), **_shares(parts[number], counts.T)}


def _far(fixed: FixedModel, screening: RowScreening) -> float:
    """The share of elements that no byte holds."""
    x, limit = chances.vectors(fixed, screening.op.inputs[0]), 1 << 7 + screening.down
    return float(((x < -limit) | (x >= limit)).mean())


def _shares(part: Part, counts: Array) -> dict[str, object]:
    """Claims' values by what _count counts, its mean, or its means at each position."""
    entered, exact, larger = counts
    passing = exact / np.maximum(entered, 1e-9)
    return {
        "run_entered": entered,
        "run_exact": np.minimum(passing / part.run.size, 1.0),
        "run_first": 1 / np.maximum(passing, 1.0),
        "run_larger": larger / np.maximum(exact, 1e-9),
        "exact_rows": exact,
    }


def _counts(fixed: FixedModel, op: Op, parts: Sequence[Part], origin: Array) -> Array:
    """(vectors, runs, 3) what _count says of every vector."""
    weight, bias = (op.constants[role].astype(np.int64) for role in ("weight", "bias"))
    x = chances.vectors(fixed, op.inputs[0])
    results = x @ weight.T + bias >> op.constants["shift"].astype(np.int64)
    ends = [
        np.array([part.screen.bounds(weight[part.rows], origin, v) for v in x]) for part in parts
    ]
    return np.array([_count(parts, [e[i] for e in ends], results[i]) for i in range(len(x))])


def _count(
    parts: Sequence[Part], ends: Sequence[Array], results: Array
) -> list[tuple[int, int, int]]:
    """For each run: whether any row is done exactly for a vector, how many are, and are larger."""
    best, counts = run_screen.LEAST, []
    for part, end in zip(parts, ends, strict=True):
        rows, exact, larger = part.run.size, 0, 0
        index = int(end.argmax())  # of equals the first
        order = [index, *(row for row in range(rows - 1, -1, -1) if row != index)]
        for row in order:
            if end[row] < run_screen.least_end(part.screen, best):
                if row == index:
                    break
                continue
            exact += 1
            if results[part.rows[row]] > best:
                best = int(results[part.rows[row]])
                larger += 1
        counts.append((int(exact > 0), exact, larger))
    return counts
