"""Model -> Parts: the parameters of a plain encoder, or one line on what is not there.

The fastest kernels that train know this one shape of model: x = token + position,
y = x + attention(q, k, v) with one head, logits.  Its integers wrap where those of other models
saturate (logarithms.py).

To add a shape: here, and its kernels in kernels/<target>/training/.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anachron.compiler.model import Model, Node
from anachron.kernels.scales import Scales

if TYPE_CHECKING:
    from anachron.compiler.logarithms import LogStep

MOST_TERMS = 15  # of a plain encoder's softmax: each is at most 2**11


@dataclass(frozen=True)
class Parts:
    """The parameters of the one shape of model, by what they are to it."""

    token: str
    position: str
    query: str
    key: str
    value: str
    output: str


def is_plain(model: Model) -> bool:
    """Whether a model is a plain encoder that keeps its rates."""
    try:
        name_parts(model, "", [str(model.task.get("name"))], MOST_TERMS)
    except ValueError:
        return False
    return True


def find_parts(log: LogStep, machine: str, tasks: Collection[str], most: int) -> Parts:
    """The parameters of a model of the shape that the kernels know; ValueError says what is not.

    machine  as messages name it
    tasks    that it makes data for
    most     positions, and ids
    """
    return name_parts(log.step.model, machine, tasks, most)


def name_parts(model: Model, machine: str, tasks: Collection[str], most: int) -> Parts:
    """find_parts, of a model alone."""
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
    if model.recipe.get("decay"):
        raise ValueError(f"{model.name}: {machine} trains with rates that stay: leave decay out")
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
    score = attention["attention_scores_gradient"]
    return Scales(
        scores=attention["attention_weights"]["constant"],
        d_scores=score["score_constant"],
        output=updates[parts.output]["constant"],
        query=updates[parts.query]["constant"],
        key=updates[parts.key]["constant"],
        value=updates[parts.value]["constant"],
        token=updates[parts.token]["amount"],
        position=updates[parts.position]["amount"],
        most=score["most"],
        slopes=attention["attention_q_gradient"]["constant"],
    )
