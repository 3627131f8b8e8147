"""`train --rates`: the same trainings at several learning rates, and what came of each rate.

A rate is what a program text's recipe calls `rate`; parameters whose rate the recipe names keep it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from rich.table import Table

from anachron.compiler.autodiff import RATE
from anachron.compiler.model import Model
from anachron.compiler.training import Training

SMALLEST, LARGEST = 2.0**-20, 2.0**10


def parse_rates(text: str) -> tuple[float, ...]:
    """Rates as a recipe writes them, each once.

    >>> parse_rates("1/8, 0.5")
    (0.125, 0.5)
    """
    rates = []
    for part in text.split(","):
        try:
            rate = float(Fraction(part.strip()))
        except (ValueError, ZeroDivisionError):
            raise ValueError(
                f"--rates {text}: {part.strip()!r} is no number: say 1/4,1/2"
            ) from None
        rates.append(check_rate(rate))
    return tuple(dict.fromkeys(rates))


def check_rate(rate: float) -> float:
    if not SMALLEST <= rate <= LARGEST:  # also where it is no number
        raise ValueError(f"a rate of {rate:g}: allowed is {SMALLEST:.2g} to {LARGEST:g}")
    return rate


def find_rate(model: Model) -> float:
    """The recipe's."""
    return float(model.recipe.get("rate", RATE))


def at_rate(model: Model, rate: float) -> Model:
    """The model with another rate in its recipe."""
    return replace(model, recipe={**model.recipe, "rate": rate})


def summarize(trainings: Sequence[Training], converged: float) -> list[dict[str, Any]]:
    """A row a rate, in the order of the rates: means over its seeds.

    converged  the accuracy that counts as such
    """
    rows = []
    for rate in sorted({find_rate(t.model) for t in trainings}):
        some = [t for t in trainings if find_rate(t.model) == rate]
        rows.append(
            {
                "rate": rate,
                "seeds": len(some),
                "converged": sum(t.accuracy >= converged for t in some),
                "accuracy": math.fsum(t.accuracy for t in some) / len(some),
                "loss": math.fsum(t.losses[-1] for t in some) / len(some),
            }
        )
    return rows


def show_rates(rows: Sequence[dict[str, Any]], converged: float) -> Table:
    """The rows as a page's table."""
    table = Table("rate", "seeds", f"reach {converged}", "mean accuracy", "mean loss", box=None)
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        rate = str(Fraction(row["rate"]).limit_denominator(1000))
        cells = row["seeds"], row["converged"], f"{row['accuracy']:.4f}", f"{row['loss']:.4f}"
        table.add_row(rate, *map(str, cells))
    return table
