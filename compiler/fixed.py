"""FixedModel: the integer graph.  Every value has a Format, every op an exact meaning.

What is here is what must be equal on every machine; how a machine stores a value is a layout, and
the target's own business.  quantization.py makes a FixedModel, targets/reference runs it, and
schedule.py puts its ops in order for the machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from anachron.compiler.model import INPUTS, Generation, ModelError
from anachron.compiler.tokenizer import Tokenizer
from anachron.compiler.usage import find_long, find_usual, find_usual_of
from anachron.kernels.arithmetic import Array, Fixed
from anachron.kernels.contracts import CONTRACTS


@dataclass(frozen=True)
class Value:
    """A row of `size` numbers for each position.

    longest  the longest row seen when its scale was chosen, 0 where none was: a guess, not a bound
    """

    name: str
    size: int
    format: Fixed
    longest: float = 0.0

    def __repr__(self) -> str:
        return f"{self.name}[{self.size}] {self.format}"


@dataclass(frozen=True)
class Op:
    """One call of a contract; `value` is what it gives, and has the op's name."""

    contract: str  # a row of contracts.CONTRACTS
    inputs: tuple[str, ...]  # names of values, or "token", "position"
    value: Value
    constants: Mapping[str, Array] = field(default_factory=dict)  # arrays, by the contract's names
    attributes: Mapping[str, int | bool] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.value.name


@dataclass(frozen=True)
class FixedModel:
    """An integer graph with everything a machine needs to talk: tokenizer, template, stops.

    The last op gives the logits.
    """

    name: str
    ops: tuple[Op, ...]
    dimensions: Mapping[str, int]
    tokenizer: Tokenizer
    generation: Generation
    weights_from: str = ""

    @property
    def seq_len(self) -> int:
        return self.dimensions["seq_len"]

    @property
    def vocab_size(self) -> int:
        return self.logits.size

    @property
    def logits(self) -> Value:
        return self.ops[-1].value

    @property
    def values(self) -> dict[str, Value]:
        return {op.name: op.value for op in self.ops}

    def __getitem__(self, name: str) -> Op:
        for op in self.ops:
            if op.name == name:
                return op
        raise KeyError(name)

    def __repr__(self) -> str:
        size = sum(c.size for op in self.ops for c in op.constants.values())
        return f"FixedModel({self.name}: {len(self.ops)} ops, {size:,} constants)"

    def trace(self, tokens: list[int]) -> dict[str, Array]:
        """Every value by name, (positions, size) integers, for these token ids.  See reference."""
        from anachron.compiler.targets.reference.target import Session

        return Session(self).step(tokens)

    @cached_property
    def usual(self) -> Mapping[str, Array]:
        """Every value by name, (samples, positions, size), in texts of the model's own."""
        return find_usual(self)

    @cached_property
    def usual_long(self) -> Mapping[str, Array]:
        """Every value by name, (texts, positions, size), in longer texts of a decoder's own."""
        return find_long(self)

    def in_text(self, tokens: Sequence[int]) -> FixedModel:
        """The same model, whose usual values are those of one text."""
        return self._with_usual(find_usual_of(self, tokens))

    def from_position(self, first: int) -> FixedModel:
        """The same model, whose usual values are those of positions from one on."""
        return self._with_usual({name: value[:, first:] for name, value in self.usual.items()})

    def _with_usual(self, usual: Mapping[str, Array]) -> FixedModel:
        told = replace(self)
        told.__dict__["usual"] = usual
        return told

    @property
    def n_weights(self) -> int:
        """Numbers in matrices, embeddings and gains; one that two ops share counts twice."""
        return sum(
            array.size
            for op in self.ops
            for role, array in op.constants.items()
            if role in ("weight", "gain") or op.contract == "embed"
        )

    def show(self) -> None:
        """Print every op with its format and its proven range."""
        from anachron.compiler.pages import show

        show(self)

    def macs(self, position: int, logits: bool = True) -> int:
        """Multiply-accumulates of one position: matrices, and attention over what came before."""
        total = 0
        for op in self.ops:
            if op.contract == "matvec" and (logits or op is not self.ops[-1]):
                total += op.constants["weight"].size
            if op.contract == "attention":
                rows = position + 1 if op.attributes["causal"] else self.seq_len
                total += 2 * rows * op.value.size
        return total

    def run_macs(self, n_prompt: int, n_passes: int) -> int:
        """Multiply-accumulates of so many passes; an encoder's only one has all positions."""
        if self.generation.mode == "sequence":
            return sum(self.macs(p) for p in range(self.seq_len))
        return sum(self.macs(p, p >= n_prompt - 1) for p in range(n_passes))


def check(fixed: FixedModel) -> FixedModel:
    """Hold every op to its contract; gives the model back, or raises ModelError naming the op."""
    sizes: dict[str, int] = {}
    formats: dict[str, Fixed] = {}
    for op in fixed.ops:
        if op.contract not in CONTRACTS:
            raise ModelError(f"{op.name}: there is no contract {op.contract}")
        row = CONTRACTS[op.contract]
        if len(op.inputs) != len(row.inputs):
            raise ModelError(
                f"{op.name}: {op.contract} takes {', '.join(row.inputs)}, not {op.inputs}"
            )
        for name in op.inputs:
            if name not in sizes and name not in INPUTS:
                raise ModelError(f"{op.name}: {name} is read before any op gives it")
            if name in formats and formats[name].bits not in row.widths:
                allowed = " or ".join(f"int{bits}" for bits in row.widths)
                raise ModelError(
                    f"{op.name}: {op.contract} takes {allowed}, but {name} is {formats[name]}"
                )
        if set(op.constants) != set(row.constants) or set(op.attributes) != set(row.attributes):
            raise ModelError(f"{op.name}: the constants or attributes are not {op.contract}'s")
        for role, (lo, hi) in row.constants.items():
            array = op.constants[role]
            if array.size and not (lo <= array.min() and array.max() <= hi):
                raise ModelError(
                    f"{op.name}: {role} runs from {array.min()} to {array.max()}, "
                    f"allowed is {lo} to {hi}"
                )
        if op.name in sizes:
            raise ModelError(f"{op.name}: given twice")
        sizes[op.name], formats[op.name] = op.value.size, op.value.format
        _check_shape(op, sizes)
    return fixed


def _check_shape(op: Op, sizes: dict[str, int]) -> None:
    given = tuple(sizes.get(name, 1) for name in op.inputs)
    size = op.value.size
    match op.contract:
        case "embed":
            fits = op.constants["table"].shape[1] == size
        case "matvec":
            rows = op.constants["weight"].shape
            fits = rows == (size, given[0]) and op.constants["bias"].shape == (size,)
            fits &= op.constants["shift"].shape == (size,)
        case "attention":
            heads, kv_heads = op.attributes["heads"], op.attributes["kv_heads"]
            fits = given[0] == size and size % heads == 0 and heads % kv_heads == 0
            fits = fits and given[1] == given[2] == size // heads * kv_heads
        case "rope":
            half = op.constants["cosine"].shape[1]
            fits = given[0] == size == 2 * half * op.attributes["heads"]
        case "rms_norm" | "layer_norm":
            fits = given[0] == size and op.constants["gain"].shape == (size,)
        case _:
            fits = all(g == size for g in given)
    if not fits:
        raise ModelError(f"{op.name}: {op.contract} of sizes {given} cannot give {size}")


def as_array(values: list[int] | Array, dtype: type = np.int64) -> Array:
    """A constant: a read-only array."""
    array: Array = np.array(values, dtype)
    array.setflags(write=False)
    return array
