"""FixedModel, ranges -> which matrices of int8 vectors run in two residues, and their calls.

Matrices with the same number of columns share a kernel.  Where no proof says that the sums of a
matrix fit, a guard looks at the length of its input, if that is expected to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.fast import FastLowering
from anachron.compiler.targets.mos6502.narrow_heads import NarrowHeads
from anachron.compiler.targets.mos6502.sections import Area, data
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import matvec
from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.narrow import attention as narrow_attention
from anachron.kernels.mos6502.narrow import cache as narrow_cache
from anachron.kernels.mos6502.narrow import guard as narrow_guard
from anachron.kernels.mos6502.narrow import matvec as narrow_matvec
from anachron.kernels.mos6502.narrow import norm as narrow_norm
from anachron.kernels.mos6502.narrow import rows as narrow_rows
from anachron.kernels.mos6502.narrow import slow as narrow_slow
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue import screen as residue_screen
from anachron.kernels.mos6502.residue.matvec import PAGE
from anachron.kernels.mos6502.residue.moduli import NARROW

if TYPE_CHECKING:
    from anachron.compiler.targets.mos6502.plan import Plan

TABLES = ("t256", "t255")
ROOM = 1.1  # a guard is worth its time where inputs may be so much longer than any seen
SURE = 0.999  # how often a guard finds its input short enough, on soul's answers


@dataclass(frozen=True)
class Narrow:
    """Matrices that share a kernel.

    limits  of ops whose sums are not proven to fit: for each row the largest measure of an input
            with which it does
    most_pages  of a block of their weights
    """

    columns: int
    ops: tuple[Op, ...]
    matrices: tuple[narrow_matvec.Matrix, ...]
    spread: float
    limits: Mapping[str, Array] = field(default_factory=dict)
    most_pages: int = PAGE

    @property
    def name(self) -> str:
        return f"int8_{self.columns}"

    @property
    def saves(self) -> int:
        """Cycles of a pass that the general kernel would take more, roughly."""
        return 40 * sum(op.constants["weight"].size for op in self.ops)

    def pack(self) -> narrow_matvec.Packed:
        return narrow_matvec.pack(self.name, self.matrices, self.spread, self.most_pages)


def group_narrow(fixed: FixedModel, ranges: Ranges, most_pages: int = PAGE) -> tuple[Narrow, ...]:
    """The kernels of a model's int8 vectors."""
    found: dict[int, list[Op]] = {}
    limits: dict[str, Array] = {}
    for op in fixed.ops:
        if op.contract != "matvec" or fixed.values[op.inputs[0]].format.bits != 8:
            continue
        proven = ranges.accumulators[op.name]
        lowest, highest = np.asarray(proven["rows_lo"]), np.asarray(proven["rows_hi"])
        rows, columns = op.constants["weight"].shape
        arrays = columns + len(NARROW.moduli) + 1
        if narrow_matvec.applicable(op.constants["shift"], columns):
            continue
        if not residue_matvec.has_block(min(rows, PAGE), arrays, most_pages):
            continue
        if not NARROW.holds(int(lowest.min()), int(highest.max())):
            most = _limits(fixed, ranges, op)
            if most is None:
                continue
            limits[op.name] = most
        found.setdefault(columns, []).append(op)
    return tuple(
        Narrow(
            columns,
            tuple(ops),
            tuple(_matrix(op, ranges, _rectifies(fixed, op, limits) is not None) for op in ops),
            float(np.mean([_spread(fixed, ranges, op) for op in ops])),
            {op.name: limits[op.name] for op in ops if op.name in limits},
            most_pages,
        )
        for columns, ops in found.items()
    )


def _rectifies(fixed: FixedModel, op: Op, limits: Mapping[str, Array]) -> Op | None:
    """The ReLU that a matrix's rows can do: the next op, and nothing else reads the matrix.

    A guard's exact rows do not; and the ReLU's place may be where the guard's input lies.
    """
    after = fixed.ops[fixed.ops.index(op) + 1 :]
    readers = [reader for reader in fixed.ops if op.name in reader.inputs]
    if op.name in limits or not after or readers != [after[0]] or after[0].contract != "relu":
        return None
    narrow = op.value.format.bits == after[0].value.format.bits == 8
    return after[0] if narrow and op.name != fixed.logits.name else None


def _matrix(op: Op, ranges: Ranges, rectified: bool) -> narrow_matvec.Matrix:
    proven, bits = ranges.accumulators[op.name], op.value.format.bits
    shift = op.constants["shift"].astype(np.int64)
    limit = 1 << bits - 1
    least, most = np.asarray(proven["rows_lo"]) >> shift, np.asarray(proven["rows_hi"]) >> shift
    saturates = bool(least.min() < -limit or most.max() >= limit)
    return narrow_matvec.Matrix(
        op.constants["weight"],
        op.constants["bias"].astype(np.int64),
        shift,
        bits,
        saturates,
        rectified,
    )


def _limits(fixed: FixedModel, ranges: Ranges, op: Op) -> Array | None:
    """How long an input may be, row by row, if one of the expected length may be."""
    x = ranges.values[op.inputs[0]]
    rows, columns = op.constants["weight"].shape
    if columns > narrow_guard.MOST_ELEMENTS or rows > narrow_matvec.PAGE:
        return None
    weight, bias = op.constants["weight"], op.constants["bias"].astype(np.int64)
    most = narrow_guard.limits(
        weight, bias, NARROW.lowest, NARROW.highest, positive=bool(x.lo.min() >= 0)
    )
    expected = fixed.values[op.inputs[0]].longest * ROOM
    return most if expected and most.min() * narrow_guard.UNIT > expected**2 else None


def _spread(fixed: FixedModel, ranges: Ranges, op: Op) -> float:
    """The root mean square of an op's input, roughly."""
    value = fixed.values[op.inputs[0]]
    longest = value.longest or min(ranges.values[op.inputs[0]].norm, 32 * value.size**0.5)
    return float(longest / value.size**0.5)


class NarrowLowering(FastLowering):
    """As FastLowering, with kernels of int8 vectors."""

    def __init__(self, values: Values, ranges: Ranges, plan: Plan) -> None:
        super().__init__(values, ranges, plan)
        self.short_norms = plan.short_norms
        self.narrow_heads_of = {op.name: group for group in plan.narrow_heads for op in group.ops}
        self.narrow_of = {op.name: group for group in plan.narrow for op in group.ops}
        self.rectifiers: dict[str, Op] = {}  # ReLUs that the rows before them do, by either's name
        for group in plan.narrow:
            for op, matrix in zip(group.ops, group.matrices, strict=True):
                if matrix.rectified:
                    relu = values.fixed.ops[values.fixed.ops.index(op) + 1]
                    self.rectifiers |= {op.name: relu, relu.name: relu}
        self.narrow_packed = {group.name: group.pack() for group in plan.narrow}
        for group in plan.narrow:
            self._place_narrow(group)
        for shared in plan.narrow_heads:
            self._place_narrow_heads(shared)
        if (plan.narrow or plan.narrow_heads) and not (plan.groups or plan.heads):
            for name in TABLES:
                self.areas[name] = Area(name, "table", ((0, residues.TABLES[name]),), 256)
            self.fills["fill_triangles"] = residues.fill_triangles()

    def _place_narrow(self, group: Narrow) -> None:
        packed = self.narrow_packed[group.name]
        self._place_blocks(group.name, packed.blocks)
        self._divide_blocks(group.ops, packed.blocks)
        routines = self.routines["matvec"]
        if len(packed.blocks) > 1:
            routines[f"{group.name}_select"] = narrow_matvec.select(packed)
        routines[f"{group.name}_prepare"] = narrow_matvec.prepare(packed)
        routines[f"{group.name}_rows"] = narrow_matvec.rows(packed)
        end = narrow_matvec.end_label(packed, packed.runs[0][0])
        self.anything[narrow_matvec.which(group.name)] = end
        if group.limits:
            label = f"{group.name}_origins"
            origins = (packed.origin + 128).astype(np.uint8).tobytes()
            self.tables[label] = data(f"{group.name} origins", "weights", label, origins)
            self._narrow_squares()
            self.anything |= {"exact_columns": 1}

    def _narrow_squares(self) -> None:
        self._aligned("narrow_squares", "squares", "table", narrow_guard.squares())

    def _matvec(self, op: Op, name: str) -> None:
        group = self.narrow_of.get(op.name)
        if group is None:
            super()._matvec(op, name)
            return
        packed = self.narrow_packed[group.name]
        out = self.values.vector(self.rectifiers.get(op.name, op).name)
        x = self.values.vector(op.inputs[0])
        runs = packed.runs[group.ops.index(op)]
        labels = [name, *(f"{name}_run_{i}" for i in range(1, len(runs)))]
        for label, run in zip(labels, runs, strict=True):
            text = [f"{label}:", self._choose_block(group.name, run.block, len(packed.blocks))]
            if label == name and self._operands.get(group.name) != op.inputs[0]:
                text += [set_word("source_low", x.low), f"    jsr {group.name}_prepare"]
                self._operands[group.name] = op.inputs[0]
            seeks = self.screening is not None and self.screening.op is op
            self.environments[op.name if seeks else label] = {
                "rows": run.rows,
                narrow_matvec.which(group.name): narrow_matvec.end_label(packed, run),
            }
            if seeks:
                text.append(self._seek_narrow(op, name, packed, run))
            else:
                text.append(narrow_matvec.call(packed, run, out))
            self._emit(op, lines(*text))
        self.sequence[op.name] = labels
        bounds = self.ranges.accumulators[op.name]["rows"]
        reach = f"{int(np.max(bounds)):,}"
        why = f"sums proven within {reach} of 0; they may reach {-NARROW.lowest:,}"
        if op.name in group.limits:
            self._check(op, f"{name}_check", group, out)
            why = (
                f"while the input's length allows it: sums may reach {reach}, more than "
                f"{-NARROW.lowest:,}; else some rows again, by products"
            )
        if self.screening and self.screening.op is op:
            why = f"about {op.value.size * self.screening.likely:.0f} rows of {out.size}; {why}"
        shifts = "" if len(runs) == 1 else f", {len(runs)} runs of equal shifts"
        self.variants[op.name] = (f"residues {', '.join(map(str, NARROW.moduli))}{shifts}", why)

    def _relu(self, op: Op, name: str) -> None:
        if op.name not in self.rectifiers:
            super()._relu(op, name)
            return
        self.sequence[op.name] = []
        self.variants[op.name] = ("none", f"the rows of {op.inputs[0]} end with it")

    def _rms_norm(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        gain, attributes = op.constants["gain"].astype(np.int64), dict(op.attributes)
        if out.bits != 8 or narrow_norm.applicable(x.size, gain, attributes):
            super()._rms_norm(op, name)
            return
        shift = narrow_norm.find_shift(gain, attributes)
        bits, short = attributes["reciprocal_bits"], self.short_norms
        shape = narrow_norm.Shape(x.size, shift, bits, short and shift in narrow_norm.SHORT_SHIFTS)
        self._products()
        self.routines["norm"][shape.name] = narrow_norm.routine(shape)
        self._emit(op, narrow_norm.call(shape, name, x, out))
        self.environments[op.name] = self._count(op.name, chances.measured, op.inputs[0])
        if shape.shortens:
            self._short_norms(x.size)
            self.environments[op.name] |= self._count(op.name, chances.shortened, op.inputs[0])
        self.anything |= self.environments[op.name]
        self.variants[op.name] = ("tables, int8", "its gain is one power of two")

    def _short_norms(self, size: int) -> None:
        """What norms of short elements look up and keep."""
        for label, n in narrow_norm.TABLES.items():
            self.areas[label] = Area(label, "table", ((0, n),), 256)
        self.fills["fill_units"] = narrow_norm.fill_tables()
        parts = dict.fromkeys(narrow_norm.PARTS, narrow_norm.ENTRIES)
        self._take_turns("norm", {narrow_norm.UPPER: size, **parts})

    def _seek_narrow(
        self, op: Op, name: str, packed: narrow_rows.Packed, run: narrow_rows.Run
    ) -> str:
        """The likeliest token alone."""
        out = self.values.vector(op.name)
        end = narrow_matvec.end_label(packed, run)
        rows = residue_screen.Rows(
            name,
            out,
            narrow_matvec.block_label(packed.name, run.block),
            packed.column,
            (packed.name, end, narrow_matvec.aim(packed, run, out)),
            run.first,
            self.values.fixed.generation.first_id,
        )
        return self._screen(op, name, rows, self.values.vector(op.inputs[0]), packed.origin)

    def _check(self, op: Op, label: str, group: Narrow, out: Vector) -> None:
        """Where the input was too long, some rows once more."""
        packed, x = self.narrow_packed[group.name], self.values.vector(op.inputs[0])
        runs, most = packed.runs[group.ops.index(op)], group.limits[op.name]
        shift = op.constants["shift"].astype(np.int64)
        order = np.concatenate([run.index for run in runs])
        table = f"{self.values.op(op)}_records"
        content = narrow_guard.records(
            op.constants["weight"][order],
            op.constants["bias"].astype(np.int64)[order],
            shift[order],
            most[order],
            order,
        )
        self._place_with(group.name, runs[0].block, table, f"{op.name} records", content)
        self._routine(op, f"narrow_exact_{out.bits}", narrow_guard.exact_rows(out.bits))
        self._routine(op, "shift_total", matvec.shift_total())
        first = f"{narrow_matvec.block_label(group.name, runs[0].block)}+{runs[0].first}"
        origins = f"{group.name}_origins"
        call = narrow_guard.call(x, out, first, origins, table, packed.stride, len(order))
        self._emit(op, narrow_guard.check(label, x, int(most.min()), SURE, call))
        counts = {"rows": out.size, "exact_columns": x.size}
        self.environments[label] = counts | chances.shifts(shift)
        self.sequence[op.name].append(label)

    # ---- attention

    def _place_narrow_heads(self, heads: NarrowHeads) -> None:
        """The code of attentions of one shape, and their caches."""
        shape, mixer = heads.shape, heads.mixer
        text = lines(
            narrow_cache.keep_key(shape),
            narrow_cache.keep_value(shape),
            narrow_attention.attend(mixer),
            narrow_slow.slow_scores(mixer),
            narrow_slow.slow_mix(mixer),
        )
        self._place_caches(heads, text)
        self.routines["attention"]["narrow_add"] = narrow_slow.narrow_add()
        for part in ("scores_low", "scores_high", "scores_top", "weights"):
            self._take_turns("heads", {f"{shape.name}_{part}": shape.key_stride})
        for part in ("low", "high", "top"):
            self._take_turns("heads", {f"{shape.name}_sums_{part}": shape.size})
        self._aligned(mixer.table, mixer.table, "table", heads.table)
        label = f"{shape.name}_limits"
        self.tables[label] = data(label, "table", label, narrow_attention.limits(shape))
        for label, table in mixer.tables.items():
            self._aligned(label, label, "table", table)
        self._narrow_squares()

    def _attention(self, op: Op, name: str) -> None:
        heads = self.narrow_heads_of.get(op.name)
        if heads is None:
            super()._attention(op, name)
            return
        q, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        assert not self._choose_cache(heads, op)  # its keys and values have just been kept
        shift = op.attributes["score_shift"]
        self._emit(op, narrow_attention.call(heads.mixer, name, q, out, shift))
        self.environments[op.name] = self._count(op.name, chances.lengths, op, heads.shape)
        self.anything |= self.environments[op.name]
        self.variants[op.name] = (
            f"residues {', '.join(map(str, NARROW.moduli))}",
            f"while lengths prove that scores fit {-NARROW.lowest:,}, and weights sum to at most "
            f"{narrow_attention.MOST_WEIGHT}; else a head by products",
        )

    def _keep(self, op: Op) -> None:
        if not self._keep_residues(op, self.narrow_heads_of, narrow_cache.call_keep):
            super()._keep(op)
