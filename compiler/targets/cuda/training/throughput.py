"""What bounds thousands of trainings on a GPU, and how near it comes.

A multiprocessor issues one warp-instruction a clock on each of its schedulers, and its shared
memory answers one load a clock, a word to each lane.  Both are counted by the interpreter, as the
difference of two trainings of the same seed, so that start weights and tests do not count; NVIDIA's
assembler makes fewer instructions of the same PTX, so this bound is a safe one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anachron.compiler.model import Model
from anachron.compiler.targets.cuda.batch.throughput import H200, Processor
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.training.replicas import (
    ReplicaKernel,
    build_replicas,
    check,
    interpret,
    run_on,
)

FEW, MORE = 2, 4  # steps whose counts are compared
VECTOR_CLOCKS = 4  # of a load of four words by each lane


@dataclass(frozen=True)
class StepBounds:
    """What a step costs, and the steps a second that follow, at most.

    instructions   of a warp        loads  clocks of shared memory
    trainings      of a multiprocessor at once, by shared memory
    """

    instructions: float
    loads: float
    trainings: int
    by_issue: float
    by_loads: float

    @property
    def steps_per_second(self) -> float:
        return min(self.by_issue, self.by_loads)


def find_step_bounds(model: Model, processor: Processor = H200) -> StepBounds:
    """By interpreted trainings of one seed; needs the compiler."""
    counts = []
    for steps in (FEW, MORE):
        kernel = build_replicas(model, steps, tests=False)
        counts.append(interpret(kernel, [0]).counts)
    each = {
        name: (counts[1][name] - counts[0].get(name, 0)) / (MORE - FEW) for name in counts[1]
    }
    instructions, loads = sum(each.values()), count_clocks(each)
    clocks = processor.multiprocessors * processor.clock_hz
    return StepBounds(
        instructions,
        loads,
        kernel.text.warps,
        processor.issues_per_second / instructions,
        clocks / loads,
    )


def count_clocks(counts: Mapping[str, float]) -> float:
    """Clocks of shared memory: one an access, more for vectors."""
    return sum(
        count * (VECTOR_CLOCKS if ".v4" in name else 1)
        for name, count in counts.items()
        if ".shared" in name
    )


def measure(device: Device, kernel: ReplicaKernel, seeds: int = 10_000) -> dict[str, float]:
    """Steps a second of so many trainings at once, the first checked: a row for `bench cuda`."""
    done = run_on(device, kernel, range(seeds))
    check(kernel, done.trainings[:1])
    seconds = (done.time_ns or 1) / 1e9
    return {
        "trainings": seeds,
        "steps": kernel.steps,
        "seconds": seconds,
        "steps_per_second": seeds * kernel.steps / seconds,
    }
