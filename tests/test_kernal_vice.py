"""The screen editor against Commodore's own, in VICE: the same codes, the same screen and lines."""
import importlib.util
import os
import random
from pathlib import Path
from types import ModuleType

import pytest
from test_kernal import CHROUT, Memory, call

from anachron.emulators import create
from anachron.emulators.containers import prg
from anachron.emulators.mos6502.kernal import start
from anachron.emulators.mos6502.kernal.state import Kernal
from anachron.emulators.mos6502.keyboard import Keyboard

DRIVER = Path(__file__).parents[2] / "shared" / "tools" / "vicectl.py"
OPEN_LINES, STREAM = 0x0292, 0x2000
CODES = [0x11, 0x91, 0x1D, 0x9D, 0x13, 0x14, 0x94, 0x12, 0x92, 0x05, 0x1C, 0x90, 0x0E, 0x8E, 0x8D,
         0x22, 0x07, 0x83]
# The editor's own variables: reverse, pointers, cursor, quotes, inserts, links, colour.
VARIABLES = (0xC7, *range(0xD1, 0xF2), 0x0286)


def driver() -> ModuleType:
    if "X64SC" not in os.environ or not DRIVER.is_file():
        pytest.skip("needs VICE's x64sc (X64SC, VICEDATA) and ../shared/tools/vicectl.py")
    spec = importlib.util.spec_from_file_location("vicectl", DRIVER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stream(rng: random.Random) -> bytes:
    """Letters, RETURNs, controls and shifted codes, from a clear screen."""
    codes = bytearray([0x93])
    for _ in range(rng.choice((3, 10, 60))):
        codes += rng.choice((
            bytes(rng.choices(range(0x20, 0x60), k=rng.randrange(1, 50))), b"\r",
            bytes(rng.choices(CODES, k=3)), bytes(rng.choices(range(0xA0, 0x100), k=3))))
    return bytes(codes)


def printer(codes: bytes) -> tuple[bytes, int]:
    """A program that prints codes, and the address where it is done."""
    end = STREAM + len(codes)
    code = bytes.fromhex("a900 85fb a920 85fc") + bytes(
        [0xA0, 0x00, 0xB1, 0xFB, 0x20, 0xD2, 0xFF,  # ldy #0 / lda ($fb),y / jsr chrout
         0xE6, 0xFB, 0xD0, 0x02, 0xE6, 0xFC,  # inc $fb / bne / inc $fc
         0xA5, 0xFB, 0xC9, end & 0xFF, 0xD0, 0xED, 0xA5, 0xFC, 0xC9, end >> 8, 0xD0, 0xE7])
    done = prg.BASIC_START + 12 + len(code)
    program = prg.basic_stub(prg.BASIC_START + 12) + code + bytes([0x4C, done & 0xFF, done >> 8])
    return prg.pack(prg.BASIC_START, program.ljust(STREAM - prg.BASIC_START, b"\0") + codes), done


# The driver leaves the files that it reads to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.vice
@pytest.mark.parametrize("seed", range(6))
def test_stream_of_codes_leaves_the_screen_that_vice_shows(seed: int, tmp_path: Path) -> None:
    vicectl = driver()
    codes = stream(random.Random(seed))
    program, done = printer(codes)
    (tmp_path / "x.prg").write_bytes(program)
    with vicectl.Vice(str(tmp_path / "x.prg")) as vice:
        vice.cmd("> dc0d 7f")  # no interrupts: no cursor
        vice.cmd(f"> {OPEN_LINES:04x} {seed % 2:02x}")
        vice.brk(done)
        vice.go()
        ram, colours = vice.mem(0, 0x07FF), vice.mem(0xD800, 0xDBE7, "io")
        vice.s.close()
    kernal = Kernal(Memory(), Keyboard())
    start.start(kernal)
    kernal.ram[OPEN_LINES], kernal.ram[0xCC] = seed % 2, 1
    for code in codes:
        call(kernal, CHROUT, a=code)
    assert bytes(kernal.ram[0x0400:0x07E8]) == ram[0x0400:0x07E8]
    assert bytes(kernal.machine.colour[:1000]) == bytes(colour & 15 for colour in colours[:1000])
    assert [kernal.ram[at] for at in VARIABLES] == [ram[at] for at in VARIABLES]


LINES, INPUT = 3, 0x2000
START = prg.BASIC_START + 12
# clr / $fb = input / $fd = lines / line: "?" / code: jsr chrin / sta ($fb),y / inc / cmp #13 / bne
# code / print RETURN / dec $fd / bne line / jmp *
READER = bytes.fromhex("a993 20d2ff a900 85fb a920 85fc a903 85fd a93f 20d2ff 20cfff a000 91fb"
                       "e6fb d002 e6fc c90d d0ef a90d 20d2ff c6fd d0e1 4c3d08")
KEY_LOOP, NOTHING_TYPED = 0xE5CD, "@cpu:$c6 == $00"


def keys(rng: random.Random) -> bytes:
    """Three lines as a person might type them, with the cursor keys, insert and delete."""
    typed = bytearray()
    for _ in range(LINES):
        for _ in range(rng.choice((0, 3, 20, 50))):
            typed.append(rng.choice((*range(0x20, 0x60), *CODES[:8], *CODES[:8])))
        typed += b"\r"
    return bytes(typed)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.vice
@pytest.mark.parametrize("seed", range(6))
def test_typed_lines_are_read_as_vice_reads_them(seed: int, tmp_path: Path) -> None:
    vicectl = driver()
    typed, done = keys(random.Random(seed)), START + len(READER) - 3
    program = prg.Prg(prg.BASIC_START, prg.basic_stub(START) + READER)
    (tmp_path / "x.prg").write_bytes(prg.pack(program.load, program.data))
    with vicectl.Vice(str(tmp_path / "x.prg")) as vice:
        vice.brk(done)
        vice.brk(KEY_LOOP, cond=NOTHING_TYPED)
        left = typed
        while vice.go() is not None and vice.regs()["pc"] != done:
            vice.poke(0x0277, left[:10])
            vice.poke(0xC6, bytes([len(left[:10])]))
            left = left[10:]
        ram = vice.mem(0, INPUT + 0x07FF)
        vice.s.close()
    machine = create("c64")
    machine.insert(program, "reader")
    machine.keyboard.type(typed)
    assert machine.run(max_cycles=50_000_000, until=done).startswith("until")
    length = (ram[0xFB] | ram[0xFC] << 8) - INPUT
    assert bytes(machine.ram[INPUT:INPUT + length]) == ram[INPUT:INPUT + length]
    assert bytes(machine.ram[0x0400:0x07E8]) == ram[0x0400:0x07E8]
