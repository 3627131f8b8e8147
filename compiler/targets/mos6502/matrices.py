"""FixedModel, ranges -> which matrices run in residues, grouped by the kernel that does them.

Matrices with the same number of columns and the same basis share a kernel and the buffer that it
reads.  A matrix whose sums are not proven to fit gets a guard, a limit on its input's length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502 import residue_matvec
from anachron.kernels.mos6502.residues import NARROW, WIDE, Basis


@dataclass(frozen=True)
class Group:
    """Matrices that share a residue kernel; limits: op -> the largest norm of x it may take."""

    basis: Basis
    columns: int
    bits: int  # of x
    ops: tuple[Op, ...]
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.basis.name}_{self.columns}_{self.bits}"

    @property
    def vector(self) -> str:
        """The label of the buffer that its kernel reads."""
        return f"vector_{self.columns}_{self.bits}"

    @property
    def products(self) -> int:
        """Multiplications of a pass."""
        return sum(op.constants["weight"].size for op in self.ops)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values that it reads, each once, in order."""
        return tuple(dict.fromkeys(op.inputs[0] for op in self.ops))

    @property
    def ends(self) -> list[tuple[int, int]]:
        """(shift, bits of the result) of its matrices."""
        return sorted({(int(op.constants["shift"][0]), op.value.format.bits) for op in self.ops})

    def pack(self) -> residue_matvec.Packed:
        matrices = [(op.constants["weight"], op.constants["bias"]) for op in self.ops]
        return residue_matvec.pack(self.name, self.basis, self.bits, matrices)


def group_matrices(fixed: FixedModel, ranges: Ranges) -> tuple[tuple[Group, ...], dict[str, str]]:
    """The groups, and op -> why it has none."""
    values = Values(fixed)
    found: dict[tuple[str, int, int], list[Op]] = {}
    bases: dict[str, Basis] = {basis.name: basis for basis in (NARROW, WIDE)}
    reasons: dict[str, str] = {}
    for stage in values.stages:
        for op in stage.ops:
            if op.contract != "matvec":
                continue
            bits = fixed.values[op.inputs[0]].format.bits
            rows, columns = op.constants["weight"].shape
            why = "more than 256 rows" if rows > residue_matvec.BLOCK_ROWS else ""
            for basis in bases.values():
                why = why or _objection(op, ranges, basis)
                if not why:
                    found.setdefault((basis.name, columns, bits), []).append(op)
                    break
                if basis is NARROW:
                    why = ""
            if why:
                reasons[op.name] = why
    groups = [
        Group(bases[name], columns, bits, tuple(ops))
        for (name, columns, bits), ops in found.items()
    ]
    shared = share_vectors(values, groups)
    kept = []
    for group in groups:
        ops = tuple(op for op in group.ops if op.inputs[0] in shared[group.vector])
        why = "the kernel's buffer holds another value while its input lives"
        reasons |= {op.name: why for op in group.ops if op not in ops}
        kept.append(replace(group, ops=ops))
    return tuple(group for group in kept if group.ops), reasons


def share_vectors(values: Values, groups: Iterable[Group]) -> dict[str, tuple[str, ...]]:
    """The label of each buffer that kernels read -> the values that take turns in it."""
    inputs: dict[str, list[str]] = {}
    for group in groups:
        inputs.setdefault(group.vector, []).extend(group.inputs)
    return {label: values.in_turn(dict.fromkeys(names)) for label, names in inputs.items()}


def _objection(op: Op, ranges: Ranges, basis: Basis) -> str:
    proven = ranges.accumulators[op.name]
    return residue_matvec.applicable(
        basis,
        np.asarray(proven["rows_lo"]),
        np.asarray(proven["rows_hi"]),
        op.constants["shift"],
        op.value.format.bits,
    )


def longest_input(op: Op, basis: Basis) -> float:
    """The norm of x up to which every sum of a matrix lies inside a basis."""
    lengths = np.sqrt((op.constants["weight"].astype(float) ** 2).sum(1))
    bias = op.constants["bias"].astype(float)
    room = np.minimum(basis.highest - bias, bias - basis.lowest)
    return float((room / np.maximum(lengths, 1e-9)).min(initial=math.inf))
