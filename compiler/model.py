"""Model: a transformer as a float graph, before any integer is chosen.

A model is a tuple of nodes in the order they are computed, one position at a time: every value is
a row of features, one row a position, and only `attention` looks at other positions.  The program
text (language.py) and the checkpoints (checkpoints.py) both end here; quantize.py goes on.

To add an op: a row in ops.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from anachron.compiler.tokenizer import Tokenizer

Array = np.ndarray

INPUTS = ("token", "position")  # what a graph may read: the id of this token, and its place


class ModelError(ValueError):
    """A model that cannot be: one line that says where, what was found and what was allowed."""


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
    where: str = ""  # file:line:column, for errors


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
    numerics: Mapping[str, Any] = field(default_factory=dict)  # fixed-point hints: see quantize.py
    weights_from: str = "random"  # where the weights come from: "random, seed 0", a file's name
    description: str = ""

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
        extra = sorted(set(weights) - set(self.shapes))
        if extra:
            raise ModelError(f"{weights_from}: tensor {extra[0]} has no place in {self.name}")
        kept = {name: np.asarray(weights[name], np.float64) for name in self.shapes}
        return replace(self, weights=MappingProxyType(kept), weights_from=weights_from)


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
