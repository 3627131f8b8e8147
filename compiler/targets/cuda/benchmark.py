"""`anachron bench cuda`: all that only a GPU can tell, in one run of a few minutes.

    whether the driver takes our PTX, and a cubin           whether the integers are the reference's
    microseconds and clocks a position, one stream          the share of every op
    a grid of single streams; batches; training             PyTorch's times for the same shapes

A row is (what, value, unit, status, note); status is ok, absent, failed or skipped.  Every
measurement has a process of its own, so that a kernel that fails or never ends costs no other.

To add a measurement: a generator of rows, called in `plan`.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import anachron.compiler as ac
from anachron.compiler.prompts import encode_prompt
from anachron.compiler.run import RunError, Sampling, run_image, run_reference
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.batch.streams import build_batch
from anachron.compiler.targets.cuda.batch.throughput import measure as measure_batches
from anachron.compiler.targets.cuda.device import Device, Loaded
from anachron.compiler.targets.cuda.inspection import assemble
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, KernelText, write_kernel
from anachron.compiler.targets.cuda.launching import Launch, prepare
from anachron.compiler.targets.cuda.peers import BATCHES, MOST_CACHE, bench_torch, find_shape
from anachron.compiler.targets.cuda.supervision import Broken, Child
from anachron.compiler.targets.cuda.toolkit import compile_kernel, compiled, keep_compiled
from anachron.compiler.targets.cuda.training.replicas import build_replicas
from anachron.compiler.targets.cuda.training.throughput import measure as measure_training

Row = dict[str, Any]
CHECKPOINTS = {  # file -> (its tokenizer, a prompt)
    "soul.bin": ("soul_tokenizer.json", "hey"),
    "stories260K.bin": ("tok512.bin", "Once upon a time"),
}
OURS = {"chat": "hello", "llama": "hello"}  # the second has random weights
SAMPLED = Sampling(0.8, 0.9, 3)
MOST_TOKENS = 256
WINDOW_NS = 50_000_000  # of a timed launch
MOST_REPEATS = 20_000
TIMES = 5  # launches, of which the fastest counts
WARM_NS = 300_000_000  # of launches before the first timed one: an idle GPU's clock is low
BUDGET = 280.0  # seconds: under five minutes in all
LONGEST = 60.0  # of a measurement
GRACE = 15.0  # for one that began in time
WAVES = (1, 2, 3, 4, 6, 8)  # blocks for each multiprocessor


def row(
    what: str, value: float | int | str | None, unit: str = "", note: str = "", status: str = "ok"
) -> Row:
    if isinstance(value, float):
        value = float(f"{value:.4g}")
    return {"what": what, "value": value, "unit": unit, "status": status, "note": note}


@dataclass(frozen=True)
class Measurement:
    """Rows that need a GPU, and what can be made ready for them without one.

    measure  of the device and the rows so far
    kernel   what it needs compiled; several measurements may need the same
    compile  leaves that with toolkit.py
    """

    name: str
    measure: Callable[[Device, list[Row]], Iterator[Row]]
    kernel: str
    compile: Callable[[], object]


def plan(models: list[tuple[ac.FixedModel, str]]) -> list[Measurement]:
    """What is asked most comes first: goals, then peers, then what explains them."""

    def of(
        measure: Callable[..., Iterator[Row]], kernel: str, make: Callable[..., object]
    ) -> list[Measurement]:
        return [
            Measurement(
                f"{fixed.name}: {measure.__name__.replace('_', ' ')}",
                lambda device, rows, fixed=fixed, prompt=prompt: (  # type: ignore[misc]
                    measure(device, fixed, prompt, rows)
                ),
                f"{fixed.name}: {kernel}",
                partial(make, fixed),
            )
            for fixed, prompt in models
        ]

    alone = of(one_stream, "a stream", compile_stream)
    many = of(batches, "a batch", build_batch)
    same = of(identity, "a stream with logits", partial(compile_stream, logits=True))
    peers = of(torch_peers, "nothing", lambda fixed: None)
    first = [part[0] for part in (same, alone, many)]
    learning = Measurement(
        "training",
        lambda device, _: training(device),
        "training",
        lambda: build_replicas(ac.load("reverse")),
    )
    shares = of(phases, "a stream with clocks", partial(compile_stream, phases=True))
    grids = of(grid, "a stream", compile_stream)
    rest = [m for part in zip(same[1:], alone[1:], strict=True) for m in part]
    return [*first, learning, *rest[:2], peers[0], *many[1:2], *shares[:2], *peers[1:2]] + [
        *rest[2:], *grids, *many[2:], *shares[2:], *peers[2:],
    ]  # fmt: skip


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
    until = time.monotonic() + budget
    rows: list[Row] = []

    def add(found: Row) -> None:
        rows.append(found)
        keep(rows)

    for found in Child(look).listen(LONGEST):
        if isinstance(found, Absent):
            raise found
        add(found)
    measurements = plan([*load_models(models)])
    compilers = start_compilers(measurements)
    for measurement in measurements:
        tell(measurement.name)
        left = until - time.monotonic()
        if left <= 0:
            note = f"the {budget:.0f} seconds are over"
            add(row(measurement.name, None, "", note, "skipped"))
            continue
        try:
            if measurement.kernel in compilers:
                for kernels in compilers.pop(measurement.kernel).listen(left):
                    keep_compiled(kernels)
            work = partial(run, measurement, rows)
            left = min(LONGEST, until + GRACE - time.monotonic())
            for found in Child(work).listen(left):
                add(found)
        except Broken as error:
            add(row(measurement.name, None, "", str(error), "failed"))
    for compiler in compilers.values():
        compiler.end()
    return rows


def look() -> Iterator[Row | Absent]:
    """What GPU there is; in a process of its own, for a fork must not find it open."""
    try:
        yield from about(Device.open())
    except Absent as absent:
        yield absent


def run(measurement: Measurement, rows: list[Row]) -> Iterator[Row]:
    """A measurement; a row that says why, where it cannot be made."""
    try:
        yield from measurement.measure(Device.open(), rows)
    except Absent as absent:
        yield row(measurement.name, None, "", str(absent), "absent")


def start_compilers(measurements: list[Measurement]) -> dict[str, Child]:
    """All kernels at once, as many as there are processors."""

    def work(measurement: Measurement) -> Iterator[Any]:
        with turns:
            measurement.compile()
        yield compiled()

    turns = multiprocessing.get_context("fork").Semaphore(os.cpu_count() or 1)
    needed = {m.kernel: m for m in measurements}
    return {kernel: Child(partial(work, m)) for kernel, m in needed.items()}


def compile_stream(
    fixed: ac.FixedModel, *, logits: bool = False, phases: bool = False
) -> tuple[KernelText, str]:
    text = write_kernel(fixed, logits, phases=phases)
    return text, compile_kernel(text.source, text.threads, ARGUMENTS, alone=True)


def load_models(folder: str | None) -> Iterator[tuple[ac.FixedModel, str]]:
    """Those of a folder, and ours, with a prompt each."""
    for name, (tokenizer, prompt) in CHECKPOINTS.items() if folder else ():
        path = Path(folder or "") / name
        yield ac.quantize(ac.load(path, tokenizer=Path(folder or "") / tokenizer)), prompt
    for name, prompt in OURS.items():
        yield ac.quantize(ac.load(name)), prompt


def about(device: Device) -> Iterator[Row]:
    yield row("GPU", device.name)
    yield row("driver", device.driver_version, "", "CUDA version that it takes")
    yield row("multiprocessors", device.multiprocessors)
    yield row("highest clock", device.clock_hz / 1e6, "MHz")


def identity(device: Device, fixed: ac.FixedModel, prompt: str, _: list[Row]) -> Iterator[Row]:
    """Ids and logits against the reference, greedy and sampled."""
    image = ac.build(fixed, "cuda", logits=True)
    for name, sampling in (("greedy", None), ("sampled", SAMPLED)):
        n = min(MOST_TOKENS, fixed.seq_len)
        run = run_image(image, prompt, n, sampling)
        same = run.agrees(run_reference(fixed, prompt, n, sampling))
        note = f"{len(run.generated)} ids and their logits"
        yield row(f"{fixed.name}: {name}, equal to the reference", str(same).lower(), "", note)


def load_kernel(device: Device, fixed: ac.FixedModel, phases: bool = False) -> tuple[
    KernelText, Loaded, str
]:  # fmt: skip
    text, ptx = compile_stream(fixed, phases=phases)
    return text, device.load(ptx, text.layout.shared_bytes), ptx


def start(
    fixed: ac.FixedModel, text: KernelText, prompt: str, repeats: int, blocks: int = 1
) -> Launch:
    ids = encode_prompt(fixed, prompt)
    most = min(MOST_TOKENS, fixed.seq_len - len(ids))
    return prepare(
        fixed, text, ids, most, keep_logits=False, repeats=repeats, blocks=blocks
    )


def count_passes(launch: Launch) -> int:
    n_prompt = launch.named["n_prompt"]
    assert isinstance(n_prompt, int)
    return n_prompt - 1 + len(launch.answer())


def time_launch(loaded: Loaded, make: Callable[[int], Launch]) -> tuple[float, Launch, int]:
    """Nanoseconds of a generation, the launch, and how often it was repeated inside."""
    first = make(1)
    once = loaded.run(first.arguments, first.threads, first.blocks, 2)
    repeats = max(1, min(MOST_REPEATS, round(WINDOW_NS / max(once, 1.0))))
    launch = make(repeats)
    loaded.run(launch.arguments, launch.threads, launch.blocks, round(WARM_NS / WINDOW_NS))
    return loaded.run(launch.arguments, launch.threads, launch.blocks, TIMES), launch, repeats


def one_stream(
    device: Device, fixed: ac.FixedModel, prompt: str, _: list[Row]
) -> Iterator[Row]:
    """A block alone: time by events, clocks by the kernel."""
    began = time.perf_counter()
    text, loaded, ptx = load_kernel(device, fixed)
    yield row(f"{fixed.name}: compiled and loaded", time.perf_counter() - began, "s", loaded.how)
    time_ns, launch, repeats = time_launch(
        loaded, partial(start, fixed, text, prompt)
    )
    passes = count_passes(launch)
    each = time_ns / repeats / passes
    clocks = launch.clocks()[0] / repeats / passes
    note = f"{passes} positions, {repeats} times in one launch"
    yield row(f"{fixed.name}: one stream", each / 1e3, "us a position", note)
    yield row(f"{fixed.name}: one stream", clocks, "clocks a position")
    yield row(f"{fixed.name}: one stream", clocks / each * 1e3, "MHz", "clocks by time")
    try:
        cubin, _said = assemble(ptx)
        taken = device.load(cubin, text.layout.shared_bytes)
        time_ns, launch, repeats = time_launch(
            taken, partial(start, fixed, text, prompt)
        )
        value = time_ns / repeats / passes / 1e3
        yield row(f"{fixed.name}: one stream, a cubin", value, "us a position", taken.how)
        taken.close()
    except (Absent, ValueError) as error:
        yield row(f"{fixed.name}: one stream, a cubin", None, "", str(error), "absent")
    loaded.close()


def phases(device: Device, fixed: ac.FixedModel, prompt: str, _: list[Row]) -> Iterator[Row]:
    """The share of every op, in a kernel that reads the clock between them."""
    text, loaded, _ptx = load_kernel(device, fixed, phases=True)
    _time, launch, repeats = time_launch(loaded, partial(start, fixed, text, prompt))
    passes = count_passes(launch)
    whole, *parts = launch.clocks()
    yield row(
        f"{fixed.name}: instrumented", whole / repeats / passes, "clocks a position",
        "more than the kernel itself",
    )  # fmt: skip
    # A mark closes what stands before it.
    for name, clocks in zip(("", *text.phases[:-1]), parts, strict=True):
        if name:
            each = clocks / repeats / passes
            share = f"{100 * clocks / max(1, whole):.1f} %"
            yield row(f"{fixed.name}: {name}", each, "clocks a position", share)
    loaded.close()


def grid(device: Device, fixed: ac.FixedModel, prompt: str, _: list[Row]) -> Iterator[Row]:
    """Many blocks of the same kernel, a stream each."""
    text, loaded, _ptx = load_kernel(device, fixed)
    for wave in WAVES:
        blocks = wave * device.multiprocessors
        make = partial(start, fixed, text, prompt, blocks=blocks)
        time_ns, launch, repeats = time_launch(loaded, make)
        if not all(np.array_equal(r, launch.array("chosen")[0]) for r in launch.array("chosen")):
            raise RunError(f"{fixed.name}: blocks of a grid differ")
        speed = blocks * count_passes(launch) * repeats / time_ns * 1e3
        yield row(f"{fixed.name}: {blocks} streams, a block each", speed, "M positions/s")
    loaded.close()


def batches(device: Device, fixed: ac.FixedModel, prompt: str, _: list[Row]) -> Iterator[Row]:
    """Thousands of streams in one launch, sixteen a warp."""
    for found in measure_batches(device, build_batch(fixed), prompt):
        what = f"{found['streams']:.0f} streams, {found['warps']:.0f} warps a multiprocessor"
        chosen = f"{found['tokens_per_second'] / 1e6:.1f} M ids chosen a second"
        speed = found["positions_per_second"] / 1e6
        yield row(f"{fixed.name}: {what}", speed, "M positions/s", chosen)


def training(device: Device) -> Iterator[Row]:
    """Trainings of the reversal model, thousands in one launch, the first held to the reference."""
    found = measure_training(device, build_replicas(ac.load("reverse")))
    note = f"{found['trainings']:,.0f} trainings of {found['steps']:,.0f} steps"
    yield row("reverse: training", found["steps_per_second"] / 1e6, "M steps/s", note)


def torch_peers(
    device: Device, fixed: ac.FixedModel, prompt: str, rows: list[Row]
) -> Iterator[Row]:
    """PyTorch on the same GPU in the same run, and how many times longer it takes."""
    try:
        torch = import_module("torch")
    except ImportError:
        yield row(f"{fixed.name}: PyTorch", None, "", "torch is not installed here", "absent")
        return
    if not torch.cuda.is_available():
        yield row(f"{fixed.name}: PyTorch", None, "", "this torch has no CUDA", "absent")
        return
    shape = find_shape(fixed)
    mine = f"{fixed.name}: one stream"
    ours = next(
        (r["value"] for r in rows if r["what"] == mine and r["unit"] == "us a position"), None
    )
    streams = [r["value"] for r in rows if r["unit"] == "M positions/s"
               and r["what"].startswith(f"{fixed.name}:") and r["value"]]  # fmt: skip
    best = 0.0
    for batch in BATCHES:
        if batch * shape.cache_bytes > MOST_CACHE:
            continue
        found = bench_torch(torch, shape, batch)
        for how, each in found.items():
            name = f"{fixed.name}: PyTorch {torch.__version__}, fp16, {how}, batch {batch}"
            note = f"{each / ours:.1f} x ours" if ours and batch == 1 else ""
            yield row(name, each, "us a step", note)
        best = max(best, batch / found["graph"])
    if best:
        note = f"ours {max(streams) / best:.1f} x" if streams else ""
        yield row(f"{fixed.name}: PyTorch at its best", best, "M positions/s", note)
