"""Whole programs on the PDP-11: the reference's integers, its text, and the time foretold."""
import functools
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from random_models import random_prompt, random_text

from anachron.compiler.building import build
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image
from anachron.compiler.language import parse
from anachron.compiler.loader import fill, load
from anachron.compiler.model import check
from anachron.compiler.quantization import quantize
from anachron.compiler.run import Conversation, run_image, run_reference, start
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import DoesNotFit
from anachron.compiler.targets.pdp11.values import Values
from anachron.compiler.targets.reference.target import Session

MODELS = Path(__file__).parents[1] / "../shared/models"
EIS = {"MUL", "DIV", "ASH", "ASHC", "SOB", "SXT", "XOR", "MARK"}
both = pytest.mark.parametrize("machine", ["pdp11/34a", "pdp11/20"])

BIGRAM = """\
model pairs
size dim = 12, hidden_dim = 9, seq_len = 10, vocab_size = 31
tokenizer characters("abcdefghijklmnopqrstuvwxyz .,!?")
x = embed(token, dim) + embed(position, dim)
a = rms_norm(x)
x = x + attention(linear(a, dim), linear(a, dim), linear(a, dim), heads = 3, causal)
x = x + linear(relu(linear(rms_norm(x), hidden_dim, bias)), dim)
logits = linear(rms_norm(x), vocab_size)
"""


def from_text(text: str, seed: int = 0) -> FixedModel:
    program = parse(text, "test.model", {}, None, ".")
    return quantize(check(fill(program, Path("test.model"), seed, True)))


@functools.cache
def pairs() -> FixedModel:
    return from_text(BIGRAM)


@functools.cache
def built(machine: str, **options) -> Image:
    return build(pairs(), machine, **options)


@functools.cache
def soul() -> FixedModel:
    if not (MODELS / "soul.bin").exists():
        pytest.skip("../shared/models/soul.bin is not here")
    return quantize(load(MODELS / "soul.bin", tokenizer=MODELS / "soul_tokenizer.json"))


def digits(seed: int, fixed: FixedModel) -> str:
    ids = np.random.default_rng(seed).integers(0, min(10, fixed.vocab_size), fixed.seq_len)
    return "".join(str(i) for i in ids)


def go(computer, image: Image, label: str) -> None:
    """Run to a label, or fail."""
    computer.run(until=[image.symbols[label]], max_instructions=50_000_000)
    assert computer.registers["pc"] == image.symbols[label]


@both
@pytest.mark.parametrize("seed", range(6))
def test_random_models_agree_in_every_logit_and_in_time(machine, seed):
    fixed = from_text(random_text(seed), seed)
    image = build(fixed, machine, logits=True)
    prompt = (
        digits(seed, fixed)
        if fixed.generation.mode == "sequence"
        else random_prompt(seed, fixed.vocab_size, 1 + fixed.seq_len // 3)
    )
    expected, found = run_reference(fixed, prompt), run_image(image, prompt)
    assert found.tokens == expected.tokens
    assert np.array_equal(found.logits, expected.logits)
    for name, times in found.predicted_kernels.items():
        assert times.lo <= found.cycles[name] <= times.hi, name
    assert {n for n, ns in found.cycles.items() if ns} <= set(found.predicted_kernels)
    assert found.predicted.lo <= found.total <= found.predicted.hi


@both
def test_every_kept_value_is_the_references(machine):
    """The program's rows of keys and values after a few positions, deposited one by one."""
    fixed, image = pairs(), built(machine)
    computer, session, symbols = start(image), Session(fixed), image.symbols
    for position, token in enumerate([3, 30, 0, 7]):
        expected = session.step([token])
        for name, value in (("position", position), ("token", token), ("wants_logits", 1)):
            computer.word[symbols[name]] = value
        computer.registers["sp"] = 0o1000
        computer.registers["pc"] = symbols["forward"]
        go(computer, image, "forward_done")
        memory = np.array(computer.memory, np.uint8)
        for name in Values(fixed).kept:
            rows = image.locations[name].decode(memory).reshape(fixed.seq_len, -1)
            assert np.array_equal(rows[position], expected[name][0])
        logits = image.locations["logits"].decode(memory)
        assert np.array_equal(logits, expected[fixed.logits.name][0])


@both
@pytest.mark.parametrize("temperature, top_p, seed", [(0.7, 0.9, 1), (2.0, 1.0, 5), (0.1, 0.5, 9)])
def test_a_sampled_text_is_the_references(machine, temperature, top_p, seed):
    sampling = Sampling(temperature, top_p, seed)
    expected = run_reference(pairs(), "abc", sampling=sampling)
    assert run_image(built(machine), "abc", sampling=sampling).tokens == expected.tokens


def test_reverse_answers_as_the_reference():
    fixed = quantize(load("reverse"))
    image = build(fixed, "pdp11/34a", logits=True)
    for seed in range(3):
        prompt = digits(seed, fixed)
        expected, found = run_reference(fixed, prompt), run_image(image, prompt)
        assert found.tokens == expected.tokens
        assert np.array_equal(found.logits, expected.logits)


def test_soul_gives_its_own_projects_logits():
    image = build(soul(), "pdp11/34a", logits=True)
    talk = Conversation(image)
    for case in json.loads((MODELS / "soul_expected.json").read_text()):
        run = talk.ask(case["prompt"])
        assert list(run.prompt_ids) == case["ids"]
        assert list(run.generated) == case["generated"]
        assert run.logits.tolist() == case["logits"]
        assert run.predicted.lo <= run.total <= run.predicted.hi


def test_a_conversation_answers_the_second_question_as_if_it_were_the_first():
    talk = Conversation(built("pdp11/34a"))
    for prompt in ("hello", "you", "hello"):
        assert talk.ask(prompt).tokens == run_reference(pairs(), prompt).tokens


def test_n_new_tokens_and_no_more():
    for n in (1, 3):
        found = run_image(built("pdp11/34a"), "ab", n)
        assert found.generated == run_reference(pairs(), "ab", n).generated


def test_characters_that_the_tokenizer_lacks_are_lower_cased_or_dropped():
    prompt = "A#b\tC"
    found = run_image(built("pdp11/34a"), prompt)
    assert found.tokens == run_reference(pairs(), prompt).tokens
    assert found.prompt_ids == (0, 1, 2)


def test_a_long_prompt_is_cut_and_says_so():
    found = run_image(built("pdp11/34a"), "abcdefghijklmnop")
    assert found.prompt_ids == run_reference(pairs(), "abcdefghijklmnop").prompt_ids
    assert "(THE FIRST 9 TOKENS ARE READ: THE CONTEXT IS 10)" in found.machine.console


def test_rubout_takes_a_character_back():
    computer = start(built("pdp11/34a"))
    go(computer, built("pdp11/34a"), "ready")
    computer.type("\177xy\177\10ab\r")
    go(computer, built("pdp11/34a"), "forward")
    at = built("pdp11/34a").symbols["prompt_ids"]
    assert computer.word[built("pdp11/34a").symbols["n_prompt"]] == 2
    assert [computer.word[at], computer.word[at + 2]] == [0, 1]


def test_an_encoder_asks_again_for_the_length_it_takes():
    fixed = quantize(load("reverse"))
    image = build(fixed, "pdp11/34a")
    computer = start(image)
    go(computer, image, "ready")
    computer.type("123\r")
    go(computer, image, "ready")
    assert computer.console.endswith("> 123\r\n8 TOKENS ARE WANTED\r\n> ")


@pytest.mark.parametrize("name", ["soul_tokenizer.json", "tok512.bin"])
def test_text_is_encoded_on_the_machine_as_on_the_host(name):
    if not (MODELS / name).exists():
        pytest.skip(f"../shared/models/{name} is not here")
    text = BIGRAM.replace('characters("abcdefghijklmnopqrstuvwxyz .,!?")', f'bpe("{name}")')
    size = {"soul_tokenizer.json": 128, "tok512.bin": 512}[name]
    text = text.replace("vocab_size = 31", f"vocab_size = {size}").replace("= 10,", "= 90,")
    program = parse(text, "test.model", {}, None, str(MODELS))
    fixed = quantize(check(fill(program, Path("test.model"), 0, True)), samples=[[1, 2, 3]])
    image = build(fixed, "pdp11/34a")
    rng = np.random.default_rng(2)
    words = "you are happy the THE Once upon a time there was ththth happyfuful in'g!".split()
    lines = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(12)]
    computer = start(image)
    for line in [*lines, "", "a", "  ", "snow \u2603"]:
        raw = line.encode()
        at = image.symbols["line"]
        computer.memory[at : at + len(raw)] = np.frombuffer(raw, np.uint8)
        computer.word[image.symbols["line_length"]] = len(raw)
        computer.registers["sp"] = 0o776
        computer.word[0o776] = image.symbols["ready"]
        computer.registers["pc"] = image.symbols["encode"]
        go(computer, image, "ready")
        count = computer.word[image.symbols["text_count"]]
        first = image.symbols["text_ids"]
        ids = [computer.word[first + 2 * i] for i in range(count)]
        assert ids == fixed.tokenizer.encode(line), line


def test_kernels_whose_time_is_the_same_for_all_data_are_foretold_exactly():
    found = run_image(built("pdp11/34a"), "hello")
    exact = {n for n, times in found.predicted_kernels.items() if times.lo == times.hi}
    assert "forward" in exact
    for name in exact:
        assert found.predicted_kernels[name].lo == found.cycles[name]


@both
def test_no_instruction_that_the_machine_or_a_judge_lacks(machine):
    lacking = EIS if machine == "pdp11/20" else {"SXT", "XOR", "MARK"}
    used = {line.row.mnemonic for line in built(machine).program.instructions.values()}
    assert used & lacking == set()


def test_matrices_share_one_sum_of_products_where_straight_ones_do_not_fit():
    fixed = from_text(BIGRAM.replace("dim = 12", "dim = 48"))
    straight = build(fixed, "pdp11/34a")
    last = straight.symbols["image_end"]
    shared = build(fixed, "pdp11/34a", memory_bytes=(last - 1) // 1024 * 1024)
    assert {c.variant for c in straight.calls if c.kernel == "matvec"} == {"straight"}
    assert {c.variant for c in shared.calls if c.kernel == "matvec"} == {"shared"}
    expected = run_reference(fixed, "abc")
    found = run_image(shared, "abc")
    assert found.tokens == expected.tokens
    assert found.predicted.lo <= found.total <= found.predicted.hi


def test_a_model_too_large_says_by_how_much():
    with pytest.raises(DoesNotFit, match="too many") as caught:
        build(pairs(), "pdp11/34a", memory_bytes=4096)
    need = 4096 + caught.value.bytes_over
    assert build(pairs(), "pdp11/34a", memory_bytes=need).symbols["image_end"] == need


def test_a_program_beyond_sixteen_bits_of_address_does_not_fit_either():
    text = BIGRAM.replace("dim = 12", "dim = 48").replace("seq_len = 10", "seq_len = 250")
    large = from_text(text)
    with pytest.raises(DoesNotFit, match="needs at least [0-9,]+ bytes, .* too many") as caught:
        build(large, "pdp11/20")
    assert caught.value.bytes_over > 0o200000 - 56 * 1024


def test_shared_sums_of_products_are_tried_where_straight_ones_leave_the_address_space():
    """Small matrices, many of them: straight, their code alone would be more than 64 KB."""
    deep = """\
size dim = 40, seq_len = 4, vocab_size = 4
tokenizer digits
x = embed(token, dim)
repeat 60 as layer:
    x = x + linear(relu(linear(x, 3)), dim)
logits = linear(x, vocab_size)
"""
    image = build(from_text(deep), "pdp11/20")
    assert {call.variant for call in image.calls if call.kernel == "matvec"} == {"shared"}


def test_attention_over_too_many_positions_names_the_op():
    with pytest.raises(ValueError, match="attention over 258 positions, at most 257"):
        build(from_text(BIGRAM.replace("seq_len = 10", "seq_len = 258")), "pdp11/34a")


def test_objects_cover_the_image_without_overlap():
    image = built("pdp11/34a")
    ends = [(o.address, o.end) for o in sorted(image.objects, key=lambda o: o.address)]
    assert ends[0][0] == 0o1000 and ends[-1][1] == image.symbols["image_end"]
    assert all(a[1] == b[0] for a, b in zip(ends, ends[1:], strict=False))


@pytest.mark.simh
def test_simh_prints_the_same_conversation(tmp_path):
    simulator = shutil.which("pdp11")
    if simulator is None:
        pytest.skip("SIMH's pdp11 is not installed")
    image = built("pdp11/34a")
    expected = run_image(image, "hello").machine.console
    (tmp_path / "image.lda").write_bytes(image.container[".lda"])
    commands = (
        f"set cpu 11/34\nload {tmp_path}/image.lda\nbreak {image.symbols['answer_done']:o}\n"
        f"dep pc {image.entry:o}\ngo\nquit\n"
    )
    (tmp_path / "run.ini").write_text(commands)
    said = subprocess.run(
        [simulator, tmp_path / "run.ini"], input=b"hello\r", capture_output=True, timeout=60
    ).stdout.decode("latin-1")
    assert expected in said and "Breakpoint" in said
