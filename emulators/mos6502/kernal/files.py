"""File calls -> channels, and programs from the diskette -> memory.

Source: Commodore 64 Programmer's Reference Guide (1982), ch. 5.
"""

from anachron.emulators.mos6502.kernal import channels
from anachron.emulators.mos6502.kernal.channels import ChannelError
from anachron.emulators.mos6502.kernal.state import (
    CARRY,
    INPUT_DEVICE,
    OUTPUT_DEVICE,
    STATUS,
    Kernal,
    Machine,
)

MESSAGES, LOAD_END, LOAD_START, TABLE_SIZE = 0x9D, 0xAE, 0xC3, 0x98
NAME_LENGTH, LOGICAL, SECONDARY, DEVICE, NAME = 0xB7, 0xB8, 0xB9, 0xBA, 0xBB
VERIFY_ERROR = 0x10  # bit of STATUS
DISK_CYCLES_A_BYTE = 2508  # with the search: 20,002 bytes from VICE 3.10's true 1541


def setnam(k: Kernal) -> None:
    """A name of A bytes at X, Y."""
    k.ram[NAME_LENGTH] = k.get("a")
    k.set_pointer(NAME, k.get("x") | k.get("y") << 8)


def setlfs(k: Kernal) -> None:
    """Logical file A, device X, secondary address Y."""
    k.ram[LOGICAL], k.ram[DEVICE] = k.get("a"), k.get("x")
    k.ram[SECONDARY] = k.get("y")


def file_name(k: Kernal) -> bytes:
    """The bytes that SETNAM named."""
    start = k.pointer(NAME)
    return bytes(k.ram[(start + at) & 0xFFFF] for at in range(k.ram[NAME_LENGTH]))


def open(k: Kernal) -> None:
    """Open the file that SETLFS and SETNAM described."""
    k.channels.open(k.ram[LOGICAL], k.ram[DEVICE], file_name(k))
    k.ram[TABLE_SIZE] = len(k.channels.files)
    k.flags(CARRY, 0)


def close(k: Kernal) -> None:
    """Close file A."""
    k.channels.close(k.get("a"))
    k.ram[TABLE_SIZE] = len(k.channels.files)
    k.flags(CARRY, 0)


def chkin(k: Kernal) -> None:
    """Take input from file X."""
    k.ram[INPUT_DEVICE] = k.channels.device_of(k.get("x"))
    k.channels.input = k.get("x")
    k.flags(CARRY, 0)


def chkout(k: Kernal) -> None:
    """Send output to file X."""
    k.ram[OUTPUT_DEVICE] = k.channels.device_of(k.get("x"))
    k.flags(CARRY, 0)


def clrchn(k: Kernal) -> None:
    """Input from the keyboard and output to the screen again."""
    k.ram[INPUT_DEVICE], k.ram[OUTPUT_DEVICE] = channels.KEYBOARD, channels.SCREEN


def clall(k: Kernal) -> None:
    """Close all files."""
    k.channels.reset()
    k.ram[TABLE_SIZE] = 0
    clrchn(k)


def readst(k: Kernal) -> None:
    """The status of the last transfer into A."""
    k.answer(k.ram[STATUS])


def setmsg(k: Kernal) -> None:
    """Which messages the KERNAL prints; none here."""
    k.ram[MESSAGES] = k.get("a")


def load(k: Kernal) -> None:
    """LOAD, or verify if A is not 0; the file's own address unless the secondary one is 0."""
    if k.ram[DEVICE] not in channels.DISK_DEVICES:
        raise ChannelError(channels.DEVICE_NOT_PRESENT)
    content = k.channels.find(file_name(k))
    start = k.pointer(LOAD_START)
    if k.ram[SECONDARY] or len(content) < 2:
        start = int.from_bytes(content[:2], "little")
    data = content[2:2 + 0x10000 - start]
    k.machine.charge(DISK_CYCLES_A_BYTE * len(content))
    k.ram[STATUS] = channels.END_OF_FILE
    if k.get("a"):
        if bytes(k.ram[start:start + len(data)]) != data:
            k.ram[STATUS] |= VERIFY_ERROR
    else:
        store(k.machine, start, data)
    end = start + len(data) & 0xFFFF
    k.set_pointer(LOAD_END, end)
    k.set(x=end & 0xFF, y=end >> 8)
    k.flags(CARRY, 0)


def save(k: Kernal) -> None:
    """No program writes a file: there is no device to save to."""
    raise ChannelError(channels.DEVICE_NOT_PRESENT)


def store(machine: Machine, start: int, data: bytes) -> None:
    """Put a file's bytes where the processor's stores would go, RAM under the ROMs included."""
    io = range(0xD000, 0xE000)
    if start + len(data) <= io.start or start >= io.stop:
        machine.ram[start:start + len(data)] = data
        return
    for address, byte in enumerate(data, start):
        machine.poke(address, byte)
