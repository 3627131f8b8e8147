"""Ops -> lines of a stream kernel: the fast form of each, or the general kernels."""

from __future__ import annotations

import math

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.cuda import lowering
from anachron.compiler.targets.cuda.fused_heads import Fusion, find_fusion, fused
from anachron.compiler.targets.cuda.lowering import find_largest
from anachron.compiler.targets.cuda.products import collected, repeated, repeats, spread
from anachron.compiler.targets.cuda.residence import MUST
from anachron.compiler.targets.cuda.stream import Stream, Units
from anachron.kernels.cuda.lanes import MOST_ROOTS, lookup, masked, norm
from anachron.kernels.cuda.places import WARP, Place, saturated
from anachron.kernels.reference import embedding as reference
from anachron.kernels.reference.norm import LARGEST_RECIPROCAL

ELEMENTWISE = ("add", "relu", "lookup", "multiply")


def want_lanes(s: Stream) -> dict[str, bool]:
    """Whether a value is asked for in the lanes of every warp, by what reads it."""
    wanted: dict[str, bool] = {}
    for op in reversed(s.fixed.ops):
        mine = wanted.get(op.name, False) or op.contract in ("embed", "add", "rms_norm")
        mine = mine or op.contract == "layer_norm"
        wanted[op.name] = mine
        for name in op.inputs:
            asks = op.contract in ("rms_norm", "layer_norm", "add")
            asks = asks or op.contract in ELEMENTWISE and mine
            wanted[name] = wanted.get(name, False) or asks
    return wanted


def lower_body(s: Stream) -> None:
    """All ops but the last, which gives the logits."""
    fusions: dict[str, Fusion] = {}
    inner: set[str] = set()
    for op in s.fixed.ops:
        if op.contract == "attention" and (found := find_fusion(s, op)):
            fusions[op.name] = found
            inner |= set(found.inner)
    s.wanted = want_lanes(s)
    for op in s.fixed.ops[:-1]:
        if op.name in inner:
            s.variants[op.name] = ("fused", "done with the heads that read it")
        elif op.name in fusions:
            s.begin(op, "heads", "a warp a head, dot products of bytes")
            fused(s, fusions[op.name])
        else:
            lower_op(s, op)
    if s.later:
        s.hazards.clear()
        s.barrier("block")


def lower_op(s: Stream, op: Op) -> None:
    """One op, in its fast form where it has one."""
    match op.contract:
        case "embed":
            s.begin(op, "lanes", "every warp has it")
            _embed(s, op)
        case "matvec" if find_largest(s.ranges.accumulators[op.name]["sum"]) < lowering.NARROW:
            _matvec(s, op)
        case "rms_norm" | "layer_norm" if _narrow_norm(s, op):
            s.begin(op, "lanes", "a reduction in every warp")
            _norm(s, op)
        case "add" | "relu" | "lookup" | "multiply":
            s.begin(op, "registers", "element by element")
            _elementwise(s, op)
        case _:
            s.general_op(op)


def _matvec(s: Stream, op: Op) -> None:
    last = op is s.fixed.ops[-1]
    if not last and repeats(s, op):
        s.begin(op, "mma, repeated", "fewer products than a barrier costs")
        repeated(s, op)
    elif not last and s.wanted[op.name]:
        s.begin(op, "mma, collected", "rows and columns dealt out")
        collected(s, op)
    else:
        s.begin(op, "mma, spread", "rows dealt out")
        spread(s, op)


def _embed(s: Stream, op: Op) -> None:
    table = op.constants["table"]
    if op.inputs[0] == "position":
        table = table[: s.fixed.seq_len]
    bits, size = op.value.format.bits, op.value.size
    every = np.arange(len(table))
    stored = reference.embed(every, table=table, shift=op.attributes["shift"], bits=bits)
    place = s.at.rows(stored, bits)
    s.lanes[op.name] = s.lane_registers(op.name)
    row = "token" if op.inputs[0] == "token" else "p"
    start = f"mul32({row}, {place.row_bytes})"
    for i, register in enumerate(s.lanes[op.name]):
        element = f"add32(slot, {WARP * i})"
        if WARP * (i + 1) > size:
            element = f"min32({element}, {size - 1})"
        scaled = f"shl32({element}, 1)" if bits == 16 else element
        at = f"add32({start}, add32({scaled}, {place.offset}))"
        value = f"load{bits}({place.memory}, {at})"
        s.emit(f"{register} = {masked(value, i, size)}")


def _narrow_norm(s: Stream, op: Op) -> bool:
    """Whether sum and shifted mean have 32 bits without a sign, and the mean 31."""
    squares = find_largest(s.ranges.accumulators[op.name]["squares"])
    mean = squares / op.value.size + 1
    shifted = mean * 2.0 ** op.attributes["root_shift"]
    return max(squares, shifted, 2 * mean) < 2 * lowering.NARROW


def _norm(s: Stream, op: Op) -> None:
    names = s.as_lanes(op.inputs[0])
    results = s.lanes[op.name] = s.lane_registers(op.name)
    size, k = op.value.size, op.constants
    gains = [s.lane_words(k["gain"], i) for i in range(len(names))]
    biases = None
    if "bias" in k:
        biases = [s.lane_words(k["bias"], i) for i in range(len(names))]
    s.emit(
        *norm(
            names,
            results,
            gains,
            biases,
            n=size,
            bits=op.value.format.bits,
            reciprocals=_reciprocals(s, op),
            **{name: int(value) for name, value in op.attributes.items()},
        )
    )


def _reciprocals(s: Stream, op: Op) -> Place | None:
    """2**reciprocal_bits divided by every root that can occur, if they are few."""
    squares = find_largest(s.ranges.accumulators[op.name]["squares"])
    mean = math.floor(squares / op.value.size) + 1
    most = math.isqrt(mean << op.attributes["root_shift"]) + 1
    if most > MOST_ROOTS:
        return None
    root = np.arange(most + 1)
    root[0] = math.isqrt(1 << op.attributes["root_shift"])  # a mean of 0 counts as 1
    table = np.minimum(LARGEST_RECIPROCAL, (1 << op.attributes["reciprocal_bits"]) // root)
    return s.at.rows(table, 16, MUST)


def _elementwise(s: Stream, op: Op) -> None:
    """In units where all inputs are in equal ones, otherwise in the lanes."""
    inputs = list(op.inputs)
    units = [s.units.get(name) for name in inputs]
    shared = all(u is not None and u.rows == units[0].rows for u in units if units[0])
    if units[0] is not None and shared and not s.wanted[op.name]:
        names = [u.names for u in units if u]
        results = s.registers(op.name, len(names[0]))
        s.units[op.name] = Units(results, units[0].rows)
        for i, y in enumerate(results):
            s.emit(*_one(s, op, [mine[i] for mine in names], y))
        return
    lanes = [s.as_lanes(name) for name in inputs]
    results = s.lanes[op.name] = s.lane_registers(op.name)
    for i, y in enumerate(results):
        s.emit(*_one(s, op, [mine[i] for mine in lanes], y))
        if op.contract == "lookup" and WARP * (i + 1) > op.value.size:
            s.emit(f"{y} = {masked(y, i, op.value.size)}")


def _one(s: Stream, op: Op, x: list[str], y: str) -> list[str]:
    bits, a = op.value.format.bits, op.attributes
    match op.contract:
        case "add":
            return [f"{y} = {saturated(f'add32({x[0]}, {x[1]})', bits)}"]
        case "relu":
            clipped = x[0] if s.bits(op.inputs[0]) <= bits else saturated(x[0], bits)
            return [f"{y} = max32(0, {clipped})"]
        case "multiply":
            product = f"sar32(mul32({x[0]}, {x[1]}), {min(a['shift'], 31)})"
            return [f"{y} = {saturated(product, bits)}"]
        case _:
            table = s.at.rows(op.constants["table"], 16, MUST)
            return lookup(x[0], y, table, shift=a["shift"], tail=a["tail"], bits=bits)
