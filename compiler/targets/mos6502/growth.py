"""FixedModel -> how many rows an attention finds worth its time, as a context grows.

Counted in longer texts of the model's own, and said as expressions of `seen`, the rows that there
are, for claims of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.operands import attention
from anachron.kernels.arithmetic import Array

KNOTS = (4, 12, 32, 96)  # where the straight pieces meet


@dataclass(frozen=True)
class Growth:
    """Of a head's rows, by how many are seen.

    weighed  those that have a weight
    noticed  those that may have one, from the newest to the oldest, by the largest score so far
    records  those whose score is the largest so far
    """

    weighed: str
    noticed: str
    records: str


def measure(fixed: FixedModel, ops: Sequence[Op]) -> Growth:
    """What attentions of a decoder have in common."""
    found = np.mean([_count(fixed, op) for op in ops], axis=(0, 2))
    weighed, noticed, records = (_express(row) for row in found)
    return Growth(weighed, noticed, records)


def _count(fixed: FixedModel, op: Op) -> Array:
    """(3, texts, positions) of Growth, means over an attention's heads."""
    known = attention(op, fixed.usual_long)
    scores = np.where(known.seen, known.scores, np.iinfo(np.int64).min)[..., ::-1]  # newest first
    seen = known.seen[..., ::-1]
    reach = int(np.count_nonzero(op.constants["table"]))
    so_far = np.maximum.accumulate(scores, axis=-1)
    before = np.concatenate([np.full_like(so_far[..., :1], so_far.min()), so_far[..., :-1]], -1)
    weighed = seen & (so_far[..., -1:] - scores < reach)
    noticed = seen & ((before - scores < reach) | (scores > before))
    records = seen & (scores > before)
    return np.stack([part.sum(-1).mean(1) for part in (weighed, noticed, records)])


def _express(counts: Array) -> str:
    """counts (positions,) by rows seen, 1 at the first, as straight pieces."""
    seen = np.arange(1, len(counts) + 1)
    knots = [1, *(knot for knot in KNOTS if knot < 0.7 * len(counts))]
    basis = np.stack([np.maximum(0, seen - knot) for knot in knots], axis=1).astype(float)
    slopes = np.linalg.lstsq(basis, counts - 1, rcond=None)[0]
    pieces = "".join(
        f"{slope:+.4f}*max(0,seen-{knot})" for slope, knot in zip(slopes, knots, strict=True)
    )
    return f"max(1,min(seen,1{pieces}))"
