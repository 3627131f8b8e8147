"""Matrices whose vectors are 0 in many places: their calls, and the relus that need not be done."""

from __future__ import annotations

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.mos6502.residue_tables import ResidueTables
from anachron.compiler.targets.mos6502.sections import Area, byte_lines, data, page_data
from anachron.compiler.targets.mos6502.sparse import Sparse, shares
from anachron.compiler.targets.mos6502.sparse_rows import SparseRows
from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue import compaction
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import sparse as residue_sparse
from anachron.kernels.mos6502.residue import sparse_rows as residue_sparse_rows


class Compacting(ResidueTables):
    """As ResidueTables, with matrices that do only the columns that count."""

    sparse: Sparse | SparseRows | None = None

    def _place_sparse(self, sparse: Sparse | SparseRows) -> None:
        """Their weights and code."""
        self.sparse = sparse
        if isinstance(sparse, SparseRows):
            label = self._bytes(sparse.ops[0], "order", np.arange(sparse.columns), "weights")
            self.shape = sparse.shape(label)
            self._place_weights(sparse)
            routines, name = self.routines["matvec"], residue_sparse_rows.places(self.shape)
            places = sparse.places.astype("u1").tobytes()
            self.tables[name] = data(f"{sparse.name} places", "weights", name, places)
            routines[f"{sparse.name}_take"] = compaction.take(self.shape)
            routines[f"{sparse.name}_rows"] = residue_sparse_rows.rows(self.shape, sparse.ends)
            some = sparse.runs[sparse.ops[0].name][0]
            self.anything |= residue_sparse_rows.environment(self.shape, some.end, 1)
            return
        orders = {id(order) for order in sparse.orders.values()}
        label = self._order(sparse, sparse.ops[0])
        self.shape = sparse.shape(label if len(orders) == 1 else "")
        self._place_weights(sparse)
        packed = self.shape.packed
        routines = self.routines["matvec"]
        if self.shape.guarded:
            self._square_tables()
            routines[f"{sparse.name}_halves"] = residue_sparse.halves(self.shape)
            routines[f"{sparse.name}_constants"] = residue_sparse.constants(self.shape)
            self.areas[f"{sparse.name}_zeros"] = Area(
                f"{sparse.name}_zeros", "table", ((0, packed.stride),), 1, False, True
            )
            self.fills[f"fill_{sparse.name}"] = residue_sparse.fill_zeros(self.shape)
            self.anything["taken"] = packed.columns
        routines[f"{sparse.name}_take"] = compaction.take(self.shape)
        likely = sparse.ends_of(sparse.ops[0])[0]
        routines[f"{sparse.name}_rows"] = residue_sparse.rows(self.shape, sparse.ends, likely)

    def _place_weights(self, sparse: Sparse | SparseRows) -> None:
        packed = self.shape.packed
        label = residue_matvec.block_label(sparse.name, 0)
        text = f"{label}:\n{byte_lines(packed.blocks[0])}"
        self.tables[label] = page_data(
            f"weights {sparse.name}", "weights", text, len(packed.blocks[0])
        )
        self._divide_blocks(sparse.ops, packed.blocks)
        for m, values in sparse.biases.items():
            label = f"{sparse.name}_bias_{m}"
            content = values.astype("u1").tobytes()
            self.tables[label] = data(f"{sparse.name} bias {m}", "weights", label, content)

    def _order(self, sparse: Sparse, op: Op) -> str:
        """The label of an op's order of columns, in memory once."""
        order = sparse.orders[op.name]
        alike = (other for other in sparse.ops if sparse.orders[other.name] is order)
        return self._bytes(next(alike), "order", order, "weights")

    def _is_sparse(self, op: Op) -> bool:
        return self.sparse is not None and op in self.sparse.ops

    def _sparse_rows(self, sparse: SparseRows, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        labels = []
        for number, run in enumerate(sparse.runs[op.name]):
            label = f"{name}_run_{number}" if number else name
            size = len(run.places)
            text = [f"{label}:", "" if number else residue_sparse_rows.take(self.shape, x)]
            text.append(residue_sparse_rows.call(self.shape, run.first, size, run.end, out))
            self._emit(op, lines(*text))
            self.environments[label] = residue_sparse_rows.environment(self.shape, run.end, size)
            labels.append(label)
        self.sequence[op.name] = labels
        slots, limit = self.shape.slots, residue_sparse.ENOUGH
        self.environments[op.name] = self._count(op.name, shares, op, slots, limit)
        self.variants[op.name] = (
            "residues 256, 255, 99 of what is above 0",
            f"about {sparse.counts[op.name].mean():.0f} of {x.size} elements; sums proven to fit "
            f"{self.shape.packed.basis.highest:,}",
        )

    def _sparse(self, op: Op, name: str) -> None:
        if isinstance(self.sparse, SparseRows):
            self._sparse_rows(self.sparse, op, name)
            return
        assert self.sparse is not None
        out = self.values.vector(op.name)
        matrix = self.sparse.ops.index(op)
        ends = self.sparse.ends_of(op)
        label = self._order(self.sparse, op)
        limit = self.sparse.limits[op.name]
        proven = limit >= residue_sparse.ENOUGH
        if not proven:
            self._take_turns("halves", {"half_sums": 3 * out.size})
        x = self.values.vector(op.inputs[0])
        assert len(ends) == 3
        self._emit(
            op,
            residue_sparse.call(
                self.shape, name, matrix, x, out, label, limit, ends, "half_sums",
                self.sparse.in_halves(op),
            ),
        )
        found = self._count(op.name, shares, op, self.shape.slots, limit)
        taken = residue_sparse.taken(self.shape, limit)
        self.environments[op.name] = {"rows": out.size, "taken": taken, **found}
        why = "" if proven else ", while the input's length allows it; else in halves"
        self.variants[op.name] = (
            "residues 256, 255, 99 of what is above 0",
            f"about {self.sparse.counts[op.name].mean():.0f} of {x.size} elements{why}; sums are "
            f"proven to fit {self.shape.packed.basis.highest:,}",
        )

    def _relu(self, op: Op, name: str) -> None:
        if op.name not in self.values.unmade:
            super()._relu(op, name)
            return
        self.sequence[op.name] = []
        self.variants[op.name] = ("none", "what reads it takes elements below 0 for 0")
