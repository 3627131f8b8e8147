"""The guesses that kernels correct: a root and a quotient are right or one too small, however the
hardware's approximations err.

The proofs take every input.  What follows an approximation never falls as it grows, so an input's
two farthest guesses bound all others; and of all inputs with one root, the first and the last bound
the rest.  They count in whole numbers, without any rounding of their own.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest

from anachron.emulators.ptx import load
from anachron.emulators.ptx.approximate import LARGEST_ERROR
from anachron.kernels.cuda.heads import MOST_RATIO
from anachron.kernels.cuda.intrinsics import MAGIC, QUOTIENT, RATIO, ROOT
from anachron.kernels.cuda.lanes import GUESS
from anachron.kernels.reference.norm import LARGEST_RECIPROCAL

THREADS = 1024
ROOTS = range(1, 1 << 16)
UNIT = Fraction(LARGEST_ERROR)
MOST = 3  # times the manual's largest error: what the proofs still bear, with room for its unit
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


def guess(text: str, operands: tuple[str, ...], x: np.ndarray, n: int, error: float):
    body = text.replace("$0", "%r5")
    for i, operand in enumerate(operands, 1):
        body = body.replace(f"${i}", operand)
    padded = np.ones(-(-len(x) // THREADS) * THREADS, np.uint32)
    padded[: len(x)] = x
    y = np.zeros_like(padded)
    load(FRAME.format(body=body)).launch(
        padded, y, n, threads=THREADS, blocks=len(padded) // THREADS, error=error, races=False
    )
    return y[: len(x)].astype(np.int64) - MAGIC


def test_the_constants_are_exact_in_single_precision() -> None:
    assert struct.pack(">f", GUESS).hex().upper() in ROOT
    assert struct.unpack("<f", struct.pack("<f", GUESS))[0] == GUESS
    assert struct.pack(">f", 2.0**23).hex().upper() == "4B000000"


def test_every_root_is_right_or_one_too_small() -> None:
    """For all of 1 to 2**32 - 1: floor(root(cut(x)) (1 +- error) GUESS) is the root, or one less.

    Both sides are squared: no root is taken here.
    """
    least = (1 - MOST * UNIT) * Fraction(GUESS)
    most = (1 + MOST * UNIT) * Fraction(GUESS)
    for root in ROOTS:
        first, last = root * root, min((1 << 32) - 1, (root + 1) ** 2 - 1)
        cut = first >> (lost := max(0, first.bit_length() - 24)) << lost  # toward zero
        assert cut * least.numerator**2 >= (root - 1) ** 2 * least.denominator**2
        assert last * most.numerator**2 < (root + 1) ** 2 * most.denominator**2


@pytest.mark.parametrize("bits", range(1, 31))
def test_every_quotient_is_right_or_one_too_small(bits: int) -> None:
    """For every divisor; what is clipped afterwards need only be large enough."""
    bound = Fraction((1 << bits) * GUESS)
    least, most = (1 - MOST * UNIT) * bound, (1 + MOST * UNIT) * bound
    for root in ROOTS:
        quotient = (1 << bits) // root
        low = least.numerator // (least.denominator * root)
        high = most.numerator // (most.denominator * root)
        if quotient <= LARGEST_RECIPROCAL:
            assert quotient - 1 <= low <= high <= quotient
            assert (quotient + 1) * root < 1 << 31  # the correction's product
        else:
            assert low >= LARGEST_RECIPROCAL


def test_every_ratio_is_right_or_one_too_small() -> None:
    """Of any two numbers of 32 bits without sign, if it is at most MOST_RATIO.

    x is cut to 24 bits, y rounded; the reciprocal errs, and its product with GUESS is cut.  The
    guess is never above the ratio, nor below it by more than one.
    """
    cut, rounded = Fraction(1, 1 << 23), Fraction(1, 1 << 24)
    most = (1 + MOST * UNIT) * Fraction(GUESS) / (1 - rounded)
    least = (1 - cut) ** 2 * (1 - MOST * UNIT) * Fraction(GUESS) / (1 + rounded)
    assert most <= 1 and (MOST_RATIO + 1) * (1 - least) <= 1
    assert MOST_RATIO + 1 < 1 << 23  # what the addition of 2**23 bears


@pytest.mark.parametrize("error", [-MOST + 1, 0, MOST - 1])
def test_the_interpreted_ratio_is_between(error: float) -> None:
    """For divisors of every size, just below and at a multiple."""
    random = np.random.default_rng(3)
    y = [1, 2, 3, 255, (1 << 17) - 1, 1 << 17, (1 << 24) + 1, *random.integers(1, 1 << 17, 9)]
    for divisor in map(int, y):
        ratio = np.concatenate([np.arange(1, 300), random.integers(1, MOST_RATIO + 1, 700)])
        ratio = ratio[ratio * divisor + divisor < 1 << 32]
        x = np.concatenate([ratio * divisor - 1, ratio * divisor, ratio * divisor + divisor - 1])
        got = guess(RATIO, ("%r4", "%r1"), x.astype(np.uint32), divisor, error)
        assert set((x // divisor - got).tolist()) <= {0, 1}, divisor


@pytest.mark.parametrize("error", [-MOST + 1, 0, MOST - 1])
def test_the_interpreted_root_is_between(error: float) -> None:
    """The text itself, at the first and the last number of every root."""
    root = np.array(ROOTS, np.int64)
    x = np.concatenate([root * root, np.minimum((1 << 32) - 1, (root + 1) ** 2 - 1)])
    got = guess(ROOT, ("%r4",), x.astype(np.uint32), 0, error)
    exact = np.array([math.isqrt(int(v)) for v in x])
    assert set((exact - got).tolist()) == {0, 1}  # the correction is needed


@pytest.mark.parametrize("error", [-MOST + 1, 0, MOST - 1])
@pytest.mark.parametrize("bits", [15, 19, 24, 30])
def test_the_interpreted_quotient_is_between(bits: int, error: float) -> None:
    n = struct.unpack("<I", struct.pack("<f", (1 << bits) * GUESS))[0]
    root = np.array(ROOTS, np.int64)
    got = guess(QUOTIENT, ("%r1", "%r4"), root.astype(np.uint32), n, error)
    exact = (1 << bits) // root
    large = exact > LARGEST_RECIPROCAL
    assert set((exact - got)[~large].tolist()) <= {0, 1}
    assert (got[large] >= LARGEST_RECIPROCAL).all()


@pytest.mark.parametrize("error", [8.0, -8.0 * 2**16])
def test_an_error_beyond_what_is_proven_shows(error: float) -> None:
    """The other way round: the test can fail."""
    root = np.array(ROOTS, np.int64)
    last = np.minimum((1 << 32) - 1, (root + 1) ** 2 - 1)
    got = guess(ROOT, ("%r4",), last.astype(np.uint32), 0, error)
    assert not set((root - got).tolist()) <= {0, 1}


def test_a_sum_is_cut_toward_zero_before_it_is_rounded() -> None:
    """2**23 + (k - something tiny) is 2**23 + k - 1."""
    body = """.reg .f32 f, g; mov.b32 f, %r4; fma.rz.f32 g, f, 0f3F7FFFFF, 0f4B000000;
    mov.b32 %r5, g; sub.s32 %r5, %r5, 0x4B000000;"""
    whole = np.arange(1, THREADS + 1)
    y = np.zeros(THREADS, np.uint32)
    x = whole.astype(np.float32).view(np.uint32)
    load(FRAME.format(body=body)).launch(x, y, 0, threads=THREADS, races=False)
    assert y.tolist() == (whole - 1).tolist()
