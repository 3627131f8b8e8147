"""Numbers as logarithms: two tables that turn a product into a sum of codes.

A code stands for a 16-bit linear integer b: its sign, and twice round(16 * ln|b|), so that codes
are even, 32 steps make a neper, and a machine uses them as byte offsets:

    b --code--> c     c(a) + c(b) + constant --multiply--> a * b * 2**octaves     (about 3 % apart)

Scales, learning rates and the base of the exponential are constants in that sum, made by
`octaves`.  Everything here is total: any integer has a code, any sum of codes has a product.

To use another grid: STEPS.  A machine stores CODES and PRODUCTS as they are (see
`product_table`); here signs are counted in wide strides so that no sum can be mistaken.
Source: the idea of adding logarithms instead of multiplying is Mitchell's, 1962.
"""

from __future__ import annotations

import math

import numpy as np

from anachron.kernels.arithmetic import Array, wrap

STEPS = 32  # of a code to a neper
ZERO = -160  # the code of 0: so low that its products with anything come out as 0
INDEX_MASK = 0o17776  # what a code looks at: even integers, modulo 8192
LARGEST = 32766  # the largest product; products are even
LOWEST, HIGHEST = -592, 340  # logarithms that a machine's table holds
SIGN = HIGHEST - LOWEST + 2  # what it adds to the code of a negative integer
STRIDE = 8192  # what is added here
FARTHEST_CODED = 4094  # of the integers that have a code of their own, either way
SILENT = -1024  # a code whose every product is 0


def octaves(amount: float) -> int:
    """The code of 2**amount: what a sum of codes grows by for a factor of 2**amount.

    >>> octaves(12), octaves(-12), octaves(-0.5)
    (266, -266, -12)
    """
    steps = amount * math.log(2) * STEPS / 2
    return 2 * int(math.copysign(math.floor(abs(steps) + 0.5), steps))


def magnitude_code(magnitude: int) -> int:
    """The code of a linear integer that is not negative."""
    return 2 * math.floor(STEPS / 2 * math.log(magnitude) + 0.5) if magnitude else ZERO


def exponential(logarithm: int) -> int:
    """The even integer nearest to exp(logarithm / 32), at most 32766.

    >>> exponential(0), exponential(-2), exponential(266), exponential(9999)
    (2, 0, 4074, 32766)
    """
    if logarithm >= HIGHEST:
        return LARGEST
    return min(LARGEST, 2 * math.floor(math.exp(logarithm / STEPS) / 2 + 0.5))


def code_table(sign: int) -> Array:
    """The code of every even b modulo 8192, in the order of b: 0, 2, .. 4094, -4096, .. -2.

    sign  what the code of a negative b has more
    """
    positive = [magnitude_code(b) for b in range(0, 4096, 2)]
    negative = [magnitude_code(-b) + sign for b in range(-4096, 0, 2)]
    return np.array(positive + negative, np.int64)


def product_table() -> Array:
    """A machine's products of LOWEST, LOWEST + 2, .. HIGHEST, three times: plus, minus, plus.

    The sum of two codes lies in the third part where both have a sign.
    """
    plus = np.array([exponential(c) for c in range(LOWEST, HIGHEST + 2, 2)], np.int64)
    return np.concatenate([plus, -plus, plus])


def _wide_products() -> Array:
    """Products of every sum from -STRIDE / 2 on, three strides, one entry for two steps."""
    plus = np.array([exponential(c) for c in range(-STRIDE // 2, STRIDE // 2, 2)], np.int64)
    return np.concatenate([plus, -plus, plus])


CODES = code_table(STRIDE)
PRODUCTS = _wide_products()


def code(b: Array, saturates: bool = False) -> Array:
    """The code of each linear integer, which is read as an even one modulo 8192.

    saturates   integers beyond FARTHEST_CODED are read as that, not modulo 8192
    """
    if saturates:
        b = np.clip(b, -FARTHEST_CODED, FARTHEST_CODED)
    return CODES[(b & INDEX_MASK) >> 1]


def multiply(total: Array) -> Array:
    """The linear integer of a sum of codes, at most two of them with a sign."""
    return PRODUCTS[(total + STRIDE // 2) >> 1]


def accumulate(total: Array, axis: int | tuple[int, ...]) -> Array:
    """The products of sums of codes, added along an axis; sums wrap at 16 bits."""
    return wrap(multiply(total).sum(axis), 16)
