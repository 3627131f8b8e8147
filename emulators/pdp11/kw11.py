"""The KW11-L line clock: a tick with the mains, 60 or 50 times a second.

    777546 status    bit 7 monitor (it has ticked), bit 6 interrupt enable    vector 100, level 6

Source: KW11-L Line Time Clock Manual, DEC-11-HKWB (1972).
"""

from anachron.emulators.pdp11.cpu import NEVER
from anachron.emulators.pdp11.unibus import Device, Register

STATUS, VECTOR, LEVEL = 0o777546, 0o100, 6
MONITOR, ENABLE = 0o200, 0o100


class Kw11(Device):
    """The line clock."""

    name = "KW11"
    registers = (Register(STATUS),)

    def __init__(self, hertz: int) -> None:
        super().__init__()
        if hertz not in (50, 60):
            raise ValueError(f"line frequency {hertz}: 50 or 60 Hz allowed")
        self.hertz = hertz

    def reset(self) -> None:
        self.bus.poke(STATUS, MONITOR)
        self._plan()

    def _plan(self) -> None:
        """The next tick, unless it would change nothing."""
        silent = self.bus.peek(STATUS) & MONITOR and not self.bus.peek(STATUS) & ENABLE
        n_ticks = self.bus.time_ns * self.hertz // 1_000_000_000 + 1
        self.due = NEVER if silent else -(-n_ticks * 1_000_000_000 // self.hertz)

    def tick(self) -> None:
        self.bus.poke(STATUS, self.bus.peek(STATUS) | MONITOR)
        if self.bus.peek(STATUS) & ENABLE:
            self.bus.request(VECTOR, LEVEL)
        self._plan()

    def write(self, address: int, value: int) -> None:
        """A program can only clear the monitor bit."""
        old = self.bus.peek(STATUS)
        self.bus.poke(STATUS, old & value & MONITOR | value & ENABLE)
        if not value & ENABLE:
            self.bus.withdraw(VECTOR)
        self._plan()
