"""What is around a step: start weights, samples, reports."""

from __future__ import annotations

from anachron.kernels.cuda.places import WARP, indent
from anachron.kernels.cuda.training.grid import Field


def move_on() -> list[str]:
    """The next state of the generator: kernels/reference/sampling.py."""
    return [
        "state = xor32(state, shl32(state, 13))",
        "state = xor32(state, shr32(state, 17))",
        "state = xor32(state, shl32(state, 5))",
    ]


def fill(weight: int, count: int, shift: int, spare: int) -> list[str]:
    """Start weights: every lane moves the generator on, and keeps each 32nd number.

    weight, spare  offsets in the training's memory
    """
    body = [
        *move_on(),
        f"value = and32(sar32(low16(shr32(state, 16)), {shift}), -2)",
        f"to = add32(mul32(i, 4), {weight})",
        f"to = select_lt(eq32(and32(i, {WARP - 1}), lane), 1, add32(lane4, {spare}), to)",
        "store32(mine, to, 0, value)",
        "i = add32(i, 1)",
    ]
    return ["i = int32(0)", f"while i < {count}:", *indent(body)]


def set_all(weight: int, count: int, value: int) -> list[str]:
    """One start value for all: the lanes take turns."""
    body = [
        f"store32(mine, mul32(i, 4), {weight}, {value})",
        f"i = add32(i, {WARP})",
    ]
    return ["i = add32(lane, 0)", f"while i < {count}:", *indent(body)]


def draw(task: str, tokens: Field, targets: Field, n_ids: int) -> list[str]:
    """A sample: tokens, and what they are to become."""
    n = tokens.columns
    lines = []
    for p in range(n):
        lines += [*move_on(), f"k{p} = shr32(mul32(shr32(state, 16), {n_ids}), 16)"]
    lines += _place([f"k{p}" for p in range(n)], tokens)
    lines += ANSWERS[task](n, n_ids)
    return [*lines, *_place([f"r{p}" for p in range(n)], targets)]


def take(tokens: Field, targets: Field) -> list[str]:
    """A sample that the host has made, of this step."""
    n = tokens.columns
    row = "(training * steps + step) * 2"
    return [
        f"if lane < {n}:",
        *indent(
            [
                f"asked = samples[({row}) * {n} + lane]",
                f"wanted = samples[({row} + 1) * {n} + lane]",
                f"store32(sm, add32(w, lane4), {tokens.offset}, asked)",
                f"store32(sm, add32(w, lane4), {targets.offset}, wanted)",
            ]
        ),
    ]


def _place(names: list[str], field: Field) -> list[str]:
    """Numbers that every lane has, into a row: each by one lane."""
    lines = []
    for start in range(0, len(names), WARP):
        some = names[start : start + WARP]
        lines.append(f"value = {some[0]}")
        for i, name in enumerate(some[1:], 1):
            lines.append(f"value = select_lt(eq32(lane, {i}), 1, value, {name})")
        at = field.offset + 4 * start
        to = f"select_lt(lane, {len(some)}, add32(w, lane4), sub32(spare, {at}))"
        lines.append(f"store32(sm, {to}, {at}, value)")
    return lines


def _reverse(n: int, n_ids: int) -> list[str]:
    return [f"r{p} = k{n - 1 - p}" for p in range(n)]


def _copy(n: int, n_ids: int) -> list[str]:
    return [f"r{p} = k{p}" for p in range(n)]


def _sum(n: int, n_ids: int) -> list[str]:
    lines = ["whole = k0", *(f"whole = add32(whole, k{p})" for p in range(1, n))]
    return [*lines, *(f"r{p} = urem32(whole, {n_ids})" for p in range(n))]


def _sort(n: int, n_ids: int) -> list[str]:
    """Neighbours change places, even and odd pairs in turn: n rounds are enough."""
    lines = _copy(n, n_ids)
    for turn in range(n):
        for p in range(turn % 2, n - 1, 2):
            lines += [
                f"less = min32(r{p}, r{p + 1})",
                f"r{p + 1} = max32(r{p}, r{p + 1})",
                f"r{p} = less",
            ]
    return lines


ANSWERS = {"reverse": _reverse, "copy": _copy, "sum": _sum, "sort": _sort}
