"""Attention, a warp a head, from rows of keys and columns of values that dot products can read.

Lanes take positions, 32 at a time, and find the largest score and the sum of the weights together;
then they take features, and share the positions of each.  Positions come in whole steps: what was
never written meets a weight of 0.

Where keys and values are far away, those of the first AHEAD positions are fetched into registers
before they are wanted (`fetch_keys`); its own come from shared memory, where they lie
beside the query, count apart, and go to the cache when nobody reads there (`keep_own`).
"""

from __future__ import annotations

from dataclasses import replace

from anachron.kernels.cuda.head_shapes import STEP, Heads
from anachron.kernels.cuda.places import WARP, each, indent

LEAST = -(1 << 31)
ZERO = "zero"  # a word that is 0, which the assembler does not know
MOST_RATIO = 1 << 15  # a mean of int16


def attend(h: Heads, i: int) -> list[str]:
    """Head number i of each warp: `mixed` in the first `size` lanes, and `head`."""
    text = [*([] if h.ahead else find_head(h, i)), *_load_query(h)]
    if h.ahead:
        return [*text, *_steps_ahead(h)]
    if h.rows == WARP:
        text += [*_one_step(h), *_mix(h, False)]
    else:
        text += [*_many_steps(h), *_mix(h, True)]
    return [*text, *_divide(h)]


def find_head(h: Heads, i: int) -> list[str]:
    """Which head it is, and where its keys and a lane's values lie."""
    group = h.heads // h.kv_heads
    first = f"add32(mul32(warp, {h.each}), {i})" if h.each > 1 else "warp"
    return [
        f"head = {first}",
        f"shared_head = udiv32(head, {group})" if group > 1 else "shared_head = head",
        f"key_at = add32({h.keys}, mul32(shared_head, {h.rows * h.key_bytes}))",
        f"value_at = add32({h.values}, mul32(shared_head, {h.size * h.value_bytes}))",
        f"value_at = add32(value_at, mul32(and32(lane, {h.size - 1}), {h.value_bytes}))",
    ]


def fetch_keys(h: Heads, after: str) -> list[str]:
    """The keys of the first positions into registers, for a warp's only head.

    after  the text of a 0 that says when a load may go
    """
    places = find_head(h, 0)
    if h.each * h.warps > h.heads:  # a warp without a head reads what the last one reads
        places[0] = f"head = min32(warp, {h.heads - 1})"
    at = f"xor32(add32(key_at, mul32(lane, {h.key_bytes})), {after})"
    for c in range(h.ahead // WARP):
        places += _words(
            h.key_bytes, h.cache, f"add32({at}, {WARP * c * h.key_bytes})", f"key{c}"
        )[0]
    return places


def _fetch_values(h: Heads, after: str) -> list[str]:
    """The values of these positions: on their way while scores are found."""
    at, lines = f"xor32({_value_at(h, '0')}, {after})", []
    for c in range(h.ahead // h.positions_a_step):
        step = h.positions_a_step * c * h.n_bytes
        lines += _words(STEP * h.n_bytes, h.cache, f"add32({at}, {step})", f"value{c}")[0]
    return lines


def _value_at(h: Heads, step: str) -> str:
    return f"add32(value_at, mul32({_share(h, step)}, {h.n_bytes}))"


def _share(h: Heads, step: str) -> str:
    """A lane's first position of a step."""
    return f"add32({step}, mul32(sar32(lane, {h.size.bit_length() - 1}), {STEP}))"


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


def _score(h: Heads, j: str, c: int, valid: str) -> list[str]:
    """score of the position j, if it counts."""
    at = f"add32(key_at, mul32({j}, {h.key_bytes}))"
    lines, words = _words(h.key_bytes, h.cache, at, "key")
    return [*lines, f"score = {_counted(h, c, words, valid)}"]


def _product(h: Heads, words: list[str], start: str = "0") -> str:
    """The query times a row of keys, and `start`, shifted."""
    if h.bits == 8:
        score = start
        for n, word in enumerate(words):
            score = f"dp4a({word}, q{n}, {score})"
        return f"sar32({score}, {h.score_shift})"
    half = h.size // 4  # words of the query's low bytes
    low, high = "0", start
    for n in range(half):
        a, b = words[2 * n], words[2 * n + 1]
        low = f"dp2a_hi_u({b}, q{n}, dp2a_lo_u({a}, q{n}, {low}))"
        high = f"dp2a_hi({b}, q{half + n}, dp2a_lo({a}, q{half + n}, {high}))"
    if h.score_shift < 8:
        return f"sar32(add32({low}, shl32({high}, 8)), {h.score_shift})"
    # Floored in two steps, so that the whole sum need not fit 32 bits.
    return f"sar32(add32({high}, sar32({low}, 8)), {h.score_shift - 8})"


def _weight(h: Heads, valid: str, j: str) -> list[str]:
    """weight of a score, stored; added to total."""
    return [
        f"weight = {_looked_up(h, valid, 'score')}",
        f"store8(sm, {_weight_at(h, j)}, weight)",
    ]


def _counted(h: Heads, c: int, words: list[str], valid: str) -> str:
    """The score of a row of keys; one that does not count gets none that matters.

    c  of h.masks, where sums start
    """
    if h.masks:
        return _product(h, words, h.masks[c])
    return f"select({valid}, {_product(h, words)}, {LEAST})"


def _looked_up(h: Heads, valid: str, score: str) -> str:
    """The weight of a counted score; 0 where it does not count."""
    if h.masks:
        return h.table.load(f"min32(sub32(largest, {score}), {h.table.size - 1})")
    distance = f"select({valid}, min32(sub32(largest, {score}), {h.table.size - 1}), 0)"
    return f"select({valid}, {h.table.load(distance)}, 0)"


def _weight_at(h: Heads, j: str) -> str:
    return f"add32({h.weights}, add32(mul32(warp, {h.rows}), {j}))"


def _steps_ahead(h: Heads) -> list[str]:
    """Its own position, those that were fetched ahead, then the others as they come."""
    chunks = range(h.ahead // WARP)
    at = f"add32({h.own_keys}, mul32(shared_head, {h.key_bytes}))"
    lines, words = _words(h.key_bytes, "sm", at, "mine")
    text = [
        *lines,
        *_fetch_values(h, f"and32(or32(q0, {words[0]}), {ZERO})"),
        f"own_score = {_product(h, words)}",
        "largest = own_score",
    ]
    for c in chunks:
        ready = _words(h.key_bytes, "", "", f"key{c}")[1]
        valid = f"add32(lane, {WARP * c}) < p"
        text += [
            f"score{c} = {_counted(h, c, ready, valid)}",
            f"largest = max32(largest, score{c})",
        ]
    own = h.table.load(f"min32(sub32(largest, own_score), {h.table.size - 1})")
    looked_up = ["largest = redux_max(largest)", f"own_weight = {own}"]
    for c in chunks:  # all are looked up before one is stored: the compiler keeps that order
        valid = f"add32(lane, {WARP * c}) < p"
        looked_up.append(f"weight{c} = {_looked_up(h, valid, f'score{c}')}")
    for c in chunks:
        looked_up.append(f"store8(sm, {_weight_at(h, f'add32(lane, {WARP * c})')}, weight{c})")
    looked_up.append("total = select(lane == 0, own_weight, 0)")
    looked_up += [f"total = add32(total, weight{c})" for c in chunks]
    fewer = replace(h, largest_sum=h.largest_sum / h.seq_len * (h.ahead + 1))
    near = [*looked_up, *_mix(h, False), *_divide(fewer)]
    if h.ahead >= h.rows:
        return [*text, *near]
    first, second = _loops(h, h.ahead, "j < p")
    far = [*first, *looked_up, *second, *_mix(h, True), *_divide(h)]
    return [*text, f"if p > {h.ahead}:", *indent(far), "else:", *indent(near)]


def keep_own(h: Heads, threads: int) -> list[str]:
    """A position's keys and values to the cache, once nobody looks at what was there before."""
    width = h.kv_heads * h.size
    load = f"load{h.bits}(sm, add32({{}}, {'shl32(i, 1)' if h.bits == 16 else 'i'}))"
    key = f"mul32(add32(mul32(udiv32(i, {h.size}), {h.rows}), p), {h.key_bytes})"
    key = f"add32({key}, mul32(urem32(i, {h.size}), {h.n_bytes}))"
    value = f"add32(mul32(i, {h.value_bytes}), mul32(p, {h.n_bytes}))"
    loads = [
        f"key_kept = {load.format(h.own_keys)}",
        f"value_kept = {load.format(h.own_values)}",
    ]
    key, value = f"add32({h.keys}, {key})", f"add32({h.values}, {value})"
    if width > threads:
        stores = [f"store{h.bits}({h.cache}, {at}, {which}_kept)"
                  for at, which in ((key, "key"), (value, "value"))]  # fmt: skip
        return each(width, threads, [*loads, *stores])
    # Without a branch: it would hold up what the barrier was waited for.
    nowhere = f"add32({h.spare}, mul32(tid, {h.n_bytes}))"
    return [f"i = min32(tid, {width - 1})", *loads] + [
        f"store{h.bits}({h.cache}, select(tid < {width}, {at}, {nowhere}), {which}_kept)"
        for at, which in ((key, "key"), (value, "value"))
    ]


def _one_step(h: Heads) -> list[str]:
    return [
        *_score(h, "lane", 0, "lane <= p"),
        "largest = redux_max(score)",
        *_weight(h, "lane <= p", "lane"),
        "total = weight",
    ]


def _many_steps(h: Heads) -> list[str]:
    first, second = _loops(h, 0, "j <= p")
    return [
        f"largest = int32({LEAST})",
        *first,
        "largest = redux_max(largest)",
        "total = int32(0)",
        *second,
    ]


def _loops(h: Heads, start: int, valid: str) -> tuple[list[str], list[str]]:
    """Scores of the positions from `start` on, and their weights; whole steps of both."""
    cell = f"add32({h.scores}, shl32(add32(mul32(warp, {h.rows}), j), 2))"
    if start >= h.rows:
        return [], []
    scores = [
        f"step = int32({start})",
        "while step <= p:",
        *indent(
            [
                "j = add32(step, lane)",
                f"beyond = {h.masks and f'select({valid}, 0, {h.floor})' or 0}",
                *_score(replace(h, masks=h.masks and ("beyond",)), "j", 0, valid),
                f"store32(sm, {cell}, score)",
                "largest = max32(largest, score)",
                f"step = add32(step, {WARP})",
            ]
        ),
    ]
    # Longer steps come to scores that were never found: those are told by their number.
    h = replace(h, masks=()) if h.positions_a_step > WARP else h
    whole = f"add32(and32(p, {-h.positions_a_step}), {h.positions_a_step})"
    weights = [
        f"end = {whole}" if h.positions_a_step > WARP else "end = add32(p, 1)",
        f"step = int32({start})",
        "while step < end:",
        *indent(
            [
                "j = add32(step, lane)",
                f"score = load32(sm, {cell})",
                *_weight(h, valid, "j"),
                "total = add32(total, weight)",
                f"step = add32(step, {WARP})",
            ]
        ),
    ]
    return scores, weights


def _mix(h: Heads, loops: bool) -> list[str]:
    """mixed: a lane's sum of weighted values, over its share of the positions.

    loops  there are others than those fetched ahead
    """

    def products(step: str, ready: str = "") -> list[str]:
        lines, words = _words(STEP * h.n_bytes, h.cache, _value_at(h, step), ready or "value")
        lines = [] if ready else lines
        lines.append(f"share = load64(sm, {_weight_at(h, _share(h, step))})")
        for n in range(2):
            if h.bits == 8:
                lines.append(f"mixed = dp4a_u({words[n]}, share[{n}], mixed)")
            else:
                lines.append(f"mixed = dp2a_lo_u({words[2 * n]}, share[{n}], mixed)")
                lines.append(f"other = dp2a_hi_u({words[2 * n + 1]}, share[{n}], other)")
        return lines

    text = ["total = max32(1, redux_add(total))", "cuda.syncwarp()"]
    text += ["mixed = int32(0)", "other = int32(0)"]
    if h.ahead:
        feature = f"add32(mul32(shared_head, {h.size}), and32(lane, {h.size - 1}))"
        at = f"add32({h.own_values}, mul32({feature}, {h.n_bytes}))"
        own = f"mul32(own_weight, load{h.bits}(sm, {at}))"
        text[-2] = f"mixed = select(lane < {h.size}, {own}, 0)"
        for c in range(h.ahead // h.positions_a_step):
            text += products(str(h.positions_a_step * c), f"value{c}")
    if h.rows == WARP:
        for step in range(0, WARP, h.positions_a_step):
            text += products(str(step))
    elif loops:
        text += [
            f"step = int32({h.ahead})",
            "while step <= p:",
            *indent([*products("step"), f"step = add32(step, {h.positions_a_step})"]),
        ]
    return [*text, "mixed = add32(mixed, other)"]


def _divide(h: Heads) -> list[str]:
    """The sum over the lanes of a feature, divided by the total, flooring.

    A sum of more than 31 bits comes in two parts, eight bits below; one of more than 32 is divided
    in two steps.
    """
    distances = [d for d in (4, 8, 16) if d >= h.size]
    if not h.split_sum:
        text = [f"mixed = add32(mixed, shfl_xor(mixed, {d}))" for d in distances]
        return [
            *text,
            "sign = sar32(mixed, 31)",
            "mixed = xor32(mixed, sign)",
            *_quotient("mixed", "quotient"),
            "mixed = xor32(quotient, sign)",
        ]
    text = ["low = and32(mixed, 255)", "mixed = sar32(mixed, 8)"]
    for d in distances:
        text += [
            f"mixed = add32(mixed, shfl_xor(mixed, {d}))",
            f"low = add32(low, shfl_xor(low, {d}))",
        ]
    text += ["mixed = add32(mixed, sar32(low, 8))", "sign = sar32(mixed, 31)"]
    if h.largest_sum < 2.0**32:
        return [
            *text,
            "mixed = xor32(or32(shl32(mixed, 8), and32(low, 255)), sign)",
            *_quotient("mixed", "quotient"),
            "mixed = xor32(quotient, sign)",
        ]
    return [
        *text,
        "low = and32(xor32(low, sign), 255)",
        "mixed = xor32(mixed, sign)",
        *_quotient("mixed", "upper_part"),
        "mixed = sub32(mixed, mul32(upper_part, total))",
        "mixed = add32(shl32(mixed, 8), low)",
        *_quotient("mixed", "quotient"),
        "mixed = xor32(add32(shl32(upper_part, 8), quotient), sign)",
    ]


def _quotient(dividend: str, quotient: str) -> list[str]:
    """Of numbers without sign, at most MOST_RATIO: the guess is right or one too small."""
    rest = f"sub32({dividend}, mul32({quotient}, total))"
    return [
        f"{quotient} = ratio_below({dividend}, total)",
        f"{quotient} = add32({quotient}, shr32(sub32(sub32(total, 1), {rest}), 31))",
    ]
