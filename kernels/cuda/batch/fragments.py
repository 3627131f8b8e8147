"""Which feature lies in which lane and word, and constants in that order.

A value of a position is a row of tiles: a word of two int16 for each tile, lane and half of the
streams.  That is how mma leaves its result (its C and D fragments); two words side by side give
the bytes that it reads (its A fragments), the low ones and the high ones apart.

Source: PTX ISA 9.0, section 9.7.15, matrix fragments for mma.m16n8k32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array

PLACES = 4  # lanes that share a stream
COLUMNS = 8  # of a tile
STEP_TILES = 4  # tiles of 8 features that one mma reads: 32
NOTHING = -1
HALVES = ("a", "b")  # the streams group and group + 8


@dataclass(frozen=True)
class Order:
    """features[tile][column]: what column 2 place + e of a tile is, or NOTHING."""

    features: tuple[tuple[int, ...], ...]

    @property
    def tiles(self) -> int:
        return len(self.features)

    @property
    def array(self) -> Array:
        return np.array(self.features)

    @property
    def counted(self) -> Array:
        """Where a feature stands for the first time; a sum over these is over all features."""
        flat = self.array.ravel()
        first = np.zeros(len(flat), bool)
        first[np.unique(flat, return_index=True)[1]] = True
        return (first & (flat != NOTHING)).reshape(self.tiles, COLUMNS)


@dataclass(frozen=True)
class Value:
    """A value in the registers of a warp."""

    stem: str
    order: Order
    bits: int

    def word(self, half: int, tile: int) -> str:
        """The variable with a lane's two numbers of a tile."""
        return f"{self.stem}{HALVES[half]}{tile}"


def order_plain(size: int) -> Order:
    """Features as they come, eight to a tile."""
    tiles = -(-size // COLUMNS)
    row = np.arange(tiles * COLUMNS)
    return _order(np.where(row < size, row, NOTHING).reshape(tiles, COLUMNS))


@dataclass(frozen=True)
class Heads:
    """Heads dealt out to the four lanes of a stream.

    each   query heads of a lane       keys  heads of keys and values that these read
    width  features of a head in registers, a multiple of 4
    """

    heads: int
    kv_heads: int
    size: int

    @property
    def each(self) -> int:
        return -(-self.heads // PLACES)

    @property
    def width(self) -> int:
        return -(-self.size // 4) * 4

    @property
    def _group(self) -> int:
        return self.heads // self.kv_heads

    @property
    def _even(self) -> bool:
        return self.each % self._group == 0 or self._group % self.each == 0

    @property
    def keys(self) -> int:
        return max(1, self.each // self._group) if self._even else self.each

    def key_of(self, i: int) -> int:
        """Which of a lane's heads of keys its i-th query reads."""
        return i * self.keys // self.each

    def order_queries(self) -> Order:
        """A lane's heads one after the other."""
        lanes = [[place * self.each + i for i in range(self.each)] for place in range(PLACES)]
        return self._deal([[h if h < self.heads else NOTHING for h in row] for row in lanes])

    def order_keys(self) -> Order:
        """The heads of keys and values that a lane's queries read; some stand in several lanes."""
        step = self.each // self.keys
        lanes = []
        for place in range(PLACES):
            queries = [place * self.each + i * step for i in range(self.keys)]
            lanes.append([h // self._group if h < self.heads else NOTHING for h in queries])
        return self._deal(lanes)

    def _deal(self, lanes: list[list[int]]) -> Order:
        within = np.arange(self.width)
        rows = []
        for heads in lanes:
            parts = [
                np.where((within < self.size) & (h != NOTHING), h * self.size + within, NOTHING)
                for h in heads
            ]
            rows.append(np.concatenate(parts))
        table = np.array(rows).reshape(PLACES, -1, 2)  # place, tile, e
        return _order(table.swapaxes(0, 1).reshape(-1, COLUMNS))


def _order(table: Array) -> Order:
    return Order(tuple(tuple(int(f) for f in row) for row in table))


# ---- constants


def take(row: Array, order: Order, rest: int = 0) -> Array:
    """(..., features) -> (..., tiles, columns); `rest` where there is no feature."""
    features = order.array
    return np.where(features != NOTHING, row[..., np.maximum(features, 0)], rest)


def pack_weight(weight: Array, x: Order, y: Order) -> bytes:
    """(rows, columns) int8 -> [tile of y][step of x][lane][two words]: mma's B fragments."""
    rows, steps = y.array, -(-x.tiles // STEP_TILES)
    columns = np.full((steps * STEP_TILES, COLUMNS), NOTHING)
    columns[: x.tiles] = np.where(x.counted, x.array, NOTHING)
    chosen = weight[np.maximum(rows, 0)][..., np.maximum(columns, 0)].astype(np.int8)
    chosen = chosen * (rows != NOTHING)[:, :, None, None] * (columns != NOTHING)
    # y's tile, group, step, register, tile of two, place, e -> y's tile, step, group, place, ...
    parts = chosen.reshape(y.tiles, COLUMNS, steps, 2, 2, PLACES, 2)
    packed = parts.transpose(0, 2, 1, 5, 3, 4, 6)
    return np.ascontiguousarray(packed.astype(np.int8)).tobytes()


def pack_pairs(row: Array, order: Order) -> bytes:
    """(features,) -> [tile][place][two int32]: what a lane adds to, or multiplies by."""
    return take(row, order).astype("<i4").tobytes()


def pack_mask(order: Order) -> bytes:
    """[tile][place]: a word with ones where a feature is to be counted."""
    return (order.counted * -1).astype("<i2").tobytes()


def pack_table(rows: Array, order: Order) -> bytes:
    """(rows, features) int16 -> [row][place][words of all tiles, in lines of 16 bytes]."""
    table = take(rows, order).reshape(len(rows), order.tiles, PLACES, 2).swapaxes(1, 2)
    table = np.pad(table, ((0, 0), (0, 0), (0, -order.tiles % 4), (0, 0)))
    return np.ascontiguousarray(table).astype("<i2").tobytes()


def table_row_bytes(order: Order) -> int:
    """Of pack_table, for one place."""
    return -(-order.tiles // 4) * 16


@dataclass(frozen=True)
class At:
    """A constant's memory, sm or gm, and its byte offset."""

    memory: str
    offset: int

    def fetch(self, width: str, base: str, more: int = 0) -> str:
        """The text of a load at base + offset + more."""
        return f"load{width}({self.memory}, {base}, {self.offset + more})"


def packed(high: str, low: str, bits: int) -> str:
    """The text of two numbers, saturated, in a word."""
    if bits < 16:
        lo, hi = -(1 << bits - 1), (1 << bits - 1) - 1
        high, low = f"clamp32({high}, {lo}, {hi})", f"clamp32({low}, {lo}, {hi})"
    return f"pack16({high}, {low})"
