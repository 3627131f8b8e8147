"""Model -> FixedModel: formats.py gives every value its format; here every node becomes an op.

Formats come from the model's own hints (`numerics`, from its text or its checkpoint), then from
calibration.  Rounding to nearest costs nothing: it is half a unit in a matrix's bias.

To quantize another op: a case in `lower`, and in formats.py where it keeps or limits a scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anachron.compiler.calibration import find_more_samples, find_samples
from anachron.compiler.fixed import FixedModel, Op, Value, as_array, check
from anachron.compiler.following import follow
from anachron.compiler.formats import Formats, find_size, measure, weight_frac
from anachron.compiler.model import INPUTS, Model, ModelError, Node
from anachron.compiler.numerics import find_numerics
from anachron.compiler.ops import forward
from anachron.kernels.arithmetic import Array, Fixed, exp_table

LARGEST_SHIFT = 31
MOST_GAIN_SHIFT = 8  # machines of bytes drop one at once
LEAST_RECIPROCAL_BITS = 15


def quantize(
    model: Model,
    samples: Sequence[Sequence[int]] | None = None,
    **options: Any,
) -> FixedModel:
    """Give every value a format and every weight its integers.

    samples: token ids to calibrate with; by default what calibration.py finds for the model.
    options: fields of numerics.Numerics.  Raises ModelError, naming the op, where no format will
    do.
    """
    numerics = find_numerics(model, options)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        fitted = numerics.weights == "fitted"
        if samples is None:
            needed = numerics.value_frac is None or numerics.activations < 16 or fitted
            samples = find_samples(model) if needed else []
            samples = find_more_samples(model, samples) if fitted else samples
        measured = measure(model, samples)
        formats = Formats(model, numerics, measured)
        if fitted:
            ops = follow(model, formats, samples, lower, find_meaning(model))
        else:
            ops = tuple(lower(node, formats) for node in model.nodes)
    return check(
        FixedModel(
            model.name,
            ops,
            dict(model.dimensions),
            model.tokenizer,
            model.generation,
            model.weights_from,
        )
    )


def find_meaning(model: Model) -> Callable[[Sequence[int]], Mapping[str, Array]]:
    """What a model's values should be: its exact integers, where it fixes them, else its floats."""
    if "exact" not in model.numerics:
        return lambda tokens: forward(model, tokens)
    fixed = quantize(model)
    return lambda tokens: {
        name: rows * 2.0 ** -fixed[name].value.format.frac
        for name, rows in fixed.trace(list(tokens)).items()
    }


def lower(node: Node, formats: Formats) -> Op:
    """The integer op of one node."""
    form = formats.of[node.name]
    given = [formats.of[n] for n in node.inputs if n not in INPUTS]
    match node.op:
        case "embed":
            return _lower_embed(node, formats, form)
        case "linear":
            return _lower_linear(node, formats, form, given[0])
        case "rms_norm" | "layer_norm":
            return _lower_norm(node, formats, form, given[0])
        case "attention":
            return _lower_attention(node, formats, form, given)
        case "add" | "relu":
            return _op(node, formats, node.op, {}, {})
        case "multiply":
            shift = given[0].frac + given[1].frac - form.frac
            return _op(node, formats, "multiply", {}, {"shift": shift})
        case "rope":
            return _lower_rope(node, formats)
        case "gelu" | "silu":
            return _lower_lookup(node, formats, form, given[0])
    raise ModelError(f"{node.name}: {node.op} has no integer meaning")


def _op(node: Node, formats: Formats, contract: str, constants: dict, attributes: dict) -> Op:
    size = find_size(formats.model, node.name)
    value = Value(node.name, size, formats.of[node.name], formats.seen(node.name))
    inputs = node.inputs + (("position",) if contract == "rope" else ())
    return Op(contract, inputs, value, constants, attributes)


def _lower_embed(node: Node, formats: Formats, form: Fixed) -> Op:
    name = node.parameters["weight"]
    table = formats.model.weights[name]
    frac = formats.exact_frac.get(name)
    if frac is None:
        frac = min(weight_frac(float(np.abs(table).max())), form.frac)
    integers = as_array(Fixed(8, frac).encode(table), np.int8)
    return _op(node, formats, "embed", {"table": integers}, {"shift": form.frac - frac})


def _lower_linear(node: Node, formats: Formats, form: Fixed, x: Fixed) -> Op:
    weight = formats.folded(node, "weight")
    frac = np.minimum(formats.row_fracs(node, x.frac), LARGEST_SHIFT - x.frac + form.frac)
    shift = x.frac + frac - form.frac
    if shift.min() < 0:
        raise ModelError(
            f"{node.name}: {form} is finer than its products of int8 Q{frac.min()} by {x}"
        )
    rows = np.stack([Fixed(8, int(f)).encode(w) for f, w in zip(frac, weight, strict=True)])
    bias = np.zeros(len(weight), np.int64)
    if "bias" in node.parameters:
        real = formats.folded(node, "bias").reshape(-1)
        bias = np.array(
            [Fixed(32, int(x.frac + f)).encode(b) for f, b in zip(frac, real, strict=True)]
        )
    if formats.numerics.rounding == "nearest":
        bias = bias + ((1 << shift) >> 1)
        if formats.floors(node.inputs[0]):  # half a unit, on average, is missing of each element
            bias = bias + (rows.sum(1) >> 1)
    if np.abs(bias).max(initial=0) >= 1 << 31:
        raise ModelError(f"{node.name}: a bias is too large for its accumulator of 32 bits")
    constants = {
        "weight": as_array(rows, np.int8),
        "bias": as_array(bias, np.int32),
        "shift": as_array(shift, np.int8),
    }
    return _op(node, formats, "matvec", constants, {})


def _lower_norm(node: Node, formats: Formats, form: Fixed, x: Fixed) -> Op:
    name = node.parameters["gain"]
    gain = formats.model.weights[name].reshape(-1)
    gain_frac = formats.gain_frac(node)
    if node.name in formats.gainless:
        gain, gain_frac = np.ones_like(gain), 0
    pre, up = formats.norm_shifts(node, x.frac)
    shift = gain_frac + formats.unit_frac(node, x.frac) - form.frac
    bits, more = formats.reciprocal_bits(node, x.frac), 0
    if formats.numerics.reciprocal_bits is None and node.name not in formats.gainless:
        # What of the reciprocal is far below the result's last bit need not be there.
        more = max(0, min(shift - MOST_GAIN_SHIFT, bits - LEAST_RECIPROCAL_BITS))
    attributes = {
        "gain_shift": shift - more,
        "pre_shift": pre,
        "root_shift": up,
        "reciprocal_bits": bits - more,
    }
    if attributes["gain_shift"] < 0:
        raise ModelError(f"{node.name}: {form} is finer than a norm of {x} can be")
    constants = {"gain": as_array(Fixed(8, gain_frac).encode(gain), np.int8)}
    if node.op == "layer_norm":
        bias = formats.model.weights[node.parameters["bias"]].reshape(-1)
        constants["bias"] = as_array(Fixed(16, form.frac).encode(bias), np.int16)
    return _op(node, formats, node.op, constants, attributes)


def _lower_attention(node: Node, formats: Formats, form: Fixed, given: list[Fixed]) -> Op:
    query, key, _ = given
    numerics = formats.numerics
    real = formats.scale(node) * numerics.score_steps
    shift = query.frac + key.frac - round(math.log2(real))
    if shift < 0:
        raise ModelError(
            f"{node.name}: queries of {query} and keys of {key} give scores beyond any scale: "
            "make their weights smaller"
        )
    table = exp_table(numerics.score_entries, numerics.score_steps, numerics.score_top or 255)
    table = np.maximum(table, numerics.weight_floor)
    table[-1] = 0
    heads = node.attributes.get("heads", 1)
    attributes = {
        "heads": heads,
        "kv_heads": node.attributes.get("kv_heads", heads),
        "causal": bool(node.attributes.get("causal", False)),
        "score_shift": shift,
    }
    return _op(node, formats, "attention", {"table": as_array(table, np.uint8)}, attributes)


def _lower_rope(node: Node, formats: Formats) -> Op:
    heads = node.attributes.get("heads", 1)
    half = find_size(formats.model, node.inputs[0]) // heads // 2
    theta = node.attributes.get("theta", 10000.0)
    angle = np.outer(np.arange(formats.model.seq_len), theta ** (-np.arange(half) / half))
    turn = Fixed(16, 14)
    constants = {
        "cosine": as_array(turn.encode(np.cos(angle)), np.int16),
        "sine": as_array(turn.encode(np.sin(angle)), np.int16),
    }
    interleaved = bool(node.attributes.get("interleaved", True))
    return _op(node, formats, "rope", constants, {"heads": heads, "interleaved": interleaved})


def _lower_lookup(node: Node, formats: Formats, form: Fixed, x: Fixed) -> Op:
    """257 points over -8 .. 8: beyond, the functions are 0 and x within an int16's last bit."""
    shift = max(0, x.frac - 4)
    points = np.arange(-128, 129) * 2.0 ** (shift - x.frac)
    table = as_array(Fixed(16, form.frac).encode(SMOOTH[node.op](points)), np.int16)
    tail = {"shift": shift, "tail": x.frac - form.frac}
    return _op(node, formats, "lookup", {"table": table}, tail)


def _gelu(x: Array) -> Array:
    """The tanh form, as GPT-2 has it."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


SMOOTH = {"gelu": _gelu, "silu": _silu}
