"""MACRO-11's directives. To add one: a function and a row in DIRECTIVES.

Source: PDP-11 MACRO-11 Language Reference Manual, chapters 6 and 7.
"""
from __future__ import annotations

import re
from collections.abc import Callable

from anachron.compiler.assembly import directives as shared
from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.assembly.expressions import Expression, encode_text
from anachron.compiler.assembly.passes import Assembly, Statement
from anachron.compiler.assembly.source import Frame, SourceLine
from anachron.compiler.targets.pdp11.macros import bracketed, split_list

IF_SHORT = {f"if{word}": word for word in (
    "eq", "ne", "gt", "ge", "lt", "le", "df", "ndf", "b", "nb", "idn", "dif", "z", "nz", "g", "l")}
IF = frozenset({"if", *IF_SHORT})
DIVIDE, END_IF = frozenset({"ift", "iff", "iftf"}), frozenset({"endc"})
MACRO, END_MACRO = frozenset({"macro"}), frozenset({"endm"})
REPEAT = frozenset({"rept", "irp", "irpc"})
END_REPEAT = frozenset({"endr"})
# MACRO-11 lets .ENDM end a repeat too, so both kinds of block are counted together.
BLOCKS, END_BLOCK = MACRO | REPEAT, END_MACRO | END_REPEAT
# Directives whose arguments are text, not expressions.
TEXT = IF | MACRO | frozenset({
    "ascii", "asciz", "rad50", "include", "iif", "irp", "irpc", "end", "title", "sbttl", "ident",
    "mcall", "globl", "list", "nlist", "enabl", "dsabl", "page", "error", "print", "rem", "narg",
    "nchr", "psect", "csect", "library", "asect"})
TEXT_DIRECTIVE = re.compile(r"(\s*(?:[A-Za-z0-9$._]+::?\s*)*)\.([A-Za-z]\w*)[ \t]*")

_SIGNED_TESTS: dict[str, Callable[[int], bool]] = {
    "eq": lambda value: value == 0, "z": lambda value: value == 0,
    "ne": lambda value: value != 0, "nz": lambda value: value != 0,
    "gt": lambda value: value > 0, "g": lambda value: value > 0,
    "ge": lambda value: value >= 0,
    "lt": lambda value: value < 0, "l": lambda value: value < 0,
    "le": lambda value: value <= 0,
}
_SYMBOL = re.compile(r"[A-Za-z$._][A-Za-z0-9$._]*")


def expression_of(text: str, column: int) -> Expression:
    """The one expression that a text is."""
    from anachron.compiler.targets.pdp11.assembler import parse
    statement = parse(".WORD " + text)
    if len(statement.arguments) != 1:
        raise AssemblyError(f"{text.strip()!r} is not one expression", column)
    expression: Expression = statement.arguments[0]
    return expression


def without_comment(text: str) -> str:
    """The text before its `;`."""
    return text.partition(";")[0].strip()


# --- data -----------------------------------------------------------------------------------------

def _word(assembly: Assembly, statement: Statement) -> None:
    """Words of sixteen bits; arithmetic wraps, as the machine's."""
    if assembly.here & 1:
        assembly.complain(AssemblyError("a word at an odd address; .EVEN before it",
                                        statement.column))
    start, out = assembly.here, bytearray()
    for argument in statement.arguments:
        assembly.here = start + len(out)  # `.` is the address of each word by itself
        out += (assembly.number(argument, 0) & 0xFFFF).to_bytes(2, "little")
    assembly.here, assembly.output = start, bytes(out or 2)


def _byte(assembly: Assembly, statement: Statement) -> None:
    start, out = assembly.here, bytearray()
    for argument in statement.arguments:
        assembly.here = start + len(out)
        value = assembly.number(argument, 0)
        shared.in_range(assembly, value, -128, 255, "the value", statement.column)
        out.append(value & 0xFF)
    assembly.here, assembly.output = start, bytes(out or 1)


def _string_bytes(assembly: Assembly, statement: Statement) -> bytes:
    """`/text/` between any two equal characters, and `<expression>` for a byte, in any order."""
    text, out, position = statement.arguments, bytearray(), 0
    start = statement.column + len(statement.word) + 1
    while position < len(text):
        character = text[position]
        if character in " \t":
            position += 1
        elif character == ";":
            break
        elif character == "<":
            inner, position = bracketed(text, position)
            value = assembly.number(expression_of(inner, start), 0)
            shared.in_range(assembly, value, -128, 255, "the character", start)
            out.append(value & 0xFF)
        else:
            end = text.find(character, position + 1)
            if end < 0:
                raise AssemblyError(f"no second {character!r} ends the text", start + position)
            out += encode_text(text[position + 1:end], start + position)
            position = end + 1
    return bytes(out)


def _ascii(assembly: Assembly, statement: Statement) -> None:
    assembly.output = _string_bytes(assembly, statement)


def _asciz(assembly: Assembly, statement: Statement) -> None:
    assembly.output = _string_bytes(assembly, statement) + b"\0"


def _rad50(assembly: Assembly, statement: Statement) -> None:
    from anachron.compiler.targets.pdp11.assembler import pack_radix_50
    text = without_comment(statement.arguments)
    if len(text) < 2 or text[0] != text[-1]:
        raise AssemblyError(".RAD50 takes a text between two equal characters", statement.column)
    words = pack_radix_50(text[1:-1], statement.column)
    assembly.output = b"".join(word.to_bytes(2, "little") for word in words)


def _even(assembly: Assembly, statement: Statement) -> None:
    assembly.reserved = assembly.here & 1


def _odd(assembly: Assembly, statement: Statement) -> None:
    assembly.reserved = ~assembly.here & 1


def _radix(assembly: Assembly, statement: Statement) -> None:
    arguments = shared.expect(statement, 0, 1)
    outer, assembly.radix = assembly.radix, 10  # the argument itself is decimal
    radix = assembly.number(arguments[0], 8) if arguments else 8
    if radix not in (2, 8, 10, 16):
        assembly.radix = outer
        raise AssemblyError(f"radix {radix}: 2, 8, 10 and 16 are possible", statement.column)
    assembly.radix = radix


# --- files and the end ----------------------------------------------------------------------------

def _include(assembly: Assembly, statement: Statement) -> None:
    text = without_comment(statement.arguments)
    if len(text) < 2 or text[0] != text[-1]:
        raise AssemblyError(".INCLUDE takes a name between two equal characters", statement.column)
    shared.include(assembly, text[1:-1], statement.column)


def _end(assembly: Assembly, statement: Statement) -> None:
    text = without_comment(statement.arguments)
    if text:
        expression = expression_of(text, statement.column)
        assembly.number(expression, 0)
        assembly.entry = expression
    for frame in assembly.reader.frames:
        frame.position, frame.again = len(frame.lines), None
        frame.conditions.clear()


def _enable(assembly: Assembly, statement: Statement) -> None:
    """`.ENABL AMA`: plain addresses are absolute; `.ENABL LSB`: one block of local labels."""
    words = re.findall(r"[A-Za-z]+", without_comment(statement.arguments).upper())
    for word in words:
        if word == "AMA":
            _switch(assembly, "absolute", statement.word == "enabl")
        elif word == "LSB":
            assembly.serial += 1
            assembly.scopes[-1] = f"block {assembly.serial}"
            _switch(assembly, "one scope", statement.word == "enabl")


def _switch(assembly: Assembly, name: str, on: bool) -> None:
    (assembly.switches.add if on else assembly.switches.discard)(name)


def _error(assembly: Assembly, statement: Statement) -> None:
    raise AssemblyError(statement.arguments.strip(" ;") or ".ERROR", statement.column)


def _remark(assembly: Assembly, statement: Statement) -> None:
    """`.REM &` leaves out all lines up to the next `&`."""
    mark = statement.arguments.strip()[:1]
    if not mark:
        raise AssemblyError(".REM takes the character that ends it", statement.column)
    if mark in statement.arguments.strip()[1:]:
        return
    while (line := assembly.reader.next()) is not None:
        if mark in line.text:
            return
    raise AssemblyError(f"no {mark!r} ends this .REM", statement.column)


def _no_sections(assembly: Assembly, statement: Statement) -> None:
    raise AssemblyError(f".{statement.word.upper()} needs a linker; place code with .ASECT and "
                        "`. = address`", statement.column)


# --- conditionals ---------------------------------------------------------------------------------

def _signed(value: int) -> int:
    return ((value & 0xFFFF) ^ 0x8000) - 0x8000


def _defined(assembly: Assembly, text: str, column: int) -> bool:
    """`A&B` or `A!B`: whether symbols are defined, from left to right."""
    pieces = re.split(r"([&!])", text.replace(" ", "").replace("\t", ""))
    if not all(_SYMBOL.fullmatch(name) for name in pieces[::2]):
        raise AssemblyError(f"{text!r} is not a symbol", column)
    truth = pieces[0].upper() in assembly.symbols
    for sign, name in zip(pieces[1::2], pieces[2::2], strict=True):
        here = name.upper() in assembly.symbols
        truth = truth and here if sign == "&" else truth or here
    return truth


def _truth(assembly: Assembly, test: str, text: str, column: int) -> bool:
    """Whether a conditional's test holds of its argument."""
    test = test.lower()
    if test in _SIGNED_TESTS:
        value = assembly.number(expression_of(without_comment(text), column), 0)
        return _SIGNED_TESTS[test](_signed(value))
    if test in ("df", "ndf"):
        return _defined(assembly, without_comment(text), column) == (test == "df")
    parts = split_list(text)
    if test in ("b", "nb"):
        return (not any(part.strip() for part in parts)) == (test == "b")
    if test in ("idn", "dif"):
        first, second = [*parts, "", ""][:2]
        return (first == second) == (test == "idn")
    raise AssemblyError(f"{test!r} is not a test; .IF takes {', '.join(sorted(IF_SHORT.values()))}",
                        column)


def _test_and_rest(text: str, column: int) -> tuple[str, str]:
    found = re.match(r"([A-Za-z]+)[ \t]*,?[ \t]*", text)
    if not found:
        raise AssemblyError("expected a test: EQ, NE, GT, GE, LT, LE, DF, NDF, B, NB, IDN, DIF",
                            column)
    return found[1], text[found.end():]


def _holds(truth: bool) -> Callable[[str], bool]:
    return lambda word: {"ift": truth, "iff": not truth}.get(word, True)


def _if(assembly: Assembly, statement: Statement) -> None:
    test, text = IF_SHORT.get(statement.word), statement.arguments
    if test is None:
        test, text = _test_and_rest(text, statement.column)
    truth = _truth(assembly, test, text, statement.column)
    shared.start_if(assembly, truth, IF, DIVIDE, END_IF, _holds(truth))


def _divide(assembly: Assembly, statement: Statement) -> None:
    conditions = assembly.reader.frames[-1].conditions
    if not conditions:
        raise AssemblyError(f".{statement.word.upper()} without an open conditional",
                            statement.column)
    holds = _holds(conditions[-1])
    if not holds(statement.word):
        shared.skip_part(assembly, IF, DIVIDE, END_IF, holds)


def _if_line(assembly: Assembly, statement: Statement) -> None:
    """`.IIF test argument, statement`: one line under a condition."""
    test, text = _test_and_rest(statement.arguments, statement.column)
    argument, comma, rest = text.partition(",")
    if text.startswith("<"):
        inner, end = bracketed(text, 0)
        argument, comma, rest = f"<{inner}>", *text[end:].partition(",")[1:]
    if not comma:
        raise AssemblyError(".IIF takes a test, its argument, and a statement", statement.column)
    if _truth(assembly, test, argument, statement.column):
        line = assembly.line
        assert line is not None
        assembly.reader.open(
            Frame("line", [SourceLine(line.file, line.number, rest, line)], line))


# --- macros and repeats ---------------------------------------------------------------------------

def _macro(assembly: Assembly, statement: Statement) -> None:
    name, *parameters = split_list(statement.arguments) or [""]
    if not _SYMBOL.fullmatch(name):
        raise AssemblyError(".MACRO takes a name", statement.column)
    rows = []
    for parameter in parameters:
        text, _, default = parameter.partition("=")
        fresh, word = text.startswith("?"), text.lstrip("?")
        if not _SYMBOL.fullmatch(word):
            raise AssemblyError(f"{parameter!r} is not a name for a parameter", statement.column)
        rows.append((word.upper(), default, fresh))
    shared.define_macro(assembly, name.upper(), tuple(rows), BLOCKS, END_BLOCK)


def _repeat(assembly: Assembly, statement: Statement) -> None:
    (count,) = shared.expect(statement, 1)
    number = shared.count_of(assembly, count, statement)
    shared.repeat(assembly, number, BLOCKS, END_BLOCK)


def _repeat_for(assembly: Assembly, statement: Statement) -> None:
    """`.IRP name,<a,b,c>` repeats for each argument, `.IRPC name,abc` for each character."""
    name, *values = split_list(statement.arguments) or [""]
    if not _SYMBOL.fullmatch(name) or len(values) > 1:
        raise AssemblyError(f".{statement.word.upper()} takes a name and a list in < >",
                            statement.column)
    given = values[0] if values else ""
    items = list(given) if statement.word == "irpc" else split_list(given)
    body = assembly.reader.collect(BLOCKS, END_BLOCK)
    lines: list[SourceLine] = []
    for item in items:
        lines += assembly.substitute(body, {name.upper(): item}, assembly.line)
        assembly.check_growth(len(lines))
    assembly.reader.open(Frame("repeat", lines, assembly.line))


def _count_arguments(assembly: Assembly, statement: Statement) -> None:
    """`.NARG name`: how many arguments the macro was given."""
    frame = next((frame for frame in reversed(assembly.reader.frames)
                  if frame.what.startswith("macro")), None)
    name = without_comment(statement.arguments)
    if frame is None or not _SYMBOL.fullmatch(name):
        raise AssemblyError(".NARG takes a name, in a macro", statement.column)
    assembly.define(name.upper(), frame.n_arguments, statement.column, may_change=True)


def _count_characters(assembly: Assembly, statement: Statement) -> None:
    """`.NCHR name,<text>`: how many characters the text has."""
    parts = split_list(statement.arguments)
    if not 1 <= len(parts) <= 2 or not _SYMBOL.fullmatch(parts[0]):
        raise AssemblyError(".NCHR takes a name and a text", statement.column)
    assembly.define(parts[0].upper(), len("".join(parts[1:])), statement.column, may_change=True)


def _leave_macro(assembly: Assembly, statement: Statement) -> None:
    assembly.reader.leave_macro()


DIRECTIVES: dict[str, shared.Directive] = {
    "word": _word, "byte": _byte, "ascii": _ascii, "asciz": _asciz, "rad50": _rad50,
    "blkw": shared.reserve(2), "blkb": shared.reserve(1), "even": _even, "odd": _odd,
    "radix": _radix, "include": _include, "end": _end, "error": _error, "rem": _remark,
    **{word: _if for word in IF}, **{word: _divide for word in DIVIDE},
    "endc": shared.end_if, "iif": _if_line,
    "enabl": _enable, "dsabl": _enable, "narg": _count_arguments, "nchr": _count_characters,
    "macro": _macro, "mexit": _leave_macro, "rept": _repeat, "irp": _repeat_for,
    "irpc": _repeat_for,
    **{word: shared.stray for word in END_BLOCK},
    **{word: _no_sections for word in ("psect", "csect")},
    **{word: shared.ignore for word in (
        "asect", "title", "sbttl", "ident", "mcall", "globl", "list", "nlist", "page", "print",
        "library")},
}
