"""Every gradient against differences of the loss, on graphs that hold every op."""

import numpy as np
import pytest

from anachron.compiler.autodiff import LOSS, differentiate, evaluate
from anachron.compiler.data import IGNORED
from anachron.compiler.language import parse
from anachron.compiler.model import random_weights
from anachron.compiler.ops import OPS

HEAD = "size vocab_size = 7, seq_len = 5\ntokenizer digits\n"
GRAPHS = {
    "embed, linear": "logits = linear(embed(token, 4), 7, bias)",
    "add": "logits = linear(embed(token, 4) + embed(position, 4), 7)",
    "multiply": "x = embed(token, 4)\nlogits = linear(linear(x, 5) * linear(x, 5), 7)",
    "rms_norm": "logits = linear(rms_norm(embed(token, 4)), 7)",
    "layer_norm": "logits = linear(layer_norm(embed(token, 4)), 7)",
    "relu": "logits = linear(relu(linear(embed(token, 4), 6, bias)), 7)",
    "gelu": "logits = linear(gelu(linear(embed(token, 4), 6, bias)), 7)",
    "silu": "logits = linear(silu(linear(embed(token, 4), 6, bias)), 7)",
    "rope": (
        "x = embed(token, 8)\n"
        "a = attention(rope(x, heads = 2), rope(linear(x, 8), heads = 2, interleaved), x, "
        "heads = 2, causal)\nlogits = linear(a, 7)"
    ),
    "attention": (
        "x = embed(token, 8) + embed(position, 8)\n"
        "a = attention(linear(x, 8), linear(x, 4), linear(x, 4), heads = 4, kv_heads = 2)\n"
        "logits = linear(x + a, 7)"
    ),
    "one weight shared three times": (
        "tok = embed(token, 7)\nx = linear(tok, 7, weight = tok)\n"
        "logits = linear(tok + x, 7, weight = tok)"
    ),
    "one value read four times": (
        "x = embed(token, 6)\nx = x + relu(x) * linear(x, 6)\nlogits = linear(x * x, 7)"
    ),
}


def make_step(graph):
    model = parse(HEAD + graph).model
    weights = random_weights(model.shapes, 5)
    rng = np.random.default_rng(6)
    for name in weights:  # gains and biases away from one and zero
        weights[name] = weights[name] + rng.normal(0, 0.3, weights[name].shape)
    tokens = rng.integers(0, 7, (2, 5))
    targets = rng.integers(0, 7, (2, 5))
    targets[0, 1] = targets[1, 4] = IGNORED
    return differentiate(model), weights, tokens, targets


def mean_loss(step, weights, tokens, targets):
    return evaluate(step, weights, tokens, targets)[LOSS].sum() / (targets >= 0).sum()


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_gradients_are_the_slopes_of_the_loss(graph):
    step, weights, tokens, targets = make_step(graph)
    values = evaluate(step, weights, tokens, targets)
    small = 1e-5
    for name, array in weights.items():
        slopes = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            kept = array[place]
            ends = []
            for array[place] in (kept + small, kept - small):
                ends.append(mean_loss(step, weights, tokens, targets))
            array[place] = kept
            slopes[place] = (ends[0] - ends[1]) / (2 * small)
        assert np.allclose(values[step.gradients[name]], slopes, atol=1e-7), name


def test_the_graphs_above_hold_every_op():
    seen = {node.op for graph in GRAPHS.values() for node in make_step(graph)[0].model.nodes}
    assert seen == set(OPS)


def test_a_step_is_one_graph_in_order():
    step = make_step(GRAPHS["one value read four times"])[0]
    known = {"token", "position", "target", *step.model.shapes}
    for node in step.nodes:
        assert set(node.inputs) <= known and set(node.parameters.values()) <= known
        assert node.name not in known
        known.add(node.name)
    assert {node.parameters["weight"] for node in step.updates} == set(step.model.shapes)


def test_what_is_ignored_has_no_gradient():
    step, weights, tokens, targets = make_step(GRAPHS["embed, linear"])
    values = evaluate(step, weights, tokens, targets)
    assert not values["d.logits.loss"][targets < 0].any()
    assert values["d.logits.loss"][targets >= 0].any()
