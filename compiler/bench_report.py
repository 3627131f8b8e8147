"""Rows of `bench cuda` as a person reads them: what was promised on top, then all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape

from anachron.compiler.report import cell, make_table

Row = dict[str, Any]


def bench_tables(rows: Sequence[Row]) -> RenderableType:
    """Two tables: the goals, with what was estimated and measured; and every row."""
    promised = [row for row in rows if row["goal"] is not None]
    parts: list[RenderableType] = []
    if promised:
        goals = make_table("goal", "promised|estimated|measured", "met")
        for row in promised:
            met = {True: "[green]yes[/]", False: "[red]no[/]", None: "not measured"}[row["met"]]
            bound = f"{'<=' if row['unit'].startswith('us') else '>='} {cell(row['goal'])}"
            promise = f"{bound} {row['unit']}"
            goals.add_row(escape(row["what"]), promise, estimated(row), cell(row["value"]), met)
        parts.append(goals)
    every = make_table("what", "value|estimated", "unit|note")
    for row in rows:
        value = cell(row["value"]) if row["status"] == "ok" else row["status"]
        what, note = escape(row["what"]), escape(row["note"])
        every.add_row(what, value, estimated(row), row["unit"], note)
    return Group(*parts, every)


def estimated(row: Row) -> str:
    """What was expected, and the least and the most."""
    if row["estimate"] is None:
        return ""
    lo, expected, hi = map(cell, row["estimate"])
    return f"{expected} ({lo} to {hi})"
