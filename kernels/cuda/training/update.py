"""update_matrix, update_table, update_rows, update_bias: weights change in global memory, in place.

The words of a matrix's codes, which the next step reads, are made anew at the same time.  What an
update multiplies by holds the learning rate, which every training has for itself: two words of its
global memory, from the offset `rate` on.
"""

from __future__ import annotations

from anachron.kernels.cuda.training.grid import Field, Grid
from anachron.kernels.cuda.training.products import (
    Sink,
    SinkOf,
    Tables,
    contract,
    to_field,
)

RATE_WORDS = 2  # a code's; or how far to shift down, and how far up


def from_weights(
    tables: Tables, weight: int, columns: int, codes: Field | None, saturates: bool, spare: int
) -> SinkOf:
    """A sink that takes an element from a weight; codes is where the new one's code goes."""

    def sink(grid: Grid, turned: bool) -> tuple[list[str], Sink]:
        by_row, by_column = (4, 4 * columns) if turned else (4 * columns, 4)
        lines = [
            f"at{n} = add32(mul32(row, {by_row}), mul32(column{n}, {by_column}))"
            for n in range(grid.wide)
        ]
        prepared: list[str] = []
        take_code: Sink | None = None
        if codes is not None:
            prepared, take_code = to_field(tables, [(codes, 0, saturates)])(grid, turned)

        def take(m: int, n: int, total: str) -> list[str]:
            at = weight + m * by_row
            text = [f"gradient = {total}"]
            to = f"at{n}"
            if not grid.whole:
                text += grid.owns(m, n)
                text.append(f"to = select_lt(0, own, at{n}, add32(lane4, {spare - at}))")
                to = "to"
            text.append(f"new = low16(sub32(load32(mine, {to}, {at}), gradient))")
            text.append(f"store32(mine, {to}, {at}, new)")
            if take_code is not None:
                text += take_code(m, n, "new")
            return text

        return [*lines, *prepared], take

    return sink


def load_rate(rate: int, cut: bool) -> list[str]:
    """`rate`: the word that each product is brought to its scale by, the window's cut included."""
    lines = [f"rate = load32(mine, 0, {rate})"]
    return [*lines, "rate = add32(rate, cut)"] if cut else lines


def update_matrix(
    tables: Tables, dy: Field, x: Field, rate: int, sink: SinkOf, cut: bool
) -> list[str]:
    """Take the sum over the positions of dy times x from each weight (rows of dy, columns of x)."""
    pairs = [(dy.turned, x.turned)]
    lines = load_rate(rate, cut)
    return lines + contract(tables, pairs, dy.columns, x.columns, dy.rows, "rate", sink)


def update_table(
    tables: Tables,
    dy: Field,
    index: Field | None,
    rows: int,
    sink: SinkOf,
    *,
    shifts: bool,
    rate: int,
    cut: bool,
) -> list[str]:
    """Take dy from the row at each index: shifted, or times the rate, as codes.

    index  (1, positions); None where the row is the position
    """
    grid = Grid(rows, dy.columns)
    prepared, take = sink(grid, False)
    if shifts:
        lines = [f"down = load32(mine, 0, {rate})", f"up = load32(mine, 0, {rate + 4})"]
    else:
        lines = [*load_rate(rate, cut), "scale = add32(lane4, rate)"]
    lines += [*grid.start(), *prepared]
    lines += [f"t{m}_{n} = int32(0)" for m, n in grid.elements]
    for p in range(dy.rows):
        for n in range(grid.wide):
            at = dy.offset + 4 * p * dy.stride
            lines.append(f"d{n} = load32(sm, add32(w, mul32(column{n}, 4)), {at})")
            if shifts:
                lines.append(f"d{n} = shl32(sar32(d{n}, down), up)")
            else:
                lines.append(tables.product(f"d{n}", f"add32(d{n}, scale)"))
        which = f"{p}"
        if index is not None:
            which = "which"
            lines.append(f"which = load32(sm, w, {index.offset + 4 * p})")
        for m, n in grid.elements:
            here = f"eq32({which}, add32(row, {m}))"
            lines.append(f"t{m}_{n} = add32(t{m}_{n}, select_lt({here}, 1, 0, d{n}))")
    for m, n in grid.elements:
        lines += take(m, n, f"t{m}_{n}")
    return lines


def update_bias(tables: Tables, dy: Field, rate: int, sink: SinkOf, cut: bool) -> list[str]:
    """Take the sum over the positions of dy's products with the rate."""
    grid = Grid(1, dy.columns)
    prepared, take = sink(grid, False)
    lines = [*grid.start(), *prepared, *load_rate(rate, cut), "scale = add32(lane4, rate)"]
    for n in range(grid.wide):
        lines.append(f"t0_{n} = int32(0)")
        for p in range(dy.rows):
            at = dy.offset + 4 * p * dy.stride
            lines.append(f"d = load32(sm, add32(w, mul32(column{n}, 4)), {at})")
            lines.append(tables.product("d", "add32(d, scale)"))
            lines.append(f"t0_{n} = add32(t0_{n}, d)")
        lines += take(0, n, f"t0_{n}")
    return lines
