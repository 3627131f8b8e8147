"""How often the integers choose the token that the floats choose, and that exact integers do.

A context is a text up to some token; at each, the model under a choice of numerics and what it is
held against name their likeliest next token.  Texts are the model's own, sampled at temperature 1
from the float model with seeds that calibration does not use, or lines of a file:
`question | answer` counts the answer's tokens, any other line all of its tokens.

To hold it against something else: a line in `_references`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anachron.compiler.calibration import find_samples
from anachron.compiler.data import MAX_CORPUS_BYTES, frame_answer
from anachron.compiler.model import Model, ModelError
from anachron.compiler.ops import forward
from anachron.compiler.quantization import quantize
from anachron.compiler.targets.reference.target import Session
from anachron.emulators.containers.files import read_file
from anachron.kernels.arithmetic import Array

N_CONTEXTS = 2000
FIRST_SEED = 1000  # of texts; calibration's is 0


@dataclass(frozen=True)
class Fidelity:
    """What was counted.

    against    what the choices were held against
    agreement  the share of contexts with the same likeliest token, 0 .. 1
    divergence the mean Kullback-Leibler divergence from the reference's distribution, in nats
    """

    model: str
    numerics: str
    against: str
    texts: str
    contexts: int
    agreement: float
    divergence: float

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


def measure_fidelity(
    model: Model,
    texts: str | Path | None = None,
    n_contexts: int = N_CONTEXTS,
    **options: Any,
) -> tuple[Fidelity, ...]:
    """The model under numerics.Numerics' options, against its floats and its exact integers.

    texts  a file; None: the model's own.  Exact integers are those of a checkpoint that fixes them.
    Raises ModelError for a file without a text that the context holds.
    """
    source = "its own" if texts is None else Path(texts).name
    samples = _own_texts(model, n_contexts) if texts is None else _read_texts(model, Path(texts))
    samples = _first(samples, n_contexts)
    numerics = ", ".join(f"{name}={value}" for name, value in options.items()) or "as usual"
    fixed = quantize(model, **options)
    name, first = fixed.logits.name, model.generation.first_id
    scale = 2.0**-fixed.logits.format.frac
    mine = _logits(lambda tokens: Session(fixed).step(tokens)[name] * scale, samples, first)
    found = []
    for against, run in _references(model).items():
        other = _logits(run, samples, first)
        same = float((mine.argmax(1) == other.argmax(1)).mean())
        apart = float(np.mean(_divergence(other, mine)))
        found.append(Fidelity(model.name, numerics, against, source, len(mine), same, apart))
    return tuple(found)


def _references(model: Model) -> dict[str, Callable[[list[int]], Array]]:
    """What a choice of numerics is held against: name -> logits of every position."""
    name = model.nodes[-1].name
    plain = replace(model, numerics={})
    references: dict[str, Callable[[list[int]], Array]] = {
        "floats": lambda tokens: forward(plain, tokens)[name]
    }
    exact = model.numerics.get("exact")
    if exact is not None:
        fixed = quantize(model)
        scale = 2.0**-fixed.logits.format.frac
        references[f"{exact}'s integers"] = lambda tokens: Session(fixed).step(tokens)[name] * scale
    return references


def _logits(
    run: Callable[[list[int]], Array], samples: Sequence[tuple[list[int], Array]], first: int
) -> Array:
    """Logits of the positions that count, of the ids that may be chosen."""
    return np.concatenate([run(tokens)[counts][:, first:] for tokens, counts in samples])


def _divergence(true: Array, mine: Array) -> Array:
    """Of each row, in nats."""
    logs = []
    for logits in (true, mine):
        shifted = logits - logits.max(1, keepdims=True)
        logs.append(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
    return np.asarray((np.exp(logs[0]) * (logs[0] - logs[1])).sum(1))


def _own_texts(model: Model, n_contexts: int) -> list[tuple[list[int], Array]]:
    """As many as have so many positions."""
    samples: list[tuple[list[int], Array]] = []
    seed = FIRST_SEED
    while sum(len(tokens) for tokens, _ in samples) < n_contexts:
        for tokens in find_samples(model, seed):
            samples.append((list(tokens), np.ones(len(tokens), bool)))
        seed += 1
    return samples


def _read_texts(model: Model, path: Path) -> list[tuple[list[int], Array]]:
    """The lines of a file that the context holds."""
    try:
        lines = read_file(path, MAX_CORPUS_BYTES, ModelError).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: byte {error.start} is not UTF-8 text") from None
    samples = []
    for line in lines:
        question, bar, answer = (part.strip() for part in line.partition("|"))
        if bar and question:
            try:
                tokens, targets = frame_answer(model, question, answer)
            except ModelError:  # longer than the context
                continue
            samples.append((tokens.tolist(), targets >= 0))
        elif line.strip():
            ids = [*model.generation.prefix, *model.tokenizer.encode(line)][: model.seq_len]
            if ids and (model.generation.mode == "next" or len(ids) == model.seq_len):
                samples.append((ids, np.ones(len(ids), bool)))
    if not any(counts.any() for _, counts in samples):
        raise ModelError(
            f"{path}: no line has a text that {model.name}'s context of {model.seq_len} tokens "
            "holds: write `question | answer`, or a text, a line"
        )
    return samples


def _first(
    samples: list[tuple[list[int], Array]], n_contexts: int
) -> list[tuple[list[int], Array]]:
    """The first of the contexts."""
    kept, left = [], n_contexts
    for tokens, counts in samples:
        if left <= 0:
            break
        counts = counts & (np.cumsum(counts) <= left)
        left -= int(counts.sum())
        if counts.any():
            kept.append((tokens, counts))
    return kept
