"""Kernels through the driver: on a GPU where there is one, else on the driver that is played.

`pytest -m gpu` runs what needs one: the same models, prompts and seeds, and all of them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from cuda_driver import TINY, PlayedDriver

import anachron.compiler as ac
from anachron.compiler.run import RunError, Sampling, run_reference
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda import device, measurements
from anachron.compiler.targets.cuda.batch.streams import build_batch
from anachron.compiler.targets.cuda.batch.throughput import check as check_batch
from anachron.compiler.targets.cuda.batch.throughput import run_on as run_batch_on
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.training.replicas import build_replicas, check, run_on

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)
SAMPLED = Sampling(0.8, 0.9, 3)
MODELS = {"reverse": "31415926", "chat": "hello", "llama": "hello", "gpt2": "hello"}


@pytest.fixture(params=["played", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Device:
    if request.param == "played":
        played = PlayedDriver()
        monkeypatch.setattr(device, "find_driver", lambda: played)
        monkeypatch.setattr(device, "REPEATS", 1)
    try:
        return Device.open()
    except Absent as reason:
        pytest.skip(str(reason))


@pytest.fixture
def tiny(tmp_path: Path) -> ac.FixedModel:
    (tmp_path / "tiny.model").write_text(TINY)
    return ac.quantize(ac.load(tmp_path / "tiny.model"))


def is_played(gpu: Device) -> bool:
    return isinstance(gpu.driver, PlayedDriver)


@pytest.mark.parametrize("sampling", [None, SAMPLED], ids=["greedy", "sampled"])
def test_streams_in_one_launch_are_the_reference_s(
    gpu: Device, tiny: ac.FixedModel, sampling: Sampling | None
) -> None:
    kernel = build_batch(tiny, sampled=bool(sampling), logits=True, gpu=gpu.gpu)
    prompts = ["ab", "cde", "a"] * 6
    run = run_batch_on(gpu, kernel, prompts, None, sampling)
    check_batch(run, prompts, None, sampling or Sampling())
    wanted = run_reference(tiny, "ab", None, sampling)
    assert run.logits is not None and (run.logits[0] == wanted.logits).all()


@pytest.mark.gpu
@pytest.mark.parametrize("sampling", [None, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_s_answer_is_the_reference_s(
    gpu: Device, name: str, sampling: Sampling | None
) -> None:
    if is_played(gpu) or (name == "reverse" and sampling):
        pytest.skip("interpreted elsewhere" if is_played(gpu) else "an encoder does not sample")
    fixed = ac.quantize(ac.load(name))
    run = ac.run_image(ac.build(fixed, "cuda", logits=True), MODELS[name], None, sampling)
    assert run.agrees(run_reference(fixed, MODELS[name], None, sampling))


@pytest.mark.gpu
def test_trainings_and_measurements_are_the_reference_s(gpu: Device) -> None:
    if is_played(gpu):
        pytest.skip("interpreted elsewhere")
    kernel = build_replicas(ac.load("reverse"), 20, gpu=gpu.gpu)
    check(kernel, run_on(gpu, kernel, range(40)).trainings)
    fixed = ac.quantize(ac.load("chat"))
    rows = [
        row
        for measure in (measurements.one_stream, measurements.grid, measurements.phases)
        for row in measure(gpu, fixed, "hello", [])
    ]
    assert rows and {row["status"] for row in rows if "cubin" not in row["what"]} == {"ok"}


def test_what_is_timed_is_held_to_the_reference(
    gpu: Device, tiny: ac.FixedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "WINDOW_NS", 1)
    monkeypatch.setattr(measurements, "WARM_NS", 1)
    assert [r["unit"] for r in measurements.one_stream(gpu, tiny, "ab", [])][2:5] == [
        measurements.TIME, measurements.CLOCKS, "MHz",
    ]  # fmt: skip
    if is_played(gpu):
        gpu.driver.defects = "wrong"
        with pytest.raises(RunError, match="other ids than the reference"):
            list(measurements.one_stream(gpu, tiny, "ab", []))
