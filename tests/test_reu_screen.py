"""The likeliest token of a streamed model without every logit whole: the reference's, always."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.fixed import FixedModel
from anachron.compiler.run import run_image, run_reference
from anachron.compiler.targets import Options, find_machine
from anachron.compiler.targets.mos6502 import streamed_screening
from anachron.compiler.targets.mos6502.target import build_streamed
from anachron.kernels.mos6502.streamed import screen

TEXT = """
model wide
size dim = 32, seq_len = 12
tokenizer bpe("pieces.json")
tok = embed(token, dim)
pos = embed(position, dim)
logits = linear(rms_norm(tok + pos), vocab_size)
"""
LETTERS = "abcdefghijklmnopqrst"


def model(folder: Path, n: int) -> FixedModel:
    """Tokens are letters and then pairs of letters."""
    pairs = [a + b for a in LETTERS for b in LETTERS][: n - len(LETTERS)]
    vocab = {piece: i for i, piece in enumerate([*LETTERS, *pairs])}
    (folder / "pieces.json").write_text(json.dumps({"vocab": vocab, "merges": [*map(list, pairs)]}))
    path = folder / "m.model"
    path.write_text(TEXT)
    return ac.quantize(ac.load(path))


def with_rows(fixed: FixedModel, kind: str, shifts: tuple[int, ...]) -> FixedModel:
    """The same with other logits."""
    op, rng = fixed.ops[-1], np.random.default_rng(len(kind))
    shape = op.constants["weight"].shape
    weight = rng.integers(-127, 128, shape)
    bias = rng.integers(-300, 300, shape[0])
    match kind:
        case "extreme":
            weight = np.where(weight > 0, 127, -127)
        case "equal":
            weight[:], bias[:] = weight[7], bias[7]
        case "ties":
            weight[5::3], bias[5::3] = weight[5], bias[5]
        case "flat":
            weight //= 60
        case "negative":
            weight, bias = weight // 50, bias - 30000
    shift = rng.permutation(np.resize(shifts, shape[0])) if shifts else np.full(shape[0], 8)
    if kind in {"equal", "ties"}:
        shift = np.full(shape[0], 8)
    constants = {
        "weight": weight.astype(np.int8),
        "bias": bias.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    return replace(fixed, ops=(*fixed.ops[:-1], replace(op, constants=constants)))


KINDS = ("random", "extreme", "equal", "ties", "flat", "negative")


@pytest.mark.parametrize("n", [300, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_of_the_largest_logits_is_chosen(
    kind: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_screening, "EXACT", -1_000_000)  # worth it, whatever it costs
    fixed = with_rows(model(tmp_path, n), kind, (8,) * 20 + (7, 9))
    if kind in {"ties", "random"}:  # the first tokens are never answers
        fixed = replace(fixed, generation=replace(fixed.generation, first_id=6))
    image = build_streamed(fixed, find_machine("c64+reu"), Options())
    assert any("likeliest" in label for label in image.symbols)
    for prompt in ("ab", "ta", "jjjjj"):
        run, meant = run_image(image, prompt, 6), run_reference(fixed, prompt, 6)
        assert run.generated == meant.generated
        assert run.logits is None
        assert run.predicted.lo <= run.total <= run.predicted.hi


def test_all_logits_are_there_where_they_are_asked_for(tmp_path: Path) -> None:
    fixed = with_rows(model(tmp_path, 40), "random", (8, 8, 8, 7))
    image = build_streamed(fixed, find_machine("c64+reu"), Options(logits=True))
    run, meant = run_image(image, "abc", 4), run_reference(fixed, "abc", 4)
    assert np.array_equal(run.logits, meant.logits)


@pytest.mark.parametrize("down", range(1, 9))
@pytest.mark.parametrize("shift", [3, 7, 8])
def test_no_row_that_may_be_as_large_is_left_out(down: int, shift: int) -> None:
    rng, told = np.random.default_rng(down + shift), 0
    for _ in range(300):
        weight = rng.integers(-128, 128, (20, int(rng.integers(1, 70))))
        bias, size = rng.integers(-500, 500, 20), int(rng.integers(1, 9 << down))
        reach = np.abs(weight).sum(1) * size
        made = screen.plan(weight, bias, (bias - reach, bias + reach), down, shift, 69)
        if made is None:
            continue
        x = rng.integers(-size, size + 1, weight.shape[1])
        coarse, results = weight @ (x >> down) + bias, weight @ x + bias >> shift
        assert np.abs(coarse).max() <= 127 * 256
        best = int(results.max())
        assert (coarse[results == best] >= made.need(best)).all()
        told += int((coarse < made.need(best)).sum())
    assert told > 0
