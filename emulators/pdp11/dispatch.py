"""The table of isa.py -> the text of the loop that runs instructions, and the compiled machine."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from anachron.emulators.jit import compile_machine, interpret_machine
from anachron.emulators.pdp11 import alu, control, cpu, eis
from anachron.emulators.pdp11.isa import FLAG_OPERATORS, INSTRUCTIONS, Instruction
from anachron.emulators.pdp11.models import MODELS

LOOP = """
def run():
    global time, count, began, at, ir, pc, traced
    while 1:
        if time >= event:
            attend()
        at = pc
        began = time
        if profile[pc >> 1] < 0 and time != resume:
            traced = 0
            leave(STOPPED)
        ir = fetch()
        k = decode[ir]
        time += k >> 8
        count += 1
        match k & 255:
{cases}
        profile[at >> 1] += time - began
"""

# A word's kind: 0 is reserved, then the rows of the table; clearing and setting flags are two.
RESERVED_KIND = 0
KINDS = {row: kind for kind, row in enumerate((*INSTRUCTIONS, *FLAG_OPERATORS), start=1)}
FLAGS = {"CLx": "clear_flags()", "SEx": "set_some_flags()"}


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
    cases = [f"            case {RESERVED_KIND}:\n                RESERVED_()\n"]
    for row, kind in KINDS.items():
        if row.mnemonic in ("NOP",) or row.opcode & 0o177740 == 0o240 and row not in FLAG_OPERATORS:
            continue  # the named condition-code operators are rows of FLAG_OPERATORS
        lines = "\n".join(statements(row)).splitlines()
        cases.append(f"            case {kind}:\n"
                     + "".join(f"                {line}\n" for line in lines))
    return PARTS + LOOP.format(cases="".join(cases))


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
