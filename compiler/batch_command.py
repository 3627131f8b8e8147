"""`anachron run --streams N`: many streams of one prompt, in one launch."""

from __future__ import annotations

import argparse
import json
from collections import Counter

from rich.console import Console

from anachron.compiler.fixed import FixedModel
from anachron.compiler.run import Sampling
from anachron.compiler.targets import Absent, find_machine
from anachron.compiler.targets.cuda.batch.pipes import Throughput, find_throughput
from anachron.compiler.targets.cuda.batch.streams import BatchKernel, BatchRun, build_batch
from anachron.compiler.targets.cuda.batch.throughput import Bounds, find_bounds, run_anywhere
from anachron.compiler.targets.cuda.device import find_gpu

SHOWN = 16  # different answers


def main(
    args: argparse.Namespace,
    fixed: FixedModel,
    prompt: str,
    sampling: Sampling,
    out: Console,
    err: Console,
) -> int:
    """Run the streams and say what they answered and cost; stream i draws with seed + i."""
    machine = find_machine(args.on)
    if machine.target != "cuda":
        raise ValueError(f"--streams is for ptx, cuda and h200; {machine.name} has one stream")
    if args.logits or args.live or args.profile:
        raise ValueError("--streams keeps no logits and has no screen or profile: leave them out")
    kernel = build_batch(fixed, sampled=bool(sampling.inverse), gpu=find_gpu(machine))
    run = run_anywhere(machine.name, kernel, [prompt] * args.streams, args.n, sampling)
    bounds = find_bounds(kernel, run) if run.counts else None
    throughput = _find_throughput(kernel, run) if run.counts else None
    if args.json:
        print(json.dumps(as_json(run, machine.name, prompt, bounds, throughput)))
        return 0
    answers = Counter(run.texts)
    for text, count in answers.most_common(SHOWN):
        times = f"{count:6,d} x  " if len(run.generated) > 1 else ""
        out.print(f"{times}{text}", markup=False, highlight=False)
    if len(answers) > SHOWN:
        out.print(f"and {len(answers) - SHOWN:,} others", highlight=False)
    err.print(f"{machine.title}: {explain(run, bounds)}", style="dim", highlight=False)
    for line in explain_throughput(throughput) if throughput else ():
        err.print(line, style="dim", highlight=False)
    return 0


def _find_throughput(kernel: BatchKernel, run: BatchRun) -> Throughput | None:
    """From the machine's own code, where NVIDIA's tools are."""
    try:
        return find_throughput(kernel, run)
    except Absent:
        return None


def explain_throughput(found: Throughput) -> list[str]:
    """Lines on what bounds a GPU, busiest first."""
    busy = sorted(found.clocks.items(), key=lambda item: -item[1])
    lo, expected, hi = found.latency
    lines = [
        f"{found.instructions:.1f} machine instructions a position; clocks of one of an "
        f"{found.processor.name}'s {found.processor.multiprocessors} multiprocessors a position, "
        "and positions a second of all:"
    ]
    for name, clocks in busy:
        lines.append(f"  {clocks:7.1f}  {found.per_second(clocks) / 1e9:7.2f} G  {name}")
    lines.append(
        f"  {expected:7.1f}  {found.per_second(expected) / 1e9:7.2f} G  as {found.warps} warps "
        f"wait for one result after the other ({lo:.1f} to {hi:.1f} clocks)"
    )
    lines.append(
        f"estimated, not measured: {found.positions_per_second / 1e9:.2f} G positions a second"
    )
    return lines


def explain(run: BatchRun, bounds: Bounds | None) -> str:
    """A line of costs."""
    text = f"{len(run.generated):,} streams, {run.tokens:,} tokens"
    if run.time_ns:
        rate = run.tokens * 1e9 / run.time_ns
        return f"{text} in {run.time_ns / 1e6:.3f} ms, {rate:,.0f} a second"
    if bounds is None:
        return text
    return (
        f"{text}, {bounds.instructions:.1f} warp-instructions and {bounds.traffic_bytes:,.0f} "
        f"bytes of keys and values a position: an H200 may do {bounds.by_issue / 1e9:.2f} or "
        f"{bounds.by_traffic / 1e9:.2f} G a second"
    )


def as_json(
    run: BatchRun,
    machine: str,
    prompt: str,
    bounds: Bounds | None,
    throughput: Throughput | None = None,
) -> dict[str, object]:
    """The object that --json prints."""
    counted = bounds is not None
    return {
        "machine": machine,
        "status": "ok",
        "model": run.fixed.name,
        "prompt": prompt,
        "streams": len(run.generated),
        "prompt_ids": list(run.prompt_ids[0]),
        "tokens": [list(ids) for ids in run.generated],
        "text": run.texts,
        "tokens_total": run.tokens,
        "positions_total": run.passes,
        "instructions_total": run.instructions if counted else None,
        "instructions_per_position": bounds.instructions if bounds else None,
        "traffic_bytes_per_position": bounds.traffic_bytes if bounds else None,
        "estimate": throughput and {
            "machine_instructions_per_position": throughput.instructions,
            "clocks_per_position": dict(throughput.clocks),
            "latency_clocks_per_position": list(throughput.latency),
            "conflicts_per_position": throughput.conflicts,
            "positions_per_second": throughput.positions_per_second,
        },
        "time_ns": run.time_ns,
        "tokens_per_second": run.tokens * 1e9 / run.time_ns if run.time_ns else None,
    }
