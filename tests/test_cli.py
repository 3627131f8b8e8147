"""The command line: what it prints, and one clear line for every mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anachron.compiler.cli import main

SHARED = Path(__file__).parents[2] / "shared" / "models"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/models here")


def run_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a mistake gives: status 2, nothing on standard output, one line on standard error."""
    try:
        status = main(list(words))
    except SystemExit as left:
        status = left.code
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    return said.err


def test_compare_agrees_on_every_machine(capsys: pytest.CaptureFixture[str]) -> None:
    got = run_json(capsys, "compare", "reverse", "-i", "31415926")
    assert got["agree"] is True
    assert [row["machine"] for row in got["rows"]] == ["reference", "pdp11/34a", "c64"]
    assert {row["text"] for row in got["rows"]} == {"62951413"}
    for row in got["rows"][1:]:
        lo, expected, hi = row["predicted"]
        total = sum(row["time_ns_per_token"]) if row["clock_hz"] is None else row["cycles_total"]
        assert lo <= total <= hi
        assert lo <= expected <= hi


@needs_shared
@pytest.mark.parametrize("case", range(6))
def test_the_reference_gives_soul_players_integers(
    capsys: pytest.CaptureFixture[str], case: int
) -> None:
    expected = json.loads((SHARED / "soul_expected.json").read_text())[case]
    tokenizer = str(SHARED / "soul_tokenizer.json")
    got = run_json(
        capsys, "run", str(SHARED / "soul.bin"), "--tokenizer", tokenizer, "--logits",
        "-i", expected["prompt"],
    )  # fmt: skip
    assert got["prompt_ids"] == expected["ids"]
    assert got["tokens"] == expected["ids"] + expected["generated"]
    assert got["logits"] == expected["logits"]


@needs_shared
def test_an_imported_model_agrees_on_every_machine(capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((SHARED / "soul_expected.json").read_text())[0]
    got = run_json(
        capsys, "compare", str(SHARED / "soul.bin"), "--logits", "-i", "hey", "-n", "2",
        "--tokenizer", str(SHARED / "soul_tokenizer.json"),
    )  # fmt: skip
    assert got["agree"] is True
    for row in got["rows"]:
        assert row["tokens"] == expected["ids"] + expected["generated"][:2]
        assert row["logits"] == expected["logits"][:2]


MISTAKES = {
    "an unknown machine": (("compare", "--on", "apple2"), "no machine is called apple2"),
    "an unknown model": (("compare", "nosuch"), "nosuch"),
    "an unknown command": (("frobnicate",), "invalid choice"),
    "a wrong length": (("compare", "reverse", "-i", "123"), "has 3 tokens, reverse takes 8"),
    "a size that is no number": (("show", "reverse", "--set", "dim=x"), "a whole number is needed"),
    "a size that is none": (("show", "reverse", "--set", "dime=3"), "dime"),
    "a choice that is none": (("show", "reverse", "--stage", "fixed", "--fixed", "x=1"), "x"),
    "a negative count": (("run", "reverse", "-n", "-3"), "-3 is below 1"),
    "a hot temperature": (("run", "reverse", "-t", "1e9"), "temperature"),
    "a wrong suffix": (("build", "reverse", "--on", "c64", "-o", "x.tap"), ".prg"),
    "a folder that is not": (("build", "reverse", "--on", "c64", "-o", "no/x.prg"), "no/"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    words, expected = MISTAKES[name]
    assert expected in complaint(capsys, *words)


def test_json_is_all_there_is_on_standard_output() -> None:
    words = ["run", "reverse", "--on", "reference", "-i", "12345678", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "anachron.compiler.cli", *words], capture_output=True, text=True
    )
    assert json.loads(done.stdout)["text"] == "87654321"
