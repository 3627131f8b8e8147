"""Random tiny models, compiled for every machine: the same integers, within the predicted time.

ANACHRON_FUZZ_MODELS=first:end runs other seeds than the default ones; a failure names its seed.
"""

import os
import sys
from pathlib import Path

import pytest

import anachron.compiler as ac
from anachron.compiler.ranges import analyse
from anachron.compiler.targets import Options
from anachron.compiler.targets.mos6502 import plan, row_groups

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


@pytest.mark.parametrize("style", row_groups.STYLES)
def test_rows_in_every_style_give_the_reference_s_integers(
    style: row_groups.Style, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Styles that only little memory brings about: kernels shared by all widths, fewer bases."""
    monkeypatch.setattr(plan, "STYLES", (style,))
    path = tmp_path / "random.model"
    bases, parts = set(), set()
    for seed in (3, 8, 16):
        text = random_text(seed).replace("hidden_dim = ", "hidden_dim = 5")  # 50 and more
        path.write_text(text)
        fixed = ac.quantize(ac.load(path))
        ends = [
            end
            for group in plan.make_plan(fixed, analyse(fixed), Options()).rows
            for columns in group.parts.values()
            for part in columns
            for end in part.ends
        ]
        bases |= {end.basis for end in ends}
        parts |= {end.part for end in ends}
        prompt = random_prompt(seed, fixed.vocab_size, 2)
        if fixed.generation.mode == "sequence":
            prompt = fixed.tokenizer.decode([i % fixed.vocab_size for i in range(fixed.seq_len)])
        result = ac.compare(fixed, ("c64",), prompt, 3)
        assert result.agree, f"seed {seed}, {style}:\n{result}\n{text}"
        run = result.runs[-1]
        assert run.predicted.lo <= run.total <= run.predicted.hi, f"seed {seed}, {style}"
    assert bases >= {"wider", "widest"}
    assert ("wide" in bases, "small" in bases) == (style.wide, style.small)
    assert not style.shared or {"first", "last"} <= parts


def test_images_that_do_not_keep_logits_choose_the_same_tokens(tmp_path: Path) -> None:
    path = tmp_path / "random.model"
    for seed in range(3):
        path.write_text(random_text(seed, ("rms", "layer", "llama")))
        fixed = ac.quantize(ac.load(path))
        prompt = random_prompt(seed, fixed.vocab_size, 2)
        assert ac.compare(fixed, MACHINES, prompt, 4, logits=False).agree
