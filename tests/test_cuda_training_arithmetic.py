"""A training's products as multiplications of floats, and which lane has which of them."""

from __future__ import annotations

import numpy as np
import pytest

from anachron.kernels.arithmetic import wrap
from anachron.kernels.cuda.intrinsics import INTRINSICS
from anachron.kernels.cuda.intrinsics import wrap as signed
from anachron.kernels.cuda.training.grid import Field, Grid, across_choices
from anachron.kernels.cuda.training.products import Job, Pair, Scale, contract
from anachron.kernels.cuda.training.tables import (
    EXACT,
    HIGHEST_LEVEL,
    INTEGER_CODES,
    LEVEL_CODES,
    MOST_TERMS,
    NO_PRODUCT,
    ROOM,
    UNCLIPPED,
    Tables,
    bits,
    find_scale,
    integer,
    multiply_into,
    value,
)
from anachron.kernels.reference.log_tables import code, exponential, multiply

LEVELS = tuple(range(-400, 30, 2))
SLOPES = tuple(sorted({*range(-140, 300, 2), *INTEGER_CODES}))


@pytest.mark.parametrize("codes", [INTEGER_CODES, LEVELS, SLOPES])
def test_every_constant_has_a_scale(codes: tuple[int, ...]) -> None:
    """Of any two codes: integers by integers, by probabilities and by a loss's gradients; and a
    value by a rate alone."""
    for constant in range(NO_PRODUCT, 420, 6 if codes == INTEGER_CODES else 26):
        find_scale(constant, INTEGER_CODES, codes)
        find_scale(constant, codes, (0,))
    assert find_scale(NO_PRODUCT - 2) == 0
    assert NO_PRODUCT + INTEGER_CODES[-1] + SLOPES[-1] < 0


def test_a_multiplication_and_its_rounding_are_the_tables_product() -> None:
    """The machine's arithmetic, in numpy's: one rounding of the scaled factor, one of the sum."""
    a = np.array([value(c) for c in INTEGER_CODES])
    for constant in (-354, -266, -44, 134):
        scaled = a * np.float32(find_scale(constant))
        sums = np.multiply.outer(scaled.astype(float), a.astype(float)) + 1.5 * 2**23
        halves = np.clip(sums.astype(np.float32).view(np.int32) - EXACT, None, 32766 // 2)
        wanted = multiply(np.add.outer(INTEGER_CODES, INTEGER_CODES) + constant)
        assert (2 * halves == wanted).all()


@pytest.mark.parametrize("constant", [-178, -66, 0, 300])
def test_a_product_beyond_the_largest_is_clipped_and_others_are_rounded_once(
    constant: int,
) -> None:
    """The lines themselves, on sums that are positive and negative."""
    scope: dict[str, object] = {name: row.meaning for name, row in INTRINSICS.items()}
    for name in ("add32", "sub32"):
        meaning = INTRINSICS[name].meaning
        scope[name] = lambda x, y, meaning=meaning: signed(meaning(x, y))
    lines = "\n".join([*multiply_into("t", "a", "b", True), f"x = {integer('t')}"])
    scope |= {"shl32": lambda x, y: signed(x << y), "sar32": lambda x, y: x >> y}
    scale = np.float32(find_scale(constant))
    ties = [(c, d) for c in INTEGER_CODES for d in INTEGER_CODES if c + d + constant in (0, 270)]
    beyond = [(266, 266), (266, 240), (-160, 266), (100, 66)]
    for c, d in (*ties[::4], *beyond):
        for sign in (1, -1):
            scope |= {"t": EXACT - 5, "a": bits(sign * value(c)), "b": bits(value(d) * scale)}
            exec(lines, scope)
            assert scope["x"] == wrap(np.array(sign * exponential(c + d + constant) - 10), 16)


def test_sums_keep_their_units() -> None:
    assert MOST_TERMS * (exponential(UNCLIPPED) // 2) < ROOM
    assert exponential(UNCLIPPED) < exponential(UNCLIPPED + 2) == 32766
    assert np.int32(EXACT).view(np.float32) == 1.5 * 2**23


def test_the_tables_hold_what_their_places_say() -> None:
    tables = Tables()
    raw = np.frombuffer(tables.entries, np.uint8)
    integers = np.arange(-4096, 4096, 2)
    at = 2 * (integers & 8190)
    floats = raw[: tables.levels].view("<f4")[at // 4]
    magnitude = code(np.abs(integers)) % 8192
    assert (np.abs(floats) == [value(int(c)) for c in magnitude - 8192 * (magnitude > 4096)]).all()
    assert ((floats < 0) == (integers < 0)).all()
    levels = raw[tables.levels : tables.totals].view("<f4")
    for c in (LEVEL_CODES[0], 0, -256, LEVEL_CODES[-1]):
        assert levels[2 * (HIGHEST_LEVEL - c) // 4] == value(c)
    totals = raw[tables.totals : tables.totals + 4096].view("<i2")
    assert (totals[integers[integers >= 0] // 2] == 2 * code(integers[integers >= 0])).all()


@pytest.mark.parametrize("terms", [MOST_TERMS - 1, MOST_TERMS, 2 * MOST_TERMS + 3])
def test_long_sums_are_wrapped_on_the_way(terms: int) -> None:
    """Of the largest products, as many as leave the room, twice: numpy plays the lines."""
    field = Field(0, 1, terms)

    def sink(grid: Grid, turned: bool):  # type: ignore[no-untyped-def]
        return [], lambda totals: [f"result = {totals[0, 0]}"]

    big = 182.0
    pair = Pair(field.view, Field(0, 1, terms).view, Scale(str(bits(0.49))))
    lines = contract(Tables(), [Job((pair,), sink)], 1, 1, terms)
    scope: dict[str, object] = {name: row.meaning for name, row in INTRINSICS.items()}
    word = bits(big)
    scope |= {"sm": None, "lane": 0, "w": 0, "load32": lambda *_: word}
    scope |= {"load64": lambda *_: (word,) * 2, "load128": lambda *_: (word,) * 4}
    for name in ("add32", "shl32", "sub32", "mul32"):
        meaning = INTRINSICS[name].meaning
        scope[name] = lambda x, y, meaning=meaning: signed(meaning(x, y))
    exec("\n".join(lines), scope)
    product = round(float(np.float32(big) * np.float32(0.49)) * big)
    assert 2 * product <= 32766
    assert scope["result"] == wrap(np.array(2 * product * terms), 16)


@pytest.mark.parametrize("rows", [1, 3, 8, 10, 16, 33])
@pytest.mark.parametrize("columns", [1, 7, 10, 16, 32, 40])
def test_every_element_has_one_owner(rows: int, columns: int) -> None:
    """The lines themselves say so, whatever the block."""
    names = ("add32", "mul32", "and32", "shr32", "min32", "select_lt")
    meanings: dict[str, object] = {name: INTRINSICS[name].meaning for name in names}
    for across in across_choices():
        for packed in (False, True):
            grid, seen = Grid(rows, columns, across, packed), set()
            for lane in range(32):
                scope = meanings | {"lane": lane}
                exec("\n".join(grid.start()), scope)
                for m, n in grid.elements:
                    exec("\n".join(grid.owns(m, n)), scope)
                    first = scope[f"column{grid.base(n)}"]
                    place = scope["row"] + m, first + grid.beyond(n)  # type: ignore[operator]
                    assert place[0] < rows and place[1] < columns
                    if scope["own"] or grid.whole:
                        assert place not in seen
                        seen.add(place)
            assert seen == {(r, c) for r in range(rows) for c in range(columns)}


@pytest.mark.parametrize("columns", range(1, 70))
def test_eight_rows_vectors_lie_in_different_banks(columns: int) -> None:
    stride = Field(0, 8, columns).stride
    assert stride >= columns and len({stride * row // 4 % 8 for row in range(8)}) == 8
