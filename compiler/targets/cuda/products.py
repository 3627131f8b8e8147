"""matvec of a stream kernel, in one of four ways.

spread      row tiles are dealt out to the warps, each keeps its rows: what follows element by
            element needs no barrier
paired      spread, of two matrices that are multiplied element by element afterwards: 24 rows of
            each are three tiles
repeated    every warp does all tiles, so that the result is in the lanes: for small matrices, whose
            few products cost less than a barrier
collected   as spread, columns dealt out, too; sums go through shared memory to the lanes of all
"""

from __future__ import annotations

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.cuda.constants import load_early, offsets_and_shifts
from anachron.compiler.targets.cuda.stream import Stream, Units, pick_lanes
from anachron.compiler.targets.cuda.windows import (
    EARLY,
    find_window,
    load_tiles,
    open_window,
)
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda import tiles
from anachron.kernels.cuda.lanes import SLOT, element_index, masked, together
from anachron.kernels.cuda.places import WARP, saturated

PAIR_ROWS = 24  # of each of two matrices that share three tiles
MOST_REPEATED = 4  # tiles that every warp does for itself
LOADED = 4  # words that one load takes, at most
PARTS = (4, 2, 1)  # into which columns are dealt out


def constants_of(s: Stream, op: Op) -> tuple[Array, Array, Array, int]:
    """Weight, full bias, shift, and the bits of the vector."""
    weight, shift = op.constants["weight"], op.constants["shift"].astype(np.int64)
    bits = s.bits(op.inputs[0])
    bias = tiles.full_bias(weight, op.constants["bias"].astype(np.int64), bits)
    return weight.astype(np.int8), (bias + (1 << 31)) % (1 << 32) - (1 << 31), shift, bits


def repeats(s: Stream, op: Op) -> bool:
    rows, columns = op.constants["weight"].shape
    return -(-rows // tiles.ROWS) * tiles.count_tiles(columns) <= MOST_REPEATED


def unit_rows(n_tiles: int, warps: int) -> int:
    """Two row tiles a unit where one would not be enough for all warps."""
    return 2 * tiles.ROWS if -(-n_tiles // warps) > 1 else tiles.ROWS


def row_of_unit(unit: int, rows: int) -> Array:
    """The row of each lane."""
    return unit * rows + (SLOT % tiles.ROWS if rows == tiles.ROWS else SLOT)


def multiply_unit(
    s: Stream, packed: Array, units: list[int], rows: int, bits: int,
    words: list[tuple[str, str]], op: Op,
) -> list[list[str]]:  # fmt: skip
    """Each warp its unit's tiles times op's vector: a lane's sums of each row tile.

    packed  (row tiles, column tiles, TILE_BYTES)     units  of each warp
    """
    window = find_window(s, op.inputs[0])
    n_rows, n_columns = packed.shape[:2]
    names: list[list[str]] = []
    count = rows // tiles.ROWS
    for t in range(count):
        numbers = [unit * count + t for unit in units]
        if min(numbers) >= n_rows:
            continue
        blank = np.zeros(tiles.TILE_BYTES, np.int8)
        mine = []
        for k in range(n_columns):
            content = np.array([packed[n, k] if n < n_rows else blank for n in numbers])
            share = (t * n_columns + k) / (count * n_columns) if window else 0.0
            mine.append(s.tile(content, op.name, share))
        names.append(mine)
    load_tiles(s, [name for row in names for name in row], window)
    sums = []
    for t, row in enumerate(names):
        lines, mine = tiles.multiply_tiles(row, words, f"d{len(s.tiles)}_{t}_")
        s.emit(*lines)
        sums.append(mine)
    return sums


def spread(s: Stream, op: Op) -> None:
    """The result stays in units."""
    weight, bias, shift, bits = constants_of(s, op)
    size = op.value.size
    packed = tiles.pack_tiles(weight)
    rows = unit_rows(len(packed), s.warps)
    words = s.fragments(op.inputs[0])
    rounds = -(-size // (rows * s.warps))
    s.units[op.name] = Units(s.registers(op.name, rounds), rows)
    for i, register in enumerate(s.units[op.name].names):
        mine = [warp + s.warps * i for warp in range(s.warps)]
        sums = multiply_unit(s, packed, mine, rows, bits, words, op)
        index = np.array([row_of_unit(unit, rows) for unit in mine])
        inside = index < size
        index = np.minimum(index, size - 1)
        known = np.where(inside, bias[index], 0), np.where(inside, shift[index], shift[0])
        (offset,), (by,) = offsets_and_shifts(s, [known[0]], [known[1]])
        s.emit(*tiles.gather_rows(sums, bits, offset, "total", whole=False))
        s.emit(f"{register} = {saturated(f'sar32(total, {by})', op.value.format.bits)}")


def saves_tiles(s: Stream, op: Op) -> bool:
    """Whether three tiles for 24 rows of two matrices are fewer than each matrix by itself has."""
    tiles_of_one = -(-op.value.size // tiles.ROWS)
    rows = unit_rows(tiles_of_one, s.warps)
    alone = -(-op.value.size // (rows * s.warps)) * rows // tiles.ROWS
    return 3 * -(-op.value.size // (PAIR_ROWS * s.warps)) < 2 * alone


def paired(s: Stream, ops: tuple[Op, Op]) -> None:
    """Two matrices of one vector, of equal shapes; the results stay in units of 24 rows.

    A warp has tiles of the first 16 rows of each, and one of the last 8 of both.
    """
    known = [constants_of(s, op) for op in ops]
    size, bits = ops[0].value.size, known[0][3]
    words = s.fragments(ops[0].inputs[0])
    rounds = -(-size // (PAIR_ROWS * s.warps))
    registers = [s.registers(op.name, rounds) for op in ops]
    for op, names in zip(ops, registers, strict=True):
        s.units[op.name] = Units(names, PAIR_ROWS)
    columns = known[0][0].shape[1]
    for i in range(rounds):
        units = [warp + s.warps * i for warp in range(s.warps)]
        weight = np.zeros((s.warps, 3 * tiles.ROWS, columns), np.int8)
        for which, (matrix, _, _, _) in enumerate(known):
            for warp, unit in enumerate(units):
                mine = matrix[PAIR_ROWS * unit :][:PAIR_ROWS]
                first, rest = mine[: tiles.ROWS], mine[tiles.ROWS :]
                weight[warp, tiles.ROWS * which :][: len(first)] = first
                weight[warp, 2 * tiles.ROWS + tiles.ROWS // 2 * which :][: len(rest)] = rest
        packed = tiles.pack_tiles(weight.reshape(-1, columns))
        numbers = list(range(s.warps))
        sums = multiply_unit(s, packed, numbers, 3 * tiles.ROWS, bits, words, ops[0])
        index = np.array([row_of_unit(unit, PAIR_ROWS) for unit in units])
        inside = (index < size) & (SLOT < PAIR_ROWS)
        index = np.minimum(index, size - 1)
        offsets, shifts = offsets_and_shifts(
            s,
            [np.where(inside, bias[index], 0) for _, bias, _, _ in known],
            [np.where(inside, shift[index], shift[0]) for _, _, shift, _ in known],
        )
        for which, op in enumerate(ops):
            offset, by = offsets[which], shifts[which]
            both = [sums[which], sums[2][2 * which :] + sums[2][: 2 * which]]
            s.emit(*tiles.gather_rows(both, bits, offset, "total", whole=False))
            value = saturated(f"sar32(total, {by})", op.value.format.bits)
            s.emit(f"{registers[which][i]} = {value}")


def repeated(s: Stream, op: Op) -> None:
    """The result is in the lanes."""
    weight, bias, shift, bits = constants_of(s, op)
    s.lanes[op.name] = s.lane_registers(op.name)
    size = op.value.size
    by_slot = np.argsort(SLOT)
    order = [element_index(i, size)[by_slot] for i in range(len(s.lanes[op.name]))]
    filled = np.zeros((WARP * len(order), weight.shape[1]), np.int8)
    filled[:size] = weight
    packed = tiles.pack_tiles(filled[np.concatenate(order)])
    words = s.fragments(op.inputs[0])
    for i, register in enumerate(s.lanes[op.name]):
        sums = multiply_unit(s, packed, [i] * s.warps, WARP, bits, words, op)
        offset = s.lane_words(bias, i)
        by = s.lane_words(shift, i, int(shift[0]))
        s.emit(*tiles.gather_rows(sums, bits, offset, "total", whole=True))
        s.emit(f"{register} = {saturated(f'sar32(total, {by})', op.value.format.bits)}")


def collected(s: Stream, op: Op) -> None:
    """Sums of parts of the columns to shared memory, and from there to the lanes."""
    weight, bias, shift, bits = constants_of(s, op)
    size, columns = op.value.size, weight.shape[1]
    packed = tiles.pack_tiles(weight)
    n_rows, n_columns = packed.shape[:2]
    parts = next(p for p in PARTS if p <= n_columns and p * n_rows <= s.warps or p == 1)
    thing = s.at.buffer(4 * parts * WARP * -(-size // WARP), f"sums of {op.name}")
    short, more = divmod(n_columns, parts)
    count = short + (more > 0)
    starts = [short * part + min(part, more) for part in range(parts)]
    counts = [short + (part < more) for part in range(parts)]
    if parts > 1:
        s.emit(f"part = udiv32(warp, {n_rows})")
        first = f"add32(mul32(part, {short}), min32(part, {more}))" if more else (
            f"mul32(part, {short})"
        )  # fmt: skip
        planes = s.as_planes(op.inputs[0])
        lines, words = tiles.load_fragments(
            planes.base, f"first{s.numbers[op.name]}", count, columns, bits,
            f"y{s.numbers[op.name]}_",
        )  # fmt: skip
        s.emit(f"first{s.numbers[op.name]} = {first}", *lines)
    else:
        words = s.fragments(op.inputs[0])
    for i in range(-(-n_rows * parts // s.warps)):
        jobs = [warp + s.warps * i for warp in range(s.warps)]
        blank = np.zeros(tiles.TILE_BYTES, np.int8)
        names = []
        for k in range(count):
            content = []
            for job in jobs:
                row, part = job % n_rows, job // n_rows
                real = part < parts and k < counts[part]
                content.append(packed[row, starts[part] + k] if real else blank)
            names.append(s.tile(np.array(content), op.name, 0.0))
        load_tiles(s, names, None)
        lines, sums = tiles.multiply_tiles(names, words, f"d{len(s.tiles)}_")
        if i == 0:
            open_window(s, EARLY, words[0][0])
        s.emit(*lines, *tiles.gather_rows([sums], bits, "0", "total", whole=False))
        if i == 0:
            s.writes(f"sums of {op.name}")
        number = f"add32(warp, {s.warps * i})" if i else "warp"
        mine = f"sub32({number}, mul32(part, {n_rows}))" if parts > 1 else number
        at = f"mul32(add32(mul32({mine}, {tiles.ROWS}), and32(slot, 15)), {4 * parts})"
        if parts > 1:
            at = f"add32({at}, shl32(part, 2))"
        bound = f" and {number} < {n_rows * parts}" if s.warps * (i + 1) > n_rows * parts else ""
        s.emit(f"if not upper{bound}:", f"    store32(sm, add32(@A{thing}@, {at}), total)")
    _sum_up(s, op, parts, f"@A{thing}@", bias, shift)


def _sum_up(s: Stream, op: Op, parts: int, at: str, bias: Array, shift: Array) -> None:
    """Sums of parts, (element, part) words, to the lanes, behind a barrier."""
    size = op.value.size
    registers = s.lanes[op.name] = s.lane_registers(op.name)
    width = together(size)
    known = [pick_lanes(bias, i) for i in range(len(registers))]
    by = [pick_lanes(shift, i, int(shift[0])) for i in range(len(registers))]
    offsets, shifts = offsets_and_shifts(s, known, by)
    load_early(s, op)
    s.reads(f"sums of {op.name}")
    each = min(width, LOADED // parts)  # registers of one load
    for i in range(0, len(registers), each):
        first = WARP * width * (i // width) + i % width
        where = f"add32(mul32(slot, {4 * parts * width}), {at} + {4 * parts * first})"
        if parts * each == 1:
            words = [f"load32(sm, {where})"]
        else:
            s.emit(f"sums{i} = load{32 * parts * each}(sm, {where})")
            words = [f"sums{i}[{j}]" for j in range(parts * each)]
        for j in range(each):
            text = words[parts * j]
            for word in words[parts * j + 1 : parts * j + parts]:
                text = f"add32({text}, {word})"
            value = f"sar32(add32({text}, {offsets[i + j]}), {shifts[i + j]})"
            value = masked(saturated(value, op.value.format.bits), i + j, size)
            s.emit(f"{registers[i + j]} = {value}")
