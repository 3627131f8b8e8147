"""Training in logarithms: the integers, against plain loops; the directions, against autodiff."""

import json
import math

import numpy as np
import pytest

from anachron.compiler import ModelError, load, quantize, run_reference
from anachron.compiler.autodiff import differentiate, evaluate
from anachron.compiler.cli import main
from anachron.compiler.data import IGNORED, make_batches
from anachron.compiler.language import parse
from anachron.compiler.log_training import (
    Loop,
    Report,
    compute,
    find_cuts,
    make_reports,
    start_weights,
    train_log,
    trains_in_logarithms,
)
from anachron.compiler.logarithms import lower_step
from anachron.compiler.weights import save_weights
from anachron.kernels.reference.log_gradients import cross_entropy, sends_back
from anachron.kernels.reference.log_model import FARTHEST, softmax, softmax_octaves
from anachron.kernels.reference.log_tables import SILENT, exponential, multiply, octaves
from anachron.kernels.reference.sampling import seed_state, xorshift

HEAD = "size dim = 16, seq_len = 8, vocab_size = 10\ntokenizer digits\n"
X = "x = embed(token, dim) + embed(position, dim)\n"
GRAPHS = {
    "one head": X + "y = x + attention(linear(x, dim), linear(x, dim), linear(x, dim))\n",
    "shared heads": X
    + "y = x + attention(linear(x, dim), linear(x, 8), linear(x, 8), heads = 4, kv_heads = 2)\n",
    "two layers": X
    + "a = x + attention(linear(x, dim), linear(x, dim), linear(x, dim))\n"
    + "y = a + attention(linear(a, dim), linear(a, dim), linear(a, dim), heads = 2)\n",
    "two heads and a hidden layer": X
    + "a = x + attention(linear(x, dim), linear(x, dim), linear(x, dim), heads = 2)\n"
    + "y = a + linear(relu(linear(a, 24)), dim)\n",
    "a matrix twice": X
    + "q = linear(x, dim)\ny = x + attention(q, linear(x, dim, weight = q), linear(x, dim))\n",
    "a hidden layer": X + "y = x + linear(relu(linear(x, 24)), dim)\n",
    "biases": X + "y = x + linear(relu(linear(x, 24, bias)), dim, bias)\n",
    "an RMS norm": X + "y = rms_norm(x)\n",
    "a layer norm": X + "y = layer_norm(x)\n",
    "no matrices in attention": X + "y = x + attention(x, x, x)\n",
}


def parse_graph(graph, recipe="sgd(rate = 1/2)", task="reverse"):
    text = f"{HEAD}task {task}\ntrain {recipe}\n{graph}logits = linear(y, vocab_size)"
    return parse(text).model


# Plain loops: the step of the reversal model once more, one integer at a time.


def code_of(b):
    b &= 0o17776
    b -= 8192 * (b >= 4096)
    return (b < 0, 2 * math.floor(16 * math.log(abs(b)) + 0.5) if b else -160)


def times(a, b, amount):
    magnitude = exponential(a[1] + b[1] + amount)
    return -magnitude if a[0] != b[0] else magnitude


def wrapped(x):
    return (x + 32768) % 65536 - 32768


def dot(a, b, amount):
    return wrapped(sum(times(p, q, amount) for p, q in zip(a, b, strict=True)))


def column(rows, i):
    return [row[i] for row in rows]


def codes_of(rows):
    return [[code_of(b) for b in row] for row in rows]


def probabilities(logits):
    below = [-2 * (min(max(logits) - b, 512) // 4) for b in logits]
    total = code_of(sum(exponential(c + 244) for c in below) >> 3)[1]
    return [(False, c - total + 178) for c in below]


def clip(x, most):
    return max(-most, min(most, x))


def step_in_plain_loops(w, tokens, targets):
    """One step on int lists, changed in place; -12 octaves are 266 of a code."""
    tok, pos, q, k, v, out = w.values()
    x = [[wrapped(tok[t][d] + pos[i][d]) for d in range(16)] for i, t in enumerate(tokens)]
    xc = codes_of([[b >> 3 for b in row] for row in x])
    qc, kc, vc = (
        codes_of([[dot(row, column, -266) for column in codes_of(m)] for row in xc])
        for m in (q, k, v)
    )
    a = [probabilities([dot(row, other, -266) for other in kc]) for row in qc]
    y = [
        [wrapped((x[i][d] >> 5) + dot(a[i], column(vc, d), 0)) for d in range(16)] for i in range(8)
    ]
    yc, outc = codes_of(y), codes_of(out)
    g = []
    for i, t in enumerate(targets):
        p = probabilities([dot(row, yc[i], -266) for row in outc])
        lack = min(0, exponential(p[t][1] + 266) - 4096)
        row = [(s, c + 266) for s, c in p]
        row[t] = code_of(lack)
        g.append([(False, SILENT)] * 10 if lack >= -40 else row)
    if all(row[0][1] == SILENT for row in g):
        return
    dy = [[dot(row, column(outc, d), -244) for d in range(16)] for row in g]
    dyc = codes_of(dy)
    sc = []
    for i in range(8):
        da = [dot(vc[j], dyc[i], -266) for j in range(8)]
        mean = dot([code_of(b) for b in da], a[i], 0)
        spread = [code_of(clip(wrapped(b - mean), 256)) for b in da]
        sc.append([code_of(clip(times(spread[j], a[i][j], 134), 2000)) for j in range(8)])
    gq = codes_of([[dot(sc[i], column(kc, d), -266) for d in range(16)] for i in range(8)])
    gk = codes_of([[dot(column(sc, j), column(qc, d), -266) for d in range(16)] for j in range(8)])
    gv = codes_of([[dot(column(a, j), column(dyc, d), 0) for d in range(16)] for j in range(8)])
    dx = [[b >> 2 for b in row] for row in dy]
    for gradient, m in ((gq, q), (gk, k), (gv, v)):
        mc = codes_of(m)
        for i in range(8):
            for d in range(16):
                dx[i][d] += dot(gradient[i], column(mc, d), -266)
    for i, t in enumerate(tokens):
        for d in range(16):
            tok[t][d] = wrapped(tok[t][d] - dx[i][d])
            pos[i][d] = wrapped(pos[i][d] - dx[i][d])
    updates = (gq, xc, q, -266), (gk, xc, k, -266), (gv, xc, v, -266), (g, yc, out, -354)
    for gradient, inputs, m, amount in updates:
        for r, row in enumerate(m):
            for d in range(16):
                row[d] = wrapped(row[d] - dot(column(gradient, r), column(inputs, d), amount))


def test_steps_are_those_of_plain_loops():
    model = load("reverse")
    weights = {n: a.tolist() for n, a in start_weights(lower_step(differentiate(model)), 5).items()}
    batches = make_batches(model, 5)
    for step in range(1, 4):
        tokens, targets = (part[0].tolist() for part in next(batches))
        step_in_plain_loops(weights, tokens, targets)
        (training,) = train_log(model, step, [5])
        assert {n: a.tolist() for n, a in training.integers.items()} == weights


def test_late_steps_with_silent_positions_are_those_of_plain_loops():
    model = load("reverse")
    loop = Loop(lower_step(differentiate(model)), (2,))
    silent = 0
    for step in range(100):
        tokens, targets = loop.draw()
        loop.draw = lambda pair=(tokens, targets): pair
        before = {n: a[0].tolist() for n, a in loop.weights.items()}
        *_, active = loop.step()
        del loop.draw
        if step >= 92:
            silent += not active[0]
            step_in_plain_loops(before, tokens[0].tolist(), targets[0].tolist())
            assert {n: a[0].tolist() for n, a in loop.weights.items()} == before
    assert 0 < silent < 8


@pytest.mark.parametrize("graph", GRAPHS)
def test_updates_go_against_the_gradient(graph):
    model = parse_graph(GRAPHS[graph])
    step = differentiate(model)
    lowered = lower_step(step)
    loop = Loop(lowered, (1,))
    start = {n: lowered.formats[n].decode(a[0]) for n, a in loop.weights.items()}
    tokens, targets = next(make_batches(model, 1))
    values = evaluate(step, start, tokens, targets)
    loop.step()
    for name in model.shapes:
        moved = (lowered.formats[name].decode(loop.weights[name][0]) - start[name]).ravel()
        wanted = -lowered.rates[name] * model.seq_len * values[step.gradients[name]].ravel()
        cosine = moved @ wanted / math.sqrt((moved @ moved) * (wanted @ wanted))
        assert cosine > 0.94 and 0.8 < (moved @ moved) / (wanted @ wanted) < 1.5


def test_twenty_seeds_learn_to_reverse():
    trainings = train_log(load("reverse"), seeds=range(100, 120))
    assert [t.accuracy for t in trainings] == [1.0] * 20
    assert all(answer.right for t in trainings for answer in t.tests)


def test_the_default_training_is_the_one_that_was_published():
    (training,) = train_log(load("reverse"))
    wanted = "f24b075a635e82f7965a7f2ab3ebfcc11c7bc794e29a8158b64f16afb4e5aeea"
    assert (training.sha256, training.backward) == (wanted, 107)
    assert training.transcript[0] == "STEP    50  LOSS=1.8798  ACC=0.327"
    assert training.transcript[-2:] == ("81484020 -> 02048418 OK", "TESTS 10/10")


def test_a_seed_alone_gives_what_it_gives_among_others():
    model = load("reverse")
    together = train_log(model, 130, [8, 3, 11])
    for training in together:
        (alone,) = train_log(model, 130, [training.seed])
        assert alone.sha256 == training.sha256
        assert (alone.reports, alone.tests) == (training.reports, training.tests)


def test_the_hash_is_of_the_integers_in_the_models_order():
    import hashlib

    model = load("reverse")
    (training,) = train_log(model, 1)
    raw = b"".join(training.integers[n].astype("<i2").tobytes() for n in model.shapes)
    assert len(raw) == 2 * model.n_parameters
    assert training.sha256 == hashlib.sha256(raw).hexdigest()


def test_trained_weights_are_saved_and_answer(tmp_path):
    (training,) = train_log(load("reverse"))
    save_weights(tmp_path / "w.npz", training.weights)
    weights = dict(np.load(tmp_path / "w.npz"))
    model = load("reverse").with_weights(weights, "w.npz")
    for name, array in training.integers.items():
        frac = 13 if name in ("tok.weight", "pos.weight") else 10
        assert np.array_equal(model.weights[name] * 2**frac, array)
    fixed = quantize(model)
    for text in ("31415926", "00000001", "99999999", "27182818"):
        assert run_reference(fixed, text).text == text[::-1]


def test_start_weights_come_from_the_machines_generator():
    lowered = lower_step(differentiate(load("reverse")))
    state, drawn = seed_state(9 ^ 0x5EED), []
    for _ in range(10 * 16 + 8 * 16 + 1):
        state = xorshift(state)
        drawn.append(wrapped(state >> 16))
    weights = start_weights(lowered, 9)
    assert weights["tok.weight"].ravel().tolist() == [b >> 3 & ~1 for b in drawn[:160]]
    assert weights["q.weight"][0, 0] == drawn[-1] >> 6 & ~1
    assert abs(weights["v.weight"]).max() <= 512 and abs(weights["tok.weight"]).max() <= 4096


def test_rates_are_the_recipes_by_role_unless_it_names_one():
    recipe = "sgd(rate = 1/2, y.linear.weight = 1/4)"
    rates = lower_step(differentiate(parse_graph(GRAPHS["one head"], recipe))).rates
    assert rates["logits.weight"] == 1 / 64 and rates["y.linear2.weight"] == 1 / 2
    assert rates["x.embed.weight"] == 1 / 16 and rates["y.linear.weight"] == 1 / 32


def test_rates_decay_by_windows():
    model = parse_graph(GRAPHS["one head"], "sgd(steps = 40, window = 10, decay = 1)")
    assert find_cuts(model, 40) == (0, octaves(math.log2(0.75)), octaves(-1), octaves(-2))
    assert find_cuts(load("reverse"), 350) == (0,) * 7
    lowered = lower_step(differentiate(model))
    moved = []
    for cut in (0, octaves(-2)):
        loop = Loop(lowered, (3,))
        before = {name: array.copy() for name, array in loop.weights.items()}
        loop.step(cut)
        moved.append([np.abs(loop.weights[n] - before[n]).sum() for n in model.shapes])
    assert all(whole > 2.5 * quarter for whole, quarter in zip(*moved, strict=True))


def test_look_ups_saturate_but_in_a_plain_encoder():
    plain, deep = (
        lower_step(differentiate(parse_graph(GRAPHS[graph])))
        for graph in ("one head", "a hidden layer")
    )
    assert plain.plain and not any(op.saturates for op in plain.forward + plain.backward)
    assert not deep.plain and all(op.saturates for op in deep.forward + deep.backward)
    op = next(op for op in deep.forward if op.contract == "linear")
    x, weight = op.reads["x"], op.reads["weight"]
    values = {x: np.full((1, 8, 16), 9000 << op.coded["x"]), weight: np.full((1, 24, 16), -9000)}
    most = {x: np.full((1, 8, 16), 4094 << op.coded["x"]), weight: np.full((1, 24, 16), -4094)}
    assert np.array_equal(compute(op, values), compute(op, most))


@pytest.mark.parametrize("clip", ["1/16", "1", "3/8", "1e9", "1/1000"])
def test_the_clip_of_a_recipe_is_that_of_the_scores_gradients(clip):
    lowered = lower_step(differentiate(parse_graph(GRAPHS["one head"], f"sgd(clip = {clip})")))
    (op,) = (op for op in lowered.backward if op.contract == "attention_scores_gradient")
    form, most = lowered.formats[op.name], op.attributes["most"]
    assert 0 < most < 4096 and form.frac != 13
    assert form.frac == 0 or math.isclose(form.decode(most), eval(clip), rel_tol=0.02)


def test_a_tables_rate_is_a_power_of_two():
    lowered = lower_step(differentiate(parse_graph(GRAPHS["one head"], "sgd(rate = 1/3)")))
    assert lowered.rates["x.embed.weight"] == 1 / 32
    assert [op.attributes["amount"] for op in lowered.updates[:2]] == [-1, -1]


# The loss.


def test_the_largest_logits_distance_is_limited():
    far, farther = softmax(np.array([[0, -FARTHEST], [0, -(1 << 15)]]))
    assert np.array_equal(far, farther)
    assert softmax(np.array([32767, -32768]))[1] == far[1]


@pytest.mark.parametrize("entries", [1, 2, 8, 10, 15, 16, 31, 32, 127, 500])
def test_a_softmax_of_equals_never_overflows_and_shares_evenly(entries):
    assert entries * exponential(octaves(softmax_octaves(entries))) < 1 << 15
    shares = multiply(softmax(np.zeros(entries, np.int64)) + octaves(12))
    assert np.abs(shares - 4096 / entries).max() <= 1 + 0.06 * 4096 / entries


def test_a_position_whose_target_is_nearly_certain_is_silent():
    logits = np.zeros((1, 3, 10), np.int64)
    logits[0, 0, 4] = logits[0, 1, 5] = 2000
    gradient, loss = cross_entropy(logits, np.array([[4, 4, 4]]))
    assert (gradient[0, 0] == SILENT).all() and not (gradient[0, 1:] == SILENT).any()
    assert loss[0, 0] == 0 and loss[0, 1] > 200
    assert multiply(gradient[0, 1, 4]) < -4000


def test_a_position_without_target_counts_for_nothing():
    logits = np.zeros((1, 2, 10), np.int64)
    gradient, loss = cross_entropy(logits, np.array([[IGNORED, 3]]))
    assert (gradient[0, 0] == SILENT).all() and loss[0, 0] == 0 and loss[0, 1] > 60
    assert sends_back(gradient).tolist() == [True]
    assert sends_back(gradient[:, :1]).tolist() == [False]


def test_reports_count_from_the_last_line():
    counts = np.array([[10 * i, i, 8] for i in range(1, 6)])
    assert make_reports(counts, 2) == (
        Report(2, 30, 3, 16),
        Report(4, 70, 7, 16),
        Report(5, 50, 5, 8),
    )


def test_digits_of_a_report_are_cut():
    assert str(Report(350, 3, 399, 400)) == "STEP   350  LOSS=0.0002  ACC=0.997"
    assert str(Report(7, -3, 400, 400)) == "STEP     7  LOSS=0.0000  ACC=1.000"


# What it refuses.


@pytest.mark.parametrize(
    ("graph", "recipe", "message"),
    [
        (X + "y = gelu(x)\n", "sgd()", "gelu does not train"),
        (GRAPHS["one head"], "adam()", "its recipe says adam"),
        (GRAPHS["one head"], "sgd(batch = 2)", "a step has one sample"),
        ("x = embed(token, 10)\ny = linear(x, 10, weight = x)\n", "sgd()", "different scales"),
    ],
)
def test_what_logarithms_lack_is_one_clear_line(graph, recipe, message):
    with pytest.raises(ModelError) as caught:
        train_log(parse_graph(graph, recipe), 1)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_programs_that_logarithms_train_are_known():
    names = ("reverse", "copy", "sort", "sum", "count", "chat")
    trained = [name for name in names if trains_in_logarithms(load(name))]
    assert trained == ["reverse", "copy", "sort", "sum", "count"]


def test_the_command_trains_as_machines_do_where_it_can(capsys):
    assert main(["train", "reverse", "--steps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (wanted,) = train_log(load("reverse"), 2)
    assert told["weights_sha256"] == wanted.sha256 and told["loss"] == list(wanted.losses)
    assert main(["train", "reverse", "--steps", "2", "--numerics", "float", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights_sha256"] != wanted.sha256


def test_a_model_too_large_for_memory_is_one_clear_line():
    wide = parse_graph(GRAPHS["one head"].replace("dim", "4096"))
    with pytest.raises(ModelError, match="134,217,728 products, 67,108,864 at most") as caught:
        train_log(wide, 1)
    assert "\n" not in str(caught.value)


def test_steps_have_limits():
    with pytest.raises(ModelError, match="0 steps, allowed is 1"):
        train_log(load("reverse"), 0)
