"""Random tiny models, compiled for every machine: the same integers, within the predicted time.

ANACHRON_FUZZ_MODELS=first:end runs other seeds than the default ones; a failure names its seed.
"""

import os
import sys
from pathlib import Path

import pytest

import anachron.compiler as ac

sys.path.insert(0, str(Path(__file__).parent))
from random_models import random_prompt, random_text

FIRST, END = (int(n) for n in os.environ.get("ANACHRON_FUZZ_MODELS", "0:10").split(":"))
MACHINES = ("pdp11/34a", "pdp11/20", "c64")


@pytest.mark.parametrize("seed", range(FIRST, END))
def test_every_machine_gives_the_reference_s_integers(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    path.write_text(random_text(seed))
    fixed = ac.quantize(ac.load(path))
    if fixed.generation.mode == "sequence":
        ids = [(seed + i) % fixed.vocab_size for i in range(fixed.seq_len)]
        prompt = fixed.tokenizer.decode(ids)
    else:
        prompt = random_prompt(seed, fixed.vocab_size, 2)
    sampling = ac.Sampling(0.9 * (seed % 2), 0.8, seed)
    result = ac.compare(fixed, MACHINES, prompt, 4, sampling)
    assert {run.status for run in result.runs} == {"ok"}
    assert result.agree, f"seed {seed}:\n{result}\n{random_text(seed)}"
    for run in result.runs[1:]:
        assert run.predicted.lo <= run.total <= run.predicted.hi, f"seed {seed}: {run.on.name}"


def test_images_that_do_not_keep_logits_choose_the_same_tokens(tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    for seed in range(3):
        path.write_text(random_text(seed, ("rms", "layer", "llama")))
        fixed = ac.quantize(ac.load(path))
        prompt = random_prompt(seed, fixed.vocab_size, 2)
        assert ac.compare(fixed, MACHINES, prompt, 4, logits=False).agree
