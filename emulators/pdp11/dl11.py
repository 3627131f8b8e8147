"""The DL11 console: a serial line to a Teletype, a receiver and a transmitter of one character.

    777560 receiver status    bit 7 done, bit 6 interrupt enable     vector 060, level 4
    777562 receiver buffer
    777564 transmitter status bit 7 ready, bit 6 interrupt enable    vector 064, level 4
    777566 transmitter buffer

With a speed (`baud`), a character takes ten bits' time each way; with 0, none at all. Reading the
receiver's buffer clears done, which lets the next character come.
Source: DL11 Asynchronous Line Interface Manual, DEC-11-HDLAA (1972); PDP-11 Peripherals Handbook.
"""

from collections import deque

from anachron.emulators.pdp11.cpu import NEVER
from anachron.emulators.pdp11.unibus import Device, Register

RECEIVER_STATUS, RECEIVER, TRANSMITTER_STATUS, TRANSMITTER = 0o777560, 0o777562, 0o777564, 0o777566
RECEIVER_VECTOR, TRANSMITTER_VECTOR, LEVEL = 0o60, 0o64, 4
DONE, ENABLE = 0o200, 0o100
BITS = 10  # start, eight of data, stop


class Dl11(Device):
    """The console line. `typed` waits to be received, `printed` is what has been sent."""

    name = "DL11"
    registers = (Register(RECEIVER_STATUS), Register(RECEIVER, tells_read=True),
                 Register(TRANSMITTER_STATUS), Register(TRANSMITTER))

    def __init__(self, baud: int) -> None:
        super().__init__()
        if not 0 <= baud <= 1_000_000:
            raise ValueError(f"baud {baud}: 0 (no waiting) to 1000000 allowed")
        self.character_ns = BITS * 1_000_000_000 // baud if baud else 0
        self.typed: deque[int] = deque()
        self.printed = bytearray()
        self.receiving_at = self.sending_until = NEVER

    def reset(self) -> None:
        self.bus.poke(RECEIVER_STATUS, 0)
        self.bus.poke(TRANSMITTER_STATUS, DONE)
        self.sending_until = NEVER
        self._listen()

    def type(self, data: bytes) -> None:
        """Characters for the receiver, in their turn."""
        self.typed.extend(data)
        self._listen()

    def _listen(self) -> None:
        """If a character waits and the receiver is free, it is on its way."""
        free = not self.bus.peek(RECEIVER_STATUS) & DONE
        if not self.typed or not free:
            self.receiving_at = NEVER
        elif self.receiving_at == NEVER:
            self.receiving_at = self.bus.time_ns + self.character_ns
        self.due = min(self.receiving_at, self.sending_until)

    def tick(self) -> None:
        if self.receiving_at <= self.bus.time_ns:
            self.receiving_at = NEVER
            self.bus.poke(RECEIVER, self.typed.popleft())
            self._finish(RECEIVER_STATUS, RECEIVER_VECTOR)
        if self.sending_until <= self.bus.time_ns:
            self.sending_until = NEVER
            self._finish(TRANSMITTER_STATUS, TRANSMITTER_VECTOR)
        self._listen()

    def _finish(self, status: int, vector: int) -> None:
        self.bus.poke(status, self.bus.peek(status) | DONE)
        if self.bus.peek(status) & ENABLE:
            self.bus.request(vector, LEVEL)

    def read(self, address: int) -> None:
        self.bus.poke(RECEIVER_STATUS, self.bus.peek(RECEIVER_STATUS) & ~DONE)
        self.bus.withdraw(RECEIVER_VECTOR)
        self._listen()

    def write(self, address: int, value: int) -> None:
        match address:
            case 0o777566:
                self.printed.append(value & 0xFF)
                if self.character_ns:
                    status = self.bus.peek(TRANSMITTER_STATUS)
                    self.bus.poke(TRANSMITTER_STATUS, status & ~DONE)
                    self.bus.withdraw(TRANSMITTER_VECTOR)
                    self.sending_until = self.bus.time_ns + self.character_ns
                elif self.bus.peek(TRANSMITTER_STATUS) & ENABLE:
                    self.bus.request(TRANSMITTER_VECTOR, LEVEL)
                self._listen()
            case 0o777560:
                self._enable(RECEIVER_STATUS, RECEIVER_VECTOR, value)
            case 0o777564:
                self._enable(TRANSMITTER_STATUS, TRANSMITTER_VECTOR, value)

    def _enable(self, status: int, vector: int, value: int) -> None:
        """Interrupt enable: if done already, it interrupts now."""
        old = self.bus.peek(status)
        self.bus.poke(status, old & ~ENABLE | value & ENABLE)
        if not value & ENABLE:
            self.bus.withdraw(vector)
        elif old & DONE and not old & ENABLE:
            self.bus.request(vector, LEVEL)
