"""Power-on -> what the machine's memory and chips hold when it says READY.

Sources: Mapping the Commodore 64 (S. Leemon, 1984), $0281-$0333 and the routines RAMTAS, RESTOR,
IOINIT and CINT; Commodore 64 Programmer's Reference Guide (1982), app. N and M, the registers.
"""

from anachron.emulators.mos6502 import keyboard
from anachron.emulators.mos6502.kernal import channels, rom
from anachron.emulators.mos6502.kernal import editor as ed
from anachron.emulators.mos6502.kernal.interrupt import (
    LAST_KEY,
    REPEAT_COUNT,
    REPEAT_DELAY,
    REPEATS,
    SHIFTS,
    THIS_KEY,
)
from anachron.emulators.mos6502.kernal.state import (
    CARRY,
    INPUT_DEVICE,
    OUTPUT_DEVICE,
    STOP_FLAG,
    Kernal,
)

TAPE_BUFFER, MEMORY_BOTTOM, MEMORY_TOP, PAL = 0xB2, 0x0281, 0x0283, 0x02A6
JIFFY_PAL, JIFFY_NTSC = 0x4025, 0x4295  # cycles of 1/60 s, less one: Mapping, $FDDD
MEMORY_LIMITS = {TAPE_BUFFER: 0x033C, MEMORY_BOTTOM: 0x0800, MEMORY_TOP: 0xA000}
USR_JUMP, KEY_DECODER = 0x0310, 0x028F
GREETING = (b"\r       **** ANACHRON 64 ****\r"
            b"\r MACHINE LANGUAGE AND NO ROMS BUT OURS\r\rREADY.\r")
BASIC_POINTERS = {
    0x03: 0xB1AA, 0x05: 0xB391, 0x16: 0x0019, 0x2B: 0x0801, 0x2D: 0x0803, 0x2F: 0x0803,
    0x31: 0x0803, 0x33: 0xA000, 0x37: 0xA000, 0x0300: 0xE38B, 0x0302: 0xA483, 0x0304: 0xA57C,
    0x0306: 0xA71A, 0x0308: 0xA7E4, 0x030A: 0xAE86, 0x0311: 0xB248,
}
EDITOR_START = {
    ed.BLINK_OFF: 0, ed.BLINK_COUNT: ed.BLINK_JIFFIES, ed.BLINK_PHASE: 0, ed.QUOTE_MODE: 0,
    ed.INSERTS: 0, ed.REVERSE: 0, ed.INPUT_SOURCE: 0, ed.COLOUR: 14, ed.SHIFT_LOCKED: 0,
    0x0289: keyboard.QUEUE_LIMIT, REPEATS: 0, REPEAT_DELAY: 16, REPEAT_COUNT: 4, SHIFTS: 0,
    LAST_KEY: keyboard.NO_KEY, THIS_KEY: keyboard.NO_KEY, keyboard.QUEUE_LENGTH: 0,
}
IO_START = (  # after the manual's IOINIT: interrupts off, keyboard columns out, VIC bank 0
    (0x0000, 0x2F), (0x0001, 0x37), (0xDC0D, 0x7F), (0xDD0D, 0x7F), (0xDC00, 0x7F),
    (0xDC0E, 0x08), (0xDD0E, 0x08), (0xDC0F, 0x08), (0xDD0F, 0x08), (0xDC03, 0x00), (0xDD03, 0x00),
    (0xD418, 0x00), (0xDC02, 0xFF), (0xDD00, 0x07), (0xDD02, 0x3F),
)
VIC_START = bytes.fromhex(  # $D000 to $D02E: text, 25 rows, screen at $0400, the usual colours
    "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 1b 37 00 00 00 c8 00 15 0f 00 00 00 00 00"
    " 00 0e 06 01 02 03 04 00 01 02 03 04 05 06 07 4c")


def start(k: Kernal) -> None:
    """Everything as it is when the machine has been switched on and says READY."""
    ramtas(k)
    restor(k)
    ioinit(k)
    cint(k)
    for at, value in BASIC_POINTERS.items():
        k.set_pointer(at, value)
    k.ram[USR_JUMP], k.ram[STOP_FLAG] = 0x4C, 0xFF
    k.print(GREETING)
    k.set(a=0, x=0, y=0, s=0xF8, p=0x20, pc=rom.DIRECT)


def ramtas(k: Kernal) -> None:
    """Clear pages 0, 2 and 3 and set the limits of memory."""
    k.keys.take_back(k.ram)  # what was typed before a cartridge was ready is not lost
    k.ram[2:0x102] = bytes(0x100)
    k.ram[0x200:0x400] = bytes(0x200)
    for at, value in MEMORY_LIMITS.items():
        k.set_pointer(at, value)
    k.ram[ed.SCREEN_PAGE] = 0x04


def restor(k: Kernal) -> None:
    """The vectors in page 3 as they are after power-on."""
    for at, value in rom.VECTORS.items():
        k.set_pointer(at, value)


def ioinit(k: Kernal) -> None:
    """The CIAs, with the 60 Hz interrupt started, the SID silent, and the memory map."""
    for address, value in IO_START:
        k.machine.poke(address, value)
    latch = JIFFY_NTSC if k.machine.ntsc else JIFFY_PAL
    k.ram[PAL] = not k.machine.ntsc
    for address, value in ((0xDC04, latch & 0xFF), (0xDC05, latch >> 8), (0xDC0D, 0x81),
                           (0xDC0E, 0x11)):
        k.machine.poke(address, value)


def cint(k: Kernal) -> None:
    """The VIC-II's registers, the keyboard's and the editor's variables, and a clear screen."""
    k.keys.take_back(k.ram)
    for register, value in enumerate(VIC_START):
        k.machine.poke(0xD000 + register, value)
    for at, value in EDITOR_START.items():
        k.ram[at] = value
    k.set_pointer(KEY_DECODER, 0xEB48)
    k.ram[INPUT_DEVICE], k.ram[OUTPUT_DEVICE] = channels.KEYBOARD, channels.SCREEN
    k.editor.clear()


def vector(k: Kernal) -> None:
    """The RAM vectors from X, Y; with the carry set, to there."""
    here, there = min(rom.VECTORS), k.get("x") | k.get("y") << 8
    source, target = (here, there) if k.get("p") & CARRY else (there, here)
    for at in range(2 * len(rom.VECTORS)):
        k.machine.poke(target + at & 0xFFFF, k.machine.peek(source + at & 0xFFFF))


def memtop(k: Kernal) -> None:
    """The top of memory from X, Y; with the carry set, into them."""
    limit(k, MEMORY_TOP)


def membot(k: Kernal) -> None:
    """The bottom of memory from X, Y; with the carry set, into them."""
    limit(k, MEMORY_BOTTOM)


def limit(k: Kernal, at: int) -> None:
    """Read or set one of memory's two limits."""
    if k.get("p") & CARRY:
        k.set(x=k.ram[at], y=k.ram[at + 1])
    k.set_pointer(at, k.get("x") | k.get("y") << 8)
