"""FixedModel -> the text of one kernel: a block that generates many tokens without stopping.

    for every position: the ops, with barriers; then, from the prompt's last id on, the logits, and
    the likeliest id, which every warp finds for itself and thread 0 writes down

A model that maps a sequence to a sequence does all positions at once instead.  Arguments, in order:
the memory of layout.py, the prompt's ids, how many they are, how many ids to choose at most, and
what comes back: the number of ids chosen and the ids, then their logits, if they are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.compiler.fixed import FixedModel
from anachron.compiler.ranges import analyse
from anachron.compiler.targets.cuda.layout import Layout
from anachron.compiler.targets.cuda.lowering import Lowered, Lowering
from anachron.kernels.cuda.places import WARP, each, indent
from anachron.kernels.cuda.sampling import MOST_IDS, argmax

THREADS = 128
ACCUMULATOR_BITS = 64
START = "start"
CHOICE = "choose"


@dataclass(frozen=True)
class KernelText:
    """A kernel's source and what stands between its barriers.

    always, at_end   names of the ops in each interval of a pass; the second with a choice
    """

    source: str
    layout: Layout
    always: tuple[str, ...]
    at_end: tuple[str, ...]
    lowered: tuple[Lowered, ...]
    threads: int = THREADS


def write_kernel(fixed: FixedModel, keep_logits: bool) -> KernelText:
    """The text for a model; ValueError for one that the kernels cannot compute exactly."""
    if fixed.vocab_size > MOST_IDS:
        raise ValueError(f"{fixed.name}: {fixed.vocab_size} ids, the kernels know {MOST_IDS}")
    causal = {op.attributes["causal"] for op in fixed.ops if op.contract == "attention"}
    encoder = fixed.generation.mode == "sequence"
    if not encoder and False in causal:
        raise ValueError(
            f"{fixed.name}: a model that generates token by token needs causal attention"
        )
    layout = Layout(fixed, THREADS // WARP)
    lowering = Lowering(fixed, analyse(fixed, ACCUMULATOR_BITS), layout, THREADS)
    lowered = lowering.lower()
    write = _write_encoder if encoder else _write_decoder
    always, at_end, body = write(fixed, layout, lowered, keep_logits)
    source = [
        "def kernel(gm, prompt, n_prompt, most, chosen, logits):",
        *indent(
            [
                f'"""{fixed.name}, {THREADS} threads, {layout.shared_bytes:,} bytes shared."""',
                "sm = cuda.shared.array(0, int32, alignment=16)",
                "tid = cuda.threadIdx.x",
                "lane = tid & 31",
                "warp = tid >> 5",
                f"for i in range(tid, {layout.shared_constants // 4}, {THREADS}):",
                "    store32(sm, 4 * i, load32(gm, 4 * i))",
                *body,
            ]
        ),
    ]
    return KernelText("\n".join(source) + "\n", layout, always, at_end, tuple(lowered))


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
    fixed: FixedModel, layout: Layout, lowered: list[Lowered], keep_logits: bool
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
        "while True:",
        "    cuda.syncthreads()",
        *indent(lines),
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
                "cuda.syncthreads()",
                *(copy if keep_logits else []),
                *argmax(logits, first_id=fixed.generation.first_id),
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
