"""What bounds a kernel for many streams, and how near a GPU comes to it.

Two things run out: the schedulers' issue of one warp-instruction a clock each, counted by the
interpreter; and the traffic of keys and values, which follows from the layout.  Weights come from
shared memory once a warp's sixteen tokens and stay far below either.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.compiler.run import RunError, Sampling, run_reference
from anachron.compiler.targets.cuda.batch.kernel import ARGUMENTS, STREAMS
from anachron.compiler.targets.cuda.batch.processors import H200, Processor
from anachron.compiler.targets.cuda.batch.streams import (
    BatchKernel,
    BatchRun,
    collect,
    prepare,
    run_batch,
)
from anachron.compiler.targets.cuda.device import Device, Scratch
from anachron.emulators.ptx.traffic import Traffic
from anachron.kernels.cuda.places import WARP


@dataclass(frozen=True)
class Bounds:
    """What a token of a stream costs, and the tokens a second that follow, at most."""

    instructions: float  # of a warp
    traffic_bytes: float  # keys and values, read and written
    by_issue: float
    by_traffic: float

    @property
    def tokens_per_second(self) -> float:
        return min(self.by_issue, self.by_traffic)


def find_bounds(kernel: BatchKernel, run: BatchRun, processor: Processor = H200) -> Bounds:
    """By an interpreted run of whole warps of streams, all to the end."""
    traffic = kernel.text.far_bytes(max(1, round(run.passes / len(run.generated))))
    return Bounds(
        run.instructions_per_token,
        traffic,
        processor.issues_per_second / run.instructions_per_token,
        processor.memory_bytes_per_second / traffic if traffic else float("inf"),
    )


def run_on(
    device: Device,
    kernel: BatchKernel,
    prompts: list[str],
    n: int | None = None,
    sampling: Sampling | None = None,
    warps: int = 0,
) -> BatchRun:
    """The prompts on a GPU: a block for each multiprocessor, or fewer where that is enough.

    warps  of a block; as many as it may have where 0
    """
    tiles = -(-len(prompts) // STREAMS)
    warps = min(warps or kernel.text.warps, tiles)
    blocks = min(device.multiprocessors, -(-tiles // warps))
    launch = prepare(kernel, prompts, n, sampling or Sampling(), blocks, warps)
    arguments = tuple(
        Scratch(kernel.text.warp_bytes * warps * blocks or 1) if name == "memory" else argument
        for name, argument in zip(ARGUMENTS, launch.arguments, strict=True)
    )
    time_ns = device.launch(
        kernel.ptx, arguments, warps * WARP, kernel.text.shared_bytes(warps), blocks
    )
    return collect(kernel, launch, {}, time_ns)


def run_anywhere(
    machine: str,
    kernel: BatchKernel,
    prompts: list[str],
    n: int | None = None,
    sampling: Sampling | None = None,
) -> BatchRun:
    """On `ptx` interpreted, on `cuda` or `h200` on the GPU; the first streams are checked.

    Raises Absent where there is no such GPU, RunError where a stream differs from the reference.
    """
    if machine == "ptx":
        run = run_batch(kernel, prompts, n, sampling, traffic=Traffic())
    else:
        device = Device.open("H200" if machine == "h200" else "")
        run = run_on(device, kernel, prompts, n, sampling)
    check(run, prompts, n, sampling or Sampling())
    return run


def check(run: BatchRun, prompts: list[str], n: int | None, sampling: Sampling) -> None:
    """Hold the first warp's streams against the reference; where none samples, all of them."""
    known: dict[tuple[str, int], tuple[int, ...]] = {}
    for i, (prompt, answer) in enumerate(zip(prompts, run.generated, strict=True)):
        seed = sampling.seed + i if sampling.inverse else 0
        if sampling.inverse and i >= STREAMS:
            break
        if (prompt, seed) not in known:
            one = Sampling(sampling.temperature, sampling.top_p, seed)
            known[prompt, seed] = run_reference(run.fixed, prompt, n, one).generated
        if known[prompt, seed] != answer:
            raise RunError(f"{run!r}: stream {i} differs from the reference")


def measure(
    device: Device, kernel: BatchKernel, prompt: str, streams: int = 0
) -> list[dict[str, float]]:
    """Tokens a second by warps on a multiprocessor: rows for `bench cuda`.

    Every stream generates to the end of the context.  Without `streams`, as many as make two
    rounds.  Tokens are those chosen; positions count the prompt, too.
    """
    rows = []
    most = kernel.text.warps
    for warps in (most, most // 2, most // 4):
        n = streams or 2 * STREAMS * warps * device.multiprocessors
        run = run_on(device, kernel, [prompt] * n, warps=warps)
        check(run, [prompt] * n, None, Sampling())
        seconds = (run.time_ns or 1) / 1e9
        rows.append(
            {
                "streams": n,
                "warps": warps,
                "seconds": seconds,
                "tokens_per_second": run.tokens / seconds,
                "positions_per_second": run.passes / seconds,
            }
        )
    return rows
