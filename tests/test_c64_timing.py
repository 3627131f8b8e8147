"""The C64's clockwork: what the VIC-II, the CIAs and the REU do to the CPU, in exact cycles."""

import hashlib

import numpy as np
import pytest

from anachron.emulators import create
from anachron.emulators.mos6502 import cia

CODE = 0xC000
PAL_FRAME, NTSC_FRAME = 63 * 312, 65 * 263
BAD_LINES, BAD_LINE_CYCLES = 25, 43
READS = bytes.fromhex("a920 8510 e8 d0fd c8 d0fa c610 d0f6 ea")  # counts, LDA and DEX and BNE
WRITES = bytes.fromhex("a908 8510 ee0020 ee0020 e8 d0f7 c8 d0f4 c610 d0f0 ea")  # INC $2000


def machine(code: bytes, name: str = "c64", **options):
    m = create(name, **options)
    m.memory[CODE:CODE + len(code)] = list(code)
    for register, value in {"pc": CODE, "p": 4, "a": 0, "x": 0, "y": 0}.items():
        m.registers[register] = value
    return m


def time(m, code: bytes) -> int:
    """Cycles from CODE to the last byte of the code."""
    before = m.cycles
    end = CODE + len(code) - 1
    assert m.run(max_cycles=1 << 32, until=end) == f"until ${end:04X}"
    return m.cycles - before


def bare_time(code: bytes) -> int:
    m = create("6502")
    m.memory[CODE:CODE + len(code)] = list(code)
    m.registers["pc"] = CODE
    return time(m, code)


@pytest.mark.parametrize(("ntsc", "frame"), [(False, PAL_FRAME), (True, NTSC_FRAME)])
def test_code_that_reads_loses_43_cycles_in_each_of_25_bad_lines(ntsc: bool, frame: int) -> None:
    own = bare_time(READS)
    total = time(machine(READS, ntsc=ntsc), READS)
    stalls = total - own
    assert stalls % BAD_LINE_CYCLES == 0
    assert abs(stalls // BAD_LINE_CYCLES - BAD_LINES * total / frame) < BAD_LINES


def test_writes_pass_a_bad_line_for_up_to_three_cycles() -> None:
    own = bare_time(WRITES)
    stalls = time(machine(WRITES), WRITES) - own
    bad_lines = BAD_LINES * (own + stalls) / PAL_FRAME
    assert 40 * (bad_lines - BAD_LINES) < stalls < BAD_LINE_CYCLES * (bad_lines - BAD_LINES)


@pytest.mark.parametrize("ntsc", [False, True])
def test_a_blanked_screen_takes_no_cycles(ntsc: bool) -> None:
    m = machine(READS, ntsc=ntsc)
    m.poke(0xD011, 0x0B)
    assert time(m, READS) == bare_time(READS)


def stalled_by(m, code: bytes, start: int) -> int:
    """Run one instruction that begins at a cycle of line $33, a bad line; what it takes."""
    m.put("cycles", 10 * PAL_FRAME + 0x33 * 63 + start)
    m.memory[CODE:CODE + len(code)] = list(code)
    m.registers["pc"], m.registers["s"] = CODE, 0xFF
    m.put("ba_from", 10 * PAL_FRAME + 0x33 * 63 + 11)
    m.put("ba_until", 10 * PAL_FRAME + 0x33 * 63 + 54)
    return m.step()


NOP, STA, INC, JSR, PHA, LDA = (bytes.fromhex(h) for h in
                                ("ea", "8d0020", "ee0020", "2000c1", "48", "ad0020"))


@pytest.mark.parametrize(("code", "start", "cycles"), [
    (NOP, 8, 2), (NOP, 9, 2), (NOP, 10, 2 + 43), (NOP, 11, 2 + 43),
    (LDA, 8, 4 + 43), (LDA, 7, 4),
    (STA, 8, 4), (STA, 9, 4 + 43), (STA, 7, 4),  # its last cycle writes
    (INC, 7, 6), (INC, 6, 6), (INC, 8, 6 + 43),  # its last two write
    (JSR, 8, 6 + 41), (JSR, 7, 6 + 42), (JSR, 9, 6 + 43),  # two writes, then a read
    (PHA, 9, 3), (PHA, 10, 3 + 43),
])
def test_a_stall_begins_with_the_first_read(code: bytes, start: int, cycles: int) -> None:
    assert stalled_by(machine(NOP), code, start) == cycles


def test_what_writes_let_pass_is_gone_from_the_stall() -> None:
    m = machine(NOP)
    assert stalled_by(m, STA + NOP, 8) == 4  # ends at 12: its write was at 11
    assert m.step() == 2 + 42


def test_the_raster_register_counts_lines_and_line_zero_is_a_cycle_late() -> None:
    m = machine(b"\xad\x12\xd0" * 3)  # LDA $D012, read in its fourth cycle
    frame = 20 * PAL_FRAME
    for cycle, line in ((63 * 7, 7), (63 * 8 - 1, 7), (63 * 8, 8), (0, 311 & 0xFF), (1, 0),
                        (-1, 311 & 0xFF), (63 * 311, 311 & 0xFF)):
        m.registers["pc"] = CODE
        m.poke(0xD011, 0x0B)
        m.put("cycles", frame + cycle - 3)
        m.step()
        assert m.registers["a"] == line, cycle


def interrupts_at(m, n: int, limit: int) -> list[int]:
    """The cycles at which a handler at $C100 begins."""
    m.memory[0xFFFE:0x10000] = [0x00, 0xC1]
    m.poke(1, 0x35)
    m.registers["p"] = 0
    seen: list[int] = []
    m.hook(0xC100, lambda m: seen.append(m.cycles))
    m.run(max_cycles=limit)
    return seen[:n]


def test_a_raster_interrupt_comes_every_frame_at_its_line() -> None:
    m = machine(bytes.fromhex("4c00c0"))  # JMP $C000
    m.memory[0xC100:0xC107] = list(bytes.fromhex("4e19d0 40"))[:4] + [0xEA] * 3  # LSR $D019; RTI
    m.poke(0xDC0D, 0x7F)
    m.peek(0xDC0D)
    m.poke(0xD011, 0x0B)
    m.poke(0xD012, 100)
    m.poke(0xD01A, 1)
    m.poke(0xD019, 1)
    seen = interrupts_at(m, 4, 5 * PAL_FRAME)
    assert len(seen) == 4
    for cycles in seen:
        # after the JMP under way that sampled it, and the sequence of 7: 9 to 12 cycles
        assert 9 <= cycles % PAL_FRAME - 100 * 63 <= 12


def test_a_timer_interrupts_every_latch_plus_one_cycles() -> None:
    m = machine(bytes.fromhex("4c00c0"))
    m.memory[0xC100:0xC104] = list(bytes.fromhex("ad0ddc 40"))  # LDA $DC0D; RTI
    m.poke(0xD011, 0x0B)
    m.poke(0xDC0D, 0x7F)
    m.poke(0xDC04, 999 & 0xFF)
    m.poke(0xDC05, 999 >> 8)
    m.poke(0xDC0D, 0x81)
    m.poke(0xDC0E, 0x11)
    seen = interrupts_at(m, 50, 60_000)
    gaps = np.diff(seen)
    assert len(seen) == 50
    assert abs(seen[-1] - seen[0] - 49 * 1000) <= 3
    assert set(gaps) <= {997, 998, 999, 1000, 1001, 1002, 1003}


def timer_after(control: int, latch: int, wait: int, now: int = 1000) -> int:
    """Timer A of CIA 2, `wait` cycles after a store to its control register."""
    m = machine(NOP)
    for register, value in ((0xDD0E, 0), (0xDD04, latch & 0xFF), (0xDD05, latch >> 8)):
        m.poke(register, value)
    m.put("cycles", now + m.cycles)
    m.poke(0xDD0E, control)
    m.charge(wait)
    return m.peek(0xDD04) | m.peek(0xDD05) << 8


@pytest.mark.parametrize(("control", "wait", "value"), [
    (0x01, 1, 5), (0x01, 2, 5), (0x01, 3, 4), (0x01, 6, 1), (0x01, 7, 5), (0x01, 8, 5),
    (0x01, 9, 4), (0x01, 13, 5), (0x11, 2, 5), (0x11, 3, 5), (0x11, 4, 4), (0x11, 8, 5),
    (0x09, 7, 5), (0x09, 8, 5), (0x09, 100, 5), (0x01, 7 + 6 * 1000, 5), (0x01, 9 + 6 * 1000, 4),
])
def test_a_timer_shows_the_pipelines_delays_and_never_zero(
    control: int, wait: int, value: int
) -> None:
    assert timer_after(control, 5, wait) == value


@pytest.mark.parametrize("latch", [0, 1, 2, 3, 7, 100])
def test_a_timer_is_the_same_looked_at_often_or_once(latch: int) -> None:
    looked = machine(NOP)
    for register, value in ((0xDD0E, 0), (0xDD04, latch), (0xDD05, 0), (0xDD0E, 0x11)):
        looked.poke(register, value)
    once = looked.snapshot()
    values = []
    for _ in range(300):
        looked.charge(1)
        values.append(looked.read(0xDD04))
    for wait in (1, 2, 3, 5, 50, 150, 299, 300):
        looked.restore(once)
        looked.charge(wait)
        assert looked.peek(0xDD04) == values[wait - 1], wait


def test_timer_b_counts_underflows_of_timer_a() -> None:
    m = machine(NOP)
    for register, value in ((0xDD04, 9), (0xDD05, 0), (0xDD06, 4), (0xDD07, 0), (0xDD0F, 0x51),
                            (0xDD0E, 0x11)):
        m.poke(register, value)
    m.peek(0xDD0D)
    m.charge(3 + 9 + 10 * 3 + 2)
    assert m.peek(0xDD06) == 0
    m.charge(10)
    assert m.peek(0xDD06) == 4
    assert m.peek(0xDD0D) & 2


def test_time_of_day_runs_in_tenths_and_is_held_from_hours_to_tenths() -> None:
    m = machine(NOP)
    m.poke(0xDC0E, 0x80)  # 50 Hz mains
    for register, value in ((0xDC0B, 0x11), (0xDC0A, 0x59), (0xDC09, 0x59), (0xDC08, 0x09)):
        m.poke(register, value)
    m.charge(m.clock_hz // 10 + 10)
    held = [m.read(0xDC0B)]
    m.charge(m.clock_hz)
    held += [m.read(register) for register in (0xDC0A, 0xDC09, 0xDC08)]
    assert held == [0x92, 0x00, 0x00, 0x00]  # 12:00:00.0 PM
    assert [m.peek(r) for r in (0xDC0B, 0xDC0A, 0xDC09, 0xDC08)] == [0x92, 0x00, 0x01, 0x00]


def test_keys_pull_rows_low_for_driven_columns_and_back() -> None:
    m = machine(NOP)
    m.poke(0xDC02, 0xFF)
    m.poke(0xDC03, 0x00)
    m.arrays["keys"][2] = 0xFF ^ 1 << 5
    for column, rows in ((0xFF, 0xFF), (0xFB, 0xDF), (0xFD, 0xFF), (0x00, 0xDF)):
        m.poke(0xDC00, column)
        assert m.peek(0xDC01) == rows
    m.poke(0xDC02, 0x00)
    m.poke(0xDC03, 0xFF)
    m.poke(0xDC01, 0xDF)
    assert m.peek(0xDC00) == 0xFB


# ---- banks
@pytest.mark.parametrize(("port", "seen"), [
    (0x37, ("basic", "io", "kernal")), (0x36, ("ram", "io", "kernal")),
    (0x35, ("ram", "io", "ram")), (0x34, ("ram", "ram", "ram")),
    (0x33, ("basic", "characters", "kernal")), (0x31, ("ram", "characters", "ram")),
    (0x30, ("ram", "ram", "ram")),
])
def test_the_port_chooses_what_is_seen(port: int, seen: tuple[str, ...]) -> None:
    m = machine(NOP)
    m.memory[[0xA000, 0xD020, 0xE000]] = 0x77
    m.poke(0xD020, 5)
    parts = {"basic": m.roms.basic[0], "kernal": m.roms.kernal[0], "ram": 0x77, "io": 0xF5,
             "characters": m.roms.characters[0x20]}
    m.poke(1, port)
    assert [m.peek(a) for a in (0xA000, 0xD020, 0xE000)] == [parts[name] for name in seen]
    assert m.peek(1) == port & 0x3F | 0x00
    m.poke(0xA000, 0x88)
    assert m.memory[0xA000] == 0x88  # what is written goes under a ROM


# ---- the expansion
SETUP = [(2, 0x00), (3, 0x20), (4, 0x00), (5, 0x01), (6, 0x02), (7, 0x00), (8, 0x10)]


def expand(**options):
    m = machine(bytes.fromhex("8d01df eaea"), "c64+reu", **options)
    m.poke(0xD011, 0x0B)
    for register, value in SETUP:
        m.poke(0xDF00 + register, value)
    m.run(max_cycles=PAL_FRAME)  # until the screen is blank
    m.registers["pc"] = CODE
    return m


@pytest.mark.parametrize(("command", "cycles"), [(0x90, 4096), (0x91, 4096), (0x92, 8192),
                                                 (0x93, 4096)])
def test_a_transfer_takes_a_cycle_a_byte_and_two_to_swap(command: int, cycles: int) -> None:
    m = expand()
    m.memory[0x2000:0x3000] = 0
    m.registers["a"] = command
    assert m.step() == 4 + cycles
    assert m.peek(0xDF00) & 0x60 == 0x40


def test_bytes_go_out_come_back_change_places_and_are_compared() -> None:
    m = expand()
    there = m.arrays["reu"]
    data = np.arange(4096) % 251
    m.memory[0x2000:0x3000] = data
    m.registers["a"] = 0xB0
    m.step()
    assert there[0x20100:0x21100].tolist() == data.tolist()
    assert [m.peek(0xDF00 + r) for r, _ in SETUP] == [0x00, 0x20, 0x00, 0x01, 0xFA, 0x00, 0x10]
    m.memory[0x2000:0x3000] = 7
    for command in (0xB2, 0xB1):
        m.registers["pc"], m.registers["a"] = CODE, command
        m.step()
    assert set(m.memory[0x2000:0x3000]) == {7} and set(there[0x20100:0x21100]) == {7}
    there[0x20105] = 8
    m.read(0xDF00)
    m.registers["pc"], m.registers["a"] = CODE, 0x93
    before = m.cycles
    m.step()
    assert m.cycles - before == 4 + 6
    assert m.peek(0xDF00) & 0x60 == 0x20 and m.peek(0xDF02) == 6


def test_a_bad_line_holds_a_transfer_for_43_cycles() -> None:
    m = expand()
    for register, value in ((0xDF07, 0x00), (0xDF08, 0x80), (0xD011, 0x1B)):
        m.poke(register, value)
    m.run(max_cycles=PAL_FRAME)
    m.registers["pc"], m.registers["a"] = CODE, 0x90
    extra = m.step() - 4 - 0x8000
    assert extra % BAD_LINE_CYCLES == 0
    assert 40 <= extra // BAD_LINE_CYCLES <= 50


def test_a_transfer_waits_for_a_store_to_ff00() -> None:
    m = expand()
    m.memory[CODE:CODE + 6] = list(bytes.fromhex("8d01df 8d00ff"))
    m.registers["a"] = 0x81
    assert m.step() == 4
    assert m.step() == 4 + 4096
    assert m.memory[0xFF00] == 0x81


def test_the_expansions_address_wraps_in_512_kb_and_can_stay_fixed() -> None:
    m = expand(reu_kb=2048)
    for register, value in ((4, 0xFF), (5, 0xFF), (6, 0x0F), (7, 2), (8, 0), (10, 0x80)):
        m.poke(0xDF00 + register, value)
    m.memory[0x2000] = 0x55
    m.registers["a"] = 0x90
    m.step()
    there = m.arrays["reu"]
    assert there[0xFFFFF] == 0x55 and there[0x80000] == 0x55 and there[0x100000] == 0


# ---- the whole
def test_the_same_run_twice_gives_the_same_memory_and_cycles() -> None:
    results = set()
    for _ in range(2):
        m = create("c64")
        m.type("HELLO\r")
        m.run(max_cycles=3_000_000)
        results.add((m.cycles, hashlib.sha256(m.memory.tobytes()).hexdigest(), m.screen()))
    assert len(results) == 1
    assert "HELLO" in results.pop()[2]


def test_steps_and_one_run_come_to_the_same_state() -> None:
    ends = []
    for stepping in (True, False):
        m = create("c64")
        m.run(max_cycles=100_000)
        if stepping:
            while m.cycles < 150_000:
                m.step()
        else:
            m.run(max_cycles=150_000 - m.cycles)
        ends.append((m.cycles, repr(m.registers), m.memory.tobytes(),
                     m.arrays["cia"][:cia.CLOCK].tobytes()))
    assert ends[0][:2] == ends[1][:2]
    assert ends[0][2] == ends[1][2]


def test_a_timer_whose_interrupts_are_read_late_interrupts_again_in_one_run_as_in_steps() -> None:
    code = bytes.fromhex("a93c8d04dd a9008d05dd a9818d0ddd a9118d0edd 4c14c0")  # every 61 cycles
    handler = bytes.fromhex("48 e6fb 8a a20a cad0fd aa ad0ddd 68 40")  # takes longer
    ends = []
    for stepping in (True, False):
        m = machine(code)
        m.memory[0xC100:0xC100 + len(handler)] = list(handler)
        m.memory[0xFFFA:0xFFFC] = [0x00, 0xC1]
        m.poke(1, 0x35)
        end = m.cycles + 5000
        while stepping and m.cycles < end:
            m.step()
        m.run(max_cycles=end - m.cycles)
        ends.append((m.cycles, m.registers["pc"], m.memory[0xFB]))
    assert ends[0] == ends[1]
    assert ends[0][2] > 30


def test_the_c64_does_the_same_in_cpython() -> None:
    ends = []
    for compiled in (True, False):
        m = create("c64", compiled=compiled)
        m.poke(0xDC04, 0x00)
        m.poke(0xDC05, 0x02)
        reason = m.run(max_cycles=25_000)
        ends.append((reason, m.cycles, repr(m.registers), m.memory.tobytes(),
                     m.profile().tobytes()))
    assert ends[0] == ends[1]


def test_a_snapshot_of_the_c64_brings_everything_back() -> None:
    m = create("c64+reu", reu_kb=128)
    m.run(max_cycles=50_000)
    kept = m.snapshot()
    first = (m.run(max_cycles=77_777), m.cycles, m.memory.tobytes(), m.screen())
    m.restore(kept)
    assert (m.run(max_cycles=77_777), m.cycles, m.memory.tobytes(), m.screen()) == first


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_never_leave_the_machine_or_its_limit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = create("c64+reu")
    m.memory[:] = rng.integers(0, 256, 0x10000)
    m.registers["pc"] = int(rng.integers(0x1000))
    deadline = m.cycles + 300_000
    for _ in range(1000):
        if m.cycles >= deadline:
            break
        m.run(max_cycles=deadline - m.cycles)
        m.registers["pc"] = int(rng.integers(0x10000))
        m.charge(7)
    assert m.cycles < deadline + 2 * 0x10000 * 2, f"seed {seed}"
