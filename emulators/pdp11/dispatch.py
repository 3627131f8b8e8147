"""The table of isa.py -> the text of the loop that runs instructions, and the compiled machine.

Instructions that treat their operands alike share the text that finds them, in one `case`, and
part only for what they do: all text is expanded in place, and finding an operand is most of it.
Operands in R0 to SP have shorter ways of their own.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from anachron.emulators.jit import compile_machine, interpret_machine
from anachron.emulators.pdp11 import alu, control, cpu, eis
from anachron.emulators.pdp11.isa import FLAG_OPERATORS, INSTRUCTIONS, Instruction
from anachron.emulators.pdp11.models import MODELS

LOOP = """
def run():
    global time, count, began, at, ir, pc
    while 1:
        attend()
        while time < event:
            at = pc
            began = time
            if profile[pc] < 0:
                ir = fetch_unusual()
            elif MAPPED:
                ir = fetch()
            else:
                ir = mem[pc >> 1]
                pc = (pc + 2) & 0xFFFF
            k = decode[ir]
            time += k >> 8
            count += 1
            match k & 255:
{cases}
            profile[at] += time - began
"""

# Small things of the cases below.
PARTS = """
def source_register():
    if ir & 0o700 == 0o700:
        mem[PC] = pc
    return mem[R + (ir >> 6 & 7)]


def source(byte):
    return load(operand(ir >> 6 & 63, byte), byte)


def destination_changes(x, byte):
    # Where the destination's address is found first, a register is read after that.
    if DESTINATION_FIRST:
        if ir & 0o7000 == 0:
            x = load(operand(ir >> 6 & 7, byte), byte)
    return x


def put_byte(ea, w):
    # A byte that is moved to a register fills it with its sign.
    if ea < 0:
        store(ea, (w ^ 0x80) - 0x80 & 0xFFFF, 0)
    else:
        store(ea, w, 1)
"""

# A word's kind is what `decode` has beside its time. 0 is reserved, then come the rows of the
# table, then the shorter ways to a destination in R0 to SP: from anywhere, from another such
# register, and from an immediate operand.
RESERVED_KIND = 0
KINDS = {row: kind for kind, row in enumerate((*INSTRUCTIONS, *FLAG_OPERATORS), start=1)}
_SHORT = [row for row in INSTRUCTIONS
          if row.form in ("SSDD", "DD") and row.access != "address" and row.set == "basic"]
TO_REGISTER = {row: kind for kind, row in enumerate(_SHORT, start=len(KINDS) + 1)}
_DOUBLE = [row for row in _SHORT if row.form == "SSDD"]
_NEXT = len(KINDS) + len(TO_REGISTER) + 1
IN_REGISTERS = {row: kind for kind, row in enumerate(_DOUBLE, start=_NEXT)}
IMMEDIATE = {row: kind for kind, row in enumerate(_DOUBLE, start=_NEXT + len(_DOUBLE))}
SOURCES = {"anywhere": "source({b})", "register": "mem[R + (ir >> 6 & 7)]{low}",
           "immediate": "fetch_operand(){low}"}
FLAGS = {"CLx": "clear_flags", "SEx": "set_some_flags"}



def kind(row: Instruction, word: int) -> int:
    """The case that runs a word which is an instruction of this row."""
    if row not in TO_REGISTER or word & 0o70 or word & 7 == 7:
        return KINDS[row]
    if row in IN_REGISTERS and not word & 0o7000 and word & 0o700 != 0o700:
        return IN_REGISTERS[row]
    if row in IMMEDIATE and word & 0o7700 == 0o2700:
        return IMMEDIATE[row]
    return TO_REGISTER[row]


def _call(row: Instruction) -> str:
    """What an instruction does to x (the source) and y (the destination), as an expression."""
    name = row.mnemonic.removesuffix("B") if row.byte else row.mnemonic
    match row.form, row.access:
        case "SSDD", "write":
            return f"{name}(x, {row.byte:d})"
        case "SSDD" | "RDD", "read" | "modify":
            return f"{name}(x, y, {row.byte:d})"
        case "DD", _ if name in ("CLR", "SXT"):
            return f"{name}({row.byte:d})"
        case "DD", "read" | "modify":
            return f"{name}(y, {row.byte:d})"
        case "RSS", _:
            return f"{name}(ir >> 6 & 7, y)"
    return f"{FLAGS.get(name, name)}()"


def _around(row: Instruction) -> tuple[str, str]:
    """The lines that find the operands, and those that put the result y away."""
    b = int(row.byte)
    ea, y = f"ea = operand(ir & 63, {b})\n", f"y = load(ea, {b})\n"
    found = f"x = source({b})\n{ea}x = destination_changes(x, {b})\n"
    match row.form, row.access:
        case "SSDD", "write":
            return found, "put_byte(ea, y)" if b else "store(ea, y, 0)"
        case "SSDD", "read":
            return found + y, ""
        case "SSDD", _:
            return found + y, f"store(ea, y, {b})"
        case "RDD", "modify":
            return f"x = source_register()\n{ea}{y}", "store(ea, y, 0)"
        case "DD", "read":
            return ea + y, ""
        case "DD", "modify":
            return ea + y, f"store(ea, y, {b})"
        case "DD", "write" if row.mnemonic not in ("MFPS", "MTPI", "MTPD"):
            return "", f"{ea}store(ea, y, {b})"
        case "RSS", _:
            return ea + y, ""
    return "", ""


def _to_register(row: Instruction, source: str) -> str:
    """The same for a destination in R0 to SP."""
    low = " & 0xFF" if row.byte else ""
    x = ""
    if row.form == "SSDD":
        x = f"x = {SOURCES[source].format(b=int(row.byte), low=low)}\n"
    y = "" if row.access == "write" else f"y = mem[R + (ir & 7)]{low}\n"
    if row.access == "read":
        return f"{x}{y}{_call(row)}"
    result = _call(row)
    if row.mnemonic == "MOVB":
        result = f"({result} ^ 0x80) - 0x80 & 0xFFFF"
    elif row.byte:
        result = f"mem[R + (ir & 7)] & 0xFF00 | {result}"
    return f"{x}{y}mem[R + (ir & 7)] = {result}"


def _shared(rows: list[Instruction]) -> str:
    """The text of instructions that find their operands alike."""
    before, after = _around(rows[0])
    result = "y = " if after else ""
    if len(rows) == 1:
        return f"{before}{result}{_call(rows[0])}\n{after}"
    choice = "".join(f"    case {KINDS[row]}:\n        {result}{_call(row)}\n" for row in rows)
    return f"{before}match k & 255:\n{choice}{after}"


def loop() -> str:
    """The run loop: every kind is in a case, so the jump needs no check of its range."""
    cases: list[tuple[list[int], str]] = []
    families: dict[str | tuple[str, str], list[Instruction]] = {}
    for row in KINDS:
        if 0o240 < row.opcode < 0o300 and row not in FLAG_OPERATORS and row.form == "":
            continue  # CLC and its like run as the flag operators that they are
        alone = row.mnemonic in ("MOV", "MOVB", "ADD", "MUL") or _around(row) == ("", "")
        families.setdefault(row.mnemonic if alone else _around(row), []).append(row)
    cases += [([KINDS[row] for row in rows], _shared(rows)) for rows in families.values()]
    for source, short in zip(SOURCES, (TO_REGISTER, IN_REGISTERS, IMMEDIATE), strict=True):
        cases += [([number], _to_register(row, source)) for row, number in short.items()]
    used = {number for numbers, _ in cases for number in numbers}
    cases.append((sorted(set(range(256)) - used), "RESERVED_()"))
    return PARTS + LOOP.format(cases="".join(_case(numbers, text) for numbers, text in cases))


def _case(numbers: Iterable[int], text: str) -> str:
    return (f"                case {' | '.join(map(str, numbers))}:\n"
            + "".join(f"                    {line}\n" for line in text.splitlines()))


@cache
def machine(model: str, mapped: bool = False, compiled: bool = True) -> Callable[..., None]:
    """The run function of a model, with or without translation of addresses; compiled once."""
    constants: dict[str, Any] = {}
    texts = []
    for module in (cpu, alu, eis, control):
        texts.append(inspect.getsource(module))
        constants |= {name: value for name, value in vars(module).items() if name.isupper()}
    constants |= MODELS[model].traits() | {"MAPPED": int(mapped)}
    build = compile_machine if compiled else interpret_machine
    return build("\n".join((*texts, loop())), constants, cpu.REGISTERS, cpu.ARRAYS,
                 fields=cpu.FIELDS, where="pdp11")
