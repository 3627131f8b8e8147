"""Blocks of weights that kernels share: where they lie, and what points a kernel at one."""

from __future__ import annotations

from collections.abc import Sequence

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.lowering import Lowering
from anachron.compiler.targets.mos6502.sections import byte_lines, data, page_data
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502.residue.matvec import block_label


class BlockLowering(Lowering):
    """As Lowering, with tables that begin on pages.

    _selected  what a kernel's code points at
    _shares    op -> bytes of its rows in blocks that it shares with others
    """

    def __init__(self, values: Values, ranges: Ranges) -> None:
        super().__init__(values, ranges)
        self._selected: dict[str, object] = {}
        self._shares: dict[str, int] = {}

    def data_bytes(self, op: Op) -> int:
        return super().data_bytes(op) + self._shares.get(op.name, 0)

    def _divide_blocks(self, ops: Sequence[Op], blocks: Sequence[bytes]) -> None:
        """What blocks take, among the matrices whose rows they hold."""
        whole, rows = sum(map(len, blocks)), sum(op.value.size for op in ops)
        self._shares |= {op.name: whole * op.value.size // rows for op in ops}

    def begin_stage(self) -> None:
        super().begin_stage()
        self._selected.clear()

    def _aligned(self, label: str, name: str, kind: str, content: bytes) -> None:
        text = f"{label}:\n{byte_lines(content)}"
        self.tables[label] = page_data(name, kind, text, len(content))

    def _place_blocks(self, name: str, blocks: Sequence[bytes]) -> None:
        """The blocks of a group's weights, each from the start of a page."""
        for number, block in enumerate(blocks):
            label = block_label(name, number)
            self._aligned(label, f"weights {name} {number}", "weights", block)

    def _place_with(self, name: str, block: int, label: str, title: str, content: bytes) -> None:
        """A table that is read where a block of a group is."""
        self.tables[label] = data(title, "weights", label, content)

    def _choose_block(self, name: str, block: int, n_blocks: int) -> str:
        """Point a group's code at a block, unless it does."""
        if n_blocks == 1 or self._selected.get(name) == block:
            return ""
        self._selected[name] = block
        return f"    ldy #>{block_label(name, block)}\n    jsr {name}_select"
