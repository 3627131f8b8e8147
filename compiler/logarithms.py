"""Step -> LogStep: a training step lowered to contracts in logarithms, op by op.

    value      a linear 16-bit integer, Fixed(16, frac); sums wrap
    code       what a product looks at (kernels/reference/log_tables.py): of an even integer below
               4096, so what tables alone gave, Q13, is shifted down to Q10 when it is read; beyond
               it wraps in a plain encoder (encoder_parts.py), and saturates in other models
    constant   the code added to each product: it brings the result to its scale, and holds the
               attention's scale and the learning rate

The scales are LOG-11's: tables Q13, matrices Q10, values Q8, logits and scores Q6, gradients Q11,
gradients of what tables gave Q9, biases Q13.  A parameter's rate is the recipe's times its role's
SHARE, unless the recipe names a rate for it; a plain encoder's tables have the nearest power of
two.  A recipe's rates are for the mean of the positions' losses, those here for the sum; its clip
is that of the gradients of attention's scores.

To add an op: its contracts in kernels/reference/, its methods here and their lines in FORWARD and
BACKWARD.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from anachron.compiler import log_norms
from anachron.compiler.autodiff import RATE, TARGET, Step
from anachron.compiler.encoder_parts import is_plain
from anachron.compiler.model import ModelError, Node
from anachron.compiler.ops import OPS
from anachron.kernels.arithmetic import Fixed, Log
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES
from anachron.kernels.reference.log_tables import octaves

Format: TypeAlias = Fixed | Log

TABLE_FRAC, MATRIX_FRAC = 13, 10
TABLE_SHIFT = 3  # before the code of what tables gave is looked up
VALUE_FRAC, LOGIT_FRAC = 8, 6
GRADIENT_FRAC, TABLE_GRADIENT_FRAC = 11, 9
WEIGHT_GRADIENT_FRAC, SCORE_GRADIENT_FRAC = 7, 15  # inside attention
MOST_CODED = 4095  # the largest integer that has a code
CLIP = 1 / 16  # of a recipe that names none
SHARES = {"table": 1, "matrix": 8, "hidden": 1, "bias": 1, "gain": 1, "logits": 1 / 4}


@dataclass(frozen=True)
class LogOp:
    """One op of the lowered step; its value has the op's name.

    reads       the contract's arrays -> value or parameter, or "token", "position", "target"
    coded       those arrays that are read as codes -> the shift to the right before the look-up
    attributes  the contract's numbers: shifts, constants, heads
    saturates   whether look-ups of codes do, or wrap
    """

    name: str
    contract: str  # a row of LOG_CONTRACTS
    reads: Mapping[str, str]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    coded: Mapping[str, int] = field(default_factory=dict)
    saturates: bool = False


@dataclass(frozen=True)
class LogStep:
    """A training step in logarithms.

    forward   up to the logits
    loss      the cross-entropy: its value is the codes of the logits' gradients
    backward  what is skipped, with the updates, where every position of the loss is SILENT
    updates   each named by the parameter that it changes; order does not matter, they wrap
    formats   of every value and parameter
    rates     of every parameter, for the summed loss
    plain     whether the model is a plain encoder
    exact     whether products are multiplied: EXACT_CONTRACTS, whose constants are exponents of 2
    """

    step: Step
    forward: tuple[LogOp, ...]
    loss: LogOp
    backward: tuple[LogOp, ...]
    updates: tuple[LogOp, ...]
    formats: Mapping[str, Format]
    rates: Mapping[str, float]
    plain: bool
    exact: bool = False

    def __repr__(self) -> str:
        return (
            f"LogStep({self.step.model.name}: {len(self.forward)} ops forward, "
            f"{len(self.backward)} backward, {len(self.updates)} updates)"
        )


def lower_step(step: Step, numerics: str = "log") -> LogStep:
    """Choose every format, shift and constant.

    numerics    "log", or "fixed": products are multiplied, and a constant is a power of two

    Raises ModelError for an op or an optimizer that logarithms do not have.
    """
    model = step.model
    optimizer = model.recipe.get("optimizer", "sgd")
    if optimizer != "sgd":
        raise ModelError(f"{model.name}: its recipe says {optimizer}; logarithms have sgd only")
    lowering = Lowering(step)
    if numerics == "fixed":
        from anachron.compiler.exact_lowering import ExactLowering

        lowering = ExactLowering(step)
    for node in model.nodes:
        if node.op not in FORWARD:
            trained = ", ".join(FORWARD)
            raise ModelError(
                f"{node.where or node.name}: {node.op} does not train in logarithms; {trained} do"
            )
        getattr(lowering, FORWARD[node.op].__name__)(node)
    forward = lowering.take()
    for node in step.backward:
        BACKWARD[node.op](lowering, node)
    loss, *backward = lowering.take()
    for name in model.shapes:
        for gradient in lowering.of_parameters[step.gradients[name]]:
            lowering.update(name, gradient)
    return LogStep(
        step,
        forward,
        loss,
        tuple(backward),
        lowering.take(),
        MappingProxyType(lowering.formats),
        MappingProxyType(lowering.rates),
        lowering.plain,
        lowering.exact,
    )


class Lowering:
    """The ops so far, and the format of each value that they give."""

    exact = False
    share: Format = Log(0)  # of a probability
    slope: Format = Log(LOSS_OCTAVES)  # of a logit's gradient

    def __init__(self, step: Step) -> None:
        self.step = step
        self.plain = is_plain(step.model)
        self.ops: list[LogOp] = []
        self.formats: dict[str, Format] = {}
        self.rates: dict[str, float] = {}
        self.of_parameters: dict[str, list[Node]] = {}  # gradient, or sum -> what is summed
        self.origins = {  # gradient -> the node it is a gradient of
            f"d.{node.name}.{what}": node
            for node in step.model.nodes
            for what in (*OPS[node.op].between, *OPS[node.op].gradients)
        }

    def take(self) -> tuple[LogOp, ...]:
        ops, self.ops = tuple(self.ops), []
        return ops

    def emit(
        self,
        name: str,
        contract: str,
        form: Format,
        reads: Mapping[str, str],
        attributes: Mapping[str, Any] | None = None,
        codes: str = "",
    ) -> None:
        """Add an op; codes names the arrays that it reads as codes, where they are not yet."""
        coded = {
            role: self.shift(reads[role])
            for role in codes.split()
            if isinstance(self.formats[reads[role]], Fixed) and not self.exact
        }
        self.ops.append(LogOp(name, contract, reads, attributes or {}, coded, not self.plain))
        self.formats[name] = form

    def shift(self, name: str) -> int:
        """To the right, before a value's code is looked up."""
        return TABLE_SHIFT if self.formats[name].frac == TABLE_FRAC else 0

    def constant(self, octave: float, *names: str) -> int:
        """What brings products of these, as they are read, to Q{octave}."""
        return self.amount(octave - sum(self.formats[n].frac - self.shift(n) for n in names))

    def amount(self, octave: float) -> int:
        """The constant of a factor of 2**octave."""
        return octaves(octave)

    # Forward.

    def embed(self, node: Node) -> None:
        table = node.parameters["weight"]
        self._own(node, table, Fixed(16, TABLE_FRAC), "table")
        reads = {"index": node.inputs[0], "table": table}
        self.emit(node.name, "embed", self.formats[table], reads)

    def add(self, node: Node) -> None:
        """Of values, and of gradients; a sum of a parameter's gradients is left to the updates."""
        a, b = node.inputs
        if a in self.of_parameters:
            self.of_parameters[node.name] = self.of_parameters[a] + self.of_parameters[b]
            return
        frac = min(self.formats[a].frac, self.formats[b].frac)
        shifts = {f"{role}_shift": self.formats[n].frac - frac for role, n in (("a", a), ("b", b))}
        self.emit(node.name, "add", Fixed(16, frac), {"a": a, "b": b}, shifts)

    def linear(self, node: Node) -> None:
        (x,), weight = node.inputs, node.parameters["weight"]
        last = node.name == "logits"
        attends = any(n.op == "attention" and node.name in n.inputs for n in self.step.model.nodes)
        role = "logits" if last else "matrix" if attends else "hidden"
        self._own(node, weight, Fixed(16, MATRIX_FRAC), role)
        frac = LOGIT_FRAC if last else VALUE_FRAC
        constant = {"constant": self.constant(frac, x, weight)}
        reads = {"x": x, "weight": weight}
        bias = node.parameters.get("bias")
        product = node.name if bias is None else f"{node.name}.product"
        self.emit(product, "linear", Fixed(16, frac), reads, constant, "x weight")
        if bias is not None:
            self._own(node, bias, Fixed(16, TABLE_FRAC), "bias")
            reads = {"x": product, "bias": bias}
            shifts = {"bias_shift": TABLE_FRAC - frac}
            self.emit(node.name, "add_bias", Fixed(16, frac), reads, shifts)

    rms_norm, layer_norm = log_norms.rms_norm, log_norms.layer_norm

    def relu(self, node: Node) -> None:
        (x,) = node.inputs
        self.emit(node.name, node.op, self.formats[x], {"x": x})

    def attention(self, node: Node) -> None:
        """Two ops: the weights, which the backward pass reads again, and the sums."""
        q, k, v = node.inputs
        weights = f"d.{node.name}.weights"
        scale = math.log2(node.attributes["scale"])
        attributes = self._heads(node) | {
            "causal": node.attributes["causal"],
            "constant": self.constant(LOGIT_FRAC + scale, q, k),
        }
        self.emit(weights, "attention_weights", self.share, {"q": q, "k": k}, attributes, "q k")
        form = Fixed(16, self.formats[v].frac - self.shift(v))
        reads = {"weights": weights, "v": v}
        self.emit(node.name, "attention", form, reads, self._heads(node), "v")

    def _own(self, node: Node, parameter: str, form: Format, role: str) -> None:
        if self.formats.setdefault(parameter, form) != form:
            raise ModelError(
                f"{node.where or node.name}: {parameter} is a table and a matrix, which have "
                "different scales in logarithms"
            )
        model = self.step.model
        named = model.recipe.get(parameter)
        rate = model.recipe.get("rate", RATE) * SHARES[role] if named is None else named
        octave = math.log2(rate / model.seq_len)
        whole = role == "table" and self.plain
        self.rates.setdefault(parameter, 2.0 ** (round(octave) if whole else octave))

    def _heads(self, node: Node) -> dict[str, int]:
        return {name: node.attributes[name] for name in ("heads", "kv_heads")}

    # Backward.

    def known(self, node: Node) -> None:
        """The loss comes with its gradient, an attention's weights from the forward pass."""

    def cross_entropy_gradient(self, node: Node) -> None:
        reads = {"logits": node.inputs[0], "target": TARGET}
        self.emit(node.name, LOSS_CONTRACT, self.slope, reads)

    def of_parameter(self, node: Node) -> None:
        self.of_parameters[node.name] = [node]

    def linear_gradient(self, node: Node) -> None:
        (dy,), weight = node.inputs, node.parameters["weight"]
        (x,) = self.origins[node.name].inputs
        frac = TABLE_GRADIENT_FRAC if self.shift(x) else GRADIENT_FRAC
        constant = {"constant": self.constant(frac, dy, weight)}
        reads = {"dy": dy, "weight": weight}
        self.emit(node.name, node.op, Fixed(16, frac), reads, constant, "dy weight")

    def relu_gradient(self, node: Node) -> None:
        dy, x = node.inputs
        self.emit(node.name, node.op, self.formats[dy], {"dy": dy, "x": x})

    def attention_scores_gradient(self, node: Node) -> None:
        dy, v, weights = node.inputs
        origin = self.origins[node.name]
        scale = math.log2(origin.attributes["scale"])
        clip = self.step.model.recipe.get("clip", CLIP)
        frac = min(SCORE_GRADIENT_FRAC, math.floor(math.log2(MOST_CODED / clip)))
        frac = max(0, frac - (frac == TABLE_FRAC))  # that one is shifted before it is read
        attributes = self._heads(origin) | {
            "constant": self.constant(WEIGHT_GRADIENT_FRAC, dy, v),
            "score_constant": self.amount(frac - WEIGHT_GRADIENT_FRAC + scale),
            "most": max(1, min(MOST_CODED, round(clip * 2**frac))),
            "saturates": not self.plain,
        }
        form = Fixed(16, frac)
        reads = {"dy": dy, "v": v, "weights": weights}
        self.emit(node.name, node.op, form, reads, attributes, "dy v")

    def attention_q_gradient(self, node: Node) -> None:
        scores, k = node.inputs
        self._score_sum(node, {"scores": scores, "k": k}, "scores k")

    def attention_k_gradient(self, node: Node) -> None:
        scores, q = node.inputs
        self._score_sum(node, {"scores": scores, "q": q}, "scores q")

    def _score_sum(self, node: Node, reads: Mapping[str, str], codes: str) -> None:
        attributes = self._heads(self.origins[node.name]) | {
            "constant": self.constant(GRADIENT_FRAC, *reads.values())
        }
        self.emit(node.name, node.op, Fixed(16, GRADIENT_FRAC), reads, attributes, codes)

    def attention_v_gradient(self, node: Node) -> None:
        dy, weights = node.inputs
        attributes = self._heads(self.origins[node.name])
        form = Fixed(16, self.formats[dy].frac)
        self.emit(node.name, node.op, form, {"weights": weights, "dy": dy}, attributes, "dy")

    # Updates.

    def update(self, parameter: str, gradient: Node) -> None:
        """Take a gradient from a parameter at its rate."""
        form, dy = self.formats[parameter], gradient.inputs[0]
        octave = form.frac + math.log2(self.rates[parameter])
        reads = {"weight": parameter, "dy": dy}
        if gradient.op == "embed_weight_gradient":
            reads["index"] = gradient.inputs[1]
            if self.plain:
                amount = {"amount": round(octave) - self.formats[dy].frac}
                self.emit(parameter, "update_table", form, reads, amount)
            else:
                constant = {"constant": self.constant(octave, dy)}
                self.emit(parameter, "update_rows", form, reads, constant, "dy")
        elif gradient.op.endswith("gain_gradient"):
            log_norms.update_gain(self, parameter, gradient)
        elif gradient.op == "bias_gradient":
            constant = {"constant": self.constant(octave, dy)}
            self.emit(parameter, "update_bias", form, reads, constant, "dy")
        else:
            reads["x"] = x = gradient.inputs[1]
            constant = {"constant": self.constant(octave, dy, x)}
            self.emit(parameter, "update_matrix", form, reads, constant, "dy x")


LOSS_CONTRACT = "cross_entropy"
FORWARD = {
    "embed": Lowering.embed,
    "add": Lowering.add,
    "linear": Lowering.linear,
    "relu": Lowering.relu,
    "rms_norm": Lowering.rms_norm,
    "layer_norm": Lowering.layer_norm,
    "attention": Lowering.attention,
}
BACKWARD = {
    LOSS_CONTRACT: Lowering.known,
    "cross_entropy_gradient": Lowering.cross_entropy_gradient,
    "add": Lowering.add,
    "embed_weight_gradient": Lowering.of_parameter,
    "linear_gradient": Lowering.linear_gradient,
    "linear_weight_gradient": Lowering.of_parameter,
    "bias_gradient": Lowering.of_parameter,
    "relu_gradient": Lowering.relu_gradient,
    "rms_norm_gradient": log_norms.norm_gradient,
    "layer_norm_gradient": log_norms.norm_gradient,
    "rms_norm_gain_gradient": Lowering.of_parameter,
    "layer_norm_gain_gradient": Lowering.of_parameter,
    "attention_weights": Lowering.known,
    "attention_scores_gradient": Lowering.attention_scores_gradient,
    "attention_q_gradient": Lowering.attention_q_gradient,
    "attention_k_gradient": Lowering.attention_k_gradient,
    "attention_v_gradient": Lowering.attention_v_gradient,
}
