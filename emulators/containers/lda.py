"""`.lda` bytes <-> blocks of memory and a start address: DEC's absolute loader paper tape.

A block is 1, 0, its length and its address (words, low byte first), its bytes and a checksum that
makes the sum of all of them 0 modulo 256; the length counts all but the checksum. Blank tape lies
before and between the blocks. A block without bytes ends the tape: its address is where to
start, or odd, and then the loader halts.

Source: DEC, Paper-Tape Software Programming Handbook DEC-11-XPTSA (1974), section 6.2, the
absolute loader; chapter and section numbers unverified.
"""

from collections.abc import Sequence
from dataclasses import dataclass

HEADER_SIZE = 6
ADDRESS_SPACE = 0o200000
BLOCK_BYTES = 0o1000  # of data a block, as we punch it: a reading error is found soon
LEADER = bytes(32)
SIZE_LIMIT = 1 << 20


@dataclass(frozen=True)
class Lda:
    """Blocks (address, bytes) in the tape's order; start is None where the loader halts."""

    blocks: tuple[tuple[int, bytes], ...]
    start: int | None

    def __repr__(self) -> str:
        size = sum(len(data) for _, data in self.blocks)
        go = "halt" if self.start is None else f"start {self.start:06o}"
        return f"Lda({len(self.blocks)} blocks, {size} bytes, {go})"


def parse(data: bytes, where: str = "lda") -> Lda:
    """Read a tape; ValueError for a wrong checksum, a block cut short, or one outside memory.

    Bytes that are not 1 between blocks are skipped, as the loader does; what follows the block
    that ends the tape is not looked at.
    """
    blocks: list[tuple[int, bytes]] = []
    at = data.find(1)
    while at >= 0:
        here = f"{where}: block at byte {at}"
        header = data[at:at + HEADER_SIZE]
        if len(header) < HEADER_SIZE:
            raise ValueError(f"{here}: the tape ends inside the header")
        size = header[2] | header[3] << 8
        address = header[4] | header[5] << 8
        block = data[at:at + size + 1]
        if header[1] != 0 or size < HEADER_SIZE:
            raise ValueError(f"{here}: begins {header.hex(' ')}: 01 00 and then a length of at "
                             f"least {HEADER_SIZE} expected")
        if len(block) < size + 1:
            raise ValueError(f"{here}: {size + 1} bytes long, but only {len(block)} are left")
        if sum(block) & 0xFF:
            raise ValueError(f"{here}: checksum {block[-1]:03o}, should be "
                             f"{-sum(block[:-1]) & 0xFF:03o}: the tape is damaged")
        if size == HEADER_SIZE:
            return Lda(tuple(blocks), None if address & 1 else address)
        if address + size - HEADER_SIZE > ADDRESS_SPACE:
            raise ValueError(f"{here}: {size - HEADER_SIZE} bytes from {address:06o} "
                             "run past 177777")
        blocks.append((address, block[HEADER_SIZE:-1]))
        at = data.find(1, at + size + 1)
    if not blocks:
        raise ValueError(f"{where}: no block in it: not an absolute loader tape")
    return Lda(tuple(blocks), None)


def pack(pieces: Sequence[tuple[int, bytes]], start: int | None) -> bytes:
    """Punch pieces of memory (address, bytes), and the block that starts the program.

    start  an even address, or None for a loader that halts when it has read the tape
    """
    if start is not None and (start & 1 or not 0 <= start < ADDRESS_SPACE):
        raise ValueError(f"lda: start {start:o}: an even address below 200000 (octal) allowed")
    tape = bytearray(LEADER)
    for address, data in pieces:
        if not 0 <= address <= ADDRESS_SPACE - len(data):
            raise ValueError(f"lda: {len(data)} bytes at {address:o} run past 177777 (octal)")
        for offset in range(0, len(data), BLOCK_BYTES):
            tape += _block(address + offset, data[offset:offset + BLOCK_BYTES])
    tape += _block(1 if start is None else start, b"")
    return bytes(tape + LEADER)


def _block(address: int, data: bytes) -> bytes:
    size = HEADER_SIZE + len(data)
    block = b"\1\0" + size.to_bytes(2, "little") + address.to_bytes(2, "little") + data
    return block + bytes([-sum(block) & 0xFF])
