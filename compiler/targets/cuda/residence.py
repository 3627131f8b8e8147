"""Where a stream kernel's numbers lie: its text names them, and is told at the end.

Constants go to shared memory by rank while there is room, what is left stays in global memory;
buffers are shared; caches are shared if they are small beside it.  In a text, `@Mn@` stands for the
memory of thing n and `@An@` for its offset.

To add a kind of thing: a method that makes one, and its turn in `finish`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from anachron.compiler.targets.cuda.layout import SHARED_BYTES
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.places import LINE, Place, pack_bytes, pack_rows

SHARED_CACHES = 0.5  # of shared memory, at most
MUST, SOON, LATE, NEVER = range(4)  # ranks of constants: what is read oftest is shared first
NAMES = re.compile(r"@([MA])(\d+)@")


@dataclass
class Thing:
    """A constant (content), a buffer or a cache (size alone)."""

    kind: str
    size: int
    content: bytes = b""
    rank: int = MUST
    name: str = ""
    memory: str = "sm"
    offset: int = 0


class Residence:
    """The things of one kernel; places for the general kernels, too."""

    encoder = False

    def __init__(self, rows: int, warps: int, room: int = SHARED_BYTES) -> None:
        self.positions, self.warps, self.room = rows, warps, room
        self._scratch: Place | None = None
        self.things: list[Thing] = []
        self._seen: dict[bytes, int] = {}
        self.values: dict[str, Place] = {}
        self.shared_constants = self.shared_bytes = self.global_bytes = self.spilled = 0

    # ---- making things

    def constant(self, content: bytes, rank: int, name: str = "") -> int:
        """The number of a constant; equal ones are stored once, by the better rank."""
        content += bytes(-len(content) % LINE)
        if content in self._seen:
            number = self._seen[content]
            self.things[number].rank = min(self.things[number].rank, rank)
            return number
        self._seen[content] = len(self.things)
        return self._add(Thing("constant", len(content), content, rank, name))

    def buffer(self, size: int, name: str = "") -> int:
        return self._add(Thing("buffer", -(-size // LINE) * LINE, name=name))

    def cache(self, size: int, name: str = "") -> int:
        """Rows that stay from position to position."""
        return self._add(Thing("cache", -(-size // LINE) * LINE, name=name))

    def _add(self, thing: Thing) -> int:
        self.things.append(thing)
        return len(self.things) - 1

    # ---- places, as layout.py gives them

    def place(self, number: int, bits: int, size: int, rows: int = 1, signed: bool = True) -> Place:
        return Place(f"@M{number}@", f"@A{number}@", bits, size, rows, signed)

    def rows(self, rows: Array, bits: int, rank: int = LATE) -> Place:
        rows = np.atleast_2d(rows)
        number = self.constant(pack_rows(rows, bits), rank)
        return self.place(number, bits, rows.shape[1], len(rows))

    def unsigned(self, table: Array) -> Place:
        return self.place(self.constant(pack_bytes(table), MUST), 8, len(table), signed=False)

    def unsigned_words(self, table: Array) -> Place:
        number = self.constant(pack_rows(table, 16), LATE)
        return self.place(number, 16, len(table), signed=False)

    def packed(self, content: bytes) -> Place:
        return self.place(self.constant(content, LATE), 32, len(content) // 4)

    @property
    def scratch(self) -> Place:
        """A row of words a warp, a word a position."""
        if self._scratch is None:
            plain = Place("", 0, 32, self.positions, self.warps)
            number = self.buffer(plain.n_bytes, "scores")
            self._scratch = self.place(number, 32, self.positions, self.warps)
        return self._scratch

    # ---- deciding

    def finish(self) -> None:
        """Give everything its memory and offset.

        Raises ValueError where the buffers alone are more than a block has.
        """
        buffers = [t for t in self.things if t.kind == "buffer"]
        caches = [t for t in self.things if t.kind == "cache"]
        small = sum(t.size for t in buffers)
        kept = sum(t.size for t in caches)
        if small > self.room:
            raise ValueError(f"its buffers need {small:,} bytes, a block has {self.room:,}")
        shared_caches = small + kept <= self.room and kept <= self.room * SHARED_CACHES
        room = self.room - small - (kept if shared_caches else 0)
        at = 0
        ranked = sorted((t for t in self.things if t.kind == "constant"), key=lambda t: t.rank)
        behind = []
        for thing in ranked:
            if thing.rank < NEVER and at + thing.size <= room:
                thing.memory, thing.offset = "sm", at
                at += thing.size
            else:
                behind.append(thing)
        self.shared_constants = end = at
        for thing in behind:
            thing.memory, thing.offset = "gm", end
            end += thing.size
        for thing in [*buffers, *(caches if shared_caches else [])]:
            thing.memory, thing.offset = "sm", at
            at += thing.size
        self.shared_bytes, self.global_bytes = at, end
        if not shared_caches:
            for thing in caches:
                thing.memory, thing.offset = "gm", self.global_bytes + self.spilled
                self.spilled += thing.size

    def resolve(self, text: str) -> str:
        """A text with every name replaced; caches in global memory are a block's own."""

        def known(found: re.Match[str]) -> str:
            thing = self.things[int(found[2])]
            if found[1] == "M":
                return thing.memory
            if thing.kind == "cache" and thing.memory == "gm":
                return f"add32({thing.offset}, spilled)"
            return str(thing.offset)

        return NAMES.sub(known, text)

    @property
    def blob(self) -> bytes:
        """The content of global memory, with room for one block."""
        return self.content(1)

    def content(self, blocks: int) -> bytes:
        """The content of global memory, with room for so many blocks."""
        content = bytearray(self.global_bytes + blocks * self.spilled)
        for thing in self.things:
            if thing.kind == "constant":
                at = thing.offset
                content[at : at + thing.size] = thing.content
        return bytes(content)
