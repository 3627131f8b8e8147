"""Token ids to calibrate with: what a model reads and writes when it is at work.

An encoder sees random inputs; a decoder sees text of its own, sampled from the float model at
temperature 1, so that nothing but the model is needed.
"""

from __future__ import annotations

import numpy as np

from anachron.compiler.model import Model
from anachron.compiler.ops import forward

N_SAMPLES = 4
LONGEST = 64  # positions of a sample, at most


def find_samples(model: Model, seed: int = 0) -> list[list[int]]:
    """A few token sequences, the same ones for the same model and seed."""
    rng = np.random.default_rng(seed)
    if model.generation.mode == "sequence":
        shape = (8 * N_SAMPLES, model.seq_len)
        return rng.integers(0, model.vocab_size, shape).tolist()
    return [_write(model, rng) for _ in range(N_SAMPLES)]


def _write(model: Model, rng: np.random.Generator) -> list[int]:
    generation = model.generation
    start = int(rng.integers(generation.first_id, model.vocab_size))
    tokens = [*generation.prefix, start, *generation.suffix][: model.seq_len]
    logits_name = model.nodes[-1].name
    while len(tokens) < min(model.seq_len, LONGEST):
        logits = forward(model, tokens)[logits_name][-1][generation.first_id :]
        weight = np.exp(logits - logits.max())
        drawn = rng.random() * weight.sum()
        chosen = int(np.searchsorted(np.cumsum(weight), drawn, side="right"))
        tokens.append(min(chosen, len(weight) - 1) + generation.first_id)
    return tokens
