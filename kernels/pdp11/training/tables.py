"""The two tables of log-table arithmetic, as a PDP-11 holds them.

    codes    linear number modulo 8192 -> half an address: half + code, + sign where negative
    powers   the sum of two such halves is an address in here: one + the codes' sum - 12 octaves

`one` is where the product of codes with the sum 0 stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anachron.kernels.pdp11.training.backward import MOST_DISTANCE
from anachron.kernels.pdp11.training.loss import NO_SLOPE
from anachron.kernels.pdp11.training.products import USUAL
from anachron.kernels.pdp11.training.shape import Shape
from anachron.kernels.reference.log_model import FARTHEST, SUM_OCTAVES, SUM_SHIFT
from anachron.kernels.reference.log_tables import (
    HIGHEST,
    ZERO,
    code_table,
    exponential,
    magnitude_code,
    octaves,
)

OCTAVES = (1, 8, 11, 12)  # that the kernels name
LARGEST_CODE = magnitude_code(4096)
WORDS_A_LINE = 8


def find_lowest(shape: Shape) -> int:
    """The smallest sum of codes that a step can make; ValueError where one is too large."""
    scales = shape.scales
    terms = max(shape.vocab, shape.positions)
    most = terms * exponential(octaves(SUM_OCTAVES)) >> SUM_SHIFT
    share = -FARTHEST // 2 - magnitude_code(most) + octaves(SUM_OCTAVES - SUM_SHIFT)
    slope = share + octaves(12) + scales.output
    products = (USUAL, scales.scores, scales.slopes, scales.query, scales.key, scales.value)
    highest = (*(2 * LARGEST_CODE + c for c in products if c != USUAL),
               2 * LARGEST_CODE + scales.output,
               magnitude_code(MOST_DISTANCE) + scales.d_scores)  # fmt: skip
    over = max(highest) - HIGHEST
    if over > 0:
        times = 2 ** (over / octaves(1))
        raise ValueError(f"a rate, or attention's scale, is {times:.1f} times too large for codes")
    lowest = (*(2 * ZERO + c for c in products), share + ZERO, slope + ZERO,
              share + ZERO + scales.d_scores, ZERO - NO_SLOPE)  # fmt: skip
    return min(lowest)


def codes(lowest: int) -> str:
    """The table of codes, in the order of the numbers' bits."""
    cells = (f"half+{code}." for code in code_table(HIGHEST - lowest + 2))
    return "\n".join([".EVEN", "codes:", *_lines(cells)])


def signed_codes(lowest: int, highest: int) -> str:
    """The table of codes from that of -4096 on, at codes.low; `codes` is where 0 has its own."""
    cells = [f"half+{code}." for code in code_table(highest - lowest + 2)]
    middle = len(cells) // 2
    lines = [".EVEN", "codes.low:", *_lines(cells[middle:]), "codes:", *_lines(cells[:middle])]
    return "\n".join(lines)


def cuts(codes: Sequence[int]) -> str:
    """What each window's rates are cut by."""
    return "\n".join([".EVEN", "cuts:", *_lines(f"{code}." for code in codes)])


def powers(lowest: int, highest: int = HIGHEST) -> str:
    """The table of products, plus, minus, plus, and the symbols that name its places."""
    plus = [exponential(code) for code in range(lowest, highest + 2, 2)]
    products = plus + [-product for product in plus] + plus
    lines = [".EVEN", "powers:", *_lines(f"{product}." for product in products)]
    lines += [f"one = powers+{-lowest}.", f"half = <one+{USUAL}.>/2".replace("+-", "-")]
    lines += [f"octaves.{n} = {octaves(n)}." for n in OCTAVES]
    return "\n".join(lines)


def _lines(cells: Iterable[str]) -> list[str]:
    every = [cell.replace("+-", "-") for cell in cells]
    return [
        ".WORD " + ",".join(every[at : at + WORDS_A_LINE])
        for at in range(0, len(every), WORDS_A_LINE)
    ]
