"""What is wrong with a source, and where: file:line:column, the line itself, a caret."""
from __future__ import annotations

from anachron.compiler.assembly.source import SourceLine


class AssemblyError(ValueError):
    """A mistake in a source text. `column` counts from 0; `line` is filled in where it is known."""

    def __init__(self, message: str, column: int = 0, line: SourceLine | None = None) -> None:
        super().__init__(message)
        self.message, self.column, self.line = message, column, line

    def at(self, line: SourceLine) -> AssemblyError:
        """The same error, placed on a line unless it has one already."""
        if self.line is None:
            self.line = line
        return self

    def __str__(self) -> str:
        if self.line is None:
            return self.message
        line, text = self.line, self.line.text.expandtabs(8)
        column = len(self.line.text[: self.column].expandtabs(8))
        told = f"{line.file}:{line.number}:{column + 1}: {self.message}"
        if text.strip():
            told += f"\n  {text.rstrip()}\n  {' ' * column}^"
        while line.caller is not None:
            line = line.caller
            told += f"\n  expanded from {line.file}:{line.number}"
        return told


class PastMemory(AssemblyError):
    """More than 64 KB: n_bytes past the end, so far."""

    def __init__(self, n_bytes: int, size: int) -> None:
        super().__init__(f"{n_bytes} bytes past the end of memory, {size:#x}")
        self.n_bytes = n_bytes


class Undefined(AssemblyError):
    """A symbol that no pass so far has defined; an early pass goes on without it."""
