"""The loop that runs instructions, written from the table of isa.py, and the compiled machine.

An instruction that has a short cut is a case of its own in the loop: it has no operands there, or
they are near (shortcuts.py). All others, and what a short cut declines, run in general
(general.py). Both ways call the same operations.

To give more instructions a short cut: TO_REGISTER and OFTEN; each costs some milliseconds at the
first start.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from anachron.emulators.jit import compile_machine, interpret_machine
from anachron.emulators.pdp11 import alu, control, cpu, eis, general, shortcuts
from anachron.emulators.pdp11.general import HAS_DESTINATION, IS_BYTE, READS_IT, WRITES_IT
from anachron.emulators.pdp11.isa import FLAG_OPERATORS, Instruction
from anachron.emulators.pdp11.models import MODELS
from anachron.emulators.pdp11.shortcuts import (
    ABSOLUTE,
    DECREMENT,
    DEFERRED,
    DIRECT,
    IMMEDIATE,
    INCREMENT,
    INDEX,
    RELATIVE,
    way_of,
)

LOOP = """
def run():
    global time, began, at, ir, pc, count
    while 1:
        attend()
        while time < event:
            began = time
            x = pc
            if profile[pc] < 0:
                ir = fetch_unusual()
            elif MAPPED:
                ir = fetch()
            else:
                ir = mem[pc >> 1]
                pc = (pc + 2) & 0xFFFF
            at = x  # an instruction that could not be fetched has not begun
            k = decode[ir]
            spend(k >> 16)
            count += 1
            match k & 255:
{cases}
            general(k >> 8 & 255)
"""

# The ways of operands that have cases of their own: sources of words that go to a register, and
# destinations; other destinations in NEAR share a case.
TO_REGISTER = (DEFERRED, INCREMENT, INDEX, IMMEDIATE, RELATIVE)
OFTEN: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("MOV", "ADD", "CLR", "INC", "DEC", "ADC", "TST"),
                    (DEFERRED, INCREMENT, INDEX, RELATIVE)),
    **dict.fromkeys(("MUL", "ASH", "ASHC", "CMP"), (INCREMENT, IMMEDIATE, RELATIVE))}
NEAR = {DIRECT, DECREMENT, ABSOLUTE, *TO_REGISTER}


@dataclass(frozen=True)
class Shortcut:
    """A case of the loop: whose words it runs, and its text."""

    row: Instruction
    source: int | None  # the operands' ways; None: there is none, or (destination) any of NEAR
    destination: int | None
    text: str

    @property
    def key(self) -> tuple[str, int | None, int | None]:
        return self.row.mnemonic, self.source, self.destination


def _shortcuts(mapped: bool) -> Iterator[Shortcut]:
    """Instructions without operands; words between registers; words of memory, if not mapped."""
    for row in general.ROWS:
        what = general.shape(row)
        if not what & HAS_DESTINATION:
            if row in FLAG_OPERATORS or not 0o240 < row.opcode < 0o300:  # CLC and its like are CLx
                yield Shortcut(row, None, None, f"{general.call(row, 0)}\ncontinue")
        elif not what & IS_BYTE and row.access != "address" and row.form != "RDD" \
                and row.set != "memory":
            yield from _operand_shortcuts(row, what, mapped)


def _operand_shortcuts(row: Instruction, what: int, mapped: bool) -> Iterator[Shortcut]:
    to_register, to_memory = (
        (f"y = {y}\n" if what & READS_IT else "") + general.call(row, 0)
        + (f"\n{y} = y" if what & WRITES_IT else "") for y in ("mem[R + (ir & 7)]", "mem[ea >> 1]"))
    source, x, again = None, "", ""
    if row.form == "SSDD":
        source, x = DIRECT, "x = mem[R + (ir >> 6 & 7)]\n"
        again = f"if DESTINATION_FIRST:\n    {x}"
    if row.form != "RSS":
        yield Shortcut(row, source, DIRECT, f"{x}{to_register}\ncontinue")
    if mapped:
        return
    if row.form == "SSDD":
        for way in TO_REGISTER:
            yield Shortcut(row, way, DIRECT, _if_near(f"near({way}, ir >> 6 & 7)",
                                                      f"x = mem[ea >> 1]\n{to_register}"))
    for place in (*OFTEN.get(row.mnemonic, ()), None):
        where = "near(way_of(ir & 63), ir & 7)" if place is None else f"near({place}, ir & 7)"
        yield Shortcut(row, source, place, x + _if_near(where, again + to_memory))


def _if_near(where: str, text: str) -> str:
    """A text that is all of an instruction if its operand is near."""
    lines = (*text.splitlines(), "continue")
    return f"ea = {where}\nif ea != NOWHERE:\n" + "".join(f"    {line}\n" for line in lines)


@cache
def _numbers() -> dict[tuple[str, int | None, int | None], int]:
    """The number of each short cut's case; 0 is the general way."""
    return {s.key: number for number, s in enumerate(_shortcuts(mapped=False), start=1)}


def kind(row: Instruction, word: int) -> int:
    """How a word that is an instruction of this row is run: its row, and its short cut if any."""
    source = way_of(word >> 6 & 63) if row.form == "SSDD" else None
    destination = way_of(word & 63) if row.form.endswith(("DD", "SS")) else None
    number = _numbers().get((row.mnemonic, source, destination), 0)
    if not number and destination in NEAR:
        number = _numbers().get((row.mnemonic, source, None), 0)
    return general.ROWS[row] << 8 | number


def loop(mapped: bool) -> str:
    """The text of `run`, and of `general`."""
    cases: dict[str, list[int]] = {}
    for shortcut in _shortcuts(mapped):
        cases.setdefault(shortcut.text, []).append(_numbers()[shortcut.key])
    return general.general_text() + LOOP.format(cases=general.cases_text(cases, 16))


@cache
def machine(model: str, mapped: bool = False, compiled: bool = True) -> Callable[..., None]:
    """The run function of a model, with or without translation of addresses; compiled once."""
    constants: dict[str, Any] = {}
    texts = []
    for module in (cpu, alu, eis, control, shortcuts):
        texts.append(inspect.getsource(module))
        constants |= {name: value for name, value in vars(module).items() if name.isupper()}
    constants |= MODELS[model].traits() | general.CONSTANTS | {"MAPPED": int(mapped)}
    build = compile_machine if compiled else interpret_machine
    return build("\n".join((*texts, loop(mapped))), constants, cpu.REGISTERS, cpu.ARRAYS,
                 fields=cpu.FIELDS, where="pdp11")
