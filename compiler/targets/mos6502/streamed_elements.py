"""Ops but matrices and attention -> calls of kernels that have an expansion at hand.

An embedding and a rotation come by the row that is asked for; tables of products that a model in
memory has no room for do the rest.

To stream another op: a method that overrides the general one.
"""

from __future__ import annotations

import math

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.sections import Area, Section
from anachron.compiler.targets.mos6502.sharing import NAME
from anachron.compiler.targets.mos6502.streamed_matrices import Choice, MatrixStreaming
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import embedding, expansion, fast_norm, rope
from anachron.kernels.mos6502.expansion import BLOCK
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.streamed import gating, slopes, smooth, turning

MOST_ENCODER_POSITIONS = 256


class ElementStreaming(MatrixStreaming):
    """As MatrixStreaming, with what happens to each element or pair by itself."""

    def __init__(self, values: Values, ranges: Ranges, choice: Choice) -> None:
        super().__init__(values, ranges, choice)
        self.long = values.fixed.seq_len > 256
        self._address_tables: dict[str, str] = {}

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

    def _rope(self, op: Op, name: str) -> None:
        self._check_width(op, op.name)
        self._check_encoder(op)
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        n, heads = self.values.fixed.seq_len, op.attributes["heads"]
        half = op.constants["cosine"].shape[1]
        angles = [op.constants[role][:n].astype(np.int64) for role in ("cosine", "sine")]
        fast = x.bits == out.bits == 16 and x.size <= 256
        fast = fast and max(int(np.abs(part).max()) for part in angles) <= turning.ONE
        rows = turning.pack_rows(*angles) if fast else np.hstack(
            [part >> up & 0xFF for part in angles for up in (0, 8)]
        ).astype(np.uint8)
        size = rows.shape[1]
        address = self.expansion.place(op.name, rows.tobytes(), "table")
        buffer, base = self._row_buffer(size), expansion.constant(address)
        fetch = lines(
            expansion.locate("scratch", "position", 1 + self.long, size, base),
            expansion.point_at("scratch"),
            expansion.move(expansion.FETCH, buffer, size),
        )
        interleaved = bool(op.attributes["interleaved"])
        a, b = self._arguments(x, out)
        if fast:
            self._less_products()
            text = turning.rope(
                NAME, a, b, buffer, 2 * half, "arg_heads", interleaved, self._turns_far(), fetch
            )
            self.environments[op.name] = {"heads": heads}
            self.anything["heads"] = heads
        else:
            cosine, sine = (
                Vector(f"{buffer}+{at}", f"{buffer}+{at + half}", half, 16) for at in (0, 2 * half)
            )
            text = rope.rope(NAME, "position", a, b, cosine, sine, heads, interleaved, fetch)
        self._share(op, name, text, x, out, **({"arg_heads": str(heads)} if fast else {}))
        self.variants[op.name] = ("streamed", "its angles come from the expansion")

    def _turns_far(self) -> bool:
        """A turned pair may leave 16 bits, in some rope of the model."""
        ropes = [op for op in self.values.fixed.ops if op.contract == "rope"]
        peaks = [float(self.ranges.values[op.inputs[0]].peak.max()) for op in ropes]
        return max(peaks) * math.sqrt(2) >= 32766

    def _multiply(self, op: Op, name: str) -> None:
        a, b = self._inputs(op)
        out = self.values.vector(op.name)
        words = a.bits == b.bits == out.bits == 16
        if not (words and self.quarters and out.size <= 256):
            super()._multiply(op, name)
            return
        self._quarters()
        shift = op.attributes["shift"]
        peaks = [float(self.ranges.values[x].peak.max()) for x in op.inputs]
        saturates = peaks[0] * peaks[1] >= 32767 * 2.0**shift
        left, right, result = self._arguments(a, b, out)
        text = gating.multiply(NAME, left, right, result, shift, saturates)
        self._share(op, name, text, a, b, out)
        self.variants[op.name] = ("quarter squares", "exact for any words")

    def _less_products(self) -> None:
        """The products' table less what is the same everywhere."""
        self.fills["fill_less_products"] = fast_norm.fill_tables()
        for label, size in fast_norm.TABLES.items():
            self.areas[label] = Area(label, "table", ((0, size),), 256)

    def _lookup(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        shift = op.attributes["shift"]
        steps = smooth.find_steps(op.constants["table"], shift, out.bits)
        if steps is None or out.size > smooth.PLACES:
            self._lookup_by_slopes(op, name)
            return
        rows = np.frombuffer(steps.rows, np.uint8)
        label = self._bytes(op, "rows", rows, "table")
        points = self._words(op, "points", steps.points, "table")
        places = self._addresses(op, "places", label, steps.places)
        a, b = self._arguments(x, out)
        text = smooth.lookup(NAME, a, b, points, places, shift, op.attributes["tail"])
        self._share(op, name, text, x, out)
        self.variants[op.name] = (
            "steps by table", f"its table has {len(rows) >> shift} different steps"
        )

    def _lookup_by_slopes(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        shift = op.attributes["shift"]
        found = slopes.find_slopes(op.constants["table"], shift)
        words = x.bits == out.bits == 16 and out.size <= smooth.PLACES
        if found is None or not (words and self.quarters):
            super()._lookup(op, name)
            return
        self._quarters()
        points = self._words(op, "points", found.points, "table")
        sizes = self._bytes(op, "sizes", found.sizes, "table")
        kinds = self._bytes(op, "kinds", found.kinds, "table")
        a, b, p = self._arguments(x, out, points)
        text = slopes.lookup(NAME, a, b, p, "arg_sizes", "arg_kinds", shift, op.attributes["tail"])
        self._share(op, name, text, x, out, points, arg_sizes=sizes, arg_kinds=kinds)
        self.variants[op.name] = ("slopes by quarter squares", "exact for any words")

    def _quarters(self) -> None:
        """The tables of quarter squares."""
        self.fills["fill_quarters"] = gating.fill_tables()
        for label, size in gating.TABLES.items():
            self.areas[label] = Area(label, "table", ((0, size),), 256)

    def _addresses(self, op: Op, role: str, label: str, offsets: Array) -> Vector:
        """A constant array of addresses, low bytes and high bytes apart."""
        found = []
        for part, sign in (("low", "<"), ("high", ">")):
            text = "\n".join(f"    .byte {sign}({label}+{n})" for n in offsets.tolist())
            known = self._address_tables.get(text)
            if known is None:
                known = self._address_tables[text] = f"{self.values.op(op)}_{role}_{part}"
                self.tables[known] = Section(
                    f"{op.name} {role}_{part}", "table", f"{known}:\n{text}", len(offsets)
                )
            found.append(known)
        return Vector(found[0], found[1], len(offsets), 16)

    def _check_encoder(self, op: Op) -> None:
        n = self.values.fixed.seq_len
        if self.values.encoder and n > MOST_ENCODER_POSITIONS:
            raise ValueError(
                f"{op.name}: {n} positions at once; the 6502's kernels take at most "
                f"{MOST_ENCODER_POSITIONS}: use a smaller seq_len"
            )
