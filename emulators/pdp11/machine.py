"""A PDP-11: the processor's text, compiled, its memory and devices, and the API around them.

Between runs the whole state lies in numpy arrays: `state` (the registers and fields of cpu.py, 64
bits each) and `mem`, the Unibus in words. The processor comes back where a device has something
to do (unibus.py), where a hook or a stop is, and at its limit. A mark is the sign of an entry of
the profile, so hooks cost nothing where none is.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anachron.emulators import containers
from anachron.emulators.containers import labels as label_files
from anachron.emulators.containers.files import read_file
from anachron.emulators.containers.lda import Lda
from anachron.emulators.pdp11 import cpu
from anachron.emulators.pdp11.disassembler import disassemble
from anachron.emulators.pdp11.dispatch import machine as compiled_machine
from anachron.emulators.pdp11.kt11 import Kt11
from anachron.emulators.pdp11.models import MODELS
from anachron.emulators.pdp11.registers import Registers, Words
from anachron.emulators.pdp11.timing import decode_table, time_fields, timing_row
from anachron.emulators.pdp11.unibus import Device, Requests, io_page
from anachron.emulators.profile import by_label

Hook = Callable[["Pdp11"], None]
# Marks in the profile: its entry is negative, and the processor looks what for.
OUTSIDE, STOP, COUNTED = -1 << 62, -1 << 61, (1 << 60) - 1
NAMES = (*cpu.REGISTERS, *cpu.FIELDS)
INDEX = {name: i for i, name in enumerate(NAMES)}


class Pdp11:
    """A processor with memory and devices; machines.py says which.

    >>> from anachron.emulators import create
    >>> m = create("pdp11")
    >>> m.word[0o1000:0o1006] = [0o012700, 0o000007, 0o000000]    # MOV #7,R0; HALT
    >>> m.registers["pc"] = 0o1000
    >>> m.run()
    'HALT at 001004'
    >>> m.registers["r0"], m.time_ns
    (7, 3270)
    """

    clock_hz = None  # it has none: its cycles differ in length

    def __init__(self, name: str, model: str, memory: int, timing: str,
                 devices: Iterable[Device] = (), flat: bool = False,
                 compiled: bool = True) -> None:
        self.name, self.model, self.timing = name, MODELS[model], timing_row(timing)
        self.state = np.zeros(len(NAMES), np.int64)
        self.arrays = {name: np.zeros(int(kind[3:-1]), kind[:2])
                       for name, kind in cpu.ARRAYS.items()}
        self.mem, self._profile = self.arrays["mem"], self.arrays["profile"]
        self.arrays["decode"] = decode_table(model, timing)
        self.devices = list(devices)
        self.kt11 = Kt11(self.arrays["place"]) if self.model.managed and not flat else None
        if self.kt11:
            self.devices.append(self.kt11)
        self.arrays["io"] = io_page(self.devices, self.timing.latencies, not flat)
        self._devices = {register.address: device for device in self.devices
                         for register in device.registers}
        for device in self.devices:
            device.bus = self
        self.requests = Requests()
        self.size = memory
        self._flat = flat
        self._compiled = compiled
        self.registers, self.word = Registers(self), Words(self.mem[:memory >> 1])
        self.labels: dict[str, int] = {}
        self.hooks: dict[int, list[Hook]] = {}
        self._buffers = (self.state, *self.arrays.values())
        for field, value in time_fields(timing).items():
            self.put(field, value)
        self.reset()

    # ---- state
    def get(self, name: str) -> int:
        """A register or a field of the processor's text."""
        return int(self.state[INDEX[name]])

    def put(self, name: str, value: int) -> None:
        """Set a register or a field of the processor's text."""
        self.state[INDEX[name]] = value

    @property
    def memory(self) -> np.ndarray:
        """The memory in bytes."""
        return self.mem.view(np.uint8)[:self.size]

    @property
    def time_ns(self) -> int:
        """Since reset."""
        return self.get("time")

    @property
    def instruction(self) -> int:
        """The address of the instruction that runs, or has run."""
        return self.get("at")

    @property
    def n_instructions(self) -> int:
        """Since reset."""
        return self.get("count")

    def peek(self, address: int) -> int:
        """The word at a Unibus address, without the effects that reading a device has."""
        return int(self.mem[(address & 0o777776) >> 1])

    def poke(self, address: int, value: int) -> None:
        """Store a word at a Unibus address, without the effects that writing a device has."""
        self.mem[(address & 0o777776) >> 1] = value & 0xFFFF

    def reset(self) -> None:
        """Power: devices reset, memory kept, PC and PSW 0, time and profile from 0."""
        for name in ("pc", "time", "count", "psw", "fault", "aborted", "overflow", "traced",
                     "waiting", "entering", "n_reports", "level", "froze", "space", "other_sp"):
            self.put(name, 0)
        self.put("written_psw", -1)
        self.put("nz", 1)
        self.put("c", 0)
        self.put("v", 0)
        self._init()
        self._count(np.zeros(0o200000, np.int64))

    def _init(self) -> None:
        """INIT on the Unibus."""
        self.requests = Requests()
        for device in self.devices:
            device.reset()
        self._settle()

    def set_status(self, value: int) -> None:
        """Load the PSW, as the processor's `set_status` does."""
        value &= self.model.psw_bits
        if (value ^ self.get("psw")) & 0o100000:
            sp = self.registers["sp"]
            self.registers["sp"] = self.get("other_sp")
            self.put("other_sp", sp)
        self.put("psw", value & ~15)
        self.put("c", value & 1)
        self.put("v", value >> 1 & 1)
        self.put("nz", (value >> 2 & 1 ^ 1) | (value & 8) << 13)
        self._settle()

    # ---- devices
    def request(self, vector: int, level: int) -> None:
        """A device asks for an interrupt."""
        self.requests.add(vector, level)

    def withdraw(self, vector: int) -> None:
        """A device does not ask any more."""
        self.requests.remove(vector)

    def _settle(self) -> None:
        """Tell the processor what it must know of devices and memory."""
        self.put("level", self.requests.level)
        self.put("due", min((device.due for device in self.devices), default=cpu.NEVER))
        mapped = self.kt11 is not None and self.kt11.enabled
        if self.kt11:
            self.put("maintenance", self.kt11.maintenance)
            self.put("space", self.kt11.space(self.get("psw")))
        self._run = compiled_machine(self.model.name, mapped, self._compiled)
        low = self.size if mapped or self._flat else min(self.size, cpu.IO_PAGE & 0xFFFF)
        self.put("top", low)

    def _attend(self) -> None:
        """Reports, then what is due, then interrupts."""
        n_reports = self.get("n_reports")
        self.put("n_reports", 0)
        for k in range(cpu.REPORTS, cpu.REPORTS + 4 * min(n_reports, 16), 4):
            self._report(*(int(word) for word in self.mem[k:k + 3]))
        for device in self.devices:
            if device.due <= self.time_ns:
                device.tick()
        self._settle()
        free = not any(self.get(name) for name in ("fault", "traced", "overflow"))
        if free and self.get("written_psw") < 0 and \
                self.requests.level > self.get("psw") >> 5 & 7:
            self.put("fault", self.requests.take())
            self.put("level", self.requests.level)
            self._spend(self.timing.interrupt_ns, self.get("pc"))

    def _report(self, address: int, value: int, what: int) -> None:
        address |= cpu.IO_PAGE if address else 0
        if address == cpu.RESET_REPORT:
            self._spend(self.timing.reset_ns, self.get("at"))
            self._init()
            return
        device = self._devices[address & ~1]
        if not what & cpu.REPORTED_WRITE:
            device.read(address & ~1)
            return
        if what & cpu.REPORTED_BYTE:
            old = self.peek(address)
            value = old & 0xFF | value << 8 if address & 1 else old & 0xFF00 | value & 0xFF
        device.write(address & ~1, value & 0xFFFF)

    def _spend(self, ns: int, address: int) -> None:
        """Time passes, and is counted where it belongs."""
        self.put("time", self.time_ns + ns)
        self._profile[address] += ns

    @property
    def console(self) -> str:
        """What has been printed on the console, as text of seven bits; NUL and rubout are not."""
        line = self._device("DL11")
        codes = bytes(code & 0x7F for code in line.printed)
        return codes.translate(None, b"\0\x7f").decode("ascii")

    def type(self, text: str) -> None:
        """Characters for the console's receiver; a newline is typed as carriage return."""
        self._device("DL11").type(text.replace("\n", "\r").encode("ascii", "replace"))
        self._settle()

    def mount(self, tape: bytes) -> None:
        """Put a paper tape into the reader."""
        self._device("PC11").mount(tape)

    @property
    def punched(self) -> bytes:
        """What the paper-tape punch has punched."""
        return bytes(self._device("PC11").punched)

    def _device(self, name: str) -> Any:
        for device in self.devices:
            if device.name == name:
                return device
        raise ValueError(f"this {self.name} has no {name}")

    # ---- running
    def step(self) -> int:
        """One instruction, or an interrupt, or a trap; returns its nanoseconds."""
        before = self.time_ns
        self._go(before + 1)
        return self.time_ns - before

    def run(self, max_time_ns: int | None = None, until: Any = None,
            max_instructions: int | None = None) -> str:
        """Run until something stops it (to the end of the instruction); returns what did.

        until  an address, a label, or several: stop before an instruction there, though not
               before the first
        """
        stops = {self.address(u) for u in _several(until)}
        deadline = cpu.NEVER if max_time_ns is None else self.time_ns + max(0, max_time_ns)
        last = None if max_instructions is None else self.n_instructions + max_instructions
        for address in stops:
            self._mark(address, True)
        try:
            return self._run_until(deadline, last, stops)
        finally:
            for address in stops - self.hooks.keys():
                self._mark(address, False)

    def _run_until(self, deadline: int, last: int | None, stops: set[int]) -> str:
        fastest = min(self.timing.branch[0], *self.timing.plain.values()) or 1
        first = True
        while self.time_ns < deadline and (last is None or self.n_instructions < last):
            pc = self.get("pc")
            if pc in stops and not first:
                return f"until {self.describe(pc)}"
            for hook in tuple(self.hooks.get(pc, ())):
                hook(self)
            if self.get("pc") != pc:
                first = False
                continue
            first = False
            until = deadline
            if last is not None:
                until = min(deadline, self.time_ns + (last - self.n_instructions - 1) * fastest + 1)
            why = self._go(until)
            if why == cpu.HALTED:
                return f"HALT at {self.describe(self.get('at'))}"
            if why == cpu.IDLE:
                return f"WAIT for ever at {self.describe(self.get('at'))}"
            if why == cpu.DOUBLE:
                return f"bus error in a trap at {self.describe(self.get('at'))}"
        return f"limit: {self.describe(self.get('pc'))}"

    def _go(self, until: int) -> int:
        """Run the compiled loop to a time; why it came back."""
        self.put("limit", until)
        self.put("resume", self.time_ns)
        while True:
            self.put("stop", 0)
            self.put("event", 0)
            self._run(*self._buffers)
            why = self.get("stop")
            if why == cpu.ATTEND:
                self._attend()
            elif why == 0 and self.get("entering"):
                vector, fault = self.get("entering"), self.get("fault")
                self.put("entering", 0)
                if fault != cpu.MANAGEMENT or vector == cpu.MANAGEMENT:
                    self.put("fault", 0)
                    return cpu.DOUBLE
            elif why:
                return why

    def _mark(self, address: int, on: bool) -> None:
        marked = bool(self._profile[address] >> cpu.STOP_BIT & 1)
        if on != marked:
            self._profile[address] += STOP if on else -STOP

    def _count(self, counts: np.ndarray) -> None:
        """Set the profile, and its marks: odd addresses, what is not memory, hooks."""
        self._profile[:] = counts
        self._profile[1::2] += OUTSIDE
        self._profile[self.get("top")::2] += OUTSIDE
        for address in self.hooks:
            self._mark(address, True)

    def address(self, where: int | str) -> int:
        """The address of a label, or the address itself; ValueError if there is no such label."""
        if isinstance(where, str):
            known = {name.upper(): address for name, address in self.labels.items()}
            if where.upper() not in known:
                raise ValueError(f"no label {where!r}: load a .lbl beside the program, or set "
                                 "machine.labels")
            where = known[where.upper()]
        if not 0 <= where <= 0xFFFF or where & 1:
            raise ValueError(f"address {where:o}: even, 0 to 177776 (octal) allowed")
        return int(where)

    def describe(self, address: int) -> str:
        """An address, with its label if it has one."""
        name = next((n for n, a in self.labels.items() if a == address), None)
        return f"{address:06o} ({name})" if name else f"{address:06o}"

    def hook(self, where: int | str, function: Hook) -> None:
        """Call function(machine) before every instruction at an address."""
        address = self.address(where)
        self.hooks.setdefault(address, []).append(function)
        self._mark(address, True)

    def unhook(self, where: int | str) -> None:
        """Take all hooks of an address away."""
        address = self.address(where)
        if self.hooks.pop(address, None):
            self._mark(address, False)

    def trace(self, n_instructions: int) -> Iterator[str]:
        """Run step by step; a line for each instruction, registers as they are before it."""
        names = {address: name for name, address in self.labels.items()}
        for _ in range(n_instructions):
            text, _ = disassemble(self.virtual, self.get("pc"), names)
            yield f"{self.time_ns:>14}  {self.registers!r}  {text}"
            if self.step() == 0:
                return

    def virtual(self, address: int) -> int:
        """The word at an address as the running program sees it, without side effects."""
        place = 0
        if self.kt11 and self.kt11.enabled:
            place = int(self.arrays["place"][self.get("space") + (address >> 6)])
            if place == cpu.ELSEWHERE:
                return 0
        elif not self._flat and address >= cpu.IO_PAGE & 0xFFFF:
            place = cpu.IO_PAGE & ~0xFFFF
        return self.peek(address + place)

    # ---- loading
    def load(self, path: str | Path) -> None:
        """Put an .lda into memory, PC to its start, and the labels of the .lbl beside it."""
        self.insert(containers.read(path), str(path))
        labels = Path(path).with_suffix(".lbl")
        if labels.is_file():
            text = read_file(labels, label_files.SIZE_LIMIT).decode("ascii", "replace")
            self.labels.update(label_files.parse(text, str(labels)))

    def insert(self, image: containers.Container, where: str) -> None:
        """Take what a container holds."""
        if not isinstance(image, Lda):
            raise ValueError(f"{where}: a {self.name} takes .lda files")
        end = max((address + len(data) for address, data in image.blocks), default=0)
        if end > self.size:
            raise ValueError(f"{where}: reaches to {end:o} (octal), but this {self.name} has "
                             f"memory to {self.size:o}: give it more, or link it lower")
        for address, data in image.blocks:
            self.memory[address:address + len(data)] = np.frombuffer(data, np.uint8)
        if image.start is not None:
            self.registers["pc"] = image.start

    # ---- looking back
    def profile(self) -> np.ndarray:
        """Nanoseconds since reset by the address of the instruction; their sum is time_ns."""
        return self._profile & COUNTED

    def profile_by_label(self) -> dict[str, int]:
        """Nanoseconds since reset by label, most first."""
        return by_label(self.profile().tolist(), self.labels)

    def snapshot(self) -> dict[str, Any]:
        """Everything that changes, to come back to."""
        return {"state": self.state.copy(), "mem": self.mem.copy(), "profile": self.profile(),
                "place": self.arrays["place"].copy(), "requests": list(self.requests.pending),
                "devices": [device.state() for device in self.devices]}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Come back to a snapshot of a machine made alike."""
        for name, array in (("state", self.state), ("mem", self.mem),
                            ("place", self.arrays["place"])):
            array[:] = snapshot[name]
        self.requests.pending = list(snapshot["requests"])
        for device, state in zip(self.devices, snapshot["devices"], strict=True):
            for name, value in state.items():
                setattr(device, name, value.copy() if hasattr(value, "copy") else value)
        self._settle()
        self._count(snapshot["profile"])

    def __repr__(self) -> str:
        return f"<{self.name} {self.registers!r} time_ns={self.time_ns}>"


def _several(until: Any) -> Iterable[Any]:
    if until is None:
        return ()
    return (until,) if isinstance(until, (str, int, np.integer)) else until
