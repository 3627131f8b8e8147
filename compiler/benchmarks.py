"""`anachron bench`: what the emulators, the compiler and a GPU do on this computer.

To add a benchmark: a function that gives rows with the same keys, and a line in BENCHMARKS.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anachron.compiler as ac
from anachron.compiler.targets import find_target
from anachron.emulators import bench as emulator_bench
from anachron.emulators.containers.files import write_file

PROGRAMS = ("reverse", "chat")
N_LINES = 20_000
LINES = {
    "mos6502": "    lda $1234,x\n    adc #<label+3\n    sta $20\n    bne *+2\n",
    "pdp11": "    MOV     (R1)+,R0\n    ADD     #123,4(R2)\n    BR      .+2\n    NOP\n",
}


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """CPU seconds of a call, and what it gave."""
    began = time.process_time()
    result = call(*arguments)
    return time.process_time() - began, result


def compiling() -> list[dict[str, Any]]:
    """From a text to an image, pass by pass; and the assemblers on a long source."""
    rows: list[dict[str, Any]] = []
    for program in PROGRAMS:
        load_s, model = timed(ac.load, program)
        quantize_s, fixed = timed(ac.quantize, model)
        for name, machine in ac.MACHINES.items():
            if machine.target in ("reference", "cuda"):  # nothing to build; an extra
                continue
            build_s, image = timed(ac.build, fixed, name)
            n_lines = image.source.count("\n")
            passes = {"load_s": load_s, "quantize_s": quantize_s, "build_s": build_s}
            rows.append({"what": f"{program} for {name}", **passes, "lines": n_lines})
    for target, lines in LINES.items():
        machine = next(m for m in ac.MACHINES.values() if m.target == target)
        assemble = find_target(machine).assemble
        source = ("label = 5\n" if target == "mos6502" else "") + lines * (N_LINES // 4)
        origin = "* = $1000\n" if target == "mos6502" else "        .ASECT\n        . = 1000\n"
        seconds, _ = timed(assemble, origin + source)
        passes = {"load_s": 0.0, "quantize_s": 0.0, "build_s": seconds}
        rows.append({"what": f"assembler of {target}", **passes, "lines": N_LINES})
    return rows


def gpu(**options: Any) -> list[dict[str, Any]]:
    """Of the target cuda: one stream, phases, grids, batches, training, PyTorch."""
    from anachron.compiler.targets.cuda.benchmark import bench

    return bench(**options)


def write_rows(path: str, rows: list[dict[str, Any]]) -> None:
    """What is known so far, as --json prints it in the end."""
    write_file(Path(path), json.dumps({"what": "cuda", "rows": rows}, indent=1).encode())


BENCHMARKS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "emulators": emulator_bench.bench,
    "compile": compiling,
    "cuda": gpu,
}
