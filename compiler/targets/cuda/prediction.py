"""A kernel's PTX -> how many instructions its warps issue in a launch, without running it.

Which way a thread goes depends on little: its number, the kernel's arguments, the position, and
the ids chosen, of which some end an answer.  The few instructions that compute these conditions,
the control slice, are followed; all others are only counted.  What the slice would need beyond
that, of memory or of what a warp finds together, makes a kernel that is not predicted.

The opcodes' meanings are those of emulators/ptx; who goes on where ways part and meet is told
here, too: the threads of a warp that are earliest in the text.

Source: "abstract execution", Gustafsson, Ermedahl, Sandberg, Lisper, "Automatic Derivation of Loop
Bounds and Infeasible Paths for WCET Analysis Using Abstract Execution" (2006).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anachron.compiler.claims import Cycles, TimingError
from anachron.compiler.fixed import FixedModel
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets.cuda.kernel import ARGUMENTS
from anachron.compiler.targets.cuda.origins import name_instructions, name_lines, sum_by_op
from anachron.emulators.ptx.access import Memory
from anachron.emulators.ptx.machine import bind
from anachron.emulators.ptx.memory import GLOBAL_BASE, Space
from anachron.emulators.ptx.registers import Registers
from anachron.emulators.ptx.syntax import Instruction, Program
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.places import WARP

REGISTER = re.compile(r"[%\w$.]+")
TOGETHER = ("redux", "shfl", "vote", "mma", "ld", "ldu", "atom")  # give what is not known here
CLOCKS = ("%clock", "%clock64")
NO_RESULT = ("st", "bar", "barrier", "bra", "ret", "exit", "trap", "membar", "fence")
ENDS = ("ret", "exit", "trap")
FIRST = 1  # from the pass behind this one on, what a pass begins with grows evenly
CHOSEN = re.compile(r"\bchosen\[.*\] = best\b")  # the line of a kernel that writes an id down


@dataclass(frozen=True)
class Slice:
    """What decides which way the threads go.

    followed  the instructions that compute the conditions     chosen  those that write an id down
    header    where a pass begins; -1 for a kernel that has no passes
    id        the register that an id is in, as far as conditions read it
    """

    program: Program
    followed: frozenset[int]
    chosen: frozenset[int]
    header: int
    id: str


def find_slice(program: Program, source: str, passes: bool) -> Slice:
    """passes: the kernel goes on from the ids that it chooses.

    Raises TimingError for a kernel whose way depends on more than is known beforehand."""
    lines = enumerate(source.splitlines(), 1)
    written = {number for number, line in lines if passes and CHOSEN.search(line)}
    chosen = frozenset(
        n
        for n, i in enumerate(program.instructions)
        if i.parts[0] == "st" and i.origin in written
    )
    ids = {i.operands[1] for n, i in enumerate(program.instructions) if n in chosen}
    writers: dict[str, list[int]] = {}
    for n, instruction in enumerate(program.instructions):
        for register in _writes(instruction):
            writers.setdefault(register, []).append(n)
    followed: set[int] = set()
    seen: set[str] = set()
    waiting = [i.guard for i in program.instructions if i.parts[0] == "bra" and i.guard]
    id_read = ""
    while waiting:
        register = waiting.pop()
        if register in seen:
            continue
        seen.add(register)
        if register in ids:
            id_read = register
            continue
        for n in writers.get(register, ()):
            instruction = program.instructions[n]
            if not _is_known(instruction):
                raise TimingError(f"{instruction}: the way that threads go depends on it")
            followed.add(n)
            waiting += [*_reads(instruction)]
    return Slice(program, frozenset(followed), chosen, _find_header(program, chosen), id_read)


def _writes(instruction: Instruction) -> list[str]:
    if instruction.parts[0] in NO_RESULT or not instruction.operands:
        return []
    return REGISTER.findall(instruction.operands[0])


def _reads(instruction: Instruction) -> list[str]:
    read = [name for text in instruction.operands[1:] for name in REGISTER.findall(text)]
    return [instruction.guard, *read] if instruction.guard else read


def _is_known(instruction: Instruction) -> bool:
    if instruction.parts[:2] == ("ld", "param"):
        return True
    clock = any(operand in CLOCKS for operand in instruction.operands)
    return instruction.parts[0] not in TOGETHER and not clock


def _find_header(program: Program, chosen: frozenset[int]) -> int:
    """Of the smallest loop around the choice, as the text has it."""
    at = min(chosen, default=-1)
    back = [
        (n - program.labels[i.operands[0]], program.labels[i.operands[0]])
        for n, i in enumerate(program.instructions)
        if i.parts[0] == "bra" and program.labels[i.operands[0]] <= at <= n
    ]
    return min(back)[1] if back else -1


class Walk:
    """A block of threads on its way through a kernel, once."""

    def __init__(
        self, slice_: Slice, threads: int, arguments: Mapping[str, int], ids: Sequence[int]
    ) -> None:
        program = slice_.program
        self.slice, self.program, self.ids = slice_, program, list(ids)
        registers = Registers(program, threads, 0, 1, 0)
        nowhere = Space("global", GLOBAL_BASE, np.zeros(0, bool), None)
        values = {name: 0 for _, name in program.parameters}
        for (_, name), value in zip(program.parameters, arguments.values(), strict=True):
            values[name] = value
        memory = Memory(nowhere, nowhere, values)
        self.steps = {n: bind(program.instructions[n], registers, memory) for n in slice_.followed}
        self.guards = {
            n: registers.read(i.guard, "pred")
            for n, i in enumerate(program.instructions)
            if i.guard and (n in self.steps or i.parts[0] == "bra")
        }
        self.id = registers.of.get(slice_.id)
        self.end = len(program.instructions)
        self.leaders = frozenset(program.labels.values())
        self.registers = registers
        self.at = np.zeros(threads, np.int64)
        self.waiting = np.zeros(threads, bool)
        self.halted = np.zeros(threads, bool)
        self.round = np.full(threads // WARP, -1)  # the pass that a warp is in
        self.last = -1  # the pass behind which all warps halt, where that is not negative
        self.visits: dict[tuple[int, int, int], int] = {}  # (pass, first, end) -> warps
        self.stretches = self._cut()

    def run(self) -> Array:
        """To the end: how many warps issue each instruction.

        Raises TimingError where more ids are asked for than there are.
        """
        self._run_on(-1)
        return self._count(None)

    def run_pass(self, position: int) -> Array:
        """The same of one pass alone.

        What changes from one pass of the prompt to the next grows by the same each time: so the
        threads are put at the beginning of a late pass without going through those before it.
        """
        self._run_on(min(position, FIRST))
        if position > FIRST + 1:
            earlier = {name: values.copy() for name, values in self.registers.of.items()}
            self._run_on(FIRST + 1)
            more = position - FIRST - 2
            for name, values in self.registers.of.items():
                if values.dtype != np.bool_:
                    values += (values - earlier[name]) * values.dtype.type(more)
            self.round += more
        self._run_on(position)
        return self._count(position)

    def _run_on(self, last: int) -> None:
        """Until every warp has that pass behind it, or to the end."""
        self.last = last
        self.halted[:] = False
        while True:
            ready = (self.at < self.end) & ~self.waiting & ~self.halted
            if not ready.any():
                if not self.waiting.any():
                    return
                self.waiting[:] = False
                continue
            first = int(self.at[ready].min())
            self._go(first, ready & (self.at == first))

    def _count(self, only: int | None) -> Array:
        counts = np.zeros(self.end, np.int64)
        for (number, first, end), warps in self.visits.items():
            if only in (None, number):
                counts[first:end] += warps
        return counts

    def _cut(self) -> dict[int, tuple[int, list[int]]]:
        """Where a stretch from each instruction ends, and what is followed in it."""
        cut: dict[int, tuple[int, list[int]]] = {}
        end, inside = self.end, []  # type: ignore[var-annotated]
        for n in reversed(range(self.end)):
            instruction = self.program.instructions[n]
            barrier = instruction.parts[0] in ("bar", "barrier") and "warp" not in instruction.parts
            if instruction.parts[0] in ("bra", *ENDS) or barrier or n + 1 in self.leaders:
                end, inside = n + 1, []
            if n in self.steps or n in self.slice.chosen:
                inside = [n, *inside]
            cut[n] = end, inside
        return cut

    def _go(self, first: int, active: Array) -> None:
        """A stretch, up to a branch, a barrier or a label."""
        lanes = None if active.all() else active
        end, inside = self.stretches[first]
        warps = active.reshape(-1, WARP).any(1)
        if first == self.slice.header:
            late = warps & (self.round == self.last) & (self.last >= 0)
            if late.any():
                self.halted |= active & np.repeat(late, WARP)
                return
            self.round[warps] += 1
        for number in np.unique(self.round[warps]):
            key = int(number), first, end
            self.visits[key] = self.visits.get(key, 0) + int((self.round[warps] == number).sum())
        for n in inside:
            if n in self.slice.chosen:
                self._choose()
            if n in self.steps:
                self._step(n, lanes, active)
        last = self.program.instructions[end - 1]
        self.at[active] = end
        if last.parts[0] in ("bra", *ENDS):
            target = self.end if last.parts[0] in ENDS else self.program.labels[last.operands[0]]
            guard = self.guards.get(end - 1)
            taken = active if guard is None else active & (guard ^ last.negated)
            self.at[taken] = target
        elif last.parts[0] in ("bar", "barrier") and "warp" not in last.parts:
            self.waiting |= active

    def _step(self, n: int, lanes: Array | None, active: Array) -> None:
        guard = self.guards.get(n)
        if guard is None:
            self.steps[n](lanes)
        elif (taking := active & (guard ^ self.program.instructions[n].negated)).any():
            self.steps[n](taking)

    def _choose(self) -> None:
        """An id is written down, once in a pass: the one that all warps have chosen."""
        if self.id is not None:
            if not self.ids:
                raise TimingError(f"{self.program.name} chooses more ids than are told")
            self.id[:] = self.ids.pop(0)


@dataclass(frozen=True)
class Prediction:
    """(position, whether logits are wanted) -> {op: instructions} of that pass, and `whole` runs.

    An encoder's only pass is all of a launch.
    """

    fixed: FixedModel
    program: Program
    source: str
    threads: int
    sampling: Sampling

    def __call__(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        if self._encoder:
            return self.whole(self.fixed.seq_len, 1)
        return self._bounded([self._pass(position, wants_logits, id_) for id_ in self._samples])

    by_op = __call__

    def whole(
        self, n_prompt: int, n_passes: int, ids: Sequence[int] = (), most: int | None = None
    ) -> dict[str, Cycles]:
        """A launch, from its start to its end.

        ids   that were chosen, the one that ended the answer among them; without them, any
        most  ids that were asked for; as many as came where None
        """
        chosen = max(0, n_passes - n_prompt + 1)
        if self._encoder or len(ids) >= chosen:
            asked = chosen if most is None else most
            return self._bounded([self._sum(self._walk(n_prompt, asked, ids).run())])
        usual = self._samples[0]
        before = [*ids, *[usual] * (chosen - 1 - len(ids))][: chosen - 1]
        walks = [(chosen, usual), *((chosen + 1, stop) for stop in self.fixed.generation.stop)]
        return self._bounded(
            [self._sum(self._walk(n_prompt, asked, [*before, id_]).run()) for asked, id_ in walks]
        )

    def _pass(self, position: int, wants_logits: bool, id_: int) -> dict[str, int]:
        """One pass of a longer launch; after a choice of this id."""
        n_prompt = position + (1 if wants_logits else 2)
        return self._sum(self._walk(n_prompt, 2, [id_, id_]).run_pass(position))

    def _bounded(self, found: Sequence[Mapping[str, int]]) -> dict[str, Cycles]:
        """Of equally possible launches the first is the usual one."""
        ran = set().union(*found)
        names = [name for name in dict.fromkeys(name_lines(self.source)) if name in ran]
        return {
            name: Cycles(
                min(one.get(name, 0) for one in found),
                float(found[0].get(name, 0)),
                max(one.get(name, 0) for one in found),
            )
            for name in names
        }

    def _walk(self, n_prompt: int, most: int, ids: Sequence[int]) -> Walk:
        given = {
            **dict.fromkeys(ARGUMENTS, 0),
            "n_prompt": n_prompt,
            "most": most,
            "inverse_temperature": self.sampling.inverse,
            "top_p": self.sampling.kept,
            "repeats": 1,
        }
        return Walk(self._slice, self.threads, given, ids)

    def _sum(self, counts: Array) -> dict[str, int]:
        return sum_by_op(self._names, counts.tolist(), self.source)

    @property
    def _encoder(self) -> bool:
        return self.fixed.generation.mode == "sequence"

    @cached_property
    def _slice(self) -> Slice:
        return find_slice(self.program, self.source, passes=not self._encoder)

    @cached_property
    def _names(self) -> list[str]:
        return name_instructions(self.program, self.source)

    @cached_property
    def _samples(self) -> list[int]:
        """Ids that tell apart all that a test for the end of an answer can find, a usual one first.

        Such tests compare with the stops: what lies beside them and at the ends is enough.
        """
        stops = self.fixed.generation.stop
        near = {0, self.fixed.vocab_size - 1, *(stop + by for stop in stops for by in (-1, 0, 1))}
        ids = sorted(near & set(range(self.fixed.vocab_size)), reverse=True)
        return sorted(ids, key=lambda id_: id_ in stops)
