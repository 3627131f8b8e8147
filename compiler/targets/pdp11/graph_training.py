"""LogStep -> the kernels of a PDP-11 program that trains any graph, op by op.

Every value has a buffer of words, feature by feature; a value that products look at has another one
for its codes; a matrix has its codes beside it.  Look-ups saturate.  training.py puts the program
around this; a plain encoder has its own kernels there.

To add an op: its contract in FORWARD, BACKWARD or UPDATES, its kernel in kernels/pdp11/training/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from anachron.compiler.logarithms import LogOp, LogStep
from anachron.compiler.memory import pack
from anachron.compiler.schedule import Lifetime
from anachron.compiler.targets.pdp11 import norm_training
from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training import elements, matrices, softmaxes
from anachron.kernels.pdp11.training.matrices import Factor, Stream
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES, MOST_SPREAD
from anachron.kernels.reference.log_model import FARTHEST, SUM_SHIFT, softmax_octaves
from anachron.kernels.reference.log_tables import (
    HIGHEST,
    ZERO,
    exponential,
    magnitude_code,
    octaves,
)

LARGEST_CODE = magnitude_code(4096)
CUT, ARENA = "rate.cut", "arena"
NAME, VALUE = re.compile(r"(?<![\w.])[vc]\d+(?![\w.])"), re.compile(r"[vc]\d+$")


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest sum of codes, and the code whose every product is 0."""

    lowest: int
    highest: int
    silent: int


def find_bounds(log: LogStep, cuts: Iterable[int]) -> Bounds:
    """What the table of products must hold, of any two codes and every op's constants."""
    model = log.step.model
    constants, cut = [0], min(cuts)
    for op in (*log.forward, *log.backward, *log.updates):
        least = cut if op in log.updates else 0
        for name, constant in op.attributes.items():
            if name.endswith("constant"):
                constants += [constant, constant + least]
    shares = []
    for entries in (model.seq_len, model.vocab_size):
        top = softmax_octaves(entries)
        most = entries * exponential(octaves(top)) >> SUM_SHIFT
        shares.append(-FARTHEST // 2 - magnitude_code(most) + octaves(top - SUM_SHIFT))
    silent = -LARGEST_CODE - max(constants) - 2
    lowest = min(*shares, silent, ZERO) + ZERO + min(constants)
    largest = max(2 * LARGEST_CODE, octaves(LOSS_OCTAVES) + LARGEST_CODE)
    highest = largest + max(op.attributes.get("constant", 0) for op in _products(log))
    slopes = [op.attributes.get("score_constant", 0) for op in log.backward]
    highest = max(HIGHEST, highest, magnitude_code(MOST_SPREAD) + max([0, *slopes]) + 16)
    return Bounds(lowest - lowest % 2, highest + highest % 2, silent)


def _products(log: LogStep) -> list[LogOp]:
    return [*log.forward, *log.backward, *log.updates]


class Program:
    """The kernels so far by label, and the buffers that they work on."""

    share_constant = matrices.USUAL  # of products with attention's weights

    def __init__(self, log: LogStep, cpu: Cpu, cuts: tuple[int, ...]) -> None:
        self.log, self.cpu, self.model = log, cpu, log.step.model
        self.n = self.model.seq_len
        self.bounds = find_bounds(log, cuts)
        self.cut = CUT if len(set(cuts)) > 1 else ""
        self.kernels: dict[str, str] = {}
        self.names: dict[str, str] = {}  # label of a kernel -> the op's name
        self.sizes: dict[str, int] = {}  # value -> features
        self.buffers: dict[str, int] = {}  # label -> words
        self.labels: dict[str, str] = {}  # value or parameter -> label
        self.encoded: dict[str, str] = {}  # the same -> label of its codes
        self.matrices: list[str] = []  # parameters that have codes
        self.offsets: dict[str, int] = {}  # label of a value's buffer -> bytes into the arena
        for number, (name, shape) in enumerate(self.model.shapes.items()):
            self.labels[name] = f"w{number}"
            self.buffers[f"w{number}"] = self._count(shape)
        coded = {op.reads[role] for op in _products(log) for role in op.coded}
        self.coded = {name: 0 for name in coded}
        for op in _products(log):
            self.coded |= {op.reads[role]: amount for role, amount in op.coded.items()}
        for name in self.model.shapes:
            if name in self.coded:
                self.matrices.append(name)
                self.encoded[name] = self._reserve(f"{self.labels[name]}.codes", name)

    def _count(self, shape: tuple[int, ...]) -> int:
        total = 1
        for size in shape:
            total *= size
        return total

    def _reserve(self, label: str, parameter: str) -> str:
        self.buffers[label] = self._count(self.model.shapes[parameter])
        return label

    def size(self, parameter: str) -> int:
        """Columns of a parameter."""
        return self.model.shapes[parameter][-1]

    def share(self) -> dict[str, int]:
        """Label -> words of what is reserved: of the values, buffers that may be others' later.

        A value lives from the first kernel that names its buffer to the last one; the kernels run
        in the order in which they were made.
        """
        values = {label: words for label, words in self.buffers.items() if VALUE.match(label)}
        uses: dict[str, list[int]] = {label: [] for label in values}
        for tick, text in enumerate(self.kernels.values()):
            for label in set(NAME.findall(text)) & values.keys():
                uses[label].append(tick)
        lifetimes = [
            Lifetime(label, values[label], 16, min(ticks, default=0), max(ticks, default=0))
            for label, ticks in uses.items()
        ]
        self.offsets, total = pack(lifetimes, {label: 2 * n for label, n in values.items()})
        kept = {label: words for label, words in self.buffers.items() if label not in values}
        return kept | {ARENA: total // 2}

    def place(self) -> str:
        """Where in the arena each value's buffer lies."""
        return "\n".join(f"{label} = {ARENA}+{at}." for label, at in self.offsets.items())

    # Kernels.

    def give(self, op: LogOp, size: int, words: int = 0, *, codes: bool = False) -> str:
        """The label of the buffer of what an op computes."""
        label = "logits" if op.name == "logits" else f"v{len(self.buffers)}"
        if label == "logits" and op.contract not in ("linear", "add_bias"):
            raise ValueError(
                f"{self.model.name}: training on a PDP-11 takes logits = linear(...), "
                f"not {op.contract}"
            )
        self.buffers[label] = words or self.n * size
        self.sizes[op.name] = size
        (self.encoded if codes else self.labels)[op.name] = label
        return label

    def put(self, op: LogOp, make: Callable[[str], str], what: str = "") -> None:
        """A kernel; it is told its label.  Its title is the op's name, and what of it; numbered."""
        label, title = f"op{len(self.kernels)}", f"{op.name} {what}".rstrip()
        self.kernels[label] = make(label)
        number = sum(name.split("#")[0].rstrip() == title for name in self.names.values())
        self.names[label] = f"{title} #{number + 1}" if number else title

    def encode(self, op: LogOp) -> None:
        """The codes of what an op has computed, where one looks at them."""
        if op.name not in self.coded or op.name in self.encoded:
            return
        source, count = self.labels[op.name], self.n * self.sizes[op.name]
        amount, label = self.coded[op.name], f"c{len(self.buffers)}"
        self.buffers[label] = count
        self.encoded[op.name] = label
        self.put(
            op,
            lambda name: elements.encode(self.cpu, name, source, label, count, amount),
            "codes",
        )

    def run(self, ops: Iterable[LogOp]) -> dict[str, str]:
        """The kernels of some ops."""
        self.kernels = {} if not self.kernels else self.kernels
        before = set(self.kernels)
        for op in ops:
            getattr(self, op.contract)(op)
            if op.name in self.labels and op.name not in self.model.shapes:
                self.encode(op)
        return {label: text for label, text in self.kernels.items() if label not in before}

    def encode_matrices(self) -> str:
        """The codes of all matrices, as a subroutine."""
        lines = ["encode.all:"]
        for number, name in enumerate(self.matrices):
            source, target = self.labels[name], self.encoded[name]
            count = self._count(self.model.shapes[name])
            lines.append(
                elements.encode(self.cpu, f"encode.w{number}", source, target, count, 0)
            )
        return "\n".join([*lines, "    RTS PC"])

    def embed(self, op: LogOp) -> None:
        size, table = self.size(op.reads["table"]), self.labels[op.reads["table"]]
        target, by_token = self.give(op, size), op.reads["index"] == "token"
        self.put(op, lambda name: elements.embed(
            self.cpu, name, self.n, size, table, target, by_token))  # fmt: skip

    def add(self, op: LogOp) -> None:
        a, b, size = op.reads["a"], op.reads["b"], self.sizes[op.reads["a"]]
        target, count = self.give(op, size), self.n * size
        shifts = op.attributes["a_shift"], op.attributes["b_shift"]
        sources = self.labels[a], self.labels[b]
        self.put(op, lambda name: elements.add(self.cpu, name, *sources, target, count, shifts))

    def add_bias(self, op: LogOp) -> None:
        x, bias = self.labels[op.reads["x"]], self.labels[op.reads["bias"]]
        size, amount = self.sizes[op.reads["x"]], op.attributes["bias_shift"]
        target = self.give(op, size)
        spread = 2 * size if target == "logits" else 0
        self.put(op, lambda name: elements.add_bias(
            self.cpu, name, self.n, size, x, bias, target, amount, spread))  # fmt: skip

    center, normalize, scale = norm_training.center, norm_training.normalize, norm_training.scale
    normalize_gradient = norm_training.normalize_gradient
    update_gain = norm_training.update_gain

    def relu(self, op: LogOp) -> None:
        size = self.sizes[op.reads["x"]]
        source, target = self.labels[op.reads["x"]], self.give(op, size)
        self.put(op, lambda name: elements.relu(name, source, target, self.n * size))

    def relu_gradient(self, op: LogOp) -> None:
        size = self.sizes[op.reads["x"]]
        dy, x = self.labels[op.reads["dy"]], self.labels[op.reads["x"]]
        target = self.give(op, size)
        self.put(op, lambda name: elements.relu_gradient(name, dy, x, target, self.n * size))

    def sums(
        self, op: LogOp, terms: int, columns: int, factor: Factor, stream: Stream, target: str,
        how: str = "MOV", spread: int = 0,
    ) -> None:  # fmt: skip
        self.put(op, lambda name: matrices.sums(
            self.cpu, name, terms, columns, factor, stream, target, how, spread))  # fmt: skip

    def linear(self, op: LogOp) -> None:
        rows, columns = self.model.shapes[op.reads["weight"]]
        target = self.give(op, rows)
        factor = Factor(self.encoded[op.reads["x"]], op.attributes["constant"])
        stream = Stream(self.encoded[op.reads["weight"]], rows, 2 * columns)
        spread = 2 * rows if target == "logits" else 0
        self.sums(op, columns, self.n, factor, stream, target, spread=spread)

    def linear_gradient(self, op: LogOp) -> None:
        rows, columns = self.model.shapes[op.reads["weight"]]
        target = self.give(op, columns)
        factor = Factor(self.encoded[op.reads["dy"]], op.attributes["constant"])
        stream = Stream(self.encoded[op.reads["weight"]], columns, 2, 2 * columns)
        self.sums(op, rows, self.n, factor, stream, target)

    # Attention, head by head: a matrix of n rows and columns each.

    def heads(self, op: LogOp, size: int) -> list[tuple[str, str, str]]:
        """What to add to a label for each head: of its matrix, its features, its keys' features."""
        heads, n = op.attributes["heads"], self.n
        each, readers = size // heads, heads // op.attributes["kv_heads"]
        return [
            (f"+{2 * n * n * h}.", f"+{2 * n * each * h}.", f"+{2 * n * each * (h // readers)}.")
            for h in range(heads)
        ]

    def pairs(self, op: LogOp, by: str, of: str, target: str) -> None:
        """Every row of one value times every row of another, a head after the other."""
        size, n = self.sizes[by], self.n
        each = size // op.attributes["heads"]
        for matrix, own, shared in self.heads(op, size):
            factor = Factor(self.encoded[of] + shared, op.attributes["constant"])
            stream = Stream(self.encoded[by] + own, n, 2, 2 * n)
            self.sums(op, each, n, factor, stream, target + matrix)

    def mixes(
        self, op: LogOp, matrix: str, of: str, *, transposed: bool, constant: int, keys: bool
    ) -> None:
        """Sums of a value's rows by a matrix's entries.

        transposed  sums are over the matrix's rows: a result a column
        keys        the result has the keys' heads, and the value the queries'; else the reverse
        """
        heads, kv_heads = op.attributes["heads"], op.attributes["kv_heads"]
        each, n = self.sizes[of] // (heads if keys else kv_heads), self.n
        target = self.give(op, each * (kv_heads if keys else heads))
        for h, (entry, own, shared) in enumerate(self.heads(op, each * heads)):
            factor = Factor(self.encoded[matrix] + entry, constant, by_column=not transposed)
            read, written = (own, shared) if keys else (shared, own)
            stream = Stream(self.encoded[of] + read, each, 2 * n)
            how = "ADD" if keys and h % (heads // kv_heads) else "MOV"
            self.sums(op, n, n, factor, stream, target + written, how)

    def attention_weights(self, op: LogOp) -> None:
        heads, n = op.attributes["heads"], self.n
        target = self.give(op, 0, heads * n * n, codes=True)
        self.pairs(op, op.reads["q"], op.reads["k"], target)
        causal = op.attributes["causal"] and n > 1
        if causal:
            self.put(op, lambda name: elements.mask(name, n, heads, target, "100000"), "mask")
        self.put(
            op, lambda name: softmaxes.softmax(self.cpu, name, target, heads * n, n), "softmax"
        )
        if causal:
            silent = f"one-half-{-self.bounds.silent}."
            self.put(op, lambda name: elements.mask(name, n, heads, target, silent), "mask")

    def attention(self, op: LogOp) -> None:
        self.mixes(op, op.reads["weights"], op.reads["v"], transposed=False,
                   constant=self.share_constant, keys=False)  # fmt: skip

    def attention_scores_gradient(self, op: LogOp) -> None:
        heads, n = op.attributes["heads"], self.n
        target = self.give(op, 0, heads * n * n, codes=True)
        self.pairs(op, op.reads["dy"], op.reads["v"], target)
        weights = self.encoded[op.reads["weights"]]
        slopes = softmaxes.Scores(op.attributes["score_constant"], op.attributes["most"])
        self.put(
            op,
            lambda name: softmaxes.d_scores(name, target, weights, heads * n, n, slopes),
            "clips",
        )

    def attention_q_gradient(self, op: LogOp) -> None:
        self.mixes(op, op.reads["scores"], op.reads["k"], transposed=False,
                   constant=op.attributes["constant"], keys=False)  # fmt: skip

    def attention_k_gradient(self, op: LogOp) -> None:
        self.mixes(op, op.reads["scores"], op.reads["q"], transposed=True,
                   constant=op.attributes["constant"], keys=True)  # fmt: skip

    def attention_v_gradient(self, op: LogOp) -> None:
        self.mixes(op, op.reads["weights"], op.reads["dy"], transposed=True,
                   constant=self.share_constant, keys=True)  # fmt: skip

    def cross_entropy(self, op: LogOp) -> None:
        vocab = self.model.vocab_size
        target = self.give(op, vocab, codes=True)
        silent = self.bounds.silent
        self.kernels["loss"] = softmaxes.loss(self.cpu, "loss", self.n, vocab, target, silent)
        self.names["loss"] = op.name

    # Updates.

    def update_matrix(self, op: LogOp) -> None:
        rows, columns = self.model.shapes[op.reads["weight"]]
        factor = Factor(self.encoded[op.reads["x"]], op.attributes["constant"], True, self.cut)
        stream = Stream(self.encoded[op.reads["dy"]], rows, 2 * self.n)
        self.sums(op, self.n, columns, factor, stream, self.labels[op.reads["weight"]], "SUB")

    def update_rows(self, op: LogOp) -> None:
        table, dy = self.labels[op.reads["weight"]], self.encoded[op.reads["dy"]]
        by_token, size = op.reads["index"] == "token", self.size(op.reads["weight"])
        more = matrices.grow(op.attributes["constant"], self.cut)
        self.put(op, lambda name: matrices.update_rows(
            self.cpu, name, self.n, size, table, dy, by_token, more))  # fmt: skip

    def update_bias(self, op: LogOp) -> None:
        bias, dy = self.labels[op.reads["weight"]], self.encoded[op.reads["dy"]]
        size = self.size(op.reads["weight"])
        more = matrices.grow(op.attributes["constant"], self.cut)
        self.put(op, lambda name: matrices.update_bias(name, self.n, size, bias, dy, more))


KERNELS = (
    "embed",
    "add",
    "add_bias",
    "relu",
    "center",
    "normalize",
    "scale",
    "linear",
    "attention_weights",
    "attention",
    "cross_entropy",
    "relu_gradient",
    "normalize_gradient",
    "linear_gradient",
    "attention_scores_gradient",
    "attention_q_gradient",
    "attention_k_gradient",
    "attention_v_gradient",
    "update_matrix",
    "update_rows",
    "update_bias",
    "update_gain",
)


def check_ops(log: LogStep) -> None:
    """Raises ValueError for a step with a contract that has no kernel here."""
    for op in (*log.forward, log.loss, *log.backward, *log.updates):
        if op.contract not in KERNELS:
            raise ValueError(
                f"{log.step.model.name}: {op.name}: a PDP-11 has no kernel for {op.contract}"
            )
