"""embed, add, relu, multiply, lookup: what happens to each number by itself, word by word.

Those that make a tile at a time can go along with the matrix whose tile they read, so that no more
than a tile of what lies between is ever held.
"""

from __future__ import annotations

from collections.abc import Callable

from anachron.kernels.cuda.batch.fragments import HALVES, At, Value, packed, table_row_bytes
from anachron.kernels.cuda.places import indent


def embed(index: str, table: At, y: Value) -> list[str]:
    """The row of a table at a stream's index, or, where it is p, at the position.

    table  pack_table, in y's format
    """
    row = table_row_bytes(y.order)
    lines: list[str] = []
    indices = [index] if index == "p" else [f"{index}0", f"{index}1"]
    for half, name in enumerate(indices):
        lines.append(f"at = add32(mul32({name}, {4 * row}), mul32(place, {row}))")
        for tile in range(0, y.order.tiles, 4):
            lines.append(f"z = {table.fetch('128', 'at', 4 * tile)}")
            for i in range(min(4, y.order.tiles - tile)):
                lines.append(f"{y.word(half, tile + i)} = z[{i}]")
    if index == "p":
        lines += [f"{y.word(1, t)} = {y.word(0, t)}" for t in range(y.order.tiles)]
    return lines


def each_pair(
    inputs: list[Value], y: Value, tile: int, meaning: Callable[..., str]
) -> list[str]:
    """A tile of y from those of the inputs, number by number."""
    lines = []
    for half in range(2):
        words = [x.word(half, tile) for x in inputs]
        low, high = (meaning(*(f"{f}16({w})" for w in words)) for f in ("low", "high"))
        lines.append(f"{y.word(half, tile)} = {packed(high, low, y.bits)}")
    return lines


def add_tile(a: Value, b: Value, y: Value, tile: int, *, fits: bool) -> list[str]:
    """A tile of a + b, saturated; fits: no sum leaves 16 bits."""
    if not fits:  # products by 1 and 0: the halves are taken apart as they are added
        lines = []
        for half in range(2):
            words = a.word(half, tile), b.word(half, tile)
            low, high = (
                f"dp2a_lo_u({words[0]}, {one}, dp2a_lo_u({words[1]}, {one}, 0))"
                for one in (1, 1 << 8)
            )
            lines.append(f"{y.word(half, tile)} = {packed(high, low, y.bits)}")
        return lines
    return [
        f"{y.word(half, tile)} = add16({a.word(half, tile)}, {b.word(half, tile)})"
        for half in range(2)
    ]


def multiply_tile(a: Value, b: Value, y: Value, tile: int, *, shift: int) -> list[str]:
    """A tile of saturate(a * b >> shift); a product of two int16 has 31 bits."""
    amount = min(shift, 31)
    return each_pair([a, b], y, tile, lambda x, z: f"sar32(mul32({x}, {z}), {amount})")


def relu_tile(x: Value, y: Value, tile: int) -> list[str]:
    """A tile of max(0, x), saturated."""
    if x.bits > y.bits:
        return each_pair([x], y, tile, "max32(0, {})".format)
    return [f"{y.word(half, tile)} = positive16({x.word(half, tile)})" for half in range(2)]


def lookup_tile(
    x: Value, table: At, y: Value, tile: int, *, shift: int, tail: int
) -> list[str]:
    """A line between two of 257 points; x >> tail from 128 << shift on.

    table  int16 in a row
    """
    half = 128 << shift
    lines = []
    for side in range(2):
        for part in ("low", "high"):
            lines += [
                f"x = {part}16({x.word(side, tile)})",
                f"u = clamp32(x, {-half}, {half - 1})",
                f"k = sar32(u, {shift})",
                f"part = sub32(u, shl32(k, {shift}))",
                "at = shl32(k, 1)",
                f"base = {table.fetch('16', 'at', 256)}",
                f"after = {table.fetch('16', 'at', 258)}",
                f"{part} = add32(base, sar32(mul32(sub32(after, base), part), {shift}))",
                f"{part} = select_lt(x, {half}, {part}, sar32(x, {min(tail, 31)}))",
            ]
        lines.append(f"{y.word(side, tile)} = {packed('high', 'low', y.bits)}")
    return lines


def rope(
    x: Value,
    table: At,
    y: Value,
    *,
    size: int,
    width: int,
    interleaved: bool,
) -> list[str]:
    """Each pair of features of each head of a lane turned by its position's angle.

    table        [position][pair] a word: the cosine below, the sine above, both Q14
    size, width  features of a head, and those that it has room for
    """
    half = size // 2
    lines = [f"at = mul32(p, {4 * half})"]
    lines += [f"t{k} = {table.fetch('32', 'at', 4 * k)}" for k in range(half)]
    for side in range(2):
        for head in range(2 * x.order.tiles // width):
            parts = ["0"] * width

            def slot(d: int, side: int = side, head: int = head) -> str:
                word = x.word(side, (head * width + d) // 2)
                return f"{'high' if d & 1 else 'low'}16({word})"

            for k in range(half):
                near, far = (2 * k, 2 * k + 1) if interleaved else (k, k + half)
                a, b, c, s = slot(near), slot(far), f"low16(t{k})", f"high16(t{k})"
                turned = (
                    f"sub32(mul32({a}, {c}), mul32({b}, {s}))",
                    f"add32(mul32({a}, {s}), mul32({b}, {c}))",
                )
                for d, total in zip((near, far), turned, strict=True):
                    parts[d] = f"sar32(add32({total}, {1 << 13}), 14)"
            for d in range(0, width, 2):
                word = y.word(side, (head * width + d) // 2)
                lines.append(f"{word} = {packed(parts[d + 1], parts[d], y.bits)}")
    return lines


def when(condition: str, lines: list[str]) -> list[str]:
    """Lines under a condition that is the same for the whole warp."""
    return [f"if {condition}:", *indent(lines)]


def copy(x: Value, y: Value) -> list[str]:
    """Another name for the same words."""
    tiles = range(y.order.tiles)
    return [f"{y.word(h, t)} = {x.word(h, t)}" for h in range(len(HALVES)) for t in tiles]
