"""Program text -> tree: the grammar at work, and errors that show their place.

To change the grammar: language.lark.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from lark.indenter import DedentError, Indenter

from anachron.compiler.model import ModelError

EXPECTED = {  # terminals of the grammar, as a person would say them
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a text in quotes",
    "_NL": "the end of the line",
    "_INDENT": "an indented line",
    "_DEDENT": "the end of the indented lines",
    "EQUAL": "'='",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "COLON": "':'",
    "PLUS": "'+'",
    "MINUS": "'-'",
    "STAR": "'*'",
    "SLASH": "'/'",
    "$END": "the end of the text",
}
FOUND = {
    "_NL": "the end of the line",
    "_INDENT": "an indented line",
    "_DEDENT": "the end of the indented lines",
    "$END": "the end of the text",
}
WIDEST = 120  # columns of a line that an error shows
ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class LanguageError(ModelError):
    """What is wrong with a program text: file:line:column, and the line with a caret."""


class UnevenIndentation(Exception):
    """A line goes back to an indentation that no line above has: (line, column)."""


class _Layers(Indenter):
    NL_type = "_NL"
    OPEN_PAREN_types = ["LPAR"]
    CLOSE_PAREN_types = ["RPAR"]
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 8

    def handle_NL(self, token: Token) -> Iterator[Token]:
        """As lark does it, with the place in the error."""
        try:
            yield from super().handle_NL(token)
        except DedentError:
            raise UnevenIndentation(token.end_line or 1, token.end_column or 1) from None


GRAMMAR = Lark(
    (Path(__file__).parent / "language.lark").read_text(encoding="utf-8"),
    parser="lalr",
    postlex=_Layers(),
    propagate_positions=True,
    maybe_placeholders=False,
)


class Source:
    """A program text and its name: what an error needs to show its place."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines = text.splitlines()

    def error(self, line: int, column: int, message: str) -> LanguageError:
        """An error at a place, with the line and a caret under it."""
        shown = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        start = max(0, column - WIDEST)
        before, after = shown[start : column - 1], shown[column - 1 : start + WIDEST]
        caret = "".join("\t" if c == "\t" else " " for c in before)
        return LanguageError(
            f"{self.file}:{line}:{column}: {message}\n    {before}{after}\n    {caret}^"
        )

    def at(self, part: Tree | Token, message: str) -> LanguageError:
        """An error at a part of the tree."""
        place = part if isinstance(part, Token) else part.meta
        return self.error(getattr(place, "line", 1), getattr(place, "column", 1), message)

    def where(self, part: Tree) -> str:
        return f"{self.file}:{part.meta.line}:{part.meta.column}"

    def parse(self) -> Tree:
        """The tree of the text; raises LanguageError where it is none."""
        try:
            return GRAMMAR.parse(self.text + "\n")
        except UnexpectedToken as error:
            found = FOUND.get(error.token.type, repr(str(error.token)[:30]))
            wanted = sorted({EXPECTED.get(t, t.lower()) for t in error.accepts or error.expected})
            line, column = max(1, error.line), max(1, error.column)
            raise self.error(line, column, f"found {found}, expected {either(wanted)}") from None
        except UnexpectedCharacters as error:
            message = f"{error.char!r} cannot stand here"
            raise self.error(error.line, error.column, message) from None
        except UnevenIndentation as error:
            line, column = error.args
            message = "this line goes back to an indentation that no line above has"
            raise self.error(line, column, message) from None

    def string(self, token: Tree | Token) -> str:
        """What a text in quotes says."""
        body, out, escaped = str(token)[1:-1], "", False
        for c in body:
            if escaped and c not in ESCAPES:
                raise self.at(token, f'\\{c} is not known; there are \\n \\t \\" \\\\')
            if escaped or c != "\\":
                out += ESCAPES[c] if escaped else c
            escaped = c == "\\" and not escaped
        return out


def called(source: Source, part: Tree) -> tuple[str, list[Tree], dict[str, Tree]]:
    """A call's name, its arguments, and its settings by name."""
    arguments: list[Tree] = []
    settings: dict[str, Tree] = {}
    for child in part.children[1:]:
        if child.data == "setting":
            name = str(child.children[0])
            if name in settings:
                raise source.at(child, f"{name} is said twice")
            settings[name] = child.children[1]
        else:
            arguments.append(child)
    return str(part.children[0]), arguments, settings


def either(words: Iterable[str]) -> str:
    """a, b or c."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def near(name: str, known: Iterable[str]) -> str:
    """A question after the name that was probably meant."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
