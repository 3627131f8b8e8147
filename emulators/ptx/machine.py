"""One block of threads: who runs next, divergence, barriers, and the counts.

Threads of a warp that have gone different ways run the earliest of their instructions first, so
that they meet again where their ways do.  Without a seed all warps run together; with one, a warp
is drawn at each branch.  A barrier of the block waits for every thread of it.
Source: PTX ISA 9.0, sections 3 (machine model), 9.7.12 (control flow), 9.7.13 (barriers).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from anachron.emulators.ptx.access import ACCESSES, Memory
from anachron.emulators.ptx.approximate import APPROXIMATIONS, bind_conversion
from anachron.emulators.ptx.collective import COLLECTIVES, check_together
from anachron.emulators.ptx.isa import OPCODES, Step
from anachron.emulators.ptx.memory import WARP, Clock, Race
from anachron.emulators.ptx.registers import Array, Registers
from anachron.emulators.ptx.syntax import Instruction, Program, PtxError

MOVES = ("ld", "st", "mov", "selp")
BRANCHES = ("bra", "ret", "exit", "trap")
BLOCK_BARRIERS = ("bar.sync", "barrier.sync", "barrier.sync.aligned")
NOTHING = ("membar", "fence")


@dataclass(frozen=True)
class Result:
    """What one launch did.

    counts     times that a warp issued each opcode, those of a false guard included
    issued     the same of each instruction of the program
    intervals  instructions issued up to each barrier of the block, and after the last one
    threads    instructions times the threads that were active
    unset      loads of shared memory that nobody had stored to
    """

    counts: Mapping[str, int]
    intervals: tuple[int, ...]
    threads: int
    races: tuple[Race, ...]
    issued: tuple[int, ...] = ()
    unset: tuple[Race, ...] = ()

    @property
    def instructions(self) -> int:
        return sum(self.counts.values())

    def __repr__(self) -> str:
        return (
            f"Result({self.instructions:,} instructions, {len(self.intervals)} intervals, "
            f"{len(self.races)} races)"
        )


class Block:
    """A block being run; `run` does all of it."""

    def __init__(
        self,
        program: Program,
        registers: Registers,
        memory: Memory,
        clock: Clock,
        seed: int | None,
        most: int,
    ) -> None:
        self.program, self.clock, self.most = program, clock, most
        self.now = registers.now
        self.steps = [bind(i, registers, memory) for i in program.instructions]
        self.guards = [
            registers.read(i.guard, "pred") if i.guard else None for i in program.instructions
        ]
        self.leaders = frozenset(program.labels.values())
        self.random = None if seed is None else np.random.default_rng(seed)
        self.end = len(program.instructions)
        self.at = np.zeros(registers.threads, np.int64)
        self.waiting = np.zeros(registers.threads, bool)
        self.issued = np.zeros(self.end, np.int64)
        self.intervals: list[int] = []
        self.since_barrier = 0
        self.active_threads = 0
        self.total = 0

    def run(self) -> None:
        """To the end of every thread.  Raises PtxError for what a GPU would leave undefined."""
        while True:
            ready = (self.at < self.end) & ~self.waiting
            if not ready.any():
                self.intervals.append(self.since_barrier)
                self.since_barrier = 0
                if not self.waiting.any():
                    return
                self._pass_barrier()
                continue
            if self.random is not None:
                ready &= self.clock.warp == self.random.choice(np.unique(self.clock.warp[ready]))
            first = int(self.at[ready].min())
            self._run_stretch(first, ready & (self.at == first))

    def _pass_barrier(self) -> None:
        if not self.waiting.all():
            late = int(np.flatnonzero(~self.waiting)[0])
            raise PtxError(f"thread {late} ends while others wait at a barrier")
        places = np.unique(self.at)
        if len(places) > 1:
            lines = [str(self.program.instructions[int(at) - 1]) for at in places[:2]]
            raise PtxError(f"threads wait at different barriers: {' and '.join(lines)}")
        self.waiting[:] = False
        self.clock.block += 1

    def _run_stretch(self, first: int, active: Array) -> None:
        """Straight on from an instruction up to a branch, a label or a barrier."""
        lanes = None if active.all() else active
        self.now[:] = self.total
        at, end = first, self.end
        instructions, steps, guards = self.program.instructions, self.steps, self.guards
        while at < end:
            instruction, guard = instructions[at], guards[at]
            name = instruction.parts[0]
            if name in BRANCHES:
                at += 1
                self._branch(instruction, at, active, guard)
                break
            if name in ("bar", "barrier"):
                at += 1
                self.at[active] = at
                if self._wait(instruction, lanes, active):
                    break
            else:
                taking = lanes
                if guard is not None:
                    taking = active & (guard ^ instruction.negated)
                if guard is None or taking is not None and taking.any():
                    try:
                        steps[at](taking)
                    except PtxError as error:
                        text = str(error)
                        if not text.startswith("line "):
                            raise PtxError(f"{instruction}: {text}") from None
                        raise
                at += 1
            if at in self.leaders:
                self.at[active] = at
                break
        else:
            self.at[active] = at
        self._account(first, at, active)

    def _account(self, first: int, end: int, active: Array) -> None:
        warps = int(active.reshape(-1, WARP).any(1).sum())
        self.issued[first:end] += warps
        self.since_barrier += warps * (end - first)
        self.active_threads += int(active.sum()) * (end - first)
        self.total += warps * (end - first)
        if self.total > self.most:
            raise PtxError(f"not done after {self.most:,} instructions")

    def _branch(
        self, instruction: Instruction, after: int, active: Array, guard: Array | None
    ) -> None:
        taken = active if guard is None else active & (guard ^ instruction.negated)
        self.at[active] = after
        match instruction.parts[0]:
            case "bra":
                self.at[taken] = self.program.labels[instruction.operands[0]]
            case "trap":
                if taken.any():
                    raise PtxError(f"{instruction}: thread {int(np.flatnonzero(taken)[0])} traps")
            case _:
                self.at[taken] = self.end

    def _wait(self, instruction: Instruction, lanes: Array | None, active: Array) -> bool:
        """Take part in a barrier; True if the stretch ends here."""
        if instruction.opcode in BLOCK_BARRIERS:
            self.waiting |= active
            return True
        check_together(lanes, instruction)
        self.clock.warps[np.unique(self.clock.warp[active])] += 1
        return False


def bind(instruction: Instruction, registers: Registers, memory: Memory) -> Step:
    """The step of an instruction; PtxError if it is not known, or its operands do not fit."""
    name = instruction.parts[0]
    two = ".".join(instruction.parts[:2])
    operands = instruction.operands
    try:
        if name in BRANCHES:
            if name == "bra" and operands[0] not in registers.program.labels:
                raise PtxError(f"there is no label {operands[0]}")
            return _nothing
        if name in NOTHING:
            return _nothing
        if name in ("bar", "barrier"):
            barrier = instruction.opcode in BLOCK_BARRIERS and operands == ("0",)
            if not barrier and not (two == "bar.warp" and operands in (("-1",), ("0xffffffff",))):
                raise PtxError("only barrier 0 of all threads and whole warps' barriers are known")
            return _nothing
        if name in MOVES and "f32" in instruction.parts:  # bits like others
            instruction = replace(instruction, opcode=instruction.opcode.replace("f32", "b32"))
        elif "f32" in instruction.parts:
            if name == "cvt":
                return bind_conversion(instruction, registers)
            if instruction.parts not in APPROXIMATIONS:
                raise PtxError("integers only, and guesses that they correct")
            return APPROXIMATIONS[instruction.parts](instruction, registers)
        if name in ACCESSES:
            return ACCESSES[name](instruction, registers, memory)
        if name in COLLECTIVES:
            return COLLECTIVES[name](instruction, registers)
        if two in OPCODES or name in OPCODES:
            return OPCODES[two if two in OPCODES else name](instruction, registers)
        raise PtxError(f"there is no opcode {instruction.opcode} here")
    except PtxError as error:
        text = str(error)
        raise PtxError(text if text.startswith("line ") else f"{instruction}: {text}") from None
    except (ArithmeticError, LookupError, ValueError, TypeError):
        raise PtxError(f"{instruction}: its operands or modifiers are not known") from None


def _nothing(lanes: Array | None) -> None:
    """An instruction that needs no step: a branch, a barrier, a fence."""
