"""What bounds thousands of trainings on a GPU, and how near it comes.

A multiprocessor issues one warp-instruction a clock on each of its schedulers, and its shared
memory answers one load a clock, a word to each lane.  Both are counted by the interpreter, as the
difference of two trainings of the same seed, so that start weights and tests do not count; NVIDIA's
assembler makes fewer instructions of the same PTX, so this bound is a safe one.

An estimate goes further: the assembled step, by all the warps that a multiprocessor has at once
(multiprocessor.py), with the wavefronts that the interpreter counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from anachron.compiler.model import Model
from anachron.compiler.targets.cuda.batch.processors import H200, Processor
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.inspection import disassemble, inspect
from anachron.compiler.targets.cuda.latency import read_instructions
from anachron.compiler.targets.cuda.training.multiprocessor import CASES, find_loop, follow
from anachron.compiler.targets.cuda.training.replicas import (
    ReplicaKernel,
    build_replicas,
    check,
    interpret,
    prepare,
    run_on,
)
from anachron.emulators.ptx import load
from anachron.emulators.ptx.banks import Wavefronts
from anachron.kernels.cuda.places import WARP

FEW, MORE = 2, 4  # steps whose counts are compared
VECTOR_CLOCKS = 4  # of a load of four words by each lane
LOADED_HZ = 1.755e9  # of an H200 under load: assumed, for the least and what is expected


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


@dataclass(frozen=True)
class StepEstimate:
    """Steps a second of thousands of trainings: least, expected, most.  Nothing here was measured.

    trainings     of a multiprocessor at once      instructions   of a step, assembled
    clocks        of a multiprocessor for a step   registers      of a thread
    """

    processor: Processor
    trainings: int
    registers: int
    instructions: int
    clocks: tuple[float, float, float]
    steps_per_second: tuple[float, float, float]

    def __repr__(self) -> str:
        lo, expected, hi = (rate / 1e6 for rate in self.steps_per_second)
        return (
            f"StepEstimate({self.processor.name}: {self.instructions:,} instructions a step, "
            f"{self.trainings} trainings on a multiprocessor: {lo:.0f} to {hi:.0f} M steps/s, "
            f"{expected:.0f} expected)"
        )


def estimate_steps(kernel: ReplicaKernel, processor: Processor = H200) -> StepEstimate:
    """Of a kernel, assembled and not run; of a GPU with Hopper's multiprocessors.

    Raises Absent where NVIDIA's tools are not installed.
    """
    found = inspect(kernel.ptx)
    loop = find_loop(read_instructions(disassemble(found.cubin, "-hex")))
    short, seen = replace(kernel, steps=FEW, n_tests=0), Wavefronts()
    shared = kernel.text.shared_bytes(1)
    load(kernel.ptx).launch(
        *prepare(short, [0]), threads=WARP, shared=shared, races=False, watch=seen
    )

    def wavefronts(case: int, name: str, size: int) -> float:
        shared, apart = seen.mean(name, size)
        return (shared, (shared + apart) / 2, apart)[case]

    slow, likely, fast = (
        follow(loop, kernel.text.warps, lambda *access, c=case: wavefronts(c, *access), case)
        for case in reversed(CASES)
    )
    clocks = fast, likely, slow
    rates = [
        processor.multiprocessors * hz / each
        for hz, each in ((LOADED_HZ, slow), (LOADED_HZ, likely), (processor.clock_hz, fast))
    ]
    return StepEstimate(
        processor,
        kernel.text.warps,
        found.registers,
        len(loop),
        clocks,
        (rates[0], rates[1], rates[2]),
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
