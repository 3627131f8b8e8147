"""argmax, sample, and the random numbers: how a token is chosen, the same on every machine.

The generator is Marsaglia's xorshift with shifts 13, 17, 5 on 32 bits ("Xorshift RNGs", Journal of
Statistical Software 8(14), 2003): three shifts and three exclusive ors, on any CPU.
"""

import numpy as np

from anachron.kernels.arithmetic import Array, exp_table

STEPS = 16  # table steps to a unit of the exponent
WEIGHTS = exp_table(256, STEPS, 65535)  # uint16
ONE = 256  # temperature reciprocals and top-p count in 256ths


def argmax(logits: Array, *, first_id: int) -> int:
    """The smallest id from first_id on whose logit is the largest.

    logits (vocab_size,)  int16
    """
    return int(np.argmax(logits[first_id:])) + first_id


def seed_state(seed: int) -> int:
    """The generator's first state for a seed: mixed, so that neighbouring seeds differ; never 0.

    Mixed by the finalizer of MurmurHash3 (Appleby, public domain).
    """
    x = (seed + 0x9E3779B9) & 0xFFFFFFFF
    for multiplier, down in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        x = ((x ^ (x >> down)) * multiplier) & 0xFFFFFFFF
    x ^= x >> 16
    return x or 1


def xorshift(state: int) -> int:
    """The next state, 1 .. 2**32 - 1.

    >>> xorshift(1)
    270369
    """
    state ^= state << 13 & 0xFFFFFFFF
    state ^= state >> 17
    return state ^ (state << 5 & 0xFFFFFFFF)


def inverse_temperature(temperature: float) -> int:
    """round(256 / temperature), 1 .. 65535: all that a machine holds of a temperature."""
    return max(1, min(65535, round(ONE / temperature)))


def sample(
    logits: Array, state: int, *, frac: int, inverse: int, top_p: int, first_id: int
) -> tuple[int, int]:
    """Choose a token in proportion to exp(logit / temperature) among the most likely ones.

    An id's rank is min(255, ((largest - logit) * inverse) >> (frac + 4)), its weight the table's
    65535 * exp(-rank / 16).  Ids are taken in order of rank, then of id, until their weights
    reach (total >> 8) * top_p; the rest is dropped.  With the state moved on and r its high 16
    bits, the id at (r * kept total) >> 16, counted by weight in the order of ids, is chosen.

    logits  (vocab_size,)  int16 Q{frac}; ids from first_id on take part
    inverse                256 / temperature, 1 .. 65535
    top_p                  1 .. 256 in 256ths; 256 keeps everything
    return                 (token id, new state)
    """
    distance = logits[first_id:].max() - logits[first_id:]
    rank = np.minimum(255, (distance * inverse) >> (frac + 4))
    weight = WEIGHTS[rank]
    kept = np.ones(len(weight), bool)
    if top_p < ONE:
        enough = (int(weight.sum()) >> 8) * top_p
        order = np.argsort(rank, kind="stable")
        before = np.cumsum(weight[order]) - weight[order]
        kept[order] = (before < enough) | (np.arange(len(order)) == 0)
    weight = np.where(kept, weight, 0)
    state = xorshift(state)
    target = ((state >> 16) * int(weight.sum())) >> 16
    chosen = int(np.searchsorted(np.cumsum(weight), target, side="right"))
    return chosen + first_id, state
