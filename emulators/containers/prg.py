"""`.prg` bytes <-> a load address and the bytes that go there; and the BASIC line that starts them.

A program file is its load address, low byte first, and then memory. A file loaded at $0801 begins
with one BASIC line, `10 SYS 2061`, so that RUN jumps into the machine code behind it.

Sources: Commodore 64 Programmer's Reference Guide (1982), ch. 2 and app. on program storage:
a line is a link to the next, a number, tokens and a zero; $9E is the token of SYS.
"""

import re
from dataclasses import dataclass

BASIC_START = 0x0801
SYS_TOKEN = 0x9E
SIZE_LIMIT = 2 + 0x10000


@dataclass(frozen=True)
class Prg:
    """Bytes for memory and the address they go to."""

    load: int
    data: bytes

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.load + len(self.data)

    def __repr__(self) -> str:
        return f"Prg(${self.load:04X}-${self.end - 1:04X}, {len(self.data)} bytes)"


def parse(data: bytes, where: str = "prg") -> Prg:
    """Split a program file into its load address and its bytes.

    Raises ValueError if it is shorter than three bytes or runs past $FFFF.
    """
    if len(data) < 3:
        raise ValueError(f"{where}: {len(data)} bytes: "
                         "a .prg is a load address (2 bytes) and at least 1 byte of program")
    load = data[0] | data[1] << 8
    if load + len(data) - 2 > 0x10000:
        raise ValueError(f"{where}: {len(data) - 2} bytes from ${load:04X} run past $FFFF: "
                         f"at most {0x10000 - load} fit there")
    return Prg(load, data[2:])


def pack(load: int, data: bytes) -> bytes:
    """The bytes of a program file; ValueError if it would run past $FFFF.

    >>> pack(0xC000, b"\\x60").hex(" ")
    '00 c0 60'
    """
    if not 0 <= load <= 0xFFFF or not 1 <= len(data) <= 0x10000 - load:
        raise ValueError(f"prg: {len(data)} bytes at ${load:04X}: "
                         "1 byte at least, and the last at $FFFF at most")
    return bytes([load & 0xFF, load >> 8]) + data


def basic_stub(entry: int, line: int = 10) -> bytes:
    """The BASIC program `line SYS entry`, as it stands in memory at $0801, end marker included.

    >>> len(basic_stub(2061))  # so the machine code may start at $0801 + 12 = 2061
    12
    """
    if not 0 <= entry <= 0xFFFF or not 0 <= line <= 63999:
        raise ValueError(f"prg: line {line} SYS {entry}: "
                         "0 to 63999 for the line and 0 to 65535 for the address allowed")
    text = bytes([SYS_TOKEN]) + str(entry).encode("ascii") + b"\0"
    link = BASIC_START + 4 + len(text)
    return link.to_bytes(2, "little") + line.to_bytes(2, "little") + text + b"\0\0"


def sys_address(memory: bytes) -> int | None:
    """The address that RUN would jump to, from the bytes at $0801; None if BASIC is needed.

    Recognised: a first line that is SYS and a decimal number, brackets and spaces allowed;
    what follows (a REM, a colon) is not reached by a program that stays in machine code.

    >>> sys_address(basic_stub(49152))
    49152
    """
    line = bytes(memory[4:4 + 88]).split(b"\0", 1)[0]
    match = re.match(rb" *\x9e *\(? *([0-9]{1,5}) *\)? *(?![0-9+\-*/^.\xaa-\xae])", line)
    if len(memory) < 6 or match is None or int(match[1]) > 0xFFFF:
        return None
    return int(match[1])
