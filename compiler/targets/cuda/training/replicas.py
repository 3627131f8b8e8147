"""Seeds and learning rates through a kernel that trains: thousands of trainings in one launch.

    kernel = build_replicas(model, steps=20, rates=[1/4, 1/2])
    done = train_replicas(kernel, [0, 1, 0, 1], "ptx", [1/4, 1/4, 1/2, 1/2])
    done.trainings                                  # LogTraining, one a seed, and its model's rate
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from anachron.compiler.autodiff import differentiate
from anachron.compiler.data import make_batches
from anachron.compiler.learning_rates import at_rate, check_rate, find_rate
from anachron.compiler.log_training import (
    N_TESTS,
    WEIGHTS_STREAM,
    Answer,
    LogTraining,
    Report,
    check_recipe,
    find_characters,
    find_cuts,
    train_log,
)
from anachron.compiler.logarithms import LogStep, lower_step
from anachron.compiler.model import Array, Model
from anachron.compiler.run import RunError
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.generations import HOPPER, Gpu
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.compiler.targets.cuda.training.codes import find_words
from anachron.compiler.targets.cuda.training.kernel import (
    ARGUMENTS,
    TrainingText,
    decays,
    makes_data,
    write_training,
)
from anachron.compiler.training import MAX_STEPS, STEPS, WINDOW
from anachron.emulators.ptx import PtxError, load
from anachron.kernels.cuda.places import WARP
from anachron.kernels.reference.log_tables import STEPS as CODE_STEPS
from anachron.kernels.reference.sampling import seed_state

INTERPRETED_WARPS = 4  # of a block, interpreted
MOST_REPLICAS = 1 << 20
MOST_SAMPLES = 1 << 28
CHECKED = 4  # trainings of a launch on a GPU that are repeated by the reference


@dataclass(frozen=True)
class ReplicaKernel:
    """A model's kernel that trains, and for how many steps: which the kernel itself leaves open.

    logs  the step at every learning rate that a training may have, the recipe's first
    """

    logs: Mapping[float, LogStep]
    steps: int
    window: int
    n_tests: int
    text: TrainingText
    ptx: str = field(repr=False)

    @property
    def log(self) -> LogStep:
        """At the recipe's rate."""
        return next(iter(self.logs.values()))

    @property
    def model(self) -> Model:
        return self.log.step.model

    @property
    def rate(self) -> float:
        return next(iter(self.logs))

    def __repr__(self) -> str:
        text = self.text
        return (
            f"ReplicaKernel({self.model.name}: {self.steps} steps, {text.warp_bytes:,} bytes of "
            f"shared memory a training, {text.table_bytes:,} for the tables, {text.warps} on a "
            "multiprocessor)"
        )


@dataclass(frozen=True)
class Replicas:
    """What a launch did.

    counts   warp-instructions by opcode, where it was interpreted
    time_ns  of the launch on a GPU
    """

    trainings: tuple[LogTraining, ...]
    counts: Mapping[str, int]
    time_ns: int | None = None

    @property
    def instructions(self) -> int:
        return sum(self.counts.values())


def build_replicas(
    model: Model,
    steps: int | None = None,
    *,
    tests: bool = True,
    rates: Sequence[float] = (),
    gpu: Gpu = HOPPER,
) -> ReplicaKernel:
    """The kernel that trains a model.

    rates  that trainings may have beside the recipe's
    gpu    that it is to fit

    Raises ValueError, in one line, for a model that it cannot train, and Absent where the compiler
    is not installed.
    """
    steps = model.recipe.get("steps", STEPS) if steps is None else steps
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"{model.name}: {steps} steps, allowed is 1 to {MAX_STEPS:,}")
    check_recipe(model)
    logs = {
        check_rate(rate): lower_step(differentiate(at_rate(model, rate)))
        for rate in (find_rate(model), *rates)
    }
    log, *others = logs.values()
    window = model.recipe.get("window", WINDOW)
    n_tests = N_TESTS if tests and model.generation.mode == "sequence" else 0
    text = write_training(log, window, others, gpu.shared_bytes)
    ptx = compile_kernel(text.source, WARP * text.warps, ARGUMENTS)
    return ReplicaKernel(logs, steps, window, n_tests, text, ptx)


def prepare(
    kernel: ReplicaKernel, seeds: Sequence[int], rates: Sequence[float] | None = None
) -> tuple[Array | int, ...]:
    """The arguments of a launch; the arrays that come back are the last four but the samples."""
    rates = find_rates(kernel, seeds, rates)
    check_count(len(seeds))
    text, n = kernel.text, len(seeds)
    rows = write_rates(kernel)
    each_rate = len(rows) // len(kernel.logs)
    known = list(kernel.logs)
    first = np.array([each_rate * known.index(rate) for rate in rates], np.int32)
    n_reports = -(-kernel.steps // kernel.window)

    def states(turned: int) -> Array:
        return np.array([seed_state(seed ^ turned) for seed in seeds], np.uint32).view(np.int32)

    shape = (n, max(1, kernel.n_tests), 3, kernel.model.seq_len)
    samples = np.zeros(1, np.int32)
    if not makes_data(kernel.model):
        samples = draw_samples(kernel, seeds)
    return (
        np.frombuffer(text.tables, np.uint8).copy(),
        *(n, kernel.steps, n_reports, kernel.n_tests),
        *(states(WEIGHTS_STREAM), states(0), rows, first),
        np.zeros(n * text.weight_bytes, np.uint8),
        np.zeros((n, n_reports, 3), np.int32),
        np.zeros(n, np.int32),
        np.zeros(shape, np.int32),
        samples,
    )


def find_rates(
    kernel: ReplicaKernel, seeds: Sequence[int], rates: Sequence[float] | None
) -> Sequence[float]:
    """A rate a seed: the recipe's where there are none."""
    if rates is None:
        return [kernel.rate] * len(seeds)
    if len(rates) != len(seeds):
        raise ValueError(f"{len(rates):,} rates for {len(seeds):,} seeds: give each seed one")
    for rate in set(rates) - set(kernel.logs):
        raise ValueError(f"a rate of {rate:g}: the kernel was built for {sorted(kernel.logs)}")
    return rates


def write_rates(kernel: ReplicaKernel) -> Array:
    """(rates x windows, words): what updates multiply by; one row a rate where none decays."""
    cuts = find_cuts(kernel.model, kernel.steps) if decays(kernel.model) else [0]
    return np.array([find_words(log, cut) for log in kernel.logs.values() for cut in cuts], "<i4")


def draw_samples(kernel: ReplicaKernel, seeds: Sequence[int]) -> Array:
    """Tokens and targets of every step of every seed."""
    count = len(seeds) * kernel.steps * 2 * kernel.model.seq_len
    if count > MOST_SAMPLES:
        raise ValueError(
            f"{kernel.model.name}: the samples of {len(seeds):,} seeds are {count:,} numbers, "
            f"allowed are {MOST_SAMPLES:,}: fewer seeds or steps"
        )
    drawn = []
    for seed in seeds:
        batches = make_batches(kernel.model, seed)
        drawn.append([np.concatenate(next(batches)) for _ in range(kernel.steps)])
    return np.array(drawn, np.int32)


def collect(
    kernel: ReplicaKernel,
    seeds: Sequence[int],
    arguments: tuple,
    rates: Sequence[float] | None = None,
) -> tuple[LogTraining, ...]:
    """What a launch has left in its arguments, a training a seed."""
    memory, counts, backward, tests = arguments[-5:-1]
    words = memory.view(np.int32).reshape(len(seeds), -1)
    characters = find_characters(kernel.model)
    trainings = []
    for i, (seed, rate) in enumerate(
        zip(seeds, find_rates(kernel, seeds, rates), strict=True)
    ):
        model = kernel.logs[rate].step.model
        integers = {}
        for name, shape in model.shapes.items():
            at = kernel.text.weights[name] // 4
            integers[name] = words[i, at : at + math.prod(shape)].astype(np.int16).reshape(shape)
        reports = tuple(
            Report(min((r + 1) * kernel.window, kernel.steps), *map(int, row))
            for r, row in enumerate(counts[i])
        )
        rows = tests[i][: kernel.n_tests].tolist()
        answers = tuple(
            Answer(tuple(asked), tuple(wanted), tuple(given), characters)
            for asked, wanted, given in rows
        )
        real = {n: kernel.log.formats[n].decode(array) for n, array in integers.items()}
        trainings.append(
            LogTraining(
                model.with_weights(real, f"trained {kernel.steps} steps on a GPU, seed {seed}"),
                kernel.steps,
                seed,
                tuple(r.loss / (CODE_STEPS * r.positions) for r in reports),
                tuple(r.hits / r.positions for r in reports),
                integers,
                reports,
                answers,
                int(backward[i]),
            )
        )
    return tuple(trainings)


def interpret(
    kernel: ReplicaKernel,
    seeds: Sequence[int],
    schedule: int | None = None,
    rates: Sequence[float] | None = None,
) -> Replicas:
    """All seeds, interpreted.  Raises RunError where two threads race."""
    warps = min(INTERPRETED_WARPS, kernel.text.warps, len(seeds))
    arguments = prepare(kernel, seeds, rates)
    shared = kernel.text.shared_bytes(warps)
    try:
        result = load(kernel.ptx).launch(
            *arguments, threads=warps * WARP, shared=shared, seed=schedule
        )
    except PtxError as error:
        raise RunError(f"{kernel!r}: {error}") from None
    if result.races:
        raise RunError(f"{kernel!r}: {result.races[0]}")
    return Replicas(collect(kernel, seeds, arguments, rates), result.counts)


def run_on(
    device: Device,
    kernel: ReplicaKernel,
    seeds: Sequence[int],
    rates: Sequence[float] | None = None,
) -> Replicas:
    """All seeds on a GPU: a block for each multiprocessor."""
    warps = min(kernel.text.warps, len(seeds))
    blocks = min(device.multiprocessors, -(-len(seeds) // warps))
    arguments = prepare(kernel, seeds, rates)
    shared = kernel.text.shared_bytes(warps)
    time_ns = device.launch(kernel.ptx, arguments, warps * WARP, shared, blocks)
    return Replicas(collect(kernel, seeds, arguments, rates), {}, time_ns)


def train_replicas(
    kernel: ReplicaKernel,
    seeds: Sequence[int],
    machine: str,
    rates: Sequence[float] | None = None,
) -> Replicas:
    """On `ptx` interpreted, and all checked; on `cuda` and `h200` the first ones of each rate.

    rates  of each seed; the recipe's where None

    Raises Absent where there is no such GPU, RunError where a training is not the reference's.
    """
    if machine == "ptx":
        done = interpret(kernel, seeds, rates=rates)
        check(kernel, done.trainings)
    else:
        device = open_device(machine)
        done = run_on(device, kernel, seeds, rates)
        check(kernel, choose_checked(done.trainings))
    return done


def open_device(machine: str) -> Device:
    """The GPU that a machine is; Absent where there is none."""
    return Device.open("H200" if machine == "h200" else "")


def check_count(count: int) -> None:
    """Raises ValueError for more trainings than a launch takes."""
    if not 1 <= count <= MOST_REPLICAS:
        raise ValueError(f"{count:,} trainings at once: allowed are 1 to {MOST_REPLICAS:,}")


def choose_checked(trainings: Sequence[LogTraining]) -> list[LogTraining]:
    """The first CHECKED trainings of each rate."""
    chosen: dict[float, list[LogTraining]] = {}
    for training in trainings:
        some = chosen.setdefault(find_rate(training.model), [])
        if len(some) < CHECKED:
            some.append(training)
    return [training for some in chosen.values() for training in some]


def check(kernel: ReplicaKernel, trainings: Sequence[LogTraining]) -> None:
    """Hold trainings against the reference: weights, reports, tests, steps that went back."""
    for rate in dict.fromkeys(find_rate(training.model) for training in trainings):
        some = [training for training in trainings if find_rate(training.model) == rate]
        seeds = [training.seed for training in some]
        wanted = train_log(kernel.logs[rate].step.model, kernel.steps, seeds)
        for mine, known in zip(some, wanted, strict=True):
            _compare(kernel, mine, known)


def _compare(kernel: ReplicaKernel, mine: LogTraining, wanted: LogTraining) -> None:
    what = f"{kernel!r}, seed {mine.seed}, rate {find_rate(mine.model):g}"
    for name, array in wanted.integers.items():
        if not np.array_equal(array, mine.integers[name]):
            raise RunError(f"{what}: {name} is not the reference's")
    tests = wanted.tests if kernel.n_tests else ()
    same = mine.reports == wanted.reports and mine.tests == tests
    if not same or mine.backward != wanted.backward:
        raise RunError(f"{what}: its reports are not the reference's")
