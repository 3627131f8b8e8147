"""What a program that trains is given of a lowered step, whatever the CPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scales:
    """The constants of a step that a model's text can change: its rates, and attention's scale.

    Codes that are added to each product, but for the tables: those are shifts to the left of the
    gradient, or to the right where negative.  The last is where a score's gradient is clipped.
    """

    scores: int
    d_scores: int
    output: int
    query: int
    key: int
    value: int
    token: int
    position: int
    most: int
    slopes: int  # of those gradients times a query or a key
