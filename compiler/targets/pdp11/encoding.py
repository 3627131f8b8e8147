"""A parsed PDP-11 instruction into its words: operand fields, extra words, branch offsets.

The rows are those of emulators/pdp11/isa.py; nothing here knows an opcode.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.assembly.expressions import Expression
from anachron.compiler.assembly.passes import Assembly, Encoded, Statement
from anachron.emulators.pdp11.isa import MNEMONICS as ROWS
from anachron.emulators.pdp11.isa import MODELS, Instruction
from anachron.emulators.pdp11.isa import REGISTERS as NAMED_REGISTERS

REGISTERS = {**NAMED_REGISTERS, "R6": 6, "R7": 7}
MNEMONICS = frozenset(ROWS)

IMMEDIATE, ABSOLUTE, RELATIVE, RELATIVE_DEFERRED = 0o27, 0o37, 0o67, 0o77


class Operand(NamedTuple):
    """Mode and register, and the value of the extra word where the mode has one."""

    spec: int
    value: Expression | None


def check_machine(machine: str | None) -> None:
    """Raise ValueError for a machine of which no instruction set is known."""
    if machine is not None and machine not in MODELS:
        raise ValueError(f"machine {machine!r} is not one of {', '.join(MODELS)}")


def encode(assembly: Assembly, statement: Statement) -> Encoded:
    """The bytes of an instruction, its row, and the address or value of its last operand."""
    row = ROWS[statement.word]
    if assembly.machine is not None and not row.exists_on(assembly.machine):
        having = [model for model in MODELS if row.exists_on(model)]
        raise AssemblyError(f"{row.mnemonic} does not exist on the {assembly.machine}"
                            + (f"; it does on the {' and '.join(having)}" if having else ""),
                            statement.column)
    if assembly.here & 1:
        assembly.complain(AssemblyError("an instruction at an odd address; .EVEN before it",
                                        statement.column))
    words, target = _FORMS[row.form](assembly, statement, row)
    data = b"".join((word & 0xFFFF).to_bytes(2, "little") for word in words)
    return Encoded(data, row, target)


Words = tuple[list[int], int | None]


def _operands(statement: Statement, count: int, shape: str) -> tuple[Operand, ...]:
    operands: tuple[Operand, ...] = statement.arguments
    if len(operands) != count:
        raise AssemblyError(f"{statement.word} takes {shape or 'no operand'}, found "
                            f"{len(operands)} operands", statement.column)
    return operands


def _register(operand: Operand, statement: Statement, which: str) -> int:
    if operand.spec > 7:
        raise AssemblyError(f"the {which} operand of {statement.word} must be a register",
                            statement.column)
    return operand.spec


def _placed(assembly: Assembly, operand: Operand) -> Operand:
    """The operand, absolute instead of relative where `.ENABL AMA` says so."""
    if operand.spec == RELATIVE and "absolute" in assembly.switches:
        return operand._replace(spec=ABSOLUTE)
    return operand


def _extend(assembly: Assembly, words: list[int], operand: Operand) -> int | None:
    """Append an operand's extra word; the address or value that it stands for."""
    if operand.value is None:
        return None
    value = int(assembly.number(operand.value, 0)) & 0xFFFF
    if operand.spec in (RELATIVE, RELATIVE_DEFERRED):
        words.append(value - (assembly.here + 2 * len(words) + 2))
    else:
        words.append(value)
    return value


def _two(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    source, destination = (_placed(assembly, operand) for operand in
                           _operands(statement, 2, "a source and a destination"))
    words = [row.opcode | source.spec << 6 | destination.spec]
    _extend(assembly, words, source)
    return words, _extend(assembly, words, destination)


def _one(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    operand = _placed(assembly, *_operands(statement, 1, "one operand"))
    if row.access == "address" and operand.spec < 8:
        raise AssemblyError(f"{statement.word} takes an address, and a register has none",
                            statement.column)
    words = [row.opcode | operand.spec]
    return words, _extend(assembly, words, operand)


def _register_first(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    first, operand = _operands(statement, 2, "a register and an operand")
    if row.access == "address" and operand.spec < 8:
        raise AssemblyError(f"{statement.word} takes an address, and a register has none",
                            statement.column)
    operand = _placed(assembly, operand)
    words = [row.opcode | _register(first, statement, "first") << 6 | operand.spec]
    return words, _extend(assembly, words, operand)


def _register_last(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    operand, last = _operands(statement, 2, "an operand and a register")
    operand = _placed(assembly, operand)
    words = [row.opcode | _register(last, statement, "second") << 6 | operand.spec]
    return words, _extend(assembly, words, operand)


def _register_only(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    (operand,) = _operands(statement, 1, "a register")
    return [row.opcode | _register(operand, statement, "only")], None


def _nothing(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    _operands(statement, 0, "")
    return [row.opcode], None


def _number(bits: int) -> Callable[[Assembly, Statement, Instruction], Words]:
    def build(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
        operands = statement.arguments
        if not operands:
            return [row.opcode], 0
        value = _plain(assembly, _operands(statement, 1, "a number")[0], statement)
        if value >> bits:
            assembly.complain(AssemblyError(
                f"the number {value} is {value - (1 << bits) + 1} above {(1 << bits) - 1}",
                statement.column))
        return [row.opcode | value & (1 << bits) - 1], value
    return build


def _plain(assembly: Assembly, operand: Operand, statement: Statement) -> int:
    """The value of an operand that is an expression and nothing else."""
    if operand.spec != RELATIVE or operand.value is None:
        raise AssemblyError(f"{statement.word} takes a plain address or number", statement.column)
    return int(assembly.number(operand.value, assembly.here + 2)) & 0xFFFF


def _offset(assembly: Assembly, statement: Statement, target: int, least: int, most: int) -> int:
    """Words from the next instruction to a target, with a complaint where they are too many."""
    distance = (target - assembly.here - 2 + 0x8000 & 0xFFFF) - 0x8000  # wraps with the PC
    if distance & 1:
        assembly.complain(AssemblyError(f"{statement.word} to the odd address {target:o}",
                                        statement.column))
    words = distance >> 1
    if not least <= words <= most:
        past = words - most if words > most else least - words
        assembly.complain(AssemblyError(
            f"{statement.word} goes {words} words, {past} too far: {least} to {most} are possible",
            statement.column))
    return words


def _branch(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    (operand,) = _operands(statement, 1, "an address")
    target = _plain(assembly, operand, statement)
    return [row.opcode | _offset(assembly, statement, target, -128, 127) & 0xFF], target


def _count_back(assembly: Assembly, statement: Statement, row: Instruction) -> Words:
    first, operand = _operands(statement, 2, "a register and an address")
    register = _register(first, statement, "first")
    target = _plain(assembly, operand, statement)
    words = -_offset(assembly, statement, target, -63, 0)
    return [row.opcode | register << 6 | words & 0o77], target


_FORMS: dict[str, Callable[[Assembly, Statement, Instruction], Words]] = {
    "": _nothing, "SSDD": _two, "DD": _one, "SS": _one, "RDD": _register_first,
    "RSS": _register_last, "R": _register_only, "RNN": _count_back, "OOO": _branch,
    "NN": _number(6), "N": _number(3), "NNN": _number(8),
}


def opcode_of(name: str) -> int:
    """The word of an instruction whose operands are all zero."""
    return ROWS[name].opcode


def encode_flags(names: list[tuple[str, int]]) -> int:
    """`CLC!CLV`: the flag operators of several names as one word."""
    words = []
    for name, column in names:
        row = ROWS.get(name.upper())
        if row is None or not 0o240 <= row.opcode <= 0o277:
            raise AssemblyError(f"{name} does not set or clear flags", column)
        words.append(row.opcode)
    if len({word & 0o20 for word in words}) > 1:
        raise AssemblyError("one word cannot both set and clear flags", names[0][1])
    word = 0
    for part in words:
        word |= part
    return word
