"""`anachron bench cuda`: all that only a GPU can tell, in one run of a few minutes.

    whether the driver takes our PTX, and a cubin           whether the integers are the reference's
    microseconds and clocks a position, one stream          the share of every op
    a grid of single streams; batches; training             PyTorch's times for the same shapes

Every measurement has a process of its own, so that a kernel that fails or never ends costs no
other.  Kernels are compiled, and then their times estimated, by other processes meanwhile.

To add a measurement: measurements.py, and its place in `plan`.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anachron.compiler as ac
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda import measurements
from anachron.compiler.targets.cuda.batch.kernel import STREAMS
from anachron.compiler.targets.cuda.batch.pipes import find_throughput
from anachron.compiler.targets.cuda.batch.streams import BatchKernel, build_batch, run_batch
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.generations import HOPPER, Gpu
from anachron.compiler.targets.cuda.latency import estimate
from anachron.compiler.targets.cuda.measurements import (
    BEST,
    CLOCKS,
    GOALS,
    RATE,
    STEPS,
    TIME,
    Row,
    compile_stream,
    row,
)
from anachron.compiler.targets.cuda.supervision import Broken, Child
from anachron.compiler.targets.cuda.toolkit import compiled, keep_compiled
from anachron.compiler.targets.cuda.training.replicas import build_replicas
from anachron.compiler.targets.cuda.training.throughput import estimate_steps
from anachron.emulators.ptx.traffic import Traffic

CHECKPOINTS = {  # file -> (its tokenizer, a prompt)
    "soul.bin": ("soul_tokenizer.json", "hey"),
    "stories260K.bin": ("tok512.bin", "Once upon a time"),
}
OURS = {"chat": "hello", "llama": "hello"}  # the second has random weights
BUDGET = 280.0  # seconds: under five minutes in all
LONGEST = 60.0  # of a measurement
GRACE = 15.0  # for one that began in time
LATER = 10  # steps of politeness
MOST_INTERPRETED = 64  # positions
Estimates: TypeAlias = Mapping[tuple[str, str], tuple[float, float, float]]  # by what and unit


@dataclass(frozen=True)
class Measurement:
    """Rows that need a GPU, and what can be made ready for them without one.

    measure   of the device and the rows so far
    kernel    what it needs compiled; several measurements may need the same
    compile   leaves that with toolkit.py
    estimate  what is expected of the rows, from the compiled kernel
    quiet     the processor must have nothing else to do: it drives what is measured
    """

    name: str
    measure: Callable[[Device, list[Row]], Iterator[Row]]
    kernel: str
    compile: Callable[[], object]
    estimate: Callable[[], Estimates] = dict
    quiet: bool = False


def plan(models: list[tuple[ac.FixedModel, str]], gpu: Gpu, clock_hz: float) -> list[Measurement]:
    """What is asked most comes first: goals, then peers, then what explains them."""

    def of(
        measure: Callable[..., Iterator[Row]],
        kernel: str,
        make: Callable[..., object],
        expect: Callable[..., Estimates] = lambda fixed, prompt: {},
        quiet: bool = False,
    ) -> list[Measurement]:
        return [
            Measurement(
                f"{fixed.name}: {measure.__name__.replace('_', ' ')}",
                lambda device, rows, fixed=fixed, prompt=prompt: (  # type: ignore[misc]
                    measure(device, fixed, prompt, rows)
                ),
                f"{fixed.name}: {kernel}",
                partial(make, fixed),
                partial(expect, fixed, prompt) if known else dict,
                quiet,
            )
            for fixed, prompt in models
        ]

    known = gpu.capability == HOPPER.capability  # the estimates are of such multiprocessors
    stream = partial(compile_stream, gpu=gpu)
    expect = partial(expect_stream, clock_hz=clock_hz)
    alone = of(measurements.one_stream, "a stream", stream, expect)
    batch = partial(build_batch, gpu=gpu)
    many = of(measurements.batches, "a batch", batch, partial(expect_batch, batch))
    same = of(measurements.identity, "a stream with logits", partial(stream, logits=True))
    peers = of(measurements.torch_peers, "nothing", lambda fixed: None, quiet=True)
    fused = of(measurements.torch_compiled, "nothing", lambda fixed: None, quiet=True)
    first = [part[0] for part in (same, alone, many)]
    learning = Measurement(
        "training",
        lambda device, _: measurements.training(device),
        "training",
        lambda: build_replicas(ac.load("reverse"), gpu=gpu),
        partial(expect_training, gpu) if known else dict,
    )
    shares = of(measurements.phases, "a stream with clocks", partial(stream, phases=True))
    grids = of(measurements.grid, "a stream", stream)
    rest = [m for part in zip(same[1:], alone[1:], strict=True) for m in part]
    return [*first, learning, *rest[:2], peers[0], *many[1:2], *shares[:2], *peers[1:2]] + [
        *fused[:2], *rest[2:], *grids, *many[2:], *shares[2:], *peers[2:],
    ]  # fmt: skip


def expect_stream(fixed: ac.FixedModel, prompt: str, clock_hz: float) -> Estimates:
    """Clocks from the assembled kernel, and the time that they take at the highest clock."""
    del prompt
    found = estimate(fixed)
    what = f"{fixed.name}: one stream"
    return {(what, CLOCKS): found.clocks, (what, TIME): found.microseconds(clock_hz)}


def expect_batch(
    make: Callable[[ac.FixedModel], BatchKernel], fixed: ac.FixedModel, prompt: str
) -> Estimates:
    """Positions a second of an H200, from a whole generation interpreted, if that is short."""
    if fixed.seq_len > MOST_INTERPRETED:
        return {}
    kernel = make(fixed)
    run = run_batch(kernel, [prompt] * STREAMS, traffic=Traffic())
    found = find_throughput(kernel, run)
    busy = found.clocks[found.bound]
    most, expected, least = (found.per_second(max(busy, each)) / 1e6 for each in found.latency)
    return {(f"{fixed.name}: {BEST}", RATE): (least, expected, most)}


def expect_training(gpu: Gpu) -> Estimates:
    """Steps a second of an H200, from the assembled kernel."""
    found = estimate_steps(build_replicas(ac.load("reverse"), gpu=gpu))
    lo, expected, hi = (rate / 1e6 for rate in found.steps_per_second)
    return {("reverse: training", STEPS): (lo, expected, hi)}


def bench(
    models: str | None = None,
    tell: Callable[[str], None] | None = None,
    budget: float = BUDGET,
    keep: Callable[[list[Row]], None] | None = None,
) -> list[Row]:
    """All rows.  Raises Absent where there is no GPU.

    models  a folder with the checkpoints of CHECKPOINTS, to be measured, too, and first
    budget  seconds, after which no other measurement begins
    keep    called with the rows so far, whenever there is one more
    """
    tell, keep = tell or (lambda text: None), keep or (lambda rows: None)
    if not hasattr(os, "fork"):
        raise Absent("bench cuda needs a system that can fork a process: Linux, or WSL on Windows")
    until = time.monotonic() + budget
    rows: list[Row] = []

    def add(found: Row) -> None:
        rows.append(found)
        keep(rows)

    seen: list[Any] = list(Child(look).listen(LONGEST))
    if isinstance(seen[0], Absent):
        raise seen[0]
    (gpu, clock_hz), *about = seen
    for one in about:
        add(one)
    loaded = [*load_models(models)]
    measured = plan(loaded, gpu, clock_hz)
    compilers = Compilers(measured, until)
    for measurement in measured:
        left = until - time.monotonic()
        tell(f"{measurement.name}, {left:.0f} s left")
        if left <= 0:
            note = f"the {budget:.0f} seconds are over"
            add(row(measurement.name, None, "", note, "skipped"))
            continue
        try:
            if measurement.quiet:
                compilers.finish()
            compilers.get(measurement.kernel)
            work = partial(run, measurement, rows)
            left = min(LONGEST, until + GRACE - time.monotonic())
            for one in Child(work).listen(left):
                add(one)
        except Broken as error:
            add(row(measurement.name, None, "", str(error), "failed"))
    compilers.finish()
    for one in rows:
        one["estimate"] = compilers.estimates.get((one["what"], one["unit"]))
    names = {fixed.name for fixed, _ in loaded} | {"reverse"}
    for (what, unit), _ in GOALS.items():
        found = any((one["what"], one["unit"]) == (what, unit) for one in rows)
        if what.split(":")[0] in names and not found:
            add(row(what, None, unit, "not measured: its own row says why", "skipped"))
    keep(rows)
    return rows


def look() -> Iterator[Any]:
    """What GPU there is; in a process of its own, for a fork must not find it open."""
    try:
        device = Device.open()
        yield device.gpu, device.clock_hz
        yield from measurements.about(device)
    except Absent as absent:
        yield absent


def run(measurement: Measurement, rows: list[Row]) -> Iterator[Row]:
    """A measurement; a row that says why, where it cannot be made."""
    try:
        yield from measurement.measure(Device.open(), rows)
    except Absent as absent:
        yield row(measurement.name, None, "", str(absent), "absent")


class Compilers:
    """All kernels at once, as many as there are processors; each gives kernels, then estimates.

    Those that are measured first are compiled first, and estimated where nothing else is to do.
    """

    def __init__(self, measured: list[Measurement], until: float) -> None:
        fork = multiprocessing.get_context("fork")
        self.turns = fork.Semaphore(os.cpu_count() or 1)
        needed: dict[str, Measurement] = {}
        for m in measured:
            needed.setdefault(m.kernel, m)
        left = until - time.monotonic()
        self.running = {
            kernel: Child(partial(self._work, m)).listen(left) for kernel, m in needed.items()
        }
        self.compiled: dict[str, str] = {}  # kernel -> why it was not, or nothing
        self.estimates: dict[tuple[str, str], list[float]] = {}

    def _work(self, measurement: Measurement) -> Iterator[Any]:
        with self.turns:
            measurement.compile()
        yield compiled()
        os.nice(LATER)
        with self.turns:
            yield measurement.estimate()

    def get(self, kernel: str) -> None:
        """Leave a kernel with toolkit.py, once it is there; Broken where it cannot be made."""
        if kernel not in self.compiled:
            try:
                keep_compiled(next(self.running[kernel]))
                self.compiled[kernel] = ""
            except Broken as error:
                self.compiled[kernel] = str(error)
        if self.compiled[kernel]:
            raise Broken(self.compiled[kernel])

    def finish(self) -> None:
        """Wait for everything; what fails is told by those that need it."""
        for kernel, messages in self.running.items():
            try:
                self.get(kernel)
                for found in messages:
                    self.estimates |= {
                        key: [float(f"{x:.4g}") for x in one] for key, one in found.items()
                    }
            except Broken:
                pass


def load_models(folder: str | None) -> Iterator[tuple[ac.FixedModel, str]]:
    """Those of a folder, and ours, with a prompt each."""
    for name, (tokenizer, prompt) in CHECKPOINTS.items() if folder else ():
        path = Path(folder or "") / name
        yield ac.quantize(ac.load(path, tokenizer=Path(folder or "") / tokenizer)), prompt
    for name, prompt in OURS.items():
        yield ac.quantize(ac.load(name)), prompt
