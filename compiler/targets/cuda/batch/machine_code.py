"""A kernel's machine code, and how often each instruction was issued: PTX's counts, carried over.

The interpreter counts the lines of PTX.  NVIDIA's assembler says of each of its instructions which
line it comes from; a stretch without branches runs as often as most of its instructions' lines.
A loop that the assembler unrolls would be counted too often: it leaves these kernels' as they are.

    listing = read_machine_code(ptx, issued)      # issued: line -> times
    listing.instructions[n], listing.count()
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anachron.compiler.targets.cuda.generations import HOPPER
from anachron.compiler.targets.cuda.inspection import assemble, disassemble
from anachron.compiler.targets.cuda.latency import LINE, Instruction, read_instructions

MARK = re.compile(r'//## File "\.nv_debug_ptx_txt[^"]*", line (\d+)')
ORIGIN = re.compile(r"^[ \t]*\.(loc|file)\b[^\n]*$", re.M)  # it would say the kernel's text's lines
LABEL = re.compile(r"\.L_x_\d+:")
DIVERGED = "BRA.DIV"
LEAVES = ("BRA", "EXIT", "BSYNC", "RET", "WARPSYNC", "BRX", "JMP")


@dataclass(frozen=True)
class Stretch:
    """Instructions first to end - 1, without a branch before the last; `times` it was issued."""

    first: int
    end: int
    times: int


@dataclass(frozen=True)
class MachineCode:
    """All instructions of a kernel, and the stretches that they fall into."""

    instructions: tuple[Instruction, ...]
    stretches: tuple[Stretch, ...]

    def count(self) -> Counter[str]:
        """How often each opcode, with its modifiers, was issued."""
        counts: Counter[str] = Counter()
        for stretch in self.stretches:
            for instruction in self.instructions[stretch.first : stretch.end]:
                counts[instruction.opcode] += stretch.times
        return counts


def read_machine_code(ptx: str, issued: Mapping[int, int]) -> MachineCode:
    """Assemble a kernel and carry the counts of its lines over.

    issued  line of the PTX (from 1 on) -> times that a warp issued what stands there

    Raises Absent where NVIDIA's tools are not installed.
    """
    cubin, _ = assemble(ORIGIN.sub("", ptx), HOPPER.capability, "-lineinfo")
    listing = disassemble(cubin, "-gp", "-hex")
    stretches: list[tuple[int, list[int]]] = []  # first instruction, lines of all
    lines: list[int] = []
    n, first, line = 0, 0, 0

    def close() -> None:
        nonlocal first, lines
        if lines:
            stretches.append((first, lines))
        first, lines = n, []

    for text in listing.splitlines():
        if mark := MARK.search(text):
            line = int(mark[1])
        elif LABEL.match(text):
            close()
        elif code := LINE.match(text):
            lines.append(line)
            n += 1
            if code[3].split(".")[0] in LEAVES:
                close()
    close()
    instructions = read_instructions(listing)
    never = _find_diverged(instructions)
    made = []
    for at, some in stretches:
        votes = Counter(issued.get(one, 0) for one in some)
        made.append(Stretch(at, at + len(some), 0 if at in never else votes.most_common(1)[0][0]))
    return MachineCode(tuple(instructions), tuple(made))


def _find_diverged(instructions: Sequence[Instruction]) -> set[int]:
    """What stands aside for a warp whose threads have gone apart, which these kernels' do not."""
    found: set[int] = set()
    for instruction in instructions:
        n = instruction.target
        if instruction.opcode == DIVERGED and n is not None:
            while n < len(instructions) and instructions[n].opcode != "BRA":
                found.add(n)
                n += 1
            found.add(n)
    return found


def find_pass(code: MachineCode) -> list[tuple[int, bool]]:
    """A way through one pass of a batch kernel: (instruction, whether it branches).

    The last sum of a warp asks whether a stream goes on: it is gone through once a pass.  Inner
    loops go round as often as on average, and branches go the way that was taken more often.
    """
    asks = [s for s in code.stretches if any(
        i.kind == "REDUX" for i in code.instructions[s.first : s.end]
    )]
    if not asks or not asks[-1].times:
        raise ValueError("no pass was counted: this is not a batch kernel's run")
    passes = asks[-1].times
    start = {s.first: s for s in code.stretches}
    each = [s.times for s in code.stretches for _ in range(s.first, s.end)]
    inner = [s for s in code.stretches if s.times == passes]
    first, last = inner[0].first, inner[-1].end
    rounds: dict[int, int] = {}
    path: list[tuple[int, bool]] = []
    n = first
    while first <= n < last and len(path) < 40 * len(code.instructions):
        instruction = code.instructions[n]
        target, taken = instruction.target, False
        if target is not None:
            ahead = start[target].times if target in start else 0
            if not instruction.predicate or target == first:
                taken = instruction.opcode != DIVERGED
            elif target <= n:
                rounds[n] = rounds.get(n, 0) + 1
                taken = rounds[n] < round(each[n] / passes)
                if not taken:
                    rounds[n] = 0
            else:
                beside = start[n + 1].times if n + 1 in start else 0
                taken = beside < ahead and beside < passes
        path.append((n, taken))
        if taken and target == first:
            break
        n = target if taken and target is not None else n + 1
    return path
