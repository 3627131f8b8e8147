"""Ops -> calls of the fast 6502 kernels, where their ranges are proven; else lowering.py's.

To add a fast kernel: a method that overrides the general one and falls back to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502 import chances
from anachron.compiler.targets.mos6502.attentions import Heads
from anachron.compiler.targets.mos6502.embedded import Embedded
from anachron.compiler.targets.mos6502.matrices import Group
from anachron.compiler.targets.mos6502.narrow_heads import NarrowHeads
from anachron.compiler.targets.mos6502.opening import leave
from anachron.compiler.targets.mos6502.sections import (
    PAGE,
    Area,
    byte_lines,
    data,
    lay_out,
    page_data,
)
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502 import fast_norm, matvec
from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.residue import attention as residue_attention
from anachron.kernels.mos6502.residue import cache as residue_cache
from anachron.kernels.mos6502.residue import guard, middle, nibbles
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import screen as residue_screen

if TYPE_CHECKING:
    from anachron.compiler.targets.mos6502.plan import Plan


class FastLowering(Embedded):
    """As Lowering, with a plan of variants."""

    def __init__(self, values: Values, ranges: Ranges, plan: Plan) -> None:
        super().__init__(values, ranges)
        self.heads_of = {op.name: group for group in plan.heads for op in group.ops}
        self.group_of = {op.name: group for group in plan.groups for op in group.ops}
        self.packed = {group.name: group.pack() for group in plan.groups}
        self.screening, self.opening = plan.screening, plan.opening
        self.reasons = plan.reasons
        self._operands: dict[str, str] = {}
        for group in plan.groups:
            self._place(group)
        for shared in plan.heads:
            self._place_heads(shared)
        if plan.sparse:
            self._place_sparse(plan.sparse)
        if plan.groups or plan.heads or plan.sparse:
            self._residue_tables()

    def first_pass(self) -> str:
        """The pass of position 0, if it has its own."""
        if self.opening is None:
            return ""
        tables = {}
        for op, x in self.opening.kept:
            wide = op.value.format.bits == 16
            if wide:
                tables[op.name] = self._words(op, "first", x, "weights")
            else:
                tables[op.name] = Vector(self._bytes(op, "first", x, "weights"), "", x.size, 8)
        return leave(self.opening, self.values, tables, self.kept, self.token_bytes)

    def begin_stage(self) -> None:
        super().begin_stage()
        self._operands.clear()


    def _place(self, group: Group) -> None:
        """A group's weights and code."""
        packed = self.packed[group.name]
        self._place_blocks(group.name, packed.blocks)
        self._divide_blocks(group.ops, packed.blocks)
        routines = self.routines["matvec"]
        x = Vector(f"{group.vector}_low", f"{group.vector}_high", group.columns, group.bits)
        if len(packed.blocks) > 1:
            routines[f"{group.name}_select"] = residue_matvec.select(packed)
        routines[f"{group.name}_prepare"] = residue_matvec.prepare(packed, x)
        end = residue_matvec.end_label(packed, *group.ends[0])
        self.anything[residue_matvec.which(group.name)] = end
        routines[f"{group.name}_rows"] = residue_matvec.rows(packed, group.ends)

    def _matvec(self, op: Op, name: str) -> None:
        group = self.group_of.get(op.name)
        if self._is_sparse(op):
            self._sparse(op, name)
            return
        if group is None:
            super()._matvec(op, name)
            why = self.reasons.get(op.name)
            if why:
                self.variants[op.name] = ("general", f"rows of 32-bit sums: {why}")
            return
        if op.name in group.halves:
            self._halves(op, name, group)
            return
        packed, out = self.packed[group.name], self.values.vector(op.name)
        number = group.first_matrix(op)
        text = [f"{name}:", self._choose_matrix(group, number)]
        if self._operands.get(group.name) != op.inputs[0]:
            text.append(f"    jsr {group.name}_prepare")
            self._operands[group.name] = op.inputs[0]
        (end,) = group.ends_of(op)
        self.environments[op.name] = {
            "rows": out.size,
            residue_matvec.which(group.name): residue_matvec.end_label(packed, *end),
        }
        bounds = self.ranges.accumulators[op.name]["rows"]
        why = (
            f"sums proven within {int(np.max(bounds)):,} of 0; they may reach "
            f"{packed.basis.highest:,}"
        )
        if self.screening and self.screening.op is op:
            text.append(self._seek(op, name, group))
            why = (
                f"about {op.value.size * self.screening.likely:.0f} rows of {op.value.size}: "
                f"those whose bound, a sum modulo 255, says that they may be the largest; {why}"
            )
        if op.name in group.limits:
            self._emit(op, lines(*text, self._guard(op, name, group, number)))
            text = [f"{name}_fast:"]
            why = (
                f"while the input's length allows it: sums may reach {int(np.max(bounds)):,}, "
                f"more than {packed.basis.highest:,}; else some rows bit by bit"
            )
        if not (self.screening and self.screening.op is op):
            text.append(residue_matvec.call(packed, number, out.size, end, out))
        self._emit(op, lines(*text))
        self.variants[op.name] = (f"residues {', '.join(map(str, packed.basis.moduli))}", why)

    def _seek(self, op: Op, name: str, group: Group) -> str:
        """The likeliest token alone."""
        assert self.screening is not None
        packed = self.packed[group.name]
        (end,) = group.ends_of(op)
        number, out = group.first_matrix(op), self.values.vector(op.name)
        block, first = packed.places[number]
        rows = residue_screen.Rows(
            name,
            out,
            residue_matvec.block_label(packed.name, block),
            packed.column,
            (
                packed.name,
                residue_matvec.end_label(packed, *end),
                residue_matvec.aim(packed, number, end, out),
            ),
            first,
            self.values.fixed.generation.first_id,
        )
        x = Vector(f"{group.vector}_low", f"{group.vector}_high", group.columns, group.bits)
        return self._screen(op, name, rows, x, packed.origin)

    def _choose_matrix(self, group: Group, matrix: int) -> str:
        """Point a group's code at a matrix's block."""
        packed = self.packed[group.name]
        return self._choose_block(group.name, packed.places[matrix][0], len(packed.blocks))

    def _halves(self, op: Op, name: str, group: Group) -> None:
        """A matrix of twice the columns: one half's sums are kept, the other's are added."""
        packed, out = self.packed[group.name], self.values.vector(op.name)
        x, number = self.values.vector(op.inputs[0]), group.first_matrix(op)
        vector = Vector(f"{group.vector}_low", f"{group.vector}_high", group.columns, group.bits)
        order = self._bytes(op, "order", group.halves[op.name], "weights")
        self._take_turns("halves", {"half_sums": 3 * out.size})
        labels = [f"{name}_half", name]
        for half, (label, end) in enumerate(zip(labels, group.ends_of(op), strict=True)):
            text = [f"{label}:", self._choose_matrix(group, number + half)]
            text.append(residue_matvec.gather(vector, x, f"{order}+{half * group.columns}"))
            text.append(f"    jsr {group.name}_prepare")
            text.append(residue_matvec.call(packed, number + half, out.size, end, out, "half_sums"))
            self._emit(op, lines(*text))
            self.environments[label] = {
                "rows": out.size,
                residue_matvec.which(group.name): residue_matvec.end_label(packed, *end),
            }
        self.sequence[op.name] = labels
        self._operands.pop(group.name, None)
        self.variants[op.name] = (
            f"residues {', '.join(map(str, packed.basis.moduli))}, in halves",
            f"the sums of each half are proven to fit {packed.basis.highest:,}",
        )

    def _guard(self, op: Op, name: str, group: Group, number: int) -> str:
        """Measure the input; where it is too long, do the rows exactly and return."""
        packed, x = self.packed[group.name], self.values.vector(op.inputs[0])
        out, (block, first) = self.values.vector(op.name), packed.places[number]
        self._squares()
        self._routine(op, "exact_rows", guard.exact_rows())
        self._routine(op, "shift_total", matvec.shift_total())
        shift = int(op.constants["shift"][0])
        bias = op.constants["bias"].astype("<i4").tobytes()
        label = f"{name}_bias"
        self._place_with(group.name, block, label, f"{op.name} bias", bias)
        origin = f"{group.name}_origin"
        taken = (packed.origin & 0xFF).astype(np.uint8).tobytes()
        self.tables[origin] = data(f"{group.name} origins", "weights", origin, taken)
        limits = group.limits[op.name]
        self.environments[op.name] |= {
            **self._count(op.name, chances.measured, op.inputs[0]),
            **self._count(op.name, chances.guarded, op, limits),
            "exact_columns": x.size,
            **chances.shifts(op.constants["shift"].astype(np.int64)),
        }
        self.anything |= self.environments[op.name]
        rows = f"{name}_limits"
        lengths = guard.row_limits(limits)
        self._place_with(group.name, block, rows, f"{op.name} limits", lengths)
        weights = f"{residue_matvec.block_label(group.name, block)}+{first}"
        words = (
            ("row", weights),
            ("past_low", origin),
            ("past_high", label),
            ("key_low", rows),
            ("count_a", str(packed.stride)),
            ("out_low", out.low),
            ("out_high", out.high),
        )
        return lines(
            set_word("source_low", x.low),
            set_word("source_high", x.high),
            f"    ldy #{x.size - 1}\n    jsr measure",
            guard.check(min(limits)),
            f"    bcc *+5             ;@ p=too_long\n    jmp {name}_fast\n    jsr {name}_fast",
            *(set_word(label, value) for label, value in words),
            f"    lda #{x.size}\n    sta count_b\n    lda #{shift}\n    sta count_b+1\n"
            f"    lda #{out.size}\n    sta rows_left\n    jmp exact_rows",
        )

    def _squares(self) -> None:
        """What measures the length of vectors."""
        self._square_tables()
        tables = bool(self.heads_of)  # their attention leaves room for more
        if tables:
            self._nibble_tables()
        self.routines["norm"]["measure"] = (nibbles if tables else guard).measure()
        self.anything |= {"elements": 1, "exact_columns": 1}

    def _rms_norm(self, op: Op, name: str) -> None:
        x, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        gain, attributes = op.constants["gain"], op.attributes
        why = fast_norm.applicable(x.size, gain, dict(attributes))
        if not why and self.ranges.values[op.name].image is None:
            why = "it may saturate"
        if why or out.bits != 16:
            super()._rms_norm(op, name)
            self.variants[op.name] = ("general", f"32-bit products: {why or 'of 8 bits'}")
            return
        bits = attributes["reciprocal_bits"]
        up = self._common_gain_shift() - attributes["gain_shift"]
        gain = gain.astype(np.int64) << up
        shape = fast_norm.Shape(x.size, attributes["gain_shift"] + up, bits)
        self._products()
        self.routines["norm"][shape.name] = fast_norm.routine(shape)
        data_of_gain = np.vstack([gain, fast_norm.gain_constants(gain)]).ravel()
        label = self._bytes(op, "gain", data_of_gain, "weights")
        self._emit(op, fast_norm.call(shape, name, x, out, label))
        self.environments[op.name] = self._count(op.name, chances.measured, op.inputs[0])
        self.anything |= self.environments[op.name]
        self.variants[op.name] = (
            "tables",
            "its gains are not negative, its results proven not to saturate",
        )

    def _products(self) -> None:
        """The tables of norms."""
        self._squares()
        self.fills["fill_less_products"] = fast_norm.fill_tables()
        for label, size in fast_norm.TABLES.items():
            self.areas[label] = Area(label, "table", ((0, size),), 256)

    def _common_gain_shift(self) -> int:
        """What the gains of all norms can be brought to, so that they share a routine."""
        norms = [op for op in self.values.fixed.ops if op.contract == "rms_norm"]
        return max(
            min(fast_norm.largest_shift(op.constants["gain"], op.attributes) for op in norms),
            max(op.attributes["gain_shift"] for op in norms),
        )

    # ---- attention

    def _place_heads(self, heads: Heads) -> None:
        """The code of attentions of one shape, and their caches."""
        shape = heads.shape
        parts = (
            residue_cache.take(shape),
            residue_cache.keep_key(shape),
            residue_cache.keep_value(shape),
            residue_attention.attend(heads.mixer),
        )
        self._place_caches(heads, lines(*parts))
        rows = shape.key_stride
        sizes = {"scores_low": rows, "scores_high": max(rows, shape.size), "weights": rows}
        sizes["taken"] = shape.taken_bytes
        self._take_turns("heads", {f"{shape.name}_{name}": size for name, size in sizes.items()})
        label = heads.mixer.table
        self.tables[label] = data(f"{shape.name} exponential", "table", label, heads.table)
        self._middle_tables()

    def _place_caches(self, heads: Heads | NarrowHeads, text: str) -> None:
        """The code of attentions of one shape, and a cache for each."""
        shape = heads.shape
        if len(heads.ops) > 1:
            text = residue_attention.relocate(shape.name, shape.cache_pages, text)
        self.routines["attention"][shape.name] = text
        for op in heads.ops:
            label = heads.cache(op)
            self.areas[label] = Area(label, "cache", ((0, shape.cache_bytes),), 256)

    def _place_tables(self, name: str, tables: Mapping[str, bytes]) -> None:
        """Tables in pages that they share."""
        # Whole pages first; then t, whose address is an operand, at the start of one.
        whole = [label for label, content in tables.items() if len(content) % PAGE == 0]
        parts = sorted(tables.keys() - set(whole), key=lambda n: (n[0] != "t" or n[1] == "u", n))
        tables = {label: tables[label] for label in (*whole, *parts)}
        text, at = [], 0
        for label, (place, size) in lay_out({n: len(t) for n, t in tables.items()}).items():
            text.append(f"    .res {place - at}, 0" if place > at else "")
            text.append(f"{label}:\n{byte_lines(tables[label])}")
            at = place + size
        self.tables[name] = page_data(name, "table", lines(*text), at)

    def _choose_cache(self, heads: Heads | NarrowHeads, op: Op) -> str:
        """The label to select, or nothing where the code points there already."""
        label, name = heads.cache(op), heads.shape.name
        if len(heads.ops) == 1 or self._selected.get(name) == label:
            return ""
        self._selected[name] = label
        return label

    def _attention(self, op: Op, name: str) -> None:
        heads = self.heads_of.get(op.name)
        if heads is None:
            super()._attention(op, name)
            if op.name in self.reasons:
                self.variants[op.name] = ("general", f"32-bit sums: {self.reasons[op.name]}")
            return
        q, out = self.values.vector(op.inputs[0]), self.values.vector(op.name)
        assert not self._choose_cache(heads, op)  # its keys and values have just been kept
        self._emit(op, residue_attention.call(heads.mixer, name, q, out))
        self.environments[op.name] = self._count(op.name, chances.mixed, op, heads.mixer)
        self.anything |= self.environments[op.name]
        score = self.ranges.accumulators[op.name]["score"]
        moduli = ", ".join(map(str, heads.shape.moduli))
        self.variants[op.name] = (
            f"residues {moduli}",
            f"scores proven within {int(score):,} of 0, weighted values within "
            f"{heads.mixer.largest_sum:,}; they may reach {middle.REACH:,} at once, where lengths "
            "say so, else in two turns",
        )

    def _keep(self, op: Op) -> None:
        if not self._keep_residues(op, self.heads_of, residue_attention.call_keep):
            super()._keep(op)

    def _keep_residues(
        self, op: Op, heads_of: Mapping[str, Heads | NarrowHeads], call: Callable[..., str]
    ) -> bool:
        """Calls that keep keys or values as residues; False where nobody reads them so."""
        readers = [
            (role, reader, heads_of.get(reader.name))
            for role, reader in self.values.attentions(op.name)
        ]
        if not any(heads for _, _, heads in readers):
            return False
        for role, reader, heads in readers:
            assert heads is not None
            label = f"keep_{role}_{self.values.labels[op.name]}"
            select = self._choose_cache(heads, reader)
            x = self.values.vector(op.name)
            self.texts["attention"].append(call(heads.shape, label, role, x, select))
            self.sequence[op.name].append(label)
        return True
