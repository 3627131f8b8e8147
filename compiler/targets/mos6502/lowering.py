"""Ops -> calls of 6502 kernels, with the data and the memory that they need.

To add a contract: a method named like it and its row in gathering.py's KERNELS.
"""

from __future__ import annotations

import math

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.gathering import ALL, KERNELS, Gathering
from anachron.compiler.targets.mos6502.sections import area, data, page_ends
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import activation, attention, cache, embedding, matvec, norm, rope
from anachron.kernels.mos6502.cache import Keys
from anachron.kernels.mos6502.cache import Values as Columns
from anachron.kernels.mos6502.instructions import Vector

MOST_POSITIONS = cache.MOST_ROWS
MOST_FEATURES = 256

__all__ = ["ALL", "KERNELS", "Lowering"]


class Lowering(Gathering):
    """Calls of the general kernels, exact for any weights and values."""

    def _embed(self, op: Op, name: str) -> None:
        table, left = embedding.pack_table(
            op.constants["table"], op.attributes["shift"], op.value.format.bits
        )
        if op.inputs[0] == "position":
            table = table[: self.values.fixed.seq_len]
        kind = "weights"
        if left or op.value.format.bits == 8:
            stored = Vector(self._bytes(op, "table", table, kind), "", table.size, 8)
        else:
            stored = self._words(op, "table", table, kind)
        out = self.values.vector(op.name)
        width = self.token_bytes if op.inputs[0] == "token" else 1
        self._emit(op, embedding.embed(name, op.inputs[0], width, out, stored, left))

    def _add(self, op: Op, name: str) -> None:
        a, b = self._inputs(op)
        self._emit(op, embedding.add(name, a, b, self.values.vector(op.name)))

    def _matvec(self, op: Op, name: str) -> None:
        self.sequence[op.name] = self._general_rows(op, name)
        self.variants[op.name] = ("general", "rows of 32-bit sums, exact for any weights")

    def _general_rows(self, op: Op, name: str) -> list[str]:
        """Labels of the general kernel's calls."""
        (x,) = self._inputs(op)
        out = self.values.vector(op.name)
        columns, bits = x.size, x.bits
        shift, rows = self._pack_rows(op)
        label = f"{name}_rows"
        self.tables[label] = data(op.name, "weights", label, b"".join(rows))
        shape = (op.inputs[0], columns, bits)
        prepared = self._prepared == shape
        self._prepared = shape
        self._general_routines(op, columns, bits, out.bits)
        self._emit(op, matvec.call(name, x, out, label, prepared))
        self._shift_claims(op.name, shift)
        return [name]

    def _pack_rows(self, op: Op) -> tuple[Array, list[bytes]]:
        """The shifts of a matrix's rows, and the rows as the general kernel reads them."""
        (x,) = self._inputs(op)
        shift = op.constants["shift"].astype(np.int64)
        packed = matvec.pack_rows(op.constants["weight"], op.constants["bias"], shift, x.bits)
        record = matvec.HEAD_BYTES + x.size
        return shift, [packed[at : at + record] for at in range(0, len(packed), record)]

    def _general_routines(
        self, op: Op, columns: int, bits: int, out_bits: int, fetch: str = ""
    ) -> None:
        """What the general kernel calls."""
        rows = f"matvec_{columns}_{bits}_{out_bits}"
        self._routine(op, f"prepare_{columns}_{bits}", matvec.prepare(columns, bits))
        self._routine(op, rows, matvec.rows(columns, bits, out_bits, fetch))
        self._routine(op, "shift_total", matvec.shift_total())
        self._need_operand(columns, bits)

    def _shift_claims(self, label: str, shift: Array) -> None:
        """What the claims of rows with such shifts ask for."""
        self.environments[label] = {"rows": len(shift), **chances.shifts(shift)}

    def _need_operand(self, columns: int, bits: int) -> None:
        """The pages that a matrix's vector is taken to."""
        pages = [min(256, columns - at) for at in range(0, columns, 256) for _ in range(bits // 8)]
        merged = zip(pages, [*self.operand_pages, *pages], strict=False)
        self.operand_pages = [max(pair) for pair in merged] + self.operand_pages[len(pages) :]

    def data_bytes(self, op: Op) -> int:
        """What an op's own tables take, as loaded."""
        stem = self.values.op(op) + "_"
        return sum(table.size for label, table in self.tables.items() if label.startswith(stem))

    def _check_width(self, op: Op, *names: str) -> None:
        """Some kernels reach no further than an index register."""
        for name in names:
            size = self.values.fixed.values[name].size
            if size > MOST_FEATURES:
                raise ValueError(
                    f"{op.name}: {name} has {size} features; the 6502's {op.contract} takes at "
                    f"most {MOST_FEATURES}: use a smaller dim"
                )

    def _norm_shifts(self, op: Op) -> dict[str, int]:
        self._check_width(op, op.name)
        squares = self.ranges.accumulators[op.name].get("squares", 0.0)
        if float(np.max(squares)) >= 2.0**norm.MOST_SQUARES:
            raise ValueError(
                f"{op.name}: its squares may sum to {float(np.max(squares)):,.0f}, the 6502's "
                f"norms hold {norm.MOST_SQUARES} bits: use a larger pre_shift"
            )
        roles = ("gain_shift", "pre_shift", "root_shift", "reciprocal_bits")
        return {role: op.attributes[role] for role in roles}

    def _rms_norm(self, op: Op, name: str) -> None:
        (x,) = self._inputs(op)
        gain = self._bytes(op, "gain", op.constants["gain"], "weights")
        out = self.values.vector(op.name)
        self._emit(op, norm.rms_norm(name, x, out, gain, **self._norm_shifts(op)))

    def _layer_norm(self, op: Op, name: str) -> None:
        (x,) = self._inputs(op)
        gain = self._bytes(op, "gain", op.constants["gain"], "weights")
        bias = self._words(op, "bias", op.constants["bias"], "weights")
        out = self.values.vector(op.name)
        known = self.areas.get("centred")
        size = max(x.size, known.size // 2 if known else 0)
        self.areas["centred"] = area("centred", "buffer", 2 * size)
        centred = Vector("centred", f"centred+{x.size}", x.size, 16)
        shifts = self._norm_shifts(op)
        self._emit(op, norm.layer_norm(name, x, out, centred, gain=gain, bias=bias, **shifts))

    def _relu(self, op: Op, name: str) -> None:
        (x,) = self._inputs(op)
        positive = chances.positive(self.values.fixed, op.inputs[0])
        self._emit(op, activation.relu(name, x, self.values.vector(op.name), positive))

    def _lookup(self, op: Op, name: str) -> None:
        (x,) = self._inputs(op)
        table = self._words(op, "table", op.constants["table"], "table")
        out = self.values.vector(op.name)
        attributes = op.attributes
        self._emit(
            op, activation.lookup(name, x, out, table, attributes["shift"], attributes["tail"])
        )

    def _multiply(self, op: Op, name: str) -> None:
        a, b = self._inputs(op)
        out = self.values.vector(op.name)
        self._emit(op, activation.multiply(name, a, b, out, op.attributes["shift"]))

    def _rope(self, op: Op, name: str) -> None:
        self._check_positions(op)
        self._check_width(op, op.name)
        x = self.values.vector(op.inputs[0])
        n = self.values.fixed.seq_len
        cosine, sine = (
            self._words(op, role, op.constants[role][:n], "table") for role in ("cosine", "sine")
        )
        out, heads = self.values.vector(op.name), op.attributes["heads"]
        interleaved = bool(op.attributes["interleaved"])
        self._emit(op, rope.rope(name, "position", x, out, cosine, sine, heads, interleaved))

    # ---- attention

    def _check_positions(self, op: Op) -> None:
        n = self.values.fixed.seq_len
        if n > MOST_POSITIONS:
            raise ValueError(
                f"{op.name}: a context of {n} positions; the 6502's kernels take at most "
                f"{MOST_POSITIONS}: use a smaller seq_len"
            )

    def _keys(self, op: Op) -> Keys:
        """Where an attention's keys are kept; shared by attentions that keep them alike."""
        k, heads = self.values.vector(op.inputs[1]), op.attributes["kv_heads"]
        q_bits = self.values.vector(op.inputs[0]).bits
        stem = f"keys_{self.values.labels[op.inputs[1]]}_{heads}_{q_bits}"
        return Keys(f"{stem}_low", f"{stem}_high", f"{stem}_fix", k.size, k.bits, heads)

    def _columns(self, op: Op) -> Columns:
        v, heads = self.values.vector(op.inputs[2]), op.attributes["kv_heads"]
        stem = f"columns_{self.values.labels[op.inputs[2]]}"
        n = self.values.fixed.seq_len
        return Columns(f"{stem}_low", f"{stem}_high", f"{stem}_fix", v.size, v.bits, heads, n)

    def _attention(self, op: Op, name: str) -> None:
        self._check_positions(op)
        self._check_width(op, *op.inputs[1:])
        q, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        keys, columns, attributes = self._keys(op), self._columns(op), op.attributes
        score_bytes = self._score_bytes(op)
        n, size = self.values.fixed.seq_len, keys.head_size
        shape = self._attention_shape(op)
        if shape not in self._attentions:
            table = self._bytes(op, "exponential", op.constants["table"], "table")
            self._attentions[shape] = (f"{name}_heads", table)
        routine, table = self._attentions[shape]
        shift, shifts = attributes["score_shift"], self._score_shifts(shape)
        text = attention.attend(
            routine,
            "position",
            (q.bits, out.bits),
            keys,
            columns,
            attributes["heads"],
            bool(attributes["causal"]),
            shifts,
            score_bytes,
            table,
            len(op.constants["table"]),
        )
        self._routine(op, routine, text)
        self._emit(op, attention.call(name, routine, q, out, keys, columns, shift, shifts))
        start: dict[str, object] = {
            attention.shift_variable(routine): f"{routine}_shift_{shift}"
        }
        self.environments[op.name] = start
        self.anything |= start
        self._take_head(op, size, q.bits, keys.bits)
        known = self.areas.get("scores")
        pages = max(score_bytes, len(known.pieces) if known else 0)
        self.areas["scores"] = page_ends("scores", "buffer", [n] * pages)
        self.areas["weights"] = page_ends("weights", "buffer", [n])

    def _score_bytes(self, op: Op) -> int:
        """How many hold every score, shifted."""
        bound = self.ranges.accumulators[op.name]["score"]
        largest = (int(math.ceil(bound)) >> op.attributes["score_shift"]) + 1
        return max(1, (largest.bit_length() + 8) // 8)

    def _attention_shape(self, op: Op) -> tuple[object, ...]:
        """What ops that share a routine have in common."""
        vectors = [self.values.vector(name) for name in (*op.inputs, op.name)]
        attributes = op.attributes
        return (
            tuple((x.size, x.bits) for x in vectors),
            tuple(attributes[role] for role in ("heads", "kv_heads", "causal")),
            attributes["score_shift"] // 8,
            self._score_bytes(op),
            op.constants["table"].astype("u1").tobytes(),
        )

    def _score_shifts(self, shape: tuple[object, ...]) -> list[int]:
        ops = (op for op in self.values.fixed.ops if op.contract == "attention")
        return sorted(
            {op.attributes["score_shift"] for op in ops if self._attention_shape(op) == shape}
        )

    def _take_head(self, op: Op, size: int, bits: int, other_bits: int) -> None:
        label = f"take_{size}_{bits}_{other_bits}"
        self.routines["attention"][label] = cache.take_head(size, bits, other_bits)
        self.most_query = max(self.most_query, size)
        self.areas["query"] = page_ends("query", "buffer", [self.most_query] * 2)

    def _keep(self, op: Op) -> None:
        """Store what later positions or stages read of a value."""
        x, stem = self.values.vector(op.name), self.values.labels[op.name]
        n = self.values.fixed.seq_len
        done = set()
        for role, reader in self.values.attentions(op.name):
            if role == "key":
                keys = self._keys(reader)
                q_bits = self.values.vector(reader.inputs[0]).bits
                label = f"keep_{keys.low}"
                text = cache.store_key(label, "position", x, keys, q_bits)
                self._take_head(reader, keys.head_size, keys.bits, q_bits)
                self._reserve(keys.low, n * x.size, keys.high if x.bits == 16 else "")
                self._reserve(keys.fix, n * cache.FIX_BYTES * keys.heads)
            else:
                columns = self._columns(reader)
                label = f"keep_{columns.low}"
                text = cache.store_value(label, "position", x, columns)
                self._reserve(columns.low, n * x.size, columns.high if x.bits == 16 else "")
                self._reserve(columns.fix, cache.COLUMN_FIX_BYTES * x.size)
            if label not in done:
                done.add(label)
                self.texts["attention"].append(text)
                self.sequence[op.name].append(label)
        if op.name in self.values.crossing:
            self.store_rows(op.name, f"keep_rows_{stem}")

    def store_rows(self, name: str, label: str) -> None:
        """Keep a value's row of each position."""
        x, rows = self.values.vector(name), self.values.rows(name)
        self.texts["embedding"].append(embedding.store_row(label, "position", x, rows))
        self.sequence[name].append(label)
        size = self.values.fixed.seq_len * x.size
        self._reserve(rows.low, size, rows.high if x.bits == 16 else "")

    def load_rows(self, name: str, stage: int) -> str:
        """The label of a routine that fetches a value's row."""
        label = f"load_rows_{self.values.labels[name]}_{stage}"
        x, rows = self.values.vector(name), self.values.rows(name)
        self.texts["embedding"].append(embedding.load_row(label, "position", x, rows))
        return label

    def _reserve(self, low: str, size: int, high: str = "") -> None:
        for label in (low, high):
            if label:
                self.areas[label] = area(label, "cache", size)
