"""The likeliest token without every logit: what looks for it, whatever kernel does exact rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anachron.compiler.fixed import Op
from anachron.compiler.targets.mos6502.blocks import BlockLowering
from anachron.compiler.targets.mos6502.sections import Area
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector
from anachron.kernels.mos6502.residue import finer as residue_finer
from anachron.kernels.mos6502.residue import screen as residue_screen

if TYPE_CHECKING:
    from anachron.compiler.targets.mos6502.screening import Screening


class Seeking(BlockLowering):
    """As BlockLowering, with a screen of the logits where there is one."""

    screening: Screening | None = None

    def _screen(
        self, op: Op, name: str, rows: residue_screen.Rows, x: Vector, origin: Array
    ) -> str:
        """What looks for the likeliest token, and the text that goes there."""
        assert self.screening is not None
        screen = self.screening.screen
        self._bytes(op, "constants", screen.constants, "weights")
        self._bytes(op, "origins", -origin, "weights")
        self._take_turns("screen", {f"{name}_bounds": op.value.size})
        self.areas[residue_screen.TABLE] = Area(residue_screen.TABLE, "table", ((0, 512),), 256)
        self.fills["fill_screen"] = residue_screen.fill_table(screen.fine)
        likely, second = self.screening.likely, residue_screen.NONE
        finer, counts = self.screening.finer, self.screening.counts
        if finer is not None and counts is not None:
            self._bytes(op, "finer_constants", finer.screen.constants, "weights")
            self.areas[residue_finer.TABLE] = Area(residue_finer.TABLE, "table", ((0, 512),), 256)
            self.fills["fill_finer"] = residue_finer.fill(finer)
            likely = counts.passing / op.value.size
            again = max(counts.again, 1e-9)
            second = residue_finer.second(
                rows,
                finer,
                x,
                again / counts.passing,
                counts.any / again,
                counts.left / again,
                counts.far,
            )
        self.routines["matvec"][f"{name}_seek"] = residue_screen.seek(
            rows, screen, x, likely, second
        )
        self.chooses = True
        self.environments[op.name] |= {"rows": 1}
        return f"    jmp {name}_seek"
