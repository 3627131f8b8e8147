"""The general way to run an instruction: any operands, stage by stage; text made of isa.py's table.

The stages that find the operands and put the result away are there once for all rows; SHAPES says
which of them a row goes through, and the operation in between is a function of alu.py, eis.py or
control.py: x is the source, y the destination, ea its address.

To add an instruction: a row in isa.py, its operation, and its name in NAMES or `call` if it differs
from its mnemonic or takes something unusual.
"""

import numpy as np

from anachron.emulators.pdp11.isa import FLAG_OPERATORS, INSTRUCTIONS, Instruction

# The stages, as bits of SHAPES[row].
IS_BYTE, HAS_SOURCE, HAS_REGISTER, POPS = 1, 2, 4, 8
HAS_DESTINATION, READS_IT, WRITES_IT, FILLS, TAKES_STATUS = 16, 32, 64, 128, 256

GENERAL = """
def general(row):
    global stepped
    what = SHAPES[row]
    byte = what & IS_BYTE
    x = 0
    y = 0
    ea = 0
    if what & HAS_SOURCE:
        x = load(operand(ir >> 6 & 63, byte), byte)
    elif what & HAS_REGISTER:
        x = register(ir >> 6 & 7, 0)
    elif what & POPS:
        x = MOV(pop(), 0)
    elif what & TAKES_STATUS:
        x = MOV(status() & 0xFF, 1)
    if what & HAS_DESTINATION:
        ea = operand(ir & 63, byte)
        if DESTINATION_FIRST and what & HAS_SOURCE and ir & 0o7000 == 0:
            x = register(ir >> 6 & 7, byte)
        if what & READS_IT:
            relocate_destination(1)
            y = load(ea, byte)
            relocate_destination(0)
    match row:
{cases}
    if what & WRITES_IT:
        if ir & 0o70000 == MOVES:
            stepped = 0  # it does not read what it writes to
        if what & FILLS and ea < 0:  # a byte that is moved to a register fills it with its sign
            y = (y ^ 0x80) - 0x80 & 0xFFFF
            byte = 0
        relocate_destination(1)
        store(ea, y, byte)
        relocate_destination(0)
    stepped = 0


def register(r, byte):
    if r == 7:
        mem[PC] = pc
    return mem[R + r] & (0xFF if byte else 0xFFFF)
"""

RESERVED_ROW = 0
MOVES = 0o010000  # MOV and MOVB, in the bits 070000
ROWS = {row: number for number, row in enumerate((*INSTRUCTIONS, *FLAG_OPERATORS), start=1)}
NAMES = {"CLx": "clear_flags", "SEx": "set_some_flags", "RTT": "RTI", "MFPD": "MFPI",
         "MTPD": "MTPI"}


def shape(row: Instruction) -> int:
    """The stages of a row."""
    what = IS_BYTE * (row.byte or row.set == "psw")
    what |= {"SSDD": HAS_SOURCE, "RDD": HAS_REGISTER * (row.access != "address")}.get(row.form, 0)
    if row.form.endswith(("SS", "DD")):
        what |= HAS_DESTINATION
    if row.set == "memory":  # in the other mode's memory: MFPI and MTPI do that themselves
        return what | POPS * (row.access == "write")
    if row.access in ("read", "modify"):
        what |= READS_IT
    if row.access in ("write", "modify"):
        what |= WRITES_IT
    what |= TAKES_STATUS * (row.mnemonic == "MFPS")
    return what | FILLS * (row.mnemonic in ("MOVB", "MFPS"))


SHAPES = np.zeros(256, np.uint16)
SHAPES[list(ROWS.values())] = [shape(row) for row in ROWS]
CONSTANTS = {"SHAPES": SHAPES, "IS_BYTE": IS_BYTE, "HAS_SOURCE": HAS_SOURCE,
             "HAS_REGISTER": HAS_REGISTER, "POPS": POPS, "HAS_DESTINATION": HAS_DESTINATION,
             "READS_IT": READS_IT, "WRITES_IT": WRITES_IT, "FILLS": FILLS,
             "TAKES_STATUS": TAKES_STATUS, "MOVES": MOVES}


def call(row: Instruction, byte: object) -> str:
    """The operation of a row, as a statement; `byte` is a number or the name of one."""
    name = NAMES.get(row.mnemonic, row.mnemonic.removesuffix("B") if row.byte else row.mnemonic)
    match row.form, row.access:
        case "SSDD", "write":
            text = f"{name}(x, {byte})"
        case "SSDD" | "RDD", "read" | "modify":
            text = f"{name}(x, y, {byte})"
        case "DD" | "RDD", "address":
            text = f"{name}(ea)"
        case "DD", _ if name in ("CLR", "SXT"):
            text = f"{name}({byte})"
        case "DD", "read" | "modify":
            text = f"{name}(y, {byte})"
        case "RSS", _:
            text = f"{name}(ir >> 6 & 7, y)"
        case _:
            unusual = {"MFPS": "x", "MTPS": "MTPS(y)", "MFPI": "MFPI(ea)", "MTPI": "MTPI(ea, x)"}
            text = unusual.get(name, f"{name}()")
    return f"y = {text}" if shape(row) & WRITES_IT else text


def general_text() -> str:
    """The function `general`: rows without operands are not its business, they have short cuts."""
    texts: dict[str, list[int]] = {}
    for row, number in ROWS.items():
        if shape(row) & HAS_DESTINATION:
            texts.setdefault(call(row, "byte"), []).append(number)
    used = {number for numbers in texts.values() for number in numbers}
    texts["RESERVED_()"] = sorted(set(range(256)) - used)
    return GENERAL.format(cases=cases_text(texts, 8))


def cases_text(texts: dict[str, list[int]], indent: int) -> str:
    """The cases of a `match`: text -> its numbers."""
    return "".join(
        f"{'':{indent}}case {' | '.join(map(str, numbers))}:\n"
        + "".join(f"{'':{indent + 4}}{line}\n" for line in text.splitlines())
        for text, numbers in texts.items())
