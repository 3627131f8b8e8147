"""Ops of many layers as calls of one routine each: less code, and a few cycles for the operands.

For machines whose memory is short of room for code while weights lie elsewhere.
To share another op: a method that makes its text of arguments and calls `_share`.
"""

from __future__ import annotations

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.plan import Plan
from anachron.compiler.targets.mos6502.sharing import NAME, Shared, share
from anachron.compiler.targets.mos6502.split_lowering import SplitLowering
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502 import activation
from anachron.kernels.mos6502.instructions import Vector


class SharedOps(SplitLowering):
    """As SplitLowering, with routines that ops share."""

    def __init__(self, values: Values, ranges: Ranges, plan: Plan) -> None:
        self._shared: dict[str, Shared] = {}
        super().__init__(values, ranges, plan)

    def _arguments(self, *vectors: Vector) -> list[Vector]:
        """The same vectors with labels of arguments."""
        return [
            Vector(f"arg_{i}_low", f"arg_{i}_high", x.size, x.bits) for i, x in enumerate(vectors)
        ]

    def _share(self, op: Op, name: str, text: str, *vectors: Vector, **labels: str) -> None:
        """Emit an op as a call of the routine of a text that names its arguments."""
        if text not in self._shared:
            stem = f"any_{op.contract}_{len(self._shared)}"
            self._shared[text] = share(text, stem)
            self._routine(op, stem, self._shared[text].text)
        for i, x in enumerate(vectors):
            labels |= {f"arg_{i}_low": x.low, f"arg_{i}_high": x.high}
        self._emit(op, self._shared[text].call(name, labels))

    def _lookup(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        table = self._words(op, "table", op.constants["table"], "table")
        a, b, points = self._arguments(x, out, table)
        attributes = op.attributes
        text = activation.lookup(NAME, a, b, points, attributes["shift"], attributes["tail"])
        self._share(op, name, text, x, out, table)

    def _multiply(self, op: Op, name: str) -> None:
        vectors = (*self._inputs(op), self.values.vector(op.name))
        a, b, out = self._arguments(*vectors)
        text = activation.multiply(NAME, a, b, out, op.attributes["shift"])
        self._share(op, name, text, *vectors)
