"""Expected times, from the program's text and the model's own texts: within 1 % of the measured.

ANACHRON_PREDICTED=first:end runs other seeds than the default ones; a failure names what it is of.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image
from anachron.compiler.run import run_image
from anachron.compiler.targets import Options, find_machine
from anachron.compiler.targets.mos6502.target import build_banked, build_streamed

sys.path.insert(0, str(Path(__file__).parent))
from random_models import random_prompt, random_text

FIRST, END = (int(n) for n in os.environ.get("ANACHRON_PREDICTED", "0:6").split(":"))
NEAR = 0.01
PROGRAMS = Path(__file__).parents[1] / "programs"
WAYS = {
    "pdp11/34a": (16, lambda fixed: ac.build(fixed, "pdp11/34a")),
    "pdp11/34a dec": (16, lambda fixed: ac.build(fixed, "pdp11/34a", timing="dec")),
    "pdp11/20": (16, lambda fixed: ac.build(fixed, "pdp11/20")),
    "c64": (16, lambda fixed: ac.build(fixed, "c64")),
    "c64 int8": (8, lambda fixed: ac.build(fixed, "c64")),
    "c64+crt int8": (8, lambda fixed: build_banked(fixed, find_machine("c64+crt"), Options())),
    "c64+reu": (16, lambda fixed: build_streamed(fixed, find_machine("c64+reu"), Options())),
    "c64+reu int8": (8, lambda fixed: build_streamed(fixed, find_machine("c64+reu"), Options())),
}

# Seeds that were beyond once: a guard that fires where logits are not wanted, mean squares too long
# for a byte's root, weights that are small against the tables that they look into.
BEYOND = (
    ("c64", 78),
    ("c64 int8", 22),
    ("c64 int8", 79),
    ("c64+crt int8", 110),
    ("c64+reu", 31),
    ("c64+reu int8", 22),
    ("c64+reu int8", 110),
)


def prompts(fixed: FixedModel, seed: int) -> list[str]:
    if fixed.generation.mode == "sequence":
        ids = np.random.default_rng(seed).integers(0, fixed.vocab_size, fixed.seq_len)
        return [fixed.tokenizer.decode(ids.tolist())]
    return [random_prompt(seed, fixed.vocab_size, length) for length in (1, 3)]


@pytest.mark.parametrize(
    ("way", "seed"), [*((way, seed) for seed in range(FIRST, END) for way in WAYS), *BEYOND]
)
def test_random_models_take_the_time_expected(way: str, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    path.write_text(random_text(seed))
    bits, make = WAYS[way]
    fixed = ac.quantize(ac.load(path), activations=bits)
    image: Image = make(fixed)
    for prompt in prompts(fixed, seed):
        run = run_image(image, prompt)
        assert run.predicted.lo <= run.total <= run.predicted.hi, f"seed {seed}: {prompt!r}"
        assert run.predicted.expected == pytest.approx(run.total, rel=NEAR), f"{seed}: {prompt!r}"


@pytest.mark.parametrize("machine", ["pdp11/34a", "pdp11/20"])
def test_heads_whose_scores_leave_their_words_take_the_time_expected(machine: str) -> None:
    fixed = ac.quantize(ac.load(PROGRAMS / "reverse.model"))
    image: Image = ac.build(fixed, machine)
    for prompt in ("31415926", "12345678", "00000000", "98765432", "27182818"):
        run = run_image(image, prompt)
        assert run.cycles["att.wide"] > 0, prompt
        assert run.predicted.lo <= run.total <= run.predicted.hi, prompt
        assert run.predicted.expected == pytest.approx(run.total, rel=NEAR), prompt


@pytest.mark.parametrize("machine", ["pdp11/34a", "pdp11/20"])
@pytest.mark.parametrize(("name", "prompt"), [("count", "efg"), ("sort", "314159")])
def test_shifted_scores_beyond_a_word_take_the_time_expected(
    name: str, prompt: str, machine: str
) -> None:
    """Scores are shifted by less than they would be: some fit a word, others do not."""
    fixed = ac.quantize(ac.load(PROGRAMS / f"{name}.model"))
    ops = [
        replace(op, attributes={**op.attributes, "score_shift": op.attributes["score_shift"] - 11})
        if op.contract == "attention"
        else op
        for op in fixed.ops
    ]
    run = run_image(ac.build(replace(fixed, ops=tuple(ops)), machine), prompt)
    assert run.cycles["att.wide"] > 0
    assert run.predicted.lo <= run.total <= run.predicted.hi
    assert run.predicted.expected == pytest.approx(run.total, rel=NEAR)


@pytest.mark.parametrize("name", ["copy", "reverse"])
def test_an_encoder_s_queries_are_all_counted(name: str) -> None:
    """How many moduli a query needs is a matter of its length, and each position has its own."""
    image: Image = ac.build(ac.quantize(ac.load(PROGRAMS / f"{name}.model")), "c64")
    for prompt in ("31415926", "12345678", "98765432"):
        run = run_image(image, prompt)
        assert run.predicted.lo <= run.total <= run.predicted.hi, prompt
        assert run.predicted.expected == pytest.approx(run.total, rel=NEAR), prompt
