"""Where a model's values live on a 6502: in buffers that share addresses, in rows kept for good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.memory import pack
from anachron.compiler.model import INPUTS
from anachron.compiler.schedule import Lifetime, Stage, find_stages
from anachron.kernels.mos6502.instructions import Vector


@dataclass(frozen=True)
class Values:
    """The stages of a model in the order that they run, and labels for each value."""

    fixed: FixedModel

    @property
    def encoder(self) -> bool:
        return self.fixed.generation.mode == "sequence"

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return find_stages(self.fixed)

    @cached_property
    def labels(self) -> dict[str, str]:
        """A label's stem for each value, all different in lower case."""
        stems: dict[str, str] = {}
        taken: set[str] = set()
        for name in self.fixed.values:
            stem = plain = re.sub(r"[^a-z0-9]", "_", name.lower())
            count = 1
            while stem in taken:
                count += 1
                stem = f"{plain}_{count}"
            taken.add(stem)
            stems[name] = stem
        return stems

    def op(self, op: Op) -> str:
        """The label of an op's routine."""
        return f"op{self._numbers[op.name]}_{self.labels[op.name]}"

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {op.name: number for number, op in enumerate(self.fixed.ops)}

    def vector(self, name: str) -> Vector:
        """A value's buffer."""
        value, stem = self.fixed.values[name], self.labels[name]
        return Vector(f"value_{stem}_low", f"value_{stem}_high", value.size, value.format.bits)

    def rows(self, name: str) -> Vector:
        """The rows of all positions of a value that another stage, or the host, reads."""
        value, stem = self.fixed.values[name], self.labels[name]
        return Vector(f"rows_{stem}_low", f"rows_{stem}_high", value.size, value.format.bits)

    def attentions(self, name: str) -> Iterator[tuple[str, Op]]:
        """("key" or "value", attention) for each that reads a value so."""
        for op in self.fixed.ops:
            if op.contract == "attention":
                for role, read in zip(("key", "value"), op.inputs[1:], strict=True):
                    if read == name:
                        yield role, op

    @cached_property
    def crossing(self) -> tuple[str, ...]:
        """Values that a later stage reads position by position."""
        made = {op.name: i for i, stage in enumerate(self.stages) for op in stage.ops}
        found = {
            name
            for i, stage in enumerate(self.stages)
            for op in stage.ops
            for name in _own(op)
            if made[name] != i
        }
        return tuple(name for name in self.fixed.values if name in found)

    def loaded(self, stage: Stage) -> list[str]:
        """Values of earlier stages that a stage reads, in the order of need."""
        here = {op.name for op in stage.ops}
        reads = [n for op in stage.ops for n in _own(op) if n not in here]
        return list(dict.fromkeys(reads))

    @cached_property
    def buffers(self) -> tuple[dict[str, int], int]:
        """Byte offsets of all values, and the bytes for all of them.

        All stages are one row of ticks: a value that crosses keeps its buffer and is loaded there.
        """
        ops = [op for stage in self.stages for op in stage.ops]
        last = {name: i for i, op in enumerate(ops) for name in op.inputs}
        lives = []
        for i, op in enumerate(ops):
            end = 2 * len(ops) if op is self.fixed.ops[-1] else 2 * last.get(op.name, i)
            size, bits = op.value.size, op.value.format.bits
            lives.append(Lifetime(op.name, size, bits, 2 * i, max(2 * i, end)))
        return pack(lives, {life.name: life.size * life.bits // 8 for life in lives})

    def alive_at_end(self) -> list[str]:
        """Values whose buffers nothing has written over when the pass is done."""
        offsets, _ = self.buffers
        ops = [op for stage in self.stages for op in stage.ops]
        size = {op.name: op.value.size * op.value.format.bits // 8 for op in ops}
        alive = []
        for i, op in enumerate(ops):
            start, end = offsets[op.name], offsets[op.name] + size[op.name]
            if all(
                offsets[o.name] >= end or offsets[o.name] + size[o.name] <= start
                for o in ops[i + 1 :]
            ):
                alive.append(op.name)
        return alive


def _own(op: Op) -> list[str]:
    """What an op reads at its own position."""
    reads = op.inputs[:1] if op.contract == "attention" else op.inputs
    return [name for name in reads if name not in INPUTS]
