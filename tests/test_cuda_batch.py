"""Many streams in one kernel: every stream's tokens and logits are the reference's."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import random_prompt, random_text

import anachron.compiler as ac
from anachron.compiler.run import RunError, Sampling, run_reference
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.batch import lowering, streams, throughput
from anachron.compiler.targets.cuda.batch.kernel import SPARE, STREAMS, write_batch
from anachron.compiler.targets.cuda.batch.orders import find_orders
from anachron.compiler.targets.cuda.batch.streams import BatchKernel, build_batch, run_batch
from anachron.compiler.targets.cuda.device import Scratch
from anachron.compiler.targets.cuda.inspection import Inspection, inspect
from anachron.emulators.ptx import load
from anachron.kernels.cuda.batch.attention import divide
from anachron.kernels.cuda.batch.fragments import Heads, order_plain

compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)
MODELS = Path(__file__).parents[1] / ".." / "shared" / "models"
needs_soul = pytest.mark.skipif(
    not (MODELS / "soul.bin").exists(), reason="../shared/models/soul.bin is not here"
)
PROMPTS = ["hey", "i am sad", "", "who are you", "a", "no", "what is love", "bye", "hello", "why"]


@cache
def soul() -> ac.FixedModel:
    path = str(MODELS / "soul.bin")
    return ac.quantize(ac.load(path, tokenizer=str(MODELS / "soul_tokenizer.json")))


def load_text(folder: Path, text: str, activations: int = 16) -> ac.FixedModel:
    path = folder / "some.model"
    path.write_text(text)
    return ac.quantize(ac.load(str(path)), activations=activations)


def agree(
    kernel: BatchKernel,
    prompts: list[str],
    n: int | None = None,
    sampling: Sampling | None = None,
    schedule: int | None = None,
) -> streams.BatchRun:
    run = run_batch(kernel, prompts, n, sampling, schedule=schedule)
    for i, prompt in enumerate(prompts):
        one = sampling and Sampling(sampling.temperature, sampling.top_p, sampling.seed + i)
        reference = run_reference(kernel.fixed, prompt, n, one)
        assert run.generated[i] == reference.generated
        if run.logits is not None:
            assert np.array_equal(run.logits[i], reference.logits)
    return run


@compiles
@needs_soul
def test_soul_player_s_model_is_the_reference_in_every_stream() -> None:
    kernel = build_batch(soul(), logits=True)
    prompts = [PROMPTS[i * i % len(PROMPTS)] for i in range(STREAMS + 3)]
    run = agree(kernel, prompts)
    again = agree(kernel, prompts, schedule=7)
    assert run.counts == again.counts
    short = agree(kernel, PROMPTS[:5], n=2)
    assert [len(ids) for ids in short.generated] == [2] * 5
    assert short.tokens == 10


@compiles
@needs_soul
def test_soul_player_s_model_draws_as_the_reference() -> None:
    """Prompts of different lengths, more than a warp's, the last warp not full."""
    kernel = build_batch(soul(), sampled=True)
    prompts = [PROMPTS[3 * i % len(PROMPTS)] for i in range(STREAMS + 5)]
    for top_p in (1.0, 0.9):
        agree(kernel, prompts, n=5, sampling=Sampling(0.8, top_p, seed=3))


@compiles
@needs_soul
def test_the_bound_of_soul_player_s_shape_leaves_room_for_the_goal() -> None:
    kernel = build_batch(soul())
    run = run_batch(kernel, ["hey"] * STREAMS)
    bounds = throughput.find_bounds(kernel, run)
    assert bounds.tokens_per_second > 3 * 500e6
    assert kernel.ptx.count("mma.sync") == 160
    assert not re.search(r"\.f64|\.local", kernel.ptx)


@compiles
@pytest.mark.parametrize(
    ("family", "seed", "activations"),
    [("layer", 0, 16), ("llama", 5, 16), ("llama", 6, 8), ("rms", 1, 16)],
)
def test_random_models_are_the_reference(
    family: str, seed: int, activations: int, tmp_path: Path
) -> None:
    fixed = load_text(tmp_path, random_text(seed, (family,)), activations)
    prompts = [random_prompt(i, fixed.vocab_size, 1 + i % 3) for i in range(4)]
    agree(build_batch(fixed, logits=True), prompts)


@compiles
def test_wide_sums_and_far_memory_are_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is proven narrow, constants stay in global memory, scores too."""
    fixed = load_text(tmp_path, random_text(6, ("llama",)))
    monkeypatch.setattr(lowering, "is_narrow", lambda bound: False)
    text = write_batch(fixed, logits=True, room=512)
    assert text.shared_constants <= 512
    monkeypatch.setattr(
        streams, "write_batch", lambda f, **k: write_batch(f, room=1024, far=True, **k)
    )
    kernel = build_batch(fixed, logits=True)
    assert kernel.text.score_bytes == 0
    agree(kernel, [random_prompt(i, fixed.vocab_size, 2) for i in range(4)])


@compiles
@pytest.mark.parametrize(("family", "seed"), [("llama", 5), ("rms", 1)])
def test_rows_in_shared_memory_and_behind_it_are_the_reference(
    family: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as fit, at any size of it; streams of all lengths, more than a warp's."""
    fixed = load_text(tmp_path, random_text(seed, (family,)))
    whole = write_batch(fixed)
    rows = fixed.seq_len + fixed.seq_len % 2
    some = sum(row_bytes for row_bytes, _ in whole.kept) * rows * 2 // 5
    used = whole.shared_constants + SPARE + whole.warps * (whole.score_bytes + some)
    monkeypatch.setattr(
        streams, "write_batch", lambda f, **k: write_batch(f, room=1 << 14, **k | {"block": used})
    )
    kernel = build_batch(fixed, logits=True)
    assert any(0 < near < rows for _, near in kernel.text.kept)
    without = write_batch(fixed, far=True)
    assert 0 < kernel.text.far_bytes(rows) < without.far_bytes(rows)
    prompts = [random_prompt(i, fixed.vocab_size, 1 + i % (rows - 2)) for i in range(STREAMS + 5)]
    agree(kernel, prompts)


@compiles
def test_a_lane_that_reads_another_s_rows_is_found(tmp_path: Path) -> None:
    fixed = load_text(tmp_path, random_text(1, ("rms",)))
    kernel = build_batch(fixed)
    stores = [found for found in re.finditer(r"st\.global\.v\d\.\w32\s+\[(%rd\d+)", kernel.ptx)]
    assert stores  # rows of keys and values
    without = re.sub(r"bar\.sync\s+0;", "", kernel.ptx)
    launch = streams.prepare(kernel, ["a"] * 40, 2, Sampling(), 1, 3)
    shared = kernel.text.shared_bytes(3)
    result = load(without).launch(*launch.arguments, threads=96, shared=shared)
    assert result.races  # constants are read before other threads have copied them


def test_models_that_it_cannot_run_are_one_line() -> None:
    with pytest.raises(ValueError, match="maps a whole sequence"):
        write_batch(ac.quantize(ac.load("reverse")))


def test_two_orders_for_one_value_are_one_line(tmp_path: Path) -> None:
    text = """\
model two
size dim = 8, seq_len = 6, vocab_size = 5
tokenizer characters("abcde")
x = embed(token, dim)
a = attention(linear(x, dim), linear(x, dim), linear(x, dim), heads = 4, causal)
b = attention(linear(x, dim), linear(x, dim), linear(x, dim), heads = 2, causal)
logits = linear(a + b, vocab_size)
"""
    with pytest.raises(ValueError, match="two orders"):
        find_orders(load_text(tmp_path, text))


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("group", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [2, 4, 6, 8])
def test_a_head_lies_in_one_lane_with_the_keys_that_it_reads(
    heads: int, group: int, size: int
) -> None:
    if heads % group:
        return
    dealt = Heads(heads, heads // group, size)
    queries, keys = dealt.order_queries().array, dealt.order_keys().array
    seen = set()
    for place in range(4):
        mine = queries[:, 2 * place : 2 * place + 2].ravel()
        theirs = keys[:, 2 * place : 2 * place + 2].ravel()
        for i in range(dealt.each):
            head = mine[i * dealt.width :][: dealt.width]
            key = theirs[dealt.key_of(i) * dealt.width :][: dealt.width]
            if head[0] < 0:
                continue
            number = head[0] // size
            assert head[:size].tolist() == list(range(number * size, (number + 1) * size))
            first = number // group * size
            assert key[:size].tolist() == list(range(first, first + size))
            seen.add(number)
    assert seen == set(range(heads))


@pytest.mark.parametrize("size", [1, 7, 8, 255, 256, 257])
def test_every_feature_is_counted_once(size: int) -> None:
    order = order_plain(size)
    assert sorted(order.array[order.counted]) == list(range(size))


@given(st.integers(-(2**31), 2**31 - 1), st.integers(1, 2**23))
def test_the_quotient_by_a_reciprocal_is_floored(n: int, by: int) -> None:
    def wrap(x: int) -> int:
        return (x + 2**31) % 2**32 - 2**31

    scope = {
        "sar32": lambda a, b: a >> b,
        "xor32": lambda a, b: a ^ b,
        "mulhi32": lambda a, b: a * b >> 32,
        "mul32": lambda a, b: wrap(a * b),
        "sub32": lambda a, b: wrap(a - b),
        "add32": lambda a, b: wrap(a + b),
        "select_lt": lambda a, b, c, d: c if a < b else d,
        **{"x": n, "by": by, "whole": (2**32 - 1) // by},
    }
    exec("\n".join(divide("x", "by", "whole")), scope)
    assert scope["x"] == n // by


def test_a_stream_that_differs_is_a_defect(tmp_path: Path) -> None:
    fixed = load_text(tmp_path, random_text(1, ("rms",)))
    wanted = run_reference(fixed, "a", 2)
    wrong = (*wanted.generated[:-1], (wanted.generated[-1] + 1) % fixed.vocab_size)
    run = streams.BatchRun(fixed, (wanted.prompt_ids,), (wrong,), None, 2, 2, {})
    with pytest.raises(RunError, match="differs from the reference"):
        throughput.check(run, ["a"], 2, Sampling())


def inspect_or_skip(ptx: str) -> Inspection:
    try:
        return inspect(ptx)
    except Absent as reason:
        pytest.skip(str(reason))


@compiles
@pytest.mark.parametrize(
    ("name", "sampled"),
    [("chat", False), ("chat", True), ("gpt2", True), ("llama", True), ("count", True)],
)
def test_programs_keep_everything_in_registers(name: str, sampled: bool) -> None:
    kernel = build_batch(ac.quantize(ac.load(name)), sampled=sampled)
    assert inspect_or_skip(kernel.ptx).faults == ()


@compiles
@needs_soul
def test_the_machine_s_own_code_keeps_everything_in_registers() -> None:
    for sampled in (False, True):
        kernel = build_batch(soul(), sampled=sampled)
        found = inspect_or_skip(kernel.ptx)
        assert found.faults == ()
        assert found.count("IMMA") == 160
        assert found.registers <= 168


WIDE = """\
model wide
size dim = 64, seq_len = 32, vocab_size = 40, hidden = 172
tokenizer characters("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN")
x = embed(token, dim)
y = rms_norm(x)
q = rope(linear(y, dim), heads = 8)
k = rope(linear(y, 32), heads = 4)
x = x + linear(attention(q, k, linear(y, 32), heads = 8, kv_heads = 4, causal), dim)
y = rms_norm(x)
x = x + linear(silu(linear(y, hidden)) * linear(y, hidden), dim)
logits = linear(rms_norm(x), vocab_size)
"""


@compiles
def test_a_wide_model_has_fewer_warps_and_does_not_spill(tmp_path: Path) -> None:
    """The shape of stories260K, of one layer; with 20 warps, 96 registers each, it would spill."""
    fixed = load_text(tmp_path, WIDE)
    assert inspect_or_skip(build_batch(fixed, sampled=True).ptx).faults == ()
    kernel = build_batch(fixed)
    threads = re.search(r"\.maxntid (\d+)", kernel.ptx)
    assert threads and int(threads[1]) == kernel.text.warps * 32 == 256
    assert inspect_or_skip(kernel.ptx).faults == ()
    crowded = inspect(kernel.ptx.replace(threads[0], ".maxntid 640"))
    assert any("spilled" in fault for fault in crowded.faults)


class Stand:
    """In a GPU's place: two multiprocessors, interpreted."""

    multiprocessors = 2

    def launch(
        self, ptx: str, arguments: tuple, threads: int, shared: int, blocks: int
    ) -> int:
        held = [np.zeros(a.n_bytes, np.uint8) if isinstance(a, Scratch) else a for a in arguments]
        result = load(ptx).launch(*held, threads=threads, shared=shared, blocks=blocks)
        assert not result.races
        return 2_000_000


@compiles
def test_a_measurement_goes_through_more_streams_than_run_at_once(tmp_path: Path) -> None:
    fixed = load_text(tmp_path, random_text(1, ("rms",)))
    rows = throughput.measure(Stand(), build_batch(fixed), "a", streams=10 * STREAMS + 7)  # type: ignore[arg-type]
    assert [row["warps"] for row in rows] == [12, 6, 3]
    assert all(row["tokens_per_second"] > 10 * STREAMS / 2e-3 for row in rows)
