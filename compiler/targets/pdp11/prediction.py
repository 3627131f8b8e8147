"""A program and its memory map -> nanoseconds of a forward pass, kernel by kernel, unrun.

A kernel's time is what is spent at its own addresses, as a profile counts it: a norm's time and
that of the square root it calls are two rows.  timing.py walks each routine for each such region.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Cycles
from anachron.compiler.memory import Placed
from anachron.compiler.steps import Step
from anachron.compiler.targets.pdp11.values import Values
from anachron.compiler.timing import Predictor

NOTHING = Cycles(0, 0, 0)
AT_POSITION = "attention"  # the contract whose time depends on the position


class Within(Predictor):
    """Times of instructions inside a region; all others take none."""

    def __init__(self, program: Program, timing: str | None, region: Placed) -> None:
        super().__init__(program, timing)
        self.region = region

    def step(self, line: Line) -> Step:
        step = super().step(line)
        if self.region.address <= line.address < self.region.end:
            return step
        return step._replace(time=NOTHING, taken=NOTHING)


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
        key = (entry, stop, position)
        if key not in self._known:
            times = {
                kernel.name: self._within(kernel).routine(
                    self._address(entry), self._address(stop), {"position": position}, 0
                )
                for kernel in self.kernels
            }
            self._known[key] = {name: time for name, time in times.items() if time.hi}
        return self._known[key]

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
            self._known[kernel] = Within(self.program, self.timing or None, kernel)
        return self._known[kernel]

    def _address(self, label: str) -> int:
        return self.program.symbols[label.upper()]
