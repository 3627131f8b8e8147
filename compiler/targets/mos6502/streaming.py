"""Ops -> calls of 6502 kernels whose weights, tables and past lie in the RAM Expansion Unit.

A matrix comes row by row, an embedding and a rotation by the row that is asked for
(streamed_elements.py), keys and values by the record; what is small - gains, lookup tables, the
program - stays in the C64's memory.

To stream another op: a method that overrides the general one.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.growth import Growth, measure
from anachron.compiler.targets.mos6502.lowering import ALL
from anachron.compiler.targets.mos6502.sections import Area
from anachron.compiler.targets.mos6502.sharing import NAME
from anachron.compiler.targets.mos6502.streamed_elements import ElementStreaming
from anachron.compiler.targets.mos6502.streamed_matrices import Choice
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502.expansion import BLOCK
from anachron.kernels.mos6502.streamed import attention as streamed_attention
from anachron.kernels.mos6502.streamed import cache as streamed_cache
from anachron.kernels.mos6502.streamed import head_shapes, scores, weighing
from anachron.kernels.mos6502.streamed import heads as streamed_heads
from anachron.kernels.mos6502.streamed.attention import Shape
from anachron.kernels.mos6502.streamed.cache import Places
from anachron.kernels.mos6502.streamed.head_shapes import Heads

MOST_HEAD_SIZE = 128


class StreamedLowering(ElementStreaming):
    """As RowLowering, with an expansion that holds all that is large."""

    def __init__(self, values: Values, ranges: Ranges, choice: Choice) -> None:
        super().__init__(values, ranges, choice)
        self._places: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._shapes: dict[Shape, Shape] = {}
        self._of_heads: dict[Heads, Heads] = {}
        self._measured: Growth | None = None

    # ---- attention

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
            weighed=self._growth(op).weighed if attributes["causal"] else "seen",
        )
        return self._shapes.setdefault(shape, replace(shape, name=f"attend{len(self._shapes)}"))

    def _growth(self, op: Op) -> Growth:
        """What is expected of the rows of the model's attentions."""
        if self._measured is None:
            self._measured = measure(self.values.fixed, self._alike(op))
        return self._measured

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
            entries=int(np.flatnonzero(table)[-1]) + 2,  # the rest weighs nothing, too
            noticed=self._growth(op).noticed,
            weighed=self._growth(op).weighed,
            records=self._growth(op).records,
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
