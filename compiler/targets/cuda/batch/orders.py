"""The order of each value's features in a warp: chosen by what reads it, the same for its kin.

Ops that work number by number, sums of values and norms need one order for all they read and give;
matrices take any.  An attention's query and result lie with a head in a lane, its keys and values
with the heads that those queries read.  So the values fall into families, each with one order.

To add a contract: a case in `find_orders`.
"""

from __future__ import annotations

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.model import INPUTS
from anachron.kernels.cuda.batch.fragments import Heads, Order, order_plain

FREE = ("embed", "matvec")  # what they read and give need not be in one order


def find_heads(op: Op) -> Heads:
    """How an attention's heads, or a rope's, are dealt out."""
    heads = int(op.attributes["heads"])
    return Heads(heads, int(op.attributes.get("kv_heads", heads)), op.value.size // heads)


def find_orders(fixed: FixedModel) -> dict[str, Order]:
    """Value -> order.  Raises ValueError where a value would need two."""
    family: dict[str, str] = {op.name: op.name for op in fixed.ops}

    def first(name: str) -> str:
        while family[name] != name:
            name = family[name]
        return name

    wanted: list[tuple[str, Order, Op]] = []
    ropes: list[Op] = []
    for op in fixed.ops:
        inputs = [name for name in op.inputs if name not in INPUTS]
        if op.contract == "attention":
            heads, (q, k, v) = find_heads(op), inputs
            wanted += [(name, heads.order_queries(), op) for name in (q, op.name)]
            wanted += [(name, heads.order_keys(), op) for name in (k, v)]
        elif op.contract not in FREE:
            for name in inputs:
                family[first(name)] = first(op.name)
        if op.contract == "rope":
            ropes.append(op)
    orders: dict[str, Order] = {}
    for name, order, op in wanted:
        if orders.setdefault(first(name), order) != order:
            raise ValueError(
                f"{op.name}: {name} would have to lie in two orders in a warp; in the batch kernel "
                "a matrix has to stand between an attention and another with other heads, or a sum"
            )
    for op in ropes:
        orders.setdefault(first(op.name), find_heads(op).order_queries())
    sizes = {op.name: op.value.size for op in fixed.ops}
    return {name: orders.get(first(name), order_plain(sizes[name])) for name in family}
