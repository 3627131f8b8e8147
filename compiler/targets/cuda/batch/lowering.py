"""Ops -> lines of a kernel for many streams, and the constants that they read.

Weights, tables and rows lie in global memory in the order in which lanes read them; as many as fit
go to shared memory at the start, in the order of the ops.

To add a contract: a case in `_lower`, its kernel in kernels/cuda/batch/.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.cuda.batch.orders import find_heads, find_orders
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.batch import activation, attention, matvec, norm, sampling
from anachron.kernels.cuda.batch.attention import Cache
from anachron.kernels.cuda.batch.fragments import (
    At,
    Heads,
    Value,
    pack_mask,
    pack_pairs,
    pack_table,
    pack_weight,
)
from anachron.kernels.reference import embedding as reference

SHARED_CONSTANTS = 128 * 1024  # bytes; the rest of shared memory holds scores
LINE = 128


class Constants:
    """Bytes of global memory, the first of which are copied to shared memory."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.shared = self.total = 0
        self._chunks: list[bytes] = []
        self._seen: dict[bytes, At] = {}

    def add(self, content: bytes) -> At:
        """Where a constant lies; equal ones are stored once."""
        content += bytes(-len(content) % LINE)
        if content not in self._seen:
            fits = self.shared == self.total and self.total + len(content) <= self.room
            self._seen[content] = At("sm" if fits else "gm", self.total)
            self._chunks.append(content)
            self.total += len(content)
            if fits:
                self.shared = self.total
        return self._seen[content]

    @property
    def blob(self) -> bytes:
        return b"".join(self._chunks)


class Lowering:
    """The ops of a model.  `warp_bytes` is what a warp needs for rows, and logits if kept."""

    def __init__(self, fixed: FixedModel, ranges: Ranges, room: int = SHARED_CONSTANTS) -> None:
        self.fixed, self.ranges = fixed, ranges
        self.constants = Constants(room)
        self.orders = find_orders(fixed)
        self.values = {
            op.name: Value(f"v{i}", self.orders[op.name], op.value.format.bits)
            for i, op in enumerate(fixed.ops)
        }
        self.warp_bytes = 0
        self.scores = 0
        self.caches: dict[tuple[str, bool], Cache] = {}
        self.split: set[str] = set()
        for op in fixed.ops:
            if op.contract == "attention":
                self._reserve(op)

    def reserve(self, n_bytes: int) -> int:
        """Offset of so many bytes of a warp's memory."""
        at = self.warp_bytes
        self.warp_bytes += -(-n_bytes // LINE) * LINE
        return at

    def _reserve(self, op: Op) -> None:
        rows = self.fixed.seq_len + self.fixed.seq_len % 2  # they are read in pairs
        for name, split in ((op.inputs[1], True), (op.inputs[2], False)):
            if (name, split) not in self.caches:
                bits = self.values[name].bits
                cache = Cache(0, find_heads(op), bits, split)
                at = self.reserve(rows * cache.row_bytes)
                self.caches[name, split] = Cache(at, cache.heads, bits, split)

    @property
    def row_bytes(self) -> int:
        """Of all keys and values of one position of a warp's streams."""
        return sum(cache.row_bytes for cache in self.caches.values())

    def lower(self) -> list[tuple[Op, list[str]]]:
        """Every op but the last, with its rows for later positions stored."""
        lowered = []
        for op in self.fixed.ops[:-1]:
            lines = self._lower(op)
            for (name, _), cache in self.caches.items():
                if name == op.name:
                    lines = [*lines, *cache.store(self.values[name])]
            lowered.append((op, lines))
        return lowered

    def lower_logits(self, offset: int | None, *, chosen: bool = True) -> list[str]:
        """The last op, tile by tile, and what is made of each; offset is where to keep them."""
        fixed, op = self.fixed, self.fixed.ops[-1]
        y = self.values[op.name]
        lines = sampling.argmax_start()
        if op.contract == "matvec":
            split, tiles = self._matvec(op)
            lines = [*split, *lines]
        else:
            lines = [*self._lower(op), *lines]
            tiles = [[] for _ in range(y.order.tiles)]
        for tile, part in enumerate(tiles):
            lines += part
            lines += sampling.argmax_tile(
                y, tile, first_id=fixed.generation.first_id, n_ids=fixed.vocab_size
            )
            if offset is not None:
                lines += sampling.keep_tile(y, tile, offset)
        return lines

    def _lower(self, op: Op) -> list[str]:
        k, a, y = op.constants, dict(op.attributes), self.values[op.name]
        x = [self.values[name] for name in op.inputs if name in self.values]
        match op.contract:
            case "embed":
                return self._embed(op, y)
            case "add":
                return activation.add(x[0], x[1], y)
            case "relu":
                return activation.relu(x[0], y)
            case "multiply":
                return activation.multiply(x[0], x[1], y, **a)
            case "lookup":
                table = self.constants.add(k["table"].astype("<i2").tobytes())
                return activation.lookup(x[0], table, y, **a)
            case "matvec":
                split, tiles = self._matvec(op)
                return [*split, *(line for tile in tiles for line in tile)]
            case "rms_norm" | "layer_norm":
                return self._norm(op, x[0], y)
            case "rope":
                return self._rope(op, x[0], y)
            case "attention":
                return self._attention(op, x[0], y)
        raise ValueError(f"{op.name}: the batch kernel has no {op.contract}")

    def _embed(self, op: Op, y: Value) -> list[str]:
        table = op.constants["table"]
        if op.inputs[0] == "position":
            table = table[: self.fixed.seq_len]
        every, shift = np.arange(len(table)), op.attributes["shift"]
        stored = reference.embed(every, table=table, shift=shift, bits=y.bits)
        index = "p" if op.inputs[0] == "position" else "token"
        return activation.embed(index, self.constants.add(pack_table(stored, y.order)), y)

    def _matvec(self, op: Op) -> tuple[list[str], list[list[str]]]:
        """Lines that take x apart, where nobody has yet, and the lines of each tile."""
        x, y = self.values[op.inputs[0]], self.values[op.name]
        weight, bias, shift = (op.constants[role] for role in ("weight", "bias", "shift"))
        if _largest(self.ranges.accumulators[op.name]["rows"]) >= 2.0**31:
            raise ValueError(
                f"{op.name}: its sums are not proven to fit the 32 bits of a tensor core"
            )
        one = int(shift[0]) if (shift == shift[0]).all() else -1
        places: dict[str, Any] = {
            "weight": self.constants.add(pack_weight(weight, x.order, y.order)),
            "bias": self.constants.add(pack_pairs(bias, y.order)),
            "shift": one if one >= 0 else self.constants.add(pack_pairs(shift, y.order)),
        }
        split = [] if x.stem in self.split else matvec.split(x)
        self.split.add(x.stem)
        return split, [matvec.matvec_tile(x, y, t, **places) for t in range(y.order.tiles)]

    def _norm(self, op: Op, x: Value, y: Value) -> list[str]:
        squares = _largest(self.ranges.accumulators[op.name]["squares"])
        shifted = (squares / op.value.size + 1) * 2.0 ** op.attributes["root_shift"]
        if max(squares, shifted) >= 2.0**32:
            raise ValueError(f"{op.name}: its sum of squares is not proven to fit 32 bits")
        whole = x.order.counted.all()
        bias = op.constants.get("bias")
        return norm.norm(
            x,
            self.constants.add(pack_pairs(op.constants["gain"], x.order)),
            None if bias is None else self.constants.add(pack_pairs(bias, x.order)),
            None if whole else self.constants.add(pack_mask(x.order)),
            y,
            size=op.value.size,
            **dict(op.attributes),
        )

    def _rope(self, op: Op, x: Value, y: Value) -> list[str]:
        cosine, sine = (op.constants[role][: self.fixed.seq_len] for role in ("cosine", "sine"))
        most = int((np.abs(cosine.astype(np.int64)) + np.abs(sine.astype(np.int64))).max(initial=0))
        if most * 2.0**15 + (1 << 13) >= 2.0**31:
            raise ValueError(f"{op.name}: its products are not proven to fit 32 bits")
        table = np.stack([cosine, sine], -1).astype("<i2").tobytes()
        heads = find_heads(op)
        return activation.rope(
            x,
            self.constants.add(table),
            y,
            size=heads.size,
            width=heads.width,
            interleaved=bool(op.attributes["interleaved"]),
        )

    def _attention(self, op: Op, q: Value, y: Value) -> list[str]:
        a, heads = op.attributes, find_heads(op)
        if not a["causal"]:
            raise ValueError(
                f"{op.name}: the batch kernel generates position by position and needs causal "
                "attention"
            )
        score = _largest(self.ranges.accumulators[op.name]["score"])
        table, value = op.constants["table"], self.ranges.values[op.inputs[2]]
        total = int(table.max()) * self.fixed.seq_len
        wide_sum = not is_narrow(total * float(value.peak.max(initial=0)))
        wide = not is_narrow(score)
        apart = a["score_shift"] >= attention.SPLIT_BITS and heads.size <= attention.MOST_WIDE
        if wide and not apart or score / 2.0 ** a["score_shift"] >= -attention.LOWEST:
            raise ValueError(f"{op.name}: its scores are not proven to fit 32 bits")
        if total > attention.MOST_TOTAL:
            raise ValueError(
                f"{op.name}: the weights of {self.fixed.seq_len} positions may sum to {total:,}, "
                f"the batch kernel takes {attention.MOST_TOTAL:,}: choose a smaller seq_len"
            )
        return attention.attention(
            q,
            self.caches[op.inputs[1], True],
            self.caches[op.inputs[2], False],
            self.constants.add(table.astype(np.uint8).tobytes()),
            y,
            heads=Heads(heads.heads, heads.kv_heads, heads.size),
            score_shift=int(a["score_shift"]),
            last=len(table) - 1,
            seen="p",
            wide_score=wide,
            wide_sum=wide_sum,
            scores=self.scores,
        )


def is_narrow(bound: float) -> bool:
    """Whether 32 bits hold a sum of at most this magnitude."""
    return bound < 2.0**31


def _largest(bound: float | Array) -> float:
    return float(np.max(bound))
