"""Two embeddings that are only added: one kernel shifts their sum, not each of them."""

from __future__ import annotations

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.compacting import Compacting
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import embedding
from anachron.kernels.mos6502.instructions import Vector


class Embedded(Compacting):
    """As Compacting, with such sums."""

    def __init__(self, values: Values, ranges: Ranges) -> None:
        super().__init__(values, ranges)
        self._rows_of: dict[str, str] = {}  # embedding that only a sum reads -> label of its table

    def _embed(self, op: Op, name: str) -> None:
        if self._sum_of(op) is None:
            super()._embed(op, name)
            return
        table, _ = self._packed(op)
        self._rows_of[op.name] = self._bytes(op, "table", table, "weights")
        self.sequence[op.name] = []
        self.variants[op.name] = ("none", "the sum that reads it looks its row up")

    def _add(self, op: Op, name: str) -> None:
        if any(source not in self._rows_of for source in op.inputs):
            super()._add(op, name)
            return
        sources = [self.values.fixed[source] for source in op.inputs]
        out = self.values.vector(op.name)
        rows = [
            (
                source.inputs[0],
                self.token_bytes if source.inputs[0] == "token" else 1,
                Vector(self._rows_of[source.name], "", out.size, 8),
            )
            for source in sources
        ]
        _, left = self._packed(sources[0])
        self._emit(op, embedding.embed_sum(name, rows, out, left))
        self.variants[op.name] = ("rows", "of two tables, whose elements are bytes of one scale")

    def _packed(self, op: Op) -> tuple[Array, int]:
        table, left = embedding.pack_table(
            op.constants["table"], op.attributes["shift"], op.value.format.bits
        )
        return (table[: self.values.fixed.seq_len] if op.inputs[0] == "position" else table), left

    def _sum_of(self, op: Op) -> Op | None:
        """The sum that alone reads an embedding and another one of the same scale."""
        readers = [other for other in self.values.fixed.ops if op.name in other.inputs]
        if len(readers) != 1 or readers[0].contract != "add":
            return None
        (total,) = readers
        sources = [o for o in self.values.fixed.ops if o.name in total.inputs]
        if len(sources) != 2 or any(source.contract != "embed" for source in sources):
            return None
        alone = all(
            sum(source.name in other.inputs for other in self.values.fixed.ops) == 1
            for source in sources
        )
        vectors = [self.values.vector(o.name) for o in (*sources, total)]
        small = all(x.bits == 16 and x.size <= 256 for x in vectors)
        shifts = {self._packed(source)[1] for source in sources} if alone and small else set()
        return total if len(shifts) == 1 and shifts <= set(embedding.SUM_SHIFTS) else None
