"""Training in plain fixed point: by MUL, exact, the same on the reference and on a PDP-11."""

import json
import math

import numpy as np
import pytest
from training_steps import compare_steps, spread_out

from anachron.compiler import ModelError, load
from anachron.compiler.autodiff import differentiate, evaluate
from anachron.compiler.cli import main
from anachron.compiler.data import make_batches
from anachron.compiler.language import parse
from anachron.compiler.log_training import Loop, train_log
from anachron.compiler.logarithms import lower_step
from anachron.compiler.machine_training import build_training, measure_step, train_on
from anachron.kernels.reference.exact_training import (
    FARTHEST,
    LEAST_LACK,
    cross_entropy,
    exponentials,
    scale,
    softmax,
    top_octaves,
)

X = "x = embed(token, dim) + embed(position, dim)\n"
ATTENTION = "attention(linear(x, dim), linear(x, dim), linear(x, dim)"
GRAPHS = {
    "a norm": f"{X}y = rms_norm(x)",
    "a plain encoder": f"{X}y = x + {ATTENTION}, scale = 1/4)",
    "two heads": f"{X}y = x + {ATTENTION}, heads = 2, scale = 1/2)",
    "shared heads": f"{X}y = x + attention(linear(x, dim), linear(x, dim / 2), linear(x, dim / 2), "
    "heads = 4, kv_heads = 2, scale = 1/2)",
    "biases": f"{X}y = x + linear(relu(linear(x, 12, bias)), dim, bias)",
    "two layers": f"{X}a = x + {ATTENTION}, scale = 1/4)\n"
    f"y = a + {ATTENTION.replace('x', 'a')}, heads = 2, scale = 1/2)",
}
RECIPE = "sgd(steps = 7, window = 3, rate = 1/4)"


def small(graph, n=6, dim=8, vocab=10, task="sort", recipe=RECIPE, out=""):
    return parse(
        f"model small\nsize dim = {dim}, seq_len = {n}, vocab_size = {vocab}\ntokenizer digits\n"
        f"task {task}\ntrain {recipe}\n{GRAPHS[graph]}\nlogits = linear(y, vocab_size{out})"
    ).model


def lower(model):
    return lower_step(differentiate(model), "fixed")


def test_sums_round_saturate_and_wrap_at_32_bits():
    total = np.array([7, 8, -8, -9, 1 << 30, -(1 << 30), (1 << 31) - 1, (1 << 32) + 40])
    assert scale(total, -4).tolist() == [0, 1, 0, -1, 32767, -32768, -32768, 3]
    assert scale(np.array([3, -20000]), 1).tolist() == [6, -32768]


@pytest.mark.parametrize("entries", [1, 2, 8, 10, 15, 16, 31, 128])
def test_a_softmax_shares_evenly_and_its_sum_is_a_positive_word(entries):
    assert entries * exponentials(top_octaves(entries))[0] < 1 << 15
    assert np.abs(softmax(np.zeros(entries, np.int64))[0] - (1 << 14) / entries).max() <= 1
    far, farther = softmax(np.array([[0, -FARTHEST], [0, -(1 << 15)]]))[0]
    assert np.array_equal(far, farther)


def test_a_position_that_is_nearly_certain_or_without_target_sends_nothing_back():
    logits = np.zeros((1, 3, 10), np.int64)
    logits[0, :2, 4] = 2000
    gradient, loss = cross_entropy(logits, np.array([[4, 5, -1]]))
    assert not gradient[0, 0].any() and not gradient[0, 2].any()
    assert gradient[0, 1, 5] < -LEAST_LACK and loss[0].tolist() == [0, 256, 0]


@pytest.mark.parametrize("graph", [graph for graph in GRAPHS if graph != "a norm"])
def test_updates_go_against_the_gradient(graph):
    model = small(graph, dim=16)
    lowered, step = lower(model), differentiate(model)
    loop = Loop(lowered, (1,))
    start_ = {n: lowered.formats[n].decode(a[0]) for n, a in loop.weights.items()}
    tokens, targets = next(make_batches(model, 1))
    values = evaluate(step, start_, tokens, targets)
    loop.step()
    for name in model.shapes:
        moved = (lowered.formats[name].decode(loop.weights[name][0]) - start_[name]).ravel()
        wanted = -values[step.gradients[name]].ravel()
        cosine = moved @ wanted / math.sqrt((moved @ moved) * (wanted @ wanted))
        assert cosine > 0.9, name


def test_twenty_seeds_learn_to_reverse():
    trainings = train_log(load("reverse"), seeds=range(20), numerics="fixed")
    assert [t.accuracy for t in trainings] == [1.0] * 20
    assert all(answer.right for t in trainings for answer in t.tests)


@pytest.mark.parametrize("graph", [graph for graph in GRAPHS if graph != "a norm"])
def test_a_machine_has_the_weights_and_lines_of_the_reference(graph):
    image = build_training(small(graph), "pdp11/34a", numerics="fixed")
    assert len(train_on(image, seed=2).reports) == 3


@pytest.mark.parametrize(("n", "dim", "vocab"), [(1, 4, 10), (2, 4, 2), (7, 8, 3), (11, 4, 16)])
def test_every_size_has_the_weights_of_the_reference(n, dim, vocab):
    model = small("two heads", n, dim, vocab, "sum", out=", bias")
    train_on(build_training(model, "pdp11/34a", numerics="fixed"))


@pytest.mark.parametrize("spread", [32768, 8000, 1000])
def test_weights_equal_the_reference_from_any_start(spread):
    model = small("two heads", out=", bias", recipe="sgd(steps = 7, rate = 4, clip = 1)")
    image = build_training(model, "pdp11/34a", numerics="fixed")
    compare_steps(image, Loop(lower(model), (image.seed,)), spread_out(spread), 4)


def test_the_time_of_every_kernel_of_a_step_is_predicted():
    image = build_training(load("reverse"), "pdp11/34a", numerics="fixed")
    measured, predicted = measure_step(image), image.predict()
    assert measured.keys() == predicted.keys()
    for name, time in predicted.items():
        assert time.lo <= measured[name] <= time.hi, name
    whole = sum(time.expected for time in predicted.values())
    assert abs(whole - sum(measured.values())) < 0.01 * whole
    used = {line.row.mnemonic for line in image.program.instructions.values()}
    assert not used & {"SXT", "XOR", "MTPS", "MFPS"}


def test_reversal_is_learned_within_its_time(capsys):
    words = ["train", "reverse", "--on", "pdp11/34a", "--numerics", "fixed", "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    (wanted,) = train_log(load("reverse"), numerics="fixed")
    assert said["weights_sha256"] == wanted.sha256 and said["accuracy"] == 1.0
    assert said["time_s"] <= 140


@pytest.mark.parametrize(
    ("model", "machine", "message"),
    [
        (small("two heads", recipe="sgd(decay = 1)"), "reference", "leave decay out"),
        (load("sort"), "reference", "leave decay out"),
        (small("a plain encoder"), "pdp11/20", "cannot"),
        (small("a norm"), "reference", "norms train in logarithms only"),
    ],
)
def test_what_fixed_point_lacks_is_one_clear_line(model, machine, message):
    with pytest.raises(ValueError, match=message) as caught:
        if machine == "reference":
            train_log(model, 1, numerics="fixed")
        else:
            build_training(model, machine, numerics="fixed")
    assert "\n" not in str(caught.value)


def test_a_scale_that_is_no_power_of_two_is_refused():
    text = GRAPHS["two heads"].replace("scale = 1/2", "scale = 1/3")
    model = parse(
        f"size dim = 8, seq_len = 6, vocab_size = 10\ntokenizer digits\ntask sort\n{text}\n"
        "logits = linear(y, vocab_size)"
    ).model
    with pytest.raises(ModelError, match="a power of two trains"):
        train_log(model, 1, numerics="fixed")
