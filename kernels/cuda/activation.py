"""relu, lookup, multiply: what happens to each element by itself."""

from __future__ import annotations

from anachron.kernels.cuda.places import Place, each_element, saturated


def relu(x: Place, y: Place, *, positions: int, threads: int) -> list[str]:
    """max(0, x), saturated."""
    body = [y.store("f", f"max32(0, {saturated(x.load('f'), y.bits)})")]
    return each_element(y.size, positions, threads, body)


def multiply(
    a: Place, b: Place, y: Place, *, shift: int, positions: int, threads: int
) -> list[str]:
    """saturate(a * b >> shift); a product of two int16 has 31 bits."""
    product = f"sar32(mul32({a.load('f')}, {b.load('f')}), {min(shift, 31)})"
    body = [y.store("f", saturated(product, y.bits))]
    return each_element(y.size, positions, threads, body)


def lookup(
    x: Place, table: Place, y: Place, *, shift: int, tail: int, positions: int, threads: int
) -> list[str]:
    """A line between two of 257 points; x >> tail from 128 << shift on.

    A difference of two int16 times a fraction below 2**8 has 25 bits.
    """
    half = 128 << shift
    body = [
        f"x = {x.load('f')}",
        f"u = clamp32(x, {-half}, {half - 1})",
        f"k = sar32(u, {shift})",
        f"part = sub32(u, shl32(k, {shift}))",
        f"base = {table.load('k + 128')}",
        f"after = {table.load('k + 129')}",
        f"y = add32(base, sar32(mul32(sub32(after, base), part), {shift}))",
        f"if x >= {half}:",
        f"    y = sar32(x, {min(tail, 31)})",
        y.store("f", saturated("y", y.bits)),
    ]
    return each_element(y.size, positions, threads, body)
