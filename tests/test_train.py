import numpy as np
import pytest

from anachron.compiler.data import IGNORED, Random, frame_answer, make_batches, read_corpus
from anachron.compiler.language import parse
from anachron.compiler.loader import load
from anachron.compiler.log_training import train_log
from anachron.compiler.model import ModelError
from anachron.compiler.ops import forward
from anachron.compiler.quantization import quantize
from anachron.compiler.training import train
from anachron.kernels.reference.sampling import seed_state, xorshift

HEAD = "size dim = 16, seq_len = 6, vocab_size = 10\ntokenizer digits\n"
ENCODER = (
    "x = embed(token, dim) + embed(position, dim)\n"
    "x = x + attention(linear(x, dim), linear(x, dim), linear(x, dim))\n"
)
OUT = "logits = linear(x, vocab_size)\n"
DECODER = (
    "size dim = 24, seq_len = 16\n{}\n"
    "x = embed(token, dim) + embed(position, dim)\n"
    "x = x + attention(linear(x, dim), linear(x, dim), linear(x, dim), causal)\n"
    "x = x + linear(relu(linear(x, 2 * dim, bias)), dim, bias)\n" + "logits = linear(x, vocab_size)"
)


def test_reverse_is_learned_in_full():
    training = train(load("reverse"))
    assert training.accuracies[-1] == 1.0
    assert training.accuracies[0] < 0.2
    tokens = np.random.default_rng(2).integers(0, 10, (2000, 8))
    answers = forward(training.model, tokens)["logits"].argmax(-1)
    assert np.array_equal(answers, tokens[:, ::-1])


@pytest.mark.parametrize("program", ["reverse", "copy"])
def test_the_shipped_weights_are_what_the_recipe_gives_a_machine(program):
    shipped = load(program)
    (again,) = train_log(shipped)
    for name, array in shipped.weights.items():
        assert np.array_equal(array, again.weights[name])


@pytest.mark.parametrize(
    ("program", "solve", "wanted"),
    [
        ("copy", lambda x: x, 1.0),
        ("reverse", lambda x: x[:, ::-1], 1.0),
        ("sort", lambda x: np.sort(x, -1), 0.98),
        ("sum", lambda x: np.broadcast_to(x.sum(-1, keepdims=True) % 10, x.shape), 1.0),
    ],
)
def test_the_shipped_programs_answer_in_floating_point_and_in_integers(program, solve, wanted):
    model = load(program)
    tokens = np.random.default_rng(8).integers(0, 10, (400, model.seq_len))
    assert np.mean(forward(model, tokens)["logits"].argmax(-1) == solve(tokens)) >= wanted
    fixed = quantize(model)
    given = np.array([fixed.trace(row)["logits"].argmax(-1) for row in tokens[:100].tolist()])
    assert np.mean(given == solve(tokens[:100])) >= wanted


def test_the_shipped_decoder_counts():
    model = load("count")
    text = read_corpus(model).splitlines()[0]
    ids = [model.tokenizer.encode(text[i : i + model.seq_len]) for i in range(len(text) - 8)]
    given = forward(model, np.array(ids))["logits"].argmax(-1)
    wanted = [model.tokenizer.encode(text[i + model.seq_len])[0] for i in range(len(text) - 8)]
    assert np.mean(given[:, -1] == wanted) > 0.95


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    model = load("reverse")
    first, second, other = (train(model, steps=3, seed=seed) for seed in (4, 4, 5))
    assert all(np.array_equal(first.weights[n], second.weights[n]) for n in model.shapes)
    assert not any(np.array_equal(first.weights[n], other.weights[n]) for n in model.shapes)


@pytest.mark.parametrize(
    ("task", "recipe"),
    [
        ("copy", "sgd(steps = 350, rate = 1/2, clip = 1/16)"),
        ("reverse", "adam(steps = 250, rate = 0.01)"),
    ],
)
def test_tasks_of_moving_digits_are_learned_in_full(task, recipe):
    model = parse(HEAD + f"task {task}\ntrain {recipe}\n" + ENCODER + OUT).model
    assert train(model, seed=1).accuracy == 1.0


def test_progress_hears_of_every_step():
    heard = []
    training = train(load("reverse"), steps=7, progress=lambda *what: heard.append(what))
    assert [step for step, _, _ in heard] == [1, 2, 3, 4, 5, 6, 7]
    assert np.isclose(training.losses[0], np.mean([loss for _, loss, _ in heard]))


def test_reports_are_means_over_windows():
    model = parse(HEAD + "task copy\ntrain sgd(steps = 5, window = 2)\n" + ENCODER + OUT).model
    heard = []
    training = train(model, progress=lambda step, loss, accuracy: heard.append(accuracy))
    assert np.allclose(training.accuracies, [np.mean(heard[:2]), np.mean(heard[2:4]), heard[4]])


def test_a_parameter_may_have_its_own_rate():
    text = HEAD + "task copy\ntrain sgd(steps = 1, rate = 1e-9, logits.weight = 1)\n"
    model = parse(text + ENCODER + OUT).model
    tiny, start = train(model).weights, train(model, steps=1).weights
    assert np.array_equal(tiny["x.embed.weight"], start["x.embed.weight"])
    text = text.replace("logits.weight = 1", "logits.weight = 1e-9")
    still = train(parse(text + ENCODER + OUT).model).weights
    assert np.abs(tiny["logits.weight"] - still["logits.weight"]).max() > 1e-3
    assert np.abs(tiny["x.embed.weight"] - still["x.embed.weight"]).max() < 1e-6


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("reverse", lambda x: x[::-1]),
        ("copy", lambda x: x),
        ("sort", sorted),
        ("sum", lambda x: [sum(x) % 10] * len(x)),
    ],
)
def test_targets_are_what_the_task_says(task, wanted):
    model = parse(HEAD + f"task {task}\ntrain sgd(batch = 3)\n" + ENCODER + OUT).model
    tokens, targets = next(make_batches(model, 9))
    assert tokens.shape == targets.shape == (3, 6)
    for x, y in zip(tokens.tolist(), targets.tolist(), strict=True):
        assert y == list(wanted(x))


def test_sequences_come_from_the_machines_generator():
    model = parse(HEAD + "task copy\n" + ENCODER + OUT).model
    state, wanted = seed_state(3), []
    for _ in range(6):
        state = xorshift(state)
        wanted.append((state >> 16) * 10 >> 16)
    assert next(make_batches(model, 3))[0].tolist() == [wanted]


def test_random_numbers_cover_their_range_evenly():
    random = Random(1)
    counts = np.bincount([random.below(10) for _ in range(10_000)], minlength=10)
    assert counts.min() > 850 and counts.max() < 1150


def test_the_next_character_of_a_corpus_is_learned(tmp_path):
    (tmp_path / "c.txt").write_text("abcabdabe" * 20)
    head = 'tokenizer characters("abcde")\ntask next(corpus = "c.txt")\n'
    head += "train adam(steps = 200, rate = 0.01, batch = 4)"
    model = parse(DECODER.format(head), folder=str(tmp_path)).model
    assert train(model).accuracy > 0.9
    tokens, targets = next(make_batches(model, 0))
    assert np.array_equal(tokens[:, 1:], targets[:, :-1])


def write_answers(folder, text):
    (folder / "c.txt").write_text(text)
    head = 'tokenizer characters("ab<> ?!.")\nprompt "<" text ">"\nstop "<"\n'
    head += 'task answer(corpus = "c.txt")'
    return parse(DECODER.format(head), folder=str(folder)).model


def test_an_answer_counts_and_its_question_does_not(tmp_path):
    model = write_answers(tmp_path, "ab | ba\n\n")
    tokens, targets = frame_answer(model, "ab", "ba")
    assert tokens[:6].tolist() == [2, 0, 1, 3, 1, 0]
    assert targets.tolist() == [IGNORED] * 3 + [1, 0, 2] + [IGNORED] * 10


def test_questions_vary_and_answers_do_not(tmp_path):
    batches = make_batches(write_answers(tmp_path, "aa bb | ba\n"), 0)
    questions = set()
    for _ in range(100):
        tokens, targets = (row[0].tolist() for row in next(batches))
        end = tokens.index(3)
        assert tokens[0] == 2 and targets[end : end + 3] == [1, 0, 2]
        assert targets[:end] == [IGNORED] * end
        questions.add("".join("ab<> ?!."[i] for i in tokens[1:end]))
    assert {"aa bb", "aa", "bb", "aa bb?", "a bb"} < questions


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (None, "no such file"),
        (b"ab", "the corpus has 2 tokens, the context alone 16"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
    ],
)
def test_a_corpus_that_will_not_do_is_one_clear_line(tmp_path, corpus, message):
    if corpus is not None:
        (tmp_path / "c.txt").write_bytes(corpus)
    head = 'tokenizer characters("ab")\ntask next(corpus = "c.txt")'
    model = parse(DECODER.format(head), folder=str(tmp_path)).model
    with pytest.raises(ModelError) as caught:
        train(model, steps=1)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_without_a_task_cannot_be_trained():
    with pytest.raises(ModelError, match="says no task"):
        train(parse(HEAD + ENCODER + OUT).model)


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ("ab\n", "c.txt:1: a line is `question | answer`"),
        ("a | b\n| b\n", "c.txt:2: a line is `question | answer`"),
        ("\n", "it has no line"),
        ("a | b\na | " + "b" * 20, "c.txt:2: 24 tokens, the context has 16"),
    ],
)
def test_a_line_that_is_no_question_and_answer_is_named(tmp_path, corpus, message):
    with pytest.raises(ModelError, match=message.replace("|", r"\|")):
        train(write_answers(tmp_path, corpus), steps=1)


def test_steps_have_limits():
    with pytest.raises(ModelError, match="0 steps, allowed is 1"):
        train(load("reverse"), steps=0)


def answer(model, say, question):
    """The greedy answer; say(ids) gives the logits of every position."""
    generation = model.generation
    prompt = [*generation.prefix, *model.tokenizer.encode(question), *generation.suffix]
    ids = list(prompt)
    while len(ids) < model.seq_len:
        chosen = int(say(ids)[-1].argmax())
        if chosen in generation.stop:
            break
        ids.append(chosen)
    return model.tokenizer.decode(ids[len(prompt) :])


def test_chat_answers_its_corpus_in_floating_point_and_in_integers():
    model = load("chat")
    fixed = quantize(model)
    for line in read_corpus(model).splitlines()[::18]:
        question, wanted = line.split(" | ")
        assert answer(model, lambda ids: forward(model, ids)["logits"], question) == wanted
        assert answer(model, lambda ids: fixed.trace(ids)["logits"], question) == wanted
