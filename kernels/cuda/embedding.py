"""embed, add: rows of a table, and sums of values."""

from __future__ import annotations

from anachron.kernels.cuda.places import Place, each_element, saturated


def embed(index: str, table: Place, y: Place, *, positions: int, threads: int) -> list[str]:
    """The row of a table at each index, as stored: the table has the format of the result.

    index  the text of a row's number: token, prompt[p] or p
    """
    body = [f"row = {index}", y.store("f", table.load("f", "row"))]
    return each_element(y.size, positions, threads, body)


def add(a: Place, b: Place, y: Place, *, positions: int, threads: int) -> list[str]:
    """a + b, saturated."""
    total = f"add32({a.load('f')}, {b.load('f')})"
    body = [y.store("f", saturated(total, y.bits))]
    return each_element(y.size, positions, threads, body)
