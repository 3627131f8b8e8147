"""Ops -> lines of a kernel for many streams, and the constants that they read.

Weights, tables and rows lie in global memory in the order in which lanes read them; as many as fit
go to shared memory at the start, in the order of the ops.

To add a contract: a case in `_lower`, its kernel in kernels/cuda/batch/.
"""

from __future__ import annotations

from dataclasses import replace
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
LEAST_NEAR = 10  # fewer than one row in so many near are not worth a second loop
BY_TILE = ("matvec", "add", "relu", "multiply", "lookup")  # a tile from those of their inputs


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

    def __init__(
        self, fixed: FixedModel, ranges: Ranges, room: int = SHARED_CONSTANTS, near: int = 0
    ) -> None:
        self.fixed, self.ranges = fixed, ranges
        self.constants = Constants(room)
        self.orders = find_orders(fixed)
        self.values = {
            op.name: Value(f"v{i}", self.orders[op.name], op.value.format.bits)
            for i, op in enumerate(fixed.ops)
        }
        self.warp_bytes = self.walls = 0
        self.between_walls = 1 << 30  # tiles of an op
        self.scores = 0
        self.caches: dict[tuple[str, bool], Cache] = {}
        self.split: set[str] = set()
        self.rows = fixed.seq_len + fixed.seq_len % 2  # they are read in pairs
        self.near_bytes = 0
        for op in fixed.ops:
            if op.contract == "attention":
                self._find_caches(op)
        self._place(near)

    def reserve(self, n_bytes: int) -> int:
        """Offset of so many bytes of a warp's memory."""
        at = self.warp_bytes
        self.warp_bytes += -(-n_bytes // LINE) * LINE
        return at

    def _find_caches(self, op: Op) -> None:
        for name, split in ((op.inputs[1], True), (op.inputs[2], False)):
            cache = Cache(0, find_heads(op), self.values[name].bits, split)
            self.caches.setdefault((name, split), cache)

    def _place(self, room: int) -> None:
        """Rows for every position: the first pairs in turn in shared memory, the rest behind."""
        near = dict.fromkeys(self.caches, 0)
        free, left = room, True
        while left:
            left = False
            for name, cache in self.caches.items():
                if near[name] < self.rows and 2 * cache.row_bytes <= free:
                    near[name] += 2
                    free -= 2 * cache.row_bytes
                    left = True
        if sum(near.values()) * LEAST_NEAR < self.rows * len(near):
            near = dict.fromkeys(self.caches, 0)
        for name, cache in self.caches.items():
            far = self.reserve((self.rows - near[name]) * cache.row_bytes)
            self.caches[name] = replace(
                cache,
                offset=far - near[name] * cache.row_bytes,
                near=near[name],
                near_offset=self.near_bytes,
            )
            self.near_bytes += near[name] * cache.row_bytes

    @property
    def kept(self) -> tuple[tuple[int, int], ...]:
        """Of each cache: bytes of a row, of a warp; and rows in shared memory."""
        return tuple((cache.row_bytes, cache.near) for cache in self.caches.values())

    def lower(self) -> list[tuple[Op, list[str]]]:
        """Every op but the last, with its rows for later positions stored.

        Ops that make tiles from tiles go together, tile by tile: what only they read is soon done
        with, and its registers are free.
        """
        lowered = []
        ops = list(self.fixed.ops[:-1])
        while ops:
            group = self._take_group(ops)
            parts = [self._lower(op) for op in group]
            lines = [line for start, _ in parts for line in start]
            for n, together in enumerate(zip(*(tiles for _, tiles in parts), strict=True)):
                if n and n % self.between_walls == 0:
                    lines += self.wall()
                lines += [line for tile in together for line in tile]
            for op in group:
                for (name, _), cache in self.caches.items():
                    if name == op.name:
                        lines += cache.store(self.values[name], self.rows)
            lowered.append((group[-1], lines))
        return lowered

    def wall(self) -> list[str]:
        """Lines that the assembler moves nothing across: positions are not negative, but it does
        not know."""
        self.walls += 1
        return [f"if p == {-self.walls}:", "    break"]

    def _take_group(self, ops: list[Op]) -> list[Op]:
        """The next op, and those behind it that go along tile by tile."""
        group = [ops.pop(0)]
        if group[0].contract in BY_TILE:
            tiles = self.orders[group[0].name].tiles
            while ops and ops[0].contract in BY_TILE and self.orders[ops[0].name].tiles == tiles:
                made = {op.name for op in group}
                if ops[0].contract == "matvec" and made & set(ops[0].inputs):
                    break  # it reads all tiles at once
                group.append(ops.pop(0))
            while len(group) > 1 and group[-1].contract == "matvec":
                ops.insert(0, group.pop())  # nobody takes its tiles along
        return group

    def lower_logits(self, offset: int | None, *, chosen: bool = True) -> list[str]:
        """The last op, tile by tile, and what is made of each; offset is where to keep them."""
        fixed, op = self.fixed, self.fixed.ops[-1]
        y = self.values[op.name]
        lines = sampling.argmax_start()
        if op.contract == "matvec":
            split, tiles = self._matvec(op)
            lines = [*split, *lines]
        else:
            start, tiles = self._lower(op)
            lines = [*start, *(line for tile in tiles for line in tile), *lines]
            tiles = [[] for _ in range(y.order.tiles)]
        for tile, part in enumerate(tiles):
            lines += part
            lines += sampling.argmax_tile(
                y, tile, first_id=fixed.generation.first_id, n_ids=fixed.vocab_size
            )
            if offset is not None:
                lines += sampling.keep_tile(y, tile, offset)
        return lines

    def _lower(self, op: Op) -> tuple[list[str], list[list[str]]]:
        """Lines, and those of each tile, where it is one of BY_TILE."""
        k, a, y = op.constants, dict(op.attributes), self.values[op.name]
        x = [self.values[name] for name in op.inputs if name in self.values]
        tiles = range(y.order.tiles)
        match op.contract:
            case "embed":
                return self._embed(op, y), []
            case "add":
                fits = self._adds_within(op, y.bits)
                return [], [activation.add_tile(x[0], x[1], y, t, fits=fits) for t in tiles]
            case "relu":
                return [], [activation.relu_tile(x[0], y, t) for t in tiles]
            case "multiply":
                return [], [activation.multiply_tile(x[0], x[1], y, t, **a) for t in tiles]
            case "lookup":
                table = self.constants.add(k["table"].astype("<i2").tobytes())
                return [], [activation.lookup_tile(x[0], table, y, t, **a) for t in tiles]
            case "matvec":
                return self._matvec(op)
            case "rms_norm" | "layer_norm":
                return self._norm(op, x[0], y), []
            case "rope":
                return self._rope(op, x[0], y), []
            case "attention":
                return self._attention(op, x[0], y), []
        raise ValueError(f"{op.name}: the batch kernel has no {op.contract}")

    def _adds_within(self, op: Op, bits: int) -> bool:
        """Whether no sum of the two leaves its bits."""
        most = sum(_largest(self.ranges.values[name].peak) for name in op.inputs)
        return bits == 16 and most < 1 << bits - 1

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
        lines = attention.attention(
            q,
            self.values[op.inputs[1]],
            self.values[op.inputs[2]],
            self.caches[op.inputs[1], True],
            self.caches[op.inputs[2], False],
            self.constants.add(table.astype(np.uint8).tobytes()),
            y,
            heads=Heads(heads.heads, heads.kv_heads, heads.size),
            score_shift=int(a["score_shift"]),
            last=len(table) - 1,
            seen="before",
            wide_score=wide,
            wide_sum=wide_sum,
            scores=self.scores,
            rows=self.rows,
        )
        return ["before = sub32(p, 1)", *lines]


def is_narrow(bound: float) -> bool:
    """Whether 32 bits hold a sum of at most this magnitude."""
    return bound < 2.0**31


def _largest(bound: float | Array) -> float:
    return float(np.max(bound))
