"""What loads and stores ask of the memories: wavefronts of shared memory, sectors of global memory.

A warp's access of a word a thread takes one wavefront, of two words two, of four words four, if no
two threads want different words of one bank (banks.py); each such conflict takes one more.  Global
memory moves in sectors of 32 bytes.

    traffic = Traffic()
    kernel.launch(..., watch=traffic)
    traffic.wavefronts, traffic.conflicts, traffic.sectors["read"]

Source: CUDA C++ Programming Guide, "Shared Memory" and "Global Memory" of compute capability 5.x
and later.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from anachron.emulators.ptx.banks import BANKS, BYTES, count_wavefronts
from anachron.emulators.ptx.memory import GLOBAL_BASE, WARP
from anachron.emulators.ptx.registers import Array

SECTOR = 32


class Traffic:
    """A watch for a launch: sums over all its accesses.

    wavefronts  of shared memory           conflicts  those of them that conflicts cost
    sectors     of global memory, read and written
    """

    def __init__(self) -> None:
        self.wavefronts = self.conflicts = 0
        self.sectors: Counter[str] = Counter()

    def __repr__(self) -> str:
        read, written = self.sectors["read"], self.sectors["written"]
        return (
            f"Traffic({self.wavefronts:,} wavefronts of shared memory, {self.conflicts:,} for "
            f"conflicts; {read:,} sectors read, {written:,} written)"
        )

    def __call__(self, address: Array, size: int, thread: Array, instruction: object) -> None:
        if address[0] >= GLOBAL_BASE:
            parts = address[:, None] + np.arange(0, size, min(size, SECTOR))
            keys = ((thread // WARP).astype(np.int64)[:, None] << 44) + parts // SECTOR
            way = "written" if " st." in f" {instruction}" else "read"
            self.sectors[way] += len(np.unique(keys))
            return
        width = max(1, size // BYTES)
        for warp in np.unique(thread // WARP):
            mine = thread // WARP == warp
            words, lanes = address[mine] // BYTES, thread[mine] % WARP
            taken = int(count_wavefronts(words, lanes, width)[1])
            part = lanes * width // WARP
            every = [np.unique(words[part == p, None] + np.arange(width)) for p in range(width)]
            self.wavefronts += taken
            self.conflicts += taken - sum(-(-len(some) // BANKS) for some in every)
