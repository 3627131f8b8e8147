"""Predicted nanoseconds against the emulated PDP-11s, under each row of times."""
import random
from functools import cache
from typing import Any

import pytest

from anachron.compiler.claims import Cycles
from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.compiler.timing import TimingError, predict
from anachron.emulators import create

RETURN = 0o500  # where the outermost RTS PC returns to
MACHINES = [("pdp11/34a", "ll-34"), ("pdp11/34a", "dec"), ("pdp11/20", "11/20")]


@cache
def machine(name: str, timing: str) -> Any:
    return create(name, timing=timing)


def at(text: str, name: str) -> Any:
    return assemble(f". = 1000\nIT:\n{text}", machine=name)


def measured(name: str, timing: str, program: Any, registers: dict[str, int] | None = None) -> int:
    """Nanoseconds from IT to its return."""
    m = machine(name, timing)
    for address, data in program.segments:
        m.memory[address:address + len(data)] = list(data)
    m.word[0o700] = RETURN
    m.word[RETURN] = 0o777  # BR .
    for register, value in {"sp": 0o700, "pc": program.symbols["IT"], **(registers or {})}.items():
        m.registers[register] = value
    before = m.time_ns
    m.run(max_time_ns=10**9, until=RETURN)
    assert m.registers["pc"] == RETURN
    return int(m.time_ns - before)


MODES = ["R1", "(R2)", "(R3)+", "@(R4)+", "-(R5)", "@-(R4)", "4(R2)", "@4(R2)", "#123", "@#DATA",
         "DATA", "@PLACE"]
ONE = ["CLR", "COM", "INC", "DEC", "NEG", "ADC", "SBC", "TST", "ROR", "ROL", "ASR", "ASL", "SWAB",
       "CLRB", "TSTB", "ASRB"]
TWO = ["MOV", "CMP", "BIT", "BIC", "BIS", "ADD", "SUB", "MOVB", "CMPB", "BISB"]
TABLES = """
        RTS     PC
DATA:   .WORD   6,DATA,DATA,DATA,DATA,DATA
PLACE:  .WORD   DATA
"""


@pytest.mark.parametrize("name, timing", MACHINES)
def test_plain_instructions_are_exact_in_every_mode(name: str, timing: str) -> None:
    lines = [f" {word} {mode}" for word in ONE for mode in MODES if mode != "#123"]
    lines += [f" {word} {source},{mode}" for word in TWO for source in MODES for mode in MODES
              if mode != "#123"]
    random.Random(1).shuffle(lines)
    registers = " MOV #DATA,R2\n MOV #DATA,R3\n MOV #DATA+4,R4\n MOV #DATA+4,R5\n"
    data = "".join(f" MOV #DATA,{place}\n"
                   for place in ("DATA", "DATA+2", "DATA+4", "DATA+6", "PLACE"))
    for start in range(0, len(lines), 100):
        body = "".join(registers + data + line + "\n" for line in lines[start:start + 100])
        program = at(body + TABLES, name)
        time = predict(program, "IT", timing=timing)
        spent = measured(name, timing, program)
        assert time.lo <= spent <= time.hi
        if timing != "11/20":  # where a byte at an odd address takes longer
            assert time == Cycles(spent, spent, spent)


STEADY = {
    "counted": " MOV #10.,R1\n1$: ADD R1,R2\n DEC R1\n BNE 1$ ;@ times 10\n RTS PC",
    "nested": " MOV #3,R1\n1$: MOV #4,R2\n2$: INC R3\n DEC R2\n BNE 2$ ;@ times 4\n DEC R1\n"
              " BNE 1$ ;@ times 3\n RTS PC",
    "calls": " JSR PC,A\n CALL A\n JMP A\nA: NOP\n MOV R1,-(SP)\n MOV (SP)+,R1\n RETURN",
    "linked": " JSR R5,B\n NOP\n RTS PC\nB: NOP\n RTS R5",
    "goes": " MOV #A,R1\n JMP (R1) ;@ goes A\nA: MOV #B,PC ;@ goes B\nB: RTS PC",
    "always": " SEC\n BCS A ;@ always\n NOP\nA: BCC B ;@ never\n NOP\nB: BR C\n NOP\nC: RTS PC",
}


@pytest.mark.parametrize("name, timing", MACHINES)
@pytest.mark.parametrize("what", sorted(STEADY))
def test_the_time_is_exact_where_it_does_not_depend_on_data(what: str, name: str,
                                                            timing: str) -> None:
    program = at(STEADY[what], name)
    spent = measured(name, timing, program)
    assert predict(program, "IT", timing=timing) == (spent, spent, spent)


@pytest.mark.parametrize("timing", ["ll-34", "dec"])
def test_sob_loops_are_exact(timing: str) -> None:
    program = at(" MOV #10.,R1\n1$: ADD R1,R2\n SOB R1,1$ ;@ times 10.\n RTS PC", "pdp11/34a")
    spent = measured("pdp11/34a", timing, program)
    assert predict(program, "IT", timing=timing) == (spent, spent, spent)


@pytest.mark.parametrize("timing", ["ll-34", "dec"])
@pytest.mark.parametrize("text", [
    "MUL R1,R0", "MUL #12345,R0", "MUL (R5),R3", "ASH R1,R0", "ASH #-3,R0", "ASHC #-8.,R0",
    "ASHC R1,R2", "ASHC #5,R0", "DIV R1,R0", "DIV #17,R0", "MUL #100000,R0",
    "MOV R1,A+2\nA: ASH #1,R0",
])
def test_data_dependent_instructions_stay_inside_their_bounds(text: str, timing: str) -> None:
    program, random_ = at(f" {text}\n RTS PC\nD: .WORD 52525", "pdp11/34a"), random.Random(text)
    time = predict(program, "IT", timing=timing)
    for _ in range(100):
        values = {f"r{k}": random_.choice((0, 1, 0o177777, 0o100000, random_.randrange(65536)))
                  for k in range(5)}
        spent = measured("pdp11/34a", timing, program, {**values, "r5": program.symbols["D"]})
        assert time.lo <= spent <= time.hi, values


def test_random_words_multiply_in_the_expected_time() -> None:
    """Within 1 %, over 2000 random products: the mean of the emulator is what is predicted."""
    program, random_ = at(" MUL R1,R0\n RTS PC", "pdp11/34a"), random.Random(7)
    spent = [measured("pdp11/34a", "ll-34", program, {"r0": random_.randrange(65536),
                                                      "r1": random_.randrange(65536)})
             for _ in range(2000)]
    assert predict(program, "IT").expected == pytest.approx(sum(spent) / len(spent), rel=0.01)


def test_the_console_answers_sooner_than_memory() -> None:
    program = at(" TSTB @#177564\n MOV @#177560,R0\n RTS PC", "pdp11/34a")
    time = predict(program, "IT")
    assert time.lo <= measured("pdp11/34a", "ll-34", program) <= time.hi


@pytest.mark.parametrize("text, told", [
    (" BR IT", "has no `;@ times`"), (" JMP (R1)", "source.mac:3: where this JMP goes"),
    (" JSR PC,(R1)\n RTS PC", "source.mac:3: where this JSR goes"), (" MOV R1,PC", "change of PC"),
    (" EMT 5", "claim `;@ plus N`"), (" INC IT\n", "the program changes this instruction"),
])
def test_what_cannot_be_told_is_an_error_with_its_place(text: str, told: str) -> None:
    with pytest.raises(TimingError) as caught:
        predict(at(text, "pdp11/34a"), "IT")
    assert told in str(caught.value)


def test_a_listing_is_octal_and_tells_nanoseconds() -> None:
    text = at(" MOV #5,R0\n1$: SOB R0,1$ ;@ times 5\n RTS PC\nD: .BYTE 1", "pdp11/34a").listing()
    assert "001000  012700 000005             2120   MOV #5,R0\n" in text
    assert "001004  077001               1570/1930  1$: SOB R0,1$ ;@ times 5\n" in text
    assert "001010  001                             D: .BYTE 1\n" in text
    assert "IT                        001000       8     5990-6350  13,710\n" in text
