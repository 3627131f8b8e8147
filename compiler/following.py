"""Ops one by one over texts of the model's own -> matrices that follow what the model means.

A matrix of few bits reads values that have lost something already.  Its weights are fitted to what
it does read, so that it gives what the model gives there, what is lost before included where sums
of weights can tell; then they are rounded (rounding.py), and its bias makes up for the rest of the
mean.  Where a residual sum reads it alone, the sum is what follows.

The model's meaning is its exact integers, where a checkpoint fixes them, else its floats.

Source: after Frantar et al. (rounding.py) and Li et al., "GPTAQ: Efficient Finetuning-Free
Quantization for Asymmetric Calibration" (2025).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from anachron.compiler.fixed import Op, as_array
from anachron.compiler.formats import Formats
from anachron.compiler.model import Model, Node
from anachron.compiler.rounding import fit
from anachron.kernels.arithmetic import Array
from anachron.kernels.contracts import CONTRACTS

TIED = 0.03  # of the inputs' mean square: how strongly weights stay what they are
SHARES = (1.0, 0.7, 0.4, 0.0)  # of the way to the fitted weights, while the sums allow it
ENOUGH = 8  # positions for each input: fewer do not tell how weights should change
MOST_BIAS = (1 << 31) - 1


def follow(
    model: Model,
    formats: Formats,
    samples: Sequence[Sequence[int]],
    lower: Callable[[Node, Formats], Op],
    meaning: Callable[[Sequence[int]], Mapping[str, Array]],
) -> tuple[Op, ...]:
    """The ops of a model, their matrices fitted to what ops before them give.

    samples  token ids          lower    a node's op, its matrix rounded
    meaning  token ids -> value -> (positions, size), real numbers
    """
    lengths = [len(tokens) for tokens in samples]
    traces = [meaning(tokens) for tokens in samples]
    values: dict[str, Array] = {
        "token": np.concatenate([np.asarray(tokens, np.int64) for tokens in samples]),
        "position": np.concatenate([np.arange(length) for length in lengths]),
    }
    ops = []
    for node in model.nodes:
        op = lower(node, formats)
        if node.op == "linear":
            target = np.concatenate([_target(node, model, trace) for trace in traces])
            target = target * formats.fold.get(node.name, 1.0)
            other = _residual(node, model)
            if other is not None:
                target = target - values[other] / 2.0 ** formats.of[other].frac
            op = _fitted(op, node, formats, values[node.inputs[0]], target)
        values[node.name] = _run(op, values, lengths)
        ops.append(op)
    return tuple(ops)


def _residual(node: Node, model: Model) -> str | None:
    """What a matrix's result is added to, if nothing else reads it."""
    readers = [reader for reader in model.nodes if node.name in reader.inputs]
    if len(readers) != 1 or readers[0].op != "add":
        return None
    others = [name for name in readers[0].inputs if name != node.name]
    known = [one.name for one in model.nodes[: model.nodes.index(node)]]
    return others[0] if len(others) == 1 and others[0] in known else None


def _target(node: Node, model: Model, trace: Mapping[str, Array]) -> Array:
    """(positions, size) what a matrix should give: itself, or the sum that reads it."""
    name = node.name
    if _residual(node, model) is not None:
        name = next(reader.name for reader in model.nodes if node.name in reader.inputs)
    rows = trace[name]
    return rows.reshape(-1, rows.shape[-1])


def _fitted(op: Op, node: Node, formats: Formats, x: Array, target: Array) -> Op:
    """A matrix with weights and biases that give the target for x as nearly as they can."""
    shift = op.constants["shift"].astype(np.int64)
    form, given = formats.of[node.name], formats.of[node.inputs[0]]
    frac = shift + form.frac - given.frac
    real = formats.folded(node, "weight") * 2.0 ** frac[:, None]
    wanted = target * 2.0 ** (form.frac + shift)
    x = x.astype(float)
    middle, mean = x.mean(0), wanted.mean(0)
    apart, wanted = x - middle, wanted - mean
    moments = apart.T @ apart / len(x)
    strength = float(np.diag(moments).mean())
    if not strength > 0:
        return op
    tied = TIED * strength * np.eye(len(moments))
    best = np.linalg.solve(moments + tied, apart.T @ wanted / len(x) + tied @ real.T).T
    half = (1 << shift) >> 1 if formats.numerics.rounding == "nearest" else 0 * shift
    limit = min(formats.sum_limit(node) or MOST_BIAS, MOST_BIAS)
    weight, bias = (op.constants[role].astype(np.int64) for role in ("weight", "bias"))
    left = np.ones(len(weight), bool)
    for share in SHARES if len(x) >= ENOUGH * x.shape[1] else SHARES[-1:]:
        rows = fit(real + share * (best - real), moments)
        biases = np.rint(mean - rows @ middle).astype(np.int64) + half
        reach = formats.reach(node, rows * 2.0 ** -frac[:, None]) * 2.0 ** (given.frac + frac)
        take = left & (reach + np.abs(biases) <= limit)
        weight[take], bias[take] = rows[take], biases[take]
        left &= ~take
    constants = {"weight": as_array(weight, np.int8), "bias": as_array(bias, np.int32)}
    return replace(op, constants={**op.constants, **constants})


def _run(op: Op, values: dict[str, Array], lengths: Sequence[int]) -> Array:
    """An op's results in all samples, one after the other."""
    meaning, bits = CONTRACTS[op.contract].meaning, op.value.format.bits
    given = [values[name] for name in op.inputs]
    if op.contract != "attention":
        return meaning(*given, **op.constants, **op.attributes, bits=bits)
    ends = np.cumsum(lengths)
    parts = []
    for first, end in zip(ends - lengths, ends, strict=True):
        rows = [x[first:end] for x in given]
        parts.append(meaning(*rows, **op.constants, **op.attributes, bits=bits, first=0))
    return np.concatenate(parts)
