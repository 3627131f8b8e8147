"""Ops -> calls of 6502 kernels whose weights, tables and past lie in the RAM Expansion Unit.

A matrix comes row by row, an embedding and a rotation by the row that is asked for, keys and values
by the record; what is small - gains, lookup tables, the program - stays in the C64's memory.

To stream another op: a method that overrides the general one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.expanded import Expansion
from anachron.compiler.targets.mos6502.fast import FastLowering
from anachron.compiler.targets.mos6502.plan import Plan
from anachron.compiler.targets.mos6502.sections import Area, area
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import (
    attention,
    embedding,
    expansion,
    fast_norm,
    matvec,
    streamed_attention,
    streamed_cache,
)
from anachron.kernels.mos6502.expansion import BLOCK
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.streamed_attention import Shape
from anachron.kernels.mos6502.streamed_cache import Places

MOST_HEAD_SIZE = 128
MOST_ENCODER_POSITIONS = 256


class StreamedLowering(FastLowering):
    """As FastLowering, with an expansion."""

    expansion: Expansion

    def __init__(self, values: Values, ranges: Ranges) -> None:
        super().__init__(values, ranges, Plan())
        self.expansion = Expansion()
        self.long = values.fixed.seq_len > 256
        self._contents: dict[bytes, str] = {}
        self._places: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._shapes: dict[Shape, Shape] = {}

    def _bytes(self, op: Op, role: str, values: Array, kind: str) -> str:
        """The same contents lie in memory once."""
        content = (np.asarray(values, np.int64) & 0xFF).astype(np.uint8).tobytes()
        if content not in self._contents:
            self._contents[content] = super()._bytes(op, role, values, kind)
        return self._contents[content]

    def _row_buffer(self, size: int) -> str:
        """The label of memory for a row."""
        known = self.areas.get("row_buffer")
        size = max(size, known.size if known else 0)
        self.areas["row_buffer"] = area("row_buffer", "buffer", size)
        return "row_buffer"

    def data_bytes(self, op: Op) -> int:
        stem = self.values.op(op) + "_"
        streamed = sum(o.size for o in self.expansion.placed if o.name == op.name)
        return streamed + sum(t.size for label, t in self.tables.items() if label.startswith(stem))

    # ---- contracts

    def _embed(self, op: Op, name: str) -> None:
        out = self.values.vector(op.name)
        table, left = embedding.pack_table(op.constants["table"], op.attributes["shift"], out.bits)
        if op.inputs[0] == "position":
            table = table[: self.values.fixed.seq_len]
        narrow = bool(left) or out.bits == 8
        planes = [table] if narrow else [table, table >> 8]
        rows = np.hstack([plane & 0xFF for plane in planes]).astype(np.uint8)
        size = stride = rows.shape[1]
        if rows.size > BLOCK:  # no row may lie in two blocks
            stride = 1 << (size - 1).bit_length()
            rows = np.pad(rows, ((0, 0), (0, stride - size)))
        pieces = self.expansion.place_rows(op.name, [row.tobytes() for row in rows], "weights")
        buffer = self._row_buffer(size)
        wide = self.token_bytes == 2 if op.inputs[0] == "token" else self.long
        fetch = lines(
            expansion.locate("scratch", op.inputs[0], 1 + wide, stride, pieces[0][0]),
            expansion.point_at("scratch"),
            expansion.move(expansion.FETCH, buffer, size),
        )
        stored = Vector(buffer, f"{buffer}+{out.size}", out.size, 8 if narrow else 16)
        text = embedding.embed(name, op.inputs[0], 1 + wide, out, stored, left, fetch)
        self._emit(op, text)
        self.variants[op.name] = ("streamed", "its row comes from the expansion")

    def _matvec(self, op: Op, name: str) -> None:
        (x,) = self._inputs(op)
        out = self.values.vector(op.name)
        columns, bits = x.size, x.bits
        shift = op.constants["shift"].astype(np.int64)
        packed = matvec.pack_rows(op.constants["weight"], op.constants["bias"], shift, bits)
        record = matvec.HEAD_BYTES + columns
        rows = [packed[at : at + record] for at in range(0, len(packed), record)]
        pieces = self.expansion.place_rows(op.name, rows, "weights")
        shape = (op.inputs[0], columns, bits)
        prepared = self._prepared == shape
        self._prepared = shape
        buffer = self._row_buffer(record)
        label = f"matvec_{columns}_{bits}_{out.bits}"
        fetch = expansion.move(expansion.FETCH, buffer, record)
        self._routine(op, f"prepare_{columns}_{bits}", matvec.prepare(columns, bits))
        self._routine(op, label, matvec.rows(columns, bits, out.bits, fetch))
        self._routine(op, "shift_total", matvec.shift_total())
        self._need_operand(columns, bits)
        labels, first = [], 0
        for number, (address, n_rows) in enumerate(pieces):
            part = name if number == 0 else f"{name}_{number}"
            target = replace(out.at(first), size=n_rows)
            place = expansion.point(address)
            self._emit(op, matvec.call(part, x, target, buffer, prepared or number > 0, place))
            labels.append(part)
            self._environment(op, part, shift[first : first + n_rows])
            first += n_rows
        self.sequence[op.name] = labels
        self.variants[op.name] = (
            "streamed rows",
            "32-bit sums, exact for any weights; rows come from the expansion",
        )

    def _environment(self, op: Op, label: str, shift: Array) -> None:
        whole, rest = shift // 8, shift % 8
        self.environments[label] = {
            "rows": len(shift),
            "shift_bytes": (int(whole.min()), float(whole.mean()), int(whole.max())),
            "shift_bits": (int(rest.min()), float(rest.mean()), int(rest.max())),
        }

    def _rope(self, op: Op, name: str) -> None:
        self._check_width(op, op.name)
        self._check_encoder(op)
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        n, heads = self.values.fixed.seq_len, op.attributes["heads"]
        half = op.constants["cosine"].shape[1]
        planes = [
            op.constants[role][:n].astype(np.int64) >> up & 0xFF
            for role in ("cosine", "sine")
            for up in (0, 8)
        ]
        rows = np.hstack(planes).astype(np.uint8)
        address = self.expansion.place(op.name, rows.tobytes(), "table")
        buffer = self._row_buffer(4 * half)
        fetch = lines(
            expansion.locate("scratch", "position", 1 + self.long, 4 * half, address),
            expansion.point_at("scratch"),
            expansion.move(expansion.FETCH, buffer, 4 * half),
        )
        cosine, sine = (
            Vector(f"{buffer}+{at}", f"{buffer}+{at + half}", half, 16) for at in (0, 2 * half)
        )
        interleaved = bool(op.attributes["interleaved"])
        self._emit(
            op,
            attention.rope(name, "position", x, out, cosine, sine, heads, interleaved, fetch),
        )
        self.variants[op.name] = ("streamed", "its angles come from the expansion")

    # ---- attention

    def _check_encoder(self, op: Op) -> None:
        n = self.values.fixed.seq_len
        if self.values.encoder and n > MOST_ENCODER_POSITIONS:
            raise ValueError(
                f"{op.name}: {n} positions at once; the 6502's kernels take at most "
                f"{MOST_ENCODER_POSITIONS}: use a smaller seq_len"
            )

    def _records(self, op: Op, role: str, value: str, size: int, heads: int) -> tuple[int, int]:
        """The place of a value's records of so many bytes, and from one head's to the next's."""
        key = (role, value, size)
        if key not in self._places:
            step = self.values.fixed.seq_len * size
            if step * heads > BLOCK:
                step = 1 << (step - 1).bit_length()
            # A head's records never lie in two blocks.
            address = self.expansion.reserve(value, step * heads, "cache")
            self._places[key] = (address, step)
        return self._places[key]

    def _shape(self, op: Op) -> Shape:
        self._check_encoder(op)
        q, k, v = self._inputs(op)
        attributes = op.attributes
        heads = attributes["heads"]
        size = q.size // heads
        if size > MOST_HEAD_SIZE:
            raise ValueError(
                f"{op.name}: heads of {size} features; the 6502's attention takes at most "
                f"{MOST_HEAD_SIZE}: use more heads"
            )
        bound = self.ranges.accumulators[op.name]["score"]
        largest = (int(math.ceil(bound)) >> attributes["score_shift"]) + 1
        shape = Shape(
            name="",
            heads=heads,
            kv_heads=attributes["kv_heads"],
            head_size=size,
            query_bits=q.bits,
            key_bits=k.bits,
            value_bits=v.bits,
            out_bits=op.value.format.bits,
            n_rows=self.values.fixed.seq_len,
            causal=bool(attributes["causal"]),
            score_shift=attributes["score_shift"],
            score_bytes=max(1, (largest.bit_length() + 8) // 8),
            table=self._bytes(op, "exponential", op.constants["table"], "table"),
            entries=len(op.constants["table"]),
        )
        return self._shapes.setdefault(shape, replace(shape, name=f"attend{len(self._shapes)}"))

    def _places_of(self, op: Op, shape: Shape) -> Places:
        _, k, v = op.inputs
        keys, values = shape.key_bytes, shape.value_bytes
        return Places(
            *self._records(op, f"key{shape.query_bits}", k, keys, shape.kv_heads),
            *self._records(op, "value", v, values, shape.kv_heads),
        )

    def _attention(self, op: Op, name: str) -> None:
        self._check_width(op, *op.inputs[1:])
        shape = self._shape(op)
        places = self._places_of(op, shape)
        q, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        self._emit(op, streamed_attention.call(shape, name, q, out, places))
        self._routine(op, shape.name, streamed_attention.attend(shape, places))
        self._take_head(op, shape.head_size, shape.query_bits, shape.key_bits)
        self.fills["fill_less_products"] = fast_norm.fill_tables()
        for label, size in fast_norm.TABLES.items():
            self.areas[label] = Area(label, "table", ((0, size),), 256)
        self.scratch |= shape.scratch
        self.variants[op.name] = (
            "streamed",
            "exact for any values; keys and values come from the expansion",
        )

    def _keep(self, op: Op) -> None:
        x = self.values.vector(op.name)
        for role, reader in self.values.attentions(op.name):
            shape = self._shape(reader)
            places = self._places_of(reader, shape)
            heads = shape.kv_heads
            if role == "key":
                label = f"keep_key_{self.values.labels[op.name]}_{shape.query_bits}"
                text = streamed_cache.keep_key(
                    label, x, heads, shape.query_bits, places.keys, places.key_step, self.long
                )
                self._take_head(reader, shape.head_size, shape.key_bits, shape.query_bits)
                size = shape.key_bytes
            else:
                label = f"keep_value_{self.values.labels[op.name]}"
                text = streamed_cache.keep_value(
                    label, x, heads, places.values, places.value_step, self.long
                )
                size = shape.value_bytes
            if label not in self.sequence[op.name]:
                self.scratch[f"{label}_record"] = size
                self.texts["attention"].append(text)
                self.sequence[op.name].append(label)
        if op.name in self.values.crossing:
            self.store_rows(op.name, f"keep_rows_{self.values.labels[op.name]}")
