"""Matrices of int8 vectors as matvec.py reads them: blocks of columns, runs of rows.

A column of a block is a row of bytes inside a page; a matrix is a range of rows, up to 256 of them,
or several where it has more.  Rows with equal shifts lie together, a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue.moduli import NARROW, choose_origin, row_constants

PAGE = 256
BLOCK_ROWS = (256, 128, 64)  # of a block: 1, 2 or 4 columns a page
MODULI = NARROW.moduli


@dataclass(frozen=True)
class Matrix:
    """weight (rows, columns) int8, bias (rows,) int32, shift (rows,).

    saturates: its results may      rectified: those below 0 are 0; of 8 bits alone
    """

    weight: Array
    bias: Array
    shift: Array
    bits: int
    saturates: bool = False
    rectified: bool = False


@dataclass(frozen=True)
class Run:
    """Rows that end alike.

    block, first, rows  which rows of the memory          base  of the results, the first's place
    order               (rows,) places of the results after base; None: one after the other
    index               (rows,) rows of the matrix
    """

    block: int
    first: int
    rows: int
    base: int
    order: tuple[int, ...] | None
    index: tuple[int, ...]
    shift: int
    bits: int
    saturates: bool
    rectified: bool = False

    @property
    def end(self) -> str:
        """What its rows end with, in a word."""
        tails = ("s" if self.saturates else "") + ("r" if self.rectified else "")
        tails += "" if self.order is None else "_apart"
        return f"{self.shift}_{self.bits}{tails}"


@dataclass(frozen=True)
class Packed:
    """Rows of several matrices with the same number of columns, in blocks of up to 256.

    blocks  bytes of each, from the start of a page
    runs    of each matrix
    origin  (columns,)  what was taken off the weights
    stride  bytes from a column to the next
    column, constant  offsets in a block of each column, and of each modulus's row constants
    order   offset of the places of results, or None where none moves
    crosses (columns,) how often w + x leaves a page, for an x of `spread` around 0; own_crosses:
            how often x + the origin does
    """

    name: str
    blocks: tuple[bytes, ...]
    runs: tuple[tuple[Run, ...], ...]
    origin: Array
    stride: int
    column: tuple[int, ...]
    constant: dict[int, int]
    order: int | None
    crosses: tuple[float, ...]
    own_crosses: tuple[float, ...]

    @property
    def columns(self) -> int:
        return len(self.origin)


def pack(
    name: str, matrices: Sequence[Matrix], spread: float = 32.0, most_pages: int = PAGE
) -> Packed:
    """Put matrices into blocks of no more than so many pages.

    spread  the expected root mean square of their vectors
    """
    pieces = [_split(matrix) for matrix in matrices]
    sizes = [len(rows) for parts in pieces for _, rows in parts]
    moves = any(
        _moves(m, rows) for m, parts in zip(matrices, pieces, strict=True) for _, rows in parts
    )
    origin = choose_origin(np.concatenate([m.weight for m in matrices]))
    columns = len(origin)
    arrays = columns + len(MODULI) + moves
    tried = [(*residue_matvec.fill(sizes, size), size) for size in BLOCK_ROWS]
    filled, places, size = min(
        (
            way
            for way in tried
            if way[0]
            and residue_matvec.pages(residue_matvec.find_stride(way[0], way[2]), arrays)
            <= most_pages
        ),
        key=lambda way: residue_matvec.block_bytes(way[0], way[2], arrays),
    )
    stride = residue_matvec.find_stride(filled, size)
    in_page = PAGE // stride
    offsets = [i // in_page * PAGE + i % in_page * stride for i in range(arrays)]
    constant = dict(zip(MODULI, offsets[columns:], strict=False))
    order_at = offsets[-1] if moves else None
    blocks = [np.zeros(offsets[-1] + stride, np.uint8) for _ in filled]
    place, runs = iter(places), []
    for matrix, parts in zip(matrices, pieces, strict=True):
        mine: list[Run] = []
        for base, rows in parts:
            at, first = next(place)
            weight, bias = matrix.weight[rows].astype(np.int64), matrix.bias[rows]
            for c, values in enumerate((weight - origin).T):
                blocks[at][offsets[c] + first :][: len(rows)] = values
            for m, values in row_constants(weight, bias, origin, NARROW, 8).items():
                blocks[at][constant[m] + first :][: len(rows)] = values
            if order_at is not None:
                blocks[at][order_at + first :][: len(rows)] = rows - base
            mine += _runs(matrix, at, first, base, rows)
        runs.append(tuple(mine))
    shifted = np.concatenate([m.weight for m in matrices]).astype(np.int64) - origin
    crosses = [_crossing(column, spread) for column in shifted.T]
    own = [_crossing(-origin[c : c + 1], spread) for c in range(columns)]
    data = tuple(block.tobytes() for block in blocks)
    column = tuple(offsets[:columns])
    return Packed(
        name,
        data,
        tuple(runs),
        origin,
        stride,
        column,
        constant,
        order_at,
        tuple(crosses),
        tuple(own),
    )


def _split(matrix: Matrix) -> list[tuple[int, Array]]:
    """(first result, rows in the order of memory) of parts of up to a page's rows."""
    parts = []
    for base in range(0, len(matrix.weight), PAGE):
        shift = matrix.shift[base : base + PAGE]
        parts.append((base, base + np.argsort(shift, kind="stable")))
    return parts


def _moves(matrix: Matrix, rows: Array) -> bool:
    return bool((np.diff(rows) != 1).any())


def _runs(matrix: Matrix, block: int, first: int, base: int, rows: Array) -> list[Run]:
    """The runs of equal shifts of one part, which lies in one block."""
    shift = matrix.shift[rows]
    cuts = [0, *(np.flatnonzero(np.diff(shift)) + 1).tolist(), len(rows)]
    found = []
    for start, end in zip(cuts, cuts[1:], strict=False):
        mine = rows[start:end]
        apart = bool((np.diff(mine) != 1).any())
        saturates = matrix.saturates and matrix.bits == 8 and int(shift[start]) < 8
        found.append(
            Run(
                block,
                first + start,
                end - start,
                base if apart else int(mine[0]),
                tuple((mine - base).tolist()) if apart else None,
                tuple(mine.tolist()),
                int(shift[start]),
                matrix.bits,
                saturates,
                matrix.rectified,
            )
        )
    return found


def _crossing(weight: Array, spread: float) -> float:
    """How often a weight, moved to 0 and up, and x + 128 sum to more than 255, x a bell curve."""
    x = np.arange(-128, 128)
    density = np.exp(-0.5 * (x / max(spread, 1.0)) ** 2)
    tail = density[::-1].cumsum()[::-1] / density.sum()  # that x is at least so much
    least = 128 - weight  # the x from which on it crosses
    often = np.where(least > 127, 0.0, tail[np.clip(least, -128, 127) + 128]).mean()
    return round(float(often), 3)
