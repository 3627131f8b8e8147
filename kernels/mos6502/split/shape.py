"""What the code of an attention depends on that keeps two bytes a number, and where they lie.

A number is 256 h + l.  Its high byte is kept as h + 128, its top bit flipped, or a value's with as
much more as makes it 0 or more, its low byte as it is: of both 0 .. 255, so that a sum of products
with either goes through one table of t (moduli.py).
A key's feature is an array over (head, position) for each byte; a value is an array over features,
the high bytes of all, then the low ones, at a power of two from one position's to the next's, so
that several layers may share a row.  With them go the sums of t that every product has too much,
negative: of a key's head, arrays over (head, position); of the values, running, a row a modulus.

Two bytes a number are what the general kernel keeps, too; residues for each modulus would be nine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from anachron.kernels.mos6502.residue.levels import MIDDLE, WIDER, small_basis
from anachron.kernels.mos6502.residue.moduli import STEP

PAGE = 256
PARTS = ("high", "low")
MOST_WEIGHT = 255
FLIP = 128  # what is added to a byte before it is kept
SHIFTS = range(16, 25)  # of scores: their first 16 bits are not kept
UNIT = 256  # of a query's length
MOST_UNITS = -WIDER.lowest // (UNIT * FLIP)  # with which three chains do
USUAL, SPREAD = 4600, 0.2  # of a query's elements, and of their sum: measured on trained models


@dataclass(frozen=True)
class Shape:
    """What an attention's code is made for.

    heads    of queries                  kv_heads  of keys and values
    n_rows   positions that may be seen  causal    or all of them are
    small    the modulus beside 256, 255 and 253, if its tables are there
    four     it follows where three do not tell scores apart; else products do such rows
    caches   attentions that share the code, one cache each
    value_bits  of the values, their sign counted: 9 to 16
    """

    name: str
    heads: int
    kv_heads: int
    head_size: int
    n_rows: int
    small: int | None
    four: bool
    causal: bool
    caches: int
    value_bits: int = 16

    @property
    def size(self) -> int:
        """Features of a query and of a result."""
        return self.heads * self.head_size

    @property
    def kv_size(self) -> int:
        return self.kv_heads * self.head_size

    @property
    def moduli(self) -> tuple[int, ...]:
        """Of scores: a fourth only where three do not do."""
        return (256, 255, MIDDLE, *([self.small] if self.four and self.small else []))

    @property
    def third(self) -> int:
        """The small modulus in sums of weighted values, too, or 253 where that tells too few."""
        if self.small is None:
            return MIDDLE
        middle = STEP * (self.small // 2)
        most = MOST_WEIGHT * 255 * self.n_rows - middle
        return self.small if small_basis(self.small).holds(-middle, most) else MIDDLE

    @property
    def mixed(self) -> tuple[int, ...]:
        """Of the sums of weighted values."""
        return (256, 255, self.third)

    # ---- keys

    @property
    def key_stride(self) -> int:
        return self.kv_heads * self.n_rows

    def _key(self, number: int) -> tuple[int, float]:
        """Where an array of keys lies, and how often a read of it crosses a page, roughly."""
        stride = self.key_stride
        if self.four and _pages(self.key_arrays, stride) <= self.key_arrays * stride // PAGE + 1:
            in_page = PAGE // stride
            return number // in_page * PAGE + number % in_page * stride, 0.0
        offset = number * stride
        seen = max(1, round(self.n_rows * (0.6 if self.causal else 1)))
        reads = [h * self.n_rows + r for h in range(self.kv_heads) for r in range(seen)]
        return offset, sum(offset % PAGE + x >= PAGE for x in reads) / len(reads)

    @property
    def key_arrays(self) -> int:
        return 2 * (self.head_size + len(self.moduli))

    @property
    def key_bytes(self) -> int:
        return self._key(self.key_arrays - 1)[0] + self.key_stride

    def key(self, part: int, feature: int) -> str:
        """The address of the array of a feature of all heads' keys."""
        return f"{self.name}_cache+{self._key(part * self.head_size + feature)[0]}"

    def key_sums(self, part: int, modulus: int) -> str:
        """The address of the array of what a score's chain starts from."""
        return f"{self.name}_cache+{self._key(self._sums(part, modulus))[0]}"

    def _sums(self, part: int, modulus: int) -> int:
        kinds = len(self.moduli)
        return 2 * self.head_size + part * kinds + self.moduli.index(modulus)

    def read_key(self, part: int, feature: int) -> str:
        """The same with X, and the claim of its time."""
        where = self._key(part * self.head_size + feature)
        return f"{self.key(part, feature)},x    {_claim(where)}"

    def read_key_sums(self, part: int, modulus: int) -> str:
        where = self._key(self._sums(part, modulus))
        return f"{self.key_sums(part, modulus)},x    {_claim(where)}"

    # ---- values

    @property
    def flipped(self) -> int:
        """What is added to a value's high byte."""
        return 1 << self.value_bits - 9

    @property
    def narrow_sum(self) -> int:
        """The largest sum of weights with which 256 and 255 tell sums of high bytes; 0: it is
        rarely so small."""
        most = (STEP - 1) // (2 * self.flipped - 1)
        return most if most >= MOST_WEIGHT * self.n_rows // 2 else 0

    @property
    def flip(self) -> str:
        """Add it to A."""
        return "    eor #$80" if self.value_bits == 16 else f"    clc\n    adc #{self.flipped}"

    @property
    def unflip(self) -> str:
        """Take it off."""
        return "    eor #$80" if self.value_bits == 16 else f"    sec\n    sbc #{self.flipped}"

    @property
    def sharing(self) -> int:
        """Caches in a row of values."""
        return self.caches if 2 * self.kv_size * self.caches <= PAGE else 1

    @property
    def apart(self) -> bool:
        """Values do not lie in one area for all caches."""
        return self.sharing < self.caches

    @property
    def value_stride(self) -> int:
        return 1 << (2 * self.kv_size * self.sharing - 1).bit_length()

    @property
    def value_bytes(self) -> int:
        return (self.n_rows + len(self.mixed)) * self.value_stride

    def value(self, row: int) -> str:
        """The address of a position's values; after the last one's, the sums by modulus."""
        if self.apart:
            first = -(-self.key_bytes // PAGE) * PAGE
            return f"{self.name}_cache+{first + row * self.value_stride}"
        return f"{self.name}_values+{row * self.value_stride}"

    def value_sums(self, modulus: int) -> str:
        return self.value(self.n_rows + self.mixed.index(modulus))

    def first_value(self, cache: int) -> int:
        """Where a cache's values begin in a row."""
        return 0 if self.apart else 2 * self.kv_size * cache

    @property
    def cache_bytes(self) -> int:
        if self.apart:
            return -(-self.key_bytes // PAGE) * PAGE + self.value_bytes
        return self.key_bytes

    @property
    def cache_pages(self) -> int:
        return -(-self.cache_bytes // PAGE)

    @property
    def middle(self) -> int:
        """What is taken off a sum of weighted bytes, so that it lies around 0."""
        return STEP * (self.third // 2) if self.third != MIDDLE else 0

    @property
    def kept(self) -> dict[str, int]:
        """label -> bytes of memory that keeping a key needs."""
        return {f"{self.name}_taken": 2 * self.kv_size}

    @property
    def asked(self) -> dict[str, int]:
        """label -> bytes of memory that a query needs."""
        what = (*self.moduli, "length", "flipped")
        return {f"{self.name}_{label}": self.size for label in what}

    @property
    def weighed(self) -> dict[str, int]:
        """label -> bytes of memory for a head's rows."""
        what = ("scores_low", "scores_high", "weights")
        return {f"{self.name}_{label}": self.n_rows for label in what}


def _claim(where: tuple[int, float]) -> str:
    return f";@ p={where[1]:.3f}" if where[1] else ";@ aligned"


def _pages(count: int, stride: int) -> int:
    return -(-count // (PAGE // stride))


@dataclass(frozen=True)
class Mixer:
    """What else the code depends on.

    shifts   of the scores, of which calls choose one if there are several
    table, entries   of weights: its label, and how many
    """

    shape: Shape
    shifts: tuple[int, ...]
    table: str
    entries: int

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def left(self) -> list[int]:
        """Bits by which kept scores must still be shifted."""
        return sorted({shift - SHIFTS[0] for shift in self.shifts})

    def mask(self, left: int) -> int:
        """The bits of a kept score that are shifted out."""
        return (1 << left) - 1

    def far(self, left: int) -> int:
        """The upper byte of a difference of kept scores from which on a weight is the last."""
        return (self.entries << left >> 8) + self.short(left)

    def short(self, left: int) -> bool:
        """Some differences below it have the last weight, too."""
        return (self.entries << left) % 256 > 0

    @property
    def ways(self) -> dict[str, str]:
        """Where several shifts part: an instruction's label -> the stem of its targets."""
        stems = {f"{self.name}_up": f"{self.name}_up", f"{self.name}_down": f"{self.name}_down"}
        return stems if len(self.left) > 1 else {}

    def environment(self, shift: int) -> dict[str, object]:
        """What claims ask for when a shift is chosen."""
        left = shift - SHIFTS[0]
        return {f"{at}_way": f"{stem}_{left}" for at, stem in self.ways.items()}

    @property
    def longer(self) -> str:
        """How often a query is too long for three chains, as claims say it."""
        return f"usual(query_longer,{longer(self.shape.head_size):.3f})"


def longer(head_size: int) -> float:
    """How often a head of a query is too long for three chains, roughly."""
    beyond = UNIT * MOST_UNITS / (USUAL * head_size) - 1
    return round(0.5 * math.erfc(beyond / SPREAD / math.sqrt(2)), 3)
