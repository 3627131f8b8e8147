"""Formats and integer primitives against Python's own unbounded integers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anachron.kernels import arithmetic
from anachron.kernels.arithmetic import Fixed

INT = st.integers(-(2**40), 2**40)


def test_a_format_reads_as_storage_then_fraction() -> None:
    assert str(Fixed(16, 8)) == "int16 Q8"
    assert str(Fixed(8, 0, signed=False)) == "uint8 Q0"


def test_encode_takes_halves_away_from_zero() -> None:
    assert Fixed(16, 0).encode(np.array([0.5, -0.5, 1.5, 0.49])).tolist() == [1, -1, 2, 0]


def test_encode_saturates_at_both_ends() -> None:
    assert Fixed(8, 0).encode(np.array([1e9, -1e9, 128, -129])).tolist() == [127, -128, 127, -128]


@given(st.integers(-32768, 32767))
def test_decode_undoes_encode(integer: int) -> None:
    form = Fixed(16, 11)
    assert form.encode(form.decode(integer)) == integer


@given(INT, st.integers(-50, 20))
def test_shift_floors(x: int, amount: int) -> None:
    assert arithmetic.shift(np.int64(x), amount) == math.floor(x * 2.0**amount)


@given(INT, st.sampled_from((8, 16, 32)))
def test_wrap_is_modular(x: int, bits: int) -> None:
    wrapped = int(arithmetic.wrap(np.int64(x), bits))
    assert (wrapped - x) % 2**bits == 0
    assert -(2 ** (bits - 1)) <= wrapped < 2 ** (bits - 1)


@pytest.mark.parametrize(("x", "clipped"), [(32768, 32767), (-32769, -32768), (5, 5)])
def test_saturate_clips_at_both_ends(x: int, clipped: int) -> None:
    assert arithmetic.saturate(np.int64(x), 16) == clipped


@given(st.integers(0, 2**52))
def test_isqrt_is_the_integer_square_root(x: int) -> None:
    assert arithmetic.isqrt(np.array([x]))[0] == math.isqrt(x)


def test_isqrt_is_exact_around_every_16_bit_square() -> None:
    squares = np.arange(1, 65536, dtype=np.int64) ** 2
    assert (arithmetic.isqrt(squares) ** 2 == squares).all()
    assert (arithmetic.isqrt(squares - 1) + 1 == arithmetic.isqrt(squares)).all()


def test_matmul_equals_integer_products() -> None:
    rng = np.random.default_rng(1)
    weight, x = rng.integers(-128, 128, (7, 257)), rng.integers(-32768, 32768, (3, 257))
    assert (arithmetic.matmul(weight, x) == x @ weight.T).all()


def test_matmul_refuses_sums_beyond_53_bits() -> None:
    with pytest.raises(ValueError, match="53 bits"):
        arithmetic.matmul(np.full((1, 64), 2**25), np.full((1, 64), 2**25))
