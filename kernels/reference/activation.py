"""relu, lookup, multiply: what happens to each element by itself."""

import numpy as np

from anachron.kernels.arithmetic import Array, saturate


def relu(x: Array, *, bits: int) -> Array:
    """max(0, x).

    x, return (positions, dim)  int{bits}
    """
    return np.maximum(0, saturate(x, bits))


def lookup(x: Array, *, table: Array, shift: int, tail: int, bits: int) -> Array:
    """A smooth function by a table of 257 points and straight lines between them.

    With u = x clipped to -128 << shift .. (128 << shift) - 1, i = u >> shift and
    f = u - (i << shift), the result is table[i+128] + ((table[i+129] - table[i+128]) * f >> shift).
    Where x is at 128 << shift or above, the result is x >> tail (the identity tail of GELU and
    SiLU).

    x      (positions, dim)  int16
    table  (257,)            int16
    shift                    0 .. 8
    return (positions, dim)  int{bits}, saturated
    """
    table = table.astype(np.int64)
    inside = np.clip(x, -(128 << shift), (128 << shift) - 1)
    index = inside >> shift
    fraction = inside - (index << shift)
    base, after = table[index + 128], table[index + 129]
    line = base + ((after - base) * fraction >> shift)
    return saturate(np.where(x >= 128 << shift, x >> tail, line), bits)


def multiply(a: Array, b: Array, *, shift: int, bits: int) -> Array:
    """saturate((a * b) >> shift), flooring: the gate of SwiGLU.

    a, b   (positions, dim)  int16 or int8
    return (positions, dim)  int{bits}
    """
    return saturate((a * b) >> shift, bits)
