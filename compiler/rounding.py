"""Weights to integers that make up for each other -> matrices with smaller errors in their sums.

Rounding each weight to nearest is best where inputs are independent; they are not.  Weights are
rounded column by column, the columns of the strongest inputs first, and what a column lost is
taken up by the weights of the columns that go with it and are still to be rounded.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (2023), after Hassibi and Stork's optimal brain surgeon.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array, saturate

DAMPING = 0.03  # of the inputs' mean square, added to each: what samples did not show


def fit(weight: Array, moments: Array, bits: int = 8) -> Array:
    """Round weights so that the sums of products with inputs of these moments lose little.

    weight   (rows, columns)      in units of the last bit
    moments  (columns, columns)   sums of products of the inputs
    return   (rows, columns)      integers of so many bits
    """
    strength = np.diag(moments)
    if not strength.mean() > 0:
        return saturate(np.rint(weight).astype(np.int64), bits)
    order = np.argsort(-strength, kind="stable")
    damped = moments / strength.mean() + DAMPING * np.eye(len(moments))
    left = weight[:, order].astype(float)
    spread = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    made = np.empty(weight.shape, np.int64)
    for place, column in enumerate(order):
        made[:, column] = saturate(np.rint(left[:, place]).astype(np.int64), bits)
        lost = (left[:, place] - made[:, column]) / spread[place, place]
        left[:, place + 1 :] -= np.outer(lost, spread[place, place + 1 :])
    return made
