"""Address spaces with bounds, and the record of who touched which byte since the last barrier.

Global addresses start at GLOBAL_BASE, with a gap that belongs to nobody behind every array; shared
ones start at 0, and again at SHARED_WINDOW where the address is generic.  Every access is checked:
inside an array, and aligned.

Two accesses to a byte race if different threads make them, one is a store, and nothing orders
them: no barrier of the block lies between, nor, in one warp, a barrier of the warp.  Nothing orders
two blocks.  Loads of shared bytes that nobody has stored to are noted apart: a kernel may make them
where it drops what it gets.
Source: PTX ISA 9.0, sections 5.1 (state spaces), 8 (memory consistency), 9.7.13 (barriers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anachron.emulators.ptx.syntax import PtxError

Array = np.ndarray
Watch = Callable[[Array, int, Array, object], None]

GLOBAL_BASE = 1 << 32
SHARED_WINDOW = 1 << 48
GAP = 256  # bytes between arrays
WARP = 32
MANY = -1
MOST_RACES = 1000  # remembered; the first one is enough to fail a kernel
WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


@dataclass(frozen=True)
class Race:
    """Two threads and a byte, or a thread and a byte that nobody has set."""

    space: str
    address: int
    thread: int
    instruction: str  # the later of the two accesses

    def __str__(self) -> str:
        return f"{self.space} byte {self.address}: thread {self.thread} races at {self.instruction}"


class Clock:
    """How many barriers the block, and each of its warps, has passed."""

    def __init__(self, threads: int) -> None:
        self.block = 1
        self.warps = np.zeros(threads // WARP, np.int64)
        self.thread = np.arange(threads)
        self.warp = self.thread // WARP


class Shadow:
    """For each byte of a space: the last store, and the loads since the last barrier."""

    def __init__(self, space: str, size: int, clock: Clock, races: list[Race]) -> None:
        self.space, self.clock, self.races = space, clock, races
        self.unset: list[Race] = []
        self.writer, self.write_block, self.write_warp = (np.zeros(size, np.int64) for _ in "123")
        self.reader, self.reader_warp = (np.zeros(size, np.int64) for _ in "12")
        self.read_block, self.read_warp = (np.zeros(size, np.int64) for _ in "12")

    def load(self, at: Array, thread: Array, instruction: object) -> None:
        """at (threads, bytes): offsets; thread (threads, 1)."""
        clock = self.clock
        warp = thread // WARP
        now = clock.warps[warp]
        if self.space == "shared":
            self._report(self.write_block[at] == 0, at, thread, instruction, self.unset)
        self._report(self._after_store(at, thread), at, thread, instruction)
        seen = self.read_block[at] == clock.block
        others = seen & (self.reader_warp[at] != warp)
        lanes = seen & ~others & (self.read_warp[at] == now) & (self.reader[at] != thread)
        self.reader[at] = np.where(lanes, MANY, thread)
        self.reader_warp[at] = np.where(others, MANY, warp)
        # One instruction may load a byte for many threads: the last one is what was kept.
        self.reader[at[(self.reader[at] != thread)]] = MANY
        self.reader_warp[at[(self.reader_warp[at] != warp)]] = MANY
        self.read_block[at], self.read_warp[at] = clock.block, now

    def store(self, at: Array, thread: Array, instruction: object) -> None:
        """As load."""
        clock = self.clock
        warp = thread // WARP
        now = clock.warps[warp]
        seen = self.read_block[at] == clock.block
        same = self.reader_warp[at] == warp
        read = seen & (~same | (self.read_warp[at] == now) & (self.reader[at] != thread))
        raced = read | self._after_store(at, thread)
        self.writer[at] = thread
        raced |= self.writer[at] != thread  # two stores of one instruction to one byte
        self.write_block[at], self.write_warp[at] = clock.block, now
        self._report(raced, at, thread, instruction)

    def _after_store(self, at: Array, thread: Array) -> Array:
        writer = self.writer[at]
        mine = writer // WARP == thread // WARP
        unordered = ~mine | (self.write_warp[at] == self.clock.warps[thread // WARP])
        return (self.write_block[at] == self.clock.block) & (writer != thread) & unordered

    def _report(
        self,
        raced: Array,
        at: Array,
        thread: Array,
        instruction: object,
        into: list[Race] | None = None,
    ) -> None:
        into = self.races if into is None else into
        if raced.any() and len(into) < MOST_RACES:
            row, byte = np.argwhere(raced)[0]
            race = Race(self.space, int(at[row, byte]), int(thread[row, 0]), str(instruction))
            into.append(race)


class Blocks:
    """Which bytes of global memory the blocks so far have touched: nothing orders two blocks."""

    def __init__(self, size: int, races: list[Race]) -> None:
        self.stored, self.loaded, self.races = np.zeros(size, bool), np.zeros(size, bool), races

    def add(self, number: int, shadow: Shadow) -> None:
        """A block that is done."""
        stored, loaded = shadow.write_block > 0, shadow.read_block > 0
        raced = stored & (self.stored | self.loaded) | loaded & self.stored
        if raced.any() and len(self.races) < MOST_RACES:
            byte = int(raced.argmax())
            thread = int((shadow.writer if stored[byte] else shadow.reader)[byte])
            self.races.append(Race(shadow.space, byte, thread, f"block {number}, after another"))
        self.stored |= stored
        self.loaded |= loaded


class Space:
    """Bytes at addresses from base on; `valid` tells which may be touched.

    watch  is told of every access: addresses, bytes of each, threads, instruction
    """

    def __init__(
        self,
        name: str,
        base: int,
        valid: Array,
        shadow: Shadow | None,
        watch: Watch | None = None,
    ) -> None:
        self.name, self.base, self.valid, self.shadow = name, base, valid, shadow
        self.watch = watch
        self.bytes = np.zeros(len(valid), np.uint8)
        self.views = {
            width: self.bytes[: len(valid) // width * width].view(word)
            for width, word in WORDS.items()
        }

    def find(self, address: Array, width: int, count: int, instruction: object) -> Array:
        """Offsets in units of width; raises PtxError out of bounds and where not aligned."""
        at = address - self.base
        size = width * count
        inside = len(at) == 0 or at.min() >= 0 and at.max() + size <= len(self.bytes)
        if not inside or not (self.valid[at].all() and self.valid[at + size - 1].all()):
            wrong = [int(a) for a in address.tolist() if not self._holds(a - self.base, size)]
            raise PtxError(f"{instruction}: {self.name} address {wrong[0]} is outside every array")
        if (at % size).any():
            raise PtxError(f"{instruction}: a {self.name} address is not a multiple of {size}")
        return at // width

    def _holds(self, at: int, size: int) -> bool:
        return 0 <= at <= len(self.bytes) - size and bool(self.valid[at : at + size].all())

    def load(
        self, address: Array, width: int, count: int, thread: Array, instruction: object
    ) -> list[Array]:
        """count words of each thread's address, as unsigned integers."""
        at = self.find(address, width, count, instruction)
        if self.shadow:
            offsets = at[:, None] * width + np.arange(width * count)
            self.shadow.load(offsets, thread[:, None], instruction)
        if self.watch:
            self.watch(address, width * count, thread, instruction)
        return [self.views[width][at + i] for i in range(count)]

    def store(
        self, address: Array, words: Sequence[Array], thread: Array, instruction: object
    ) -> None:
        """Each thread's words to its address."""
        width = words[0].itemsize
        at = self.find(address, width, len(words), instruction)
        if self.shadow:
            offsets = at[:, None] * width + np.arange(width * len(words))
            self.shadow.store(offsets, thread[:, None], instruction)
        if self.watch:
            self.watch(address, width * len(words), thread, instruction)
        for i, word in enumerate(words):
            self.views[width][at + i] = word


def place_arrays(arrays: Sequence[Array]) -> tuple[list[int], Array]:
    """Global addresses of arrays, and which bytes behind GLOBAL_BASE are theirs."""
    addresses, end = [], 0
    for array in arrays:
        addresses.append(GLOBAL_BASE + end)
        end += -(-array.nbytes // GAP) * GAP + GAP
    valid = np.zeros(end, bool)
    for address, array in zip(addresses, arrays, strict=True):
        valid[address - GLOBAL_BASE :][: array.nbytes] = True
    return addresses, valid
