"""Groups of matrices -> those whose vectors are often 0, which do only the columns that count.

A relu leaves about half of its elements: matrices that read it and would run in halves, because
their whole sums are not proven or their kernel is too wide, take the elements above 0 together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.chances import vectors
from anachron.compiler.targets.mos6502.matrices import Group, longest_inputs
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import sparse as residue_sparse
from anachron.kernels.mos6502.residue.moduli import WIDE, reduce

SAVES = 9  # cycles of an element of a matrix, where about half count
MOST_ROWS = 256  # of all of a group's matrices: they share pages
MOST_COLUMNS = 64


def unmade(fixed: FixedModel, ops: tuple[Op, ...]) -> dict[str, str]:
    """Relus that only some matrices read -> what they read, which will do for them."""
    found = {}
    for op in fixed.ops:
        readers = [other for other in fixed.ops if op.name in other.inputs]
        if op.contract == "relu" and readers and all(other in ops for other in readers):
            if fixed.values[op.inputs[0]].format == op.value.format:
                found[op.name] = op.inputs[0]
    return found


@dataclass(frozen=True)
class Sparse:
    """Matrices that share a sparse kernel.

    orders  op -> the order of columns, whose halves are proven to fit
    limits  op -> the sum of squares, in units, below which its whole sums are proven to fit;
            residue_sparse.ENOUGH where any does
    counts  op -> how many elements of its vectors are above 0, in texts of the model's own
    long    op -> which of those vectors are not below the limit
    largest element of all vectors
    """

    ops: tuple[Op, ...]
    orders: Mapping[str, Array]
    limits: Mapping[str, int]
    counts: Mapping[str, Array]
    long: Mapping[str, Array]
    largest: int

    @property
    def columns(self) -> int:
        return int(self.ops[0].constants["weight"].shape[1])

    @property
    def name(self) -> str:
        return f"sparse_{self.columns}"

    def unmade(self, fixed: FixedModel) -> dict[str, str]:
        """Relus that only these matrices read -> what they read, which will do for them."""
        return unmade(fixed, self.ops)

    @property
    def saves(self) -> int:
        """Cycles of a pass that the general kernel would take more, roughly."""
        return (34 + SAVES) * sum(op.constants["weight"].size for op in self.ops)

    @property
    def biases(self) -> dict[int, Array]:
        """modulus -> what the rows of all matrices start from."""
        bias = np.concatenate([op.constants["bias"].astype(np.int64) for op in self.ops])
        return {m: reduce(bias, m) for m in WIDE.moduli}

    def ends_of(self, op: Op) -> tuple[residue_matvec.End, ...]:
        """How rows end: of the whole, of the first half, of the second."""
        shift, bits = int(op.constants["shift"][0]), op.value.format.bits
        return (shift, bits, False), (residue_matvec.SUMS, 24, False), (shift, bits, True)

    @property
    def ends(self) -> list[residue_matvec.End]:
        return sorted({end for op in self.ops for end in self.ends_of(op)})

    def shape(self, order: str) -> residue_sparse.Shape:
        """The kernel, with all weights in one block; order: the label of all matrices', or ""."""
        ordered = [op.constants["weight"][:, self.orders[op.name]] for op in self.ops]
        packed = residue_sparse.pack(self.name, ordered)
        guarded = any(limit < residue_sparse.ENOUGH for limit in self.limits.values())
        elements = sum(float(self.counts[op.name].mean()) for op in self.ops)
        active = elements / sum(1 + self.in_halves(op) for op in self.ops)  # in a run of the rows
        return residue_sparse.Shape(packed, active, guarded, self.largest, order)

    def in_halves(self, op: Op) -> float:
        """The share of vectors that go in halves."""
        return float(self.long[op.name].mean())


def shares(fixed: FixedModel, op: Op, slots: int, limit: int) -> dict[str, object]:
    """What a matrix that does the columns that count asks for.

    in_halves: of vectors; columns_taken: of slots in a run of the rows; columns_zero: of elements
    """
    x = np.maximum(vectors(fixed, op.inputs[0]), 0)
    counts = (x > 0).sum(1)
    halves = _is_long(x, limit) | (counts > slots)
    return {
        "in_halves": float(halves.mean()),
        "columns_taken": float(counts.sum() / (slots * (1 + halves).sum())),
        "columns_zero": float(1 - counts.mean() / x.shape[1]),
    }


def find_sparse(
    fixed: FixedModel, ranges: Ranges, groups: tuple[Group, ...]
) -> tuple[Sparse | None, tuple[Group, ...]]:
    """The matrices that are better done so, or None, and the groups without them."""
    relus = {op.name for op in fixed.ops if op.contract == "relu"}
    for group in groups:
        ops: list[Op] = []
        for op in group.ops:
            halved = op.name in group.halves and op.inputs[0] in relus
            rows = sum(len(other.constants["weight"]) for other in (*ops, op))
            columns = op.constants["weight"].shape[1]
            if halved and rows <= MOST_ROWS and columns <= MOST_COLUMNS and group.basis is WIDE:
                ops.append(op)
        if ops:
            limits = {op.name: _limit(op, ranges) for op in ops}
            orders = {op.name: group.halves[op.name] for op in ops}
            rest = tuple(op for op in group.ops if op not in ops)
            halves = {name: order for name, order in group.halves.items() if name not in orders}
            left = replace(group, ops=rest, halves=halves)
            others = tuple(left if other is group else other for other in groups)
            taken = {op.name: np.maximum(vectors(fixed, op.inputs[0]), 0) for op in ops}
            counts = {name: (x > 0).sum(1) for name, x in taken.items()}
            long = {name: _is_long(x, limits[name]) for name, x in taken.items()}
            largest = max(int(ranges.values[op.inputs[0]].peak.max()) for op in ops)
            found = Sparse(tuple(ops), orders, limits, counts, long, largest)
            return found, tuple(g for g in others if g.ops)
    return None, groups


def _limit(op: Op, ranges: Ranges) -> int:
    """Below which sum of squares, in units, the whole sums fit."""
    proven = ranges.accumulators[op.name]
    if WIDE.holds(int(np.min(proven["rows_lo"])), int(np.max(proven["rows_hi"]))):
        return residue_sparse.ENOUGH
    longest = float(longest_inputs(op, WIDE, positive=True).min())
    return max(0, min(int((longest / residue_sparse.UNIT) ** 2), residue_sparse.ENOUGH - 1))


def _is_long(x: Array, limit: int) -> Array:
    """Which vectors a limit sends in halves."""
    if limit >= residue_sparse.ENOUGH:
        return np.zeros(len(x), bool)
    squares = np.where(x > 0, x // residue_sparse.UNIT + 1, 0) ** 2
    return squares.sum(1) >= limit
