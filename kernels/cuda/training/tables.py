"""Codes as floats: a product in logarithms is one multiplication, rounded into its sum.

A code c with a sign stands for +-exp(c / 32), and the float nearest to that is what is kept.  The
product that the reference looks up for a sum of codes a, b and a constant k is the even integer
nearest to exp((a + b + k) / 32); its half is the integer nearest to A * B * scale, scale being
exp(k / 32) / 2, and `ffma` adds it to a sum and rounds once.  A sum that starts at EXACT has units
of 1, so what it rounds away is the fraction of the product; its low 22 bits count halves of the
reference's integers, and wrap as those do.

    A, B     float     within 2**-24 of exp(c / 32)
    scale    float     such that every pair of codes gives the reference's product: find_scale
                       tries all pairs, and the tests all constants

A product that may be beyond the reference's largest is clipped first.

    codes    byte 2 * (b & 8190)         the float of an integer's code
    levels   byte 2 * (HIGHEST_LEVEL - c) exp(c / 32): the softmaxes' terms and probabilities
    totals   byte t & 8190               int16: twice the code of a softmax's sum
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from anachron.kernels.reference.log_tables import (
    FARTHEST_CODED,
    INDEX_MASK,
    LARGEST,
    SILENT,
    STEPS,
    code_table,
    exponential,
    magnitude_code,
)

EXACT = 0x4B400000  # the bits of 1.5 * 2**23
ROOM = 1 << 22  # sums of halves stay below this, either way
MOST_PRODUCT = LARGEST // 2
MOST_TERMS = ROOM // (MOST_PRODUCT + 1)  # of a sum, before it is wrapped
UNCLIPPED = 332  # the largest logarithm whose product is not clipped
LOWEST_LEVEL, HIGHEST_LEVEL = -512, 340
ULPS = range(-2, 12)  # of a scale, that are tried
NO_PRODUCT = -900  # a constant below which nothing has a product


def bits(number: float | np.float32) -> int:
    """The word of a float, with a sign as an int32."""
    return int(np.array(number, np.float32).view(np.int32))


@cache
def value(code: int) -> np.float32:
    return np.float32(math.exp(code / STEPS))


SILENT_BITS = bits(value(SILENT))
INTEGER_CODES = tuple(sorted({magnitude_code(b) for b in range(0, INDEX_MASK // 2 + 2, 2)}))
LEVEL_CODES = range(HIGHEST_LEVEL, LOWEST_LEVEL - 2, -2)


@cache
def find_scale(
    constant: int, a: Sequence[int] = INTEGER_CODES, b: Sequence[int] = INTEGER_CODES
) -> float:
    """The float that brings products of codes to a constant's scale, halved.

    a, b  all codes that are multiplied

    Raises ValueError where no float gives the reference's product for every pair, whichever of
    the two it multiplies first.
    """
    if constant < NO_PRODUCT:
        return 0.0
    sums = np.add.outer(np.array(a), np.array(b)) + constant
    lowest = int(sums.min())
    known = [exponential(c) // 2 for c in range(lowest, int(sums.max()) + 2, 2)]
    wanted = np.array(known)[(sums - lowest) // 2]
    left, right = (np.array([value(c) for c in codes], np.float32) for codes in (a, b))
    nearest = np.float32(math.exp(constant / STEPS) / 2)
    for ulps in ULPS:
        scale = (nearest.view(np.int32) + np.int32(ulps)).view(np.float32)
        products = (
            np.multiply.outer((left * scale).astype(float), right.astype(float)),
            np.multiply.outer(left.astype(float), (right * scale).astype(float)),
        )
        if all((np.minimum(np.rint(p), MOST_PRODUCT) == wanted).all() for p in products):
            return float(scale)
    raise ValueError(f"no float multiplies codes by {constant} steps as the tables do")


@dataclass(frozen=True)
class Tables:
    """Where the tables lie in shared memory, and the lines that read them."""

    codes: int = 0
    levels: int = 2 * (INDEX_MASK + 2)
    totals: int = levels + 2 * (HIGHEST_LEVEL - LOWEST_LEVEL + 2)
    n_bytes: int = -(-(totals + (INDEX_MASK + 2) // 2) // 128) * 128

    @property
    def entries(self) -> bytes:
        sign = 1 << 14
        signed = code_table(sign)
        negative = signed >= sign // 2
        floats = np.array([value(int(c)) for c in signed - sign * negative], "<f4")
        levels = np.array([value(c) for c in LEVEL_CODES], "<f4")
        totals = 2 * code_table(0)[: len(signed) // 2]
        raw = np.where(negative, -floats, floats).tobytes() + levels.tobytes()
        raw += totals.astype("<i2").tobytes()
        return raw + bytes(self.n_bytes - len(raw))

    def code(self, to: str, text: str, shift: int = 0, saturates: bool = False) -> list[str]:
        """The float of a linear integer's code, shifted down first."""
        if saturates:
            text = f"clamp32(sar32({text}, {shift}), {-FARTHEST_CODED}, {FARTHEST_CODED})"
            shift = 0
        moved = f"shl32({text}, 1)" if not shift else f"sar32({text}, {shift - 1})"
        return [f"{to} = load32(sm, and32({moved}, {2 * INDEX_MASK}), {self.codes})"]

    def level(self, to: str, at: str, code: int = 0) -> list[str]:
        """The float of a code: `at` has twice what it is below `code`."""
        return [f"{to} = load32(sm, {at}, {self.levels + 2 * (HIGHEST_LEVEL - code)})"]

    def total(self, to: str, count: str) -> list[str]:
        """Twice the code of an integer that is at least 0."""
        return [f"{to} = load16(sm, and32({count}, {INDEX_MASK}), {self.totals})"]


def multiply_into(total: str, a: str, b: str, clipped: bool) -> list[str]:
    """The lines that add the product of two floats, one of them scaled, to a sum."""
    if not clipped:
        return [f"{total} = ffma({a}, {b}, {total})"]
    # Rounded once, too; floats that are not negative, and those below them, are in order as words.
    return [
        f"v = clamp32(ffma({a}, {b}, {EXACT}), {EXACT - MOST_PRODUCT}, {EXACT + MOST_PRODUCT})",
        f"{total} = add32({total}, sub32(v, {EXACT}))",
    ]


def integer(total: str) -> str:
    """The text of the linear integer that a sum stands for, wrapped."""
    return f"sar32(shl32({total}, 17), 16)"


def wrapped(total: str) -> str:
    """The text of a sum with room for as many terms again."""
    return f"add32(sar32(shl32({total}, 17), 17), {EXACT})"
