"""CUDA kernels: compiled to PTX, interpreted, and equal to the reference; absent in one line."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from random_models import random_prompt, random_text

import anachron.compiler as ac
from anachron.compiler.run import RunError, run_reference
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import Absent, find_machine
from anachron.compiler.targets.cuda import device, driver, lowering, target
from anachron.compiler.targets.cuda.conversation import KernelConversation
from anachron.compiler.targets.cuda.kernel import KernelText, write_kernel
from anachron.compiler.targets.cuda.layout import Layout
from anachron.emulators.ptx import load

compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)


@cache
def fixed_of(name: str) -> ac.FixedModel:
    return ac.quantize(ac.load(name))


@cache
def image_of(name: str) -> ac.Image:
    return ac.build(fixed_of(name), "ptx", logits=True)


def agree(fixed: ac.FixedModel, prompt: str, n: int | None, image: ac.Image) -> ac.Run:
    """Run in the usual order and in a random one; both equal the reference, logits too."""
    reference = run_reference(fixed, prompt, n)
    counts = set()
    for schedule in (None, 5):
        run = KernelConversation(image, n, None, schedule).ask(prompt)
        assert run.agrees(reference) and run.logits is not None
        counts.add(run.counts)
    assert len(counts) == 1
    return run


@compiles
@pytest.mark.parametrize("prompt", ["31415926", "00000000", "98765432"])
def test_reverse_is_the_reference(prompt: str) -> None:
    run = agree(fixed_of("reverse"), prompt, None, image_of("reverse"))
    assert run.text == prompt[::-1]


@compiles
def test_a_decoder_is_the_reference_and_counts_every_pass(tmp_path: Path) -> None:
    path = tmp_path / "small.model"
    path.write_text(SMALL)
    fixed = ac.quantize(ac.load(str(path)))
    image = ac.build(fixed, "ptx", logits=True)
    run = agree(fixed, "abc", 5, image)
    assert len(run.counts) == 3 + 5 - 1
    assert run.total == sum(run.cycles.values())
    alone = {call.op for call in image.calls if call.variant != "fused"}
    assert len(alone) > 8 and alone < set(run.cycles)
    assert run.as_json()["instructions_total"] == run.total
    assert run.as_json()["time_ns"] is None
    whole = agree(fixed, "abc", None, image)
    assert len(whole.tokens) == fixed.seq_len


@compiles
@pytest.mark.parametrize("text", ["small", "layer", "llama"])
def test_sums_of_64_bits_are_the_reference(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lowering, "NARROW", 1.0)  # nothing is proven to fit 32 bits
    path = tmp_path / "wide.model"
    path.write_text(SMALL if text == "small" else random_text(3, (text,)))
    fixed = ac.quantize(ac.load(str(path)))
    image = ac.build(fixed, "ptx", logits=True)
    assert {"matvec", "attention"} <= {c.kernel for c in image.calls if c.variant == "general"}
    assert "int64" in image.source
    agree(fixed, "abc"[: fixed.seq_len - 1], 2, image)


@compiles
def test_bytes_and_memory_outside_the_block_are_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(fixed: ac.FixedModel, logits: bool, room: int) -> KernelText:
        return write_kernel(fixed, logits, stream=False, room=min(room, 700))

    monkeypatch.setattr(target, "write_kernel", write)
    path = tmp_path / "bytes.model"
    path.write_text(SMALL)
    fixed = ac.quantize(ac.load(str(path)), activations=8)
    image = ac.build(fixed, "ptx", logits=True)
    places = image.text.layout.values
    assert {place.memory for place in places.values()} == {"sm", "gm"}
    assert "dp4a" in {call.variant for call in image.calls}
    agree(fixed, "abc", 5, image)
    sampling = Sampling(1.5, 0.8, 1)
    run = KernelConversation(image, 6, sampling).ask("abc")
    assert run.agrees(run_reference(fixed, "abc", 6, sampling))


@compiles
@pytest.mark.parametrize("family", ["encoder", "layer", "llama"])
def test_random_models_are_the_reference(family: str, tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    path.write_text(random_text(0, (family,)))
    fixed = ac.quantize(ac.load(str(path)))
    if fixed.generation.mode == "sequence":
        prompt = fixed.tokenizer.decode([i * 7 % fixed.vocab_size for i in range(fixed.seq_len)])
    else:
        prompt = random_prompt(0, fixed.vocab_size, 2)
    agree(fixed, prompt, 3, ac.build(fixed, "ptx", logits=True))


@compiles
def test_without_any_one_of_its_barriers_the_kernel_races() -> None:
    image = image_of("reverse")
    ptx = image.program.ptx
    places = [found.span() for found in re.finditer(r"bar\.sync\s+0;", ptx)]
    assert len(places) == len(image.text.at_end)
    talk = KernelConversation(image, None, None)
    for start, end in places:
        talk.kernel = load(ptx[:start] + "membar.cta;" + ptx[end:])
        with pytest.raises(RunError, match="races"):
            talk.ask("31415926")


@compiles
def test_compare_has_a_row_of_instructions_and_one_absent() -> None:
    comparison = ac.compare(fixed_of("reverse"), ["ptx"], "31415926")
    assert comparison.agree
    assert "instructions" in str(comparison)


@compiles
def test_there_is_no_floating_point_and_no_local_memory() -> None:
    ptx = image_of("reverse").program.ptx
    assert not re.search(r"\.f(32|64)|\.local", ptx)
    assert "dp2a.lo.s32.s32" in ptx


def test_a_gpu_that_is_not_there_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARIES", ("libnothing.so.0",))
    with pytest.raises(Absent, match="no driver"):
        device.Device.open()


@pytest.mark.skipif(find_spec("numba_cuda") is not None, reason="Numba CUDA is installed")
def test_without_the_compiler_the_machine_is_absent() -> None:
    comparison = ac.compare(fixed_of("reverse"), ["ptx"], "31415926")
    assert comparison.agree
    assert comparison.runs[1].status == "absent"
    assert "pip install" in comparison.runs[1].note


def test_instructions_are_no_time() -> None:
    assert find_machine("ptx").time_ns(5) is None
    assert find_machine("ptx").unit == "instructions"


def test_shared_memory_holds_no_two_things_at_one_place() -> None:
    for room in (227 * 1024, 9_000, 5_000):
        text = write_kernel(fixed_of("reverse"), True)
        layout = Layout(fixed_of("reverse"), 4, room)
        layout.add(bytes(100))
        layout.add(bytes(range(100)))
        layout.finish()
        spans = sorted(
            (place.memory, place.offset, place.offset + place.n_bytes)
            for place in [*layout.values.values(), layout.scratch]
        )
        spans += [("sm", 0, layout.shared_constants)]
        for memory, start, end in spans:
            others = [s for s in spans if s != (memory, start, end) and s[0] == memory]
            assert all(end <= low or high <= start for _, low, high in others)
        assert layout.shared_bytes <= room
        assert len(layout.blob) == layout.global_bytes
        assert text.layout.shared_bytes <= 227 * 1024


def test_values_that_no_block_can_hold_are_one_line() -> None:
    with pytest.raises(ValueError, match="its values need"):
        Layout(fixed_of("reverse"), 4, 100)


SMALL = """\
model small
size dim = 12, seq_len = 10, vocab_size = 9, hidden_dim = 18
tokenizer characters("abcdefghi")
tok = embed(token, dim)
x = tok + embed(position, dim)
n = rms_norm(x)
a = attention(linear(n, dim), linear(n, dim), linear(n, dim), heads = 3, causal)
x = x + linear(a, dim)
n = rms_norm(x)
x = x + linear(relu(linear(n, hidden_dim, bias)), dim, bias)
logits = linear(rms_norm(x), vocab_size)
"""
