"""FixedModel -> how often the general arithmetic goes which way, counted in texts of its own.

What kernels/mos6502/arithmetic.py claims by names: of signs, of bits of roots and quotients, of
sums of bytes that cross a page; and what share of an attention's rows weighs nothing, position by
position.  To add one: its name in the claims of a kernel, and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anachron.compiler import operands
from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.operands import OFFSET, division_steps
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.split.shape import MOST_UNITS

Pair = tuple[Array, Array]
WORD, BYTE = 0xFFFF, 0xFF
ROOT_BITS = 16


def usual(fixed: FixedModel, op: Op) -> dict[str, object]:
    """What the claims of arithmetic that an op uses may ask for; arrays: a number a position."""
    match op.contract:
        case "rms_norm" | "layer_norm":
            return _norm(fixed, op)
        case "attention":
            return _attention(fixed, op)
        case "multiply" | "rope":
            pairs = operands.factors(fixed, op)
            return {**_signs(pairs), "page_crossed": _crossings(pairs)}
        case "lookup":
            return _lookup(fixed, op)
    return {}


def at(environment: Mapping[str, object], position: int | None) -> dict[str, object]:
    """An environment with numbers where it has one a position; the last ones serve beyond.

    position  None asks for the mean of all
    """

    def choose(values: Array) -> float:
        return float(values.mean() if position is None else values[min(position, values.size - 1)])

    return {n: choose(v) if isinstance(v, Array) else v for n, v in environment.items()}


def _signs(pairs: list[Pair]) -> dict[str, object]:
    """How often multiply_signed's factors are not negative."""
    return {
        f"positive_{factor}": float(np.mean([(pair[which] >= 0).mean() for pair in pairs]))
        for which, factor in enumerate("ab")
    }


def _crossings(pairs: list[Pair], sizes: tuple[int, int] = (2, 2)) -> float:
    """How often the bytes of two words, as numbers without signs, sum to more than 255."""
    shares = [
        ((a >> 8 * i & 255) + (b >> 8 * j & 255) > 255).mean()
        for a, b in pairs
        for i in range(sizes[0])
        for j in range(sizes[1])
    ]
    return float(np.mean(shares))


def _divided(pairs: list[Pair], bits: int, stem: str) -> dict[str, object]:
    steps = np.array([division_steps(*pair, bits) for pair in pairs])
    over = float(steps[:, 0].mean())
    less = float(((1 - steps[:, 0]) * steps[:, 1]).mean())
    return {f"{stem}_over": over, f"{stem}_less": less / (1 - over) if over < 1 else 0.0}


def _norm(fixed: FixedModel, op: Op) -> dict[str, object]:
    found, gain = operands.norm(fixed, op), op.constants["gain"].astype(np.int64)
    size = np.abs(found.small)
    pairs = [(size, size), (found.x + OFFSET, found.inverse), (found.unit, gain)]
    roots = np.bitwise_count(found.root) / ROOT_BITS
    divided = operands.divisions(op.value.size, op.attributes["reciprocal_bits"], found, OFFSET)
    return {
        **_signs(pairs[2:]),
        **_divided(divided, 32, "quotient"),
        "page_crossed": _crossings(pairs),
        "root_less": 1 - float(roots.mean()),
        "squared_positive": float((found.small >= 0).mean()),
    }


def _attention(fixed: FixedModel, op: Op) -> dict[str, object]:
    found = operands.attention(op, fixed.usual)
    offset = 1 << fixed.values[op.inputs[2]].format.bits - 1
    none = (found.weight == 0) & found.seen
    rows = found.seen.sum(-1)
    units = np.where(found.q < 0, ~found.q, found.q) >> 8
    lengths = units.sum(-1)
    return {
        **_divided([found.sums(offset)], 16, "short"),
        "query_longer": (lengths > MOST_UNITS - units.shape[-1]).mean((0, 2)),
        "query_over": (lengths > BYTE).mean((0, 2)),
        "weightless": none.sum((0, 1, 3)) / (found.weight.shape[0] * found.weight.shape[1] * rows),
    }


def _lookup(fixed: FixedModel, op: Op) -> dict[str, object]:
    found = operands.line(fixed, op)
    rise = found["rise"]
    return {
        "page_crossed": _crossings([(np.abs(rise) & WORD, found["fraction"])], (2, 1)),
        "rises": float((rise >= 0).mean()) if rise.size else 1.0,
        "starts_below": float((found["start"] < 0).mean()) if rise.size else 0.0,
    }
