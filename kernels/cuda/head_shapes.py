"""The shapes of an attention whose heads are done by a warp each, and where its numbers lie.

    query   of a head: all low bytes, then all high ones (of 8 bits: the bytes)
    keys    [head][position][feature]      values  [head][feature][position]

Positions come in whole steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.cuda.places import WARP, Place

STEP = 8  # positions that a lane takes of a feature's values at once
SIZES = (4, 8, 16, 32)  # of a head
AHEAD = 4 * WARP  # positions whose keys and values are fetched early, where they are far away


@dataclass(frozen=True)
class Heads:
    """Shapes and places of an attention.  Offsets are texts: they may be known late."""

    heads: int
    kv_heads: int
    size: int
    bits: int  # of queries, keys and values alike
    seq_len: int
    warps: int
    query: str
    cache: str  # sm or gm
    keys: str
    values: str
    weights: str  # bytes, a row a warp
    scores: str  # words, a row a warp; not used where one step holds all positions
    table: Place
    score_shift: int
    largest_sum: float  # of weighted values, whatever their sign
    floor: int | None = None  # added to a sum, makes a score without weight beside any other
    masks: tuple[str, ...] = ()  # words: 0 or floor, for each of the first steps of positions
    own_keys: str = ""  # of this position, where others are fetched ahead
    own_values: str = ""
    spare: str = ""  # of the cache: a number for each thread that has none to keep

    @property
    def split_sum(self) -> bool:
        """The sum of weighted values has more than 31 bits."""
        return self.largest_sum >= 2.0**31

    @property
    def ahead(self) -> int:
        """Positions that are fetched ahead."""
        return min(AHEAD, self.rows) if self.own_keys else 0

    @property
    def n_bytes(self) -> int:
        """Of a number."""
        return self.bits // 8

    @property
    def rows(self) -> int:
        """Positions, in whole steps."""
        step = max(WARP, self.positions_a_step)
        return -(-self.seq_len // step) * step

    @property
    def positions_a_step(self) -> int:
        return WARP // self.size * STEP

    @property
    def each(self) -> int:
        """Heads of a warp."""
        return -(-self.heads // self.warps)

    @property
    def query_bytes(self) -> int:
        return self.size * self.n_bytes

    @property
    def key_bytes(self) -> int:
        """Of a row of keys."""
        return self.size * self.n_bytes

    @property
    def value_bytes(self) -> int:
        """Of a feature's values, an odd number of 16 bytes: neighbours lie in other banks."""
        bytes_ = self.rows * self.n_bytes
        return bytes_ + (16 if bytes_ // 16 % 2 == 0 else 0)

    @property
    def queries_bytes(self) -> int:
        return -(-self.heads * self.query_bytes // 16) * 16

    @property
    def row_bytes(self) -> int:
        """Of all heads' keys of one position, or values."""
        return -(-self.kv_heads * self.key_bytes // 16) * 16

    @property
    def keys_bytes(self) -> int:
        return self.kv_heads * self.rows * self.key_bytes

    @property
    def values_bytes(self) -> int:
        return self.kv_heads * self.size * self.value_bytes

    @property
    def lane_positions(self) -> int:
        """The most positions whose weighted values one lane adds."""
        return -(-self.rows // self.positions_a_step) * STEP

    def addresses(self, role: str, head: int, feature: int) -> tuple[int, int, int]:
        """Of a number of q, k or v: offset among the queries or in the cache, the step to the next
        position (0: among the queries), and how far its high byte is from its low one."""
        beside = self.queries_bytes + (head * self.size + feature) * self.n_bytes
        match role:
            case "k" if self.own_keys:
                return beside, 0, 1
            case "v" if self.own_keys:
                return beside + self.row_bytes, 0, 1
            case "q":
                return head * self.query_bytes + feature, 0, self.size
            case "k":
                at = head * self.rows * self.key_bytes + feature * self.n_bytes
                return at, self.key_bytes, 1
            case _:
                at = self.keys_bytes + (head * self.size + feature) * self.value_bytes
                return at, self.n_bytes, 1
