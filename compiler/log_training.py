"""The training loop in logarithms: Model with a recipe -> LogTraining, many seeds at once.

    start weights -> [draw a sample, forward, loss, backward, updates] ... -> tests

All of it is integers, the same on every machine: the start weights, the order of the samples, what
a skipped step is, the digits of the reports, the rates of each window.  Of the recipe, logarithms
know steps, window, rates, decay and clip: gradients are clipped inside attention, by its contract.

To add an op: logarithms.py says.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anachron.compiler.autodiff import TARGET, differentiate
from anachron.compiler.data import Random, make_batches
from anachron.compiler.logarithms import LogOp, LogStep, lower_step
from anachron.compiler.model import Array, Model, ModelError
from anachron.compiler.training import MAX_STEPS, STEPS, WINDOW, Training
from anachron.kernels.arithmetic import wrap
from anachron.kernels.reference.exact_training import EXACT_CONTRACTS
from anachron.kernels.reference.log_contracts import LOG_CONTRACTS
from anachron.kernels.reference.log_gradients import sends_back
from anachron.kernels.reference.log_tables import SILENT, code, octaves
from anachron.kernels.reference.log_tables import STEPS as CODE_STEPS

WEIGHTS_STREAM = 0x5EED  # a seed with these bits turned gives the start weights
N_TESTS = 10
CHUNK = 100  # seeds at once, fewer where their products fill memory
MAX_PRODUCTS = 1 << 26  # of an op, of all seeds at once

Progress = Callable[[int, float, float], None]


@dataclass(frozen=True)
class Report:
    """What a machine has counted when it prints a line.

    loss  the sum of the losses since the last line, in steps of a code; hits and positions too
    """

    step: int
    loss: int
    hits: int
    positions: int

    def __str__(self) -> str:
        """The machine's line; its digits are cut, not rounded, and a loss is at least 0.

        >>> print(Report(50, 25600, 106, 400))
        STEP    50  LOSS=2.0000  ACC=0.265
        """
        loss = max(0, self.loss) * 10_000 // (CODE_STEPS * self.positions)
        accuracy = self.hits * 1000 // self.positions
        return (
            f"STEP {self.step:5d}  LOSS={loss // 10_000}.{loss % 10_000:04d}"
            f"  ACC={accuracy // 1000}.{accuracy % 1000:03d}"
        )


@dataclass(frozen=True)
class Answer:
    """A sequence that the trained model was asked after the last step, and what it said.

    characters  what a machine prints for each id
    """

    tokens: tuple[int, ...]
    wanted: tuple[int, ...]
    given: tuple[int, ...]
    characters: str

    @property
    def right(self) -> bool:
        return self.wanted == self.given

    def __str__(self) -> str:
        """The machine's line."""
        asked, said = (
            "".join(self.characters[i] for i in ids) for ids in (self.tokens, self.given)
        )
        return f"{asked} -> {said} {'OK' if self.right else '--'}"


@dataclass(frozen=True)
class LogTraining(Training):
    """What came of a training in logarithms.

    integers  of every parameter, int16; the model's weights are these over 2**frac
    backward  the steps that were not skipped
    """

    integers: Mapping[str, Array]
    reports: tuple[Report, ...]
    tests: tuple[Answer, ...]
    backward: int

    @property
    def sha256(self) -> str:
        """Of all integers, little-endian, in the model's order."""
        digest = hashlib.sha256()
        for name in self.model.shapes:
            digest.update(self.integers[name].astype("<i2").tobytes())
        return digest.hexdigest()

    @property
    def transcript(self) -> tuple[str, ...]:
        """The lines that a machine prints, from the first report to the tests."""
        right = sum(answer.right for answer in self.tests)
        last = (f"TESTS {right}/{len(self.tests)}",) if self.tests else ()
        return (*map(str, self.reports), *map(str, self.tests), *last)

    def __repr__(self) -> str:
        return super().__repr__().replace("Training(", "LogTraining(", 1)


def trains_in_logarithms(model: Model) -> bool:
    """Whether every op of a model, and its recipe, is what logarithms have."""
    try:
        check_recipe(model)
        lower_step(differentiate(model))
    except ModelError:
        return False
    return True


def check_recipe(model: Model) -> None:
    """Raises ModelError for a recipe that logarithms cannot follow."""
    if model.recipe.get("batch", 1) != 1:
        raise ModelError(f"{model.name}: in logarithms a step has one sample: leave batch out")


def train_log(
    model: Model,
    steps: int | None = None,
    seeds: Sequence[int] = (0,),
    progress: Progress | None = None,
    numerics: str = "log",
) -> list[LogTraining]:
    """Train once for each seed; a seed alone gives what it gives among others.

    numerics  as lower_step has it

    steps     the recipe's by default
    progress  called with (step, mean loss, mean accuracy) after each step
    """
    steps = model.recipe.get("steps", STEPS) if steps is None else steps
    if not 1 <= steps <= MAX_STEPS:
        raise ModelError(f"{model.name}: {steps} steps, allowed is 1 to {MAX_STEPS:,}")
    check_recipe(model)
    lowered = lower_step(differentiate(model), numerics)
    chunk = min(CHUNK, MAX_PRODUCTS // count_products(model))
    if not chunk:
        raise ModelError(
            f"{model.name}: an op has {count_products(model):,} products, {MAX_PRODUCTS:,} at most "
            "train in logarithms"
        )
    trainings = []
    for start in range(0, len(seeds), chunk):
        some = tuple(seeds[start : start + chunk])
        trainings += Loop(lowered, some).train(steps, progress)
    return trainings


def count_products(model: Model) -> int:
    """Of the largest op for one seed: a matrix at every position, or an attention."""
    wide = max(shape[-1] for shape in model.shapes.values())
    largest = max(math.prod(shape) for shape in model.shapes.values())
    return model.seq_len * max(largest, model.seq_len * wide)


def find_cuts(model: Model, steps: int) -> tuple[int, ...]:
    """The code that each window's steps add to the learning rates' constants.

    With a decay of d, the steps of a window that begins after b of n steps have 1 - d * b / n of
    each rate.
    """
    window, decay = model.recipe.get("window", WINDOW), min(1.0, model.recipe.get("decay", 0.0))
    return tuple(octaves(math.log2(1 - decay * b / steps)) for b in range(0, steps, window))


def find_characters(model: Model) -> str:
    """The character that a machine prints for each id: its piece, or a mark for a longer one."""
    pieces = model.tokenizer.machine_tables().pieces[: model.vocab_size]
    return "".join(chr(piece[0]) if len(piece) == 1 else "?" for piece in pieces)


def make_reports(counts: Array, window: int) -> tuple[Report, ...]:
    """A report every window steps and after the last; counts (steps, [loss, hits, positions])."""
    return tuple(
        Report(min(i + window, len(counts)), *counts[i : i + window].sum(0).tolist())
        for i in range(0, len(counts), window)
    )


def start_weights(lowered: LogStep, seed: int) -> dict[str, Array]:
    """The int16 weights before the first step: gains 1, biases 0, the rest even and around 0.

    In the model's order, row by row, each is the high half of the generator's next state, with its
    sign, shifted down to the spread and its lowest bit cleared.
    """
    random = Random(seed ^ WEIGHTS_STREAM)
    weights = {}
    for name, shape in lowered.step.model.shapes.items():
        first = start_value(lowered, name)
        if first is not None:
            weights[name] = np.full(shape, first)
            continue
        drawn = [random.below(1 << 16) for _ in range(math.prod(shape))]
        signed = wrap(np.array(drawn, np.int64), 16)
        weights[name] = ((signed >> start_shift(lowered, name)) & ~1).reshape(shape)
    return weights


def start_value(lowered: LogStep, name: str) -> int | None:
    """What all of a gain, or of a bias, is before the first step; None where it is drawn."""
    ones = {"gain": 1 << lowered.formats[name].frac, "bias": 0}
    return ones.get(name.rpartition(".")[2])


def start_shift(lowered: LogStep, name: str) -> int:
    """How far a 16-bit random integer is shifted down, for a start within 2 / sqrt(columns).

    The spread is a power of two: 1/2 for 16 columns.
    """
    columns = lowered.step.model.shapes[name][-1]
    spread = math.floor(1 - math.log2(columns) / 2)
    return max(0, 15 - lowered.formats[name].frac - spread)


class Loop:
    """Trainings side by side: every array has the seed first."""

    def __init__(self, lowered: LogStep, seeds: tuple[int, ...]) -> None:
        self.lowered, self.seeds, self.model = lowered, seeds, lowered.step.model
        self.batches = [make_batches(self.model, seed) for seed in seeds]
        starts = [start_weights(lowered, seed) for seed in seeds]
        self.weights = {n: np.stack([start[n] for start in starts]) for n in self.model.shapes}

    def train(self, steps: int, progress: Progress | None) -> list[LogTraining]:
        """Every step, and the tests of those models that answer a whole sequence."""
        seen, backward = [], np.zeros(len(self.seeds), np.int64)
        window, cuts = self.model.recipe.get("window", WINDOW), find_cuts(self.model, steps)
        for step in range(1, steps + 1):
            loss, hits, positions, active = self.step(cuts[(step - 1) // window])
            seen.append((loss, hits, positions))
            backward += active
            if progress:
                total = positions.sum()
                progress(step, float(loss.sum() / (CODE_STEPS * total)), float(hits.sum() / total))
        counts = np.array(seen)  # (steps, 3, seeds)
        tests = self.test() if self.model.generation.mode == "sequence" else [()] * len(self.seeds)
        return [
            self._finish(i, make_reports(counts[:, :, i], window), tests[i], int(backward[i]))
            for i in range(len(self.seeds))
        ]

    def _finish(
        self, i: int, reports: tuple[Report, ...], tests: tuple[Answer, ...], backward: int
    ) -> LogTraining:
        integers = {name: array[i].astype(np.int16) for name, array in self.weights.items()}
        real = {n: self.lowered.formats[n].decode(array) for n, array in integers.items()}
        steps, seed = reports[-1].step, self.seeds[i]
        return LogTraining(
            self.model.with_weights(real, f"trained {steps} steps in logarithms, seed {seed}"),
            steps,
            seed,
            tuple(r.loss / (CODE_STEPS * r.positions) for r in reports),
            tuple(r.hits / r.positions for r in reports),
            integers,
            reports,
            tests,
            backward,
        )

    def draw(self) -> tuple[Array, Array]:
        """The next sample of each seed: tokens and targets, (seeds, positions)."""
        pairs = [next(batch) for batch in self.batches]
        return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])

    def forward(self, tokens: Array, targets: Array) -> dict[str, Array]:
        position = np.broadcast_to(np.arange(tokens.shape[-1]), tokens.shape)
        values = self.weights | {"token": tokens, "position": position, TARGET: targets}
        for op in self.lowered.forward:
            values[op.name] = self.compute(op, values)
        return values

    def step(self, cut: int = 0) -> tuple[Array, Array, Array, Array]:
        """One step of every seed: its loss, hits, counted positions, and whether it went back.

        cut   what is added to the learning rates' constants
        """
        tokens, targets = self.draw()
        values = self.forward(tokens, targets)
        gradient, loss = self.compute(self.lowered.loss, values)
        values[self.lowered.loss.name] = gradient
        counted = targets >= 0
        hits = (values["logits"].argmax(-1) == targets) & counted
        active = sends_back(gradient, 0 if self.lowered.exact else SILENT)
        self.learn(values, np.flatnonzero(active), cut)
        return loss.sum(-1), hits.sum(-1), counted.sum(-1), active

    def learn(self, values: Mapping[str, Array], active: Array, cut: int) -> None:
        """The backward pass and the updates of those seeds whose loss sends something back."""
        if not active.size:
            return
        values = {name: array[active] for name, array in values.items()}
        for op in self.lowered.backward:
            values[op.name] = self.compute(op, values)
        for op in self.lowered.updates:
            values[op.name] = self.compute(op, values, cut)
        for name in self.model.shapes:
            self.weights[name][active] = values[name]

    def compute(self, op: LogOp, values: Mapping[str, Array], cut: int = 0) -> Any:
        """What an op's contract makes of the values so far."""
        if not self.lowered.exact:
            return compute(op, values, cut)
        reads = {role: values[name] for role, name in op.reads.items()}
        return EXACT_CONTRACTS[op.contract](**reads, **op.attributes)

    def test(self) -> list[tuple[Answer, ...]]:
        """The next samples, answered."""
        rounds, characters = [], find_characters(self.model)
        for _ in range(N_TESTS):
            tokens, targets = self.draw()
            answers = self.forward(tokens, targets)["logits"].argmax(-1)
            rounds.append((tokens.tolist(), targets.tolist(), answers.tolist()))
        return [
            tuple(
                Answer(tuple(asked[i]), tuple(wanted[i]), tuple(given[i]), characters)
                for asked, wanted, given in rounds
            )
            for i in range(len(self.seeds))
        ]


def compute(op: LogOp, values: Mapping[str, Array], cut: int = 0) -> Array:
    """What an op's contract makes of the values so far.

    cut   what is added to the constant of an update
    """
    reads = {
        role: code(values[name] >> op.coded[role], op.saturates)
        if role in op.coded
        else values[name]
        for role, name in op.reads.items()
    }
    attributes = dict(op.attributes)
    if cut:
        attributes["constant"] += cut
    return LOG_CONTRACTS[op.contract](**reads, **attributes)
