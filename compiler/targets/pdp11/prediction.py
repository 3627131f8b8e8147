"""A program and its memory map -> nanoseconds of a forward pass, kernel by kernel, unrun.

A kernel's time is what is spent at its own addresses, as a profile counts it: a norm's time and
that of the square root it calls are two rows.  timing.py walks each routine for each such region.

MUL's time depends on its register, and that holds a weight, which is known: products of a matrix
are timed by its weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Cycles
from anachron.compiler.memory import Placed
from anachron.compiler.steps import Step
from anachron.compiler.targets.pdp11.values import Values
from anachron.compiler.timing import Predictor
from anachron.emulators.pdp11.timing import DEFAULT, Extended, instruction_time, timing_row
from anachron.kernels.arithmetic import Array

NOTHING = Cycles(0, 0, 0)
MULTIPLY_BY_ZERO = (0o070027, 0)  # MUL #0,R0


class Within(Predictor):
    """Times of instructions inside a region; all others take none.

    products   what data adds to the time of a MUL there, where that is known better than in general
    """

    def __init__(
        self, program: Program, timing: str | None, region: Placed, products: Cycles | None
    ) -> None:
        super().__init__(program, timing)
        self.region = region
        if products is not None:  # an immediate takes what (R5)+ does; one of 0 adds nothing
            least, _, _ = instruction_time(MULTIPLY_BY_ZERO, timing or DEFAULT["pdp11/34a"])
            products += Cycles(least, least, least)
        self.products = products

    def step(self, line: Line) -> Step:
        step = super().step(line)
        if not self.region.address <= line.address < self.region.end:
            return step._replace(time=NOTHING, taken=NOTHING)
        if line.row.mnemonic == "MUL" and self.products is not None:
            return step._replace(time=self.products)
        return step


def time_products(weight: Array, times: Extended) -> Cycles:
    """What data adds to a MUL by a weight of this matrix: the mean of all of them.

    The steps follow from the weight, but for a factor of 100000, which takes its own time.  Signs
    and sizes of products are not known: half of the factors are taken to be negative, and all
    products to be short.
    """
    word = weight.astype(np.int64) & 0xFFFF
    changes = np.bitwise_count((word ^ word << 1) & 0xFFFF).astype(np.int64)
    steps = changes * times.mul_step
    alone = np.where(weight < 0, times.mul_least_negative, times.mul_least)
    most = times.mul_negative + max(times.mul_zero, times.mul_short)
    expected = float(steps.mean()) + times.mul_negative / 2 + times.mul_short
    return Cycles(
        math.floor(np.minimum(steps, alone).mean()),
        expected,
        math.ceil(np.maximum(steps, alone).mean()) + most,
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
        if self.values.encoder:
            last = self.values.fixed.seq_len - 1
            times = self._spent("forward", "forward_done", (0, last / 2, last))
            return dict(times)
        sums = dict(self._spent("forward", "forward.choice", position))
        parts = [self._choice(wants_logits)]
        if wants_logits:
            parts.append(self._spent("forward.logits", "forward_done", position))
        for part in parts:
            for name, time in part.items():
                sums[name] = sums.get(name, NOTHING) + time
        return sums

    def _spent(self, entry: str, stop: str, position: object) -> dict[str, Cycles]:
        """The time from entry to stop, by kernel."""
        times = {}
        for kernel in self.kernels:
            here = position if self._depends(kernel) else None
            key = (kernel, entry, here)
            if key not in self._known:
                self._known[key] = self._within(kernel).routine(
                    self._address(entry), self._address(stop), {"position": position}, 0
                )
            if self._known[key].hi:
                times[kernel.name] = self._known[key]
        return times

    def _depends(self, kernel: Placed) -> bool:
        """Whether a kernel's time depends on the position: attention, and what it may call."""
        op = self.values.ops.get(kernel.name)
        return op is None or op.contract == "attention"

    def _choice(self, wants_logits: bool) -> dict[str, Cycles]:
        """The test of whether logits are wanted: three instructions, whose way is known here."""
        (kernel,) = (k for k in self.kernels if k.name == "forward")
        predictor = self._within(kernel)
        test = predictor.step(self.program.instructions[self._address("forward.choice")])
        branch = predictor.step(self.program.instructions[test.next])
        if wants_logits:
            return {"forward": test.time + branch.taken}
        away = predictor.step(self.program.instructions[branch.next])
        return {"forward": test.time + branch.time + away.time}

    @property
    def kernels(self) -> list[Placed]:
        """The parts of the image that a forward pass runs."""
        return [o for o in self.objects if o.kind == "code"]

    def _within(self, kernel: Placed) -> Within:
        if kernel not in self._known:
            products = None
            op = self.values.ops.get(kernel.name)
            if op is not None and op.contract == "matvec":
                row = timing_row(self.timing or DEFAULT["pdp11/34a"])
                products = time_products(op.constants["weight"], row.extended)
            self._known[kernel] = Within(self.program, self.timing or None, kernel, products)
        return self._known[kernel]

    def _address(self, label: str) -> int:
        return self.program.symbols[label.upper()]
