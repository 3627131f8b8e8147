"""Number formats, and the integer primitives from which every contract is made.

A format says what the bits of a value mean; it never says how a machine stores them.  All
primitives take and give numpy int64 (or Python int) and are exact: nothing here rounds in floating
point.  Shifts to the right floor, as the arithmetic shifts of both CPUs do.

To add a format: a frozen class beside Fixed, with the same four members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Fixed:
    """Two's complement fixed point: value = integer / 2**frac.

    >>> Fixed(16, 8)
    int16 Q8
    >>> int(Fixed(16, 8).encode(-0.5)), int(Fixed(8, 4).encode(100.0))
    (-128, 127)
    """

    bits: int
    frac: int
    signed: bool = True

    @property
    def lo(self) -> int:
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def hi(self) -> int:
        return (1 << self.bits - self.signed) - 1

    def encode(self, real: Array | float) -> Array:
        """The nearest integers (halves away from zero), saturated."""
        scaled = np.asarray(real, np.float64) * 2.0**self.frac
        nearest = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
        return np.clip(nearest, self.lo, self.hi).astype(np.int64)

    def decode(self, integer: Array | int) -> Array:
        return np.asarray(integer, np.float64) * 2.0**-self.frac

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.bits} Q{self.frac}"

    __repr__ = __str__


@dataclass(frozen=True)
class Log:
    """A sign and a scaled logarithm: value = +-exp(code / steps) / 2**frac.

    The codes of negative values have `stride` more; `zero` is the code of 0.  Products are sums of
    codes: kernels/reference/log_tables.py has the tables.

    >>> Log(10)
    log Q10
    >>> Log(10).encode([0.0, 1.0, -1.0]).tolist()
    [-160, 222, 8414]
    >>> Log(10).decode(222).round(3)
    np.float64(1.006)
    """

    frac: int
    steps: int = 32
    zero: int = -160
    stride: int = 8192

    @property
    def lo(self) -> int:
        return self.zero

    @property
    def hi(self) -> int:
        return self.stride + self.stride // 2 - 2

    def encode(self, real: Array | float) -> Array:
        """The nearest even codes (halves up)."""
        linear = np.asarray(real, np.float64) * 2.0**self.frac
        logarithm = np.log(np.maximum(np.abs(linear), 1e-300))
        nearest = 2 * np.floor(self.steps / 2 * logarithm + 0.5)
        coded = np.maximum(self.zero, nearest) + self.stride * (linear < 0)
        return coded.astype(np.int64)

    def decode(self, integer: Array | int) -> Array:
        code = np.asarray(integer, np.int64)
        negative = code >= self.stride // 2
        logarithm = code - self.stride * negative
        magnitude = np.exp(logarithm / self.steps) * 2.0**-self.frac
        return np.where(logarithm == self.zero, 0.0, np.where(negative, -magnitude, magnitude))

    def __str__(self) -> str:
        return f"log Q{self.frac}"

    __repr__ = __str__


def shift(x: Array, amount: Array | int) -> Array:
    """x * 2**amount: left where amount > 0, else right, flooring.

    >>> shift(np.int64(-3), -1), shift(np.int64(3), 2)
    (np.int64(-2), np.int64(12))
    """
    left, right = np.maximum(amount, 0), np.maximum(np.negative(amount), 0)
    return np.right_shift(np.left_shift(x, left), np.minimum(right, 63))


def saturate(x: Array, bits: int) -> Array:
    """x clipped to a signed integer of so many bits."""
    return np.clip(x, -(1 << bits - 1), (1 << bits - 1) - 1)


def wrap(x: Array, bits: int) -> Array:
    """x modulo 2**bits, as a signed integer."""
    half = 1 << bits - 1
    return ((x + half) & ((1 << bits) - 1)) - half


def isqrt(x: Array) -> Array:
    """The largest integer whose square is at most x; x in 0 .. 2**52.

    The float root of so small an integer is within one of the answer; the two corrections make it
    exact.

    >>> isqrt(np.array([0, 1, 3, 4, 2**52]))
    array([       0,        1,        1,        2, 67108864])
    """
    root = np.sqrt(np.asarray(x, np.float64)).astype(np.int64)
    root -= root * root > x
    root += (root + 1) * (root + 1) <= x
    return root


def matmul(weight: Array, x: Array) -> Array:
    """weight @ x.T, transposed: (rows, columns), (positions, columns) -> (positions, rows).

    Done in float64, where every partial sum below 2**53 is exact.
    """
    largest = float(np.abs(weight).max(initial=0)) * float(np.abs(x).max(initial=0))
    if largest * weight.shape[-1] >= 2.0**53:
        raise ValueError(f"a product of {weight.shape} by {x.shape} may leave 53 bits")
    return (x.astype(np.float64) @ weight.astype(np.float64).T).astype(np.int64)


def exp_table(length: int, steps: int, top: int) -> Array:
    """round(top * exp(-i / steps)) for i in 0 .. length-1.

    length entries; steps to a unit of the exponent; entry 0 is top.

    >>> exp_table(4, 1, 255)
    array([255,  94,  35,  13])
    """
    return np.array([math.floor(top * math.exp(-i / steps) + 0.5) for i in range(length)], np.int64)
