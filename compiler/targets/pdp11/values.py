"""Where a model's values live on a PDP-11: all are words, in buffers or in rows kept for good."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.memory import pack
from anachron.compiler.schedule import Stage, find_kept, find_lifetimes, find_stages


@dataclass(frozen=True)
class Values:
    """The stages of a model in the order that they run, and a label for each value."""

    fixed: FixedModel

    @property
    def encoder(self) -> bool:
        return self.fixed.generation.mode == "sequence"

    @cached_property
    def ops(self) -> dict[str, Op]:
        return {op.name: op for op in self.fixed.ops}

    @cached_property
    def labels(self) -> dict[str, str]:
        """A label's stem for each value: the name; what MACRO-11 would not tell apart is."""
        stems: dict[str, str] = {}
        taken: set[str] = set()
        for name in self.fixed.values:
            stem = plain = re.sub(r"[^A-Za-z0-9._$]", "_", name)
            count = 1
            while stem.upper() in taken:
                count += 1
                stem = f"{plain}_{count}"
            taken.add(stem.upper())
            stems[name] = stem
        return stems

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """Values with a row for each position; an encoder's logits are among them."""
        kept = find_kept(self.fixed, self.stages)
        final = self.fixed.logits.name
        return kept + ((final,) if self.encoder and final not in kept else ())

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        return find_stages(self.fixed)

    @cached_property
    def buffers(self) -> tuple[dict[str, int], int]:
        """Byte offsets of the values that are not kept, and the bytes for all of them."""
        offsets: dict[str, int] = {}
        most = 0
        for stage in self.stages:
            lives = find_lifetimes(stage, self.kept, self.fixed.logits.name)
            here, total = pack(lives, {life.name: 2 * life.size for life in lives})
            offsets |= here
            most = max(most, total)
        return offsets, most

    def at(self, name: str) -> str:
        """The operand that gives the address of a value's first word, at this position."""
        match name:
            case "token" | "position":
                return name
        return f"row.{self.labels[name]}" if name in self.kept else f"#val.{self.labels[name]}"

    def base(self, name: str) -> str:
        """The label of a value: of its first row, where it is kept."""
        return f"val.{self.labels[name]}"

    def op(self, op: Op) -> str:
        """The label of an op's routine."""
        return f"op.{self.labels[op.name]}"

    def strides(self) -> Mapping[int, list[str]]:
        """Bytes of a row -> the kept values that have such rows."""
        found: dict[int, list[str]] = {}
        for name in self.kept:
            found.setdefault(2 * self.fixed.values[name].size, []).append(name)
        return found
