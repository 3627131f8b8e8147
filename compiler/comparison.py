"""The main job: one model on every machine, the same integers, one row a machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console

from anachron.compiler.building import build
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image
from anachron.compiler.report import compare_table, fit, plain
from anachron.compiler.run import Run, predict, run_image, run_reference
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import Absent, DoesNotFit, MissingKernel, find_machine

DEFAULT_MACHINES = ("reference", "pdp11/34a", "c64")


@dataclass(frozen=True)
class Comparison:
    """The runs of one prompt; agree tells whether every machine that ran gave the same integers."""

    runs: tuple[Run, ...]
    agree: bool

    def show(self) -> None:
        """Print the table."""
        console = Console()
        console.print(fit(compare_table(self.runs, self.agree), console.width))

    def __str__(self) -> str:
        return plain(compare_table(self.runs, self.agree))

    def __repr__(self) -> str:
        names = ", ".join(run.on.name for run in self.runs)
        return f"Comparison({names}: {'agree' if self.agree else 'DO NOT AGREE'})"

    def as_json(self, logits: bool = False) -> dict[str, Any]:
        """The object that `anachron compare --json` prints."""
        model = self.runs[0].model if self.runs else ""
        rows = [run.as_json(logits) for run in self.runs]
        return {"model": model, "agree": self.agree, "rows": rows}


def compare(
    fixed: FixedModel,
    machines: Sequence[str] = DEFAULT_MACHINES,
    prompt: str = "",
    n: int | None = None,
    sampling: Sampling | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Comparison:
    """Run a prompt on the reference and on every machine, and compare all integers.

    progress(machine) is called before each machine.  Logits are compared, too: images keep them
    unless options say logits=False.  A machine that is absent or too small has a row that says so,
    and does not break the agreement.
    """
    options.setdefault("logits", True)
    for name in machines:
        find_machine(name)
    reference = run_reference(fixed, prompt, n, sampling)
    runs = []
    for name in dict.fromkeys(("reference", *machines)):
        if progress:
            progress(name)
        if name == "reference":
            runs.append(reference)
            continue
        runs.append(_run_on(fixed, name, prompt, n, sampling, options, reference))
    agree = all(run.agrees(reference) for run in runs if run.status == "ok")
    return Comparison(tuple(runs), agree)


def _run_on(
    fixed: FixedModel,
    name: str,
    prompt: str,
    n: int | None,
    sampling: Sampling | None,
    options: dict[str, Any],
    reference: Run,
) -> Run:
    try:
        image = build(fixed, name, **options)
    except ValueError as error:  # too large, or an op or a size that the target has no kernel for
        return unavailable(fixed, name, prompt, error)
    try:
        return run_image(image, prompt, n, sampling)
    except (Absent, MissingKernel) as error:
        return unavailable(fixed, name, prompt, error, image, reference)


def unavailable(
    fixed: FixedModel,
    name: str,
    prompt: str,
    error: ValueError,
    image: Image | None = None,
    reference: Run | None = None,
) -> Run:
    """The row of a machine that is absent or too small, and why.

    With an image it says what the program would take there, in the passes of the reference.
    """
    over = error.bytes_over if isinstance(error, DoesNotFit) else 0
    status = "does_not_fit" if isinstance(error, DoesNotFit) else "absent"
    on = find_machine(name)
    row = Run(
        on, fixed.name, prompt, (), (), "", status=status, bytes_over=over, note=str(error)
    )
    if image is None or reference is None or fixed.generation.mode == "sequence":
        return row
    n_prompt, tokens = len(reference.prompt_ids), reference.tokens
    predictor = partial(predict, image, n_prompt, reference.passes, tokens)
    return replace(
        row, predictor=predictor, image=image, image_bytes=image.size_bytes, passes=reference.passes
    )
