"""The command line: what it prints, and one clear line for every mistake."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from anachron.compiler import cli
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
    "a folder": (("run", "/"), "not a regular file"),
    "memory of a C64": (("run", "reverse", "--on", "c64", "--memory", "8192"), "a PDP-11 may vary"),
    "memory of the reference": (("run", "reverse", "--memory", "8192"), "a PDP-11 may vary"),
    "memory in halves": (("run", "reverse", "--on", "pdp11/20", "--memory", "8193"), "multiples"),
    "times that are none": (
        ("build", "reverse", "--train", "--on", "pdp11/34a", "--timing", "x", "-o", "x.lda"),
        "allowed are ll-34, dec, dec-mos",
    ),
    "times of a C64": (("cycles", "reverse", "--on", "c64", "--timing", "dec"), "only a pdp11/34a"),
    "a screen of a PDP-11": (
        ("build", "reverse", "--on", "pdp11/34a", "--screen", "-o", "x.lda"),
        "--screen is for a C64",
    ),
    "a cartridge packed": (
        ("build", "reverse", "--on", "c64", "--pack", "-o", "x.crt"),
        "--pack is for a .prg or a .d64",
    ),
    "an answer of a training": (
        ("build", "reverse", "--on", "c64", "--train", "-t", "1", "-o", "x.prg"),
        "-t is for answers",
    ),
    "steps of an answer": (("cycles", "reverse", "--steps", "3"), "add --train"),
    "a seed below 0": (("train", "reverse", "--seed", "-1"), "allowed is 0 and up"),
    "a picture of no kind": (("train", "reverse", "--plot", "x.jpg"), "pictures are saved as .png"),
    "weights nowhere": (("train", "reverse", "-o", "no/w.npz"), "no folder no"),
    "a count in letters": (("run", "reverse", "-n", "x"), "'x' is no whole number"),
    "no image": (("emulate",), "the following arguments are required: image"),
    "a folder that is not": (("build", "reverse", "--on", "c64", "-o", "no/x.prg"), "no/"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    words, expected = MISTAKES[name]
    assert expected in complaint(capsys, *words)


def decoder(folder: Path, head: str) -> str:
    """A program text of the least of decoders."""
    path = folder / "least.model"
    path.write_text(f"{head}\nlogits = linear(embed(token, 2), vocab_size)\n")
    return str(path)


def test_a_prompt_without_a_token_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = decoder(tmp_path, "size seq_len = 4, vocab_size = 2")
    for prompt in ("", "xyz"):
        capsys.readouterr()
        assert main(["run", text, "-i", prompt]) == 2
        assert "has no token of least's vocabulary" in capsys.readouterr().err


def test_a_context_without_room_for_an_answer_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = decoder(tmp_path, "size seq_len = 1, vocab_size = 2")
    assert "seq_len is 1, but one token to read and" in complaint(capsys, "run", text)
    head = 'tokenizer characters("ab.")\nprompt "." text "."\nsize seq_len = 3'
    assert "in its template need 4" in complaint(capsys, "run", decoder(tmp_path, head))


def test_the_prompt_of_no_prompt_is_one_that_the_model_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = decoder(tmp_path, "size seq_len = 4, vocab_size = 2")
    assert run_json(capsys, "run", text)["prompt_ids"] == [0, 1]


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "reverse"),
        ("show", "chat", "--stage", "fixed"),
        ("show", "chat", "--stage", "calls"),
        ("cycles", "chat", "--on", "pdp11/20", "-n", "1", "--measure"),
    ],
)
def test_no_number_is_cut_short_in_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(cli.out, "width", 80)
    assert main(list(words)) == 0
    text = capsys.readouterr().out
    assert "\u2026" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("stage", ["model", "fixed", "calls", "map", "asm", "listing"])
def test_every_stage_is_an_object_too(capsys: pytest.CaptureFixture[str], stage: str) -> None:
    got = run_json(capsys, "show", "reverse", "--stage", stage)
    if stage in ("fixed", "calls"):
        assert [row["op"] for row in got["rows"]][-1] == "logits"
    assert got["stage"] == stage and got.get("text") or got["rows"]


def test_a_conversation_is_one_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("12345678\n12\n31415926\n"))
    got = run_json(capsys, "chat", "reverse", "--on", "pdp11/34a")
    assert [answer["text"] for answer in got["answers"]] == ["87654321", "62951413"]


def test_json_is_all_there_is_on_standard_output() -> None:
    words = ["run", "reverse", "--on", "reference", "-i", "12345678", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "anachron.compiler.cli", *words], capture_output=True, text=True
    )
    assert json.loads(done.stdout)["text"] == "87654321"
