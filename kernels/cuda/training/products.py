"""Sums of products of codes: what every op of a step in logarithms is made of.

What bounds a step: one multiplication a product, and the loads of what it multiplies, which a
lane's products share.  A lane has a block of rows and columns, so that each number that it loads
is multiplied several times; `choose_grid` takes the block that loads least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from anachron.kernels.cuda.training.grid import VECTOR, Field, Grid, View, across_choices
from anachron.kernels.cuda.training.tables import (
    EXACT,
    MOST_TERMS,
    Tables,
    integer,
    multiply_into,
    wrapped,
)

Totals = Mapping[tuple[int, int], str]
Sink = Callable[[Totals], list[str]]
SinkOf = Callable[[Grid, bool], tuple[list[str], Sink]]
LINES_A_LOAD = 1.5  # what a word that is loaded costs beside its line, in lines


@dataclass(frozen=True)
class Scale:
    """What products are multiplied by: a text that gives the word of a float.

    clipped  whether a product may be beyond the reference's largest
    """

    text: str
    clipped: bool = False


@dataclass(frozen=True)
class Pair:
    """a[row, term] times b[column, term], as codes."""

    a: View
    b: View
    scale: Scale

    @property
    def turned(self) -> Pair:
        return Pair(self.b, self.a, self.scale)


@dataclass(frozen=True)
class Job:
    """A matrix of sums over the terms of all pairs.

    sink   of a grid, and of whether its rows are the columns here, gives lines that prepare, and a
           function of the text of each (m, n) that gives those that take them
    """

    pairs: tuple[Pair, ...]
    sink: SinkOf


def contract(
    tables: Tables, jobs: Sequence[Job], rows: int, columns: int, terms: int
) -> list[str]:
    """For every job and (row, column): the sum over the terms of a[row, term] b[column, term].

    What several pairs read as `a` is loaded once.
    """
    grid, turned = choose_grid(jobs, rows, columns)
    if turned:
        jobs = [Job(tuple(pair.turned for pair in job.pairs), job.sink) for job in jobs]
    lines = grid.start()
    sinks = []
    for j, job in enumerate(jobs):
        prepared, take = job.sink(grid, turned)
        lines += prepared
        sinks.append(take)
        lines += [f"t{j}_{m}_{n} = int32({EXACT})" for m, n in grid.elements]
    lines += _sum(grid, jobs, terms)
    for j, take in enumerate(sinks):
        lines += take({(m, n): integer(f"t{j}_{m}_{n}") for m, n in grid.elements})
    return lines


def choose_grid(jobs: Sequence[Job], rows: int, columns: int) -> tuple[Grid, bool]:
    """The block of a lane that costs least, and whether its rows are the columns."""
    best: tuple[float, int, Grid, bool] | None = None
    for turned in (False, True):
        some = [pair.turned if turned else pair for job in jobs for pair in job.pairs]
        size = (columns, rows) if turned else (rows, columns)
        packed = all(pair.b.row == 1 for pair in some)
        for across in across_choices():
            grid = Grid(*size, across, packed)
            found = _cost(grid, some), len(jobs) * grid.each * grid.wide, grid, turned
            if best is None or found[:2] < best[:2]:
                best = found
    assert best is not None
    return best[2], best[3]


def _cost(grid: Grid, pairs: Sequence[Pair]) -> float:
    """Lines a term, and what its words cost."""
    cost = float(grid.each * grid.wide * len(pairs))
    lefts = dict.fromkeys(pair.a for pair in pairs)
    for view, count, vector in (
        *((a, grid.each, grid.row_vector()) for a in lefts),
        *((pair.b, grid.wide, grid.column_vector()) for pair in pairs),
    ):
        width = min(vector, view.vector(True)) if view.row == 1 else view.vector(False)
        cost += count / width + LINES_A_LOAD * count
    return cost + sum(
        grid.each if _left_scaled(grid, pairs, a) else 0 for a in lefts
    ) + sum(0 if _left_scaled(grid, pairs, pair.a) else grid.wide for pair in pairs)


def _left_scaled(grid: Grid, pairs: Sequence[Pair], a: View) -> bool:
    """Whether a, rather than all that it is multiplied by, is multiplied by the scale."""
    some = [pair for pair in pairs if pair.a == a]
    return len({pair.scale for pair in some}) == 1 and grid.each <= grid.wide * len(some)


def _sum(grid: Grid, jobs: Sequence[Job], terms: int) -> list[str]:
    pairs = [(j, pair) for j, job in enumerate(jobs) for pair in job.pairs]
    every = [pair for _, pair in pairs]
    scales = {s: f"scale{i}" for i, s in enumerate(dict.fromkeys(p.scale.text for p in every))}
    lines = [f"{name} = int32({text})" for text, name in scales.items()]
    lefts = list(dict.fromkeys(pair.a for pair in every))
    for i, a in enumerate(lefts):
        lines.append(f"left{i} = add32(w, mul32(row, {4 * a.row}))")
    for i, pair in enumerate(every):
        lines += [
            f"right{i}_{n} = add32(w, mul32(column{n}, {4 * pair.b.row}))" for n in grid.bases
        ]
    since = 0
    for start in range(0, terms, VECTOR):
        some = range(start, min(start + VECTOR, terms))
        if since + len(some) * len(every) > MOST_TERMS:
            lines += [
                f"t{j}_{m}_{n} = {wrapped(f't{j}_{m}_{n}')}"
                for j in range(len(jobs)) for m, n in grid.elements
            ]  # fmt: skip
            since = 1
        since += len(some) * len(every)
        for i, a in enumerate(lefts):
            lines += _load_rows(grid, f"a{i}", f"left{i}", a, some)
            if _left_scaled(grid, every, a):
                scale = next(scales[p.scale.text] for p in every if p.a == a)
                lines += _scaled([f"a{i}_{m}_{k}" for m in range(grid.each) for k in some], scale)
        for i, (j, pair) in enumerate(pairs):
            lines += _load_columns(grid, f"b{i}", f"right{i}", pair.b, some)
            if not _left_scaled(grid, every, pair.a):
                names = [f"b{i}_{n}_{k}" for n in range(grid.wide) for k in some]
                lines += _scaled(names, scales[pair.scale.text])
            left = lefts.index(pair.a)
            for k in some:
                for m, n in grid.elements:
                    lines += multiply_into(
                        f"t{j}_{m}_{n}", f"a{left}_{m}_{k}", f"b{i}_{n}_{k}", pair.scale.clipped
                    )
    return lines


def _scaled(names: list[str], scale: str) -> list[str]:
    return [f"{name} = fmul({name}, {scale})" for name in names]


def _load_rows(grid: Grid, name: str, base: str, view: View, some: range) -> list[str]:
    """name_m_k of the lane's rows."""
    at = [(base, m * view.row) for m in range(grid.each)]
    return _load(name, at, view, some, grid.row_vector())


def _load_columns(grid: Grid, name: str, base: str, view: View, some: range) -> list[str]:
    """name_n_k of the lane's columns."""
    at = [(f"{base}_{grid.base(n)}", grid.beyond(n) * view.row) for n in range(grid.wide)]
    return _load(name, at, view, some, grid.column_vector())


def _load(
    name: str, at: Sequence[tuple[str, int]], view: View, some: range, neighbours: int
) -> list[str]:
    """Each (variable, words behind it) is an index of the view's rows; `neighbours` lie together
    if the view's rows do."""
    lines: list[str] = []
    offset = view.field.offset + 4 * view.first
    if view.row == 1 and view.term != 1:
        width = min(neighbours, view.vector(True))
        for k in some:
            for i in range(0, len(at), width):
                base, words = at[i]
                place = offset + 4 * (words + k * view.term)
                lines += _load_words(
                    [f"{name}_{i + e}_{k}" for e in range(width)], base, place
                )
        return lines
    width = view.vector(False)
    for i, (base, words) in enumerate(at):
        k = some[0]
        while k <= some[-1]:
            take = next(v for v in (4, 2, 1) if v <= width and v <= some[-1] + 1 - k)
            place = offset + 4 * (words + k * view.term)
            lines += _load_words([f"{name}_{i}_{k + e}" for e in range(take)], base, place)
            k += take
    return lines


def _load_words(names: list[str], base: str, place: int) -> list[str]:
    if len(names) == 1:
        return [f"{names[0]} = load32(sm, {base}, {place})"]
    lines = [f"v = load{32 * len(names)}(sm, {base}, {place})"]
    return lines + [f"{name} = v[{i}]" for i, name in enumerate(names)]


def to_field(
    tables: Tables,
    forms: Sequence[tuple[Field, int | None, bool]],
    row: int = 0,
    column: int = 0,
    tag: str = "",
) -> SinkOf:
    """A sink that stores an element as it is (shift None), or its code, into fields.

    row, column  of the fields, where the first element goes
    tag          part of its variables' names
    """

    def sink(grid: Grid, turned: bool) -> tuple[list[str], Sink]:
        lines = []
        views = []
        for f, (field, _, _) in enumerate(forms):
            view = field.view.part(row, column)
            views.append(view.swapped if turned else view)
            lines += grid.locate(f"to{tag}{f}_", views[f])

        def take(totals: Totals) -> list[str]:
            text = []
            for (m, n), total in totals.items():
                text.append(f"x{m}_{n} = {total}")
                for f, (_, shift, saturates) in enumerate(forms):
                    if shift is not None:
                        text += tables.code(f"c{f}_{m}_{n}", f"x{m}_{n}", shift, saturates)
            for f, (_, shift, _) in enumerate(forms):
                for places in neighbours(grid, views[f], turned):
                    m, n = places[0]
                    to, at = grid.place(f"to{tag}{f}_", views[f], m, n)
                    if not grid.whole:  # others write where nobody reads
                        text += grid.owns(m, n)
                        text.append(f"to = select_lt(0, own, {to}, sub32(spare, {at}))")
                        to = "to"
                    name = "x" if shift is None else f"c{f}_"
                    words = ", ".join(f"{name}{m}_{n}" for m, n in places)
                    text.append(f"store{32 * len(places)}(sm, {to}, {at}, {words})")
            return text

        return lines, take

    return sink


def neighbours(grid: Grid, view: View, turned: bool) -> list[list[tuple[int, int]]]:
    """The lane's elements, those together that lie together in a view: of one owner, and where one
    store can take them."""
    if turned:
        width = min(grid.row_vector(), view.vector(True))
        return [
            [(m + e, n) for e in range(width)]
            for m in range(0, grid.each, width) for n in range(grid.wide)
        ]  # fmt: skip
    width = min(grid.column_vector(), view.vector(False))
    return [
        [(m, n + e) for e in range(width)]
        for m in range(grid.each) for n in range(0, grid.wide, width)
    ]  # fmt: skip


def plus(
    sink_of: SinkOf, addends: Sequence[tuple[Field, int]], row: int = 0, column: int = 0
) -> SinkOf:
    """A sink of what is added to fields, shifted down, before another takes it; wrapped."""
    if not addends:
        return sink_of

    def sink(grid: Grid, turned: bool) -> tuple[list[str], Sink]:
        lines, take_on = sink_of(grid, turned)
        views = []
        for i, (field, _) in enumerate(addends):
            view = field.view.part(row, column)
            views.append(view.swapped if turned else view)
            lines = [*lines, *grid.locate(f"plus{i}_", views[i])]

        def take(totals: Totals) -> list[str]:
            text = []
            for i, (_, shift) in enumerate(addends):
                for places in neighbours(grid, views[i], turned):
                    base, at = grid.place(f"plus{i}_", views[i], *places[0])
                    names = [f"p{i}_{m}_{n}" for m, n in places]
                    text += _load_words(names, base, at)
                    text += [f"{name} = sar32({name}, {shift})" for name in names if shift]
            sums = {}
            for (m, n), total in totals.items():
                for i in range(len(addends)):
                    total = f"add32({total}, p{i}_{m}_{n})"
                sums[m, n] = f"low16({total})"
            return text + take_on(sums)

        return lines, take

    return sink
