"""FixedModel, ranges, groups -> how the likeliest token is found without every logit, if it can be.

Where the program need not keep its logits, only rows that may be the largest are done exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Bound, Ranges
from anachron.compiler.targets.mos6502.matrices import Group
from anachron.compiler.targets.mos6502.narrow import Narrow
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.narrow.rows import Matrix
from anachron.kernels.mos6502.residue import screen as residue_screen
from anachron.kernels.mos6502.residue.moduli import choose_origin

SAMPLES = 64  # vectors by which the rows that are done exactly are counted, to predict the time
LEAST_ROWS = 32  # fewer are no gain
EXACT = {True: (27, 100), False: (19, 60)}  # cycles of a product and of a row, wide and narrow


@dataclass(frozen=True)
class Screening:
    """The matrix whose largest result is sought.

    likely  the share of its rows that are done exactly, expected
    exact   cycles of a product and of a row that is
    """

    op: Op
    screen: residue_screen.Screen
    likely: float
    exact: tuple[int, int]

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
    exact = EXACT[isinstance(group, Group)]
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
    return best if best is not None and best.saves > 0 else None


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


def _count(
    screen: residue_screen.Screen, op: Op, origin: Array, x: Array, first: int
) -> int:
    """Rows that are done exactly for a vector, roughly."""
    weight, bias = op.constants["weight"].astype(np.int64), op.constants["bias"]
    bounds = screen.bounds(weight, origin, x)[first:]
    best = int((weight @ x + bias)[first:].max() >> screen.shift)
    return int((bounds >= residue_screen.least_end(screen, best)).sum())
