"""The targets (code generators) and the machines they build for: two tables.

To add a machine: a row in MACHINES.  To add a CPU: a row in TARGETS and three folders of its name,
here, in emulators/ and in kernels/.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from anachron.compiler.sampling import Sampling

FEEDBACK = ("border", "sound")  # what a C64 can show and play as it works


@dataclass(frozen=True)
class Machine:
    """A thing with a clock, a memory and a year.

    clock_hz is None where time is not counted in clocks (the PDP-11: nanoseconds).  memory_bytes
    is what programs may use; options go to the emulator's `create`.
    """

    name: str
    target: str
    title: str
    year: int
    clock_hz: int | None
    memory_bytes: int | None
    options: tuple[tuple[str, object], ...] = ()
    multiplies: bool = True  # has a multiply instruction
    counted: str = ""  # what is counted where that is no time
    expanded: bool = False  # has a RAM Expansion Unit
    cartridge: bool = False  # runs from an EasyFlash's ROM

    @property
    def gpu(self) -> bool:
        """It is there or it is not: nothing emulates it."""
        return self.target == "cuda" and not self.counted

    @property
    def unit(self) -> str:
        return self.counted or ("cycles" if self.clock_hz else "ns")

    def time_ns(self, count: int) -> int | None:
        """Cycles or nanoseconds, as the machine counts, to nanoseconds; None for other things."""
        if self.counted:
            return None
        return round(count * 1e9 / self.clock_hz) if self.clock_hz else count


@dataclass(frozen=True)
class Options:
    """What a build may be asked.

    logits keeps every logit of every generated position; otherwise a build may find the same
    token with less work.  memory_bytes is the machine's memory where it is not the usual one;
    timing names a row of the machine's times.  sampling is what the program begins with: a host
    may deposit another, but a temperature only where there is one.
    """

    logits: bool = False
    memory_bytes: int | None = None
    timing: str = ""
    screen: bool = False  # leave the screen on while computing
    packed: bool = False  # the file unpacks itself: less to load
    sampling: Sampling = Sampling()
    feedback: tuple[str, ...] = ("border",)  # of FEEDBACK
    smallest: bool = False  # of the ways to build only the smallest: what fits so fits

    @property
    def draws(self) -> bool:
        """The program draws tokens: otherwise what does may be left out."""
        return self.sampling.inverse > 0


def check_feedback(options: Options) -> None:
    """Raise ValueError for a feedback that no C64 gives."""
    unknown = [word for word in options.feedback if word not in FEEDBACK]
    if unknown:
        raise ValueError(f"there is no feedback {unknown[0]}: choose from {', '.join(FEEDBACK)}")


class DoesNotFit(ValueError):
    """A model too large for a machine; bytes_over says by how much."""

    def __init__(self, message: str, bytes_over: int) -> None:
        super().__init__(message)
        self.bytes_over = bytes_over


class MissingKernel(ValueError):
    """An op that a target has no kernel for."""


class Absent(ValueError):
    """A machine that is not here, or lacks what it needs; the message says what."""


TARGETS = {
    "reference": "anachron.compiler.targets.reference.target",
    "mos6502": "anachron.compiler.targets.mos6502.target",
    "pdp11": "anachron.compiler.targets.pdp11.target",
    "cuda": "anachron.compiler.targets.cuda.target",
}

PAL = 985_248  # Hz, the C64's CPU clock in Europe
# Hz, the highest that an H200's multiprocessors are run at, as nvidia-smi states it: unverified.  A
# GPU that is there says its own.
H200 = 1_980_000_000

MACHINES = {
    machine.name: machine
    for machine in (
        Machine("reference", "reference", "numpy", 2006, None, None),
        Machine(
            "pdp11/20", "pdp11", "PDP-11/20, core memory", 1970, None, 56 * 1024, multiplies=False
        ),
        Machine("pdp11/34a", "pdp11", "PDP-11/34A", 1976, None, 56 * 1024),
        Machine("c64", "mos6502", "Commodore 64, PAL", 1982, PAL, 64 * 1024, multiplies=False),
        Machine(
            "c64+reu",
            "mos6502",
            "Commodore 64 + REU, PAL",
            1985,
            PAL,
            (64 + 16 * 1024) * 1024,
            multiplies=False,
            expanded=True,
        ),
        Machine(
            "c64+crt",
            "mos6502",
            "Commodore 64 + EasyFlash, PAL",
            2009,
            PAL,
            (64 + 1024) * 1024,
            multiplies=False,
            cartridge=True,
        ),
        Machine("ptx", "cuda", "PTX, interpreted", 2022, None, None, counted="instructions"),
        Machine("cuda", "cuda", "NVIDIA GPU", 2022, H200, None),
        Machine("h200", "cuda", "NVIDIA H200", 2024, H200, None),
    )
}


def find_machine(name: str) -> Machine:
    """The row of a machine, or a ValueError that names all of them."""
    if name not in MACHINES:
        raise ValueError(f"no machine is called {name}: choose from {', '.join(MACHINES)}")
    return MACHINES[name]


def find_target(machine: Machine) -> ModuleType:
    """The module that builds for a machine: target.build(fixed, machine, options) -> Image."""
    return import_module(TARGETS[machine.target])


def targets_with(contract: str) -> list[str]:
    """The targets that have a kernel for a contract."""
    return [name for name, path in TARGETS.items() if contract in import_module(path).KERNELS]
