"""A program and its memory map -> nanoseconds of a forward pass, kernel by kernel, unrun.

A kernel's time is what is spent at its own addresses, as a profile counts it: a norm's time and
that of the square root it calls are two rows.  An op's own time is walked once, attention's again
at each position; what it spends in a routine that it shares with others is another walk.

MUL's time depends on its register, and that holds a weight, which is known: products of a matrix
are timed by its weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Cycles, Environment
from anachron.compiler.memory import Placed
from anachron.compiler.steps import Flow, Step
from anachron.compiler.targets.pdp11.values import Values
from anachron.compiler.timing import Predictor
from anachron.emulators.pdp11.timing import DEFAULT, instruction_time, timing_row
from anachron.kernels.arithmetic import Array

NOTHING = Cycles(0, 0, 0)
MULTIPLY_BY_ZERO = (0o070027, 0)  # MUL #0,R0: an immediate takes what (R5)+ does


class Within(Predictor):
    """Times of instructions inside a region; all others take none.

    base       knows every instruction's own time
    region     a kernel's addresses
    calls      follow calls: the region is a routine that others call
    products   what a MUL there takes, where that is known better than in general
    """

    def __init__(
        self, base: Predictor, region: Placed, calls: bool, products: Cycles | None = None
    ) -> None:
        super().__init__(base.program, base.timing)
        self.base, self.region, self.calls, self.products = base, region, calls, products

    def step(self, line: Line) -> Step:
        step = self._steps.get(line.address)
        if step is None:
            step = self.base.step(line)
            if not self.region.address <= line.address < self.region.end:
                step = step._replace(time=NOTHING, taken=NOTHING)
            elif line.row.mnemonic == "MUL" and self.products is not None:
                step = step._replace(time=self.products)
            self._steps[line.address] = step
        return step

    def _whole_time(self, step: Step, environment: Environment, depth: int) -> Cycles:
        if step.flow is Flow.CALL and not self.calls:
            return step.time
        return super()._whole_time(step, environment, depth)


def time_products(weight: Array, timing: str) -> Cycles:
    """The time of `MUL (R5)+,R0` with a weight of this matrix in R0: the mean of all of them.

    The steps follow from the weight, but for a factor of 100000, which takes its own time.  Signs
    and sizes of products are not known: half of the factors are taken to be negative, and all
    products to be short.
    """
    name = timing or DEFAULT["pdp11/34a"]
    times = timing_row(name).extended
    least, _, _ = instruction_time(MULTIPLY_BY_ZERO, name)
    word = weight.astype(np.int64) & 0xFFFF
    changes = np.bitwise_count((word ^ word << 1) & 0xFFFF).astype(np.int64)
    steps = changes * times.mul_step
    alone = np.where(weight < 0, times.mul_least_negative, times.mul_least)
    most = times.mul_negative + max(times.mul_zero, times.mul_short)
    expected = float(steps.mean()) + times.mul_negative / 2 + times.mul_short
    return Cycles(
        least + math.floor(np.minimum(steps, alone).mean()),
        least + expected,
        least + math.ceil(np.maximum(steps, alone).mean()) + most,
    )


@dataclass(frozen=True)
class Prediction:
    """(position, whether logits are wanted) -> {kernel: Cycles}; an encoder ignores both.

    timing names a row of the machine's times; empty, the machine's usual one.
    """

    program: Program
    values: Values
    objects: tuple[Placed, ...]
    timing: str
    _known: dict = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        place: Any = position
        times = 1
        if self.values.encoder:
            times, last = self.values.fixed.seq_len, self.values.fixed.seq_len - 1
            place = (0, last / 2, last)
        sums = self._frame(wants_logits)
        for stage in self.values.stages:
            sums = _add(sums, "place_rows", self._own(self._kernel("place_rows"), None), times)
            for op in stage.ops if wants_logits or self.values.encoder else stage.always:
                kernel = self._kernel(op.name)
                here = place if op.contract == "attention" else None
                sums = _add(sums, op.name, self._own(kernel, here), times)
                for helper in self._helpers(kernel):
                    sums = _add(sums, helper.name, self._inside(helper, kernel, here), times)
        return {name: time for name, time in sums.items() if time.hi}

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
            predictor = self._within(region, region is not caller)
            environment = {} if position is None else {"position": position}
            self._known[key] = predictor.routine(caller.address, None, environment, 0)
        return self._known[key]

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
        return Predictor(self.program, self.timing or None)

    def _kernel(self, name: str) -> Placed:
        return next(kernel for kernel in self._kernels if kernel.name == name)

    def _within(self, region: Placed, calls: bool) -> Within:
        key = ("within", region, calls)
        if key not in self._known:
            op = self.values.ops.get(region.name)
            products = None
            if op is not None and op.contract == "matvec":
                products = time_products(op.constants["weight"], self.timing)
            self._known[key] = Within(self._base, region, calls, products)
        return self._known[key]

    def _address(self, label: str) -> int:
        return self.program.symbols[label.upper()]


def _add(sums: dict[str, Cycles], name: str, time: Cycles, times: int) -> dict[str, Cycles]:
    return sums | {name: sums.get(name, NOTHING) + time * times}
