"""`anachron train --on ptx|cuda|h200`: every seed at every rate a warp, all in one launch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.console import Console

from anachron.compiler.log_training import LogTraining
from anachron.compiler.model import Model
from anachron.compiler.targets import Absent, find_machine
from anachron.compiler.targets.cuda.device import find_gpu
from anachron.compiler.targets.cuda.training.replicas import (
    ReplicaKernel,
    Replicas,
    build_replicas,
    check_count,
    choose_checked,
    open_device,
    train_replicas,
)
from anachron.compiler.targets.cuda.training.throughput import estimate_steps

SHOWN = 10  # curves


def train(
    model: Model,
    args: argparse.Namespace,
    seeds: Sequence[int],
    rates: Sequence[float],
    out: Console,
    err: Console,
) -> tuple[list[LogTraining], dict[str, object]]:
    """The trainings, checked against the reference, and what --json says of the machine; of a
    single one its transcript is printed.

    rates  each with every seed; none is the recipe's
    """
    if args.timing or args.memory is not None:
        raise ValueError(f"{args.on} has no --memory and no --timing: leave them out")
    if args.numerics not in (None, "log"):
        raise ValueError(f"{args.on} trains in logarithms: leave --numerics {args.numerics} out")
    machine = find_machine(args.on)
    check_count(len(seeds) * max(1, len(rates)))
    if machine.name != "ptx":
        open_device(machine.name)  # before anything is compiled
    kernel = build_replicas(model, args.steps, rates=rates, gpu=find_gpu(machine))
    err.print(f"{kernel!r}", style="dim", markup=False, highlight=False)
    every = [(seed, rate) for rate in rates or (kernel.rate,) for seed in seeds]
    done = train_replicas(
        kernel, [seed for seed, _ in every], machine.name, [rate for _, rate in every]
    )
    if not args.json and len(every) == 1:
        out.print("\n".join(done.trainings[0].transcript), highlight=False)
    err.print(f"{machine.title}: {explain(done)}", style="dim", highlight=False)
    found = costs(args.on, done)
    if machine.name == "ptx":
        said, found["steps_per_second_estimated"] = estimate(kernel)
        err.print(said, style="dim", markup=False, highlight=False)
    return list(done.trainings), found


def explain(done: Replicas) -> str:
    """A line of what it cost."""
    steps = sum(training.steps for training in done.trainings)
    n = len(done.trainings)
    many = f"{n:,} {'training' if n == 1 else 'trainings'}, {steps:,} steps"
    if done.time_ns:
        rate = steps * 1e9 / done.time_ns
        checked = len(choose_checked(done.trainings))
        return (
            f"{many} in {done.time_ns / 1e6:.3f} ms, {rate:,.0f} steps a second; the reference's "
            f"integers in the {checked} compared"
        )
    return f"{many}, {done.instructions:,} warp-instructions; the reference's integers"


def estimate(kernel: ReplicaKernel) -> tuple[str, list[float] | None]:
    """A line of how fast a GPU is thought to be, and its numbers: least, expected, most."""
    try:
        found = estimate_steps(kernel)
    except (Absent, ValueError) as reason:
        return f"no estimate of a GPU's speed: {reason}", None
    return f"not measured: {found!r}", [round(rate) for rate in found.steps_per_second]


def costs(machine: str, done: Replicas) -> dict[str, object]:
    """What --json says beside the training."""
    steps = sum(training.steps for training in done.trainings)
    return {
        "machine": machine,
        "instructions_total": done.instructions if done.counts else None,
        "time_ns": done.time_ns,
        "time_s": done.time_ns / 1e9 if done.time_ns else None,
        "steps_per_second": steps * 1e9 / done.time_ns if done.time_ns else None,
    }
