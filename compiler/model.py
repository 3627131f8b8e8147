"""Model: a transformer as a float graph, before any integer is chosen.

A model is a tuple of nodes in the order they are computed, one position at a time: every value is
a row of features, one row a position, and only `attention` looks at other positions.  The program
text (language.py) and the checkpoints (checkpoints.py) both end here; quantization.py goes on.

To add an op: a row in ops.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from anachron.compiler.ops import INDICES, OPS, ShapeError
from anachron.compiler.tokenizer import Tokenizer

Array = np.ndarray

INPUTS = INDICES  # what a graph may read: the id of this token, and its place
MAX_NODES = 10_000
MAX_PARAMETERS = 1 << 27
LARGEST_WEIGHT = 1e9  # a weight beyond is a damaged one


class ModelError(ValueError):
    """A model that cannot be: one line that says where, what was found and what was allowed."""


class NodeError(ModelError):
    """What is wrong with one node."""

    def __init__(self, node: Node, text: str) -> None:
        super().__init__(f"{node.where}: {text}" if node.where else f"{node.name}: {text}")
        self.node, self.text = node, text


@dataclass(frozen=True)
class Node:
    """One op of the graph; its value has the node's name.

    attributes holds numbers and words (heads=4, causal=True); parameters maps an op's role for a
    tensor ("weight", "bias", "gain") to the tensor's name, so that two nodes may share one.
    """

    name: str  # layer0.q
    op: str  # a row of ops.OPS
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    where: str = field(default="", compare=False)  # file:line:column, for errors


@dataclass(frozen=True)
class Generation:
    """How tokens go in and come out: the template around a prompt, and when to stop.

    mode "next": a decoder; each pass predicts the next token.
    mode "sequence": an encoder; one pass maps the whole input to the whole output.
    """

    mode: str = "next"
    prefix: tuple[int, ...] = ()  # ids in front of the prompt
    suffix: tuple[int, ...] = ()  # ids behind it
    stop: tuple[int, ...] = ()  # an answer ends before any of these
    first_id: int = 0  # ids below are never chosen


@dataclass(frozen=True)
class Model:
    """A float graph with its weights, its tokenizer and its purpose."""

    name: str
    dimensions: Mapping[str, int]  # dim, hidden_dim, n_layers, n_heads, vocab_size, seq_len, ...
    nodes: tuple[Node, ...]
    shapes: Mapping[str, tuple[int, ...]]  # of every parameter
    weights: Mapping[str, Array]  # float64, one for every name in shapes
    tokenizer: Tokenizer
    generation: Generation = Generation()
    task: Mapping[str, Any] = field(default_factory=dict)  # {"name": "reverse", "length": 8}
    recipe: Mapping[str, Any] = field(default_factory=dict)  # {"optimizer": "sgd", "steps": 350}
    numerics: Mapping[str, Any] = field(default_factory=dict)  # fixed-point hints: see numerics.py
    weights_from: str = "random"  # where the weights come from: "random, seed 0", a file's name
    description: str = ""
    folder: str = field(default="", compare=False)  # where the files that it names are

    @property
    def seq_len(self) -> int:
        return self.dimensions["seq_len"]

    @property
    def vocab_size(self) -> int:
        return self.dimensions["vocab_size"]

    @property
    def n_parameters(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def __repr__(self) -> str:
        return (
            f"Model({self.name}: {self.n_parameters:,} parameters, {len(self.nodes)} ops, "
            f"vocabulary {self.vocab_size}, context {self.seq_len}, weights {self.weights_from})"
        )

    def show(self) -> None:
        """Print every op with its parameters."""
        from anachron.compiler.pages import show

        show(self)

    def with_weights(self, weights: Mapping[str, Array], weights_from: str) -> Model:
        """The same graph with other weights; raises ModelError unless every shape matches."""
        for name, shape in self.shapes.items():
            if name not in weights:
                raise ModelError(f"{weights_from}: no tensor named {name}, which {self.name} needs")
            if weights[name].shape != shape:
                raise ModelError(
                    f"{weights_from}: {name} has shape {weights[name].shape}, {self.name} needs "
                    f"{shape}"
                )
            if not np.isfinite(weights[name]).all():
                raise ModelError(f"{weights_from}: {name} holds a value that is not finite")
            if np.abs(weights[name]).max(initial=0) > LARGEST_WEIGHT:
                raise ModelError(
                    f"{weights_from}: {name} holds a value beyond {LARGEST_WEIGHT:,.0f}: damaged?"
                )
        extra = sorted(set(weights) - set(self.shapes))
        if extra:
            raise ModelError(f"{weights_from}: tensor {extra[0]} has no place in {self.name}")
        kept = {name: np.asarray(weights[name], np.float64) for name in self.shapes}
        return replace(self, weights=MappingProxyType(kept), weights_from=weights_from)


def check(model: Model) -> Model:
    """Hold the graph to the rows of ops.py; gives the model back, or raises ModelError."""
    shapes = check_graph(model.nodes, model.dimensions, model.generation.mode)
    if shapes != dict(model.shapes):
        raise ModelError(f"{model.name}: its shapes are not those of its graph")
    if model.tokenizer.vocab_size != model.vocab_size:
        raise ModelError(
            f"{model.name}: the tokenizer has {model.tokenizer.vocab_size} pieces, vocab_size is "
            f"{model.vocab_size}"
        )
    template = len(model.generation.prefix) + len(model.generation.suffix)
    if model.generation.mode == "next" and model.seq_len < template + 2:
        raise ModelError(
            f"{model.name}: seq_len is {model.seq_len}, but one token to read and one to answer"
            f"{' in its template' if template else ''} need {template + 2}"
        )
    return model


def check_graph(
    nodes: tuple[Node, ...], dimensions: Mapping[str, int], mode: str
) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of a graph that is whole and consistent.

    Raises NodeError where a node is at fault, ModelError otherwise.
    """
    sizes = {"token": dimensions["vocab_size"], "position": dimensions["seq_len"]}
    shapes: dict[str, tuple[int, ...]] = {}
    if not nodes or nodes[-1].name != "logits":
        raise ModelError("a graph ends with logits = ..., a score for each token of the vocabulary")
    if len(nodes) > MAX_NODES:
        raise ModelError(f"{len(nodes)} ops, at most {MAX_NODES} are allowed")
    for node in nodes:
        if node.name in sizes:
            raise NodeError(node, f"{node.name} is given twice")
        row = OPS.get(node.op)
        if row is None:
            raise NodeError(node, f"there is no op {node.op}; there are {', '.join(OPS)}")
        for name in node.inputs:
            if name not in sizes:
                raise NodeError(node, f"{name} is read before anything gives it")
            if (name in INPUTS) != (row.inputs == ("index",)):
                raise NodeError(node, f"{node.op} cannot read {name}: embed reads token, position")
        if len(node.inputs) != len(row.inputs) or set(node.attributes) != set(row.settings):
            raise NodeError(node, f"{node.op} takes {', '.join((*row.inputs, *row.settings))}")
        try:
            _, size, wanted = row.resolve([sizes[n] for n in node.inputs], dict(node.attributes))
        except ShapeError as error:
            raise NodeError(node, f"{node.op}: {error}") from None
        if set(wanted) != set(node.parameters):
            raise NodeError(node, f"{node.op} has the parameters {', '.join(wanted) or 'none'}")
        for role, shape in wanted.items():
            name = node.parameters[role]
            if shapes.setdefault(name, shape) != shape:
                raise NodeError(
                    node, f"{name} has shape {shapes[name]}, but as its {role} {shape} is needed"
                )
        _check_direction(node, mode)
        sizes[node.name] = size
    if sizes["logits"] != dimensions["vocab_size"]:
        raise NodeError(
            nodes[-1],
            f"logits has {sizes['logits']} scores, but the vocabulary has "
            f"{dimensions['vocab_size']} tokens",
        )
    read = {name for node in nodes for name in node.inputs} | {"logits"}
    for node in nodes:
        if node.name not in read:
            raise NodeError(node, f"nothing reads {node.name}")
    n_parameters = sum(math.prod(shape) for shape in shapes.values())
    if n_parameters > MAX_PARAMETERS:
        raise ModelError(f"{n_parameters:,} parameters, at most {MAX_PARAMETERS:,} are allowed")
    return shapes


def _check_direction(node: Node, mode: str) -> None:
    """A decoder sees what came before, an encoder everything."""
    if node.op == "attention" and node.attributes["causal"] != (mode == "next"):
        raise NodeError(
            node,
            "a model that predicts the next token sees only what came before: write "
            "attention(..., causal)"
            if mode == "next"
            else "a model that answers a whole sequence at once sees all of it: leave out causal",
        )


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Array]:
    """Seeded starting weights: gains one, biases zero, the rest normal, scaled by fan-in."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Array] = {}
    for name, shape in shapes.items():
        match name.rpartition(".")[2]:
            case "gain":
                weights[name] = np.ones(shape)
            case "bias":
                weights[name] = np.zeros(shape)
            case _:
                weights[name] = rng.normal(0.0, shape[-1] ** -0.5, shape)
    return weights
