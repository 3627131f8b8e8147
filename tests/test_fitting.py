"""What is said to fit where a model does not: it does, and one step more does not."""

import re
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.cli import main
from anachron.compiler.fitting import Fit, tell
from anachron.compiler.model import ModelError
from anachron.compiler.ops import forward

TEXT = """
size dim = 16, n_layers = 3, seq_len = 250
tokenizer characters("\\n abc")
stop "\\n"
x = embed(token, dim) + embed(position, dim)
repeat n_layers as layer:
    x = x + attention(linear(x, dim), linear(x, dim), linear(x, dim), heads = 2, causal)
    x = x + linear(relu(linear(x, 24)), dim)
logits = linear(x, vocab_size)
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.model"
    path.write_text(TEXT)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    """The words, each in pieces, that a build which does not fit says would make it."""
    assert main([*words]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "too many" in said or "more than" in said
    fits = said.split("what fits:")[1]
    return [found.split() for found in re.findall(r"--[\w-]+ [\w=+/]+", fits)]


@pytest.mark.parametrize(("machine", "suffix"), [("c64", ".prg"), ("pdp11/34a", ".lda")])
def test_what_is_said_to_fit_is_built(
    large: Path, capsys: pytest.CaptureFixture[str], machine: str, suffix: str
) -> None:
    words = ["build", str(large), "--on", machine, "-o", str(large.with_suffix(suffix))]
    fits = refused(capsys, *words)
    assert ["--on", "c64+reu"] in fits
    sizes = dict(value.split("=") for option, value in fits if option == "--set")
    assert {"seq_len", "n_layers"} <= set(sizes)
    for name, value in sizes.items():
        assert main([*words, "--set", f"{name}={value}"]) == 0
    beyond = ac.load(large, overrides={"seq_len": int(sizes["seq_len"]) + 1})
    with pytest.raises(ac.DoesNotFit):
        ac.build(ac.quantize(beyond), machine)


def test_memory_that_fits_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", "reverse", "--on", "pdp11/34a", "-o", str(tmp_path / "x.lda")]
    option, value = refused(capsys, *words, "--memory", "4096")[0]
    assert option == "--memory"
    assert main([*words, "--memory", value]) == 0
    assert main([*words, "--memory", str(int(value) - 1024)]) == 2


def test_a_size_that_trains_in_the_memory_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["build", "reverse", "--train", "--on", "pdp11/34a", "-o", str(tmp_path / "x.lda")]
    ((option, value),) = refused(capsys, *words, "--set", "dim=64")
    assert option == "--set" and value.startswith("dim=")
    assert main([*words, option, value]) == 0


def test_fits_read_as_a_sentence() -> None:
    assert tell(()) == "no larger machine, and no smaller size alone, makes it fit"
    fits = (Fit("--on c64+reu"), Fit("--set seq_len=9"), Fit("--set dim=8", retrained=True))
    assert tell(fits[2:]) == "what fits: trained anew --set dim=8"
    told = "what fits: --on c64+reu or --set seq_len=9, and trained anew --set dim=8"
    assert tell(fits) == told


def test_a_shorter_context_keeps_the_weights() -> None:
    whole, short = ac.load("chat"), ac.load("chat", overrides={"seq_len": 12})
    assert short.seq_len == 12 and short.weights_from == whole.weights_from
    ids = np.arange(12)[None] + 10
    assert np.array_equal(forward(short, ids)["logits"], forward(whole, ids)["logits"])


def test_other_sizes_do_not_keep_the_weights() -> None:
    for sizes in ({"seq_len": 41}, {"n_layers": 1}, {"n_layers": 1, "seq_len": 12}):
        assert ac.load("chat", overrides=sizes).weights_from.startswith("random")
    assert ac.load("reverse", overrides={"seq_len": 4}).weights_from.startswith("random")


def test_a_checkpoint_may_have_a_shorter_context(tmp_path: Path) -> None:
    from anachron.compiler.printer import format_model
    from anachron.compiler.weights import save_weights

    model = ac.load("count")
    path = tmp_path / "count.npz"
    save_weights(path, model.weights, format_model(model))
    assert ac.load(path, overrides={"seq_len": 5}).seq_len == 5
    for sizes in ({"seq_len": 9}, {"seq_len": 0}):
        with pytest.raises(ModelError, match="allowed is 1 to 8"):
            ac.load(path, overrides=sizes)
    with pytest.raises(ModelError, match="only a decoder's seq_len"):
        ac.load(path, overrides={"dim": 8})
