"""The tables that all kernels in residues share, no larger than what the model's values ask for."""

from __future__ import annotations

from anachron.compiler.targets.mos6502.sections import PAGE, Area, small_table
from anachron.compiler.targets.mos6502.seeking import Seeking
from anachron.kernels.mos6502.residue import moduli as residues


class ResidueTables(Seeking):
    """As Seeking, with those tables."""

    def _residue_tables(self) -> None:
        for name, size in residues.TABLES.items():
            self.areas[name] = small_table(name, size)
        reach = self._reach()
        ends = ((0, reach), (PAGE - reach, reach)) if reach < PAGE // 2 else ((0, PAGE),)
        self.areas["high_mod255"] = Area("high_mod255", "table", ends, PAGE)
        decimals = residues.DECIMALS if self._reads_words() else residues.TABLES["t99"]
        self.areas["t99"] = Area("t99", "table", ((0, decimals),), PAGE)
        self.fills["fill_residues"] = residues.fill_tables(reach, decimals)

    def _reads_words(self) -> bool:
        """All that matrices and attentions read is int16."""
        ops = (op for op in self.values.fixed.ops if op.contract in ("matvec", "attention"))
        formats = (self.values.fixed.values[name].format for op in ops for name in op.inputs)
        return all(form.bits == 16 for form in formats)

    def _reach(self) -> int:
        """High bytes of what matrices and attentions read are -reach .. reach - 1."""
        ops = (op for op in self.values.fixed.ops if op.contract in ("matvec", "attention"))
        peaks = (self.ranges.values[name].peak.max() for op in ops for name in op.inputs)
        return min(PAGE // 2, (int(max(peaks)) >> 8) + 1)
