"""Sections: the parts of an image's source text, each under a label, in the order of memory.

To add a kind of data: a function that gives a Section.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anachron.compiler.memory import Placed
from anachron.kernels.pdp11.instructions import lay_out

BYTES_A_LINE = 16
DELIMITERS = "\"'|#$"  # no slash: after <15> macro11 takes it for a division


@dataclass(frozen=True)
class Section:
    """Lines of source that begin with a label; kind as in memory.Placed."""

    name: str
    kind: str
    label: str
    text: str


def code(name: str, text: str, label: str = "", kind: str = "code") -> Section:
    return Section(name, kind, label or name, text)


def data(name: str, label: str, content: bytes, kind: str) -> Section:
    """Bytes, at an even address."""
    lines = [".EVEN", f"{label}:"]
    for at in range(0, len(content), BYTES_A_LINE):
        row = content[at : at + BYTES_A_LINE]
        lines.append(".BYTE " + ",".join(f"{byte:o}" for byte in row))
    return Section(name, kind, label, "\n".join(lines))


def words(name: str, cells: Mapping[str, int], kind: str = "runtime") -> Section:
    """Named words with what they hold at first."""
    lines = [".EVEN"] + [f"{label}: .WORD {value:o}" for label, value in cells.items()]
    return Section(name, kind, next(iter(cells)), "\n".join(lines))


def strings(texts: Mapping[str, str]) -> Section:
    """Named texts, each ended by a zero byte."""
    lines = [f"{label}:\n.ASCIZ {_quote(text)}" for label, text in texts.items()]
    return Section("messages", "runtime", next(iter(texts)), "\n".join([*lines, ".EVEN"]))


def _quote(text: str) -> str:
    """A text between delimiters; characters that do not print in angle brackets."""
    out, run = [], ""
    for character in text.encode("ascii", "replace").decode() + "\0":
        if character.isprintable():
            run += character
            continue
        if run:
            mark = next((d for d in DELIMITERS if d not in run), '"')
            out.append(f"{mark}{run.replace(mark, ' ')}{mark}")
            run = ""
        if character != "\0":
            out.append(f"<{ord(character):o}>")
    return "".join(out) or '""'


def reserve(name: str, label: str, n_words: int, kind: str) -> Section:
    """Words that nothing is loaded into."""
    return Section(name, kind, label, f".EVEN\n{label}: .BLKW {n_words}.")


def compose(title: str, origin: int, entry: str, sections: Iterable[Section]) -> str:
    """The whole source text."""
    body = "\n\n".join(section.text for section in sections)
    head = f".TITLE {title}\n.ASECT\n. = {origin:o}\n\n"
    return lay_out(f"{head}{body}\nimage_end:\n.END {entry}")


def place(sections: Iterable[Section], symbols: Mapping[str, int]) -> tuple[Placed, ...]:
    """The memory map: a section reaches to where the next one begins."""
    ordered = sorted(sections, key=lambda section: symbols[section.label.lower()])
    starts = [symbols[section.label.lower()] for section in ordered] + [symbols["image_end"]]
    return tuple(
        Placed(section.name, start, end - start, section.kind)
        for section, start, end in zip(ordered, starts, starts[1:], strict=False)
        if end > start
    )
