"""Where a model's values live on a 6502: in buffers that share addresses, in rows kept for good."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.memory import pack
from anachron.compiler.model import INPUTS
from anachron.compiler.schedule import Lifetime, Stage, find_stages
from anachron.kernels.mos6502.instructions import Vector

BLOCK = 128  # bytes of buffers that find a place together, where that takes no more memory


@dataclass(frozen=True)
class Values:
    """The stages of a model in the order that they run, and labels for each value.

    shared  label of a buffer -> values that must lie there, one after the other
    unmade  value -> the one that is read in its place
    """

    fixed: FixedModel
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unmade: Mapping[str, str] = field(default_factory=dict)

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
        name = self.unmade.get(name, name)
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
        lives = self.lifetimes
        bytes_of = {life.name: life.size * life.bits // 8 for life in lives.values()}
        held = {name for names in self.shared.values() for name in names} | self.unmade.keys()
        free = [life for name, life in lives.items() if name not in held]
        ways = [pack(free, bytes_of, block) for block in (BLOCK, 0)]
        offsets, total = min(ways, key=lambda way: way[1])
        for names in self.shared.values():
            offsets |= dict.fromkeys(names, total)
            total += max(bytes_of[name] for name in names)
        offsets |= {name: offsets[made] for name, made in self.unmade.items()}
        return {name: offsets[name] for name in lives}, total

    @cached_property
    def stretches(self) -> list[tuple[int, int]]:
        """(offset, end) of parts of the buffers' memory that no array lies across the ends of: a
        buffer's low bytes are one, its high bytes another."""
        offsets, total = self.buffers
        spans = sorted(
            (at, at + life.size)
            for life in self.lifetimes.values()
            for at in range(
                offsets[life.name], offsets[life.name] + life.size * life.bits // 8, life.size
            )
        )
        found: list[tuple[int, int]] = []
        for start, end in [*spans, (total, total)]:
            if found and start < found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            elif end > start:
                found.append((start, end))
        return found

    @cached_property
    def lifetimes(self) -> dict[str, Lifetime]:
        """When each value lives, two ticks an op."""
        ops = [op for stage in self.stages for op in stage.ops]
        last = {name: i for i, op in enumerate(ops) for name in op.inputs}
        for name, made in self.unmade.items():
            last[made] = max(last[made], last[name])
        lives = {}
        for i, op in enumerate(ops):
            end = 2 * len(ops) if op is self.fixed.ops[-1] else 2 * last.get(op.name, i)
            size, bits = op.value.size, op.value.format.bits
            lives[op.name] = Lifetime(op.name, size, bits, 2 * i, max(2 * i, end))
        return lives

    def in_turn(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of some values, from the first on, that never live at the same time."""
        chosen: list[str] = []
        for name in names:
            life = self.lifetimes[name]
            others = [self.lifetimes[other] for other in chosen]
            if all(life.first > o.last or life.last < o.first for o in others):
                chosen.append(name)
        return tuple(chosen)

    def alive_at_end(self) -> list[str]:
        """Values whose buffers nothing has written over when the pass is done."""
        offsets, _ = self.buffers
        ops = [op for stage in self.stages for op in stage.ops]
        size = {op.name: op.value.size * op.value.format.bits // 8 for op in ops}
        alive = []
        for i, op in enumerate(ops):
            start, end = offsets[op.name], offsets[op.name] + size[op.name]
            if op.name not in self.unmade and all(
                offsets[o.name] >= end or offsets[o.name] + size[o.name] <= start
                for o in ops[i + 1 :]
                if o.name not in self.unmade
            ):
                alive.append(op.name)
        return alive


def _own(op: Op) -> list[str]:
    """What an op reads at its own position."""
    reads = op.inputs[:1] if op.contract == "attention" else op.inputs
    return [name for name in reads if name not in INPUTS]
