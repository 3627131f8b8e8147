"""What assembling a text makes: lines with their addresses and bytes, segments, symbols."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.assembly.source import SourceLine

MEMORY_BYTES = 1 << 16  # what both machines' programs can address


class Line(NamedTuple):
    """One assembled line: where it stands in the text and in memory, and what it became."""

    file: str
    line: int
    address: int
    bytes: bytes
    text: str
    row: Any  # the instruction's row in the ISA table, or None
    operand: int | None  # its operand's value: an address, a constant, where a branch goes
    label: str | None
    size: int  # in bytes: more than len(bytes) where memory is reserved, not filled


@dataclass(frozen=True)
class Program:
    """An assembled text.

    segments  (address, bytes), sorted, none overlapping
    symbols   name -> value, local labels left out
    labels    the names among the symbols that stand for a place, not for a number
    entry     where `.end` says to start, or None
    """

    name: str
    target: str
    machine: str | None
    segments: tuple[tuple[int, bytes], ...]
    symbols: Mapping[str, int]
    labels: frozenset[str]
    lines: tuple[Line, ...] = field(repr=False)
    entry: int | None = None

    def __repr__(self) -> str:
        size = sum(len(data) for _, data in self.segments)
        return (f"Program({self.name!r}, {self.target}, {size} bytes in "
                f"{len(self.segments)} segments, {len(self.labels)} labels)")

    @cached_property
    def notes(self) -> dict[Any, Any]:
        """What later stages have found out about this program, each under a key of its own."""
        return {}

    @cached_property
    def instructions(self) -> Mapping[int, Line]:
        """Address -> the line of the instruction that starts there."""
        return {line.address: line for line in self.lines if line.row is not None}

    @cached_property
    def label_at(self) -> Mapping[int, str]:
        """Address -> the first label there."""
        return {line.address: line.label for line in reversed(self.lines)
                if line.label in self.labels}

    def listing(self, environment: Mapping[str, Any] | None = None,
                timing: str | None = None) -> str:
        """Address, bytes, cycles and source of every line; then bytes and cycles of each label."""
        from anachron.compiler.assembly.listing import print_listing
        return print_listing(self, environment, timing)

    def map(self) -> str:
        """Objects by address and by size, and the memory that is free."""
        from anachron.compiler.assembly.listing import print_map
        return print_map(self)


def join_segments(lines: Iterable[Line], sources: Iterable[SourceLine]
                  ) -> tuple[tuple[int, bytes], ...]:
    """Adjacent bytes as one segment; AssemblyError where two lines claim the same address."""
    filled = sorted(((line.address, line.bytes, source)
                     for line, source in zip(lines, sources, strict=True) if line.bytes),
                    key=lambda item: item[0])
    segments: list[tuple[int, bytearray]] = []
    end, before = -1, None
    for address, data, source in filled:
        if before is not None and address < end:
            raise AssemblyError(
                f"{end - address} of these bytes overlap those of {before.file}:{before.number}",
                line=source)
        if address == end:
            segments[-1][1].extend(data)
        else:
            segments.append((address, bytearray(data)))
        end, before = address + len(data), source
    return tuple((address, bytes(data)) for address, data in segments)
