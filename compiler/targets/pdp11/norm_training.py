"""A graph's norms -> their kernels: methods of Program (graph_training.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anachron.compiler.logarithms import LogOp
from anachron.kernels.pdp11.training import matrices, norms

if TYPE_CHECKING:
    from anachron.compiler.targets.pdp11.graph_training import Program


def center(self: Program, op: LogOp) -> None:
    x, size = op.reads["x"], self.sizes[op.reads["x"]]
    source, codes, shift = self.labels[x], self.encoded[x], op.attributes["shift"]
    target = self.give(op, size)
    self.put(op, lambda name: norms.center(
        self.cpu, name, self.n, size, source, codes, target, shift))  # fmt: skip


def normalize(self: Program, op: LogOp) -> None:
    x, size = self.encoded[op.reads["x"]], self.sizes[op.reads["x"]]
    target = self.give(op, size)
    constants = op.attributes["square_constant"], op.attributes["constant"]
    self.put(op, lambda name: norms.normalize(name, self.n, size, x, target, *constants))


def scale(self: Program, op: LogOp) -> None:
    x, gain, size = op.reads["x"], self.encoded[op.reads["gain"]], self.sizes[op.reads["x"]]
    source, target = self.encoded[x], self.give(op, size)
    constant = op.attributes["constant"]
    self.put(op, lambda name: norms.scale(name, self.n, size, source, gain, target, constant))


def normalize_gradient(self: Program, op: LogOp) -> None:
    size = self.sizes[op.reads["x"]]
    codes, unit, x = (self.encoded[op.reads[role]] for role in ("codes", "unit", "x"))
    buffers = self.labels[op.reads["dy"]], codes, unit, x, self.give(op, size)
    names = ("square_constant", "mean_constant", "unit_constant", "constant")
    square, mean, product, constant = (op.attributes[name] for name in names)
    self.put(op, lambda name: norms.normalize_gradient(
        name, self.n, size, buffers, (square, mean, product, constant)))  # fmt: skip


def update_gain(self: Program, op: LogOp) -> None:
    gain, size = self.labels[op.reads["weight"]], self.size(op.reads["weight"])
    dy, x = self.encoded[op.reads["dy"]], self.encoded[op.reads["x"]]
    more = matrices.grow(op.attributes["constant"] - matrices.USUAL, self.cut)
    self.put(op, lambda name: norms.update_gain(name, self.n, size, gain, dy, x, more))
