"""attention, rope: the two ops that know their position.

A warp takes a head (of a position): its lanes take the rows of the keys, find the largest score
and the sum of the weights together, and then share the features of the result.
"""

from __future__ import annotations

from anachron.kernels.cuda.places import Place, each, each_lane, indent, saturated

MOST_STRAIGHT = 32  # features of a head that are kept in registers
ROUND = 1 << 13  # rope's products are Q14


def attention(
    q: Place,
    k: Place,
    v: Place,
    table: Place,
    scratch: Place,
    y: Place,
    *,
    heads: int,
    kv_heads: int,
    causal: bool,
    score_shift: int,
    rows: int,
    positions: int,
    warps: int,
    wide_scores: bool,
    wide_sums: bool,
) -> list[str]:
    """The floored mean of values, weighted by a table of the distance to the largest score.

    scratch  a row a warp, a word a position: scores, then weights
    wide_scores, wide_sums   64 bits before the shift of a score, and in the sum of values
    """
    size = y.size // heads
    group = heads // kv_heads
    cell = f"sm, {scratch.offset} + {scratch.row_bytes} * warp + 4 * j"
    before, products = _score(q, k, size, wide_scores)
    if wide_scores:
        products.append(f"score = int32(wide >> int64({score_shift}))")
    else:
        products.append(f"score = sar32(score, {min(score_shift, 31)})")
    text = [
        f"seen = {'p + 1' if causal else rows}",
        "largest = int32(-2147483648)",
        *before,
        "for j in range(lane, seen, 32):",
        *indent(products),
        f"    store32({cell}, score)",
        "    largest = max32(largest, score)",
        "largest = redux_max(largest)",
        "total = int32(0)",
        "for j in range(lane, seen, 32):",
        f"    distance = min32(sub32(largest, load32({cell})), {table.size - 1})",
        f"    weight = {table.load('distance')}",
        f"    store32({cell}, weight)",
        "    total = add32(total, weight)",
        "total = max32(1, redux_add(total))",
        "cuda.syncwarp()",
    ]
    value = v.load(f"shared_head * {size} + f", "j")
    if wide_sums:
        mix = [
            "wide = int64(0)",
            "for j in range(seen):",
            f"    wide += int64(load32({cell})) * int64({value})",
        ]
        mean = saturated("floordiv64(wide, int64(total))", y.bits, wide=True)
    else:
        mix = [
            "mixed = int32(0)",
            "for j in range(seen):",
            f"    mixed = add32(mixed, mul32(load32({cell}), {value}))",
        ]
        mean = saturated("floordiv32(mixed, total)", y.bits)
    text += each_lane(size, [*mix, y.store(f"head * {size} + f", mean)])
    text.append("cuda.syncwarp()")
    split = ["head = item"]
    if positions > 1:
        split = [f"head = urem32(item, {heads})", f"p = udiv32(item, {heads})"]
    split.append(f"shared_head = udiv32(head, {group})" if group > 1 else "shared_head = head")
    items = f"for item in range(warp, {heads * positions}, {warps}):"
    return [items, *indent(split + text)]


def _score(q: Place, k: Place, size: int, wide: bool) -> tuple[list[str], list[str]]:
    """The text of score = q . k[j]: what comes before the loop over j, and what is in it."""
    mine, theirs = f"head * {size}", f"shared_head * {size}"
    if wide or size > MOST_STRAIGHT:
        one, other = q.load(f"{mine} + e"), k.load(f"{theirs} + e", "j")
        loop = f"for e in range({size}):"
        if wide:
            return [], ["wide = int64(0)", loop, f"    wide += int64({one}) * int64({other})"]
        return [], ["score = int32(0)", loop, f"    score = add32(score, mul32({one}, {other}))"]
    before, products = [], ["score = int32(0)"]
    if q.bits == k.bits == 8 and size % 4 == 0:
        for e in range(0, size, 4):
            before.append(f"q{e} = load32({q.memory}, {q.address(f'{mine} + {e}')})")
            word = f"load32({k.memory}, {k.address(f'{theirs} + {e}', 'j')})"
            products.append(f"score = dp4a(q{e}, {word}, score)")
    else:
        for e in range(size):
            before.append(f"q{e} = {q.load(f'{mine} + {e}')}")
            key = k.load(f"{theirs} + {e}", "j")
            products.append(f"score = add32(score, mul32(q{e}, {key}))")
    return before, products


def rope(
    x: Place,
    cosine: Place,
    sine: Place,
    y: Place,
    *,
    heads: int,
    interleaved: bool,
    wide: bool,
    positions: int,
    threads: int,
) -> list[str]:
    """Each pair of features turned by its position's angle, rounded.

    cosine, sine  a row a position; wide: the sum of two products needs 64 bits
    """
    size = x.size // heads
    half = size // 2
    near, far = ("2 * k", "2 * k + 1") if interleaved else ("k", f"k + {half}")
    body = []
    pair = "i"
    if positions > 1:
        body += [f"p = udiv32(i, {heads * half})", f"pair = urem32(i, {heads * half})"]
        pair = "pair"
    body += [
        f"k = urem32({pair}, {half})",
        f"head = mul32(udiv32({pair}, {half}), {size})",
        f"a = {x.load(f'head + {near}')}",
        f"b = {x.load(f'head + {far}')}",
        f"c = {cosine.load('k')}",
        f"s = {sine.load('k')}",
    ]
    if wide:
        left = f"(int64(a) * int64(c) - int64(b) * int64(s) + {ROUND}) >> int64(14)"
        right = f"(int64(a) * int64(s) + int64(b) * int64(c) + {ROUND}) >> int64(14)"
    else:
        left = f"sar32(add32(sub32(mul32(a, c), mul32(b, s)), {ROUND}), 14)"
        right = f"sar32(add32(add32(mul32(a, s), mul32(b, c)), {ROUND}), 14)"
    body += [
        y.store(f"head + {near}", saturated(left, y.bits, wide)),
        y.store(f"head + {far}", saturated(right, y.bits, wide)),
    ]
    return each(heads * half * positions, threads, body)
