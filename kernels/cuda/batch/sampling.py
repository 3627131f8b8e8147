"""argmax, sample: each stream's next id, found by the four lanes that share it.

argmax goes along with the tiles of logits as they are made.  sample keeps them in the warp's own
memory and reads them again and again: for the sum of the weights; where top-p cuts, for the rank at
which it does, by bisection; and for the id.  See kernels/reference/sampling.py.
"""

from __future__ import annotations

from anachron.kernels.cuda.batch.fragments import COLUMNS, At, Value
from anachron.kernels.cuda.places import WARP, indent
from anachron.kernels.reference.sampling import ONE

MOST_IDS = 1 << 16  # an id and a logit share a word
MOST_SAMPLED = 1 << 15  # the sum of so many weights has 31 bits
RANKS = 256
NONE = -(1 << 31)


def argmax_start() -> list[str]:
    return [f"key0 = int32({NONE})", f"key1 = int32({NONE})"]


def argmax_tile(logits: Value, tile: int, *, first_id: int, n_ids: int) -> list[str]:
    """Take a tile's logits into `key`: the largest of logit << 16 | 65535 - id."""
    lines = []
    for half in range(2):
        word = logits.word(half, tile)
        for e, part in enumerate((f"shl32({word}, 16)", f"and32({word}, -65536)")):
            id_ = COLUMNS * tile + e
            key = f"add32({part}, sub32(top_id, {id_}))"
            key = _only(key, id_, str(NONE), first_id, n_ids)
            lines.append(f"key{half} = max32(key{half}, {key})")
    return lines


def argmax_end() -> list[str]:
    """Leave the ids in best0 and best1."""
    lines = []
    for half in range(2):
        for d in (1, 2):
            lines.append(f"key{half} = max32(key{half}, shfl_xor(key{half}, {d}))")
        lines.append(f"best{half} = sub32({MOST_IDS - 1}, and32(key{half}, {MOST_IDS - 1}))")
    return lines


def _only(value: str, id_: int, otherwise: str, first_id: int, n_ids: int) -> str:
    """A value where a column's id, id_ + 2 place, is one that may be chosen."""
    if id_ < first_id:
        value = f"select_lt(add32(place2, {id_}), {first_id}, {otherwise}, {value})"
    if id_ + COLUMNS > n_ids:
        value = f"select_lt(add32(place2, {id_}), {n_ids}, {value}, {otherwise})"
    return value


def keep_tile(logits: Value, tile: int, offset: int) -> list[str]:
    """A tile's words into the warp's memory."""
    lines = []
    for half in range(2):
        at = offset + (2 * tile + half) * 4 * WARP
        lines.append(f"store32(mine, lane4, {at}, {logits.word(half, tile)})")
    return lines


def sample(
    offset: int, weights: At, *, tiles: int, frac: int, first_id: int, n_ids: int
) -> list[str]:
    """Leave the ids in best0 and best1, and move state0 and state1 on.

    weights  the reference's WEIGHTS, uint16; offset is where keep_tile put the logits
    argmax_start, argmax_tile have been here; coldness, 256 / temperature, and top_p are arguments
    """
    lines: list[str] = []
    for half in range(2):
        for d in (1, 2):
            lines.append(f"key{half} = max32(key{half}, shfl_xor(key{half}, {d}))")
        lines += [
            f"largest = high16(key{half})",
            *_stream(half, offset, weights, tiles, frac, first_id, n_ids),
        ]
    return lines


def _stream(
    half: int, offset: int, weights: At, tiles: int, frac: int, first_id: int, n_ids: int
) -> list[str]:
    word = f"w = load32(mine, add32(mul32(j, {8 * WARP}), lane4), {offset + 4 * WARP * half})"
    tile = [word]
    for e, part in enumerate(("low", "high")):
        distance = f"mul32(sub32(largest, {part}16(w)), coldness)"
        tile += [
            f"rank{e} = umin32({RANKS - 1}, shr32({distance}, {frac + 4}))",
            f"at = shl32(rank{e}, 1)",
            f"near{e} = {weights.fetch('u16', 'at')}",
            f"id{e} = add32(add32(shl32(j, 3), place2), {e})",
            f"near{e} = select_lt(id{e}, {first_id}, 0, select_lt(id{e}, {n_ids}, near{e}, 0))",
        ]

    def loop(body: list[str]) -> list[str]:
        return ["j = int32(0)", f"while j < {tiles}:", *indent([*tile, *body, "j = add32(j, 1)"])]

    def total(name: str, *parts: str) -> list[str]:
        lines = [f"{name} = int32(0)", *loop([f"{name} = add32({name}, {p})" for p in parts])]
        return lines + [
            f"{name} = add32({name}, shfl_xor({name}, {d}))" for d in (1, 2)
        ]

    below = [f"select_lt(middle, rank{e}, 0, near{e})" for e in range(2)]
    bisect = [
        "middle = shr32(add32(low, high), 1)",
        *total("some", *below),
        "base = select_lt(some, enough, some, base)",
        "high = select_lt(some, enough, high, middle)",
        "low = select_lt(some, enough, add32(middle, 1), low)",
    ]
    cut = [
        "enough = mul32(shr32(kept, 8), top_p)",
        "low = int32(0)",
        f"high = int32({RANKS - 1})",
        "base = int32(0)",
        "for _ in range(8):",
        *indent(bisect),
        "rank = high",
        "at = shl32(rank, 1)",
        f"each = max32(1, {weights.fetch('u16', 'at')})",
        "ties = udiv32(sub32(add32(sub32(enough, base), each), 1), each)",
        "kept = add32(base, mul32(ties, each))",
    ]
    state = f"state{half}"
    text = [
        *total("kept", "near0", "near1"),
        f"rank = int32({RANKS})",
        "ties = int32(0)",
        f"if top_p < {ONE}:",
        *indent(cut),
        f"moved = xor32({state}, shl32({state}, 13))",
        "moved = xor32(moved, shr32(moved, 17))",
        "moved = xor32(moved, shl32(moved, 5))",
        f"{state} = select_lt(0, wants{half}, moved, {state})",  # not while it reads its prompt
        "drawn = shr32(moved, 16)",
        "target = add32(mul32(shr32(kept, 16), drawn), "
        "shr32(mul32(and32(kept, 65535), drawn), 16))",
        f"best{half} = int32(-1)",
        "before = int32(0)",
        "seen = int32(0)",
    ]
    find = []
    for e in range(2):
        find.append(f"tie{e} = mul32(eq32(rank{e}, rank), min32(1, near{e}))")
    find += ["mine_ties = add32(tie0, tie1)", *_scan("mine_ties", "ties_before", "all_ties")]
    find += ["ties_before = add32(ties_before, seen)", "seen = add32(seen, all_ties)"]
    for e in range(2):
        more = "ties_before" if e == 0 else "add32(ties_before, tie0)"
        find += [
            f"near{e} = select_lt(rank, rank{e}, 0, near{e})",
            f"near{e} = select_lt(mul32(tie{e}, sub32({more}, sub32(ties, 1))), 1, near{e}, 0)",
        ]
    find += ["sum_here = add32(near0, near1)", *_scan("sum_here", "from0", "all_here")]
    find += ["from0 = add32(from0, before)", "before = add32(before, all_here)"]
    find += ["from1 = add32(from0, near0)", "to1 = add32(from1, near1)"]
    for e, (start, end) in enumerate((("from0", "from1"), ("from1", "to1"))):
        hit = f"select_lt(target, {end}, id{e}, -1)"
        find.append(f"best{half} = max32(best{half}, select_lt(target, {start}, -1, {hit}))")
    text += loop(find)
    for d in (1, 2):
        text.append(f"best{half} = max32(best{half}, shfl_xor(best{half}, {d}))")
    return text


def _scan(name: str, before: str, whole: str) -> list[str]:
    """The sum of the lanes before, and of all, that share a stream."""
    lines = [f"{whole} = {name}"]
    for d in (1, 2):
        lines += [
            f"other = shfl_xor({whole}, {d})",
            # the other half of this pair lies before where that bit of the place is set
            f"{'part' + str(d)} = mul32(and32(shr32(place, {d - 1}), 1), other)",
            f"{whole} = add32({whole}, other)",
        ]
    return [*lines, f"{before} = add32(part1, part2)"]
