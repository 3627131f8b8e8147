"""update_matrix, update_table, update_rows, update_bias: weights change in global memory, in place.

The floats of a matrix's codes, which the next step reads, are made anew at the same time.  What an
update multiplies by holds the learning rate, which every training has for itself, and every window
of it: a row of words in `scales`, at `rate_at`.
"""

from __future__ import annotations

from collections.abc import Callable

from anachron.kernels.cuda.training.grid import VECTOR, Field, Grid, View, deal
from anachron.kernels.cuda.training.products import (
    Scale,
    Sink,
    SinkOf,
    Totals,
    neighbours,
    to_field,
)
from anachron.kernels.cuda.training.tables import EXACT, Tables, integer, multiply_into

RATE_WORDS = 2  # a float's; or how far to shift down, and how far up


def load_rate(rate: int) -> str:
    """The text of an update's word in the row of its training and window."""
    return f"load32(scales, rate_at, {rate})"


def from_weights(
    tables: Tables,
    weight: int,
    columns: int,
    codes: Field | None,
    saturates: bool,
    spare: int,
    tag: str = "",
) -> SinkOf:
    """A sink that takes an element from a weight; codes is where the new one's code goes.

    The weights are read before the sums, which hide how long that takes.
    """

    def sink(grid: Grid, turned: bool) -> tuple[list[str], Sink]:
        view = View(Field(weight, 1, columns), 0, columns, 1)
        view = view.swapped if turned else view
        lines = []
        for n in grid.bases:
            by_row, by_column = 4 * view.row, 4 * view.term
            text = f"add32(mul32(row, {by_row}), mul32(column{n}, {by_column}))"
            lines.append(f"at{tag}_{n} = {text}")
        groups, spots = neighbours(grid, view, turned), []
        for places in groups:
            base, at = grid.place(f"at{tag}_", view, *places[0])
            if not grid.whole:  # what others own is left to them
                lines += grid.owns(*places[0])
                nowhere = f"add32(mul32(lane4, {VECTOR}), {spare - at})"
                spot = "spot{}_{}_{}".format(tag, *places[0])
                lines.append(f"{spot} = select_lt(0, own, {base}, {nowhere})")
                base = spot
            spots.append((base, at))
            names = [f"old{tag}_{m}_{n}" for m, n in places]
            if len(names) == 1:
                lines.append(f"{names[0]} = load32(mine, {base}, {at})")
                continue
            lines.append(f"v = load{32 * len(names)}(mine, {base}, {at})")
            lines += [f"{name} = v[{i}]" for i, name in enumerate(names)]
        take_code: Sink | None = None
        if codes is not None:
            prepared, take_code = to_field(tables, [(codes, 0, saturates)], tag=tag)(grid, turned)
            lines += prepared

        def take(totals: Totals) -> list[str]:
            text = []
            for (m, n), total in totals.items():
                text.append(f"new{m}_{n} = low16(sub32(old{tag}_{m}_{n}, {total}))")
            for places, (base, at) in zip(groups, spots, strict=True):
                words = ", ".join(f"new{m}_{n}" for m, n in places)
                text.append(f"store{32 * len(places)}(mine, {base}, {at}, {words})")
            if take_code is not None:
                text += take_code({(m, n): f"new{m}_{n}" for m, n in totals})
            return text

        return lines, take

    return sink


def update_table(dy: Field, index: Field | None, rows: int, rate: int, sink: SinkOf) -> list[str]:
    """Take dy, shifted, from the row at each index.

    index  (1, positions); None where the row is the position
    """
    lines = [f"down = {load_rate(rate)}", f"up = {load_rate(rate + 4)}"]

    def add(to: str, d: str) -> list[str]:
        return [f"{to} = add32({to}, shl32(sar32({d}, down), up))"]

    return lines + _rows(dy, index, rows, sink, add, "0", lambda total: total)


def update_rows(
    dy: Field, index: Field | None, rows: int, scale: Scale, sink: SinkOf
) -> list[str]:
    """Take dy, as codes, times the rate, from the row at each index."""

    def add(to: str, d: str) -> list[str]:
        return multiply_into(to, d, "scale", scale.clipped)

    lines = [f"scale = {scale.text}"]
    return lines + _rows(dy, index, rows, sink, add, f"{EXACT}", integer)


def _rows(
    dy: Field,
    index: Field | None,
    rows: int,
    sink: SinkOf,
    add: Callable[[str, str], list[str]],
    nothing: str,
    finish: Callable[[str], str],
) -> list[str]:
    """Add up, from `nothing` on, what each row has; finish gives the text of its integer."""
    grid = deal(rows, dy.columns)
    prepared, take = sink(grid, False)
    lines = [*grid.start(), *prepared]
    lines += [f"t{m}_{n} = int32({nothing})" for m, n in grid.elements]
    lines += grid.locate("from", dy.view)
    if index is None:
        for m, n in grid.elements:
            base, at = grid.place("from", dy.view, m, n)
            lines.append(f"d = load32(sm, {base}, {at})")
            lines += add(f"t{m}_{n}", "d")
    for p in range(dy.rows if index is not None else 0):
        assert index is not None
        lines.append(f"which = sub32(load32(sm, w, {index.offset + 4 * p}), row)")
        for n in range(grid.wide):
            at = dy.offset + 4 * (p * dy.stride + grid.beyond(n))
            column = f"add32(w, mul32(column{grid.base(n)}, 4))"
            lines += [f"d{n} = load32(sm, {column}, {at})", f"s{n} = int32({nothing})"]
            lines += add(f"s{n}", f"d{n}")
        for m, n in grid.elements:
            own = f"select_lt(eq32(which, {m}), 1, 0, s{n})"
            lines.append(f"t{m}_{n} = add32(t{m}_{n}, {own})")
    return lines + take({(m, n): finish(f"t{m}_{n}") for m, n in grid.elements})


def update_bias(dy: Field, scale: Scale, sink: SinkOf) -> list[str]:
    """Take the sum over the positions of dy's products with the rate."""
    grid = deal(1, dy.columns)
    prepared, take = sink(grid, False)
    lines = [*grid.start(), *prepared, f"scale = {scale.text}"]
    lines += grid.locate("from", dy.view)
    for n in range(grid.wide):
        lines.append(f"t0_{n} = int32({EXACT})")
        for p in range(dy.rows):
            base, at = grid.place("from", dy.view, p, n)
            lines.append(f"d = load32(sm, {base}, {at})")
            lines += multiply_into(f"t0_{n}", "d", "scale", scale.clipped)
    return lines + take({(0, n): integer(f"t0_{n}") for n in range(grid.wide)})
