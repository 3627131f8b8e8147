"""The tables that all kernels in residues share, no larger than what the model's values ask for."""

from __future__ import annotations

from anachron.compiler.targets.mos6502.sections import PAGE, Area, small_table
from anachron.compiler.targets.mos6502.seeking import Seeking
from anachron.kernels.mos6502.residue import guard, middle, nibbles
from anachron.kernels.mos6502.residue import moduli as residues


class ResidueTables(Seeking):
    """As Seeking, with those tables."""

    def _residue_tables(self) -> None:
        for name, size in residues.TABLES.items():
            self.areas[name] = small_table(name, size)
        reach = self._place_ends("high_mod255")
        decimals = residues.DECIMALS if self._reads_words() else residues.TABLES["t99"]
        self.areas["t99"] = Area("t99", "table", ((0, decimals),), PAGE)
        self.fills["fill_residues"] = residues.fill_tables(reach, decimals)

    def _middle_tables(self) -> None:
        """Those of attentions."""
        for name, size in middle.TABLES.items():
            self.areas[name] = Area(name, "table", ((0, size),), PAGE)
        self.fills["fill_middle"] = middle.fill_tables(self._place_ends(*middle.ENDS))

    def _square_tables(self) -> None:
        """The squares of a byte."""
        self.fills["fill_squares"] = guard.fill_squares()
        for name, size in guard.TABLES.items():
            self.areas[name] = Area(name, "table", ((0, size),), PAGE)

    def _nibble_tables(self) -> None:
        """The nibbles of a byte, each where it is wanted."""
        self.fills["fill_nibbles"] = nibbles.fill_nibbles()
        self.areas["upper_nibble"] = small_table("upper_nibble", PAGE)
        reach = nibbles.REACH
        ends = ((0, reach), (PAGE - reach, reach))
        self.areas["lower_nibble"] = Area("lower_nibble", "table", ends, PAGE)

    def _place_ends(self, *names: str) -> int:
        """Tables of high bytes, as far as there are such, -reach .. reach - 1; reach."""
        reach = self._reach()
        ends = ((0, reach), (PAGE - reach, reach)) if reach < PAGE // 2 else ((0, PAGE),)
        for name in names:
            self.areas[name] = Area(name, "table", ends, PAGE)
        return reach

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
