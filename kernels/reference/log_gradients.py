"""Backward contracts of training in logarithms: the loss and the gradients of log_model.py.

What is multiplied is read as codes; what comes out is linear 16-bit integers, except from the
loss, whose gradients are codes at once.  Shapes and words as in log_model.py.

To add one: as there.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array, wrap
from anachron.kernels.reference.log_model import join_heads, softmax, split_heads
from anachron.kernels.reference.log_tables import SILENT, accumulate, code, multiply, octaves

LOSS_OCTAVES = 12  # the loss's gradients: 1 is the linear integer 2**12
NEGLIGIBLE = 40  # a position whose target lacks at most this much of 2**12 sends nothing back
MOST_SPREAD = 256  # a weight's gradient less the row's mean is clipped here


def cross_entropy(logits: Array, target: Array) -> tuple[Array, Array]:
    """The gradient of each logit as codes, and each position's loss in steps of a code.

    The gradient is the probability; at the target, the probability less one, which is never
    above 0.  A whole position is SILENT where that is at least -NEGLIGIBLE, and where the target
    is below 0.  The loss is minus the code of the target's probability, 0 where no target is.

    logits (seeds, positions, vocab_size)  int16 Q6
    target (seeds, positions)
    return codes of Q12 (seeds, positions, vocab_size); (seeds, positions)
    """
    chosen = np.maximum(target, 0)[..., None]
    probability = softmax(logits)
    right = np.take_along_axis(probability, chosen, -1)
    gradient = probability + octaves(LOSS_OCTAVES)
    lack = np.minimum(0, multiply(right + octaves(LOSS_OCTAVES)) - (1 << LOSS_OCTAVES))
    np.put_along_axis(gradient, chosen, code(lack), -1)
    counted = target[..., None] >= 0
    gradient = np.where(counted & (lack < -NEGLIGIBLE), gradient, SILENT)
    return gradient, np.where(counted, -right, 0)[..., 0]


def sends_back(gradient: Array, nothing: int = SILENT) -> Array:
    """Whether any position of the loss's gradient sends something back; (seeds,)."""
    return (gradient != nothing).any((1, 2))


def linear_gradient(dy: Array, weight: Array, *, constant: int) -> Array:
    """weight transposed times each position's dy.

    dy     codes (seeds, positions, rows)
    weight codes (seeds, rows, columns)
    return int16 (seeds, positions, columns)
    """
    return accumulate(dy[..., None] + weight[:, None] + constant, -2)


def relu_gradient(dy: Array, x: Array) -> Array:
    """dy where x is above 0, int16 both."""
    return np.where(x > 0, dy, 0)


def attention_scores_gradient(
    dy: Array,
    v: Array,
    weights: Array,
    *,
    heads: int,
    kv_heads: int,
    constant: int,
    score_constant: int,
    most: int,
    saturates: bool = False,
) -> Array:
    """The gradient of q . k through the softmax, clipped twice.

    A weight's gradient is dy . v.  Less the row's mean by the weights, it wraps and is clipped at
    MOST_SPREAD; times its weight, at the scale of score_constant, it is clipped at most.

    dy      codes (seeds, rows, heads * size)
    v       codes (seeds, rows, kv_heads * size)
    weights codes (seeds, heads, rows, rows)
    return  int16 (seeds, heads, rows, rows)
    """
    a = split_heads(dy, heads)[:, :, :, None]
    b = split_heads(v, kv_heads, heads // kv_heads)[:, :, None]
    gradient = accumulate(a + b + constant, -1)
    mean = accumulate(code(gradient, saturates) + weights, -1)[..., None]
    spread = np.clip(wrap(gradient - mean, 16), -MOST_SPREAD, MOST_SPREAD)
    scores = multiply(code(spread) + weights + score_constant)
    return np.clip(scores, -most, most)


def attention_q_gradient(
    scores: Array, k: Array, *, heads: int, kv_heads: int, constant: int
) -> Array:
    """Each position's sum of k by the gradients of its scores; all codes."""
    b = split_heads(k, kv_heads, heads // kv_heads)[:, :, None]
    return join_heads(accumulate(scores[..., None] + b + constant, -2))


def attention_k_gradient(
    scores: Array, q: Array, *, heads: int, kv_heads: int, constant: int
) -> Array:
    """Each row's sum of the q that looked at it, by the gradients of the scores; all codes."""
    b = split_heads(q, heads)[:, :, :, None]
    return gather_heads(accumulate(scores[..., None] + b + constant, -3), kv_heads)


def attention_v_gradient(weights: Array, dy: Array, *, heads: int, kv_heads: int) -> Array:
    """Each row's sum of dy where it was looked at, by the weights; all codes."""
    b = split_heads(dy, heads)[:, :, :, None]
    return gather_heads(accumulate(weights[..., None] + b, -3), kv_heads)


def gather_heads(x: Array, kv_heads: int) -> Array:
    """Sums over the query heads that read a head, wrapped; heads joined."""
    grouped = x.reshape(len(x), kv_heads, -1, *x.shape[-2:])
    return join_heads(wrap(grouped.sum(2), 16))
