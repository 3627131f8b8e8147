"""Attentions of int16 vectors -> calls of kernels that keep two bytes a number; else rows.py's."""

from __future__ import annotations

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.plan import Plan
from anachron.compiler.targets.mos6502.rows import RowLowering
from anachron.compiler.targets.mos6502.sections import Area, area, data
from anachron.compiler.targets.mos6502.split_heads import SplitHeads
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502.split import attention as split_attention
from anachron.kernels.mos6502.split.shape import MOST_UNITS, UNIT, Mixer


class SplitLowering(RowLowering):
    """As RowLowering, with attentions whose keys and values are two bytes a number."""

    def __init__(self, values: Values, ranges: Ranges, plan: Plan) -> None:
        super().__init__(values, ranges, plan)
        self.split_of = {op.name: group for group in plan.split for op in group.ops}
        self.mixers: dict[str, Mixer] = {}
        for group in plan.split:
            self.mixers[group.name] = group.mixer(self.small or None)
            self._place_split(group)

    def _place_split(self, group: SplitHeads) -> None:
        """The code of attentions of one shape, and their caches."""
        mixer, name = self.mixers[group.name], group.name
        shape = mixer.shape
        self.routines["attention"][name] = split_attention.attend(mixer)
        for op in group.ops:
            label = group.cache(op)
            self.areas[label] = Area(label, "cache", ((0, shape.cache_bytes),), 256)
        if not shape.apart:
            label = f"{name}_values"
            self.areas[label] = Area(label, "cache", ((0, shape.value_bytes),), 256)
        self._take_turns("keys", shape.kept)
        self._take_turns("heads", shape.asked)
        for label, size in shape.weighed.items():  # small: they fit between the KERNAL's variables
            self.areas[label] = area(label, "buffer", size)
        self.tables[mixer.table] = data(f"{name} exponential", "table", mixer.table, group.table)
        for shift in mixer.shifts:
            self.anything |= mixer.environment(shift)

    def _attention(self, op: Op, name: str) -> None:
        group = self.split_of.get(op.name)
        if group is None:
            super()._attention(op, name)
            return
        mixer, shape = self.mixers[group.name], self.mixers[group.name].shape
        q, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        shift = op.attributes["score_shift"]
        cache = self._choose_split(group, op)
        number = group.ops.index(op)
        self._emit(op, split_attention.call(mixer, name, shift, q, out, number, cache))
        self.environments[op.name] = mixer.environment(shift)
        others = "four any" if len(shape.moduli) > 3 else "products do others"
        self.variants[op.name] = (
            f"bytes, residues {', '.join(map(str, shape.moduli))}",
            f"two bytes a number, a sum for each: three residues tell scores apart of queries "
            f"whose elements sum to {UNIT * MOST_UNITS:,} in size, {others}; {shape.mixed[0]}, "
            f"{shape.mixed[1]} and {shape.third} any weighted values",
        )

    def _choose_split(self, group: SplitHeads, op: Op) -> str:
        """The cache to select, or nothing where the code points there already.

        An encoder's position comes back to one layer's attention after the next one's keys.
        """
        cache = group.cache(op)
        if len(group.ops) == 1 or (
            self._selected.get(group.name) == cache and not self.values.encoder
        ):
            return ""
        self._selected[group.name] = cache
        return cache

    def _keep(self, op: Op) -> None:
        readers = [
            (role, reader)
            for role, reader in self.values.attentions(op.name)
            if reader.name in self.split_of
        ]
        if not readers:
            super()._keep(op)
            return
        for role, reader in readers:
            group = self.split_of[reader.name]
            shape, select = self.mixers[group.name].shape, self._choose_split(group, reader)
            label = f"keep_{role}_{self.values.labels[op.name]}"
            x, number = self.values.vector(op.name), group.ops.index(reader)
            self.texts["attention"].append(
                split_attention.call_keep(shape, label, role, x, number, select)
            )
            self.sequence[op.name].append(label)
        if op.name in self.values.crossing:
            self.store_rows(op.name, f"keep_rows_{self.values.labels[op.name]}")
