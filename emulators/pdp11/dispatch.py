"""The table of isa.py -> the text of the loop that runs instructions, and the compiled machine."""

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
        if time >= event:
            attend()
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

# A word's kind is what `decode` has beside its time: 0 is reserved, then come the rows of the
# table, then shorter ways for operands in R0 to SP: both, or the destination.
RESERVED_KIND = 0
KINDS = {row: kind for kind, row in enumerate((*INSTRUCTIONS, *FLAG_OPERATORS), start=1)}
_SHORT = [row for row in INSTRUCTIONS if row.form in ("SSDD", "DD") and row.access != "address"
          and row.set == "basic"]
TO_REGISTER = {row: kind for kind, row in enumerate(_SHORT, start=len(KINDS) + 1)}
_DOUBLE = [row for row in _SHORT if row.form == "SSDD"]
IN_REGISTERS = {row: kind for kind, row in
                enumerate(_DOUBLE, start=len(KINDS) + len(TO_REGISTER) + 1)}
FLAGS = {"CLx": "clear_flags()", "SEx": "set_some_flags()"}


def kind(row: Instruction, word: int) -> int:
    """The case that runs a word which is an instruction of this row."""
    if row not in TO_REGISTER or word & 0o70 or word & 7 == 7:
        return KINDS[row]
    if row in IN_REGISTERS and not word & 0o7000 and word & 0o700 != 0o700:
        return IN_REGISTERS[row]
    return TO_REGISTER[row]


def short_statements(row: Instruction, in_registers: bool) -> list[str]:
    """What an instruction does whose destination is R0 to SP; its source, too, if so."""
    name, b = row.mnemonic.removesuffix("B") if row.byte else row.mnemonic, int(row.byte)
    body = []
    low = " & 0xFF" if row.byte else ""
    if row.form == "SSDD":
        body.append(f"x = mem[R + (ir >> 6 & 7)]{low}" if in_registers
                    else f"x = load(operand(ir >> 6 & 63, {b}), {b})")
    y = f"mem[R + (ir & 7)]{low}"
    arguments = f"x, {y}, {b}" if row.form == "SSDD" else f"{y}, {b}"
    if name == "MOV":
        arguments = f"x, {b}"
    elif name == "CLR":
        arguments = str(b)
    call = f"{name}({arguments})"
    if row.access == "read":
        return [*body, call]
    if name == "MOV" and row.byte:
        call = f"({call} ^ 0x80) - 0x80 & 0xFFFF"
    elif row.byte:
        call = f"mem[R + (ir & 7)] & 0xFF00 | {call}"
    return [*body, f"mem[R + (ir & 7)] = {call}"]


def statements(row: Instruction) -> list[str]:
    """What an instruction does, after its time has been counted."""
    name, b = row.mnemonic.removesuffix("B") if row.byte else row.mnemonic, int(row.byte)
    x = f"x = load(operand(ir >> 6 & 63, {b}), {b})"
    ea = f"ea = operand(ir & 63, {b})"
    read = f"load(ea, {b})"
    if row.mnemonic in FLAGS:
        return [FLAGS[row.mnemonic]]
    match row.form, row.access:
        case "SSDD", access:
            body = {"write": f"put(ea, {name}(x, {b}), {b})", "read": f"{name}(x, {read}, {b})",
                    "modify": f"store(ea, {name}(x, {read}, {b}), {b})"}[access]
            if access == "write" and not b:
                body = f"store(ea, {name}(x, 0), 0)"
            late = f"if ir & 0o7000 == 0: x = load(operand(ir >> 6 & 7, {b}), {b})"
            return [x, ea, f"if DESTINATION_FIRST:\n    {late}", body]
        case "RDD", "modify":
            return [ea, "x = source_register()", f"store(ea, {name}(x, {read}, 0), 0)"]
        case "RDD", "address":
            return [f"{name}()"]
        case "DD", "modify":
            if name == "CLR":  # reads too, on the bus, but a device does not notice
                return [ea, f"store(ea, CLR({b}), {b})"]
            return [ea, f"store(ea, {name}({read}, {b}), {b})"]
        case "DD", "read":
            return [ea, f"{name}({read}, {b})"]
        case "DD", "write" if name == "SXT":
            return [ea, "store(ea, SXT(0), 0)"]
        case "DD", "write" if name == "MFPS":
            return ["ea = operand(ir & 63, 1)", "put(ea, MFPS(1), 1)"]
        case "SS", "read" if name == "MTPS":
            return ["MTPS(load(operand(ir & 63, 1), 1))"]
        case "RSS", _:
            return [f"{name}(ir >> 6 & 7, load(operand(ir & 63, 0), 0))"]
    return [f"{name}()"]


PARTS = """
def source_register():
    if ir & 0o700 == 0o700:
        mem[PC] = pc
    return mem[R + (ir >> 6 & 7)]


def put(ea, w, byte):
    # A byte that is moved to a register fills it with its sign.
    if ea < 0:
        store(ea, (w ^ 0x80) - 0x80 & 0xFFFF, 0)
    else:
        store(ea, w, 1)
"""


def loop() -> str:
    """The run loop: a case a kind of instruction."""
    cases = []
    unused = set(range(256))
    for row, number in KINDS.items():
        if row.opcode & 0o177740 == 0o240 and row not in FLAG_OPERATORS and row.mnemonic != "NOP":
            continue  # the named condition-code operators are rows of FLAG_OPERATORS
        cases.append(_case((number,), statements(row)))
        unused.remove(number)
    for short, in_registers in ((TO_REGISTER, False), (IN_REGISTERS, True)):
        for row, number in short.items():
            cases.append(_case((number,), short_statements(row, in_registers)))
            unused.remove(number)
    cases.append(_case(sorted(unused), ["RESERVED_()"]))  # all 256: the jump needs no check
    return PARTS + LOOP.format(cases="".join(cases))


def _case(numbers: Iterable[int], statements: list[str]) -> str:
    lines = "\n".join(statements).splitlines()
    return (f"            case {' | '.join(map(str, numbers))}:\n"
            + "".join(f"                {line}\n" for line in lines))


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
