"""Claims about time in a source's comments, `;@ ...`, into what timing.py asks for.

To add a claim: a field, a line in PATTERNS or WORDS, its place in timing.py's table, its use there.
"""
from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple


class TimingError(ValueError):
    """Code whose time cannot be told from its text, or a claim that cannot be read."""


class Cycles(NamedTuple):
    """Least, expected and most cycles; nanoseconds on a machine without a clock.

    >>> Cycles(2, 2.5, 3) + Cycles(4, 4, 4)
    Cycles(lo=6, expected=6.5, hi=7)
    >>> Cycles(2, 2.5, 3) * 10
    Cycles(lo=20, expected=25.0, hi=30)
    """

    lo: int
    expected: float
    hi: int

    def __add__(self, other: Cycles) -> Cycles:  # type: ignore[override]
        return Cycles(self.lo + other.lo, self.expected + other.expected, self.hi + other.hi)

    def __sub__(self, other: Cycles) -> Cycles:
        return Cycles(self.lo - other.lo, self.expected - other.expected, self.hi - other.hi)

    def __mul__(self, times: int) -> Cycles:  # type: ignore[override]
        return Cycles(self.lo * times, self.expected * times, self.hi * times)

    @property
    def exact(self) -> bool:
        """Whether the time does not depend on data."""
        return self.lo == self.hi


# What a variable of a claim stands for: a number, or (lo, expected, hi).
Environment = Mapping[str, Any]


class Asked(Mapping[str, Any]):
    """An environment that notes what is asked of it: nothing else can change an answer."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.answers: dict[str, Any] = {}

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a variable."""
        value = self.answers[name] = self.environment.get(name)
        return default if value is None else value

    def __getitem__(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.environment)

    def __len__(self) -> int:
        return len(self.environment)


@dataclass(frozen=True)
class Claims:
    """The claims on one line; None or False where it makes no such claim."""

    times: str | None = None
    left: str | None = None
    takes: str | None = None
    plus: str | None = None
    probability: str | None = None
    when: str | None = None
    index: str | None = None
    goes: tuple[str, ...] = ()
    never: bool = False
    always: bool = False
    aligned: bool = False
    patched: bool = False


NO_CLAIMS = Claims()

_PATTERNS = {
    "times": re.compile(r"times\s+(.+)"), "left": re.compile(r"left\s+(.+)"),
    "takes": re.compile(r"takes\s+(.+)"),
    "plus": re.compile(r"plus\s+(.+)"), "probability": re.compile(r"p\s*=\s*(.+)"),
    "index": re.compile(r"index\s+(.+)"), "when": re.compile(r"when\s+(.+)"),
}
_GOES = re.compile(r"goes\s+(.+)")
_WORDS = frozenset({"never", "always", "aligned", "patched"})


def _parts(comment: str) -> Iterator[str]:
    """What commas outside of parentheses and `;@` divide."""
    for text in (part.partition(";")[0] for part in comment.split(";@")):
        start = depth = 0
        for at, character in enumerate(text):
            depth += (character == "(") - (character == ")")
            if character == "," and depth == 0:
                yield text[start:at]
                start = at + 1
        yield text[start:]


@lru_cache(maxsize=4096)
def parse_claims(comment: str) -> Claims:
    """The claims after `;@`; several are divided by a comma or another `;@`."""
    found: dict[str, Any] = {}
    for part in _parts(comment):
        part = part.strip()
        if not part:
            continue
        if part in _WORDS:
            found[part] = True
        elif match := _GOES.fullmatch(part):
            found["goes"] = found.get("goes", ()) + (match[1].strip(),)
        else:
            for name, pattern in _PATTERNS.items():
                if match := pattern.fullmatch(part):
                    found[name] = match[1].strip()
                    break
            else:
                if "goes" not in found:
                    raise TimingError(f"{part!r} is not a claim; claims are times, left, takes, "
                                      "plus, p=, when, index, goes, never, always, aligned, "
                                      "patched")
                found["goes"] += (part,)  # goes A, B
    return Claims(**found)


def claims_of(text: str) -> Claims:
    """The claims on a line of source."""
    _, mark, comment = text.partition(";@")
    return parse_claims(comment) if mark else NO_CLAIMS


_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.USub: operator.neg, ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max}


@lru_cache(maxsize=4096)
def _parsed(text: str) -> ast.expr:
    if len(text) > 500:
        raise TimingError(f"a claim of {len(text)} characters")
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise TimingError(f"{text!r} is not an expression") from None


def _number(node: ast.expr, value_of: Callable[[str], float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if abs(value) < 1e15:
            return value
        case ast.Name(id=name):
            return value_of(name)
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _OPERATORS:
            result: float = _OPERATORS[type(sign)](_number(operand, value_of))
            return result
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            try:
                result = _OPERATORS[type(sign)](_number(left, value_of), _number(right, value_of))
            except ZeroDivisionError:
                raise TimingError(f"{ast.unparse(node)} divides by zero") from None
            return result
        case ast.Call(func=ast.Name(id="usual"), args=[ast.Name(id=name), default], keywords=[]):
            try:
                return value_of(name)
            except TimingError:
                return _number(default, value_of)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if (
                name in _FUNCTIONS):
            result = _FUNCTIONS[name](*(_number(argument, value_of) for argument in arguments))
            return result
    raise TimingError(f"{ast.unparse(node)!r} is not a number, a name, + - * / // %, min, max or "
                      "usual(name, number)")


def amount(text: str, environment: Environment, symbols: Mapping[str, int]) -> Cycles:
    """`expression` or `lo..hi ~expected` as three numbers.

    A name is looked up in the environment, where it may be three numbers itself, then among the
    program's symbols. Numbers are decimal on every machine.
    """
    parts = re.fullmatch(r"(.+?)(?:\.\.(.+?))?(?:~(.+))?", text.strip())
    if not parts:
        raise TimingError(f"{text!r} is not a number or a range")

    def evaluate(expression: str, place: int) -> float:
        def value_of(name: str) -> float:
            value = environment.get(name)
            if value is None:
                value = symbols.get(name, symbols.get(name.upper()))
            if value is None:
                raise TimingError(f"{name} in `{text}` is neither in the environment nor a symbol")
            return float(value[place]) if isinstance(value, tuple) else value
        return _number(_parsed(expression.strip()), value_of)

    lo = evaluate(parts[1], 0)
    hi = evaluate(parts[2] or parts[1], 2)
    if lo > hi:
        raise TimingError(f"`{text}`: {lo} is more than {hi}")
    if parts[3]:
        expected = evaluate(parts[3], 1)
    else:
        expected = (lo + hi) / 2 if parts[2] else evaluate(parts[1], 1)
    if not lo <= expected <= hi:
        raise TimingError(f"`{text}`: {expected} is not between {lo} and {hi}")
    return Cycles(int(lo), expected, int(-(-hi // 1)))
