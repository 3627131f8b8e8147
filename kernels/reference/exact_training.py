"""Contracts of training in plain fixed point: products are multiplied, sums exact in 32 bits.

They have the names, shapes and roles of those in log_contracts.py, and 16-bit integers where those
have codes; probabilities are Q14.  A `constant` is the power of two that a sum is scaled by: to the
nearest integer, halves up, saturated to 16 bits.  Sums wrap at 32 bits, half a unit among them.

To add a contract: a function here, its line in EXACT_CONTRACTS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anachron.kernels.arithmetic import Array, saturate, wrap
from anachron.kernels.reference import log_gradients, log_model
from anachron.kernels.reference.log_gradients import MOST_SPREAD
from anachron.kernels.reference.log_model import join_heads, split_heads

SHARE_FRAC = 14  # of a probability, and of the loss's gradients
FARTHEST = 512  # a logit so far below the largest, Q6, has no share
LOSS_STEPS = 32  # of a reported loss, to a neper
LEAST_LACK = 480  # what a target may lack without sending back
SUM_UNIT = 8  # of the index of a sum's logarithm: that of the largest term alone


def scale(total: Array, exponent: int) -> Array:
    """total * 2**exponent, to the nearest integer, saturated; total wraps at 32 bits."""
    if exponent >= 0:
        return saturate(wrap(total << exponent, 32), 16)
    return saturate(wrap(total + (1 << -exponent - 1), 32) >> -exponent, 16)


def linear(x: Array, weight: Array, *, constant: int) -> Array:
    """(seeds, positions, columns) by (seeds, rows, columns) -> (seeds, positions, rows)."""
    return scale(x @ weight.swapaxes(-1, -2), constant)


def top_octaves(entries: int) -> int:
    """The octaves of a softmax's largest term: at most 11, and so few that no sum reaches 2**15."""
    return min(11, (((1 << 15) - 1) // entries).bit_length() - 1)


def exponentials(top: int) -> Array:
    """2**top * exp(-d / 64) for every distance d of a logit, the last one 0."""
    terms = np.floor(2.0**top * np.exp(-np.arange(FARTHEST + 1) / 64) + 0.5).astype(np.int64)
    terms[FARTHEST] = 0
    return terms


def sum_logarithms(entries: int) -> Array:
    """32 ln of a softmax's sum over its largest term, for every index of a sum."""
    index = np.maximum(1, np.arange(SUM_UNIT * entries + 1))
    return np.floor(LOSS_STEPS * np.log(index / SUM_UNIT) + 0.5).astype(np.int64)


def softmax(logits: Array) -> tuple[Array, Array, Array]:
    """Probabilities Q14, floored; each logit's distance from the largest; the sum of the terms."""
    below = np.minimum(logits.max(-1, keepdims=True) - logits, FARTHEST)
    terms = exponentials(top_octaves(logits.shape[-1]))[below]
    total = terms.sum(-1, keepdims=True)
    return (terms << SHARE_FRAC) // total, below, total


def attention_weights(
    q: Array, k: Array, *, heads: int, kv_heads: int, causal: bool, constant: int
) -> Array:
    """Probabilities (seeds, heads, rows, rows); 0 where a causal row looks ahead."""
    a, b = split_heads(q, heads), split_heads(k, kv_heads, heads // kv_heads)
    scores = scale(a @ b.swapaxes(-1, -2), constant)
    if not causal:
        return softmax(scores)[0]
    seen = np.tri(scores.shape[-1], dtype=bool)
    return np.where(seen, softmax(np.where(seen, scores, -(1 << 15)))[0], 0)


def attention(weights: Array, v: Array, *, heads: int, kv_heads: int) -> Array:
    """Each position's sum of v by the weights, in v's format."""
    return join_heads(scale(weights @ split_heads(v, kv_heads, heads // kv_heads), -SHARE_FRAC))


def cross_entropy(logits: Array, target: Array) -> tuple[Array, Array]:
    """Each logit's gradient, Q14, and each position's loss in steps of 1/32 neper.

    A position whose target lacks at most LEAST_LACK, or that has none, has no gradient.
    """
    chosen = np.maximum(target, 0)[..., None]
    gradient, below, total = softmax(logits)
    lack = np.take_along_axis(gradient, chosen, -1) - (1 << SHARE_FRAC)
    np.put_along_axis(gradient, chosen, lack, -1)
    counted = target[..., None] >= 0
    entries = logits.shape[-1]
    index = total >> top_octaves(entries) - 3
    loss = (np.take_along_axis(below, chosen, -1) >> 1) + sum_logarithms(entries)[index]
    gradient = np.where(counted & (lack < -LEAST_LACK), gradient, 0)
    return gradient, np.where(counted, loss, 0)[..., 0]


def linear_gradient(dy: Array, weight: Array, *, constant: int) -> Array:
    """weight transposed times each position's dy."""
    return scale(dy @ weight, constant)


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
    saturates: bool = True,
) -> Array:
    """As in log_gradients.py: a weight's gradient less the mean, clipped, times the weight."""
    a, b = split_heads(dy, heads), split_heads(v, kv_heads, heads // kv_heads)
    gradient = scale(a @ b.swapaxes(-1, -2), constant)
    mean = scale((gradient * weights).sum(-1, keepdims=True), -SHARE_FRAC)
    spread = np.clip(wrap(gradient - mean, 16), -MOST_SPREAD, MOST_SPREAD)
    return np.clip(scale(spread * weights, score_constant - SHARE_FRAC), -most, most)


def attention_q_gradient(
    scores: Array, k: Array, *, heads: int, kv_heads: int, constant: int
) -> Array:
    """Each position's sum of k by the gradients of its scores."""
    return join_heads(scale(scores @ split_heads(k, kv_heads, heads // kv_heads), constant))


def attention_k_gradient(
    scores: Array, q: Array, *, heads: int, kv_heads: int, constant: int
) -> Array:
    """Each row's sum of the q that looked at it, by the gradients of the scores."""
    own = scale(scores.swapaxes(-1, -2) @ split_heads(q, heads), constant)
    return log_gradients.gather_heads(own, kv_heads)


def attention_v_gradient(weights: Array, dy: Array, *, heads: int, kv_heads: int) -> Array:
    """Each row's sum of dy where it was looked at, by the weights."""
    own = scale(weights.swapaxes(-1, -2) @ split_heads(dy, heads), -SHARE_FRAC)
    return log_gradients.gather_heads(own, kv_heads)


def update_rows(weight: Array, dy: Array, index: Array, *, constant: int) -> Array:
    """Take dy, scaled, from the row at each index, as often as it stands there."""
    changed = weight.copy()
    np.subtract.at(changed, (np.arange(len(weight))[:, None], index), scale(dy, constant))
    return wrap(changed, 16)


def update_bias(weight: Array, dy: Array, *, constant: int) -> Array:
    """Take the sum of dy over the positions, scaled, from each weight."""
    return wrap(weight - scale(dy.sum(1), constant), 16)


def update_matrix(weight: Array, dy: Array, x: Array, *, constant: int) -> Array:
    """Take the sum over the positions of dy times x, scaled, from each weight."""
    return wrap(weight - scale(dy.swapaxes(-1, -2) @ x, constant), 16)


EXACT_CONTRACTS: dict[str, Callable[..., Any]] = {
    meaning.__name__: meaning
    for meaning in (
        log_model.embed,
        log_model.add,
        log_model.add_bias,
        log_model.relu,
        linear,
        attention_weights,
        attention,
        cross_entropy,
        linear_gradient,
        log_gradients.relu_gradient,
        attention_scores_gradient,
        attention_q_gradient,
        attention_k_gradient,
        attention_v_gradient,
        update_rows,
        update_bias,
        update_matrix,
    )
}
