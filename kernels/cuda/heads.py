"""Attention, a warp a head, from rows of keys and columns of values that dot products can read.

    query   of a head: all low bytes, then all high ones (of 8 bits: the bytes)
    keys    [head][position][feature]      values  [head][feature][position]

Lanes take positions, 32 at a time, and find the largest score and the sum of the weights together;
then they take features, and share the positions of each.  Positions come in whole steps: what was
never written meets a weight of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.cuda.places import Place, indent

WARP = 32
STEP = 8  # positions that a lane takes of a feature's values at once
SIZES = (4, 8, 16, 32)  # of a head
LEAST = -(1 << 31)


@dataclass(frozen=True)
class Heads:
    """Shapes and places of an attention.  Offsets are texts: they may be known late."""

    heads: int
    kv_heads: int
    size: int
    bits: int  # of queries, keys and values alike
    seq_len: int
    warps: int
    query: str
    cache: str  # sm or gm
    keys: str
    values: str
    weights: str  # bytes, a row a warp
    scores: str  # words, a row a warp; not used where one step holds all positions
    table: Place
    score_shift: int
    split_sum: bool  # the sum of weighted values has more than 31 bits

    @property
    def n_bytes(self) -> int:
        """Of a number."""
        return self.bits // 8

    @property
    def rows(self) -> int:
        """Positions, in whole steps."""
        step = max(WARP, self.positions_a_step)
        return -(-self.seq_len // step) * step

    @property
    def positions_a_step(self) -> int:
        return WARP // self.size * STEP

    @property
    def each(self) -> int:
        """Heads of a warp."""
        return -(-self.heads // self.warps)

    @property
    def query_bytes(self) -> int:
        return self.size * self.n_bytes

    @property
    def key_bytes(self) -> int:
        """Of a row of keys."""
        return self.size * self.n_bytes

    @property
    def value_bytes(self) -> int:
        """Of a feature's values, an odd number of 16 bytes: neighbours lie in other banks."""
        bytes_ = self.rows * self.n_bytes
        return bytes_ + (16 if bytes_ // 16 % 2 == 0 else 0)

    @property
    def keys_bytes(self) -> int:
        return self.kv_heads * self.rows * self.key_bytes

    @property
    def values_bytes(self) -> int:
        return self.kv_heads * self.size * self.value_bytes

    @property
    def lane_positions(self) -> int:
        """The most positions whose weighted values one lane adds."""
        return -(-self.rows // self.positions_a_step) * STEP

    def addresses(self, role: str, head: int, feature: int) -> tuple[int, int, int]:
        """Of a number of q, k or v: offset in its place, the step to the next position, and how
        far its high byte is from its low one."""
        match role:
            case "q":
                return head * self.query_bytes + feature, 0, self.size
            case "k":
                at = head * self.rows * self.key_bytes + feature * self.n_bytes
                return at, self.key_bytes, 1
            case _:
                at = (head * self.size + feature) * self.value_bytes
                return at, self.n_bytes, 1


def attend(h: Heads, i: int) -> list[str]:
    """Head number i of each warp: `mixed` in the first `size` lanes, and `head`."""
    group = h.heads // h.kv_heads
    first = f"add32(mul32(warp, {h.each}), {i})" if h.each > 1 else "warp"
    text = [
        f"head = {first}",
        f"shared_head = udiv32(head, {group})" if group > 1 else "shared_head = head",
        *_load_query(h),
        f"key_at = add32({h.keys}, mul32(shared_head, {h.rows * h.key_bytes}))",
        f"value_at = add32({h.values}, mul32(shared_head, {h.size * h.value_bytes}))",
        f"value_at = add32(value_at, mul32(and32(lane, {h.size - 1}), {h.value_bytes}))",
    ]
    log = h.size.bit_length() - 1
    if h.rows == WARP:
        text += _one_step(h)
    else:
        text += _many_steps(h)
    text += ["total = max32(1, redux_add(total))", "inverse = udiv32(-1, total)", "cuda.syncwarp()"]
    text += _mix(h, log)
    text += _divide(h)
    return text


def _words(n_bytes: int, memory: str, at: str, name: str) -> tuple[list[str], list[str]]:
    """Lines that load so many bytes, and the texts of the words."""
    if n_bytes < 16:
        return [f"{name} = load64({memory}, {at})"], [f"{name}[{j}]" for j in range(n_bytes // 4)]
    lines, words = [], []
    for b in range(n_bytes // 16):
        at_b = f"add32({at}, {16 * b})" if b else at
        lines.append(f"{name}{b} = load128({memory}, {at_b})")
        words += [f"{name}{b}[{j}]" for j in range(4)]
    return lines, words


def _load_query(h: Heads) -> list[str]:
    at = f"add32({h.query}, mul32(head, {h.query_bytes}))"
    lines, words = _words(h.query_bytes, "sm", at, "query")
    return [*lines, *(f"q{j} = {word}" for j, word in enumerate(words))]


def _score(h: Heads, j: str) -> list[str]:
    """score of the position j."""
    at = f"add32(key_at, mul32({j}, {h.key_bytes}))"
    lines, words = _words(h.key_bytes, h.cache, at, "key")
    if h.bits == 8:
        score = "0"
        for n, word in enumerate(words):
            score = f"dp4a({word}, q{n}, {score})"
        return [*lines, f"score = sar32({score}, {h.score_shift})"]
    half = h.size // 4  # words of the query's low bytes
    low, high = "0", "0"
    for n in range(half):
        a, b = words[2 * n], words[2 * n + 1]
        low = f"dp2a_hi_u({b}, q{n}, dp2a_lo_u({a}, q{n}, {low}))"
        high = f"dp2a_hi({b}, q{half + n}, dp2a_lo({a}, q{half + n}, {high}))"
    if h.score_shift < 8:
        return [*lines, f"score = sar32(add32({low}, shl32({high}, 8)), {h.score_shift})"]
    # Floored in two steps, so that the whole sum need not fit 32 bits.
    return [*lines, f"score = sar32(add32({high}, sar32({low}, 8)), {h.score_shift - 8})"]


def _weight(h: Heads, valid: str, j: str) -> list[str]:
    """weight of a score, stored; added to total."""
    distance = f"select({valid}, min32(sub32(largest, score), {h.table.size - 1}), 0)"
    return [
        f"weight = select({valid}, {h.table.load(distance)}, 0)",
        f"store8(sm, add32({h.weights}, add32(mul32(warp, {h.rows}), {j})), weight)",
    ]


def _one_step(h: Heads) -> list[str]:
    return [
        *_score(h, "lane"),
        f"largest = redux_max(select(lane <= p, score, {LEAST}))",
        *_weight(h, "lane <= p", "lane"),
        "total = weight",
    ]


def _many_steps(h: Heads) -> list[str]:
    cell = f"add32({h.scores}, shl32(add32(mul32(warp, {h.rows}), j), 2))"
    end = f"and32(p, {-h.positions_a_step})"
    return [
        f"largest = int32({LEAST})",
        "step = int32(0)",
        "while step <= p:",
        *indent(
            [
                "j = add32(step, lane)",
                *_score(h, "j"),
                f"store32(sm, {cell}, score)",
                f"largest = max32(largest, select(j <= p, score, {LEAST}))",
                f"step = add32(step, {WARP})",
            ]
        ),
        "largest = redux_max(largest)",
        "total = int32(0)",
        f"end = add32({end}, {h.positions_a_step})" if h.positions_a_step > WARP else "end = p",
        "step = int32(0)",
        "while step < end:" if h.positions_a_step > WARP else "while step <= end:",
        *indent(
            [
                "j = add32(step, lane)",
                f"score = load32(sm, {cell})",
                *_weight(h, "j <= p", "j"),
                "total = add32(total, weight)",
                f"step = add32(step, {WARP})",
            ]
        ),
    ]


def _mix(h: Heads, log: int) -> list[str]:
    """mixed: a lane's sum of weighted values, over its share of the positions."""
    step_bytes = STEP * h.n_bytes

    def products(step: str) -> list[str]:
        share = f"add32({step}, mul32(sar32(lane, {log}), {STEP}))"
        at = f"add32(value_at, mul32({share}, {h.n_bytes}))"
        lines, words = _words(step_bytes, h.cache, at, "value")
        lines.append(
            f"share = load64(sm, add32({h.weights}, add32(mul32(warp, {h.rows}), {share})))"
        )
        for n in range(2):
            if h.bits == 8:
                lines.append(f"mixed = dp4a_u({words[n]}, share[{n}], mixed)")
            else:
                lines.append(f"mixed = dp2a_lo_u({words[2 * n]}, share[{n}], mixed)")
                lines.append(f"other = dp2a_hi_u({words[2 * n + 1]}, share[{n}], other)")
        return lines

    text = ["mixed = int32(0)", "other = int32(0)"]
    if h.rows == WARP:
        for step in range(0, WARP, h.positions_a_step):
            text += products(str(step))
    else:
        text += [
            "step = int32(0)",
            "while step <= p:",
            *indent([*products("step"), f"step = add32(step, {h.positions_a_step})"]),
        ]
    return [*text, "mixed = add32(mixed, other)"]


def _divide(h: Heads) -> list[str]:
    """The sum over the lanes of a feature, divided by the total, flooring.

    A quotient by the total's reciprocal is right or one too small.  A sum of more than 31 bits is
    divided in two steps, eight bits at the end.
    """
    distances = [d for d in (4, 8, 16) if d >= h.size]
    if not h.split_sum:
        text = [f"mixed = add32(mixed, shfl_xor(mixed, {d}))" for d in distances]
        return [
            *text,
            "sign = sar32(mixed, 31)",
            "mixed = xor32(mixed, sign)",
            *_quotient("mixed", "quotient", "rest"),
            "mixed = xor32(quotient, sign)",
        ]
    text = ["low = and32(mixed, 255)", "mixed = sar32(mixed, 8)"]
    for d in distances:
        text += [
            f"mixed = add32(mixed, shfl_xor(mixed, {d}))",
            f"low = add32(low, shfl_xor(low, {d}))",
        ]
    return [
        *text,
        "mixed = add32(mixed, sar32(low, 8))",
        "sign = sar32(mixed, 31)",
        "low = and32(xor32(low, sign), 255)",
        "mixed = xor32(mixed, sign)",
        *_quotient("mixed", "upper_part", "rest"),
        "mixed = add32(shl32(rest, 8), low)",
        *_quotient("mixed", "quotient", "rest"),
        "mixed = xor32(add32(shl32(upper_part, 8), quotient), sign)",
    ]


def _quotient(dividend: str, quotient: str, rest: str) -> list[str]:
    return [
        f"{quotient} = mulhi32({dividend}, inverse)",
        f"{rest} = sub32({dividend}, mul32({quotient}, total))",
        f"more = {rest} >= total",
        f"{quotient} = select(more, add32({quotient}, 1), {quotient})",
        f"{rest} = select(more, sub32({rest}, total), {rest})",
    ]
