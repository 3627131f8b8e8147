"""matvec of a stream kernel, in one of three ways.

spread      row tiles are dealt out to the warps, each keeps its rows: what follows element by
            element needs no barrier
repeated    every warp does all tiles, so that the result is in the lanes: for small matrices, whose
            few products cost less than a barrier
collected   as spread, columns dealt out, too; sums go through shared memory to the lanes of all
"""

from __future__ import annotations

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.cuda.stream import SLOT, Stream, Units
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda import tiles
from anachron.kernels.cuda.lanes import masked
from anachron.kernels.cuda.places import WARP, saturated

MOST_REPEATED = 4  # tiles that every warp does for itself
PARTS = (4, 2, 1)  # into which columns are dealt out: words that one load takes


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
    return unit * rows + (SLOT if rows == WARP else SLOT % tiles.ROWS)


def multiply_unit(
    s: Stream, packed: Array, units: list[int], rows: int, bits: int,
    words: list[tuple[str, str]], label: str,
) -> list[list[str]]:  # fmt: skip
    """Each warp its unit's tiles times a vector: a lane's sums of each row tile.

    packed  (row tiles, column tiles, TILE_BYTES)     units  of each warp
    """
    n_rows, n_columns = packed.shape[:2]
    names: list[list[str]] = []
    for t in range(rows // tiles.ROWS):
        numbers = [unit * rows // tiles.ROWS + t for unit in units]
        work = sum(number < n_rows for number in numbers)
        if not work:
            continue
        blank = np.zeros(tiles.TILE_BYTES, np.int8)
        names.append(
            [
                s.tile(
                    np.array([packed[n, k] if n < n_rows else blank for n in numbers]), label, work
                )
                for k in range(n_columns)
            ]
        )
    s.load_tiles([name for row in names for name in row])
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
        sums = multiply_unit(s, packed, mine, rows, bits, words, op.name)
        index = np.array([row_of_unit(unit, rows) for unit in mine])
        inside = index < size
        index = np.minimum(index, size - 1)
        offset = s.word(np.where(inside, bias[index], 0))
        by = s.word(np.where(inside, shift[index], shift[0]))
        s.emit(*tiles.gather_rows(sums, bits, offset, "total", whole=False))
        s.emit(f"{register} = {saturated(f'sar32(total, {by})', op.value.format.bits)}")


def repeated(s: Stream, op: Op) -> None:
    """The result is in the lanes."""
    weight, bias, shift, bits = constants_of(s, op)
    packed = tiles.pack_tiles(weight)
    words = s.fragments(op.inputs[0])
    s.lanes[op.name] = s.lane_registers(op.name)
    for i, register in enumerate(s.lanes[op.name]):
        sums = multiply_unit(s, packed, [i] * s.warps, WARP, bits, words, op.name)
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
            content, work = [], 0
            for job in jobs:
                row, part = job % n_rows, job // n_rows
                real = part < parts and k < counts[part]
                work += real
                content.append(packed[row, starts[part] + k] if real else blank)
            names.append(s.tile(np.array(content), op.name, work))
        s.load_tiles(names)
        lines, sums = tiles.multiply_tiles(names, words, f"d{len(s.tiles)}_")
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
    s.reads(f"sums of {op.name}")
    s.lanes[op.name] = s.lane_registers(op.name)
    for i, register in enumerate(s.lanes[op.name]):
        at = f"add32(mul32(slot, {4 * parts}), @A{thing}@ + {4 * parts * WARP * i})"
        if parts == 1:
            s.emit(f"total = load32(sm, {at})")
        else:
            s.emit(f"sums = load{32 * parts}(sm, {at})")
            text = "sums[0]"
            for part in range(1, parts):
                text = f"add32({text}, sums[{part}])"
            s.emit(f"total = {text}")
        total = f"add32(total, {s.lane_words(bias, i)})"
        value = f"sar32({total}, {s.lane_words(shift, i, int(shift[0]))})"
        value = saturated(value, op.value.format.bits)
        s.emit(f"{register} = {masked(value, i, size)}")
