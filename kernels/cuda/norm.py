"""rms_norm, layer_norm: every warp works out the root for itself, then the threads share the rest.

The sum of squares is a warp's reduction; doing it in each warp costs no time and saves a barrier.
"""

from __future__ import annotations

from anachron.kernels.cuda.places import Place, each, each_lane, indent, saturated
from anachron.kernels.reference.norm import LARGEST_RECIPROCAL, RECIPROCAL_SHIFT


def norm(
    x: Place,
    gain: Place,
    bias: Place | None,
    y: Place,
    *,
    gain_shift: int,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
    wide: bool,
    positions: int,
    threads: int,
) -> list[str]:
    """rms_norm; layer_norm where there is a bias.

    wide  the sum of the squares, or the shifted mean, needs 64 bits
    """
    size = y.size
    text: list[str] = []
    value = x.load("f")
    if bias is not None:
        text += ["total = int32(0)", *each_lane(size, [f"total = add32(total, {value})"])]
        text.append(f"middle = floordiv32(redux_add(total), {size})")
        value = saturated(f"sub32({value}, middle)", 16)
    square = [f"small = sar32({value}, {pre_shift})"]
    if wide:
        square.append("wide += int64(mul32(small, small))")
        text += ["wide = int64(0)", *each_lane(size, square)]
        for distance in (16, 8, 4, 2, 1):
            text.append(f"wide += cuda.shfl_xor_sync(-1, wide, {distance})")
        text += [
            f"wide = max(int64(1), udiv64(wide, {size}))",
            f"root = max32(1, int32(isqrt64(wide << int64({root_shift}))))",
        ]
    else:
        square.append("total = add32(total, mul32(small, small))")
        text += ["total = int32(0)", *each_lane(size, square)]
        text += [
            f"total = max32(1, udiv32(redux_add(total), {size}))",
            f"root = max32(1, isqrt32(shl32(total, {root_shift})))",
        ]
    text += [
        f"inverse = min32({LARGEST_RECIPROCAL}, udiv32({1 << reciprocal_bits}, root))",
        *each(size, threads, ["f = i", *_scaled(value, gain, bias, gain_shift, y)]),
    ]
    if positions == 1:
        return text
    return [f"for p in range({positions}):", *indent(text)]


def _scaled(value: str, gain: Place, bias: Place | None, shift: int, y: Place) -> list[str]:
    unit = f"sar32(mul32({value}, inverse), {RECIPROCAL_SHIFT})"
    scaled = f"sar32(mul32({unit}, {gain.load('f')}), {min(shift, 31)})"
    if bias is not None:
        scaled = f"add32({scaled}, {bias.load('f')})"
    return [y.store("f", saturated(scaled, y.bits))]
