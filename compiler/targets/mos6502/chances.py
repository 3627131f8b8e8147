"""FixedModel -> how often its guards fire and its loops turn, counted in texts of its own.

What a claim of time calls by a name and no text tells: fixed.usual has the values, of which these
are counts.  To add one: a function here, its names in the claims of a kernel, and where the op is
lowered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.operands import attention, vectors
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.narrow import attention as narrow_attention
from anachron.kernels.mos6502.narrow import cache as narrow_cache
from anachron.kernels.mos6502.narrow import guard as narrow_guard
from anachron.kernels.mos6502.narrow.norm import SHORT
from anachron.kernels.mos6502.residue.cache import COARSE
from anachron.kernels.mos6502.residue.guard import SHIFT
from anachron.kernels.mos6502.residue.lengths import key_limits
from anachron.kernels.mos6502.residue.middle import FAR as FAR_SQUARES
from anachron.kernels.mos6502.residue.mixing import Mixer

FAR = 256  # what a byte does not hold: an element with SHIFT bits dropped is long from here on


def positive(fixed: FixedModel, name: str) -> float:
    """The share of a value's elements that are not negative."""
    return float((vectors(fixed, name) >= 0).mean())


def shifts(shift: Array) -> dict[str, object]:
    """What shift_total asks for, of rows with such shifts."""
    whole, rest = shift // 8, shift % 8
    some = rest[rest > 0] if rest.any() else np.ones(1)
    return {
        "shift_bytes": (int(whole.min()), float(whole.mean()), int(whole.max())),
        "shift_bits": (int(some.min()), float(some.mean()), int(some.max())),
        "no_bits": float((rest == 0).mean()),
    }


def measured(fixed: FixedModel, name: str) -> dict[str, object]:
    """What guard.py's measure of a value asks for, and fast_norm.py of the mean square; of vectors
    long_means: those whose mean square is too long for a root of a byte."""
    x = vectors(fixed, name)
    size = np.where(x < 0, ~x, x) >> SHIFT
    far = size >= FAR
    turns = float((size[far] >> 8).mean()) if far.any() else 1.0
    most = FAR * 8 >> 8
    return {
        "elements": x.shape[1],
        "long_elements": float(far.mean()),
        "long_turns": (1, min(max(turns, 1), most), most),
        "long_means": float((((x >> SHIFT) ** 2).mean(1) >= FAR**2).mean()),
    }


def shortened(fixed: FixedModel, name: str) -> dict[str, object]:
    """What a norm to int8 asks for besides, of the elements that it looks at.

    plain_elements: those that are short and not negative; stays_short: of the others, as many that
    a vector is left as often as vectors are; left_at: the element, from the last on, where it is
    """
    x = vectors(fixed, name)[:, ::-1]  # from the last one on
    far = (x < -SHORT) | (x >= SHORT)
    looked: Array = np.cumsum(far, axis=1) - far == 0
    long = far.any(1)
    leaves = 1 - float(1 - long.mean()) ** (1 / x.shape[1])
    plain = min(float(((x >= 0) & ~far)[looked].mean()), 1 - leaves)
    return {
        "plain_elements": plain,
        "stays_short": max(0.0, 1 - leaves / (1 - plain)) if plain < 1 else 1.0,
        "left_at": float(far[long].argmax(1).mean()) + 1 if long.any() else 1.0,
    }


def guarded(fixed: FixedModel, op: Op, limits: Sequence[int]) -> dict[str, Any]:
    """What a matrix's guard and guard.py's exact_rows ask for; limits: of the squares, by row.

    too_long: of vectors; row_beyond: of rows of those; zero_columns: of their elements;
    weight_bits: of a weight; weight_ones: of those bits
    """
    x, weight = vectors(fixed, op.inputs[0]), op.constants["weight"].astype(np.int64)
    squares = ((x >> SHIFT) ** 2).sum(1)
    long = squares > min(limits)
    beyond = squares[long, None] >> 8 >= np.maximum(np.asarray(limits), 0) >> 8
    size = np.abs(weight)
    bits = np.ceil(np.log2(size + 1)).clip(1, 8)
    ones = np.bitwise_count(size)
    products = beyond.T.astype(np.float64) @ (x[long] != 0)  # (rows, columns): how often each is
    if not products.any():
        products = np.ones_like(products)
    done = beyond.sum(1)
    zeros = (x[long] == 0).mean(1) @ done / max(1, done.sum()) if done.any() else (x == 0).mean()
    return {
        "too_long": float(long.mean()),
        "row_beyond": float(beyond.mean()) if long.any() else 0.0,
        "zero_columns": float(zeros),
        "weight_bits": (1, float((bits * products).sum() / products.sum()), 8),
        "weight_ones": float((ones * products).sum() / (bits * products).sum()),
    }


def mixed(fixed: FixedModel, op: Op, mixer: Mixer) -> dict[str, object]:
    """What an attention in residues asks for.

    long_heads: of those whose query's and keys' lengths do not prove that the scores fit;
    heavy_heads: whose weights and values; less_rows: of rows, less than a later one's score;
    far_rows: beyond the table of weights; quotient: subtractions for the upper byte of a result,
    and one more
    """
    q, k, v, out = (fixed.usual[name].astype(np.int64) for name in (*op.inputs, op.name))
    heads, found = mixer.shape.heads, attention(op, fixed.usual)
    scores, seen, distance, weight = found.scores, found.seen, found.distance, found.weight
    table = op.constants["table"]
    asked, kept, held = (_high_squares(x) for x in (q, k, v))
    split = (*q.shape[:2], heads, mixer.shape.head_size)
    query, key = (np.minimum(x.reshape(split).sum(-1), FAR_SQUARES) for x in (asked, kept))
    longest = np.maximum.accumulate(key, axis=1) >> COARSE
    largest = np.bitwise_or.accumulate(np.bitwise_or.reduce(held, axis=-1), axis=1) >> COARSE
    limits = np.asarray(mixer.limits)[largest]
    later = np.maximum.accumulate(np.where(seen, scores, -(1 << 40))[..., ::-1], -1)[..., ::-1]
    above = np.where(out < 0, ~out, out) >> 8
    return {
        "long_heads": float((query >= np.asarray(key_limits())[longest]).mean()),
        "heavy_heads": float((weight.sum(-1) >> 8 >= limits[:, None, :]).mean()),
        "less_rows": float((scores < later)[:, :, seen].mean()),
        "far_rows": float((distance >= len(table))[:, :, seen].mean()),
        "quotient": (1, float(above.mean()) + 1, mixer.largest // 256 + 1),
    }


def _high_squares(x: Array) -> Array:
    """What middle.py's head_squares say of words."""
    size = (np.where(x < 0, ~x, x) >> 8) + 1
    return np.minimum(size**2, FAR_SQUARES)


def lengths(fixed: FixedModel, op: Op, shape: narrow_cache.Shape) -> dict[str, object]:
    """What an attention of int8 vectors asks for.

    short_heads: of those whose query and keys prove that the scores fit two residues; light_heads:
    whose weights do
    """
    q, k = (fixed.usual[name].astype(np.int64) for name in op.inputs[:2])
    squares = np.frombuffer(narrow_guard.squares(), np.uint8).astype(np.int64)
    split = (*q.shape[:2], shape.heads, shape.head_size)
    query, key = (-(-squares[x.reshape(split) & 0xFF].sum(-1) >> shape.coarse) for x in (q, k))
    most = np.frombuffer(narrow_attention.limits(shape), np.uint8)[query.clip(0, FAR - 1)]
    weight = attention(op, fixed.usual).weight
    return {
        "short_heads": float((most >= np.maximum.accumulate(key, axis=1)).mean()),
        "light_heads": float((weight.sum(-1) < FAR).mean()),
    }
