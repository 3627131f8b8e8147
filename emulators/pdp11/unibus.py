"""The Unibus between the processor and its devices: registers, interrupts, and time.

A device is a class with `registers`, and `write`, `read`, `tick` and `reset` as far as it needs
them. What a program reads in a register is the word that lies there in the processor's memory
(`peek` and `poke`): a device keeps it up to date. `write` comes behind the instruction that wrote;
`read` only for registers that say so. A device that will have something to do sets `due`, and
`tick` comes when that time is reached. It interrupts by `request`.

To add a device: a module with such a class, and its name in machines.py.
Source: PDP-11 Peripherals Handbook (1976), chapter 5, the Unibus.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anachron.emulators.pdp11 import cpu


@dataclass(frozen=True)
class Register:
    """A word of the I/O page."""

    address: int
    tells_read: bool = False  # the device is told when it is read


class Bus(Protocol):
    """What a device sees of the machine it is in."""

    @property
    def time_ns(self) -> int: ...
    @property
    def instruction(self) -> int: ...  # the address of the one that runs
    def peek(self, address: int) -> int: ...
    def poke(self, address: int, value: int) -> None: ...
    def request(self, vector: int, level: int) -> None: ...
    def withdraw(self, vector: int) -> None: ...


class Device:
    """What all devices have: nothing to do, unless they say otherwise."""

    name = "DEVICE"  # also names its latency in the timing rows
    registers: tuple[Register, ...] = ()

    def __init__(self) -> None:
        self.due = cpu.NEVER
        self.bus: Bus

    def reset(self) -> None:
        """Power, INIT, or the RESET instruction."""

    def read(self, address: int) -> None:
        """A register that tells has been read; its value has been given."""

    def write(self, address: int, value: int) -> None:
        """A register, always the whole word, is to be what the program wrote."""

    def tick(self) -> None:
        """The time `due` has come."""

    def state(self) -> dict[str, object]:
        """What a snapshot keeps: the plain values of its attributes."""
        return {name: value.copy() if isinstance(value, (list, bytearray)) else value
                for name, value in vars(self).items() if name != "bus"}


@dataclass(frozen=True)
class Request:
    """A device wants the processor."""

    vector: int
    level: int


class Requests:
    """The pending interrupts; of one level, the first that asked is the first served."""

    def __init__(self) -> None:
        self.pending: list[Request] = []

    def add(self, vector: int, level: int) -> None:
        if all(request.vector != vector for request in self.pending):
            self.pending.append(Request(vector, level))

    def remove(self, vector: int) -> None:
        self.pending = [request for request in self.pending if request.vector != vector]

    @property
    def level(self) -> int:
        return max((request.level for request in self.pending), default=0)

    def take(self) -> int:
        """The vector of the most urgent request, which is then served."""
        chosen = max(self.pending, key=lambda request: request.level)
        self.pending.remove(chosen)
        return chosen.vector


def io_page(devices: list[Device], latencies: Mapping[str, int], has_psw: bool) -> np.ndarray:
    """The processor's table `io`: what answers where, and how fast."""
    page = np.zeros(0o10000, np.uint16)

    def put(address: int, flags: int, name: str) -> None:
        latency = cpu.LATENCY + latencies.get(name, 0)
        page[address >> 1 & 0o7777] = latency << cpu.LATENCY_SHIFT | cpu.ANSWERS | flags

    for device in devices:
        for register in device.registers:
            put(register.address, cpu.TELLS_READ if register.tells_read else 0, device.name)
    if has_psw:
        put(0o777776, cpu.IS_PSW, "PSW")
    return page
