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


@dataclass(frozen=True)
class Grid:
    """rows x columns elements dealt out to a warp: a lane has `each` rows of some columns.

    Where lanes have rows in common, they belong to the later lane: `owns` is 1 there.
    """

    rows: int
    columns: int

    @property
    def across(self) -> int:
        """Lanes side by side."""
        return min(WARP, 1 << (self.columns - 1).bit_length())

    @property
    def each(self) -> int:
        return -(-self.rows // (WARP // self.across))

    @property
    def wide(self) -> int:
        return -(-self.columns // self.across)

    @property
    def cost(self) -> int:
        return self.each * self.wide

    @property
    def whole(self) -> bool:
        return self.each * (WARP // self.across) == self.rows and self.columns % self.across == 0

    def start(self) -> list[str]:
        """row: the lane's first one; column0, column1, ..., kept inside."""
        shift = self.across.bit_length() - 1
        lines = [f"mine_row = mul32(shr32(lane, {shift}), {self.each})"]
        lines.append(f"row = min32(mine_row, {self.rows - self.each})")
        for n in range(self.wide):
            lines.append(f"free{n} = add32(and32(lane, {self.across - 1}), {n * self.across})")
            lines.append(f"column{n} = min32(free{n}, {self.columns - 1})")
        return lines

    def locate(self, name: str, view: View, n: int) -> str:
        """The line that sets a variable to the bytes of (row, column n) of a view."""
        by_row, by_column = 4 * view.row, 4 * view.term
        text = f"add32(mul32(row, {by_row}), mul32(column{n}, {by_column}))"
        return f"{name} = add32(w, {text})"

    def owns(self, m: int, n: int) -> list[str]:
        """own: 1 where the lane's m-th row and n-th column are its own."""
        lines = [f"own = select_lt(add32(row, {m}), mine_row, 0, 1)"]
        return [*lines, f"own = select_lt(free{n}, {self.columns}, own, 0)"]

    @property
    def elements(self) -> list[tuple[int, int]]:
        return [(m, n) for m in range(self.each) for n in range(self.wide)]
