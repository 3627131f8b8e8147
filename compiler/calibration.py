"""Token ids to calibrate with: what a model reads and writes when it is at work.

An encoder sees random inputs; a decoder sees text of its own, sampled from the float model at
temperature 1, so that nothing but the model is needed.
"""

from __future__ import annotations

import numpy as np

from anachron.compiler.model import Model
from anachron.compiler.ops import forward

N_SAMPLES = 4
N_SEEDS = 16  # of samples by which weights are fitted, at most
MOST_WORK = 4 * 10**9  # multiply-accumulates to write them, roughly: a second or two
LONGEST = 64  # positions of a sample, at most


def find_samples(model: Model, seed: int = 0) -> list[list[int]]:
    """A few token sequences, the same ones for the same model and seed."""
    rng = np.random.default_rng(seed)
    if model.generation.mode == "sequence":
        shape = (8 * N_SAMPLES, model.seq_len)
        return rng.integers(0, model.vocab_size, shape).tolist()
    return _write(model, rng)


def find_more_samples(model: Model, first: list[list[int]]) -> list[list[int]]:
    """The first, and as many as tell which inputs of a matrix go together: fewer if it is large."""
    positions = min(model.seq_len, LONGEST)
    weights = sum(weight.size for weight in model.weights.values())
    seeds = min(N_SEEDS, MOST_WORK // (N_SAMPLES * weights * positions**2 // 2 + 1))
    return first + [tokens for seed in range(1, seeds) for tokens in find_samples(model, seed)]


def _write(model: Model, rng: np.random.Generator) -> list[list[int]]:
    """Texts of the model's own, all written side by side."""
    generation = model.generation
    starts = rng.integers(generation.first_id, model.vocab_size, (N_SAMPLES, 1))
    prefix = np.tile(np.array(generation.prefix, np.int64), (N_SAMPLES, 1))
    suffix = np.tile(np.array(generation.suffix, np.int64), (N_SAMPLES, 1))
    tokens = np.concatenate([prefix, starts, suffix], 1)[:, : model.seq_len]
    logits_name = model.nodes[-1].name
    while tokens.shape[1] < min(model.seq_len, LONGEST):
        logits = forward(model, tokens)[logits_name][:, -1, generation.first_id :]
        weight = np.exp(logits - logits.max(1, keepdims=True)).cumsum(1)
        drawn = rng.random((N_SAMPLES, 1)) * weight[:, -1:]
        chosen = np.minimum((weight <= drawn).sum(1), weight.shape[1] - 1)
        tokens = np.concatenate([tokens, chosen[:, None] + generation.first_id], 1)
    return tokens.tolist()
