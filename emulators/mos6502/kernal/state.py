"""The machine as the KERNAL's services see it: memory, registers, time, and what they keep."""

from collections.abc import MutableMapping
from copy import deepcopy
from typing import Any, Protocol

from anachron.emulators.mos6502.kernal.channels import Channels
from anachron.emulators.mos6502.kernal.editor import Editor
from anachron.emulators.mos6502.keyboard import Keyboard

STATUS, STOP_FLAG, INPUT_DEVICE, OUTPUT_DEVICE, JIFFIES = 0x90, 0x91, 0x99, 0x9A, 0xA0
CARRY, ZERO, INTERRUPTS_OFF, NEGATIVE = 1, 2, 4, 0x80


class Machine(Protocol):
    """What the services need of a machine."""

    ntsc: bool

    @property
    def ram(self) -> memoryview: ...

    @property
    def colour(self) -> memoryview: ...

    @property
    def registers(self) -> MutableMapping[str, int]: ...

    @property
    def cycles(self) -> int: ...

    def peek(self, address: int) -> int:
        """A byte as the processor reads it."""

    def poke(self, address: int, value: int) -> None:
        """Store a byte as the processor does."""

    def charge(self, cycles: int) -> None:
        """Let cycles pass without an instruction."""


class Kernal:
    """The services' own state for one machine, its keyboard and its drive."""

    def __init__(self, machine: Machine, keys: Keyboard) -> None:
        self.machine = machine
        self.ram = machine.ram
        self.keys = keys
        self.channels = Channels()
        self.editor = Editor(machine)
        self.direct = bytearray()  # the line being typed at READY

    def state(self) -> dict[str, Any]:
        """What is not in the machine's memory, for a snapshot."""
        return deepcopy({"direct": self.direct, "files": self.channels.files,
                         "input": self.channels.input})

    def restore(self, state: dict[str, Any]) -> None:
        """Come back to a state."""
        state = deepcopy(state)
        self.direct, self.channels.files = state["direct"], state["files"]
        self.channels.input = state["input"]

    def get(self, name: str) -> int:
        return int(self.machine.registers[name])

    def set(self, **values: int) -> None:
        for name, value in values.items():
            self.machine.registers[name] = value

    def flags(self, mask: int, value: int) -> None:
        """Change some bits of the status register."""
        self.set(p=self.get("p") & ~mask & 0xFF | value & mask)

    def answer(self, value: int, carry: bool = False) -> None:
        """A value in A, with the flags of loading it, and the carry."""
        self.set(a=value)
        self.flags(CARRY | ZERO | NEGATIVE,
                   carry * CARRY | (value == 0) * ZERO | value & NEGATIVE)

    def fail(self, number: int) -> None:
        self.answer(number, carry=True)

    def pointer(self, at: int) -> int:
        return self.ram[at] | self.ram[at + 1] << 8

    def set_pointer(self, at: int, value: int) -> None:
        self.ram[at], self.ram[at + 1] = value & 0xFF, value >> 8 & 0xFF

    def print(self, codes: bytes) -> None:
        """PETSCII to the screen."""
        self.editor.hide_cursor()
        for code in codes:
            self.editor.print(code)
