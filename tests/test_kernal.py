"""KERNAL services: each call does to memory and registers what the Reference Guide says."""
import random
from pathlib import Path

import numpy as np
import pytest

from anachron.emulators.containers import d64, prg
from anachron.emulators.mos6502 import keyboard, petscii
from anachron.emulators.mos6502.disassembler import disassemble
from anachron.emulators.mos6502.kernal import SERVICES, basic, editor, rom, serve, start
from anachron.emulators.mos6502.kernal.state import Kernal
from anachron.emulators.mos6502.keyboard import Keyboard

CHROUT, CHRIN, GETIN, PLOT, STOP = 0xF1CA, 0xF157, rom.GETIN_KEY, 0xFFF0, 0xF6ED
SETNAM, SETLFS, LOAD, OPEN, CHKIN, READST = 0xFFBD, 0xFFBA, 0xF4A5, 0xF34A, 0xF20E, 0xFFB7
CARRY, ZERO = 1, 2


class Memory:
    """A machine without a processor: what the services see, and nothing else."""

    def __init__(self, ntsc: bool = False) -> None:
        self.ram = memoryview(np.zeros(0x10000, np.uint8))
        self.colour = memoryview(np.zeros(0x400, np.uint8))
        self.registers = dict.fromkeys(("a", "x", "y", "s", "p", "pc"), 0)
        self.cycles = 0
        self.ntsc = ntsc
        self.io: dict[int, int] = {}

    def peek(self, address: int) -> int:
        return self.io.get(address, 0) if 0xD000 <= address < 0xE000 else self.ram[address]

    def poke(self, address: int, value: int) -> None:
        if 0xD000 <= address < 0xE000:
            self.io[address] = value
        else:
            self.ram[address] = value

    def charge(self, cycles: int) -> None:
        assert cycles >= 0
        self.cycles += cycles


@pytest.fixture
def k() -> Kernal:
    kernal = Kernal(Memory(), Keyboard())
    start.start(kernal)
    kernal.editor.clear()
    return kernal


def call(k: Kernal, address: int, **registers: int) -> str | None:
    k.set(pc=address, **registers)
    return serve(k)


def rows(k: Kernal) -> list[str]:
    """The screen's rows that hold anything."""
    screen = bytes(k.ram[0x0400:0x0400 + 1000])
    text = ["".join(petscii.UPPER[code & 0x7F] for code in screen[at:at + 40]).rstrip()
            for at in range(0, 1000, 40)]
    return [line for line in text if line]


def show(k: Kernal, codes: bytes) -> list[str]:
    for code in codes:
        call(k, CHROUT, a=code)
    return rows(k)


def answer_line(k: Kernal) -> bytes:
    """What a program that calls CHRIN up to RETURN reads; its loop is run by hand."""
    line = b""
    while not line.endswith(b"\r") and len(line) < 200:
        call(k, CHRIN)
        while k.get("pc") == rom.WAIT:
            assert k.ram[keyboard.QUEUE_LENGTH], "waits for a key that nobody types"
            call(k, rom.KEY)
        line += bytes([k.get("a")])
    return line


# The stand-in ROM.

@pytest.mark.parametrize(("address", "code", "text"), rom.CODE)
def test_stand_in_bytes_are_the_text_beside_them(address: int, code: str, text: str) -> None:
    memory = dict(enumerate(bytes.fromhex(code) + b"\0\0", address))
    assert disassemble(memory.__getitem__, address) == (text, len(bytes.fromhex(code)))


def test_stand_in_has_every_service_behind_a_jam_and_an_rts() -> None:
    roms = rom.stand_ins(tuple(SERVICES))
    image = bytes(0xA000) + roms.basic + bytes(0x2000) + roms.kernal
    for address in SERVICES:
        assert image[address] == rom.JAM, f"${address:04X}"
        if address not in (rom.IRQ_SERVICE, rom.DIRECT_CODE):
            assert image[address + 1] == rom.RTS, f"${address:04X}"
    assert image[0xFFD2:0xFFD5] == b"\x6c\x26\x03"
    assert len(roms.basic) == len(roms.kernal) == 0x2000 and len(roms.characters) == 0x1000


def test_every_vector_leads_to_code_or_a_service() -> None:
    written = {address for address, _, _ in rom.CODE} | set(SERVICES)
    assert set(rom.VECTORS.values()) <= written


def test_unserved_rom_says_which_rom_is_needed(k: Kernal) -> None:
    assert "BASIC ROM is needed at $A7AE" in (call(k, 0xA7AE) or "")
    assert "KERNAL ROM is needed at $E000" in (call(k, 0xE000) or "")


def test_roms_of_the_wrong_size_or_missing_are_named(tmp_path: Path) -> None:
    for name in ("kernal", "basic"):
        (tmp_path / name).write_bytes(bytes(8192))
    with pytest.raises(ValueError, match="no characters ROM"):
        rom.read_roms(tmp_path)
    (tmp_path / "chargen").write_bytes(bytes(4095))
    with pytest.raises(ValueError, match="chargen: 4095 bytes: this ROM has 4096"):
        rom.read_roms(tmp_path)
    (tmp_path / "chargen").write_bytes(bytes(4096))
    assert rom.read_roms(tmp_path).real


# Printing.

def test_letters_go_to_screen_ram_as_screen_codes(k: Kernal) -> None:
    show(k, b"HEY")
    assert bytes(k.ram[0x0400:0x0403]) == b"\x08\x05\x19"
    assert bytes(k.machine.colour[0:3]) == b"\x0e\x0e\x0e"
    assert (k.ram[0xD3], k.ram[0xD6]) == (3, 0)


def test_screen_scrolls_when_the_last_line_ends(k: Kernal) -> None:
    shown = show(k, b"".join(b"LINE %d\r" % n for n in range(30)))
    assert shown == [f"LINE {n}" for n in range(6, 30)]
    assert k.ram[0xD6] == 24


def test_scrolling_takes_a_whole_line_of_two_rows(k: Kernal) -> None:
    show(k, b"X" * 41 + b"\r" + b"\r" * 22)
    assert rows(k) == ["X" * 40, "X"]
    show(k, b"\r")
    assert rows(k) == [] and k.ram[0xD6] == 23


def test_colour_cursor_and_reverse_codes_act(k: Kernal) -> None:
    assert show(k, b"\x05A\x12B\x92C\x11D\x9d\x9dE\x91F\x13G") == ["GBCF", "  ED"]
    assert k.machine.colour[1] == 1
    assert k.ram[0x0401] == 0x82


def test_clear_empties_and_homes(k: Kernal) -> None:
    assert show(k, b"HELLO\r\rWORLD\x93") == []
    assert (k.ram[0xD3], k.ram[0xD6]) == (0, 0)


def test_quote_mode_shows_control_codes_until_return(k: Kernal) -> None:
    show(k, b'"\x93\x11"\r')
    assert bytes(k.ram[0x0400:0x0404]) == b"\x22\xd3\x91\x22"
    assert show(k, b'"\r\x93') == []


def test_delete_and_insert_move_the_rest_of_the_line(k: Kernal) -> None:
    assert show(k, b"ABCD\x9d\x14") == ["ABD"]
    assert show(k, b"\x9d\x94\x94XY") == ["AXYBD"]


def test_character_set_codes_change_the_vics_pointer(k: Kernal) -> None:
    assert k.machine.peek(0xD018) == 0x15
    show(k, b"\x0e")
    assert k.machine.peek(0xD018) == 0x17
    show(k, b"\x8e")
    assert k.machine.peek(0xD018) == 0x15


def test_plot_sets_and_reads_the_cursor(k: Kernal) -> None:
    call(k, PLOT, x=5, y=10, p=0)
    assert show(k, b"*") == [" " * 10 + "*"]
    call(k, PLOT, p=CARRY)
    assert (k.get("x"), k.get("y")) == (5, 11)


def test_any_code_in_any_state_of_memory_is_printed_without_harm(k: Kernal) -> None:
    rng = random.Random(64)
    for _ in range(1500):
        for address in rng.sample((*range(0xC7, 0xF5), 0x0286, 0x0288, 0x0292), 3):
            k.ram[address] = rng.randrange(256)
        for _ in range(4):
            call(k, CHROUT, a=rng.randrange(256))
        call(k, rng.choice((PLOT, 0xE566, rom.IRQ_SERVICE)), x=rng.randrange(256),
             y=rng.randrange(256), p=rng.randrange(2))
        k.ram[0xD0] = rng.choice((0, 1))
        k.ram[0xC6] = rng.choice((1, 1, 10, 255))
        k.ram[0x0277] = rng.choice((13, 65, 20))
        call(k, rng.choice((rom.KEY, GETIN)))
        if k.ram[0xD0]:
            call(k, CHRIN)
        assert 0 <= k.get("a") <= 255


def test_any_call_with_anything_in_registers_and_memory_is_answered() -> None:
    for seed in range(60):
        rng = random.Random(seed)
        kernal = Kernal(Memory(), Keyboard())
        start.start(kernal)
        kernal.channels.disk = rng.choice((None, disk()))
        for _ in range(50):
            for address in rng.sample(range(0x0400), rng.choice((0, 3, 30))):
                kernal.ram[address] = rng.choice((0, 1, 8, 13, 255, rng.randrange(256)))
            reason = call(kernal, rng.choice(list(SERVICES)),
                          **{name: rng.randrange(256) for name in "axysp"})
            assert reason is None or isinstance(reason, str)
            assert all(0 <= kernal.get(name) <= 0xFF for name in "axysp")


# Input.

def test_getin_gives_the_queue_in_order_then_zero(k: Kernal) -> None:
    k.keys.type(b"AB")
    k.keys.feed(k.ram)
    got = []
    for _ in range(3):
        call(k, GETIN)
        got.append((k.get("a"), bool(k.get("p") & ZERO)))
    assert got == [(0x41, False), (0x42, False), (0, True)]


def test_chrin_reads_a_line_as_it_stands_on_the_screen(k: Kernal) -> None:
    show(k, b"NAME? ")
    k.keys.type(b"JOP\x14E\r")
    assert answer_line(k) == b"JOE\r"
    assert rows(k) == ["NAME? JOE"]
    assert (k.ram[0xD6], k.ram[0xD3]) == (0, 9)  # a program prints its own RETURN


def test_chrin_reads_a_line_of_two_rows(k: Kernal) -> None:
    text = bytes(0x41 + n % 26 for n in range(70))
    k.keys.type(text + b"\r")
    assert answer_line(k) == text + b"\r"
    assert len(rows(k)) == 2 and k.ram[0xD6] == 1


def test_long_text_is_typed_ten_keys_at_a_time(k: Kernal) -> None:
    k.keys.type(b"ABCDEFGHIJKLMNOP\r")
    assert answer_line(k) == b"ABCDEFGHIJKLMNOP\r"
    assert not k.keys.waiting


def test_stop_sets_zero_only_while_the_key_is_down(k: Kernal) -> None:
    k.ram[0x91] = 0xFF
    call(k, STOP)
    assert not k.get("p") & ZERO
    k.ram[0x91] = 0x7F
    call(k, STOP)
    assert k.get("p") & ZERO


def test_every_key_and_its_shifts_are_scanned_to_their_codes(k: Kernal) -> None:
    for code in range(256):
        keys = keyboard.keys_for(code)
        if keys is None:
            continue
        k.keys.press(keys)
        call(k, rom.IRQ_SERVICE)
        got = k.ram[0xC6], k.ram[0x0277]
        k.keys.release()
        call(k, rom.IRQ_SERVICE)
        assert got == (1, 0xDE if code == 0xFF else code), f"${code:02X}"
        assert k.ram[0xCB] == 64
        k.ram[0xC6] = 0


def test_cursor_keys_repeat_and_letters_do_not(k: Kernal) -> None:
    for name, count in (("down", 1 + len(range(19, 60, 4))), ("a", 1)):
        k.ram[0x0289], k.ram[0xC6] = 10, 0
        typed = 0
        k.keys.press([keyboard.NUMBER[name]])
        for _ in range(60):
            call(k, rom.IRQ_SERVICE)
            typed += k.ram[0xC6]
            k.ram[0xC6] = 0
        assert typed == count, name
        k.keys.release()
        call(k, rom.IRQ_SERVICE)


def tick(k: Kernal, frame: int, looks: int) -> None:
    """A frame in which the program looks at the switches so often, all in all."""
    k.keys.tick(k.ram, 20_000 * frame, looks)


def test_text_waits_in_the_queue_for_a_program_that_reads_it(k: Kernal) -> None:
    k.keys.type(b"ABCDEFGHIJKLM")
    for frame in range(100):
        k.ram[0xA2] = frame
        tick(k, frame, 3 * frame)  # the KERNAL's own looks
    assert bytes(k.ram[0x0277:0x0281]) == b"ABCDEFGHIJ" and k.ram[0xC6] == 10
    assert not k.keys.pressed()
    k.ram[0xC6] = 0
    tick(k, 101, 303)
    assert bytes(k.ram[0x0277:0x027A]) == b"KLM" and k.ram[0xC6] == 3


def test_keys_are_pressed_for_a_program_that_scans_the_switches(k: Kernal) -> None:
    k.keys.type(b"AB")
    tick(k, 0, 0)
    assert k.ram[0xC6] == 2
    pressed = []
    for frame in range(1, 20):
        tick(k, frame, 1000 * frame)
        pressed.append([keyboard.KEYS[key] for key in k.keys.pressed()])
    assert k.ram[0xC6] == 0
    assert [keys for keys in pressed if keys] == [["a"]] * 2 + [["b"]] * 2
    assert not k.keys.busy


def test_cursor_blinks_every_twenty_jiffies_and_leaves_no_trace(k: Kernal) -> None:
    k.ram[0xCC] = 0
    seen = []
    for _ in range(60):
        call(k, rom.IRQ_SERVICE)
        seen.append(k.ram[0x0400])
    assert seen == [32] * 19 + [160] * 20 + [32] * 20 + [160]
    k.editor.hide_cursor()
    assert k.ram[0x0400] == 32


# The clock, the vectors, memory.

def test_clock_is_read_and_set_high_to_low(k: Kernal) -> None:
    call(k, 0xFFDB, a=3, x=2, y=1)
    assert bytes(k.ram[0xA0:0xA3]) == b"\1\2\3"
    call(k, 0xFFDE)
    assert (k.get("y"), k.get("x"), k.get("a")) == (1, 2, 3)


def test_vectors_are_restored_read_and_written(k: Kernal) -> None:
    k.set_pointer(0x0314, 0x1234)
    call(k, 0xFF8A)
    assert k.pointer(0x0314) == 0xEA31 and k.pointer(0x0326) == 0xF1CA
    call(k, 0xFF8D, x=0x00, y=0xC0, p=CARRY)
    assert bytes(k.ram[0xC000:0xC020]) == bytes(k.ram[0x0314:0x0334])
    k.set_pointer(0xC000, 0x5678)
    call(k, 0xFF8D, x=0x00, y=0xC0, p=0)
    assert k.pointer(0x0314) == 0x5678


def test_machine_starts_as_the_manual_says() -> None:
    for ntsc, latch in ((False, 0x4025), (True, 0x4295)):
        kernal = Kernal(Memory(ntsc), Keyboard())
        start.start(kernal)
        assert rows(kernal)[-1] == "READY."
        io = kernal.machine.io
        assert io[0xDC04] | io[0xDC05] << 8 == latch
        assert (io[0xD020], io[0xD021], kernal.ram[0x0286]) == (14, 6, 14)
        assert (kernal.ram[1], kernal.pointer(0x2B), kernal.pointer(0x0283)) == (55, 2049, 40960)


# Files.

def disk() -> d64.D64:
    return d64.parse(d64.pack([("ONE", prg.pack(0xC000, b"first")),
                               ("TWO", prg.pack(0x1000, b"second"))]))


def name_file(k: Kernal, name: bytes, secondary: int, device: int = 8) -> None:
    k.ram[0x1000:0x1000 + len(name)] = name
    call(k, SETNAM, a=len(name), x=0x00, y=0x10)
    call(k, SETLFS, a=1, x=device, y=secondary)


def test_load_puts_a_program_where_it_belongs_or_where_told(k: Kernal) -> None:
    k.channels.disk = disk()
    name_file(k, b"ON*", 1)
    k.set_pointer(0xC3, 0x2000)
    call(k, LOAD, a=0)
    assert bytes(k.ram[0xC000:0xC005]) == b"first"
    assert (k.get("x"), k.get("y"), k.get("p") & CARRY) == (0x05, 0xC0, 0)
    name_file(k, b"TWO", 0)
    call(k, LOAD, a=0)
    assert bytes(k.ram[0x2000:0x2006]) == b"second"
    call(k, READST)
    assert k.get("a") == 0x40


def test_load_of_what_is_not_there_fails_with_its_number(k: Kernal) -> None:
    name_file(k, b"ONE", 1)
    call(k, LOAD, a=0)
    assert (k.get("a"), k.get("p") & CARRY) == (5, 1)
    k.channels.disk = disk()
    name_file(k, b"THREE", 1)
    call(k, LOAD, a=0)
    assert (k.get("a"), k.get("p") & CARRY) == (4, 1)


def test_file_is_read_byte_by_byte_with_the_end_in_status(k: Kernal) -> None:
    k.channels.disk = disk()
    name_file(k, b"ONE", 2)
    call(k, OPEN)
    call(k, CHKIN, x=1)
    got = []
    for _ in range(7):
        call(k, CHRIN)
        got.append((k.get("a"), k.ram[0x90]))
    assert got == [(code, 0) for code in b"\x00\xc0firs"] + [(ord("t"), 0x40)]


def test_directory_loads_as_a_basic_program(k: Kernal) -> None:
    k.channels.disk = disk()
    name_file(k, b"$", 0)
    k.set_pointer(0xC3, 0x0801)
    call(k, LOAD, a=0)
    text = bytes(k.ram[0x0801:0x0880])
    assert b'"ONE"' in text and b"PRG" in text and b"BLOCKS FREE." in text
    second = k.pointer(0x0801)
    assert k.ram[second - 1] == 0 and k.pointer(second + 2) == 1


def test_nothing_can_be_saved(k: Kernal) -> None:
    k.channels.disk = disk()
    name_file(k, b"NEW", 1)
    call(k, 0xF5ED)
    assert (k.get("a"), k.get("p") & CARRY) == (5, 1)


# READY.

def test_run_starts_a_sys_line_and_rts_comes_back_to_ready(k: Kernal) -> None:
    k.ram[0x0801:0x080E] = prg.basic_stub(0xC000)
    for code in b"RUN\r":
        call(k, rom.DIRECT_CODE, a=code)
    assert k.get("pc") == 0xC000
    stack = 0x100 + k.get("s")
    assert (k.ram[stack + 1] | k.ram[stack + 2] << 8) + 1 == basic.READY
    assert call(k, basic.READY) == "the program has ended"
    assert rows(k)[-1] == "READY."


def test_basic_that_needs_its_rom_is_said_so_on_the_screen(k: Kernal) -> None:
    for code in b'PRINT "HI"\r':
        call(k, rom.DIRECT_CODE, a=code)
    assert "?ONLY LOAD" in rows(k)[0] and k.get("pc") == rom.DIRECT


def test_load_at_ready_loads_from_the_disk(k: Kernal) -> None:
    k.channels.disk = disk()
    for code in b'LOAD"TWO",8,1\r':
        call(k, rom.DIRECT_CODE, a=code)
    assert bytes(k.ram[0x1000:0x1006]) == b"second"


def test_basics_print_routines_are_served(k: Kernal) -> None:
    k.ram[0xC000:0xC006] = b"HELLO\0"
    call(k, 0xAB1E, a=0x00, y=0xC0)
    call(k, 0xBDCD, x=0x39, a=0x30)
    assert rows(k) == ["HELLO12345"]


def test_editor_knows_every_colour_code() -> None:
    assert len(set(editor.COLOUR_CODES)) == 16
    assert set(editor.COLOUR_CODES) <= set(editor.CONTROLS)


def test_what_is_typed_while_the_machine_starts_is_not_lost(k: Kernal) -> None:
    k.keys.type(b"HELLO\r")
    k.keys.feed(k.ram)
    assert k.ram[keyboard.QUEUE_LENGTH] == 6
    start.ramtas(k)
    start.cint(k)
    assert k.ram[keyboard.QUEUE_LENGTH] == 0
    k.keys.feed(k.ram)
    queue = keyboard.QUEUE
    assert bytes(k.ram[queue:queue + k.ram[keyboard.QUEUE_LENGTH]]) == b"HELLO\r"
