"""Choosing tokens: the order of equals, the random numbers, temperature and top-p."""

import numpy as np
import pytest

from anachron.kernels.reference import sampling
from anachron.kernels.reference.sampling import argmax, sample, seed_state, xorshift


def test_argmax_takes_the_first_of_equals() -> None:
    assert argmax(np.array([9, 3, 7, 7]), first_id=0) == 0
    assert argmax(np.array([9, 3, 7, 7]), first_id=1) == 2


def test_xorshift_gives_the_known_sequence() -> None:
    state, seen = 2463534242, []  # the example seed of Marsaglia's paper
    for _ in range(2):
        state = xorshift(state)
        seen.append(state)
    assert seen == [723471715, 2497366906]


def test_seeds_give_different_states_and_never_zero() -> None:
    states = {seed_state(seed) for seed in range(10_000)}
    assert len(states) == 10_000
    assert 0 not in states


def draw(logits: list[int], n: int, **options: int) -> np.ndarray:
    state, counts = seed_state(7), np.zeros(len(logits), int)
    options = {"frac": 8, "inverse": 256, "top_p": 256, "first_id": 0, **options}
    for _ in range(n):
        token, state = sample(np.array(logits), state, **options)
        counts[token] += 1
    return counts


def test_sampling_follows_the_softmax() -> None:
    logits = [0, 256, 512, -512]
    expected = np.exp(np.array(logits) / 256.0)
    expected /= expected.sum()
    assert np.abs(draw(logits, 20_000) / 20_000 - expected).max() < 0.02


def test_a_low_temperature_is_greedy() -> None:
    assert draw([0, 256, 300], 200, inverse=65535)[2] == 200


def test_top_p_keeps_the_likeliest_and_always_one() -> None:
    assert draw([0, 10, 2560], 100, top_p=1)[2] == 100
    kept = draw([0, 0, -256 * 3, -256 * 3], 500, top_p=180)
    assert kept[:2].sum() == 500


def test_top_p_takes_equals_in_the_order_of_ids() -> None:
    assert draw([5, 5, 5, 5], 300, top_p=128)[2:].sum() == 0


def test_ids_below_the_first_are_never_chosen() -> None:
    assert draw([9999, 0, 0], 100, first_id=1)[0] == 0


@pytest.mark.parametrize(("temperature", "inverse"), [(1.0, 256), (0.5, 512), (1e-9, 65535)])
def test_a_temperature_is_one_number(temperature: float, inverse: int) -> None:
    assert sampling.inverse_temperature(temperature) == inverse
