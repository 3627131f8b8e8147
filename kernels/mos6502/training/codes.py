"""Numbers as bytes, and the tables in which their products stand.

A magnitude is half of a code of kernels/reference/log_tables.py: LEAST to LARGEST for a linear
integer that is not 0.  The byte of such an integer is twice its magnitude less ORIGIN, plus 1 where
it is negative; the byte of 0 is 0.  A byte goes into an index register.  The other factor, with the
op's constant, is an address: that of a byte of 0 in a table of products

    table + 2 * (magnitude + constant + ORIGIN - first) + byte

where even places hold products and odd ones their negatives; a factor that is negative itself has a
table with both exchanged.  The byte of 0 would find a product that is not 0 behind the largest
addresses: these are addresses of copies of the table in which that place holds 0.  Two such places
in a copy must not differ by what lies between 0 and another magnitude; `colour` sees to it.

There are two tables of each kind, of halves of the products modulo 256 and modulo 255, as many
pages apart as `Tables.pages`.

To add a kind of factor: its magnitudes and its constant to `Tables`, and `addresses` for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from anachron.kernels.reference.log_gradients import LOSS_OCTAVES, MOST_SPREAD, NEGLIGIBLE
from anachron.kernels.reference.log_model import softmax_octaves
from anachron.kernels.reference.log_tables import exponential, magnitude_code, octaves

ORIGIN = 6
LEAST, LARGEST = magnitude_code(2) // 2, magnitude_code(4096) // 2
ZERO = -80  # the magnitude that the reference gives 0
SHARES = 200  # the byte of a probability is its magnitude and this
INDEXES = 4096  # halves of what a code looks at
LIMIT = 32639  # of sums of halves of products: residues modulo 255 * 256 tell them apart
MAGNITUDES = sorted({magnitude_code(b) // 2 for b in range(2, 4098, 2)})
HALF = octaves(-12) // 2  # the usual constant
PAGE = 256
LEAD = 112  # bytes before the main table: usual factors' addresses then begin a page; measured


def byte(half: int) -> int:
    """The byte of half a linear integer, which counts modulo INDEXES.

    >>> byte(0), byte(1), byte(-1), byte(2047), byte(-2048), byte(4096 + 1)
    (0, 10, 11, 254, 255, 10)
    """
    signed = (half + INDEXES // 2) % INDEXES - INDEXES // 2
    magnitude = magnitude_code(2 * abs(signed)) // 2
    return 2 * (magnitude - ORIGIN) + (signed < 0) if signed else 0


def half_product(k: int) -> int:
    """Half the product of two factors whose magnitudes and constant sum to k."""
    return exponential(2 * k) // 2


def colour(places: Iterable[int]) -> dict[int, int]:
    """Place -> the copy, from 1 on, that holds 0 there."""
    steps = {magnitude - ORIGIN for magnitude in MAGNITUDES}
    copies: list[list[int]] = []
    for place in sorted(places):
        for copy in copies:
            if not any(place - other in steps for other in copy):
                copy.append(place)
                break
        else:
            copies.append([place])
    return {place: number for number, copy in enumerate(copies, 1) for place in copy}


@dataclass(frozen=True)
class Tables:
    """The tables of products for factors whose magnitudes and constants reach from where to where.

    most  the largest sum of a factor's magnitude and its constant
    """

    most: int

    first = ORIGIN - LARGEST - 1  # of the main table: a factor's products are all 0

    @cached_property
    def colours(self) -> dict[int, int]:
        return colour(range(self.most + ORIGIN + 1))

    @cached_property
    def copies(self) -> int:
        return max(self.colours.values(), default=0)

    @cached_property
    def parts(self) -> list[list[int]]:
        """Of the main table and of each copy, positive and negative: halves of products."""
        tops = [LARGEST - ORIGIN - 1] + [self.most + LARGEST] * self.copies
        parts = []
        for number, top in enumerate(tops):
            for sign in (1, -1):
                row: list[int] = []
                for k in range(self._first(number), top + 1):
                    h = half_product(k) * sign
                    row += [0 if number and self.colours.get(k) == number else h, -h]
                parts.append(row)
        return parts

    def _first(self, number: int) -> int:
        return 0 if number else self.first

    @cached_property
    def starts(self) -> list[int]:
        """Where each part begins; the main table so that few reads go across a page."""
        starts, at = [], LEAD
        for part in self.parts:
            starts.append(at)
            at += len(part) if starts[1:] else -(-len(part) // PAGE) * PAGE
        return starts

    @property
    def size(self) -> int:
        return self.starts[-1] + len(self.parts[-1])

    @property
    def pages(self) -> int:
        return -(-self.size // PAGE)

    def content(self, modulus: int) -> bytes:
        """The halves modulo 256 or 255, filled up to whole pages."""
        data = bytearray(PAGE * self.pages)
        for start, part in zip(self.starts, self.parts, strict=True):
            data[start : start + len(part)] = bytes(h % modulus for h in part)
        return bytes(data)

    def address(self, magnitude: int | None, negative: bool = False) -> int:
        """The offset of a factor with its constant; of 0 if it is None."""
        lowest = self.first - ORIGIN
        magnitude = lowest if magnitude is None else max(lowest, magnitude)
        number = self.colours.get(magnitude + ORIGIN, 0)
        start = self.starts[2 * number + negative]
        return start + 2 * (magnitude + ORIGIN - self._first(number))


@dataclass(frozen=True)
class Factor:
    """A kind of factor: a byte stands for a magnitude, with a sign or without, or for 0."""

    magnitudes: tuple[int | None, ...]  # of the 256 bytes, the op's constant among them
    negative: tuple[bool, ...]

    def addresses(self, tables: Tables) -> list[int]:
        pairs = zip(self.magnitudes, self.negative, strict=True)
        return [tables.address(magnitude, sign) for magnitude, sign in pairs]


def coded(constant: int) -> Factor:
    """Bytes of linear integers."""
    magnitudes = tuple((b >> 1) + ORIGIN + constant if b else None for b in range(256))
    return Factor(magnitudes, tuple(bool(b & 1) for b in range(256)))


def shares(constant: int) -> Factor:
    """Bytes of probabilities."""
    return Factor(tuple(b - SHARES + constant for b in range(256)), (False,) * 256)


def gradients(constant: int) -> Factor:
    """Bytes of the logits' gradients: those of probabilities, and the lacks among what is left."""
    octave = octaves(LOSS_OCTAVES) // 2
    found = {b: (b - SHARES + octave + constant, False) for b in range(SILENT_BYTE + 1, SHARES + 1)}
    found |= {b: (magnitude + constant, True) for magnitude, b in LACKS.items()}
    rows = [found.get(b, (None, False)) for b in range(256)]
    return Factor(tuple(m for m, _ in rows), tuple(sign for _, sign in rows))


def _lack_bytes() -> dict[int, int]:
    """Magnitude of a lack -> a byte that no probability with a product has."""
    least = NEGLIGIBLE + 2
    magnitudes = sorted({magnitude_code(b) // 2 for b in range(least, 4098, 2)})
    free = [*range(SHARES + 1, 256), *range(1, 256)]  # 0 is none
    return dict(zip(magnitudes, free, strict=False))


LACKS = _lack_bytes()
SILENT_BYTE = max(b for b in LACKS.values() if b < SHARES) + 1  # and below: no gradient


def lack_byte(share: int) -> int:
    """The byte of what a target lacks, from its probability's byte; 0 where that is negligible."""
    octave = octaves(LOSS_OCTAVES)
    lack = min(0, exponential(2 * (share - SHARES) + octave) - (1 << LOSS_OCTAVES))
    return LACKS[magnitude_code(-lack) // 2] if lack < -NEGLIGIBLE else 0


def slope_codes(top: int, most: int) -> bytes:
    """The byte of a score's gradient by the sum of its factors' magnitudes, as in a main table.

    top   the largest sum
    most  where the gradient is clipped
    """
    codes = []
    for k in range(Tables.first, top + 1):
        h = half_product(k)
        codes += [byte(min(h, most >> 1)), byte(max(-h, -most >> 1))]
    return bytes(codes)


def exponentials(entries: int) -> list[int]:
    """A softmax's terms by the distance from the largest logit in quarters of a step of Q6."""
    top = octaves(softmax_octaves(entries))
    return [exponential(top - 2 * e) for e in range(129)]


SPREAD = MOST_SPREAD // 2


def code_pages() -> bytes:
    """The bytes by half a linear integer modulo INDEXES; behind them the page of the residue that
    two high bytes share: 127 where the low byte is below 128, else -128."""
    data = bytes(byte(half) for half in range(INDEXES))
    return data + data[0xF00:0xF80] + data[0x080:0x100]


def byte_words(numbers: Sequence[int]) -> tuple[bytes, bytes]:
    """Words as low and high bytes."""
    return bytes(n & 255 for n in numbers), bytes(n >> 8 & 255 for n in numbers)
