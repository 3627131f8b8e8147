"""Tables for people, files beside an image, and the README's generated parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.markup import escape
from rich.table import Table

from anachron.compiler.fidelity import Fidelity
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Call, Image, Loadable, Way
from anachron.compiler.memory import Placed
from anachron.compiler.ranges import analyse
from anachron.compiler.run import Run
from anachron.compiler.targets import Machine
from anachron.compiler.timing import Cycles
from anachron.emulators.containers import labels
from anachron.emulators.containers.files import write_file

LEAST_TEXT = 24  # characters of a column that folds
NOTHING = Cycles(0, 0, 0)
MOST_VARIANT = 22  # characters of a kernel's variant, which folds, too


def count(n: float | None) -> str:
    """A number with thousands separated, or a dash.

    >>> count(1234567), count(None)
    ('1,234,567', '-')
    """
    return "-" if n is None else f"{n:,.0f}"


def seconds(time_ns: float | None) -> str:
    """A time as a person reads it.

    >>> seconds(2_500), seconds(1_234_000_000), seconds(90e9)
    ('2.5 us', '1.23 s', '1 min 30 s')
    """
    if time_ns is None:
        return "-"
    if time_ns < 1e6:
        return f"{time_ns / 1e3:.1f} us"
    if time_ns < 1e9:
        return f"{time_ns / 1e6:.1f} ms"
    if time_ns < 60e9:
        return f"{time_ns / 1e9:.2f} s"
    minutes, rest = divmod(round(time_ns / 1e9), 60)
    return f"{minutes} min {rest} s"


def amount(on: Machine, each: float) -> str:
    """Cycles, or microseconds on a machine that has no clock to count, or what it counts."""
    if on.counted:
        return f"{count(each)} {on.counted}"
    return f"{count(each)} cycles" if on.clock_hz else f"{count(each / 1000)} us"


def deviation(measured: int, predicted: Cycles | None) -> str:
    """How far the measurement lies from what was expected, and whether inside the bounds."""
    if predicted is None or not measured:
        return "-"
    if predicted.lo == predicted.hi == measured:
        return "exact"
    off = 100.0 * (predicted.expected - measured) / measured
    inside = predicted.lo <= measured <= predicted.hi
    return f"{off:+.2f} %" if inside else f"{off:+.2f} % OUTSIDE"


def make_table(texts: str = "", numbers: str = "", more: str = "") -> Table:
    """Columns of text, of numbers, and of text again; where it is too wide, only texts fold."""
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for names, numeric in ((texts, False), (numbers, True), (more, False)):
        for name in names.split("|") if names else ():
            side: JustifyMethod = "right" if numeric else "left"
            table.add_column(name, justify=side, no_wrap=numeric, overflow="fold")
    return table


def compare_table(runs: Sequence[Run], agree: bool) -> Table:
    """One row a machine, oldest first, the reference on top."""
    table = make_table("machine", "year|image|a token|predicted|time a token|MACs/s", "answer")
    for run in runs:
        table.add_row(*map(escape, compare_cells(run)))
    if not agree:
        table.caption = "the machines do NOT agree"
    return table


def fit(table: Table, width: int) -> RenderableType:
    """A table; or two, each with the first column, where the terminal is too narrow for one.

    The last column may fold, to LEAST_TEXT characters.
    """
    n = len(table.columns)
    if _natural_width(_part(table, range(n - 1))) + LEAST_TEXT < width:
        return table
    fitting = (c for c in range(n - 1, 2, -1) if _natural_width(_part(table, range(c))) < width)
    cut = next(fitting, 2)
    right = _part(table, [0, *range(cut, n)])
    right.caption = table.caption
    return Group(_part(table, range(cut)), right)


def _natural_width(table: Table) -> int:
    return max(len(line) for line in plain(table, 1000).splitlines())


def _part(table: Table, which: Iterable[int]) -> Table:
    """Some columns of a table."""
    part = make_table()
    columns = [table.columns[i] for i in which]
    for c in columns:
        part.add_column(c.header, justify=c.justify, no_wrap=c.no_wrap, overflow=c.overflow)
        part.columns[-1].max_width = c.max_width
    for row in zip(*(column.cells for column in columns), strict=True):
        part.add_row(*row)
    return part


def verdict(runs: Sequence[Run]) -> str:
    """What it means that the machines of a comparison agree."""
    n, ran = len(runs[0].generated), sum(run.status == "ok" for run in runs)
    if ran == 1:
        return "Only the reference ran: there is nothing to compare it with."
    tokens = "1 token" if n == 1 else f"{n} tokens"
    return f"{ran} machines, {tokens} each, and every logit: the same integers."


def compare_cells(run: Run) -> list[str]:
    """The cells of one row of the comparison."""
    on = run.on
    if run.status != "ok":
        why = f"{run.bytes_over:,} bytes too large" if run.bytes_over else run.note
        told, image = "-", f"{run.image_bytes:,} B" if run.image_bytes else "-"
        if predicted := run.predicted:  # of a program for a machine that is not here
            each = predicted.expected / run.n_tokens
            time_ns = on.time_ns(round(predicted.expected))
            told = amount(on, each) + (f", {seconds(time_ns / run.n_tokens)}" if time_ns else "")
            why += "; estimated, not measured" if on.gpu else ""
        return [on.title, str(on.year), image, "-", told, "-", "-", f"({run.status}: {why})"]
    if not run.counts:
        return [on.title, str(on.year), "-", "-", "-", "-", "-", run.text]
    each = run.total / run.n_tokens
    time_ns = run.time_ns
    return [
        on.title,
        str(on.year),
        f"{run.image_bytes:,} B",
        amount(on, each),
        deviation(run.total, run.predicted),
        seconds(time_ns / run.n_tokens if time_ns else None),
        count(run.macs / (time_ns / 1e9) if time_ns else None),
        run.text,
    ]


def cycles_rows(
    predicted: dict[str, Cycles], measured: dict[str, int] | None
) -> list[dict[str, object]]:
    """The rows of `cycles --json`."""
    return [
        {
            "kernel": name,
            "least": row.lo,
            "expected": row.expected,
            "most": row.hi,
            **({"measured": measured.get(name, 0)} if measured else {}),
        }
        for name, row in predicted.items()
    ]


def cycles_table(
    image: Loadable, predicted: dict[str, Cycles], measured: dict[str, int] | None
) -> Table:
    """The prediction kernel by kernel, and the measurement beside it."""
    names = "least|expected|most|measured|off" if measured else "least|expected|most"
    table = make_table(f"kernel ({image.machine.unit})", names)
    whole = image.machine.target == "cuda"  # what is measured is all of a launch
    total = Cycles(0, 0, 0)
    if measured and not predicted:
        for name, each in {**measured, "all": sum(measured.values())}.items():
            table.add_row(name, "-", "-", "-", count(each), "-")
        return table
    for name, cycles in predicted.items():
        total = total + cycles
        row = [name, count(cycles.lo), count(cycles.expected), count(cycles.hi)]
        if measured:
            row += [count(measured.get(name)), deviation(measured.get(name, 0), cycles)]
        table.add_row(*row)
    for name, each in (measured or {}).items():
        if whole and name not in predicted:
            table.add_row(name, "-", "-", "-", count(each), "-")
    table.add_section()
    row = ["all", count(total.lo), count(total.expected), count(total.hi)]
    if measured:
        told = sum(measured.get(name, 0) for name in (measured if whole else predicted))
        row += [count(told), deviation(told, total)]
    table.add_row(*row)
    return table


def estimate_line(told: Mapping[str, Any]) -> str:
    """What a GPU's token is estimated to take, from what `cycles --json` has of it."""
    (lo, each, hi), hz = told["cycles_per_token"], told["clock_hz"]
    least, time, most = (seconds(n * 1e9 / hz) for n in (lo, each, hi))
    return (
        f"{told['basis']}: {count(each)} cycles a token ({count(lo)} to {count(hi)}), {time} "
        f"({least} to {most}) at {hz / 1e9:.2f} GHz; {count(told['instructions_per_token'])} "
        "instructions of PTX"
    )


def calls_table(image: Image, aside: bool = True) -> Table:
    """The schedule: which kernel does each op, what was left aside, and why.

    aside  build it in other ways, too, which takes some seconds
    """
    unit = image.machine.unit
    table = make_table("op|kernel|variant", f"bytes|{unit}", "why")
    table.columns[2].max_width = MOST_VARIANT
    ways, times = [*image.others()] if aside else [], image.times
    for call in image.calls:
        time = times.get(call.op, NOTHING) if times else None
        expected = time and time.expected
        row = (call.op, call.kernel, call.variant, count(call.size), count(expected), call.why)
        table.add_row(*row)
        for variant, size, spent, over in left_aside(call, ways):
            if over:
                why = f"no: the program would be {over:,} bytes too large"
            elif spent and time:
                more = spent.expected - time.expected
                why = f"no: {abs(more):,.0f} {unit} {'more' if more >= 0 else 'less'}"
            else:
                why = "no"
            row = (call.op, "", variant, count(size), count(spent and spent.expected), why)
            table.add_row(*row, style="dim")
    return table


def left_aside(call: Call, ways: Iterable[Way]) -> list[tuple[str, int, Cycles | None, int]]:
    """(variant, bytes, time, bytes that its program is too large by) of an op's other variants, by
    a program that fits where one does."""
    found: dict[str, tuple[str, int, Cycles | None, int]] = {}
    for way in ways:
        for other in way.calls:
            if other.op == call.op and other.variant != call.variant:
                spent = way.times.get(call.op, NOTHING) if way.times else None
                row = (other.variant, other.size, spent, way.bytes_over)
                known = found.setdefault(other.variant, row)
                if known[3] and not way.bytes_over:
                    found[other.variant] = row
    return list(found.values())


def map_table(image: Loadable, objects: Iterable[Placed] | None = None) -> Table:
    """Objects in memory; by default every one, by address."""
    table = make_table("from|to", "bytes", "kind|object")
    if objects is None:
        objects = image.memory_map
    for o in objects:
        last = image.address(max(o.address, o.end - 1))
        table.add_row(image.address(o.address), last, count(o.size), o.kind, o.name)
    return table


def fixed_table(fixed: FixedModel) -> Table:
    """The integer graph: each op, its format, its constants, and what is proven of its range."""
    ranges = analyse(fixed)
    table = make_table("op|contract|inputs|format", "size|lo|hi|largest sum", "attributes")
    for op in fixed.ops:
        bound = ranges.values[op.name]
        sums = ranges.accumulators[op.name]
        largest = sums.get("sum", sums.get("score", sums.get("squares")))
        table.add_row(
            op.name,
            op.contract,
            " ".join(op.inputs),
            str(op.value.format),
            str(op.value.size),
            count(bound.lo.min()),
            count(bound.hi.max()),
            "" if largest is None else count(float(np.max(largest))),
            " ".join(f"{name}={value}" for name, value in op.attributes.items()),
        )
    return table


def cell(value: object) -> str:
    """A value of a flat row: numbers to four figures, nothing as a dash.

    >>> cell(20000), cell(0.123456), cell(None), cell("a")
    ('20,000', '0.1235', '-', 'a')
    """
    match value:
        case None:
            return "-"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)


def fidelity_rows(found: Sequence[Fidelity]) -> list[dict[str, object]]:
    """Agreement as a person reads it."""
    return [
        {
            "numerics": one.numerics,
            "against": one.against,
            "texts": one.texts,
            "contexts": one.contexts,
            "same token": f"{100 * one.agreement:.1f} %",
            "divergence": f"{one.divergence:.4f} nats",
        }
        for one in found
    ]


def rows_table(rows: Sequence[dict[str, object]]) -> Table:
    """Flat dictionaries with the same keys, as a table."""
    table = make_table()
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(cell(value) for value in row.values()))
    return table


def plain(table: Table, width: int = 200) -> str:
    """A table as text without colours."""
    console = Console(width=width, no_color=True, record=False, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def rows(table: Table) -> list[dict[str, str]]:
    """A table as flat dictionaries, for JSON."""
    heads = [str(column.header) for column in table.columns]
    cells = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    return [dict(zip(heads, row, strict=True)) for row in cells]


def write_image(image: Loadable, path: Path) -> list[Path]:
    """Write an image's container, and its .map, .lbl and .lst beside it."""
    from anachron.compiler.maps import format_map

    if path.suffix not in image.container:
        allowed = ", ".join(image.container)
        raise ValueError(
            f"{path}: {image.machine.title} images end in {allowed}, not {path.suffix or 'that'}"
        )
    write_file(path, image.container[path.suffix])
    beside = [path.with_suffix(".reu")] if ".reu" in image.container else []
    for other in beside:
        write_file(other, image.container[other.suffix])
    texts = {
        ".map": format_map(image),
        ".lbl": format_labels(image),
        ".lst": image.program.listing(),
    }
    for suffix, text in texts.items():
        write_file(path.with_suffix(suffix), text.encode())
    return [path, *beside, *(path.with_suffix(suffix) for suffix in texts)]


def format_labels(image: Loadable) -> str:
    """Labels as VICE's monitor loads them, or as a list for SIMH."""
    write = labels.format_simh if image.machine.target == "pdp11" else labels.format_vice
    return write({name: value for name, value in image.symbols.items() if 0 <= value < 0x10000})
