"""What a GPU's clocks are estimated to be: told where there is none, beside what one measures."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from cuda_driver import PlayedDriver

import anachron.compiler as ac
from anachron.compiler import cli
from anachron.compiler.targets import H200
from anachron.compiler.targets.cuda import device, driver, inspection, latency
from anachron.compiler.targets.cuda.inspection import find_tool

compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)
assembles = pytest.mark.skipif(
    not (find_tool("ptxas") and find_tool("nvdisasm") and find_spec("numba_cuda")),
    reason="NVIDIA's tools are not installed: pip install -e '.[cuda]'",
)
TINY = """\
model tiny
size dim = 16, seq_len = 8, vocab_size = 9, hidden_dim = 16
tokenizer characters("abcdefghi")
tok = embed(token, dim)
x = tok + embed(position, dim)
n = rms_norm(x)
a = attention(linear(n, dim), linear(n, dim), linear(n, dim), heads = 2, causal)
x = x + linear(a, dim)
logits = linear(rms_norm(x), vocab_size)
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.model"
    path.write_text(TINY)
    return path


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, wherever this runs."""
    monkeypatch.setattr(driver, "LIBRARIES", ("libnothing.so.0",))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NVIDIA's assembler and disassembler."""
    monkeypatch.setattr(inspection, "find_tool", lambda name: None)


@assembles
def test_a_gpu_that_is_absent_has_its_estimate_in_its_row(tiny: Path, alone: None) -> None:
    fixed = ac.quantize(ac.load(tiny))
    comparison = ac.compare(fixed, ["h200", "ptx"], "ab", 3)
    assert comparison.agree
    _, row, interpreted = comparison.as_json()["rows"]
    lo, expected, hi = row["predicted"]
    found = latency.estimate(fixed).clocks
    assert 0 < lo < expected < hi and 3 * found[1] < expected < 4 * found[1]
    assert row["status"] == "absent" and row["clock_hz"] == H200
    assert row["time_ns"] is row["time_ns_per_token"] is row["cycles_total"] is None
    assert interpreted["predicted"] == [interpreted["instructions_total"]] * 3
    text = str(comparison)
    assert f"{expected / 4:,.0f} cycles, {expected / 4 / H200 * 1e6:.1f} us" in text
    assert "estimated, not measured" in text and " instructions " in text


@assembles
def test_cycles_say_what_is_estimated(
    tiny: Path, alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["cycles", str(tiny), "--on", "h200", "-i", "ab", "-n", "3"]
    assert cli.main([*argv, "--measure", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    fixed = ac.quantize(ac.load(tiny))
    lo, expected, hi = told["cycles_per_token"]
    assert [lo, expected, hi] == list(latency.estimate(fixed).clocks)
    assert told["status"] == "absent" and "no driver" in told["note"]
    assert "not measured" in told["basis"] and told["clock_hz"] == H200
    assert {"tok", "a", "logits", "choose"} < {row["kernel"] for row in told["rows"]}
    assert all(row["least"] <= row["expected"] <= row["most"] for row in told["rows"])
    assert cli.main(argv) == 0
    text = capsys.readouterr().out
    assert f"{expected:,} cycles a token ({lo:,} to {hi:,})" in text
    assert f"{told['instructions_per_token']:,} instructions of PTX" in text


@compiles
def test_without_nvidia_s_assembler_it_is_one_line(
    tiny: Path, alone: None, bare: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cycles", str(tiny), "--on", "h200", "-i", "ab"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "ptxas is not installed" in said.err and "pip install" in said.err
    comparison = ac.compare(ac.quantize(ac.load(tiny)), ["h200"], "ab", 3)
    assert comparison.runs[1].as_json()["predicted"] is None and comparison.agree
    assert re.search(r"H200 .* -  .*\(absent", str(comparison))


@compiles
def test_an_encoder_s_clocks_are_not_estimated(
    alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cycles", "reverse", "--on", "cuda"]) == 2
    assert "token by token" in capsys.readouterr().err
    assert "absent" in str(ac.compare(ac.quantize(ac.load("reverse")), ["h200"], "31415926"))


@assembles
def test_clocks_that_are_measured_stand_beside_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a driver that is played: its clock counts instructions, its time is its own."""
    monkeypatch.setattr(device, "find_driver", PlayedDriver)
    fixed = ac.quantize(ac.load(tiny))
    image = ac.build(fixed, "cuda")
    run = ac.converse(image, 3).ask("ab")
    assert run.agrees(ac.run_reference(fixed, "ab", 3))
    assert sum(run.cycles.values()) == run.total > 0 and len(run.counts) == 4
    assert run.predicted.expected > 3 * latency.estimate(fixed).clocks[1]
    told = run.as_json()
    assert told["clock_hz"] == 1_980_000_000 and told["time_ns"] == run.timed_ns
    assert sum(told["time_ns_per_token"]) == pytest.approx(run.timed_ns, abs=len(run.counts))
    profiled = ac.converse(image, 3, profile=True).ask("ab")
    assert profiled.generated == run.generated
    assert {"tok", "a", "logits", "choose", "next", "end"} < set(profiled.cycles)
    assert sum(profiled.cycles.values()) == profiled.total > run.total
    assert min(profiled.cycles.values()) >= 0
    argv = ["cycles", str(tiny), "--on", "cuda", "-i", "ab", "-n", "3", "--measure"]
    assert cli.main([*argv, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert all(row["measured"] > 0 for row in rows if row["kernel"] in ("tok", "a", "logits"))
    assert cli.main(argv) == 0
    printed = capsys.readouterr().out
    assert f"{profiled.total:,}" in printed and " end " in printed
