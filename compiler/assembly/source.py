"""Texts into the sequence of lines that is assembled: files, repeats and macro bodies, as a stack.

The reader knows nothing of statements: passes.py tells it what to open, skip, collect and leave.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_LINES = 500_000  # assembled in one pass: a bound on runaway repeats and macros
MAX_DEPTH = 64  # of files, repeats and macros open at once
MAX_LINE_LENGTH = 8_192
MAX_FILE_BYTES = 16 << 20

# The directive of a line, whatever label stands before it: all that skipping a block has to know.
_WORD = re.compile(r"\s*(?:[^\s:;\"']+::?\s*|[A-Za-z_][\w$.]*\s+)?\.([A-Za-z]\w*)")


class SourceLine:
    """One line of text, where it stands, and the line whose macro call or repeat produced it."""

    __slots__ = ("file", "number", "text", "caller")

    def __init__(self, file: str, number: int, text: str, caller: SourceLine | None = None) -> None:
        self.file, self.number, self.text, self.caller = file, number, text, caller


@dataclass
class Frame:
    """Lines being read: a file, a repeat or the body of a macro."""

    what: str
    lines: Sequence[SourceLine]
    opened: SourceLine | None = None
    position: int = 0
    conditions: list[bool] = field(default_factory=list)
    condition_lines: list[SourceLine | None] = field(default_factory=list)
    n_arguments: int = 0  # given to a macro
    again: Callable[[], bool] | None = None  # a repeat: True when its body is to be read once more
    leave: Callable[[], object] | None = None


def split_lines(file: str, text: str, error: type[ValueError]) -> list[SourceLine]:
    """The lines of a text, each short enough to be a line a person wrote."""
    if len(text) > MAX_FILE_BYTES:
        raise error(f"{file}: {len(text)} characters, more than {MAX_FILE_BYTES}")
    lines = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if len(line) > MAX_LINE_LENGTH:
            raise error(f"{file}:{number}: a line of {len(line)} characters, more than "
                        f"{MAX_LINE_LENGTH}; break it up")
        lines.append(SourceLine(file, number, line))
    return lines


def include_from(folders: Iterable[str | Path]) -> Callable[[str], str]:
    """A reader of included files: the first of the folders that has the file."""
    searched = [Path(folder) for folder in folders]

    def include(name: str) -> str:
        for folder in searched:
            try:
                path = folder / name
                if not path.is_file():
                    continue
                if path.stat().st_size > MAX_FILE_BYTES:
                    raise ValueError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
                return path.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise ValueError(f"{name} cannot be read: {error.strerror}") from None
        if not searched:
            raise ValueError(f"{name} cannot be found: no folder to look in was given")
        raise ValueError(f"{name} is not in {', '.join(map(str, searched))}")

    return include


def directive_of(text: str) -> str:
    """The directive word of a line in lower case, or nothing."""
    found = _WORD.match(text) if "." in text else None
    return found[1].lower() if found else ""


class Reader:
    """Lines one after the other, from whatever is open."""

    def __init__(self, error: Callable[..., ValueError]) -> None:
        self.error = error
        self.frames: list[Frame] = []
        self.count = 0

    def open(self, frame: Frame) -> None:
        """Read a frame's lines next."""
        if len(self.frames) >= MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} files, repeats and macros inside each other")
        self.frames.append(frame)

    def next(self) -> SourceLine | None:
        """The next line, or None after the last."""
        while self.frames:
            frame = self.frames[-1]
            if frame.position < len(frame.lines):
                line = frame.lines[frame.position]
                frame.position += 1
                self.count += 1
                if self.count > MAX_LINES:
                    raise self.error(f"more than {MAX_LINES} lines after expansion")
                return line
            self._end(frame)
        return None

    def _end(self, frame: Frame) -> None:
        if frame.conditions:
            raise self.error("nothing ends this conditional block", 0, frame.condition_lines[-1])
        if frame.again is not None:
            self.count += 1  # an empty body repeated is work too
            if self.count > MAX_LINES:
                raise self.error(f"more than {MAX_LINES} lines after expansion")
            if frame.again():
                frame.position = 0
                return
        self.frames.pop()
        if frame.leave is not None:
            frame.leave()

    def leave_macro(self) -> None:
        """End the innermost macro, and what it has opened, at once."""
        while self.frames:
            frame = self.frames.pop()
            if frame.leave is not None:
                frame.leave()
            if frame.what.startswith("macro"):
                return
        raise self.error("not inside a macro")

    def collect(self, openers: frozenset[str], closers: frozenset[str]) -> list[SourceLine]:
        """The lines of a block up to its closer, blocks of the same kind inside it included."""
        frame, depth, start = self.frames[-1], 0, self.frames[-1].position
        for position in range(start, len(frame.lines)):
            word = directive_of(frame.lines[position].text)
            if word in openers:
                depth += 1
            elif word in closers:
                if depth == 0:
                    frame.position = position + 1
                    return list(frame.lines[start:position])
                depth -= 1
        raise self.error(f"no .{sorted(closers)[0]} before the {frame.what} ends")

    def skip(self, openers: frozenset[str], stops: frozenset[str], closers: frozenset[str]) -> str:
        """Pass over lines to a stop or the closer of this level, which is read next; say which."""
        frame, depth = self.frames[-1], 0
        for position in range(frame.position, len(frame.lines)):
            word = directive_of(frame.lines[position].text)
            if not word:
                continue
            if word in openers:
                depth += 1
            elif depth == 0 and (word in stops or word in closers):
                frame.position = position
                return word
            elif word in closers:
                depth -= 1
        raise self.error(f"no .{sorted(closers)[0]} before the {frame.what} ends")
