"""The PTX interpreter: opcodes against Python's integers, warps, barriers, bounds, and races."""

from __future__ import annotations

from collections.abc import Iterable
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anachron.emulators.ptx import PtxError, load

THREADS = 64

# Each thread loads three words, does `body` on %r1, %r2, %r3 and stores %r4 (or %rd4).
FRAME = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry try(.param .u64 x, .param .u64 y)
.maxntid 64, 1, 1
{{
    .reg .pred %p<4>;  .reg .b16 %rs<8>;  .reg .b32 %r<16>;  .reg .b64 %rd<16>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    cvta.to.global.u64 %rd1, %rd1;   // a comment
    cvta.to.global.u64 %rd2, %rd2;
    mov.u32 %r9, %tid.x;
    mul.wide.u32 %rd3, %r9, 16;
    add.s64 %rd5, %rd1, %rd3;
    ld.global.v4.u32 {{%r1, %r2, %r3, %r5}}, [%rd5];
    mul.wide.u32 %rd6, %r9, 8;
    add.s64 %rd7, %rd2, %rd6;
    {body}
    st.global.u64 [%rd7], %rd4;
    ret;
}}
"""

EXTREMES = [0, 1, -1, 2, 7, -7, 255, -256, 32767, -32768, 2**31 - 1, -(2**31), 2**30, 12345678]


def operands(seed: int = 0) -> np.ndarray:
    """(threads, 4) words: extremes first, in all pairs of a few, then any."""
    random = np.random.default_rng(seed)
    words = random.integers(-(2**31), 2**31, (THREADS, 4))
    pairs = [(a, b) for a in EXTREMES[::2] for b in EXTREMES[1::2]]
    words[: len(pairs), :2] = pairs
    return words.astype(np.int32)


def evaluate(body: str, words: np.ndarray, wide: bool = False) -> np.ndarray:
    """What `body` leaves in %r4 (signed), or in %rd4."""
    if not wide:
        body += "\n    cvt.s64.s32 %rd4, %r4;"
    y = np.zeros(THREADS, np.int64)
    result = load(FRAME.format(body=body)).launch(words, y, threads=THREADS)
    assert not result.races
    return y


def wrap(value: int, bits: int = 32) -> int:
    half = 1 << bits - 1
    return (value + half) % (2 * half) - half


def toward_zero(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def halves(x: int) -> list[int]:
    return [wrap(x, 16), wrap(x >> 16, 16)]


def join(parts: Iterable[int]) -> int:
    low, high = parts
    return high << 16 | low & 0xFFFF


def clip16(x: int) -> int:
    return max(-32768, min(32767, x))


def signed_bytes(x: int) -> list[int]:
    return [wrap(x >> 8 * i, 8) for i in range(4)]


def unsigned_bytes(x: int) -> list[int]:
    return [x >> 8 * i & 255 for i in range(4)]


def dot(x: list[int], y: list[int]) -> int:
    return sum(a * b for a, b in zip(x, y, strict=True))


U = 0xFFFFFFFF
MEANINGS = {
    "add.s32 %r4, %r1, %r2;": lambda a, b, c: a + b,
    "sub.s32 %r4, %r1, %r2;": lambda a, b, c: a - b,
    "mul.lo.s32 %r4, %r1, %r2;": lambda a, b, c: a * b,
    "mul.hi.s32 %r4, %r1, %r2;": lambda a, b, c: a * b >> 32,
    "mul.hi.u32 %r4, %r1, %r2;": lambda a, b, c: (a & U) * (b & U) >> 32,
    "mad.lo.s32 %r4, %r1, %r2, %r3;": lambda a, b, c: a * b + c,
    "min.s32 %r4, %r1, %r2;": lambda a, b, c: min(a, b),
    "max.u32 %r4, %r1, %r2;": lambda a, b, c: max(a & U, b & U),
    "and.b32 %r4, %r1, %r2;": lambda a, b, c: a & b,
    "xor.b32 %r4, %r1, -5;": lambda a, b, c: a ^ -5,
    "not.b32 %r4, %r1;": lambda a, b, c: ~a,
    "neg.s32 %r4, %r1;": lambda a, b, c: -a,
    "shl.b32 %r4, %r1, 5;": lambda a, b, c: a << 5,
    "shl.b32 %r4, %r1, 32;": lambda a, b, c: 0,
    "shr.s32 %r4, %r1, 9;": lambda a, b, c: a >> 9,
    "shr.s32 %r4, %r1, 77;": lambda a, b, c: a >> 31,
    "shr.u32 %r4, %r1, 9;": lambda a, b, c: (a & U) >> 9,
    "bfe.s32 %r4, %r1, 4, 7;": lambda a, b, c: wrap(a >> 4, 7),
    "bfe.u32 %r4, %r1, 4, 7;": lambda a, b, c: a >> 4 & 127,
    "bfi.b32 %r4, %r1, %r2, 8, 4;": lambda a, b, c: b & ~0xF00 | (a & 15) << 8,
    "prmt.b32 %r4, %r1, %r2, 0x7054;": lambda a, b, c: int.from_bytes(
        [(b & 255), (b >> 8 & 255), (a & 255), (b >> 24 & 255)], "little"
    ),
    "lop3.b32 %r4, %r1, %r2, %r3, 0xE8;": lambda a, b, c: a & b | a & c | b & c,
    "shf.l.wrap.b32 %r4, %r1, %r2, 12;": lambda a, b, c: ((b & U) << 32 | (a & U)) << 12 >> 32,
    "popc.b32 %r4, %r1;": lambda a, b, c: (a & U).bit_count(),
    "clz.b32 %r4, %r1;": lambda a, b, c: 32 - (a & U).bit_length(),
    "dp4a.s32.s32 %r4, %r1, %r2, %r3;": lambda a, b, c: c + dot(signed_bytes(a), signed_bytes(b)),
    "dp4a.s32.u32 %r4, %r1, %r2, %r3;": lambda a, b, c: c + dot(signed_bytes(a), unsigned_bytes(b)),
    "dp2a.lo.s32.s32 %r4, %r1, %r2, %r3;": lambda a, b, c: c + dot(halves(a), signed_bytes(b)[:2]),
    "dp2a.hi.s32.u32 %r4, %r1, %r2, %r3;": lambda a, b, c: (
        c + dot(halves(a), unsigned_bytes(b)[2:])
    ),
    "cvt.s32.s8 %r4, %r1;": lambda a, b, c: wrap(a, 8),
    "cvt.u32.u16 %r4, %r1;": lambda a, b, c: a & 0xFFFF,
    "cvt.sat.s16.s32 %rs1, %r1; cvt.s32.s16 %r4, %rs1;": lambda a, b, c: max(-32768, min(32767, a)),
    "setp.lt.s32 %p1, %r1, %r2; selp.b32 %r4, %r1, %r3, %p1;": lambda a, b, c: a if a < b else c,
    "setp.lt.u32 %p1, %r1, %r2; selp.b32 %r4, 1, 0, %p1;": lambda a, b, c: (a & U) < (b & U),
    "setp.gt.s32 %p1, %r1, 0; setp.eq.and.s32 %p2, %r1, %r1, %p1; selp.b32 %r4, 1, 0, %p2;": (
        lambda a, b, c: a > 0
    ),
    "mov.u32 %r4, %r3; setp.ne.s32 %p1, %r1, 0; @!%p1 mov.u32 %r4, 5;": lambda a, b, c: (
        c if a else 5
    ),
    "mov.b64 %rd8, {%r1, %r2}; mov.b64 {%r6, %r4}, %rd8;": lambda a, b, c: b,
    "cvt.pack.sat.s16.s32 %r4, %r1, %r2;": lambda a, b, c: clip16(a) << 16 | clip16(b) & 0xFFFF,
    "max.s16x2 %r4, %r1, %r2;": lambda a, b, c: join(map(max, halves(a), halves(b))),
    "min.s16x2 %r4, %r1, 0;": lambda a, b, c: join(min(x, 0) for x in halves(a)),
    "add.u16x2 %r4, %r1, %r2;": lambda a, b, c: join(map(add, halves(a), halves(b))),
    "{ .reg .s16 t; cvt.s16.s32 t, %r1; cvt.s32.s16 %r4, t; }": lambda a, b, c: wrap(a, 16),
}
WIDE_MEANINGS = {
    "mul.wide.s32 %rd4, %r1, %r2;": lambda a, b, c: a * b,
    "mul.wide.u32 %rd4, %r1, %r2;": lambda a, b, c: (a & U) * (b & U),
    "cvt.s64.s32 %rd8, %r3; mad.wide.s32 %rd4, %r1, %r2, %rd8;": lambda a, b, c: a * b + c,
    "mov.b64 %rd8, {%r1, %r2}; mov.b64 %rd9, {%r3, %r1}; mul.hi.s64 %rd4, %rd8, %rd9;": (
        lambda a, b, c: (b << 32 | a & U) * (a << 32 | c & U) >> 64
    ),
    "mov.b64 %rd8, {%r1, %r2}; mov.b64 %rd9, {%r3, %r1}; mul.hi.u64 %rd4, %rd8, %rd9;": (
        lambda a, b, c: ((b & U) << 32 | a & U) * ((a & U) << 32 | c & U) >> 64
    ),
    "mov.b64 %rd8, {%r1, %r2}; shr.s64 %rd4, %rd8, 33;": lambda a, b, c: b >> 1,
}


@pytest.mark.parametrize("body", MEANINGS)
def test_opcode_is_what_python_says(body: str) -> None:
    words = operands()
    got = evaluate(body, words)
    wanted = [wrap(int(MEANINGS[body](a, b, c))) for a, b, c, _ in words.tolist()]
    assert got.tolist() == wanted


@pytest.mark.parametrize("body", WIDE_MEANINGS)
def test_wide_opcode_is_what_python_says(body: str) -> None:
    words = operands()
    got = evaluate(body, words, wide=True)
    wanted = [wrap(int(WIDE_MEANINGS[body](a, b, c)), 64) for a, b, c, _ in words.tolist()]
    assert got.tolist() == wanted


@given(st.integers(0, 2**31))
def test_division_is_toward_zero(seed: int) -> None:
    words = operands(seed)
    words[:, 1] |= 1
    rows = words.tolist()
    got = evaluate("div.s32 %r4, %r1, %r2;", words)
    assert got.tolist() == [wrap(toward_zero(a, b)) for a, b, *_ in rows]
    got = evaluate("rem.s32 %r4, %r1, %r2;", words)
    assert got.tolist() == [wrap(a - toward_zero(a, b) * b) for a, b, *_ in rows]
    got = evaluate("div.u32 %r4, %r1, %r2;", words)
    assert got.tolist() == [wrap((a & U) // (b & U)) for a, b, *_ in rows]


def test_redux_and_votes_see_one_warp() -> None:
    words = operands()
    warps = words[:, 0].reshape(2, 32).astype(np.int64)
    got = evaluate("redux.sync.max.s32 %r4, %r1, 0xffffffff;", words)
    assert got.tolist() == np.repeat(warps.max(1), 32).tolist()
    got = evaluate("redux.sync.add.s32 %r4, %r1, -1;", words)
    assert got.tolist() == np.repeat([wrap(int(s)) for s in warps.sum(1)], 32).tolist()
    got = evaluate("setp.lt.s32 %p1, %r1, 0; vote.sync.ballot.b32 %r4, %p1, -1;", words)
    ballots = [sum(1 << i for i in range(32) if warp[i] < 0) for warp in warps.tolist()]
    assert got.tolist() == np.repeat([wrap(b) for b in ballots], 32).tolist()


@pytest.mark.parametrize(
    "mode, amount, clamp, source",
    [
        ("bfly", 8, 31, lambda lane: lane ^ 8),
        ("down", 5, 31, lambda lane: lane + 5 if lane < 27 else lane),
        ("up", 1, 0, lambda lane: lane - 1 if lane else lane),
        ("idx", 3, 31, lambda lane: 3),
        ("idx", 3, 0x181F, lambda lane: lane & 24 | 3),
    ],
)
def test_shuffles_take_another_lanes_number(mode, amount, clamp, source) -> None:
    words = operands()
    got = evaluate(f"shfl.sync.{mode}.b32 %r4, %r1, {amount}, {clamp}, -1;", words)
    wanted = [int(words[t & 32 | source(t & 31), 0]) for t in range(THREADS)]
    assert got.tolist() == wanted


@pytest.mark.parametrize("kind", ["s8", "u8"])
def test_matrix_product_of_fragments_is_the_matrix_product(kind: str) -> None:
    random = np.random.default_rng(3)
    low, high = (-128, 128) if kind == "s8" else (0, 256)
    a = random.integers(low, high, (16, 32))
    b = random.integers(-128, 128, (32, 8))
    fragments = np.zeros((THREADS, 6, 4), np.uint8)
    for lane in range(32):
        group, place = lane // 4, lane % 4
        for i in range(4):
            row, column = group + 8 * (i % 2), 4 * place + 16 * (i // 2)
            fragments[lane, i] = a[row, column : column + 4] & 255
        for i in range(2):
            first = 4 * place + 16 * i
            fragments[lane, 4 + i] = b[first : first + 4, group] & 255
    fragments[32:] = fragments[:32]
    text = f"""
.entry try(.param .u64 x, .param .u64 y) {{
    .reg .b32 %r<32>; .reg .b64 %rd<9>;
    ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; mov.u32 %r20, %tid.x;
    mul.wide.u32 %rd3, %r20, 24; add.s64 %rd3, %rd3, %rd1;
    ld.global.v2.b32 {{%r0, %r1}}, [%rd3]; ld.global.v2.b32 {{%r2, %r3}}, [%rd3+8];
    ld.global.v2.b32 {{%r4, %r5}}, [%rd3+16];
    mov.u32 %r10, 7;
    mma.sync.aligned.m16n8k32.row.col.s32.{kind}.s8.s32 {{%r6, %r7, %r8, %r9}},
        {{%r0, %r1, %r2, %r3}}, {{%r4, %r5}}, {{%r10, %r10, %r10, %r10}};
    mul.wide.u32 %rd4, %r20, 16; add.s64 %rd4, %rd4, %rd2;
    st.global.v4.b32 [%rd4], {{%r6, %r7, %r8, %r9}};
    ret;
}}"""
    y = np.zeros((THREADS, 4), np.int32)
    load(text).launch(fragments, y, threads=THREADS)
    wanted = a @ b + 7
    for lane in range(32):
        group, place = lane // 4, lane % 4
        rows, column = (group, group + 8), 2 * place
        assert y[lane].tolist() == wanted[rows, column : column + 2].ravel().tolist()
        assert (y[lane] == y[lane + 32]).all()


# ---- warps, barriers, races

REVERSE = """
.extern .shared .align 16 .b8 words[];
.entry reverse(.param .u64 x, .param .u32 n) {
    .reg .pred %p<2>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
    ld.param.u64 %rd1, [x];
    ld.param.u32 %r8, [n];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.u32 %r2, [%rd3];
    shl.b32 %r3, %r1, 2;
    mov.u32 %r4, words;
    add.s32 %r5, %r4, %r3;
    st.shared.u32 [%r5], %r2;
    bar.sync 0;
    xor.b32 %r6, %r3, %r8;
    add.s32 %r7, %r4, %r6;
    ld.shared.u32 %r2, [%r7];
    st.global.u32 [%rd3], %r2;
    ret;
}"""


def reverse(text: str, flip: int, seed: int | None = None):
    x = np.arange(128, dtype=np.int32)
    result = load(text).launch(x, 4 * flip, threads=128, shared=512, seed=seed)
    return x, result


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_every_schedule_gives_the_same_integers_and_counts(seed: int | None) -> None:
    x, result = reverse(REVERSE, 127, seed)
    assert x.tolist() == list(range(127, -1, -1))
    assert result.races == ()
    assert result.instructions == 4 * 16
    assert result.counts["bar.sync"] == 4
    assert result.intervals == (4 * 11, 4 * 5)
    assert result.threads == 128 * 16


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_a_missing_barrier_between_warps_is_a_race(seed: int | None) -> None:
    _, result = reverse(REVERSE.replace("bar.sync 0;", ""), 127, seed)
    assert result.races
    _, result = reverse(REVERSE.replace("bar.sync 0;", "bar.warp.sync -1;"), 127, seed)
    assert result.races


def test_a_missing_barrier_gives_wrong_integers_under_some_schedule() -> None:
    text = REVERSE.replace("bar.sync 0;", "bra next;\nnext:")
    answers = {tuple(reverse(text, 127, seed)[0].tolist()) for seed in range(8)}
    assert len(answers) > 1


def test_inside_a_warp_a_barrier_of_the_warp_is_enough() -> None:
    x, result = reverse(REVERSE.replace("bar.sync 0;", "bar.warp.sync -1;"), 31)
    assert x.tolist() == [t ^ 31 for t in range(128)]
    assert result.races == ()
    _, result = reverse(REVERSE.replace("bar.sync 0;", ""), 31)
    assert result.races
    _, result = reverse(REVERSE.replace("bar.sync 0;", ""), 0)
    assert result.races == ()


def test_a_store_after_others_loads_is_a_race() -> None:
    again = "st.global.u32 [%rd3], %r2;\n    st.shared.u32 [%r5], %r1;"
    text = REVERSE.replace("st.global.u32 [%rd3], %r2;", again)
    _, result = reverse(text, 127)
    assert [str(race).split(":")[0] for race in result.races] == [
        "shared byte 0"
    ]
    ordered = REVERSE.replace("st.global.u32 [%rd3], %r2;", again.replace("\n", "\nbar.sync 0;\n"))
    assert reverse(ordered, 127)[1].races == ()


def test_two_stores_to_one_byte_are_a_race() -> None:
    same = REVERSE.replace("shl.b32 %r3, %r1, 2;", "mov.u32 %r3, 4;")
    assert reverse(same, 0)[1].races[0].space == "shared"


def test_diverged_threads_meet_again_and_are_counted_apart() -> None:
    body = """
    mov.u32 %r4, 0;
    and.b32 %r6, %r9, 3;
again:
    setp.ge.u32 %p1, %r4, %r6;
    @%p1 bra done;
    add.s32 %r4, %r4, 1;
    bra again;
done:
    redux.sync.add.s32 %r4, %r4, -1;"""
    words = operands()
    assert evaluate(body, words).tolist() == [48] * 64
    y = np.zeros(THREADS, np.int64)
    whole = body + "\n    cvt.s64.s32 %rd4, %r4;"
    result = load(FRAME.format(body=whole)).launch(words, y, threads=THREADS)
    # Each warp goes round three times for its slowest threads: 4 comparisons, 3 additions.
    assert result.counts["setp.ge.u32"] == 2 * 4
    assert result.counts["add.s32"] == 2 * 3


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("setp.eq.s32 %p1, %r9, 3; @%p1 bra over; redux.sync.add.s32 %r4, %r1, -1; over:",
         "diverged"),
        ("shfl.sync.bfly.b32 %r4, %r1, 1, 31, 255;", "only whole warps"),
        ("div.s32 %r4, %r1, 0;", "division by zero"),
        ("ld.global.u32 %r4, [%rd7+100000];", "outside every array"),
        ("ld.global.u32 %r4, [%rd7+-8];", "outside every array"),
        ("st.global.u32 [%rd7+2], %r4;", "not a multiple of 4"),
        ("setp.eq.s32 %p1, %r9, 3; @%p1 ret; bar.sync 0; mov.u32 %r4, 0;", "others wait"),
        ("setp.eq.s32 %p1, %r9, 3; @%p1 bra a; bar.sync 0; bra b; a: bar.sync 0; b:",
         "different barriers"),
        ("again: bra again;", "not done after"),
        ("setp.eq.s32 %p1, %r9, 3; @%p1 trap;", "thread 3 traps"),
    ],
)  # fmt: skip
def test_what_a_gpu_leaves_undefined_is_refused(body: str, complaint: str) -> None:
    kernel = load(FRAME.format(body=body))
    with pytest.raises(PtxError, match=complaint):
        kernel.launch(operands(), np.zeros(THREADS, np.int64), threads=THREADS, most=10_000)


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("sqrt.rn.f32 %r4, %r1;", "line 19: .*integers only"),
        ("add.f32 %r4, %r1, %r2;", "integers only"),
        ("ld.local.u32 %r4, [%rd7];", "local"),
        ("add.s32 %r4, %r1, %nothing;", "no register"),
        ("add.s32 %r4, %rd1, %r2, %r3;", "takes 2 operands"),
        ("add.s64 %rd4, %r1, %rd2;", "the instruction takes"),
        ("bra nowhere;", "no label"),
        ("bar.sync 1, 64;", "only barrier 0"),
        (".reg .f64 %f<3>;", "integers only"),
        ("frobnicate.b32 %r4;", "no opcode"),
        ("cvt.rn.u32.u64 %r4, %rd1;", "only .sat"),
    ],
)
def test_what_is_not_known_is_refused_when_loaded(body: str, complaint: str) -> None:
    with pytest.raises(PtxError, match=complaint):
        load(FRAME.format(body=body))


def test_text_that_is_not_ptx_is_refused() -> None:
    for text in ("", "hello", ".entry x(", ".entry x() { ret;", ".entry x() { 5 + 5; }"):
        with pytest.raises(PtxError):
            load(text)


@given(st.integers(0, len(REVERSE)), st.text("{}[]<>.;:%$@ \n09az", max_size=6))
def test_damaged_text_is_refused_in_one_line_or_runs(at: int, noise: str) -> None:
    try:
        kernel = load(REVERSE[:at] + noise + REVERSE[at + len(noise) :])
        x = np.arange(128, dtype=np.int32)
        kernel.launch(x, 4, threads=128, shared=512, most=10_000)
    except PtxError as error:
        assert "\n" not in str(error)


def test_arguments_and_threads_are_checked() -> None:
    kernel = load(REVERSE)
    x = np.zeros(128, np.int32)
    with pytest.raises(PtxError, match="takes 2 arguments, not 1"):
        kernel.launch(x, threads=128)
    with pytest.raises(PtxError, match="multiples of 32"):
        kernel.launch(x, 4, threads=100, shared=512)
    with pytest.raises(PtxError, match="bytes of shared memory"):
        kernel.launch(x, 4, threads=128, shared=1 << 20)
    with pytest.raises(PtxError, match="contiguous"):
        kernel.launch(np.zeros((128, 2), np.int32)[:, 0], 4, threads=128, shared=512)
