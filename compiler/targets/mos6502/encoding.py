"""A parsed 6502 instruction into its bytes: which addressing mode, and whether the value fits.

The rows are those of emulators/mos6502/isa.py; nothing here knows an opcode.
"""
from __future__ import annotations

from typing import NamedTuple

from anachron.compiler.assembly.errors import AssemblyError, Undefined
from anachron.compiler.assembly.expressions import Expression, Group, Name, Number
from anachron.compiler.assembly.passes import Assembly, Encoded, Statement
from anachron.emulators.mos6502.isa import ALIASES, INSTRUCTIONS, MODES, OPCODES, Instruction

MNEMONICS = frozenset(
    name.lower() for name in {row.mnemonic for row in INSTRUCTIONS} | set(ALIASES))
# Names of undocumented instructions that neither 64tass nor ca65 reserves.
RARE = frozenset("axa xas sxa sya say lar oal atx aso lse aax anc2 usbc kil hlt dop top".split())


class Operand(NamedTuple):
    """An operand as written: `#`, ``, `,x`, `,y`, `(,x)`; `width` in bytes where it is forced."""

    form: str
    value: Expression
    width: int = 0


NO_OPERAND = Operand("none", Number(0))

# How an operand is written -> the modes it may mean, (one byte, two bytes).
_FORMS = {
    "": ("zp", "abs"), ",x": ("zpx", "abx"), ",y": ("zpy", "aby"),
    "()": ("", "ind"), "(,x)": ("izx", ""), "(),y": ("izy", ""),
}


def _rows_by_name() -> dict[str, dict[str, Instruction]]:
    names = {name.lower(): name for name in {row.mnemonic for row in INSTRUCTIONS}}
    names |= {alias.lower(): name for alias, name in ALIASES.items()}
    return {word: {mode: INSTRUCTIONS[opcode] for (name, mode), opcode in OPCODES.items()
                   if name == mnemonic} for word, mnemonic in names.items()}


_ROWS = _rows_by_name()
_BYTE = [bytes([value]) for value in range(256)]


def encode(assembly: Assembly, statement: Statement) -> Encoded:
    """The bytes of an instruction, its row, and its operand's value."""
    rows, operand = _ROWS[statement.word], statement.arguments
    form, expression, width = operand
    if form == "none":
        row = rows.get("imp") or rows.get("acc")
        if row is None:
            raise _no_mode(statement, rows)
        return Encoded(_BYTE[row.opcode], row, None)
    if form == "#":
        row = rows.get("imm")
        if row is None:
            raise _no_mode(statement, rows)
        value = assembly.number(expression, 0)
        return Encoded(bytes((row.opcode, _byte(assembly, value, -128, statement))), row, value)
    if "rel" in rows:
        return _branch(assembly, statement, rows["rel"])
    if type(expression) is Group:
        form = {"": "()", ",y": "(),y"}.get(form, form)
    elif form == "" and "acc" in rows and _is_accumulator(expression):
        return Encoded(_BYTE[rows["acc"].opcode], rows["acc"], None)
    short_mode, long_mode = _FORMS[form]
    short, long = rows.get(short_mode), rows.get(long_mode)
    if short is None and long is None:
        if form in ("()", "(),y") and (plain := _FORMS[form[2:]]) and (
                plain[0] in rows or plain[1] in rows):  # brackets that only bracket: lda (a+b)*2
            raise AssemblyError(f"{statement.word} has no indirect operand like this one; "
                                "without indirection, leave out the brackets", statement.column)
        raise _no_mode(statement, rows)
    try:
        value = expression.evaluate(assembly)
        known = True
    except Undefined as error:
        assembly.complain(error)
        value, known = 0, False
    wide = short is None or (long is not None and not (known and 0 <= value < 256))
    if width:
        if (long if width == 2 else short) is None:
            raise AssemblyError(f"{statement.word} has no {width}-byte form of this operand",
                                statement.column)
        wide = width == 2
    elif short is not None and long is not None:
        wide = assembly.decide_wide(wide)
    if wide:
        assert long is not None
        if not 0 <= value < 65536:
            assembly.complain(_out_of_range(value, 0, 65535, "the address", statement.column))
        return Encoded(bytes((long.opcode, value & 0xFF, value >> 8 & 0xFF)), long, value)
    assert short is not None
    return Encoded(bytes((short.opcode, _byte(assembly, value, 0, statement))), short, value)


def _is_accumulator(expression: Expression) -> bool:
    return type(expression) is Name and expression.text in ("a", "A")


def _out_of_range(value: int, least: int, most: int, what: str, column: int) -> AssemblyError:
    off = f"{value - most} above {most}" if value > most else f"{least - value} below {least}"
    return AssemblyError(f"{what} {value} is {off}", column)


def _byte(assembly: Assembly, value: int, least: int, statement: Statement) -> int:
    if not least <= value < 256:
        what = "the value" if least < 0 else "the zero-page address"
        assembly.complain(_out_of_range(value, least, 255, what, statement.column))
    return value & 0xFF


def _branch(assembly: Assembly, statement: Statement, row: Instruction) -> Encoded:
    form, expression, width = statement.arguments
    if form or width:
        raise AssemblyError(f"{statement.word} takes an address, or a label", statement.column)
    target = assembly.number(expression, assembly.here + 2)
    distance = (target - assembly.here - 2 + 0x8000 & 0xFFFF) - 0x8000  # wraps with the PC
    if not 0 <= target <= 0xFFFF:
        distance = target - assembly.here - 2
    if not -128 <= distance <= 127:
        past = distance - 127 if distance > 0 else -128 - distance
        assembly.complain(AssemblyError(
            f"{statement.word} goes {distance} bytes, {past} too far: -128 to 127 are possible",
            statement.column))
    return Encoded(bytes((row.opcode, distance & 0xFF)), row, target)


def _no_mode(statement: Statement, rows: dict[str, Instruction]) -> AssemblyError:
    written = []
    for mode in rows:
        text = MODES[mode][1].format("n").lower() or "nothing"
        if mode in ("abs", "abx", "aby", "ind") or text not in written:
            written.append(text)
    forms = list(dict.fromkeys(written))
    return AssemblyError(f"{statement.word} takes {' or '.join(forms)}", statement.column)
