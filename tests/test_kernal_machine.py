"""KERNAL calls on the whole machine: as many cycles as Commodore's, and text for every program."""
import pytest

from anachron.emulators import create
from anachron.emulators.containers import prg

START = prg.BASIC_START + 12

# JSR, call and RTS, measured with VICE 3.10: PAL, screen blanked, interrupts off.
CYCLES = [
    ("letter", 0xFFD2, {"a": 0x41}, 278), ("digit", 0xFFD2, {"a": 0x31}, 278),
    ("graphic", 0xFFD2, {"a": 0xC1}, 260), ("RETURN", 0xFFD2, {"a": 13}, 231),
    ("white", 0xFFD2, {"a": 5}, 342), ("right", 0xFFD2, {"a": 0x1D}, 190),
    ("down", 0xFFD2, {"a": 0x11}, 290), ("small letters", 0xFFD2, {"a": 0x0E}, 349),
    ("GETIN, no key", 0xFFE4, {}, 30), ("STOP, no key", 0xFFE1, {}, 25),
    ("RDTIM", 0xFFDE, {}, 39), ("SETTIM", 0xFFDB, {}, 28), ("PLOT, set", 0xFFF0, {"p": 4}, 119),
    ("PLOT, get", 0xFFF0, {"p": 5}, 24), ("READST", 0xFFB7, {}, 32), ("SETNAM", 0xFFBD, {}, 24),
    ("SETLFS", 0xFFBA, {}, 24), ("SCREEN", 0xFFED, {}, 19), ("IOBASE", 0xFFF3, {}, 19),
    ("CLRCHN", 0xFFCC, {}, 39), ("CLALL", 0xFFE7, {}, 44), ("SETMSG", 0xFF90, {}, 27),
    ("RESTOR", 0xFF8A, {}, 892), ("MEMTOP", 0xFF99, {"p": 5}, 33),
]


def test_the_picture_stays_while_the_chips_are_banked_out() -> None:
    machine = create("c64")
    machine.poke(0xDD00, 0x96)
    shown = machine.screen()
    machine.poke(1, 0x34)
    assert (machine.video_bank, machine.screen()) == (1, shown)


def machine_with(code: bytes):
    machine = create("c64")
    machine.insert(prg.Prg(prg.BASIC_START, prg.basic_stub(START) + code), "test")
    return machine


@pytest.mark.parametrize(("name", "address", "registers", "cycles"), CYCLES)
def test_call_takes_as_long_as_commodores(name: str, address: int, registers: dict[str, int],
                                          cycles: int) -> None:
    # sei / no interrupts / lda #$0b / sta $d011 / two frames of waiting / jsr
    wait = bytes.fromhex("78 a97f 8d0ddc ad0ddc a90b 8d11d0 a020 a200 ca d0fd 88 d0fa")
    machine = machine_with(wait + bytes([0x20, address & 0xFF, address >> 8, 0xEA]))
    call = START + len(wait)
    machine.run(max_cycles=200_000, until=call)
    machine.registers.update({"p": 4, **registers})
    before = machine.cycles
    assert machine.run(max_cycles=100_000, until=call + 3).startswith("until")
    assert machine.cycles - before == cycles


def test_interrupt_takes_219_cycles_and_comes_60_times_a_second() -> None:
    machine = machine_with(bytes.fromhex("4c0d08"))
    machine.poke(0xD011, 0x0B)
    machine.run(max_cycles=40_000)
    jiffies, spent = int(machine.memory[0xA2]), machine.profile()[0xE000:].sum()
    machine.run(max_cycles=machine.clock_hz)
    assert int(machine.memory[0xA2]) - jiffies == 60
    assert machine.profile()[0xE000:].sum() - spent == 60 * 219


def test_program_may_take_the_interrupt_over() -> None:
    # sei / lda #<irq / sta $0314 / lda #>irq / sta $0315 / cli / jmp * / irq: inc $c000 / jmp $ea31
    code = bytes.fromhex("78 a91c 8d1403 a908 8d1503 58 4c1908 eec000 4c31ea")
    code = code.replace(b"\xee\xc0\x00", b"\xee\x00\xc0")
    machine = machine_with(code)
    machine.memory[0xC000] = 0
    machine.run(max_cycles=machine.clock_hz)
    assert 58 <= machine.memory[0xC000] == machine.memory[0xA2]


def test_getin_loop_reads_what_is_typed() -> None:
    # ldx #0 / jsr getin / beq / sta $c000,x: x is the queue's, so it is kept in $fb
    code = bytes.fromhex("a900 85fb 20e4ff f0fb a6fb 9d00c0 e6fb 4c1108")
    machine = machine_with(code)
    machine.type("THE QUICK BROWN FOX\r")
    machine.run(max_cycles=2_000_000)
    assert bytes(machine.memory[0xC000:0xC014]) == b"THE QUICK BROWN FOX\r"


def test_queue_polled_directly_is_filled() -> None:
    # lda $c6 / beq / lda $0277 / sta $c000 / jam
    machine = machine_with(bytes.fromhex("a5c6 f0fc ad7702 8d00c0 02"))
    machine.type("x")
    assert machine.run(max_cycles=2_000_000) == "JAM ($02) at $0817"
    assert machine.memory[0xC000] == ord("X")


def test_text_typed_ahead_survives_a_long_computation() -> None:
    # sei / 3 s of counting / cli / line: jsr chrin / sta $c000,y / iny / cpy #20 / bne / jam
    code = bytes.fromhex("78 a910 a000 a200 ca d0fd 88 d0fa 38 e901 d0f3 58"
                         "20cfff 9900c0 c8 c014 d0f5 02")
    machine = machine_with(code)
    machine.type("THE QUICK BROWN FOX\r")
    assert machine.run(max_cycles=20_000_000).startswith("JAM")
    assert bytes(machine.memory[0xC000:0xC014]) == b"THE QUICK BROWN FOX\r"


def test_snapshot_remembers_what_is_being_typed() -> None:
    # a: jsr chrin / sta $c000,y / iny / jmp a
    machine = machine_with(bytes.fromhex("a000 20cfff 9900c0 c8 4c0f08"))
    machine.type("ONE AND TWO AND THREE\r")
    machine.run(max_cycles=2_500)
    before = machine.snapshot()
    after = []
    for _ in range(2):
        machine.run(max_cycles=400_000)
        after.append((machine.cycles, machine.screen(), bytes(machine.memory[0xC000:0xC020])))
        machine.restore(before)
    assert after[0] == after[1] and after[0][2].startswith(b"ONE AND TWO AND THREE\r")


@pytest.mark.parametrize("interrupts", ["58", "78"])
def test_program_that_looks_at_a_key_once_a_frame_sees_it(interrupts: str) -> None:
    # frame: wait for line 100 / lda #$7f / sta $dc00 / lda $dc01 / and #$10 (space) / beq seen /
    # wait for line 101 / jmp frame / seen: jam
    code = bytes.fromhex(interrupts + "a964 cd12d0 d0fb a97f 8d00dc ad01dc 2910 f00a"
                         "a965 cd12d0 d0fb 4c0e08 02")
    machine = machine_with(code)
    machine.type(" ")
    assert machine.run(max_cycles=2_000_000) == f"JAM ($02) at ${START + len(code) - 1:04X}"


def test_ntsc_machine_has_60_jiffies_a_second_too() -> None:
    machine = create("c64", ntsc=True)
    machine.run(max_cycles=40_000)
    jiffies = int(machine.memory[0xA2])
    machine.run(max_cycles=machine.clock_hz)
    assert int(machine.memory[0xA2]) - jiffies == 60


def test_printing_on_the_screen_lets_interrupts_in_again() -> None:
    machine = machine_with(bytes.fromhex("78 a941 20d2ff 4c1308"))
    machine.run(max_cycles=10_000, until=0x0813)
    assert not machine.registers["p"] & 4
