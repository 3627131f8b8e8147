"""Keys -> the program, and codes -> the screen: CHRIN, CHROUT, GETIN, STOP, PLOT.

CHRIN on the keyboard waits in a loop of the processor's own (rom.WAIT), the cursor blinking; each
key comes back here (`key`), is shown on the screen, and RETURN makes the line on the screen the
input.
"""

from anachron.emulators.mos6502 import keyboard
from anachron.emulators.mos6502.kernal import channels, rom
from anachron.emulators.mos6502.kernal import editor as ed
from anachron.emulators.mos6502.kernal.editor import RETURN
from anachron.emulators.mos6502.kernal.files import clrchn
from anachron.emulators.mos6502.kernal.state import (
    CARRY,
    INPUT_DEVICE,
    INTERRUPTS_OFF,
    NEGATIVE,
    OUTPUT_DEVICE,
    STATUS,
    STOP_FLAG,
    ZERO,
    Kernal,
)

# Cycles of CHROUT by what is printed, measured as in __init__.py.
LETTER_CYCLES, SHIFTED_CYCLES, COLOUR_CYCLES, SCROLL_CYCLES = 261, 243, 325, 31_898
PRINT_CYCLES = {
    RETURN: 214, 0x8D: 214, ed.DELETE: 1489, ed.INSERT: 1472, 0x93: 37_897, 0x13: 432, 0x11: 273,
    0x91: 229, 0x1D: 173, 0x9D: 178, 0x12: 337, 0x92: 337, 0x0E: 332, 0x8E: 340,
}
PLACE_CYCLES = 95  # PLOT: more for setting the cursor than for reading it


def chrout(k: Kernal) -> None:
    """A to the screen, if that is where output goes."""
    code = k.get("a")
    if k.ram[OUTPUT_DEVICE] == channels.SCREEN:
        show(k, code)
        k.flags(INTERRUPTS_OFF, 0)  # the screen's part ends with CLI
    k.flags(CARRY, 0)


def show(k: Kernal, code: int) -> None:
    """A code on the screen, and the time it takes."""
    default = (SHIFTED_CYCLES if code >= 0xA0 else LETTER_CYCLES if code & 0x60
               else COLOUR_CYCLES)
    k.editor.scrolls = 0
    k.editor.print(code)
    k.machine.charge(PRINT_CYCLES.get(code, default) + SCROLL_CYCLES * k.editor.scrolls)


def chrin(k: Kernal) -> None:
    """The next code of the input into A."""
    device = k.ram[INPUT_DEVICE]
    if device == channels.KEYBOARD and not k.ram[ed.INPUT_SOURCE]:
        k.editor.begin_input()
        wait(k)
        return
    if device == channels.SCREEN:
        if not k.ram[ed.INPUT_SOURCE]:
            k.ram[ed.INPUT_SOURCE] = 3
            k.ram[ed.INPUT_END] = k.ram[ed.LINE_END]
    elif device != channels.KEYBOARD:
        code, k.ram[STATUS] = k.channels.read(k.channels.input)
        k.answer(code)
        return
    read_line(k)


def read_line(k: Kernal) -> None:
    """The next code of the line into A. Its end moves the cursor only for unusual devices."""
    code = k.editor.read_line()
    usual = k.ram[INPUT_DEVICE] != channels.SCREEN and k.ram[OUTPUT_DEVICE] == channels.SCREEN
    if code == RETURN and not usual:
        k.editor.print(RETURN)
    k.answer(code)


def wait(k: Kernal) -> None:
    """Wait for a key in the processor's own loop, the cursor blinking."""
    k.keys.feed(k.ram)
    k.set(pc=rom.WAIT)


def key(k: Kernal) -> None:
    """A key has come while CHRIN waits: show it; RETURN ends the line."""
    k.editor.hide_cursor()
    code = take_key(k)
    if code != RETURN:
        show(k, code)
        wait(k)
        return
    k.editor.end_line()
    k.ram[ed.BLINK_OFF] = 1
    read_line(k)


def take_key(k: Kernal) -> int:
    """The first key of the queue; 0 if it is empty."""
    n_keys = k.ram[keyboard.QUEUE_LENGTH]
    if n_keys == 0:
        return 0
    queue = keyboard.QUEUE
    code = k.ram[queue]
    k.ram[queue:queue + n_keys - 1] = bytes(k.ram[queue + 1:queue + n_keys])
    k.ram[keyboard.QUEUE_LENGTH] = n_keys - 1
    k.flags(INTERRUPTS_OFF, 0)  # the KERNAL ends this with CLI
    return code


def getin(k: Kernal) -> None:
    """A key from the queue into A; the empty queue of the keyboard is the stand-in ROM's own."""
    if k.ram[INPUT_DEVICE] != channels.KEYBOARD:
        chrin(k)
        return
    n_keys = k.ram[keyboard.QUEUE_LENGTH]
    k.machine.charge(21 + 17 * n_keys)  # SEI, JMP, LDY, LDX, a loop of 17, DEC, TYA, CLI, CLC
    code = take_key(k)
    k.set(x=n_keys, y=code)
    k.answer(code)


def stop(k: Kernal) -> None:
    """Z set if the STOP key is down."""
    flag = k.ram[STOP_FLAG]
    k.set(a=flag)
    k.flags(ZERO | NEGATIVE | CARRY, (flag == 0x7F) * ZERO | (flag >= 0x7F) * CARRY)
    if flag == 0x7F:
        clrchn(k)
        k.ram[keyboard.QUEUE_LENGTH] = 0


def plot(k: Kernal) -> None:
    """The cursor to row X, column Y; with the carry set, from there."""
    if not k.get("p") & CARRY:
        k.editor.place(k.get("x"), min(k.get("y"), ed.LINE_LIMIT - 1))
        k.machine.charge(PLACE_CYCLES)
    k.set(x=k.ram[ed.ROW], y=k.ram[ed.COLUMN])


def screen_size(k: Kernal) -> None:
    """SCREEN: the columns into X, the rows into Y."""
    k.set(x=ed.COLUMNS, y=ed.ROWS)


def io_base(k: Kernal) -> None:
    """IOBASE: where the CIA is, into X and Y."""
    k.set(x=0x00, y=0xDC)


def clear_screen(k: Kernal) -> None:
    """The screen editor's clear, called by its address."""
    k.editor.clear()


def print_screen(k: Kernal) -> None:
    """The screen editor's print, called by its address."""
    show(k, k.get("a"))


def home(k: Kernal) -> None:
    """The screen editor's home, called by its address."""
    k.editor.home()
