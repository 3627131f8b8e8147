"""A PDP-11 trains any graph op by op: the reference's weights and lines, in the time foreseen."""

import pytest
from training_steps import compare_steps, spread_out

from anachron.compiler.autodiff import differentiate
from anachron.compiler.language import parse
from anachron.compiler.loader import load
from anachron.compiler.log_training import Loop, train_log
from anachron.compiler.logarithms import lower_step
from anachron.compiler.machine_training import build_training, measure_step, train_on

X = "x = embed(token, dim) + embed(position, dim)\n"
ATTENTION = "attention(linear(x, dim), linear(x, dim), linear(x, dim)"
GRAPHS = {
    "two heads": f"{X}y = x + {ATTENTION}, heads = 2)",
    "shared heads": f"{X}y = x + attention(linear(x, dim), linear(x, 4), linear(x, 4), "
    "heads = 4, kv_heads = 2)",
    "one head of its own scale": f"{X}y = x + {ATTENTION}, scale = 1/2)",
    "a hidden layer": f"{X}y = x + linear(relu(linear(x, 20)), dim)",
    "biases": f"{X}y = x + linear(relu(linear(x, 12, bias)), dim, bias)",
    "attention and a hidden layer": f"{X}a = x + {ATTENTION})\n"
    "y = a + linear(relu(linear(a, 12)), dim)",
    "an RMS norm": f"{X}a = rms_norm(x)\ny = rms_norm(x + {ATTENTION.replace('x', 'a')}))",
    "layer norms": f"{X}a = layer_norm(x)\nb = x + {ATTENTION.replace('x', 'a')}, heads = 2)\n"
    "y = layer_norm(b + linear(relu(linear(layer_norm(b), 10, bias)), dim, bias))",
    "two layers": f"{X}a = x + {ATTENTION})\ny = a + {ATTENTION.replace('x', 'a')}, heads = 2)",
    "a matrix twice": f"{X}q = linear(x, dim)\n"
    "y = x + attention(q, linear(x, dim, weight = q), linear(x, dim))",
    "no matrices in attention": f"{X}y = x + attention(x, x, x)",
    "no positions": f"x = embed(token, dim)\ny = {ATTENTION})",
}
CAUSAL = f"{X}y = x + {ATTENTION}, heads = 2, causal)"
RECIPE = "sgd(steps = 12, window = 5, rate = 1/4, decay = 1, clip = 1)"
MACHINES = ("pdp11/34a", "pdp11/20")


def small(graph, n=6, dim=8, vocab=10, task="sort", recipe=RECIPE, out="", head=""):
    head = head or "tokenizer digits\n"
    return parse(
        f"model small\nsize dim = {dim}, seq_len = {n}, vocab_size = {vocab}\n{head}"
        f"task {task}\ntrain {recipe}\n{GRAPHS[graph]}\nlogits = linear(y, vocab_size{out})"
    ).model


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_gives_the_weights_and_lines_of_the_reference(graph, machine):
    training = train_on(build_training(small(graph), machine), seed=2)
    assert training.steps == 12 and len(training.reports) == 3 and len(training.tests) == 10


@pytest.mark.parametrize(
    ("n", "dim", "vocab"), [(1, 8, 10), (2, 4, 2), (7, 8, 3), (8, 12, 16), (11, 4, 20), (5, 12, 5)]
)
def test_every_size_gives_the_weights_of_the_reference(n, dim, vocab):
    train_on(build_training(small("attention and a hidden layer", n, dim, vocab), "pdp11/34a"))
    train_on(build_training(small("two heads", n, dim, vocab, "sum", out=", bias"), "pdp11/34a"))


@pytest.mark.parametrize(
    "recipe",
    [
        "sgd(steps = 12, window = 5)",
        "sgd(steps = 12, window = 5, rate = 2, clip = 1e9)",
        "sgd(steps = 9, window = 2, rate = 1/64, decay = 9/10, clip = 1/500, logits.weight = 1)",
    ],
)
def test_every_recipe_gives_the_weights_of_the_reference(recipe):
    train_on(build_training(small("attention and a hidden layer", recipe=recipe), "pdp11/34a"))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_corpus_is_held_and_drawn_from(machine, tmp_path):
    (tmp_path / "c.txt").write_text("abcabdabe" * 20)
    text = (
        "size dim = 8, seq_len = 7\ntokenizer characters(\"abcde\")\n"
        f'task next(corpus = "c.txt")\ntrain {RECIPE}\n{CAUSAL}\n'
        "logits = linear(y, vocab_size)"
    )
    training = train_on(build_training(parse(text, folder=str(tmp_path)).model, machine), seed=7)
    assert len(training.reports) == 3 and training.tests == ()


@pytest.mark.parametrize("spread", [32768, 8000, 1000, 40])
@pytest.mark.parametrize("graph", ["attention and a hidden layer", "layer norms"])
def test_weights_equal_the_reference_from_any_start(spread, graph):
    model = small(graph, out=", bias")
    image = build_training(model, "pdp11/34a")
    loop = Loop(lower_step(differentiate(model)), (image.seed,))
    compare_steps(image, loop, spread_out(spread), 4)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("model", [*GRAPHS, "copy", "sort", "sum", "count"])
def test_the_time_of_every_kernel_of_a_step_is_predicted(machine, model):
    model = small(model, out=", bias") if model in GRAPHS else load(model)
    image = build_training(model, machine)
    measured, predicted = measure_step(image), image.predict()
    assert measured.keys() == predicted.keys()
    for name, time in predicted.items():
        assert time.lo <= measured[name] <= time.hi, name
    whole = sum(time.expected for time in predicted.values())
    assert abs(whole - sum(measured.values())) < 0.01 * whole


def test_no_instruction_is_one_that_a_judge_misexecutes():
    image = build_training(small("attention and a hidden layer"), "pdp11/34a")
    used = {line.row.mnemonic for line in image.program.instructions.values()}
    assert not used & {"SXT", "XOR", "MTPS", "MFPS"}


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("logits = linear(y, vocab_size)", "z = linear(y, vocab_size)\nlogits = z + z", "logits ="),
        ("train sgd(", "train sgd(batch = 2, ", "a step has one sample"),
        ("train sgd(", "train adam(", "its recipe says adam"),
    ],
)
def test_what_a_machine_lacks_is_one_clear_line(old, new, wanted):
    text = (
        f"size dim = 8, seq_len = 6, vocab_size = 10\ntokenizer digits\ntask sort\ntrain {RECIPE}\n"
        f"{GRAPHS['two heads']}\nlogits = linear(y, vocab_size)"
    )
    assert old in text
    with pytest.raises(ValueError, match=wanted) as caught:
        build_training(parse(text.replace(old, new)).model, "pdp11/34a")
    assert "\n" not in str(caught.value)


def test_sorting_four_digits_is_learned_on_the_machine():
    text = (
        "model little\nsize dim = 16, seq_len = 4, vocab_size = 6\ntokenizer digits\ntask sort\n"
        "train sgd(steps = 900, rate = 1/12, decay = 1, clip = 1, logits.weight = 1/12)\n"
        f"{X}a = x + {ATTENTION}, heads = 2)\ny = a + linear(relu(linear(a, 24)), dim)\n"
        "logits = linear(y, vocab_size)"
    )
    model = parse(text).model
    (wanted,) = train_log(model)
    training = train_on(build_training(model, "pdp11/34a"), wanted=wanted)
    assert training.accuracy == wanted.accuracy > 0.93
