"""Which op each instruction of a kernel comes from: by the lines that its PTX, or its SASS, names.

A kernel's text says in a comment where an op begins, `# name: contract`, and what is no op's:
`# next`, `# choose`, `# end`.  What stands before the first of them is its start.  Every
instruction is of one op: one that names no line, as a compiler's own may, is of the op before it.

To tell more apart: a comment in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from anachron.emulators.ptx.syntax import Program

START = "start"
NAMED = re.compile(r"\s*# ([^\s:]+)")


def name_lines(source: str) -> list[str]:
    """The op of each line, the first being line 1: before it, and of no line, START."""
    names = [START]
    for line in source.splitlines():
        found = NAMED.match(line)
        names.append(found[1] if found else names[-1])
    return names


def name_origins(origins: Iterable[int], source: str) -> list[str]:
    """The op of each instruction, from the lines that they name, 0 where they name none."""
    lines, names = name_lines(source), [START]
    for origin in origins:
        names.append(lines[origin] if 0 < origin < len(lines) else names[-1])
    return names[1:]


def name_instructions(program: Program, source: str) -> list[str]:
    """The op of each instruction of a kernel."""
    return name_origins((instruction.origin for instruction in program.instructions), source)


def sum_by_op(names: Sequence[str], counts: Sequence[int], source: str) -> dict[str, int]:
    """Counts of instructions, added up op by op, in the order of the text; all that ran."""
    sums = dict.fromkeys(name_lines(source), 0)
    for name, count in zip(names, counts, strict=True):
        sums[name] += int(count)
    return {name: count for name, count in sums.items() if count}
