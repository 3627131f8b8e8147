"""matvec: a matrix times each position's vector."""

import numpy as np

from anachron.kernels.arithmetic import Array, matmul, saturate
from anachron.kernels.arithmetic import shift as shifted


def matvec(x: Array, *, weight: Array, bias: Array, shift: Array, bits: int) -> Array:
    """saturate((weight @ x + bias) >> shift); the shift floors.

    Rounding to nearest is a bias of half a unit, which the quantizer has already put in.

    x      (positions, columns)  int8 or int16
    weight (rows, columns)       int8
    bias   (rows,)               int32, at the accumulator's scale
    shift  (rows,)               0 or more to the right, one a row
    return (positions, rows)     int{bits}, saturated

    The accumulator needs 32 bits: ranges.py proves it.
    """
    total = matmul(weight, x) + bias.astype(np.int64)
    return saturate(shifted(total, -shift.astype(np.int64)), bits)
