"""Kernels on other NVIDIA GPUs than the one they were tuned for: what they need, and what fits."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

import anachron.compiler as ac
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda import generations
from anachron.compiler.targets.cuda.batch.streams import build_batch, run_batch
from anachron.compiler.targets.cuda.generations import (
    GENERATIONS,
    HOPPER,
    NEEDS,
    TARGETS,
    Gpu,
    Pair,
    find_needs,
    port,
    state,
)
from anachron.compiler.targets.cuda.inspection import assemble, find_tool
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, write_kernel
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.compiler.targets.cuda.training import replicas
from anachron.compiler.targets.cuda.training.replicas import build_replicas
from anachron.emulators import ptx

assembles = pytest.mark.skipif(
    not find_tool("ptxas"),
    reason="NVIDIA's ptxas is not installed: pip install -e '.[cuda]'",
)
compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)
TURING = GENERATIONS[0]
REGISTERS = 65536  # of a multiprocessor, in all of them: CUDA C++ Programming Guide
FRAME = """
.version {version}
.target sm_{target}
.address_size 64
.visible .entry try(.param .u64 x)
{{
    .reg .b32 %r<9>; .reg .b64 %rd<9>; .shared .align 16 .b8 room[64];
    ld.param.u64 %rd1, [x]; mov.u32 %r1, %tid.x; mov.u32 %r2, 5; mov.u64 %rd2, room;
    {body}
    st.global.u32 [%rd1], %r1; ret;
}}
"""
TWO, FOUR = "{%r1, %r2}", "{%r1, %r2, %r3, %r4}"
EXAMPLES = (  # one a row of NEEDS
    "redux.sync.add.s32 %r1, %r2, -1;",
    "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
    f"{{%r3, %r4, %r5, %r6}}, {FOUR}, {TWO}, {FOUR};",
    f"mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {{%r3, %r4}}, {{%r1}}, {{%r2}}, {TWO};",
    "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%rd2];",
    "cvt.pack.sat.s16.s32 %r1, %r1, %r2;",
    "cp.async.ca.shared.global [%rd2], [%rd1], 16;",
    "mbarrier.init.shared.b64 [%rd2], 5;",
    "max.s16x2 %r1, %r1, %r2;",
    "min.relu.s32 %r1, %r1, %r2;",
    "cp.async.bulk.commit_group;",
    "barrier.cluster.arrive;",
)


def write(body: str, version: Pair = (9, 0), target: Pair = (9, 0)) -> str:
    parts = ("{}.{}".format(*version), "{}{}".format(*target))
    return FRAME.format(version=parts[0], target=parts[1], body=body)


def before(version: Pair) -> Pair:
    """The version of PTX before."""
    last = {7: (6, 5), 8: (7, 8), 9: (8, 8)}
    return (version[0], version[1] - 1) if version[1] else last[version[0]]


def test_there_is_an_example_of_every_need() -> None:
    rows = [next(p for p in NEEDS if re.search(rf"(?<![\w.]){p}", text)) for text in EXAMPLES]
    assert rows == list(NEEDS)


@assembles
@pytest.mark.parametrize("body", EXAMPLES)
def test_the_assembler_knows_the_same_needs(body: str) -> None:
    """It takes what is stated, and refuses every version and every target below."""
    version, target = find_needs(write(body))
    assemble(state(write(body)))
    olds = [t for t in TARGETS if t < target]
    if olds:
        with pytest.raises(ValueError, match="requires|mismatch|does not support"):
            assemble(write(body, (9, 0), olds[-1]))
    with pytest.raises(ValueError, match="requires|mismatch|does not support"):
        assemble(write(body, before(version), target))


@assembles
@pytest.mark.parametrize("target", TARGETS)
def test_the_assembler_knows_the_same_versions_of_targets(target: Pair) -> None:
    version = TARGETS[target]
    assemble(write("", version, target))
    with pytest.raises(ValueError, match="does not support"):
        assemble(write("", before(version), target))


def test_a_header_asks_for_no_more_than_is_needed() -> None:
    assert ".version 6.3\n.target sm_75\n" in state(write("add.s32 %r1, %r1, 1;"))
    assert ".version 7.0\n.target sm_80\n" in state(write(EXAMPLES[0]))
    assert ".version 8.0\n.target sm_90\n" in state(write("max.s16x2 %r1, %r1, %r2;"))
    assert ".version 7.0\n.target sm_80\n" in port(
        write("max.s16x2 %r1, %r1, %r2;" + EXAMPLES[0]), GENERATIONS[1]
    )


def test_what_no_older_gpu_can_do_is_told() -> None:
    with pytest.raises(Absent) as told:
        port(write("barrier.cluster.arrive;"), Gpu("NVIDIA A100", (8, 0), 0))
    assert str(told.value) == (
        "the GPU here is a NVIDIA A100 of compute capability 8.0: "
        "the kernels need 9.0, H200, or newer"
    )


def fits(text: str, gpu: Gpu, threads: int, shared: int) -> None:
    assert shared <= gpu.shared_bytes
    _, said = assemble(port(text, gpu), gpu.capability)
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in said
    found = re.search(r"Used (\d+) registers", said)
    assert found and int(found[1]) * threads <= REGISTERS


@assembles
@compiles
@pytest.mark.parametrize("gpu", GENERATIONS, ids=lambda gpu: gpu.name)
def test_kernels_fit_every_generation(gpu: Gpu) -> None:
    """A stream, an encoder, a batch: in registers and shared memory, and nothing spilled."""
    for name in ("chat", "reverse"):
        text = write_kernel(ac.quantize(ac.load(name)), False, room=gpu.shared_bytes)
        kernel = compile_kernel(text.source, text.threads, ARGUMENTS, alone=True)
        fits(kernel, gpu, text.threads, text.layout.shared_bytes)
    many = build_batch(ac.quantize(ac.load("chat")), gpu=gpu)
    fits(many.ptx, gpu, 32 * many.text.warps, many.text.shared_bytes(many.text.warps))


def test_training_fits_the_smaller_gpus_or_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "compile_kernel", lambda *_: "")
    texts = [build_replicas(ac.load("reverse"), 2, gpu=gpu).text for gpu in GENERATIONS]
    warps = [text.warps for text in texts]
    assert min(warps) >= 1 and max(warps) == warps[GENERATIONS.index(HOPPER)]
    for gpu, text in zip(GENERATIONS, texts, strict=True):
        assert text.shared_bytes(text.warps) <= gpu.shared_bytes
    small = Gpu("small", (7, 5), texts[0].shared_bytes(1) - 1)
    with pytest.raises(ValueError, match="bytes of shared memory beside .* a block has"):
        build_replicas(ac.load("reverse"), 2, gpu=small)


@compiles
def test_a_batch_written_for_an_older_gpu_is_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Turing does in place of sums over a warp and of wide products has the same result."""
    fixed = ac.quantize(ac.load("chat"))
    kernel = build_batch(fixed, gpu=TURING)
    old = port(kernel.ptx, TURING)
    assert "m8n8k16" in old and "m16n8k32" not in old and "redux" not in old
    object.__setattr__(kernel, "ptx", old)
    run = run_batch(kernel, ["hello"], n=3)
    assert run.generated[0] == ac.run_reference(fixed, "hello", 3).generated


@compiles
def test_a_stream_written_for_an_older_gpu_is_the_reference() -> None:
    fixed = ac.quantize(ac.load("chat"))
    image = ac.build(fixed, "ptx", logits=True)
    object.__setattr__(image.program, "ptx", port(image.program.ptx, TURING))
    assert "m8n8k16" in image.program.ptx
    assert image.run("hello", n=3).agrees(ac.run_reference(fixed, "hello", 3))


def test_the_kernels_that_are_counted_are_the_h200_s() -> None:
    assert HOPPER.shared_bytes == 227 * 1024 and HOPPER in GENERATIONS
    assert ptx.syntax.LARGEST_SHARED == HOPPER.shared_bytes
    assert [g.capability for g in GENERATIONS] == sorted(g.capability for g in GENERATIONS)
    assert generations.OLDEST == TURING.capability
