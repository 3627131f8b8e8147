"""Whole programs on the emulated C64 against the reference: tokens, logits and cycles."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import random_prompt, random_text

from anachron.compiler.building import build
from anachron.compiler.language import parse
from anachron.compiler.loader import fill, load
from anachron.compiler.quantization import quantize
from anachron.compiler.run import Conversation, run_image, run_reference
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import DoesNotFit
from anachron.compiler.targets.mos6502 import matrices
from anachron.compiler.tokenizer import DIGITS, load_tokenizer

TASS = shutil.which("64tass")
MODELS = Path(__file__).parents[2] / "shared" / "models"


def random_model(seed):
    """A quantized model with random weights."""
    program = parse(random_text(seed), f"random{seed}.model")
    return quantize(fill(program, Path(f"random{seed}.model"), seed, True))


def agree(fixed, prompt, sampling=None, n=None, **options):
    image = build(fixed, "c64", logits=True, **options)
    run = run_image(image, prompt, n, sampling)
    meant = run_reference(fixed, prompt, n, sampling)
    assert run.prompt_ids == meant.prompt_ids
    assert run.generated == meant.generated
    assert np.array_equal(run.logits, meant.logits)
    assert run.predicted.lo <= run.total <= run.predicted.hi
    return run


@pytest.fixture(scope="module")
def reverse():
    return quantize(load("reverse"))


@pytest.fixture(scope="module")
def soul():
    if not MODELS.is_dir():
        pytest.skip(f"{MODELS} is absent")
    return quantize(load(MODELS / "soul.bin", MODELS / "soul_tokenizer.json"))


@pytest.mark.parametrize("prompt", ("31415926", "00000000", "99999999"))
def test_reverse_answers_like_the_reference(reverse, prompt):
    run = agree(reverse, prompt)
    assert run.text == prompt[::-1]


def test_with_the_screen_on_the_vic_takes_its_share(reverse):
    image = build(reverse, "c64", screen=True)
    run, dark = run_image(image, "12345678"), run_image(build(reverse, "c64"), "12345678")
    assert run.generated == dark.generated
    assert run.predicted.lo <= run.total <= run.predicted.hi
    assert 0.05 < run.total / dark.total - 1 < 0.06


def test_measured_parts_are_those_predicted(reverse):
    run = agree(reverse, "12345678")
    for name, (least, _, most) in run.predicted_kernels.items():
        assert least <= run.cycles[name] <= most, name
    assert sum(run.cycles[name] for name in run.predicted_kernels) == run.total


def test_an_input_of_another_length_is_asked_for_again(reverse):
    talk = Conversation(build(reverse, "c64"))
    talk.machine.type("123\r")
    talk.machine.run(max_cycles=20_000_000, until=talk.image.symbols["converse"])
    talk.machine.run(max_cycles=20_000_000, until=talk.image.symbols["ready"])
    assert "(it takes 8 tokens)" in str(talk.machine.screen())
    assert talk.ask("12345678").text == "87654321"


def test_soul_gives_its_own_tokens_and_logits(soul):
    image = build(soul, "c64", logits=True)
    talk = Conversation(image)
    for case in json.loads((MODELS / "soul_expected.json").read_text())[:2]:
        run = talk.ask(case["prompt"])
        assert list(run.prompt_ids) == case["ids"]
        assert list(run.generated) == case["generated"]
        assert run.logits.tolist() == case["logits"]
        assert 0.99 < run.predicted.expected / run.total < 1.01


def test_two_questions_get_independent_answers():
    fixed = random_model(1)
    talk = Conversation(build(fixed, "c64"), n=3)
    for prompt in ("ab", "bbba", "ab"):
        assert talk.ask(prompt).generated == run_reference(fixed, prompt, 3).generated


def test_an_empty_line_has_no_pairs_of_the_line_before(soul):
    talk = Conversation(build(soul, "c64"), n=1)
    for prompt in ("hello", "", "h", ""):
        run = talk.ask(prompt)
        assert run.prompt_ids == run_reference(soul, prompt, 1).prompt_ids


@pytest.mark.parametrize("top_p", (1.0, 0.8, 0.05))
def test_sampling_is_the_same_everywhere(top_p):
    agree(random_model(1), "ab", Sampling(temperature=1.3, top_p=top_p, seed=7))


def test_a_build_begins_with_the_sampling_that_it_was_given():
    fixed, sampling = random_model(1), Sampling(temperature=1.3, top_p=0.8, seed=7)
    run = run_image(build(fixed, "c64", sampling=sampling), "ab")
    assert run.generated == run_reference(fixed, "ab", sampling=sampling).generated
    assert run.generated != run_reference(fixed, "ab").generated


def test_what_answers_in_one_pass_samples_nothing(reverse):
    with pytest.raises(ValueError, match="leave the temperature out"):
        build(reverse, "c64", sampling=Sampling(0.5))


@pytest.mark.parametrize("feedback", ((), ("border",), ("sound",), ("border", "sound")))
def test_feedback_is_what_was_asked_for(reverse, feedback):
    talk = Conversation(build(reverse, "c64", feedback=feedback))
    talk.machine.log_sid()
    before, colours = talk.machine.vic[0x20], []
    answer = talk.ask("12345678", lambda event, _: colours.append(talk.machine.vic[0x20]))
    opened = [entry for entry in talk.machine.sid_log() if entry[1:] == (4, 0x11)]
    assert answer.text == "87654321"
    assert ("border" in feedback) == (before not in colours)
    assert len(opened) == (len(answer.generated) if "sound" in feedback else 0)


def test_an_unknown_feedback_is_refused(reverse):
    with pytest.raises(ValueError, match="there is no feedback smoke: choose from border, sound"):
        build(reverse, "c64", feedback=("smoke",))


@pytest.mark.parametrize("seed", range(12))
def test_random_models_agree(seed):
    fixed = random_model(seed)
    if fixed.generation.mode == "sequence":
        rng = np.random.default_rng(seed)
        ids = rng.integers(0, min(fixed.vocab_size, 36), fixed.seq_len)
        agree(fixed, "".join(DIGITS[i] for i in ids))
    else:
        agree(fixed, random_prompt(seed, fixed.vocab_size, max(1, fixed.seq_len - 2)))


@pytest.mark.parametrize("seed", (0, 1, 3, 4, 5))
def test_values_still_alive_are_those_of_the_reference(seed):
    fixed = random_model(seed)
    encoder = fixed.generation.mode == "sequence"
    prompt = "0" * fixed.seq_len if encoder else "ab"
    run = run_image(build(fixed, "c64"), prompt, 2)
    trace = fixed.trace(list(run.prompt_ids if encoder else run.tokens[: len(run.counts)]))
    found = run.image.locations
    assert len(found) > 1
    for name, location in found.items():
        meant = trace[fixed.logits.name if name == "logits" else name][-1]
        assert location.decode(run.machine.memory).tolist() == meant.tolist(), name


def test_a_prompt_too_long_is_cut():
    fixed = random_model(2)
    if fixed.generation.mode == "sequence":
        fixed = random_model(3)
    agree(fixed, "abcde" * 5)


NARROW = """\
model narrow
size dim = 8, seq_len = 12, vocab_size = 10
tokenizer digits
x = embed(token, dim) + embed(position, dim)
a = rms_norm(x)
x = x + attention(linear(a, dim), linear(a, dim), linear(a, dim), heads = 2, causal)
logits = linear(rms_norm(x), vocab_size)
"""


def test_a_context_too_long_is_one_clear_line():
    program = parse(NARROW, "narrow.model", {"seq_len": 257})
    fixed = quantize(fill(program, Path("narrow.model"), 0, True))
    with pytest.raises(ValueError, match="257 positions[^\n]*$"):
        build(fixed, "c64")


def test_keys_too_wide_are_one_clear_line():
    wide = "linear(attention(linear(a, 264), linear(a, 264), linear(a, 264), causal), dim)"
    narrow = "attention(linear(a, dim), linear(a, dim), linear(a, dim), heads = 2, causal)"
    program = parse(NARROW.replace(narrow, wide), "narrow.model")
    fixed = quantize(fill(program, Path("narrow.model"), 0, True))
    with pytest.raises(ValueError, match="264 features[^\n]*$"):
        build(fixed, "c64")


def test_the_longest_context():
    program = parse(NARROW, "narrow.model", {"seq_len": 256, "dim": 4})
    fixed = quantize(fill(program, Path("narrow.model"), 0, True))
    agree(fixed, "0123456789" * 20, n=2)


WIDE = """\
model wide
size dim = 8, seq_len = 20, vocab_size = 512
tokenizer digits
x = embed(token, dim) + embed(position, dim)
a = rms_norm(x)
x = x + attention(linear(a, dim), linear(a, dim), linear(a, dim), heads = 2, causal)
logits = linear(rms_norm(x), vocab_size)
"""


def test_byte_pairs_and_ids_of_two_bytes():
    if not MODELS.is_dir():
        pytest.skip(f"{MODELS} is absent")
    program = parse(WIDE, "wide.model", tokenizer=load_tokenizer(MODELS / "tok512.bin"))
    fixed = quantize(fill(program, Path("wide.model"), 3, True))
    image = build(fixed, "c64", logits=True)
    for prompt in ("Once upon a time", 'The cat! "Hello" {x} _ | ~ ^ \\ `'):
        run, meant = run_image(image, prompt, 2), run_reference(fixed, prompt, 2)
        assert run.agrees(meant)
    agree(fixed, "a dog", Sampling(temperature=2.0, top_p=0.9, seed=3), n=4)


@pytest.mark.tass
@pytest.mark.skipif(TASS is None, reason="64tass is not installed")
def test_64tass_assembles_the_source_to_the_same_bytes(reverse, tmp_path):
    image = build(reverse, "c64")
    (tmp_path / "model.asm").write_text(image.source)
    command = [TASS, "-q", "--nostart", "-o", tmp_path / "out", tmp_path / "model.asm"]
    subprocess.run(command, check=True, capture_output=True)
    ((_, data),) = image.program.segments
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("dim", (110, 128))
def test_a_model_too_large_says_by_how_much(dim):
    program = parse(
        f"model big\nsize dim = {dim}, seq_len = 8, vocab_size = 10\ntokenizer digits\n"
        "task reverse\nx = embed(token, dim)\n"
        + "x = x + linear(x, dim)\n" * 4
        + "logits = linear(x, vocab_size)\n",
        "big.model",
    )
    with pytest.raises(DoesNotFit) as found:
        build(quantize(fill(program, Path("big.model"), 0, True)), "c64")
    assert found.value.bytes_over > 0


def test_the_first_position_is_known_where_all_prompts_begin_alike():
    program = parse(NARROW, "narrow.model")
    fixed = quantize(fill(program, Path("narrow.model"), 5, True))
    fixed = replace(fixed, generation=replace(fixed.generation, prefix=(7,)))
    run = agree(fixed, "31")
    assert run.counts[0] < run.counts[1] / 2
    alone = agree(fixed, "")  # its logits are wanted
    assert alone.prompt_ids == (7,)
    assert alone.counts[0] > run.counts[0]


@pytest.mark.parametrize("guards", (0.5, 2))
@pytest.mark.parametrize("way", ("shuffled", "flipped", "none", "extreme", "uniform"))
def test_other_weights_give_the_reference_s_tokens(soul, way, guards, monkeypatch):
    """Soul Player's model with weights for which nothing was tuned; logits are sought, not kept.

    guards: the share of rows that may be left to the slow way, or 2: guards wherever they can be
    """
    monkeypatch.setattr(matrices, "MOST_EXACT", guards)
    rng = np.random.default_rng(1)
    change = {
        "shuffled": lambda w: rng.permutation(w.ravel()).reshape(w.shape),
        "flipped": lambda w: -np.maximum(w, -127),
        "none": np.zeros_like,
        "uniform": lambda w: rng.integers(-128, 128, w.shape).astype(w.dtype),
        "extreme": lambda w: np.where(rng.integers(0, 2, w.shape) > 0, 127, -128).astype(w.dtype),
    }[way]
    ops = tuple(
        replace(op, constants={**op.constants, "weight": change(op.constants["weight"])})
        if op.contract == "matvec"
        else op
        for op in soul.ops
    )
    fixed = replace(soul, ops=ops)
    run = run_image(build(fixed, "c64"), "hey", 3)
    assert run.generated == run_reference(fixed, "hey", 3).generated
    assert run.predicted.lo <= run.total <= run.predicted.hi
    assert 0.98 < run.predicted.expected / run.total < 1.02  # of three passes, by texts of others
