"""Matrices of few bits fitted to what ops before them give: nearer to the model, never too long."""

from dataclasses import replace

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.calibration import find_more_samples, find_samples
from anachron.compiler.fidelity import measure_fidelity
from anachron.compiler.following import follow
from anachron.compiler.formats import Formats, measure
from anachron.compiler.numerics import find_numerics
from anachron.compiler.quantization import find_meaning, lower


def test_fitted_matrices_are_nearer_to_the_model():
    model = ac.load("chat")
    fitted, nearest = (
        measure_fidelity(model, n_contexts=400, activations=8, weights=weights)[0]
        for weights in ("fitted", "nearest")
    )
    assert fitted.divergence < 0.8 * nearest.divergence


@pytest.mark.parametrize("spread", (0.01, 1.0, 30.0))
def test_sums_reach_no_farther_than_they_may(spread):
    """By the lengths of rows and input; rows that are not fitted are off by their rounding."""
    model = ac.load("chat")
    rng = np.random.default_rng(3)
    weights = {
        name: w * np.exp(rng.normal(0, 0.5, w.shape)) * (spread if "logits" in name else 1.0)
        for name, w in model.weights.items()
    }
    model = replace(model, weights=weights)
    samples = find_more_samples(model, find_samples(model))
    numerics = find_numerics(model, {"activations": 8, "weights": "fitted"})
    formats = Formats(model, numerics, measure(model, samples))
    n_fitted = 0
    for op in follow(model, formats, samples, lower, find_meaning(model)):
        node = model[op.name]
        limit = formats.sum_limit(node) if node.op == "linear" else None
        if limit is None:
            continue
        weight, bias = (op.constants[role].astype(np.int64) for role in ("weight", "bias"))
        rounded = lower(node, formats).constants
        unit = 2.0 ** formats.of[node.inputs[0]].frac
        longest = float(formats.reach(node, np.eye(1, weight.shape[1]) * unit)[0])  # of the input
        reach = formats.reach(node, weight * unit) + np.abs(bias)
        fitted = (weight != rounded["weight"]).any(1) | (bias != rounded["bias"])
        n_fitted += fitted.sum()
        rounding = np.sqrt(weight.shape[1]) / 2 * longest + 1  # half a unit each, and the bias's
        half = (1 << op.constants["shift"].astype(np.int64)) >> 1  # in the bias: to the nearest
        assert (reach[fitted] <= limit).all(), op.name
        assert (reach[~fitted] <= limit + (rounding + half)[~fitted]).all(), op.name
    assert n_fitted > 0


def test_a_value_that_is_always_0_changes_nothing():
    model = ac.load("chat")
    weights = dict(model.weights)
    first = next(node for node in model.nodes if node.op == "relu")
    maker = next(node for node in model.nodes if node.name == first.inputs[0])
    for role in maker.parameters.values():
        weights[role] = np.zeros_like(weights[role])
    fixed = ac.quantize(replace(model, weights=weights), activations=8)
    assert fixed.n_weights == ac.quantize(model, activations=8).n_weights
