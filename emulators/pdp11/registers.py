"""What a person sees of a PDP-11: its registers by name, its memory by words."""

from collections.abc import Iterator, MutableMapping
from typing import Any, Protocol

import numpy as np

from anachron.emulators.pdp11 import cpu

REGISTER_NAMES = ("r0", "r1", "r2", "r3", "r4", "r5", "sp", "pc", "psw")


class Processor(Protocol):
    """Whose registers they are."""

    mem: np.ndarray

    def get(self, name: str) -> int: ...
    def put(self, name: str, value: int) -> None: ...
    def set_status(self, value: int) -> None: ...


class Registers(MutableMapping[str, int]):
    """r0 to r5, sp, pc and psw as numbers."""

    def __init__(self, machine: Processor) -> None:
        self._machine = machine

    def _check(self, name: str) -> None:
        if name not in REGISTER_NAMES:
            raise KeyError(f"{name}: the registers are {' '.join(REGISTER_NAMES)}")

    def __getitem__(self, name: str) -> int:
        self._check(name)
        get = self._machine.get
        if name == "pc":
            return get("pc")
        if name == "psw":
            nz = get("nz")
            return (get("psw") | (nz & 0xFFFF == 0) << 2 | (nz & 0x18000 != 0) << 3
                    | get("v") << 1 | get("c"))
        return int(self._machine.mem[cpu.R + REGISTER_NAMES.index(name)])

    def __setitem__(self, name: str, value: int) -> None:
        self._check(name)
        value = int(value) & 0xFFFF
        if name == "pc":
            self._machine.put("pc", value)
        elif name == "psw":
            self._machine.set_status(value)
        else:
            self._machine.mem[cpu.R + REGISTER_NAMES.index(name)] = value

    def __delitem__(self, name: str) -> None:
        raise TypeError("a register cannot be taken out")

    def __iter__(self) -> Iterator[str]:
        return iter(REGISTER_NAMES)

    def __len__(self) -> int:
        return len(REGISTER_NAMES)

    def __repr__(self) -> str:
        flags = "".join(letter if self["psw"] >> bit & 1 else "."
                        for bit, letter in zip((3, 2, 1, 0), "NZVC", strict=True))
        return " ".join(f"{name}={self[name]:06o}" for name in REGISTER_NAMES) + f" {flags}"


class Words:
    """The memory by words: machine.word[0o1000]; slices by byte addresses, both even."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def _index(self, where: int | slice) -> int | slice:
        if not isinstance(where, slice):
            if where & 1:
                raise ValueError(f"word at {where:o}: words lie at even addresses")
            return where >> 1
        if where.step is not None or (where.start or 0) & 1 or (where.stop or 0) & 1:
            raise ValueError("a slice of words: even addresses, no step")
        half = (None if bound is None else bound >> 1 for bound in (where.start, where.stop))
        return slice(*half)

    def __getitem__(self, where: int | slice) -> Any:
        value = self._words[self._index(where)]
        return value if isinstance(where, slice) else int(value)

    def __setitem__(self, where: int | slice, value: Any) -> None:
        self._words[self._index(where)] = np.asarray(value, np.int64) & 0xFFFF

    def __len__(self) -> int:
        return len(self._words)
