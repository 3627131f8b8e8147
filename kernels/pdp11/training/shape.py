"""The sizes of a model that trains, and the layouts that follow from them.

Matrices of activations are stored feature by feature, a word a position, because a kernel reads a
feature and adds to a register a position.  The weights' codes and the records of queries, keys and
values have rows of one length, so that one pointer walks both.

    qkv.weight, out.weight   linear Q10, rows of the model, without gaps
    tok.weight, pos.weight   linear Q13, the same
    qkv.codes, out.codes     their codes, a row in `row` bytes
    records                  a row of q, k or v in `row` bytes: codes, then gradients' codes
    slopes                   a row of `row` bytes an id: codes of the logits' gradients, times the
                             rate
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.scales import Scales

MOST_TERMS = 15  # of a softmax: each adds at most 2**11


@dataclass(frozen=True)
class Sizes:
    """What data and reports need to know of a model."""

    positions: int
    vocab: int
    cpu: Cpu = Cpu()


@dataclass(frozen=True)
class Shape:
    """Positions of a sequence, features, ids; the constants of a step; and what the CPU can."""

    positions: int
    dim: int
    vocab: int
    scales: Scales
    cpu: Cpu = Cpu()

    @property
    def place(self) -> int:
        """Bytes of one feature at all positions."""
        return 2 * self.positions

    @property
    def row(self) -> int:
        """Bytes from one row of codes to the next, and from one record to the next."""
        return max(2 * self.dim, 2 * self.place)

    def buffers(self) -> dict[str, int]:
        """Label -> words, of everything that is not loaded; weights first."""
        n, dim, vocab, row = self.positions, self.dim, self.vocab, self.row // 2
        return {
            "tok.weight": vocab * dim,
            "pos.weight": n * dim,
            "qkv.weight": 3 * dim * dim,
            "out.weight": vocab * dim,
            "qkv.codes": 3 * dim * row,
            "out.codes": vocab * row,
            "records": 3 * dim * row,
            "slopes": vocab * row,
            "x.codes": dim * n,
            "y.codes": dim * n,  # x in Q8, until y is there
            "attention": n * n,
            "d.attention": n * n,
            "logits": n * vocab,
            "d.y": n * dim,  # Q9, position by position
            "d.y.codes": dim * n,
            "tokens": n,
            "token.rows": n,  # addresses in tok.weight
            "answers": n,  # twice the id
        }


AnyShape: TypeAlias = Sizes | Shape
