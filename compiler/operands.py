"""An op -> the numbers that its arithmetic works on, in texts of the model's own.

A product, a root or a division takes a time that depends on its operands.  fixed.usual has the
values of such texts; here they are brought to what enters the arithmetic of a contract, as its
reference has it (kernels/reference/).  Targets count in these what their code asks about.

To add a contract: a case in `operands`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.kernels.arithmetic import Array, isqrt, saturate
from anachron.kernels.reference.norm import RECIPROCAL_SHIFT, reciprocal_rms

MOST_PAIRS = 1 << 17  # of factors that are looked at, about
OFFSET = 1 << 15  # makes an int16 unsigned


@dataclass(frozen=True)
class Norm:
    """What a norm of vectors (n, size) goes through.

    x        centred, where it is a layer norm     small   >> pre_shift, to be squared
    total    of the squares (n,)                   argument, root   (n,)
    inverse  (n, 1)                                unit    before its gains
    whole    sums of x (n,), before it is centred; None for an RMS norm
    """

    x: Array
    small: Array
    total: Array
    argument: Array
    root: Array
    inverse: Array
    unit: Array
    whole: Array | None


@dataclass(frozen=True)
class Attention:
    """What an attention does: of all samples, positions n of them, heads h, of values of a size.

    scores    (samples, h, n, n)   shifted           seen    (n, n)
    distance  from the largest one seen, by row      weight  0 where not seen
    q, k, v   (samples, n, h, size): keys and values as each head reads them
    """

    q: Array
    k: Array
    v: Array
    scores: Array
    seen: Array
    distance: Array
    weight: Array

    @property
    def products(self) -> tuple[Array, Array]:
        """Queries and keys, feature by feature, of every pair that meets."""
        thin = max(1, self.scores.size * self.q.shape[-1] // MOST_PAIRS)
        sample, head, row, past = (
            place[::thin] for place in np.nonzero(np.broadcast_to(self.seen, self.scores.shape))
        )
        return self.q[sample, row, head], self.k[sample, past, head]

    @property
    def mixed(self) -> tuple[Array, Array]:
        """Weights above 0 (n, 1) and the values that they weigh (n, size)."""
        thin = max(1, self.scores.size * self.q.shape[-1] // MOST_PAIRS)
        sample, head, row, past = (place[::thin] for place in np.nonzero(self.weight))
        return self.weight[sample, head, row, past][:, None], self.v[sample, past, head]

    def sums(self, offset: int) -> tuple[Array, Array]:
        """(samples, h, n, size) sums of weight * (value + offset), and of weights (..., 1)."""
        totals = np.einsum("shij,sjhd->shid", self.weight, self.v + offset)
        return totals, np.maximum(1, self.weight.sum(-1, keepdims=True))


def vectors(fixed: FixedModel, name: str) -> Array:
    """(vectors, size) of a value."""
    x = fixed.usual[name]
    return x.reshape(-1, x.shape[-1]).astype(np.int64)


def norm(fixed: FixedModel, op: Op) -> Norm:
    """A norm's numbers."""
    x, whole, a = vectors(fixed, op.inputs[0]), None, op.attributes
    if op.contract == "layer_norm":
        whole = x.sum(-1)
        x = saturate(x - whole[:, None] // x.shape[-1], 16)
    shifts = {name: a[name] for name in ("pre_shift", "root_shift", "reciprocal_bits")}
    small = x >> a["pre_shift"]
    total = (small * small).sum(-1)
    argument = np.maximum(1, total // x.shape[-1]) << a["root_shift"]
    inverse = reciprocal_rms(x, **shifts)
    root = np.maximum(1, isqrt(argument))
    unit = x * inverse >> RECIPROCAL_SHIFT
    return Norm(x, small, total, argument, root, inverse, unit, whole)


def divisions(size: int, bits: int, found: Norm, offset: int = 0) -> list[tuple[Array, Array]]:
    """(dividends, divisors) of a norm by long division; offset: added to x where it is centred."""
    pairs = [(np.full_like(found.root, 1 << bits), found.root)]
    if size & size - 1:
        pairs.append((found.total, np.full_like(found.total, size)))
        if found.whole is not None:
            whole = found.whole + offset * size
            pairs.append((np.where(whole < 0, ~whole, whole), np.full_like(whole, size)))
    return pairs


def attention(op: Op, values: Mapping[str, Array]) -> Attention:
    """An attention's numbers; values: by name, (samples, positions, size), as fixed.usual."""
    heads, kv_heads = op.attributes["heads"], op.attributes["kv_heads"]
    q, k, v = (values[name].astype(np.int64) for name in op.inputs)
    samples, n, _ = q.shape
    q = q.reshape(samples, n, heads, -1)
    k, v = (
        np.repeat(x.reshape(samples, n, kv_heads, -1), heads // kv_heads, axis=2) for x in (k, v)
    )
    scores = np.einsum("sihd,sjhd->shij", q, k) >> op.attributes["score_shift"]
    seen = np.tri(n, dtype=bool) if op.attributes["causal"] else np.ones((n, n), bool)
    largest = np.where(seen, scores, np.iinfo(np.int64).min).max(-1, keepdims=True)
    distance, table = largest - scores, op.constants["table"].astype(np.int64)
    weight = np.where(seen, table[distance.clip(0, len(table) - 1)], 0)
    return Attention(q, k, v, scores, seen, distance, weight)


def factors(fixed: FixedModel, op: Op) -> list[tuple[Array, Array]]:
    """Pairs of arrays, broadcast against each other: the factors of an op's signed products.

    Each pair of arrays stands for as many products of the op as any other.  The first factors are
    what a kernel takes one after the other: a weight, a key, an element.
    """
    match op.contract:
        case "matvec":
            weight = op.constants["weight"].astype(np.int64)
            x = vectors(fixed, op.inputs[0])
            x = x[:: max(1, x.shape[0] * weight.size // MOST_PAIRS)]
            return [(weight[None], x[:, None])]
        case "rms_norm" | "layer_norm":
            found = norm(fixed, op)
            gain = op.constants["gain"].astype(np.int64)
            return [(found.small, found.small), (found.x, found.inverse), (found.unit, gain)]
        case "attention":
            found_heads = attention(op, fixed.usual)
            q, k = found_heads.products
            return [(k, q), found_heads.mixed]
        case "rope":
            return _turned(fixed, op)
        case "multiply":
            a, b = (vectors(fixed, name) for name in op.inputs)
            return [(a, b)]
    return []


def line(fixed: FixedModel, op: Op) -> Mapping[str, Array]:
    """Where a lookup's elements lie: `fraction` and `rise` of those that the table holds, `above`
    and `below` it, of all."""
    x, shift = vectors(fixed, op.inputs[0]).ravel(), op.attributes["shift"]
    table = op.constants["table"].astype(np.int64)
    above, below = x >= 128 << shift, x < -(128 << shift)
    inside = np.maximum(x[~above], -(128 << shift))
    place = inside >> shift
    rise = table[place + 129] - table[place + 128]
    return {"fraction": inside - (place << shift), "rise": rise, "above": above, "below": below,
            "start": table[place + 128]}  # fmt: skip


def _turned(fixed: FixedModel, op: Op) -> list[tuple[Array, Array]]:
    """Of rope: both elements of a pair times cosine and sine."""
    x, heads = fixed.usual[op.inputs[0]].astype(np.int64), op.attributes["heads"]
    samples, n, width = x.shape
    pairs = x.reshape(samples, n, heads, width // heads)
    half = width // heads // 2
    if op.attributes["interleaved"]:
        a, b = pairs[..., 0::2], pairs[..., 1::2]
    else:
        a, b = pairs[..., :half], pairs[..., half:]
    c, s = (op.constants[role].astype(np.int64)[:n, None] for role in ("cosine", "sine"))
    return [(a, c), (b, s), (b, c), (a, s)]


def division_steps(dividend: Array, divisor: Array, bits: int) -> tuple[float, float]:
    """Of the steps of a division that gives so many bits: the share whose remainder, doubled,
    leaves 16 bits, and that of the others whose quotient's bit is 0."""
    dividend, divisor = (x.astype(np.int64).ravel() for x in np.broadcast_arrays(dividend, divisor))
    if not dividend.size:
        return 0.0, 0.5
    remainder = dividend >> bits
    over = less = 0
    for bit in reversed(range(bits)):
        remainder = remainder << 1 | dividend >> bit & 1
        fits = remainder >= divisor
        over += int((remainder >> 16 != 0).sum())
        less += int((~fits & (remainder >> 16 == 0)).sum())
        remainder = np.where(fits, remainder - divisor, remainder)
    steps = bits * dividend.size
    return over / steps, less / max(1, steps - over)
