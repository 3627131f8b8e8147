"""How a training step in logarithms changes the weights: in place, the 16-bit integers wrap.

The gradient of a parameter is never stored: its sum over the positions is taken from the weight
at once, the learning rate being part of the constant or of the shift.

To add one: as in log_model.py.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array, shift, wrap
from anachron.kernels.reference.log_tables import accumulate, multiply


def update_table(weight: Array, dy: Array, index: Array, *, amount: int) -> Array:
    """Take dy * 2**amount from the row at each index, as often as it stands there.

    weight int16 (seeds, rows, size)
    dy     int16 (seeds, positions, size); to the right the shift floors
    index  (seeds, positions)
    """
    changed = weight.copy()
    seeds = np.arange(len(weight))[:, None]
    np.subtract.at(changed, (seeds, index), shift(dy, amount))
    return wrap(changed, 16)


def update_rows(weight: Array, dy: Array, index: Array, *, constant: int) -> Array:
    """Take dy's products with the constant from the row at each index, as often as it stands there.

    weight int16 (seeds, rows, size)
    dy     codes (seeds, positions, size)
    index  (seeds, positions)
    """
    changed = weight.copy()
    seeds = np.arange(len(weight))[:, None]
    np.subtract.at(changed, (seeds, index), multiply(dy + constant))
    return wrap(changed, 16)


def update_bias(weight: Array, dy: Array, *, constant: int) -> Array:
    """Take the sum over the positions of dy's products with the constant from each weight.

    weight int16 (seeds, size), dy codes (seeds, positions, size)
    """
    return wrap(weight - accumulate(dy + constant, 1), 16)


def update_matrix(weight: Array, dy: Array, x: Array, *, constant: int) -> Array:
    """Take the sum over the positions of dy times x from each weight.

    weight int16 (seeds, rows, columns)
    dy     codes (seeds, positions, rows)
    x      codes (seeds, positions, columns)
    """
    return wrap(weight - accumulate(dy[..., None] + x[:, :, None, :] + constant, 1), 16)
