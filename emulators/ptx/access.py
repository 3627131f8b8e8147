"""ld, st and cvta: the instructions that know address spaces.

To add a space: memory.py, and a row of SPACES.
Source: PTX ISA 9.0, sections 5.1 (state spaces), 9.7.9 (ld, st, cvta).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anachron.emulators.ptx.isa import Step
from anachron.emulators.ptx.memory import SHARED_WINDOW, WORDS, Space
from anachron.emulators.ptx.registers import Array, Registers, assign, find_type
from anachron.emulators.ptx.syntax import Instruction, PtxError

SPACES = ("global", "shared", "param")
IGNORED = ("volatile", "relaxed", "weak", "nc", "ca", "cg", "cs", "cta", "to", "uni")
VECTORS = {"v2": 2, "v4": 4}


class Memory:
    """The spaces that a block sees, and its kernel's arguments."""

    def __init__(self, globals_: Space, shared: Space, arguments: Mapping[str, int]) -> None:
        self.globals, self.shared, self.arguments = globals_, shared, arguments

    def find(self, space: str, address: Array, instruction: Instruction) -> tuple[Space, Array]:
        """The space of addresses, and the addresses in it."""
        if space == "global":
            return self.globals, address
        if space == "shared":
            return self.shared, address
        windowed = address >= SHARED_WINDOW
        if windowed.all():
            return self.shared, address - SHARED_WINDOW
        if windowed.any():
            raise PtxError(f"{instruction}: threads of one warp address two spaces: not known")
        return self.globals, address


def _take_apart(instruction: Instruction) -> tuple[str, int, str]:
    """(space, words, type) of a load or store."""
    *modifiers, kind = instruction.parts[1:]
    spaces = [m for m in modifiers if m in SPACES]
    vectors = [VECTORS[m] for m in modifiers if m in VECTORS]
    for modifier in modifiers:
        if modifier not in (*SPACES, *VECTORS, *IGNORED):
            raise PtxError(f"{instruction}: .{modifier} is not known here")
    return (spaces or [""])[0], (vectors or [1])[0], kind


def bind_load(instruction: Instruction, registers: Registers, memory: Memory) -> Step:
    space, count, kind = _take_apart(instruction)
    names = registers.names(instruction.operands[0])
    if len(names) != count:
        raise PtxError(f"{instruction}: it loads {count} words")
    targets = [registers.write(name, kind) for name in names]
    wanted = np.dtype(find_type(kind))
    if space == "param":
        name = instruction.operands[1].strip("[] ")
        if name not in memory.arguments:
            raise PtxError(f"{instruction}: the kernel has no parameter {name}")
        number = memory.arguments[name] % (1 << 8 * wanted.itemsize)
        value = np.array([number], WORDS[wanted.itemsize]).view(wanted)
        return lambda lanes: assign(targets[0], value, lanes)
    base, offset = registers.address(instruction.operands[1])
    everyone = np.arange(registers.threads)

    def step(lanes: Array | None) -> None:
        active = everyone if lanes is None else everyone[lanes]
        address = np.broadcast_to(base, everyone.shape)[active].astype(np.int64) + offset
        where, address = memory.find(space, address, instruction)
        words = where.load(address, wanted.itemsize, count, active, instruction)
        for target, word in zip(targets, words, strict=True):
            target[active] = word.view(wanted)

    return step


def bind_store(instruction: Instruction, registers: Registers, memory: Memory) -> Step:
    space, count, kind = _take_apart(instruction)
    names = registers.names(instruction.operands[1])
    if len(names) != count or space == "param":
        raise PtxError(f"{instruction}: it stores {count} words to {space or 'generic'} memory")
    unsigned = f"u{8 * np.dtype(find_type(kind)).itemsize}"
    sources = [registers.read(name, unsigned) for name in names]
    base, offset = registers.address(instruction.operands[0])
    everyone = np.arange(registers.threads)

    def step(lanes: Array | None) -> None:
        active = everyone if lanes is None else everyone[lanes]
        address = np.broadcast_to(base, everyone.shape)[active].astype(np.int64) + offset
        where, address = memory.find(space, address, instruction)
        words = [np.broadcast_to(source, everyone.shape)[active] for source in sources]
        where.store(address, words, active, instruction)

    return step


def bind_window(instruction: Instruction, registers: Registers, memory: Memory) -> Step:
    """cvta: between an address in a space and a generic one."""
    del memory
    kind = instruction.type
    to, source = instruction.operands
    target, whole = registers.write(to, kind), registers.read(source, kind)
    moved = np.int64(SHARED_WINDOW if "shared" in instruction.parts else 0)
    if "to" in instruction.parts:
        moved = -moved
    if not {"shared", "global"} & set(instruction.parts):
        raise PtxError(f"{instruction}: only shared and global memory are known")
    return lambda lanes: assign(target, whole + moved.astype(np.uint64).astype(target.dtype), lanes)


ACCESSES = {"ld": bind_load, "ldu": bind_load, "st": bind_store, "cvta": bind_window}
