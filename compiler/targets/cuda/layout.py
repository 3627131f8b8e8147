"""Where a model's numbers lie: values and rows of keys in shared memory, constants where they fit.

Shared memory starts with as many constants as there is room for, in the order of the ops; the
global memory that the kernel is given starts with all of them, so that one loop copies them.  What
does not fit stays in global memory, behind.

To add a constant's form: a method of Layout, and its use in lowering.py.
"""

from __future__ import annotations

import numpy as np

from anachron.compiler.fixed import FixedModel
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.places import LINE, Place, pack_bytes, pack_rows

SHARED_BYTES = 227 * 1024  # of a block on sm_90: CUDA C++ Programming Guide, table 28


class Layout:
    """Places of values and constants; `blob` is the content of global memory."""

    def __init__(self, fixed: FixedModel, warps: int, room: int = SHARED_BYTES) -> None:
        self.fixed = fixed
        self.encoder = fixed.generation.mode == "sequence"
        attended = {n for op in fixed.ops if op.contract == "attention" for n in op.inputs[1:]}
        sizes = {
            op.name: Place(
                "sm",
                0,
                op.value.format.bits,
                op.value.size,
                fixed.seq_len if self.encoder or op.name in attended else 1,
            )
            for op in fixed.ops
        }
        scratch = Place("sm", 0, 32, fixed.seq_len, warps)
        small = scratch.n_bytes + sum(p.n_bytes for n, p in sizes.items() if n not in attended)
        caches = sum(p.n_bytes for n, p in sizes.items() if n in attended)
        if small > room:
            raise ValueError(f"{fixed.name}: its values need {small:,} bytes, a block has {room:,}")
        self.cached = small + caches <= room
        self.constant_room = room - small - (caches if self.cached else 0)
        self._sizes, self._attended, self._scratch = sizes, attended, scratch
        self._chunks: list[bytes] = []
        self._seen: dict[bytes, tuple[str, int]] = {}
        self.constant_bytes = 0  # of all
        self.shared_constants = 0  # of those that are copied
        self.values: dict[str, Place] = {}
        self.scratch = scratch

    def finish(self) -> None:
        """Place the values, once every constant has its place."""
        shared, behind = self.shared_constants, self.constant_bytes
        for name, place in [*self._sizes.items(), ("", self._scratch)]:
            spilled = name in self._attended and not self.cached
            at = behind if spilled else shared
            memory = "gm" if spilled else "sm"
            self.values[name] = Place(memory, at, place.bits, place.size, place.rows)
            if spilled:
                behind += place.n_bytes
            else:
                shared += place.n_bytes
        self.scratch = self.values.pop("")
        self.shared_bytes, self.global_bytes = shared, behind

    @property
    def blob(self) -> bytes:
        """All constants, and zeros for what else is in global memory."""
        content = b"".join(self._chunks)
        return content + bytes(self.global_bytes - len(content))

    def add(self, content: bytes) -> tuple[str, int]:
        """Memory and offset of a constant's bytes; equal ones are stored once."""
        content += bytes(-len(content) % LINE)
        if content not in self._seen:
            at = self.constant_bytes
            together = self.shared_constants == at  # the shared ones are the first ones
            if together and at + len(content) <= self.constant_room:
                self.shared_constants = at + len(content)
                self._seen[content] = ("sm", at)
            else:
                self._seen[content] = ("gm", at)
            self.constant_bytes = at + len(content)
            self._chunks.append(content)
        return self._seen[content]

    def rows(self, rows: Array, bits: int) -> Place:
        """A constant of rows of signed numbers."""
        rows = np.atleast_2d(rows)
        memory, at = self.add(pack_rows(rows, bits))
        return Place(memory, at, bits, rows.shape[1], len(rows))

    def unsigned(self, table: Array) -> Place:
        """A constant row of bytes without sign."""
        memory, at = self.add(pack_bytes(table))
        return Place(memory, at, 8, len(table), signed=False)

    def unsigned_words(self, table: Array) -> Place:
        """A constant row of 16 bits without sign."""
        memory, at = self.add(pack_rows(table, 16))
        return Place(memory, at, 16, len(table), signed=False)

    def packed(self, content: bytes) -> Place:
        """A constant in a form of its own, of which only the offset is used."""
        memory, at = self.add(content)
        return Place(memory, at, 32, len(content) // 4)
