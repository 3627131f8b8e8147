"""What lies in a cartridge's banks besides the program: weights, read where they are.

A bank is 64 pages, seen at $8000; nothing lies in two banks.  Addresses of what is placed are
bank * 65536 + the address in the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from anachron.compiler.memory import Placed
from anachron.compiler.targets import DoesNotFit
from anachron.emulators.containers import crt
from anachron.kernels.mos6502.banks import BANK_BITS, CONSTANTS, WINDOW

PAGE = 256
BANK_BYTES = 1 << BANK_BITS
BANK_PAGES = BANK_BYTES // PAGE
BOOT_PAGES = crt.BANK_SIZE // PAGE  # ROMH of bank 0


class Spot(NamedTuple):
    """A place in the ROM: the bank, and the address in the window."""

    bank: int
    address: int


@dataclass
class Rom:
    """The banks while contents are laid out in them.

    spots  label -> where that lies which the program calls by it
    constants_bank  the bank of what the loop that talks reads
    """

    placed: list[Placed] = field(default_factory=list)
    spots: dict[str, Spot] = field(default_factory=dict)
    constants_bank: int = 0
    _contents: dict[Spot, bytes] = field(default_factory=dict)
    _pages: list[int] = field(default_factory=list)  # bank -> bits, set where a page is used

    def place(self, name: str, content: bytes, kind: str) -> Spot:
        """Contents of one bank at most, from the start of a page, where there is room first."""
        return self.place_alike([name], [content], kind)[0]

    def replace(self, spot: Spot, content: bytes) -> None:
        """Other contents, as long, at a place."""
        assert len(content) == len(self._contents[spot])
        self._contents[spot] = content

    def place_alike(
        self, names: Sequence[str], contents: Sequence[bytes], kind: str
    ) -> list[Spot]:
        """Contents in different banks at the same address, so that one code reads them all."""
        sizes = [-(-len(content) // PAGE) for content in contents]
        most = max(sizes)
        if most > BANK_PAGES:
            over = (most - BANK_PAGES) * PAGE
            raise DoesNotFit(
                f"{names[0]}: {most * PAGE:,} bytes in one piece, {over:,} more than a bank's "
                f"{BANK_BYTES:,}",
                over,
            )
        tried = [(self._find(sizes, start), start) for start in range(BANK_PAGES - most + 1)]
        banks, start = min(tried, key=lambda way: (way[0][-1], way[0], way[1]))
        spots = [Spot(bank, WINDOW + start * PAGE) for bank in banks]
        for spot, name, content in zip(spots, names, contents, strict=True):
            self._put(spot, name, content, kind)
        return spots

    def place_in(self, bank: int, label: str, name: str, content: bytes, kind: str) -> bool:
        """Contents with a label in a bank, if there is room."""
        size = -(-len(content) // PAGE)
        for start in range(BANK_PAGES - size + 1):
            if not self._used(bank) & _bits(start, size):
                self.spots[label] = Spot(bank, WINDOW + start * PAGE)
                self._put(self.spots[label], name, content, kind)
                return True
        return False

    def place_rows(self, name: str, rows: Sequence[bytes], kind: str) -> list[tuple[Spot, int]]:
        """(place, how many) of rows of one length, as many in a bank as it holds."""
        most = BANK_BYTES // len(rows[0])
        parts = [rows[at : at + most] for at in range(0, len(rows), most)]
        return [(self.place(name, b"".join(part), kind), len(part)) for part in parts]

    def place_banks(self, name: str, content: bytes, kind: str) -> int:
        """The first of consecutive banks with contents of any size."""
        bank = next(b for b in range(len(self._pages) + 2) if b and not any(self._pages[b:]))
        for number, at in enumerate(range(0, len(content), BANK_BYTES)):
            part = content[at : at + BANK_BYTES]
            self._put(Spot(bank + number, WINDOW), name, part, kind)
        return bank

    def _find(self, sizes: Sequence[int], start: int) -> list[int]:
        """A bank for each of some contents, from so many pages on."""
        found: list[int] = []
        bank = 0
        for size in sizes:
            while self._used(bank) & _bits(start, size):
                bank += 1
            found.append(bank)
            bank += 1
        return found

    def _used(self, bank: int) -> int:
        while bank >= len(self._pages):
            boot = _bits(BANK_PAGES - BOOT_PAGES, BOOT_PAGES) if not self._pages else 0
            self._pages.append(boot)
        return self._pages[bank]

    def _put(self, spot: Spot, name: str, content: bytes, kind: str) -> None:
        size = -(-len(content) // PAGE)
        self._pages[spot.bank] = self._used(spot.bank) | _bits(
            (spot.address - WINDOW) // PAGE, size
        )
        self._contents[spot] = content
        self.placed.append(Placed(name, spot.bank << 16 | spot.address, len(content), kind))

    def check(self, title: str) -> None:
        """Raise DoesNotFit where the cartridge has not so many banks."""
        n_banks = max((spot.bank for spot in self._contents), default=-1) + 1
        if n_banks > crt.BANKS:
            over = (n_banks - crt.BANKS) * BANK_BYTES
            raise DoesNotFit(
                f"{title} needs {n_banks} banks of ROM for its weights, an EasyFlash has "
                f"{crt.BANKS}: {over:,} bytes too many",
                over,
            )

    @property
    def banks(self) -> dict[tuple[int, int], bytes]:
        """(bank, ROML or ROMH) -> its bytes."""
        whole: dict[int, bytearray] = {}
        for (bank, address), content in self._contents.items():
            data = whole.setdefault(bank, bytearray(b"\xff" * BANK_BYTES))
            data[address - WINDOW : address - WINDOW + len(content)] = content
        half, halves = crt.BANK_SIZE, {}
        for bank, data in whole.items():
            for place, part in ((crt.ROML, data[:half]), (crt.ROMH, data[half:])):
                if any(byte != 0xFF for byte in part):
                    halves[bank, place] = bytes(part)
        return halves

    def definitions(self) -> str:
        """The labels, as assembly text."""
        words = [f"{label} = ${spot.address:04x}" for label, spot in self.spots.items()]
        return "\n".join([*words, f"{CONSTANTS} = {self.constants_bank}"])


def _bits(start: int, size: int) -> int:
    """Pages `start` .. `start + size - 1`."""
    return ((1 << size) - 1) << start
