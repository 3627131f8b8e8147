"""embed, add, add_bias, relu, relu_gradient: element by element."""

from __future__ import annotations

from collections.abc import Callable

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
    for m, n in grid.elements:
        before, value = read(grid, m, n)
        lines += [*before, *take(m, n, value)]
    return lines


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


def embed(index: Field | None, table: int, rows: int, columns: int, sink: SinkOf) -> list[str]:
    """The row of a table in global memory at each index, or at each position.

    index  (1, rows) of numbers      table  offset of the weights, in bytes
    """

    def read(grid: Grid, m: int, n: int) -> tuple[list[str], str]:
        lines = [f"which = add32(row, {m})"]
        if index is not None:
            lines = [f"which = load32(sm, add32(w, mul32(row, 4)), {index.offset + 4 * m})"]
        at = f"add32(mul32(which, {4 * columns}), mul32(column{grid.base(n)}, 4))"
        return lines, f"load32(mine, {at}, {table + 4 * grid.beyond(n)})"

    return each(rows, columns, read, sink)


def add(a: Field, b: Field, a_shift: int, b_shift: int, sink: SinkOf) -> list[str]:
    """(a >> a_shift) + (b >> b_shift), wrapped."""
    prepare, read = read_fields(
        [a, b], lambda x, y: f"low16(add32(sar32({x}, {a_shift}), sar32({y}, {b_shift})))"
    )
    return each(a.rows, a.columns, read, sink, prepare)


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
