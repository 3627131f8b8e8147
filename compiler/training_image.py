"""TrainingImage: a program that trains a model by itself, with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anachron.compiler.image import Location
from anachron.compiler.memory import Placed
from anachron.compiler.model import Model
from anachron.compiler.targets import Machine, Options


@dataclass(frozen=True)
class TrainingImage:
    """As an Image, for a machine that trains.

    weights  parameter -> where its integers lie, row after row, in the model's order
    Labels that the host may listen at: start, train_start, step_done, train_end, finished.
    """

    model: Model
    machine: Machine
    options: Options
    steps: int
    seed: int
    source: str
    program: Any  # the assembler's Program
    symbols: Mapping[str, int]
    weights: Mapping[str, Location]
    objects: tuple[Placed, ...]
    container: Mapping[str, bytes]
    entry: int

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def size_bytes(self) -> int:
        """Bytes loaded."""
        return sum(len(data) for _, data in self.program.segments)

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory that the machine must have."""
        return max(o.end for o in self.objects)

    def __repr__(self) -> str:
        return (
            f"TrainingImage({self.name} on {self.machine.title}: {self.steps} steps, seed "
            f"{self.seed}, {self.size_bytes:,} bytes, memory {self.memory_bytes:,})"
        )

    def address(self, address: int) -> str:
        """An address as the machine's people write it."""
        return f"{address:06o}" if self.machine.target == "pdp11" else f"${address:04X}"

    def save(self, path: str | Path) -> list[Path]:
        """Write the container chosen by the suffix, and .map, .lbl, .lst beside it."""
        from anachron.compiler.report import write_image

        return write_image(self, Path(path))
