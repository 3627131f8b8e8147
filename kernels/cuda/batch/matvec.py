"""matvec: tensor cores multiply bytes, so an int16 goes in as two.

With x = 256 high + low, high signed and low not, the sum is that of two products:

    total = (high . w << 8) + bias, then total + low . w

Both are exact modulo 2**32 at any moment, so the whole is, and where ranges.py proves that it fits
32 bits, it is the sum itself.  What bounds it: beside two mma for 32 columns, a tile of 16 streams
by 8 rows costs a dozen other instructions; mma's are less than a twentieth of all.
"""

from __future__ import annotations

from anachron.kernels.cuda.batch.fragments import HALVES, STEP_TILES, At, Value, packed

LOW, HIGH = 0x6420, 0x7531  # of two words: the low and the high bytes of four int16
FRAGMENT = 256  # bytes of a B fragment: two words a lane


def split(x: Value) -> list[str]:
    """A fragments of a value, the bytes of its words apart: for all matrices that read it."""
    lines = []
    for step in range(-(-x.order.tiles // STEP_TILES)):
        for pair in range(2):
            tile = STEP_TILES * step + 2 * pair
            for half in range(2):
                first, second = (
                    x.word(half, t) if t < x.order.tiles else "0" for t in (tile, tile + 1)
                )
                name = f"{step}{pair}{HALVES[half]}"
                if first == "0":
                    lines += [f"{x.stem}L{name} = int32(0)", f"{x.stem}H{name} = int32(0)"]
                    continue
                lines.append(f"{x.stem}L{name} = prmt({first}, {second}, {LOW})")
                if x.bits > 8:
                    lines.append(f"{x.stem}H{name} = prmt({first}, {second}, {HIGH})")
    return lines


def matvec_tile(
    x: Value,
    y: Value,
    tile: int,
    *,
    weight: At,
    bias: At,
    shift: int | At,
    positive: bool = False,
) -> list[str]:
    """saturate((weight @ x + bias) >> shift) for a tile of y; its relu at once, if asked.

    weight  pack_weight       bias, shift  pack_pairs; or one shift for all
    """
    steps = range(-(-x.order.tiles // STEP_TILES))
    lines = []
    for step in steps:
        at = (tile * len(steps) + step) * FRAGMENT
        lines.append(f"w{step} = {weight.fetch('64', 'lane8', at)}")
    c = ["0"] * 4
    if x.bits > 8:
        for step in steps:
            lines.append(f"c = mma_s8({_fragment(x, 'H', step)}, {_weights(step)}, {_all(c)})")
            c = [f"c[{i}]" for i in range(4)]
        c = [f"shl32(c[{i}], 8)" for i in range(4)]
    lines.append(f"z = {bias.fetch('64', 'place8', 32 * tile)}")
    c = [f"z[{i & 1}]" if part == "0" else f"add32({part}, z[{i & 1}])" for i, part in enumerate(c)]
    kind = "u8" if x.bits > 8 else "s8"
    for step in steps:
        lines.append(f"c = mma_{kind}({_fragment(x, 'L', step)}, {_weights(step)}, {_all(c)})")
        c = [f"c[{i}]" for i in range(4)]
    amounts = [str(shift)] * 2
    if isinstance(shift, At):
        lines.append(f"z = {shift.fetch('64', 'place8', 32 * tile)}")
        amounts = ["z[0]", "z[1]"]
    for half in range(2):
        low, high = (f"sar32(c[{2 * half + e}], {amounts[e]})" for e in range(2))
        word = packed(high, low, y.bits)
        if positive:
            word = f"positive16({word})"
        lines.append(f"{y.word(half, tile)} = {word}")
    return lines


def _fragment(x: Value, part: str, step: int) -> str:
    """mma's A registers: rows group, group + 8 of columns 0 to 15, then the same of 16 to 31."""
    return _all([f"{x.stem}{part}{step}{pair}{half}" for pair in range(2) for half in HALVES])


def _weights(step: int) -> str:
    return f"w{step}[0], w{step}[1]"


def _all(parts: list[str]) -> str:
    return ", ".join(parts)
