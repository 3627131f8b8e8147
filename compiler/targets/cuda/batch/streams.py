"""Prompts through a kernel for many streams: ids in, ids and logits out, and what it cost.

    kernel = build_batch(fixed)
    run = run_batch(kernel, ["hey", "hello"], n=8)     # on ptx: interpreted
    run.texts, run.generated, run.instructions_per_token
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anachron.compiler.fixed import FixedModel
from anachron.compiler.prompts import encode_prompt
from anachron.compiler.run import RunError, Sampling
from anachron.compiler.targets.cuda.batch.kernel import (
    ARGUMENTS,
    STREAMS,
    BatchText,
    write_batch,
)
from anachron.compiler.targets.cuda.generations import HOPPER, Gpu
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.emulators.ptx import PtxError, load
from anachron.emulators.ptx.traffic import Traffic
from anachron.kernels.arithmetic import Array
from anachron.kernels.cuda.places import WARP
from anachron.kernels.reference.sampling import seed_state

INTERPRETED_WARPS = 2  # of a block, interpreted: time there is by warp-instruction
MOST_STREAMS = 1 << 20


@dataclass(frozen=True)
class BatchKernel:
    """A model's kernel for many streams, compiled."""

    fixed: FixedModel
    text: BatchText
    ptx: str = field(repr=False)
    sampled: bool
    logits: bool

    def __repr__(self) -> str:
        text = self.text
        return (
            f"BatchKernel({self.fixed.name}: {len(text.constants):,} bytes of constants, "
            f"{STREAMS} streams and {text.warp_bytes:,} bytes a warp)"
        )


@dataclass(frozen=True)
class BatchRun:
    """What the streams answered.

    generated  of each stream; the stop that ended it is left out
    logits     of each stream (ids chosen, vocab_size), or None
    tokens     ids chosen by all streams, stops among them
    passes     positions that the streams went through, prompts included
    counts     warp-instructions by opcode, where the kernel was interpreted
    time_ns    of the launch on a GPU, else None
    issued     line of the PTX -> warp-instructions       traffic  of memory, if it was counted
    """

    fixed: FixedModel
    prompt_ids: tuple[tuple[int, ...], ...]
    generated: tuple[tuple[int, ...], ...]
    logits: tuple[Array, ...] | None
    tokens: int
    passes: int
    counts: Mapping[str, int]
    time_ns: int | None = None
    issued: Mapping[int, int] = field(default_factory=dict, repr=False)
    traffic: Traffic | None = None

    @property
    def texts(self) -> list[str]:
        return [self.fixed.tokenizer.decode(list(ids)) for ids in self.generated]

    @property
    def instructions(self) -> int:
        return sum(self.counts.values())

    @property
    def instructions_per_token(self) -> float:
        """Of a warp, by each position of each stream: what the issue of instructions bounds."""
        return self.instructions / max(1, self.passes)

    def __repr__(self) -> str:
        return f"BatchRun({self.fixed.name}: {len(self.generated)} streams, {self.passes} passes)"


def build_batch(
    fixed: FixedModel, *, sampled: bool = False, logits: bool = False, gpu: Gpu = HOPPER
) -> BatchKernel:
    """The kernel of a model.

    sampled  ids are drawn with a temperature, not the likeliest taken
    logits   every logit of every choice is kept
    gpu      that it is to fit

    Raises ValueError, in one line, for a model that it cannot compute, and Absent where the
    compiler is not installed.
    """
    text = write_batch(fixed, sampled=sampled, logits=logits, block=gpu.shared_bytes)
    ptx = compile_kernel(text.source, WARP * text.warps, ARGUMENTS, alone=True)
    return BatchKernel(fixed, text, ptx, sampled, logits)


@dataclass(frozen=True)
class Launch:
    """A kernel's arguments, for so many blocks of so many warps."""

    arguments: tuple[Array | int, ...]
    ids: tuple[tuple[int, ...], ...]
    blocks: int
    warps: int
    chosen: Array
    logits: Array


def prepare(
    kernel: BatchKernel,
    prompts: Sequence[str],
    n: int | None,
    sampling: Sampling,
    blocks: int,
    warps: int,
) -> Launch:
    """The arguments for prompts; stream i draws with the seed of the sampling plus i."""
    fixed = kernel.fixed
    if not 1 <= len(prompts) <= MOST_STREAMS:
        raise ValueError(f"{len(prompts):,} streams: allowed are 1 to {MOST_STREAMS:,}")
    if bool(sampling.inverse) != kernel.sampled:
        raise ValueError("a kernel either samples or takes the likeliest: build it as it is used")
    known: dict[str, tuple[int, ...]] = {}
    for prompt in prompts:
        if prompt not in known:
            known[prompt] = tuple(encode_prompt(fixed, prompt))
    ids = tuple(known[prompt] for prompt in prompts)
    tiles = -(-len(ids) // STREAMS)
    every = np.zeros((tiles * STREAMS, fixed.seq_len), np.int32)
    lengths, limits = np.ones(len(every), np.int32), np.zeros(len(every), np.int32)
    states = np.ones(len(every), np.uint32)
    for i, one in enumerate(ids):
        room = fixed.seq_len - len(one)
        every[i, : len(one)] = one
        lengths[i], limits[i] = len(one), room if n is None else min(n, room)
        states[i] = seed_state(sampling.seed + i)
    chosen = np.zeros((len(every), fixed.seq_len + 1), np.int32)
    rows = fixed.seq_len if kernel.logits else 0
    logits = np.zeros((len(every), max(1, rows), fixed.vocab_size if rows else 1), np.int32)
    memory = np.zeros(max(1, blocks * warps * kernel.text.warp_bytes), np.uint8)
    constants = np.frombuffer(kernel.text.constants, np.uint8).copy()
    arguments = (
        *(constants, every, lengths, limits, states.view(np.int32)),
        *(sampling.inverse, sampling.kept, memory, tiles, chosen, logits),
    )
    return Launch(arguments, ids, blocks, warps, chosen, logits)


def run_batch(
    kernel: BatchKernel,
    prompts: Sequence[str],
    n: int | None = None,
    sampling: Sampling | None = None,
    *,
    schedule: int | None = None,
    warps: int = INTERPRETED_WARPS,
    traffic: Traffic | None = None,
) -> BatchRun:
    """All prompts at once, interpreted.

    schedule  draws which warp goes on; None runs all together
    traffic   takes the counts of what is asked of the memories

    Raises RunError where two threads race, or the kernel does what it must not.
    """
    warps = min(warps, -(-len(prompts) // STREAMS))
    launch = prepare(kernel, prompts, n, sampling or Sampling(), 1, warps)
    try:
        interpreted = load(kernel.ptx)
        result = interpreted.launch(
            *launch.arguments,
            threads=warps * WARP,
            shared=kernel.text.shared_bytes(warps),
            seed=schedule,
            watch=traffic,
        )
    except PtxError as error:
        raise RunError(f"{kernel!r}: {error}") from None
    if result.races:
        raise RunError(f"{kernel!r}: {result.races[0]}")
    issued: Counter[int] = Counter()
    for instruction, times in zip(interpreted.program.instructions, result.issued, strict=True):
        issued[instruction.line] += times
    return replace(collect(kernel, launch, result.counts), issued=issued, traffic=traffic)


def collect(
    kernel: BatchKernel, launch: Launch, counts: Mapping[str, int], time_ns: int | None = None
) -> BatchRun:
    """The answers that a launch has left."""
    generated, logits, tokens, passes = [], [], 0, 0
    stops = kernel.fixed.generation.stop
    for i, ids in enumerate(launch.ids):
        count = int(launch.chosen[i, 0])
        answer = [int(token) for token in launch.chosen[i, 1 : 1 + count]]
        logits.append(launch.logits[i, :count].astype(np.int64))
        tokens += count
        passes += len(ids) - 1 + count if count else 0
        if answer and answer[-1] in stops:
            answer.pop()
        generated.append(tuple(answer))
    return BatchRun(
        kernel.fixed,
        launch.ids,
        tuple(generated),
        tuple(logits) if kernel.logits else None,
        tokens,
        passes,
        dict(counts),
        time_ns,
    )
