"""Ops -> calls of 6502 kernels, with the data and the memory that they need.

To add a contract: a method named like it and its row in KERNELS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.expanded import Expansion
from anachron.compiler.targets.mos6502.sections import Area, Section, area, data, page_ends
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import activation, attention, cache, embedding, matvec, norm, rope
from anachron.kernels.mos6502.cache import Keys
from anachron.kernels.mos6502.cache import Values as Columns
from anachron.kernels.mos6502.instructions import Vector

# Contract -> the file of kernels/mos6502 that has it, and the part of the image with its code.
KERNELS = {
    "embed": "embedding",
    "add": "embedding",
    "matvec": "matvec",
    "rms_norm": "norm",
    "layer_norm": "norm",
    "attention": "attention",
    "rope": "attention",
    "relu": "activation",
    "lookup": "activation",
    "multiply": "activation",
}
MOST_POSITIONS = cache.MOST_ROWS
MOST_FEATURES = 256
# Variables of claims, with a value each that will do where a routine's time is left aside.
ALL = ""
ANYTHING = {"rows": 1, "shift_bytes": 0, "shift_bits": 1, "seen": 1}


class Lowering:
    """The texts of a model's ops, gathered op by op.

    texts     part of the image -> routines, in order
    routines  part -> {label: shared routine}
    tables    data of ops        areas  memory of ops
    scratch   memory that takes turns: who needs it, no longer than it works -> label -> bytes;
              what ALL of them leave alone is needed for a whole pass
    sequence  op -> labels that the pass calls for it, in order
    kept      op -> those among them that keep its value for later positions
    variants  op -> the kernel's variant, and why it was chosen
    environments  op -> what the claims in its routines ask for
    drawn     op -> the same, where it differs, if tokens are drawn
    anything  values that will do for any variable of claims
    fills     routines that fill tables, once, and their texts
    expansion where there is one: what lies in it
    """

    expansion: Expansion | None = None

    def __init__(self, values: Values, ranges: Ranges) -> None:
        self.values, self.ranges = values, ranges
        self.texts: dict[str, list[str]] = {part: [] for part in KERNELS.values()}
        self.routines: dict[str, dict[str, str]] = {part: {} for part in KERNELS.values()}
        self.tables: dict[str, Section] = {}
        self.areas: dict[str, Area] = {}
        self.scratch: dict[str, dict[str, int]] = {}
        self.sequence: dict[str, list[str]] = {}
        self.kept: dict[str, list[str]] = {}
        self.variants: dict[str, tuple[str, str]] = {}
        self.environments: dict[str, dict[str, object]] = {}
        self.drawn: dict[str, dict[str, object]] = {}
        self.chooses = False  # a pass leaves the likeliest token, and not all logits
        self.anything: dict[str, object] = dict(ANYTHING)
        self.token_bytes = 1 if max(values.fixed.vocab_size, values.fixed.seq_len) <= 256 else 2
        self.operand_pages: list[int] = []
        self.most_query = 0
        self.fills = {"fill_products": ""}  # its text is arithmetic's
        self._attentions: dict[tuple[object, ...], tuple[str, str]] = {}
        self._prepared: tuple[str, int, int] | None = None

    def begin_stage(self) -> None:
        """Nothing is known of the operand any more."""
        self._prepared = None

    def lower(self, op: Op) -> None:
        """Take in the next op."""
        self.sequence[op.name] = [self.values.op(op)]
        self.variants[op.name] = ("general", "exact for any weights and values")
        getattr(self, f"_{op.contract}")(op, self.values.op(op))
        n_calls = len(self.sequence[op.name])
        self._keep(op)
        self.kept[op.name] = self.sequence[op.name][n_calls:]

    def first_pass(self) -> str:
        """The pass of position 0, if it has its own."""
        return ""

    # ---- what kernels need

    def _emit(self, op: Op, text: str) -> None:
        self.texts[KERNELS[op.contract]].append(text)

    def _routine(self, op: Op, label: str, text: str) -> None:
        self.routines[KERNELS[op.contract]][label] = text

    def _bytes(self, op: Op, role: str, values: Array, kind: str) -> str:
        """A constant array, a byte a number."""
        label = f"{self.values.op(op)}_{role}"
        content = (np.asarray(values, np.int64) & 0xFF).astype(np.uint8).tobytes()
        self.tables[label] = data(f"{op.name} {role}", kind, label, content)
        return label

    def _words(self, op: Op, role: str, values: Array, kind: str) -> Vector:
        """A constant array, low bytes and high bytes apart."""
        values = np.asarray(values, np.int64).ravel()
        low = self._bytes(op, f"{role}_low", values, kind)
        high = self._bytes(op, f"{role}_high", values >> 8, kind)
        return Vector(low, high, len(values), 16)

    def _take_turns(self, user: str, sizes: Mapping[str, int]) -> None:
        """Memory that a user needs while it works."""
        held = self.scratch.setdefault(user, {})
        for label, size in sizes.items():
            held[label] = max(size, held.get(label, 0))

    def _inputs(self, op: Op) -> list[Vector]:
        return [self.values.vector(name) for name in op.inputs]

    # ---- contracts

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
        (x,) = self._inputs(op)
        out = self.values.vector(op.name)
        columns, bits = x.size, x.bits
        shift = op.constants["shift"].astype(np.int64)
        packed = matvec.pack_rows(op.constants["weight"], op.constants["bias"], shift, bits)
        label = f"{name}_rows"
        self.tables[label] = data(op.name, "weights", label, packed)
        shape = (op.inputs[0], columns, bits)
        prepared = self._prepared == shape
        self._prepared = shape
        self._routine(op, f"prepare_{columns}_{bits}", matvec.prepare(columns, bits))
        rows = f"matvec_{columns}_{bits}_{out.bits}"
        self._routine(op, rows, matvec.rows(columns, bits, out.bits))
        self._routine(op, "shift_total", matvec.shift_total())
        self._need_operand(columns, bits)
        self._emit(op, matvec.call(name, x, out, label, prepared))
        self.variants[op.name] = ("general", "rows of 32-bit sums, exact for any weights")
        whole, rest = shift // 8, shift % 8
        self.environments[op.name] = {
            "rows": out.size,
            "shift_bytes": (int(whole.min()), float(whole.mean()), int(whole.max())),
            "shift_bits": (int(rest.min()), float(rest.mean()), int(rest.max())),
        }

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
        self._emit(op, activation.relu(name, x, self.values.vector(op.name)))

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
