"""The registers of a block's threads: numpy arrays that operands are views of.

Reading a narrow type from a wide register takes its low bits; writing one extends it, by its sign
where the type has one.  An immediate is an array with one number for all.
Source: PTX ISA 9.0, sections 9.4 (operands wider than the instruction's type), 10 (special ones).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from anachron.emulators.ptx.memory import WARP
from anachron.emulators.ptx.syntax import Program, PtxError

Array = np.ndarray

SIGNED = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
UNSIGNED = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
TYPES: Mapping[str, type] = {
    **{f"s{bits}": kind for bits, kind in SIGNED.items()},
    **{f"{letter}{bits}": kind for letter in "ub" for bits, kind in UNSIGNED.items()},
    "pred": np.bool_,
    "f32": np.float32,
}
LIST = re.compile(r"[%$\w-]+")
FLOAT = re.compile(r"0[fF][0-9a-fA-F]{8}")
ADDRESS = re.compile(r"\[\s*([%$\w]+)\s*(?:\+\s*(-?\w+))?\s*\]")


def find_type(name: str) -> type:
    """The numpy type of a PTX type; PtxError for what is left out."""
    if name not in TYPES:
        raise PtxError(f"there are no registers of type .{name} here: integers only, and f32")
    return TYPES[name]


class Registers:
    """All registers of one block, by name, and what operands mean in it."""

    def __init__(
        self,
        program: Program,
        threads: int,
        block: int,
        blocks: int,
        shared: int,
        errors: Callable[[tuple[int, ...]], Array] | None = None,
        seed: int | None = None,
    ) -> None:
        self.program, self.threads, self.errors = program, threads, errors
        self.now = np.zeros(threads, np.uint64)  # what %clock64 reads: instructions issued so far
        self.of: dict[str, Array] = {}
        for name, kind in program.registers.items():
            dtype = np.dtype(find_type(kind))
            plain = "?" if dtype == np.bool_ else f"u{dtype.itemsize}"
            self.of[name] = np.zeros(threads, plain)
        if seed is not None:
            draw_leftovers(self.of.values(), seed)
        thread = np.arange(threads, dtype=np.uint32)
        nothing = np.zeros(threads, np.uint32)
        every = np.ones(threads, np.uint32)
        self.special: dict[str, Array] = {
            "%tid.x": thread,
            "%ntid.x": every * np.uint32(threads),
            "%ctaid.x": every * np.uint32(block),
            "%nctaid.x": every * np.uint32(blocks),
            "%laneid": thread % WARP,
            "%warpid": thread // WARP,
            "%nwarpid": every * np.uint32(threads // WARP),
            "%dynamic_smem_size": every * np.uint32(shared),
            "%clock64": self.now,
        }
        for axis in "yz":
            self.special |= {f"%tid.{axis}": nothing, f"%ctaid.{axis}": nothing}
            self.special |= {f"%ntid.{axis}": every, f"%nctaid.{axis}": every}

    def read(self, operand: str, kind: str) -> Array:
        """A live view of an operand as a type, (threads,), or (1,) for a constant."""
        wanted = np.dtype(find_type(kind))
        register = self.of.get(operand)
        if register is None:
            register = self.special.get(operand)
        if register is not None:
            return self._view(register, wanted, operand)
        if wanted.itemsize == 4 and FLOAT.fullmatch(operand):
            return np.array([int(operand[2:], 16)], np.uint32).view(wanted)
        if operand in self.program.shared:
            return np.array([self.program.shared[operand]], wanted)
        try:
            number = int(operand.rstrip("U"), 0)
        except ValueError:
            raise PtxError(f"{operand} is no register, symbol or integer") from None
        if wanted == np.bool_:
            return np.array([number != 0])
        bits = 8 * wanted.itemsize
        unsigned = np.array([number % (1 << bits)], f"u{wanted.itemsize}")
        return unsigned.view(wanted)

    def _view(self, register: Array, wanted: np.dtype, operand: str) -> Array:
        have = register.dtype
        if (have == np.bool_) != (wanted == np.bool_) or have.itemsize < wanted.itemsize:
            raise PtxError(f"{operand} is {have}, the instruction takes {wanted}")
        if have.itemsize == wanted.itemsize:
            return register.view(wanted)
        return register.view(wanted)[:: have.itemsize // wanted.itemsize]

    def write(self, operand: str, kind: str) -> Array:
        """A live view that a result of a type is assigned to."""
        register = self.of.get(operand)
        if operand == "_":
            return np.zeros(self.threads, find_type(kind))
        if register is None:
            raise PtxError(f"{operand} is no register")
        wanted = np.dtype(find_type(kind))
        if wanted == np.bool_ or register.dtype == np.bool_:
            return self._view(register, wanted, operand)
        if register.itemsize < wanted.itemsize:
            raise PtxError(f"{operand} is too narrow for .{kind}")
        return register.view(f"{'i' if wanted.kind == 'i' else 'u'}{register.itemsize}")

    def address(self, operand: str) -> tuple[Array, int]:
        """Base and offset of [base+offset]."""
        found = ADDRESS.fullmatch(operand)
        if not found:
            raise PtxError(f"{operand} is no address")
        base, offset = found[1], int(found[2] or "0", 0)
        width = "u64"
        if base in self.of and self.of[base].itemsize == 4:
            width = "u32"
        return self.read(base, width), offset

    @staticmethod
    def names(operand: str) -> list[str]:
        """The registers of {a, b}, or of one operand."""
        return LIST.findall(operand)


def draw_leftovers(registers: Iterable[Array], seed: int) -> None:
    """What registers hold before anything is written to them: anything; but words are floats from
    one half to two, since idle threads take part in sums and quotients that nobody keeps."""
    random = np.random.default_rng(seed)
    for register in registers:
        match register.dtype.itemsize:
            case 1:
                register[:] = random.integers(0, 2, len(register))
            case 4:
                register[:] = random.integers(0x3F000000, 0x40000000, len(register))
            case size:
                register[:] = random.integers(0, 1 << 8 * size - 1, len(register))


def assign(target: Array, value: Array, lanes: Array | None) -> None:
    """A result to the active threads' registers."""
    if lanes is None:
        target[...] = value
    else:
        np.copyto(target, value, where=lanes, casting="unsafe")
