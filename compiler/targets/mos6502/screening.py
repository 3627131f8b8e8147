"""FixedModel, ranges, groups -> how the likeliest token is found without every logit, if it can be.

Where the program need not keep its logits, only rows that may be the largest are done exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Bound, Ranges
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.matrices import Group
from anachron.compiler.targets.mos6502.narrow import Narrow
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.narrow.rows import Matrix
from anachron.kernels.mos6502.residue import finer as residue_finer
from anachron.kernels.mos6502.residue import screen as residue_screen
from anachron.kernels.mos6502.residue.moduli import choose_origin

SAMPLES = 64  # vectors by which the rows that are done exactly are counted, to predict the time
LEAST_ROWS = 32  # fewer are no gain
# Where exact rows are in the wide basis or in the narrow one: rows done exactly before the others
# are bounded once more, and bits that the table of that loses, so that 255 steps are more than the
# screen leaves open.
AFTER, FINER = {True: 2, False: 8}, {True: 4, False: 5}
EXACT = {True: (27, 100), False: (19, 60)}  # cycles of a product and of a row, wide and narrow


@dataclass(frozen=True)
class Counts:
    """Of vectors: rows that the screen leaves, that are bounded once more, that are left then,
    whether any is bounded; and the share of elements that the finer one's bytes do not hold."""

    passing: float
    again: float
    left: float
    any: float
    far: float


@dataclass(frozen=True)
class Screening:
    """The matrix whose largest result is sought.

    likely  the share of its rows that are done exactly, expected
    exact   cycles of a product and of a row that is
    finer   another bound of rows that the screen leaves, or None; counts: what is expected of it
    """

    op: Op
    screen: residue_screen.Screen
    likely: float
    exact: tuple[int, int]
    finer: residue_finer.Finer | None = None
    counts: Counts | None = None

    @property
    def saves(self) -> int:
        """Cycles of a pass that all rows would take more, roughly."""
        rows, columns = self.op.constants["weight"].shape
        product, row = self.exact
        exact = rows * (product * columns + row)
        return int(exact * (1 - self.likely) - rows * (8 * columns + 35) - 120 * columns)


def find_screening(
    fixed: FixedModel, ranges: Ranges, groups: tuple[Group, ...], narrow: tuple[Narrow, ...]
) -> Screening | None:
    """How to find the largest logit, or None where it would gain nothing or cannot be proven."""
    op = fixed.ops[-1]
    kernels: list[Group | Narrow] = [*groups, *narrow]
    group = next((g for g in kernels if op in g.ops), None)
    if group is None or fixed.generation.mode == "sequence" or op.name != fixed.logits.name:
        return None
    weight, bias = op.constants["weight"], op.constants["bias"]
    whole = op.name not in group.limits and len(set(op.constants["shift"].tolist())) == 1
    if isinstance(group, Group):
        whole = whole and op.name not in group.halves and group.bits == 16
    if not whole or len(weight) < LEAST_ROWS or fixed.vocab_size > 256:
        return None
    proven, x = ranges.accumulators[op.name], ranges.values[op.inputs[0]]
    weights = [m.weight if isinstance(m, Matrix) else m[0] for m in group.matrices]
    origin = choose_origin(np.concatenate(weights))
    wide = isinstance(group, Group)
    exact = EXACT[wide]
    shift = int(op.constants["shift"][0])
    sums = np.asarray(proven["rows_lo"]), np.asarray(proven["rows_hi"])
    first, samples = fixed.generation.first_id, _samples(x)
    choices = []
    for fine in range(1, residue_screen.MOST_FINE + 1):
        made = residue_screen.plan(weight, bias, origin, (x.lo, x.hi), sums, shift, fine)
        if made is not None:
            counts = [_count(made, op, origin, v, first) for v in samples]
            choices.append(Screening(op, made, float(np.mean(counts)) / len(weight), exact))
    best = max(choices, key=lambda choice: choice.saves, default=None)
    if best is None or best.saves <= 0:
        return None
    finer = residue_finer.plan(
        best.screen, weight, bias, origin, sums[1], FINER[wide], AFTER[wide]
    )
    if finer is None:
        return best
    seen = chances.vectors(fixed, op.inputs[0])
    twice = _count_twice(best.screen, finer, op, origin, seen, first)
    rows_done = twice.passing - twice.again + twice.left
    return replace(best, finer=finer, counts=twice, likely=rows_done / len(weight))


def _samples(x: Bound) -> Array:
    """Vectors that are as long as the value may be, in any direction."""
    rng = np.random.default_rng(0)
    if x.image is not None and x.image.groups == 1:
        u = rng.normal(size=(SAMPLES, x.image.matrix.shape[1]))
        u *= x.image.core / np.linalg.norm(u, axis=1, keepdims=True)
        values = u @ x.image.matrix.T + x.image.offset
    else:
        values = rng.normal(size=(SAMPLES, len(x.lo))) * x.norm / np.sqrt(len(x.lo))
    return np.clip(values, x.lo, x.hi).astype(np.int64)


def _count_twice(
    screen: residue_screen.Screen,
    finer: residue_finer.Finer,
    op: Op,
    origin: Array,
    vectors: Array,
    first: int,
) -> Counts:
    """What becomes of rows, vector by vector."""
    weight, bias = op.constants["weight"].astype(np.int64), op.constants["bias"]
    counts = []
    for x in vectors:
        ends = screen.bounds(weight, origin, x)
        fine = finer.screen.bounds(weight, origin, x)
        results = weight @ x + bias >> screen.shift
        index = len(ends) - 1 - int(np.argmax(ends[::-1][: len(ends) - first]))
        best, passing, again, left = int(results[index]), 1, 0, 0
        for row in range(first, len(ends)):
            least = residue_screen.least_end(screen, best)
            if row == index or ends[row] < least:
                continue
            passing += 1
            if passing > finer.after + 1:
                again += 1
                if not finer.leaves(ends[row], least, fine[row], best):
                    continue
                left += 1
            best = max(best, int(results[row]))
        counts.append((passing, again, left, again > 0))
    limit = 1 << 7 + finer.screen.down
    far = ((vectors < -limit) | (vectors >= limit)).mean()
    return Counts(*(float(mean) for mean in (*np.mean(counts, axis=0), far)))


def _count(
    screen: residue_screen.Screen, op: Op, origin: Array, x: Array, first: int
) -> int:
    """Rows that are done exactly for a vector, roughly."""
    weight, bias = op.constants["weight"].astype(np.int64), op.constants["bias"]
    bounds = screen.bounds(weight, origin, x)[first:]
    best = int((weight @ x + bias)[first:].max() >> screen.shift)
    return int((bounds >= residue_screen.least_end(screen, best)).sum())
