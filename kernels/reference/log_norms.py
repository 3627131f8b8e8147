"""Norms in logarithms, in parts: a mean taken away, a division by the root mean square, a gain.

layer_norm is center, normalize, scale and a bias; rms_norm is normalize and scale.  A root is half
of a code, a reciprocal its negative.  Words as in log_model.py.

To add a contract: log_model.py says.
Source: Ba, Kiros & Hinton, 2016 (layer norm); Zhang & Sennrich, 2019 (RMS norm).
"""

from __future__ import annotations

import math

import numpy as np

from anachron.kernels.arithmetic import Array, wrap
from anachron.kernels.reference.log_tables import accumulate, code, multiply, octaves

LARGE = 4096  # a sum of squares from here on is shifted down before its code is looked up
LARGE_SHIFT = 4  # by so much: sums are unsigned words


def mean_constant(size: int) -> int:
    """The code of one of `size` equal shares."""
    return octaves(-math.log2(size))


def center(x: Array, codes: Array, *, shift: int) -> Array:
    """x >> shift less its mean, which is summed from the codes; wraps.  Its own gradient, too.

    x int16 and codes (seeds, positions, size), of the same integers shifted
    """
    mean = accumulate(codes + mean_constant(codes.shape[-1]), -1)[..., None]
    return wrap((x >> shift) - mean, 16)


def half_root(x: Array, *, square_constant: int) -> Array:
    """The code that divides by the root of the mean square, (seeds, positions, 1).

    The sum of multiply(x + x + square_constant) is an unsigned word; half of its code is floored to
    an even one.
    """
    total = multiply(x + x + square_constant).sum(-1, keepdims=True) & 0xFFFF
    large = total >= LARGE
    logarithm = code(np.where(large, total >> LARGE_SHIFT, total))
    return ((logarithm + octaves(LARGE_SHIFT) * large) >> 2) << 1


def normalize(x: Array, *, square_constant: int, constant: int) -> Array:
    """Codes to int16: each position's x over its root mean square."""
    return multiply(x - half_root(x, square_constant=square_constant) + constant)


def scale(x: Array, gain: Array, *, constant: int) -> Array:
    """Codes (seeds, positions, size) times codes (seeds, size) to int16."""
    return multiply(x + gain[:, None] + constant)


def normalize_gradient(
    dy: Array,
    codes: Array,
    unit: Array,
    x: Array,
    *,
    square_constant: int,
    mean_constant: int,
    unit_constant: int,
    constant: int,
) -> Array:
    """dy less unit times the mean of their products, over x's root mean square.

    dy int16; codes its codes; unit, x codes; what is looked up between saturates
    """
    mean = code(accumulate(codes + unit + mean_constant, -1)[..., None], True)
    rest = wrap(dy - multiply(unit + mean + unit_constant), 16)
    root = half_root(x, square_constant=square_constant)
    return multiply(code(rest, True) - root + constant)


def update_gain(weight: Array, dy: Array, x: Array, *, constant: int) -> Array:
    """Take the sum over the positions of dy times x from each weight.

    weight int16 (seeds, size); dy, x codes (seeds, positions, size)
    """
    return wrap(weight - accumulate(dy + x + constant, 1), 16)
