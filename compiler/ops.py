"""One row an op: what it reads, its settings, its shape, its meaning, its gradient, its contracts.

A row's `settings` are what a program text may write in the call's brackets, with their defaults;
`gradients` says, for each value and parameter that the op reads, which op gives its gradient and
from what, so that autodiff.py needs to know no op by name.

To add an op: its meaning and gradients in floats.py, a row here, a case in quantization.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from anachron.compiler import floats

if TYPE_CHECKING:
    from anachron.compiler.model import Model

Array = np.ndarray
Shapes = dict[str, tuple[int, ...]]
INDICES = ("token", "position")  # what embed may look up

NEEDED = object()  # a setting without a default
DERIVED = object()  # a setting whose default the shape rule works out
MAX_SIZE = 1 << 16  # features of a value, rows of a table


class ShapeError(ValueError):
    """Sizes or settings that an op cannot take; whoever knows the place adds it."""


@dataclass(frozen=True)
class Gradient:
    """The gradient of one thing an op reads: the op that gives it, and what that reads.

    "dy" is the gradient of the op's own result; an op of "" passes it on as it is.
    """

    op: str
    reads: tuple[str, ...] = ("dy",)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    resolve(sizes, settings) gives (attributes, size, shapes): the settings with every default in
    place, the size of the result, and the shape of each parameter by its role.
    between names what the gradients share, worked out before them, in order.
    """

    name: str
    inputs: tuple[str, ...]
    settings: Mapping[str, Any]
    resolve: Callable[[Sequence[int], dict[str, Any]], tuple[dict[str, Any], int, Shapes]]
    meaning: Callable[..., Array]
    gradients: Mapping[str, Gradient]
    contracts: tuple[str, ...]  # what it lowers to
    between: Mapping[str, Gradient] = field(default_factory=dict)


@dataclass(frozen=True)
class GradientRow:
    """An op that only a backward pass has: attributes are those it takes over from the op."""

    name: str
    meaning: Callable[..., Array]
    attributes: tuple[str, ...] = ()


def _positive(settings: Mapping[str, Any], *names: str) -> None:
    for name in names:
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_SIZE:
            raise ShapeError(f"{name} is {value}, allowed is a whole number from 1 to {MAX_SIZE}")


def _real(settings: Mapping[str, Any], *names: str) -> None:
    for name in names:
        value = settings[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise ShapeError(f"{name} is {value}, allowed is a number above 0")


def _embed(sizes: Sequence[int], settings: dict[str, Any]) -> tuple[dict[str, Any], int, Shapes]:
    _positive(settings, "size")
    return settings, settings["size"], {"weight": (sizes[0], settings["size"])}


def _linear(sizes: Sequence[int], settings: dict[str, Any]) -> tuple[dict[str, Any], int, Shapes]:
    _positive(settings, "size")
    shapes: Shapes = {"weight": (settings["size"], sizes[0])}
    if settings["bias"]:
        shapes["bias"] = (settings["size"],)
    return settings, settings["size"], shapes


def _pair(sizes: Sequence[int], settings: dict[str, Any]) -> tuple[dict[str, Any], int, Shapes]:
    if sizes[0] != sizes[1]:
        raise ShapeError(f"the left side has {sizes[0]} features, the right side {sizes[1]}")
    return settings, sizes[0], {}


def _same(sizes: Sequence[int], settings: dict[str, Any]) -> tuple[dict[str, Any], int, Shapes]:
    return settings, sizes[0], {}


def _rms_norm(sizes: Sequence[int], settings: dict[str, Any]) -> tuple[dict[str, Any], int, Shapes]:
    _real(settings, "epsilon")
    return settings, sizes[0], {"gain": (sizes[0],)}


def _layer_norm(
    sizes: Sequence[int], settings: dict[str, Any]
) -> tuple[dict[str, Any], int, Shapes]:
    _real(settings, "epsilon")
    return settings, sizes[0], {"gain": (sizes[0],), "bias": (sizes[0],)}


def _attention(
    sizes: Sequence[int], settings: dict[str, Any]
) -> tuple[dict[str, Any], int, Shapes]:
    if settings["kv_heads"] is DERIVED:
        settings = settings | {"kv_heads": settings["heads"]}
    _positive(settings, "heads", "kv_heads")
    heads, kv_heads = settings["heads"], settings["kv_heads"]
    q, k, v = sizes
    if q % heads:
        raise ShapeError(f"q has {q} features, which {heads} heads cannot share equally")
    if heads % kv_heads:
        raise ShapeError(f"{heads} heads cannot share {kv_heads} kv_heads equally")
    wanted = q // heads * kv_heads
    if k != wanted or v != wanted:
        raise ShapeError(
            f"q has {q} features in {heads} heads, so k and v have {wanted} in {kv_heads}; "
            f"here k has {k} and v has {v}"
        )
    if settings["scale"] is DERIVED:
        settings = settings | {"scale": (q // heads) ** -0.5}
    _real(settings, "scale")
    return settings, q, {}


def _rope(sizes: Sequence[int], settings: dict[str, Any]) -> tuple[dict[str, Any], int, Shapes]:
    _positive(settings, "heads")
    _real(settings, "theta")
    if sizes[0] % (2 * settings["heads"]):
        raise ShapeError(
            f"rope turns pairs: {sizes[0]} features in {settings['heads']} heads are not pairs"
        )
    return settings, sizes[0], {}


def _smooth(name: str, contract: str) -> Row:
    """A function of each element by itself."""
    gradient = Gradient(f"{name}_gradient", ("dy", "x"))
    return Row(name, ("x",), {}, _same, getattr(floats, name), {"x": gradient}, (contract,))


EPSILON = 1e-5  # torch.nn's and llama2.c's
HEADS = {"heads": 1, "kv_heads": DERIVED, "causal": False, "scale": DERIVED}

OPS = {
    row.name: row
    for row in (
        Row(
            "embed",
            ("index",),
            {"size": NEEDED},
            _embed,
            floats.embed,
            {"weight": Gradient("embed_weight_gradient", ("dy", "index"))},
            ("embed",),
        ),
        Row(
            "linear",
            ("x",),
            {"size": NEEDED, "bias": False},
            _linear,
            floats.linear,
            {
                "x": Gradient("linear_gradient"),
                "weight": Gradient("linear_weight_gradient", ("dy", "x")),
                "bias": Gradient("bias_gradient"),
            },
            ("matvec",),
        ),
        Row(
            "add",
            ("a", "b"),
            {},
            _pair,
            floats.add,
            {"a": Gradient(""), "b": Gradient("")},
            ("add",),
        ),
        Row(
            "multiply",
            ("a", "b"),
            {},
            _pair,
            floats.multiply,
            {"a": Gradient("multiply", ("dy", "b")), "b": Gradient("multiply", ("dy", "a"))},
            ("multiply",),
        ),
        Row(
            "rms_norm",
            ("x",),
            {"epsilon": EPSILON},
            _rms_norm,
            floats.rms_norm,
            {
                "x": Gradient("rms_norm_gradient", ("dy", "x")),
                "gain": Gradient("rms_norm_gain_gradient", ("dy", "x")),
            },
            ("rms_norm",),
        ),
        Row(
            "layer_norm",
            ("x",),
            {"epsilon": EPSILON},
            _layer_norm,
            floats.layer_norm,
            {
                "x": Gradient("layer_norm_gradient", ("dy", "x")),
                "gain": Gradient("layer_norm_gain_gradient", ("dy", "x")),
                "bias": Gradient("bias_gradient"),
            },
            ("layer_norm",),
        ),
        Row(
            "attention",
            ("q", "k", "v"),
            HEADS,
            _attention,
            floats.attention,
            {
                "q": Gradient("attention_q_gradient", ("scores", "k")),
                "k": Gradient("attention_k_gradient", ("scores", "q")),
                "v": Gradient("attention_v_gradient", ("dy", "weights")),
            },
            ("attention",),
            {
                "weights": Gradient("attention_weights", ("q", "k")),
                "scores": Gradient("attention_scores_gradient", ("dy", "v", "weights")),
            },
        ),
        Row(
            "rope",
            ("x",),
            {"heads": 1, "theta": 10000.0, "interleaved": False},
            _rope,
            floats.rope,
            {"x": Gradient("rope_gradient")},
            ("rope",),
        ),
        _smooth("relu", "relu"),
        _smooth("gelu", "lookup"),
        _smooth("silu", "lookup"),
    )
}

GRADIENT_OPS = {
    row.name: row
    for row in (
        GradientRow("embed_weight_gradient", floats.embed_weight_gradient),
        GradientRow("linear_gradient", floats.linear_gradient),
        GradientRow("linear_weight_gradient", floats.linear_weight_gradient),
        GradientRow("bias_gradient", floats.bias_gradient),
        GradientRow("multiply", floats.multiply),
        GradientRow("add", floats.add),
        GradientRow("rms_norm_gradient", floats.rms_norm_gradient, ("epsilon",)),
        GradientRow("rms_norm_gain_gradient", floats.rms_norm_gain_gradient, ("epsilon",)),
        GradientRow("layer_norm_gradient", floats.layer_norm_gradient, ("epsilon",)),
        GradientRow("layer_norm_gain_gradient", floats.layer_norm_gain_gradient, ("epsilon",)),
        GradientRow("attention_weights", floats.attention_weights, tuple(HEADS)),
        GradientRow(
            "attention_scores_gradient",
            floats.attention_scores_gradient,
            ("heads", "kv_heads", "scale"),
        ),
        GradientRow("attention_q_gradient", floats.attention_q_gradient, ("heads", "kv_heads")),
        GradientRow("attention_k_gradient", floats.attention_k_gradient, ("heads", "kv_heads")),
        GradientRow("attention_v_gradient", floats.attention_v_gradient, ("heads", "kv_heads")),
        GradientRow("rope_gradient", floats.rope_gradient, ("heads", "theta", "interleaved")),
        GradientRow("relu_gradient", floats.relu_gradient),
        GradientRow("gelu_gradient", floats.gelu_gradient),
        GradientRow("silu_gradient", floats.silu_gradient),
        GradientRow("cross_entropy", floats.cross_entropy),
        GradientRow("cross_entropy_gradient", floats.cross_entropy_gradient),
    )
}


def forward(model: Model, tokens: Sequence[int] | Array) -> dict[str, Array]:
    """Every value of the float graph by name, (..., positions, size).

    tokens (..., positions): ids; leading axes are a batch.
    """
    token = np.asarray(tokens, np.int64)
    if token.size and not 0 <= token.min() <= token.max() < model.vocab_size:
        raise ShapeError(f"{model.name}: token ids are 0 .. {model.vocab_size - 1}")
    if token.shape[-1] > model.seq_len:
        raise ShapeError(f"{model.name}: {token.shape[-1]} tokens, the context is {model.seq_len}")
    position = np.broadcast_to(np.arange(token.shape[-1]), token.shape)
    values: dict[str, Array] = {"token": token, "position": position}
    for node in model.nodes:
        weights = {role: model.weights[name] for role, name in node.parameters.items()}
        reads = [values[name] for name in node.inputs]
        values[node.name] = OPS[node.op].meaning(*reads, weights, **node.attributes)
    del values["token"], values["position"]
    return values
