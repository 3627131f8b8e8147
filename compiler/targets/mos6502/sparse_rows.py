"""Groups of rows -> matrices whose vectors are often 0, which do only the columns that count.

As sparse.py, for rows of any shifts whose whole sums are proven to fit the wide basis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.chances import vectors
from anachron.compiler.targets.mos6502.row_groups import GENERAL, RowGroup, ends_of
from anachron.compiler.targets.mos6502.sparse import MOST_COLUMNS, MOST_ROWS, unmade
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import sparse as residue_sparse
from anachron.kernels.mos6502.residue.ends import End
from anachron.kernels.mos6502.residue.moduli import WIDE, reduce

PRODUCT, ELEMENT = 41, 200  # cycles of what counts
MOST_SHARE = 0.55  # of elements above 0, with which it is still faster


class Run(NamedTuple):
    """Rows that end alike: where they lie from, and their places in the result."""

    first: int
    end: End
    places: Array


@dataclass(frozen=True)
class SparseRows:
    """Matrices that share such a kernel.

    ends    op -> how each row ends
    counts  op -> how many elements of its vectors are above 0, in texts of the model's own
    """

    ops: tuple[Op, ...]
    row_ends: Mapping[str, tuple[End, ...]]
    counts: Mapping[str, Array]

    @property
    def columns(self) -> int:
        return int(self.ops[0].constants["weight"].shape[1])

    @property
    def name(self) -> str:
        return f"active_{self.columns}"

    def unmade(self, fixed: FixedModel) -> dict[str, str]:
        return unmade(fixed, self.ops)

    @property
    def active(self) -> float:
        return float(np.concatenate(list(self.counts.values())).mean())

    @property
    def saves(self) -> int:
        """Cycles of a pass that the general kernel would take more, roughly."""
        rows = sum(len(op.constants["weight"]) for op in self.ops)
        general = rows * (self.columns * GENERAL[16] + 200)
        own = sum(end.cycles for ends in self.row_ends.values() for end in ends)
        return round(general - own - self.active * (PRODUCT * rows + ELEMENT * len(self.ops)))

    @cached_property
    def runs(self) -> dict[str, tuple[Run, ...]]:
        """op -> its runs."""
        found, at = {}, 0
        for op in self.ops:
            mine, ends = [], self.row_ends[op.name]
            for end in sorted(set(ends)):
                where = np.array([row for row, other in enumerate(ends) if other == end])
                mine.append(Run(at, end, where))
                at += len(where)
            found[op.name] = tuple(mine)
        return found

    def order(self, op: Op) -> Array:
        """The rows of an op as they lie."""
        return np.concatenate([run.places for run in self.runs[op.name]])

    @property
    def places(self) -> Array:
        return np.concatenate([self.order(op) for op in self.ops])

    @property
    def ends(self) -> list[End]:
        return sorted({end for ends in self.row_ends.values() for end in ends})

    @property
    def biases(self) -> dict[int, Array]:
        """modulus -> what rows start from."""
        bias = [op.constants["bias"][self.order(op)].astype(np.int64) for op in self.ops]
        return {m: reduce(np.concatenate(bias), m) for m in WIDE.moduli}

    def shape(self, order: str) -> residue_sparse.Shape:
        """The kernel, with all weights in one block; order: the label of the numbers of columns."""
        weights = [op.constants["weight"][self.order(op)] for op in self.ops]
        packed = residue_sparse.pack(self.name, weights)
        return residue_sparse.Shape(packed, self.active, False, order=order)


def find_sparse_rows(
    fixed: FixedModel, ranges: Ranges, groups: tuple[RowGroup, ...]
) -> tuple[SparseRows | None, frozenset[str]]:
    """The matrices that are better done so, or None, and their names."""
    relus = {op.name for op in fixed.ops if op.contract == "relu"}
    found: list[Op] = []
    ends: dict[str, tuple[End, ...]] = {}
    counts: dict[str, Array] = {}
    for op in (op for group in groups for op in group.ops):
        columns = op.constants["weight"].shape[1]
        rows = sum(len(other.constants["weight"]) for other in (*found, op))
        if op.inputs[0] not in relus or fixed.values[op.inputs[0]].format.bits != 16:
            continue
        if columns > MOST_COLUMNS or rows > MOST_ROWS or 2 * rows > 256 and len(found):
            continue
        if found and columns != found[0].constants["weight"].shape[1]:
            continue
        mine = ends_of(op, ranges, WIDE)
        active = (vectors(fixed, op.inputs[0]) > 0).sum(1)
        if mine and active.mean() <= MOST_SHARE * columns:
            found.append(op)
            ends[op.name], counts[op.name] = mine, active
    if not found:
        return None, frozenset()
    return SparseRows(tuple(found), ends, counts), frozenset(ends)
