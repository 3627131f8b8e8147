"""The PC11: a paper-tape reader, 300 characters a second, and a punch, 50.

    777550 reader status   bit 15 error (no tape), 11 busy, 7 done, 6 interrupt enable, 0 go
    777552 reader buffer                                            vector 070, level 4
    777554 punch status    bit 15 error, 7 ready, 6 interrupt enable
    777556 punch buffer                                             vector 074, level 4

Source: PC11 High-Speed Paper-Tape Reader/Punch Manual, DEC-11-HPCA; PDP-11 Peripherals Handbook.
"""

from anachron.emulators.pdp11.cpu import NEVER
from anachron.emulators.pdp11.unibus import Device, Register

READER_STATUS, READER, PUNCH_STATUS, PUNCH = 0o777550, 0o777552, 0o777554, 0o777556
READER_VECTOR, PUNCH_VECTOR, LEVEL = 0o70, 0o74, 4
ERROR, BUSY, DONE, ENABLE, GO = 0o100000, 0o4000, 0o200, 0o100, 1
READER_NS, PUNCH_NS = 1_000_000_000 // 300, 1_000_000_000 // 50


class Pc11(Device):
    """Reader and punch. `tape` is what lies in the reader, `punched` what has come out."""

    name = "PC11"
    registers = (Register(READER_STATUS), Register(READER, tells_read=True),
                 Register(PUNCH_STATUS), Register(PUNCH))

    def __init__(self) -> None:
        super().__init__()
        self.tape = b""
        self.position = 0
        self.punched = bytearray()
        self.reading_until = self.punching_until = NEVER

    def mount(self, tape: bytes) -> None:
        """Put a tape into the reader."""
        self.tape, self.position = bytes(tape), 0
        self.bus.poke(READER_STATUS, self.bus.peek(READER_STATUS) & ~ERROR)

    def reset(self) -> None:
        self.bus.poke(READER_STATUS, 0 if self.position < len(self.tape) else ERROR)
        self.bus.poke(PUNCH_STATUS, DONE)
        self.reading_until = self.punching_until = self.due = NEVER

    def tick(self) -> None:
        if self.reading_until <= self.bus.time_ns:
            self.reading_until = NEVER
            self._read_character()
        if self.punching_until <= self.bus.time_ns:
            self.punching_until = NEVER
            self._set(PUNCH_STATUS, 0, DONE, PUNCH_VECTOR)
        self._plan()

    def _read_character(self) -> None:
        if self.position < len(self.tape):
            self.bus.poke(READER, self.tape[self.position])
            self.position += 1
            self._set(READER_STATUS, BUSY, DONE, READER_VECTOR)
        else:
            self._set(READER_STATUS, BUSY, ERROR, READER_VECTOR)

    def _set(self, status: int, clear: int, bits: int, vector: int) -> None:
        value = self.bus.peek(status) & ~clear | bits
        self.bus.poke(status, value)
        if value & ENABLE:
            self.bus.request(vector, LEVEL)

    def _plan(self) -> None:
        self.due = min(self.reading_until, self.punching_until)

    def read(self, address: int) -> None:
        self.bus.poke(READER_STATUS, self.bus.peek(READER_STATUS) & ~DONE)
        self.bus.withdraw(READER_VECTOR)

    def write(self, address: int, value: int) -> None:
        match address:
            case 0o777550:
                self._enable(READER_STATUS, READER_VECTOR, value, DONE | ERROR)
                if value & GO and not self.bus.peek(READER_STATUS) & BUSY:
                    self._go()
            case 0o777554:
                self._enable(PUNCH_STATUS, PUNCH_VECTOR, value, DONE)
            case 0o777556:
                self.punched.append(value & 0xFF)
                self.bus.poke(PUNCH_STATUS, self.bus.peek(PUNCH_STATUS) & ~DONE)
                self.bus.withdraw(PUNCH_VECTOR)
                self.punching_until = self.bus.time_ns + PUNCH_NS
        self._plan()

    def _go(self) -> None:
        """Fetch the next character; without a tape there is an error at once."""
        self.bus.withdraw(READER_VECTOR)
        self.bus.poke(READER, 0)
        if self.bus.peek(READER_STATUS) & ERROR:
            self._set(READER_STATUS, DONE, ERROR, READER_VECTOR)
        else:
            self._set(READER_STATUS, DONE, BUSY, READER_VECTOR)
            self.bus.withdraw(READER_VECTOR)
            self.reading_until = self.bus.time_ns + READER_NS

    def _enable(self, status: int, vector: int, value: int, ready: int) -> None:
        old = self.bus.peek(status)
        self.bus.poke(status, old & ~ENABLE | value & ENABLE)
        if not value & ENABLE:
            self.bus.withdraw(vector)
        elif old & ready and not old & ENABLE:
            self.bus.request(vector, LEVEL)
