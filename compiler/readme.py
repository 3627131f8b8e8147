"""README.md's generated parts: `python -m anachron.compiler.readme [README.md]` writes them anew.

A part lies between `<!-- kind: argument -->` and `<!-- end -->`:

    transcript  what an anachron command prints
    file        a file of the repository
    table       a table of TABLES

To add a table: a function that returns Markdown, and a line in TABLES.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import anachron.compiler as ac
from anachron.compiler import cli, report
from anachron.compiler.machine_training import build_training, train_on
from anachron.emulators import conformance
from anachron.emulators.containers.files import write_file

PART = re.compile(r"(<!-- (\w+): ([^\n]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def transcript(argument: str, _: Path) -> str:
    """A command and what it prints."""
    text = StringIO()
    with redirect_stdout(text):
        status = cli.main(shlex.split(argument))
    if status:
        raise RuntimeError(f"anachron {argument} ended with status {status}")
    lines = [line.rstrip() for line in text.getvalue().strip().splitlines()]
    said = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    return f"```\n$ anachron {argument}\n{said}\n```\n"


def file(argument: str, root: Path) -> str:
    """A file of the repository."""
    return f"```\n{(root / argument).read_text().rstrip()}\n```\n"


def table(argument: str, _: Path) -> str:
    """One of TABLES."""
    return TABLES[argument]() + "\n"


def tabulate(rows: list[dict[str, str]]) -> str:
    """Rows of the same keys as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[name] for name in head] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


# Soul Player C64, hand-written, the 16 forward passes of its answer to "hey": CPU cycles with the
# screen blanked, counted in VICE 3.10 (x64sc). It keeps no keys and values: every pass does all
# positions.
SOUL_PLAYER = 1_907_761_609
# llama2.c64, C compiled by oscar64, stories260K in float32: clocks of a forward pass, cycles stolen
# from the CPU included, measured at positions 0 to 59 of one run in VICE 3.10: so much, and so much
# more for each position before.
LLAMA2_C64 = 467_900_000, 2_281_000
CARTRIDGE_CONTEXT = 32  # positions of stories260K that a cartridge's RAM holds, all in residues
# Names a folder with soul.bin and soul_tokenizer.json, stories260K.bin and tok512.bin, if you have
# them.
MODELS = "ANACHRON_MODELS"


def inference() -> str:
    """Answers of the C64, each against the emulator's count and another project's program."""
    folder = Path(os.environ.get(MODELS, "."))
    stories, pieces = folder / "stories260K.bin", folder / "tok512.bin"
    soul, words = folder / "soul.bin", folder / "soul_tokenizer.json"
    cases: list[tuple[str, ac.Model, str, dict[str, Any], bool]] = [
        ("chat, the widths of its text", ac.load("chat"), "hello", {}, False),
        ("chat, int8 activations", ac.load("chat"), "hello", {"activations": 8}, False),
    ]
    if soul.exists():
        model = ac.load(soul, tokenizer=words)
        own = replace(model, numerics={})
        cases += [
            ("Soul Player's model, its integers", model, "hey", {}, False),
            ("the same, every logit kept", model, "hey", {}, True),
            ("the same rules, int8 activations", model, "hey", {"activations": 8}, False),
            ("our own, int8 activations", own, "hey", {"activations": 8}, False),
        ]
    if stories.exists():
        story = ac.load(stories, tokenizer=pieces)
        narrow = {"activations": 8}
        cases += [
            ("stories260K, a C64 with an REU", story, "Once upon a time", {}, False),
            ("the same, int8 activations", story, "Once upon a time", narrow, False),
        ]
    rows = [_inference_row(*case) for case in cases]
    if stories.exists():
        short = ac.load(stories, pieces, {"seq_len": CARTRIDGE_CONTEXT})
        name = f"stories260K, {CARTRIDGE_CONTEXT} positions, a C64 with an EasyFlash"
        rows.append(_inference_row(name, short, "Once upon a time", {}, False, "c64+crt"))
    return tabulate(rows)


def _inference_row(
    name: str,
    model: ac.Model,
    prompt: str,
    numerics: dict[str, Any],
    logits: bool,
    machine: str = "",
) -> dict[str, str]:
    fixed = ac.quantize(model, **numerics)
    large = fixed.n_weights > 1 << 16
    n = 20 if large else None
    machine = machine or ("c64+reu" if large else "c64")
    run = ac.build(fixed, machine, logits=logits).run(prompt, n)
    if not run.agrees(ac.run_reference(fixed, prompt, n)):
        raise RuntimeError(f"{name}: the C64 does not agree with the reference")
    assert run.time_ns is not None  # a C64 has a clock
    ratio = ""
    if model.name == "soul":
        ratio = f"{SOUL_PLAYER / run.total:.0f} x Soul Player C64"
    if large:
        first, more = LLAMA2_C64
        theirs = sum(first + more * position for position in range(len(run.counts)))
        ratio = f"{theirs / run.total:.0f} x llama2.c64"
    return {
        "model": name,
        "image": f"{run.image_bytes:,} B",
        "passes": str(len(run.counts)),
        "cycles a pass": report.count(run.total / len(run.counts)),
        "seconds a pass": f"{run.time_ns / 1e9 / len(run.counts):.2f}",
        "MACs a pass": report.count(run.macs / len(run.counts)),
        "cycles a MAC": f"{run.total / run.macs:.1f}",
        "whole answer": f"{run.total:,}",
        "predicted": report.deviation(run.total, run.predicted),
        "same token": _agreement(model, numerics),
        "fewer than": ratio,
    }


def _agreement(model: ac.Model, numerics: dict[str, Any]) -> str:
    """How often the integers choose the token of the exact integers, or else of the floats."""
    found = ac.measure_fidelity(model, **numerics)[-1]
    if found.divergence == 0:
        return "always"
    return f"{100 * found.agreement:.1f} % ({found.against})"


PROGRAMS = ("reverse", "copy", "sort", "sum", "count")  # that machines train
ATTN_11_S = 336.23  # of reverse, in MACRO-11 by hand: measured in ll-34 with RAM of 300 ns


def training() -> str:
    """Trainings of the default seed on machines, all with the reference's weights."""
    rows = [_training_row(name, "log") for name in PROGRAMS]
    first = [rows[0], _training_row("reverse", "log", "c64"), _training_row("reverse", "fixed")]
    return tabulate([*first, *rows[1:]])


def _training_row(name: str, numerics: str, machine: str = "pdp11/34a") -> dict[str, str]:
    model = ac.load(name)
    image = build_training(model, machine, numerics=numerics)
    training = train_on(image)  # raises where it is not the reference
    times = f"{ATTN_11_S / (training.time_ns / 1e9):.1f} x" if name == "reverse" else ""
    return {
        "program": name,
        "parameters": f"{model.n_parameters:,}",
        "a product": {"log": "a sum of logarithms", "fixed": "a MUL"}[numerics],
        "steps": f"{training.steps:,}",
        "accuracy": f"{training.accuracy:.3f}",
        "machine": image.machine.title,
        "time": report.seconds(training.time_ns),
        "against ATTN-11": times,
        "memory": f"{image.memory_bytes:,} B",
    }


def kernels() -> str:
    """The CUDA kernels of one stream, as interpreted and assembled."""
    from anachron.compiler.targets.cuda.summary import summarize

    folder = Path(os.environ.get(MODELS, "."))
    cases = [(ac.load("chat"), "hello")]
    for name, tokenizer, prompt in (
        ("soul.bin", "soul_tokenizer.json", "hey"),
        ("stories260K.bin", "tok512.bin", "Once upon a time"),
    ):
        if (folder / name).exists():
            cases.append((ac.load(folder / name, tokenizer=folder / tokenizer), prompt))
    return tabulate([summarize(ac.quantize(model), prompt, 8) for model, prompt in cases])


def promises() -> str:
    """What is asked of an H200, and what the compiler expects of it: no measurements."""
    from anachron.compiler.targets import H200
    from anachron.compiler.targets.cuda import benchmark
    from anachron.compiler.targets.cuda.batch.streams import build_batch
    from anachron.compiler.targets.cuda.generations import HOPPER
    from anachron.compiler.targets.cuda.measurements import GOALS, TIME

    found = dict(benchmark.expect_training(HOPPER))
    for fixed, prompt in benchmark.load_models(os.environ.get(MODELS)):
        found |= benchmark.expect_stream(fixed, prompt, H200)
        found |= benchmark.expect_batch(build_batch, fixed, prompt)
    rows = []
    for (what, unit), goal in GOALS.items():
        if (what, unit) in found:
            least, expected, most = found[what, unit]
            bound = "at most" if unit == TIME else "at least"
            digits = 2 if most < 10 else 0
            rows.append({
                "what": what, "asked": f"{bound} {goal:,.0f} {unit}",
                "expected": f"{expected:,.{digits}f}",
                "least to most": f"{least:,.{digits}f} to {most:,.{digits}f}",
            })  # fmt: skip
    return tabulate(rows)


TABLES: dict[str, Callable[[], str]] = {
    "training": training,
    "conformance": lambda: tabulate(conformance.report()),
    "inference": inference,
    "kernels": kernels,
    "promises": promises,
}
KINDS = {"transcript": transcript, "file": file, "table": table}


def fill(text: str, root: Path) -> str:
    """The text with every generated part written anew."""
    return PART.sub(
        lambda m: m[1] + KINDS[m[2]](m[3], root) + m[5],
        text,
    )


def main() -> int:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md")
    write_file(path, fill(path.read_text(), path.resolve().parent).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
