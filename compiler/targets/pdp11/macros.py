"""How MACRO-11 passes arguments to macros and puts them into a body.

Source: PDP-11 MACRO-11 Language Reference Manual, chapter 7.
"""
from __future__ import annotations

import re
from collections.abc import Mapping

from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.assembly.passes import Assembly

FIRST_FRESH_LABEL = 30000  # MACRO-11 numbers the labels that it makes itself from 30000$ up

_BLANKS = " \t"
_NAME = re.compile(r"[A-Za-z$._][A-Za-z0-9$._]*")


def bracketed(text: str, start: int) -> tuple[str, int]:
    """The text inside `<...>` or `^/.../` that starts here, and the place after it."""
    if text[start] == "<":
        depth, end = 1, start + 1
        while end < len(text) and depth:
            depth += {"<": 1, ">": -1}.get(text[end], 0)
            end += 1
        if depth:
            raise AssemblyError("no '>' for this '<'", start)
        return text[start + 1:end - 1], end
    closing = text.find(text[start + 1], start + 2) if start + 1 < len(text) else -1
    if closing < 0:
        raise AssemblyError("the argument has no end", start)
    return text[start + 2:closing], closing + 1


def split_list(text: str) -> list[str]:
    """Arguments between commas or blanks, brackets taken off; what follows a `;` is a comment."""
    parts: list[str] = []
    position, waiting = 0, False  # waiting: after a comma an argument follows, if only an empty one
    while True:
        while position < len(text) and text[position] in _BLANKS:
            position += 1
        if position == len(text) or text[position] == ";":
            if waiting:
                parts.append("")
            return parts
        if text[position] == ",":
            parts.append("")
            position, waiting = position + 1, True
            continue
        if text[position] == "<" or text[position:position + 1] == "^" and text[
                position + 1:position + 2] not in tuple("BCDFORXbcdforx"):
            part, position = bracketed(text, position)
        else:
            start = position
            while position < len(text) and text[position] not in " \t,;":
                if text[position] == "<":
                    _, position = bracketed(text, position)
                else:
                    position += 1
            part = text[start:position]
        parts.append(part)
        while position < len(text) and text[position] in _BLANKS:
            position += 1
        waiting = text[position:position + 1] == ","
        position += waiting


def split_arguments(text: str, assembly: Assembly) -> list[str]:
    """The arguments of a call; `\\expression` passes its value as a number."""
    from anachron.compiler.targets.pdp11.directives import expression_of
    parts = split_list(text)
    for index, part in enumerate(parts):
        if part.startswith("\\"):
            value = assembly.number(expression_of(part[1:], 0), 0) & 0xFFFF
            parts[index] = _in_radix(value, assembly.radix)
    return parts


def _in_radix(value: int, radix: int) -> str:
    digits = ""
    while True:
        value, digit = divmod(value, radix)
        digits = "0123456789ABCDEF"[digit] + digits
        if not value:
            return digits


def substitute(text: str, given: Mapping[str, str]) -> str:
    """Replace the names of parameters; an apostrophe beside one joins it to its neighbour."""

    def replace(found: re.Match[str]) -> str:
        value = given.get(found[0].upper())
        return found[0] if value is None else f"\0{value}\0"

    marked = _NAME.sub(replace, text)
    return marked.replace("'\0", "").replace("\0'", "").replace("\0", "")


def fresh_label(assembly: Assembly, name: str) -> str:
    """A local label that no one else has."""
    count = assembly.anonymous["fresh"] = assembly.anonymous.get("fresh", 0) + 1
    return f"{FIRST_FRESH_LABEL + count - 1}$"
