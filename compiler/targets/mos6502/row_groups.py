"""FixedModel, ranges -> which matrices run row by row in residues, each row in its own basis.

They are those that other kernels leave: rows of different shifts, sums beyond the wide basis,
results that may saturate.  Memory decides between styles: a kernel for each number of columns, or
one that does wider matrices some columns at a time; the wide basis with its tables, one of a small
modulus whose tables are there, or neither.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges, sum_bounds
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import levels as residue_levels
from anachron.kernels.mos6502.residue import runs as residue_runs
from anachron.kernels.mos6502.residue.ends import SHIFTS, End
from anachron.kernels.mos6502.residue.moduli import NARROW, WIDE, Basis
from anachron.kernels.mos6502.residue.runs import PAGE

MOST_COLUMNS = 64  # of a kernel, unrolled
CYCLES = {"narrow": 18.0, "small": 26.8, "wide": 26.3, "wider": 30.0, "widest": 38.5}  # a product
GENERAL = {8: 36.0, 16: 62.0}  # the same of the general kernel, by the bits of x


class Style(NamedTuple):
    """How much memory is spent.

    shared  one kernel does matrices of all widths
    wide    rows may be in the wide basis
    small   or in that of 256, 255 and a small modulus
    """

    shared: bool
    wide: bool
    small: bool


STYLES = tuple(
    Style(shared, wide, small)
    for wide, small in ((True, False), (False, True), (False, False))
    for shared in (False, True)
)


class Columns(NamedTuple):
    """Some columns of a matrix, from `start` on, and how each row ends with them."""

    start: int
    ends: tuple[End, ...]


@dataclass(frozen=True)
class RowGroup:
    """Matrices that share a kernel for so many columns.

    bits  of the elements of their vectors
    parts  op -> its columns, as many at a time as the kernel does
    """

    columns: int
    bits: int
    small: int | None
    ops: tuple[Op, ...]
    parts: Mapping[str, tuple[Columns, ...]]
    most_pages: int = PAGE  # of a block of their weights

    @property
    def name(self) -> str:
        return f"rows_{self.columns}_{self.bits}"

    @property
    def saves(self) -> int:
        """Cycles of a pass that the general kernel would take more, roughly."""
        general = sum(
            rows * (columns * GENERAL[self.bits] + 200)
            for rows, columns in (op.constants["weight"].shape for op in self.ops)
        )
        return round(general - self.cycles)

    @property
    def cycles(self) -> float:
        """Of a pass, roughly."""
        ends = (end for op in self.ops for part in self.parts[op.name] for end in part.ends)
        return sum(CYCLES[end.basis] * self.columns + end.cycles for end in ends)

    def first_matrix(self, op: Op) -> int:
        """The number of an op's first matrix among those packed."""
        before = self.ops[: [other.name for other in self.ops].index(op.name)]
        return sum(len(self.parts[other.name]) for other in before)

    def pack(self) -> residue_runs.Packed:
        matrices = []
        for op in self.ops:
            weight, bias = op.constants["weight"], op.constants["bias"].astype(np.int64)
            for start, ends in self.parts[op.name]:
                some = weight[:, start : start + self.columns]
                some = np.pad(some, ((0, 0), (0, self.columns - some.shape[1])))
                matrices.append(residue_runs.Matrix(some, bias if not start else 0 * bias, ends))
        return residue_runs.pack(self.name, self.bits, self.small, matrices, self.most_pages)


def group_rows(
    values: Values,
    ranges: Ranges,
    others: Collection[str],
    style: Style,
    most_pages: int = PAGE,
    least: int | None = None,
) -> tuple[tuple[RowGroup, ...], dict[str, str]]:
    """The groups of all matrices but some others, and op -> why it has none.

    The logits' rows are the first: they lie in one block if they can, for one screen reads them.

    least  small modulus that other kernels ask for
    """
    ops = [op for op in values.fixed.ops if op.contract == "matvec" and op.name not in others]
    ops.sort(key=lambda op: op is not values.fixed.ops[-1])
    bits = {op.name: values.fixed.values[op.inputs[0]].format.bits for op in ops}
    widths = _choose_widths(ops, bits, style.shared)
    bounds = {op.name: _bounds(op, ranges, widths[op.name]) for op in ops}
    small = max(_choose_small(bounds) or 0, least or 0) or None
    bases = [NARROW, WIDE, residue_levels.WIDER]
    if ops and style.small:
        small = _best_small(bounds, small or 0)
        bases[1] = residue_levels.small_basis(small)
    elif not style.wide:
        del bases[1]
    bases += [residue_levels.widest(small)] if small else []
    reasons: dict[str, str] = {}
    found: dict[tuple[int, int], list[Op]] = {}
    parts: dict[str, tuple[Columns, ...]] = {}
    for op in ops:
        made, why = _parts(op, ranges, bounds[op.name], widths[op.name], bases)
        if why:
            reasons[op.name] = why
        else:
            parts[op.name] = made
            found.setdefault((widths[op.name], bits[op.name]), []).append(op)
    groups = (
        RowGroup(
            width, size, small, tuple(some), {op.name: parts[op.name] for op in some}, most_pages
        )
        for (width, size), some in found.items()
    )
    return tuple(groups), reasons


def _choose_widths(ops: list[Op], bits: Mapping[str, int], shared: bool) -> dict[str, int]:
    """op -> columns of its kernel."""
    widths = {op.name: op.constants["weight"].shape[1] for op in ops}
    for size in set(bits.values()):
        mine = [op for op in ops if bits[op.name] == size]
        known = {min(widths[op.name], MOST_COLUMNS) for op in mine}

        def cost(width: int, mine: list[Op] = mine) -> float:
            parts = ((len(op.constants["weight"]), widths[op.name] / width) for op in mine)
            return sum(rows * math.ceil(count) * (width * 30 + 180) for rows, count in parts)

        best = min(sorted(known), key=cost)
        for op in mine:
            if shared or widths[op.name] > MOST_COLUMNS:
                widths[op.name] = best
    return widths


Bounds = list[tuple[Array, Array]]  # least and most, row by row, of each part's sums


def _bounds(op: Op, ranges: Ranges, width: int) -> Bounds:
    weight, bias = op.constants["weight"], op.constants["bias"].astype(np.int64)
    proven = ranges.accumulators[op.name]
    n = weight.shape[1]
    if n <= width:
        return [(np.asarray(proven["rows_lo"]), np.asarray(proven["rows_hi"]))]
    x, found = ranges.values[op.inputs[0]], []
    for start in range(0, n, width):
        mask = np.zeros(n, np.int64)
        mask[start : start + width] = 1
        found.append(sum_bounds(weight * mask, bias if not start else 0 * bias, x))
    return found


def _choose_small(bounds: Mapping[str, Bounds]) -> int | None:
    """One fourth modulus for all rows that three do not do and some fourth does."""
    needed = 0
    for lo, hi in (pair for pairs in bounds.values() for pair in pairs):
        for least, most in zip(lo.tolist(), hi.tolist(), strict=True):
            if not residue_levels.WIDER.holds(int(least), int(most)):
                needed = max(needed, residue_levels.choose_small(int(least), int(most)) or 0)
    return needed or None


def _best_small(bounds: Mapping[str, Bounds], least: int) -> int:
    """The small modulus, of those that do, with which all rows take the fewest cycles."""
    pairs = [pair for pairs in bounds.values() for pair in pairs]
    lo = np.concatenate([low for low, _ in pairs])
    hi = np.concatenate([high for _, high in pairs])

    def cost(small: int) -> float:
        basis, fold = residue_levels.small_basis(small), 6 * small / (256 - small)
        held = (lo >= basis.lowest) & (hi <= basis.highest)
        wider = (lo >= residue_levels.WIDER.lowest) & (hi <= residue_levels.WIDER.highest)
        short = CYCLES["wider"] - CYCLES["small"] - fold
        return float((~wider).sum() * fold - held.sum() * short)

    return min((m for m in residue_levels.SMALL if m >= least), key=cost)


def ends_of(op: Op, ranges: Ranges, basis: Basis) -> tuple[End, ...]:
    """How each row ends in one basis, or nothing if it cannot hold some."""
    proven = ranges.accumulators[op.name]
    bounds = [(np.asarray(proven["rows_lo"]), np.asarray(proven["rows_hi"]))]
    parts, _ = _parts(op, ranges, bounds, op.constants["weight"].shape[1], [basis])
    return parts[0].ends if parts else ()


def _parts(
    op: Op, ranges: Ranges, bounds: Bounds, width: int, bases: list[Basis]
) -> tuple[tuple[Columns, ...], str]:
    """How each row ends in each part, or why the kernels cannot do some row."""
    proven = ranges.accumulators[op.name]
    lo, hi = np.asarray(proven["rows_lo"]), np.asarray(proven["rows_hi"])
    bits, shift = op.value.format.bits, op.constants["shift"].astype(np.int64)
    saturates = (lo >> shift < -(1 << bits - 1)) | (hi >> shift >= 1 << bits - 1)
    size = 3 if max(-int(lo.min()), int(hi.max())) < 1 << 23 else 4
    size = max(size, bits // 8 + 1) if len(bounds) > 1 else 0
    if not set(shift.tolist()) <= set(SHIFTS):
        return (), f"a row's sum is shifted by {int(shift.max())}"
    if (saturates & (shift == 0)).any():
        return (), "a row that is not shifted may saturate"
    made = []
    for number, (least, most) in enumerate(bounds):
        part = ("first" if not number else "more") if number + 1 < len(bounds) else "last"
        part = part if len(bounds) > 1 else ""
        ends = []
        for row, (low, high) in enumerate(zip(least.tolist(), most.tolist(), strict=True)):
            basis = next((b for b in bases if b.holds(int(low), int(high))), None)
            if basis is None:
                return (), f"its sums may reach {max(-int(low), int(high)):,}"
            if part in {"first", "more"}:
                ends.append(End(basis.name, 16, 8, False, part, size))
            else:
                bound = bool(saturates[row])
                ends.append(End(basis.name, bits, int(shift[row]), bound, part, size))
        made.append(Columns(number * width, tuple(ends)))
    return tuple(made), ""
