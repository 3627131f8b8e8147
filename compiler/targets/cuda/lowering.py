"""Ops -> lines of a kernel, and the barriers between them.

A barrier stands before an op that reads what another thread has written since the last one.  Ops
that touch only their own elements need none among themselves; so the three matrices of an
attention run side by side.  No value is written twice in a pass, and each pass begins with a
barrier.

To add a contract: a case in `_lower`, its kernel in kernels/cuda/, a row in KERNELS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.cuda.layout import Layout
from anachron.compiler.targets.cuda.residence import Residence
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda import activation, attention, embedding, matvec, norm
from anachron.kernels.cuda.places import WARP, Place
from anachron.kernels.reference import embedding as reference

OWN = ("add", "relu", "lookup", "multiply")  # read the element that they write
WRITES_OWN = (*OWN, "embed", "matvec", "rms_norm", "layer_norm")  # element i is thread i's
KERNELS = frozenset((*WRITES_OWN, "attention", "rope"))
NARROW = 2.0**31
MOST_SCORE = 2.0**30  # so that a difference of two has 32 bits


@dataclass(frozen=True)
class Lowered:
    """An op's lines; `barrier` stands before them."""

    op: Op
    lines: list[str]
    barrier: bool = False


class Lowering:
    """The ops of a model, for so many threads."""

    def __init__(
        self, fixed: FixedModel, ranges: Ranges, layout: Layout | Residence, threads: int
    ) -> None:
        self.fixed, self.ranges, self.layout, self.threads = fixed, ranges, layout, threads
        self.positions = fixed.seq_len if layout.encoder else 1
        self.constants: dict[str, dict[str, Place | int]] = {}

    def lower_one(self, op: Op) -> list[str]:
        """An op's lines, for whoever puts barriers around them."""
        self.constants[op.name] = self._constants(op)
        return self._lower(op)

    def lower(self) -> list[Lowered]:
        """Every op in order, with the barriers that it needs."""
        self.constants = {op.name: self._constants(op) for op in self.fixed.ops}
        self.layout.finish()
        written: dict[str, bool] = {}  # since the last barrier: is element i thread i's?
        lowered = []
        for op in self.fixed.ops:
            fresh = [name for name in op.inputs if name in written]
            own = op.contract in OWN
            needed = any(not (own and written[name]) for name in fresh)
            if needed:
                written = {}
            lowered.append(Lowered(op, self._lower(op), needed))
            written[op.name] = self._writes_own(op)
        return lowered

    def _writes_own(self, op: Op) -> bool:
        """Element i is thread i's; a norm of many positions goes row by row instead."""
        flat = self.positions == 1 or not op.contract.endswith("norm")
        return op.contract in WRITES_OWN and flat

    # ---- constants

    def _constants(self, op: Op) -> dict[str, Place | int]:
        k, layout = op.constants, self.layout
        match op.contract:
            case "embed":
                table = k["table"]
                if op.inputs[0] == "position":
                    table = table[: self.fixed.seq_len]
                bits, shift = op.value.format.bits, op.attributes["shift"]
                every = np.arange(len(table))
                stored = reference.embed(every, table=table, shift=shift, bits=bits)
                return {"table": layout.rows(stored, bits)}
            case "matvec":
                return self._matrix(op)
            case "rms_norm":
                return {"gain": layout.rows(k["gain"], 8)}
            case "layer_norm":
                return {"gain": layout.rows(k["gain"], 8), "bias": layout.rows(k["bias"], 16)}
            case "attention":
                return {"table": layout.unsigned(k["table"])}
            case "rope":
                n = self.fixed.seq_len
                return {role: layout.rows(k[role][:n], 16) for role in ("cosine", "sine")}
            case "lookup":
                return {"table": layout.rows(k["table"], 16)}
        return {}

    def _matrix(self, op: Op) -> dict[str, Place | int]:
        weight, bias, shift = (op.constants[role] for role in ("weight", "bias", "shift"))
        bits = self.fixed.values[op.inputs[0]].format.bits
        one = int(shift[0]) if (shift == shift[0]).all() else -1
        return {
            "weight": self.layout.packed(matvec.pack_weight(weight, bits)),
            "bias": self.layout.rows(bias, 32),
            "shift": one if one >= 0 else self.layout.rows(shift, 8),
        }

    # ---- kernels

    def _lower(self, op: Op) -> list[str]:
        values = self.layout.values
        k: dict[str, Any] = self.constants[op.name]
        a: dict[str, Any] = dict(op.attributes)
        y = values[op.name]
        x = [values[name] for name in op.inputs if name in values]
        shape: dict[str, Any] = {"positions": self.positions, "threads": self.threads}
        sums = self.ranges.accumulators[op.name]
        match op.contract:
            case "embed":
                token = "prompt[p]" if self.positions > 1 else "token"
                index = token if op.inputs[0] == "token" else "p"
                return embedding.embed(index, k["table"], y, **shape)
            case "add":
                return embedding.add(x[0], x[1], y, **shape)
            case "matvec":
                wide = find_largest(sums["sum"]) >= NARROW
                return matvec.matvec(
                    x[0], k["weight"], k["bias"], k["shift"], y, wide=wide, **shape
                )
            case "rms_norm" | "layer_norm":
                squares = find_largest(sums["squares"])
                shifted = (squares / y.size + 1) * 2.0 ** a["root_shift"]
                wide = squares >= NARROW or shifted >= 2 * NARROW
                return norm.norm(x[0], k["gain"], k.get("bias"), y, **a, wide=wide, **shape)
            case "attention":
                return self._attention(op, x, y)
            case "rope":
                turn = np.abs(op.constants["cosine"].astype(np.int64))
                turn = turn + np.abs(op.constants["sine"].astype(np.int64))
                wide = int(turn.max(initial=0)) * 2.0**15 + attention.ROUND >= NARROW
                return attention.rope(x[0], k["cosine"], k["sine"], y, **a, wide=wide, **shape)
            case "relu":
                return activation.relu(x[0], y, **shape)
            case "multiply":
                return activation.multiply(x[0], x[1], y, **a, **shape)
            case "lookup":
                return activation.lookup(x[0], k["table"], y, **a, **shape)
        raise KeyError(op.contract)

    def _attention(self, op: Op, x: list[Place], y: Place) -> list[str]:
        score = find_largest(self.ranges.accumulators[op.name]["score"])
        if score / 2.0 ** op.attributes["score_shift"] >= MOST_SCORE:
            raise ValueError(
                f"{op.name}: its shifted scores may reach {score:,.0f} >> "
                f"{op.attributes['score_shift']}, the kernel takes 30 bits: use coarser values"
            )
        value = self.fixed.values[op.inputs[2]].format
        most = float(op.constants["table"].max()) * self.fixed.seq_len * -value.lo
        k: dict[str, Any] = self.constants[op.name]
        a: dict[str, Any] = dict(op.attributes)
        return attention.attention(
            x[0],
            x[1],
            x[2],
            k["table"],
            self.layout.scratch,
            y,
            **a,
            rows=self.fixed.seq_len,
            positions=self.positions,
            warps=self.threads // WARP,
            wide_scores=score >= NARROW,
            wide_sums=most >= NARROW,
        )


def find_largest(bound: float | Array) -> float:
    return float(np.max(bound))
