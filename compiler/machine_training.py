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
from anachron.compiler.log_training import WEIGHTS_STREAM, LogTraining, train_log
from anachron.compiler.logarithms import lower_step
from anachron.compiler.model import Array, Model
from anachron.compiler.run import RunError, start
from anachron.compiler.targets import Machine, Options, find_machine
from anachron.compiler.training import MAX_STEPS, STEPS, WINDOW
from anachron.compiler.training_image import TrainingImage
from anachron.kernels.reference.sampling import seed_state

TRAINERS = {"pdp11": "anachron.compiler.targets.pdp11.training"}
STEP_LIMIT = 600 * 10**9  # ns of a step, its report, or the tests, before a program is given up

Listener = Callable[[str], None]


@dataclass(frozen=True)
class MachineTraining(LogTraining):
    """What came of a training on a machine; its integers are the machine's own.

    time_ns   from the beginning of the first step to the end of the last, reports included
    console   all that the program printed
    """

    machine: Machine
    time_ns: int
    console: str


def build_training(
    model: Model, machine: str, steps: int | None = None, seed: int = 0, **options: Any
) -> TrainingImage:
    """The program that trains a model on a machine; options are the fields of targets.Options.

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
    trainer = import_module(TRAINERS[row.target])
    lowered = lower_step(differentiate(model))
    image: TrainingImage = trainer.build(
        lowered, row, Options(**options), steps=steps, window=window, seed=seed
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
    machine = start(image)
    _deposit(machine, image, "weights.state", seed_state(seed ^ WEIGHTS_STREAM))
    _deposit(machine, image, "data.state", seed_state(seed))
    heard = 0

    def run_to(*labels: str) -> str:
        nonlocal heard
        stops = {image.symbols[label]: label for label in labels}
        why = machine.run(until=list(stops), max_time_ns=STEP_LIMIT)
        if listener and len(machine.console) > heard:
            listener(machine.console[heard:])
            heard = len(machine.console)
        pc = machine.registers["pc"]
        if pc not in stops:
            raise RunError(f"{image!r} stopped at {image.address(pc)}, not at a label: {why}")
        return stops[pc]

    run_to("train_start")
    began = machine.time_ns
    while run_to("step_done", "train_end") == "step_done":
        pass
    time_ns = machine.time_ns - began
    run_to("finished")
    integers = read_weights(image, machine)
    if wanted is None:
        (wanted,) = train_log(image.model, image.steps, (seed,))
    for name, array in wanted.integers.items():
        if not np.array_equal(array, integers[name]):
            raise RunError(f"{image!r}: the weights {name} are not the reference's")
    said = machine.console.replace("\r", "")
    if not said.endswith("\n".join((*wanted.transcript, ""))):
        raise RunError(f"{image!r} printed other lines than the reference: {said[-400:]}")
    known = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    known |= {"integers": integers}
    return MachineTraining(**known, machine=image.machine, time_ns=time_ns, console=said)


def measure_step(image: TrainingImage) -> dict[str, int]:
    """Kernel -> its time in the first step, with all that it calls, as image.predict() has it."""
    machine = start(image)
    machine.run(until=image.symbols["train_start"], max_time_ns=STEP_LIMIT)
    before = np.array(machine.profile())
    machine.run(until=image.symbols["step_done"], max_time_ns=STEP_LIMIT)
    spent = np.array(machine.profile()) - before
    own = {o.name: int(spent[o.address : o.end].sum()) for o in image.objects}
    called = {"draw": ("random", "multiply")}
    return {
        name: own[name] + sum(own.get(routine, 0) for routine in called.get(name, ()))
        for name in image.stretches
    }


def read_weights(image: TrainingImage, machine: Any) -> dict[str, Array]:
    """Every parameter's integers in a machine's memory."""
    return {
        name: place.decode(machine.memory).astype(np.int16).reshape(image.model.shapes[name])
        for name, place in image.weights.items()
    }


def _deposit(machine: Any, image: TrainingImage, label: str, value: int) -> None:
    at = image.symbols[label]
    machine.memory[at : at + 4] = np.frombuffer(value.to_bytes(4, "little"), np.uint8)
