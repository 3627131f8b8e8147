"""Ops -> calls of kernels: the text of each op's routine, and the constants that it reads.

To add a contract: a case in `_lower`, and its kernel in kernels/pdp11/.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.pdp11.sections import Section, code, data
from anachron.compiler.targets.pdp11.values import Values
from anachron.kernels.pdp11 import activation, attention, embedding, matvec, norm, rope
from anachron.kernels.pdp11.instructions import Cpu

KERNELS = frozenset(
    (
        "add",
        "attention",
        "embed",
        "layer_norm",
        "lookup",
        "matvec",
        "multiply",
        "relu",
        "rms_norm",
        "rope",
    )
)

SHORT = 1 << 16  # below it a root is found in half the steps
UNSEEN = 0.9  # how often it is, where no row has been seen


def clear_bits(fixed: FixedModel) -> float:
    """The share of zeros among the eight bits of the magnitudes of all matrices' weights."""
    weights = [op.constants["weight"] for op in fixed.ops if op.contract == "matvec"]
    bits = np.bitwise_count(np.abs(np.concatenate([w.astype(np.int64).ravel() for w in weights])))
    return float(1 - bits.mean() / 8)


@dataclass
class Lowering:
    """Routines and constants as they come; equal constants are stored once."""

    cpu: Cpu
    values: Values
    ranges: Ranges
    variant: str  # of the matrices: straight or shared
    routines: list[Section] = field(default_factory=list)
    constants: list[Section] = field(default_factory=list)
    shared: set[int] = field(default_factory=set)  # lengths of shared sums of products
    longest_centred: int = 0
    wide: bool = False  # an attention op needs its slow way
    long_scores: set[str] = field(default_factory=set)  # ops whose scores' sums may leave 32 bits
    roots: list[float] = field(default_factory=list)  # of each norm: how often a root is short
    _labels: dict[bytes, str] = field(default_factory=dict)

    @property
    def short_roots(self) -> float:
        """How often the number below a root has 16 bits, over all norms."""
        return sum(self.roots) / len(self.roots) if self.roots else 1.0

    def lower(self, op: Op) -> None:
        """Add an op's routine and constants."""
        text = self._lower(op, self.values.op(op))
        self.routines.append(code(op.name, text, self.values.op(op)))

    def constant(self, op: Op, role: str, content: bytes, kind: str = "table") -> str:
        """The label of bytes, which are stored where no equal ones are yet."""
        if content not in self._labels:
            self._labels[content] = f"con.{self.values.labels[op.name]}.{role}"
            self.constants.append(
                data(f"{op.name}.{role}", self._labels[content], content, kind)
            )
        return self._labels[content]

    def _lower(self, op: Op, name: str) -> str:
        cpu, at = self.cpu, self.values.at
        y, bits, size = at(op.name), op.value.format.bits, op.value.size
        k, a = op.constants, op.attributes
        match op.contract:
            case "embed":
                form = embedding.store_table(k["table"], a["shift"], bits)
                table = self.constant(op, "table", form.data, "weights")
                return embedding.embed(
                    cpu, name, index=at(op.inputs[0]), y=y, table=table, form=form
                )
            case "add":
                left, right = (at(i) for i in op.inputs)
                return embedding.add(cpu, name, a=left, b=right, y=y, size=size, bits=bits)
            case "matvec":
                return self._matvec(op, name)
            case "rms_norm" | "layer_norm":
                return self._norm(op, name)
            case "attention":
                return self._attention(op, name)
            case "rope":
                return self._rope(op, name)
            case "relu":
                return activation.relu(cpu, name, x=at(op.inputs[0]), y=y, size=size, bits=bits)
            case "multiply":
                left, right = (at(i) for i in op.inputs)
                return activation.multiply(
                    cpu, name, a=left, b=right, y=y, size=size, shift=a["shift"], bits=bits
                )
            case "lookup":
                table = self.constant(op, "table", k["table"].astype("<i2").tobytes())
                return activation.lookup(
                    cpu, name, x=at(op.inputs[0]), y=y, size=size, table=table, points=k["table"],
                    shift=a["shift"], tail=a["tail"], bits=bits,
                )  # fmt: skip
        raise KeyError(op.contract)

    def _matvec(self, op: Op, name: str) -> str:
        weight, bias, shift = (op.constants[role] for role in ("weight", "bias", "shift"))
        rows = matvec.find_rows(weight, bias, shift)
        label = self.constant(
            op, "weight", matvec.store_rows(rows, weight, bias, shift), "weights"
        )
        if self.variant == "shared":
            self.shared.add(rows.n_columns)
        return matvec.matvec(
            self.cpu,
            name,
            x=self.values.at(op.inputs[0]),
            y=self.values.at(op.name),
            weight=label,
            rows=rows,
            bits=op.value.format.bits,
            variant=self.variant,
        )

    def _norm(self, op: Op, name: str) -> str:
        gain = op.constants["gain"].astype(np.int8)
        arguments: dict[str, Any] = dict(
            x=self.values.at(op.inputs[0]),
            y=self.values.at(op.name),
            gain=self.constant(op, "gain", gain.tobytes(), "weights"),
            size=op.value.size,
            bits=op.value.format.bits,
            **op.attributes,
        )
        self.roots.append(self._short(op))
        if op.contract == "rms_norm":
            return norm.rms_norm(self.cpu, name, **arguments)
        self.longest_centred = max(self.longest_centred, op.value.size)
        bias = self.constant(op, "bias", op.constants["bias"].astype("<i2").tobytes(), "weights")
        return norm.layer_norm(self.cpu, name, bias=bias, centred="centred", **arguments)

    def _short(self, op: Op) -> float:
        """How often a norm's shifted mean square is below 2**16, were it anything up to that of the
        longest row that calibration saw."""
        longest = self.values.fixed.values[op.inputs[0]].longest
        mean = (longest / 2 ** op.attributes["pre_shift"]) ** 2 / op.value.size
        largest = mean * 2 ** op.attributes["root_shift"]
        return min(1.0, SHORT / largest) if largest else UNSEEN

    def _attention(self, op: Op, name: str) -> str:
        table = op.constants["table"]
        heads = op.attributes["heads"]
        form = attention.Heads(
            heads,
            op.attributes["kv_heads"],
            op.value.size // heads,
            op.attributes["score_shift"],
            len(table),
            bool(op.attributes["causal"]),
            self.values.fixed.seq_len,
            int(self.ranges.accumulators[op.name]["score"]),
        )
        self.wide |= form.guarded
        if form.may_overflow:
            self.long_scores.add(op.name)
        q, k, v = op.inputs
        return attention.attention(
            self.cpu,
            name,
            q=self.values.at(q),
            k=self.values.base(k),
            v=self.values.base(v),
            y=self.values.at(op.name),
            table=self.constant(op, "table", table.astype(np.uint8).tobytes()),
            form=form,
            bits=op.value.format.bits,
        )

    def _rope(self, op: Op, name: str) -> str:
        n_rows = self.values.fixed.seq_len
        cosine, sine = op.constants["cosine"][:n_rows], op.constants["sine"][:n_rows]
        turns = np.stack([cosine, sine], -1).astype("<i2")
        if int(np.abs(turns.astype(np.int64)).sum(-1).max()) >= 1 << 16:
            raise ValueError(f"{op.name}: an angle's cosine and sine are both -2: 32 bits overflow")
        return rope.rope(
            self.cpu,
            name,
            x=self.values.at(op.inputs[0]),
            y=self.values.at(op.name),
            turns=self.constant(op, "turns", turns.tobytes()),
            heads=op.attributes["heads"],
            half=turns.shape[1],
            interleaved=bool(op.attributes["interleaved"]),
            bits=op.value.format.bits,
        )


def variant_of(contract: str, variant: str, over: int) -> tuple[str, str]:
    """A kernel's variant, and why it was chosen; over: the bytes that a faster one is too large."""
    if contract != "matvec":
        return "looped", "the only one"
    fastest = "no call a row, and there is room"
    shared = "one sum of products for all matrices"
    if variant == "shared" and over:
        shared += f": straight ones are {over:,} bytes too many"
    return variant, {"straight": fastest, "shared": shared}[variant]
