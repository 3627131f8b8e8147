"""FixedModel -> the text of one kernel: a block that generates many tokens without stopping.

    for every position: the ops, with barriers; then, from the prompt's last id on, the logits, and
    an id, which every warp finds for itself and thread 0 writes down

A model that generates token by token is written as a stream (stream_kernel.py), whose ops have fast
forms; one that maps a sequence to a sequence does all positions at once, with the general kernels.
Every block of a grid does the same, for itself.

To change the arguments: ARGUMENTS, here and where conversation.py gives them.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.compiler.fixed import FixedModel
from anachron.compiler.ranges import analyse
from anachron.compiler.targets.cuda.layout import SHARED_BYTES, Layout
from anachron.compiler.targets.cuda.lowering import Lowered, Lowering
from anachron.compiler.targets.cuda.residence import Residence
from anachron.compiler.targets.cuda.stream_kernel import (
    CHOICE,
    END,
    NEXT,
    count_warps,
    finish_stream,
    write_stream,
)
from anachron.kernels.cuda.places import WARP, each, indent
from anachron.kernels.cuda.sampling import MOST_IDS, argmax, sample
from anachron.kernels.reference.sampling import WEIGHTS

THREADS = 128  # of the general kernels
ACCUMULATOR_BITS = 64
START = "start"
ARGUMENTS = {  # name -> type: bytes, words, or one word
    "gm": "bytes",  # constants, and room for caches
    "prompt": "words",
    "n_prompt": "word",
    "most": "word",  # ids to choose
    "inverse_temperature": "word",  # in 256ths; 0 takes the likeliest
    "top_p": "word",  # in 256ths
    "random_state": "word",
    "repeats": "word",  # the whole generation again: to be timed
    "chosen": "words",  # how many, and the ids: most + 1 words a block
    "logits": "words",  # a row an id, if they are kept
    "clocks": "words",  # of all of it; then of each phase, if they are told apart
}


@dataclass(frozen=True)
class KernelText:
    """A kernel's source and what stands between its barriers.

    leading          names of the ops before the first pass's first barrier
    always, at_end   names of the ops in each interval of a pass; the second with a choice
    variants         op -> (which form it has, why)
    phases           what the instrumented kernel tells apart
    resident         tiles of a thread that stay in registers
    """

    source: str
    layout: Layout | Residence
    always: tuple[str, ...]
    at_end: tuple[str, ...]
    variants: dict[str, tuple[str, str]]
    threads: int = THREADS
    leading: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    resident: int = 0


def write_kernel(
    fixed: FixedModel,
    keep_logits: bool,
    *,
    stream: bool = True,
    phases: bool = False,
    room: int | None = None,
) -> KernelText:
    """The text for a model; ValueError for one that the kernels cannot compute exactly.

    stream  use fast forms where there are any     phases  take the time of every op
    room    bytes of shared memory
    """
    room = SHARED_BYTES if room is None else room
    if fixed.vocab_size > MOST_IDS:
        raise ValueError(f"{fixed.name}: {fixed.vocab_size} ids, the kernels know {MOST_IDS}")
    causal = {op.attributes["causal"] for op in fixed.ops if op.contract == "attention"}
    encoder = fixed.generation.mode == "sequence"
    if not encoder and False in causal:
        raise ValueError(
            f"{fixed.name}: a model that generates token by token needs causal attention"
        )
    if stream and not encoder:
        return _write_stream(fixed, keep_logits, phases, room)
    layout = Layout(fixed, THREADS // WARP, room)
    lowering = Lowering(fixed, analyse(fixed, ACCUMULATOR_BITS), layout, THREADS)
    weights = layout.unsigned_words(WEIGHTS)
    lowered = lowering.lower()
    if encoder:
        always, at_end, body = _write_encoder(fixed, layout, lowered, keep_logits)
    else:
        choose = sample(
            layout.values[fixed.logits.name],
            weights,
            frac=fixed.logits.format.frac,
            first_id=fixed.generation.first_id,
        )
        always, at_end, body = _write_decoder(fixed, layout, lowered, keep_logits, choose)
    source = [
        _header(fixed, THREADS),
        *indent(
            [
                "sm = cuda.shared.array(0, int32, alignment=16)",
                "tid = cuda.threadIdx.x",
                "lane = tid & 31",
                "warp = tid >> 5",
                f"for i in range(tid, {layout.shared_constants // 4}, {THREADS}):",
                "    store32(sm, 4 * i, load32(gm, 4 * i))",
                "began = clock()",
                "for again in range(repeats):",
                *indent(body),
                f"# {END}",
                "if tid == 0:",
                "    clocks[0] = sub32(clock(), began)",
            ]
        ),
    ]
    variants = {item.op.name: _variant(item.lines) for item in lowered}
    return KernelText("\n".join(source) + "\n", layout, always, at_end, variants)


def _header(fixed: FixedModel, threads: int) -> str:
    return f'def kernel({", ".join(ARGUMENTS)}):\n    """{fixed.name}, {threads} threads."""'


def _write_stream(fixed: FixedModel, keep_logits: bool, phases: bool, room: int) -> KernelText:
    warps, ranges = count_warps(fixed), analyse(fixed, ACCUMULATOR_BITS)
    for near_caches in (True, False):
        for packs in (False, True):
            written = write_stream(
                fixed, ranges, keep_logits, warps, room, phases, near_caches, packs
            )
            if written.resident:
                break
        s = written.stream
        try:
            source, layout, resident = finish_stream(written, _header(fixed, WARP * warps))
        except ValueError as error:
            raise ValueError(f"{fixed.name}: {error}") from None
        if not (s.relies and layout.spilled):
            break
    names = [" + ".join(dict.fromkeys(part)) for part in s.intervals]
    first, *rest = names
    body = rest[: written.always - 1]
    choice = rest[written.always - 1 :]
    # What follows a pass's last barrier belongs to it, and begins the next one.
    ends = (first,) if written.prompt_barrier else ()
    return KernelText(
        source,
        layout,
        (*body, *ends),
        (*body, *choice),
        dict(s.variants),
        WARP * warps,
        (first,),
        tuple(s.phases or ()),
        resident,
    )


def _variant(lines: list[str]) -> tuple[str, str]:
    text = "\n".join(lines)
    if "int64" in text:
        return "64 bits", "32 are not proven to hold its sums"
    for name in ("dp4a", "dp2a"):
        if name in text:
            return name, "32 bits are proven to hold its sums"
    return "32 bits", "proven to hold its sums"


def _gather(lowered: list[Lowered]) -> tuple[tuple[str, ...], list[str]]:
    """The intervals' names and the lines of ops in order."""
    intervals: list[list[str]] = [[]]
    lines: list[str] = []
    for item in lowered:
        if item.barrier:
            lines.append("cuda.syncthreads()")
            intervals.append([])
        intervals[-1].append(item.op.name)
        lines += [f"# {item.op.name}: {item.op.contract}", *item.lines]
    return tuple(" + ".join(names) for names in intervals), lines


def _write_decoder(
    fixed: FixedModel,
    layout: Layout,
    lowered: list[Lowered],
    keep_logits: bool,
    choose: list[str],
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    *body, last = lowered
    always, lines = _gather(body)
    logits = layout.values[fixed.logits.name]
    size = fixed.vocab_size
    ends = "".join(f" or best == {i}" for i in fixed.generation.stop)
    copy = each(size, THREADS, ["f = i", f"logits[count * {size} + f] = {logits.load('f')}"])
    text = [
        "token = prompt[0]",
        "count = int32(0)",
        "p = int32(0)",
        "random = random_state",
        "while True:",
        "    cuda.syncthreads()",
        *indent(lines),
        f"    # {NEXT}",
        "    p = add32(p, 1)",
        "    if p < n_prompt:",
        "        token = prompt[p]",
        "    else:",
        *indent(
            [
                "p = sub32(p, 1)",
                *(["cuda.syncthreads()"] if last.barrier else []),
                f"# {last.op.name}: {last.op.contract}",
                *last.lines,
                f"# {CHOICE}",
                "cuda.syncthreads()",
                *(copy if keep_logits else []),
                "if inverse_temperature == 0:",
                *indent(argmax(logits, first_id=fixed.generation.first_id)),
                "else:",
                *indent(choose),
                "count = add32(count, 1)",
                "if tid == 0:",
                "    chosen[0] = count",
                "    chosen[count] = best",
                f"if count == most{ends}:",
                "    break",
                "token = best",
                "p = add32(p, 1)",
            ],
            2,
        ),
    ]
    if last.barrier:
        return always, (*always, last.op.name, CHOICE), text
    return always, (*always[:-1], f"{always[-1]} + {last.op.name}", CHOICE), text


def _write_encoder(
    fixed: FixedModel, layout: Layout, lowered: list[Lowered], keep_logits: bool
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    intervals, lines = _gather(lowered)
    logits = layout.values[fixed.logits.name]
    size, n = fixed.vocab_size, fixed.seq_len
    split = [f"p = udiv32(i, {size})", f"f = urem32(i, {size})"]
    copy = each(size * n, THREADS, [*split, f"logits[i] = {logits.load('f')}"])
    text = [
        "cuda.syncthreads()",
        *lines,
        f"# {CHOICE}",
        "cuda.syncthreads()",
        *(copy if keep_logits else []),
        f"for p in range(warp, {n}, {THREADS // WARP}):",
        *indent(argmax(logits, first_id=fixed.generation.first_id)),
        "    if lane == 0:",
        "        chosen[1 + p] = best",
        "if tid == 0:",
        f"    chosen[0] = {n}",
    ]
    return intervals, (*intervals, CHOICE), text
