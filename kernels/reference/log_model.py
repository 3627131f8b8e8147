"""Forward contracts of training in logarithms: embed, add, linear, softmax, attention.

Values are linear 16-bit integers whose sums wrap; a product is of the codes of what it multiplies
(log_tables.py).  All arrays have the seed first, so that many trainings run at once; a machine
runs one.

    int16     (seeds, positions, size)       linear integers
    codes     (seeds, positions, size)       of such integers, or of a softmax's probabilities
    constant  the code that the op adds to each product: its scale

To add a contract: a function here, its gradients in log_gradients.py, a line in log_contracts.py,
its lowering in compiler/logarithms.py.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array, wrap
from anachron.kernels.reference.log_tables import (
    SILENT,
    accumulate,
    code,
    exponential,
    multiply,
    octaves,
)

FARTHEST = 512  # a logit farther below the largest counts as one at this distance; Q6
SUM_OCTAVES = 11  # 2**11 is the largest term of a softmax's sum
SUM_SHIFT = 3  # a sum's code is that of its eighth


def embed(index: Array, table: Array) -> Array:
    """The row of each seed's table at each index.

    index (seeds, positions), table (seeds, rows, size) -> (seeds, positions, size)
    """
    return np.take_along_axis(table, index[..., None], 1)


def add(a: Array, b: Array, *, a_shift: int, b_shift: int) -> Array:
    """(a >> a_shift) + (b >> b_shift), wrapped: shifts floor and bring both to one scale."""
    return wrap((a >> a_shift) + (b >> b_shift), 16)


def linear(x: Array, weight: Array, *, constant: int) -> Array:
    """Each row of weight times each position's x.

    x      codes (seeds, positions, columns)
    weight codes (seeds, rows, columns)
    return int16 (seeds, positions, rows)
    """
    return accumulate(x[:, :, None, :] + weight[:, None] + constant, -1)


def add_bias(x: Array, bias: Array, *, bias_shift: int) -> Array:
    """x + (bias >> bias_shift) at each position, wrapped.

    x int16 (seeds, positions, size), bias int16 (seeds, size)
    """
    return wrap(x + (bias >> bias_shift)[:, None], 16)


def relu(x: Array) -> Array:
    """max(0, x), int16."""
    return np.maximum(x, 0)


def split_heads(x: Array, heads: int, readers: int = 1) -> Array:
    """(seeds, positions, heads * size) -> (seeds, heads * readers, positions, size)."""
    parts = np.moveaxis(x.reshape(*x.shape[:-1], heads, -1), -2, -3)
    return np.repeat(parts, readers, -3)


def join_heads(x: Array) -> Array:
    """The way back from split_heads with one reader a head."""
    x = np.moveaxis(x, -3, -2)
    return x.reshape(*x.shape[:-2], -1)


def softmax_octaves(entries: int) -> int:
    """The octaves of a softmax's largest term: at most 11, and so few that no sum reaches 2**15."""
    top = SUM_OCTAVES
    while entries * exponential(octaves(top)) >= 1 << 15:
        top -= 1
    return top


def softmax(logits: Array, seen: Array | bool = True) -> Array:
    """The codes of the probabilities, 0 being that of 1, along the last axis.

    With m the largest logit, d = min(m - logit, 512) and c = -2 * (d >> 2), the code is
    c - n + octaves(8), n being the code of an eighth of the sum of multiply(c + octaves(11)) over
    the entries; more than 15 of them have fewer octaves in both.  m - logit is exact in 16 bits
    without a sign.

    logits  int16 Q6: a difference of 1/64 is 1/2 step of a code
    seen    which entries take part; the others get SILENT
    """
    most = np.where(seen, logits, -(1 << 15)).max(-1, keepdims=True)
    below = -2 * (np.clip(most - logits, 0, FARTHEST) >> 2)
    top = softmax_octaves(logits.shape[-1])
    terms = np.where(seen, multiply(below + octaves(top)), 0)
    total = code(terms.sum(-1, keepdims=True) >> SUM_SHIFT)
    return np.where(seen, below - total + octaves(top - SUM_SHIFT), SILENT)


def attention_weights(
    q: Array, k: Array, *, heads: int, kv_heads: int, causal: bool, constant: int
) -> Array:
    """The softmax of q . k, which the constant makes Q6 and scales.

    q      codes (seeds, rows, heads * size)
    k      codes (seeds, rows, kv_heads * size)
    return codes (seeds, heads, rows, rows); SILENT where a causal row looks ahead
    """
    a = split_heads(q, heads)[:, :, :, None]
    b = split_heads(k, kv_heads, heads // kv_heads)[:, :, None]
    scores = accumulate(a + b + constant, -1)
    rows = scores.shape[-1]
    return softmax(scores, np.tri(rows, dtype=bool) if causal else True)


def attention(weights: Array, v: Array, *, heads: int, kv_heads: int) -> Array:
    """Each position's sum of v by the weights.

    weights codes (seeds, heads, rows, rows)
    v       codes (seeds, rows, kv_heads * size)
    return  int16 (seeds, rows, heads * size)
    """
    b = split_heads(v, kv_heads, heads // kv_heads)[:, :, None]
    return join_heads(accumulate(weights[..., None] + b, -2))
