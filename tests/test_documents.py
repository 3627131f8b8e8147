"""The README does what it says: every command line runs, every generated part is of its kind."""

import re
import shlex
from functools import partial
from pathlib import Path

import pytest

from anachron.compiler import arguments, benchmarks, cli, readme
from anachron.emulators import bench, conformance

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARTS = [(m[2], m[3], m[4]) for m in readme.PART.finditer(README)]
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LESS = {  # words -> words that show the same in less time
    ("train", "reverse"): ("train", "reverse", "--steps", "3"),
}


def commands(text: str) -> list[str]:
    """The lines of a text that call anachron."""
    said = re.findall(r"^ *(?:\$ )?anachron (.*?)(?: {2}.*)?$", text, re.MULTILINE)
    return list(dict.fromkeys(said))


TEXTS = {"README": "".join(FENCED.findall(README)), "--help": arguments.EPILOG}
COMMANDS = list(dict.fromkeys(command for text in TEXTS.values() for command in commands(text)))
OUTSIDE = [command for command in COMMANDS if ".bin" in command]  # they need others' checkpoints


def anachron(command: str) -> int:
    """Run a command as it stands, or a shorter one that shows the same."""
    words = tuple(shlex.split(command))
    for long, short in LESS.items():
        for k in range(len(words)):
            if words[k : k + len(long)] == long:
                words = words[:k] + short + words[k + len(long) :]
                break
    return cli.main(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the images that the commands speak of have been built."""
    place = tmp_path_factory.mktemp("documents")
    builds = [command for command in COMMANDS if command.startswith("build ")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert [anachron(command) for command in builds] == [0] * len(builds)
    return place


@pytest.fixture
def short_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks as they are, for less time."""
    monkeypatch.setitem(benchmarks.BENCHMARKS, "emulators", partial(bench.bench, 100_000))
    monkeypatch.setattr(bench, "bench_pdp11", partial(bench.bench_pdp11, 10_000))
    monkeypatch.setattr(bench, "COLD_START", "import anachron.emulators\n")


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in OUTSIDE])
def test_a_command_line_runs(
    command: str,
    folder: Path,
    short_benchmarks: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert anachron(command) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", OUTSIDE)
def test_a_command_line_about_a_file_of_others_is_understood(command: str) -> None:
    assert arguments.parse(shlex.split(command)).model.endswith(".bin")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_emulated_has_been_built_before(text: str) -> None:
    built: set[str] = set()
    for words in map(shlex.split, commands(text)):
        if words[0] == "build":
            built.add(words[words.index("-o") + 1])
        assert words[0] != "emulate" or words[1] in built


def test_commands_are_found_without_their_comments() -> None:
    text = '  anachron run x -i "a # b"  # why\n$ anachron compare      all\nsee anachron compare\n'
    assert commands(text) == ['run x -i "a # b"', "compare"]
    assert {command.split()[0] for command in COMMANDS} >= {"compare", "run", "build", "emulate"}


def test_the_parts_are_written_anew_where_they_are_marked() -> None:
    text = "a\n<!-- file: programs/reverse.model -->\nold\n<!-- end -->\nb\n"
    assert readme.fill(text, ROOT) == text.replace("old\n", readme.file(*FILE))


FILE = ("programs/reverse.model", ROOT)


def test_every_marked_part_is_of_a_kind_and_ended() -> None:
    assert README.count("<!-- end -->") == len(PARTS) == len(re.findall(r"<!-- \w+: ", README))
    assert {kind for kind, _, _ in PARTS} <= readme.KINDS.keys()


@pytest.mark.parametrize("name, text", [(name, t) for kind, name, t in PARTS if kind == "file"])
def test_a_file_is_shown_as_it_is(name: str, text: str) -> None:
    assert text == readme.file(name, ROOT)


def without_numbers(text: str) -> str:
    """A text with its numbers, its rules and its spaces made equal."""
    return re.sub(r"[\s─]+", " ", re.sub(r"[-+]?\d[\d,.]*", "#", text))


@pytest.mark.parametrize(
    "command, text", [(name, t) for kind, name, t in PARTS if kind == "transcript"]
)
def test_a_transcript_says_what_the_command_says(command: str, text: str) -> None:
    assert without_numbers(text) == without_numbers(readme.transcript(command, ROOT))


def cells(text: str) -> list[list[str]]:
    """The rows of a Markdown table, the rule left out."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [rows[0], *rows[2:]]


def test_the_conformance_table_has_every_program_and_all_pass() -> None:
    (text,) = (t for kind, name, t in PARTS if (kind, name) == ("table", "conformance"))
    head, *rows = cells(text)
    assert head == ["program", "machine", "result"]
    assert [row[:2] for row in rows] == [[c.name, c.machine] for c in conformance.CHECKS]
    assert [row[2].split(",")[0] for row in rows] == ["passes"] * len(rows)


def test_the_inference_table_is_filled() -> None:
    (text,) = (t for kind, name, t in PARTS if (kind, name) == ("table", "inference"))
    head, *rows = cells(text)
    assert head[0] == "model" and head[-1] == "fewer than"
    cases = " ".join(row[0] for row in rows)
    assert all(word in cases for word in ("chat", "Soul Player", "stories260K", "REU", "EasyFlash"))
    assert {len(row) for row in rows} == {len(head)}
    predicted = [row[head.index("predicted")] for row in rows]
    assert all(re.fullmatch(r"[-+]\d+\.\d\d %", deviation) for deviation in predicted)
