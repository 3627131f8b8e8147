"""attention, rope: the two ops that know their position."""

import numpy as np

from anachron.kernels.arithmetic import Array, saturate


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    heads: int,
    kv_heads: int,
    causal: bool,
    first: int,
    score_shift: int,
    table: Array,
    bits: int,
) -> Array:
    """Softmax attention with a table for the exponential and one division an output.

    A head's score of a past position j is (q . k[j]) >> score_shift, flooring.  Its weight is
    table[min(len(table) - 1, largest score - score)].  The output is the floored quotient of
    sum(weight * v) by max(1, sum(weight)), saturated.  Head h reads key and value head
    h // (heads / kv_heads).

    q      (positions, heads * size)         int16 or int8: the rows first, first + 1, ...
    k, v   (first + positions, kv_heads * size)   every row so far
    table  (entries,)                        uint8; table[0] > 0
    causal                                   row i sees rows up to itself; otherwise all rows
    return (positions, heads * size)         int{bits}
    """
    n_positions, width = q.shape
    size = width // heads
    q = q.reshape(n_positions, heads, size)
    k = np.repeat(k.reshape(len(k), kv_heads, size), heads // kv_heads, axis=1)
    v = np.repeat(v.reshape(len(v), kv_heads, size), heads // kv_heads, axis=1)
    scores = np.einsum("ihd,jhd->hij", q, k) >> score_shift  # (heads, positions, rows)
    seen = np.ones(scores.shape[1:], bool)
    if causal:
        seen = np.arange(len(k))[None, :] <= first + np.arange(n_positions)[:, None]
    largest = np.where(seen, scores, np.iinfo(np.int64).min).max(-1, keepdims=True)
    distance = np.clip(largest - scores, 0, len(table) - 1)
    weight = np.where(seen, table.astype(np.int64)[distance], 0)
    total = np.maximum(1, weight.sum(-1))  # (heads, positions)
    mixed = np.einsum("hij,jhd->ihd", weight, v) // total.T[:, :, None]
    return saturate(mixed.reshape(n_positions, width), bits)


def rope(
    x: Array,
    position: Array,
    *,
    cosine: Array,
    sine: Array,
    heads: int,
    interleaved: bool,
    bits: int,
) -> Array:
    """Rotate each pair of features of each head by its position's angle.

    A pair (a, b) becomes (a*c - b*s, a*s + b*c), each plus 2**13, then >> 14, saturated.
    Interleaved pairs are features (0, 1), (2, 3), ... of a head; otherwise (0, size/2), ...

    x            (positions, heads * size)  int16 or int8
    cosine, sine (seq_len, size / 2)        int16 Q14
    return       (positions, heads * size)  int{bits}
    """
    n_positions, width = x.shape
    size = width // heads
    pairs = x.reshape(n_positions, heads, size)
    if interleaved:
        a, b = pairs[..., 0::2], pairs[..., 1::2]
    else:
        a, b = pairs[..., : size // 2], pairs[..., size // 2 :]
    c = cosine.astype(np.int64)[position][:, None, :]
    s = sine.astype(np.int64)[position][:, None, :]
    turned = saturate(np.stack([a * c - b * s, a * s + b * c]) + (1 << 13) >> 14, bits)
    out = np.empty_like(pairs)
    if interleaved:
        out[..., 0::2], out[..., 1::2] = turned
    else:
        out[..., : size // 2], out[..., size // 2 :] = turned
    return out.reshape(n_positions, width)
