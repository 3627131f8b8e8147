"""FixedModel -> the text of a kernel that keeps thousands of streams going.

    a warp takes sixteen streams, from their first position to the end of the last of them:
        the ops, each lane keeping its streams' rows of keys and values for itself
        from a prompt's last id on, the logits, and the next id of each stream
    then the next sixteen

Arguments: constants; prompts (streams, seq_len) and how long each is; how many ids each stream may
choose, 0 for none; the states of their random generators; 256 / temperature and top-p in 256ths;
the memory of the warps; how many sixteens there are; and what comes back: how many ids a stream
chose and the ids, then their logits, if they are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.compiler.fixed import FixedModel
from anachron.compiler.ranges import analyse
from anachron.compiler.targets.cuda.batch.lowering import SHARED_CONSTANTS, Lowering
from anachron.compiler.targets.cuda.layout import SHARED_BYTES
from anachron.kernels.cuda.batch import sampling
from anachron.kernels.cuda.batch.activation import when
from anachron.kernels.cuda.batch.attention import SCORE_BYTES
from anachron.kernels.cuda.batch.fragments import order_plain
from anachron.kernels.cuda.places import WARP, indent
from anachron.kernels.reference.sampling import WEIGHTS

STREAMS = 16  # of a warp
WARPS, FEWER_WARPS = 12, 8  # of a block, at most: its threads may have 168 registers each, or 255
NARROW = 32  # the widest vector that a lane's share of leaves room in 168 registers: no spills
ACCUMULATOR_BITS = 64
# The assembler fetches weights far ahead, into as many registers as there are, and then some: walls
# stand between the ops of a wide model, and between so many tiles of one.
TILES_BETWEEN_WALLS = 4
ASIDE = ("last0", "last1", "state0", "state1")  # of a stream, that only a choice reads
SPARE = 1024  # bytes of shared memory for what sampling adds to the constants
ARGUMENTS = {
    **{"gm": "bytes", "prompts": "words", "lengths": "words", "limits": "words"},
    **{"states": "words", "coldness": "word", "top_p": "word", "memory": "bytes"},
    **{"tiles": "word", "chosen": "words", "logits": "words"},
}


@dataclass(frozen=True)
class BatchText:
    """A kernel's source, its constants, and what each warp needs.

    warp_bytes     of global memory: rows of keys and values, and logits
    score_bytes    of shared memory, behind the constants; 0 if all scores do not fit
    near_bytes     of shared memory, behind the scores: the first rows of keys and values
    kept           of each value that is kept: bytes of a row of sixteen streams, rows near
    warps          of a block, at most
    """

    source: str
    constants: bytes
    shared_constants: int
    warp_bytes: int
    score_bytes: int
    near_bytes: int
    kept: tuple[tuple[int, int], ...]
    warps: int

    def far_bytes(self, passes: float) -> float:
        """Keys and values of a stream that a position moves to and from global memory, on average.

        A position writes its row and reads all before it, in pairs.
        """
        whole = max(1, round(passes))
        moved = 0
        for row_bytes, near in self.kept:
            for p in range(whole):
                moved += row_bytes * ((p >= near) + max(0, p + p % 2 - near))
        return moved / STREAMS / whole

    def shared_bytes(self, warps: int) -> int:
        return self.shared_constants + warps * (self.score_bytes + self.near_bytes)


def write_batch(
    fixed: FixedModel,
    *,
    sampled: bool = False,
    logits: bool = False,
    room: int | None = None,
    far: bool = False,
    block: int = SHARED_BYTES,
) -> BatchText:
    """The text for a model; ValueError, saying why, for one that the kernels cannot compute.

    room   bytes of shared memory for constants     far  scores are in global memory in any case
    block  bytes of shared memory that a block has, of which constants get their usual share
    """
    if fixed.generation.mode == "sequence":
        raise ValueError(
            f"{fixed.name}: the batch kernel generates token by token; this model maps a whole "
            "sequence to another"
        )
    most = sampling.MOST_SAMPLED if sampled else sampling.MOST_IDS
    if fixed.vocab_size > most:
        raise ValueError(f"{fixed.name}: {fixed.vocab_size} ids, the batch kernel knows {most}")
    rows = fixed.seq_len + fixed.seq_len % 2
    score_bytes = rows // 2 * SCORE_BYTES * WARP
    warps = WARPS if fixed.ops[0].value.size <= NARROW else FEWER_WARPS
    room = block * SHARED_CONSTANTS // SHARED_BYTES if room is None else room
    near = not far and block - warps * score_bytes >= room
    ranges, free = analyse(fixed, ACCUMULATOR_BITS), 0
    if near and not far:  # what constants and scores leave of shared memory keeps rows
        first = Lowering(fixed, ranges, room)
        first.lower()
        first.lower_logits(None)
        free = (block - first.constants.shared - SPARE) // warps - score_bytes
    lowering = Lowering(fixed, ranges, room, free)
    wide = warps < WARPS
    if wide:
        lowering.between_walls = TILES_BETWEEN_WALLS
    if not near:
        lowering.scores, score_bytes = lowering.reserve(score_bytes), 0
    order = lowering.orders[fixed.logits.name]
    if order != order_plain(fixed.vocab_size):
        raise ValueError(
            f"{fixed.name}: its logits are no matrix's; the batch kernel wants logits = linear(...)"
        )
    keep = lowering.reserve(order.tiles * 2 * 4 * WARP) if sampled or logits else None
    body = [
        line
        for op, lines in lowering.lower()
        for line in (f"# {op.name}: {op.contract}", *lines, *(lowering.wall() if wide else []))
    ]
    choice = lowering.lower_logits(keep)
    if sampled:
        choice += sampling.sample(
            keep or 0,
            lowering.constants.add(WEIGHTS.astype("<u2").tobytes()),
            tiles=order.tiles,
            frac=fixed.logits.format.frac,
            first_id=fixed.generation.first_id,
            n_ids=fixed.vocab_size,
        )
    else:
        choice += sampling.argmax_end()
    shared = lowering.constants.shared
    aside = None if not wide else lowering.reserve(4 * WARP * len(ASIDE))
    source = [
        f"def kernel({', '.join(ARGUMENTS)}):",
        *indent(
            [
                f'"""{fixed.name}: {STREAMS} streams a warp."""',
                *_start(shared, score_bytes, lowering.near_bytes, lowering.warp_bytes),
                "while tile < tiles:",
                *indent([*_stream_start(fixed), *_put(aside)]),
                "    while True:",
                *indent([*body, *_get(aside), *_choose(fixed, choice, keep, logits, aside)], 2),
                "    tile = add32(tile, stride)",
            ]
        ),
    ]
    return BatchText(
        "\n".join(source) + "\n",
        lowering.constants.blob,
        shared,
        lowering.warp_bytes,
        score_bytes,
        lowering.near_bytes,
        lowering.kept,
        warps,
    )


def _start(shared: int, score_bytes: int, near_bytes: int, warp_bytes: int) -> list[str]:
    return [
        "sm = cuda.shared.array(0, int32, alignment=16)",
        "tid = int32(cuda.threadIdx.x)",
        "threads = int32(cuda.blockDim.x)",
        "block = int32(cuda.blockIdx.x)",
        "blocks = int32(cuda.gridDim.x)",
        "lane = and32(tid, 31)",
        "warp = shr32(tid, 5)",
        "group = shr32(lane, 2)",
        "place = and32(lane, 3)",
        "odd = and32(lane, 1)",
        *(f"{name}{by} = mul32({name}, {by})" for name, by in SCALED),
        f"rows = add32(mul32(warp, {score_bytes + near_bytes}), {shared + score_bytes})",
        f"score = add32(lane16, {f'sub32(rows, {score_bytes})' if score_bytes else '0'})",
        f"top_id = sub32({sampling.MOST_IDS - 1}, place2)",
        "i = mul32(tid, 16)",
        f"while i < {shared}:",
        "    z = load128(gm, i, 0)",
        "    store128(sm, i, 0, z[0], z[1], z[2], z[3])",
        "    i = add32(i, mul32(threads, 16))",
        "cuda.syncthreads()",
        "tile = add32(mul32(block, shr32(threads, 5)), warp)",
        "stride = mul32(blocks, shr32(threads, 5))",
        f"mine = forward(memory, int64(tile) * int64({warp_bytes}))",
        f"scores = {'sm' if score_bytes else 'mine'}",
    ]


SCALED = (
    *(("lane", by) for by in (4, 8, 16)),
    *(("place", by) for by in (2, 4, 8, 16)),
)


def _stream_start(fixed: FixedModel) -> list[str]:
    """What is kept of a stream: its id, its generator's state, and where it ends."""
    lines = ["p = int32(0)"]
    for half in range(2):
        lines += [
            *_stream(half),
            f"last{half} = add32(lengths[stream], sub32(limits[stream], 1))",
            f"last{half} = select_lt(0, limits[stream], last{half}, 0)",
            f"state{half} = states[stream]",
            f"token{half} = prompts[stream * {fixed.seq_len}]",
        ]
    return lines


def _stream(half: int) -> list[str]:
    """The number of a stream, found anew where it is wanted: registers are for the ops."""
    return [f"stream = add32(add32(mul32(tile, {STREAMS}), group), {8 * half})"]


def _put(aside: int | None) -> list[str]:
    """What no op reads, into the lane's own words of the warp's memory, where a model is wide."""
    if aside is None:
        return []
    return [f"store32(mine, lane4, {aside + 4 * WARP * i}, {n})" for i, n in enumerate(ASIDE)]


def _get(aside: int | None) -> list[str]:
    """What _put has put there."""
    if aside is None:
        return []
    return [f"{n} = load32(mine, lane4, {aside + 4 * WARP * i})" for i, n in enumerate(ASIDE)]


def _choose(
    fixed: FixedModel, choice: list[str], keep: int | None, logits: bool, aside: int | None
) -> list[str]:
    """The logits where a stream is past its prompt; each stream's next id; the end of all.

    A stream chooses at every position from its length on to `last`; 0 is behind it.
    """
    lines = ["p = add32(p, 1)"]
    for half in range(2):
        lines += _stream(half)
        lines.append(f"begun{half} = select_lt(p, lengths[stream], 0, 1)")
        lines.append(f"wants{half} = select_lt(last{half}, p, 0, begun{half})")
    lines += [f"best{half} = int32(0)" for half in range(2)]
    lines += when("redux_add(add32(wants0, wants1)) > 0", choice)
    ends = "".join(f" or best{{0}} == {i}" for i in fixed.generation.stop)
    for half in range(2):
        row = f"(stream * {fixed.seq_len} + count)"
        write = [f"chosen[stream * {fixed.seq_len + 1} + count + 1] = best{half}"]
        write.append(f"chosen[stream * {fixed.seq_len + 1}] = count + 1")
        body = ["count = sub32(p, lengths[stream])", *when("place == 0", write)]
        if logits and keep is not None:
            body += _copy_logits(fixed, half, keep, row)
        body += [
            f"token{half} = best{half}",
            f"if p == last{half}{ends.format(half)}:",
            f"    last{half} = int32(0)",
        ]
        lines += [
            *_stream(half),
            f"if wants{half} > 0:",
            *indent(body),
            f"elif begun{half} == 0:",
            f"    token{half} = prompts[stream * {fixed.seq_len} + p]",
        ]
    lines += _put(aside)
    return [*lines, "if redux_max(max32(last0, last1)) == 0:", "    break"]


def _copy_logits(fixed: FixedModel, half: int, keep: int, row: str) -> list[str]:
    size = fixed.vocab_size
    lines = ["j = int32(0)", f"while j < {-(-size // 8)}:"]
    body = [
        f"w = load32(mine, add32(mul32(j, {8 * WARP}), lane4), {keep + 4 * WARP * half})",
        "f = add32(mul32(j, 8), place2)",
        "low = low16(w)",
        "high = high16(w)",
        *(
            line
            for e, part in enumerate(("low", "high"))
            for line in when(f"f + {e} < {size}", [f"logits[{row} * {size} + f + {e}] = {part}"])
        ),
        "j = add32(j, 1)",
    ]
    return [*lines, *indent(body)]
