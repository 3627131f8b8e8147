"""README.md's generated parts: `python -m anachron.compiler.readme [README.md]` writes them anew.

A part lies between `<!-- kind: argument -->` and `<!-- end -->`:

    transcript  what an anachron command prints
    file        a file of the repository
    table       a table of TABLES

To add a table: a function that returns Markdown, and a line in TABLES.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from anachron.compiler import cli
from anachron.emulators import conformance
from anachron.emulators.containers.files import write_file

PART = re.compile(r"(<!-- (\w+): ([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def transcript(argument: str, _: Path) -> str:
    """A command and what it prints."""
    text = StringIO()
    with redirect_stdout(text):
        cli.out.file = text
        try:
            status = cli.main(shlex.split(argument))
        finally:
            cli.out.file = sys.stdout
    if status:
        raise RuntimeError(f"anachron {argument} ended with status {status}")
    lines = [line.rstrip() for line in text.getvalue().strip().splitlines()]
    said = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    return f"```\n$ anachron {argument}\n{said}\n```\n"


def file(argument: str, root: Path) -> str:
    """A file of the repository."""
    return f"```\n{(root / argument).read_text().rstrip()}\n```\n"


def table(argument: str, _: Path) -> str:
    """One of TABLES."""
    return TABLES[argument]() + "\n"


def tabulate(rows: list[dict[str, str]]) -> str:
    """Rows of the same keys as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[name] for name in head] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


TABLES: dict[str, Callable[[], str]] = {"conformance": lambda: tabulate(conformance.report())}
KINDS = {"transcript": transcript, "file": file, "table": table}


def fill(text: str, root: Path) -> str:
    """The text with every generated part written anew."""
    return PART.sub(
        lambda m: m[1] + KINDS[m[2]](m[3], root) + m[5],
        text,
    )


def main() -> int:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    write_file(path, fill(path.read_text(), path.resolve().parent).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
