"""Matrices of few bits fitted to what ops before them give: nearer to the model, never too long."""

from dataclasses import replace

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.fidelity import measure_fidelity
from anachron.compiler.formats import SUM_LIMIT
from anachron.compiler.ranges import analyse


def test_fitted_matrices_are_nearer_to_the_model():
    model = ac.load("chat")
    fitted, nearest = (
        measure_fidelity(model, n_contexts=400, activations=8, weights=weights)[0]
        for weights in ("fitted", "nearest")
    )
    assert fitted.divergence < 0.8 * nearest.divergence


@pytest.mark.parametrize("spread", (0.01, 1.0, 30.0))
def test_sums_reach_no_farther_than_they_may(spread):
    model = ac.load("chat")
    rng = np.random.default_rng(3)
    weights = {
        name: w * np.exp(rng.normal(0, 0.5, w.shape)) * (spread if "logits" in name else 1.0)
        for name, w in model.weights.items()
    }
    model = replace(model, weights=weights)
    reach = {}
    for way in ("fitted", "nearest"):
        fixed = ac.quantize(model, activations=8, weights=way)
        proven = analyse(fixed).accumulators
        reach[way] = max(
            int(np.max(proven[op.name]["rows"]))
            for op in fixed.ops
            if op.contract == "matvec" and fixed[op.inputs[0]].contract == "rms_norm"
        )
    assert reach["fitted"] <= max(SUM_LIMIT[16], reach["nearest"]) * 1.1


def test_a_value_that_is_always_0_changes_nothing():
    model = ac.load("chat")
    weights = dict(model.weights)
    first = next(node for node in model.nodes if node.op == "relu")
    maker = next(node for node in model.nodes if node.name == first.inputs[0])
    for role in maker.parameters.values():
        weights[role] = np.zeros_like(weights[role])
    fixed = ac.quantize(replace(model, weights=weights), activations=8)
    assert fixed.n_weights == ac.quantize(model, activations=8).n_weights
