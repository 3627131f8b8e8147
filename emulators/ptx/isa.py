"""The opcodes: one row each, the meaning of an instruction on the registers of a block.

A row takes an instruction apart once (`bind`), and gives a step: a function of the active threads
(None for all) that runs it.  Integers wrap as the types say; division by zero, which the manual
leaves open, is an error.

To add an opcode: a function of (instruction, registers) that gives a step, and a line in OPCODES;
a plain function of operands only needs a line in PLAIN.
Source: PTX ISA 9.0, sections 9.7.1 (integers), 9.7.6 (comparison), 9.7.8 (logic), 9.7.9 (moves);
section numbers as read from memory of version 8: unverified.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from anachron.emulators.ptx.registers import Array, Registers, assign, find_type
from anachron.emulators.ptx.syntax import Instruction, PtxError

Step = Callable[[Array | None], None]


# ---- plain functions: result type = operand type = the opcode's last part


def divide(a: Array, b: Array) -> Array:
    """Toward zero."""
    if not b.all():
        raise PtxError("a division by zero")
    if a.dtype.kind == "u":
        return a // b
    unsigned = f"u{a.dtype.itemsize}"
    quotient = (np.abs(a).view(unsigned) // np.abs(b).view(unsigned)).view(a.dtype)
    return np.where((a < 0) != (b < 0), -quotient, quotient)


def remainder(a: Array, b: Array) -> Array:
    """With the sign of the dividend."""
    return a - divide(a, b) * b


def shift_left(a: Array, count: Array) -> Array:
    """Counts at and above the width give 0."""
    width = 8 * a.dtype.itemsize
    moved = a << np.minimum(count, width - 1).astype(a.dtype)
    return np.where(count >= width, a.dtype.type(0), moved)


def shift_right(a: Array, count: Array) -> Array:
    """Counts at and above the width give 0, or the sign."""
    width = 8 * a.dtype.itemsize
    moved = a >> np.minimum(count, width - 1).astype(a.dtype)
    return moved if a.dtype.kind == "i" else np.where(count >= width, a.dtype.type(0), moved)


def high_half(a: Array, b: Array) -> Array:
    """The upper half of the product."""
    if a.dtype.itemsize < 8:
        wide = np.int64 if a.dtype.kind == "i" else np.uint64
        bits = wide(8 * a.dtype.itemsize)
        return (a.astype(wide) * b.astype(wide) >> bits).astype(a.dtype)
    unsigned_a, unsigned_b = a.view(np.uint64), b.view(np.uint64)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = unsigned_a & low, unsigned_a >> half, unsigned_b & low, unsigned_b >> half
    middle = a1 * b0 + (a0 * b0 >> half)
    high = a1 * b1 + (middle >> half) + ((middle & low) + a0 * b1 >> half)
    if a.dtype.kind == "i":
        high -= np.where(a < 0, unsigned_b, np.uint64(0))
        high -= np.where(b < 0, unsigned_a, np.uint64(0))
    return high.view(a.dtype)


def count_leading_zeros(a: Array) -> Array:
    width = 8 * a.dtype.itemsize
    bits = a[:, None] >> np.arange(width, dtype=a.dtype)[::-1] & a.dtype.type(1)
    return np.where(a == 0, width, bits.argmax(1)).astype(np.uint32)


def reverse_bits(a: Array) -> Array:
    whole = np.ascontiguousarray(a).view(np.uint8).reshape(len(a), -1)[:, ::-1]
    return np.packbits(np.unpackbits(whole, axis=1, bitorder="little"), axis=1).view(a.dtype)[:, 0]


PLAIN: dict[str, tuple[int, Callable[..., Array]]] = {  # opcode -> (operands, meaning)
    "add": (2, np.add),
    "sub": (2, np.subtract),
    "mul.lo": (2, np.multiply),
    "mul.hi": (2, high_half),
    "mad.lo": (3, lambda a, b, c: a * b + c),
    "mad.hi": (3, lambda a, b, c: high_half(a, b) + c),
    "div": (2, divide),
    "rem": (2, remainder),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "abs": (1, np.abs),
    "neg": (1, np.negative),
    "and": (2, np.bitwise_and),
    "or": (2, np.bitwise_or),
    "xor": (2, np.bitwise_xor),
    "not": (1, np.invert),
    "brev": (1, reverse_bits),
}
COMPARISONS = {
    **{"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal},
    **{"gt": np.greater, "ge": np.greater_equal},
    **{"lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal},
}
COMBINATIONS = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def bind_plain(instruction: Instruction, registers: Registers) -> Step:
    parts = instruction.parts
    name = ".".join(parts[:2]) if ".".join(parts[:2]) in PLAIN else parts[0]
    if len(parts) != name.count(".") + 2:
        raise PtxError(f"{instruction}: its modifiers are not known")
    count, meaning = PLAIN[name]
    target = registers.write(instruction.operands[0], instruction.type)
    sources = [registers.read(operand, instruction.type) for operand in instruction.operands[1:]]
    if len(sources) != count:
        raise PtxError(f"{instruction}: it takes {count} operands")
    if parts[0] not in ("div", "rem"):
        return lambda lanes: assign(target, meaning(*sources), lanes)
    one = target.dtype.type(1)

    def step(lanes: Array | None) -> None:
        a, b = np.broadcast_arrays(*sources, subok=False)
        divisor = b if lanes is None else np.where(lanes, b, one)  # idle threads divide by 1
        assign(target, meaning(np.ascontiguousarray(a), divisor.copy()), lanes)

    return step


def bind_wide(instruction: Instruction, registers: Registers) -> Step:
    """mul.wide, mad.wide: the whole product, of twice the width."""
    kind = instruction.type
    double = f"{kind[0]}{2 * int(kind[1:])}"
    wide = find_type(double)
    target = registers.write(instruction.operands[0], double)
    a, b = (registers.read(operand, kind) for operand in instruction.operands[1:3])
    if instruction.parts[0] == "mul":
        return lambda lanes: assign(target, a.astype(wide) * b.astype(wide), lanes)
    c = registers.read(instruction.operands[3], double)
    return lambda lanes: assign(target, a.astype(wide) * b.astype(wide) + c, lanes)


def bind_shift(instruction: Instruction, registers: Registers) -> Step:
    kind = instruction.type
    meaning = shift_left if instruction.parts[0] == "shl" else shift_right
    target = registers.write(instruction.operands[0], kind)
    a, count = registers.read(instruction.operands[1], kind), registers.read(
        instruction.operands[2], "u32"
    )
    return lambda lanes: assign(target, meaning(a, count), lanes)


def bind_compare(instruction: Instruction, registers: Registers) -> Step:
    parts = instruction.parts
    compare = COMPARISONS[parts[1]]
    target = registers.write(instruction.operands[0], "pred")
    a, b = (registers.read(operand, instruction.type) for operand in instruction.operands[1:3])
    if len(parts) == 3:
        return lambda lanes: assign(target, compare(a, b), lanes)
    combine, third = COMBINATIONS[parts[2]], registers.read(instruction.operands[3], "pred")
    return lambda lanes: assign(target, combine(compare(a, b), third), lanes)


def bind_select(instruction: Instruction, registers: Registers) -> Step:
    target = registers.write(instruction.operands[0], instruction.type)
    a, b = (registers.read(operand, instruction.type) for operand in instruction.operands[1:3])
    chosen = registers.read(instruction.operands[3], "pred")
    return lambda lanes: assign(target, np.where(chosen, a, b), lanes)


def bind_move(instruction: Instruction, registers: Registers) -> Step:
    """mov of a number, and of a pair of halves to or from a whole."""
    kind = instruction.type
    to, source = instruction.operands
    if source.startswith("{"):
        target = registers.write(to, kind)
        names = registers.names(source)
        bits = 8 * target.itemsize // len(names)
        parts = [registers.read(name, f"u{bits}") for name in names]

        def join(lanes: Array | None) -> None:
            whole = np.zeros(registers.threads, target.dtype)
            for i, part in enumerate(parts):
                whole |= part.astype(target.dtype) << target.dtype.type(bits * i)
            assign(target, whole, lanes)

        return join
    whole = registers.read(source, kind)
    if not to.startswith("{"):
        target = registers.write(to, kind)
        return lambda lanes: assign(target, whole, lanes)
    names = registers.names(to)
    bits = 8 * whole.itemsize // len(names)
    targets = [registers.write(name, f"u{bits}") for name in names]

    def split(lanes: Array | None) -> None:
        pieces = [(whole >> whole.dtype.type(bits * i)).astype(f"u{bits // 8}")
                  for i in range(len(targets))]
        for part, piece in zip(targets, pieces, strict=True):
            assign(part, piece, lanes)

    return split


def bind_convert(instruction: Instruction, registers: Registers) -> Step:
    """cvt between integers, with .sat clipped to what the result can hold."""
    *modifiers, to, kind = instruction.parts[1:]
    if modifiers not in ([], ["sat"]):
        raise PtxError(f"{instruction}: only .sat is known")
    target = registers.write(instruction.operands[0], to)
    source, result = registers.read(instruction.operands[1], kind), find_type(to)
    if not modifiers:
        return lambda lanes: assign(target, source.astype(result), lanes)
    info, have = np.iinfo(result), np.iinfo(find_type(kind))
    lo, hi = max(int(info.min), int(have.min)), min(int(info.max), int(have.max))
    return lambda lanes: assign(target, np.clip(source, lo, hi).astype(result), lanes)


def bind_extract(instruction: Instruction, registers: Registers) -> Step:
    """bfe: a field of bits, extended by its topmost one inside the register if the type has a sign.

    Bits beyond the register are that sign, or 0; so are all of a field of length 0.
    """
    kind = instruction.type
    target = registers.write(instruction.operands[0], kind)
    a = registers.read(instruction.operands[1], kind)
    at, length = (registers.read(operand, "u32") for operand in instruction.operands[2:])
    bits = 8 * a.itemsize

    def step(lanes: Array | None) -> None:
        first, count = at & 0xFF, length & 0xFF
        most = np.minimum(first + count, bits)
        up, inside = bits - most, first < most
        down = np.where(inside, up + first, 0).astype(a.dtype)
        moved = shift_left(a, np.where(inside, up, 0)) >> down
        beyond = a >> a.dtype.type(bits - 1) if kind[0] == "s" else a.dtype.type(0)
        assign(target, np.where(inside, moved, np.where(count == 0, 0, beyond)), lanes)

    return step


def bind_insert(instruction: Instruction, registers: Registers) -> Step:
    """bfi: a's low bits into a field of b; what lies beyond the register is lost."""
    kind = instruction.type
    target = registers.write(instruction.operands[0], kind)
    a, b = (registers.read(operand, kind) for operand in instruction.operands[1:3])
    at, length = (registers.read(operand, "u32") for operand in instruction.operands[3:])
    one = a.dtype.type(1)

    def step(lanes: Array | None) -> None:
        first = at & 0xFF
        inside = shift_left(shift_left(one, length & 0xFF) - one, first)
        assign(target, b & ~inside | shift_left(a, first) & inside, lanes)

    return step


def bind_permute(instruction: Instruction, registers: Registers) -> Step:
    """prmt: any four of eight bytes; bit 3 of a selector spreads the byte's sign."""
    if instruction.opcode != "prmt.b32":
        raise PtxError(f"{instruction}: only the plain form is known")
    target = registers.write(instruction.operands[0], "b32")
    a, b, select = (registers.read(operand, "b32") for operand in instruction.operands[1:])

    def step(lanes: Array | None) -> None:
        eight = a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32)
        result = np.zeros(registers.threads, np.uint32)
        for i in range(4):
            choice = select >> np.uint32(4 * i) & np.uint32(15)
            byte = (eight >> (choice & np.uint32(7)).astype(np.uint64) * np.uint64(8)).astype("u1")
            byte = np.where(choice & np.uint32(8), -(byte >> 7), byte).astype(np.uint8)
            result |= byte.astype(np.uint32) << np.uint32(8 * i)
        assign(target, result, lanes)

    return step


def bind_count(instruction: Instruction, registers: Registers) -> Step:
    """popc, clz: the result has 32 bits."""
    target = registers.write(instruction.operands[0], "u32")
    a = registers.read(instruction.operands[1], instruction.type)
    meaning = np.bitwise_count if instruction.parts[0] == "popc" else count_leading_zeros
    return lambda lanes: assign(target, meaning(a), lanes)


def bind_logic(instruction: Instruction, registers: Registers) -> Step:
    """lop3: any function of three bits, by its truth table."""
    target = registers.write(instruction.operands[0], "b32")
    a, b, c = (registers.read(operand, "b32") for operand in instruction.operands[1:4])
    table = int(instruction.operands[4], 0)

    def step(lanes: Array | None) -> None:
        result = np.zeros(registers.threads, np.uint32)
        for row in range(8):
            if table >> row & 1:
                result |= (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
        assign(target, result, lanes)

    return step


def bind_funnel(instruction: Instruction, registers: Registers) -> Step:
    """shf: a shift of 64 bits, of which 32 are kept."""
    _, side, mode, _ = instruction.parts
    target = registers.write(instruction.operands[0], "b32")
    low, high, count = (registers.read(operand, "b32") for operand in instruction.operands[1:])
    half = np.uint64(32)

    def step(lanes: Array | None) -> None:
        both = low.astype(np.uint64) | high.astype(np.uint64) << half
        by = (count & 31 if mode == "wrap" else np.minimum(count, 32)).astype(np.uint64)
        moved = both << by >> half if side == "l" else both >> by
        assign(target, moved.astype(np.uint32), lanes)

    return step


def bind_dot(instruction: Instruction, registers: Registers) -> Step:
    """dp4a: four products of bytes; dp2a: two of words by the low or the high pair of bytes."""
    name, *half, a_kind, b_kind = instruction.parts
    target = registers.write(instruction.operands[0], "s32" if "s" in a_kind + b_kind else "u32")
    a, b, c = (registers.read(operand, "b32") for operand in instruction.operands[1:])
    width, first = (1, 0) if name == "dp4a" else (2, 2 * (half == ["hi"]))

    def lanes_of(word: Array, kind: str, size: int) -> Array:
        parts = np.ascontiguousarray(word).view(f"{'i' if kind[0] == 's' else 'u'}{size}")
        return parts.reshape(len(word), -1).astype(np.int64)

    def step(lanes: Array | None) -> None:
        x, y = lanes_of(a, a_kind, width), lanes_of(b, b_kind, 1)
        total = c + (x * y[:, first : first + 4 // width]).sum(1)
        assign(target, total.astype(np.uint32).view(target.dtype), lanes)

    return step


def bind_pack(instruction: Instruction, registers: Registers) -> Step:
    """cvt.pack: two numbers, saturated, in one word; the first one above."""
    if instruction.opcode not in ("cvt.pack.sat.s16.s32", "cvt.pack.sat.u16.s32"):
        raise PtxError(f"{instruction}: only two 16-bit integers are packed")
    target = registers.write(instruction.operands[0], "b32")
    high, low = (registers.read(operand, "s32") for operand in instruction.operands[1:])
    info = np.iinfo(find_type(instruction.parts[3]))

    def step(lanes: Array | None) -> None:
        parts = [np.clip(x, info.min, info.max).astype(np.uint32) & 0xFFFF for x in (high, low)]
        assign(target, parts[0] << np.uint32(16) | parts[1], lanes)

    return step


def bind_halves(instruction: Instruction, registers: Registers) -> Step:
    """add, sub, min, max of both halves of a word."""
    name, kind = instruction.parts
    meaning = {"add": np.add, "sub": np.subtract, "min": np.minimum, "max": np.maximum}[name]
    target = registers.write(instruction.operands[0], "b32")
    sources = [registers.read(operand, "b32") for operand in instruction.operands[1:]]

    def step(lanes: Array | None) -> None:
        one, two = np.broadcast_arrays(*sources)
        a: Array = np.ascontiguousarray(one).view(find_type(kind[:3]))
        b: Array = np.ascontiguousarray(two).view(find_type(kind[:3]))
        assign(target, np.ascontiguousarray(meaning(a, b)).view(np.uint32), lanes)

    return step


OPCODES: dict[str, Callable[[Instruction, Registers], Step]] = {
    **dict.fromkeys(itertools.chain(n.split(".")[0] for n in PLAIN), bind_plain),
    **{"mul.wide": bind_wide, "mad.wide": bind_wide, "shl": bind_shift, "shr": bind_shift},
    **{"setp": bind_compare, "selp": bind_select, "mov": bind_move, "cvt": bind_convert},
    **{"bfe": bind_extract, "bfi": bind_insert, "prmt": bind_permute, "lop3": bind_logic},
    **{"popc": bind_count, "clz": bind_count, "shf": bind_funnel},
    **{"dp4a": bind_dot, "dp2a": bind_dot, "cvt.pack": bind_pack},
    **{f"{n}.{t}16x2": bind_halves for n in ("add", "sub", "min", "max") for t in "su"},
}
