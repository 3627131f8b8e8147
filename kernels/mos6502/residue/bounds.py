"""Bounds of a matrix's rows that one chain modulo 255 tells: what it starts from -> integers.

With r = (x >> down) + 128 and w' = w - origin, the products of w and x >> down are a sum of
t(w' + r) less what only the row and what only the vector decides.  The row's share is known: all
that shifting t and x may lose is added to it, rounded up.  The vector's is counted exactly, its
fraction apart.

Exact where x and every sum stay within the bounds that the screen was planned with.

The products' table (arithmetic.py) does in place of t: it is as triangular, and its upper bytes are
t's with 8 bits lost, below 128, there already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import arithmetic
from anachron.kernels.mos6502.residue.moduli import triangle

TABLE = "t_screen"  # t(n) >> fine modulo 255, n = 0 .. 511


@dataclass(frozen=True)
class Screen:
    """What the code of a matrix is made for.

    down, fine  bits that x and t lose        shift   of the matrix
    lowest      a chain ends at bound - lowest + 1 modulo 255, bounds in units of 2**(down + fine):
                the largest that can be ends at 254; one that is too low may look high, and its row
                is done in vain
    constants   (rows,) what a row's chain starts from
    whole, part what the vector's own share starts from, and its fraction
    ready       t's place is taken by the products' table, whose upper bytes are there: fine is 8
    guarded     x may be beyond what `down` leaves in a byte: then no bound is below any other
    """

    down: int
    fine: int
    shift: int
    lowest: int
    constants: Array
    whole: int
    part: int
    ready: bool = False
    guarded: bool = False

    @property
    def tables(self) -> tuple[str, str]:
        """The labels of t's lower bytes, and of what the chains add."""
        return ("products_low", "products_high") if self.ready else ("t256", TABLE)

    @property
    def coarse(self) -> int:
        """Bits by which a bound is coarser than a result."""
        return self.down + self.fine - self.shift

    def bounds(self, weight: Array, origin: Array, x: Array) -> Array:
        """Where the rows' chains end.  weight (rows, columns), x (columns,); (rows,) 1 .. 254."""
        weight, origin = weight.astype(np.int64), origin.astype(np.int64)
        r = (x.astype(np.int64) >> self.down) + 128
        if r.min() < 0 or r.max() > 255:
            assert self.guarded
            return np.full(len(weight), 255)
        t = arithmetic.triangular if self.ready else triangle
        terms = t(weight - origin + r) >> self.fine
        own = t(r - origin)
        part = self.part + (own & (1 << self.fine) - 1).sum()
        vector = self.whole + (own >> self.fine).sum() + (part >> self.fine)
        return (terms.sum(1) + self.constants - vector) % 255


def plan(
    weight: Array,
    bias: Array,
    origin: Array,
    x: tuple[Array, Array],
    sums: tuple[Array, Array],
    shift: int,
    fine: int,
) -> Screen | None:
    """The screen of a matrix whose t loses so many bits, or None where it could not be exact.

    weight (rows, columns) int8; bias (rows,); origin (columns,)
    x, sums  (least, most) of each element of the vector, of each row's sum
    """
    down = next(d for d in range(9) if (x[0] >> d).min() >= -128 and (x[1] >> d).max() < 128)
    made = place(weight, bias, origin, sums[1], shift, down, fine)
    bits, lowest = down + fine, made.lowest
    least, most = (int(s) >> shift for s in (sums[0].min(), sums[1].max()))
    rise = (1 - lowest << bits - shift) if bits >= shift else 0
    if not 0 <= bits - shift <= 8 or least + rise < -32768 or most + rise >= 32512:
        return None
    return made


def place(
    weight: Array,
    bias: Array,
    origin: Array,
    highest: Array,
    shift: int,
    down: int,
    fine: int,
    ready: bool = False,
    guarded: bool = False,
) -> Screen:
    """A screen whose bounds hold: highest (rows,) are what the sums do not exceed; as plan."""
    weight, bias, origin = (np.asarray(a, np.int64) for a in (weight, bias, origin))
    columns, bits = weight.shape[1], down + fine
    t = arithmetic.triangular if ready else triangle
    lost = (1 << down) - 1  # of an element, at most
    top = int(((highest + lost * np.abs(weight).sum(1) >> bits) + columns + 3).max())
    lowest = top - (255 - 2)
    own = t(weight - origin).sum(1) + 128 * (weight - origin).sum(1)
    room = (columns * ((1 << fine) - 1) - own << down) + lost * np.maximum(weight, 0).sum(1) + bias
    constants = (-(-room >> bits) - lowest + 1) % 255
    vector = int(128 * origin.sum() - t(-origin).sum())
    whole, part = (vector >> fine) % 255, vector & (1 << fine) - 1
    return Screen(down, fine, shift, lowest, constants, whole, part, ready, guarded)
