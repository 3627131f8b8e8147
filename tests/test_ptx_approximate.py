"""The guesses that kernels correct: a root and a quotient are right or one too small, however the
hardware's approximations err."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from anachron.emulators.ptx import load
from anachron.kernels.cuda.intrinsics import ASSEMBLY

THREADS = 1024
FRAME = """
.entry try(.param .u64 x, .param .u64 y, .param .u32 n) {{
    .reg .b32 %r<9>; .reg .b64 %rd<9>;
    ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; ld.param.u32 %r1, [n];
    mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mad.lo.s32 %r2, %r3, 1024, %r2;
    mul.wide.u32 %rd3, %r2, 4; add.s64 %rd1, %rd1, %rd3; add.s64 %rd2, %rd2, %rd3;
    ld.global.u32 %r4, [%rd1];
    {body}
    st.global.u32 [%rd2], %r5;
    ret;
}}"""


def guess(name: str, operands: tuple[str, ...], x: np.ndarray, n: int, seed: int | None):
    body = ASSEMBLY[name][0].replace("$0", "%r5")
    for i, operand in enumerate(operands, 1):
        body = body.replace(f"${i}", operand)
    padded = np.zeros(-(-len(x) // THREADS) * THREADS, np.uint32)
    padded[: len(x)] = x
    padded[len(x) :] = 1
    y = np.zeros_like(padded)
    kernel = load(FRAME.format(body=body))
    kernel.launch(
        padded, y, n, threads=THREADS, blocks=len(padded) // THREADS, seed=seed, races=False
    )
    return y[: len(x)].astype(np.int64)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_root_is_right_or_one_too_small(seed: int | None) -> None:
    root = np.arange(1, 1 << 16, 37, dtype=np.int64)
    edges = np.concatenate([root * root - 1, root * root, root * root + 1, (root + 1) ** 2 - 1])
    random = np.random.default_rng(0).integers(1, 1 << 32, 5000)
    x = np.concatenate([np.arange(1, 5000), edges[edges > 0], random, [2**32 - 1]])
    got = guess("root_below", ("%r4",), x.astype(np.uint32), 0, seed)
    exact = np.array([math.isqrt(int(v)) for v in x])
    assert set((exact - got).tolist()) <= {0, 1}
    assert (exact - got).any()  # the correction is needed


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("bits", [15, 19, 24])
def test_a_quotient_is_right_or_one_too_small(bits: int, seed: int | None) -> None:
    bound = 2.0**bits * (1 - 2.0**-21)
    n = struct.unpack("<I", struct.pack("<f", bound))[0]
    root = np.arange(1, 1 << 16, 5, dtype=np.int64)
    got = guess("quotient_below", ("%r1", "%r4"), root.astype(np.uint32), n, seed)
    exact = (1 << bits) // root
    large = exact > 1 << 15  # clipped afterwards
    assert set((exact - got)[~large].tolist()) <= {0, 1}
    assert (got[large] >= 1 << 15).all()


def test_a_sum_is_cut_toward_zero_before_it_is_rounded() -> None:
    """2**23 + (k - something tiny) is 2**23 + k - 1."""
    body = """.reg .f32 f, g; mov.b32 f, %r4; fma.rz.f32 g, f, 0f3F7FFFFF, 0f4B000000;
    mov.b32 %r5, g; sub.s32 %r5, %r5, 0x4B000000;"""
    whole = np.arange(1, THREADS + 1)
    y = np.zeros(THREADS, np.uint32)
    x = whole.astype(np.float32).view(np.uint32)
    load(FRAME.format(body=body)).launch(x, y, 0, threads=THREADS, races=False)
    assert y.tolist() == (whole - 1).tolist()
