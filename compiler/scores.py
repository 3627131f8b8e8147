"""How fine an attention's queries may be: its scores are sums of products of two rotated values.

With activations of 8 bits, rotated values have some more, and machines keep their scores as
residues: where norms of known length make queries and keys, their matrices bound every score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from anachron.compiler.model import INPUTS, Node
from anachron.kernels.arithmetic import Array

if TYPE_CHECKING:
    from anachron.compiler.formats import Formats

SCORE_LIMIT = 1_044_224  # of an attention's scores: what three residues tell apart
SCORE_SLACK = 1.3**2  # by which scores exceed what norms of exact lengths give, at most


def limit_scores(
    formats: Formats, node: Node, groups: Mapping[str, str], frac: dict[str, int]
) -> None:
    """Coarsen the query of an attention until its scores cannot leave SCORE_LIMIT.

    groups  value -> the leader of those that share its scale      frac  of each leader
    """
    if node.op != "attention":
        return
    query, key = (_maker(formats, name) for name in node.inputs[:2])
    if query is None or key is None:
        return
    heads = node.attributes.get("heads", 1)
    group = heads // node.attributes.get("kv_heads", heads)
    size = len(query) // heads
    longest = [
        np.linalg.norm(m.reshape(-1, size, m.shape[1]), 2, axis=(1, 2)) for m in (query, key)
    ]
    reach = float((longest[0] * np.repeat(longest[1], group)).max())
    reach *= query.shape[1] * SCORE_SLACK
    q, k = (groups[name] for name in node.inputs[:2])
    while q != k and reach * 2.0 ** (frac[q] + frac[k]) > SCORE_LIMIT:
        frac[q] -= 1


def _maker(formats: Formats, name: str) -> Array | None:
    """The matrix that makes a rotated value of a norm of known length."""
    node = formats.model[name]
    maker = formats.model[node.inputs[0]] if node.inputs[0] not in INPUTS else node
    if node.op != "rope" or maker.op != "linear" or maker.inputs[0] not in formats.gainless:
        return None
    return formats.folded(maker, "weight")
