"""A 6502 with 64 KB of RAM: the chip's text, compiled, and the API around it.

`Mos6502` is the bare CPU of `create("6502")`; c64.py puts a Commodore 64 around it. Between runs
the whole state lies in numpy arrays: `state` (the registers and fields of cpu.py, 64 bits each),
`mem`, and `attr`, a byte of flags for each byte of `mem`. A hook sets a bit there, so it costs
nothing where none is.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from anachron.emulators import containers
from anachron.emulators.containers import labels as label_files
from anachron.emulators.containers.files import read_file
from anachron.emulators.containers.prg import Prg
from anachron.emulators.jit import compile_machine, interpret_machine
from anachron.emulators.mos6502 import alu, cpu, dispatch
from anachron.emulators.mos6502.disassembler import disassemble
from anachron.emulators.profile import by_label

NOMINAL_CLOCK_HZ = 1_000_000  # of the bare CPU: MOS sold it for 1 MHz
BARE_ARRAYS = {"mem": "u1[65536]", "attr": "u1[65536]", "profile": "i8[65536]"}
Hook = Callable[[Any], None]
Run = Callable[..., None]


def assemble_text(modules: Iterable[ModuleType]) -> tuple[str, dict[str, Any]]:
    """The text of modules that share their globals, the loop behind it, and their constants."""
    constants: dict[str, Any] = {}
    texts = []
    for module in modules:
        texts.append(inspect.getsource(module))
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, (int, np.ndarray)):
                if name in constants and constants[name] is not value:
                    raise ValueError(f"{name} has two values, one of them in {module.__name__}")
                constants[name] = value
    return "\n".join((*texts, dispatch.loop())), constants


@cache
def bare(profile: bool, compiled: bool) -> Run:
    """The bare CPU's run function; compiled once a process."""
    text, constants = assemble_text((cpu, alu))
    build = compile_machine if compiled else interpret_machine
    return build(text, {**constants, "BANKED": False, "PROFILE": profile}, cpu.REGISTERS,
                 BARE_ARRAYS, fields=cpu.FIELDS, where="mos6502")


class Registers(MutableMapping[str, int]):
    """a, x, y, s, p and pc as numbers; p with all its flags."""

    NAMES = ("a", "x", "y", "s", "p", "pc")

    def __init__(self, machine: "Mos6502") -> None:
        self._machine = machine

    def __getitem__(self, name: str) -> int:
        machine = self._machine
        if name not in self.NAMES:
            raise KeyError(f"{name}: the registers are {' '.join(self.NAMES)}")
        if name != "p":
            return machine.get(name)
        nz = machine.get("nz")
        return (machine.get("p") | 0x20 | machine.get("c") | (not nz & 0xFF) << 1
                | (machine.get("v") != 0) << 6 | (nz & 0x180 != 0) << 7)

    def __setitem__(self, name: str, value: int) -> None:
        machine = self._machine
        if name not in self.NAMES:
            raise KeyError(f"{name}: the registers are {' '.join(self.NAMES)}")
        value = int(value) & (0xFFFF if name == "pc" else 0xFF)
        if name != "p":
            machine.put(name, value)
            return
        machine.put("p", value & 0x0C)
        machine.put("c", value & 1)
        machine.put("v", value & 0x40)
        machine.put("nz", (value >> 1 & 1 ^ 1) | (value & 0x80) << 1)

    def __delitem__(self, name: str) -> None:
        raise TypeError("a register cannot be taken out")

    def __iter__(self) -> Iterator[str]:
        return iter(self.NAMES)

    def __len__(self) -> int:
        return len(self.NAMES)

    def __repr__(self) -> str:
        flags = "".join(name if self["p"] >> bit & 1 else "."
                        for bit, name in zip((7, 6, 3, 2, 1, 0), "NVDIZC", strict=True))
        return (f"pc={self['pc']:04X} a={self['a']:02X} x={self['x']:02X} y={self['y']:02X} "
                f"s={self['s']:02X} p={flags}")


class Mos6502:
    """The bare CPU, 64 KB of RAM, and nothing else.

    >>> m = Mos6502()
    >>> m.memory[0xC000:0xC003] = [0xA9, 0x07, 0x02]    # LDA #7, and an opcode that jams
    >>> m.registers["pc"] = 0xC000
    >>> m.run()
    'JAM ($02) at $C002'
    >>> m.registers["a"], m.cycles
    (7, 9)
    """

    name = "6502"
    clock_hz = NOMINAL_CLOCK_HZ
    fields: tuple[str, ...] = tuple(cpu.FIELDS)

    def __init__(self, profile: bool = True, compiled: bool = True) -> None:
        names = (*cpu.REGISTERS, *self.fields)
        self._index = {name: i for i, name in enumerate(names)}
        self.state = np.zeros(len(names), np.int64)
        self.arrays = self._arrays()
        self.mem, self.attr = self.arrays["mem"], self.arrays["attr"]
        self.registers = Registers(self)
        self.labels: dict[str, int] = {}
        self.hooks: dict[int, list[Hook]] = {}
        self.irq_line = False
        self._profiled = profile
        self._run = self._machine(profile, compiled)
        self._buffers = (self.state, *self.arrays.values())
        for name in ("irq_since", "irq_was_since", "nmi_since"):
            self.put(name, cpu.NEVER)
        self.reset()

    # ---- what a machine around the CPU replaces
    def _arrays(self) -> dict[str, np.ndarray]:
        return {"mem": np.zeros(0x10000, np.uint8), "attr": np.zeros(0x10000, np.uint8),
                "profile": np.zeros(0x10000, np.int64)}

    def _machine(self, profile: bool, compiled: bool) -> Run:
        return bare(profile, compiled)

    def _places(self, address: int) -> tuple[int, ...]:
        """Where in mem the byte of an address may be executed."""
        return (address,)

    def _jammed(self) -> str | None:
        """The CPU met JAM: a reason to stop, or None if that was a call for help, now answered."""
        pc = self.get("pc")
        return f"JAM (${self.peek(pc):02X}) at ${pc:04X}"

    def _attended(self) -> str | None:
        """Something other than the CPU asked to stop: a reason, or None to go on."""
        return None

    # ---- state
    def get(self, name: str) -> int:
        """A register or a field of the machine's text."""
        return int(self.state[self._index[name]])

    def put(self, name: str, value: int) -> None:
        """Set a register or a field of the machine's text."""
        self.state[self._index[name]] = value

    @property
    def memory(self) -> np.ndarray:
        """The RAM, 65,536 bytes."""
        return self.mem[:0x10000]

    @property
    def cycles(self) -> int:
        """Since reset."""
        return self.get("cycles")

    @property
    def time_ns(self) -> int:
        """Since reset, at the machine's clock."""
        return self.cycles * 1_000_000_000 // self.clock_hz

    def peek(self, address: int) -> int:
        """A byte as the CPU sees it, without the effects that reading a device has."""
        return int(self.mem[self._places(address & 0xFFFF)[0]])

    def poke(self, address: int, value: int) -> None:
        """Store a byte as the CPU does."""
        self.mem[address & 0xFFFF] = value & 0xFF

    def charge(self, cycles: int) -> None:
        """Let cycles pass without an instruction."""
        self.put("cycles", self.cycles + int(cycles))

    def reset(self) -> None:
        """Pull /RES: seven cycles, three pushes that write nothing, and the vector at $FFFC."""
        self.put("s", self.get("s") - 3 & 0xFF)
        self.put("p", self.get("p") & 8 | 4)
        vector = cpu.RESET_VECTOR
        self.put("pc", self.peek(vector) | self.peek(vector + 1) << 8)
        self.put("cycles", 7)
        self.arrays["profile"][:] = 0

    # ---- interrupts
    def irq(self, low: bool) -> None:
        """Hold the /IRQ line low, from now on, or let it go."""
        self.irq_line = low
        self.put("irq_since", self.cycles if low else cpu.NEVER)

    def nmi(self) -> None:
        """Pull /NMI: it reacts to the edge."""
        self.put("nmi_since", self.cycles)

    # ---- running
    def step(self) -> int:
        """One instruction, or the sequence of an interrupt; returns its cycles, stalls included."""
        before = self.cycles
        if self._go(before + 1) == cpu.JAMMED:
            self._jammed()
        return self.cycles - before

    def run(self, max_cycles: int = 1 << 40, until: Any = None) -> str:
        """Run at most max_cycles (to the end of the instruction); returns why it stopped.

        until  an address, a label, or several: stop before an instruction there, though not
               before the first
        """
        stops = {self.address(u) for u in self._several(until)}
        deadline = self.cycles + max(0, int(max_cycles))
        marked = [place for stop in stops for place in self._places(stop)]
        self.attr[marked] |= cpu.STOP
        try:
            return self._run_until(deadline, stops)
        finally:
            self.attr[marked] &= 0xFF ^ cpu.STOP
            for address in self.hooks:
                self.attr[list(self._places(address))] |= cpu.STOP

    def _run_until(self, deadline: int, stops: set[int]) -> str:
        first = True
        while self.cycles < deadline:
            pc = self.get("pc")
            if pc in stops and not first:
                return f"until {self.describe(pc)}"
            if pc in self.hooks:
                for hook in tuple(self.hooks[pc]):
                    hook(self)
                if self.get("pc") != pc:
                    first = False
                    continue
            first = False
            stopped = self._go(deadline)
            if stopped == cpu.JAMMED:
                reason = self._jammed()
            elif stopped == cpu.LIMIT:
                reason = self._attended()
            else:
                continue
            if reason:
                return reason
        return f"limit: {self.describe(self.get('pc'))}"

    def _go(self, deadline: int) -> int:
        """Run the compiled loop from the instruction at pc; why it came back."""
        self.put("stop_at", deadline)
        self.put("limit", 0)
        self.put("resume", self.cycles)
        self._run(*self._buffers)
        return self.get("stop")

    @staticmethod
    def _several(until: Any) -> Iterable[Any]:
        if until is None:
            return ()
        return (until,) if isinstance(until, (str, int, np.integer)) else until

    def address(self, where: int | str) -> int:
        """The address of a label, or the address itself; ValueError if there is no such label."""
        if isinstance(where, str):
            if where not in self.labels:
                raise ValueError(f"no label {where!r}: load a .lbl beside the program, or set "
                                 "machine.labels")
            where = self.labels[where]
        if not 0 <= where <= 0xFFFF:
            raise ValueError(f"address {where:#x}: $0000 to $FFFF allowed")
        return int(where)

    def describe(self, address: int) -> str:
        """An address, with its label if it has one."""
        name = next((n for n, a in self.labels.items() if a == address), None)
        return f"${address:04X} ({name})" if name else f"${address:04X}"

    def hook(self, where: int | str, function: Hook) -> None:
        """Call function(machine) before every instruction at an address."""
        address = self.address(where)
        self.hooks.setdefault(address, []).append(function)
        self.attr[list(self._places(address))] |= cpu.STOP

    def unhook(self, where: int | str) -> None:
        """Take all hooks of an address away."""
        address = self.address(where)
        if self.hooks.pop(address, None):
            self.attr[list(self._places(address))] &= 0xFF ^ cpu.STOP

    def trace(self, n_instructions: int) -> Iterator[str]:
        """Run step by step; a line for each instruction, registers as they are before it."""
        names = {address: name for name, address in self.labels.items()}
        for _ in range(n_instructions):
            text, _ = disassemble(self.peek, self.get("pc"), names)
            line = f"{self.cycles:>12}  {self.registers!r}  {text}"
            yield line
            if self.step() == 0:
                return

    # ---- loading
    def load(self, path: str | Path) -> None:
        """Put a .prg into memory, and the labels of the .lbl beside it."""
        self.insert(containers.read(path), str(path))
        self.load_labels(Path(path).with_suffix(".lbl"))

    def insert(self, image: containers.Container, where: str) -> None:
        """Take what a container holds."""
        if not isinstance(image, Prg):
            raise ValueError(f"{where}: a {self.name} takes .prg files")
        self.memory[image.load:image.end] = np.frombuffer(image.data, np.uint8)

    def load_labels(self, path: Path) -> None:
        """Labels from a .lbl file, if there is one."""
        if path.is_file():
            text = read_file(path, label_files.SIZE_LIMIT).decode("ascii", "replace")
            self.labels.update(label_files.parse(text, str(path)))

    # ---- looking back
    def profile(self) -> np.ndarray:
        """Cycles since reset by the address of the instruction; their sum is what has been run."""
        if not self._profiled:
            raise ValueError("this machine was created with profile=False")
        return self.arrays["profile"].copy()

    def profile_by_label(self) -> dict[str, int]:
        """Cycles since reset by label, most first."""
        return by_label(self.profile().tolist(), self.labels)

    def snapshot(self) -> dict[str, Any]:
        """Everything that changes, to come back to."""
        return {name: array.copy() for name, array in self._changing().items()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Come back to a snapshot of this kind of machine."""
        for name, array in self._changing().items():
            array[:] = snapshot[name]

    def _changing(self) -> dict[str, np.ndarray]:
        return {"state": self.state,
                **{name: a for name, a in self.arrays.items() if name != "attr"}}

    def __repr__(self) -> str:
        return f"<{self.name} {self.registers!r} cycles={self.cycles}>"
