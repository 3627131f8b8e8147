"""The ops of a step -> the rows and columns of what they give."""

from __future__ import annotations

from collections.abc import Mapping

from anachron.compiler.logarithms import LogOp
from anachron.compiler.model import Model

Size = tuple[int, int]


def as_matrices(model: Model) -> dict[str, Size]:
    """The shape of every parameter as a matrix: a bias is one row."""
    return {n: (1, *s) if len(s) == 1 else (s[0], s[1]) for n, s in model.shapes.items()}


def find_size(op: LogOp, model: Model, sizes: Mapping[str, Size]) -> Size:
    """Of an op's value, from the sizes of those before it; ValueError for what is not trained."""
    n, reads, shapes = model.seq_len, op.reads, as_matrices(model)
    heads, kv_heads = (int(op.attributes.get(name, 1)) for name in ("heads", "kv_heads"))
    match op.contract:
        case "embed":
            return n, shapes[reads["table"]][1]
        case "linear":
            return n, shapes[reads["weight"]][0]
        case "linear_gradient":
            return n, shapes[reads["weight"]][1]
        case "sum":
            parts = op.attributes["parts"]
            return find_size(parts[0], model, sizes) if parts else sizes[reads["+0"]]
        case "add_bias" | "relu" | "relu_gradient":
            return sizes[reads["x"]]
        case "cross_entropy":
            return n, model.vocab_size
        case "attention_weights" | "attention_scores_gradient":
            return heads * n, n
        case "attention":
            return n, sizes[reads["v"]][1] // kv_heads * heads
        case "attention_q_gradient":
            return n, sizes[reads["k"]][1] // kv_heads * heads
        case "attention_k_gradient":
            return n, sizes[reads["q"]][1] // heads * kv_heads
        case "attention_v_gradient":
            return n, sizes[reads["dy"]][1] // heads * kv_heads
    raise ValueError(f"{op.name}: training on a GPU has no {op.contract}")
