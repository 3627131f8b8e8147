"""`.reu` bytes <-> the contents of a RAM Expansion Unit: its bytes and nothing else.

The file's size is the unit's. Commodore made 128 KB (1700), 256 KB (1764) and 512 KB (1750);
emulators and later boards go on to 16 MB, always a power of two.
"""

from dataclasses import dataclass

SIZES = tuple(128 * 1024 << n for n in range(8))
SIZE_LIMIT = SIZES[-1]


@dataclass(frozen=True)
class Reu:
    """The whole contents; len(data) is one of SIZES."""

    data: bytes

    def __repr__(self) -> str:
        return f"Reu({len(self.data) // 1024} KB)"


def parse(data: bytes, where: str = "reu") -> Reu:
    """Check the size of an expansion's image; ValueError unless it is one of SIZES."""
    if len(data) not in SIZES:
        raise ValueError(f"{where}: {len(data)} bytes: a .reu has 128, 256, 512, 1024, 2048, 4096, "
                         "8192 or 16384 KB: fill it up with zeros")
    return Reu(data)


def pack(data: bytes, size: int | None = None) -> bytes:
    """data filled up with zeros to size, or to the smallest unit that holds it.

    >>> len(pack(b"weights")) // 1024
    128
    """
    sizes = SIZES if size is None else (size,) if size in SIZES else ()
    fit = next((s for s in sizes if s >= len(data)), None)
    if fit is None:
        raise ValueError(f"reu: {len(data)} bytes in a unit of "
                         f"{'at most ' + str(SIZE_LIMIT) if size is None else size} bytes: "
                         "128 KB to 16 MB allowed, in powers of two, and at least the data's size")
    return data.ljust(fit, b"\0")
