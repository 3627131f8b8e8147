"""Rows of matrices -> blocks of bytes and runs, as rows.py reads them.

A block's array is a column of weights, a modulus's constants, or the rows' places in the result,
indexed by X; rows of one basis and end lie together, a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import levels as residue_levels
from anachron.kernels.mos6502.residue.ends import End
from anachron.kernels.mos6502.residue.levels import MIDDLE
from anachron.kernels.mos6502.residue.moduli import OFFSETS, choose_origin, triangle

PAGE = 256
# The moduli, 253 or 99, of whose constants rows of a basis have one, if they have one.
THIRD = {"narrow": MIDDLE, "small": MIDDLE, "wide": 99, "wider": MIDDLE, "widest": MIDDLE}
THIRDS = set(THIRD.values())
PATCHES = 40  # bytes of code for each block whose rows' places lie elsewhere
MOST_ROWS = 256  # of a run, and of a block
FEW = 3  # rows that may as well saturate if others of their shift do: a run costs about 80 cycles


@dataclass(frozen=True)
class Matrix:
    """A matrix with a basis for each row.

    weight (rows, columns) int8, bias (rows,) int32, ends (rows,)
    """

    weight: Array
    bias: Array
    ends: tuple[End, ...]


@dataclass(frozen=True)
class Run:
    """Rows `first` .. `first + size - 1` of a block, which end alike, of results from `base` on."""

    block: int
    first: int
    size: int
    end: End
    base: int


@dataclass(frozen=True)
class Packed:
    """Rows of several matrices with the same number of columns.

    blocks    bytes of each, from the start of a page
    runs      of each matrix
    moduli    of all chains
    origin    (columns,)  what was taken off the weights
    crossing  modulus -> (columns,)  how often t + x,Y crosses a page
    column, constant, order   offsets in a block: of each column; by modulus, of rows' constants;
                              of rows' places, if they are there
    places    else a table of them, from the start of a page     stride  rows of a block
    """

    name: str
    bits: int
    blocks: tuple[bytes, ...]
    runs: tuple[tuple[Run, ...], ...]
    moduli: tuple[int, ...]
    origin: Array
    crossing: Mapping[int, Array] = field(repr=False)
    column: tuple[int, ...]
    constant: Mapping[int, int]
    order: int | None
    places: bytes
    stride: int

    @property
    def columns(self) -> int:
        return len(self.origin)

    def place(self, block: int) -> str:
        """The address of the places of a block's rows."""
        if self.order is not None:
            return f"{self.name}_block_0+{self.order}"
        return f"{self.name}_places+{_spread(block, self.stride)}"

    def rows_of(self, run: Run) -> Array:
        """(size,) the results that a run's rows are."""
        first, content = _spread(run.block, self.stride), self.places
        if self.order is not None:
            first, content = self.order, self.blocks[run.block]
        places = np.frombuffer(content, np.uint8)[first + run.first :][: run.size]
        return run.base + places.astype(np.int64)

    @property
    def small(self) -> int | None:
        """The fourth modulus, if some row needs one."""
        return next((m for m in self.moduli if m < 99), None)

    @property
    def sum_rows(self) -> int:
        """Of how many rows sums are kept to be added to."""
        parts = (sum(run.size for run in runs if run.end.part) for runs in self.runs)
        return min(MOST_ROWS, max(parts, default=0))

    @property
    def ends(self) -> list[End]:
        return sorted({run.end for runs in self.runs for run in runs})

    def ways(self, modulus: int) -> set[str]:
        """What follows a chain: the next chains, and "end"."""
        found = set()
        for path in (self.path(end) for end in self.ends):
            if modulus in path:
                at = path.index(modulus)
                found.add(self.entry(path, at + 1) if at + 1 < len(path) else "end")
        return found

    def path(self, end: End) -> tuple[int, ...]:
        """The moduli of a row's chains."""
        small = (self.small,) if self.small else ()
        last = {
            "narrow": (),
            "small": small,
            "wide": (99,),
            "wider": (MIDDLE,),
            "widest": (MIDDLE, *small),
        }
        return (256, 255, *last[end.basis])

    def entry(self, path: tuple[int, ...], at: int) -> str:
        """Where a path's chain `at` begins."""
        if path[at] == self.small and path[at - 1] == 255:
            return f"{self.name}_directly"
        return self.chain(path[at])

    def chain(self, modulus: int) -> str:
        return f"{self.name}_chain_{modulus}"


def pack(
    name: str, bits: int, small: int | None, matrices: list[Matrix], most_pages: int = PAGE
) -> Packed:
    """Put matrices into blocks of no more than so many pages; bits: of the vectors' elements."""
    bases = {end.basis for matrix in matrices for end in matrix.ends}
    moduli = (
        *(256, 255),
        *([99] if "wide" in bases else []),
        *([MIDDLE] if bases & {"wider", "widest"} else []),
        *([small] if small and bases & {"small", "widest"} else []),
    )
    third = [m for m in moduli if m in THIRDS]  # a row has one of them, at most
    kinds = [m for m in moduli if m not in third[1:]]
    origin = choose_origin(np.concatenate([matrix.weight for matrix in matrices]))
    columns = len(origin)
    planned = [_plan(matrix) for matrix in matrices]
    n_rows = sum(len(rows) for parts in planned for _, _, rows in parts)
    arrays = columns + len(kinds) + 1
    apart = _choose_stride(n_rows, arrays - 1, most_pages)
    together = _choose_stride(n_rows, arrays, most_pages)
    outside = apart[0] + (n_rows + PATCHES * apart[1]) < together[0]
    _, _, stride, in_page = apart if outside else together
    offsets = [i // in_page * PAGE + i % in_page * stride for i in range(arrays - outside)]
    places = np.zeros(_spread(-(-n_rows // stride), stride) if outside else 0, np.uint8)
    blocks = [np.zeros(offsets[-1] + stride, np.uint8) for _ in range(-(-n_rows // stride))]
    runs, at = [], 0
    for matrix, parts in zip(matrices, planned, strict=True):
        mine = []
        for end, base, rows in parts:
            while len(rows):
                block, first = divmod(at, stride)
                some, rows = rows[: stride - first], rows[stride - first :]
                path = [THIRD[end.basis] if m in third else m for m in kinds]
                arrays_of = _arrays(matrix, some, base, origin, path, bits)
                for offset, values in zip(offsets, arrays_of, strict=not outside):
                    blocks[block][offset + first :][: len(some)] = values & 0xFF
                if outside:
                    places[_spread(block, stride) + first :][: len(some)] = arrays_of[-1]
                mine.append(Run(block, first, len(some), end, base))
                at += len(some)
        runs.append(tuple(mine))
    weight = np.concatenate([matrix.weight for matrix in matrices]).astype(np.int64) - origin
    return Packed(
        name,
        bits,
        tuple(block.tobytes() for block in blocks),
        tuple(runs),
        moduli,
        origin,
        {m: _crossings(weight, m, bits) for m in moduli},
        tuple(offsets[:columns]),
        {m: offsets[columns + kinds.index(third[0] if m in third else m)] for m in moduli},
        None if outside else offsets[-1],
        places.tobytes(),
        stride,
    )


def _spread(block: int, stride: int) -> int:
    """Where a block's places lie in their table: none cross a page."""
    in_page = PAGE // stride
    return block // in_page * PAGE + block % in_page * stride


def _plan(matrix: Matrix) -> list[tuple[End, int, Array]]:
    """(end, first result, rows) of each run; results are numbered by a byte."""
    found = []
    for base in range(0, len(matrix.ends), MOST_ROWS):
        rows: dict[End, list[int]] = {}
        for row in range(base, min(base + MOST_ROWS, len(matrix.ends))):
            rows.setdefault(matrix.ends[row], []).append(row)
        for end in list(rows):
            other = end._replace(saturates=True)
            if not end.saturates and other in rows and len(rows[end]) <= FEW:
                rows[other] += rows.pop(end)
        found += [(end, base, np.array(rows[end])) for end in sorted(rows)]
    return found


def _choose_stride(n_rows: int, arrays: int, most_pages: int) -> tuple[int, int, int, int]:
    """The fewest bytes and then the fewest blocks; rows of a block, and arrays a page."""
    choices = []
    for in_page in range(1, 9):
        stride = min(PAGE // in_page, n_rows)
        count = -(-n_rows // stride)
        in_page = PAGE // stride
        n_pages = -(-arrays // in_page)
        if n_pages <= most_pages:
            choices.append((count * n_pages * PAGE, count, stride, in_page))
    return min(choices)


def _arrays(
    matrix: Matrix, rows: Array, base: int, origin: Array, moduli: list[int], bits: int
) -> list[Array]:
    """A block's arrays for some rows: columns, constants, places."""
    weight = matrix.weight[rows].astype(np.int64)
    taken = weight - origin
    own = triangle(taken).sum(1) - triangle(-origin.astype(np.int64)).sum()
    start = matrix.bias[rows].astype(np.int64) - own - OFFSETS[bits] * weight.sum(1)
    constants = [residue_levels.row_constants(start, m) for m in moduli]
    return [*taken.T, *constants, rows - base]


def _crossings(weight: Array, modulus: int, bits: int) -> Array:
    """(columns,) how often weight + residue passes 255, if any residue is as likely."""
    if modulus >= MIDDLE or bits == 8:
        odds = np.full(256, 1 / 256)
    else:
        odds = np.convolve(np.full(modulus, 1 / modulus), np.full(modulus, 1 / modulus))
    beyond = np.concatenate([np.cumsum(odds[::-1])[::-1], np.zeros(512)])  # at least n
    return np.asarray(beyond[np.clip(256 - weight, 0, 511)].mean(0))
