"""What an attention in residues is made for, and when it can be: see heads.py."""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue.moduli import NARROW, WIDE

PAGE = 256
RECORD = 0x90  # a value's record, then the sums' planes: the KERNAL's zero page is free in a pass
SHIFTS = range(17)
RIGHT = 4  # steps to the right at most: others go left
MOST_ROWS = 512  # blocks of two rows, counted in a byte
MOST_FEATURES = (PAGE - RECORD) // 4
AUTOLOAD = 0x20  # a transfer's registers come back after it
NOTICED = ("key_low", "key_high", "key_fix", "value_low", "value_high")  # pages of rows noticed
WINDOW_BYTES = 3


@dataclass(frozen=True)
class Heads:
    """What the code is made for.

    shifts   of the scores of the attentions that share the code: of one kind (`kind`)
    table, entries   of the weights, up to the first from which on all are 0
    n_rows   positions of a context
    noticed, weighed, records   expected of `seen` rows, expressions: rows that may have a weight,
             that have one, whose score is the largest so far
    """

    name: str
    heads: int
    kv_heads: int
    size: int
    chains: int
    n_rows: int
    shifts: tuple[int, ...]
    table: str
    entries: int
    noticed: str = "seen"
    weighed: str = "seen"
    records: str = "1"

    @property
    def moduli(self) -> tuple[int, ...]:
        return residues.MODULI[: self.chains]

    @property
    def key_bytes(self) -> int:
        """Of a record."""
        return self.chains * (self.size + 1)

    @property
    def block_rows(self) -> int:
        """Keys that a transfer brings: a power of two."""
        return 1 << (PAGE // self.key_bytes).bit_length() - 1

    @property
    def head_key_bytes(self) -> int:
        """Of a head's records in the expansion: whole blocks."""
        blocks = -(-self.n_rows // self.block_rows)
        return blocks * self.block_rows * self.key_bytes

    @property
    def head_value_bytes(self) -> int:
        """The same of values; a power of two, so that no head's lie in two banks."""
        return 1 << (self.n_rows * self.size - 1).bit_length()

    @property
    def several(self) -> bool:
        """A call says by how much scores move."""
        return len(self.shifts) > 1

    def limits(self, shift: int) -> dict[str, int]:
        """label -> a byte: what shifted sums count as one, and how far below the largest of them
        a score has no weight."""
        mask, window = (1 << shift) - 1, self.entries - 1 << shift
        found = {f"{self.name}_mask_{i}": mask >> 8 * i & 0xFF for i in range(2)}
        found |= {f"{self.name}_window_{i}": window >> 8 * i & 0xFF for i in range(WINDOW_BYTES)}
        _, bits, rest = kind(shift)
        if not bits:
            return found
        return found | {f"{self.name}_bits": 1 << rest}

    def way(self, shift: int) -> str:
        """Where a distance's steps begin."""
        return f"{self.name}_step_{kind(shift)[2]}"

    @property
    def pages(self) -> int:
        """Of each of NOTICED."""
        return -(-self.n_rows // PAGE)

    @property
    def areas(self) -> dict[str, int]:
        """label -> bytes of memory, each on a page."""
        return {
            f"{self.name}_block": self.block_rows * self.key_bytes,
            f"{self.name}_noticed": len(NOTICED) * self.pages * PAGE,
        }

    def key(self, modulus: int, feature: int) -> str:
        """A number of the key whose record begins at X."""
        return f"{self.name}_block+{self.moduli.index(modulus) * self.size + feature}"

    def key_sum(self, modulus: int) -> str:
        return f"{self.name}_block+{self.chains * self.size + self.moduli.index(modulus)}"

    def sums(self, byte: int, feature: int) -> str:
        return f"${RECORD + (1 + byte) * self.size + feature:02x}"


def fits(size: int, bound: float, table: Array, n_rows: int, shift: int) -> str:
    """Why these kernels cannot do an attention, or nothing.  bound: of its scores, unshifted."""
    most = int(table.max()) * n_rows
    if size > MOST_FEATURES:
        return f"heads of more than {MOST_FEATURES} features"
    if bound > -WIDE.lowest:
        return f"its scores may reach {bound:,.0f}"
    if table[-1] or not 2 <= len(table) <= PAGE:
        return "its table of weights"
    if most * PAGE >= 1 << 24 or most >= 1 << 16:
        return f"its weights may sum to {most:,}"
    if n_rows * size > 1 << 16 or n_rows > MOST_ROWS:
        return f"{n_rows} positions"
    if shift not in SHIFTS:
        return f"its scores move by {shift}"
    return ""


def kind(shift: int) -> tuple[bool, bool, int]:
    """A distance lies in its upper two bytes; it must be less than two; steps to the right, or 8
    less those to the left."""
    rest = shift - 8 if shift > 8 else shift
    return shift > 8, rest < 8, rest


def alike(shift: int, other: int) -> bool:
    """Whether scores that move so far can share code."""
    (a, b, first), (c, d, second) = kind(shift), kind(other)
    return (a, b) == (c, d) and (first <= RIGHT) == (second <= RIGHT) and 0 not in (first, second)


def count_chains(bound: float) -> int:
    """As many as scores need."""
    return 2 if bound <= -NARROW.lowest else 3
