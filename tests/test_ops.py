"""The float meaning of each op, against the definition written out in loops."""

import math

import numpy as np
import pytest

from anachron.compiler import floats
from anachron.compiler.language import parse
from anachron.compiler.model import ModelError, check, random_weights
from anachron.compiler.ops import GRADIENT_OPS, OPS, ShapeError, forward

RNG = np.random.default_rng(1)


def attend(q, k, v, heads, kv_heads, causal, scale):
    """Attention one head, one position, one row at a time."""
    n, size = len(q), q.shape[1] // heads
    out = np.zeros_like(q)
    for h in range(heads):
        g = h // (heads // kv_heads)
        columns = slice(h * size, (h + 1) * size)
        shared = slice(g * size, (g + 1) * size)
        for i in range(n):
            rows = range(i + 1) if causal else range(n)
            weight = [math.exp(scale * float(q[i, columns] @ k[j, shared])) for j in rows]
            mixed = sum(w * v[j, shared] for w, j in zip(weight, rows, strict=True))
            out[i, columns] = mixed / sum(weight)
    return out


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 4), (4, 2), (4, 1)])
def test_attention_is_a_softmax_mean_of_what_each_head_may_see(heads, kv_heads, causal):
    q, k, v = (RNG.normal(size=(5, 3 * n)) for n in (heads, kv_heads, kv_heads))
    settings = {"heads": heads, "kv_heads": kv_heads, "causal": causal, "scale": 0.7}
    wanted = attend(q, k, v, heads, kv_heads, causal, 0.7)
    assert np.allclose(floats.attention(q, k, v, {}, **settings), wanted, atol=1e-12)


def test_large_scores_do_not_overflow():
    x = np.array([[1e4, 0.0], [0.0, 1e4]])
    settings = {"heads": 1, "kv_heads": 1, "causal": False, "scale": 1.0}
    assert np.array_equal(floats.attention(x, x, x, {}, **settings), x)


def test_rope_turns_pairs_by_position_times_frequency():
    x = RNG.normal(size=(3, 8))
    turned = floats.rope(x, {}, heads=2, theta=100.0, interleaved=True)
    for position in range(3):
        for head in range(2):
            for pair in range(2):
                at = 4 * head + 2 * pair
                turn = np.exp(1j * position * 100.0 ** (-2 * pair / 4))
                number = complex(*x[position, at : at + 2]) * turn
                assert np.allclose(turned[position, at : at + 2], [number.real, number.imag])


def test_rope_in_halves_is_the_same_up_to_the_order_of_features():
    x = RNG.normal(size=(3, 8))
    order = [0, 2, 1, 3, 4, 6, 5, 7]
    pairs = floats.rope(x, {}, heads=2, theta=1e4, interleaved=True)
    halves = floats.rope(x[:, order], {}, heads=2, theta=1e4, interleaved=False)
    assert np.allclose(pairs[:, order], halves)


def test_rms_norm_gives_unit_root_mean_square():
    x = RNG.normal(size=(4, 16)) * 7
    y = floats.rms_norm(x, {"gain": np.ones(16)}, epsilon=1e-12)
    assert np.allclose((y * y).mean(-1), 1.0)


def test_layer_norm_gives_zero_mean_and_unit_variance():
    x = RNG.normal(size=(4, 16)) * 7 + 3
    y = floats.layer_norm(x, {"gain": np.ones(16), "bias": np.zeros(16)}, epsilon=1e-12)
    assert np.allclose(y.mean(-1), 0.0) and np.allclose(y.var(-1), 1.0)


def test_activations_at_known_points():
    x = np.array([-1.0, 0.0, 1.0])
    assert np.allclose(floats.relu(x, {}), [0, 0, 1])
    assert np.allclose(floats.silu(x, {}), [-0.2689414, 0, 0.7310586], atol=1e-7)
    assert np.allclose(floats.gelu(x, {}), [-0.1588080, 0, 0.8411920], atol=1e-7)  # tanh form


def test_silu_of_large_numbers_does_not_overflow():
    assert np.array_equal(floats.silu(np.array([-1e4, 1e4]), {}), [0.0, 1e4])


def test_a_batch_gives_what_each_sequence_gives_alone():
    text = (
        "size vocab_size = 9, seq_len = 6\n"
        "x = embed(token, 8) + embed(position, 8)\n"
        "y = attention(x, linear(x, 4), linear(x, 4), heads = 2, kv_heads = 1, causal)\n"
        "logits = linear(gelu(layer_norm(x + y)), 9, bias)\n"
    )
    model = parse(text).model
    model = model.with_weights(random_weights(model.shapes, 3), "random, seed 3")
    tokens = RNG.integers(0, 9, (4, 6))
    together = forward(model, tokens)["logits"]
    alone = [forward(model, row)["logits"] for row in tokens]
    assert np.allclose(together, alone, atol=1e-12)


def test_forward_refuses_ids_beyond_the_vocabulary_and_too_many_tokens():
    model = parse("size vocab_size = 4, seq_len = 2\nlogits = embed(token, 4)").model
    model = model.with_weights(random_weights(model.shapes, 0), "random, seed 0")
    with pytest.raises(ShapeError, match=r"token ids are 0 \.\. 3"):
        forward(model, [0, 4])
    with pytest.raises(ShapeError, match="3 tokens, the context is 2"):
        forward(model, [0, 1, 2])


def test_every_gradient_that_a_row_names_exists():
    for row in OPS.values():
        known = {"dy", *row.inputs}
        for what, gradient in [*row.between.items(), *row.gradients.items()]:
            assert gradient.op == "" or gradient.op in GRADIENT_OPS
            assert set(gradient.reads) <= known
            known.add(what)


def test_check_refuses_weights_of_another_shape():
    model = parse("size vocab_size = 4, seq_len = 2\nlogits = embed(token, 4)").model
    with pytest.raises(ModelError, match=r"logits.weight has shape \(4, 3\)"):
        model.with_weights({"logits.weight": np.zeros((4, 3))}, "w.npz")
    with pytest.raises(ModelError, match="not finite"):
        model.with_weights({"logits.weight": np.full((4, 4), np.nan)}, "w.npz")
    whole = model.with_weights({"logits.weight": np.zeros((4, 4))}, "w.npz")
    assert check(whole) is whole
