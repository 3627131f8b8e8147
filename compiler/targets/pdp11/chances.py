"""FixedModel -> how long its products take, and how often its code goes which way.

Counted in texts of the model's own (compiler/operands.py), op by op: MUL's time depends on both
factors, a multiplication by steps on the bits of one, a root and a quotient on their bits, and a
row whose weight is 0 is passed over.  To add one: its name in the claims of a kernel, and a line
here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anachron.compiler import operands
from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.operands import division_steps
from anachron.emulators.pdp11.timing import Extended
from anachron.kernels.arithmetic import Array

LEAST = -(1 << 15)  # one word has no opposite
SHORT = 1 << 16  # below it a root is found in half the steps


def usual(fixed: FixedModel, op: Op) -> dict[str, object]:
    """What the claims of the routines that an op uses may ask for; arrays: a number a position."""
    environment = _products(operands.factors(fixed, op))
    match op.contract:
        case "rms_norm" | "layer_norm":
            environment |= _norm(fixed, op)
        case "attention":
            environment |= _attention(fixed, op)
        case "matvec":
            environment |= _shifts(op.constants["shift"].astype(np.int64))
        case "relu":
            positive = operands.vectors(fixed, op.inputs[0]) >= 0
            environment["positive"] = float(positive.mean())
        case "lookup":
            environment |= _lookup(fixed, op)
    return environment


def at(environment: Mapping[str, object], position: int | tuple | None) -> dict[str, object]:
    """An environment with numbers where it has one a position; the last ones serve beyond.

    position  (first, mean, last) asks for the mean of all
    """

    def choose(values: Array) -> float:
        if isinstance(position, int):
            return float(values[min(position, values.size - 1)])
        return float(values.mean())

    return {n: choose(v) if isinstance(v, Array) else v for n, v in environment.items()}


def steps(register: Array) -> Array:
    """MUL's steps: how often the bits of a word change, from the right, beginning at a 0."""
    word = register & 0xFFFF
    return np.bitwise_count((word ^ word << 1) & 0xFFFF).astype(np.int64)


def time_factors(pairs: list[tuple[Array, Array]], times: Extended) -> float:
    """What data adds to a MUL: the mean over pairs of arrays of (register, source)."""
    means = []
    for register, source in pairs:
        alone = np.where(register < 0, times.mul_least_negative, times.mul_least)
        product = register * source
        high = product >> 16
        means.append(
            np.where(source == LEAST, alone, steps(register) * times.mul_step).mean()
            + times.mul_negative * (source < 0).mean()
            + np.where(product == 0, times.mul_zero, times.mul_short * ((high == 0) | (high == -1)))
            .mean()
        )
    return float(np.mean(means))


def _products(pairs: list[tuple[Array, Array]]) -> dict[str, object]:
    """Of `multiply` and `multiply.byte`: the bits of the first factor, and both signs."""
    if not pairs:
        return {}
    word, size = ([np.bitwise_count(x & 0xFFFF).mean() for x in row] for row in (
        [a for a, _ in pairs], [np.abs(a) for a, _ in pairs]
    ))  # fmt: skip
    return {
        "clear": 1 - float(np.mean(word)) / 16,
        "byte_clear": 1 - float(np.mean(size)) / 8 if max(size) <= 8 else 0.5,
        "positive_a": float(np.mean([(a >= 0).mean() for a, _ in pairs])),
        "positive_b": float(np.mean([(b >= 0).mean() for _, b in pairs])),
    }


def _shifts(shift: Array) -> dict[str, object]:
    """Of rows that the 11/20 shifts by a step at a time."""
    some = shift[shift > 0] if shift.any() else np.ones(1)
    return {
        "no_shift": float((shift == 0).mean()),
        "shift": float(some.mean()),
        "least_shift": int(some.min()),
        "most_shift": int(some.max()),
    }


def _divided(pairs: list[tuple[Array, Array]]) -> dict[str, object]:
    """Of `divide`: remainders beyond 16 bits, and bits of the quotient that are 0."""
    steps = np.array([division_steps(*pair, 32) for pair in pairs])
    over = float(steps[:, 0].mean())
    less = float(((1 - steps[:, 0]) * steps[:, 1]).mean())
    return {"quotient_over": over, "quotient_less": less / (1 - over) if over < 1 else 0.0}


def _norm(fixed: FixedModel, op: Op) -> dict[str, object]:
    found = operands.norm(fixed, op)
    short = found.argument < SHORT
    ones = np.bitwise_count(found.root)
    return {
        **_divided(operands.divisions(op.value.size, op.attributes["reciprocal_bits"], found)),
        "root_short": float(short.mean()),
        "root_less": 1 - float(ones[~short].mean()) / 16 if not short.all() else 0.5,
        "short_root_less": 1 - float(ones[short].mean()) / 8 if short.any() else 0.5,
        "mean_positive": float((found.whole >= 0).mean()) if found.whole is not None else 0.5,
    }


def _attention(fixed: FixedModel, op: Op) -> dict[str, object]:
    found = operands.attention(op, fixed.usual)
    seen, rows = found.seen, found.seen.sum(-1)
    below = np.where(seen, found.scores, np.iinfo(np.int64).min)
    before = np.maximum.accumulate(below, -1)[..., :-1]
    higher = (below[..., 1:] > before) & seen[..., 1:]
    samples, heads = found.weight.shape[:2]
    far = (found.distance >= len(op.constants["table"]) - 1) & seen & (found.distance > 0)
    totals, weights = found.sums(0)

    def share(chosen: Array) -> Array:
        """Of the rows that each position sees."""
        return np.asarray(chosen.sum((0, 1, 3)) / (samples * heads * rows))

    return {
        **_divided([(np.where(totals < 0, ~totals, totals), weights)]),
        "weightless": share((found.weight == 0) & seen),
        "higher": share(higher) + 1 / rows,  # the first one always is
        "far": share(far),
        "mixed_positive": float((totals >= 0).mean()),
    }


def _lookup(fixed: FixedModel, op: Op) -> dict[str, object]:
    found = operands.line(fixed, op)
    fraction, rise = found["fraction"], found["rise"]
    inside = fraction > 0
    return {
        **_products([(fraction[inside], rise[inside])] if inside.any() else []),
        "line_even": float(1 - inside.mean()) if inside.size else 1.0,
        "not_above": float(1 - found["above"].mean()),
        "not_below": float(1 - found["below"].mean() / max(1e-9, 1 - found["above"].mean())),
    }
