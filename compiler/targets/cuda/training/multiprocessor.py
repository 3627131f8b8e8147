"""A kernel of independent warps, assembled -> the clocks that a multiprocessor takes for a step.

Warps go through the loop of steps on four schedulers.  Each issues an instruction a clock, of the
warp that may go and has waited longest; an instruction may go when the assembler's stall is over,
the scoreboards that it names are free (latency.py) and its unit takes it: those for integers and
for IMAD take half a warp a clock, those for floats a whole one, a scheduler has each to itself; one
shared memory answers a wavefront a clock to all.

What the machine decides is given as three cases, as there: least, expected, most.  What no case
has: stores and loads that wait for L2's bandwidth, and instructions that wait to be fetched.

Source: CUDA C++ Programming Guide, table of arithmetic throughput, compute capability 9.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anachron.compiler.targets.cuda.latency import (
    LATENCIES,
    READ,
    SCHEDULERS,
    SCOREBOARDS,
    Instruction,
)

CASES = (0, 1, 2)
SLOW = ("MUFU", "I2F", "F2I", "POPC", "REDUX", "FLO", "BREV")  # four lanes a clock
FLOATS = ("FFMA", "FMUL", "FADD")
OTHERS = ("BRA", "NOP", "BAR", "WARPSYNC", "BSSY", "BSYNC", "EXIT", "S2R", "CS2R", "S2UR")
SHARED = ("LDS", "STS", "SHFL")
GLOBAL = ("LDG", "STG", "LDC", "ATOMS")
MULTIPLIERS = ("IMAD", "IDP", "HFMA2", "IMMA")
WIDTHS = {".128": 16, ".64": 8}
STEPS = 3  # that each warp goes through; the first is not counted
Wavefronts = Callable[[str, int], float]  # of ld or st, of so many bytes a lane


@dataclass(frozen=True)
class Loop:
    """The way through a step: the assembled instructions in order, and which of them branch."""

    instructions: tuple[Instruction, ...]
    taken: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.instructions)


def find_loop(instructions: Sequence[Instruction]) -> Loop:
    """The innermost loop with the most multiplications of floats, gone through on its longest way.

    Raises ValueError for a kernel without one.
    """
    loops = [
        (i.target, n) for n, i in enumerate(instructions) if i.target is not None and i.target <= n
    ]

    def work(loop: tuple[int, int]) -> tuple[int, int]:
        start, end = loop
        return sum(i.kind in FLOATS for i in instructions[start : end + 1]), start - end

    if not loops or not work(max(loops, key=work))[0]:
        raise ValueError("no loop that multiplies: this kernel does not train")
    start, end = max(loops, key=work)
    longest = {end: 1}
    follows: dict[int, int] = {}
    for n in range(end - 1, start - 1, -1):
        for after in _successors(instructions[n], n):
            if longest.get(after, 0) >= longest.get(n, 1):
                longest[n], follows[n] = longest[after] + 1, after
    way = [start]
    while way[-1] != end:
        if way[-1] not in follows:
            raise ValueError("a step's way leaves its loop: this kernel is not known")
        way.append(follows[way[-1]])
    taken = [b != a + 1 for a, b in zip(way, [*way[1:], start], strict=True)]
    return Loop(tuple(instructions[n] for n in way), tuple(taken))


def _successors(instruction: Instruction, n: int) -> list[int]:
    """Where a warp that stays together may go on."""
    target = instruction.target
    if target is None or ".DIV" in instruction.opcode:
        return [n + 1]
    return [n + 1, target] if instruction.predicate else [target]


def find_unit(kind: str) -> tuple[str, float]:
    """Which unit of a scheduler an instruction goes to, and the clocks that it is busy."""
    if kind in FLOATS:
        return "float", 1
    if kind in MULTIPLIERS:
        return "multiply", 2
    if kind in SHARED or kind in GLOBAL:
        return "memory", 2
    if kind in SLOW:
        return "slow", 8
    return ("none", 0) if kind in OTHERS or kind.startswith("U") else ("integer", 2)


def follow(loop: Loop, warps: int, wavefronts: Wavefronts, case: int) -> float:
    """Clocks from a step of a warp to its next, with so many warps at it."""
    each = [len(range(s, warps, SCHEDULERS)) for s in range(SCHEDULERS)]
    prepared = [_prepare(i, taken, wavefronts, case) for i, taken in
                zip(loop.instructions, loop.taken, strict=True)]  # fmt: skip
    length = len(prepared)
    state = [
        [[0.0, [0.0] * SCOREBOARDS, (7 * w) % length] for w in range(count)] for count in each
    ]
    clock, busy = [0.0] * SCHEDULERS, [dict.fromkeys(UNITS, 0.0) for _ in range(SCHEDULERS)]
    memory, done, finished = 0.0, [0] * SCHEDULERS, [0.0] * SCHEDULERS
    begun = [0.0] * SCHEDULERS
    targets = [count * length * STEPS for count in each]
    warm = [count * length for count in each]
    while True:
        waiting = [s for s in range(SCHEDULERS) if done[s] < targets[s]]
        if not waiting:
            break
        s = min(waiting, key=clock.__getitem__)
        best, chosen = float("inf"), state[s][0]
        for warp in state[s]:
            held = warp[1]
            when = warp[0]
            for board in prepared[warp[2]][1]:
                if held[board] > when:
                    when = held[board]
            free = busy[s][prepared[warp[2]][2]]
            when = free if free > when else when
            if when < best:
                best, chosen = when, warp
        stall, _, unit, takes, waves, writes, latency, reads = prepared[chosen[2]]
        now = best if best > clock[s] else clock[s]
        clock[s] = now + 1
        busy[s][unit] = now + takes if unit != "none" else 0.0
        start = now
        if waves:
            start = memory if memory > now else now
            memory = start + waves
        if writes is not None:
            chosen[1][writes] = max(chosen[1][writes], start + waves + latency)
        if reads is not None:
            chosen[1][reads] = max(chosen[1][reads], start + READ)
        chosen[0] = now + stall
        chosen[2] = (chosen[2] + 1) % length
        done[s] += 1
        if done[s] == warm[s]:
            begun[s] = clock[s]
        finished[s] = clock[s]
    rates = [
        each[s] * (STEPS - 1) / (finished[s] - begun[s]) for s in range(SCHEDULERS) if each[s]
    ]
    return 1 / sum(rates)


UNITS = ("float", "multiply", "memory", "slow", "integer", "none")


def _prepare(
    instruction: Instruction, taken: bool, wavefronts: Wavefronts, case: int
) -> tuple[float, tuple[int, ...], str, float, float, int | None, float, int | None]:
    kind = instruction.kind
    unit, takes = find_unit(kind)
    waves = 0.0
    if kind in SHARED:
        size = next((n for mark, n in WIDTHS.items() if mark in instruction.opcode), 4)
        waves = 1.0 if kind == "SHFL" else wavefronts("st" if kind == "STS" else "ld", size)
    latency = LATENCIES.get(kind, LATENCIES["other"])[case]
    stall = instruction.stall + LATENCIES["branch"][case] * taken
    boards = tuple(s for s in range(SCOREBOARDS) if instruction.waits >> s & 1)
    return stall, boards, unit, takes, waves, instruction.writes, latency, instruction.reads
