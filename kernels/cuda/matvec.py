"""matvec: a matrix times each position's vector, a thread a row.

Weights lie four columns to a word, and the words of one group of columns side by side for all
rows, so that the lanes of a warp read neighbouring words.  A line of 16 bytes of x meets two
groups of columns (int16: dp2a) or four (int8: dp4a).

Any shape, any range: where sums need 64 bits, and for encoders.  tiles.py is the fast one.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.places import LINE, Place, each_element, indent, saturated

MOST_LINES = 16  # of x in straight-line code


def pack_weight(weight: Array, bits: int) -> bytes:
    """(rows, columns) int8 -> [group of four columns][row][column], filled up to lines of x."""
    rows, columns = weight.shape
    filled = np.zeros((rows, -(-columns * bits // 8 // LINE) * LINE * 8 // bits), np.int8)
    filled[:, :columns] = weight
    return filled.reshape(rows, -1, 4).swapaxes(0, 1).tobytes()


def matvec(
    x: Place,
    weight: Place,
    bias: Place,
    shift: int | Place,
    y: Place,
    *,
    positions: int,
    threads: int,
    wide: bool,
) -> list[str]:
    """saturate((weight @ x + bias) >> shift).

    weight  as pack_weight makes it       bias   int32
    shift   one for all rows, or int8     wide   sums need 64 bits
    """
    if wide:
        return _wide(x, weight, bias, shift, y, positions, threads)
    groups = 2 if x.bits == 16 else 4
    lines = x.row_bytes // LINE
    body = [f"total = {bias.load('f')}"]
    if lines <= MOST_LINES:
        for line in range(lines):
            body += _line(x, weight, y.size, groups, str(line))
    else:
        body += [f"for c in range({lines}):", *indent(_line(x, weight, y.size, groups, "c"))]
    amount = str(shift) if isinstance(shift, int) else shift.load("f")
    body.append(y.store("f", saturated(f"sar32(total, {amount})", y.bits)))
    return each_element(y.size, positions, threads, body)


def _line(x: Place, weight: Place, rows: int, groups: int, line: str) -> list[str]:
    text = [f"line = {x.load_line(line)}"]
    for group in range(groups):
        word = f"load32({weight.memory}, {weight.offset} + 4 * f + {4 * rows} * "
        word += f"({groups} * {line} + {group}))"
        if groups == 4:
            text.append(f"total = dp4a(line[{group}], {word}, total)")
        else:
            text += [
                f"w = {word}",
                f"total = dp2a_lo(line[{2 * group}], w, total)",
                f"total = dp2a_hi(line[{2 * group + 1}], w, total)",
            ]
    return text


def _wide(
    x: Place,
    weight: Place,
    bias: Place,
    shift: int | Place,
    y: Place,
    positions: int,
    threads: int,
) -> list[str]:
    amount = str(shift) if isinstance(shift, int) else shift.load("f")
    body = [
        f"wide = int64({bias.load('f')})",
        f"for c in range({x.size}):",
        f"    at = {weight.offset} + 4 * f + {4 * y.size} * (c >> 2) + (c & 3)",
        f"    wide += int64({x.load('c')}) * int64(load8({weight.memory}, at))",
        y.store("f", saturated(f"wide >> int64({amount})", y.bits, wide=True)),
    ]
    return each_element(y.size, positions, threads, body)
