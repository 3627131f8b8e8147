"""What a model is trained on: tokens and targets of each task, from a seed.

The generator is the machines' own (kernels/reference/sampling.py), so that a machine can make the
same sequences for itself.

To add a task: a row in recipes.TASKS, a function in SEQUENCES or READERS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from anachron.compiler.model import Array, Model, ModelError
from anachron.emulators.containers.files import read_file
from anachron.kernels.reference.sampling import seed_state, xorshift

MAX_CORPUS_BYTES = 1 << 24
IGNORED = -1  # the target of a place that does not count


class Random:
    """Whole numbers from a seed: the high half of an xorshift state, scaled."""

    def __init__(self, seed: int) -> None:
        self.state = seed_state(seed)

    def below(self, limit: int) -> int:
        """0 .. limit - 1; limit at most 65536."""
        self.state = xorshift(self.state)
        return (self.state >> 16) * limit >> 16


SEQUENCES: dict[str, Callable[[Array, int], Array]] = {  # (..., positions), vocab_size -> targets
    "reverse": lambda x, size: x[..., ::-1],
    "copy": lambda x, size: x,
    "sort": lambda x, size: np.sort(x, -1),
    "sum": lambda x, size: np.broadcast_to(x.sum(-1, keepdims=True) % size, x.shape),
}


def make_batches(model: Model, seed: int) -> Iterator[tuple[Array, Array]]:
    """Tokens and targets, each (batch, positions), without end."""
    random = Random(seed)
    batch = model.recipe.get("batch", 1)
    match model.task.get("name"):
        case None:
            raise ModelError(f"{model.name}: its text says no task to train it for")
        case "next":
            draw = draw_windows(model, random)
        case "answer":
            draw = draw_answers(model, random)
        case name:
            draw = draw_sequences(model, random, SEQUENCES[name])
    while True:
        pairs = [next(draw) for _ in range(batch)]
        yield np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def draw_sequences(
    model: Model, random: Random, solve: Callable[[Array, int], Array]
) -> Iterator[tuple[Array, Array]]:
    """Random sequences and what they are to become."""
    while True:
        tokens = np.array([random.below(model.vocab_size) for _ in range(model.seq_len)])
        yield tokens, solve(tokens, model.vocab_size)


def read_ids(model: Model) -> Array:
    """The corpus as tokens, more than the context has."""
    ids = np.array(model.tokenizer.encode(read_corpus(model)))
    if len(ids) <= model.seq_len:
        raise ModelError(
            f"{model.name}: the corpus has {len(ids)} tokens, the context alone {model.seq_len}"
        )
    return ids


def draw_windows(model: Model, random: Random) -> Iterator[tuple[Array, Array]]:
    """Stretches of the corpus, and the same moved on by one token."""
    ids = read_ids(model)
    n_starts = len(ids) - model.seq_len
    while True:
        start = (random.below(1 << 16) << 16 | random.below(1 << 16)) % n_starts
        stretch = ids[start : start + model.seq_len + 1]
        yield stretch[:-1], stretch[1:]


def draw_answers(model: Model, random: Random) -> Iterator[tuple[Array, Array]]:
    """Lines `question | answer` in the model's template; only the answer and its end count.

    Questions are varied, so that a model learns to answer what is nearly one of them, too.
    """
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(read_corpus(model).splitlines(), 1):
        question, bar, answer = (part.strip() for part in line.partition("|"))
        if line.strip() and not (bar and question):
            raise ModelError(f"{model.task['corpus']}:{number}: a line is `question | answer`")
        if line.strip():
            pairs.append((question, answer))
            frame_answer(model, question, answer, f"{model.task['corpus']}:{number}")
    if not pairs:
        raise ModelError(f"{model.task['corpus']}: it has no line")
    words = sorted({word for question, _ in pairs for word in question.split()})
    while True:
        question, answer = pairs[random.below(len(pairs))]
        try:
            yield frame_answer(model, vary(question, words, random), answer)
        except ModelError:  # it has become too long
            yield frame_answer(model, question, answer)


def frame_answer(model: Model, question: str, answer: str, where: str = "") -> tuple[Array, Array]:
    """The template around a question, its answer and the first stop; padded to the context."""
    generation, encode = model.generation, model.tokenizer.encode
    prompt = [*generation.prefix, *encode(question), *generation.suffix]
    ids = [*prompt, *encode(answer), *generation.stop[:1]]
    room = model.seq_len + 1 - len(ids)
    if room < 0:
        raise ModelError(f"{where}: {len(ids)} tokens, the context has {model.seq_len}")
    targets = [IGNORED] * (len(prompt) - 1) + ids[len(prompt) :] + [IGNORED] * room
    return np.array((ids + [0] * room)[:-1]), np.array(targets)


def vary(question: str, words: list[str], random: Random) -> str:
    """The question as it is, or with a word too many or too few, a slip of a key, or a mark."""
    parts = question.split()
    word = random.below(len(parts))
    letter = random.below(len(question))
    match random.below(8):
        case 0:
            parts.insert(word + random.below(2), words[random.below(len(words))])
            return " ".join(parts)
        case 1 if len(parts) > 1:
            return " ".join(parts[:word] + parts[word + 1 :])
        case 2:
            return question[:letter] + question[letter + 1 :]
        case 3:
            return question[:letter] + question[random.below(len(question))] + question[letter:]
        case 4 | 5:
            return question + "?!."[random.below(3)]
    return question


def read_corpus(model: Model) -> str:
    """The text that a model's task names."""
    path = Path(model.folder) / model.task["corpus"]
    try:
        return read_file(path, MAX_CORPUS_BYTES, ModelError).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: byte {error.start} is not UTF-8 text") from None
