"""What a GPU's clocks are expected to be, as other machines' cycles are predicted: by op, unrun.

An estimate of the assembled kernel (latency.py), not a measurement: what NVIDIA's assembler leaves
to the machine is known in bounds that no GPU has confirmed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from anachron.compiler.claims import Cycles
from anachron.compiler.fixed import FixedModel
from anachron.compiler.targets.cuda.latency import Estimate, estimate
from anachron.compiler.targets.cuda.stream_kernel import CHOICE

MARK = "estimated from the assembled kernel, not measured"


@dataclass(frozen=True)
class ClockPrediction:
    """(position, whether logits are wanted) -> {op: clocks} of that pass; `whole` runs.

    A pass of the prompt is one without the logits and the choice; ids are taken as the likeliest.
    Raises Absent without NVIDIA's assembler and disassembler, and ValueError for an encoder.
    """

    fixed: FixedModel

    def __call__(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        del position
        last = (self.fixed.logits.name, CHOICE)
        return {
            name: Cycles(clocks[0], float(clocks[1]), clocks[2])
            for name, clocks in self.estimate.ops.items()
            if wants_logits or name not in last
        }

    def by_op(self, position: int, wants_logits: bool) -> dict[str, Cycles]:
        """The same where it can be had, else nothing."""
        try:
            return self(position, wants_logits)
        except ValueError:
            return {}

    def whole(
        self, n_prompt: int, n_passes: int, ids: Sequence[int] = (), most: int | None = None
    ) -> dict[str, Cycles]:
        """All passes of a launch, of which the last ones choose."""
        del ids, most
        choosing = max(0, n_passes - n_prompt + 1)
        read, chosen = self(0, False), self(0, True)
        return {
            name: row * choosing + read.get(name, Cycles(0, 0, 0)) * (n_passes - choosing)
            for name, row in chosen.items()
        }

    @cached_property
    def estimate(self) -> Estimate:
        """Of a pass that chooses."""
        if self.fixed.generation.mode == "sequence":
            raise ValueError(
                f"{self.fixed.name}: clocks are estimated of kernels that generate token by token, "
                "this model maps a sequence to another: --on ptx predicts its instructions"
            )
        return estimate(self.fixed)
