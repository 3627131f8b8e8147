"""A machine's training and the reference's, step by step, from any weights."""

from collections.abc import Callable
from typing import Any

import numpy as np

from anachron.compiler.image import Location
from anachron.compiler.log_training import Loop
from anachron.compiler.machine_training import read_weights, run_to
from anachron.compiler.run import start
from anachron.compiler.training_image import TrainingImage
from anachron.kernels.arithmetic import Array

EDGES = (-32768, 32767, 4094, 4095, 4096, -4094, -4095, -4096, -4097, 8192, 0, 1, -1, -2)
# Where weights have been drawn, and nothing has been made of them.
DRAWN = ("encode.all", "encode_all", "train_start")


def compare_steps(
    image: TrainingImage, loop: Loop, draw: Callable[[str, int], Array], steps: int
) -> None:
    """Give both the weights that draw(name, size) says; they agree after every step."""
    machine = start(image)
    run_to(image, machine, next(label for label in DRAWN if label in image.symbols))
    for name, place in image.weights.items():
        drawn = draw(name, place.size)
        deposit(machine, place, drawn)
        loop.weights[name][0] = drawn.reshape(image.model.shapes[name])
    for step in range(1, steps + 1):
        loop.step()
        run_to(image, machine, "step_done")
        for name, array in read_weights(image, machine).items():
            assert np.array_equal(array, loop.weights[name][0]), f"{name} after step {step}"


def spread_out(spread: int) -> Callable[[str, int], Array]:
    """Weights within `spread` of 0, a fifth of them at edges of the numbers' tables."""
    random = np.random.default_rng(spread)

    def draw(name: str, size: int) -> Array:
        drawn = random.integers(-spread, spread, size)
        return np.where(random.random(size) < 0.2, random.choice(EDGES, size), drawn)

    return draw


def deposit(machine: Any, place: Location, integers: Array) -> None:
    """Put integers where a parameter's lie."""
    low, high = (integers & 255).astype(np.uint8), (integers >> 8 & 255).astype(np.uint8)
    if place.layout == "words":
        at = place.address + 2 * np.arange(place.size)
        machine.memory[at], machine.memory[at + 1] = low, high
    else:
        machine.memory[place.address + place.offsets()] = low
        machine.memory[place.high + place.offsets()] = high
