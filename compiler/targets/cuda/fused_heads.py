"""q, k, v and attention of a stream kernel as one: matrices, rotation, caches, heads.

The rows of the three matrices are dealt out to the warps together, each lane turns its number and
stores it where the head wants it.  Where every warp can do whole heads by itself, it does their
rows, too, and no barrier is needed before the heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from anachron.compiler.fixed import Op
from anachron.compiler.targets.cuda import lowering
from anachron.compiler.targets.cuda.constants import offsets_and_shifts
from anachron.compiler.targets.cuda.lowering import MOST_SCORE, find_largest
from anachron.compiler.targets.cuda.products import (
    constants_of,
    multiply_unit,
    row_of_unit,
    unit_rows,
)
from anachron.compiler.targets.cuda.residence import LATE, SHARED_CACHES
from anachron.compiler.targets.cuda.stream import Planes, Stream
from anachron.compiler.targets.cuda.windows import find_window
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda import tiles
from anachron.kernels.cuda.head_shapes import AHEAD, SIZES, Heads
from anachron.kernels.cuda.heads import attend, fetch_keys, keep_own
from anachron.kernels.cuda.places import WARP, indent, saturated

ROUND, TURN = 1 << 13, 14  # rope's products


@dataclass(frozen=True)
class Row:
    """A row of one of the matrices, and where its number goes."""

    role: str
    source: Op
    index: int
    head: int
    feature: int


@dataclass(frozen=True)
class Fusion:
    """An attention whose inputs come from matrices of one vector, turned or not."""

    attention: Op
    matrices: tuple[Op, Op, Op]
    ropes: tuple[Op | None, Op | None, Op | None]

    @property
    def inner(self) -> list[str]:
        """Names of the ops that are done together with the attention."""
        return [op.name for op in (*self.matrices, *self.ropes) if op]


def find_fusion(s: Stream, op: Op) -> Fusion | None:
    """The fusion of an attention, if it is of a shape that the fast heads know."""
    ops = {o.name: o for o in s.fixed.ops}
    users: dict[str, list[str]] = {}
    for o in s.fixed.ops:
        for name in o.inputs:
            users.setdefault(name, []).append(o.name)
    for name in users[op.name]:  # the heads leave bytes, as fast products alone read them
        wide = find_largest(s.ranges.accumulators.get(name, {}).get("sum", 0)) >= lowering.NARROW
        if ops[name].contract != "matvec" or wide:
            return None
    matrices: list[Op] = []
    ropes: list[Op | None] = []
    for name in op.inputs:
        source = ops[name]
        if users[name] != [op.name]:
            return None
        rope = source if source.contract == "rope" else None
        if rope:
            source = ops.get(rope.inputs[0], rope)
            if users.get(source.name) != [rope.name]:
                return None
        if source.contract != "matvec" or source is s.fixed.ops[-1]:
            return None
        matrices.append(source)
        ropes.append(rope)
    fusion = Fusion(op, tuple(matrices), tuple(ropes))  # type: ignore[arg-type]
    return fusion if _fits(s, fusion) else None


def _fits(s: Stream, f: Fusion) -> bool:
    op = f.attention
    heads, sums = shape(s, f), s.ranges.accumulators
    q, k, v = f.ropes
    bits = {s.bits(name) for name in (*op.inputs, *(m.name for m in f.matrices))}
    if len({m.inputs for m in f.matrices}) != 1 or len(bits) != 1 or v is not None:
        return False
    if heads.size not in SIZES or heads.query_bytes < 8 or not op.attributes["causal"]:
        return False
    if any(find_largest(sums[m.name]["sum"]) >= lowering.NARROW for m in f.matrices):
        return False
    if (q is None) != (k is None):
        return False
    if q and k:
        same = all(
            np.array_equal(q.constants[role], k.constants[role]) for role in ("cosine", "sine")
        )
        angles = np.abs(q.constants["cosine"].astype(np.int64))
        angles = angles + np.abs(q.constants["sine"].astype(np.int64))
        wide = int(angles.max(initial=0)) * 2.0**15 + ROUND >= lowering.NARROW
        if not same or wide or q.attributes["interleaved"] != k.attributes["interleaved"]:
            return False
    score, shift = find_largest(sums[op.name]["score"]), op.attributes["score_shift"]
    whole = heads.bits == 8 or shift < 8  # the sum is needed in one piece
    if score / 2.0**shift >= MOST_SCORE or whole and score >= lowering.NARROW:
        return False
    most = float(op.constants["table"].max()) * 2.0 ** (s.bits(op.inputs[2]) - 1)
    return most * (heads.lane_positions + 1) < lowering.NARROW


def shape(s: Stream, f: Fusion) -> Heads:
    """The heads' shapes; places come later."""
    op = f.attention
    heads = op.attributes["heads"]
    size = op.value.size // heads
    table = op.constants["table"]
    v = s.fixed.values[op.inputs[2]].format
    whole = float(s.ranges.accumulators[op.name]["weighted"]) * float(table.max())
    score = find_largest(s.ranges.accumulators[op.name]["score"])
    shift = op.attributes["score_shift"]
    most = math.floor(score / 2.0**shift) + 1
    by = shift - 8 if v.bits == 16 and shift >= 8 else shift if v.bits == 8 else 32
    floor = -(2 * most + len(table)) << by
    fits = table[-1] == 0 and 3 * most + len(table) + 2 << by < 1 << 31
    return Heads(
        heads, op.attributes["kv_heads"], size, v.bits, s.fixed.seq_len, s.warps,
        "", "", "", "", "", "", s.at.unsigned(table), op.attributes["score_shift"],
        whole * s.fixed.seq_len, floor if fits else None,
    )  # fmt: skip


def fused(s: Stream, f: Fusion) -> None:
    """All of it; the result is in planes."""
    h = shape(s, f)
    alone = h.heads % s.warps == 0 and h.kv_heads % s.warps == 0
    name = f.attention.name
    n = sum(op.contract == "attention" for op in s.fixed.ops)
    far = n * (h.keys_bytes + h.values_bytes) > s.at.room * SHARED_CACHES
    far = far and h.each == 1 and h.rows >= AHEAD
    query = s.at.buffer(h.queries_bytes + 2 * h.row_bytes * far, f"{name}: queries")
    whole = h.keys_bytes + h.values_bytes
    spare = WARP * s.warps * h.n_bytes * far
    cache = s.at.cache(whole + spare, f"{name}: keys and values")
    weights = s.scratch("weights", s.warps * h.rows)
    scores = s.scratch("scores", 4 * s.warps * h.rows) if h.rows > WARP else weights
    h = replace(
        h,
        query=f"@A{query}@",
        cache=f"@M{cache}@",
        keys=f"@A{cache}@",
        values=f"add32(@A{cache}@, {h.keys_bytes})",
        weights=f"@A{weights}@",
        scores=f"@A{scores}@",
        own_keys=f"add32(@A{query}@, {h.queries_bytes})" if far else "",
        spare=f"add32(@A{cache}@, {whole})",
        own_values=f"add32(@A{query}@, {h.queries_bytes + h.row_bytes})" if far else "",
    )
    if h.floor is not None:
        steps = h.ahead // WARP or int(h.rows == WARP)
        last = "<" if h.ahead else "<="
        positions = ["lane", *(f"add32(lane, {WARP * c})" for c in range(1, steps))]
        masks = [s.once(f"select({j} {last} p, 0, {h.floor})") for j in positions]
        h = replace(h, masks=tuple(masks) or ("beyond",))
    if far:
        s.reads(f"cache of {name}")
        window = find_window(s, f.matrices[0].inputs[0])
        keys = fetch_keys(h, window.after if window else "0")
        if window:
            s.loads[window.number] += [s.rename(line) for line in keys]
        else:
            s.emit(*keys)
    words = s.fragments(f.matrices[0].inputs[0])
    units, rows = _deal(s, f, h, alone)
    held = f"heads of {name}"
    for i in range(len(units[0])):
        _rows(s, f, h, [mine[i] for mine in units], rows, words, (query, cache), i)
        if i == 0:
            s.writes(held, own=alone)
    s.mark(f"{name}.heads")
    s.reads(held, own=alone)
    _heads(s, f, h)
    if far:
        s.after_barrier(f"cache of {name}", keep_own(h, WARP * s.warps))


def _deal(s: Stream, f: Fusion, h: Heads, alone: bool) -> tuple[list[list[list[Row]]], int]:
    """Units of rows: of each warp, in each round."""
    every = [
        [
            Row(role, matrix, head * h.size + feature, head, feature)
            for head in range(h.heads if role == "q" else h.kv_heads)
            for feature in _in_pairs(rope, h.size)
        ]
        for role, matrix, rope in zip("qkv", f.matrices, f.ropes, strict=True)
    ]
    if alone:
        shares = [
            [row for rows in every for row in rows if row.head * s.warps // _count(h, row) == warp]
            for warp in range(s.warps)
        ]
        size = WARP if len(shares[0]) > tiles.ROWS else tiles.ROWS
        return [[mine[at : at + size] for at in range(0, len(mine), size)] for mine in shares], size
    flat = [row for rows in every for row in rows]
    size = unit_rows(-(-len(flat) // tiles.ROWS), s.warps)
    rounds = -(-len(flat) // (size * s.warps))
    starts = [[size * (warp + s.warps * i) for i in range(rounds)] for warp in range(s.warps)]
    return [[flat[at : at + size] for at in mine] for mine in starts], size


def _count(h: Heads, row: Row) -> int:
    return h.heads if row.role == "q" else h.kv_heads


def _in_pairs(rope: Op | None, size: int) -> list[int]:
    """Features of a head, those that turn together side by side."""
    if rope is None or rope.attributes["interleaved"]:
        return list(range(size))
    return [feature for k in range(size // 2) for feature in (k, k + size // 2)]


def _rows(
    s: Stream, f: Fusion, h: Heads, dealt: list[list[Row]], rows: int,
    words: list[tuple[str, str]], things: tuple[int, int], i: int,
) -> None:  # fmt: skip
    """One unit of every warp: products, turned, stored."""
    columns = f.matrices[0].constants["weight"].shape[1]
    pad = tiles.ROWS
    weight = np.zeros((s.warps * rows, columns), np.int8)
    bias, shift = np.zeros(s.warps * rows, np.int64), np.zeros(s.warps * rows, np.int64)
    first = np.full(s.warps * rows, -1, np.int64)
    step = np.zeros_like(first)
    turn = np.full(s.warps * rows, h.size, np.int64)  # the angle 0
    for warp, mine in enumerate(dealt):
        for j, row in enumerate(mine):
            at = warp * rows + j
            matrix, full, by, _ = constants_of(s, row.source)
            weight[at], bias[at], shift[at] = matrix[row.index], full[row.index], by[row.index]
            offset, stride, high = h.addresses(row.role, row.head, row.feature)
            first[at] = offset
            step[at] = stride | high << 16
            if row.role != "v":
                turn[at] = j % h.size
    used = np.flatnonzero(first >= 0)
    for array in (bias, shift):
        if (array[used] == array[used[0]]).all():
            array[:] = array[used[0]]
    packed = np.concatenate(
        [tiles.pack_tiles(weight[at : at + pad]) for at in range(0, len(weight), pad)]
    )
    bits = s.bits(f.matrices[0].inputs[0])
    units = list(range(s.warps))
    sums = multiply_unit(s, packed, units, rows, bits, words, f.matrices[0])
    index = np.array([row_of_unit(unit, rows) for unit in units])
    first = np.where(SLOT_UPPER, -1, first[index]) if rows < WARP else first[index]
    step = np.where(first < 0, WARP << 16, step[index])
    (added,), (shifted,) = offsets_and_shifts(s, [bias[index]], [shift[index]])
    s.emit(*tiles.gather_rows(sums, bits, added, "total", whole=False))
    s.emit(f"v = {saturated(f'sar32(total, {shifted})', h.bits)}")
    if f.ropes[0]:
        _turn(s, f.ropes[0], h, turn[index])
    _store(s, h, first, step, things)


SLOT_UPPER = np.array([[lane & 2 for lane in range(WARP)]]).astype(bool)


def _turn(s: Stream, rope: Op, h: Heads, pairs: Array) -> None:
    """v turned with its neighbour's; what does not turn has the angle 0."""
    cosine = rope.constants["cosine"][: s.fixed.seq_len].astype(np.int64)
    sine = rope.constants["sine"][: s.fixed.seq_len].astype(np.int64)
    n = len(cosine)
    angles = np.zeros((n + 1, h.size + 1), np.int64)  # one more: fetched, never used
    for j in range(h.size):
        signed = sine[:, j // 2] * (1 if j % 2 else -1)
        angles[:n, j] = cosine[:, j // 2] & 0xFFFF | signed << 16
    angles[:, h.size] = 1 << TURN
    thing = s.at.constant(angles.astype("<u4").tobytes(), LATE, "angles")
    place = f"add32(mul32(p, {4 * (h.size + 1)}), shl32({s.word(pairs)}, 2))"
    angle = s.once_ahead(f"load32(@M{thing}@, add32({place}, @A{thing}@))")
    s.emit(
        "other = shfl_xor(v, 4)",
        f"v = add32(mul32(v, sar32(shl32({angle}, 16), 16)), mul32(other, sar32({angle}, 16)))",
        f"v = {saturated(f'sar32(add32(v, {ROUND}), {TURN})', h.bits)}",
    )


def _store(s: Stream, h: Heads, first: Array, step: Array, things: tuple[int, int]) -> None:
    """v to its query (or what waits beside it), or to its row of the cache.

    step  the bytes to the next position, and above 16 bits how far the high byte is from the low

    Lanes without a row store nowhere.  Where all of it is in shared memory, so do all lanes without
    a branch, two bytes each.
    """
    query, cache = things
    asked = step & 0xFFFF == 0
    if h.own_keys and s.packs:  # no step to the next position: one word has the rest
        both = s.word(np.where(first < 0, -1 << 8, first << 8) | step >> 16)
        s.emit(f"place = {both}", "start = sar32(place, 8)")
        at = f"select(start < 0, {s.nowhere}, add32(start, @A{query}@))"
        s.emit(f"at = {at}", "store8(sm, at, v)")
        if h.bits == 16:
            s.emit("store8(sm, add32(at, and32(place, 255)), sar32(v, 8))")
        return
    start, by = s.word(first), s.word(step & 0xFFFF)
    high = s.word(step >> 16)
    wide = [f"store8(sm, add32(at, {high}), sar32(v, 8))"] if h.bits == 16 else []
    if h.own_keys or s.near_caches:
        base = f"@A{query}@"
        if not h.own_keys:
            s.relies = True
            base = f"select({by} == 0, @A{query}@, @A{cache}@)"
        at = f"add32(add32({start}, mul32(p, {by})), {base})"
        if (first < 0).any():
            at = f"select({start} < 0, {s.nowhere}, {at})"
        s.emit(f"at = {at}", "store8(sm, at, v)", *wide)
        return
    text = [
        f"at = add32({start}, mul32(p, {by}))",
        f"if {start} >= 0:",
    ]
    queries = [f"    at = add32(at, @A{query}@)", "    store8(sm, at, v)"]
    store = f"    store{h.bits}(@M{cache}@, add32(at, @A{cache}@), v)"
    if asked[first >= 0].all():
        s.emit(*text, *queries, *indent(wide))
    elif not asked[first >= 0].any():
        s.emit(*text, store)
    else:
        s.emit(*text, f"    if {by} == 0:", *indent([*queries, *indent(wide)]), "    else:")
        s.emit(*indent([store]))


def _heads(s: Stream, f: Fusion, h: Heads) -> None:
    """The heads of every warp, and their results to planes."""
    name = f.attention.name
    size, bits = f.attention.value.size, f.attention.value.format.bits
    thing = s.at.buffer(tiles.plane_bytes(size, bits), f"{name} in planes")
    planes = s.planes[name] = Planes(f"@A{thing}@", f"planes of {name}", False)
    feature = f"add32(mul32(head, {h.size}), lane)"
    at = f"add32({tiles.plane_text('feature', size, bits)}, {planes.base})"
    if h.size < WARP:
        at = f"select(lane < {h.size}, {at}, {s.nowhere})"
    value = "mixed" if bits == h.bits else saturated("mixed", bits)
    for i in range(h.each):
        if i:
            s.hazards.own_written.add("weights")
        s.reads("weights", own=True)
        text = attend(h, i)
        if i == 0:
            s.writes(planes.name)
        text += [f"feature = {feature}", f"at = {at}", f"mixed = {value}"]
        text += tiles.store_planes(["mixed"], "at", size, bits)
        if h.each * s.warps > h.heads:
            start = f"add32(mul32(warp, {h.each}), {i})"
            s.emit(f"if {start} < {h.heads}:", *indent(text))
        else:
            s.emit(*text)
    s.hazards.own_written.add("weights")
