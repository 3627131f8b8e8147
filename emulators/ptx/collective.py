"""What a warp does together: redux, shfl, vote, and the tensor cores' mma.

All 32 threads must be there: a warp that has diverged is an error, its result being undefined.
To add one: a function that gives a step, and a line in COLLECTIVES.
Source: PTX ISA 9.0, sections 9.7.9 (shfl.sync), 9.7.13 (redux.sync, vote.sync), 9.7.15 (mma:
the fragments of m16n8k32).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anachron.emulators.ptx.isa import Step
from anachron.emulators.ptx.memory import WARP
from anachron.emulators.ptx.registers import Array, Registers, assign
from anachron.emulators.ptx.syntax import Instruction, PtxError

EVERYONE = 0xFFFFFFFF


def check_together(lanes: Array | None, instruction: Instruction) -> None:
    """Each warp is there with all its threads, or not at all."""
    if lanes is not None:
        present = lanes.reshape(-1, WARP)
        if (present.any(1) & ~present.all(1)).any():
            raise PtxError(f"{instruction}: a warp has diverged, not all its threads are here")


def _check_members(mask: Array, lanes: Array | None, instruction: Instruction) -> None:
    active = mask if len(mask) == 1 or lanes is None else mask[lanes]
    if (active != EVERYONE).any():
        raise PtxError(f"{instruction}: only whole warps are known, its mask is {active[0]:#x}")


def bind_reduce(instruction: Instruction, registers: Registers) -> Step:
    """redux.sync: one number from a warp's 32, for all of them."""
    kind, name = instruction.type, instruction.parts[2]
    target = registers.write(instruction.operands[0], kind)
    source = registers.read(instruction.operands[1], kind)
    members = registers.read(instruction.operands[2], "u32")
    reduce: Callable[..., Array] = {
        **{"add": np.add.reduce, "min": np.minimum.reduce, "max": np.maximum.reduce},
        **{"and": np.bitwise_and.reduce, "or": np.bitwise_or.reduce, "xor": np.bitwise_xor.reduce},
    }[name]

    def step(lanes: Array | None) -> None:
        check_together(lanes, instruction)
        _check_members(members, lanes, instruction)
        rows = np.broadcast_to(source, (registers.threads,)).reshape(-1, WARP)
        result = reduce(rows, axis=1).astype(source.dtype)
        assign(target, np.repeat(result, WARP), lanes)

    return step


def bind_shuffle(instruction: Instruction, registers: Registers) -> Step:
    """shfl.sync: a number from another lane; one's own where that lane does not exist."""
    mode = instruction.parts[2]
    names = instruction.operands[0].split("|")
    target = registers.write(names[0], "b32")
    source, amount, clamp, members = (
        registers.read(operand, "u32") for operand in instruction.operands[1:]
    )
    lane = np.arange(WARP)

    def step(lanes: Array | None) -> None:
        check_together(lanes, instruction)
        _check_members(members, lanes, instruction)
        rows, by, bound = (
            np.broadcast_to(part, (registers.threads,)).reshape(-1, WARP).astype(np.int64)
            for part in (source, amount & np.uint32(31), clamp)
        )
        segment = bound >> 8 & 31
        last = lane & segment | bound & 31 & ~segment
        match mode:
            case "up":
                other = lane - by
                exists = other >= last
            case "down":
                other = lane + by
                exists = other <= last
            case "bfly":
                other = lane ^ by
                exists = other <= last
            case "idx":
                other = lane & segment | by & ~segment
                exists = other <= last
        other = np.where(exists, other, lane)
        assign(target, np.take_along_axis(rows, other, 1).ravel().astype(np.uint32), lanes)
        if len(names) > 1:
            assign(registers.write(names[1], "pred"), exists.ravel(), lanes)

    if mode not in ("up", "down", "bfly", "idx"):
        raise PtxError(f"{instruction}: there is no shuffle {mode}")
    return step


def bind_vote(instruction: Instruction, registers: Registers) -> Step:
    """vote.sync: all, any, or the ballot of a predicate."""
    mode = instruction.parts[2]
    if mode not in ("all", "any", "ballot"):
        raise PtxError(f"{instruction}: there is no vote {mode}")
    target = registers.write(instruction.operands[0], "b32" if mode == "ballot" else "pred")
    asked = instruction.operands[1]
    source = registers.read(asked.lstrip("!"), "pred")
    members = registers.read(instruction.operands[2], "u32")

    def step(lanes: Array | None) -> None:
        check_together(lanes, instruction)
        _check_members(members, lanes, instruction)
        rows = np.broadcast_to(source, (registers.threads,)).reshape(-1, WARP)
        rows = rows ^ asked.startswith("!")
        match mode:
            case "all":
                result = rows.all(1)
            case "any":
                result = rows.any(1)
            case _:
                result = (rows.astype(np.uint64) << np.arange(WARP, dtype=np.uint64)).sum(1)
        assign(target, np.repeat(result, WARP).astype(target.dtype), lanes)

    return step


def bind_matrix(instruction: Instruction, registers: Registers) -> Step:
    """mma.m16n8k32, or its quarter m8n8k16: D = A B + C, bytes into 32 bits, a piece in each lane.

    With group = lane / 4 and place = lane % 4, a lane's A registers are rows group, group + 8 of
    columns 4 place .., and again 16 columns on; its B registers column group of the same rows;
    its C and D registers rows group, group + 8, columns 2 place, 2 place + 1.  Of the quarter, the
    first of these registers, which have the same places.
    """
    *shape, d_kind, a_kind, b_kind, c_kind = instruction.parts[1:]
    size = shape[2] if len(shape) > 2 else ""
    wrapping = shape == ["sync", "aligned", size, "row", "col"] and size in ("m16n8k32", "m8n8k16")
    kinds = a_kind in ("s8", "u8") and b_kind in ("s8", "u8")
    if not (wrapping and kinds and d_kind == c_kind == "s32"):
        raise PtxError(f"{instruction}: only m16n8k32 and m8n8k16 of bytes, wrapping, are known")
    d, a, b, c = (registers.names(operand) for operand in instruction.operands)
    wanted = [4, 4, 2, 4] if size == "m16n8k32" else [2, 1, 1, 2]
    if [len(names) for names in (d, a, b, c)] != wanted:
        raise PtxError(f"{instruction}: {size} has other operands")
    targets = [registers.write(name, "s32") for name in d]
    a_words, b_words = ([registers.read(n, "b32") for n in names] for names in (a, b))
    c_words = [registers.read(name, "s32") for name in c]
    group, place = np.arange(WARP) // 4, np.arange(WARP) % 4

    def bytes_of(word: Array, kind: str) -> Array:
        whole = np.ascontiguousarray(np.broadcast_to(word, (registers.threads,)))
        return whole.view("i1" if kind == "s8" else "u1").reshape(-1, WARP, 4).astype(np.int64)

    def step(lanes: Array | None) -> None:
        check_together(lanes, instruction)
        warps = registers.threads // WARP
        left, right = np.zeros((warps, 16, 32), np.int64), np.zeros((warps, 32, 8), np.int64)
        for i, word in enumerate(a_words):
            for k in range(4):
                column = 4 * place + k + 16 * (i >> 1)
                left[:, group + 8 * (i & 1), column] = bytes_of(word, a_kind)[:, :, k]
        for i, word in enumerate(b_words):
            for k in range(4):
                right[:, 4 * place + k + 16 * i, group] = bytes_of(word, b_kind)[:, :, k]
        product = left @ right
        results = []
        for i, word in enumerate(c_words):
            mine = product[:, group + 8 * (i >> 1), 2 * place + (i & 1)].ravel()
            results.append((mine + word).astype(np.int32))
        for target, result in zip(targets, results, strict=True):
            assign(target, result, lanes)

    return step


COLLECTIVES = {"redux": bind_reduce, "shfl": bind_shuffle, "vote": bind_vote, "mma": bind_matrix}
