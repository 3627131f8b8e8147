"""Directives that both dialects have, each a function of the assembly and the parsed line.

To add one: a function here, and a word for it in a dialect's table.
"""
from __future__ import annotations

from collections.abc import Callable

from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.assembly.expressions import Expression, Text, encode_text
from anachron.compiler.assembly.passes import Assembly, Macro, Statement
from anachron.compiler.assembly.program import MEMORY_BYTES
from anachron.compiler.assembly.source import Frame, split_lines

Directive = Callable[[Assembly, Statement], None]
Words = frozenset[str]


def expect(statement: Statement, least: int, most: int | None = None) -> tuple[Expression, ...]:
    """The arguments, if there are as many as the directive takes."""
    arguments: tuple[Expression, ...] = statement.arguments
    most = least if most is None else most
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise AssemblyError(f".{statement.word} takes {wanted} arguments, found {len(arguments)}",
                            statement.column)
    return arguments


def in_range(assembly: Assembly, value: int, least: int, most: int, what: str, column: int) -> int:
    """The value, with a complaint that says by how much where it is out of range."""
    if value < least:
        assembly.complain(AssemblyError(
            f"{what} {value} is {least - value} below {least}, the least allowed", column))
    elif value > most:
        assembly.complain(AssemblyError(
            f"{what} {value} is {value - most} above {most}, the most allowed", column))
    return value


def data(size: int, big: int) -> Directive:
    """Values of `size` bytes, little-endian, from -big/2 to big-1; strings a byte a character."""

    def emit(assembly: Assembly, statement: Statement) -> None:
        out = bytearray()
        for argument in statement.arguments:
            if isinstance(argument, Text) and size == 1:
                out += encode_text(argument.text, argument.column)
                continue
            value = assembly.number(argument, 0)
            in_range(assembly, value, -(big >> 1), big - 1, "the value", statement.column)
            out += (value & big - 1).to_bytes(size, "little")
        assembly.output = bytes(out)

    return emit


def count_of(assembly: Assembly, expression: Expression, statement: Statement) -> int:
    """A count of bytes that fits in memory."""
    count = assembly.number(expression, 0)
    if not 0 <= count <= MEMORY_BYTES:
        raise AssemblyError(f".{statement.word} of {count} bytes: 0 to {MEMORY_BYTES} fit",
                            statement.column)
    return int(count)


def fill(assembly: Assembly, statement: Statement) -> None:
    """`.fill count, value`; without a value the memory is reserved, not written."""
    arguments = expect(statement, 1, 2)
    count = count_of(assembly, arguments[0], statement)
    _fill(assembly, statement, count, *arguments[1:])


def align(assembly: Assembly, statement: Statement) -> None:
    """`.align boundary, value`: up to the next multiple; reserved without a value."""
    arguments = expect(statement, 1, 2)
    boundary = count_of(assembly, arguments[0], statement) or 1
    count = -assembly.here % boundary
    _fill(assembly, statement, count, *arguments[1:])


def _fill(assembly: Assembly, statement: Statement, count: int, *value: Expression) -> None:
    """So many bytes of a value; without one they are reserved."""
    if not value:
        assembly.reserved = count
        return
    number = in_range(assembly, assembly.number(value[0], 0), -128, 255, "the value",
                      statement.column)
    assembly.output = bytes([number & 0xFF]) * count


def reserve(size: int) -> Directive:
    """`count` units of `size` bytes, not written."""

    def emit(assembly: Assembly, statement: Statement) -> None:
        arguments = expect(statement, 0, 1)
        count = assembly.number(arguments[0], 0) if arguments else 1
        if not 0 <= count * size <= MEMORY_BYTES:
            raise AssemblyError(f".{statement.word} of {count}: 0 to {MEMORY_BYTES // size} fit",
                                statement.column)
        assembly.reserved = count * size

    return emit


def ignore(assembly: Assembly, statement: Statement) -> None:
    """A directive about listings, linkers or processors, which changes nothing here."""


def include(assembly: Assembly, name: str, column: int) -> None:
    """Read a file's lines next."""
    lines = assembly.files.get(name)
    if lines is None:
        try:
            text = assembly.include_text(name)
        except AssemblyError:
            raise
        except ValueError as error:
            raise AssemblyError(str(error), column) from None
        lines = assembly.files[name] = split_lines(name, text, AssemblyError)
    assembly.reader.open(Frame(f"file {name}", lines, assembly.line))


def start_if(assembly: Assembly, truth: bool, openers: Words, stops: Words, closers: Words,
             holds: Callable[[str], bool | None]) -> None:
    """Open a conditional: read on where it is true, else from the first part that `holds`.

    holds  of a word that divides a conditional: True, False, or None where the line must decide
    """
    reader = assembly.reader
    frame = reader.frames[-1]
    frame.conditions.append(truth)
    frame.condition_lines.append(assembly.line)
    if not truth:
        skip_part(assembly, openers, stops, closers, holds)


def skip_part(assembly: Assembly, openers: Words, stops: Words, closers: Words,
              holds: Callable[[str], bool | None]) -> None:
    """Skip to the next part of the innermost conditional that holds, or to its end."""
    reader = assembly.reader
    frame = reader.frames[-1]
    while True:
        word = reader.skip(openers, stops, closers)
        if word in closers or holds(word) is None:
            return  # the line itself is read next, and ends or decides
        frame.position += 1
        if holds(word):
            return


def end_if(assembly: Assembly, statement: Statement) -> None:
    """Close the innermost conditional."""
    frame = assembly.reader.frames[-1]
    if not frame.conditions:
        raise AssemblyError(f".{statement.word} without an open conditional", statement.column)
    frame.conditions.pop()
    frame.condition_lines.pop()


def define_macro(assembly: Assembly, name: str, parameters: tuple[tuple[str, str, bool], ...],
                 openers: Words, closers: Words, fresh: tuple[str, ...] = ()) -> Macro:
    """Keep the lines up to the closer as a macro."""
    lines = assembly.reader.collect(openers, closers)
    macro = Macro(name, parameters, lines, fresh)
    assembly.macros[name] = macro
    return macro


def repeat(assembly: Assembly, count: int, openers: Words, closers: Words,
           start: Callable[[int], None] | None = None) -> None:
    """Read the lines up to the closer `count` times; `start` is told the number of each time."""
    lines = assembly.reader.collect(openers, closers)
    if count <= 0 or not lines:
        return
    done = 0

    def again() -> bool:
        nonlocal done
        done += 1
        if done >= count:
            return False
        if start is not None:
            start(done)
        return True

    if start is not None:
        start(0)
    assembly.reader.open(Frame("repeat", lines, assembly.line, again=again))


def stray(assembly: Assembly, statement: Statement) -> None:
    """A word that only ends or divides a block, outside of one."""
    raise AssemblyError(f".{statement.word} without the block it ends", statement.column)
