"""A routine's time is found once for all environments that agree in what it asks of them."""

import pytest

from anachron.compiler.claims import Asked
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.timing import Predictor, predict

TEXT = """
outer   jsr inner
loop    dex
        bne loop        ;@ times passes
        jsr inner
        rts
inner   lda #1
        dey
        bne inner       ;@ times turns
after   jmp (table)     ;@ goes {way}
first   rts
second  nop
        rts
table   .word first, second
"""


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(assemble(TEXT), None)


def time(predictor: Predictor, entry: str, **environment: object) -> int:
    found = predictor.routine(predictor.program.symbols[entry], None, environment, 0)
    assert found.exact
    return found.lo


def test_every_variable_asked_of_counts(predictor: Predictor) -> None:
    for passes in (1, 7, 1):
        for turns in (1, 4):
            for way in ("first", "second", "first"):
                inner = 7 * turns - 1 + 5 + 6 + 2 * (way == "second")
                given = {"passes": passes, "turns": turns, "way": way}
                assert time(predictor, "inner", **given) == inner
                assert time(predictor, "outer", **given) == 2 * (6 + inner) + 5 * passes - 1 + 6
                fresh = predict(assemble(TEXT), "outer", environment=given)
                assert fresh.lo == time(predictor, "outer", **given)


def test_a_variable_that_is_not_asked_of_asks_for_no_new_walk(predictor: Predictor) -> None:
    first = time(predictor, "inner", turns=3, way="first", passes=1)
    predictor._blocks = None  # type: ignore[assignment, method-assign]
    assert time(predictor, "inner", turns=3, way="first", passes=99, other=(1, 2, 3)) == first
    with pytest.raises(TypeError):
        time(predictor, "inner", turns=4, way="first")


def test_what_a_callee_asks_its_callers_ask(predictor: Predictor) -> None:
    asked = Asked({"passes": 2, "turns": 3, "way": "second", "other": 1})
    predictor.routine(predictor.program.symbols["outer"], None, asked, 0)
    assert asked.answers == {"passes": 2, "turns": 3, "way": "second"}
    assert asked.get("none", 5) == 5 and asked.answers["none"] is None


def test_runs_end_where_something_jumps_between_labels() -> None:
    program = assemble("start lda #1\n nop\n nop\n nop\n dex\n bne start+3 ;@ times 5\n rts\n")
    found = Predictor(program, None)
    start = program.symbols["start"]
    assert found.routine(start + 2, None, {}, 0).lo > 0  # a run that the branch will cut
    assert found.routine(start, None, {}, 0).lo == 2 + 2 + 5 * (2 + 2 + 2) + 4 * 3 + 2 + 6


def test_reached_are_the_routine_and_its_callees(predictor: Predictor) -> None:
    symbols = predictor.program.symbols
    environment = {"passes": 1, "turns": 1, "way": "first"}
    inner = predictor.reached(symbols["inner"], None, environment)
    outer = predictor.reached(symbols["outer"], None, environment)
    assert symbols["first"] in inner and symbols["second"] not in inner
    assert inner | {symbols["outer"]} <= outer and symbols["outer"] not in inner
