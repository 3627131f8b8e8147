"""`bench cuda` and a run on `cuda` from end to end, on a driver that is played."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_driver import TINY, PlayedDriver

import anachron.compiler as ac
from anachron.compiler import bench_report, cli, report
from anachron.compiler.run import RunError
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda import benchmark, device, measurements
from anachron.compiler.targets.cuda.batch import throughput as batch_throughput
from anachron.compiler.targets.cuda.device import Device, Scratch
from anachron.compiler.targets.cuda.driver import NUMBERS, SIGNATURES
from anachron.compiler.targets.cuda.inspection import find_tool
from anachron.compiler.targets.cuda.training import throughput as training_throughput

compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)
COUNTED = """
.version 9.0
.target sm_90
.address_size 64
.visible .entry count(.param .u64 x, .param .u32 n, .param .u64 room)
{
    .reg .b32 %r<9>; .reg .b64 %rd<9>;
    ld.param.u64 %rd1, [x]; ld.param.u32 %r1, [n]; ld.param.u64 %rd2, [room];
    mov.u32 %r4, %tid.x; mul.wide.u32 %rd3, %r4, 4; add.s64 %rd1, %rd1, %rd3;
    ld.global.u32 %r2, [%rd2]; ld.global.u32 %r3, [%rd1];
    add.s32 %r3, %r3, %r1; add.s32 %r3, %r3, %r2; st.global.u32 [%rd1], %r3;
    ret;
}
"""
KINDS = {  # of cuda.h -> of ctypes
    "unsigned int": ctypes.c_uint, "int": ctypes.c_int, "size_t": ctypes.c_size_t,
    "unsigned char": ctypes.c_ubyte, "CUdevice": ctypes.c_int, "CUresult": ctypes.c_int,
    "CUdeviceptr": ctypes.c_uint64, "CUdevice_attribute": ctypes.c_int,
    "CUfunction_attribute": ctypes.c_int,
}  # fmt: skip


KEPT = ("cuEventElapsedTime",)  # its _v2 came with CUDA 12.8: drivers before have only this one


def find_header() -> Path | None:
    spec = find_spec("nvidia")
    folders = [Path(f) for f in spec.submodule_search_locations or ()] if spec else []
    places = [p for f in folders for p in f.glob("*/include/cuda.h")]
    return next((p for p in [*places, Path("/usr/local/cuda/include/cuda.h")] if p.exists()), None)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedDriver:
    driver = PlayedDriver()
    monkeypatch.setattr(device, "find_driver", lambda: driver)
    monkeypatch.setattr(device, "REPEATS", 1)
    return driver


@pytest.fixture(scope="module")
def header() -> str:
    path = find_header()
    if path is None:
        pytest.skip("NVIDIA's cuda.h is not installed: pip install -e '.[cuda]'")
    return path.read_text(errors="replace")


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_is_the_header_s(name: str, header: str) -> None:
    text = header
    found = re.search(rf"CUresult CUDAAPI {name}\(([^)]*)\);", text)
    if not found:  # a name that the header gives another one by a macro
        plain = name.removesuffix("_v2")
        assert name != plain and re.search(rf"#define {plain}\s+{name}\b", text)
        found = re.search(rf"CUresult CUDAAPI {plain}\(([^)]*)\);", text)
    assert found
    kinds = []
    for parameter in found[1].split(","):
        words = re.sub(r"\bconst\b", "", parameter).strip()
        kind = words.rsplit(None, 1)[0].strip() if not words.endswith("*") else words
        is_pointer = "*" in words or kind in ("CUcontext", "CUmodule", "CUfunction", "CUstream",
                                              "CUevent")  # fmt: skip
        kinds.append(ctypes.c_void_p if is_pointer else KINDS[kind])
    mine = [ctypes.c_void_p if k is ctypes.c_char_p else k for k in SIGNATURES[name]]
    assert mine == kinds


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_name_is_the_one_that_programs_link_to(name: str, header: str) -> None:
    """Where the header gives a plain name another by a macro, that is today's function."""
    plain = name.removesuffix("_v2")
    pattern = rf"^\s*#define {plain}\s+(?:__CUDA_API_PTDS\()?({plain}_v\d)\b"
    renamed = [] if name in KEPT else re.findall(pattern, header, re.M)
    assert name == (renamed[0] if renamed else plain)


def test_the_numbers_are_the_header_s(header: str) -> None:
    """An enum's members without a number follow on the one before."""
    numbers: dict[str, int] = {}
    for body in re.findall(r"enum \w+\s*\{(.*?)\}", re.sub(r"/\*.*?\*/", "", header, flags=re.S),
                           re.S):  # fmt: skip
        value = -1
        for member in body.split(","):
            found = re.match(r"\s*(\w+)\s*(?:=\s*(\w+))?\s*$", member)
            if found:
                value = value + 1 if found[2] is None else numbers.get(found[2], -1)
                value = int(found[2], 0) if found[2] and found[2][0].isdigit() else value
                numbers[found[1]] = value
    assert {name: numbers.get(name) for name in NUMBERS} == NUMBERS


def test_a_launch_goes_through_c(played: PlayedDriver) -> None:
    found = Device.open("H200")
    assert (found.name, found.multiprocessors, found.driver_version) == (
        "NVIDIA H200, interpreted", 2, "13.0",
    )  # fmt: skip
    x = np.arange(33, dtype=np.int32)
    assert found.launch(COUNTED, (x, -3, Scratch(64)), 32, 1024) > 0
    assert x.tolist() == [*range(-3, 29), 32]
    assert not played.held and not played.modules and not played.events


def test_a_driver_that_is_older_takes_the_same_ptx(monkeypatch: pytest.MonkeyPatch) -> None:
    """COUNTED says PTX 9.0 and sm_90, and needs neither: its header is written anew."""
    driver = PlayedDriver(newest=(7, 0), capability=(8, 0))
    monkeypatch.setattr(device, "find_driver", lambda: driver)
    loaded = Device.open().load(COUNTED, 0)
    assert loaded.how == "PTX, compiled by the driver"
    assert (loaded.registers, loaded.local_bytes) == (40, 0)


def test_a_driver_that_compiles_nothing_gets_a_cubin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_driver", lambda: PlayedDriver(newest=(6, 0)))
    if not find_tool("ptxas"):
        monkeypatch.setattr(device, "assemble", lambda *_: (b"\x7fELF", ""))
    found = Device.open()
    found.driver.offered = COUNTED.encode()
    loaded = found.load(COUNTED, 0)
    assert loaded.how.startswith("a cubin, because the driver takes no PTX: error 222")


def test_a_kernel_that_is_refused_says_what_the_compiler_said(
    monkeypatch: pytest.MonkeyPatch, played: PlayedDriver
) -> None:
    def absent(*_: object) -> None:
        raise Absent("no ptxas here")

    monkeypatch.setattr(device, "assemble", absent)
    monkeypatch.setattr(device, "port", lambda ptx, gpu: ptx.replace("sm_90", "sm_99"))
    with pytest.raises(Absent) as told:
        Device.open().load(COUNTED, 0)
    assert "error 218, played (CUDA error 218) ptxas fatal: a newer GPU's no" in str(told.value)


def test_a_gpu_that_is_too_old_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        device, "find_driver", lambda: PlayedDriver(("Tesla P100",), (6, 0), 48 * 1024)
    )
    with pytest.raises(Absent) as told:
        Device.open().load(COUNTED, 0)
    assert str(told.value) == (
        "the GPU here is a Tesla P100 of compute capability 6.0: the kernels need 7.5, "
        "Turing: T4, RTX 2080, or newer"
    )


def test_shared_memory_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_driver", lambda: PlayedDriver(("T4",), (7, 5), 64 * 1024))
    with pytest.raises(Absent, match="needs 70,000 bytes of shared memory, a block of the T4 here"):
        Device.open().load(COUNTED, 70_000)


def test_memory_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_driver", lambda: PlayedDriver(memory=1000))
    with pytest.raises(Absent, match="has no 4,000 bytes of memory free"):
        Device.open().launch(COUNTED, (np.zeros(32, np.int32), 0, Scratch(4000)), 32, 0)


def test_a_gpu_that_is_another_is_absent(played: PlayedDriver) -> None:
    with pytest.raises(Absent, match="the GPU here is a NVIDIA H200, interpreted: use --on cuda"):
        Device.open("A100")


def test_of_several_gpus_the_first_of_the_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = PlayedDriver(("NVIDIA T4", "NVIDIA H200", "NVIDIA H200 MIG 1g.18gb"))
    monkeypatch.setattr(device, "find_driver", lambda: driver)
    assert (Device.open().number, Device.open("H200").number) == (0, 1)
    assert Device.open("MIG").name == "NVIDIA H200 MIG 1g.18gb"
    with pytest.raises(Absent, match="is a NVIDIA T4 and a NVIDIA H200 and a NVIDIA H200 MIG"):
        Device.open("B200")


def test_gpus_that_are_hidden_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_driver", lambda: PlayedDriver(names=()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(Absent) as told:
        Device.open()
    assert str(told.value) == (
        "there is no NVIDIA GPU here, only its driver: error 100, played (CUDA error 100), "
        "CUDA_VISIBLE_DEVICES is '7'"
    )


def test_a_broken_context_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_driver", lambda: PlayedDriver(breaks=0))
    with pytest.raises(RunError, match=r"the GPU stopped: error 700, played \(CUDA error 700\)"):
        Device.open().launch(COUNTED, (np.zeros(32, np.int32), 0, Scratch(4)), 32, 0)


@compiles
def test_a_run_on_the_gpu_is_the_reference(played: PlayedDriver, tmp_path: Path) -> None:
    (tmp_path / "tiny.model").write_text(TINY)
    fixed = ac.quantize(ac.load(tmp_path / "tiny.model"))
    run = ac.build(fixed, "h200", logits=True).run("ab", n=3)
    assert run.agrees(ac.run_reference(fixed, "ab", 3)) and played.launches == 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every measurement, of the smallest size."""
    path = tmp_path / "tiny.model"
    path.write_text(TINY)
    monkeypatch.setattr(benchmark, "OURS", {str(path): "ab"})
    monkeypatch.setattr(measurements, "WINDOW_NS", 1)
    monkeypatch.setattr(measurements, "WARM_NS", 1)
    monkeypatch.setattr(measurements, "TIMES", 1)
    monkeypatch.setattr(measurements, "WAVES", (1,))
    monkeypatch.setattr(batch_throughput.measure, "__defaults__", (32,))
    monkeypatch.setattr(training_throughput.measure, "__defaults__", (2,))
    steps = SimpleNamespace(steps_per_second=(1e6, 2e6, 3e6))  # the estimate has its own tests
    monkeypatch.setattr(benchmark, "estimate_steps", lambda kernel: steps)
    build = measurements.build_replicas
    model = ac.load("reverse", overrides={"dim": 8, "seq_len": 4})
    for module in (benchmark, measurements):
        monkeypatch.setattr(module, "build_replicas", lambda _, gpu: build(model, 2, gpu=gpu))


@compiles
def test_the_whole_command_ends_with_every_row(
    played: PlayedDriver, small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "rows.json"
    assert cli.main(["bench", "cuda", "--json", "-o", str(kept)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert json.loads(kept.read_text())["rows"] == told["rows"]
    rows = {(r["what"], r["unit"]): r for r in told["rows"]}
    for row in told["rows"]:
        assert row["status"] == "ok" or "torch" in row["note"] or "cubin" in row["what"], row
    assert rows["GPU", ""]["value"] == "NVIDIA H200, interpreted"
    for how in ("greedy", "sampled"):
        assert rows[f"tiny: {how}, equal to the reference", ""]["value"] == "true"
    assert rows["tiny: one stream", "us a position"]["value"] > 0
    assert rows["tiny: one stream", "clocks a position"]["value"] > 0
    assert rows["tiny: logits", "clocks a position"]["note"].endswith("%")
    assert rows["reverse: training", "M steps/s"]["value"] > 0
    assert any("warps a multiprocessor" in what for what, _ in rows)
    goal = rows["reverse: training", "M steps/s"]
    assert (goal["goal"], goal["met"]) == (50.0, False)
    if find_tool("ptxas") and find_tool("nvdisasm"):
        lo, expected, hi = rows["tiny: one stream", "clocks a position"]["estimate"]
        assert 0 < lo <= expected <= hi
        lo, expected, hi = rows["tiny: many streams, at best", "M positions/s"]["estimate"]
        assert 0 < lo <= expected <= hi
    assert goal["estimate"] == [1.0, 2.0, 3.0]
    text = report.plain(bench_report.bench_tables(told["rows"]), 160)
    assert re.search(r"reverse: training +>= 50 M steps/s .* no\b", text)
    assert text.index("reverse: training") < text.index("tiny: one stream")
    names = [r["what"] for r in told["rows"]]
    assert names.index("tiny: one stream") < names.index("reverse: training")


DEFECTS = {  # of a measurement -> the row that says so
    "identity": ("wrong", "tiny: greedy, equal to the reference", "failed", "ids and their logits"),
    "one stream": ("hang", "tiny: one stream", "failed", "ended after 1 seconds"),
    "phases": ("break", "tiny: phases", "failed", "the GPU stopped: error 700"),
    "grid": ("die", "tiny: grid", "failed", "its process died (9)"),
    "batches": ("gone", "tiny: batches", "absent", "error 100"),
}


@compiles
def test_whatever_happens_ends_in_a_row_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, played: PlayedDriver, small: None
) -> None:
    """A kernel with wrong integers, one that hangs, one that breaks its context; a process that
    dies; a GPU that is gone; and after all of them a measurement as if nothing had been."""
    whole, run = benchmark.plan, benchmark.run

    def some(*given: Any) -> list[benchmark.Measurement]:
        found = {m.name.removeprefix("tiny: "): m for m in whole(*given)}
        return [*(found[name] for name in DEFECTS), found["training"]]

    def run_badly(measurement: benchmark.Measurement, rows: list) -> Iterator[measurements.Row]:
        defects = DEFECTS.get(measurement.name.removeprefix("tiny: "))
        played.defects = defects[0] if defects else ""
        return run(measurement, rows)

    def tell(text: str) -> None:
        hangs = text.startswith("tiny: one stream")
        monkeypatch.setattr(benchmark, "LONGEST", 1.0 if hangs else 600.0)

    monkeypatch.setattr(benchmark, "plan", some)
    monkeypatch.setattr(benchmark, "run", run_badly)
    for name in ("expect_stream", "expect_batch", "expect_training"):
        monkeypatch.setattr(benchmark, name, lambda *_, **__: {})
    rows = {r["what"]: r for r in benchmark.bench(tell=tell, budget=1e4)}
    for _, what, status, note in DEFECTS.values():
        assert rows[what]["status"] == status and note in rows[what]["note"], rows[what]
    assert rows["reverse: training"]["status"] == "ok" and rows["reverse: training"]["met"] is False


@compiles
def test_what_there_is_no_time_for_is_skipped(played: PlayedDriver, small: None) -> None:
    rows = benchmark.bench(budget=0.0)
    rows = [r for r in rows if r["status"] != "ok"]
    assert {r["status"] for r in rows} == {"skipped"}
    assert "the 0 seconds are over" in {r["note"] for r in rows}
    assert [r["goal"] for r in rows if r["what"] == "reverse: training"] == [50.0]
