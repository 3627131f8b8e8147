"""The PDP-11: instructions, times, traps and memory management."""

import csv
import random
from pathlib import Path

import numpy as np
import pytest

from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.emulators import create
from anachron.emulators.containers import lda
from anachron.emulators.pdp11 import isa
from anachron.emulators.pdp11.disassembler import disassemble
from anachron.emulators.pdp11.timing import TIMINGS, decode_table, instruction_time

VECTORS = Path(__file__).parents[2] / "shared" / "vectors" / "pdp11"
TIMES = Path(__file__).parents[2] / "shared" / "facts" / "kd11ea_timing.csv"
LIMIT = 10**9


def machine(text: str, name: str = "pdp11/34a", **options):
    """A machine with a program in it, at its `start`."""
    program = assemble(". = 1000\n" + text, "test.mac")
    m = create(name, **options)
    for address, data in program.segments:
        m.memory[address:address + len(data)] = np.frombuffer(data, np.uint8)
    m.labels.update({name: program.symbols[name] for name in program.labels})
    m.registers["pc"] = m.labels["START"]
    m.registers["sp"] = 0o1000
    return m


# ---- programs that were run elsewhere
@pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/vectors/pdp11 is absent")
@pytest.mark.parametrize("name", ["p101", "p102", "p103", "p104"])
def test_program_leaves_the_memory_and_takes_the_time_of_an_11_34a(name: str) -> None:
    vectors = np.load(VECTORS / f"{name}.npz")
    m = create("pdp11/34a")
    m.load(VECTORS / f"{name}.lda")
    m.registers["pc"] = 0o1000
    assert m.run(max_time_ns=10**10).startswith("HALT")
    logs = np.array([m.word[int(at):int(at) + 18] for at in vectors["log"]])
    logs[:, 0] &= 15
    expected = vectors["expected"].copy()
    expected[:, 0] &= 15
    agreed = vectors["agreed"]
    assert logs[agreed].tolist() == expected[agreed].tolist()
    assert m.time_ns == vectors["time_ns"]
    assert m.n_instructions == vectors["instructions"]


CSV_MODES = {"R": 0o2, "(R)": 0o12, "(R)+": 0o22, "@(R)+": 0o32, "-(R)": 0o42, "@-(R)": 0o52,
             "X(R)": 0o62, "@X(R)": 0o72, "@#abs": 0o37, "rel": 0o67, "@rel": 0o77, "#imm": 0o27}


@pytest.mark.skipif(not TIMES.is_file(), reason="../shared/facts/kd11ea_timing.csv is absent")
def test_times_are_those_measured_on_ll_34() -> None:
    n_checked = 0
    for row in csv.DictReader(TIMES.read_text().splitlines()):
        one = isa.MNEMONICS.get(row["instr"])
        if one is None or one.form not in ("SSDD", "DD"):
            continue
        word = one.opcode
        if one.form == "SSDD":
            word |= CSV_MODES[row["srcmode"]] << 6
        word |= CSV_MODES[row["dstmode"]]
        assert instruction_time([word]) == (int(row["ns"]),) * 3, row
        n_checked += 1
    assert n_checked > 1700


# ---- the same text in CPython
def soup(seed: int) -> np.ndarray:
    """Words that are mostly instructions, pointers, and small numbers."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, 4096)
    words = rng.integers(0, 65536, 4096)
    words = np.where(kinds == 1, rng.integers(0o1000, 0o16000, 4096) & ~1, words)
    return np.where(kinds == 2, rng.integers(0o10000, 0o70000, 4096), words).astype(np.uint16)


@pytest.mark.parametrize("name", ["pdp11/34a", "pdp11/20"])
def test_machine_code_and_cpython_agree(name: str) -> None:
    machines = [create(name, compiled=compiled) for compiled in (True, False)]
    for seed in range(12):
        for m in machines:
            m.reset()
            m.word[0:0o20000] = soup(seed)
            m.registers["pc"], m.registers["sp"] = 0o2000, 0o4000
            m.registers["psw"] = 0o340
            m.run(max_instructions=150, max_time_ns=10**8)
        a, b = machines
        assert dict(a.registers) == dict(b.registers), seed
        assert (a.time_ns, a.n_instructions) == (b.time_ns, b.n_instructions)
        assert a.memory.tolist() == b.memory.tolist()
        assert a.profile().tolist() == b.profile().tolist()


# ---- the table
def test_every_word_is_at_most_one_instruction() -> None:
    counts = np.zeros(0o200000, int)
    for row in isa.INSTRUCTIONS:
        counts[row.opcode:row.opcode + (~row.mask & 0xFFFF) + 1] += 1
    assert counts.max() == 1


def test_the_11_20_lacks_what_came_later() -> None:
    missing = {row.mnemonic for row in isa.INSTRUCTIONS if not row.exists_on("pdp11/20")}
    assert missing == set("RTT MARK SXT XOR SOB MUL DIV ASH ASHC MFPS MTPS MFPI MTPI MFPD MTPD SPL"
                          .split())


def test_what_is_disassembled_assembles_to_the_same_words() -> None:
    rng = random.Random(11)
    words = [row.opcode | rng.randrange(1 << 16) & ~row.mask & 0xFFFF
             for row in isa.INSTRUCTIONS for _ in range(30)]
    for word in words:
        memory = {0o1000: word, 0o1002: rng.randrange(65536), 0o1004: rng.randrange(65536)}
        text, size = disassemble(memory.__getitem__, 0o1000)
        [(address, data)] = assemble(f". = 1000\n{text}\n", "test.mac").segments
        expected = b"".join(memory[0o1000 + i].to_bytes(2, "little") for i in range(0, size, 2))
        assert (address, bytes(data)) == (0o1000, expected), text
        assert size == 2 * isa.n_words(word)


# ---- times
def test_instruction_time_of_mul_covers_what_mul_takes() -> None:
    low, _, high = instruction_time([0o070001])
    times = set()
    for x in (0, 1, 5, 0x5555, 0x7FFF, 0x8000, 0xFFFF, 0xAAAA):
        for y in (0, 1, 0x7FFF, 0x8000, 0xFFFF):
            m = machine("START: MUL R1,R0\n")
            m.registers["r0"], m.registers["r1"] = x, y
            times.add(m.step())
    assert low == min(times) and max(times) <= high


@pytest.mark.parametrize("timing, total", [
    ("ll-34", 2120 + 2 * (1690 + 1930) - 360), ("dec", 3160 + 2 * (2030 + 2380) - 400)])
def test_a_loop_takes_what_its_instructions_take(timing: str, total: int) -> None:
    m = machine("START: MOV #2,R1\n1$: ADD R1,R2\nSOB R1,1$\nHALT\n", timing=timing)
    m.run(until=m.labels["START"] + 8)
    assert m.time_ns == total


@pytest.mark.parametrize("timing", TIMINGS)
def test_every_instruction_takes_time(timing: str) -> None:
    assert (decode_table("pdp11/20" if timing == "11/20" else "pdp11/34a", timing) >> 16)[
        [w for w, row in enumerate(isa.DECODED)
         if row and row.mnemonic not in ("DIV", "ASH", "ASHC", "RESET")]].min() > 0


def test_prediction_and_emulator_read_the_same_numbers() -> None:
    rng = random.Random(5)
    for timing in ("ll-34", "dec", "dec-mos"):
        table = decode_table("pdp11/34a", timing)
        for _ in range(500):
            word = rng.randrange(0o200000)
            row = isa.DECODED[word]
            if row and row.set == "basic" and row.form != "OOO":
                assert instruction_time([word], timing)[0] == table[word] >> 16


# ---- differences between models
def test_jump_by_autoincrement_goes_where_the_model_says() -> None:
    text = "START: MOV #2000,R1\nJMP (R1)+\n. = 2000\nHALT\nHALT\n"
    assert machine(text).run() == "HALT at 002000"
    assert machine(text, "pdp11/20").run() == "HALT at 002002"


def test_a_register_as_source_is_taken_when_the_model_says() -> None:
    text = "START: MOV #2000,R1\nMOV R1,(R1)+\nHALT\n"
    values = []
    for name in ("pdp11/34a", "pdp11/20"):
        m = machine(text, name)
        m.run()
        values.append(m.word[0o2000])
    assert values == [0o2000, 0o2002]


def test_swab_leaves_v_on_the_11_20() -> None:
    text = "START: MOV #1,R0\nSEV\nSWAB R0\nHALT\n"
    flags = []
    for name in ("pdp11/34a", "pdp11/20"):
        m = machine(text, name)
        m.run()
        flags.append(m.registers["psw"] >> 1 & 1)
    assert flags == [0, 1]


# ---- traps
TRAPS = """
. = 4
    .WORD BUS,340, RES,340, BPTS,340, IOTS,340, 0,0, EMTS,340, TRAPS,340
. = 1000
START: {0}
    HALT
BUS: HALT
RES: HALT
BPTS: HALT
IOTS: HALT
EMTS: HALT
TRAPS: HALT
"""


@pytest.mark.parametrize("instruction, handler", [
    ("MOV 1001,R0", "BUS"), ("MOV @#160000,R0", "BUS"), ("CLRB @#160001", "BUS"),
    (".WORD 101", "BUS"), (".WORD 7", "RES"), (".WORD 170000", "RES"), ("BPT", "BPTS"),
    ("IOT", "IOTS"), ("EMT 5", "EMTS"), ("TRAP 377", "TRAPS"), ("JMP @#1001", "BUS"),
    ("MOV #374,SP\nMOV R0,-(SP)", "BUS")])
@pytest.mark.parametrize("compiled", [True, False])
def test_trap_goes_to_its_vector(instruction: str, handler: str, compiled: bool) -> None:
    m = machine(TRAPS.format(instruction), compiled=compiled)
    assert m.run(max_time_ns=LIMIT) == f"HALT at {m.labels[handler]:06o} ({handler})"
    assert m.registers["psw"] & 0o340 == 0o340
    assert m.profile().sum() == m.time_ns


def test_extended_instructions_trap_on_the_11_20() -> None:
    m = machine(TRAPS.format("MUL R0,R1"), "pdp11/20")
    assert m.run(max_time_ns=LIMIT).endswith("(RES)")


def test_a_trap_saves_pc_and_status_and_rti_brings_them_back() -> None:
    m = machine(". = 30\n.WORD 2000,345\n. = 1000\nSTART: SCC\nEMT\nHALT\n. = 2000\nRTI\n")
    m.run(until=0o2000)
    assert m.registers["psw"] == 0o345
    assert [m.word[0o774], m.word[0o776]] == [0o1004, 0o17]
    assert m.run() == "HALT at 001004"
    assert m.registers["psw"] == 0o17 and m.registers["sp"] == 0o1000


@pytest.mark.parametrize("back, where", [("RTI", 0o1000), ("RTT", 0o1002)])
def test_the_t_bit_traps_behind_rti_at_once_behind_rtt_after_one_instruction(
        back: str, where: int) -> None:
    m = machine(f". = 14\n.WORD 2000,340\n. = 1000\nHERE: NOP\nNOP\nHALT\n. = 1400\n"
                f"START: MOV #20,-(SP)\nMOV #HERE,-(SP)\n{back}\n. = 2000\nHALT\n")
    m.run(max_time_ns=LIMIT)
    assert m.word[m.registers["sp"]] == where


def test_a_bus_error_in_a_trap_stops_the_machine() -> None:
    m = machine("START: MOV #1001,SP\nEMT\n")
    assert m.run(max_time_ns=LIMIT) == "bus error in a trap at 001004"


def test_writing_the_status_word_sets_flags_and_priority_but_not_t() -> None:
    m = machine("START: MOV #377,@#177776\nHALT\n")
    m.run()
    assert m.registers["psw"] == 0o357
    m = machine("START: CLRB @#177776\nMOV @#177776,R0\nHALT\n")
    m.registers["psw"] = 0o352
    m.run()
    assert m.registers["psw"] == 0o004 and m.registers["r0"] == 0


def test_user_mode_has_its_own_stack_and_cannot_halt() -> None:
    m = machine(". = 10\n.WORD 2000,0\n. = 1000\nSTART: MOV #140000,-(SP)\nMOV #1400,-(SP)\nRTI\n"
                ". = 1400\nMOV #1200,SP\nHALT\n. = 2000\nMFPI SP\nHALT\n")
    assert m.run() == "HALT at 002002"
    assert m.registers["psw"] == 0o030000
    assert m.registers["sp"] == 0o1000 - 6 and m.word[m.registers["sp"]] == 0o1200


@pytest.mark.parametrize("name, instruction, moved", [
    ("pdp11/34a", "TST (R0)+", 0), ("pdp11/34a", "TSTB (R0)+", 0),
    ("pdp11/34a", "MOV (R0)+,R5", 0), ("pdp11/34a", "CLR (R0)+", 0),
    ("pdp11/34a", "ADD R5,(R0)+", 0), ("pdp11/34a", "MUL (R0)+,R5", 0),
    ("pdp11/34a", "MOV @(R0)+,R5", 0), ("pdp11/34a", "MOV R5,(R0)+", 2),
    ("pdp11/34a", "MOVB R5,(R0)+", 1), ("pdp11/34a", "MOV -(R0),R5", -2),
    ("pdp11/20", "TST (R0)+", 2)])
def test_a_register_after_nothing_answered_is_as_ll_34_leaves_it(
        name: str, instruction: str, moved: int) -> None:
    m = machine(f". = 4\n.WORD HERE,0\n. = 1000\nSTART: {instruction}\nHALT\nHERE: HALT\n", name)
    m.registers["r0"] = 0o170000
    assert m.run(max_time_ns=LIMIT).startswith(f"HALT at {m.labels['HERE']:06o}")
    assert m.registers["r0"] == 0o170000 + moved


# ---- the API
def test_snapshot_and_restore_come_back_to_the_same() -> None:
    m = machine("START: MOV #101,@#177566\n1$: TSTB @#177564\nBPL 1$\nINC R0\nBR START\n")
    m.run(max_time_ns=3_000_000)
    kept = m.snapshot()
    m.run(max_time_ns=5_000_000)
    first = (dict(m.registers), m.time_ns, m.console, m.profile().tolist())
    m.restore(kept)
    m.run(max_time_ns=5_000_000)
    assert (dict(m.registers), m.time_ns, m.console, m.profile().tolist()) == first


def test_hooks_stops_and_profile_count_the_same_time() -> None:
    m = machine("START: MOV #5,R1\nLOOP: INC R2\nSOB R1,LOOP\nDONE: HALT\n")
    seen = []
    m.hook("LOOP", lambda m: seen.append(m.registers["r1"]))
    assert m.run(until="DONE") == "until 001010 (DONE)"
    assert seen == [5, 4, 3, 2, 1]
    assert m.profile().sum() == m.time_ns == sum(m.profile_by_label().values())
    m.unhook("LOOP")
    m.registers["pc"] = m.labels["START"]
    m.run()
    assert len(seen) == 5


def test_max_instructions_is_exact() -> None:
    m = machine("START: INC R0\nMUL R1,R2\nBR START\n")
    for n in (1, 2, 7, 1000, 12345):
        before = m.n_instructions
        m.run(max_instructions=n)
        assert m.n_instructions - before == n


@pytest.mark.parametrize("options", [{"memory": 1000}, {"memory": 1 << 20}, {"baud": -1},
                                     {"timing": "fast"}, {"hertz": 55}, {"switches": 1 << 16}])
def test_a_wrong_option_is_a_value_error(options: dict) -> None:
    with pytest.raises(ValueError, match="allowed|there are"):
        create("pdp11/34a", **options)


def test_a_program_beyond_the_memory_is_refused() -> None:
    m = create("pdp11/34a", memory=8192)
    with pytest.raises(ValueError, match="reaches to 40000"):
        m.insert(lda.Lda(((0o37776, b"12"),), None), "big.lda")


# ---- a second opinion
