"""Ops -> calls of the fast 6502 kernels, where their ranges are proven; else lowering.py's.

To add a fast kernel: a method that overrides the general one and falls back to it.
"""

from __future__ import annotations

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.lowering import Lowering
from anachron.compiler.targets.mos6502.matrices import Group
from anachron.compiler.targets.mos6502.sections import Area, Section, byte_lines
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502 import residue_matvec, residues
from anachron.kernels.mos6502.instructions import Vector, lines


class FastLowering(Lowering):
    """As Lowering, with a plan of variants."""

    def __init__(
        self, values: Values, ranges: Ranges, groups: tuple[Group, ...], reasons: dict[str, str]
    ) -> None:
        super().__init__(values, ranges)
        self.group_of = {op.name: group for group in groups for op in group.ops}
        self.packed = {group.name: group.pack() for group in groups}
        self.reasons = reasons
        self._selected: dict[str, int] = {}
        self._operands: dict[str, str] = {}
        for group in groups:
            self._place(group)
        if groups:
            self._residue_tables()

    def begin_stage(self) -> None:
        super().begin_stage()
        self._selected.clear()
        self._operands.clear()

    def _aligned(self, label: str, name: str, kind: str, content: bytes) -> None:
        text = f"    .align 256, 0\n{label}:\n{byte_lines(content)}"
        self.tables[label] = Section(name, kind, text)

    def _residue_tables(self) -> None:
        for name, size in residues.TABLES.items():
            self.areas[name] = Area(name, "table", ((0, size),), 256)
        self.fills["fill_residues"] = residues.fill_tables()

    def _place(self, group: Group) -> None:
        """A group's weights and code."""
        packed = self.packed[group.name]
        for number, block in enumerate(packed.blocks):
            label = residue_matvec.block_label(group.name, number)
            self._aligned(label, f"weights {group.name} {number}", "weights", block)
        routines = self.routines["matvec"]
        x = Vector(f"{group.vector}_low", f"{group.vector}_high", group.columns, group.bits)
        if len(packed.blocks) > 1:
            routines[f"{group.name}_select"] = residue_matvec.select(packed)
        routines[f"{group.name}_prepare"] = residue_matvec.prepare(packed, x)
        end = residue_matvec.end_label(packed, *group.ends[0])
        self.anything[residue_matvec.which(group.name)] = end
        routines[f"{group.name}_rows"] = residue_matvec.rows(packed, group.ends)

    def _matvec(self, op: Op, name: str) -> None:
        group = self.group_of.get(op.name)
        if group is None:
            super()._matvec(op, name)
            why = self.reasons.get(op.name)
            if why:
                self.variants[op.name] = ("general", f"rows of 32-bit sums: {why}")
            return
        packed, out = self.packed[group.name], self.values.vector(op.name)
        number = group.ops.index(op)
        block, _ = packed.places[number]
        text = [f"{name}:"]
        if len(packed.blocks) > 1 and self._selected.get(group.name) != block:
            label = residue_matvec.block_label(group.name, block)
            text.append(f"    ldy #>{label}\n    jsr {group.name}_select")
            self._selected[group.name] = block
        if self._operands.get(group.name) != op.inputs[0]:
            text.append(f"    jsr {group.name}_prepare")
            self._operands[group.name] = op.inputs[0]
        shift = int(op.constants["shift"][0])
        text.append(residue_matvec.call(packed, number, out.size, shift, out))
        self._emit(op, lines(*text))
        self.environments[op.name] = {
            "rows": out.size,
            residue_matvec.which(group.name): residue_matvec.end_label(packed, shift, out.bits),
        }
        bounds = self.ranges.accumulators[op.name]["rows"]
        self.variants[op.name] = (
            f"residues {', '.join(map(str, packed.basis.moduli))}",
            f"sums proven within {int(bounds.max()):,} of 0; they may reach "
            f"{packed.basis.highest:,}",
        )
