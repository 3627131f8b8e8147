"""What `.show()` of a model, an image or a run prints: rich tables, most of them report.py's.

To show another object: a case in `find_tables`.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image, Loadable
from anachron.compiler.model import Model
from anachron.compiler.report import (
    compare_table,
    count,
    cycles_table,
    fit,
    fixed_table,
    make_table,
    map_table,
)
from anachron.compiler.run import Run


def show(thing: object) -> None:
    """Print an object's tables, as wide as the terminal is."""
    console = Console(highlight=False)
    console.print(repr(thing), markup=False)
    for table in find_tables(thing):
        console.print(fit(table, console.width))


def find_tables(thing: object) -> list[Table]:
    """The tables of an object of the pipeline."""
    match thing:
        case Model():
            return [model_table(thing)]
        case FixedModel():
            return [fixed_table(thing)]
        case Run():
            return _tables_of_run(thing)
        case Image():
            return [*_times_of_image(thing), map_table(thing)]
        case Loadable():
            return [map_table(thing)]
    raise TypeError(f"{type(thing).__name__} has no tables")


def model_table(model: Model) -> Table:
    """The float graph: each op, what it reads, and its parameters."""
    table = make_table("value|op|inputs", "parameters", "shapes")
    for node in model.nodes:
        shapes = {role: model.shapes[name] for role, name in node.parameters.items()}
        n = sum(_size(shape) for shape in shapes.values())
        described = (f"{role} {' x '.join(map(str, shape))}" for role, shape in shapes.items())
        row = (node.name, node.op, " ".join(node.inputs), count(n or None), ", ".join(described))
        table.add_row(*row)
    return table


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for extent in shape:
        n *= extent
    return n


def _times_of_image(image: Image) -> list[Table]:
    """The longest pass, where its time is known beforehand."""
    try:
        return [cycles_table(image, image.cycles, None)]
    except ValueError:  # estimating takes tools that are not here, or a kernel of another kind
        return []


def _tables_of_run(run: Run) -> list[Table]:
    tables = [compare_table([run], agree=True)]
    if run.image and run.cycles:
        tables.append(cycles_table(run.image, dict(run.predicted_kernels), dict(run.cycles)))
    return tables
