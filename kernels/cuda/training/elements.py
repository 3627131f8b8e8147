"""embed, add_bias, relu, relu_gradient: element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anachron.kernels.cuda.training.grid import Field, Grid, deal
from anachron.kernels.cuda.training.products import SinkOf


def each(
    rows: int,
    columns: int,
    read: Callable[[Grid, int, int], tuple[list[str], str]],
    sink: SinkOf,
    prepare: Callable[[Grid], list[str]] = lambda grid: [],
) -> list[str]:
    """What `read` gives for every element, to a sink."""
    grid = deal(rows, columns)
    prepared, take = sink(grid, False)
    lines = [*grid.start(), *prepare(grid), *prepared]
    totals = {}
    for m, n in grid.elements:
        before, value = read(grid, m, n)
        totals[m, n] = f"e{m}_{n}"
        lines += [*before, f"{totals[m, n]} = {value}"]
    return lines + take(totals)


def nothing(rows: int, columns: int, sink: SinkOf) -> list[str]:
    """Zeros, to which the sink adds."""
    return each(rows, columns, lambda grid, m, n: ([], "int32(0)"), sink)


def read_fields(
    fields: list[Field], meaning: Callable[..., str]
) -> tuple[Callable[[Grid], list[str]], Callable[[Grid, int, int], tuple[list[str], str]]]:
    """The elements of fields at the same place, put into a text."""

    def prepare(grid: Grid) -> list[str]:
        lines: list[str] = []
        for f, field in enumerate(fields):
            lines += grid.locate(f"from{f}_", field.view)
        return lines

    def read(grid: Grid, m: int, n: int) -> tuple[list[str], str]:
        names, lines = [], []
        for f, field in enumerate(fields):
            base, at = grid.place(f"from{f}_", field.view, m, n)
            lines.append(f"x{f} = load32(sm, {base}, {at})")
            names.append(f"x{f}")
        return lines, meaning(*names)

    return prepare, read


def embed(
    tables: Sequence[tuple[Field | None, int]], rows: int, columns: int, sink: SinkOf
) -> list[str]:
    """The sum of the rows of tables in global memory at each index, or at each position.

    tables  (1, rows) of numbers, and the offset of the weights, in bytes
    """

    def read(grid: Grid, m: int, n: int) -> tuple[list[str], str]:
        lines = []
        for i, (index, table) in enumerate(tables):
            which = f"add32(row, {m})"
            if index is not None:
                which = f"load32(sm, add32(w, mul32(row, 4)), {index.offset + 4 * m})"
            at = f"add32(mul32(which, {4 * columns}), mul32(column{grid.base(n)}, 4))"
            lines.append(f"which = {which}")
            lines.append(f"v = load32(mine, {at}, {table + 4 * grid.beyond(n)})")
            lines.append("x = int32(v)" if i == 0 else "x = add32(x, v)")
        return lines, "low16(x)"

    return each(rows, columns, read, sink)


def relu(x: Field, sink: SinkOf) -> list[str]:
    """max(0, x)."""
    prepare, read = read_fields([x], lambda value: f"max32({value}, 0)")
    return each(x.rows, x.columns, read, sink, prepare)


def relu_gradient(dy: Field, x: Field, sink: SinkOf) -> list[str]:
    """dy where x is above 0."""
    prepare, read = read_fields([dy, x], lambda d, value: f"select_lt(0, {value}, {d}, 0)")
    return each(x.rows, x.columns, read, sink, prepare)


def add_bias(x: Field, bias: int, shift: int, sink: SinkOf) -> list[str]:
    """x + (bias >> shift), wrapped; bias is an offset of weights."""
    prepare, inner = read_fields([x], lambda value: value)

    def read(grid: Grid, m: int, n: int) -> tuple[list[str], str]:
        lines, value = inner(grid, m, n)
        at = bias + 4 * grid.beyond(n)
        weight = f"load32(mine, mul32(column{grid.base(n)}, 4), {at})"
        return lines, f"low16(add32({value}, sar32({weight}, {shift})))"

    return each(x.rows, x.columns, read, sink, prepare)
