"""rms_norm, layer_norm: each position's vector brought to unit root mean square.

The root is an integer square root, the division is done once a vector, and every element costs
one multiplication by the reciprocal and one by its gain.
"""

import numpy as np

from anachron.kernels.arithmetic import Array, isqrt, saturate
from anachron.kernels.arithmetic import shift as shifted

LARGEST_RECIPROCAL = 32767
RECIPROCAL_SHIFT = 15  # the product of x and the reciprocal keeps the scale of x


def reciprocal_rms(x: Array, *, pre_shift: int, root_shift: int, reciprocal_bits: int) -> Array:
    """min(32767, 2**reciprocal_bits // max(1, isqrt(mean of (x >> pre_shift)**2 << root_shift)))

    x                (positions, dim)  int16
    pre_shift        floors x before it is squared, so that the sum stays inside 31 bits
    root_shift       even; the mean, at least 1, moves left before the root is taken: 32 bits
    reciprocal_bits  24 at most
    return           (positions, 1)    1 .. 32767
    """
    small = x >> pre_shift
    mean = np.maximum(1, (small * small).sum(-1, keepdims=True) // x.shape[-1])
    root = np.maximum(1, isqrt(mean << root_shift))
    return np.minimum(LARGEST_RECIPROCAL, (1 << reciprocal_bits) // root)


def rms_norm(
    x: Array,
    *,
    gain: Array,
    gain_shift: int,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
    bits: int,
) -> Array:
    """saturate((((x * reciprocal) >> 15) * gain) >> gain_shift), both shifts flooring.

    x      (positions, dim)  int16
    gain   (dim,)            int8 Q{gain_shift}
    return (positions, dim)  int{bits}

    The first product, shifted, fits int16 because the reciprocal is below 2**15.
    """
    inverse = reciprocal_rms(
        x, pre_shift=pre_shift, root_shift=root_shift, reciprocal_bits=reciprocal_bits
    )
    unit = (x * inverse) >> RECIPROCAL_SHIFT
    return saturate((unit * gain.astype(np.int64)) >> gain_shift, bits)


def layer_norm(
    x: Array,
    *,
    gain: Array,
    gain_shift: int,
    bias: Array,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
    bits: int,
) -> Array:
    """rms_norm of x less its floored mean, plus a bias at the scale of the result.

    x      (positions, dim)  int16; the difference saturates to int16
    gain   (dim,)            int8 Q{gain_shift}
    bias   (dim,)            int16, added after gain and shift, before the saturation
    return (positions, dim)  int{bits}
    """
    centred = saturate(x - x.sum(-1, keepdims=True) // x.shape[-1], 16)
    inverse = reciprocal_rms(
        centred, pre_shift=pre_shift, root_shift=root_shift, reciprocal_bits=reciprocal_bits
    )
    unit = (centred * inverse) >> RECIPROCAL_SHIFT
    scaled = shifted(unit * gain.astype(np.int64), -gain_shift)
    return saturate(scaled + bias.astype(np.int64), bits)
