"""The two tables of log-table arithmetic, as a PDP-11 holds them.

    codes    linear number modulo 8192 -> half an address: half + code, + sign where negative
    powers   the sum of two such halves is an address in here: one + the codes' sum - 12 octaves

`one` is where the product of codes with the sum 0 stands.
"""

from __future__ import annotations

from collections.abc import Iterable

from anachron.kernels.reference.log_tables import (
    LOWEST,
    SIGN,
    code_table,
    octaves,
    product_table,
)

OCTAVES = (1, 4, 6, 8, 11, 12)  # that the kernels name
USUAL = 12  # octaves that the sum of two codes is lowered by
WORDS_A_LINE = 8


def codes() -> str:
    """The table of codes, in the order of the numbers' bits."""
    return "\n".join([".EVEN", "codes:", *_lines(f"half+{code}." for code in code_table(SIGN))])


def powers() -> str:
    """The table of products, and the symbols that name its places."""
    lines = [".EVEN", "powers:", *_lines(f"{product}." for product in product_table())]
    lines += [f"one = powers+{-LOWEST}.", f"half = <one-octaves.{USUAL}>/2"]
    lines += [f"octaves.{n} = {octaves(n)}." for n in OCTAVES]
    return "\n".join(lines)


def _lines(cells: Iterable[str]) -> list[str]:
    every = [cell.replace("+-", "-") for cell in cells]
    return [
        ".WORD " + ",".join(every[at : at + WORDS_A_LINE])
        for at in range(0, len(every), WORDS_A_LINE)
    ]
