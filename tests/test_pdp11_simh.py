"""Random instructions in random states: the same registers, status and memory as SIMH's 11/34.

ANACHRON_SIMH_CASES in the environment asks for more of them, ANACHRON_SIMH_SEED for others.
"""

import os
import random
import re
import shutil
import subprocess
from dataclasses import dataclass, field

import numpy as np
import pytest

from anachron.emulators import create
from anachron.emulators.pdp11.machine import Pdp11

N_CASES = int(os.environ.get("ANACHRON_SIMH_CASES", "600"))
SEED = int(os.environ.get("ANACHRON_SIMH_SEED", "34"))
WINDOW = range(0o2000, 0o2200, 2)  # where pointers point
CODE, HANDLERS = 0o4000, 0o5000
LEFT_OUT = (0, 1, 5)  # HALT, WAIT, RESET
VALUES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFF80, 0xFFFF)
needs_simh = pytest.mark.skipif(shutil.which("pdp11") is None, reason="SIMH's pdp11 is absent")


@dataclass(frozen=True)
class Case:
    """An instruction, its following words, and the state before it."""

    words: tuple[int, ...]
    registers: tuple[int, ...]
    kernel_sp: int
    user_sp: int
    psw: int
    memory: tuple[int, ...] = field(repr=False)


def pointer(rng: random.Random) -> int:
    odd = rng.random() < 0.03
    return rng.randrange(WINDOW.start + 0o40, WINDOW.stop - 0o40, 2) + odd


def value(rng: random.Random) -> int:
    return rng.choice((rng.choice(VALUES), rng.randrange(65536), rng.randrange(64)))


def instruction(rng: random.Random) -> int:
    """A word: any at all, or one of the frequent forms."""
    while True:
        spec = rng.randrange(0o100)
        word = rng.choice((
            rng.randrange(0o200000),
            rng.randrange(0o20) << 12 | rng.randrange(0o100) << 6 | spec,
            0o070000 | rng.randrange(5) << 9 | rng.randrange(8) << 6 | spec,
            rng.choice((0, 0o100000)) | rng.randrange(0o50, 0o70) << 6 | spec,
            rng.choice((0o000100, 0o000300, 0o004000 | rng.randrange(8) << 6)) | spec,
            rng.choice((0, 0o100000)) | rng.randrange(8) << 8 | rng.randrange(256),
            rng.randrange(2, 0o10), 0o200 + rng.randrange(0o100)))
        if word not in LEFT_OUT:
            return word


def case(rng: random.Random) -> Case:
    word = instruction(rng)
    specs = (word >> 6 & 0o77, word & 0o77)
    registers = [value(rng) for _ in range(6)]
    for spec in specs:
        if spec >> 3 and spec & 7 < 6:
            registers[spec & 7] = pointer(rng)
    words, at = [word], CODE + 2
    for spec in specs:
        mode, register = spec >> 3, spec & 7
        at += 2
        if register == 7 and mode >= 6:
            words.append((pointer(rng) - at) & 0xFFFF)
        elif mode >= 6:
            words.append(rng.randrange(-16, 16, 2) + (rng.random() < 0.03) & 0xFFFF)
        elif register == 7 and mode == 3:
            words.append(pointer(rng))
        elif register == 7 and mode == 2:
            words.append(value(rng))
        else:
            at -= 2
    modes = rng.choice((0, 0, 0, 0, 0, 0, 0o170000, 0o140000, 0o030000))
    psw = modes | 0o340 | rng.randrange(16) | (0o20 if rng.random() < 0.1 else 0)
    memory = [rng.choice((value(rng), pointer(rng))) for _ in WINDOW]
    if word in (2, 6):  # RTI, RTT: to kernel or user mode; the others are not the 11/34's
        memory = [w if w >> 14 in (0, 3) else w & 0o037777 for w in memory]
    sp = 0o402 if rng.random() < 0.03 else pointer(rng) & ~1
    return Case(tuple(words), tuple(registers), sp, pointer(rng) & ~1, psw, tuple(memory))


def vectors() -> dict[int, int]:
    """Every vector leads to a place of its own."""
    return {vector + half: (HANDLERS + 2 * vector, 0o340 | vector >> 2 & 15)[half >> 1]
            for vector in range(0, 0o400, 4) for half in (0, 2)}


def surroundings() -> np.ndarray:
    """The words of the lowest 4 KB: vectors, and NOPs, around what a case puts there."""
    words = np.full(0o10000, 0o240, np.uint16)
    words[[address >> 1 for address in vectors()]] = list(vectors().values())
    return words


RESULTS = ("R0", "R1", "R2", "R3", "R4", "R5", "KSP", "USP", "PC", "PSW")


def ask_simh(cases: list[Case]) -> list[list[int]]:
    """Each case's results after one instruction or, where that traps, after its handler's first."""
    lines = ["set cpu 11/34", "set cpu 64K", "d 0-17776 240"]
    for one in cases:
        lines += ["d 400-500 240", "d 1700-1776 240", "d 2200-2276 240", "d 3700-4300 240",
                  f"d {HANDLERS:o}-5776 240",
                  *(f"d {a:o} {w:o}" for a, w in vectors().items())]
        lines += [f"d {CODE + 2 * i:o} {word:o}" for i, word in enumerate((*one.words, 160, 160))]
        lines += [f"d {a:o} {w:o}" for a, w in zip(WINDOW, one.memory, strict=True)]
        lines += [f"d r{i} {word:o}" for i, word in enumerate(one.registers)]
        lines += [f"d psw {one.psw:o}", f"d ksp {one.kernel_sp:o}", f"d usp {one.user_sp:o}",
                  "d traps 0", "d wait 0", f"d pc {CODE:o}"]
        lines += ["step 1", "e TRAPS", f"e {','.join(RESULTS)}",
                  f"e {WINDOW.start:o}-{WINDOW.stop - 2:o}"] * 2
    output = subprocess.run(["pdp11"], input="\n".join([*lines, "quit", ""]), text=True,
                            timeout=600, capture_output=True, check=True, errors="replace").stdout
    numbers = [int(word, 8) for word in
               re.findall(r"^(?:sim> )*(?:[A-Z]+\d?|\d+):\s+([0-7]+)\s*$", output, re.M)]
    size = 1 + len(RESULTS) + len(WINDOW)
    assert len(numbers) == 2 * size * len(cases), (len(numbers), size * len(cases))
    steps = [numbers[i:i + size] for i in range(0, len(numbers), size)]
    return [(second if first[0] else first)[1:]
            for first, second in zip(steps[::2], steps[1::2], strict=True)]


def ask_machine(m: Pdp11, one: Case, around: np.ndarray) -> list[int] | None:
    """The same of ours; None where a trap has no stack: both stop then, but not alike."""
    m.reset()
    m.word[0:2 * len(around)] = around
    m.word[CODE:CODE + 2 * len(one.words) + 4] = (*one.words, 160, 160)
    m.word[WINDOW.start:WINDOW.stop] = one.memory
    m.registers["psw"] = one.psw
    kernel = one.psw >> 14 == 0
    m.registers["sp"] = one.kernel_sp if kernel else one.user_sp
    m.put("other_sp", one.user_sp if kernel else one.kernel_sp)
    for i, word in enumerate(one.registers):
        m.registers[f"r{i}"] = word
    m.registers["pc"] = CODE
    why = m.run(max_instructions=1)
    if why.startswith("bus error"):
        return None
    if m.get("at") == CODE and m.registers["pc"] in range(HANDLERS, HANDLERS + 0o1000, 8):
        m.run(max_instructions=1)
    psw, sp, other = m.registers["psw"], m.registers["sp"], m.get("other_sp")
    stacks = (sp, other) if psw >> 14 == 0 else (other, sp)
    return [*(m.registers[f"r{i}"] for i in range(6)), *stacks, m.registers["pc"], psw,
            *m.word[WINDOW.start:WINDOW.stop].tolist()]


@pytest.mark.simh
@needs_simh
def test_random_instructions_do_what_they_do_in_simh() -> None:
    rng = random.Random(SEED)
    cases = [case(rng) for _ in range(N_CASES)]
    machine, around = create("pdp11/34a"), surroundings()
    wrong = []
    for one, theirs in zip(cases, ask_simh(cases), strict=True):
        ours = ask_machine(machine, one, around)
        if ours is not None and ours != theirs:
            names = (*RESULTS, *(f"{a:o}" for a in WINDOW))
            wrong.append((" ".join(f"{w:06o}" for w in one.words), one, [
                f"{name}: ours {a:o}, SIMH {b:o}"
                for name, a, b in zip(names, ours, theirs, strict=True) if a != b]))
    assert not wrong, f"{len(wrong)} of {N_CASES} (seed {SEED}), the first: {wrong[:3]}"
