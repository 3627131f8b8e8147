"""Ops -> calls of the kernels that do each row in its own basis; else narrow.py's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.lowering import ALL
from anachron.compiler.targets.mos6502.narrow import NarrowLowering
from anachron.compiler.targets.mos6502.plan import Plan
from anachron.compiler.targets.mos6502.row_groups import RowGroup
from anachron.compiler.targets.mos6502.row_screening import find_parts, found_in
from anachron.compiler.targets.mos6502.sections import Area, area, byte_lines, page_data
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import fast_norm, norm_length, table_norm
from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.residue import levels as residue_levels
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue import rows as residue_rows
from anachron.kernels.mos6502.residue import run_screen, screen
from anachron.kernels.mos6502.residue.ends import last_label
from anachron.kernels.mos6502.residue.levels import MIDDLE
from anachron.kernels.mos6502.residue.runs import Packed, Run


class RowLowering(NarrowLowering):
    """As NarrowLowering, with matrices whose rows differ."""

    def __init__(self, values: Values, ranges: Ranges, plan: Plan) -> None:
        self._in_place: dict[str, str] = {}
        self._contents: dict[bytes, str] = {}
        super().__init__(values, ranges, plan)
        rows = plan.rows
        self.seeking = plan.seeking
        self.row_group_of = {op.name: group for group in rows for op in group.ops}
        self.row_packed = {group.name: group.pack() for group in rows}
        for group in rows:
            self._place_rows(group, self.row_packed[group.name])
        moduli = {m for packed in self.row_packed.values() for m in packed.moduli}
        if 99 in moduli:
            self._residue_tables()
        self.small = max(
            (*(m for m in moduli if m < 99), *(group.least or 0 for group in plan.split)), default=0
        )
        if plan.split:
            moduli |= {MIDDLE, *([self.small] if self.small else [])}
        if rows or plan.split:
            self._level_tables(moduli)

    def _bytes(self, op: Op, role: str, values: Array, kind: str) -> str:
        """The same contents lie in memory once."""
        content = (np.asarray(values, np.int64) & 0xFF).astype(np.uint8).tobytes()
        if content not in self._contents:
            self._contents[content] = super()._bytes(op, role, values, kind)
        return self._contents[content]

    def begin_stage(self) -> None:
        super().begin_stage()
        self._in_place.clear()

    def _level_tables(self, moduli: set[int]) -> None:
        """The tables of all moduli but 99, those that are not there."""
        sizes = {name: residues.TABLES[name] for name in residue_levels.SHARED}
        if "t256" not in self.areas:
            self.fills["fill_triangles"] = residues.fill_triangles()
        if MIDDLE in moduli:
            sizes |= residue_levels.TABLES
        small, most = next((m for m in moduli if m < 99), None), 256
        if small:
            packed = [some for some in self.row_packed.values() if some.small]
            most = 256 if any(some.bits == 8 for some in packed) else 2 * small - 1
            sizes |= residue_levels.small_tables(small, most)
            text = lines(
                *(
                    f"{name}:\n{byte_lines(part)}"
                    for name, part in residue_levels.turns(small).items()
                )
            )
            self.tables["row_turns"] = page_data("row turns", "table", text, 5 * small)
        for name, size in sizes.items():
            self.areas[name] = Area(name, "table", ((0, size),), 256)
        if MIDDLE in moduli or small:
            self.fills["fill_levels"] = residue_levels.fill_tables(MIDDLE in moduli, small, most)

    def _place_rows(self, group: RowGroup, packed: Packed) -> None:
        """A group's weights and code."""
        self._place_blocks(group.name, packed.blocks)
        self._divide_blocks(group.ops, packed.blocks)
        if packed.places:
            label = f"{group.name}_places"
            self._aligned(label, f"places {group.name}", "weights", packed.places)
        for label in residue_rows.arrays(packed):
            self._take_turns(ALL, {label: group.columns})
        if packed.sum_rows:
            self._take_turns(ALL, {"sums": 4 * packed.sum_rows})
        routines = self.routines["matvec"]
        if len(packed.blocks) > 1:
            routines[f"{group.name}_select"] = residue_rows.select(packed)
        routines[f"{group.name}_prepare"] = residue_rows.prepare(packed)
        routines[f"{group.name}_rows"] = residue_rows.rows(packed)
        for runs in packed.runs:
            self.anything |= residue_rows.environment(packed, runs[0]) | {"rows": 1}

    def _matvec(self, op: Op, name: str) -> None:
        group = self.row_group_of.get(op.name)
        if group is None:
            super()._matvec(op, name)
            return
        packed, out = self.row_packed[group.name], self.values.vector(op.name)
        first = group.first_matrix(op)
        parts = group.parts[op.name]
        runs = [
            (part, run) for i, part in enumerate(parts) for run in packed.runs[first + i]
        ]
        if self.seeking and self.seeking.op is op:
            self._seek_rows(op, name, packed, [run for _, run in runs])
            why = f"about {self.seeking.exact:.0f} rows of {out.size}: those whose bound, a "
            why += f"sum modulo 255, says that they may be the largest; {self._why_rows(op, group)}"
            self._say_moduli(op, packed, [run for _, run in runs], why)
            return
        runs.sort(key=lambda pair: pair[1].base)  # sums are kept of so many rows only
        labels = []
        for number, (part, run) in enumerate(runs):
            label = f"{name}_run_{number}" if number else name
            used = {m for own, other in runs if own is part for m in packed.path(other.end)[1:]}
            text = [f"{label}:", self._choose_block(group.name, run.block, len(packed.blocks))]
            text.append(self._take_rows(op, packed, part.start, used))
            text.append(self._aim_run(packed, run, out))
            text.append(residue_rows.call(packed, run))
            self._emit(op, lines(*text))
            self.environments[label] = residue_rows.environment(packed, run)
            labels.append(label)
        self.sequence[op.name] = labels
        self._say_moduli(op, packed, [run for _, run in runs], self._why_rows(op, group))

    def _say_moduli(self, op: Op, packed: Packed, runs: list[Run], why: str) -> None:
        used = {m for run in runs for m in packed.path(run.end)}
        moduli = ", ".join(str(m) for m in packed.moduli if m in used)
        self.variants[op.name] = (f"residues {moduli}", why)

    def _seek_rows(self, op: Op, name: str, packed: Packed, runs: list[Run]) -> None:
        """The likeliest token alone."""
        assert self.seeking is not None
        parts = find_parts(self.seeking, self.values.fixed, self.ranges, packed, runs)
        screens, out = [part.screen for part in parts], self.values.vector(op.name)
        x, first = self.values.vector(op.inputs[0]), min(part.run.first for part in parts)
        size = max(part.run.first + part.run.size for part in parts) - first
        constants = np.zeros(size, np.int64)
        for part in parts:
            constants[part.run.first - first :][: part.run.size] = part.screen.constants
        self._bytes(op, "constants", constants, "weights")
        self._bytes(op, "origins", -packed.origin, "weights")
        numbers = run_screen.numbers(screens, [part.run.first for part in parts])
        self._bytes(op, "runs", np.frombuffer(numbers, np.uint8), "weights")
        self._take_turns("screen", {f"{name}_bounds": size})
        block = residue_rows.block_label(packed.name, parts[0].run.block)
        rows = screen.Rows(name, out, block, packed.column, (packed.name, "", ""), first, 0)
        lasts = sorted({last_label(packed.name, part.run.end) for part in parts})
        self.routines["matvec"][f"{name}_seek"] = run_screen.seek(rows, screens, lasts)
        used = {m for part in parts for m in packed.path(part.run.end)[1:]}
        labels = []
        for number, part in enumerate(parts):
            label = f"{name}_run_{number}" if number else name
            text = [f"{label}:"]
            if not number:
                text.append(self._choose_block(packed.name, part.run.block, len(packed.blocks)))
                text.append(self._take_rows(op, packed, 0, used))
                text.append(run_screen.begin(rows, screens[0], x))
            text.append(self._aim_run(packed, part.run, out))
            text.append(run_screen.call(name, number, part.run.first, part.run.size))
            self._emit(op, lines(*text))
            run = replace(part.run, size=1)
            self.environments[label] = residue_rows.environment(packed, run) | part.found
            self._count(label, found_in, self.seeking, parts, packed.origin, number)
            labels.append(label)
        self.anything |= parts[0].found
        self.sequence[op.name] = labels
        self.chooses = True

    def _aim_run(self, packed: Packed, run: Run, out: Vector) -> str:
        """Rows end as a run's do."""
        wanted = residue_rows.patches(packed, run, out)
        changed = {at: to for at, to in wanted.items() if self._in_place.get(at) != to}
        self._in_place |= wanted
        return residue_rows.aim(changed)

    def _take_rows(self, op: Op, packed: Packed, start: int, used: set[int]) -> str:
        """Some of an op's vector into the chains that are used, unless it is there."""
        x = self.values.vector(op.inputs[0])
        routines = sorted({residue_rows.prepare_label(packed, m) for m in used})
        wanted = [r for r in routines if self._operands.get(r) != f"{op.inputs[0]}+{start}"]
        if not wanted:
            return ""
        text = [set_word("source_low", f"{x.low}+{start}")]
        text.append(set_word("source_high", f"{x.high}+{start}") if x.bits == 16 else "")
        for routine in wanted:
            self._operands[routine] = f"{op.inputs[0]}+{start}"
            text.append(f"    jsr {routine}")
        return lines(*text)

    # ---- norms

    def _rms_norm(self, op: Op, name: str) -> None:
        if self._has_table_norm(op) and not self._has_fast_norm(op):
            self._table_norm(op, name, None)
        else:
            super()._rms_norm(op, name)

    def _layer_norm(self, op: Op, name: str) -> None:
        if not self._has_table_norm(op):
            super()._layer_norm(op, name)
            return
        size = op.value.size
        known = self.areas.get("centred")
        self.areas["centred"] = area("centred", "buffer", max(2 * size, known.size if known else 0))
        self._routine(op, f"centre_{size}", norm_length.centre(size))
        bias = self._words(op, "bias", op.constants["bias"], "weights")
        self._table_norm(op, name, bias)

    def _has_table_norm(self, op: Op) -> bool:
        bits = {self.values.vector(name).bits for name in (op.inputs[0], op.name)}
        return bits == {16} and not table_norm.applicable(op.value.size, op.attributes)

    def _has_fast_norm(self, op: Op) -> bool:
        """Another kernel does a norm faster, or may not at all."""
        why = fast_norm.applicable(op.value.size, op.constants["gain"], dict(op.attributes))
        return not why and self.ranges.values[op.name].image is not None

    def _table_norm(self, op: Op, name: str, bias: Vector | None) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        shifts = self._norm_shifts(op)
        shape = norm_length.Shape(x.size, shifts["pre_shift"], shifts["root_shift"])
        saturates = self.ranges.values[op.name].image is None
        self.fills["fill_less_products"] = fast_norm.fill_tables()
        for table, size in fast_norm.TABLES.items():
            self.areas[table] = Area(table, "table", ((0, size),), 256)
        gain, label = op.constants["gain"].astype(np.int64), ""
        plain = bool((gain == 1).all())
        if not plain:
            content = np.vstack([gain, table_norm.gain_constants(gain)]).ravel()
            label = self._bytes(op, "gain", content, "weights")
        routine = table_norm.scale_label(bias is not None, saturates, plain)
        self._routine(op, shape.name, norm_length.reciprocal(shape))
        self._routine(op, routine, table_norm.scale(bias is not None, saturates, plain))
        self._routine(op, f"{routine}_set", table_norm.choose(routine, bias is not None, plain))
        amounts = (shifts["gain_shift"], shifts["reciprocal_bits"])
        self._emit(op, table_norm.call(name, shape, routine, x, out, label, amounts, bias))
        entry = table_norm.shift_entry(routine, shifts["gain_shift"])
        self.environments[op.name] = {
            "elements": x.size,
            table_norm.shift_variable(routine): entry,
        }
        self.anything |= self.environments[op.name] | {"elements": 1}
        self.variants[op.name] = (
            "tables",
            f"products by table; its results {'may' if saturates else 'cannot'} saturate",
        )

    def _why_rows(self, op: Op, group: RowGroup) -> str:
        """How many rows are in which basis, and what else is special."""
        parts = group.parts[op.name]
        bases = Counter(end.basis for part in parts for end in part.ends)
        ends = parts[-1].ends
        said = [
            f"{bases[basis]} rows in the {basis} basis"
            for basis in ("narrow", "small", "wide", "wider", "widest")
            if basis in bases
        ]
        shifts = sorted({end.shift for end in ends})
        if len(shifts) > 1:
            said.append(f"shifts of {shifts[0]} to {shifts[-1]}")
        saturating = sum(end.saturates for end in ends)
        said.append(f"{saturating} may saturate" if saturating else "none may saturate")
        if len(parts) > 1:
            said.append(f"{group.columns} columns at a time")
        return ", ".join(said) + ", by their proven bounds"
