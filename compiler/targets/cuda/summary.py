"""A stream kernel in one row: what is known of it without a GPU."""

from __future__ import annotations

from anachron.compiler.building import build
from anachron.compiler.fixed import FixedModel
from anachron.compiler.report import deviation
from anachron.compiler.run import RunError, run_image, run_reference
from anachron.compiler.targets.cuda.inspection import inspect
from anachron.compiler.targets.cuda.latency import estimate
from anachron.compiler.targets.cuda.origins import START
from anachron.compiler.targets.cuda.target import KernelImage


def summarize(fixed: FixedModel, prompt: str, n: int) -> dict[str, str]:
    """Interpreted and assembled: a row of the README's table.

    Instructions are those that all warps issue, on average a position, the kernel's start left out,
    and how far the compiler's prediction of all of them is off; registers and bytes are
    ptxas's; clocks are latency.py's estimate.  Raises RunError where an id is not the reference's,
    Absent without NVIDIA's tools.
    """
    image = build(fixed, "ptx")
    assert isinstance(image, KernelImage)
    run = run_image(image, prompt, n)
    if not run.agrees(run_reference(fixed, prompt, n)):
        raise RunError(f"{fixed.name}: the kernel does not agree with the reference")
    seen = inspect(image.program.ptx)
    text = image.text
    lo, expected, hi = estimate(fixed).clocks
    return {
        "model": fixed.name,
        "threads": str(text.threads),
        "barriers a token": str(len(text.at_end)),
        "instructions a position": f"{(run.total - run.cycles[START]) / len(run.counts):,.0f}",
        "predicted": deviation(run.total, run.predicted),
        "clocks a token, estimated": f"{expected:,} ({lo:,} to {hi:,})",
        "on tensor cores": str(seen.count("IMMA")),
        "registers a thread": str(seen.registers),
        "shared memory": f"{text.layout.shared_bytes:,} B",
        "spilled": f"{seen.spill_stores + seen.spill_loads} B",
    }
