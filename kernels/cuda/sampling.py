"""argmax and sample: how an id is chosen, by every warp for itself.

The numbers are those of kernels/reference/sampling.py; `random` is the generator's state.
"""

from __future__ import annotations

from anachron.kernels.cuda.places import WARP, Place, each_lane, indent
from anachron.kernels.reference.sampling import ONE, STEPS

MOST_IDS = 1 << 16  # an id and a logit share a word
MOST_SAMPLED = 1 << 15  # a sum of their weights has 31 bits
RANKS = 256
LEAST = -(1 << 31)


def argmax(logits: Place, *, first_id: int) -> list[str]:
    """Leave the id in `best`: the largest of logit << 16 | 65535 - id, over a warp."""
    key = f"add32(shl32({logits.load('f')}, 16), sub32({MOST_IDS - 1}, f))"
    return [
        f"key = int32({LEAST})",
        *each_lane(logits.size, [f"key = max32(key, {key})"], first_id),
        f"best = sub32({MOST_IDS - 1}, and32(redux_max(key), {MOST_IDS - 1}))",
    ]


def sample(logits: Place, weights: Place, *, frac: int, first_id: int) -> list[str]:
    """Leave an id in `best`, in proportion to exp(logit / temperature) among the likeliest.

    weights  by rank, uint16

    Names that must exist: inverse_temperature and top_p, in 256ths; random, the state, which moves
    on.  The last rank that is kept is found by halving: the weights of all lower ranks together
    stay below what is enough.
    """
    size = logits.size

    def over_ids(body: list[str], ranked: bool = True) -> list[str]:
        """body for every id, 32 at a time: f, ok, and its rank and weight (0 outside)."""
        inner = [
            "f = add32(start, lane)",
            f"ok = f < {size}",
            f"f = min32(f, {size - 1})",
            f"x = {logits.load('f')}",
        ]
        if ranked:
            inner += [
                "rank = shr32(mul32(sub32(largest, x), inverse_temperature), "
                f"{frac + STEPS.bit_length() - 1})",
                f"rank = min32({RANKS - 1}, rank)",
                f"weight = select(ok, {weights.load('rank')}, 0)",
            ]
        return [
            f"start = int32({first_id})",
            f"while start < {size}:",
            *indent([*inner, *body, f"start = add32(start, {WARP})"]),
        ]

    kept = "select(rank < last, weight, select(rank == last, select(place < room, weight, 0), 0))"
    text = [
        f"largest = int32({LEAST})",
        *over_ids(["largest = max32(largest, x)"], ranked=False),
        "largest = redux_max(largest)",
        "total = int32(0)",
        *over_ids(["total = add32(total, weight)"]),
        "total = redux_add(total)",
        f"last = int32({RANKS})",
        "room = int32(0)",
        f"if top_p < {ONE}:",
        *indent(
            [
                "enough = mul32(sar32(total, 8), top_p)",
                "last = int32(0)",
                f"bit = int32({RANKS // 2})",
                "while bit > 0:",
                "    tried = add32(last, bit)",
                "    below = int32(0)",
                *indent(over_ids(["below = add32(below, select(rank < tried, weight, 0))"])),
                "    last = select(redux_add(below) < enough, tried, last)",
                "    bit = sar32(bit, 1)",
                "below = int32(0)",
                "equal = int32(0)",
                *over_ids(
                    [
                        "below = add32(below, select(rank < last, weight, 0))",
                        "equal = add32(equal, select(ok and rank == last, 1, 0))",
                    ]
                ),
                "below = redux_add(below)",
                "equal = redux_add(equal)",
                f"one = max32(1, {weights.load('last')})",
                "room = udiv32(add32(sub32(enough, below), sub32(one, 1)), one)",
                "room = min32(room, equal)",
                f"total = add32(below, mul32(room, {weights.load('last')}))",
            ]
        ),
        "random = xor32(random, shl32(random, 13))",
        "random = xor32(random, shr32(random, 17))",
        "random = xor32(random, shl32(random, 5))",
        "target = mulhi32(and32(random, -65536), total)",
        "reached = int32(0)",
        "equal = int32(0)",
        "best = int32(-1)",
        "before = sub32(shl32(1, lane), 1)",
        *over_ids(
            [
                "same = ballot(select(ok and rank == last, 1, 0))",
                "place = add32(equal, popc32(and32(same, before)))",
                "equal = add32(equal, popc32(same))",
                f"sums = {kept}",
                *(
                    f"sums = add32(sums, select(lane >= {d}, shfl_up(sums, {d}), 0))"
                    for d in (1, 2, 4, 8, 16)
                ),
                "sums = add32(sums, reached)",
                "past = ballot(select(ok and sums > target, 1, 0))",
                "found = best < 0 and past != 0",
                "best = select(found, add32(start, lowest32(past)), best)",
                "reached = shfl_idx(sums, 31)",
            ]
        ),
    ]
    return text
