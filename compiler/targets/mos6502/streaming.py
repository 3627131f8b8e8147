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
from anachron.compiler.targets.mos6502.sharing import NAME, Shared, share
from anachron.compiler.targets.mos6502.streamed_rows import ROW_PAGE, Run, Stream, plan_streams
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import (
    activation,
    attention,
    embedding,
    expansion,
    fast_norm,
    guard,
    matvec,
    norm,
    streamed_attention,
    streamed_cache,
    streamed_matvec,
    streamed_vector,
)
from anachron.kernels.mos6502.expansion import BLOCK
from anachron.kernels.mos6502.instructions import Vector, add, copy, lines, set_word
from anachron.kernels.mos6502.streamed_attention import Shape
from anachron.kernels.mos6502.streamed_cache import Places
from anachron.kernels.mos6502.streamed_matvec import Kernel

MOST_HEAD_SIZE = 128
MOST_ENCODER_POSITIONS = 256
MOST_MEASURED = 128  # elements at a time
TOO_LONG = 0.001  # how often an input is longer than its guard allows


class StreamedLowering(FastLowering):
    """As FastLowering, with an expansion."""

    expansion: Expansion

    def __init__(self, values: Values, ranges: Ranges) -> None:
        streams, reasons = plan_streams(values.fixed, ranges)
        super().__init__(values, ranges, Plan(reasons=reasons))
        self.expansion = Expansion()
        self.long = values.fixed.seq_len > 256
        self.stream_of = {op.name: stream for stream in streams for op in stream.ops}
        self._contents: dict[bytes, str] = {}
        self._places: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._shapes: dict[Shape, Shape] = {}
        self._shared: dict[str, Shared] = {}
        for stream in streams:
            self._place_stream(stream)

    def _place_stream(self, stream: Stream) -> None:
        """A kernel's code and tables."""
        kernel = stream.kernel
        routines = self.routines["matvec"]
        routines[f"{kernel.name}_prepare"] = streamed_vector.prepare(kernel)
        routines[f"{kernel.name}_rows"] = streamed_matvec.rows(kernel)
        self.anything |= streamed_matvec.jumps(kernel, kernel.ends[0])
        self._residue_tables()
        if kernel.looped:
            self.scratch[f"{kernel.name}_taken"] = kernel.columns * kernel.chains
        if kernel.record == ROW_PAGE:
            self.areas[ROW_PAGE] = Area(ROW_PAGE, "buffer", ((0, 256),), 256)
        if kernel.chains == 4:
            small = kernel.small
            self._place_tables(f"residues {small}", streamed_matvec.tables(small))

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
        base = expansion.constant(pieces[0][0])
        fetch = lines(
            expansion.locate("scratch", op.inputs[0], 1 + wide, stride, base),
            expansion.point_at("scratch"),
            expansion.move(expansion.FETCH, buffer, size),
        )
        stored = Vector(buffer, f"{buffer}+{out.size}", out.size, 8 if narrow else 16)
        text = embedding.embed(name, op.inputs[0], 1 + wide, out, stored, left, fetch)
        self._emit(op, text)
        self.variants[op.name] = ("streamed", "its row comes from the expansion")

    def _matvec(self, op: Op, name: str) -> None:
        stream = self.stream_of.get(op.name)
        if stream is None:
            self.sequence[op.name] = self._general_rows(op, name)
            why = self.reasons.get(op.name) or "exact for any weights"
            self.variants[op.name] = ("streamed rows", f"32-bit sums: {why}")
            return
        kernel, runs = stream.kernel, stream.runs[op.name]
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        rows = [self._records(kernel, op, run) for run in runs]
        content = [record for records in rows for record in records]
        pieces = self.expansion.place_rows(op.name, content, "weights")
        if len(pieces) > 1:
            raise ValueError(f"{op.name}: more than {BLOCK:,} bytes of weights in one matrix")
        address, labels = pieces[0][0], []
        for number, run in enumerate(runs):
            label = f"{name}_run_{number}" if number else name
            prepare = ""
            if self._operands.get(kernel.name) != op.inputs[0]:
                self._operands[kernel.name] = op.inputs[0]
                prepare = lines(
                    set_word("source_low", x.low),
                    set_word("source_high", x.high),
                    f"    jsr {kernel.name}_prepare",
                )
            n_rows = len(run.rows)
            text = streamed_matvec.run(
                kernel, label, run.end, n_rows, address, out.at(run.base), prepare
            )
            self._emit(op, text)
            self.environments[label] = {
                "rows": n_rows,
                **streamed_matvec.jumps(kernel, run.end),
            }
            address += n_rows * kernel.record_bytes
            labels.append(label)
        if op.name in stream.limits:
            labels.append(self._look_after(op, name, stream.limits[op.name]))
        self.sequence[op.name] = labels
        self._explain(op, stream)

    def _records(self, kernel: Kernel, op: Op, run: Run) -> list[bytes]:
        """A run's rows as the expansion holds them."""
        weight, bias = op.constants["weight"][run.rows], op.constants["bias"][run.rows]
        return streamed_matvec.records(kernel, weight, bias, run.rows - run.base)

    def _explain(self, op: Op, stream: Stream) -> None:
        bounds = self.ranges.accumulators[op.name]["rows"]
        runs = stream.runs[op.name]
        chains = sorted({run.end.chains for run in runs})
        many = " or ".join(map(str, chains))
        _, most = streamed_matvec.reach(chains[-1], stream.kernel.small)
        why = f"sums proven within {int(np.max(bounds)):,} of 0; they may reach {most:,}"
        if op.name in stream.limits:
            why = f"while the input's length keeps sums within {most:,}; else 32-bit sums again"
        moduli = ", ".join(map(str, stream.kernel.moduli[: chains[-1]]))
        self.variants[op.name] = (
            f"streamed residues {moduli}",
            f"{many} chains a row, {len(runs)} runs: {why}",
        )

    def _look_after(self, op: Op, name: str, limit: int) -> str:
        """The label of a routine that does a matrix again where its input is too long."""
        self._squares()
        label, x = f"{name}_check", self.values.vector(op.inputs[0])
        (again,) = self._general_rows(op, f"{name}_general")
        one = -(-x.size // 2) if x.size > MOST_MEASURED else x.size
        two = x.size - one
        text = [
            f"{label}:",
            set_word("source_low", x.low),
            set_word("source_high", x.high),
            f"    ldy #{one - 1}\n    jsr measure",
        ]
        if two:
            text += [
                copy("correction", "sum_a", 4),
                set_word("source_low", f"{x.low}+{one}"),
                set_word("source_high", f"{x.high}+{one}"),
                f"    ldy #{two - 1}\n    jsr measure",
                add("sum_a", "correction", 4, 4),
            ]
        text.append(guard.check(limit))
        text.append(f"    bcc _long           ;@ p={TOO_LONG}\n    rts\n_long:\n    jmp {again}")
        self._emit(op, lines(*text))
        elements = (two, (one + two) / 2, one) if two else one
        self.environments[label] = {**self.environments[again], "elements": elements}
        return label

    def _general_rows(self, op: Op, name: str) -> list[str]:
        """Labels of the general kernel's calls, rows fetched."""
        (x,) = self._inputs(op)
        out = self.values.vector(op.name)
        columns, bits = x.size, x.bits
        shift = op.constants["shift"].astype(np.int64)
        packed = matvec.pack_rows(op.constants["weight"], op.constants["bias"], shift, bits)
        record = matvec.HEAD_BYTES + columns
        rows = [packed[at : at + record] for at in range(0, len(packed), record)]
        pieces = self.expansion.place_rows(op.name, rows, "weights")
        shape = (op.inputs[0], columns, bits)
        spare = op.name in self.stream_of  # and rarely called: it prepares its vector itself
        prepared = self._prepared == shape and not spare
        self._prepared = None if spare else shape
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
        return labels

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
        buffer, base = self._row_buffer(4 * half), expansion.constant(address)
        fetch = lines(
            expansion.locate("scratch", "position", 1 + self.long, 4 * half, base),
            expansion.point_at("scratch"),
            expansion.move(expansion.FETCH, buffer, 4 * half),
        )
        cosine, sine = (
            Vector(f"{buffer}+{at}", f"{buffer}+{at + half}", half, 16) for at in (0, 2 * half)
        )
        interleaved = bool(op.attributes["interleaved"])
        self._share(
            op,
            name,
            attention.rope(
                NAME, "position", *self._arguments(x, out), cosine, sine, heads, interleaved, fetch
            ),
            x,
            out,
        )
        self.variants[op.name] = ("streamed", "its angles come from the expansion")

    # ---- routines that ops share

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

    def _rms_norm(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        gain = self._bytes(op, "gain", op.constants["gain"], "weights")
        text = norm.rms_norm(NAME, *self._arguments(x, out), "arg_gain", **self._norm_shifts(op))
        self._share(op, name, text, x, out, arg_gain=gain)

    def _lookup(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        table = self._words(op, "table", op.constants["table"], "table")
        shifts = (op.attributes["shift"], op.attributes["tail"])
        text = activation.lookup(NAME, *self._arguments(x, out, table), *shifts)
        self._share(op, name, text, x, out, table)

    def _multiply(self, op: Op, name: str) -> None:
        vectors = (*self._inputs(op), self.values.vector(op.name))
        text = activation.multiply(NAME, *self._arguments(*vectors), op.attributes["shift"])
        self._share(op, name, text, *vectors)

    # ---- attention

    def _check_encoder(self, op: Op) -> None:
        n = self.values.fixed.seq_len
        if self.values.encoder and n > MOST_ENCODER_POSITIONS:
            raise ValueError(
                f"{op.name}: {n} positions at once; the 6502's kernels take at most "
                f"{MOST_ENCODER_POSITIONS}: use a smaller seq_len"
            )

    def _places_for(self, op: Op, role: str, value: str, size: int, heads: int) -> tuple[int, int]:
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
            *self._places_for(op, f"key{shape.query_bits}", k, keys, shape.kv_heads),
            *self._places_for(op, "value", v, values, shape.kv_heads),
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
        for label, size in shape.scratch.items():
            self.scratch[label] = max(size, self.scratch.get(label, 0))
        self.variants[op.name] = (
            "streamed",
            "exact for any values; keys and values come from the expansion",
        )

    def _keep(self, op: Op) -> None:
        x = self.values.vector(op.name)
        for role, reader in self.values.attentions(op.name):
            shape = self._shape(reader)
            places = self._places_of(reader, shape)
            heads, stem = shape.kv_heads, self.values.labels[op.name]
            (argument,) = self._arguments(x)
            place = ("<(arg_place)", ">(arg_place)", "<(arg_bank)")
            if role == "key":
                label, address = f"keep_key_{stem}_{shape.query_bits}", places.keys
                text = streamed_cache.keep_key(
                    NAME, argument, heads, shape.query_bits, place, places.key_step, self.long
                )
                self._take_head(reader, shape.head_size, shape.key_bits, shape.query_bits)
                size = shape.key_bytes
            else:
                label, address = f"keep_value_{stem}", places.values
                text = streamed_cache.keep_value(
                    NAME, argument, heads, place, places.value_step, self.long
                )
                size = shape.value_bytes
            if label not in self.sequence[op.name]:
                self.scratch["attend_record"] = max(size, self.scratch.get("attend_record", 0))
                word, bank = str(address & 0xFFFF), str(address >> 16)
                self._share(reader, label, text, x, arg_place=word, arg_bank=bank)
                self.sequence[op.name].append(label)
        if op.name in self.values.crossing:
            self.store_rows(op.name, f"keep_rows_{self.values.labels[op.name]}")
