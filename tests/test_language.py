import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anachron.compiler.language import TOKENIZERS, parse
from anachron.compiler.loader import list_programs, load
from anachron.compiler.model import Generation, ModelError
from anachron.compiler.ops import DERIVED, NEEDED, OPS, forward
from anachron.compiler.printer import format_model
from anachron.compiler.recipes import OPTIMIZERS, RECIPE, TASKS
from anachron.compiler.tokenizer import TokenizerError

PROGRAMS = Path(__file__).parents[1] / "programs"
SIZES = "size dim = 8, seq_len = 4, vocab_size = 10\n"
X = "x = embed(token, dim)\n"
OUT = "logits = linear(x, vocab_size)\n"


def nodes_of(text):
    return {node.name: node for node in parse(text).model.nodes}


def error_of(text, **options):
    with pytest.raises((ModelError, TokenizerError)) as caught:
        parse(text, "m.model", **options)
    return str(caught.value)


def test_values_are_called_as_their_variables():
    names = list(nodes_of(SIZES + X + "x = relu(x)\nrepeat 2 as l:\n    x = relu(x)\n" + OUT))
    assert names == ["x", "x2", "l0.x", "l1.x", "logits"]


def test_ops_inside_an_expression_are_called_after_variable_and_op():
    names = list(nodes_of(SIZES + "logits = linear(embed(token, 4) + embed(position, 4), 10)"))
    assert names == ["logits.embed", "logits.embed2", "logits.add", "logits"]


def test_parameters_are_called_after_op_and_role():
    shapes = parse(SIZES + X + "x = linear(x, dim, bias)\nx = layer_norm(x)\n" + OUT).model.shapes
    assert dict(shapes) == {
        "x.weight": (10, 8),
        "x2.weight": (8, 8),
        "x2.bias": (8,),
        "x3.gain": (8,),
        "x3.bias": (8,),
        "logits.weight": (10, 8),
    }


def test_a_weight_can_be_shared():
    model = parse(SIZES + X + "logits = linear(relu(x), vocab_size, weight = x)").model
    assert dict(model.shapes) == {"x.weight": (10, 8)}


def test_a_weight_may_name_its_tensor_in_the_file():
    text = SIZES + X + 'repeat 2 as l:\n    x = linear(x, dim, weight = "h.{l}.w[0:{dim}].T")\n'
    assert dict(parse(text + OUT).tensors) == {
        "l0.x.weight": "h.0.w[0:8].T",
        "l1.x.weight": "h.1.w[0:8].T",
    }


def test_naming_a_bias_asks_for_one():
    model = parse(SIZES + X + 'logits = linear(x, 10, weight = "w", bias = "b")').model
    assert model.shapes["logits.bias"] == (10,)


def test_arithmetic_on_sizes_is_exact_and_follows_precedence():
    text = "size a = 2 + 3 * 4, b = (2 + 3) * 4, c = a / 7 * 3, d = -1 + 10 - 2 - 3\n"
    dimensions = parse(text + SIZES + X + OUT).model.dimensions
    assert [dimensions[name] for name in "abcd"] == [14, 20, 6, 4]


def test_settings_may_be_fractions():
    nodes = nodes_of(SIZES + X + "x = x + attention(x, x, x, causal, scale = 1/4)\n" + OUT)
    assert nodes["x.attention"].attributes["scale"] == 0.25


def test_defaults_are_filled_in():
    nodes = nodes_of(SIZES + X + "x = attention(x, x, x, heads = 2, causal)\n" + OUT)
    assert nodes["x2"].attributes == {"heads": 2, "kv_heads": 2, "causal": True, "scale": 0.5}


def test_sizes_can_be_overridden_and_others_follow():
    text = "size dim = 8, half = dim / 2\nsize seq_len = 4, vocab_size = 10\n" + X + OUT
    dimensions = parse(text, overrides={"dim": 6}).model.dimensions
    assert (dimensions["dim"], dimensions["half"]) == (6, 3)


def test_the_tokenizer_gives_the_vocabulary():
    text = 'size seq_len = 4\ntokenizer characters("ab\\n\\"c")\nlogits = embed(token, vocab_size)'
    model = parse(text).model
    assert model.vocab_size == 5 and model.tokenizer.encode('a"\n') == [0, 3, 2]


def test_the_template_of_a_prompt():
    text = 'size seq_len = 4\ntokenizer characters("ab<>.")\nprompt "<" text ">" "."\n'
    model = parse(text + 'stop "." "<"\nnever "a" "b"\nlogits = embed(token, vocab_size)').model
    assert model.generation == Generation("next", (2,), (3, 4), (4, 2), 2)


def test_attention_without_causal_makes_an_encoder():
    assert parse(SIZES + X + "x = attention(x, x, x)\n" + OUT).model.generation.mode == "sequence"
    text = SIZES + X + "x = attention(x, x, x, causal)\n" + OUT
    assert parse(text).model.generation.mode == "next"


def test_recipe_task_and_hints_are_kept():
    text = "task sort\ntrain adam(steps = 9, rate = 1/4, x.weight = 2)\n"
    text += "fixed activations = 8, rounding = floor\n"
    model = parse(SIZES + text + X + "x = attention(x, x, x)\n" + OUT).model
    assert model.task == {"name": "sort", "length": 4}
    assert model.recipe == {"optimizer": "adam", "steps": 9, "rate": 0.25, "x.weight": 2}
    assert model.numerics == {"activations": 8, "rounding": "floor"}


def test_comments_blank_lines_and_lines_in_brackets_do_not_matter():
    text = "# top\n\nsize dim = 8, seq_len = 4, vocab_size = 10  # sizes\n\n\n"
    text += "x = embed(token,\n    dim)\n# between\nrepeat 1 as l:\n    # inside\n    x = relu(x)\n"
    text += "\n    x = relu(x)\n  # outside\nlogits = linear(x, vocab_size)"
    plain = SIZES + X + "repeat 1 as l:\n  x = relu(x)\n  x = relu(x)\n" + OUT
    assert parse(text).model.nodes == parse(plain).model.nodes


ERRORS = {
    "x = embed(tokn, dim)\n": "m.model:2:11: tokn is not known here; did you mean token?",
    "x = embed(token, dm)\n": "m.model:2:18: dm is not known here; did you mean dim?",
    "x = embd(token, dim)\n": "m.model:2:5: there is no op embd; did you mean embed?; there are",
    "x = embed(token)\n": "m.model:2:5: size is missing: embed(index, size)",
    "x = embed(token, dim, 3)\n": "m.model:2:23: this is one argument too many for embed(index, ",
    "x = embed(token, dim / 3)\n": "embed: size is 2.66",
    "x = embed(token, 0)\n": "embed: size is 0, allowed is a whole number from 1",
    "x = embed(token, 70000)\n": "embed: size is 70000, allowed is",
    "x = relu(token)\n": "relu reads a value of the graph, not token",
    "x = embed(dim, dim)\n": "embed reads token or position, not 8",
    "x = embed(token, dim) + 1\n": "m.model:2:25: add takes two values of the graph or two",
    "x = embed(token, dim) + token\n": "add takes two values of the graph or two numbers",
    "x = embed(token, dim) + embed(position, 4)\n": "the left side has 8 features, the right",
    "x = 3\n": "x has to be a value of the graph",
    "dim = embed(token, dim)\n": "m.model:2:1: dim is no variable",
    "x = embed(token, dim / 0)\n": "this divides by zero",
    "x = embed(token, dim) y\n": "m.model:2:23: found 'y', expected",
    "x = \n": "m.model:2:5: found the end of the line, expected",
    "x = embed(token, dim\n": "m.model:2:18: found the end of the text, expected",
    "x = @\n": "m.model:2:5: '@' cannot stand here",
    'x = "a\n': "m.model:2:5: '\"' cannot stand here",
    "repeat 2 as l:\nx = embed(token, dim)\n": "expected an indented line",
    "repeat 0 as l:\n  x = embed(token, dim)\n": "this is 0, allowed is a whole number from 1",
    "repeat 1 as l:\n    x = embed(token, dim)\n  y = x\n": "m.model:4:3: this line goes back to",
    "repeat 1 as dim:\n    x = embed(token, dim)\n": "dim is taken",
    X + "x = attention(x, x, x, heads = 3)\n": "8 features, which 3 heads cannot share equally",
    X + "x = attention(x, x, x, heads = 4, kv_heads = 3)\n": "4 heads cannot share 3 kv_heads",
    X + "x = attention(x, x, linear(x, 4))\n": "k and v have 8 in 1; here k has 8 and v has 4",
    X + "x = attention(x, x)\n": "v is missing: attention(q, k, v)",
    X + "x = attention(x, x, x, head = 2)\n": "attention has no setting head; it has heads, kv_he",
    X + "x = attention(x, x, x, heads = 2, heads = 4)\n": "heads is said twice",
    X + "x = rope(x, heads = 8)\n": "rope turns pairs: 8 features in 8 heads are not pairs",
    X + "x = rms_norm(x, epsilon = 0)\n": "epsilon is 0, allowed is a number above 0",
    X + "x = linear(x, 10, weight = relu)\n": "relu is not known",
    X + "y = relu(x)\nx = linear(x, 10, weight = y)\n": "y has no weight to share",
    X + "logits = linear(x, 9, weight = x)\n": "x.weight has shape (10, 8), but as its weight (9",
    X + "y = relu(x)\n" + OUT: "m.model:3:5: nothing reads y",
    X + "logits = linear(x, 9)\n": "logits has 9 scores, but the vocabulary has 10 tokens",
    X: "a graph ends with logits = ...",
    X + OUT + "y = relu(x)\n": "a graph ends with logits = ...",
    "size dim = 3\n": "dim is said twice",
    "task turn\n": "there is no task turn; there are reverse, copy, sort, sum, next or answer",
    "task reverse(length = 3)\n" + X + OUT: "a sequence is as long as seq_len, which is 4",
    "task next\n": "write `task next(corpus =",
    "train sgdd(steps = 3)\n" + X + OUT: "an optimizer is sgd or adam, not sgdd",
    "train sgd(step = 3)\n" + X + OUT: "step is no setting and no parameter; did you mean steps?",
    "train sgd(steps = 1/2)\n" + X + OUT: "steps is 0.5, allowed is a whole number above 0",
    "fixed activation = 8\n" + X + OUT: "there is no hint activation; did you mean activations?",
    "tokenizer words\n": "a tokenizer is digits, characters or bpe, not words",
    "tokenizer characters\n": 'write `tokenizer characters("abc")`',
    'tokenizer characters("aa")\n': "'a' is there twice",
    'tokenizer characters("é1")\n': "'é' is not a printable ASCII character",
    'tokenizer characters("ab")\n': "vocab_size is 10, but the tokenizer has 2 pieces",
    'tokenizer bpe("none.json")\n': "none.json: no such file",
    'tokenizer characters("a\\q")\n': "\\q is not known",
    'stop "x"\n' + X + OUT: "'x' is not one token of this vocabulary",
    'never "3"\n' + X + OUT: "tokens that are never chosen are the first ids",
    'task next(corpus = "c")\n' + X + "x = attention(x, x, x)\n" + OUT: (
        "a model that predicts the next token sees only what came before: write attention(..., "
        "causal)"
    ),
    "task copy\n" + X + "x = attention(x, x, x, causal)\n" + OUT: (
        "a model that answers a whole sequence at once sees all of it: leave out causal"
    ),
    'task copy\nstop "3"\n' + X + "x = attention(x, x, x)\n" + OUT: (
        "stop is for a model that predicts the next token"
    ),
}


@pytest.mark.parametrize(("text", "message"), ERRORS.items(), ids=range(len(ERRORS)))
def test_a_mistake_is_shown_where_it_is(text, message):
    assert message in error_of(SIZES + text)


def test_a_caret_stands_under_the_mistake():
    assert error_of(SIZES + "x = embed(token, dm)\n").splitlines()[1:] == [
        "    x = embed(token, dm)",
        "                     ^",
    ]


def test_what_is_missing_is_said():
    assert "add `size seq_len = 64`" in error_of("size vocab_size = 10\nlogits = embed(token, 10)")
    text = "size seq_len = 4, vocab_size = 99\nlogits = embed(token, 99)"
    assert "add `tokenizer` and digits, characters" in error_of(text)


def test_an_override_of_no_size_names_the_sizes():
    message = error_of(SIZES + X + OUT, overrides={"dims": 4})
    assert message == (
        "m.model: there is no size dims to set; did you mean dim?; there are dim, seq_len, "
        "vocab_size"
    )


def test_an_override_is_held_to_the_limits():
    assert "dim is -4, allowed is 1" in error_of(SIZES + X + OUT, overrides={"dim": -4})


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 5000 + "1" + ")" * 5000,
        "x = " + "-" * 5000 + "1",
        "x = " + "1 + " * 5000 + "1",
        "size a = " + "9" * 500,
        "size a = 1e99",
        "(" * 5000,
        "\x00",
        "size a = 9\n" + "repeat 65536 as l:\n    x = embed(token, 65536)\n",
        "x = embed(token, 9)\n" * 10_001,
    ],
    ids=range(9),
)
def test_absurd_texts_end_in_one_clear_error(text):
    assert len(error_of(SIZES + text)) < 600


def test_too_many_parameters_are_refused_before_they_are_made():
    text = SIZES + "x = embed(token, 65536)\nx = linear(x, 65536)\n" + OUT
    assert "parameters, at most" in error_of(text)


WORDS = [
    "x", "y", "=", "embed", "(", ")", "token", ",", "dim", "linear", "+", "*", "-", "/", "2", "\n",
    "    ", "repeat", "as", ":", "attention", "causal", "size", "task", '"a"', "heads", "stop",
    "prompt", "text", "logits", "vocab_size", "model", "train", "fixed", "weights", "#", "1e9",
]  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_any_words_in_any_order_raise_nothing_but_a_model_error(words):
    try:
        parse(SIZES + " ".join(words))
    except (ModelError, TokenizerError):
        pass


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_raises_nothing_but_a_model_error(text):
    try:
        parse(text)
    except (ModelError, TokenizerError):
        pass


def facts(model):
    return (
        model.name, dict(model.dimensions), model.nodes, dict(model.shapes), model.tokenizer,
        model.generation, model.task, model.recipe, model.numerics, model.description,
    )  # fmt: skip


@st.composite
def model_texts(draw):
    """Texts of models with every op, of random sizes."""
    heads = draw(st.sampled_from([1, 2, 4]))
    kv_heads = draw(st.sampled_from([n for n in (1, 2, 4) if n <= heads]))
    dim = heads * 2 * draw(st.integers(1, 4))
    kv_dim = dim // heads * kv_heads
    causal = ", causal" if draw(st.booleans()) else ""
    lines = [f'model m{heads} "say \\"{dim}\\"\\n"', f"size dim = {dim}, seq_len = 5, n = 2"]
    lines += [f"size vocab_size = {draw(st.integers(2, 36))}", "tokenizer digits"]
    if draw(st.booleans()):
        lines += ["train sgd(steps = 3, rate = 1/3, tok.weight = 2.5e-3)", "fixed activations = 8"]
    if causal and draw(st.booleans()):
        lines += ['prompt "1" text "0" "1"', 'stop "1"', 'never "0"']
    lines += ["tok = embed(token, dim)", "x = tok + embed(position, dim)", "repeat n as layer:"]
    rope = draw(st.sampled_from(["", ", interleaved", ", theta = 1e3 / 7"]))
    attention = f"heads = {heads}, kv_heads = {kv_heads}{causal}"
    if draw(st.booleans()):
        attention += ", scale = 1/7"
    lines += [
        f"    a = {draw(st.sampled_from(['rms_norm', 'layer_norm']))}(x, epsilon = 1e-6)",
        f"    q = rope(linear(a, dim, bias), heads = {heads}{rope})",
        f"    x = x + attention(q, linear(a, {kv_dim}), linear(a, {kv_dim}), {attention})",
    ]
    for _ in range(draw(st.integers(0, 3))):
        act = draw(st.sampled_from(["relu", "gelu", "silu"]))
        lines.append(f"    x = x + linear({act}(linear(x, 2 * dim)) * linear(x, 2 * dim), dim)")
    shared = ", weight = tok" if draw(st.booleans()) else ", bias"
    return "\n".join([*lines, f"logits = linear(x, vocab_size{shared})"])


@settings(deadline=None)
@given(model_texts())
def test_a_printed_model_reads_back_as_itself(text):
    model = parse(text).model
    printed = format_model(model)
    assert facts(parse(printed).model) == facts(model)
    assert format_model(parse(printed).model) == printed


@pytest.mark.parametrize("name", list_programs())
def test_every_program_loads_prints_and_runs(name):
    model = load(name)
    assert model.name == name
    assert facts(parse(format_model(model), folder=model.folder).model) == facts(model)
    ids = [*model.generation.prefix, *range(model.generation.first_id, model.vocab_size)]
    logits = forward(model, ids[: model.seq_len])["logits"]
    assert logits.shape[1] == model.vocab_size and np.isfinite(logits).all()


def test_the_size_of_reverse_is_attn_11s():
    assert load("reverse").n_parameters == 1216


def test_weights_beside_a_text_are_not_for_other_sizes():
    assert load("reverse").weights_from == "reverse.npz"
    assert load("reverse", overrides={"dim": 32}).weights_from == "random, seed 0"


PAGE = (PROGRAMS / "README.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_is_reverse():
    example = PAGE.split("```")[1].removeprefix("\n")
    assert facts(parse(example).model) == facts(load("reverse"))


def test_the_page_lists_every_op_and_setting():
    rows = []
    for row in OPS.values():
        needed = [name for name, default in row.settings.items() if default is NEEDED]
        words = {}
        for name, default in row.settings.items():
            if default is not NEEDED:
                plain = default is False or default is DERIVED
                words[name] = f"`{name}`" if plain else f"`{name} = {default}`"
        for role in row.gradients:
            if role not in row.inputs:
                words.setdefault(role, f"`{role}`")
        call = f"{row.name}({', '.join((*row.inputs, *needed))})"
        rows.append(f"| `{call}` | {', '.join(words.values())} |".replace("|  |", "| |"))
    assert "\n".join(rows) in PAGE


def test_the_page_lists_every_line_task_and_setting():
    for word in (*TASKS, *OPTIMIZERS, *RECIPE, *TOKENIZERS):
        assert re.search(rf"\b{word}\b", PAGE), word
