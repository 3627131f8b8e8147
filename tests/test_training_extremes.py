"""Training on machines from weights of any 16 bits: every wrap is the reference's."""

import numpy as np
import pytest
from training_steps import compare_steps, spread_out

import anachron.compiler as ac
from anachron.compiler.autodiff import differentiate
from anachron.compiler.log_training import Loop
from anachron.compiler.logarithms import lower_step
from anachron.compiler.machine_training import build_training

STEPS = 8
MACHINES = ("pdp11/34a", "pdp11/20", "c64")


def compare(machine_name, draw):
    model = ac.load("reverse")
    image = build_training(model, machine_name)
    compare_steps(image, Loop(lower_step(differentiate(model)), (image.seed,)), draw, STEPS)


@pytest.mark.parametrize("machine_name", MACHINES)
@pytest.mark.parametrize("spread", [32768, 8000, 4096, 100])
def test_weights_equal_the_reference_from_any_start(machine_name, spread):
    compare(machine_name, spread_out(spread))


@pytest.mark.parametrize("machine_name", ["pdp11/34a", "c64"])
@pytest.mark.parametrize("matrix", [4094, -4096])
@pytest.mark.parametrize("table", [16376, -16384])
def test_sums_of_the_largest_products_of_one_sign_are_exact(machine_name, matrix, table):
    """Every sum is at one of its ends: positions and tokens share the largest code."""

    def draw(name, size):
        return np.full(size, table if name in ("tok.weight", "pos.weight") else matrix)

    compare(machine_name, draw)
