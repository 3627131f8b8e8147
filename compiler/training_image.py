"""TrainingImage: a program that trains a model by itself, with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anachron.compiler.image import Loadable, Location
from anachron.compiler.model import Model
from anachron.compiler.timing import Cycles, predict


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingImage(Loadable):
    """A program that trains.

    weights    parameter -> where its integers lie, row after row, in the model's order
    stretches  kernel of a step -> the labels where it begins and ends
    numerics   "log", or "fixed"
    states     where the random generator's first states lie, of the weights and of the data
    Labels that the host may listen at: start, train_start, step_done, train_end, finished.
    """

    model: Model
    steps: int
    seed: int
    weights: Mapping[str, Location]
    stretches: Mapping[str, tuple[str, str]]
    states: tuple[int, int]
    numerics: str = "log"

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def memory_bytes(self) -> int:
        """Bytes of memory that the machine must have."""
        return max(o.end for o in self.objects)

    def predict(self) -> dict[str, Cycles]:
        """Kernel -> its time in a step that goes back at every position, with all that it calls,
        unrun."""
        timing = self.options.timing or None
        return {
            name: predict(self.program, self.symbols[begin], self.symbols[end], timing=timing)
            for name, (begin, end) in self.stretches.items()
        }

    def __repr__(self) -> str:
        return (
            f"TrainingImage({self.name} on {self.machine.title}: {self.steps} steps, seed "
            f"{self.seed}, {self.size_bytes:,} bytes, memory {self.memory_bytes:,})"
        )
