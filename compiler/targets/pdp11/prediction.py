"""A program and its memory map -> nanoseconds of a forward pass, kernel by kernel, unrun.

A kernel's time is what is spent at its own addresses, as a profile counts it: a norm's time and
that of the square root it calls are two rows.  An op's own time is walked once, attention's again
at each position; what it spends in a routine that it shares with others is another walk.

What depends on data is expected from texts of the model's own (chances.py).  MUL's time depends on
its register, and that holds a weight, which is known: a matrix's bounds are by its weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from anachron.compiler import operands
from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Cycles, Environment
from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.memory import Placed
from anachron.compiler.schedule import find_late
from anachron.compiler.steps import Flow, Step
from anachron.compiler.targets.pdp11 import chances, score_chances
from anachron.compiler.targets.pdp11.values import Values
from anachron.compiler.timing import Predictor
from anachron.emulators.pdp11.timing import extended_time, timing_row

NOTHING = Cycles(0, 0, 0)
IMMEDIATE = 0o27  # a source that the instruction holds


class Within(Predictor):
    """Times of instructions inside a region; all others take none.

    base       knows every instruction's own time
    region     a kernel's addresses
    calls      follow calls: the region is a routine that others call
    extended   what data adds to a MUL or ASHC there, where that is known better than in general
    """

    def __init__(
        self,
        base: Predictor,
        region: Placed,
        calls: bool,
        extended: Mapping[str, Cycles] | None = None,
    ) -> None:
        super().__init__(base.program, base.timing)
        self.base, self.region, self.calls, self.extended = base, region, calls, extended or {}

    def step(self, line: Line) -> Step:
        step = self._steps.get(line.address)
        if step is None:
            step = self.base.step(line)
            if not self.region.address <= line.address < self.region.end:
                step = step._replace(time=NOTHING, taken=NOTHING)
            elif line.row.mnemonic in self.extended:
                step = step._replace(time=self._extended(line, step.time))
            self._steps[line.address] = step
        return step

    def _extended(self, line: Line, own: Cycles) -> Cycles:
        """The time of such an instruction; its own time is that of any operands."""
        if int.from_bytes(line.bytes[:2], "little") & 0o77 == IMMEDIATE:
            return own
        mnemonic = line.row.mnemonic
        least, _, most = extended_time(mnemonic, None, timing_row(self.timing or "").extended)
        added = self.extended[mnemonic]
        return Cycles(own.lo - least, own.lo - least, own.hi - most) + added

    def _whole_time(self, step: Step, environment: Environment, depth: int) -> Cycles:
        if step.flow is Flow.CALL and not self.calls:
            return step.time
        return super()._whole_time(step, environment, depth)


def time_extended(fixed: FixedModel, op: Op, timing: str) -> dict[str, Cycles]:
    """What data adds to an op's MUL and ASHC, the mean of all of them, where that is known better.

    The steps follow from the register, and a matrix's holds a weight, which is known; what else
    plays a part is as in texts of the model's own.
    """
    times = timing_row(timing).extended
    factors = operands.factors(fixed, op) if times.mul_step else []
    if not factors:
        return {}
    added = chances.time_factors(factors, times)
    if op.contract != "matvec":
        lo, _, hi = extended_time("MUL", None, times)
        return {"MUL": Cycles(lo, added, hi)}
    weight = op.constants["weight"].astype(np.int64)
    steps = chances.steps(weight) * times.mul_step
    alone = np.where(weight < 0, times.mul_least_negative, times.mul_least)
    most = times.mul_negative + max(times.mul_zero, times.mul_short)
    shift = [
        extended_time("ASHC", -amount & 0xFFFF, times) for amount in op.constants["shift"].tolist()
    ]
    return {
        "MUL": Cycles(
            math.floor(np.minimum(steps, alone).mean()),
            added,
            math.ceil(np.maximum(steps, alone).mean()) + most,
        ),
        "ASHC": Cycles(
            math.floor(np.mean([lo for lo, _, _ in shift])),
            float(np.mean([expected for _, expected, _ in shift])),
            math.ceil(np.mean([hi for _, _, hi in shift])),
        ),
    }


@dataclass(frozen=True)
class Prediction:
    """(position, whether logits are wanted) -> {kernel: Cycles}; an encoder ignores both.

    timing       a row of the machine's times
    long_scores  attentions that guard their sums of products
    text         the model in the text that it is asked of, None in texts of its own
    answering    the first position there whose logits are wanted
    """

    program: Program
    values: Values
    objects: tuple[Placed, ...]
    timing: str
    long_scores: frozenset[str]
    text: FixedModel | None = None
    answering: int = 0
    _known: dict = field(default_factory=dict, repr=False, compare=False)

    def in_text(self, tokens: Sequence[int], answering: int = 0) -> Prediction:
        """The same, for one text: what depends on data is counted in its integers."""
        text = self.values.fixed.in_text(tokens)
        return replace(self, text=text, answering=answering, _known={})

    def _told(self, op: Op) -> FixedModel:
        """The model with the values that an op works on."""
        if self.text is None:
            return self.values.fixed
        return self._answers if op.name in find_late(self.values.stages) else self.text

    @cached_property
    def _answers(self) -> FixedModel:
        assert self.text is not None
        return self.text.from_position(self.answering)

    def __call__(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        times = self.values.fixed.seq_len if self.values.encoder else 1
        sums = self._frame(wants_logits)
        for _ in self.values.stages:
            sums = _add(sums, "place_rows", self._own(self._kernel("place_rows"), None), times)
        for _, part, time in self._parts(position, wants_logits):
            sums = _add(sums, part, time, times)
        return {name: time for name, time in sums.items() if time.hi}

    def by_op(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        """Op -> the time of its routine and of all that it calls."""
        times = self.values.fixed.seq_len if self.values.encoder else 1
        sums: dict[str, Cycles] = {}
        for op, _, time in self._parts(position, wants_logits):
            sums = _add(sums, op, time, times)
        return sums

    def _parts(self, position: int, wants_logits: bool) -> Iterator[tuple[str, str, Cycles]]:
        """(op, the kernel where it is spent, time) of each op at a position, or at any."""
        place: Any = position
        if self.values.encoder:
            last = self.values.fixed.seq_len - 1
            place = (0, last / 2, last)
        for stage in self.values.stages:
            for op in stage.ops if wants_logits or self.values.encoder else stage.always:
                kernel = self._kernel(op.name)
                here = place if op.contract == "attention" else None
                yield op.name, op.name, self._own(kernel, here)
                for helper in self._helpers(kernel):
                    yield op.name, helper.name, self._inside(helper, kernel, here)

    def _frame(self, wants_logits: bool) -> dict[str, Cycles]:
        """The routine `forward` itself, without what it calls."""
        kernel = self._kernel("forward")
        predictor = self._within(kernel, False)
        if self.values.encoder:
            return {"forward": self._walk(predictor, "forward", "forward_done")}
        time = self._walk(predictor, "forward", "forward.choice")
        test = predictor.step(self.program.instructions[self._address("forward.choice")])
        branch = predictor.step(self.program.instructions[test.next])
        time += test.time
        if wants_logits:
            time += branch.taken + self._walk(predictor, "forward.logits", "forward_done")
        else:
            time += branch.time + predictor.step(self.program.instructions[branch.next]).time
        return {"forward": time}

    def _walk(self, predictor: Predictor, entry: str, stop: str) -> Cycles:
        return predictor.routine(self._address(entry), self._address(stop), {}, 0)

    def _own(self, kernel: Placed, position: Any) -> Cycles:
        """What a routine spends at its own addresses."""
        return self._inside(kernel, kernel, position)

    def _inside(self, region: Placed, caller: Placed, position: Any) -> Cycles:
        """What a caller's routine spends inside a region."""
        key = (region, caller, position)
        if key not in self._known:
            predictor = self._within(region, region is not caller, caller.name)
            environment = self._environment(caller.name, position)
            self._known[key] = predictor.routine(caller.address, None, environment, 0)
        return self._known[key]

    def _environment(self, name: str, position: Any) -> dict[str, object]:
        """What the claims in an op's routines ask for at a position, or (first, mean, last)."""
        key, op = ("usual", name), self.values.ops.get(name)
        if key not in self._known:
            self._known[key] = self._usual(op) if op is not None else {}
        environment = chances.at(self._known[key], position)
        return environment if position is None else {**environment, "position": position}

    def _usual(self, op: Op) -> dict[str, object]:
        environment = chances.usual(self._told(op), op)
        if op.contract == "attention":
            environment |= score_chances.usual(
                self._told(op), op, op.name in self.long_scores, self.values.encoder
            )
        return environment

    def _helpers(self, kernel: Placed) -> list[Placed]:
        """The routines that a kernel calls, and that those call."""
        key = ("helpers", kernel)
        if key not in self._known:
            found: list[Placed] = []
            waiting = [kernel]
            while waiting:
                caller = waiting.pop()
                for address in range(caller.address, caller.end, 2):
                    line = self.program.instructions.get(address)
                    step = self._base.step(line) if line is not None else None
                    if step is None or step.flow is not Flow.CALL:
                        continue
                    called = self._at(step.target)
                    if called is not None and called not in (*found, kernel):
                        found.append(called)
                        waiting.append(called)
            self._known[key] = found
        return self._known[key]

    def _at(self, address: int | None) -> Placed | None:
        """The kernel that lies at an address."""
        inside = (k for k in self._kernels if k.address <= (address or 0) < k.end)
        return next(inside, None)

    @cached_property
    def _kernels(self) -> list[Placed]:
        """The parts of the image that a forward pass runs."""
        return [o for o in self.objects if o.kind == "code"]

    @cached_property
    def _base(self) -> Predictor:
        return Predictor(self.program, self.timing)

    def _kernel(self, name: str) -> Placed:
        return next(kernel for kernel in self._kernels if kernel.name == name)

    def _within(self, region: Placed, calls: bool, caller: str = "") -> Within:
        """Times inside a region, which a kernel calls if it is not its own."""
        op = self.values.ops.get(caller) if self._multiplies(region) else None
        key = ("within", region, calls, op.name if op is not None else "")
        if key not in self._known:
            extended = None
            if op is not None:
                extended = time_extended(self._told(op), op, self.timing)
            self._known[key] = Within(self._base, region, calls, extended)
        return self._known[key]

    def _multiplies(self, region: Placed) -> bool:
        """A MUL is there."""
        key = ("multiplies", region)
        if key not in self._known:
            lines = (self.program.instructions.get(at) for at in range(region.address, region.end))
            self._known[key] = any(line and line.row.mnemonic == "MUL" for line in lines)
        return self._known[key]

    def _address(self, label: str) -> int:
        return self.program.symbols[label.upper()]


def _add(sums: dict[str, Cycles], name: str, time: Cycles, times: int) -> dict[str, Cycles]:
    return sums | {name: sums.get(name, NOTHING) + time * times}
