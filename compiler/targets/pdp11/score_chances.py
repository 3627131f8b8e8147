"""FixedModel, an attention op -> how often its heads go the slow exact way to their scores.

A head goes it where its sums or its scores leave their words (kernels/pdp11/attention.py).  These
are the guards' own tests, made on the integers of texts: how often each fails, how late, and what
the slow way then finds.
"""

from __future__ import annotations

import numpy as np

from anachron.compiler import operands
from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.operands import Attention
from anachron.kernels.arithmetic import Array

LONG = 1 << 16  # magnitudes of q that add up to less cannot leave 32 bits
REACH = 1 << 22  # the same of that sum, in units of 512, times the largest magnitude of the keys


def usual(fixed: FixedModel, op: Op, guarded: bool, together: bool) -> dict[str, object]:
    """What the claims of the guards and of the slow way ask for; arrays: a number a position.

    guarded   sums are checked: they are not proven to stay inside 32 bits
    together  all positions are asked about at once, as an encoder's are: arrays have one number
    """
    over = (0, 1, 2) if together else (0, 1)

    def share(chosen: Array) -> Array:
        return np.asarray(chosen.mean(over))

    def mean(numbers: Array, chosen: Array, otherwise: Array | int) -> Array:
        count = chosen.sum(over)
        return np.where(count > 0, (numbers * chosen).sum(over) / np.maximum(1, count), otherwise)

    found, causal = operands.attention(op, fixed.usual), bool(op.attributes["causal"])
    n, size = found.q.shape[1], found.q.shape[-1]
    shift, rows = op.attributes["score_shift"], found.seen.sum(-1)
    rows = rows.mean(keepdims=True) if together else rows
    magnitude = np.abs(found.q).sum(-1).swapaxes(1, 2)  # (samples, heads, n)
    long = (magnitude >= LONG) & guarded
    near = ((magnitude >> 9) + 1) * _largest_keys(found, causal) < REACH
    leaves = ((found.scores >= 1 << 15) | (found.scores < -(1 << 15))) & found.seen
    out = long & ~near
    beyond = leaves.any(-1) & ~out
    first_long = (np.abs(found.q).cumsum(-1) >= LONG).argmax(-1).swapaxes(1, 2)
    return {
        "head_size": size,
        **({} if causal else {"rows": n}),
        "score_shift": shift,
        "no_score_shift": float(shift == 0),
        "query_positive": float((found.q >= 0).mean()),
        "key_positive": float((found.k >= 0).mean()),
        "key_higher": _records(found, causal),
        "long_here": _in_each(share(long), size),
        "long_at": mean(first_long + 1.0, long, size),
        "in_reach": mean(near * 1.0, long, 1),
        "beyond_here": _in_each(mean(beyond * 1.0, ~out, 0), rows),
        "beyond_at": mean(leaves.argmax(-1) + 1.0, beyond, rows),
        **_compared(found, out | beyond),
    }


def _in_each(share: Array, passes: Array | int) -> Array:
    """What happens in each pass, where a loop of so many is left before its end in a share."""
    return np.asarray(1 - (1 - share.clip(0, 1)) ** (1 / np.asarray(passes)))


def _largest_keys(found: Attention, causal: bool) -> Array:
    """(samples, heads, n) the largest magnitude among the keys that a position sees; one of 2**15,
    which is no word, is out of reach."""
    largest = np.abs(found.k).max(-1)
    largest = np.maximum.accumulate(largest, 1) if causal else largest.max(1, keepdims=True)
    return np.where(largest < 1 << 15, largest, REACH).swapaxes(1, 2)


def _records(found: Attention, causal: bool) -> Array:
    """Of the keys' elements that each position sees, those larger than all before them."""
    samples, n, heads, size = found.k.shape
    keys = np.abs(found.k).swapaxes(1, 2).reshape(samples, heads, n * size)
    before = np.maximum.accumulate(np.pad(keys, ((0, 0), (0, 0), (1, 0))), -1)[..., :-1]
    higher = (keys > before).reshape(samples, heads, n, size).mean((0, 1, 3))
    share = higher.cumsum() / np.arange(1, n + 1)
    return np.asarray(share if causal else np.full(n, share[-1]))


def _compared(found: Attention, wide: Array) -> dict[str, object]:
    """What the slow way finds: the scores' three words against the largest before, and apart."""
    chosen = found.seen & wide[..., None]
    if not chosen.any():
        return {}
    below = np.where(found.seen, found.scores, np.iinfo(np.int64).min)
    before = np.maximum.accumulate(below, -1)
    before = np.concatenate([below[..., :1], before[..., :-1]], -1)[chosen]
    score, largest = found.scores[chosen], found.scores[chosen] + found.distance[chosen]
    chances: dict[str, object] = {}
    equal = np.ones(score.shape, bool)
    for number, shift in enumerate((32, 16, 0), 1):
        mask = -1 if shift == 32 else 0xFFFF
        a, b = score >> shift & mask, before >> shift & mask
        less = equal & ((a <= b) if shift == 0 else (a < b))
        more = equal & (a > b)
        chances[f"less_{number}"] = float(less.sum() / max(1, equal.sum()))
        chances[f"more_{number}"] = float(more.sum() / max(1, (equal & ~less).sum()))
        equal &= a == b
    apart = largest - score
    words = apart >> 16 != 0
    query, past = found.products
    return chances | {
        "words_apart": float(words.mean()),
        "near": float((apart[~words] & 0x8000 == 0).mean()) if not words.all() else 1.0,
        "product_positive": float((query * past >= 0).mean()),
    }
