"""What `anachron bench cuda` measures: each a generator of rows, of a device and a model.

A row says what was measured, and beside it what was promised (goal, met) and what the compiler
expects (estimate: least, expected, most), where there is such a thing.  status is ok, absent,
failed or skipped; the note says more.

To add a measurement: a generator here, called in benchmark.py's `plan`.  To promise: GOALS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import anachron.compiler as ac
from anachron.compiler.prompts import encode_prompt
from anachron.compiler.run import RunError, Sampling, run_image, run_reference
from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.batch.streams import build_batch
from anachron.compiler.targets.cuda.batch.throughput import measure as measure_batches
from anachron.compiler.targets.cuda.device import Device, Loaded
from anachron.compiler.targets.cuda.generations import HOPPER, Gpu, port
from anachron.compiler.targets.cuda.inspection import assemble
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, KernelText, write_kernel
from anachron.compiler.targets.cuda.launching import Launch, prepare
from anachron.compiler.targets.cuda.peers import (
    BATCHES,
    MOST_CACHE,
    WAYS,
    bench_torch,
    bench_way,
    find_shape,
)
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.compiler.targets.cuda.training.replicas import build_replicas
from anachron.compiler.targets.cuda.training.throughput import measure as measure_training

Row = dict[str, Any]
SAMPLED = Sampling(0.8, 0.9, 3)
MOST_TOKENS = 256
WINDOW_NS = 50_000_000  # of a timed launch
MOST_REPEATS = 20_000
TIMES = 5  # launches, of which the fastest counts
WARM_NS = 300_000_000  # of launches before the first timed one: an idle GPU's clock is low
WAVES = (1, 2, 3, 4, 6, 8)  # blocks for each multiprocessor
TIME, RATE, STEPS, CLOCKS = "us a position", "M positions/s", "M steps/s", "clocks a position"
BEST = "many streams, at best"
GOALS = {  # on an H200
    ("soul: one stream", TIME): 2.0,
    ("stories260K: one stream", TIME): 6.0,
    (f"soul: {BEST}", RATE): 500.0,
    ("reverse: training", STEPS): 50.0,
}


def row(
    what: str, value: float | int | str | None, unit: str = "", note: str = "", status: str = "ok"
) -> Row:
    """With its goal; times are to be no more, rates no less."""
    if isinstance(value, float):
        value = float(f"{value:.4g}")
    goal = GOALS.get((what, unit))
    met = None
    if goal is not None and isinstance(value, float):
        met = value <= goal if unit == TIME else value >= goal
    return {"what": what, "value": value, "unit": unit, "goal": goal, "met": met,
            "estimate": None, "status": status, "note": note}  # fmt: skip


def compile_stream(
    fixed: ac.FixedModel, gpu: Gpu = HOPPER, *, logits: bool = False, phases: bool = False
) -> tuple[KernelText, str]:
    text = write_kernel(fixed, logits, phases=phases, room=gpu.shared_bytes)
    return text, compile_kernel(text.source, text.threads, ARGUMENTS, alone=True)


def about(device: Device) -> Iterator[Row]:
    major, minor = device.gpu.capability
    yield row("GPU", device.name, "", f"compute capability {major}.{minor}")
    yield row("shared memory of a block", device.gpu.shared_bytes, "bytes")
    if device.has_watchdog:
        yield row("watchdog", "on", "", "it shows a screen: launches of seconds are ended")
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
        what = f"{fixed.name}: {name}, equal to the reference"
        yield row(what, str(same).lower(), "", note, "ok" if same else "failed")


def load_kernel(device: Device, fixed: ac.FixedModel, phases: bool = False) -> tuple[
    KernelText, Loaded, str
]:  # fmt: skip
    text, ptx = compile_stream(fixed, device.gpu, phases=phases)
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


def check_ids(fixed: ac.FixedModel, prompt: str, launch: Launch) -> None:
    """RunError where what was timed did not choose the reference's ids."""
    most = launch.named["most"]
    assert isinstance(most, int)
    chosen = launch.answer()
    if chosen and chosen[-1] in fixed.generation.stop:
        chosen.pop()
    if tuple(chosen) != run_reference(fixed, prompt, most).generated:
        raise RunError(f"{fixed.name}: the kernel chose other ids than the reference")


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
    yield row(f"{fixed.name}: loaded", time.perf_counter() - began, "s", loaded.how)
    note = f"{text.threads} threads, {loaded.shared:,} bytes of shared memory, " + (
        f"{loaded.local_bytes} bytes spilled" if loaded.local_bytes else "nothing spilled"
    )
    yield row(f"{fixed.name}: registers of a thread", loaded.registers, "", note)
    time_ns, launch, repeats = time_launch(
        loaded, partial(start, fixed, text, prompt)
    )
    passes = count_passes(launch)
    check_ids(fixed, prompt, launch)
    each = time_ns / repeats / passes
    clocks = launch.clocks()[0] / repeats / passes
    note = f"{passes} positions, {repeats} times in one launch"
    yield row(f"{fixed.name}: one stream", each / 1e3, TIME, note)
    yield row(f"{fixed.name}: one stream", clocks, CLOCKS)
    yield row(f"{fixed.name}: one stream", clocks / each * 1e3, "MHz", "clocks by time")
    try:
        cubin, _said = assemble(port(ptx, device.gpu), device.gpu.capability)
        taken = device.load(cubin, text.layout.shared_bytes)
        time_ns, launch, repeats = time_launch(
            taken, partial(start, fixed, text, prompt)
        )
        value = time_ns / repeats / passes / 1e3
        yield row(f"{fixed.name}: one stream, a cubin", value, TIME, taken.how)
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
        f"{fixed.name}: instrumented", whole / repeats / passes, CLOCKS,
        "more than the kernel itself",
    )  # fmt: skip
    # A mark closes what stands before it.
    for name, clocks in zip(("", *text.phases[:-1]), parts, strict=True):
        if name:
            each = clocks / repeats / passes
            share = f"{100 * clocks / max(1, whole):.1f} %"
            yield row(f"{fixed.name}: {name}", each, CLOCKS, share)
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
        yield row(f"{fixed.name}: {blocks} streams, a block each", speed, RATE)
    loaded.close()


def batches(device: Device, fixed: ac.FixedModel, prompt: str, _: list[Row]) -> Iterator[Row]:
    """Thousands of streams in one launch, sixteen a warp."""
    best = 0.0
    for found in measure_batches(device, build_batch(fixed, gpu=device.gpu), prompt):
        what = f"{found['streams']:.0f} streams, {found['warps']:.0f} warps a multiprocessor"
        chosen = f"{found['tokens_per_second'] / 1e6:.1f} M ids chosen a second"
        speed = found["positions_per_second"] / 1e6
        yield row(f"{fixed.name}: {what}", speed, RATE, chosen)
        best = max(best, speed)
    yield row(f"{fixed.name}: {BEST}", best, RATE)


def training(device: Device) -> Iterator[Row]:
    """Trainings of the reversal model, thousands in one launch, the first held to the reference."""
    found = measure_training(device, build_replicas(ac.load("reverse"), gpu=device.gpu))
    note = f"{found['trainings']:,.0f} trainings of {found['steps']:,.0f} steps"
    yield row("reverse: training", found["steps_per_second"] / 1e6, STEPS, note)


def torch_peers(
    device: Device, fixed: ac.FixedModel, prompt: str, rows: list[Row]
) -> Iterator[Row]:
    """PyTorch on the same GPU in the same run, and how many times longer it takes."""
    torch, why = find_torch()
    if not torch:
        yield row(f"{fixed.name}: PyTorch", None, "", why, "absent")
        return
    shape, ours = find_shape(fixed), find_ours(fixed, rows)
    streams = [r["value"] for r in rows if r["unit"] == RATE
               and r["what"].startswith(f"{fixed.name}:") and r["value"]]  # fmt: skip
    best = 0.0
    for batch in BATCHES:
        if batch * shape.cache_bytes > MOST_CACHE:
            continue
        what = f"{fixed.name}: PyTorch {torch.__version__}, fp16"
        try:
            found = bench_torch(torch, shape, batch)
        except RuntimeError as error:  # no memory, or an op that no graph takes: others may go on
            note = " ".join(str(error).split())[:200]
            yield row(f"{what}, batch {batch}", None, "", note, "failed")
            continue
        for how, each in found.items():
            note = f"{each / ours:.1f} x ours" if ours and batch == 1 else ""
            yield row(f"{what}, {how}, batch {batch}", each, "us a step", note)
        best = max(best, batch / found["graph"])
    if best:
        note = f"ours {max(streams) / best:.1f} x" if streams else ""
        yield row(f"{fixed.name}: PyTorch at its best", best, RATE, note)


def torch_compiled(
    device: Device, fixed: ac.FixedModel, prompt: str, rows: list[Row]
) -> Iterator[Row]:
    """The same step through torch.compile, of one stream; it takes its time to compile."""
    torch, why = find_torch()
    if not torch:
        yield row(f"{fixed.name}: PyTorch, compiled", None, "", why, "absent")
        return
    each = bench_way(torch, find_shape(fixed), 1, WAYS[0], fused=True)["graph"]
    ours = find_ours(fixed, rows)
    note = f"{each / ours:.1f} x ours" if ours else ""
    what = f"{fixed.name}: PyTorch {torch.__version__}, fp16, compiled, graph, batch 1"
    yield row(what, each, "us a step", note)


def find_torch() -> tuple[Any, str]:
    """PyTorch, or why not."""
    try:
        torch = import_module("torch")
    except ImportError:
        return None, "torch is not installed here"
    return (torch, "") if torch.cuda.is_available() else (None, "this torch has no CUDA")


def find_ours(fixed: ac.FixedModel, rows: list[Row]) -> float | None:
    """Microseconds of our one stream, if it was measured."""
    mine = f"{fixed.name}: one stream", TIME
    return next((r["value"] for r in rows if (r["what"], r["unit"]) == mine), None)
