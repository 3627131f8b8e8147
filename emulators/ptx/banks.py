"""Accesses to shared memory -> the wavefronts that its 32 banks need for them.

A wavefront gives each bank's word to all lanes that want it.  An access of 8 or 16 bytes a lane is
taken half a warp or a quarter at a time; whether parts that want the same words share wavefronts
is not in the manual, so both are counted.

Source: CUDA C++ Programming Guide, "Shared Memory" of compute capability 5.x and later.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from anachron.emulators.ptx.memory import GLOBAL_BASE, WARP
from anachron.emulators.ptx.registers import Array

BANKS, BYTES = 32, 4


class Wavefronts:
    """A watch for a launch: how often each (ld or st, bytes) came, and how many wavefronts it
    took, [where parts share them, where they do not]."""

    def __init__(self) -> None:
        self.accesses: dict[tuple[str, int], int] = defaultdict(int)
        self.taken: dict[tuple[str, int], Array] = defaultdict(lambda: np.zeros(2, np.int64))

    def __call__(self, address: Array, size: int, thread: Array, instruction: object) -> None:
        if address[0] >= GLOBAL_BASE:
            return
        name = "st" if " st." in f" {instruction}" else "ld"
        for warp in np.unique(thread // WARP):
            mine = thread // WARP == warp
            lanes, words = thread[mine] % WARP, address[mine] // BYTES
            self.accesses[name, size] += 1
            self.taken[name, size] += count_wavefronts(words, lanes, max(1, size // BYTES))

    def mean(self, name: str, size: int) -> tuple[float, float]:
        """Of an access, shared and not."""
        count = self.accesses.get((name, size), 0)
        if not count:
            return 1.0, float(max(1, size // BYTES))
        least, most = self.taken[name, size] / count
        return float(least), float(most)


def count_wavefronts(words: Array, lanes: Array, width: int) -> Array:
    """[least, most] for one instruction: lanes that start at these words and take `width` each."""
    every = words[:, None] + np.arange(width)
    part = lanes * width // WARP
    groups = [every[part == p] for p in range(width)]
    return np.array([_most_of_a_bank(every), sum(map(_most_of_a_bank, groups))])


def _most_of_a_bank(words: Array) -> int:
    if not words.size:
        return 0
    return int(np.bincount(np.unique(words) % BANKS, minlength=BANKS).max())
