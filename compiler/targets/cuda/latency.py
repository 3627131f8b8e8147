"""A stream kernel, assembled -> how many clocks a token takes: an estimate, no GPU needed.

A block of few warps waits for chains of dependent instructions.  How long each link is, NVIDIA's
assembler has written into every instruction: clocks until the next one may go, for units of a fixed
latency; for others, which of six scoreboards they hold and which they wait for.  Here the warps of
one of a multiprocessor's four schedulers go through a pass, each instruction as soon as it may; all
warps are taken to do what the busiest does.

What the assembler leaves to the machine is in LATENCIES, as least, expected and most.  Shared
memory's unit serves all four schedulers, which do the same at the same time: what one asks for
keeps it busy four times as long.  A scheduler's own units are as the assembler spaces one warp's
instructions on them.  Nothing here was measured by us: it is there to compare kernels by, and to be
compared with a GPU.

Sources: the layout of the control bits, Jia, Maggioni, Staiger, Scarpazza, "Dissecting the NVIDIA
Volta GPU Architecture via Microbenchmarking" (2018), section 2.1; shared memory and L2 of an H100,
Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture" (2024); the rest from
older GPUs, or assumed: unverified.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from anachron.compiler.fixed import FixedModel
from anachron.compiler.targets.cuda.inspection import assemble, disassemble
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, write_kernel
from anachron.compiler.targets.cuda.origins import name_lines, name_origins, sum_by_op
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.kernels.cuda.places import WARP

LATENCIES: dict[str, tuple[int, int, int]] = {  # clocks: least, expected, most
    "LDS": (23, 29, 33),
    "LDG": (200, 263, 320),  # from L2
    "REDUX": (14, 23, 34),  # assumed
    "SHFL": (22, 24, 30),
    "MUFU": (17, 22, 40),
    "I2F": (14, 20, 30),
    "F2I": (14, 20, 30),
    "POPC": (14, 20, 30),
    "S2R": (20, 30, 56),
    "S2UR": (20, 30, 56),
    "BAR": (16, 24, 40),  # from the last warp's arrival
    "branch": (6, 10, 16),  # taken, beyond its own stall
    "other": (10, 20, 30),
}
READ = 8  # clocks until a store has read its operands
VECTOR = 2  # more clocks for 16 bytes of shared memory
TENSOR = 6  # clocks between two products on a tensor core
SCHEDULERS, SCOREBOARDS = 4, 6
HALF = 2  # clocks that an instruction takes of a unit of 16 lanes
PRODUCTS = ("IMAD", "IDP", "VIADD")  # on one such unit; ARITHMETIC on another
ARITHMETIC = (
    *("IADD3", "LEA", "LOP3", "SHF", "SEL", "PRMT", "ISETP", "PLOP3", "I2FP"),
    *("VIMNMX", "VIMNMX3", "VIADDMNMX", "FSEL", "FSETP", "P2R", "R2P", "IABS"),
)
Clocks: TypeAlias = tuple[int, int, int]  # least, expected, most
SHARED_UNIT = ("LDS", "STS", "LDG", "STG", "SHFL", "REDUX")
GREEDY = "inverse_temperature == 0"
ENCODED = re.compile(r"/\* 0x([0-9a-f]{16}) \*/")
ORIGIN = re.compile(r'\s*//## File "[^"]*", line (\d+)')
LABEL = re.compile(r"`\((\.L_x_\d+)\)")
LINE = re.compile(r"\s+/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")


@dataclass(frozen=True)
class Instruction:
    """One instruction, with what the assembler wrote into it.

    stall     clocks until the next may go     target  the number of the instruction branched to
    writes, reads   scoreboards that are held until a result is there, until operands are read
    waits     scoreboards, a bit each
    origin    the line of the kernel's text that it comes from
    yields    another warp's instruction is preferred after it
    text      what it says; a label is the number of the instruction there
    """

    opcode: str
    predicate: str
    target: int | None
    stall: int
    writes: int | None
    reads: int | None
    waits: int
    origin: int = 0
    yields: bool = False
    text: str = ""

    @property
    def kind(self) -> str:
        return self.opcode.split(".")[0]


@dataclass(frozen=True)
class Estimate:
    """Clocks of a pass that chooses an id: least, expected, most; the same of the parts.

    intervals  up to each barrier       ops  that the first warp waits for or issues
    """

    clocks: Clocks
    intervals: Mapping[str, Clocks]
    ops: Mapping[str, Clocks] = field(default_factory=dict)

    def microseconds(self, clock_hz: float) -> tuple[float, float, float]:
        lo, expected, hi = (clocks / clock_hz * 1e6 for clocks in self.clocks)
        return lo, expected, hi

    def __repr__(self) -> str:
        lo, expected, hi = self.clocks
        return f"Estimate({expected:,} clocks a token, {lo:,} to {hi:,})"


def read_instructions(listing: str) -> list[Instruction]:
    """Of nvdisasm's text with encodings: the second line of each has the control bits."""
    found: list[tuple[re.Match[str], int, int]] = []
    labels: dict[str, int] = {}
    waiting: re.Match[str] | None = None
    origin = 0
    for line in listing.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(found)
        elif said := ORIGIN.match(line):
            origin = int(said[1])
        elif instruction := LINE.match(line):
            waiting = instruction
        elif waiting and (encoded := ENCODED.search(line)):
            found.append((waiting, int(encoded[1], 16) >> 41, origin))
            waiting = None
    return [_decode(match, control, labels, origin) for match, control, origin in found]


def _decode(
    found: re.Match[str], control: int, labels: Mapping[str, int], origin: int
) -> Instruction:
    label = LABEL.search(found[4])
    said = " ".join(found[0].split()[1:]).rstrip(" ;")
    writes, reads = control >> 5 & 7, control >> 8 & 7
    return Instruction(
        found[3],
        (found[2] or "").strip(),
        labels.get(label[1]) if label and found[3].startswith("BRA") else None,
        max(1, control & 15),
        writes if writes < SCOREBOARDS else None,
        reads if reads < SCOREBOARDS else None,
        control >> 11 & 63,
        origin,
        not control >> 4 & 1,
        LABEL.sub(lambda at: f"{labels.get(at[1], 0):04}", said),
    )


def find_path(instructions: Sequence[Instruction]) -> list[tuple[int, bool]]:
    """What a pass that chooses goes through: (instruction, whether it branches).

    The loop of passes is the smallest around the last barrier.  Guarded lines are gone through;
    loops inside it, which stand for positions beyond what is fetched ahead, are passed by.
    """
    back = [
        (i.target, n) for n, i in enumerate(instructions) if i.target is not None and i.target <= n
    ]
    barrier = max((n for n, i in enumerate(instructions) if i.kind == "BAR"), default=-1)
    around = [(end - start, start) for start, end in back if start <= barrier <= end]
    if not around:
        raise ValueError("no loop with a barrier: this is not a stream kernel")
    start = min(around)[1]
    end = max(n for target, n in back if target == start)
    inner = [n for target, n in back if target > start]
    path: list[tuple[int, bool]] = []
    n = start
    while n < len(instructions) and len(path) <= len(instructions):
        target = instructions[n].target
        always = not instructions[n].predicate
        taken = False
        if target is not None and target > n:
            taken = always or target <= end and any(n < loop < target for loop in inner)
        path.append((n, taken))
        if n == end or (target == start and always):
            return path
        n = target if taken and target is not None else n + 1
    raise ValueError("the way through a pass does not come back: this is not a stream kernel")


class Followed(NamedTuple):
    """Clocks of a pass, when its barriers let go, and what each step of the path took warp 0."""

    clocks: int
    barriers: list[int]
    spent: list[int]


def follow(
    instructions: Sequence[Instruction], path: Sequence[tuple[int, bool]], warps: int, case: int
) -> Followed:
    """A pass as the warps of a scheduler go through it.  case: 0 least, 1 expected, 2 most."""
    each = -(-warps // SCHEDULERS)
    at, ready = [0] * each, [0] * each
    held = [[0] * SCOREBOARDS for _ in range(each)]
    arrived: list[int | None] = [None] * each
    issued, memory, turn = -1, 0, 0
    units = {"products": 0, "arithmetic": 0, "tensor": 0}  # when they are free
    barriers: list[int] = []
    spent, mark = [0] * len(path), 0
    while min(at) < len(path):
        candidates = []
        for offset in range(each):
            warp = (turn + offset) % each
            if at[warp] < len(path) and arrived[warp] is None:
                waits = instructions[path[at[warp]][0]].waits
                free = [held[warp][s] for s in range(SCOREBOARDS) if waits >> s & 1]
                candidates.append((max(ready[warp], *free, 0), offset, warp))
        when, _, warp = min(candidates)
        number, taken = path[at[warp]]
        instruction = instructions[number]
        kind = instruction.kind
        when = begun = max(when, issued + 1)
        if kind in SHARED_UNIT:
            begun = max(when, memory)
            memory = begun + SCHEDULERS * _turns(instruction)
        elif unit := _unit(kind):
            when = max(when, units[unit])
            units[unit] = when + (TENSOR if unit == "tensor" else HALF)
        issued = when
        if instruction.writes is not None:
            latency = LATENCIES.get(kind, LATENCIES["other"])[case]
            done = begun + latency + VECTOR * (".128" in instruction.opcode)
            held[warp][instruction.writes] = max(held[warp][instruction.writes], done)
        if instruction.reads is not None:
            held[warp][instruction.reads] = max(held[warp][instruction.reads], begun + READ)
        ready[warp] = when + instruction.stall + LATENCIES["branch"][case] * taken
        if warp == 0:
            spent[at[0]], mark = when - mark, when
        at[warp] += 1
        turn = (warp + 1) % each
        if kind == "BAR":
            arrived[warp] = when
            if None not in arrived:
                go = max(a for a in arrived if a is not None) + LATENCIES["BAR"][case]
                barriers.append(go)
                spent[at[0] - 1] += go - mark
                mark = go
                ready, arrived = [go] * each, [None] * each
    spent[-1] += max(ready) - mark
    return Followed(max(ready), barriers, spent)


def _unit(kind: str) -> str:
    """A scheduler's own unit that an instruction keeps busy, as ptxas spaces those of a warp."""
    if kind in PRODUCTS:
        return "products"
    return "arithmetic" if kind in ARITHMETIC else "tensor" if kind == "IMMA" else ""


def _turns(instruction: Instruction) -> int:
    """Of the unit that all schedulers share: 128 bytes each."""
    if instruction.kind == "REDUX":
        return 2
    return 4 if ".128" in instruction.opcode else 2 if ".64" in instruction.opcode else 1


def estimate(fixed: FixedModel) -> Estimate:
    """Of a model's stream kernel, taking the likeliest id.

    Raises Absent where NVIDIA's tools are not installed, ValueError for what is not a stream.
    """
    text = write_kernel(fixed, False)
    # A kernel that cannot sample has no other way through its choice.
    ptx = compile_kernel(
        text.source.replace(GREEDY, "True"), text.threads, ARGUMENTS, alone=True
    )
    cubin, _ = assemble(ptx)
    instructions = read_instructions(disassemble(cubin, "-hex", "-g"))
    path = find_path(instructions)
    cases = [follow(instructions, path, text.threads // WARP, case) for case in range(3)]
    names = (*text.leading, *text.at_end)
    ends = [[0, *case.barriers, case.clocks] for case in cases]
    intervals = {}
    for i in range(len(ends[0]) - 1):
        name = names[i] if i < len(names) else "end"
        intervals[f"{i}: {name}"] = _three(end[i + 1] - end[i] for end in ends)
    every = name_origins((i.origin for i in instructions), text.source)
    by_op = [sum_by_op([every[n] for n, _ in path], case.spent, text.source) for case in cases]
    found = set().union(*by_op)
    order = [name for name in dict.fromkeys(name_lines(text.source)) if name in found]
    ops = {name: _three(case.get(name, 0) for case in by_op) for name in order}
    return Estimate(_three(case.clocks for case in cases), intervals, ops)


def _three(cases: Iterable[int]) -> Clocks:
    least, expected, most = cases
    return least, expected, most
