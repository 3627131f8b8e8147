"""What one instruction means to timing.py: its time, and where the path goes from it."""
from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from anachron.compiler.assembly.program import Line
from anachron.compiler.claims import Claims, Cycles


class Flow(Enum):
    """Where the path goes after an instruction."""

    NEXT = "next"
    BRANCH = "branch"  # to target or next
    JUMP = "jump"  # to target, or where it is claimed to go
    CALL = "call"  # to target, and back
    RETURN = "return"  # out of the routine, or to a halt


class Step(NamedTuple):
    """One instruction. `time` is that of not branching; `taken` that of branching."""

    line: Line
    flow: Flow
    time: Cycles
    claims: Claims
    target: int | None = None
    taken: Cycles = Cycles(0, 0, 0)

    @property
    def next(self) -> int:
        """The address behind it."""
        return self.line.address + self.line.size

    @property
    def needs_amount(self) -> bool:
        """Whether a claim adds to its time."""
        return self.claims.plus is not None or self.claims.takes is not None
