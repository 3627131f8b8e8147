"""`.d64` bytes <-> a 1541 diskette: its directory and its files, by PETSCII name.

35 tracks of 17 to 21 sectors of 256 bytes. Track 18 holds the block availability map (BAM) and
the directory; a file is a chain of sectors, each beginning with the track and sector of the next,
or with 0 and the index of the last byte used. Files lie 10 sectors apart and directory sectors 3,
as the 1541's own DOS writes them, which is what makes a real drive read them quickly.

Images of 40 tracks, and with one error byte a sector behind the data, are read too.

Source: Commodore 1541 User's Guide (1982), app. on disk formats; R. Immers, G. G. Neufeld,
Inside Commodore DOS (1984), ch. 4 and the order of allocation in ch. 9 (chapters unverified).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from anachron.emulators.mos6502 import petscii

SECTOR_SIZE = 256
DATA_SIZE = SECTOR_SIZE - 2
TRACKS = 35
SECTORS = (21,) * 17 + (19,) * 7 + (18,) * 6 + (17,) * 10  # of track 1, 2, ...; 36-40 in common use
FIRST_BLOCK = (0, *accumulate(SECTORS))  # blocks before a track
SIZES = {  # bytes of an image -> its tracks
    blocks * (SECTOR_SIZE + errors): tracks
    for tracks in (TRACKS, 40) for blocks in (FIRST_BLOCK[tracks],) for errors in (0, 1)
}
SIZE = FIRST_BLOCK[TRACKS] * SECTOR_SIZE
SIZE_LIMIT = max(SIZES)
DIRECTORY_TRACK = 18
FILE_INTERLEAVE, DIRECTORY_INTERLEAVE = 10, 3
NAME_LENGTH = 16
PAD = 0xA0  # shifted space: fills a name up
ENTRY_SIZE = 32
KINDS = ("DEL", "SEQ", "PRG", "USR", "REL")
CLOSED = 0x80


@dataclass(frozen=True)
class Entry:
    """A directory line; name in PETSCII, blocks as the directory claims."""

    name: bytes
    kind: str
    track: int
    sector: int
    blocks: int

    def __repr__(self) -> str:
        return f"{self.blocks:3} \"{petscii.decode(self.name)}\" {self.kind}"


@dataclass(frozen=True)
class D64:
    """A diskette of 35 or 40 tracks; errors in its links are found when they are followed."""

    data: bytes
    tracks: int
    where: str = "d64"

    def __repr__(self) -> str:
        return f"D64({petscii.decode(self.name)!r}, {self.tracks} tracks)"

    def sector(self, track: int, sector: int) -> bytes:
        """The 256 bytes of a sector; ValueError if the diskette has no such sector."""
        if not (1 <= track <= self.tracks and 0 <= sector < SECTORS[track - 1]):
            raise ValueError(f"{self.where}: a link to track {track}, sector {sector}: tracks are "
                             f"1 to {self.tracks}, sectors 0 to 16, 17, 18 or 20")
        start = (FIRST_BLOCK[track - 1] + sector) * SECTOR_SIZE
        return self.data[start:start + SECTOR_SIZE]

    def chain(self, track: int, sector: int) -> Iterator[bytes]:
        """The sectors from a first one on, to the last; ValueError if they run in a circle."""
        seen = set()
        while track:
            if (track, sector) in seen:
                raise ValueError(f"{self.where}: the chain comes back to track {track}, sector "
                                 f"{sector}: the diskette is damaged")
            seen.add((track, sector))
            block = self.sector(track, sector)
            yield block
            track, sector = block[0], block[1]

    @property
    def name(self) -> bytes:
        """The diskette's name in PETSCII."""
        return self.sector(DIRECTORY_TRACK, 0)[0x90:0xA0].rstrip(bytes([PAD]))

    @property
    def identity(self) -> bytes:
        """The two characters that the drive tells diskettes apart by, and the DOS version."""
        return self.sector(DIRECTORY_TRACK, 0)[0xA2:0xA7]

    def blocks_free(self) -> int:
        """What the BAM counts as free, the directory's track not included."""
        bam = self.sector(DIRECTORY_TRACK, 0)
        return sum(bam[4 * track] for track in range(1, TRACKS + 1) if track != DIRECTORY_TRACK)

    def entries(self) -> tuple[Entry, ...]:
        """The directory, scratched and unclosed files left out, in its order."""
        found = []
        for block in self.chain(DIRECTORY_TRACK, 1):
            for at in range(0, SECTOR_SIZE, ENTRY_SIZE):
                line = block[at:at + ENTRY_SIZE]
                if line[2] & CLOSED and line[2] & 7 < len(KINDS):
                    name = line[5:5 + NAME_LENGTH].split(bytes([PAD]), 1)[0]
                    found.append(Entry(name, KINDS[line[2] & 7], line[3], line[4],
                                       line[30] | line[31] << 8))
        return tuple(found)

    def find(self, name: str | bytes) -> Entry:
        """The first program whose name fits; `*` ends the comparison and `?` fits any character.

        Raises ValueError, with the names there are, if none does.
        """
        pattern = petscii.encode(name) if isinstance(name, str) else name
        pattern = pattern.split(b":", 1)[-1].split(b",", 1)[0]
        entries = self.entries()
        for entry in entries:
            if entry.kind == "PRG" and fits(entry.name, pattern):
                return entry
        names = ", ".join(petscii.decode(entry.name) for entry in entries[:20]) or "nothing"
        raise ValueError(f"{self.where}: no program \"{petscii.decode(pattern)}\" on it: "
                         f"there is {names}")

    def read(self, name: str | bytes = "*") -> bytes:
        """The bytes of a program, load address first."""
        return self.read_entry(self.find(name))

    def read_entry(self, entry: Entry) -> bytes:
        """The bytes of a file of the directory."""
        return b"".join(block[2:] if block[0] else block[2:block[1] + 1]
                        for block in self.chain(entry.track, entry.sector))


def fits(name: bytes, pattern: bytes) -> bool:
    """Whether a file's name fits a pattern of the 1541.

    >>> fits(b"HELLO", b"H?L*"), fits(b"HELLO", b"HELL")
    (True, False)
    """
    for at, code in enumerate(pattern[:NAME_LENGTH]):
        if code == 0x2A:
            return True
        if at >= len(name) or (code != 0x3F and code != name[at]):
            return False
    return len(name) == len(pattern[:NAME_LENGTH])


def parse(data: bytes, where: str = "d64") -> D64:
    """Check the size of an image; ValueError unless it is one of SIZES."""
    tracks = SIZES.get(len(data))
    if tracks is None:
        raise ValueError(f"{where}: {len(data)} bytes: a .d64 has "
                         f"{', '.join(map(str, sorted(SIZES)))}: the file is damaged or cut short")
    return D64(data, tracks, where)


def pack(files: Sequence[tuple[str | bytes, bytes]], name: str | bytes = "ANACHRON",
         identity: str | bytes = "64") -> bytes:
    """A 35-track diskette of programs, in the directory's order.

    files   (name, bytes with the load address first); 16 PETSCII characters at most, all different
    Raises ValueError for a wrong name and for more than fits: 664 blocks of 254 bytes, 144 files.
    """
    return bytes(_Diskette(files, _petscii(name, NAME_LENGTH), _petscii(identity, 2)).data)


def _petscii(name: str | bytes, length: int) -> bytes:
    """A name that the drive can find again, or ValueError."""
    code = petscii.encode(name) if isinstance(name, str) else bytes(name)
    if not 1 <= len(code) <= length or set(code) & {0, 0x0D, 0x22, 0x2A, 0x2C, 0x3A, 0x3F, PAD}:
        raise ValueError(f"d64: name {name!r}: 1 to {length} characters allowed, "
                         "none of them * ? : , \" or a shifted space")
    return code


class _Diskette:
    """A diskette being written: its sectors, and which are free."""

    def __init__(self, files: Sequence[tuple[str | bytes, bytes]], name: bytes,
                 identity: bytes) -> None:
        self.data = bytearray(SIZE)
        self.free = [set(range(SECTORS[track])) for track in range(TRACKS)]
        self.take(DIRECTORY_TRACK, 0)
        lines = [self.write_file(_petscii(title, NAME_LENGTH), content)
                 for title, content in files]
        names = [line[5:5 + NAME_LENGTH] for line in lines]
        for title in names:
            if names.count(title) > 1:
                raise ValueError(f"d64: two files named \"{petscii.decode(title).strip()}\": "
                                 "give each its own name")
        self.write_directory(lines)
        self.write_bam(name, identity)

    def take(self, track: int, sector: int) -> tuple[int, int]:
        self.free[track - 1].remove(sector)
        return track, sector

    def put(self, track: int, sector: int, content: bytes) -> None:
        start = (FIRST_BLOCK[track - 1] + sector) * SECTOR_SIZE
        self.data[start:start + len(content)] = content

    def first_block(self) -> tuple[int, int]:
        """Where DOS begins a file: the free track nearest to the directory's, below first."""
        for distance in range(1, TRACKS):
            for track in (DIRECTORY_TRACK - distance, DIRECTORY_TRACK + distance):
                if 1 <= track <= TRACKS and self.free[track - 1]:
                    return self.take(track, min(self.free[track - 1]))
        raise ValueError("d64: the files need more than the 664 blocks of a diskette: leave some "
                         "out, or make them smaller")

    def next_block(self, track: int, sector: int, interleave: int) -> tuple[int, int]:
        """Where DOS goes on: an interleave further, away from the directory, then beyond it."""
        step = 1 if track > DIRECTORY_TRACK else -1
        while not self.free[track - 1]:
            if track == DIRECTORY_TRACK:
                raise ValueError("d64: more than 144 files: leave some out")
            track += step
            if not 1 <= track <= TRACKS:
                return self.first_block()
        count = SECTORS[track - 1]
        sector += interleave
        if sector >= count:
            sector -= count
            sector -= sector > 0
        free = self.free[track - 1]
        return self.take(track, min((s for s in free if s >= sector), default=min(free)))

    def write_file(self, name: bytes, content: bytes) -> bytes:
        """Write a file's sectors; returns its line for the directory."""
        pieces = [content[at:at + DATA_SIZE] for at in range(0, len(content), DATA_SIZE)] or [b""]
        first = place = self.first_block()
        for piece in pieces[:-1]:
            following = self.next_block(*place, FILE_INTERLEAVE)
            self.put(*place, bytes(following) + piece)
            place = following
        self.put(*place, bytes([0, len(pieces[-1]) + 1]) + pieces[-1])
        kind = CLOSED | KINDS.index("PRG")
        return (bytes([0, 0, kind, *first]) + name.ljust(NAME_LENGTH, bytes([PAD])) + bytes(9)
                + len(pieces).to_bytes(2, "little"))

    def write_directory(self, lines: Sequence[bytes]) -> None:
        """Write the directory's sectors, eight lines each."""
        place = self.take(DIRECTORY_TRACK, 1)
        for at in range(0, max(len(lines), 1), 8):
            block = b"".join(lines[at:at + 8])
            following = (0, 0xFF)
            if at + 8 < len(lines):
                following = self.next_block(*place, DIRECTORY_INTERLEAVE)
            self.put(*place, block)
            self.put(*place, bytes(following))
            place = following

    def write_bam(self, name: bytes, identity: bytes) -> None:
        """Write track 18, sector 0: what is free, and the diskette's name."""
        bits = b"".join(
            bytes([len(free)]) + sum(1 << sector for sector in free).to_bytes(3, "little")
            for free in self.free)
        pad = bytes([PAD])
        title = name.ljust(18, pad) + identity.ljust(2, pad) + pad + b"2A" + 4 * pad
        self.put(DIRECTORY_TRACK, 0, bytes([DIRECTORY_TRACK, 1, 0x41, 0]) + bits + title)
