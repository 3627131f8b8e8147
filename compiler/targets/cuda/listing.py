"""A kernel as a person reads it: the lines of its text, each over the instructions made of it.

A GPU's listing is its machine code, as NVIDIA's assembler makes it for an H200, with what it wrote
into each instruction for the scheduler:

    ---- layer0.a: rms_norm
      96 | total = redux_add(total)
      0101  B------:R-:W1:-:S02   REDUX.SUM.S32 UR4, R141

B names the scoreboards that are waited for, R and W those held until operands are read, until the
result is there; Y lets another warp go first; S is how many clocks until the next instruction may.
A branch says the number of the instruction it goes to.  The interpreter's listing is the PTX.
A line of the text stands again where the compiler comes back to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from anachron.compiler.targets.cuda.generations import HOPPER
from anachron.compiler.targets.cuda.inspection import assemble, disassemble
from anachron.compiler.targets.cuda.latency import SCOREBOARDS, Instruction, read_instructions
from anachron.compiler.targets.cuda.origins import name_lines
from anachron.emulators.ptx.syntax import ORIGIN, parse

ENVIRONMENT = re.compile(r"\b_ZN08NumbaEnv\w+")  # a word of Numba's, which nothing reads
UNSAID = re.compile(r"\s*(//.*)?")  # empty lines, and where inline assembly begins and ends
OPENS = re.compile(r"\s*# \S+: ")


def list_machine_code(ptx: str, source: str) -> str:
    """Of a kernel and the text it was compiled from.  Raises Absent without NVIDIA's tools."""
    cubin, _ = assemble(ptx, HOPPER.capability)
    instructions = read_instructions(disassemble(cubin, "-hex", "-g"))
    told = ((i.origin, _tell(n, i)) for n, i in enumerate(instructions))
    return "\n".join(_interleave(told, source)) + "\n"


def list_ptx(ptx: str, source: str) -> str:
    """The same of the PTX; the kernel's name, which spells its types, is cut down to `kernel`."""
    return "\n".join(_interleave(_read_ptx(ptx), source)) + "\n"


def _tell(number: int, instruction: Instruction) -> str:
    waits = "".join(str(s) if instruction.waits >> s & 1 else "-" for s in range(SCOREBOARDS))
    reads, writes = (
        "-" if board is None else board for board in (instruction.reads, instruction.writes)
    )
    turn = "Y" if instruction.yields else "-"
    control = f"B{waits}:R{reads}:W{writes}:{turn}:S{instruction.stall:02}"
    return f"  {number:04}  {control}   {instruction.text}"


def _read_ptx(ptx: str) -> Iterator[tuple[int, str]]:
    origin = 0
    text = ENVIRONMENT.sub("environment", ptx.replace(parse(ptx).name, "kernel"))
    for line in text.splitlines():
        if said := ORIGIN.match(line):
            origin = int(said[1])
        elif not UNSAID.fullmatch(line):
            yield origin, line.rstrip().expandtabs(8)


def _interleave(told: Iterable[tuple[int, str]], source: str) -> Iterator[str]:
    """Instructions, with the line of the text over them wherever it changes, and the op."""
    lines, names = ["", *source.splitlines()], name_lines(source)
    headings = {n: line.strip(" #") for n, line in zip(names, lines, strict=True)
                if OPENS.match(line)}  # fmt: skip
    at, op = 0, ""
    for origin, instruction in told:
        if origin != at and 0 < origin < len(lines):
            at = origin
            if names[at] != op:
                op = names[at]
                yield f"---- {headings.get(op, op)}"
            yield f"{at:4} | {lines[at].strip()}"
        yield instruction
