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
from anachron.compiler.targets.mos6502.lowering import ALL
from anachron.compiler.targets.mos6502.sections import Area, Section
from anachron.compiler.targets.mos6502.sharing import NAME
from anachron.compiler.targets.mos6502.streamed_matrices import MatrixStreaming
from anachron.compiler.targets.mos6502.streamed_rows import MOST_COLUMNS
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import embedding, expansion, fast_norm, rope
from anachron.kernels.mos6502.expansion import BLOCK
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.streamed import attention as streamed_attention
from anachron.kernels.mos6502.streamed import cache as streamed_cache
from anachron.kernels.mos6502.streamed import gating, head_shapes, scores, smooth, turning, weighing
from anachron.kernels.mos6502.streamed import heads as streamed_heads
from anachron.kernels.mos6502.streamed.attention import Shape
from anachron.kernels.mos6502.streamed.cache import Places
from anachron.kernels.mos6502.streamed.head_shapes import Heads

MOST_HEAD_SIZE = 128
MOST_ENCODER_POSITIONS = 256


class StreamedLowering(MatrixStreaming):
    """As RowLowering, with an expansion that holds all that is large."""

    def __init__(
        self,
        values: Values,
        ranges: Ranges,
        most_columns: int = MOST_COLUMNS,
        quarters: bool = True,
    ) -> None:
        """most_columns: of matrices in residues; quarters: there is room for gating.py's tables."""
        super().__init__(values, ranges, most_columns)
        self.quarters = quarters
        self.long = values.fixed.seq_len > 256
        self._places: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._shapes: dict[Shape, Shape] = {}
        self._of_heads: dict[Heads, Heads] = {}
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
            saturates = float(self.ranges.values[op.inputs[0]].peak.max()) * math.sqrt(2) >= 32766
            text = turning.rope(NAME, a, b, buffer, heads, interleaved, saturates, fetch)
        else:
            cosine, sine = (
                Vector(f"{buffer}+{at}", f"{buffer}+{at + half}", half, 16) for at in (0, 2 * half)
            )
            text = rope.rope(NAME, "position", a, b, cosine, sine, heads, interleaved, fetch)
        self._share(op, name, text, x, out)
        self.variants[op.name] = ("streamed", "its angles come from the expansion")

    def _multiply(self, op: Op, name: str) -> None:
        a, b = self._inputs(op)
        out = self.values.vector(op.name)
        words = a.bits == b.bits == out.bits == 16
        if not (words and self.quarters and out.size <= 256):
            super()._multiply(op, name)
            return
        self.fills["fill_quarters"] = gating.fill_tables()
        for label, size in gating.TABLES.items():
            self.areas[label] = Area(label, "table", ((0, size),), 256)
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
            score_bytes=(max(self._score_bits(other) for other in self._alike(op)) + 7) // 8,
            table=self._bytes(op, "exponential", op.constants["table"], "table"),
            entries=len(op.constants["table"]),
        )
        return self._shapes.setdefault(shape, replace(shape, name=f"attend{len(self._shapes)}"))

    def _alike(self, op: Op) -> list[Op]:
        """The model's attentions, whose scores take as many bytes: so they share a routine."""
        return [other for other in self.values.fixed.ops if other.contract == op.contract]

    def _score_bits(self, op: Op) -> int:
        """So many hold every score, shifted, and its sign."""
        bound = self.ranges.accumulators[op.name]["score"]
        largest = (int(math.ceil(bound)) >> op.attributes["score_shift"]) + 1
        return largest.bit_length() + 1

    def _places_of(self, op: Op, shape: Shape) -> Places:
        _, k, v = op.inputs
        keys, values = shape.key_bytes, shape.value_bytes
        return Places(
            *self._places_for(op, f"key{shape.query_bits}", k, keys, shape.kv_heads),
            *self._places_for(op, "value", v, values, shape.kv_heads),
        )

    def _lookup(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        shift = op.attributes["shift"]
        steps = smooth.find_steps(op.constants["table"], shift, out.bits)
        if steps is None or out.size > smooth.PLACES:
            super()._lookup(op, name)
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

    # ---- attention in residues

    def _heads(self, op: Op) -> tuple[Heads | None, str]:
        """The kernel that does an attention in residues, or why there is none."""
        attributes, n = op.attributes, self.values.fixed.seq_len
        bits = [self.values.vector(name).bits for name in (*op.inputs, op.name)]
        if bits != [16, 16, 8, 8]:
            return None, "its numbers have other widths"
        if self.values.encoder or not attributes["causal"]:
            return None, "it sees all positions"
        alike = self._alike(op)
        bound = max(float(self.ranges.accumulators[o.name]["score"]) for o in alike)
        size = op.value.size // attributes["heads"]
        table, shift = op.constants["table"], attributes["score_shift"]
        why = head_shapes.fits(size, bound, table, n, shift)
        if why:
            return None, why
        shifts = {int(other.attributes["score_shift"]) for other in alike}
        heads = Heads(
            name="",
            heads=attributes["heads"],
            kv_heads=attributes["kv_heads"],
            size=size,
            chains=head_shapes.count_chains(bound),
            n_rows=n,
            shifts=tuple(sorted({s for s in shifts if s == shift or head_shapes.alike(s, shift)})),
            table=self._bytes(op, "exponential", table, "table"),
            entries=len(table),
        )
        return self._of_heads.setdefault(
            heads, replace(heads, name=f"heads{len(self._of_heads)}")
        ), ""

    def _places_of_heads(self, op: Op, heads: Heads) -> Places:
        """Values lie so that a head's are in one bank."""
        _, k, v = op.inputs
        keys, values = heads.head_key_bytes, heads.head_value_bytes
        found: list[int] = []
        for role, value, step, align in (("keys", k, keys, 1), ("values", v, values, values)):
            key = (role, value, step)
            if key not in self._places:
                size = step * heads.kv_heads
                address = self.expansion.reserve(value, size, "cache", align)
                self._places[key] = (address, step)
            found += self._places[key]
        return Places(*found)

    def _attend_in_residues(self, op: Op, name: str, heads: Heads) -> None:
        places = self._places_of_heads(op, heads)
        q, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        shift = op.attributes["score_shift"]
        if heads.several:
            self.environments[op.name] = {f"{heads.name}_way": heads.way(shift)}
            self.anything |= self.environments[op.name]
        self._emit(op, streamed_heads.call(heads, name, q, out, places, shift))
        self._routine(op, heads.name, streamed_heads.attend(heads, places))
        self._routine(op, f"{heads.name}_divide", weighing.divide(heads))
        self._residue_tables()
        self._less_products()
        for label, size in heads.areas.items():
            self.areas[label] = Area(label, "buffer", ((0, size),), 256)
        self.variants[op.name] = (
            f"streamed residues {', '.join(map(str, heads.moduli))}",
            f"scores proven within {self.ranges.accumulators[op.name]['score']:,.0f} of 0; blocks "
            f"of {heads.block_rows} keys come from the expansion, values where they have a weight",
        )

    def _attention(self, op: Op, name: str) -> None:
        self._check_width(op, *op.inputs[1:])
        heads, why = self._heads(op)
        if heads:
            self._attend_in_residues(op, name, heads)
            return
        shape = self._shape(op)
        places = self._places_of(op, shape)
        q, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        shift = op.attributes["score_shift"]
        self._emit(op, streamed_attention.call(shape, name, q, out, places, shift))
        self._routine(op, shape.name, streamed_attention.attend(shape, places))
        down = streamed_attention.shift_label(shape, shift)
        alike = [o for o in self._alike(op) if o.attributes["score_shift"] == shift]
        bits = max(self._score_bits(other) for other in alike)
        text = streamed_attention.shift_scores(shape, shift, bits)
        self.routines["attention"].setdefault(down, text)
        self.environments[op.name] = {f"{shape.name}_shift": down}
        self.anything[f"{shape.name}_shift"] = down
        self._take_head(op, shape.head_size, shape.query_bits, shape.key_bits)
        self._less_products()
        self._take_turns(ALL, shape.scratch)
        self.variants[op.name] = (
            "streamed",
            f"exact for any values: {why}; keys and values come from the expansion",
        )

    def _keep(self, op: Op) -> None:
        x = self.values.vector(op.name)
        for role, reader in self.values.attentions(op.name):
            fast, _ = self._heads(reader)
            if fast:
                self._keep_for_heads(op, role, reader, fast)
                continue
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
                self._take_turns(ALL, {"attend_record": size})
                word, bank = str(address & 0xFFFF), str(address >> 16)
                self._share(reader, label, text, x, arg_place=word, arg_bank=bank)
                self.sequence[op.name].append(label)
        self._cross(op)

    def _keep_for_heads(self, op: Op, role: str, reader: Op, fast: Heads) -> None:
        """A key or a value as an attention in residues finds it."""
        x, places = self.values.vector(op.name), self._places_of_heads(reader, fast)
        (argument,) = self._arguments(x)
        place = ("<(arg_place)", ">(arg_place)", "<(arg_bank)")
        stem = self.values.labels[op.name]
        label = f"keep_{role}_{stem}_for_{fast.name}"
        if role == "key":
            address, size = places.keys, fast.key_bytes
            text = scores.keep_key(
                fast, NAME, argument, place, places.key_step, self.long
            )
        else:
            address, size = places.values, fast.size
            text = streamed_cache.keep_value(
                NAME, argument, fast.kv_heads, place, places.value_step, self.long
            )
        if label not in self.sequence[op.name]:
            self._take_turns(ALL, {"attend_record": size})
            word, bank = str(address & 0xFFFF), str(address >> 16)
            self._share(reader, label, text, x, arg_place=word, arg_bank=bank)
            self.sequence[op.name].append(label)

    def _cross(self, op: Op) -> None:
        if op.name in self.values.crossing:
            self.store_rows(op.name, f"keep_rows_{self.values.labels[op.name]}")
