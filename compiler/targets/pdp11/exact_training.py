"""LogStep in plain fixed point -> the kernels of a PDP-11 program that trains any graph by MUL.

As graph_training.py, without codes: what products look at there is read as it is here.

To add an op: as there, and where products are summed, a method here.
"""

from __future__ import annotations

from anachron.compiler.logarithms import LogOp, LogStep
from anachron.compiler.targets.pdp11.graph_training import Program
from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training import elements, exact
from anachron.kernels.pdp11.training.exact import Operand
from anachron.kernels.pdp11.training.matrices import Factor, Stream
from anachron.kernels.reference.exact_training import SHARE_FRAC


class ExactProgram(Program):
    """The kernels so far by label, and the buffers that they work on; a constant is an exponent."""

    share_constant = -SHARE_FRAC

    def __init__(self, log: LogStep, cpu: Cpu) -> None:
        if not cpu.multiplies:
            raise ValueError(
                f"{log.step.model.name}: --numerics fixed multiplies, which a PDP-11/20 cannot: "
                "leave it out"
            )
        super().__init__(log, cpu, (0,))
        self.encoded = self.labels

    def sums(
        self, op: LogOp, terms: int, columns: int, factor: Factor, stream: Stream, target: str,
        how: str = "MOV", spread: int = 0,
    ) -> None:  # fmt: skip
        a = Operand(stream.source, stream.rows, stream.step, stream.down or 2)
        b = (
            Operand(factor.source, columns, 2 * terms)
            if factor.by_column
            else Operand(factor.source, columns, 2, 2 * columns)
        )
        self.put(op, lambda name: exact.dots(
            name, terms, a, b, target, factor.constant, how, spread))  # fmt: skip

    def attention_weights(self, op: LogOp) -> None:
        heads, n = op.attributes["heads"], self.n
        target = self.give(op, 0, heads * n * n)
        self.pairs(op, op.reads["q"], op.reads["k"], target)
        causal = op.attributes["causal"] and n > 1
        if causal:
            self.put(op, lambda name: elements.mask(name, n, heads, target, "100000"))
        self.put(op, lambda name: exact.softmax(name, target, heads * n, n))
        if causal:
            self.put(op, lambda name: elements.mask(name, n, heads, target, "0"))

    def attention_scores_gradient(self, op: LogOp) -> None:
        heads, n = op.attributes["heads"], self.n
        target = self.give(op, 0, heads * n * n)
        self.pairs(op, op.reads["dy"], op.reads["v"], target)
        weights, most = self.labels[op.reads["weights"]], op.attributes["most"]
        exponent = op.attributes["score_constant"] - SHARE_FRAC
        self.put(op, lambda name: exact.d_scores(
            name, target, weights, heads * n, n, exponent, most))  # fmt: skip

    def cross_entropy(self, op: LogOp) -> None:
        vocab = self.model.vocab_size
        target = self.give(op, vocab)
        self.kernels["loss"] = exact.loss("loss", self.n, vocab, target)
        self.names["loss"] = op.name

    def update_rows(self, op: LogOp) -> None:
        table, dy = self.labels[op.reads["weight"]], self.labels[op.reads["dy"]]
        size = self.size(op.reads["weight"])
        row = self.cpu.scale(2 * size) if op.reads["index"] == "token" else ""
        self.put(op, lambda name: exact.update_rows(
            name, self.n, size, table, dy, row, op.attributes["constant"]))  # fmt: skip

    def update_bias(self, op: LogOp) -> None:
        bias, dy = self.labels[op.reads["weight"]], self.labels[op.reads["dy"]]
        size, exponent = self.size(op.reads["weight"]), op.attributes["constant"]
        self.put(op, lambda name: exact.update_bias(name, self.n, size, bias, dy, exponent))
