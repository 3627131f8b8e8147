"""Expressions of a source: small trees that evaluate against the symbols of a pass.

To add an operator: a row in BINARY or UNARY, and a line in the dialects' grammars.
"""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import NamedTuple, Protocol

from anachron.compiler.assembly.errors import AssemblyError

LIMIT = 1 << 48  # beyond any address or constant of these machines; keeps hostile sums small


class Scope(Protocol):
    """What an expression reads: the location counter, the radix, and symbols."""

    here: int
    radix: int

    def value(self, name: str, column: int) -> int: ...

    def local_value(self, name: str, column: int) -> int: ...

    def anonymous_value(self, kind: str, distance: int, column: int) -> int: ...


class Number(NamedTuple):
    """A number whose radix is written."""

    number: int

    def evaluate(self, scope: Scope) -> int:
        return self.number


class Digits(NamedTuple):
    """A number in the radix that is in force where it stands."""

    text: str
    column: int

    def evaluate(self, scope: Scope) -> int:
        return literal(self.text, scope.radix, self.column)


class Text(NamedTuple):
    """A string; a number where it has one character."""

    text: str
    column: int

    def evaluate(self, scope: Scope) -> int:
        if len(self.text) != 1:
            raise AssemblyError("expected a number, found a string", self.column)
        return encode_text(self.text, self.column)[0]


class Name(NamedTuple):
    """A symbol."""

    text: str
    column: int

    def evaluate(self, scope: Scope) -> int:
        return scope.value(self.text, self.column)


class Local(NamedTuple):
    """A local label, known between two ordinary ones."""

    text: str
    column: int

    def evaluate(self, scope: Scope) -> int:
        return scope.local_value(self.text, self.column)


class Anonymous(NamedTuple):
    """The nth unnamed label of a kind before (negative) or after (positive) this place."""

    kind: str
    distance: int
    column: int

    def evaluate(self, scope: Scope) -> int:
        return scope.anonymous_value(self.kind, self.distance, self.column)


class Here(NamedTuple):
    """The location counter."""

    def evaluate(self, scope: Scope) -> int:
        return scope.here


class Group(NamedTuple):
    """Brackets: kept, because round an operand they may mean indirection."""

    inner: Expression

    def evaluate(self, scope: Scope) -> int:
        return self.inner.evaluate(scope)


class Unary(NamedTuple):
    operator: str
    operand: Expression
    column: int

    def evaluate(self, scope: Scope) -> int:
        return UNARY[self.operator](self.operand.evaluate(scope))


class Binary(NamedTuple):
    operator: str
    left: Expression
    right: Expression
    column: int

    def evaluate(self, scope: Scope) -> int:
        left, right = self.left.evaluate(scope), self.right.evaluate(scope)
        try:
            result = BINARY[self.operator](left, right)
        except (ZeroDivisionError, ValueError, OverflowError):
            raise AssemblyError(f"{left} {self.operator} {right} has no value",
                                self.column) from None
        if not -LIMIT < result < LIMIT:
            raise AssemblyError(f"{left} {self.operator} {right} is too large a number",
                                self.column)
        return result


Expression = Number | Digits | Text | Name | Local | Anonymous | Here | Group | Unary | Binary


def literal(text: str, radix: int, column: int) -> int:
    """The number that digits stand for."""
    try:
        value = int(text, radix) if len(text) <= 64 else LIMIT
    except ValueError:
        hint = f"; {text}. is decimal" if radix == 8 else ""
        raise AssemblyError(f"{text} is not a number in radix {radix}{hint}", column) from None
    if value >= LIMIT:
        raise AssemblyError("too large a number", column)
    return value


def _shift_left(value: int, places: int) -> int:
    if not 0 <= places <= 48:
        raise ValueError
    return value << places


def _shift_right(value: int, places: int) -> int:
    if places < 0:
        raise ValueError
    return value >> min(places, 64)


def _divide(left: int, right: int) -> int:
    """Quotient rounded towards zero, as both 6502 assemblers and MACRO-11 have it for positives."""
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


UNARY: dict[str, Callable[[int], int]] = {
    "-": operator.neg, "+": operator.pos, "~": operator.invert,
    "!": lambda value: int(not value),
    "<": lambda value: value & 0xFF,
    ">": lambda value: value >> 8 & 0xFF,
    "^": lambda value: value >> 16 & 0xFF,
}

BINARY: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide,
    "/16": lambda left, right: (left & 0xFFFF) // (right & 0xFFFF),  # MACRO-11's, without sign
    "%": lambda left, right: left - right * _divide(left, right),
    "<<": _shift_left, ">>": _shift_right,
    "&": operator.and_, "^": operator.xor, "|": operator.or_,
    "==": lambda left, right: int(left == right), "!=": lambda left, right: int(left != right),
    "<": lambda left, right: int(left < right), ">": lambda left, right: int(left > right),
    "<=": lambda left, right: int(left <= right), ">=": lambda left, right: int(left >= right),
    "&&": lambda left, right: int(bool(left) and bool(right)),
    "||": lambda left, right: int(bool(left) or bool(right)),
}
SAME_OPERATOR = {"=": "==", "<>": "!="}


def encode_text(text: str, column: int) -> bytes:
    """The bytes of a string: ASCII, one a character."""
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise AssemblyError(f"{text[error.start]!r} is not an ASCII character",
                            column + error.start) from None
