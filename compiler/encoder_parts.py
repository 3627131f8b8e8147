"""LogStep -> Parts: what a machine that trains finds in a model, or one line on what is not there.

The kernels that train know one shape of model: x = token + position, y = x + attention(q, k, v)
with one head, logits.

To add a shape: here, and its kernels in kernels/<target>/training/.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from anachron.compiler.logarithms import LogStep
from anachron.compiler.model import Node
from anachron.kernels.scales import Scales


@dataclass(frozen=True)
class Parts:
    """The parameters of the one shape of model, by what they are to it."""

    token: str
    position: str
    query: str
    key: str
    value: str
    output: str


def find_parts(log: LogStep, machine: str, tasks: Collection[str], most: int) -> Parts:
    """The parameters of a model of the shape that the kernels know; ValueError says what is not.

    machine  as messages name it
    tasks    that it makes data for
    most     positions, and ids
    """
    model = log.step.model
    nodes = {node.name: node for node in model.nodes}

    def fail(node: Node | None, wanted: str) -> ValueError:
        where = (node.where or node.name) if node else model.name
        return ValueError(f"{where}: training on {machine} takes {wanted} here")

    def find(name: str, op: str, wanted: str) -> Node:
        node = nodes.get(name)
        if node is None or node.op != op:
            raise fail(node, wanted)
        return node

    def find_pair(node: Node, first: str, second: str, wanted: str) -> tuple[Node, Node]:
        found = [nodes[name] for name in node.inputs if name in nodes]
        for pair in (found, found[::-1]):
            if [part.op for part in pair] == [first, second]:
                return pair[0], pair[1]
        raise fail(node, wanted)

    last = find("logits", "linear", "linear(y, vocab_size) as the logits")
    y = find(last.inputs[0], "add", "x + attention(q, k, v)")
    mixed = [n for n in y.inputs if n in nodes and nodes[n].op == "attention"]
    if len(mixed) != 1:
        raise fail(y, "x + attention(q, k, v)")
    attention = nodes[mixed[0]]
    settings = attention.attributes
    if settings["heads"] != 1 or settings["causal"]:
        raise fail(attention, "attention with one head, not causal")
    (x,) = [name for name in y.inputs if name != attention.name] or [""]
    three = [find(name, "linear", "linear(x, dim)") for name in attention.inputs]
    if len({node.name for node in three}) < 3 or any(node.inputs != (x,) for node in three):
        raise fail(attention, "three linear(x, dim) of its own")
    both = find(x, "add", "embed(token, dim) + embed(position, dim)")
    token, position = find_pair(both, "embed", "embed", "embed(token, dim) + embed(position, dim)")
    if token.inputs == ("position",):
        token, position = position, token
    if (token.inputs, position.inputs) != (("token",), ("position",)):
        raise fail(both, "embed(token, dim) + embed(position, dim)")
    if len(model.nodes) != len({n.name for n in (*three, last, y, attention, both)}) + 2:
        raise fail(None, "x = token + position, y = x + attention(q, k, v), logits, and no more")
    if model.task.get("name") not in tasks:
        raise ValueError(f"{model.name}: {machine} makes data for {', '.join(tasks)}")
    if model.recipe.get("batch", 1) != 1:
        raise ValueError(f"{model.name}: {machine} trains with batches of 1")
    for size, what in ((model.seq_len, "positions"), (model.vocab_size, "ids")):
        if not 2 <= size <= most:
            raise ValueError(
                f"{model.name}: {size} {what}, training on {machine} takes 2 to {most}"
            )
    named = [node.parameters["weight"] for node in (token, position, *three, last)]
    dim = model.shapes[named[0]][1]
    if len(set(named)) < len(named) or any(model.shapes[n] != (dim, dim) for n in named[2:5]):
        raise fail(attention, "three linear(x, dim) with weights of their own")
    return Parts(*named)


def find_scales(log: LogStep, parts: Parts) -> Scales:
    """The constants of the lowered step that are not the kernels' own."""
    updates = {op.name: op.attributes for op in log.updates}
    attention = {op.contract: op.attributes for op in (*log.forward, *log.backward)}
    return Scales(
        attention["attention_weights"]["constant"],
        attention["attention_scores_gradient"]["score_constant"],
        *(updates[n]["constant"] for n in (parts.output, parts.query, parts.key, parts.value)),
        *(updates[n]["amount"] for n in (parts.token, parts.position)),
    )
