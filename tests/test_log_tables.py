"""Codes and products: the tables, and that every integer has one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anachron.kernels.arithmetic import Log
from anachron.kernels.reference.log_tables import (
    HIGHEST,
    INDEX_MASK,
    LARGEST,
    LOWEST,
    SIGN,
    SILENT,
    STRIDE,
    ZERO,
    accumulate,
    code,
    code_table,
    multiply,
    octaves,
    product_table,
)

INT16 = np.arange(-(1 << 15), 1 << 15)


def test_codes_are_those_of_the_wrapped_integer():
    for b in (0, 2, 4094, 4096, 8190, 8192, -2, -4096, -4098, 32766, -32768):
        inside = (b + 4096) % 8192 - 4096
        wanted = 2 * math.floor(16 * math.log(abs(inside)) + 0.5) if inside else ZERO
        assert code(np.int64(b)) == wanted + STRIDE * (inside < 0)


def test_the_lowest_bit_of_an_integer_is_not_read():
    assert np.array_equal(code(INT16), code(INT16 & ~1))


def test_a_machines_table_is_indexed_by_the_masked_integer():
    table = code_table(SIGN)
    assert len(table) == INDEX_MASK // 2 + 1 == 4096
    there = table[(INT16 & INDEX_MASK) // 2]
    negative = code(INT16) >= STRIDE // 2
    assert np.array_equal(there, code(INT16) - negative * (STRIDE - SIGN))


def test_a_machines_products_are_the_references():
    table = product_table()
    plain = np.arange(LOWEST, HIGHEST + 2, 2)
    for signs in range(3):
        there = table[(signs * SIGN + plain - LOWEST) // 2]
        assert np.array_equal(there, multiply(signs * STRIDE + plain))


def test_products_are_even_and_of_16_bits():
    products = multiply(np.arange(-STRIDE // 2, 5 * STRIDE // 2, 2))
    assert not (products & 1).any()
    assert products.max() == LARGEST and products.min() == -LARGEST


@given(st.integers(-2047, 2047), st.integers(-2047, 2047))
@settings(deadline=None)
def test_a_product_is_within_7_percent_and_the_grid(a, b):
    exact = 4 * a * b / 4096
    product = int(multiply(code(np.int64(2 * a)) + code(np.int64(2 * b)) + octaves(-12)))
    assert abs(product - exact) <= 1 + 0.07 * abs(exact)
    assert np.sign(product) in (0, np.sign(exact))


def test_zero_and_silence_multiply_to_zero():
    codes = np.unique(code(INT16))
    assert not multiply(code(np.int64(0)) + codes + octaves(-12)).any()
    assert not multiply(SILENT + codes + 500).any()


def test_sums_wrap_at_16_bits():
    large = code(np.full(3, 4094)) * 2 + octaves(-8)
    assert multiply(large[0]) == LARGEST
    assert accumulate(large, 0) == 3 * LARGEST - (1 << 16)


@pytest.mark.parametrize("amount", [-16, -12, -0.5, 0, 3, 11])
def test_octaves_are_symmetric_and_nearest(amount):
    assert octaves(amount) == -octaves(-amount)
    assert abs(octaves(amount) - 32 * math.log(2) * amount) <= 1


def test_the_format_encodes_what_the_tables_hold():
    even = np.arange(-4096, 4096, 2)
    assert np.array_equal(Log(8).encode(even / 256), code(even))
    assert Log(8).decode(ZERO) == 0
    back = Log(8).decode(code(even)) * 256
    assert np.abs(back - even).max() < 0.032 * 4096
