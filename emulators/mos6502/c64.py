"""The Commodore 64: the chips of clockwork.py, memory, cartridges, a KERNAL, and the API.

Without ROM files the KERNAL's and BASIC's places hold the stand-ins of kernal/rom.py: a call ends
at a JAM there, and kernal/ does its work. With `roms=` (a folder of the user's own) the real ones
are mapped, and nothing is served.
"""

from pathlib import Path
from typing import Any

import numpy as np

from anachron.emulators import containers
from anachron.emulators.containers import crt as crt_files
from anachron.emulators.containers import prg as prg_files
from anachron.emulators.containers import reu as reu_files
from anachron.emulators.containers.crt import Crt
from anachron.emulators.containers.d64 import D64
from anachron.emulators.containers.prg import Prg
from anachron.emulators.containers.reu import Reu
from anachron.emulators.mos6502 import (
    banks,
    cia,
    clockwork,
    cpu,
    devices,
    kernal,
    petscii,
    screen,
    vic,
)
from anachron.emulators.mos6502.kernal import basic, rom, start
from anachron.emulators.mos6502.kernal.state import Kernal
from anachron.emulators.mos6502.keyboard import Keyboard
from anachron.emulators.mos6502.machine import Mos6502, Run

FRAME_CYCLES = 20_000  # between two looks at the keyboard while something is typed
REU_KB = 512  # of a c64+reu, unless asked for: Commodore's 1750
COLOURS, SID = devices.DEVICES + 0xD800, devices.DEVICES + 0xD400
BOOT_CYCLES = 10_000_000  # for the user's ROMs to reach READY
BASIC_IDLE = 0xE5CD  # where the real KERNAL waits for keys


def create_c64(name: str, **options: Any) -> "C64":
    """A C64 that says READY; options are those of C64."""
    if name == "c64+reu" and not options.get("reu") and not options.get("reu_kb"):
        options["reu_kb"] = REU_KB
    machine = C64(**options)
    machine.name = name
    return machine


class C64(Mos6502):
    """A Commodore 64.

    ntsc      America's machine instead of Europe's
    reu       a .reu file in an expansion of its size, or
    reu_kb    an empty expansion of 128 to 16384 KB
    roms      a folder with the user's own kernal, basic and chargen files
    old_cia   the 6526 of the first machines instead of the 8521: timer interrupts a cycle later
    profile   count cycles by address; compiled=False runs the same text in CPython
    """

    name = "c64"
    fields = clockwork.FIELDS

    def __init__(self, ntsc: bool = False, reu: str | Path | None = None, reu_kb: int = 0,
                 roms: str | Path | None = None, old_cia: bool = False, profile: bool = True,
                 compiled: bool = True) -> None:
        self.ntsc, self.old_cia = ntsc, old_cia
        self.clock_hz = (clockwork.NTSC if ntsc else clockwork.PAL)[0]
        self.keyboard = Keyboard()
        self.roms = rom.read_roms(roms) if roms else rom.stand_ins(frozenset(kernal.SERVICES))
        self.reu_size = 0
        self._look_at = 0  # when the keyboard is next attended to, if something is typed
        self.crt: Crt | None = None
        self.kernal: Kernal | None = None
        self.sid_writes: list[np.ndarray] = []
        super().__init__(profile, compiled)
        if reu_kb and reu_kb * 1024 not in reu_files.SIZES:
            raise ValueError(f"an expansion of {reu_kb} KB: 128, 256, ... 16384 KB allowed")
        self._expand(reu_kb * 1024)
        self.kernal = Kernal(self, self.keyboard)
        self.reset()
        if reu:
            self.load(reu)

    # ---- what differs from the bare CPU
    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = clockwork.make_arrays()
        self.keyboard.matrix = arrays["keys"][:8]
        return arrays

    def _machine(self, profile: bool, compiled: bool) -> Run:
        return clockwork.clockwork(profile, compiled)

    def _places(self, address: int) -> tuple[int, ...]:
        places = [address]
        if address >= rom.KERNAL_START or rom.BASIC_START <= address < 0xC000:
            places.append(address + banks.ROM)
        if self.crt is not None and (0x8000 <= address < 0xC000 or address >= 0xE000):
            base = banks.ROML if address < 0xA000 else banks.ROMH
            offset = address % banks.CART_BANK
            places += [base + b * banks.CART_BANK + offset for b in range(crt_files.BANKS)]
        return tuple(places)

    def _jammed(self) -> str | None:
        pc = self.get("pc")
        if self.roms.real or clockwork.cpu_view(self.arrays, pc) != pc + banks.ROM:
            return super()._jammed()
        assert self.kernal is not None
        return kernal.serve(self.kernal)

    def _go(self, deadline: int) -> int:
        if self.keyboard.busy:
            if not self.cycles < self._look_at <= self.cycles + FRAME_CYCLES:
                self.keyboard.tick(self.ram, self.cycles, self.get("key_reads"))
                self._look_at = self.cycles + FRAME_CYCLES
            deadline = min(deadline, self._look_at)
        return super()._go(deadline)

    def _attended(self) -> str | None:
        if self.get("sid_logged") > devices.SID_LOG // 2:
            self._keep_sid_log()
        return None

    def reset(self) -> None:
        """Switch off and on: RAM as at power-on, READY on the screen, a cartridge started."""
        if self.kernal is None:
            return
        self.mem[:0x10000] = np.tile(np.repeat(np.array([0, 255], np.uint8), 64), 512)
        self.state[:] = 0
        for name in ("irq_since", "irq_was_since", "nmi_since"):
            self.put(name, cpu.NEVER)
        for name, value in clockwork.power_on(self.ntsc, self.old_cia).items():
            self.put(name, value)
        clockwork.reset_chips(self.arrays)
        self.put("reu_size", self.reu_size)
        self.attr[0xFF00] &= 0xFF ^ cpu.WRITE
        self._map_roms()
        self._insert_cartridge()
        self.poke(1, 0x37)
        self.kernal.channels.reset()
        super().reset()
        if self.crt is None and not self.roms.real:
            start.start(self.kernal)
            self.put("cycles", 7)
            self.poke(0xD011, self.vic[0x11])  # the devices' plans, from here on

    # ---- memory
    @property
    def ram(self) -> memoryview:
        """The 64 KB of RAM."""
        return self.mem.data[:0x10000]

    @property
    def colour(self) -> memoryview:
        """The colour RAM; the low four bits count."""
        return self.mem.data[COLOURS:COLOURS + 0x400]

    @property
    def vic(self) -> memoryview:
        """The VIC-II's registers as last written."""
        return self.mem.data[vic.VIC:vic.VIC + 0x40]

    @property
    def characters(self) -> bytes:
        """The character ROM."""
        return self.roms.characters

    @property
    def video_bank(self) -> int:
        """Which 16 KB the VIC-II sees, 0 to 3: CIA 2's port A, banked in or not."""
        pins = self.arrays["cia"][cia.CIA_2:]
        return int(~(pins[cia.PRA] | ~pins[cia.DDRA]) & 3)

    def peek(self, address: int) -> int:
        address &= 0xFFFF
        place = clockwork.cpu_view(self.arrays, address)
        if not self.attr[place] & cpu.READ:
            return int(self.mem[place])
        before = self.state.copy(), self.arrays["cia"].copy()
        value = self._errand(devices.ERRAND_READ, address, 0)
        self.state[:], self.arrays["cia"][:] = before
        return value

    def read(self, address: int) -> int:
        """A byte as the CPU reads it, with the effects that has on a device."""
        return self._errand(devices.ERRAND_READ, address & 0xFFFF, 0)

    def poke(self, address: int, value: int) -> None:
        self._errand(devices.ERRAND_WRITE, address & 0xFFFF, value & 0xFF)

    def _errand(self, kind: int, address: int, value: int) -> int:
        """Let the compiled machine read or write once."""
        for name, number in (("errand", kind), ("errand_address", address),
                             ("errand_value", value)):
            self.put(name, number)
        self._run(*self._buffers)
        return self.get("errand_value")

    def _map_roms(self) -> None:
        for start_, data, distance in ((rom.BASIC_START, self.roms.basic, banks.ROM),
                                       (rom.KERNAL_START, self.roms.kernal, banks.ROM),
                                       (0xD000, self.roms.characters, banks.CHARACTERS)):
            at = start_ + distance
            self.mem[at:at + len(data)] = np.frombuffer(data, np.uint8)

    def _expand(self, size: int) -> None:
        self.reu_size = size
        self.put("reu_size", size)

    def _insert_cartridge(self) -> None:
        if self.crt is None:
            return
        for base, data in zip((banks.ROML, banks.ROMH), self.crt.roms(), strict=True):
            self.mem[base:base + len(data)] = np.frombuffer(data, np.uint8)
        easyflash = self.crt.kind == crt_files.EASYFLASH
        self.put("exrom", self.crt.exrom)
        self.put("game", self.crt.game)
        self.put("cart_boot", banks.EASYFLASH if easyflash else 0)
        if easyflash:  # 256 bytes of RAM at $DF00
            at = devices.DEVICES + 0xDF00
            self.attr[at:at + 0x100] = 0

    # ---- loading, typing, looking
    def load(self, path: str | Path) -> None:
        """Load and start a .prg or the first program of a .d64; insert a .reu or a .crt.

        A program that begins with a BASIC line is started by its SYS; with the user's ROMs
        it is typed RUN. One without such a line is put into memory, and pc is left alone.
        """
        self.insert(containers.read(path), str(path))
        self.load_labels(Path(path).with_suffix(".lbl"))

    def insert(self, image: containers.Container, where: str) -> None:
        assert self.kernal is not None
        match image:
            case Reu(data):
                self._expand(len(data))
                self.arrays["reu"][:len(data)] = np.frombuffer(data, np.uint8)
            case Crt():
                if image.kind not in crt_files.KINDS:
                    raise ValueError(f"{where}: a cartridge of type {image.kind}: "
                                     f"{', '.join(crt_files.KINDS.values())} are known")
                self.crt = image
                self.reset()
            case D64():
                self.kernal.channels.disk = image
                self._start(prg_files.parse(image.read(b"*"), where), where)
            case Prg():
                self.kernal.channels.disk = image
                self._start(image, where)
            case _:
                raise ValueError(f"{where}: a {self.name} takes .prg, .d64, .crt and .reu files")

    def _start(self, program: Prg, where: str) -> None:
        """What LOAD and RUN do with a program."""
        assert self.kernal is not None
        if self.roms.real and self.get("pc") != BASIC_IDLE:
            self.run(max_cycles=BOOT_CYCLES, until=BASIC_IDLE)
        self.memory[program.load:program.end] = np.frombuffer(program.data, np.uint8)
        if program.load != prg_files.BASIC_START:
            return
        self.kernal.set_pointer(basic.PROGRAM_END, program.end)
        if self.roms.real:
            self.type("RUN\r")
            return
        basic.run(self.kernal, where)

    def type(self, text: str) -> None:
        """Type a text, in the character set that is on; \\n and \\r are RETURN."""
        small = bool(self.vic[screen.POINTERS] & 2)
        self.keyboard.type(petscii.encode(text.replace("\n", "\r"), lower=small))

    def joystick(self, port: int, pressed: int) -> None:
        """Hold a joystick in port 1 or 2: bits up, down, left, right, fire."""
        self.arrays["keys"][{2: 8, 1: 9}[port]] = ~pressed & 0xFF

    def restore_key(self) -> None:
        """Hit RESTORE: an NMI."""
        self.nmi()

    def screen(self) -> str:
        """The text screen, 25 lines."""
        return screen.text(screen.read_frame(self))

    @property
    def waits(self) -> bool:
        """Whether the machine waits for keys that nobody types."""
        return rom.WAIT <= self.get("pc") < rom.KEY and not self.keyboard.busy

    def log_sid(self, on: bool = True) -> None:
        """Keep what is written to the SID from now on."""
        self.put("sid_logging", int(on))

    def _keep_sid_log(self) -> None:
        n = self.get("sid_logged")
        self.sid_writes.append(self.arrays["sid_log"][:n].copy())
        self.put("sid_logged", 0)

    def sid_log(self) -> list[tuple[int, int, int]]:
        """What was written to the SID: (cycle, register, value)."""
        self._keep_sid_log()
        return [(int(entry) >> 16, int(entry) >> 8 & 0xFF, int(entry) & 0xFF)
                for part in self.sid_writes for entry in part]

    def snapshot(self) -> dict[str, Any]:
        """Everything that changes, what is being typed and the open files included."""
        assert self.kernal is not None
        return {**super().snapshot(), "keyboard": self.keyboard.state(),
                "kernal": self.kernal.state()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Come back to a snapshot of this kind of machine."""
        assert self.kernal is not None
        super().restore(snapshot)
        self.keyboard.restore(snapshot["keyboard"])
        self.kernal.restore(snapshot["kernal"])

    def _changing(self) -> dict[str, np.ndarray]:
        changing = super()._changing()
        used = {"mem": 0x40000, "reu": self.reu_size, "sid_log": self.get("sid_logged")}
        return {name: array[:used.get(name, array.size)] for name, array in changing.items()}
