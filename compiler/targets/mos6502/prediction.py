"""A program and its memory map -> cycles of a forward pass, part by part, unrun.

A part's time is what is spent at its own addresses, as a profile counts it: a norm's time and that
of the square root it calls are two rows.  timing.py walks each routine for each such part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Cycles
from anachron.compiler.fixed import FixedModel
from anachron.compiler.memory import Placed
from anachron.compiler.schedule import SEQUENTIAL, find_late
from anachron.compiler.steps import Step
from anachron.compiler.targets.mos6502 import operand_chances
from anachron.compiler.targets.mos6502.gathering import Count
from anachron.compiler.targets.mos6502.values import Values
from anachron.compiler.timing import Predictor
from anachron.kernels.arithmetic import Array

NOTHING = Cycles(0, 0, 0)

# Of a PAL frame, the cycles in all and those that 25 bad lines take at most: measured, both.
FRAME_CYCLES, STOLEN_CYCLES = 19_656, 1_076


class Within(Predictor):
    """Times of instructions inside a region; all others take none."""

    def __init__(self, base: Predictor, region: Placed) -> None:
        super().__init__(base.program, None)
        self.base, self.region = base, region

    def step(self, line: Line) -> Step:
        step = self._steps.get(line.address)
        if step is None:
            step = self.base.step(line)
            if not self.region.address <= line.address < self.region.end:
                claims = step.claims
                if step.needs_amount:
                    claims = replace(
                        claims, plus=claims.plus and "0", takes=claims.takes and "0"
                    )
                step = step._replace(time=NOTHING, taken=NOTHING, claims=claims)
            self._steps[line.address] = step
        return step


@dataclass(frozen=True)
class Prediction:
    """(position, whether logits are wanted) -> {part: Cycles}; an encoder ignores both.

    sequence      op -> labels that are called for it
    environments  op, or a routine's label -> what the claims in its routines ask for
    anything      values that will do for any variable of claims
    counts        op, or a label -> what finds those that data plays a part in, in other texts
    opening       the same for position 0 without logits, where that has a way of its own
    extra         labels called once a position besides, an encoder's
    screen        it is on, and the VIC-II takes its share
    text          the model in the text that it is asked of; None: in texts of its own
    answering     the first position there whose logits are wanted
    """

    program: Program
    values: Values
    objects: tuple[Placed, ...]
    sequence: Mapping[str, Sequence[str]]
    environments: Mapping[str, Mapping[str, object]]
    anything: Mapping[str, object]
    counts: Mapping[str, Sequence[Count]] = field(default_factory=dict)
    opening: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    screen: bool = False
    text: FixedModel | None = None
    answering: int = 0
    _known: dict = field(default_factory=dict, repr=False, compare=False)

    def in_text(self, tokens: Sequence[int], answering: int = 0) -> Prediction:
        """The same, for one text: what depends on data is counted in its integers."""
        known = {key: value for key, value in self._known.items() if isinstance(value, Predictor)}
        text = self.values.fixed.in_text(tokens)
        return replace(self, text=text, answering=answering, _known=known)

    def __call__(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        times = self._position(position, wants_logits)
        return {name: _with_screen(time) for name, time in times.items()} if self.screen else times

    def _position(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        way = {} if self.values.encoder else {"wants": int(wants_logits), "later": position}
        sums = dict(self._forward(way))
        for op, label, place, times in self._calls(position, wants_logits):
            _add(sums, self._spent(label, op, place), times)
        return sums

    def by_op(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        """Op -> the time of what is called for it, and of what that calls."""
        sums: dict[str, Cycles] = {}
        for op, label, place, times in self._calls(position, wants_logits):
            if op:
                whole = sum(self._spent(label, op, place).values(), NOTHING)
                _add(sums, {op: _with_screen(whole) if self.screen else whole}, times)
        return sums

    def _calls(
        self, position: int, wants_logits: bool
    ) -> Iterator[tuple[str, str, int | None, int]]:
        """(op or "", label, position or None for any, times) of what a pass calls."""
        if self.values.encoder:
            n = self.values.fixed.seq_len
            for op in self.values.fixed.ops:
                depends = op.contract == "attention" and op.attributes["causal"]
                for label in self.sequence[op.name]:
                    for place in range(n) if depends else (None,):
                        yield op.name, label, place, 1 if depends else n
            yield from (("", label, None, n) for label in self.extra)
            return
        (stage,) = self.values.stages
        sequence: Mapping[str, Sequence[str]] = {
            op.name: self.sequence[op.name] for op in (stage.ops if wants_logits else stage.always)
        }
        if position == 0 and not wants_logits and self.opening:
            sequence = self.opening
        for name, labels in sequence.items():
            yield from ((name, label, position, 1) for label in labels)

    def _spent(self, label: str, op: str, position: int | None) -> dict[str, Cycles]:
        """The time of a routine, by part; None: at any position, where that plays no part."""
        node = self.values.fixed[op] if op else None
        seen: object = None
        if node is not None and node.contract == "attention":
            n = self.values.fixed.seq_len
            causal = node.attributes["causal"]
            seen = n if position is None or not causal else position + 1
            if not self.values.encoder:
                seen = min(seen, max(1, n - 1))  # nothing is asked of a full context's last token
        known = self._environment(op, label)
        own = seen is None and any(isinstance(value, Array) for value in known.values())
        key = (label, op, ("position", position) if own else seen)
        if key not in self._known:
            environment = operand_chances.at(known, position)
            if seen is not None:
                environment["seen"] = seen
            self._known[key] = self._by_part(label, None, environment)
        return self._known[key]

    def _environment(self, op: str, label: str) -> dict[str, object]:
        """What the claims of an op's routine ask for; arrays: a number a position."""
        key = ("usual", op)
        if key not in self._known:
            fixed, _ = self._told(op)
            self._known[key] = operand_chances.usual(fixed, fixed[op]) if op else {}
        sources = [self._known[key], self.environments.get(op), self.environments.get(label)]
        if self.text is not None:
            sources += [self._counted(op, op), self._counted(label, op)]
        return {name: value for s in sources if s for name, value in s.items()}

    def _counted(self, label: str, op: str) -> dict[str, object]:
        """What is counted for a routine, in this text: sizes stay what they were."""
        key = ("counted", label, op)
        if key not in self._known:
            found: dict[str, object] = {}
            fixed, first = self._told(op)
            for count in self.counts.get(label, ()):
                found |= count(fixed)
            self._known[key] = {
                name: np.pad(value, (first, 0), "edge") if isinstance(value, np.ndarray) else value
                for name, value in found.items()
                if name != "elements"
            }
        return self._known[key]

    def _told(self, op: str) -> tuple[FixedModel, int]:
        """The model with the values that an op works on, and the first position of those."""
        if self.text is None:
            return self.values.fixed, 0
        first = min(1, self.answering) if self.opening else 0
        if op in find_late(self.values.stages):
            first = self.answering
        elif not op or self.values.fixed[op].contract in SEQUENTIAL:
            first = 0
        key = ("from", first)
        if key not in self._known:
            self._known[key] = self.text.from_position(first)
        return self._known[key], first

    def _forward(self, way: Mapping[str, int]) -> dict[str, Cycles]:
        """The pass's own instructions, its calls left aside: they are counted op by op."""
        key = ("forward", *((name, bool(value)) for name, value in way.items()))
        if key not in self._known:
            start, stop = (self.program.symbols[label] for label in ("forward", "forward_done"))
            environment = {**self.anything, **way}
            time = self._within(self._part("forward")).routine(start, stop, environment, 0)
            self._known[key] = time
        return {"forward": self._known[key]}

    def _by_part(
        self, entry: str, stop: str | None, environment: Mapping[str, object]
    ) -> dict[str, Cycles]:
        start = self.program.symbols[entry]
        end = None if stop is None else self.program.symbols[stop]
        reached = self._base.reached(start, end, environment)
        times = {}
        for part in self.parts:
            if not any(part.address <= address < part.end for address in reached):
                continue
            time = self._within(part).routine(start, end, environment, 0)
            if time.hi:
                times[part.name] = time
        return times

    @property
    def parts(self) -> list[Placed]:
        """The parts of the image that a forward pass runs."""
        return [o for o in self.objects if o.kind == "code"]

    def _part(self, name: str) -> Placed:
        return next(o for o in self.parts if o.name == name)

    def _within(self, part: Placed) -> Within:
        if part not in self._known:
            self._known[part] = Within(self._base, part)
        return self._known[part]

    @property
    def _base(self) -> Predictor:
        """Times wherever they are spent."""
        if "base" not in self._known:
            self._known["base"] = Predictor(self.program, None)
        return self._known["base"]


def _with_screen(time: Cycles) -> Cycles:
    """A time with the cycles that the VIC-II takes: a frame's worth more or less, as it falls."""
    share = FRAME_CYCLES / (FRAME_CYCLES - STOLEN_CYCLES)
    return Cycles(time.lo, time.expected * share, math.ceil(time.hi * share) + STOLEN_CYCLES)


def _add(sums: dict[str, Cycles], more: Mapping[str, Cycles], times: int = 1) -> None:
    for name, time in more.items():
        sums[name] = sums.get(name, NOTHING) + time * times
