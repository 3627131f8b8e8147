"""The PDP-11's memory management, as DEC's diagnostic FKTHB0 asks for it."""

import shutil
import subprocess

import pytest
from test_pdp11 import LIMIT, machine

from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.emulators.containers import lda

MAPPED = """
    KPAR = 172340
    KPDR = 172300
    UPAR = 177640
    UPDR = 177600
    SR0  = 177572
    SR2  = 177576
. = 250
    .WORD ABORT,340
. = 1000
START: MOV #KPAR,R0
    MOV #KPDR,R1
    CLR R2
1$: MOV R2,(R0)+            ; kernel pages lie where they are
    MOV #77406,(R1)+
    ADD #200,R2
    CMP R2,#2000
    BNE 1$
    MOV #7600,@#KPAR+16     ; the last one is the I/O page
    {0}
    HALT
. = 2000
ABORT: MOV @#SR0,R4
    MOV @#SR2,R5
    HALT
"""


@pytest.mark.parametrize("compiled", [True, False])
def test_a_mapped_page_is_other_memory(compiled: bool) -> None:
    m = machine(MAPPED.format("MOV #1000,@#KPAR+2\nINC @#SR0\nMOV #123,@#20004\n"
                              "MOV @#20004,R3\nCLR @#SR0"), memory=0o300000, compiled=compiled)
    m.run(max_time_ns=LIMIT)
    assert m.registers["r3"] == 0o123
    assert m.word[0o100004] == 0o123 and m.word[0o20004] == 0
    assert m.peek(0o772302) & 0o100  # W: written


@pytest.mark.parametrize("setup, access, reason", [
    ("CLR @#KPDR+2", "TST @#20000", 0o100000),
    ("MOV #77402,@#KPDR+2", "MOV R0,@#20000", 0o020000),
    ("MOV #00006,@#KPDR+2", "TST @#20100", 0o040000),
    ("MOV #77416,@#KPDR+2", "TST @#20000", 0o040000)])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_forbidden_access_aborts(setup: str, access: str, reason: int, compiled: bool) -> None:
    m = machine(MAPPED.format(f"{setup}\nINC @#SR0\nHERE: {access}"), compiled=compiled)
    assert m.run(max_time_ns=LIMIT) == "HALT at 002010"
    assert m.registers["r4"] == reason | 0o3
    assert m.registers["r5"] == m.labels["HERE"]
    assert m.profile().sum() == m.time_ns


def test_reading_a_read_only_page_is_allowed() -> None:
    m = machine(MAPPED.format("MOV #77402,@#KPDR+2\nINC @#SR0\nMOV @#20000,R3\nCLR @#SR0"))
    m.word[0o20000] = 5
    m.run(max_time_ns=LIMIT)
    assert m.registers["r3"] == 5


def test_a_user_program_runs_in_its_own_pages() -> None:
    m = machine(MAPPED.format("MOV #200,@#UPAR\nMOV #77406,@#UPDR\nINC @#SR0\n"
                              "MOV #170000,-(SP)\nCLR -(SP)\nRTI")
                + ". = 30\n.WORD 2100,0\n. = 2100\nMOV R3,R5\nHALT\n. = 20000\nMOV #77,R3\nEMT\n")
    assert m.run(max_time_ns=LIMIT) == "HALT at 002102"
    assert m.registers["r5"] == 0o77


@pytest.mark.parametrize("compiled", [True, False])
def test_maintenance_mode_relocates_destinations_only(compiled: bool) -> None:
    m = machine(MAPPED.format("MOV #1000,@#KPAR+2\nMOV #400,@#SR0\nMOV @#20000,@#20002\n"
                              "ADD @#20000,@#20002\nMOV @#20002,R3\nCLR @#SR0"),
                memory=0o300000, compiled=compiled)
    m.word[0o20000:0o20004] = [0o1234, 7]
    m.run(max_time_ns=LIMIT)
    assert m.word[0o100002] == 0o2470
    assert m.word[0o20002] == 7
    assert m.registers["r3"] == 7


def test_reading_sr0_shows_the_page_in_use() -> None:
    m = machine(MAPPED.format("INC @#SR0\nMOV @#SR0,R3\nCLR @#SR0\nMOV @#SR0,R4"))
    m.run(max_time_ns=LIMIT)
    assert (m.registers["r3"], m.registers["r4"]) == (0o17, 0)


def test_writing_sr0_does_not_mark_its_page_as_written() -> None:
    m = machine(MAPPED.format("INC @#SR0\nBIC #160000,@#SR0\nMOV @#KPDR+16,R3\nCLR @#SR0"))
    m.run(max_time_ns=LIMIT)
    assert m.registers["r3"] == 0o77406


def test_a_program_that_sets_an_abort_flag_locks_sr2() -> None:
    m = machine(MAPPED.format("HERE: BIS #100000,@#SR0\nMOV @#SR2,R5\nCLR @#SR0"))
    m.run(max_time_ns=LIMIT)
    assert m.registers["r5"] == m.labels["HERE"]


@pytest.mark.parametrize("compiled", [True, False])
def test_sr2_keeps_the_last_instruction_that_could_be_fetched(compiled: bool) -> None:
    m = machine(MAPPED.format("MOV #77406,@#UPDR\nINC @#SR0\n"
                              "HERE: MOV #40000,@#177776"), compiled=compiled)
    assert m.run(max_time_ns=LIMIT) == "HALT at 002010"
    assert m.registers["r4"] == 0o100041  # not resident, mode 1, page 0
    assert m.registers["r5"] == m.labels["HERE"]


def test_an_abort_while_a_trap_saves_its_state_is_served() -> None:
    m = machine(MAPPED.format("MOV #77402,@#UPDR+2\nMOV #30000,@#177776\nMOV #22000,-(SP)\n"
                              "MTPI SP\nMOV #140000,@#6\nINC @#SR0\nHERE: INC @#3"))
    assert m.run(max_time_ns=LIMIT) == "HALT at 002010"
    assert m.registers["r4"] == 0o020143  # read only, user mode, page 1
    assert m.registers["r5"] == m.labels["HERE"]


@pytest.mark.simh
@pytest.mark.skipif(shutil.which("pdp11") is None, reason="SIMH's pdp11 is absent")
def test_memory_management_agrees_with_simh(tmp_path) -> None:
    text = MAPPED.format("MOV #200,@#UPAR\nMOV #17406,@#UPDR\nINC @#SR0\nMOV #170340,-(SP)\n"
                         "CLR -(SP)\nRTI") + ". = 20000\nMOV #77,R3\nMOV @#10000,R2\n"
    m = machine(text)
    program = assemble(". = 1000\n" + text, "test.mac")
    (tmp_path / "t.lda").write_bytes(lda.pack(program.segments, 0o1000))
    m.run(max_time_ns=LIMIT)
    script = (f"set cpu 11/34\nload {tmp_path}/t.lda\nd psw 0\nd sp 1000\nd pc 1000\ngo\n"
              "e r0-r5,ksp,psw\nquit\n")
    output = subprocess.run(["pdp11"], input=script, text=True, capture_output=True, timeout=60,
                            check=True).stdout
    theirs = [int(line.split()[-1], 8) for line in output.splitlines()
              if line.startswith(("R", "sim> R", "KSP", "sim> KSP", "PSW", "sim> PSW"))]
    assert theirs == [*(m.registers[f"r{i}"] for i in range(6)), m.registers["sp"],
                      m.registers["psw"]]
