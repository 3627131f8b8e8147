"""Constants of a stream kernel that are not in registers: packed, and loaded together, or early.

A word that every lane has costs shared memory's time a clock for each warp; so two gains share one,
and what is added to a sum and by how much it is shifted.

To add a way to pack: a function that gives the texts of constants.
"""

from __future__ import annotations

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.cuda.residence import MUST
from anachron.compiler.targets.cuda.stream import Stream, pick_lanes
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.lanes import count_registers

SHIFT_BITS = 5  # of a word with an offset


def words_of(s: Stream, columns: list[Array]) -> list[str]:
    """The texts of constants; those that are not in registers are loaded together."""
    texts: dict[int, str] = {}
    wide = [np.asarray(c, np.int64) for c in columns]
    each = [i for i, c in enumerate(wide) if s.packs and (c != c.flat[0]).any()]
    while len(each) > 1:
        count = 4 if len(each) >= 4 else 2
        together, each = each[:count], each[count:]
        rows = np.broadcast_arrays(*(wide[i] for i in together))
        content = np.stack(rows, -1).astype("<i4").tobytes()
        thing = s.at.constant(content, MUST, "lanes")
        mine = f"shl32({'tid' if rows[0].ndim == 2 else 'lane'}, {count.bit_length() + 1})"
        name = f"bundle{s.serial}_{together[0]}"
        s.emit(f"{name} = load{32 * count}(@M{thing}@, add32({mine}, @A{thing}@))")
        texts |= {i: f"{name}[{j}]" for j, i in enumerate(together)}
    for i in each:  # loaded here, not where it is wanted
        texts[i] = f"lone{s.serial}_{len(s.lines)}"
        s.emit(f"{texts[i]} = {s.word(columns[i])}")
    return [texts.get(i) or s.word(column) for i, column in enumerate(columns)]


def offsets_and_shifts(
    s: Stream, offsets: list[Array], shifts: list[Array]
) -> tuple[list[str], list[str]]:
    """What is added to sums, and by how much they are shifted.

    In one word where that spares a load: both are wanted before the sums are there.
    """
    small = all(np.abs(x).max() < 1 << 31 - SHIFT_BITS for x in offsets)
    small = small and all(by.max() < 1 << SHIFT_BITS for by in shifts)
    same = all((x == x.flat[0]).all() for y in (offsets, shifts) for x in y)
    if not s.packs or not small or same:
        texts = words_of(s, [*offsets, *shifts])
        return texts[: len(offsets)], texts[len(offsets) :]
    both = [
        np.asarray(x, np.int64) << SHIFT_BITS | np.asarray(by, np.int64)
        for x, by in zip(offsets, shifts, strict=True)
    ]
    words = words_of(s, both)
    most = (1 << SHIFT_BITS) - 1
    return [f"sar32({w}, {SHIFT_BITS})" for w in words], [f"and32({w}, {most})" for w in words]


def halves(s: Stream, row: Array) -> list[str]:
    """lane_words of all registers, of numbers with 16 bits: two in a word where it is loaded."""
    count = count_registers(len(row))
    if not s.packs or count % 2:
        return [s.lane_words(row, i) for i in range(count)]
    picked = [pick_lanes(row, i) for i in range(count)]
    words = words_of(
        s, [a & 0xFFFF | b << 16 for a, b in zip(picked[::2], picked[1::2], strict=True)]
    )
    return [f"{half}({word})" for word in words for half in ("low16", "high16")]


def find_gains(s: Stream, op: Op) -> tuple[list[str], list[str] | None]:
    """A norm's gains, and its biases if it has any."""
    if op.name not in s.gained:
        k = op.constants
        s.gained[op.name] = halves(s, k["gain"]), halves(s, k["bias"]) if "bias" in k else None
    return s.gained[op.name]


def load_early(s: Stream, op: Op) -> None:
    """Before a barrier: constants of the norm that follows op, if they have to be loaded."""
    after = s.fixed.ops[s.numbers[op.name] + 1 :]
    norm = next((o for o in after if o.contract not in ("add", "relu")), None)
    if s.packs and norm and norm.contract in ("rms_norm", "layer_norm"):
        find_gains(s, norm)
