"""How faithful integers are, counted: against floats, and against integers that are exact."""

import json
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler import cli
from anachron.compiler.ops import forward

SHARED = Path(__file__).parents[2] / "shared" / "models"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/models here")


def test_agreement_is_the_share_of_contexts_with_the_same_likeliest_token(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("31415926\n27182818\n")
    (found,) = ac.measure_fidelity(ac.load("reverse"), path, activations=8)
    model = ac.load("reverse")
    fixed = ac.quantize(model, activations=8)
    same = []
    for text in path.read_text().split():
        tokens = [int(digit) for digit in text]
        floats = forward(model, tokens)["logits"].argmax(1)
        same.append(floats == fixed.trace(tokens)["logits"].argmax(1))
    assert (found.contexts, found.against) == (16, "floats")
    assert found.agreement == np.mean(same)
    assert found.texts == "texts.txt"


def test_coarser_activations_diverge_more() -> None:
    chat = ac.load("chat")
    (fine,) = ac.measure_fidelity(chat, n_contexts=300)
    (coarse,) = ac.measure_fidelity(chat, n_contexts=300, activations=8)
    assert fine.contexts == coarse.contexts == 300
    assert 0 <= fine.divergence < coarse.divergence
    assert fine.agreement > coarse.agreement > 0.9


@needs_shared
def test_soul_with_int8_follows_its_exact_integers() -> None:
    model = ac.load(SHARED / "soul.bin", tokenizer=SHARED / "soul_tokenizer.json")
    floats, exact = ac.measure_fidelity(model, n_contexts=1000, activations=8)
    assert exact.against == "soul's integers" and exact.agreement > 0.9
    assert exact.agreement > floats.agreement
    _, same = ac.measure_fidelity(model, n_contexts=100)
    assert (same.agreement, same.divergence) == (1.0, 0.0)


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fidelity", "reverse", "--contexts", "80", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "reverse"
    assert told["rows"][0]["agreement"] == 1.0 and told["rows"][0]["contexts"] == 80


def test_a_file_without_a_text_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.txt"
    path.write_text("123\n\n")
    assert cli.main(["fidelity", "reverse", "--texts", str(path)]) == 2
    assert "no line has a text that reverse's context of 8 tokens holds" in capsys.readouterr().err


def test_words_and_numbers_choose_numerics(capsys: pytest.CaptureFixture[str]) -> None:
    words = "activations=8,weights=nearest,gains=kept"
    assert cli.main(["fidelity", "reverse", "--fixed", words, "--contexts", "80", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["numerics"] == "activations=8, weights=nearest, gains=kept"
    assert cli.main(["fidelity", "reverse", "--fixed", "weights=floor"]) == 2
    assert "weights are nearest or fitted, not floor" in capsys.readouterr().err
