"""The order of work: stages, what is kept for all positions, and how long each value lives.

A decoder has one stage: all its ops, once a position.  In an encoder a position sees the positions
behind it, so keys and values of all must be there first: an attention that is not causal begins
another stage, which again runs once a position.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.model import INPUTS

# Kernels that may write their result over an input that nothing reads later.
IN_PLACE = frozenset(("add", "relu", "lookup", "multiply"))
# Contracts whose work at a position is known from all positions' values, or from its number.
SEQUENTIAL = frozenset(("attention", "rope"))


@dataclass(frozen=True)
class Stage:
    """Ops that run one after the other for a position, for each position in turn.

    The first n_always are all that a position needs whose logits nobody asks for: what reaches a
    key or a value that later positions read.  The others run only where logits are wanted.
    """

    ops: tuple[Op, ...]
    n_always: int = 0

    @property
    def always(self) -> tuple[Op, ...]:
        return self.ops[: self.n_always]

    @property
    def for_logits(self) -> tuple[Op, ...]:
        return self.ops[self.n_always :]


@dataclass(frozen=True)
class Lifetime:
    """A buffer's need: from tick `first` to tick `last`, both included (two ticks an op)."""

    name: str
    size: int  # in elements
    bits: int
    first: int
    last: int


def find_stages(fixed: FixedModel) -> tuple[Stage, ...]:
    """The stages of a model, in order."""
    stages: list[list[Op]] = [[]]
    for op in fixed.ops:
        if op.contract == "attention" and not op.attributes["causal"]:
            here = {o.name for o in stages[-1]}
            if here & set(op.inputs[1:]):
                stages.append([])
        stages[-1].append(op)
    if len(stages) > 1 or fixed.generation.mode == "sequence":
        return tuple(Stage(tuple(ops), len(ops)) for ops in stages)
    needed = _find_needed(stages[0])
    always = [op for op in stages[0] if op.name in needed]
    rest = [op for op in stages[0] if op.name not in needed]
    return (Stage((*always, *rest), len(always)),)


def find_late(stages: tuple[Stage, ...]) -> frozenset[str]:
    """Names of the ops that run only where logits are wanted, and ask for those positions alone."""
    return frozenset(
        op.name for stage in stages for op in stage.for_logits if op.contract not in SEQUENTIAL
    )


def _find_needed(ops: list[Op]) -> set[str]:
    """What keys and values are made from."""
    needed: set[str] = set()
    for op in reversed(ops):
        if op.contract == "attention":
            needed |= set(op.inputs[1:])
        if op.name in needed:
            needed |= set(op.inputs)
    return needed


def find_kept(fixed: FixedModel, stages: tuple[Stage, ...]) -> tuple[str, ...]:
    """Names of the values that are stored for every position: keys, values, what crosses stages."""
    made = {op.name: i for i, stage in enumerate(stages) for op in stage.ops}
    kept = set()
    for i, stage in enumerate(stages):
        for op in stage.ops:
            kept |= {n for n in op.inputs if n not in INPUTS and made[n] != i}
            if op.contract == "attention":
                kept |= set(op.inputs[1:])
    return tuple(op.name for op in fixed.ops if op.name in kept)


def find_lifetimes(stage: Stage, kept: tuple[str, ...], final: str) -> tuple[Lifetime, ...]:
    """The values of a stage that live in buffers, not kept for all positions, in op order.

    final is the value that must outlive the stage (the logits).
    """
    last_read = {name: i for i, op in enumerate(stage.ops) for name in op.inputs}
    lifetimes = []
    for i, op in enumerate(stage.ops):
        if op.name in kept:
            continue
        first = 2 * i + 1 if op.contract in IN_PLACE else 2 * i
        last = 2 * len(stage.ops) if op.name == final else 2 * last_read.get(op.name, i)
        bits = op.value.format.bits
        lifetimes.append(Lifetime(op.name, op.value.size, bits, first, max(first, last)))
    return tuple(lifetimes)
