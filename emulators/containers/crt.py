"""`.crt` bytes <-> a cartridge: its two lines to the PLA and its ROM chips, bank by bank.

A header (`C64 CARTRIDGE`, the type of the board, EXROM and GAME, a name) and CHIP packets, each
some ROM with its bank and load address; numbers are big-endian. To add a kind of board: its number
and name in KINDS, and its banking in the machine that runs it.

Source: the CCS64 cartridge format, as described in the VICE manual, section "The CRT cartridge
image format"; EasyFlash (type 32): "EasyFlash programmer's guide", 64 banks of ROML and ROMH.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SIGNATURE = b"C64 CARTRIDGE   "
HEADER_SIZE = 0x40
PACKET_SIZE = 0x10
GENERIC, EASYFLASH = 0, 32
KINDS = {GENERIC: "generic", EASYFLASH: "EasyFlash"}
ROML, ROMH, ROMH_ULTIMAX = 0x8000, 0xA000, 0xE000
BANK_SIZE = 0x2000
BANKS = 64
FLASH = 2  # the packet's chip type: 0 ROM, 1 RAM, 2 flash
SIZE_LIMIT = HEADER_SIZE + 2 * BANKS * (PACKET_SIZE + BANK_SIZE)


@dataclass(frozen=True)
class Chip:
    """One packet: ROM that appears at an address when its bank is chosen."""

    bank: int
    load: int
    data: bytes


@dataclass(frozen=True)
class Crt:
    """A cartridge; exrom and game are the levels of the two lines at reset."""

    kind: int
    exrom: int
    game: int
    name: str
    chips: tuple[Chip, ...]

    def __repr__(self) -> str:
        size = sum(len(chip.data) for chip in self.chips)
        return f"Crt({self.name!r}, {KINDS[self.kind]}, {len(self.chips)} chips, {size} bytes)"

    def roms(self) -> tuple[bytes, bytes]:
        """ROML and ROMH, every bank one after another, 255 where there is no chip (as flash is)."""
        n_banks = max(chip.bank for chip in self.chips) + 1
        low, high = (bytearray(b"\xff" * (BANK_SIZE * n_banks)) for _ in range(2))
        for chip in self.chips:
            start = chip.bank * BANK_SIZE + chip.load % BANK_SIZE
            lower = chip.data[:BANK_SIZE] if chip.load == ROML else b""
            upper = chip.data[len(lower):]
            low[start:start + len(lower)] = lower
            high[start:start + len(upper)] = upper
        return bytes(low), bytes(high)


def parse(data: bytes, where: str = "crt") -> Crt:
    """Read a cartridge file; ValueError for a damaged one and for a board not in KINDS."""
    if len(data) < HEADER_SIZE or data[:16] != SIGNATURE:
        raise ValueError(f"{where}: does not begin with the {HEADER_SIZE}-byte header "
                         "'C64 CARTRIDGE': not a .crt")
    start, kind = _number(data, 0x10, 4), _number(data, 0x16, 2)
    exrom, game = data[0x18], data[0x19]
    if kind not in KINDS:
        raise ValueError(f"{where}: cartridge type {kind}: only "
                         + " and ".join(f"{n} ({name})" for n, name in KINDS.items()) + " known")
    if exrom > 1 or game > 1:
        raise ValueError(f"{where}: EXROM {exrom}, GAME {game}: each is 0 or 1")
    if not HEADER_SIZE <= start <= len(data):
        raise ValueError(f"{where}: header of {start} bytes: {HEADER_SIZE} to {len(data)} allowed")
    name = data[0x20:0x40].split(b"\0", 1)[0].decode("latin-1")
    chips = _chips(data, start, kind, where)
    return Crt(kind, exrom, game, name, chips)


def _chips(data: bytes, start: int, kind: int, where: str) -> tuple[Chip, ...]:
    """The packets from start to the end of the file."""
    chips: dict[tuple[int, int], Chip] = {}
    while start < len(data):
        at = f"{where}: packet at byte {start}"
        if len(data) - start < PACKET_SIZE or data[start:start + 4] != b"CHIP":
            raise ValueError(f"{at}: no 'CHIP' packet there: the file is damaged or has a tail")
        length, bank = _number(data, start + 4, 4), _number(data, start + 10, 2)
        load, size = _number(data, start + 12, 2), _number(data, start + 14, 2)
        if length != PACKET_SIZE + size or start + length > len(data):
            raise ValueError(f"{at}: {length} bytes for {size} of ROM: "
                             f"{PACKET_SIZE} + size, {len(data) - start} at most, allowed")
        if bank >= (BANKS if kind == EASYFLASH else 1):
            raise ValueError(f"{at}: bank {bank} is not on this board")
        if (load, size) not in _PLACES:
            raise ValueError(f"{at}: {size} bytes at ${load:04X}: 4 or 8 KB at $8000, $A000 or "
                             "$E000 or 16 KB at $8000 allowed")
        if (bank, load) in chips:
            raise ValueError(f"{at}: bank {bank} at ${load:04X} comes twice")
        chips[bank, load] = Chip(bank, load, data[start + PACKET_SIZE:start + length])
        start += length
    if not chips:
        raise ValueError(f"{where}: no ROM in it: at least one 'CHIP' packet needed")
    return tuple(chips.values())


_PLACES = {(load, size) for load in (ROML, ROMH, ROMH_ULTIMAX) for size in (0x1000, BANK_SIZE)}
_PLACES |= {(ROML, 2 * BANK_SIZE), (0xF000, 0x1000)}


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at:at + size], "big")


def pack(crt: Crt) -> bytes:
    """The bytes of a cartridge file; what parse reads back is equal."""
    name = crt.name.encode("latin-1", "replace")[:31]
    chip_type = FLASH if crt.kind == EASYFLASH else 0
    parts = [SIGNATURE, HEADER_SIZE.to_bytes(4, "big"), b"\x01\x00", crt.kind.to_bytes(2, "big"),
             bytes([crt.exrom, crt.game]), bytes(6), name.ljust(32, b"\0")]
    for chip in crt.chips:
        size = len(chip.data)
        numbers = [(PACKET_SIZE + size, 4), (chip_type, 2), (chip.bank, 2), (chip.load, 2),
                   (size, 2)]
        parts += [b"CHIP", *(n.to_bytes(width, "big") for n, width in numbers), chip.data]
    return b"".join(parts)


def easyflash(banks: Mapping[tuple[int, int], bytes], name: str = "ANACHRON") -> Crt:
    """An EasyFlash cartridge from (bank, ROML or ROMH) -> at most 8 KB each.

    It starts in Ultimax mode, so bank 0's ROMH must hold a reset vector at its end.
    """
    chips = []
    for (bank, load), data in sorted(banks.items()):
        if not 0 <= bank < BANKS or load not in (ROML, ROMH) or len(data) > BANK_SIZE:
            raise ValueError(f"crt: {len(data)} bytes in bank {bank} at ${load:04X}: "
                             f"{BANK_SIZE} at most, banks 0 to {BANKS - 1}, $8000 or $A000")
        chips.append(Chip(bank, load, data.ljust(BANK_SIZE, b"\xff")))
    if (0, ROMH) not in banks:
        raise ValueError("crt: no ROMH in bank 0: the reset vector must be there, at $1FFC")
    return Crt(EASYFLASH, 1, 0, name, tuple(chips))
