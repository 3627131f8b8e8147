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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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
UNITS = ("float", "multiply", "memory", "slow", "integer", "none")
QUEUE = 24  # wavefronts that may wait before a scheduler sends no more: assumed
APART = 7  # instructions that warps begin behind each other
MOST_OF_IT = 0.9  # of the multiplications that any loop has
STEPS = 2  # that each warp goes through; the first is not counted
Wavefronts = Callable[[str, int], float]  # of ld or st, of so many bytes a lane


@dataclass(frozen=True)
class Loop:
    """The way through a step: the assembled instructions in order, and which of them branch."""

    instructions: tuple[Instruction, ...]
    taken: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.instructions)


def find_loop(instructions: Sequence[Instruction]) -> Loop:
    """The shortest of the loops that multiply most, each gone through on its longest way.

    Raises ValueError for a kernel without one.
    """
    ends: dict[int, list[int]] = {}
    before: dict[int, list[int]] = {}
    for n, instruction in enumerate(instructions):
        for after in _successors(instruction, n):
            before.setdefault(after, []).append(n)
            if after <= n:
                ends.setdefault(after, []).append(n)
    found = (
        _go_round(instructions, start, _find_body(before, start, jumps))
        for start, jumps in ends.items()
    )
    ways = [way for way in found if way]

    def work(way: list[int]) -> int:
        return sum(instructions[n].kind in FLOATS for n in way)

    most = max(map(work, ways), default=0)
    if not most:
        raise ValueError("no loop that multiplies: this kernel does not train")
    way = min((way for way in ways if work(way) >= MOST_OF_IT * most), key=len)
    taken = [b != a + 1 for a, b in zip(way, [*way[1:], way[0]], strict=True)]
    return Loop(tuple(instructions[n] for n in way), tuple(taken))


def _find_body(
    before: Mapping[int, Sequence[int]], start: int, jumps: Sequence[int]
) -> frozenset[int]:
    """A loop's instructions: those from which it jumps back without a way over its start."""
    body, waiting = {start}, list(jumps)
    while waiting:
        n = waiting.pop()
        if n not in body:
            body.add(n)
            waiting += before.get(n, ())
    return frozenset(body)


def _go_round(
    instructions: Sequence[Instruction], start: int, body: frozenset[int]
) -> list[int]:
    """The longest way from an instruction back to it; empty where there is none.  Loops inside
    are gone through once."""
    after: dict[int, list[int]] = {}
    longest: dict[int, int] = {}
    follows: dict[int, int] = {}
    stack, inside = [start], {start}
    while stack:
        n = stack[-1]
        if n not in after:
            after[n] = [s for s in _successors(instructions[n], n) if s in body]
        new = next((s for s in after[n] if s not in after and s not in inside), None)
        if new is not None:
            stack.append(new)
            inside.add(new)
            continue
        for s in after[n]:
            if s == start or s not in inside and s in longest:
                length = 1 if s == start else longest[s] + 1
                if length > longest.get(n, 0):
                    longest[n], follows[n] = length, s
        inside.discard(stack.pop())
    way = [start] if start in longest else []
    while way and follows[way[-1]] != start:
        way.append(follows[way[-1]])
    return way


def _successors(instruction: Instruction, n: int) -> list[int]:
    """Where a warp that stays together may go on."""
    target = instruction.target
    if instruction.kind == "EXIT" and not instruction.predicate:
        return []
    if target is None or ".DIV" in instruction.opcode:
        return [n + 1]
    return [n + 1, target] if instruction.predicate else [target]


def find_unit(kind: str) -> tuple[str, int]:
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


@dataclass(slots=True)
class Warp:
    """Where it is in the loop, when it may go on, and until when each scoreboard is held."""

    at: int
    ready: float = 0.0
    held: list[float] = field(default_factory=lambda: [0.0] * SCOREBOARDS)


@dataclass(slots=True)
class Scheduler:
    """Its warps, its clock, until when its units are busy, and how much of the loop is done."""

    warps: list[Warp]
    clock: float = 0.0
    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys(UNITS, 0.0))
    done: int = 0
    begun: float = 0.0  # when the first step of each was through


@dataclass(frozen=True, slots=True)
class Cost:
    """An instruction's: clocks to the warp's next, its unit and how long that is busy, wavefronts
    of shared memory, clocks until a scoreboard that it writes is free."""

    stall: float
    waits: tuple[int, ...]
    unit: str
    takes: int
    wavefronts: float
    writes: int | None
    latency: float
    reads: int | None


def follow(loop: Loop, warps: int, wavefronts: Wavefronts, case: int) -> float:
    """Clocks from a step that a multiprocessor ends to its next, with so many warps at it."""
    costs = [
        find_cost(instruction, taken, wavefronts, case)
        for instruction, taken in zip(loop.instructions, loop.taken, strict=True)
    ]
    numbers = [range(s, warps, SCHEDULERS) for s in range(SCHEDULERS)]
    schedulers = [
        Scheduler([Warp(APART * number % len(loop)) for number in some])
        for some in numbers if some
    ]  # fmt: skip
    memory, length = 0.0, len(loop)
    working = list(schedulers)
    while working:
        scheduler = min(working, key=lambda s: s.clock)
        warp, now = _choose(scheduler, costs)
        cost = costs[warp.at]
        now = max(now, scheduler.clock)
        scheduler.clock = now + 1
        scheduler.busy[cost.unit] = now + cost.takes
        start = now
        if cost.wavefronts:
            start = max(memory, now)
            memory = start + cost.wavefronts
            scheduler.busy[cost.unit] = max(scheduler.busy[cost.unit], memory - QUEUE)
        if cost.writes is not None:
            done = start + cost.wavefronts + cost.latency
            warp.held[cost.writes] = max(warp.held[cost.writes], done)
        if cost.reads is not None:
            warp.held[cost.reads] = max(warp.held[cost.reads], start + READ)
        warp.ready = now + cost.stall
        warp.at = (warp.at + 1) % length
        scheduler.done += 1
        if scheduler.done == len(scheduler.warps) * length:
            scheduler.begun = scheduler.clock
        if scheduler.done == STEPS * len(scheduler.warps) * length:
            working.remove(scheduler)
    steps = (len(s.warps) * (STEPS - 1) / (s.clock - s.begun) for s in schedulers)
    return 1 / sum(steps)


def _choose(scheduler: Scheduler, costs: Sequence[Cost]) -> tuple[Warp, float]:
    """The warp that may go first, and when."""
    chosen, best, busy = scheduler.warps[0], float("inf"), scheduler.busy
    for warp in scheduler.warps:
        cost = costs[warp.at]
        when = warp.ready
        if busy[cost.unit] > when:
            when = busy[cost.unit]
        for board in cost.waits:
            if warp.held[board] > when:
                when = warp.held[board]
        if when < best:
            chosen, best = warp, when
    return chosen, best


def find_cost(instruction: Instruction, taken: bool, wavefronts: Wavefronts, case: int) -> Cost:
    kind = instruction.kind
    unit, takes = find_unit(kind)
    waves = 0.0
    if kind in SHARED:
        size = next((n for mark, n in WIDTHS.items() if mark in instruction.opcode), 4)
        waves = 1.0 if kind == "SHFL" else wavefronts("st" if kind == "STS" else "ld", size)
    return Cost(
        instruction.stall + LATENCIES["branch"][case] * taken,
        tuple(s for s in range(SCOREBOARDS) if instruction.waits >> s & 1),
        unit,
        takes,
        waves,
        instruction.writes,
        LATENCIES.get(kind, LATENCIES["other"])[case],
        instruction.reads,
    )
