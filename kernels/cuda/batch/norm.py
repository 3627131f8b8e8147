"""rms_norm, layer_norm: four lanes share a stream's vector, and a pair of them a root.

The sums of a stream go round its four lanes.  Then the lanes of even place work out the root and
the reciprocal of one of their two streams, the odd ones of the other: the long part is done once.
"""

from __future__ import annotations

import struct

from anachron.kernels.cuda.batch.fragments import At, Value, packed
from anachron.kernels.cuda.lanes import GUESS
from anachron.kernels.reference.norm import LARGEST_RECIPROCAL, RECIPROCAL_SHIFT


def around(name: str) -> list[str]:
    """The sum of a variable over the four lanes of a stream."""
    return [f"{name} = add32({name}, shfl_xor({name}, {d}))" for d in (1, 2)]


def norm(
    x: Value,
    gain: At,
    bias: At | None,
    mask: At | None,
    y: Value,
    *,
    size: int,
    gain_shift: int,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
) -> list[str]:
    """rms_norm of `size` features; layer_norm where there is a bias.

    The sum of the squares has 32 bits without sign.

    gain, bias  pack_pairs      mask  pack_mask, where some words hold no feature, or one again
    """
    tiles = range(x.order.tiles)
    lines: list[str] = []
    words = [[x.word(half, tile) for tile in tiles] for half in range(2)]
    if mask is not None:
        lines += [f"m{tile} = {mask.fetch('32', 'place4', 16 * tile)}" for tile in tiles]
    if bias is not None:
        for half in range(2):
            parts = [w if mask is None else f"and32({w}, m{t})" for t, w in enumerate(words[half])]
            lines += [f"total = {_sum([f'{f}16({w})' for w in parts for f in ('low', 'high')])}"]
            lines += [*around("total"), f"middle = floordiv32(total, {size})"]
            for tile in tiles:
                low, high = (f"sub32({f}16({words[half][tile]}), middle)" for f in ("low", "high"))
                lines.append(f"{y.stem}c{half}{tile} = {packed(high, low, 16)}")
        words = [[f"{y.stem}c{half}{tile}" for tile in tiles] for half in range(2)]
    for half in range(2):
        lines.append(f"total{half} = int32(0)")
        for tile, word in enumerate(words[half]):
            if mask is not None:
                word = f"and32({word}, m{tile})"
            for part in ("low", "high"):
                lines.append(f"small = sar32({part}16({word}), {pre_shift})")
                lines.append(f"total{half} = add32(total{half}, mul32(small, small))")
        lines += around(f"total{half}")
    lines += [
        "total = select_lt(odd, 1, total0, total1)",
        f"total = max32(1, {_shared('total', size)})",
        *reciprocal(root_shift, reciprocal_bits),
        "other = shfl_xor(inverse, 1)",
        "inverse0 = select_lt(odd, 1, inverse, other)",
        "inverse1 = select_lt(odd, 1, other, inverse)",
    ]
    for tile in tiles:
        lines.append(f"g = {gain.fetch('64', 'place8', 32 * tile)}")
        if bias is not None:
            lines.append(f"z = {bias.fetch('64', 'place8', 32 * tile)}")
        for half in range(2):
            parts = []
            for e, part in enumerate(("low", "high")):
                unit = f"mul32({part}16({words[half][tile]}), inverse{half})"
                scaled = f"mul32(sar32({unit}, {RECIPROCAL_SHIFT}), g[{e}])"
                scaled = f"sar32({scaled}, {min(gain_shift, 31)})"
                parts.append(scaled if bias is None else f"add32({scaled}, z[{e}])")
            lines.append(f"{y.word(half, tile)} = {packed(parts[1], parts[0], y.bits)}")
    return lines


def reciprocal(root_shift: int, bits: int) -> list[str]:
    """inverse = min(32767, 2**bits // root of total << root_shift), of a total of at least 1.

    The guesses are right or one too small (intrinsics.py), and are put right in integers.
    """
    whole = 1 << bits
    guess = struct.unpack("<i", struct.pack("<f", whole * GUESS))[0]
    return [
        f"total = shl32(total, {root_shift})",
        "root = root_below(total)",
        # One more if its square is at most total, root**2 + 2 root + 1: `rest` is below 0 then.
        "rest = sub32(shl32(root, 1), sub32(total, mul32(root, root)))",
        "root = add32(root, shr32(rest, 31))",
        f"inverse = quotient_below({guess}, root)",
        # One more if that times the root is at most the whole.
        f"rest = sub32(mul32(add32(inverse, 1), root), {whole + 1})",
        f"inverse = min32({LARGEST_RECIPROCAL}, add32(inverse, shr32(rest, 31)))",
    ]


def _shared(name: str, size: int) -> str:
    if size & size - 1 == 0:
        return f"shr32({name}, {size.bit_length() - 1})"
    return f"udiv32({name}, {size})"


def _sum(parts: list[str]) -> str:
    text = parts[0]
    for part in parts[1:]:
        text = f"add32({text}, {part})"
    return text
