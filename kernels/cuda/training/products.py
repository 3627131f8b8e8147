"""Codes, products, and sums of products: what every op of a step in logarithms is made of.

What bounds a step: three instructions a product - an addition that is also a maximum, a load, an
addition - and about a fourth for the loads of codes, which a lane's products share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.places import WARP
from anachron.kernels.cuda.training.grid import VECTOR, Field, Grid, View
from anachron.kernels.reference.log_tables import (
    FARTHEST_CODED,
    INDEX_MASK,
    SILENT,
    code_table,
    exponential,
)

SIGNS = 3  # plus, minus, plus
SLOT = 4 * WARP  # bytes of an entry of the table, one word a lane
CODE_BYTES = 2 * (INDEX_MASK // 2 + 1)
LOSSY = 1  # the entry below the table's first: 0

Sink = Callable[[int, int, str], list[str]]
SinkOf = Callable[[Grid, bool], tuple[list[str], Sink]]


def word(code: int) -> int:
    """Of a code without sign."""
    return code // 2 * SIGNS * SLOT


SILENT_WORD = word(SILENT)


@dataclass(frozen=True)
class Tables:
    """Where the tables lie in shared memory, and the largest logarithm that is looked up."""

    highest: int

    @property
    def codes(self) -> int:
        """Offset of the codes, one int16 for each even integer: 3 * c/2 + s."""
        return 0

    @property
    def products(self) -> int:
        """Offset of the entry of logarithm 0."""
        return CODE_BYTES + LOSSY * SLOT

    @property
    def n_entries(self) -> int:
        return LOSSY + SIGNS * (self.highest // 2 + 1)

    @property
    def n_bytes(self) -> int:
        return CODE_BYTES + self.n_entries * SLOT

    @property
    def code_entries(self) -> Array:
        """int16, for each b & 8190."""
        sign = 1 << 14
        codes = code_table(sign)
        signed = codes >= sign // 2
        return (SIGNS * ((codes - sign * signed) // 2) + signed).astype("<i2")

    @property
    def product_entries(self) -> Array:
        """int32; a kernel spreads each over a slot."""
        plus = np.array([exponential(c) for c in range(0, self.highest + 2, 2)], np.int64)
        three = np.stack([plus, -plus, plus], 1).ravel()
        return np.concatenate([np.zeros(LOSSY, np.int64), three]).astype("<i4")

    def code(self, to: str, value: str, shift: int = 0, saturates: bool = False) -> list[str]:
        """The word of a linear integer's code, shifted down first."""
        if shift:
            value = f"sar32({value}, {shift})"
        if saturates:
            value = f"clamp32({value}, {-FARTHEST_CODED}, {FARTHEST_CODED})"
        at = f"and32({value}, {INDEX_MASK})"
        return [f"{to} = shl32(load16(sm, {at}, {self.codes}), {SLOT.bit_length() - 1})"]

    def product(self, to: str, total: str) -> str:
        """The product of a sum of words and lane4."""
        return f"{to} = load32(sm, max32({total}, below), {self.products})"


def contract(
    tables: Tables,
    pairs: Sequence[tuple[View, View]],
    rows: int,
    columns: int,
    terms: int,
    constant: int | str,
    sink: SinkOf,
) -> list[str]:
    """For every (row, column): the sum over the terms of all pairs of a[row, term] b[column, term].

    pairs  of codes; constant, a code or the name of what has its word, is added to each of their
           sums
    sink   of a grid, and of whether its rows are the columns here, gives lines that prepare, and a
           function of (m, n, total) that gives those that take an element
    """
    turned = Grid(columns, rows).cost < Grid(rows, columns).cost
    if turned:
        rows, columns, pairs = columns, rows, [(b, a) for a, b in pairs]
    grid = Grid(rows, columns)
    scale = constant if isinstance(constant, str) else word(constant)
    lines = [*grid.start(), f"scale = add32(lane4, {scale})"]
    lines += [f"t{m}_{n} = int32(0)" for m, n in grid.elements]
    for a, b in pairs:
        lines.append(f"left = add32(w, mul32(row, {4 * a.row}))")
        lines += [f"right{n} = add32(w, mul32(column{n}, {4 * b.row}))" for n in range(grid.wide)]
        lines += _sum(tables, grid, a, b, terms)
    prepared, take = sink(grid, turned)
    lines += prepared
    for m, n in grid.elements:
        lines += take(m, n, f"low16(t{m}_{n})")
    return lines


def _sum(tables: Tables, grid: Grid, a: View, b: View, terms: int) -> list[str]:
    lines: list[str] = []
    by_term = a.term == 1 and a.row % VECTOR == 0 and a.first % VECTOR == 0
    aligned = grid.each % VECTOR == 0 and (grid.rows - grid.each) % VECTOR == 0
    by_row = a.row == 1 and aligned and a.term % VECTOR == 0 and a.first % VECTOR == 0
    for start in range(0, terms, VECTOR):
        some = range(start, min(start + VECTOR, terms))
        for n in range(grid.wide):
            lines += _load(f"b{n}", f"right{n}", b, some)
            lines += [f"b{n}_{k - start} = add32(b{n}_{k - start}, scale)" for k in some]
        if by_row:
            for k in some:
                for m in range(0, grid.each, VECTOR):
                    at = a.field.offset + 4 * (a.first + m + k * a.term)
                    lines.append(f"v = load128(sm, left, {at})")
                    lines += [f"a{m + i}_{k - start} = v[{i}]" for i in range(VECTOR)]
        for m in range(grid.each):
            if not by_row:
                moved = View(a.field, a.first + m * a.row, a.row, a.term)
                lines += _load(f"a{m}", "left", moved, some, vector=by_term)
            for k in some:
                for n in range(grid.wide):
                    total = f"add32(a{m}_{k - start}, b{n}_{k - start})"
                    lines.append(tables.product("v", total))
                    lines.append(f"t{m}_{n} = add32(t{m}_{n}, v)")
    return lines


def _load(name: str, base: str, view: View, some: range, vector: bool = True) -> list[str]:
    """name_0, name_1, ...: the terms `some` of a row."""
    offset = view.field.offset + 4 * view.first
    whole = view.term == 1 and view.first % VECTOR == 0 and view.row % VECTOR == 0
    if vector and whole and len(some) == VECTOR:
        lines = [f"v = load128(sm, {base}, {offset + 4 * some[0]})"]
        return lines + [f"{name}_{i} = v[{i}]" for i in range(VECTOR)]
    return [
        f"{name}_{i} = load32(sm, {base}, {offset + 4 * k * view.term})"
        for i, k in enumerate(some)
    ]


def to_field(
    tables: Tables, forms: Sequence[tuple[Field, int | None, bool]], row: int = 0, column: int = 0
) -> SinkOf:
    """A sink that stores an element as it is (shift None), or its code, into fields.

    row, column  of the fields, where the first element goes
    """

    def sink(grid: Grid, turned: bool) -> tuple[list[str], Sink]:
        lines = []
        views = []
        for f, (field, _, _) in enumerate(forms):
            view = field.view.part(row, column)
            if turned:
                view = View(field, view.first, view.term, view.row)
            views.append(view)
            for n in range(grid.wide):
                lines.append(grid.locate(f"to{f}_{n}", view, n))

        def take(m: int, n: int, total: str) -> list[str]:
            text = [f"x = {total}"]
            if not grid.whole:
                text += grid.owns(m, n)
            for f, (field, shift, saturates) in enumerate(forms):
                stored = "x"
                if shift is not None:
                    text += tables.code("c", "x", shift, saturates)
                    stored = "c"
                at = field.offset + 4 * (views[f].first + m * views[f].row)
                to = f"to{f}_{n}"
                if not grid.whole:  # others write where nobody reads
                    text.append(f"to = select_lt(0, own, {to}, sub32(spare, {at}))")
                    to = "to"
                text.append(f"store32(sm, {to}, {at}, {stored})")
            return text

        return lines, take

    return sink
