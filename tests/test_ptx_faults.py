"""What a kernel must not do, and the interpreter notices: where it is said, and that it ends."""

from __future__ import annotations

import numpy as np
import pytest

from anachron.emulators.ptx import PtxError, Result, load

FRAME = """
.shared .align 16 .b8 near[1040];
.entry try(.param .u64 x, .param .u64 y) {{
    .reg .pred %p<4>; .reg .b32 %r<16>; .reg .b64 %rd<16>; .reg .f32 %f<4>;
    ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y];
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, near;
    shl.b32 %r4, %r1, 4; add.s32 %r5, %r3, %r4; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd2, %rd3;
    {body}
    ret;
}}"""
LINE = 8  # of the body


def launch(body: str, threads: int = 64, blocks: int = 1, seed: int | None = None) -> Result:
    x, y = np.arange(64, dtype=np.int32), np.zeros(64, np.int32)
    kernel = load(FRAME.format(body=body))
    return kernel.launch(x, y, threads=threads, blocks=blocks, seed=seed, most=100_000)


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize(
    "body, complaint",
    [
        ("ld.shared.v4.u32 {%r6, %r7, %r8, %r9}, [%r5+8];", "address is not a multiple of 16"),
        ("ld.shared.v2.u32 {%r6, %r7}, [%r5+4];", "shared address is not a multiple of 8"),
        ("st.shared.u16 [%r5+1], %r1;", "shared address is not a multiple of 2"),
        ("ld.global.v4.u32 {%r6, %r7, %r8, %r9}, [%rd1+4];", "global address is not a multiple"),
        ("ld.shared.u32 %r6, [%r5+1040];", "shared address [0-9]+ is outside"),
        ("st.shared.u32 [%r5+-4], %r1;", "shared address -4 is outside"),
        ("st.global.u32 [%rd4+128], %r1;", "global address [0-9]+ is outside every array"),
        ("ld.global.u32 %r6, [0];", "global address 0 is outside every array"),
        # Half a warp, and one of two warps, never come; and one that goes round for ever.
        ("setp.lt.u32 %p1, %r1, 16; @%p1 bra over; bar.warp.sync -1; over:", "diverged"),
        ("setp.lt.u32 %p1, %r1, 32; @%p1 bra over; bar.sync 0; over:", "ends while others wait"),
        ("setp.lt.u32 %p1, %r1, 32; @%p1 ret; bar.sync 0;", "ends while others wait"),
        ("setp.lt.u32 %p1, %r1, 32; again: @%p1 bra again; bar.sync 0;", "not done after 100,000"),
        ("bar.sync 0; setp.eq.u32 %p1, %r1, 40; again: @%p1 bra again;", "not done after 100,000"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_says_where(body: str, complaint: str, seed: int | None) -> None:
    with pytest.raises(PtxError, match=complaint) as caught:
        launch(body, seed=seed)
    assert "\n" not in str(caught.value)
    if "address" in complaint or "diverged" in complaint:
        assert str(caught.value).startswith(f"line {LINE}: ")


@pytest.mark.parametrize("mask", ["0xffff", "255", "%r1", "0"])
def test_a_barrier_of_part_of_a_warp_is_refused_when_loaded(mask: str) -> None:
    with pytest.raises(PtxError, match=f"line {LINE}: bar.warp.sync {mask}: only barrier 0 of all"):
        load(FRAME.format(body=f"bar.warp.sync {mask};"))


def test_a_load_of_what_nobody_stored_is_noted() -> None:
    half = "setp.lt.u32 %p1, %r1, 32; @%p1 st.shared.u32 [%r5], %r1; bar.sync 0;"
    assert launch(half + "@%p1 ld.shared.u32 %r6, [%r5];").unset == ()
    result = launch(half + "ld.shared.u32 %r6, [%r5];")
    assert [str(read) for read in result.unset] == [
        f"shared byte 512: thread 32 races at line {LINE}: ld.shared.u32 %r6, [%r5]"
    ]
    assert result.races == ()
    result = launch(half + "@%p1 ld.shared.v2.u32 {%r6, %r7}, [%r5];")
    assert result.unset[0].address == 4


@pytest.mark.parametrize(
    "body", ["ld.shared.u32 %r6, [%r5];", "", "add.s32 %r6, %r6, 1;", "mov.b64 {%r6, %r7}, %rd9;"]
)
def test_what_nobody_set_differs_from_run_to_run(body: str) -> None:
    """So a kernel whose integers depend on it does not give the same under every seed."""
    kernel = load(FRAME.format(body=body + "st.global.u32 [%rd4], %r6;"))
    seen = set()
    for seed in range(3):
        y = np.zeros(64, np.int32)
        kernel.launch(np.zeros(1, np.int32), y, threads=64, seed=seed)
        seen.add(tuple(y.tolist()))
    assert len(seen) == 3


@pytest.mark.parametrize(
    "body, raced",
    [
        ("st.global.u32 [%rd4], %r1;", True),  # the same number, but two blocks
        ("ld.global.u32 %r6, [%rd4];", False),
        ("setp.eq.u32 %p1, %r2, 0; @%p1 st.global.u32 [%rd4], %r1;", False),
        ("setp.eq.u32 %p1, %r2, 0; @%p1 st.global.u32 [%rd4], %r1;"
         "@!%p1 ld.global.u32 %r6, [%rd4];", True),
        ("setp.eq.u32 %p1, %r2, 0; @!%p1 st.global.u32 [%rd4], %r1;"
         "@%p1 ld.global.u32 %r6, [%rd4];", True),
        ("mad.wide.u32 %rd4, %r2, 128, %rd4; st.global.u32 [%rd4], %r1;", False),
    ],
)  # fmt: skip
def test_nothing_orders_two_blocks(body: str, raced: bool) -> None:
    races = launch(body, threads=32, blocks=2).races
    assert bool(races) == raced
    assert not launch(body, threads=32).races
    if raced:
        assert str(races[0]) == "global byte 512: thread 0 races at block 1, after another"


def test_a_stretch_without_a_branch_ends_at_the_limit_too() -> None:
    body = "add.s32 %r6, %r6, 1;\n" * 2000 + "setp.eq.u32 %p1, %r1, %r1; @%p1 bra again;"
    with pytest.raises(PtxError, match="not done after 100,000 instructions"):
        launch("again:\n" + body)
