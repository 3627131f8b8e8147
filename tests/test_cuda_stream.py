"""Stream kernels: fast forms of the ops, equal to the reference, no barrier missing or too many."""

from __future__ import annotations

import json
import re
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.run import RunError, Sampling, run_reference
from anachron.compiler.targets.cuda import fused_heads, residence, stream_kernel
from anachron.compiler.targets.cuda.conversation import KernelConversation
from anachron.compiler.targets.cuda.hazards import Hazards
from anachron.compiler.targets.cuda.inspection import find_tool, inspect
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, write_kernel
from anachron.compiler.targets.cuda.residence import LATE, MUST, NEVER, Residence
from anachron.compiler.targets.cuda.summary import summarize
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.emulators.ptx import load
from anachron.kernels.cuda import head_shapes, tiles

compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)
assembles = pytest.mark.skipif(
    not (find_tool("ptxas") and find_tool("nvdisasm")),
    reason="NVIDIA's ptxas and nvdisasm are not installed: pip install -e '.[cuda]'",
)
MODELS = Path(__file__).parents[1] / ".." / "shared" / "models"
MOST_INSTRUCTIONS = 2500  # of all warps, a position of Soul Player's model
SOUL = """\
model soul_shaped
size dim = 32, seq_len = 12, vocab_size = 27, hidden_dim = 64, heads = 4
tokenizer characters("abcdefghijklmnopqrstuvwxyz ")
x = embed(token, dim) + embed(position, dim)
n = rms_norm(x)
a = attention(linear(n, dim), linear(n, dim), linear(n, dim), heads = heads, causal)
x = x + linear(a, dim)
n = rms_norm(x)
x = x + linear(relu(linear(n, hidden_dim, bias)), dim, bias)
logits = linear(rms_norm(x), vocab_size)
"""
LLAMA = """\
model llama_shaped
size dim = 40, seq_len = 70, vocab_size = 27, hidden_dim = 172, heads = 5, kv_heads = 1
tokenizer characters("abcdefghijklmnopqrstuvwxyz ")
x = embed(token, dim)
n = rms_norm(x)
q = rope(linear(n, dim), heads = heads)
k = rope(linear(n, 8), heads = kv_heads)
a = attention(q, k, linear(n, 8), heads = heads, kv_heads = kv_heads, causal)
x = x + linear(a, dim)
n = layer_norm(x)
x = x + linear(silu(linear(n, hidden_dim)) * linear(n, hidden_dim), dim)
logits = linear(rms_norm(x), vocab_size)
"""
TEXTS = {"soul": SOUL, "llama": LLAMA}


@cache
def fixed_of(name: str, activations: int = 16, **sizes: int) -> ac.FixedModel:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.model"
        path.write_text(TEXTS[name])
        return ac.quantize(ac.load(path, overrides=sizes or None), activations=activations)


@cache
def image_of(name: str, activations: int = 16) -> ac.Image:
    return ac.build(fixed_of(name, activations), "ptx", logits=True)


@compiles
@pytest.mark.parametrize("sampling", [None, Sampling(1.5, 0.8, 1), Sampling(0.7, 1.0, 2)])
@pytest.mark.parametrize("name, activations", [("soul", 16), ("llama", 16), ("soul", 8)])
def test_a_stream_is_the_reference(
    name: str, activations: int, sampling: Sampling | None
) -> None:
    fixed, image = fixed_of(name, activations), image_of(name, activations)
    assert "general" not in {call.variant for call in image.calls}
    n = None if sampling is None else 5
    reference = run_reference(fixed, "hey you", n, sampling)
    for schedule in (None, 5):
        run = KernelConversation(image, n, sampling, schedule).ask("hey you")
        assert run.agrees(reference) and run.logits is not None
    if n is None:
        assert len(run.tokens) == fixed.seq_len  # to the last position


@compiles
@pytest.mark.parametrize("name, always, at_end", [("soul", 2, 2), ("llama", 5, 6)])
def test_without_any_one_of_its_barriers_the_kernel_races(
    name: str, always: int, at_end: int
) -> None:
    """Of the block, and of warps, too."""
    image = image_of(name)
    ptx = image.program.ptx
    barriers = [found.span() for found in re.finditer(r"bar\.(warp\.)?sync\s+(0|-1);", ptx)]
    assert (len(image.text.always), len(image.text.at_end)) == (always, at_end)
    talk = KernelConversation(image, 2, None)
    for start, end in barriers:
        talk.kernel = load(ptx[:start] + "membar.cta;" + ptx[end:])
        with pytest.raises(RunError, match="races"):
            talk.ask("hey")


@compiles
def test_keys_fetched_ahead_from_far_memory_are_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To positions before, in and behind what is fetched ahead."""
    for module in (head_shapes, fused_heads):
        monkeypatch.setattr(module, "AHEAD", 32)
    for module in (residence, fused_heads):
        monkeypatch.setattr(module, "SHARED_CACHES", 0.0)
    # Nor is there room for constants in registers: they are packed, and loaded where chains wait.
    monkeypatch.setattr(stream_kernel, "WORKING", 220)
    fixed = fixed_of("llama")
    image = ac.build(fixed, "ptx", logits=True)
    assert "value00" in image.source and image.text.layout.spilled > 0
    assert "bundle" in image.source and "after" in image.source
    assert {call.variant for call in image.calls} >= {"mma, paired", "mma, collected", "heads"}
    reference = run_reference(fixed, "hey you")
    assert len(reference.tokens) == fixed.seq_len > 64
    for schedule in (None, 5):
        run = KernelConversation(image, None, None, schedule).ask("hey you")
        assert run.agrees(reference)
    ptx = image.program.ptx
    for found in re.finditer(r"bar\.sync\s+0;", ptx):
        talk = KernelConversation(image, 2, None)
        talk.kernel = load(ptx[: found.start()] + "membar.cta;" + ptx[found.end() :])
        with pytest.raises(RunError, match="races"):
            talk.ask("hey")


@compiles
@pytest.mark.parametrize("name, bits", [("llama", 16), ("soul", 8)])
def test_positions_far_behind_what_is_fetched_ahead_are_the_reference(
    name: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several steps beyond, of which the last is not full."""
    for module in (head_shapes, fused_heads):
        monkeypatch.setattr(module, "AHEAD", 32)
    for module in (residence, fused_heads):
        monkeypatch.setattr(module, "SHARED_CACHES", 0.0)
    fixed = fixed_of(name, bits, seq_len=100)
    image = ac.build(fixed, "ptx", logits=True)
    assert "own_score" in image.source
    reference = run_reference(fixed, "hey you")
    assert len(reference.tokens) == fixed.seq_len > 3 * 32
    for schedule in (None, 5):
        run = KernelConversation(image, None, None, schedule).ask("hey you")
        assert run.agrees(reference) and run.logits is not None


@compiles
def test_every_block_of_a_grid_says_the_same() -> None:
    fixed, image = fixed_of("soul"), image_of("soul")
    reference = run_reference(fixed, "hey", 4)
    text = image.text
    chosen = np.zeros((3, 5), np.int32)
    logits = np.zeros((3, 4, fixed.vocab_size), np.int32)
    clocks = np.zeros(1, np.int32)
    ids = np.array(reference.prompt_ids, np.int32)
    memory = np.frombuffer(text.layout.content(3), np.uint8).copy()
    result = load(image.program.ptx).launch(
        memory, ids, len(ids), 4, 0, 256, 1, 2, chosen, logits, clocks,
        threads=text.threads, blocks=3, shared=text.layout.shared_bytes,
    )  # fmt: skip
    assert not result.races
    assert chosen.tolist() == [[4, *reference.generated]] * 3
    assert (logits == reference.logits[None]).all()
    assert clocks[0] > 0


@compiles
def test_a_kernel_that_takes_its_own_time_says_the_same() -> None:
    fixed = fixed_of("soul")
    text = write_kernel(fixed, True, phases=True)
    reference = run_reference(fixed, "hey", 4)
    chosen, logits = np.zeros(5, np.int32), np.zeros((4, fixed.vocab_size), np.int32)
    clocks = np.zeros(1 + len(text.phases), np.int32)
    ids = np.array(reference.prompt_ids, np.int32)
    load(compile_kernel(text.source, text.threads, ARGUMENTS, alone=True)).launch(
        np.frombuffer(text.layout.blob, np.uint8).copy(), ids, len(ids), 4, 0, 256, 1, 1, chosen,
        logits, clocks, threads=text.threads, shared=text.layout.shared_bytes,
    )  # fmt: skip
    assert chosen.tolist() == [4, *reference.generated]
    assert 0 < clocks[1:].sum() <= clocks[0]
    assert (clocks[1:] > 0).all()


@compiles
@pytest.mark.skipif(not MODELS.exists(), reason="../shared/models is not here")
def test_soul_players_model_gives_its_own_integers_in_few_instructions() -> None:
    model = ac.load(MODELS / "soul.bin", tokenizer=MODELS / "soul_tokenizer.json")
    image = ac.build(ac.quantize(model), "ptx", logits=True)
    assert len(image.text.at_end) == 3  # barriers of the block a token
    for wanted in json.loads((MODELS / "soul_expected.json").read_text())[:2]:
        run = KernelConversation(image, None, None).ask(wanted["prompt"])
        ids = wanted["generated"]
        kept = [i for i in ids if i not in image.fixed.generation.stop]
        assert list(run.generated) == kept[: len(run.generated)] and len(run.generated) > 2
        assert run.logits is not None
        assert run.logits.tolist() == wanted["logits"][: len(run.logits)]
        assert run.total / len(run.counts) < MOST_INSTRUCTIONS
    if find_tool("ptxas") and find_tool("nvdisasm"):
        assert inspect(image.program.ptx).faults == ()


@compiles
@assembles
def test_a_kernel_in_one_row() -> None:
    row = summarize(fixed_of("soul"), "hey", 3)
    assert row["model"] == "soul_shaped"
    assert (row["threads"], row["barriers a token"], row["spilled"]) == ("128", "2", "0 B")
    assert int(row["on tensor cores"]) > 10
    assert 500 < int(row["instructions a position"].replace(",", "")) < MOST_INSTRUCTIONS


@compiles
@assembles
@pytest.mark.parametrize("name", ["soul", "llama"])
def test_a_stream_has_no_spills_no_local_memory_no_double_precision(name: str) -> None:
    image = image_of(name)
    seen = inspect(image.program.ptx)
    assert seen.faults == ()
    assert seen.count("IMMA") > 0
    assert image.text.resident > 0


def test_packed_tiles_multiply_as_the_tensor_cores_read_them() -> None:
    """The fragments of a tile, taken apart as the manual says, give the product."""
    random = np.random.default_rng(0)
    for rows, columns in ((16, 32), (24, 20), (40, 100), (5, 64)):
        weight = random.integers(-128, 128, (rows, columns)).astype(np.int8)
        x = random.integers(-(1 << 15), 1 << 15, columns)
        planes = np.zeros(tiles.plane_bytes(columns, 16), np.uint8)
        for feature in range(columns):
            at = tiles.plane_at(feature // 32, columns, 16) + feature % 32
            planes[at] = x[feature] >> 8 & 255
            planes[at + tiles.low_plane(columns)] = x[feature] & 255 ^ 128
        packed = tiles.pack_tiles(weight)
        bias = tiles.full_bias(weight, np.zeros(rows, np.int64), 16)
        got = np.zeros(len(packed) * 16, np.int64)
        for lane in range(32):
            group, place = lane // 4, lane % 4
            for r in range(len(packed)):
                for t in range(packed.shape[1]):
                    words = packed[r, t].reshape(32, 4, 4)[lane].astype(np.int64)
                    alone = packed.shape[1] == 1
                    at = 8 * place if alone else 128 * (t // 2) + 16 * place + 8 * (t % 2)
                    high = planes[at:][:8].view(np.int8).reshape(2, 4).astype(np.int64)
                    low = planes[at + tiles.low_plane(columns) :][:8].view(np.int8)
                    whole = 256 * high + low.reshape(2, 4)
                    got[16 * r + group] += (words[[0, 2]] * whole).sum()
                    got[16 * r + group + 8] += (words[[1, 3]] * whole).sum()
        assert (got[:rows] + bias == weight.astype(np.int64) @ x).all()


def test_what_is_read_oftest_is_shared_first() -> None:
    at = Residence(10, 4, room=1000)
    late = at.constant(bytes(range(200)), LATE)
    must = at.constant(bytes(500), MUST)
    never = at.constant(bytes(range(100, 150)), NEVER)
    again = at.constant(bytes(500), LATE)
    assert again == must
    buffer, cache = at.buffer(100), at.cache(300)
    at.finish()
    places = [(t.memory, t.offset) for t in at.things]
    assert places[must][0] == "sm" and places[late][0] == places[never][0] == "gm"
    assert at.things[cache].memory == "sm"
    assert at.shared_bytes <= 1000
    spans = sorted((t.memory, t.offset, t.offset + t.size) for t in at.things)
    for (memory, _, end), (other, start, _) in zip(spans, spans[1:], strict=False):
        assert memory != other or end <= start
    assert at.resolve(f"@M{buffer}@ @A{buffer}@") == f"sm {at.things[buffer].offset}"
    with pytest.raises(ValueError, match="its buffers need 2,000 bytes"):
        small = Residence(10, 4, room=1000)
        small.buffer(2000)
        small.finish()


def test_caches_that_are_too_large_are_in_global_memory_one_a_block() -> None:
    at = Residence(10, 4, room=1000)
    cache = at.cache(600)
    at.finish()
    assert at.things[cache].memory == "gm"
    assert at.resolve(f"@A{cache}@") == "add32(0, spilled)"
    assert len(at.content(3)) == 3 * at.spilled


def test_a_barrier_stands_where_one_is_needed() -> None:
    hazards = Hazards()
    assert hazards.to_write("x") == ""
    assert hazards.to_write("mine", own=True) == ""
    assert hazards.to_read("mine", own=True) == "warp"
    assert hazards.to_read("x") == "block"
    assert hazards.to_read("x") == ""
    assert hazards.to_write("x") == "block"  # others may still be reading
    assert hazards.to_read("mine", own=True) == ""  # a block's barrier is one for its warps
