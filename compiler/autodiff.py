"""Model -> Step: the backward pass and the update, derived symbolically from the graph.

    forward   the model's own nodes
    backward  loss and its gradient, then the nodes of each op's gradients, last op first;
              where several ops read a value, `add` joins what they send back
    updates   one node a parameter: weight and gradient in, weight out

The gradient of value x is called d.x, what one reader sends back d.reader.role.  Everything known
about single ops is in ops.py.

To add an op: nothing here.  To add an optimizer: a line in UPDATES of training.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from anachron.compiler.model import Array, Model, ModelError, Node
from anachron.compiler.ops import GRADIENT_OPS, INDICES, OPS, Gradient

RATE = 0.1  # of a recipe that names none
NO_CLIP = 1e9
LOSS, TARGET = "loss", "target"


@dataclass(frozen=True)
class Step:
    """One step of training as a graph.

    gradients  parameter -> the value that is its gradient
    """

    model: Model
    backward: tuple[Node, ...]
    updates: tuple[Node, ...]
    gradients: Mapping[str, str]

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.model.nodes + self.backward + self.updates

    def __repr__(self) -> str:
        return (
            f"Step({self.model.name}: {len(self.model.nodes)} ops forward, {len(self.backward)} "
            f"backward, {len(self.updates)} updates)"
        )


def differentiate(model: Model) -> Step:
    """The step that lowers the cross-entropy of a model's logits and a target."""
    backward = Backward()
    backward.emit(LOSS, "cross_entropy", ("logits", TARGET))
    backward.send(
        "logits", backward.emit("d.logits.loss", "cross_entropy_gradient", ("logits", TARGET))
    )
    for node in reversed(model.nodes):
        _differentiate_node(node, backward)
    gradients: dict[str, str] = {}
    for name in model.shapes:
        gradient = backward.receive(name)
        if gradient is None:
            raise ModelError(f"{model.name}: no op gives {name} a gradient")
        gradients[name] = gradient
    updates = tuple(
        Node(
            f"update.{name}",
            model.recipe.get("optimizer", "sgd"),
            (gradient,),
            find_rate(model.recipe, name),
            {"weight": name},
        )
        for name, gradient in gradients.items()
    )
    return Step(model, tuple(backward.nodes), updates, MappingProxyType(gradients))


def _differentiate_node(node: Node, backward: Backward) -> None:
    """Send the gradient of a node's value on to everything that the node reads."""
    dy = backward.receive(node.name)
    if dy is None:
        return
    row = OPS[node.op]
    reads = {"dy": dy, **dict(zip(row.inputs, node.inputs, strict=True))}
    for what, gradient in row.between.items():
        reads[what] = _emit_gradient(node, what, gradient, reads, backward)
    for what, gradient in row.gradients.items():
        target = reads[what] if what in row.inputs else node.parameters.get(what)
        if target is None or target in INDICES:
            continue  # a bias that is not there; an id has no gradient
        if gradient.op:
            backward.send(target, _emit_gradient(node, what, gradient, reads, backward))
        else:
            backward.send(target, dy)


def _emit_gradient(
    node: Node, what: str, gradient: Gradient, reads: Mapping[str, str], backward: Backward
) -> str:
    """The node of one gradient, with the op's parameters and those of its settings it knows."""
    row = GRADIENT_OPS[gradient.op]
    attributes = {name: node.attributes[name] for name in row.attributes}
    inputs = tuple(reads[name] for name in gradient.reads)
    return backward.emit(f"d.{node.name}.{what}", gradient.op, inputs, attributes, node.parameters)


class Backward:
    """The nodes so far, and what has been sent back to each value and parameter."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.sent: dict[str, list[str]] = {}

    def emit(
        self,
        name: str,
        op: str,
        inputs: tuple[str, ...],
        attributes: Mapping[str, Any] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> str:
        self.nodes.append(Node(name, op, inputs, attributes or {}, parameters or {}))
        return name

    def send(self, target: str, gradient: str) -> None:
        self.sent.setdefault(target, []).append(gradient)

    def receive(self, target: str) -> str | None:
        """The sum of what was sent to a value, or to a parameter; None if nothing was."""
        if target not in self.sent:
            return None
        total, *others = self.sent[target]
        for left, other in zip(range(len(others) - 1, -1, -1), others, strict=True):
            name = f"d.{target}.sum{left}" if left else f"d.{target}"
            total = self.emit(name, "add", (total, other))
        return total


def find_rate(recipe: Mapping[str, Any], parameter: str) -> dict[str, float]:
    """The settings of a parameter's update: its own rate, or everyone's."""
    rate = recipe.get(parameter, recipe.get("rate", RATE))
    return {"rate": float(rate), "clip": float(recipe.get("clip", NO_CLIP))}


def evaluate(
    step: Step, weights: Mapping[str, Array], tokens: Array, targets: Array
) -> dict[str, Array]:
    """Every value of a step's forward and backward pass, in floating point.

    tokens, targets  (..., positions): ids; a target below 0 does not count
    """
    position = np.broadcast_to(np.arange(tokens.shape[-1]), tokens.shape)
    values: dict[str, Array] = {"token": tokens, "position": position, TARGET: targets}
    for table, nodes in ((OPS, step.model.nodes), (GRADIENT_OPS, step.backward)):
        for node in nodes:
            own = {role: weights[name] for role, name in node.parameters.items()}
            reads = [values[name] for name in node.inputs]
            values[node.name] = table[node.op].meaning(*reads, own, **node.attributes)
    return values
