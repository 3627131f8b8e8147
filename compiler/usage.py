"""FixedModel -> the integers that it computes at work: what a time that depends on data is by.

Calibration (calibration.py) asks the float model, this the integers themselves, which are all that
a build has: an encoder sees random inputs, a decoder answers random prompts with its likeliest
tokens, as a machine does unless it draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from anachron.kernels.arithmetic import Array

if TYPE_CHECKING:
    from anachron.compiler.fixed import FixedModel
    from anachron.compiler.targets.reference.target import Session

N_SAMPLES = 6
N_LONG, MOST_LONG = 3, 160  # texts that tell what grows with a context, and their positions
MOST_POSITIONS = 32  # of a sample
PROMPTS = range(1, 5)  # tokens that a prompt has


def find_usual_of(fixed: FixedModel, tokens: Sequence[int]) -> Mapping[str, Array]:
    """(1, positions, size) integers of every value, in one text."""
    return {name: value[None] for name, value in fixed.trace(list(tokens)).items()}


def find_usual(fixed: FixedModel, seed: int = 0) -> Mapping[str, Array]:
    """(samples, positions, size) integers of every value, the same ones for the same model."""
    from anachron.compiler.targets.reference.target import Session

    rng = np.random.default_rng(seed)
    texts = []
    for sample in range(N_SAMPLES):
        session, generation = Session(fixed), fixed.generation
        if generation.mode == "sequence":
            texts.append(session.step(rng.integers(0, fixed.vocab_size, fixed.seq_len).tolist()))
            continue
        length = PROMPTS[sample % len(PROMPTS)]
        prompt = rng.integers(generation.first_id, fixed.vocab_size, length).tolist()
        n = min(max(1, fixed.seq_len - 1), MOST_POSITIONS)
        texts.append(_answer(session, prompt, n))
    return {name: np.stack([text[name] for text in texts]) for name in texts[0]}


def find_long(fixed: FixedModel, seed: int = 0) -> Mapping[str, Array]:
    """(texts, positions, size) integers of every value in a decoder's longer texts."""
    from anachron.compiler.targets.reference.target import Session

    rng, first_id = np.random.default_rng(seed), fixed.generation.first_id
    n, texts = max(1, min(fixed.seq_len - 1, MOST_LONG)), []
    for _ in range(N_LONG):
        prompt = rng.integers(first_id, fixed.vocab_size, PROMPTS[-1]).tolist()
        texts.append(_answer(Session(fixed), prompt, n))
    return {name: np.stack([text[name] for text in texts]) for name in texts[0]}


def _answer(session: Session, prompt: Sequence[int], n: int) -> dict[str, Array]:
    """(n, size) integers of every value, in the likeliest answer to a prompt."""
    fixed, generation = session.fixed, session.fixed.generation
    parts = [session.step([*generation.prefix, *prompt, *generation.suffix][:n])]
    while session.n_positions < n:
        logits = parts[-1][fixed.logits.name][-1, generation.first_id :]
        parts.append(session.step([int(logits.argmax()) + generation.first_id]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
