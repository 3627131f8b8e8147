"""matvec on the tensor cores: 16 rows by 32 columns of int8 weights at a time.

One mma multiplies a tile by eight columns, and a vector has only one; so the columns carry its
high bytes and its low bytes in turn, and every lane gets sums of both for two rows of the tile:

    x = 256 * high + low + 128        bytes with sign: low is the low byte with its top bit flipped
    W x = (W high << 8) + W low + 128 * (sum of W's row)

which is exact modulo 2**32.  The last term is part of the bias.  Lane 4 g + p keeps row 8 p + g of
two tiles, its `slot` (of one tile, the slot's low four bits), so that a warp holds 32 rows, a row
a lane.  A vector of 8 bits needs no second plane.

Bytes lie as the lanes read them: blocks of 64 features, all the high bytes and then all the low
ones; in a block lane p takes 16 neighbours, which are its words of two tiles.  A vector of up to 32
features is one block of half the size.  pack_tiles puts a matrix's columns in that order.

Source: PTX ISA 9.0, section 9.7.15: fragments of mma.m16n8k32.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array

ROWS, COLUMNS = 16, 32
TILE_BYTES = ROWS * COLUMNS
BLOCK = 2 * COLUMNS  # features
LANE_WORDS = 4  # of a tile


def count_tiles(columns: int) -> int:
    return -(-columns // COLUMNS)


def pack_tiles(weight: Array) -> Array:
    """(rows, columns) int8 -> (row tiles, column tiles, TILE_BYTES): 16 bytes a lane."""
    rows, columns = weight.shape
    n_rows, n_columns = -(-rows // ROWS), count_tiles(columns)
    width = COLUMNS if n_columns == 1 else -(-n_columns // 2) * BLOCK
    filled = np.zeros((n_rows * ROWS, width), np.int8)
    filled[:rows, :columns] = weight
    lane, word, byte = np.ix_(np.arange(32), np.arange(LANE_WORDS), np.arange(4))
    group, place = lane // 4, lane % 4
    row = group + ROWS // 2 * (word % 2)
    tiles = np.zeros((n_rows, n_columns, TILE_BYTES), np.int8)
    for t in range(n_columns):
        if n_columns == 1:
            column = 8 * place + 4 * (word // 2) + byte
        else:
            column = BLOCK * (t // 2) + 16 * place + 8 * (t % 2) + 4 * (word // 2) + byte
        for r in range(n_rows):
            tiles[r, t] = filled[ROWS * r + row, column].ravel()
    return tiles


def low_plane(columns: int) -> int:
    """How far a low byte lies behind its high byte."""
    return COLUMNS if columns <= COLUMNS else BLOCK


def plane_bytes(columns: int, bits: int) -> int:
    """Room for the planes of a vector; a block more may be read, and meets zeros."""
    if columns <= COLUMNS:
        return COLUMNS * bits // 8
    return (-(-columns // BLOCK) + 1) * BLOCK * bits // 8


def plane_at(group: int, columns: int, bits: int) -> int:
    """Where the high bytes of features 32 * group .. lie."""
    if columns <= COLUMNS:
        return 0
    return group // 2 * BLOCK * bits // 8 + group % 2 * COLUMNS


def plane_text(feature: str, columns: int, bits: int) -> str:
    """The text of where a feature's high byte lies."""
    if columns <= COLUMNS or bits == 8:
        return feature
    return f"add32(shl32(sar32({feature}, 6), 7), and32({feature}, {BLOCK - 1}))"


def store_planes(values: list[str], at: str, columns: int, bits: int) -> list[str]:
    """The bytes of one, two or four neighbours to where the first one's high byte belongs."""
    width = 8 * len(values)
    if bits == 8:
        return [f"store{width}(sm, {at}, {_joined(values, 0)})"]
    flipped = sum(128 << 8 * i for i in range(len(values))) - (1 << 32) * (len(values) == 4)
    high = _joined(values, 1) if len(values) > 1 else f"sar32({values[0]}, 8)"
    return [
        f"store{width}(sm, {at}, {high})",
        f"store{width}(sm, add32({at}, {low_plane(columns)}), "
        f"xor32({_joined(values, 0)}, {flipped}))",
    ]


def _joined(values: list[str], byte: int) -> str:
    """The text of one byte of each, side by side."""
    if len(values) == 1:
        return values[0]
    if len(values) == 2:
        return f"prmt({values[0]}, {values[1]}, {byte | byte + 4 << 4})"
    return f"prmt({_joined(values[:2], byte)}, {_joined(values[2:], byte)}, {0x5410})"


def fragment_offsets(bits: int) -> dict[str, str]:
    """Where a lane's words of two tiles start in a block, and of a lone tile: variables' texts."""
    plane = f" + {BLOCK} * (lane >> 2 & 1)" if bits == 16 else ""
    alone = f" + {COLUMNS} * (lane >> 2 & 1)" if bits == 16 else ""
    return {
        f"pair{bits}": f"int32(16 * (lane & 3){plane})",
        f"lone{bits}": f"int32(8 * (lane & 3){alone})",
    }


def load_fragments(
    base: str, first: str, count: int, columns: int, bits: int, name: str
) -> tuple[list[str], list[tuple[str, str]]]:
    """Lines, and the two words of each of `count` tiles from tile `first` on.

    base   the planes' offset     first  0, or the text of a number that is not known here
    """
    block = BLOCK * bits // 8
    if columns <= COLUMNS:
        return [f"{name} = load64(sm, add32({base}, lone{bits}))"], [(f"{name}[0]", f"{name}[1]")]
    lines, words = [], []
    if first != "0":
        for t in range(count):
            tile = f"add32({first}, {t})" if t else first
            whole = f"shl32(sar32({tile}, 1), {block.bit_length() - 1})"
            at = f"add32({whole}, shl32(and32({tile}, 1), 3))"
            lines.append(f"{name}{t} = load64(sm, add32(add32({base}, pair{bits}), {at}))")
            words.append((f"{name}{t}[0]", f"{name}{t}[1]"))
        return lines, words
    for b in range(-(-count // 2)):
        lines.append(f"{name}{b} = load128(sm, add32(add32({base}, pair{bits}), {block * b}))")
        words += [(f"{name}{b}[0]", f"{name}{b}[1]"), (f"{name}{b}[2]", f"{name}{b}[3]")]
    return lines, words[:count]


def multiply_tiles(
    tiles: list[str], words: list[tuple[str, str]], name: str, chains: int = 2
) -> tuple[list[str], list[str]]:
    """A row tile times a vector: lines, and the four sums of a lane.

    Two chains of mma that do not wait for each other, added at the end.
    """
    chains = min(chains, len(tiles))
    lines = []
    for i, (tile, (low, high)) in enumerate(zip(tiles, words, strict=True)):
        mine = f"{name}{i % chains}"
        start = "0, 0, 0, 0" if i < chains else ", ".join(f"{mine}[{j}]" for j in range(4))
        parts = ", ".join(f"{tile}[{j}]" for j in range(4))
        lines.append(f"{mine} = mma_s8({parts}, {low}, {high}, {start})")
    sums = [f"{name}0[{j}]" for j in range(4)]
    for chain in range(1, chains):
        sums = [f"add32({text}, {name}{chain}[{j}])" for j, text in enumerate(sums)]
    return lines, sums


def gather_rows(
    sums: list[list[str]], bits: int, offset: str, name: str, whole: bool
) -> list[str]:
    """The sum of a lane's own row, from the sums of one or two tiles, plus an offset.

    whole  32 rows are wanted: where there is one tile only, the others are 0
    """

    def mine(part: int) -> str:
        rows = [f"select(odd, {tile[part + 2]}, {tile[part]})" for tile in sums]
        if len(rows) == 2:
            return f"select(upper, {rows[1]}, {rows[0]})"
        return f"select(upper, 0, {rows[0]})" if whole else rows[0]

    if bits == 8:
        return [f"{name} = add32({mine(0)}, {offset})"]
    return [f"{name} = add32(shl32({mine(0)}, 8), add32({mine(1)}, {offset}))"]


def full_bias(weight: Array, bias: Array, bits: int) -> Array:
    """The bias with what the planes leave out."""
    return bias + 128 * weight.astype(np.int64).sum(1) if bits == 16 else bias
