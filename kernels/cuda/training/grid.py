"""Which lane has which elements of a matrix, and where arrays of a step lie."""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.cuda.places import WARP

VECTOR = 4  # words of one load


@dataclass(frozen=True)
class Field:
    """A matrix of words in the warp's part of shared memory."""

    offset: int  # bytes
    rows: int
    columns: int

    @property
    def stride(self) -> int:
        """Words from row to row: such that eight rows' vectors lie in different banks."""
        lines = -(-self.columns // VECTOR)
        return VECTOR * (lines + (lines % 2 == 0))

    @property
    def n_bytes(self) -> int:
        return 4 * self.rows * self.stride

    @property
    def view(self) -> View:
        return View(self, 0, self.stride, 1)

    @property
    def turned(self) -> View:
        """Columns as rows."""
        return View(self, 0, 1, self.stride)


@dataclass(frozen=True)
class View:
    """Part of a field as (rows, terms): where its first element is, and how far the next ones."""

    field: Field
    first: int  # words
    row: int
    term: int

    def part(self, row: int = 0, term: int = 0) -> View:
        """The same from another element on."""
        first = self.first + row * self.row + term * self.term
        return View(self.field, first, self.row, self.term)

    @property
    def swapped(self) -> View:
        """Rows as terms."""
        return View(self.field, self.first, self.term, self.row)

    def vector(self, whole: bool) -> int:
        """How many words a load takes at most: along its rows if `whole`, or along its terms."""
        along, other = (self.row, self.term) if whole else (self.term, self.row)
        if along != 1:
            return 1
        return next(v for v in (4, 2, 1) if not self.first % v and not other % v)


@dataclass(frozen=True)
class Grid:
    """rows x columns elements dealt out to a warp: a lane has `each` rows of `wide` columns.

    across  lanes side by side, a power of two
    packed  a lane's columns are neighbours, or as far apart as there are lanes side by side

    Where lanes have elements in common, they belong to the later lane of a row or of packed
    columns, to the first of others: `own` is 1 there.
    """

    rows: int
    columns: int
    across: int
    packed: bool = False

    @property
    def each(self) -> int:
        return -(-self.rows // (WARP // self.across))

    @property
    def wide(self) -> int:
        return -(-self.columns // self.across)

    @property
    def whole(self) -> bool:
        exact = self.each * (WARP // self.across) == self.rows
        return exact and self.wide * self.across == self.columns

    @property
    def bases(self) -> range:
        """The columns that have an address of their own: others are a constant farther."""
        exact = self.packed or self.wide * self.across == self.columns
        return range(1 if exact else self.wide)

    def base(self, n: int) -> int:
        return n if n in self.bases else 0

    def beyond(self, n: int) -> int:
        """Columns from its base to column n."""
        return 0 if n in self.bases else n if self.packed else n * self.across

    def row_vector(self) -> int:
        """Neighbouring rows that one load may take."""
        return _vector(self.each, self.rows)

    def column_vector(self) -> int:
        return _vector(self.wide, self.columns) if self.packed else 1

    def start(self) -> list[str]:
        """row: the lane's first one; column0, column1, ..., kept inside."""
        shift = self.across.bit_length() - 1
        lines = [f"mine_row = mul32(shr32(lane, {shift}), {self.each})"]
        lines.append(f"row = min32(mine_row, {self.rows - self.each})")
        if self.packed:
            lines.append(f"mine_column = mul32(and32(lane, {self.across - 1}), {self.wide})")
            lines.append(f"column0 = min32(mine_column, {self.columns - self.wide})")
            return lines
        for n in self.bases:
            lines.append(f"free{n} = add32(and32(lane, {self.across - 1}), {n * self.across})")
            lines.append(f"column{n} = min32(free{n}, {self.columns - 1})")
        return lines

    def locate(self, name: str, view: View) -> list[str]:
        """The lines that set name0, name1, ... to the bytes of (row, column n) of a view."""
        by_row, by_column = 4 * view.row, 4 * view.term
        return [
            f"{name}{n} = add32(w, add32(mul32(row, {by_row}), mul32(column{n}, {by_column})))"
            for n in self.bases
        ]

    def place(self, name: str, view: View, m: int, n: int) -> tuple[str, int]:
        """Of element (m, n): a variable that `locate` set, and the bytes behind it."""
        words = view.first + m * view.row + self.beyond(n) * view.term
        return f"{name}{self.base(n)}", view.field.offset + 4 * words

    def owns(self, m: int, n: int) -> list[str]:
        """own: 1 where the lane's m-th row and n-th column are its own."""
        lines = [f"own = select_lt(add32(row, {m}), mine_row, 0, 1)"]
        if self.packed:
            return [*lines, f"own = select_lt(add32(column0, {n}), mine_column, 0, own)"]
        return [*lines, f"own = select_lt(free{self.base(n)}, {self.columns}, own, 0)"]

    @property
    def elements(self) -> list[tuple[int, int]]:
        return [(m, n) for m in range(self.each) for n in range(self.wide)]


def _vector(count: int, total: int) -> int:
    return next(v for v in (4, 2, 1) if count % v == 0 and (total - count) % v == 0)


def deal(rows: int, columns: int) -> Grid:
    """Elements that are made one by one: columns side by side, as many as there are."""
    return Grid(rows, columns, min(WARP, 1 << (columns - 1).bit_length()))


def across_choices() -> list[int]:
    return [1 << n for n in range(WARP.bit_length())]
