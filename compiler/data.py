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


def draw_windows(model: Model, random: Random) -> Iterator[tuple[Array, Array]]:
    """Stretches of the corpus, and the same moved on by one token."""
    ids = np.array(model.tokenizer.encode(read_corpus(model)))
    n_starts = len(ids) - model.seq_len
    if n_starts < 1:
        raise ModelError(
            f"{model.name}: the corpus has {len(ids)} tokens, the context alone {model.seq_len}"
        )
    while True:
        start = (random.below(1 << 16) << 16 | random.below(1 << 16)) % n_starts
        stretch = ids[start : start + model.seq_len + 1]
        yield stretch[:-1], stretch[1:]


def draw_answers(model: Model, random: Random) -> Iterator[tuple[Array, Array]]:
    """Lines `question | answer` in the model's template; only the answer and its end count."""
    generation, samples = model.generation, []
    stop = generation.stop[:1]
    for number, line in enumerate(read_corpus(model).splitlines(), 1):
        if not line.strip():
            continue
        question, bar, answer = line.partition("|")
        if not bar:
            raise ModelError(f"{model.task['corpus']}:{number}: a line is `question | answer`")
        prompt = [
            *generation.prefix,
            *model.tokenizer.encode(question.strip()),
            *generation.suffix,
        ]
        ids = [*prompt, *model.tokenizer.encode(answer.strip()), *stop]
        if len(ids) > model.seq_len + 1 or len(prompt) < 1:
            raise ModelError(
                f"{model.task['corpus']}:{number}: {len(ids)} tokens, the context has "
                f"{model.seq_len}"
            )
        room = model.seq_len + 1 - len(ids)
        targets = [IGNORED] * (len(prompt) - 1) + ids[len(prompt) :] + [IGNORED] * room
        tokens = (ids + [0] * room)[:-1]
        samples.append((np.array(tokens), np.array(targets)))
    if not samples:
        raise ModelError(f"{model.task['corpus']}: it has no line")
    while True:
        yield samples[random.below(len(samples))]


def read_corpus(model: Model) -> str:
    """The text that a model's task names."""
    path = Path(model.folder) / model.task["corpus"]
    try:
        if path.stat().st_size > MAX_CORPUS_BYTES:
            raise ModelError(f"{path}: a corpus has at most {MAX_CORPUS_BYTES:,} bytes")
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: byte {error.start} is not UTF-8 text") from None
