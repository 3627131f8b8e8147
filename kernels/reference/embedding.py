"""embed, add: rows of a table, and sums of values."""

import numpy as np

from anachron.kernels.arithmetic import Array, saturate
from anachron.kernels.arithmetic import shift as shifted


def embed(index: Array, *, table: Array, shift: int, bits: int) -> Array:
    """The row of a table at each index, brought to the scale of the result.

    index  (positions,)       token ids, or places 0, 1, 2, ...
    table  (rows, dim)        int8 or int16
    shift                     left where positive, else right, flooring
    return (positions, dim)   int{bits}, saturated
    """
    return saturate(shifted(table[index].astype(np.int64), shift), bits)


def add(a: Array, b: Array, *, bits: int) -> Array:
    """a + b, saturated: the residual connection.

    a, b   (positions, dim)  of one scale
    return (positions, dim)  int{bits}
    """
    return saturate(a + b, bits)
