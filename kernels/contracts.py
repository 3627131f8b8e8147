"""The contracts: what each kernel computes, by name; the meaning is in kernels/reference/.

A contract's row names its inputs (values of the graph, one row a position), its constants (arrays
fixed when the model is compiled) and its attributes (numbers and truths fixed then, too), and
points at the function that is its meaning.  compiler/fixed.py holds a graph to these rows.

To add a contract: a function in kernels/reference/, a row here, and a kernel a target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anachron.kernels.reference import activation, attention, embedding, matvec, norm


@dataclass(frozen=True)
class Contract:
    """A row of the table.

    widths gives the formats' sizes in bits that an input may have, constants the storage of each
    array: (lowest, highest) value it may hold.
    """

    name: str
    meaning: Callable
    inputs: tuple[str, ...]
    constants: dict[str, tuple[int, int]]
    attributes: tuple[str, ...]
    widths: tuple[int, ...] = (8, 16)


INT8 = (-128, 127)
INT16 = (-(1 << 15), (1 << 15) - 1)
INT32 = (-(1 << 31), (1 << 31) - 1)
UINT8 = (0, 255)
SHIFT = (0, 31)
NORM = ("gain_shift", "pre_shift", "root_shift", "reciprocal_bits")

CONTRACTS = {
    row.name: row
    for row in (
        Contract("embed", embedding.embed, ("index",), {"table": INT16}, ("shift",)),
        Contract("add", embedding.add, ("a", "b"), {}, ()),
        Contract(
            "matvec", matvec.matvec, ("x",), {"weight": INT8, "bias": INT32, "shift": SHIFT}, ()
        ),
        Contract("rms_norm", norm.rms_norm, ("x",), {"gain": INT8}, NORM, (16,)),
        Contract("layer_norm", norm.layer_norm, ("x",), {"gain": INT8, "bias": INT16}, NORM, (16,)),
        Contract(
            "attention",
            attention.attention,
            ("q", "k", "v"),
            {"table": UINT8},
            ("heads", "kv_heads", "causal", "score_shift"),
        ),
        Contract(
            "rope",
            attention.rope,
            ("x", "position"),
            {"cosine": INT16, "sine": INT16},
            ("heads", "interleaved"),
        ),
        Contract("relu", activation.relu, ("x",), {}, ()),
        Contract("lookup", activation.lookup, ("x",), {"table": INT16}, ("shift", "tail"), (16,)),
        Contract("multiply", activation.multiply, ("a", "b"), {}, ("shift",)),
    )
}
