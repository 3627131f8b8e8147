"""Float -> integers: scales, folding, named numerics, and how faithful the integers are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.calibration import find_samples
from anachron.compiler.model import Model
from anachron.compiler.numerics import find_numerics
from anachron.compiler.ops import forward
from anachron.compiler.rounding import fit
from anachron.compiler.targets.reference.target import Session

SHARED = Path(__file__).parents[2] / "shared" / "models"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/models here")


def agreement(model: Model, fixed: ac.FixedModel) -> float:
    """The share of positions where integers and floats choose the same token, on fresh texts."""
    name, first = model.nodes[-1].name, model.generation.first_id
    same = [
        forward(model, tokens)[name][:, first:].argmax(1)
        == Session(fixed).step(tokens)[name][:, first:].argmax(1)
        for tokens in find_samples(model, seed=99)
    ]
    return float(np.mean(np.concatenate(same)))


def soul() -> Model:
    return ac.load(SHARED / "soul.bin", tokenizer=SHARED / "soul_tokenizer.json")


def test_reverse_is_as_right_in_integers_as_in_floats() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    rng = np.random.default_rng(5)
    for _ in range(200):
        text = "".join(str(d) for d in rng.integers(0, 10, 8))
        assert ac.run_reference(fixed, text).text == text[::-1]


def test_eight_bit_activations_still_reverse() -> None:
    fixed = ac.quantize(ac.load("reverse"), activations=8)
    assert {op.value.format.bits for op in fixed.ops if op.contract == "attention"} == {16}
    assert fixed["q"].value.format.bits == 8
    assert ac.run_reference(fixed, "27182818").text == "81828172"


def test_values_that_meet_share_a_scale() -> None:
    fixed = ac.quantize(ac.load("chat"))
    for op in fixed.ops:
        if op.contract in ("add", "relu"):
            fracs = {fixed[name].value.format.frac for name in op.inputs} | {op.value.format.frac}
            assert len(fracs) == 1, op.name


def test_an_attention_scale_is_folded_into_its_query() -> None:
    """1/sqrt(8) is no power of two: the query's matrix takes the rest, and scores stay exact."""
    model = ac.load("chat")
    fixed = ac.quantize(model, rounding="floor")
    for op in fixed.ops:
        if op.contract == "attention":
            query, key = (fixed[name] for name in op.inputs[:2])
            scale = model[op.name].attributes["scale"] * 32
            missing = scale * 2.0 ** (
                op.attributes["score_shift"] - query.value.format.frac - key.value.format.frac
            )
            assert 0.7 < missing < 1.42


@needs_shared
def test_our_own_numerics_follow_the_floats_closer_than_soul_players() -> None:
    model = soul()
    own = replace(model, numerics={})
    assert agreement(model, ac.quantize(own)) >= 0.98
    assert agreement(model, ac.quantize(own, activations=8)) >= 0.85
    assert agreement(model, ac.quantize(model)) < 0.95


@needs_shared
def test_integers_tell_the_story_that_floats_tell() -> None:
    expected = json.loads((SHARED / "stories_expected.json").read_text())[0]
    model = ac.load(SHARED / "stories260K.bin", tokenizer=SHARED / "tok512.bin")
    fixed = ac.quantize(model)
    tokens = ac.run_reference(fixed, expected["prompt"], 40).tokens
    assert list(tokens) == expected["tokens"][: len(tokens)]


def test_an_unknown_choice_names_the_known_ones() -> None:
    with pytest.raises(ac.ModelError, match="no fixed-point option speed: choose from activations"):
        ac.quantize(ac.load("reverse"), speed=3)


@pytest.mark.parametrize(
    ("choice", "value"),
    [("activations", 17), ("activations", 7), ("weight_scales", "matrix"), ("rounding", "up")],
)
def test_a_wrong_value_of_a_choice_is_told(choice: str, value: object) -> None:
    with pytest.raises(ac.ModelError, match=str(value)):
        ac.quantize(ac.load("reverse"), **{choice: value})


NORMED = """
size dim = 4, seq_len = 4, vocab_size = 4
tokenizer digits
x = embed(token, dim)
logits = linear(rms_norm(x) + silu(linear(x, dim)) * linear(x, dim), vocab_size)
"""
GROWING = NORMED.replace("logits = linear(", "x = x + linear(silu(x) * x, dim)\nlogits = linear(")


def of_weights(tmp_path: Path, text: str, factor: float) -> Model:
    path = tmp_path / "m.model"
    path.write_text(text)
    model = ac.load(path)
    return model.with_weights({n: w * factor for n, w in model.weights.items()}, "the test")


@pytest.mark.parametrize("factor", [0.0, 1e-310, 1e-30, 1e-6, 50.0, 300.0])
def test_weights_of_any_size_have_a_scale(tmp_path: Path, factor: float) -> None:
    fixed = ac.quantize(of_weights(tmp_path, NORMED, factor))
    assert len(ac.run_reference(fixed, "1").generated) == 3


@pytest.mark.parametrize(
    "factor, message", [(1e6, "leave any scale"), (1e12, "beyond 1,000,000,000"), (1e300, "beyond")]
)
def test_weights_that_no_scale_holds_are_refused(
    tmp_path: Path, factor: float, message: str
) -> None:
    with pytest.raises(ac.ModelError, match=message):
        ac.quantize(of_weights(tmp_path, GROWING, factor))


def test_values_that_overflow_in_floats_are_refused(tmp_path: Path) -> None:
    deep = GROWING.replace("\nlogits", "\nx = x + linear(silu(x) * x, dim)" * 8 + "\nlogits")
    with pytest.raises(ac.ModelError, match="x.* its values overflow"):
        ac.quantize(of_weights(tmp_path, deep, 1e8))


def test_fitted_weights_lose_less_than_rounded_ones_where_inputs_go_together() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 24)) + 0.3 * rng.normal(size=(500, 24))
    weight = rng.normal(0, 3, (40, 24))
    lost = [
        float(np.square(inputs @ (made - weight).T).mean())
        for made in (np.rint(weight), fit(weight, inputs.T @ inputs))
    ]
    assert lost[1] < 0.5 * lost[0]


def test_fitting_is_rounding_where_inputs_are_independent_or_absent() -> None:
    weight = np.random.default_rng(2).normal(0, 90, (9, 5))
    nearest = np.clip(np.rint(weight), -128, 127)
    assert np.array_equal(fit(weight, 7 * np.eye(5)), nearest)
    assert np.array_equal(fit(weight, np.zeros((5, 5))), nearest)


def test_activations_of_eight_bits_fit_weights_and_others_do_not() -> None:
    chat = ac.load("chat")
    weights = {
        name: [
            op.constants["weight"]
            for op in ac.quantize(chat, **options).ops
            if op.contract == "matvec"
        ]
        for name, options in (
            ("usual", {"activations": 8}),
            ("fitted", {"activations": 8, "weights": "fitted"}),
            ("nearest", {"activations": 8, "weights": "nearest"}),
        )
    }
    same = [np.array_equal(*pair) for pair in zip(weights["usual"], weights["fitted"], strict=True)]
    other = [
        np.array_equal(*pair) for pair in zip(weights["usual"], weights["nearest"], strict=True)
    ]
    assert all(same) and not any(other)
    with pytest.raises(ac.ModelError, match="weights are nearest or fitted"):
        ac.quantize(chat, weights="floor")


def test_a_width_that_is_asked_for_takes_the_text_s_own_for_queries_away() -> None:
    chat = ac.load("chat")
    assert find_numerics(chat).queries != find_numerics(chat).activations
    assert find_numerics(chat, {"activations": 8}).queries == 8
    assert find_numerics(chat, {"activations": 8, "queries": 12}).queries == 12
