"""Models with int8 activations: the same integers everywhere, with every logit and without."""

import sys
from pathlib import Path

import pytest

import anachron.compiler as ac

sys.path.insert(0, str(Path(__file__).parent))
from random_models import random_prompt, random_text

MACHINES = ("pdp11/34a", "c64")
SHARED = Path(__file__).parents[2] / "shared" / "models"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("logits", (True, False))
def test_random_models_agree(seed: int, logits: bool, tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    path.write_text(random_text(seed, ("rms", "llama")))
    fixed = ac.quantize(ac.load(path), activations=8)
    prompt = random_prompt(seed, fixed.vocab_size, 2)
    result = ac.compare(fixed, MACHINES, prompt, 4, logits=logits)
    assert result.agree, f"seed {seed}:\n{result}\n{random_text(seed, ('rms', 'llama'))}"
    for run in result.runs[1:]:
        assert run.predicted.lo <= run.total <= run.predicted.hi, f"seed {seed}: {run.on.name}"


@pytest.mark.skipif(not SHARED.exists(), reason="no ../shared/models here")
def test_soul_takes_half_a_million_cycles_a_token() -> None:
    model = ac.load(SHARED / "soul.bin", tokenizer=SHARED / "soul_tokenizer.json")
    fixed = ac.quantize(model, activations=8)
    run = ac.build(fixed, "c64").run("hey")
    assert run.agrees(ac.run_reference(fixed, "hey"))
    assert run.total / len(run.counts) < 500_000
    assert abs(run.predicted.expected / run.total - 1) < 0.01


def test_heads_that_take_the_slow_way_are_expected() -> None:
    fixed = ac.quantize(ac.load("chat"), activations=8)
    run = ac.build(fixed, "c64").run("hello")
    assert run.agrees(ac.run_reference(fixed, "hello"))
    assert abs(run.predicted.expected / run.total - 1) < 0.01
