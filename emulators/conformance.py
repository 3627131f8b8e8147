"""Programs that others wrote to try a CPU, run where the user has them: a table of results.

None of them is ours and none is here: ANACHRON_CONFORMANCE names a folder that holds them, in any
order of folders below it.  What is known of each, and what it must give, is in CHECKS.

To add a program: a function that runs it and says what it saw, and a row in CHECKS.
Sources: K. Dormann, 6502_functional_tests; B. Clark, "Decimal mode", 6502.org; W. Lorenz, test
suite 2.15, with the harness of A. Weissflog's chips-test; DEC MAINDEC-11-DFKAA to -DFKAC and
-DFKTH; D. Brault, ATTN-11.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anachron.emulators import create
from anachron.emulators.containers import lda

VARIABLE = "ANACHRON_CONFORMANCE"


class Failed(Exception):
    """What went wrong in a program that was run."""


@dataclass(frozen=True)
class Check:
    """A program: its file's name, what it tries, and how to run it."""

    name: str
    file: str
    machine: str
    run: Callable[[Path], str]  # -> what was seen, where it is right; raises Failed

    def find(self) -> Path | None:
        """The file, where the user has it."""
        folder = os.environ.get(VARIABLE)
        if not folder:
            return None
        return next(iter(sorted(Path(folder).rglob(self.file))), None)


def load_flat(path: Path, at: int, start: int) -> Any:
    """A bare 6502 with a file in its memory."""
    m = create("6502")
    data = np.frombuffer(path.read_bytes()[: 0x10000 - at], np.uint8)
    m.memory[at : at + len(data)] = data
    m.registers["pc"] = start
    return m


def expect(seen: object, wanted: object, what: str) -> None:
    """Raise Failed unless equal."""
    if seen != wanted:
        raise Failed(f"{what} {seen}, {wanted} expected")


def functional(path: Path) -> str:
    """Every documented opcode and flag; the success address, in exactly so many cycles."""
    m = load_flat(path, 0x0000, 0x0400)
    before = m.cycles
    m.run(max_cycles=200_000_000, until=0x3469)
    expect(f"${m.registers['pc']:04X}", "$3469", "ended at")
    expect(m.cycles - before, 96_241_364, "cycles")
    return f"{m.cycles - before:,} cycles"


def decimal(path: Path) -> str:
    """Addition and subtraction of all bytes in decimal mode, invalid digits and all flags too."""
    m = load_flat(path, 0x0200, 0x0200)
    before = m.cycles
    m.run(max_cycles=200_000_000, until=0x024B)
    expect(f"${m.registers['pc']:04X}", "$024B", "ended at")
    expect(int(m.memory[0x1B]), 0, "ERROR is")
    expect(m.cycles - before, 53_953_825, "cycles")
    return f"{m.cycles - before:,} cycles"


KERNAL_IRQ = bytes.fromhex("488a4898 48babd04 012910f0 036c1603 6c1403".replace(" ", ""))
LOAD, PRINT, KEY, ENDS = 0xE16F, 0xFFD2, 0xFFE4, (0x8000, 0xA474)


def lorenz(path: Path) -> str:
    """Every opcode, undocumented ones too, over all operands: the CPU part, before "trap1"."""
    folder, total, count = path.parent, 0, 0
    said: list[str] = []
    m = create("6502")
    name = path.name
    while True:
        count += 1
        total += _run_lorenz(m, folder / name, said, first=count == 1)
        text = "".join(said[-200:])
        at, length = int(m.memory[0xBB]) | int(m.memory[0xBC]) << 8, int(m.memory[0xB7])
        asked = bytes(m.memory[at : at + length]).decode("latin-1").lower()
        if "error" in text.lower() or m.registers["pc"] == KEY:
            raise Failed(f"{name} says {text[-80:]!r}")
        name = asked.replace("(", "_").replace(")", "")
        if asked == "trap1" or not name:
            break
    expect(count, 222, "programs")
    expect(total, 3_352_080_191, "cycles")
    return f"{count} programs, {total:,} cycles"


def _run_lorenz(m: Any, path: Path, said: list[str], first: bool) -> int:
    """One program of the suite, to the call that loads the next; its cycles."""
    data = np.frombuffer(path.read_bytes()[2:], np.uint8)
    m.memory[0x0801 : 0x0801 + len(data)] = data
    for at, value in ((0x0002, 0), (0xA002, 0), (0xA003, 0x80), (0xFFFE, 0x48), (0xFFFF, 0xFF)):
        m.memory[at] = value
    m.memory[0x01FE], m.memory[0x01FF] = 0xFF, 0x7F
    m.memory[0xFF48 : 0xFF48 + len(KERNAL_IRQ)] = np.frombuffer(KERNAL_IRQ, np.uint8)
    registers = m.registers
    registers["s"], registers["p"] = 0xFD, 0x24
    registers["pc"] = 0x0801 if first else 0x0816
    stops = (LOAD, PRINT, KEY, *ENDS)
    before = m.cycles
    while True:
        m.run(max_cycles=500_000_000, until=stops)
        if registers["pc"] != PRINT:
            return int(m.cycles - before)
        said.append(chr(registers["a"]))
        m.memory[0x030C] = 0
        s = registers["s"]
        back = int(m.memory[0x100 + (s + 1 & 0xFF)]) | int(m.memory[0x100 + (s + 2 & 0xFF)]) << 8
        registers["s"], registers["pc"] = s + 2 & 0xFF, back + 1 & 0xFFFF


def diagnostic(path: Path) -> str:
    """A DEC diagnostic of the 11/34: it prints END or DONE after a pass, or halts."""
    m = create("pdp11/34a")
    m.insert(lda.parse(path.read_bytes(), path.name), path.name)
    m.registers["pc"] = 0o200
    for _ in range(60):
        m.run(max_instructions=1_000_000)
        for word in ("END", "DONE"):
            if word in m.console:
                return " ".join(m.console[m.console.index(word) :].split()[:2])
    raise Failed(f"no end of a pass within 60 M instructions; it says {m.console[-60:]!r}")


def memory_management(path: Path) -> str:
    """DEC's diagnostic of the 11/34's memory management: a pass, and how many errors it counts."""
    m = create("pdp11/34a")
    m.insert(lda.parse(path.read_bytes(), path.name), path.name)
    m.registers["pc"] = 0o200
    m.run(max_instructions=10_000_000, max_time_ns=60_000_000_000)
    lines = [line.split() for line in m.console.splitlines() if "END PASS" in line]
    if not lines:
        raise Failed(f"no end of a pass within 10 M instructions; it says {m.console[-60:]!r}")
    expect(int(lines[0][-1]), 0, "errors in the first pass:")
    return "END PASS, 0 errors"


def attn11(path: Path) -> str:
    """ATTN-11 trains to 10 of 10 in the time that the circuit-level ll-34 takes, to 0.01 %."""
    m = create("pdp11/34a")
    m.load(path)
    m.registers["pc"] = 0o011204
    m.run(max_time_ns=400_000_000_000)
    for window in ("0.217", "0.255", "0.267", "0.395", "0.662", "0.982", "1.000"):
        if f"ACC={window}" not in m.console:
            raise Failed(f"no ACC={window} on the console: {m.console[-200:]!r}")
    seconds = m.time_ns / 1e9
    if abs(seconds / 340.164 - 1) > 1e-4:
        raise Failed(f"{seconds:.3f} s, 340.164 s expected")
    return f"{seconds:.6f} s (ll-34: 340.164000 s)"


CHECKS = (
    Check("Dormann, functional test", "6502_functional_test.bin", "6502", functional),
    Check("Clark, decimal test", "decimal_test_zp10.bin", "6502", decimal),
    Check("Lorenz 2.15, CPU part", "_start", "6502", lorenz),
    Check("DEC FKAAC0, 11/34 instructions", "FKAAC0.BIC", "pdp11/34a", diagnostic),
    Check("DEC FKACA0, 11/34 EIS", "FKACA0.BIC", "pdp11/34a", diagnostic),
    Check("DEC DFKAA-B, 11/34 instructions", "maindec-11-dfkaa-b1-pb.bin", "pdp11/34a", diagnostic),
    Check("DEC DFKAC-A, 11/34 EIS", "maindec-11-dfkac-a-pb.bin", "pdp11/34a", diagnostic),
    Check("DEC FKABD0, 11/34 traps", "FKABD0.BIC", "pdp11/34a", diagnostic),
    Check("DEC DFKAB-C, 11/34 traps", "maindec-11-dfkab-c-pb.bin", "pdp11/34a", diagnostic),
    Check("DEC FKTHB0, 11/34 memory management", "FKTHB0.BIN", "pdp11/34a", memory_management),
    Check("ATTN-11, trained whole", "attn11.lda", "pdp11/34a", attn11),
)


def report() -> list[dict[str, str]]:
    """A row a program: name, machine, result; failures and absences included."""
    rows = []
    for check in CHECKS:
        path = check.find()
        result = f"not here: {check.file}"
        if path:
            try:
                result = f"passes, {check.run(path)}"
            except Failed as failure:
                result = f"FAILS: {failure}"
        rows.append({"program": check.name, "machine": check.machine, "result": result})
    return rows
