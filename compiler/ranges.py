"""Proofs of range: how large every value and every accumulator can get, for any input at all.

Two bounds are carried through the graph for each value: an interval for each element, and a bound
on the Euclidean norm of the whole vector, which RMS norms make small and matrices can use (Cauchy
and Schwarz).  A kernel asks here which width an accumulator needs; where no width that it has is
enough, the build is refused or guarded at run time, never left to wrap.

To add an op: a case in `_bound`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.model import INPUTS
from anachron.kernels.arithmetic import Array, Fixed
from anachron.kernels.reference.norm import LARGEST_RECIPROCAL, RECIPROCAL_SHIFT


@dataclass(frozen=True)
class Image:
    """A value as matrix @ u + offset, within error, for some vector u with |u| <= core.

    matrix (size, dim), offset and error (size,)
    groups     so many equal stretches of the value have each a u of their own
    rectified  the value is this, or 0 where it is negative
    """

    matrix: Array
    core: float
    offset: Array
    error: Array
    groups: int = 1
    rectified: bool = False

    def reach(self, weight: Array) -> tuple[Array, Array]:
        """Bounds (least, most) of weight @ value, row by row; weight (rows, size) of floats."""
        slack = np.abs(weight) @ self.error
        if not self.rectified:
            width = weight.shape[1] // self.groups
            spread = sum(
                np.linalg.norm(weight[:, at : at + width] @ self.matrix[at : at + width], axis=1)
                for at in range(0, weight.shape[1], width)
            )
            spread, middle = spread * self.core + slack, weight @ self.offset
            return middle - spread, middle + spread
        up, down = np.maximum(weight, 0), np.maximum(-weight, 0)
        return -self._rectified(down) - slack, self._rectified(up) + slack

    def _rectified(self, weight: Array) -> Array:
        """The most that weights >= 0 can make of max(0, value).

        max(0, u) = (u + |u|)/2; the sum of w|u| is at most the root of sum(w) sum(w u u).
        """
        linear = np.linalg.norm(weight @ self.matrix, axis=1)
        stretch = np.array(
            [np.linalg.norm(np.sqrt(row)[:, None] * self.matrix, 2) for row in weight]
        )
        both = (linear + np.sqrt(weight.sum(1)) * stretch) * self.core / 2
        return both + weight @ np.maximum(0, self.offset)

    def norm(self, rows: slice) -> float:
        """The longest that a stretch of the value, in one group, can be."""
        longest = float(np.linalg.norm(self.matrix[rows], 2)) * self.core
        return longest + float(np.linalg.norm(np.abs(self.offset[rows]) + self.error[rows]))


@dataclass(frozen=True)
class Bound:
    """What is proven of a value.

    lo, hi  (size,)  inclusive, element by element
    norm             at most this, of the vector of any one position
    image   where not None, how the value comes from a normed vector
    heads   where not None, the norms of equal stretches of it, at most
    """

    lo: Array
    hi: Array
    norm: float
    image: Image | None = None
    heads: tuple[float, ...] | None = None

    @property
    def peak(self) -> Array:
        """The largest magnitude of each element."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))


@dataclass(frozen=True)
class Ranges:
    """Bounds of every value, and of every accumulator by op and name.

    accumulators: op -> {"sum": largest magnitude, ...}; for matvec also "rows", (rows,)
    """

    values: dict[str, Bound]
    accumulators: dict[str, dict[str, float | Array]] = field(default_factory=dict)


def analyse(fixed: FixedModel, accumulator_bits: int = 32) -> Ranges:
    """Prove the ranges of a model.

    Raises OverflowError, naming the op, where the sum of a matrix product may leave the bits that
    its contract gives it.
    """
    ranges = Ranges({})
    for op in fixed.ops:
        inputs = [ranges.values[n] for n in op.inputs if n not in INPUTS]
        accumulators: dict[str, float | Array] = {}
        bound = _bound(op, inputs, accumulators, fixed)
        ranges.values[op.name] = _clip(bound, op.value.format)
        ranges.accumulators[op.name] = accumulators
        largest = float(np.max(accumulators.get("sum", 0.0)))
        if op.contract == "matvec" and largest >= 2.0 ** (accumulator_bits - 1):
            raise OverflowError(
                f"{op.name}: its sums may reach {largest:,.0f}, which is more than "
                f"{accumulator_bits} bits hold: use fewer columns or smaller weights"
            )
    return ranges


def _clip(bound: Bound, form: Fixed) -> Bound:
    lo, hi = np.clip(bound.lo, form.lo, form.hi), np.clip(bound.hi, form.lo, form.hi)
    widest = float(np.sqrt((np.maximum(np.abs(lo), np.abs(hi)).astype(float) ** 2).sum()))
    saturates = (lo > bound.lo).any() or (hi < bound.hi).any()
    image = None if saturates else bound.image
    return Bound(lo, hi, min(bound.norm, widest), image, bound.heads)


def _bound(op: Op, inputs: list[Bound], accumulators: dict, fixed: FixedModel) -> Bound:
    size, form = op.value.size, op.value.format
    anything = Bound(np.full(size, form.lo), np.full(size, form.hi), math.inf)
    match op.contract:
        case "embed":
            table = op.constants["table"].astype(np.int64)
            if op.inputs[0] == "position":
                table = table[: fixed.seq_len]
            amount = op.attributes["shift"]
            table = table << amount if amount >= 0 else table >> -amount
            norm = float(np.sqrt((table.astype(float) ** 2).sum(1)).max())
            return Bound(table.min(0), table.max(0), norm)
        case "add":
            a, b = inputs
            return Bound(a.lo + b.lo, a.hi + b.hi, a.norm + b.norm)
        case "matvec":
            return _matvec(op, inputs[0], accumulators)
        case "rms_norm":
            return _normed(op, inputs[0].norm, accumulators)
        case "layer_norm":
            # Centring never lengthens a vector; flooring the mean adds at most 1 an element.
            scaled = _normed(op, inputs[0].norm + math.sqrt(size), accumulators)
            bias = op.constants["bias"].astype(np.int64)
            norm = scaled.norm + float(np.sqrt((bias.astype(float) ** 2).sum()))
            image = scaled.image and replace(scaled.image, offset=bias.astype(float))
            return Bound(scaled.lo + bias, scaled.hi + bias, norm, image)
        case "attention":
            return _attention(op, inputs, accumulators)
        case "rope":
            # A rotation keeps the norm of each pair; the table and the rounding add a little.
            norm = inputs[0].norm * (1 + 2.0**-13) + math.sqrt(size)
            heads, width = op.attributes["heads"], size // op.attributes["heads"]
            lengths = tuple(
                _longest(inputs[0], slice(h * width, (h + 1) * width)) * (1 + 2.0**-13)
                + math.sqrt(width)
                for h in range(heads)
            )
            reach = np.repeat([math.ceil(min(x, float(1 << form.bits))) for x in lengths], width)
            return Bound(-reach, reach, norm, None, lengths)
        case "relu":
            (a,) = inputs
            image = a.image and replace(a.image, rectified=True)
            return Bound(np.maximum(0, a.lo), np.maximum(0, a.hi), a.norm, image)
        case "multiply":
            a, b = inputs
            corners = np.stack([x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)])
            amount = op.attributes["shift"]
            norm = float(min(a.norm * b.peak.max(), b.norm * a.peak.max()))
            norm = norm / 2.0**amount + math.sqrt(size)
            return Bound(corners.min(0) >> amount, corners.max(0) >> amount, norm)
        case "lookup":
            table = op.constants["table"].astype(np.int64)
            top = np.maximum(table.max(), inputs[0].hi >> op.attributes["tail"])
            return Bound(np.full(size, table.min()), np.broadcast_to(top, (size,)), math.inf)
    return anything


def sum_bounds(weight: Array, bias: Array, x: Bound) -> tuple[Array, Array]:
    """(least, most) of weight @ x + bias, row by row, by the elements' intervals, by the norm, and
    by where x comes from."""
    weight = weight.astype(np.int64)
    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
    highest, lowest = up @ x.hi + down @ x.lo, up @ x.lo + down @ x.hi
    reach = np.sqrt((weight.astype(float) ** 2).sum(1)) * x.norm
    reach = np.minimum(np.ceil(reach), 2.0**52).astype(np.int64)
    highest, lowest = np.minimum(highest, reach), np.maximum(lowest, -reach)
    if x.image is not None:
        least, most = x.image.reach(weight.astype(float))
        highest = np.minimum(highest, np.ceil(most).astype(np.int64))
        lowest = np.maximum(lowest, np.floor(least).astype(np.int64))
    return lowest + bias, highest + bias


def _matvec(op: Op, x: Bound, accumulators: dict) -> Bound:
    weight = op.constants["weight"].astype(np.int64)
    bias = op.constants["bias"].astype(np.int64)
    amount = op.constants["shift"].astype(np.int64)
    lowest, highest = sum_bounds(weight, np.zeros_like(bias), x)
    image = _through(x.image or _itself(x), weight, bias, amount)
    # While the sum grows, an order of summation may visit more than its end: the sum of absolutes.
    partial = np.minimum(np.abs(weight) @ x.peak, np.abs(weight).sum(1) * x.peak.max(initial=0))
    accumulators["rows_lo"], accumulators["rows_hi"] = lowest + bias, highest + bias
    accumulators["rows"] = np.maximum(np.abs(lowest + bias), np.abs(highest + bias))
    accumulators["sum"] = float((partial + np.abs(bias)).max(initial=0))
    lo, hi = (lowest + bias) >> amount, (highest + bias) >> amount
    spectral = float(np.linalg.norm(weight.astype(float), 2)) * x.norm
    step = 2.0 ** -amount.astype(float)
    widest = float(np.sqrt((np.maximum(np.abs(lo), np.abs(hi)).astype(float) ** 2).sum()))
    rest = float(np.sqrt(((np.abs(bias) * step + 1) ** 2).sum()))
    return Bound(lo, hi, min(widest, spectral * float(step.max(initial=1)) + rest), image)


def _itself(x: Bound) -> Image | None:
    """A value that nothing simpler explains: a vector as long as it may be."""
    size = len(x.lo)
    if not math.isfinite(x.norm):
        return None
    return Image(np.eye(size), x.norm, np.zeros(size), np.zeros(size))


def _through(image: Image | None, weight: Array, bias: Array, amount: Array) -> Image | None:
    """The image of (weight @ value + bias) >> amount."""
    if image is None or image.rectified or image.groups > 1:
        return None
    scaled = weight * 2.0 ** -amount.astype(float)[:, None]
    offset = scaled @ image.offset + bias * 2.0 ** -amount.astype(float)
    return Image(scaled @ image.matrix, image.core, offset, np.abs(scaled) @ image.error + 1)


def _normed(op: Op, norm_in: float, accumulators: dict) -> Bound:
    """The longest vector that rms_norm can give, over every root that can occur."""
    pre, up = op.attributes["pre_shift"], op.attributes["root_shift"]
    size = op.value.size
    most = min(norm_in / 2.0**pre + math.sqrt(size), 2.0 ** (15 - pre) * math.sqrt(size))
    accumulators["squares"] = most**2
    root = np.arange(1, math.isqrt(math.floor(most**2 / size) + 1 << up) + 2, dtype=np.int64)
    inverse = np.minimum(LARGEST_RECIPROCAL, (1 << op.attributes["reciprocal_bits"]) // root)
    mean = ((root + 1) ** 2 - 1) >> up  # the largest mean that has this root
    length = 2.0**pre * (np.sqrt(size * (mean + 1.0)) + math.sqrt(size))
    length = np.minimum(length, norm_in)
    core = float((length * inverse).max()) / 2.0**RECIPROCAL_SHIFT + math.sqrt(size)
    gain = op.constants["gain"].astype(np.int64)
    scale = gain * 2.0 ** -op.attributes["gain_shift"]
    reach = np.ceil(np.abs(scale) * core + 1).astype(np.int64)
    norm = float(np.abs(scale).max(initial=0)) * core + math.sqrt(size)
    # The product with the gain floors; core holds the floor before it.
    image = Image(np.diag(scale), core, np.zeros(size), np.ones(size))
    return Bound(-reach, reach, norm, image)


def _attention(op: Op, inputs: list[Bound], accumulators: dict) -> Bound:
    q, k, v = inputs
    heads, kv_heads = op.attributes["heads"], op.attributes["kv_heads"]
    size = op.value.size // heads
    group = heads // kv_heads
    scores = 0.0
    for h in range(heads):
        mine = slice(h * size, (h + 1) * size)
        theirs = slice(h // group * size, (h // group + 1) * size)
        by_norm = _longest(q, mine) * _longest(k, theirs)
        by_element = float((q.peak[mine].astype(float) * k.peak[theirs]).sum())
        scores = max(scores, min(by_norm, by_element))
    accumulators["score"] = math.ceil(scores)
    rows = np.concatenate([v.peak[h // group * size :][:size] for h in range(heads)])
    accumulators["weighted"] = float(rows.max(initial=0))  # times the sum of the weights
    spread = np.concatenate(
        [np.arange(h // group * size, (h // group + 1) * size) for h in range(heads)]
    )
    # A floored mean of integers stays between the least and the largest of them, and 0.
    lo, hi = np.minimum(v.lo[spread], 0), np.maximum(v.hi[spread], 0)
    image = None
    if v.image is not None and v.image.groups == 1 and not v.image.rectified:
        image = Image(
            v.image.matrix[spread],
            v.image.core,
            v.image.offset[spread],
            v.image.error[spread] + 1,
            heads,  # each head mixes positions in its own way, and a mean of us is no longer
        )
    return Bound(lo, hi, v.norm * math.sqrt(heads) + math.sqrt(op.value.size), image)


def _longest(x: Bound, rows: slice) -> float:
    """The norm of a stretch of a value, at most."""
    if x.heads is not None and len(x.lo) == (rows.stop - rows.start) * len(x.heads):
        return min(x.norm, x.heads[rows.start // (rows.stop - rows.start)])
    return x.norm if x.image is None else min(x.norm, x.image.norm(rows))
