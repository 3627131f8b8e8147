"""FixedModel, ranges -> which matrices run in residues, grouped by the kernel that does them.

Matrices with the same number of columns and the same basis share a kernel and the buffer that it
reads.  A matrix whose sums are not proven to fit gets a guard, a limit on its input's length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges, sum_bounds
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import guard
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue.matvec import PAGE
from anachron.kernels.mos6502.residue.moduli import NARROW, WIDE, Basis

MOST_GUARDED = 128  # columns
MODULI = len(WIDE.moduli)
HALVINGS = 40  # orders of columns that are tried
LEAST_LIMIT = 256  # of a guard: below, most inputs would be too long
MOST_EXACT = 0.5  # of rows that it may leave to the slow way, usually
MOST_BEYOND = 4 * WIDE.highest  # that a sum may reach: beyond, sums as large are to be expected


@dataclass(frozen=True)
class Group:
    """Matrices that share a residue kernel.

    limits  of ops whose sums are not proven to fit: for each row the largest sum of squares of
            (x >> 4) with which it does
    halves  of ops with twice as many columns: the order of columns in which they are halved
    rectified  ops whose x has no negative elements, about half of them 0
    most_pages  of a block of their weights
    """

    basis: Basis
    columns: int
    bits: int  # of x
    ops: tuple[Op, ...]
    halves: Mapping[str, Array] = field(default_factory=dict)
    limits: Mapping[str, list[int]] = field(default_factory=dict)
    rectified: frozenset[str] = frozenset()
    most_pages: int = PAGE

    @property
    def name(self) -> str:
        return f"{self.basis.name}_{self.columns}_{self.bits}"

    @property
    def vector(self) -> str:
        """The label of the buffer that its kernel reads."""
        return f"vector_{self.columns}_{self.bits}"

    @property
    def saves(self) -> int:
        """Cycles of a pass that the general kernel would take more, roughly."""
        return 34 * sum(op.constants["weight"].size for op in self.ops)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values that it reads in its buffer, each once, in order."""
        whole = (op.inputs[0] for op in self.ops if op.name not in self.halves)
        return tuple(dict.fromkeys(whole))

    @property
    def ends(self) -> list[residue_matvec.End]:
        """How the rows of its matrices end."""
        ends = {end for op in self.ops for end in self.ends_of(op)}
        return sorted(ends)

    def ends_of(self, op: Op) -> list[residue_matvec.End]:
        """How an op's rows end; of halves, the first and the second half."""
        shift, bits = int(op.constants["shift"][0]), op.value.format.bits
        if op.name in self.halves:
            return [(residue_matvec.SUMS, 24, False), (shift, bits, True)]
        return [(shift, bits, False)]

    def first_matrix(self, op: Op) -> int:
        """The number of an op's matrix, or of its first half, among those packed."""
        before = self.ops[: [other.name for other in self.ops].index(op.name)]
        return sum(2 if other.name in self.halves else 1 for other in before)

    @property
    def matrices(self) -> list[tuple[Array, Array]]:
        """(weight, bias) of each matrix, in order."""
        matrices = []
        for op in self.ops:
            weight, bias = op.constants["weight"], op.constants["bias"]
            if op.name in self.halves:
                one, two = np.split(weight[:, self.halves[op.name]], 2, axis=1)
                matrices += [(one, bias), (two, np.zeros_like(bias))]
            else:
                matrices.append((weight, bias))
        return matrices

    def pack(self) -> residue_matvec.Packed:
        dense = [
            0.45 if op.name in self.rectified else 1.0
            for op in self.ops
            for _ in range(2 if op.name in self.halves else 1)
        ]
        return residue_matvec.pack(
            self.name, self.basis, self.bits, self.matrices, dense, self.most_pages
        )


def group_matrices(
    fixed: FixedModel, ranges: Ranges, others: Iterable[str] = (), most_pages: int = PAGE
) -> tuple[tuple[Group, ...], dict[str, str]]:
    """The groups, and op -> why it has none; others: ops that another kernel does."""
    values = Values(fixed)
    found: dict[tuple[str, int, int], list[Op]] = {}
    bases: dict[str, Basis] = {basis.name: basis for basis in (NARROW, WIDE)}
    reasons: dict[str, str] = {}
    limits: dict[str, list[int]] = {}
    for stage in values.stages:
        for op in stage.ops:
            if op.contract != "matvec" or op.name in others:
                continue
            bits = fixed.values[op.inputs[0]].format.bits
            rows, columns = op.constants["weight"].shape
            why = "more than 256 rows" if rows > max(residue_matvec.BLOCK_ROWS) else ""
            if not why and not residue_matvec.has_block(rows, columns + MODULI, most_pages):
                why = f"its weights do not lie in {most_pages} pages"
            if why:
                reasons[op.name] = why
                continue
            for basis in bases.values():
                why = why or _objection(op, ranges, basis)
                if not why:
                    found.setdefault((basis.name, columns, bits), []).append(op)
                    break
                if basis is NARROW:
                    why = ""
            limit = _guard(op, ranges) if why else []
            if limit and min(limit) >= LEAST_LIMIT and _exact_rows(fixed, op, limit) < MOST_EXACT:
                found.setdefault((WIDE.name, columns, bits), []).append(op)
                limits[op.name] = limit
            elif why:
                reasons[op.name] = why
    groups = [
        Group(bases[name], columns, bits, tuple(ops), limits=limits, most_pages=most_pages)
        for (name, columns, bits), ops in found.items()
    ]
    groups = _halve(fixed, values, ranges, groups)
    shared = share_vectors(values, groups)
    kept = []
    for group in groups:
        ops = tuple(
            op
            for op in group.ops
            if op.name in group.halves or op.inputs[0] in shared[group.vector]
        )
        why = "the kernel's buffer holds another value while its input lives"
        reasons |= {op.name: why for op in group.ops if op not in ops}
        rectified = (op.name for op in ops if ranges.values[op.inputs[0]].lo.min() >= 0)
        kept.append(replace(group, ops=ops, rectified=frozenset(rectified)))
    return tuple(group for group in kept if group.ops), reasons


def _halve(fixed: FixedModel, values: Values, ranges: Ranges, groups: list[Group]) -> list[Group]:
    """Matrices of twice the columns of another group as two halves, if their sums are proven."""
    found = {(group.basis.name, group.columns, group.bits): group for group in groups}
    for wide in groups:
        narrow = found.get((wide.basis.name, wide.columns // 2, wide.bits))
        if wide.columns % 2 or narrow is None or wide.bits != 16:
            continue
        orders = half_orders(wide.ops, ranges, wide.basis)
        free = all(_is_free(values, narrow, op) for op in wide.ops)
        if free and len(orders) == len(wide.ops):
            names = [op.name for op in (*narrow.ops, *wide.ops)]
            ops = tuple(op for op in fixed.ops if op.name in names)
            key = (narrow.basis.name, narrow.columns, narrow.bits)
            found[key] = replace(narrow, ops=ops, halves={**narrow.halves, **orders})
            del found[wide.basis.name, wide.columns, wide.bits]
    return list(found.values())


def _is_free(values: Values, group: Group, op: Op) -> bool:
    """The buffer that a group's kernel reads holds nothing else when an op runs."""
    tick = values.lifetimes[op.name].first
    lives = [values.lifetimes[name] for name in group.inputs]
    return all(life.last < tick or life.first > tick for life in lives)


def half_orders(ops: Iterable[Op], ranges: Ranges, basis: Basis) -> dict[str, Array]:
    """op -> an order of columns such that the sums of both halves are proven to fit: the first
    that is found, one for all ops if there is one."""
    ops = [op for op in ops if _may_halve(op)]
    columns = ops[0].constants["weight"].shape[1] if ops else 0
    rng = np.random.default_rng(0)
    found: dict[str, Array] = {}
    order = np.arange(columns)
    for _ in range(HALVINGS):
        fitting = [op.name for op in ops if _halves_fit(op, order, ranges, basis)]
        if len(fitting) == len(ops):
            return dict.fromkeys(fitting, order)
        for name in fitting:
            found.setdefault(name, order)
        order = rng.permutation(columns)
    return found


def _may_halve(op: Op) -> bool:
    rows = len(op.constants["weight"])
    shifts = set(op.constants["shift"].tolist())
    return rows * 2 <= max(residue_matvec.BLOCK_ROWS) and len(shifts) == 1


def _halves_fit(op: Op, order: Array, ranges: Ranges, basis: Basis) -> bool:
    for part, bias in zip(np.split(order, 2), (op.constants["bias"], 0), strict=True):
        mask = np.zeros(len(order), np.int64)
        mask[part] = 1
        weight = op.constants["weight"] * mask
        lo, hi = sum_bounds(weight, np.asarray(bias), ranges.values[op.inputs[0]])
        if not basis.holds(int(lo.min()), int(hi.max())):
            return False
    return True


def share_vectors(values: Values, groups: Iterable[Group]) -> dict[str, tuple[str, ...]]:
    """The label of each buffer that kernels read -> the values that take turns in it."""
    inputs: dict[str, list[str]] = {}
    for group in groups:
        inputs.setdefault(group.vector, []).extend(group.inputs)
    return {label: values.in_turn(dict.fromkeys(names)) for label, names in inputs.items()}


def _objection(op: Op, ranges: Ranges, basis: Basis) -> str:
    """Why a kernel of one basis cannot do a matrix, or nothing."""
    proven, shift = ranges.accumulators[op.name], op.constants["shift"]
    lo, hi = np.asarray(proven["rows_lo"]), np.asarray(proven["rows_hi"])
    if len(set(shift.tolist())) != 1 or int(shift[0]) not in residue_matvec.SHIFTS:
        return "its rows have different shifts"
    if not basis.holds(int(lo.min()), int(hi.max())):
        return f"its sums may reach {max(-int(lo.min()), int(hi.max())):,}"
    limit = 1 << op.value.format.bits - 1
    if (lo >> shift).min() < -limit or (hi >> shift).max() >= limit:
        return "its results may saturate"
    return ""


def _guard(op: Op, ranges: Ranges) -> list[int]:
    """The largest sums of squares of (x >> 4) with which the wide basis does, or nothing."""
    rows, columns = op.constants["weight"].shape
    shifts = set(op.constants["shift"].tolist())
    x = ranges.values[op.inputs[0]]
    shapes = rows <= max(residue_matvec.BLOCK_ROWS) and columns <= MOST_GUARDED
    if not shapes or len(shifts) != 1 or op.value.format.bits != 16 or x.peak.max() < 256:
        return []
    (amount,) = shifts
    if amount not in residue_matvec.SHIFTS or WIDE.highest >> amount > 32767:
        return []
    if np.max(ranges.accumulators[op.name]["rows"]) > MOST_BEYOND:
        return []
    norms = longest_inputs(op, WIDE, positive=bool(x.lo.min() >= 0))
    return [guard.limit(float(norm), columns) for norm in norms]


def _exact_rows(fixed: FixedModel, op: Op, limits: list[int]) -> float:
    """The share of rows that a guard leaves to the slow way in texts of the model's own."""
    usual = chances.guarded(fixed, op, limits)
    return float(usual["too_long"]) * float(usual["row_beyond"])


def longest_inputs(op: Op, basis: Basis, positive: bool) -> Array:
    """(rows,) the norm of x up to which each sum of a matrix lies inside a basis.

    positive  x has no negative elements: only weights of one sign can make a sum large
    """
    weight = op.constants["weight"].astype(float)
    bias = op.constants["bias"].astype(float)
    up = np.linalg.norm(np.maximum(weight, 0) if positive else weight, axis=1)
    down = np.linalg.norm(np.minimum(weight, 0) if positive else weight, axis=1)
    return np.minimum(
        (basis.highest - bias) / np.maximum(up, 1e-9),
        (bias - basis.lowest) / np.maximum(down, 1e-9),
    )
