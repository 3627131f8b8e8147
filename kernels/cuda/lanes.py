"""What happens to numbers in registers: a vector lies in the lanes of every warp, or in units.

Registers go together by ones, twos or fours, `together`: so many neighbours of a vector are in one
lane, whose `slot` (tiles.py) says which, so that its bytes are stored and its sums are loaded at
once.  Every warp has all of it, so that sums over a vector are one reduction of a warp, and nothing
has to be shared.  Lanes past a vector's end hold 0.

    n      elements of the vector         names   of the registers that hold it
"""

from __future__ import annotations

import struct

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.places import Place, saturated
from anachron.kernels.reference.norm import LARGEST_RECIPROCAL, RECIPROCAL_SHIFT

WARP = 32
SLOT = np.array([8 * (lane & 3) + (lane >> 2) for lane in range(WARP)])  # as tiles.py says
WIDEST = (1 << 15) - 1  # of an input
MOST_ROOTS = 2500  # reciprocals kept in a table
REDUCED = "squares = redux_add(squares)"  # behind it a norm waits for nothing but itself
GUESS = 1 - 2.0**-21  # keeps a guessed quotient at or below the true one


def count_registers(n: int) -> int:
    return -(-n // WARP)


def together(n: int) -> int:
    """Neighbours in a lane."""
    return next(width for width in (4, 2, 1) if count_registers(n) % width == 0)


def element_text(i: int, n: int) -> str:
    """The text of which element a lane's register i is."""
    width = together(n)
    first = WARP * width * (i // width) + i % width
    slot = f"shl32(slot, {width.bit_length() - 1})" if width > 1 else "slot"
    return f"add32({slot}, {first})" if first else slot


def element_index(i: int, n: int) -> Array:
    """The same of every lane, as numbers."""
    width = together(n)
    return WARP * width * (i // width) + i % width + width * SLOT


def inside(i: int, n: int) -> str:
    """The text of whether a lane's register i is inside a vector; empty where all are."""
    return "" if element_index(i, n).max() < n else f"{element_text(i, n)} < {n}"


def masked(value: str, i: int, n: int) -> str:
    """A value, or 0 past the end."""
    condition = inside(i, n)
    return f"select({condition}, {value}, 0)" if condition else value


def load_neighbours(
    memory: str, at: str, bits: int, count: int, name: str
) -> tuple[list[str], list[str]]:
    """Lines that load one, two or four numbers of 8 or 16 bits at once, and their texts."""
    whole = bits * count
    if count == 1:
        return [], [f"load{bits}({memory}, {at})"]
    if whole == 64:
        return [f"{name} = load64({memory}, {at})"], [
            f"{half}({name}[{word}])" for word in range(2) for half in ("low16", "high16")
        ]
    lines = [f"{name} = load{whole}({memory}, {at})"]
    starts = range(0, whole, bits)
    return lines, [f"sar32(shl32({name}, {32 - bits - at}), {32 - bits})" for at in starts]


def lookup(
    x: str, y: str, table: Place, *, shift: int, tail: int, bits: int
) -> list[str]:
    """A line between two of 257 points; x >> tail from 128 << shift on."""
    half = 128 << shift
    whole = half > WIDEST  # every input lies between two points
    lines = [
        f"u = {x if whole else f'clamp32({x}, {-half}, {half - 1})'}",
        f"k = sar32(u, {shift})",
        f"base = {table.load('add32(k, 128)')}",
        f"after = {table.load('add32(k, 129)')}",
        f"u = mul32(sub32(after, base), sub32(u, shl32(k, {shift})))",
        f"u = add32(base, sar32(u, {shift}))",
    ]
    if not whole:
        lines.append(f"u = select({x} >= {half}, sar32({x}, {min(tail, 31)}), u)")
    # Between points of 16 bits lie only such.
    return [*lines, f"{y} = {'u' if bits == 16 else saturated('u', bits)}"]


def norm(
    names: list[str],
    results: list[str],
    gains: list[str],
    biases: list[str] | None,
    *,
    n: int,
    gain_shift: int,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
    bits: int,
    reciprocals: Place | None,
) -> list[str]:
    """rms_norm; layer_norm where there are biases.

    The sum of squares and the shifted mean have 32 bits without a sign.

    reciprocals  a table by the root, where roots are few; 0 stands for a mean of 0
    """
    lines = []
    if biases is not None:
        text = names[0]
        for name in names[1:]:
            text = f"add32({text}, {name})"
        lines.append(f"middle = {_floored(f'redux_add({text})', n)}")
        for i, (name, y) in enumerate(zip(names, results, strict=True)):
            lines.append(f"{y} = {masked(saturated(f'sub32({name}, middle)', 16), i, n)}")
        names = results
    for i, name in enumerate(names):
        lines.append(f"small = sar32({name}, {pre_shift})")
        square = "mul32(small, small)"
        lines.append(f"squares = {f'add32(squares, {square})' if i else square}")
    mean = _shared(n)
    if reciprocals is None:  # the table knows what stands for 0
        mean = f"max32(1, {mean})"
    lines += [
        REDUCED,
        f"squares = shl32({mean}, {root_shift})",
        "root = root_below(squares)",
        # One more if its square is at most this, root**2 + 2 root + 1: `rest` is below 0 then.
        "rest = sub32(shl32(root, 1), sub32(squares, mul32(root, root)))",
    ]
    if reciprocals is not None:  # both are fetched while that is found out
        lines += [
            f"inverse = {reciprocals.load('root')}",
            f"after = {reciprocals.load('add32(root, 1)')}",
            "inverse = select_lt(rest, 0, after, inverse)",
        ]
    else:
        whole = 1 << reciprocal_bits
        guess = struct.unpack("<i", struct.pack("<f", whole * GUESS))[0]
        lines += [
            "root = add32(root, shr32(rest, 31))",
            f"inverse = quotient_below({guess}, root)",
            # One more if that times the root is at most the whole.
            f"rest = sub32(mul32(add32(inverse, 1), root), {whole + 1})",
            "inverse = add32(inverse, shr32(rest, 31))",
            f"inverse = min32({LARGEST_RECIPROCAL}, inverse)",
        ]
    for i, (name, y) in enumerate(zip(names, results, strict=True)):
        unit = f"sar32(mul32({name}, inverse), {RECIPROCAL_SHIFT})"
        scaled = f"sar32(mul32({unit}, {gains[i]}), {min(gain_shift, 31)})"
        if biases is not None:
            scaled = f"add32({scaled}, {biases[i]})"
        lines.append(f"{y} = {saturated(scaled, bits)}")
    return lines


def _shared(n: int) -> str:
    return f"shr32(squares, {n.bit_length() - 1})" if n & n - 1 == 0 else f"udiv32(squares, {n})"


def _floored(total: str, n: int) -> str:
    if n & n - 1 == 0:
        return f"sar32({total}, {n.bit_length() - 1})"
    return f"floordiv32({total}, {n})"
