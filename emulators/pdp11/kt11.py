"""Memory management, 18 bits: the registers, and the processor's table of pages made from them.

    772300-772316 kernel page descriptors    772340-772356 kernel page addresses
    777600-777616 user page descriptors      777640-777656 user page addresses
    777572 SR0, 777574 SR1 (0 on this model), 777576 SR2

The translation itself is in cpu.py: an address to which `place` adds ELSEWHERE is looked at there,
in the registers. What `place` says outright is only what these allow without a doubt.
Source: EK-KD11E-TM-001, section 4.12; PDP-11 Processor Handbook (1976), chapter 6.
"""

import numpy as np

from anachron.emulators.pdp11 import cpu
from anachron.emulators.pdp11.unibus import Device, Register

SR0, SR1, SR2 = 0o777572, 0o777574, 0o777576
PDR_BITS, PAR_BITS = 0o077516, 0o007777  # that exist; SIMH's masks for the 11/34
PDR_WRITABLE = PDR_BITS & ~cpu.WRITTEN
SR0_WRITABLE = cpu.ABORTS | cpu.MAINTENANCE | cpu.ENABLE
PAGES = tuple(range(0, 16, 2))
N_BLOCKS = 1 << 7  # of 64 bytes, in a page


class Kt11(Device):
    """Memory management; `table` is the processor's `place`."""

    name = "KT11"
    registers = (
        *(Register(base + page) for base in (cpu.KERNEL_PDR, cpu.USER_PDR) for page in PAGES),
        *(Register(base + cpu.PAR_OFFSET + page) for base in (cpu.KERNEL_PDR, cpu.USER_PDR)
          for page in PAGES),
        Register(SR0), Register(SR1), Register(SR2))

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.table = table
        table[:] = cpu.ELSEWHERE

    def state(self) -> dict[str, object]:
        return {"due": self.due}

    @property
    def enabled(self) -> bool:
        return bool(self.bus.peek(SR0) & (cpu.ENABLE | cpu.MAINTENANCE))

    @property
    def maintenance(self) -> bool:
        return self.bus.peek(SR0) & (cpu.ENABLE | cpu.MAINTENANCE) == cpu.MAINTENANCE

    def space(self, psw: int) -> int:
        """Where the pages for this status lie in the table, as the processor's `space`."""
        if self.maintenance:
            return cpu.UNRELOCATED
        return {0: 0, 3: cpu.SPACE}.get(psw >> 14, cpu.NO_SUCH_MODE)

    def reset(self) -> None:
        self.bus.poke(SR0, 0)

    def read(self, address: int) -> None:
        """The processor has set W in a page descriptor."""
        self.rebuild()

    def write(self, address: int, value: int) -> None:
        if address == SR0:
            old = self.bus.peek(SR0)
            self.bus.poke(SR0, old & ~SR0_WRITABLE | value & SR0_WRITABLE)
            if value & cpu.ABORTS and not old & cpu.ABORTS:
                self.bus.poke(SR2, self.bus.instruction)
        elif address in (SR1, SR2):
            return
        elif address & cpu.PAR_OFFSET:
            self.bus.poke(address, value & PAR_BITS)
            pdr = address - cpu.PAR_OFFSET
            self.bus.poke(pdr, self.bus.peek(pdr) & ~cpu.WRITTEN)
        else:
            self.bus.poke(address, value & PDR_WRITABLE)
        self.rebuild()

    def rebuild(self) -> None:
        """The processor's table anew, from all registers."""
        self.table[:] = cpu.ELSEWHERE
        if not self.enabled:
            return
        self.table[cpu.UNRELOCATED:] = 0
        for half in (cpu.UNRELOCATED, cpu.UNRELOCATED + cpu.WRITES):
            self.table[half + 7 * N_BLOCKS:half + 8 * N_BLOCKS] = cpu.IO_PAGE & ~0xFFFF
        blocks = np.arange(N_BLOCKS)
        for base, space in ((cpu.KERNEL_PDR, 0), (cpu.USER_PDR, cpu.SPACE)):
            for page in range(8):
                pdr = self.bus.peek(base + 2 * page)
                start = self.bus.peek(base + cpu.PAR_OFFSET + 2 * page) << 6
                bound = pdr >> 8 & 0o177
                inside = blocks >= bound if pdr & 8 else blocks <= bound
                if pdr & 6 not in (2, 6) or start + 0o20000 > cpu.IO_PAGE:
                    continue
                at = space + N_BLOCKS * page + blocks[inside]
                self.table[at] = start - (page << 13)
                if pdr & 6 == 6 and pdr & cpu.WRITTEN:
                    self.table[at + cpu.WRITES] = start - (page << 13)
