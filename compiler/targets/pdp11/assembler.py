"""MACRO-11 source text into a Program, placed absolutely (`.ASECT`, `. =`): no linker follows.

Beyond DEC's language: names may be longer than six characters, all of which count, and may hold
an underscore.
To add a directive: a row in DIRECTIVES. Instructions are rows of emulators/pdp11/isa.py.
Source: PDP-11 MACRO-11 Language Reference Manual (AA-KX10A-TC).
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from anachron.compiler.assembly.errors import AssemblyError, Undefined
from anachron.compiler.assembly.expressions import (
    Binary,
    Digits,
    Expression,
    Group,
    Here,
    Local,
    Name,
    Number,
    Scope,
    Unary,
    encode_text,
    literal,
)
from anachron.compiler.assembly.grammar import Found, LineGrammar
from anachron.compiler.assembly.passes import Dialect, Label, Statement, assemble_text
from anachron.compiler.assembly.program import Program
from anachron.compiler.assembly.source import include_from
from anachron.compiler.targets.pdp11 import encoding, macros
from anachron.compiler.targets.pdp11.directives import DIRECTIVES, TEXT, TEXT_DIRECTIVE

_RADIX_50 = " ABCDEFGHIJKLMNOPQRSTUVWXYZ$.?0123456789"
_RADIX = {"B": 2, "O": 8, "D": 10, "X": 16}


def assemble(text: str, name: str = "source.mac", *,
             include: Callable[[str], str] | Iterable[str | Path] | None = None,
             symbols: Mapping[str, int] | None = None, machine: str | None = None) -> Program:
    """Assemble a source text; AssemblyError says where and what is wrong.

    include  a function from a file's name to its text, or the folders to look in
    symbols  values known before the first line
    machine  refuses the instructions that this machine lacks ("pdp11/20"); None has them all
    """
    encoding.check_machine(machine)
    reader = include if callable(include) else include_from(include or ())
    known = {symbol.upper(): value for symbol, value in (symbols or {}).items()}
    return assemble_text(dialect(), text, name, reader, known, machine)


class Implied(NamedTuple):
    """A symbol where an instruction is expected: its value is the word, as after `.WORD`."""

    text: str
    column: int

    def evaluate(self, scope: Scope) -> int:
        try:
            return scope.value(self.text, self.column)
        except Undefined:
            raise Undefined(f"{self.text} is not an instruction, a directive, a macro or a symbol",
                            self.column) from None


class Opcode(NamedTuple):
    """An instruction's name in an expression: a symbol of that name, else its word."""

    text: str
    column: int

    def evaluate(self, scope: Scope) -> int:
        try:
            return scope.value(self.text, self.column)
        except Undefined:
            return encoding.opcode_of(self.text)


# --- lines ----------------------------------------------------------------------------------------

def _instruction(labels: tuple[Label, ...], mnemonic: Found,
                 operands: tuple[encoding.Operand, ...] = ()) -> Statement:
    return Statement(labels, "instruction", mnemonic[0].upper(), operands, mnemonic[1])


def _directive(labels: tuple[Label, ...], word: Found,
               arguments: tuple[Expression, ...] = ()) -> Statement:
    if word[0][1:].lower() in TEXT:
        raise AssemblyError(f"{word[0]} makes no sense here", word[1])
    return Statement(labels, "directive", word[0][1:].lower(), arguments, word[1])


def _same_register(labels: tuple[Label, ...], name: Found, sign: Found, number: int) -> Statement:
    if encoding.REGISTERS[name[0].upper()] != number:
        raise AssemblyError(f"{name[0]} is register {encoding.REGISTERS[name[0].upper()]}",
                            name[1])
    return Statement(labels)


def _percent(found: Found) -> int:
    if found[0] not in "01234567" or len(found[0]) != 1:
        raise AssemblyError(f"%{found[0]} is not a register, %0 to %7", found[1])
    return int(found[0])


def _radix_number(found: Found) -> Number:
    text, column = found[0].upper(), found[1]
    return Number(literal(text[2:], _RADIX[text[1]], column))


def pack_radix_50(text: str, column: int) -> list[int]:
    """Three characters a word, in DEC's alphabet of forty."""
    words = []
    for start in range(0, len(text), 3):
        word = 0
        for character in text[start:start + 3].upper().ljust(3):
            if character not in _RADIX_50:
                raise AssemblyError(f"{character!r} has no code in radix 50", column)
            word = word * 40 + _RADIX_50.index(character)
        words.append(word)
    return words


def _characters(found: Found) -> Number:
    low, high = encode_text(found[0][1:], found[1])
    return Number(low | high << 8)


def _operand(mode: int, extra: bool = False) -> Callable[..., encoding.Operand]:
    if extra:
        return lambda value, register: encoding.Operand(mode | register, value)
    return lambda register: encoding.Operand(mode | register, None)


def _addressed(mode: int) -> Callable[[Expression], encoding.Operand]:
    return lambda value: encoding.Operand(mode, value)


_ACTIONS: dict[str, Callable[..., Any]] = {
    "nothing": Statement, "instruction": _instruction, "directive": _directive,
    "assign": lambda labels, name, sign, value: Statement(
        labels, "assign", name[0].upper(), (value, True, False), name[1]),
    "origin": lambda labels, dot, sign, value: Statement(labels, "origin", "", value, dot[1]),
    "same_register": _same_register,
    "flags": lambda labels, names: Statement(
        labels, "directive", "word", (Number(encoding.encode_flags(list(names))),)),
    "two_flags": lambda first, _, second: (first, second),
    "more_flags": lambda names, _, name: (*names, name),
    "plus_flags": lambda labels, _, names: Statement(
        labels, "directive", "word", (Number(encoding.encode_flags(list(names))),)),
    "instruction_after_plus": lambda labels, _, mnemonic: _instruction(labels, mnemonic),
    "implied_word": lambda labels, name: Statement(
        labels, "directive", "word", (Implied(name[0].upper(), name[1]),)),
    "no_labels": lambda: (),
    "global_label": lambda labels, name, _: (*labels, Label("global", name[0].upper(), name[1])),
    "local_label": lambda labels, name, _: (*labels, Label("local", *name)),
    "listed": lambda *values: values,
    "direct": _operand(0o00), "deferred": _operand(0o10),
    "increment": _operand(0o20), "increment_deferred": _operand(0o30),
    "decrement": _operand(0o40), "decrement_deferred": _operand(0o50),
    "index": _operand(0o60, True), "index_deferred": _operand(0o70, True),
    "zero_index_deferred": lambda register: encoding.Operand(0o70 | register, Number(0)),
    "immediate": _addressed(0o27), "absolute": _addressed(0o37),
    "relative": _addressed(0o67), "relative_deferred": _addressed(0o77),
    "register": lambda found: encoding.REGISTERS[found[0].upper()], "percent": _percent,
    "binary": lambda left, sign, right: Binary(
        {"!": "|", "/": "/16"}.get(sign[0], sign[0]), left, right, sign[1]),
    "unary": lambda sign, value: Unary(sign[0], value, sign[1]),
    "complement": lambda sign, value: Unary("~", value, sign[1]),
    "opcode": lambda found: Opcode(found[0].upper(), found[1]),
    "name": lambda found: Name(found[0].upper(), found[1]), "local": lambda found: Local(*found),
    "here": lambda _: Here(), "group": Group, "digits": lambda found: Digits(*found),
    "decimal": lambda found: Number(literal(found[0][:-1], 10, found[1])),
    "radix_number": _radix_number,
    "radix_50": lambda found: Number(pack_radix_50(found[0][2:], found[1])[0]),
    "character": lambda found: Number(encode_text(found[0][1], found[1])[0]),
    "characters": _characters,
}

_NAMES = {
    "MNEMONIC": "an instruction", "DIRECTIVE": "a directive", "NAME": "a name",
    "ASSIGN": "'='", "COLONS": "':'", "REGISTER": "a register", "DIGITS": "a number",
    "COMMA": "','", "RPAR": "')'", "LPAR": "'('", "MORETHAN": "'>'", "PLUS": "an operator",
    "HASH": "'#'", "$END": "the end of the line",
}


@cache
def _grammar() -> LineGrammar:
    text = Path(__file__).with_name("assembler.lark").read_text()
    reserved = {name.lower(): "MNEMONIC" for name in encoding.MNEMONICS}
    reserved |= {name.lower(): "REGISTER" for name in encoding.REGISTERS}
    reserved |= {f".{word}": "DIRECTIVE" for word in DIRECTIVES}
    return LineGrammar(text, _ACTIONS, reserved | {".": "DOT"}, _NAMES)


def parse(text: str) -> Statement:
    """A line into a statement."""
    if "." in text and (found := TEXT_DIRECTIVE.match(text)) and found[2].lower() in TEXT:
        labels: tuple[Label, ...] = _grammar().parse(found[1]).labels if found[1].strip() else ()
        return Statement(labels, "directive", found[2].lower(), text[found.end():],
                         found.start(2) - 1)
    statement: Statement = _grammar().parse(text)
    return statement


@cache
def dialect() -> Dialect:
    """The PDP-11's row of functions for the assembler that knows no CPU."""
    return Dialect(
        target="pdp11", parse=parse, encode=encoding.encode, directives=DIRECTIVES,
        before=frozenset(), fold=str.upper, arguments=macros.split_arguments,
        substitute=macros.substitute, fresh_label=macros.fresh_label,
        reserved=frozenset(name.lower() for name in encoding.MNEMONICS),
        scoped=False, redefine=True, radix=8)
