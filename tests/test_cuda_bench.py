"""`bench cuda`: what can be held to account where there is no GPU."""

from __future__ import annotations

import ctypes
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler import arguments, cli, report
from anachron.compiler.run import Sampling
from anachron.compiler.targets.cuda import device, driver, measurements, peers
from anachron.compiler.targets.cuda.generations import HOPPER
from anachron.compiler.targets.cuda.inspection import assemble, find_tool
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, write_kernel
from anachron.compiler.targets.cuda.launching import prepare, signed
from anachron.emulators import ptx

TINY = """\
model tiny
size dim = 8, seq_len = 8, vocab_size = 5
tokenizer characters("abcde")
x = embed(token, dim) + embed(position, dim)
x = x + linear(relu(linear(rms_norm(x), 12)), dim)
logits = linear(x, vocab_size)
"""
PTX = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry some_kernel$1(.param .u64 x) { ret; }
"""


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARIES", ("libnothing.so.0",))


def test_without_a_gpu_it_says_so_in_one_line(no_gpu: None, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["bench", "cuda"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().endswith("there is no NVIDIA GPU here: no driver (libnothing.so.0)")


def test_without_a_gpu_the_json_is_absent(no_gpu: None, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["bench", "cuda", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["what"], told["status"], told["rows"]) == ("cuda", "absent", [])
    assert "no driver" in told["note"]


def test_a_folder_of_models_is_for_the_gpu_alone(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["bench", "compile", "--models", "somewhere"]) == 2
    assert "--models is for bench cuda" in capsys.readouterr().err
    assert arguments.parse(["bench", "cuda", "--models", "there"]).models == "there"


def test_rows_are_one_table() -> None:
    rows = [measurements.row("one stream", 1.23456789, "us", "x"), measurements.row("GPU", "H200")]
    assert rows[0]["value"] == 1.235
    text = report.plain(report.rows_table(rows))
    assert "one stream" in text and "H200" in text


def test_arguments_are_given_by_address() -> None:
    held = [ctypes.c_uint64(1 << 40), ctypes.c_int(-5)]
    pointers = device.marshal(held)
    assert ctypes.cast(pointers[0], ctypes.POINTER(ctypes.c_uint64))[0] == 1 << 40
    assert ctypes.cast(pointers[1], ctypes.POINTER(ctypes.c_int))[0] == -5


def test_a_kernels_name_is_found_in_ptx_and_in_a_cubin() -> None:
    assert device.find_entry(PTX) == "some_kernel$1"
    with pytest.raises(ValueError, match="no kernel"):
        device.find_entry(b"\0.data\0")
    if not find_tool("ptxas"):
        pytest.skip("NVIDIA's ptxas is not installed: pip install -e '.[cuda]'")
    cubin, _ = assemble(PTX)
    assert device.find_entry(cubin) == "some_kernel$1"


def test_a_launch_has_the_kernels_arguments_in_order() -> None:
    fixed = ac.quantize(ac.load("chat"))
    text = write_kernel(fixed, False)
    launch = prepare(
        fixed, text, [1, 2], 5, Sampling(0.5, 0.5, 7), keep_logits=False, repeats=3, blocks=2
    )
    assert list(launch.named) == list(ARGUMENTS)
    kinds = [isinstance(a, np.ndarray) for a in launch.arguments]
    assert kinds == [kind != "word" for kind in ARGUMENTS.values()]
    assert launch.array("chosen").shape == (2, 6)
    assert launch.named["inverse_temperature"] == 512 and launch.named["top_p"] == 128
    launch.array("chosen")[1, :3] = 2, 8, 9
    assert launch.answer(1) == [8, 9]
    launch.array("clocks")[0] = -1
    assert launch.clocks()[0] == (1 << 32) - 1
    assert measurements.count_passes(launch) == 1


def test_only_streams_run_in_many_blocks() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    with pytest.raises(ValueError, match="only stream kernels"):
        prepare(fixed, write_kernel(fixed, False), [1] * 8, 8, blocks=2)


def test_words_wrap_to_signed_ones() -> None:
    assert [signed(w) for w in (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)] == [
        0, 1, (1 << 31) - 1, -(1 << 31), -1,
    ]  # fmt: skip


def test_a_peer_has_the_models_shape() -> None:
    shape = peers.find_shape(ac.quantize(ac.load("llama")))
    assert (shape.dim, shape.hidden, shape.heads, shape.kv_heads, shape.layers) == (32, 64, 4, 2, 2)
    assert shape.gated
    assert shape.cache_bytes == 2 * 2 * 2 * 40 * 16


class Interpreter:
    """What measurements.py asks of a GPU, by interpreting; a launch takes a millisecond."""

    multiprocessors, gpu, registers, local_bytes = 1, HOPPER, 40, 0

    def load(self, kernel: str | bytes, shared: int) -> Interpreter:
        self.kernel, self.shared, self.how = kernel, shared, "interpreted"
        return self

    def run(self, arguments: tuple, threads: int, blocks: int, times: int) -> float:
        if isinstance(self.kernel, str):
            ptx.load(self.kernel).launch(
                *arguments, threads=threads, blocks=blocks, shared=self.shared
            )
        return 1e6

    def close(self) -> None:
        pass


@pytest.mark.skipif(find_spec("numba_cuda") is None, reason="Numba CUDA is not installed")
def test_the_measurements_of_one_stream_go_to_their_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measurements, "WINDOW_NS", 2e6)  # twice a launch's time
    monkeypatch.setattr(measurements, "WAVES", (1, 2))
    path = tmp_path / "tiny.model"
    path.write_text(TINY)
    fixed = ac.quantize(ac.load(path))
    gpu = Interpreter()
    alone = list(measurements.one_stream(gpu, fixed, "abc", []))  # type: ignore[arg-type]
    values = {row["unit"]: row["value"] for row in alone}
    assert values["us a position"] == pytest.approx(1e3 / 2 / 7, rel=0.01)  # 1 ms, twice, 7 passes
    assert values["clocks a position"] > 0
    parts = list(measurements.phases(gpu, fixed, "abc", []))  # type: ignore[arg-type]
    names = {row["what"].removeprefix("tiny: ") for row in parts[1:]}
    assert {op.name for op in fixed.ops} | {"choose"} == names
    many = list(measurements.grid(gpu, fixed, "abc", []))  # type: ignore[arg-type]
    assert [row["what"] for row in many] == [
        "tiny: 1 streams, a block each", "tiny: 2 streams, a block each",
    ]  # fmt: skip
    assert many[1]["value"] == pytest.approx(2 * many[0]["value"], rel=0.01)
