"""Training on machines from weights of any 16 bits: every wrap is the reference's."""

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.autodiff import differentiate
from anachron.compiler.log_training import Loop
from anachron.compiler.logarithms import lower_step
from anachron.compiler.machine_training import build_training, read_weights, run_to
from anachron.compiler.run import start

EDGES = (-32768, 32767, 4094, 4095, 4096, -4096, -4097, 8192, 0, 1, -1, -2)
STEPS = 8
ENCODE = {"pdp11/34a": "encode.all", "pdp11/20": "encode.all", "c64": "encode_all"}


def deposit(machine, place, integers):
    """Put integers where a parameter's lie."""
    low, high = (integers & 255).astype(np.uint8), (integers >> 8 & 255).astype(np.uint8)
    if place.layout == "words":
        at = place.address + 2 * np.arange(place.size)
        machine.memory[at], machine.memory[at + 1] = low, high
    else:
        machine.memory[place.address + place.offsets()] = low
        machine.memory[place.high + place.offsets()] = high


def compare(machine_name, draw):
    model = ac.load("reverse")
    image = build_training(model, machine_name)
    loop = Loop(lower_step(differentiate(model)), (image.seed,))
    machine = start(image)
    run_to(image, machine, ENCODE[machine_name])
    for name, place in image.weights.items():
        drawn = draw(name, place.size)
        deposit(machine, place, drawn)
        loop.weights[name][0] = drawn.reshape(model.shapes[name])
    for step in range(1, STEPS + 1):
        loop.step()
        run_to(image, machine, "step_done")
        for name, array in read_weights(image, machine).items():
            assert np.array_equal(array, loop.weights[name][0]), f"{name} after step {step}"


@pytest.mark.parametrize("machine_name", ENCODE)
@pytest.mark.parametrize("spread", [32768, 8000, 4096, 100])
def test_weights_equal_the_reference_from_any_start(machine_name, spread):
    random = np.random.default_rng(spread)

    def draw(name, size):
        drawn = random.integers(-spread, spread, size)
        return np.where(random.random(size) < 0.2, random.choice(EDGES, size), drawn)

    compare(machine_name, draw)


@pytest.mark.parametrize("machine_name", ["pdp11/34a", "c64"])
@pytest.mark.parametrize("matrix", [4094, -4096])
@pytest.mark.parametrize("table", [16376, -16384])
def test_sums_of_the_largest_products_of_one_sign_are_exact(machine_name, matrix, table):
    """Every sum is at one of its ends: positions and tokens share the largest code."""

    def draw(name, size):
        return np.full(size, table if name in ("tok.weight", "pos.weight") else matrix)

    compare(machine_name, draw)
