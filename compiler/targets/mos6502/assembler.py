"""6502 assembly text into a Program: the part of ca65's and 64tass's language that both accept.

Operands are sized as 64tass does: zero page wherever the value, even one defined later, fits.
To add a directive: a row in DIRECTIVES. Instructions are rows of emulators/mos6502/isa.py.
Where the two tools disagree (`<a+b`, operators' order) this follows 64tass; brackets please both.
Sources: the cc65 and 64tass manuals.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from anachron.compiler.assembly import directives as shared
from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.assembly.expressions import (
    SAME_OPERATOR,
    Anonymous,
    Binary,
    Expression,
    Group,
    Here,
    Local,
    Name,
    Number,
    Text,
    Unary,
    literal,
)
from anachron.compiler.assembly.grammar import Found, LineGrammar
from anachron.compiler.assembly.passes import (
    Assembly,
    Dialect,
    Label,
    Statement,
    assemble_text,
)
from anachron.compiler.assembly.program import Program
from anachron.compiler.assembly.source import directive_of, include_from
from anachron.compiler.targets.mos6502 import encoding

IF = frozenset({"if", "ifdef", "ifndef", "ifblank", "ifnblank"})
END_IF = frozenset({"endif", "fi"})
DIVIDE = frozenset({"else", "elseif", "elsif"})
MACRO, END_MACRO = frozenset({"macro", "mac"}), frozenset({"endmacro", "endmac", "endm"})
REPEAT = frozenset({"rept", "repeat"})
END_REPEAT = frozenset({"endrept", "endrepeat", "endrep"})
# Directives whose arguments are text, not expressions.
TEXT = frozenset({"include", "macro", "mac", "ifdef", "ifndef", "ifblank", "ifnblank", "local",
                  "error", "cpu", "setcpu", "feature", "end", "enc", "rept", "repeat"})

_DIRECTIVE = re.compile(r"\s*(?:([^\s;.\"'=]+?)(:?)\s*)?(?<![\w])\.([A-Za-z][A-Za-z0-9]*)\s*")
_WORD = re.compile(r"[A-Za-z_]\w*")


def assemble(text: str, name: str = "source.asm", *,
             include: Callable[[str], str] | Iterable[str | Path] | None = None,
             symbols: Mapping[str, int] | None = None, machine: str | None = None) -> Program:
    """Assemble a source text; AssemblyError says where and what is wrong.

    include  a function from a file's name to its text, or the folders to look in
    symbols  values known before the first line
    """
    reader = include if callable(include) else include_from(include or ())
    return assemble_text(dialect(), text, name, reader, symbols or {}, machine)


# --- lines ----------------------------------------------------------------------------------------

def _name_label(found: Found) -> tuple[Label, ...]:
    return (Label("global", *found),)


def _local_label(found: Found) -> tuple[Label, ...]:
    text, column = found
    if text[-1] == ":":  # `a:` and `z:` are operands' widths to the lexer, and labels here
        return (Label("global", text[:-1], column),)
    return (Label("local", text, column),)


def _instruction(mnemonic: Found, operand: encoding.Operand = encoding.NO_OPERAND) -> Statement:
    return Statement((), "instruction", mnemonic[0].lower(), operand, mnemonic[1])


def _directive(word: Found, arguments: tuple[Expression, ...] = ()) -> Statement:
    if word[0][1:].lower() in TEXT:
        raise AssemblyError(f"{word[0]} makes no sense here", word[1])
    return Statement((), "directive", word[0][1:].lower(), arguments, word[1])


def _assign(may_change: bool, local: bool) -> Callable[..., Statement]:
    def build(name: Found, value: Expression) -> Statement:
        return Statement((), "assign", name[0], (value, may_change, local), name[1])
    return build


def _operand(form: str) -> Callable[..., encoding.Operand]:
    return lambda expression: encoding.Operand(form, expression)


def _forced(form: str) -> Callable[..., encoding.Operand]:
    return lambda width, expression: encoding.Operand(
        form, expression, 1 if width[0].lower() in ("@b", "z:") else 2)


def _binary(left: Expression, sign: Found, right: Expression) -> Binary:
    return Binary(SAME_OPERATOR.get(sign[0], sign[0]), left, right, sign[1])


def _character(found: Found) -> Text:
    text = found[0][1:].removesuffix("'") or "'"
    return Text(text[-1], found[1])


_ACTIONS: dict[str, Callable[..., Any]] = {
    "empty": lambda: Statement(()), "only_label": lambda label: Statement(label),
    "unlabelled": lambda statement: statement,
    "labelled": lambda label, statement: statement._replace(labels=label),
    "rare_labelled": lambda label, statement: statement._replace(labels=_name_label(label)),
    "instruction": _instruction, "directive": _directive,
    "constant": _assign(False, False), "constant_local": _assign(False, True),
    "variable": _assign(True, False),
    "origin": lambda value: Statement((), "origin", "", value),
    "global_label": _name_label, "local_label": _local_label,
    "unnamed_label": lambda: (Label(":", "", 0),),
    "plus_label": lambda: (Label("+", "", 0),), "minus_label": lambda: (Label("-", "", 0),),
    "signs_label": lambda signs: (Label(signs[0][0], "", 0),),
    "immediate": _operand("#"), "plain": _operand(""),
    "indexed_x": lambda expression, _: encoding.Operand(",x", expression),
    "indexed_y": lambda expression, _: encoding.Operand(",y", expression),
    "wide_plain": _forced(""),
    "wide_x": lambda width, expression, _: _forced(",x")(width, expression),
    "wide_y": lambda width, expression, _: _forced(",y")(width, expression),
    "indirect_x": lambda expression, _: encoding.Operand("(,x)", expression),
    "listed": lambda *values: values,
    "low": lambda value: Unary("<", value, 0), "high": lambda value: Unary(">", value, 0),
    "or_": lambda left, right: Binary("||", left, right, 0),
    "and_": lambda left, right: Binary("&&", left, right, 0),
    "binary": _binary, "unary": lambda sign, value: Unary(sign[0], value, sign[1]),
    "name": lambda found: Name(*found), "local": lambda found: Local(*found),
    "hexadecimal": lambda found: Number(literal(found[0][1:], 16, found[1])),
    "binary_number": lambda found: Number(literal(found[0][1:], 2, found[1])),
    "decimal": lambda found: Number(literal(found[0], 10, found[1])),
    "character": _character, "string": lambda found: Text(found[0][1:-1], found[1] + 1),
    "here": lambda _: Here(), "group": Group,
    "unnamed": lambda found: Anonymous(
        ":", len(found[0]) - 1 if found[0][1] == "+" else 1 - len(found[0]), found[1]),
    "signs": lambda found: Anonymous(
        found[0][0], len(found[0]) if found[0][0] == "+" else -len(found[0]), found[1]),
}

_WORDS = {
    "MNEMONIC": "an instruction", "DIRECTIVE": "a directive", "NAME": "a name", "COLON": "':'",
    "EQUAL": "'='", "RPAR": "')'", "INDEX_X": "',x'", "INDEX_Y": "',y'", "DECIMAL": "a number",
    "COMMA": "','", "HASH": "'#'", "PLUS": "an operator", "$END": "the end of the line",
}


@cache
def _grammar() -> LineGrammar:
    text = Path(__file__).with_name("assembler.lark").read_text()
    reserved = {name: "MNEMONIC" for name in encoding.MNEMONICS}
    reserved |= {name: "RARE" for name in encoding.RARE}
    return LineGrammar(text, _ACTIONS, reserved, _WORDS)


def parse(text: str) -> Statement:
    """A line into a statement."""
    if "." in text and (found := _DIRECTIVE.match(text)) and found[3].lower() in TEXT:
        labels: tuple[Label, ...] = ()
        if found[1]:
            labels = _grammar().parse(text[: found.end(1)] + ":").labels
        return Statement(labels, "directive", found[3].lower(), text[found.end():],
                         found.start(3) - 1)
    statement: Statement = _grammar().parse(text)
    return statement


# --- directives -----------------------------------------------------------------------------------

def without_comment(text: str) -> str:
    """The text before a `;` that is in no string."""
    return re.match(r"(?:[^;\"']|\"[^\"]*\"?|'.'?)*", text)[0].rstrip()  # type: ignore[index]


def _quoted(statement: Statement) -> str:
    text = without_comment(statement.arguments)
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        raise AssemblyError(f".{statement.word} takes a name in quotes", statement.column)
    return text[1:-1]


def _include(assembly: Assembly, statement: Statement) -> None:
    shared.include(assembly, _quoted(statement), statement.column)


def _error(assembly: Assembly, statement: Statement) -> None:
    raise AssemblyError(_quoted(statement), statement.column)


def _origin(assembly: Assembly, statement: Statement) -> None:
    (address,) = shared.expect(statement, 1)
    assembly.here = assembly.number(address, assembly.here)
    if not 0 <= assembly.here <= 0x10000:
        raise AssemblyError(f"the address {assembly.here} is not in memory", statement.column)


def _text(assembly: Assembly, statement: Statement) -> None:
    shared.data(1, 0x100)(assembly, statement)


def _zero_ended(assembly: Assembly, statement: Statement) -> None:
    _text(assembly, statement)
    assembly.output += b"\0"


def _high_first(assembly: Assembly, statement: Statement) -> None:
    shared.data(2, 0x10000)(assembly, statement)
    data = assembly.output
    assembly.output = bytes(data[index ^ 1] for index in range(len(data)))


def _bytes_of(shift: int) -> shared.Directive:
    def emit(assembly: Assembly, statement: Statement) -> None:
        values = [assembly.number(argument, 0) for argument in statement.arguments]
        assembly.output = bytes(value >> shift & 0xFF for value in values)
    return emit


def _if(assembly: Assembly, statement: Statement) -> None:
    if statement.word == "if":
        (condition,) = shared.expect(statement, 1)
        truth = bool(assembly.number(condition, 0))
    elif statement.word in ("ifblank", "ifnblank"):
        blank = without_comment(statement.arguments).strip("{} \t") == ""
        truth = blank == (statement.word == "ifblank")
    else:
        name = without_comment(statement.arguments)
        if not _WORD.fullmatch(name):
            raise AssemblyError(f".{statement.word} takes one symbol", statement.column)
        truth = (name in assembly.symbols) == (statement.word == "ifdef")
    shared.start_if(assembly, truth, IF, DIVIDE, END_IF, lambda word: word == "else" or None)


def _else(assembly: Assembly, statement: Statement) -> None:
    conditions = assembly.reader.frames[-1].conditions
    if not conditions:
        raise AssemblyError(f".{statement.word} without an open conditional", statement.column)
    if statement.word == "else" or conditions[-1]:
        shared.skip_part(assembly, IF, frozenset(), END_IF, lambda word: False)
        return
    (condition,) = shared.expect(statement, 1)
    conditions[-1] = bool(assembly.number(condition, 0))
    if not conditions[-1]:
        shared.skip_part(assembly, IF, DIVIDE, END_IF, lambda word: word == "else" or None)


def _macro(assembly: Assembly, statement: Statement) -> None:
    """`.macro name a, b` (ca65) or `name .macro a, b` (64tass)."""
    text = without_comment(statement.arguments)
    if statement.labels:
        name = statement.labels[0].text
    else:
        found = _WORD.match(text)
        if not found:
            raise AssemblyError(".macro takes a name", statement.column)
        name, text = found[0], text[found.end():]
    if name.lower() in encoding.MNEMONICS:
        raise AssemblyError(f"{name} is an instruction, not a name for a macro", statement.column)
    parameters = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        parameter, _, default = (piece.strip() for piece in part.partition("="))
        if not _WORD.fullmatch(parameter):
            raise AssemblyError(f"{parameter!r} is not a name for a parameter", statement.column)
        parameters.append((parameter, default, False))
    macro = shared.define_macro(assembly, name, tuple(parameters), MACRO, END_MACRO)
    fresh = [word for line in macro.lines if directive_of(line.text) == "local"
             for word in _WORD.findall(without_comment(line.text).partition("ocal")[2])]
    assembly.macros[name] = macro._replace(fresh=tuple(fresh))


def _set(assembly: Assembly, statement: Statement) -> None:
    """`name .set value` (ca65) or `name .var value` (64tass): a variable."""
    (value,) = shared.expect(statement, 1)
    if len(statement.labels) != 1:
        raise AssemblyError(f".{statement.word} takes the name of a variable before it",
                            statement.column)
    _, name, column = statement.labels[0]
    assembly.define(name, assembly.number(value, 0), column, may_change=True)


def _repeat(assembly: Assembly, statement: Statement) -> None:
    """`.rept count` or `.repeat count, counter`."""
    count_text, comma, counter = without_comment(statement.arguments).partition(",")
    found = _grammar().parse(f".byte {count_text}").arguments
    counter = counter.strip()
    if len(found) != 1 or (comma and not _WORD.fullmatch(counter)):
        raise AssemblyError(f".{statement.word} takes a count, and the name of a counter",
                            statement.column)
    count = shared.count_of(assembly, found[0], statement)

    def start(number: int) -> None:
        assembly.define(counter, number, statement.column, may_change=True)

    shared.repeat(assembly, count, REPEAT, END_REPEAT, start if counter else None)


def _end(assembly: Assembly, statement: Statement) -> None:
    """Nothing after this line counts."""
    for frame in assembly.reader.frames:
        frame.position, frame.again = len(frame.lines), None
        frame.conditions.clear()


def _leave_macro(assembly: Assembly, statement: Statement) -> None:
    assembly.reader.leave_macro()


DIRECTIVES: dict[str, shared.Directive] = {
    "byte": shared.data(1, 0x100), "byt": shared.data(1, 0x100), "char": shared.data(1, 0x100),
    "text": _text, "asciiz": _zero_ended, "null": _zero_ended,
    "word": shared.data(2, 0x10000), "addr": shared.data(2, 0x10000),
    "sint": shared.data(2, 0x10000), "dbyt": _high_first,
    "dword": shared.data(4, 0x100000000), "dint": shared.data(4, 0x100000000),
    "lobytes": _bytes_of(0), "hibytes": _bytes_of(8),
    "fill": shared.fill, "res": shared.fill, "align": shared.align, "org": _origin,
    "include": _include, "error": _error, "end": _end,
    "if": _if, "ifdef": _if, "ifndef": _if, "ifblank": _if, "ifnblank": _if,
    "else": _else, "elseif": _else, "elsif": _else,
    "endif": shared.end_if, "fi": shared.end_if,
    "macro": _macro, "mac": _macro, "local": shared.ignore, "exitmacro": _leave_macro,
    "rept": _repeat, "repeat": _repeat, "set": _set, "var": _set,
    "cpu": shared.ignore, "setcpu": shared.ignore, "feature": shared.ignore, "enc": shared.ignore,
    **{word: shared.stray for word in END_MACRO | END_REPEAT},
}


# --- macros ---------------------------------------------------------------------------------------

_PIECE = re.compile(r"\"[^\"]*\"|'.'|[({\[]|[)}\]]|,|;")


def _arguments(text: str, assembly: Assembly) -> list[str]:
    """Cut at the commas outside brackets and strings; braces round an argument are taken off."""
    cuts, depth, end = [-1], 0, len(text)
    for found in _PIECE.finditer(text):
        piece = found[0]
        if piece == ";":
            end = found.start()
            break
        if piece in "({[":
            depth += 1
        elif piece in ")}]":
            depth -= 1
        elif piece == "," and depth <= 0:
            cuts.append(found.start())
    cuts.append(end)
    parts = [text[start + 1:stop].strip() for start, stop in zip(cuts, cuts[1:], strict=False)]
    parts = [part[1:-1] if part[:1] == "{" and part[-1:] == "}" else part for part in parts]
    return [] if parts == [""] else parts


_REPLACED = re.compile(r"\"[^\"]*\"|\\(\w+)|(?<![\w@])[A-Za-z_]\w*")
_IN_STRING = re.compile(r"\\(\w+)")


def _substitute(text: str, given: Mapping[str, str]) -> str:
    """Replace parameters: by name, or as \\name and \\1; inside a string only the latter."""

    def replace(found: re.Match[str]) -> str:
        word = found[0]
        if word[0] == '"':
            return _IN_STRING.sub(lambda part: given.get(part[1], part[0]), word)
        return given.get(found[1] or word, word)

    return _REPLACED.sub(replace, text)


@cache
def dialect() -> Dialect:
    """The 6502's row of functions for the assembler that knows no CPU."""
    return Dialect(
        target="mos6502", parse=parse, encode=encoding.encode, directives=DIRECTIVES,
        before=MACRO | {"set", "var"}, fold=str, arguments=_arguments, substitute=_substitute,
        fresh_label=lambda assembly, name: f"{name}__{assembly.serial}",
        reserved=encoding.MNEMONICS - encoding.RARE, scoped=True, redefine=False, radix=10)
