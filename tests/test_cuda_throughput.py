"""What bounds a kernel for many streams: traffic of memory, machine code, pipes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from random_models import random_text
from test_cuda_batch import compiles, load_text, needs_soul, soul

from anachron.compiler.targets.cuda.batch import pipes
from anachron.compiler.targets.cuda.batch.machine_code import find_pass, read_machine_code
from anachron.compiler.targets.cuda.batch.streams import STREAMS, build_batch, run_batch
from anachron.compiler.targets.cuda.inspection import find_tool
from anachron.emulators.ptx import load
from anachron.emulators.ptx.memory import GLOBAL_BASE
from anachron.emulators.ptx.traffic import Traffic

assembles = pytest.mark.skipif(
    not (find_tool("ptxas") and find_tool("nvdisasm")),
    reason="NVIDIA's ptxas and nvdisasm are not installed: pip install -e '.[cuda]'",
)
LANES = np.arange(32)
ISSUED_ONLY = {"BRA", "BSYNC", "BSSY", "NOP", "EXIT", "LDC", "ULDC", "S2R", "S2UR", "CS2R", "BAR",
               "WARPSYNC", "ENDCOLLECTIVE", "LDS", "LDG", "STS", "STG", "BREAK"}  # or by its bytes


@pytest.mark.parametrize(
    ("address", "size", "wavefronts", "conflicts"),
    [
        (LANES * 4, 4, 1, 0),
        (LANES * 0, 4, 1, 0),  # one word for all
        (LANES * 8, 4, 2, 1),
        (LANES * 128, 4, 32, 31),
        (LANES // 2, 1, 1, 0),
        (LANES * 8, 8, 2, 0),
        (LANES % 4 * 8, 8, 2, 0),
        (LANES * 16, 16, 4, 0),
        (LANES * 32, 16, 8, 4),
    ],
)
def test_wavefronts_of_shared_memory(
    address: np.ndarray, size: int, wavefronts: int, conflicts: int
) -> None:
    traffic = Traffic()
    traffic(address, size, LANES, "ld.shared")
    assert (traffic.wavefronts, traffic.conflicts) == (wavefronts, conflicts)
    both = Traffic()  # two warps do not wait for each other's banks
    both(np.tile(address, 2), size, np.arange(64), "ld.shared")
    assert (both.wavefronts, both.conflicts) == (2 * wavefronts, 2 * conflicts)


def test_sectors_of_global_memory() -> None:
    traffic = Traffic()
    traffic(GLOBAL_BASE + LANES * 4 + 4096, 4, LANES, "line 3: ld.global.u32 x")
    traffic(GLOBAL_BASE + LANES * 32, 4, LANES, "line 4: st.global.u32 x")
    traffic(GLOBAL_BASE + LANES * 16, 16, LANES, "line 5: ld.global.v4.u32 x")
    assert traffic.sectors == {"read": 4 + 16, "written": 32}


LOOP = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry try(.param .u64 x, .param .u32 n)
{
    .reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %rd<9>;
    .shared .align 4 .b8 room[8192];
    ld.param.u64 %rd1, [x];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %tid.x;
    shl.b32 %r3, %r2, 3;
    mov.u32 %r4, room;
    add.s32 %r3, %r3, %r4;
    st.shared.u32 [%r3], %r2;
    mov.u32 %r5, 1;
again:
    .pragma "nounroll";
    ld.volatile.shared.u32 %r6, [%r3];
    mad.lo.s32 %r5, %r5, %r6, 12345;
    shfl.sync.bfly.b32 %r5, %r5, 1, 31, -1;
    redux.sync.max.s32 %r7, %r5, -1;
    sub.s32 %r1, %r1, 1;
    setp.gt.s32 %p1, %r1, 0;
    @%p1 bra again;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd1, %rd1, %rd2;
    st.global.u32 [%rd1], %r7;
    ret;
}
"""


@assembles
def test_machine_code_is_issued_as_often_as_its_lines() -> None:
    rounds, traffic = 7, Traffic()
    kernel = load(LOOP)
    words = np.zeros(64, np.int32)
    result = kernel.launch(words, rounds, threads=64, watch=traffic)
    issued: Counter[int] = Counter()
    for instruction, times in zip(kernel.program.instructions, result.issued, strict=True):
        issued[instruction.line] += times
    code = read_machine_code(LOOP, issued)
    counts = Counter({name.split(".")[0]: 0 for name in code.count()})
    for name, times in code.count().items():
        counts[name.split(".")[0]] += times
    warps = 2
    assert counts["SHFL"] == counts["LDS"] == counts["REDUX"] == rounds * warps
    assert counts["STS"] == counts["STG"] == warps
    assert traffic.wavefronts == 2 * (1 + rounds) * warps  # every other bank
    assert traffic.conflicts == (1 + rounds) * warps
    assert traffic.sectors["written"] == 8
    clocks = pipes.count_pipes(code)
    assert clocks["issue"] == sum(counts.values()) / 4
    assert clocks["shared memory"] == rounds * warps * (1 + 2)
    path = [code.instructions[n].kind for n, _ in find_pass(code)]
    assert path.count("SHFL") == path.count("LDS") == 1


@compiles
@assembles
@needs_soul
def test_what_bounds_soul_player_s_shape_leaves_room_for_the_goal() -> None:
    kernel = build_batch(soul())
    run = run_batch(kernel, ["hey"] * STREAMS, traffic=Traffic())
    found = pipes.find_throughput(kernel, run)
    assert found.positions_per_second > 3 * 500e6
    lo, expected, hi = found.latency
    assert lo <= expected <= hi < 4 * found.clocks["issue"]
    assert found.conflicts == 0
    code = read_machine_code(kernel.ptx, run.issued)
    kinds = {name.split(".")[0] for name in code.count()}
    assert {k for k in kinds - set(pipes.PIPE_OF) - ISSUED_ONLY if k[0] != "U"} == set()
    counted = sum(n for name, n in code.count().items() if name.startswith("IMMA"))
    assert counted == sum(n for name, n in run.counts.items() if name.startswith("mma"))
    assert found.instructions == pytest.approx(4 * found.clocks["issue"])
    again = run_batch(kernel, ["hey"] * STREAMS, schedule=3, traffic=(traffic := Traffic()))
    assert again.issued == run.issued
    assert run.traffic and traffic.wavefronts == run.traffic.wavefronts


@compiles
@assembles
def test_more_of_the_same_streams_cost_the_same(tmp_path) -> None:  # type: ignore[no-untyped-def]
    kernel = build_batch(load_text(tmp_path, random_text(1, ("rms",))))
    found = []
    for tiles in (2, 4):
        run = run_batch(kernel, ["a"] * STREAMS * tiles, traffic=Traffic())
        found.append(pipes.find_throughput(kernel, run))
    assert found[0].clocks["tensor cores"] == found[1].clocks["tensor cores"]
    assert found[1].instructions == pytest.approx(found[0].instructions, rel=0.05)
    assert found[0].latency == found[1].latency


def test_a_run_that_counted_nothing_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from anachron.compiler.targets.cuda.batch.streams import BatchRun

    run = BatchRun(None, (), (), None, 0, 0, {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not counted"):
        pipes.find_throughput(None, run)  # type: ignore[arg-type]
