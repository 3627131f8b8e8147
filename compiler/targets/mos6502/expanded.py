"""What lies in the RAM Expansion Unit: contents that are loaded, and room that a run fills.

The allocator knows the one rule of the unit: no transfer crosses a block.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from anachron.compiler.memory import Placed
from anachron.compiler.targets import DoesNotFit
from anachron.emulators.containers import reu
from anachron.kernels.mos6502.expansion import BLOCK, SIGNATURE_BYTES
from anachron.kernels.mos6502.runtime import KERNAL_PAGE

KERNAL_BYTES = 256 - KERNAL_PAGE
LEAST_SIZE = 512 * 1024  # Commodore's 1750


@dataclass
class Expansion:
    """The unit's memory while a program is laid out in it.

    keep  where the KERNAL's zero page is kept while it is used for other things
    """

    placed: list[Placed] = field(default_factory=list)
    contents: dict[int, bytes] = field(default_factory=dict)
    keep: int = SIGNATURE_BYTES
    end: int = SIGNATURE_BYTES + KERNAL_BYTES
    _known: dict[bytes, int] = field(default_factory=dict)

    def reserve(self, name: str, size: int, kind: str, align: int = 1) -> int:
        """The address of so many bytes inside a block, a multiple of align."""
        if size > BLOCK:
            raise DoesNotFit(
                f"{name}: {size:,} bytes in one piece, {size - BLOCK:,} more than the {BLOCK:,} of "
                f"an expansion's block: use a smaller seq_len",
                size - BLOCK,
            )
        self.end = -(-self.end // align) * align
        if self.end % BLOCK + size > BLOCK:
            self.end = -(-self.end // BLOCK) * BLOCK
        address = self.end
        self.placed.append(Placed(name, address, size, kind))
        self.end += size
        return address

    def place(self, name: str, content: bytes, kind: str) -> int:
        """The address of contents inside a block; the same contents lie there once."""
        address = self._known.get(content)
        if address is None:
            address = self._known[content] = self.reserve(name, len(content), kind)
            self.contents[address] = content
        return address

    def place_rows(self, name: str, rows: list[bytes], kind: str) -> list[tuple[int, int]]:
        """(address, how many) of rows of one length, in as many pieces as blocks ask for."""
        most = BLOCK // len(rows[0])
        if len(rows) <= most:
            return [(self.place(name, b"".join(rows), kind), len(rows))]
        pieces = []
        for at in range(0, len(rows), most):
            content = b"".join(rows[at : at + most])
            address = self.reserve(name, len(content), kind)
            self.contents[address] = content
            pieces.append((address, len(rows[at : at + most])))
        return pieces

    @property
    def signature(self) -> bytes:
        """What tells these contents from others."""
        digest = hashlib.sha256()
        for address, content in sorted(self.contents.items()):
            digest.update(address.to_bytes(4, "little") + content)
        return digest.digest()[:SIGNATURE_BYTES]

    @property
    def loaded(self) -> int:
        """Bytes of contents."""
        return sum(len(content) for content in self.contents.values()) + SIGNATURE_BYTES

    def image(self, title: str) -> bytes:
        """The unit's contents, as large as the unit; DoesNotFit beyond the largest there is."""
        if self.end > reu.SIZE_LIMIT:
            over = self.end - reu.SIZE_LIMIT
            raise DoesNotFit(
                f"{title} needs {self.end:,} bytes of expansion, {over:,} more than the largest "
                f"has: use a smaller seq_len",
                over,
            )
        data = bytearray(max(self.end, LEAST_SIZE))
        data[:SIGNATURE_BYTES] = self.signature
        for address, content in self.contents.items():
            data[address : address + len(content)] = content
        return reu.pack(bytes(data))
