"""BASIC, as far as it goes without its ROM: READY, LOAD, RUN of a SYS line, SYS; two ROM calls.

Everything else needs the user's own ROM files, and says so.
"""

import re

from anachron.emulators.containers.prg import BASIC_START, sys_address
from anachron.emulators.mos6502 import petscii
from anachron.emulators.mos6502.kernal import editor as ed
from anachron.emulators.mos6502.kernal import rom
from anachron.emulators.mos6502.kernal.channels import DEVICE_NOT_PRESENT, ChannelError
from anachron.emulators.mos6502.kernal.console import show
from anachron.emulators.mos6502.kernal.editor import RETURN
from anachron.emulators.mos6502.kernal.files import DISK_CYCLES_A_BYTE, clrchn, store
from anachron.emulators.mos6502.kernal.state import Kernal

READY, WARM_START = 0xA474, 0xE37B
LINE_LIMIT = 80
PROGRAM_START, PROGRAM_END, LINE_NUMBER, SYS_REGISTERS = 0x2B, 0x2D, 0x14, 0x030C
STACK_TOP = 0xF8  # where BASIC leaves the stack
STRING_CYCLES = 219  # of STROUT for a letter, besides printing it; measured


def run(k: Kernal, where: str) -> None:
    """RUN what has been loaded at $0801; ValueError if that is more BASIC than a SYS line."""
    address = sys_address(bytes(k.ram[BASIC_START:BASIC_START + LINE_LIMIT]))
    if address is None:
        raise ValueError(f"{where}: a BASIC program that is more than a SYS line: give the folder "
                         "of your own ROM files (--roms)")
    k.print(b"RUN\r")
    start_program(k, address)


def start_program(k: Kernal, address: int) -> None:
    """Jump to a machine-language program as SYS does: its RTS comes back to READY."""
    a, x, y, p = k.ram[SYS_REGISTERS:SYS_REGISTERS + 4]
    k.set_pointer(0x100 + STACK_TOP - 1, READY - 1)
    k.set(a=a, x=x, y=y, p=p & 0xCF | 0x20, s=STACK_TOP - 2, pc=address)
    k.set_pointer(LINE_NUMBER, address)
    k.ram[ed.BLINK_OFF] = 1


def ready(k: Kernal) -> str:
    """A program has come back: say READY and read lines."""
    clrchn(k)
    k.print(b"\rREADY.\r")
    k.direct.clear()
    k.set(pc=rom.DIRECT, s=STACK_TOP)
    return "the program has ended"


def direct_code(k: Kernal) -> None:
    """One more code of a line typed at READY; RETURN carries it out."""
    code = k.get("a")
    k.set(pc=rom.DIRECT)
    if code != RETURN:
        del k.direct[LINE_LIMIT:]
        k.direct.append(code)
        return
    k.print(b"\r")
    line, k.direct = petscii.decode(bytes(k.direct)).replace(" ", ""), bytearray()
    if not line:
        return
    if line.startswith("LOAD"):
        direct_load(k, line[4:])
        return
    number = re.fullmatch("SYS([0-9]{1,5})", line)
    address = (sys_address(bytes(k.ram[BASIC_START:BASIC_START + LINE_LIMIT])) if line == "RUN"
               else int(number[1]) if number else None)
    if address is None or address > 0xFFFF:
        k.print(b"?ONLY LOAD, RUN OF A SYS LINE AND SYS\r WITHOUT THE BASIC ROM\rREADY.\r")
    else:
        start_program(k, address)


def direct_load(k: Kernal, rest: str) -> None:
    """LOAD "NAME",8 with or without ,1 as typed at READY."""
    _, _, behind = rest.partition('"')
    name, _, numbers = behind.partition('"')
    try:
        content = k.channels.find(petscii.encode(name or "*"))
    except ChannelError as error:
        k.print(b"?DEVICE NOT PRESENT\rREADY.\r" if error.number == DEVICE_NOT_PRESENT
                else b"?FILE NOT FOUND\rREADY.\r")
        return
    own = numbers.endswith(",1")
    start = int.from_bytes(content[:2], "little") if own else k.pointer(PROGRAM_START)
    data = content[2:2 + 0x10000 - start]
    k.machine.charge(DISK_CYCLES_A_BYTE * len(content))
    store(k.machine, start, data)
    k.set_pointer(PROGRAM_END, start + len(data))
    k.print(b"LOADING\rREADY.\r")


def breakpoint(k: Kernal) -> str:
    """BRK outside a monitor: stop, and say where."""
    low, high = (k.ram[0x100 + (k.get("s") + n) % 256] for n in (5, 6))  # above P, A, X and Y
    address = (low | high << 8) - 2 & 0xFFFF
    k.set(pc=WARM_START)
    return f"BRK at ${address:04X}"


def print_string(k: Kernal) -> None:
    """BASIC's STROUT: the text at A, Y up to a zero."""
    at = k.get("a") | k.get("y") << 8
    for _ in range(0x100):
        code = k.machine.peek(at)
        if code == 0:
            break
        show(k, code)
        at = at + 1 & 0xFFFF
        k.machine.charge(STRING_CYCLES)


def print_number(k: Kernal) -> None:
    """BASIC's LINPRT: the number X, A in decimal."""
    k.print(str(k.get("x") | k.get("a") << 8).encode())
