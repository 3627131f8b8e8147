"""Training on a machine: model and machine -> TrainingImage -> MachineTraining.

The image runs unchanged on the emulated machine; the host reads the console, the clock and, in
the end, the weights, and holds all of it against the reference.

To add a CPU: its module with `build` in TRAINERS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

import numpy as np

from anachron.compiler.autodiff import differentiate
from anachron.compiler.log_training import (
    WEIGHTS_STREAM,
    LogTraining,
    check_recipe,
    train_log,
)
from anachron.compiler.logarithms import lower_step
from anachron.compiler.model import Array, Model
from anachron.compiler.run import RunError, start
from anachron.compiler.targets import Machine, Options, check_feedback, find_machine
from anachron.compiler.training import MAX_STEPS, STEPS, WINDOW
from anachron.compiler.training_image import TrainingImage
from anachron.emulators.mos6502 import petscii
from anachron.kernels.reference.sampling import seed_state

TRAINERS = {
    "pdp11": "anachron.compiler.targets.pdp11.training",
    "mos6502": "anachron.compiler.targets.mos6502.training",
}
MULTIPLY = ("pdp11",)  # targets with kernels in plain fixed point
STEP_LIMIT = 600 * 10**9  # ns of a step, its report, or the tests, before a program is given up

Listener = Callable[[str], None]


@dataclass(frozen=True)
class MachineTraining(LogTraining):
    """What came of a training on a machine; its integers are the machine's own.

    time_ns   from the beginning of the first step to the end of the last, reports included
    cycles    the same in clocks; None on a machine that has none to count
    window_ns the time from the beginning to the end of each window
    console   all that the program printed
    """

    machine: Machine
    time_ns: int
    cycles: int | None
    window_ns: tuple[int, ...]
    console: str


def build_training(
    model: Model,
    machine: str,
    steps: int | None = None,
    seed: int = 0,
    numerics: str = "log",
    **options: Any,
) -> TrainingImage:
    """The program that trains a model on a machine; options are the fields of targets.Options.

    numerics  "log", or "fixed": by multiplications

    Raises ValueError for a machine that does not train, or a model that it cannot train.
    """
    row = find_machine(machine)
    if row.target not in TRAINERS:
        known = ", ".join(["reference", *(TRAINERS)])
        raise ValueError(f"training on {machine} is not built yet: these train: {known}")
    steps = model.recipe.get("steps", STEPS) if steps is None else steps
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"{model.name}: {steps} steps, allowed is 1 to {MAX_STEPS:,}")
    window = model.recipe.get("window", WINDOW)
    check_recipe(model)
    trainer = import_module(TRAINERS[row.target])
    lowered = lower_step(differentiate(model), numerics)
    if lowered.exact and row.target not in MULTIPLY:
        raise ValueError(f"{machine} trains in logarithms: leave --numerics fixed out")
    chosen = Options(**options)
    check_feedback(chosen)
    image: TrainingImage = trainer.build(
        lowered, row, chosen, steps=steps, window=window, seed=seed
    )
    return image


def train_on(
    image: TrainingImage,
    seed: int | None = None,
    listener: Listener | None = None,
    wanted: LogTraining | None = None,
) -> MachineTraining:
    """Run a training image to its end, and hold it against the reference.

    seed      another one than the image's is deposited before the program starts
    listener  called with what the console prints, as it comes
    wanted    the reference's training, where it is known already

    Raises RunError where the weights or the lines differ, or the program leaves its path.
    """
    seed = image.seed if seed is None else seed
    if wanted is None:
        (wanted,) = train_log(image.model, image.steps, (seed,), numerics=image.numerics)
    machine = start(image)
    for at, state in zip(image.states, (seed ^ WEIGHTS_STREAM, seed), strict=True):
        first = seed_state(state).to_bytes(4, "little")
        machine.memory[at : at + 4] = np.frombuffer(first, np.uint8)
    read_console = listen(image, machine)
    heard = 0

    def run_until(*labels: str) -> str:
        nonlocal heard
        reached = run_to(image, machine, *labels)
        said = read_console()
        if listener and len(said) > heard:
            listener(said[heard:])
            heard = len(said)
        return reached

    run_until("train_start")
    clocked = image.machine.clock_hz is not None
    began, first_cycle = machine.time_ns, machine.cycles if clocked else 0
    window_ns: list[int] = []
    ends = {report.step for report in wanted.reports}
    for step in range(1, image.steps + 1):
        run_until("step_done")
        if step in ends:
            window_ns.append(machine.time_ns - began)
    run_until("train_end")
    time_ns = machine.time_ns - began
    cycles = machine.cycles - first_cycle if clocked else None
    run_until("finished")
    integers = read_weights(image, machine)
    for name, array in wanted.integers.items():
        if not np.array_equal(array, integers[name]):
            raise RunError(f"{image!r}: the weights {name} are not the reference's")
    said = read_console().replace("\r", "")
    if not said.endswith("\n".join((*wanted.transcript, ""))):
        raise RunError(f"{image!r} printed other lines than the reference: {said[-400:]}")
    known = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    known |= {"integers": integers, "time_ns": time_ns, "cycles": cycles}
    known |= {"window_ns": tuple(window_ns)}
    return MachineTraining(**known, machine=image.machine, console=said)


def run_to(image: TrainingImage, machine: Any, *labels: str) -> str:
    """Run to the next of some labels; RunError for a program that reaches none of them."""
    stops = {image.symbols[label]: label for label in labels}
    clock_hz = image.machine.clock_hz
    if clock_hz:
        why = machine.run(until=list(stops), max_cycles=STEP_LIMIT * clock_hz // 10**9)
    else:
        why = machine.run(until=list(stops), max_time_ns=STEP_LIMIT)
    pc = machine.registers["pc"]
    if pc not in stops:
        raise RunError(f"{image!r} stopped at {image.address(pc)}, not at a label: {why}")
    return stops[pc]


def listen(image: TrainingImage, machine: Any) -> Callable[[], str]:
    """What the program has printed, whenever asked: on its console, or on its screen."""
    if image.machine.target == "pdp11":
        return lambda: str(machine.console)
    said = bytearray()
    machine.hook(image.symbols["put"], lambda m: said.append(m.registers["a"]))
    return lambda: petscii.decode(bytes(said), lower=True)


def measure_step(image: TrainingImage) -> dict[str, int]:
    """Kernel -> its time in the first step, with all that it calls, as image.predict() has it."""
    machine = start(image)
    run_to(image, machine, "train_start")
    begins = {begin: (name, end) for name, (begin, end) in image.stretches.items()}
    ends = {end for _, end in begins.values()}
    times: dict[str, int] = {}
    clocked = image.machine.clock_hz is not None
    kernel, began, at = "", 0, ""
    while at != "step_done":
        at = run_to(image, machine, *begins, *ends, "step_done")
        now = machine.cycles if clocked else machine.time_ns
        if kernel and image.stretches[kernel][1] == at:
            times[kernel] = now - began
        if at in begins:
            kernel, began = begins[at][0], now
    return times


def read_weights(image: TrainingImage, machine: Any) -> dict[str, Array]:
    """Every parameter's integers in a machine's memory."""
    return {
        name: place.decode(machine.memory).astype(np.int16).reshape(image.model.shapes[name])
        for name, place in image.weights.items()
    }

