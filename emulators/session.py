"""One run under `anachron emulate`: the C64's and the PDP-11's ways of the same things.

To add a family of machines: a class with the same methods, and a row in FAMILIES.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from anachron.emulators import containers
from anachron.emulators.containers import lda, prg
from anachron.emulators.containers.files import read_file
from anachron.emulators.mos6502 import disassembler as disassembler6502
from anachron.emulators.mos6502 import screen, sid
from anachron.emulators.mos6502.kernal import rom
from anachron.emulators.mos6502.typed import petscii_of_keys
from anachron.emulators.pdp11 import disassembler as disassembler11
from anachron.emulators.pdp11 import panel
from anachron.emulators.terminal import View

SLICE = 1_000_000  # cycles or instructions between two looks at the machine
DEFAULT_CYCLES = 10_000_000_000
TRACE_LIMIT = 1_000_000  # lines
PAPER_LENGTH = 8192  # of the console's text, as looked at live
SHORT_LOOP, GETIN_LOOP = 4, 16  # instructions
RECEIVER_STATUS = "177560"


class Session:
    """What both families share."""

    unit = "cycles"
    text_key = "screen"
    radix = 16
    alien: tuple[str, ...] = ()  # options that belong to the other family

    def __init__(self, machine: Any, options: argparse.Namespace) -> None:
        self.machine = machine
        self.options = options
        self.prepare()

    def prepare(self) -> None:
        """Get the machine ready for what the options ask."""

    def load(self, image: Path) -> None:
        """Load an image and start it."""
        self.machine.load(image)

    @classmethod
    def check(cls, options: argparse.Namespace) -> None:
        """ValueError for an option that this family lacks."""
        for name in cls.alien:
            if getattr(options, name):
                raise ValueError(f"--{'model' if name == 'timing' else name} is not for this "
                                 "machine")

    def where(self, text: str) -> int:
        """A label's address, or a number in the family's radix; $, 0x and 0o allowed."""
        if text in self.machine.labels:
            return self.machine.labels[text]
        digits = text.removeprefix("$")
        try:
            value = int(digits, 0 if digits[:2].lower() in ("0x", "0o") else self.radix)
        except ValueError:
            value = -1
        if not 0 <= value <= 0xFFFF:
            raise ValueError(f"{text}: neither a label of the image nor an address")
        return value

    def run(self, out: TextIO | None) -> str:
        """Run to the end, the limit, or a wait that nothing will end; prints as the machine does.

        With --max-cycles given, a machine that waits is run on to that limit.
        """
        until = None if self.options.until is None else self.where(self.options.until)
        limit = self.options.max_cycles or DEFAULT_CYCLES
        start = self.count()
        while (left := limit - (self.count() - start)) > 0:
            reason = self.advance(min(left, SLICE), until)
            self.echo(out)
            if reason:
                return reason
            if self.waits() and self.options.max_cycles is None:
                return "waits for input"
        return f"limit of {limit:,} {self.unit} reached"

    def trace(self, first: str, last: str, out: TextIO) -> str:
        """Run, printing each instruction from the address first until last is reached."""
        start, end = self.where(first), self.where(last)
        limit = self.options.max_cycles or DEFAULT_CYCLES
        lines, began = 0, self.count()
        while (left := limit - (self.count() - began)) > 0 and lines < TRACE_LIMIT:
            if self.machine.registers["pc"] != start:
                reason = self.advance(min(left, SLICE), start)
                if reason and self.machine.registers["pc"] != start:
                    return reason
                if not reason:
                    continue
            while lines < TRACE_LIMIT:
                out.write(self.instruction() + "\n")
                lines += 1
                before = self.count()
                self.machine.step()
                if self.count() == before:
                    return self.advance(1, None) or "stopped"
                if self.machine.registers["pc"] == end or self.count() - began >= limit:
                    break
        return (f"limit of {TRACE_LIMIT:,} lines reached" if lines >= TRACE_LIMIT
                else f"limit of {limit:,} {self.unit} reached")

    def profile(self) -> dict[str, int]:
        """Time by label, or by address where there are no labels; most first, twenty of them."""
        if self.machine.labels:
            shares = self.machine.profile_by_label()
        else:
            counts = self.machine.profile()
            shares = {self.address_text(int(at)): int(counts[at]) for at in counts.nonzero()[0]}
        ordered = sorted(shares.items(), key=lambda item: -item[1])
        return dict(ordered[:20])

    def label_lines(self) -> Mapping[int, str]:
        return {address: name for name, address in self.machine.labels.items()}

    # What a family says for itself.

    @staticmethod
    def settings(options: argparse.Namespace) -> dict[str, Any]:
        """The options of `create`."""
        raise NotImplementedError

    def advance(self, amount: int, until: int | None) -> str | None:
        """Run an amount of the unit; the reason to stop, or None if only the amount is over."""
        raise NotImplementedError

    def count(self) -> int:
        """Cycles or instructions since reset."""
        raise NotImplementedError

    def text(self) -> str:
        """The screen's or the console's text."""
        raise NotImplementedError

    def waits(self) -> bool:
        """Whether the machine waits for input that nobody types."""
        return False

    def echo(self, out: TextIO | None) -> None:
        """Print what the machine has printed since."""

    def address_text(self, address: int) -> str:
        raise NotImplementedError

    def instruction(self) -> str:
        """The next instruction as a line of the trace."""
        raise NotImplementedError

    def view(self) -> View:
        """The machine for a live terminal."""
        raise NotImplementedError

    def failed(self, reason: str) -> bool:
        """Whether the run ended in a way that a shell should see."""
        return False

    def screenshot(self) -> bytes:
        raise ValueError("--png is not for this machine")

    def wav(self) -> bytes:
        raise ValueError("--wav is not for this machine")


class C64Session(Session):
    """A Commodore 64."""

    alien = ("timing", "tape", "panel", "baud")

    @staticmethod
    def settings(options: argparse.Namespace) -> dict[str, Any]:
        chosen = {"roms": options.roms, "reu": options.reu, "ntsc": options.ntsc or None}
        return {name: value for name, value in chosen.items() if value is not None}

    def prepare(self) -> None:
        if self.options.wav:
            self.machine.log_sid()

    def load(self, image: Path) -> None:
        """Load and start; a program without a BASIC line is started at its first byte."""
        self.machine.load(image)
        if image.suffix.lower() == ".prg":
            program = containers.read(image)
            if isinstance(program, prg.Prg) and program.load != prg.BASIC_START:
                self.machine.type(f"SYS{program.load}\r")

    def advance(self, amount: int, until: int | None) -> str | None:
        reason = self.machine.run(max_cycles=amount, until=until)
        return None if reason.startswith("limit") else reason

    def count(self) -> int:
        return self.machine.cycles

    def text(self) -> str:
        return self.machine.screen()

    def waits(self) -> bool:
        """Whether it waits in CHRIN, or goes round a short loop of GETIN, and nothing is typed."""
        if self.machine.waits or self.machine.keyboard.busy:
            return self.machine.waits
        addresses = set()
        for _ in range(4 * GETIN_LOOP):
            addresses.add(self.machine.registers["pc"])
            self.machine.step()
        return rom.GETIN in addresses and len(addresses) <= GETIN_LOOP

    def address_text(self, address: int) -> str:
        return f"${address:04X}"

    def instruction(self) -> str:
        machine = self.machine
        text, _ = disassembler6502.disassemble(machine.peek, machine.registers["pc"],
                                               self.label_lines())
        return f"{machine.cycles:>12}  {machine.registers!r}  {text}"

    def view(self) -> View:
        machine = self.machine

        def advance(ns: int) -> str | None:
            return self.advance(max(1, ns * machine.clock_hz // 1_000_000_000), None)

        def press(typed: bytes) -> None:
            small = bool(machine.vic[screen.POINTERS] & 2)
            machine.keyboard.type(petscii_of_keys(typed, small))

        return View(advance, lambda: machine.time_ns,
                    lambda height: screen.terminal_lines(screen.read_frame(machine), height),
                    press)

    def failed(self, reason: str) -> bool:
        return reason.startswith("JAM") or "ROM is needed" in reason

    def screenshot(self) -> bytes:
        return screen.screenshot(screen.read_frame(self.machine))

    def wav(self) -> bytes:
        machine = self.machine
        return sid.wav(sid.render(machine.sid_log(), machine.clock_hz, machine.cycles))


class Pdp11Session(Session):
    """A PDP-11."""

    unit = "instructions"
    text_key = "console"
    radix = 8
    alien = ("reu", "roms", "ntsc", "png", "wav")
    echoed = 0

    @staticmethod
    def settings(options: argparse.Namespace) -> dict[str, Any]:
        chosen = {"timing": options.timing, "baud": options.baud}
        return {name: value for name, value in chosen.items() if value is not None}

    def prepare(self) -> None:
        if self.options.tape:
            self.machine.mount(read_file(self.options.tape, lda.SIZE_LIMIT))

    def advance(self, amount: int, until: int | None) -> str | None:
        reason = self.machine.run(max_instructions=amount, until=until)
        return None if reason.startswith("limit") else reason

    def count(self) -> int:
        return self.machine.n_instructions

    def text(self) -> str:
        return self.machine.console

    def waits(self) -> bool:
        """Whether it goes round a short loop that looks at the receiver, and nothing is typed."""
        if any(device.name == "DL11" and device.typed for device in self.machine.devices):
            return False
        addresses = set()
        looks = False
        for _ in range(2 * SHORT_LOOP):
            addresses.add(self.machine.registers["pc"])
            looks = looks or RECEIVER_STATUS in self.instruction({})
            self.machine.step()
        return looks and len(addresses) <= SHORT_LOOP

    def echo(self, out: TextIO | None) -> None:
        if out is not None:
            console = self.machine.console
            out.write(console[self.echoed:])
            out.flush()
            self.echoed = len(console)

    def address_text(self, address: int) -> str:
        return f"{address:06o}"

    def instruction(self, labels: Mapping[int, str] | None = None) -> str:
        machine = self.machine
        text, _ = disassembler11.disassemble(
            machine.virtual, machine.registers["pc"],
            self.label_lines() if labels is None else labels)
        return f"{machine.time_ns:>14}  {machine.registers!r}  {text}"

    def view(self) -> View:
        machine = self.machine

        def advance(ns: int) -> str | None:
            reason = machine.run(max_time_ns=ns)
            return None if reason.startswith("limit") else reason

        def picture(height: int) -> list[str]:
            return panel.draw(machine.name, machine.registers, True,
                              machine.console[-PAPER_LENGTH:], height)

        def press(typed: bytes) -> None:
            machine.type(typed.decode("ascii", "ignore"))

        return View(advance, lambda: machine.time_ns, picture, press)

    def failed(self, reason: str) -> bool:
        return reason.startswith("bus error")


FAMILIES: dict[str, type[Session]] = {"c64": C64Session, "pdp11": Pdp11Session}


def family(name: str) -> type[Session]:
    """The session class for a machine's name; ValueError if there is none."""
    for prefix, kind in FAMILIES.items():
        if name.startswith(prefix):
            return kind
    raise ValueError(f"no machine '{name}' to emulate: c64, c64+reu, c64+crt, pdp11/20 or "
                     "pdp11/34a")
