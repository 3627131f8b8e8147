"""Files by name and number -> bytes: the KERNAL's channels, from a diskette or a program.

OPEN gives a file on device 8 (to 11) a number; CHKIN and CHRIN read it; LOAD puts a program into
memory. What is written to a device other than the screen goes nowhere: no program can write a
file of the host's.

Source: Commodore 64 Programmer's Reference Guide (1982), ch. 5: errors, STATUS bits, LOAD, OPEN.
"""

from dataclasses import dataclass

from anachron.emulators.containers.d64 import D64
from anachron.emulators.containers.prg import BASIC_START, Prg

KEYBOARD, SCREEN = 0, 3
DISK_DEVICES = range(8, 12)
FILE_LIMIT = 10
END_OF_FILE, TIMEOUT = 0x40, 0x02  # bits of STATUS, $90
TOO_MANY_FILES, FILE_OPEN, FILE_NOT_OPEN, FILE_NOT_FOUND, DEVICE_NOT_PRESENT = 1, 2, 3, 4, 5


class ChannelError(Exception):
    """A KERNAL call fails with a number in A and the carry set."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class OpenFile:
    """A logical file: the device behind it, and what is left to read."""

    device: int
    content: bytes = b""
    at: int = 0


class Channels:
    """The logical files of one machine, and the diskette in its drive."""

    def __init__(self) -> None:
        self.disk: D64 | Prg | None = None
        self.files: dict[int, OpenFile] = {}
        self.input = 0  # the number that CHKIN chose

    def find(self, name: bytes) -> bytes:
        """The bytes of a program in the drive, load address first; `$` is the directory."""
        match self.disk:
            case None:
                raise ChannelError(DEVICE_NOT_PRESENT)
            case Prg(load, data):
                return load.to_bytes(2, "little") + data
            case disk:
                if name.startswith(b"$"):
                    return directory(disk)
                try:
                    return disk.read(name)
                except ValueError:
                    raise ChannelError(FILE_NOT_FOUND) from None

    def open(self, number: int, device: int, name: bytes) -> None:
        """Give a file of a device a number."""
        if number in self.files:
            raise ChannelError(FILE_OPEN)
        if len(self.files) >= FILE_LIMIT:
            raise ChannelError(TOO_MANY_FILES)
        if device in (KEYBOARD, SCREEN):
            self.files[number] = OpenFile(device)
        elif device in DISK_DEVICES and self.disk is not None:
            self.files[number] = OpenFile(device, self.find(name) if name else b"")
        else:
            raise ChannelError(DEVICE_NOT_PRESENT)

    def close(self, number: int) -> None:
        """Forget a file; a number that is not open is no error."""
        self.files.pop(number, None)

    def device_of(self, number: int) -> int:
        """The device behind a number."""
        if number not in self.files:
            raise ChannelError(FILE_NOT_OPEN)
        return self.files[number].device

    def read(self, number: int) -> tuple[int, int]:
        """The next byte of a file and the STATUS after it; RETURN for ever behind its end."""
        file = self.files.get(number)
        if file is None or file.at >= len(file.content):
            return 0x0D, END_OF_FILE | TIMEOUT
        file.at += 1
        return file.content[file.at - 1], END_OF_FILE if file.at == len(file.content) else 0

    def reset(self) -> None:
        """Close everything; the diskette stays."""
        self.files.clear()
        self.input = 0


def directory(disk: D64) -> bytes:
    """The directory as the drive sends it for "$": a BASIC program that LIST prints."""
    title = b'\x12"' + disk.name.ljust(16) + b'" ' + disk.identity
    lines = [(0, title)]
    for entry in disk.entries():
        pad = b" " * (4 - len(str(entry.blocks)))
        name = b'"' + entry.name + b'"'
        lines.append((entry.blocks, pad + name.ljust(19) + entry.kind.encode()))
    lines.append((disk.blocks_free(), b"BLOCKS FREE."))
    program = BASIC_START.to_bytes(2, "little")
    at = BASIC_START
    for number, text in lines:
        at += len(text) + 5
        program += at.to_bytes(2, "little") + number.to_bytes(2, "little") + text + b"\0"
    return program + b"\0\0"
