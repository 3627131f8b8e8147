"""Ops -> lines of a stream kernel: the fast form of each, or the general kernels."""

from __future__ import annotations

import math

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.cuda import lowering
from anachron.compiler.targets.cuda.constants import find_gains
from anachron.compiler.targets.cuda.fused_heads import Fusion, find_fusion, fused
from anachron.compiler.targets.cuda.lowering import find_largest
from anachron.compiler.targets.cuda.products import (
    collected,
    paired,
    repeated,
    repeats,
    saves_tiles,
    spread,
)
from anachron.compiler.targets.cuda.residence import MUST
from anachron.compiler.targets.cuda.stream import Stream, Units
from anachron.compiler.targets.cuda.windows import open_window
from anachron.kernels.cuda.lanes import (
    MOST_ROOTS,
    REDUCED,
    element_index,
    element_text,
    load_neighbours,
    lookup,
    masked,
    norm,
    together,
)
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
        elif op.name in s.units:
            s.variants[op.name] = ("mma, paired", "done with its partner")
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
        case "matvec" if _narrow(s, op):
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
    elif not last and (partner := _find_partner(s, op)) and saves_tiles(s, op):
        s.begin(op, "mma, paired", "rows dealt out with those of its partner")
        paired(s, (op, partner))
    else:
        s.begin(op, "mma, spread", "rows dealt out")
        spread(s, op)


def _narrow(s: Stream, op: Op) -> bool:
    """Whether a matrix's sums have 32 bits."""
    return find_largest(s.ranges.accumulators[op.name]["sum"]) < lowering.NARROW


def _find_partner(s: Stream, op: Op) -> Op | None:
    """Another matrix of the same vector and shape, whose result stays in units, too."""
    after = s.fixed.ops[s.numbers[op.name] + 1 : -1]
    for other in after:
        same = other.contract == "matvec" and other.inputs == op.inputs
        if same and other.value.size == op.value.size and _narrow(s, other):
            return None if s.wanted[other.name] or repeats(s, other) else other
    return None


def _embed(s: Stream, op: Op) -> None:
    table = op.constants["table"]
    if op.inputs[0] == "position":
        table = table[: s.fixed.seq_len]
    bits, size = op.value.format.bits, op.value.size
    every = np.arange(len(table))
    shift = op.attributes["shift"]
    stored = reference.embed(every, table=table, shift=shift, bits=bits)
    if 0 <= shift < 32 and (stored == table.astype(np.int64) << shift).all():
        bits, stored = 8, table  # shifted by the kernel: half the room
    else:
        shift = 0
    place = s.at.rows(stored, bits)
    registers = s.lanes[op.name] = s.lane_registers(op.name)
    row = "token" if op.inputs[0] == "token" else "p"
    width = together(size)
    last = (size - 1) // width * width
    for i in range(0, len(registers), width):
        element = element_text(i, size)
        if element_index(i, size).max() > last:
            element = f"min32({element}, {last})"
        scaled = f"shl32({element}, 1)" if bits == 16 else element
        at = f"add32(mul32({row}, {place.row_bytes}), add32({scaled}, {place.offset}))"
        lines, values = load_neighbours(place.memory, at, bits, width, f"pieces{i}")
        s.emit(*lines)
        for j, value in enumerate(values):
            value = f"shl32({value}, {shift})" if shift else value
            s.emit(f"{registers[i + j]} = {masked(value, i + j, size)}")


def _narrow_norm(s: Stream, op: Op) -> bool:
    """Whether sum and shifted mean have 32 bits without a sign, and the mean 31."""
    squares = find_largest(s.ranges.accumulators[op.name]["squares"])
    mean = squares / op.value.size + 1
    shifted = mean * 2.0 ** op.attributes["root_shift"]
    return max(squares, shifted, 2 * mean) < 2 * lowering.NARROW


def _norm(s: Stream, op: Op) -> None:
    names = s.as_lanes(op.inputs[0])
    results = s.lanes[op.name] = s.lane_registers(op.name)
    size = op.value.size
    gains, biases = find_gains(s, op)
    lines = norm(
        names,
        results,
        gains,
        biases,
        n=size,
        bits=op.value.format.bits,
        reciprocals=_reciprocals(s, op),
        **{name: int(value) for name, value in op.attributes.items()},
    )
    reduced = lines.index(REDUCED) + 1
    s.emit(*lines[:reduced])
    open_window(s, op.name, "squares")
    s.emit(*lines[reduced:])


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
