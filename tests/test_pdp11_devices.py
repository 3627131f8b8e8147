"""The PDP-11's devices: console, clock, paper tape, switches, arithmetic element, interrupts."""

import random
import re
import shutil
import subprocess

import pytest
from test_pdp11 import machine

from anachron.emulators import create
from anachron.emulators.containers import lda
from anachron.emulators.pdp11 import ke11

LIMIT = 10**10

PRINT = """
START: MOV #TEXT,R1
1$: MOVB (R1)+,R0
    BEQ 3$
2$: TSTB @#177564
    BPL 2$
    MOVB R0,@#177566
    BR 1$
3$: HALT
TEXT: .ASCIZ /HELLO/
"""

ECHO = """
START: TSTB @#177560
    BPL START
    MOVB @#177562,R0
1$: TSTB @#177564
    BPL 1$
    MOVB R0,@#177566
    CMPB R0,#15
    BNE START
    HALT
"""


@pytest.mark.parametrize("baud", [0, 110, 9600])
@pytest.mark.parametrize("compiled", [True, False])
def test_console_prints(baud: int, compiled: bool) -> None:
    m = machine(PRINT, baud=baud, compiled=compiled)
    m.run(max_time_ns=LIMIT)
    assert m.console == "HELLO"


def test_a_character_takes_ten_bits_of_its_speed() -> None:
    times = {}
    for baud in (0, 110, 9600):
        m = machine(PRINT, baud=baud)
        m.run(max_time_ns=LIMIT)
        times[baud] = m.time_ns
    polls = 10_000  # a poll of the status is shorter
    for baud in (110, 9600):  # the first goes at once, the last is not waited for
        assert 0 <= times[baud] - 4 * (10**10 // baud) < times[0] + 5 * polls


def test_console_echoes_what_is_typed() -> None:
    m = machine(ECHO)
    m.type("HEY\n")
    assert m.run(max_time_ns=LIMIT).startswith("HALT")
    assert m.console == "HEY\r"


def test_typing_while_it_waits_goes_on() -> None:
    m = machine(ECHO)
    assert m.run(max_time_ns=10_000_000).startswith("limit")
    for text in "AB\n":
        m.type(text)
        m.run(max_time_ns=20_000_000)
    assert m.console == "AB\r"


INTERRUPTED = """
. = 60
    .WORD RECEIVE,200
. = 64
    .WORD SEND,200
. = 100
    .WORD TICK,300
. = 1000
START: CLR R0
    {0}
1$: WAIT
    BR 1$
RECEIVE: MOVB @#177562,R2
    HALT
SEND: INC R0
    CMP #3,R0
    BEQ 2$
    MOVB #101,@#177566
    RTI
2$: HALT
TICK: INC R1
    CMP #3,R1
    BEQ 3$
    RTI
3$: HALT
"""


@pytest.mark.parametrize("compiled", [True, False])
def test_transmitter_interrupts_when_ready(compiled: bool) -> None:
    m = machine(INTERRUPTED.format("MOV #100,@#177564"), compiled=compiled)
    assert m.run(max_time_ns=LIMIT).startswith("HALT")
    assert m.console == "AA"
    assert m.profile().sum() == m.time_ns


def test_receiver_interrupts_when_a_character_has_come() -> None:
    m = machine(INTERRUPTED.format("MOV #100,@#177560"))
    m.type("Q")
    assert m.run(max_time_ns=LIMIT).startswith("HALT")
    assert m.registers["r2"] == ord("Q")


def test_line_clock_ticks_with_the_mains() -> None:
    for hertz in (50, 60):
        m = machine(INTERRUPTED.format("MOV #100,@#177546"), hertz=hertz)
        assert m.run(max_time_ns=LIMIT).startswith("HALT")
        assert 0 <= m.time_ns - 3 * 10**9 / hertz < 50_000


def test_priority_keeps_interrupts_away() -> None:
    m = machine(INTERRUPTED.format("MOV #300,@#177776\nMOV #100,@#177546"))
    assert m.run(max_time_ns=10**9).startswith("limit")
    assert m.registers["r1"] == 0


def test_wait_without_anything_to_wait_for_stops() -> None:
    m = machine("START: WAIT\nHALT\n")
    assert m.run() == "WAIT for ever at 001000 (START)"


def test_switches_are_read_and_lights_written() -> None:
    m = machine("START: MOV @#177570,R0\nMOV #4321,@#177570\nHALT\n", switches=0o123456)
    m.run()
    assert m.registers["r0"] == 0o123456
    assert m._device("SWITCHES").display == 0o4321


LOADER = """
; a reader of absolute loader tapes: blocks 1,0,count,address,data,checksum
. = 157000
START: MOV #157000,SP
1$: CLR R5                  ; the sum of a block
    JSR PC,READ
    DEC R0
    BNE 1$
    MOV #1,R5
    JSR PC,READ
    JSR PC,WORD
    MOV R1,R3
    SUB #6,R3
    JSR PC,WORD
    MOV R1,R2
    TST R3
    BEQ 3$
2$: JSR PC,READ
    MOVB R0,(R2)+
    DEC R3
    BNE 2$
    JSR PC,READ
    TSTB R5
    BEQ 1$
    HALT                    ; a wrong sum
3$: JSR PC,READ
    JMP (R2)
WORD: JSR PC,READ
    MOVB R0,R1
    JSR PC,READ
    SWAB R0
    CLRB R0
    BIC #177400,R1
    BIS R0,R1
    RTS PC
READ: INC @#177550
WAITED: BIT #100200,@#177550
    BEQ WAITED
    BMI NOTAPE
    MOV @#177552,R0
    ADD R0,R5
    RTS PC
NOTAPE: HALT
"""


def test_a_tape_is_loaded_by_a_loader_in_the_machine() -> None:
    pieces = [(0o1000, bytes([0o300, 0x15, 7, 0, 0, 0])), (0o2001, b"odd")]
    m = machine(LOADER)
    m.mount(lda.pack(pieces, 0o1000))
    assert m.run(max_time_ns=LIMIT) == "HALT at 001004"
    assert m.memory[0o2001:0o2004].tobytes() == b"odd"


def test_the_reader_reads_300_characters_a_second() -> None:
    tape = lda.pack([(0o1000, bytes(2))], 0o1000)
    m = machine(LOADER)
    m.mount(tape)
    m.run(max_time_ns=LIMIT)
    n_read = m._device("PC11").position
    assert 0 <= m.time_ns - n_read * (10**9 // 300) < n_read * 50_000


def test_a_reader_without_tape_is_in_error() -> None:
    m = machine(LOADER)
    assert m.run(max_time_ns=LIMIT) .endswith("(NOTAPE)")


def test_the_punch_punches() -> None:
    m = machine("START: MOV #3,R1\n1$: TSTB @#177554\nBPL 1$\nMOVB R1,@#177556\nSOB R1,1$\nHALT\n")
    m.run(max_time_ns=LIMIT)
    assert m.punched == b"\3\2\1"


def test_reset_quiets_the_devices() -> None:
    m = machine("START: MOV #100,@#177564\nRESET\nMOV @#177564,R0\nHALT\n")
    m.registers["psw"] = 0o340
    m.run(max_time_ns=LIMIT)
    assert m.registers["r0"] == 0o200


def ke11_steps(rng: random.Random) -> list[tuple[int, int]]:
    """A few writes to the arithmetic element's registers."""
    registers = (ke11.AC, ke11.MQ, ke11.MQ, ke11.DIV, ke11.MUL, ke11.NOR, ke11.LSH, ke11.ASH)
    values = (0, 1, 2, 3, 0o77777, 0o100000, 0o177777, rng.randrange(65536), rng.randrange(64))
    return [(rng.choice(registers), rng.choice(values)) for _ in range(6)]


@pytest.mark.simh
@pytest.mark.skipif(shutil.which("pdp11") is None, reason="SIMH's pdp11 is absent")
def test_the_arithmetic_element_agrees_with_simh() -> None:
    rng = random.Random(20)
    cases = [ke11_steps(rng) for _ in range(300)]
    script, ours = ["set cpu 11/20", "set ke enable"], []
    for steps in cases:
        m = create("pdp11/20", ke11=True)
        words = [w for address, value in steps for w in (0o012737, value, address & 0xFFFF)]
        m.word[0o1000:0o1002 + 2 * len(words)] = [*words, 0]
        m.registers["pc"] = 0o1000
        m.run()
        ours.append([m.peek(ke11.AC), m.peek(ke11.MQ), m.peek(ke11.SC) & 0o77,
                     m.peek(ke11.SC) >> 8])
        script += ["reset ke", *(f"d {0o1000 + 2 * i:o} {w:o}" for i, w in enumerate([*words, 0])),
                   "d pc 1000", "go", "e ke ac,mq,sc,sr"]
    output = subprocess.run(["pdp11"], input="\n".join([*script, "quit", ""]), text=True,
                            capture_output=True, timeout=120, check=True).stdout
    numbers = [int(word, 8) for word in
               re.findall(r"^(?:sim> )*(?:AC|MQ|SC|SR):\s+([0-7]+)\s*$", output, re.M)]
    theirs = [numbers[i:i + 4] for i in range(0, len(numbers), 4)]
    assert theirs == ours


def test_fillers_are_not_printed() -> None:
    m = machine("START: MOV #7$,R1\n1$: TSTB @#177564\nBPL 1$\nMOVB (R1)+,@#177566\nBNE 1$\n"
                "HALT\n7$: .ASCIZ /A/<177>/B/\n")
    m.run(max_time_ns=10**9)
    assert m.console == "AB"
