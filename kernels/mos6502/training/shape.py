"""The sizes of a model that trains, and the layouts that follow from them.

An int16 array is two arrays, low and high bytes; a code is a byte.  What one index register walks
lies within a page, long columns excepted, so that no access takes a cycle more.

    qkv_low, qkv_high, qkv_codes   Q10, column by column: `matrix` bytes a column of 3 * dim rows
    out_low, out_high, out_codes   Q10, row by row: `feature` bytes a row of dim
    tok_low, tok_high, pos_...     Q13, row by row, without gaps
    records                        `record` bytes a position: codes of q, k, v, x, and of the
                                   gradients of q, k and v
    attention, slopes, gradients   MOST bytes a column: attention's weights and their scores'
                                   gradients by the position looked at, the logits' by id
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.scales import Scales

MOST = 16  # positions, and ids: bytes of a row of attention
MOST_PADDED = 64  # bytes of a column of a matrix; a longer one is not filled up
MOST_DIM = 36  # seven codes of a feature lie in a page


@dataclass(frozen=True)
class Shape:
    """Positions of a sequence, features, ids, and the constants of a step."""

    positions: int
    dim: int
    vocab: int
    scales: Scales

    @property
    def matrix(self) -> int:
        """Bytes from one column of the queries', keys' and values' matrices to the next."""
        padded = _power(3 * self.dim)
        return padded if padded <= MOST_PADDED else 3 * self.dim

    @property
    def aligned(self) -> bool:
        """Whether each of those columns lies within a page."""
        return self.matrix & self.matrix - 1 == 0

    @property
    def feature(self) -> int:
        """Bytes from one position's, or one id's, features to the next one's."""
        return _power(self.dim)

    @property
    def record(self) -> int:
        return _power(7 * self.dim)

    def part(self, number: int) -> int:
        """Where a part of a record begins: q, k, v, x, and the gradients of q, k, v."""
        return number * self.dim

    def buffers(self) -> dict[str, int]:
        """Label -> bytes, of everything that is not loaded."""
        n, dim, vocab = self.positions, self.dim, self.vocab
        tables = {
            "tok": vocab * dim,
            "pos": n * dim,
            "qkv": dim * self.matrix,
            "out": vocab * self.feature,
        }
        halves = ("low", "high")
        split = {f"{name}_{half}": size for name, size in tables.items() for half in halves}
        return split | {
            "qkv_codes": dim * self.matrix,
            "out_codes": vocab * self.feature,
            "records": n * self.record,
            "y_codes": n * self.feature,
            "dy_codes": n * self.feature,
            "x_low": n * self.feature,  # x in Q7
            "x_high": n * self.feature,
            "dx_low": n * self.feature,  # Q9
            "dx_high": n * self.feature,
            "attention": n * MOST,
            "slopes": n * MOST,
            "gradients": vocab * MOST,
        }

    def zero_page(self) -> dict[str, int]:
        """Label -> bytes, of what the kernels share."""
        widest = max(self.dim, self.positions, self.vocab)
        return {
            "row": widest,
            "low": widest,
            "rest": widest,
            "part": 2,
            "total": 3,
            "largest": 2,
            "pointer": 2,
            "source": 2,
            "slot": 2,
            "product": 2,
            "residue": 2,
            "position": 1,
            "offset": 1,
            "term": 4,
            "tok_at_low": 2,
            "tok_at_high": 2,
            "pos_at_low": 2,
            "pos_at_high": 2,
        }


def _power(size: int) -> int:
    """The power of two from a size on."""
    return 1 << (size - 1).bit_length()
