"""What each op means in floating point, and what its gradient is: numpy, one function an op.

Every value has the shape (..., positions, size); leading axes are a batch.  A function takes the
values it reads, its parameters by role, and its node's attributes, in that order.  Gradients take
the gradient of the op's result, `dy`, first; those of parameters sum over batch and positions.

To add an op: its meaning and its gradients here, its row in ops.py.
Sources: Vaswani et al., "Attention Is All You Need", 2017 (attention); Zhang & Sennrich, "Root
Mean Square Layer Normalization", 2019; Su et al., "RoFormer", 2021 (rope); Hendrycks & Gimpel,
"Gaussian Error Linear Units", 2016, in its tanh form; Shazeer, "GLU Variants", 2020 (silu).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray
Weights = dict[str, Array]

GELU_SCALE, GELU_CUBE = math.sqrt(2 / math.pi), 0.044715


def flatten(x: Array) -> Array:
    """Batch and positions in one axis: (rows, size)."""
    return x.reshape(-1, x.shape[-1])


def embed(index: Array, w: Weights, **_: Any) -> Array:
    """The row of the table at each index; index (..., positions)."""
    return w["weight"][index]


def embed_weight_gradient(dy: Array, index: Array, w: Weights) -> Array:
    """Each row's gradient is the sum of dy wherever its index stood."""
    gradient = np.zeros_like(w["weight"])
    np.add.at(gradient, index.reshape(-1), flatten(dy))
    return gradient


def linear(x: Array, w: Weights, **_: Any) -> Array:
    """weight @ x + bias."""
    y = x @ w["weight"].T
    return y + w["bias"] if "bias" in w else y


def linear_gradient(dy: Array, w: Weights) -> Array:
    """weight transposed @ dy."""
    return dy @ w["weight"]


def linear_weight_gradient(dy: Array, x: Array, w: Weights) -> Array:
    """The sum of dy outer x."""
    return flatten(dy).T @ flatten(x)


def bias_gradient(dy: Array, w: Weights) -> Array:
    """The sum of dy."""
    return flatten(dy).sum(0)


def add(a: Array, b: Array, w: Weights) -> Array:
    """a + b."""
    return a + b


def multiply(a: Array, b: Array, w: Weights) -> Array:
    """a * b, element by element."""
    return a * b


def relu(x: Array, w: Weights) -> Array:
    """max(0, x)."""
    return np.maximum(x, 0.0)


def relu_gradient(dy: Array, x: Array, w: Weights) -> Array:
    """dy where x is above 0."""
    return np.where(x > 0, dy, 0.0)


def gelu(x: Array, w: Weights) -> Array:
    """x times the normal distribution at x, by tanh."""
    return 0.5 * x * (1 + np.tanh(GELU_SCALE * (x + GELU_CUBE * x**3)))


def gelu_gradient(dy: Array, x: Array, w: Weights) -> Array:
    """dy times the slope of gelu."""
    t = np.tanh(GELU_SCALE * (x + GELU_CUBE * x**3))
    slope = GELU_SCALE * (1 + 3 * GELU_CUBE * x**2)
    return dy * 0.5 * (1 + t + x * (1 - t * t) * slope)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def silu(x: Array, w: Weights) -> Array:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


def silu_gradient(dy: Array, x: Array, w: Weights) -> Array:
    """dy times the slope of silu."""
    s = sigmoid(x)
    return dy * s * (1 + x * (1 - s))


def inverse_rms(x: Array, epsilon: float) -> Array:
    """1 / sqrt(mean(x * x) + epsilon), one a row."""
    return 1 / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon)


def rms_norm(x: Array, w: Weights, *, epsilon: float) -> Array:
    """x over its root mean square, times gain."""
    return x * inverse_rms(x, epsilon) * w["gain"]


def rms_norm_gradient(dy: Array, x: Array, w: Weights, *, epsilon: float) -> Array:
    """The part of gain * dy that changes the direction of x, over its root mean square."""
    inverse = inverse_rms(x, epsilon)
    unit, g = x * inverse, dy * w["gain"]
    return inverse * (g - unit * (g * unit).mean(-1, keepdims=True))


def rms_norm_gain_gradient(dy: Array, x: Array, w: Weights, *, epsilon: float) -> Array:
    """The sum of dy times x over its root mean square."""
    return flatten(dy * x * inverse_rms(x, epsilon)).sum(0)


def centre(x: Array) -> Array:
    """x less its mean, row by row."""
    return x - x.mean(-1, keepdims=True)


def layer_norm(x: Array, w: Weights, *, epsilon: float) -> Array:
    """rms_norm of x less its mean, plus bias."""
    return rms_norm(centre(x), w, epsilon=epsilon) + w["bias"]


def layer_norm_gradient(dy: Array, x: Array, w: Weights, *, epsilon: float) -> Array:
    """rms_norm's gradient, less its mean."""
    return centre(rms_norm_gradient(dy, centre(x), w, epsilon=epsilon))


def layer_norm_gain_gradient(dy: Array, x: Array, w: Weights, *, epsilon: float) -> Array:
    """rms_norm's, of x less its mean."""
    return rms_norm_gain_gradient(dy, centre(x), w, epsilon=epsilon)


def softmax(x: Array) -> Array:
    """exp(x) over its sum along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def split_heads(x: Array, heads: int) -> Array:
    """(..., positions, heads * size) -> (..., heads, positions, size)."""
    return np.moveaxis(x.reshape(*x.shape[:-1], heads, -1), -2, -3)


def join_heads(x: Array) -> Array:
    """The way back from split_heads."""
    x = np.moveaxis(x, -3, -2)
    return x.reshape(*x.shape[:-2], -1)


def spread_heads(x: Array, heads: int, kv_heads: int) -> Array:
    """Split x, and repeat each of kv_heads for the query heads that read it."""
    return np.repeat(split_heads(x, kv_heads), heads // kv_heads, axis=-3)


def gather_heads(x: Array, heads: int, kv_heads: int) -> Array:
    """The gradient of spread_heads: sums over the query heads that read a head."""
    grouped = x.reshape(*x.shape[:-3], kv_heads, heads // kv_heads, *x.shape[-2:])
    return join_heads(grouped.sum(-3))


def attention_weights(
    q: Array, k: Array, w: Weights, *, heads: int, kv_heads: int, causal: bool, scale: float
) -> Array:
    """softmax(scale * q . k) over the rows that each position sees: (..., heads, rows, rows)."""
    scores = scale * split_heads(q, heads) @ np.swapaxes(spread_heads(k, heads, kv_heads), -1, -2)
    if causal:
        seen = np.tri(scores.shape[-2], scores.shape[-1], dtype=bool)
        scores = np.where(seen, scores, -np.inf)
    return softmax(scores)


def attention(q: Array, k: Array, v: Array, w: Weights, **attributes: Any) -> Array:
    """Each position's mean of v, weighted by how its q agrees with each k."""
    heads, kv_heads = attributes["heads"], attributes["kv_heads"]
    return join_heads(attention_weights(q, k, w, **attributes) @ spread_heads(v, heads, kv_heads))


def attention_scores_gradient(
    dy: Array, v: Array, weights: Array, w: Weights, *, heads: int, kv_heads: int, scale: float
) -> Array:
    """The gradient of q . k, (..., heads, rows, rows): the softmax's, times scale."""
    dweights = split_heads(dy, heads) @ np.swapaxes(spread_heads(v, heads, kv_heads), -1, -2)
    inside = (dweights * weights).sum(-1, keepdims=True)
    return scale * weights * (dweights - inside)


def attention_q_gradient(
    dscores: Array, k: Array, w: Weights, *, heads: int, kv_heads: int
) -> Array:
    """Each position's sum of k, by the gradients of its scores."""
    return join_heads(dscores @ spread_heads(k, heads, kv_heads))


def attention_k_gradient(
    dscores: Array, q: Array, w: Weights, *, heads: int, kv_heads: int
) -> Array:
    """Each row's sum of the q that looked at it, by the gradients of the scores."""
    return gather_heads(np.swapaxes(dscores, -1, -2) @ split_heads(q, heads), heads, kv_heads)


def attention_v_gradient(
    dy: Array, weights: Array, w: Weights, *, heads: int, kv_heads: int
) -> Array:
    """Each row's sum of dy where it was looked at, by the weights."""
    return gather_heads(np.swapaxes(weights, -1, -2) @ split_heads(dy, heads), heads, kv_heads)


def rope(
    x: Array, w: Weights, *, heads: int, theta: float, interleaved: bool, back: bool = False
) -> Array:
    """Turn each pair of features of a head by an angle that grows with the position.

    Pairs are features (0, 1), (2, 3), ... where interleaved, else (0, size/2), (1, size/2 + 1) ...
    """
    positions, size = x.shape[-2], x.shape[-1] // heads
    angle = np.outer(np.arange(positions), theta ** (-np.arange(0, size, 2) / size))
    c, s = np.cos(angle), np.sin(angle)
    if back:
        s = -s
    h = split_heads(x, heads)
    if interleaved:
        a, b = h[..., 0::2], h[..., 1::2]
        turned = np.stack([a * c - b * s, a * s + b * c], -1).reshape(h.shape)
    else:
        a, b = h[..., : size // 2], h[..., size // 2 :]
        turned = np.concatenate([a * c - b * s, a * s + b * c], -1)
    return join_heads(turned)


def rope_gradient(dy: Array, w: Weights, **attributes: Any) -> Array:
    """dy turned back."""
    return rope(dy, w, back=True, **attributes)


def cross_entropy(logits: Array, target: Array, w: Weights) -> Array:
    """-log of the probability given to each target, (..., positions, 1); 0 where it is negative."""
    largest = logits.max(-1, keepdims=True)
    log_total = np.log(np.exp(logits - largest).sum(-1, keepdims=True)) + largest
    right = np.take_along_axis(logits, np.maximum(target, 0)[..., None], -1)
    return np.where(target[..., None] >= 0, log_total - right, 0.0)


def cross_entropy_gradient(logits: Array, target: Array, w: Weights) -> Array:
    """softmax(logits) less one at the target, over the number of targets."""
    counted = target >= 0
    wanted = np.zeros_like(logits)
    np.put_along_axis(wanted, np.maximum(target, 0)[..., None], 1.0, -1)
    return (softmax(logits) - wanted) * counted[..., None] / max(1, counted.sum())


def sgd(weight: Array, gradient: Array, *, rate: float, clip: float) -> Array:
    """weight less rate times the gradient, whose elements are cut at clip."""
    return weight - rate * np.clip(gradient, -clip, clip)
