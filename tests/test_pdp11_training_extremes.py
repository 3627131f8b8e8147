"""Training on the PDP-11 from weights of any 16 bits: every wrap is the reference's."""

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.autodiff import differentiate
from anachron.compiler.log_training import Loop
from anachron.compiler.logarithms import lower_step
from anachron.compiler.machine_training import build_training, read_weights
from anachron.compiler.run import start

EDGES = (-32768, 32767, 4094, 4095, 4096, -4096, -4097, 8192, 0, 1, -1, -2)
STEPS = 8


@pytest.mark.parametrize("machine_name", ["pdp11/34a", "pdp11/20"])
@pytest.mark.parametrize("spread", [32768, 8000, 4096, 100])
def test_weights_equal_the_reference_from_any_start(machine_name, spread):
    model = ac.load("reverse")
    image = build_training(model, machine_name)
    loop = Loop(lower_step(differentiate(model)), (image.seed,))
    machine = start(image)
    machine.run(until=image.symbols["encode.all"])
    random = np.random.default_rng(spread)
    for name, place in image.weights.items():
        drawn = random.integers(-spread, spread, place.size)
        drawn = np.where(random.random(place.size) < 0.2, random.choice(EDGES, place.size), drawn)
        raw = np.frombuffer(drawn.astype("<i2").tobytes(), np.uint8)
        machine.memory[place.address : place.address + len(raw)] = raw
        loop.weights[name][0] = drawn.reshape(model.shapes[name])
    for step in range(1, STEPS + 1):
        loop.step()
        machine.run(until=image.symbols["step_done"])
        for name, array in read_weights(image, machine).items():
            assert np.array_equal(array, loop.weights[name][0]), f"{name} after step {step}"
