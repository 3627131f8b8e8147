"""Passes over a source until every symbol keeps its value; the last one's bytes are the program.

A mistake that depends on a value (a range, a missing symbol) counts only in the pass that settles;
one in the text itself is raised at once. A CPU is a `Dialect`: a row of functions.
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from anachron.compiler.assembly.errors import AssemblyError, PastMemory, Undefined
from anachron.compiler.assembly.expressions import Expression
from anachron.compiler.assembly.program import MEMORY_BYTES, Line, Program, join_segments
from anachron.compiler.assembly.source import (
    MAX_LINE_LENGTH,
    MAX_LINES,
    Frame,
    Reader,
    SourceLine,
    split_lines,
)

MAX_PASSES = 24
STICKY_PASS = 8  # from here on an instruction may only grow: sizes that chase each other settle


class Label(NamedTuple):
    """A label as written. `kind`: global, local, or the sign of an unnamed one."""

    kind: str
    text: str
    column: int


class Statement(NamedTuple):
    """A line, parsed: its labels, and one of nothing, assign, origin, directive, instruction."""

    labels: tuple[Label, ...]
    kind: str = ""
    word: str = ""  # the symbol, directive or mnemonic, as its table spells it
    arguments: Any = ()
    column: int = 0


class Encoded(NamedTuple):
    """An instruction's bytes, its ISA row and the value of its operand."""

    bytes: bytes
    row: Any
    operand: int | None


class Macro(NamedTuple):
    """A macro. A parameter is (name, default, whether an unused one becomes a fresh label)."""

    name: str
    parameters: tuple[tuple[str, str, bool], ...]
    lines: list[SourceLine]
    fresh: tuple[str, ...] = ()  # names that are new in each expansion


@dataclass(frozen=True)
class Dialect:
    """What a CPU adds.

    parse       text of a line -> Statement
    encode      (assembly, statement) -> Encoded
    directives  word -> (assembly, statement) -> None
    before      directives that see their line's label themselves (the name of a macro, of a value)
    fold        a symbol as the tables spell it
    arguments   text after a macro's name -> its arguments
    substitute  (text, {name: argument}) -> text
    fresh_label (assembly, name) -> a label no one else has
    scoped      macros have local labels of their own
    redefine    `=` may change a symbol
    """

    target: str
    parse: Callable[[str], Statement]
    encode: Callable[[Assembly, Statement], Encoded]
    directives: Mapping[str, Callable[[Assembly, Statement], None]]
    before: frozenset[str]
    fold: Callable[[str], str]
    arguments: Callable[[str, Assembly], list[str]]
    substitute: Callable[[str, Mapping[str, str]], str]
    fresh_label: Callable[[Assembly, str], str]
    reserved: frozenset[str]
    scoped: bool
    redefine: bool
    radix: int


# A macro's name where an instruction would stand, with or without a label before it.
_CALL = re.compile(r"\s*(?:([\w.$@]+)::?\s*)?([#.]?)([A-Za-z_$.][\w$.]*)")
_CALL_AFTER_LABEL = re.compile(r"\s+([#.]?)([A-Za-z_$.][\w$.]*)")


class Assembly:
    """One assembling: the state of a pass, and what passes leave to the next."""

    def __init__(self, dialect: Dialect, text: str, name: str,
                 include: Callable[[str], str], symbols: Mapping[str, int],
                 machine: str | None) -> None:
        self.dialect, self.name, self.machine = dialect, name, machine
        self.include_text, self.predefined = include, dict(symbols)
        self.files: dict[str, list[SourceLine]] = {
            "": split_lines(name, text, AssemblyError)}
        self._statements: dict[str, Statement] = {}
        self.previous: dict[str, int] = {}
        self.was_wide: list[bool] = []
        self.pass_number = 0

    # --- passes ---------------------------------------------------------------------------------

    def run(self) -> Program:
        """Assemble, or raise the first AssemblyError."""
        for self.pass_number in range(MAX_PASSES):
            self._begin()
            self._walk()
            if not self.looked_ahead or self.symbols == self.previous:
                if self.error is not None:
                    raise self.error
                return self._program()
            moved = next((name for name, value in self.symbols.items()
                          if self.previous.get(name) != value), "an address")
            self.previous, self.was_wide = self.symbols, self.wide
        raise self.error or AssemblyError(
            f"{self.name}: after {MAX_PASSES} passes {moved} still changes; "
            "what stands before it depends on it")

    def _begin(self) -> None:
        self.here, self.radix = 0, self.dialect.radix
        self.symbols: dict[str, int] = dict(self.predefined)
        self.labels: set[str] = set()
        self.defined_at: dict[str, SourceLine] = {}
        self.scopes = [""]
        self.switches: set[str] = set()  # what a dialect has turned on: its own words
        self.anonymous: dict[str, int] = {}
        self.macros: dict[str, Macro] = {}
        self.serial = 0
        self.entry: Expression | None = None
        self.error: AssemblyError | None = None
        self.looked_ahead = False
        self.wide: list[bool] = []
        self.lines: list[Line] = []
        self.sources: list[SourceLine] = []
        self.n_bytes = 0
        self.line: SourceLine | None = None
        self.output, self.reserved = b"", 0
        self.reader = Reader(AssemblyError)
        self.reader.open(Frame(f"file {self.name}", self.files[""]))

    def _walk(self) -> None:
        reader, lines, sources = self.reader, self.lines, self.sources
        statements, encode = self._statements, self.dialect.encode
        try:
            while (line := reader.next()) is not None:
                self.line, text = line, line.text
                address = self.here
                if self.macros and self._call(text):
                    lines.append(Line(line.file, line.number, address, b"", text, None, None,
                                      None, 0))
                    sources.append(line)
                    continue
                statement = statements.get(text)
                if statement is None:
                    statement = statements[text] = self.dialect.parse(text)
                labels, kind, word, _, _ = statement
                label = None
                if labels and not (kind == "directive" and word in self.dialect.before):
                    label = self.define_labels(labels)
                row = operand = None
                data, size = b"", 0
                if kind == "instruction":
                    data, row, operand = encode(self, statement)
                    size = len(data)
                elif kind:
                    self.output, self.reserved = b"", 0
                    operand = self._act(statement)
                    data = self.output
                    size = len(data) + self.reserved
                    if size == 0:
                        address = self.here
                if size:
                    self._advance(address, size, len(data))
                lines.append(Line(line.file, line.number, address, data, text, row, operand,
                                  label, size))
                sources.append(line)
        except AssemblyError as error:
            if self.line is not None:
                error.at(self.line)
            raise

    def _advance(self, address: int, size: int, filled: int) -> None:
        self.here = address + size
        self.n_bytes += filled
        if self.here > MEMORY_BYTES:
            raise PastMemory(self.here - MEMORY_BYTES, MEMORY_BYTES)
        if self.n_bytes > MEMORY_BYTES:
            raise AssemblyError(f"more than {MEMORY_BYTES} bytes: some are written twice")

    def _act(self, statement: Statement) -> int | None:
        kind, word, arguments = statement.kind, statement.word, statement.arguments
        if kind == "assign":
            expression, may_change, local = arguments
            value = self.number(expression, None)
            if value is not None:
                name = f"{self.scopes[-1]}:{word}" if local else word
                self.define(name, value, statement.column, may_change or self.dialect.redefine)
            return value
        if kind == "origin":
            value = self.number(arguments, self.here)
            if not 0 <= value <= MEMORY_BYTES:
                raise AssemblyError(f"the address {value} is not in memory, 0 to "
                                    f"{MEMORY_BYTES - 1}", statement.column)
            self.here = value
            return None
        handler = self.dialect.directives.get(word)
        if handler is None:
            close = difflib.get_close_matches(word, self.dialect.directives, 1)
            raise AssemblyError(f".{word} is not a directive"
                                + (f"; did you mean .{close[0]}?" if close else ""),
                                statement.column)
        handler(self, statement)
        return None

    def _program(self) -> Program:
        entry = None if self.entry is None else self.entry.evaluate(self)
        return Program(
            name=self.name, target=self.dialect.target, machine=self.machine,
            segments=join_segments(self.lines, self.sources),
            symbols={name: value for name, value in self.symbols.items() if ":" not in name},
            labels=frozenset(self.labels), lines=tuple(self.lines), entry=entry)

    # --- symbols --------------------------------------------------------------------------------

    def define(self, name: str, value: int, column: int, may_change: bool = False) -> None:
        """Give a symbol its value; twice only where it may change."""
        if name in self.symbols and not may_change:
            known = self.defined_at.get(name)
            where = f"at {known.file}:{known.number}" if known else "before the first line"
            raise AssemblyError(f"{name.rpartition(':')[2]} is already defined {where}", column)
        self.symbols[name] = value
        if self.line is not None:
            self.defined_at[name] = self.line

    def define_labels(self, labels: tuple[Label, ...]) -> str | None:
        """Labels stand for the location counter; the last ordinary one opens a scope of locals."""
        named = None
        for kind, text, column in labels:
            if kind == "global":
                self.define(text, self.here, column)
                self.labels.add(text)
                named = text
                if "one scope" not in self.switches:
                    self.scopes[-1] = text
            elif kind == "local":
                self.define(f"{self.scopes[-1]}:{text}", self.here, column)
            else:
                count = self.anonymous[kind] = self.anonymous.get(kind, 0) + 1
                self.define(f":{kind}{count}", self.here, column)
        return named

    def value(self, name: str, column: int) -> int:
        """A symbol's value in this pass or, ahead of its definition, in the one before."""
        value = self.symbols.get(name)
        if value is None:
            self.looked_ahead = True
            value = self.previous.get(name)
            if value is None:
                raise Undefined(self._missing(name), column)
        return value

    def _missing(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.symbols, 1) if self.pass_number else ()
        hint = f"; did you mean {close[0]}?" if close and ":" not in close[0] else ""
        return f"{name.rpartition(':')[2]} is not defined{hint}"

    def local_value(self, name: str, column: int) -> int:
        """A local label of the innermost scope that has it."""
        for scope in reversed(self.scopes):
            value = self.symbols.get(f"{scope}:{name}")
            if value is not None:
                return value
        self.looked_ahead = True
        for scope in reversed(self.scopes):
            value = self.previous.get(f"{scope}:{name}")
            if value is not None:
                return value
        scope = self.scopes[-1]
        raise Undefined(f"{name} is not defined" + (f" under {scope}" if scope else ""), column)

    def anonymous_value(self, kind: str, distance: int, column: int) -> int:
        """An unnamed label, counted from here."""
        count = self.anonymous.get(kind, 0) + distance + (distance < 0)
        return self.value(f":{kind}{count}", column) if count > 0 else self._no_anonymous(column)

    def _no_anonymous(self, column: int) -> int:
        raise AssemblyError("there are not that many unnamed labels before this line", column)

    def evaluate(self, expression: Expression) -> int:
        """An expression's value; Undefined where a symbol has none yet."""
        return expression.evaluate(self)

    def number(self, expression: Expression, default: Any) -> Any:
        """An expression's value, or a default for this pass, complaining, where it has none yet."""
        try:
            return expression.evaluate(self)
        except Undefined as error:
            self.complain(error)
            return default

    def complain(self, error: AssemblyError) -> None:
        """Note a mistake that another pass may mend."""
        if isinstance(error, Undefined):
            self.looked_ahead = True
        if self.error is None:
            assert self.line is not None
            self.error = error.at(self.line)

    def decide_wide(self, wide: bool) -> bool:
        """Whether this instruction takes its longer form, given that the values say so."""
        ordinal = len(self.wide)
        if self.pass_number >= STICKY_PASS and ordinal < len(self.was_wide):
            wide = wide or self.was_wide[ordinal]
        self.wide.append(wide)
        return wide

    # --- macros ---------------------------------------------------------------------------------

    def _call(self, text: str) -> bool:
        """Open the macro that a line calls, if it calls one."""
        found = _CALL.match(text)
        if not found:
            return False
        fold, label = self.dialect.fold, found[1]
        name, column, end = fold(found[3]), found.start(3), found.end()
        if name not in self.macros:
            if label or name.lower() in self.dialect.reserved:
                return False
            label, after = found[3], _CALL_AFTER_LABEL.match(text, end)
            if not after or fold(after[2]) not in self.macros:
                return False
            name, column, end = fold(after[2]), after.start(2), after.end()
        if label:
            self.define_labels(self.dialect.parse(label + ":").labels)
        self.expand(self.macros[name], self.dialect.arguments(text[end:], self), column)
        return True

    def expand(self, macro: Macro, arguments: list[str], column: int) -> None:
        """Read a macro's lines next, its parameters replaced."""
        caller = self.line
        if len(arguments) > len(macro.parameters):
            raise AssemblyError(f"{macro.name} takes {len(macro.parameters)} arguments, "
                                f"found {len(arguments)}", column)
        self.serial += 1
        given: dict[str, str] = {name: self.dialect.fresh_label(self, name)
                                 for name in macro.fresh}
        for index, (name, default, fresh) in enumerate(macro.parameters):
            argument = arguments[index] if index < len(arguments) else ""
            if not argument:
                argument = self.dialect.fresh_label(self, name) if fresh else default
            given[name] = argument
            given[str(index + 1)] = argument
        lines = self.substitute(macro.lines, given, caller)
        leave = None
        if self.dialect.scoped:
            self.scopes.append(f"{macro.name}#{self.serial}")
            leave = self.scopes.pop
        self.reader.open(Frame(f"macro {macro.name}", lines, caller, n_arguments=len(arguments),
                               leave=leave))

    def substitute(self, lines: list[SourceLine], given: Mapping[str, str],
                   caller: SourceLine | None) -> list[SourceLine]:
        """Lines with names replaced, remembering who called for them."""
        new = [SourceLine(line.file, line.number,
                          self.dialect.substitute(line.text, given), caller) for line in lines]
        for line in new:
            if len(line.text) > MAX_LINE_LENGTH:
                raise AssemblyError(f"the line grows to {len(line.text)} characters", line=line)
        self.check_growth(len(new))
        return new

    def check_growth(self, n_lines: int) -> None:
        """Refuse more lines than a pass may have."""
        if self.reader.count + n_lines > MAX_LINES:
            raise AssemblyError(f"more than {MAX_LINES} lines after expansion")


def assemble_text(dialect: Dialect, text: str, name: str, include: Callable[[str], str],
                  symbols: Mapping[str, int], machine: str | None) -> Program:
    """Assemble a source text in a dialect."""
    assembly = Assembly(dialect, text, name, include, symbols, machine)
    return assembly.run()
