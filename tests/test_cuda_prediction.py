"""Instructions of a kernel: predicted from its PTX, exactly those that the interpreter counts.

ANACHRON_PREDICTED=first:end runs other seeds than the default ones; a failure names what it is of.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from random_models import random_prompt, random_text

import anachron.compiler as ac
from anachron.compiler.claims import Cycles, TimingError
from anachron.compiler.run import predict, run_image
from anachron.compiler.targets.cuda import target
from anachron.compiler.targets.cuda.kernel import KernelText, write_kernel
from anachron.compiler.targets.cuda.origins import name_lines
from anachron.compiler.targets.cuda.prediction import Prediction
from anachron.emulators.ptx.syntax import parse

FIRST, END = (int(n) for n in os.environ.get("ANACHRON_PREDICTED", "0:4").split(":"))
FAMILIES = ("encoder", "rms", "layer", "llama")
SAMPLINGS = (None, ac.Sampling(0.9, 0.8, 5), ac.Sampling(1.2, 1.0, 7))
compiles = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="Numba CUDA is not installed: pip install -e '.[cuda]'"
)


def exact(run: ac.Run) -> None:
    """Every op as counted; the whole is the sum."""
    predicted = run.predicted_kernels
    assert {name: row.lo for name, row in predicted.items()} == run.cycles
    assert all(row.lo == row.expected == row.hi for row in predicted.values())
    assert sum(run.cycles.values()) == run.total == run.predicted.expected


@compiles
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("seed", range(FIRST, END))
def test_random_models_issue_the_instructions_predicted(
    seed: int, logits: bool, tmp_path: Path
) -> None:
    path = tmp_path / "random.model"
    path.write_text(random_text(seed, (FAMILIES[seed % len(FAMILIES)],)))
    fixed = ac.quantize(ac.load(path))
    image = ac.build(fixed, "ptx", logits=logits)
    if fixed.generation.mode == "sequence":
        ids = np.random.default_rng(seed).integers(0, fixed.vocab_size, fixed.seq_len)
        exact(run_image(image, fixed.tokenizer.decode(ids.tolist())))
        return
    for length, sampling in zip((1, 3, 2), SAMPLINGS, strict=True):
        prompt = random_prompt(seed, fixed.vocab_size, length)
        exact(run_image(image, prompt, None if logits else 4, sampling))


@compiles
def test_kernels_without_fast_forms_issue_the_instructions_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops over positions and features, by threads that are not all in the same ones."""
    def write(fixed: ac.FixedModel, logits: bool, room: int) -> KernelText:
        return write_kernel(fixed, logits, stream=False, room=min(room, 2_000))

    monkeypatch.setattr(target, "write_kernel", write)
    for family in ("layer", "llama"):
        path = tmp_path / f"{family}.model"
        path.write_text(random_text(2, (family,)))
        fixed = ac.quantize(ac.load(path))
        image = ac.build(fixed, "ptx")
        for sampling in SAMPLINGS:
            exact(run_image(image, random_prompt(1, fixed.vocab_size, 2), 5, sampling))


@compiles
def test_an_answer_that_ends_by_itself_is_predicted() -> None:
    """Each of the ids that end it goes its own way through the tests."""
    chat = ac.quantize(ac.load("chat"))
    answer = ac.run_reference(chat, "hello", 9).generated
    for last in (0, 3, 5):
        stops = tuple(id_ for id_ in {answer[last], 0, 3} if id_ not in answer[:last])
        fixed = replace(chat, generation=replace(chat.generation, stop=stops))
        run = run_image(ac.build(fixed, "ptx"), "hello", 9)
        assert len(run.generated) == len(run.counts) - len(run.prompt_ids) < 9
        exact(run)


@compiles
def test_a_pass_alone_is_that_of_a_whole_run() -> None:
    """Late passes are begun without those before them; the longest has the loops of all steps."""
    fixed = ac.quantize(ac.load("chat"))
    image = ac.build(fixed, "ptx")
    ask = image.predict
    assert isinstance(ask, Prediction)
    n = fixed.seq_len - 2
    wholes = [sum(c.expected for c in ask.whole(1, k).values()) for k in (n, n - 1)]
    assert wholes[0] - wholes[1] == sum(c.expected for c in ask(n - 2, True).values())
    early, late = (sum(c.expected for c in ask(p, False).values()) for p in (3, n))
    assert early < late
    for position in (0, 1, 2, 5, 40):
        bounds = sum(ask(position, True).values(), Cycles(0, 0, 0))
        assert bounds.lo <= bounds.expected <= bounds.hi < 1.1 * bounds.lo


@compiles
def test_what_is_told_before_a_run_holds_the_run() -> None:
    fixed = ac.quantize(ac.load("chat"))
    image = ac.build(fixed, "ptx")
    for n in (1, 5, None):
        run = run_image(image, "hello", n)
        told = predict(image, len(run.prompt_ids), len(run.counts), run.tokens[: len(run.counts)])
        total = sum(told.values(), Cycles(0, 0, 0))
        assert total.lo <= run.total <= total.hi
        assert total.expected == pytest.approx(run.total, rel=0.01)


@compiles
def test_a_kernel_whose_way_depends_on_memory_is_refused() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    image = ac.build(fixed, "ptx")
    ptx = image.program.ptx
    branch = next(i for i in parse(ptx).instructions if i.opcode == "bra" and i.guard)
    load = f"ld.shared.u32 %r1, [0]; setp.ne.s32 {branch.guard}, %r1, 0; @{branch.guard} bra"
    changed = ptx.replace(f"@{branch.guard} bra", load, 1)
    assert changed != ptx
    with pytest.raises(TimingError, match="ld.shared.u32"):
        Prediction(fixed, parse(changed), image.source, 128, ac.Sampling())(0, True)


def test_a_line_is_of_the_op_that_was_named_last() -> None:
    text = "def kernel():\n    a\n    # q: matvec\n    b\n    # next\n    c\n"
    assert name_lines(text) == ["start", "start", "start", "q", "q", "next", "next"]
