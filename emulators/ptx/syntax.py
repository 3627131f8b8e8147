"""PTX text -> Program: instructions, labels, registers, parameters and shared symbols.

Reads one `.entry` of a module as NVVM writes it, inline assembly included.
Source: PTX ISA 9.0, sections 4 (syntax) and 5 (state spaces, types, variables).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LARGEST_TEXT = 1 << 25
MOST_REGISTERS = 1 << 18
LARGEST_SHARED = 227 * 1024  # bytes a block may have on sm_90: CUDA C++ Programming Guide, table 28

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{]*)\{", re.S)
SHARED = re.compile(r"(\.extern\s+)?\.shared\s+(?:\.align\s+(\d+)\s+)?\.b8\s+([\w$]+)\[(\d*)\]")
PARAMETER = re.compile(r"\.param\s+\.(\w+)(?:\s+\.align\s+\d+|\s+\.\w+)*\s+([\w$]+)")
ORIGIN = re.compile(r"^[ \t]*\.loc\s+\d+\s+(\d+)[^\n]*$", re.M)
LABEL = re.compile(r"\s*([\w$]+)\s*:(?!:)")
STATEMENT = re.compile(r"(?:@(!?)([%\w$]+)\s+)?([a-z][\w.:]*)\s*(.*)", re.S)
OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+")
REGISTERS = re.compile(r"([%\w$]+)(?:<(\d+)>)?")


class PtxError(ValueError):
    """A text that is not PTX as understood here, or a kernel that does what it must not."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))  # one line, whatever the text had


@dataclass(frozen=True)
class Instruction:
    """One instruction; a guard is the predicate register in front of it, perhaps negated.

    origin  the line of the compiled text that it comes from, as `.loc` says; 0 where none does
    """

    opcode: str  # with all its modifiers: mad.lo.s32
    operands: tuple[str, ...]
    guard: str = ""
    negated: bool = False
    line: int = 0
    origin: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.opcode.split("."))

    @property
    def type(self) -> str:
        return self.parts[-1]

    def __str__(self) -> str:
        guard = f"@{'!' * self.negated}{self.guard} " if self.guard else ""
        return f"line {self.line}: {guard}{self.opcode} {', '.join(self.operands)}".rstrip()


@dataclass(frozen=True)
class Program:
    """One entry of a module.

    parameters  (type, name) in order        registers  name -> type
    labels      name -> index of an instruction
    shared      symbol -> byte offset; those of no given size start at shared_bytes
    """

    name: str
    parameters: tuple[tuple[str, str], ...]
    registers: Mapping[str, str]
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]
    shared: Mapping[str, int]
    shared_bytes: int


def parse(text: str) -> Program:
    """The first entry of a module.  Raises PtxError, naming the line, for anything unknown."""
    if len(text) > LARGEST_TEXT:
        raise PtxError(f"{len(text):,} characters of PTX, allowed are {LARGEST_TEXT:,}")
    text = COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    entry = ENTRY.search(text)
    if not entry:
        raise PtxError("no .entry: this is not a module of PTX with a kernel")
    end = _find_end(text, entry.end())
    parameters = tuple(_parse_parameter(p) for p in entry[2].split(",") if p.strip())
    shared, shared_bytes = _place_shared(text)
    registers: dict[str, str] = {}
    labels: dict[str, int] = {}
    instructions: list[Instruction] = []
    line, origin = text.count("\n", 0, entry.end()) + 1, 0
    for raw in re.split(r"(?<=[;{}])", _hide_lists(text[entry.end() : end])):
        for said in ORIGIN.findall(raw):
            origin = int(said)
        raw = ORIGIN.sub("", raw)
        at = line + raw[: len(raw) - len(raw.lstrip())].count("\n")
        line += raw.count("\n")
        statement = " ".join(raw.strip().rstrip(";{}").split())
        while found := LABEL.match(statement):
            labels[found[1]] = len(instructions)
            statement = statement[found.end() :].strip()
        if statement.startswith(".reg"):
            _declare(statement, registers, at)
        elif statement.startswith((".pragma", ".shared", ".extern")) or not statement:
            continue
        else:
            instructions.append(_parse_instruction(statement, at, origin))
    return Program(
        entry[1], parameters, registers, tuple(instructions), labels, shared, shared_bytes
    )


def _find_end(text: str, start: int) -> int:
    """Where the brace closes that opened before start."""
    depth = 1
    for found in re.finditer(r"[{}]", text[start:]):
        depth += 1 if found[0] == "{" else -1
        if not depth:
            return start + found.start()
    raise PtxError("the kernel's closing brace is missing")


def _hide_lists(body: str) -> str:
    """Braces of operand lists become angle brackets, so that those left open and close scopes."""
    return re.sub(r"\{([%\w\s,$-]*)\}", r"<<\1>>", body)


def _parse_parameter(text: str) -> tuple[str, str]:
    found = PARAMETER.fullmatch(text.strip())
    if not found or found[1] not in ("u64", "s64", "b64", "u32", "s32", "b32"):
        raise PtxError(f"parameter {text.strip()}: allowed are 32- and 64-bit integers")
    return found[1], found[2]


def _place_shared(text: str) -> tuple[dict[str, int], int]:
    """Offsets of shared symbols: those with a size first, the dynamic ones all at the end."""
    symbols: dict[str, int] = {}
    dynamic: list[str] = []
    end = 0
    for extern, align, name, size in SHARED.findall(text):
        if extern or not size:
            dynamic.append(name)
            continue
        step = max(1, int(align or 1))
        end = -(-end // step) * step
        symbols[name] = end
        end += int(size)
        if end > LARGEST_SHARED:
            raise PtxError(f"{name}: {end:,} bytes of shared memory, allowed {LARGEST_SHARED:,}")
    end = -(-end // 16) * 16
    return symbols | dict.fromkeys(dynamic, end), end


def _declare(statement: str, registers: dict[str, str], line: int) -> None:
    found = re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", statement, re.S)
    if not found:
        raise PtxError(f"line {line}: {statement}: not a declaration of registers")
    for declared in found[2].split(","):
        register = REGISTERS.fullmatch(declared.strip())
        if not register:
            raise PtxError(f"line {line}: {declared} is no register")
        name, count = register.groups()
        if count and int(count) > MOST_REGISTERS:
            raise PtxError(f"line {line}: {count} registers, allowed are {MOST_REGISTERS}")
        names = [name] if count is None else [f"{name}{i}" for i in range(int(count))]
        registers.update(dict.fromkeys(names, found[1]))


def _parse_instruction(statement: str, line: int, origin: int) -> Instruction:
    found = STATEMENT.fullmatch(statement.replace("<<", "{").replace(">>", "}"))
    if not found:
        raise PtxError(f"line {line}: {statement!r} is no instruction")
    negated, guard, opcode, rest = found.groups()
    operands = tuple(OPERAND.findall(rest))
    return Instruction(opcode, operands, guard or "", bool(negated), line, origin)
