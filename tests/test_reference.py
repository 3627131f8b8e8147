"""Every contract's meaning, against the same sentence written in plain Python integers."""

import math

import numpy as np
import pytest

from anachron.kernels.arithmetic import exp_table
from anachron.kernels.reference.activation import lookup, multiply, relu
from anachron.kernels.reference.attention import attention, rope
from anachron.kernels.reference.embedding import add, embed
from anachron.kernels.reference.matvec import matvec
from anachron.kernels.reference.norm import layer_norm, rms_norm

EXTREMES = (-32768, -32767, -1, 0, 1, 32767)


def clip(x: int, bits: int = 16) -> int:
    return max(-(1 << bits - 1), min((1 << bits - 1) - 1, x))


def values(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random int16, one in five of them extreme."""
    plain = rng.integers(-32768, 32768, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice(EXTREMES, shape), plain)


@pytest.mark.parametrize("amount", [3, 0, -2])
def test_embed_scales_and_saturates(amount: int) -> None:
    table = np.array([[-32768, -3, 0], [32767, 5, 1]], np.int16)
    rows = embed(np.array([1, 0, 1]), table=table, shift=amount, bits=16)
    expected = [[clip(math.floor(int(t) * 2.0**amount)) for t in table[i]] for i in (1, 0, 1)]
    assert rows.tolist() == expected


def test_add_saturates() -> None:
    a, b = np.array([[32767, -32768, 5]]), np.array([[1, -1, -7]])
    assert add(a, b, bits=16).tolist() == [[32767, -32768, -2]]


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (3, 257)])
def test_matvec_floors_each_row_by_its_own_shift(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[1])
    rows, columns = shape
    weight = rng.integers(-128, 128, shape).astype(np.int8)
    bias = rng.integers(-(2**24), 2**24, rows)
    shift = rng.integers(0, 15, rows)
    x = values(rng, (4, columns))
    got = matvec(x, weight=weight, bias=bias, shift=shift, bits=16)
    for i in range(4):
        for r in range(rows):
            total = sum(int(w) * int(v) for w, v in zip(weight[r], x[i], strict=True))
            assert got[i, r] == clip((total + int(bias[r])) >> int(shift[r]))


def unit(row: list[int], pre: int, up: int, reciprocal_bits: int) -> list[int]:
    mean = max(1, sum((v >> pre) ** 2 for v in row) // len(row))
    inverse = min(32767, (1 << reciprocal_bits) // max(1, math.isqrt(mean << up)))
    return [(v * inverse) >> 15 for v in row]


NORMS = [(1, 4, 0, 19), (32, 4, 0, 19), (64, 3, 6, 24), (7, 2, 4, 22)]


@pytest.mark.parametrize(("size", "pre", "up", "bits"), NORMS)
def test_rms_norm_is_two_floored_products(size: int, pre: int, up: int, bits: int) -> None:
    rng = np.random.default_rng(size)
    x = np.concatenate([values(rng, (20, size)), np.zeros((1, size), int)])
    gain = rng.integers(-128, 128, size).astype(np.int8)
    options = {"gain_shift": 5, "pre_shift": pre, "root_shift": up, "reciprocal_bits": bits}
    got = rms_norm(x, gain=gain, **options, bits=16)
    for row, out in zip(x.tolist(), got.tolist(), strict=True):
        units = unit(row, pre, up, bits)
        assert out == [clip((u * int(g)) >> 5) for u, g in zip(units, gain, strict=True)]


@pytest.mark.parametrize(("size", "pre", "up", "bits"), NORMS)
def test_layer_norm_centres_first(size: int, pre: int, up: int, bits: int) -> None:
    rng = np.random.default_rng(size)
    x = values(rng, (20, size))
    gain = rng.integers(-128, 128, size).astype(np.int8)
    bias = rng.integers(-3000, 3000, size)
    options = {"gain_shift": 5, "pre_shift": pre, "root_shift": up, "reciprocal_bits": bits}
    got = layer_norm(x, gain=gain, bias=bias, **options, bits=16)
    for row, out in zip(x.tolist(), got.tolist(), strict=True):
        centred = [clip(v - sum(row) // len(row)) for v in row]
        units = unit(centred, pre, up, bits)
        rows = zip(units, gain, bias, strict=True)
        assert out == [clip(((u * int(g)) >> 5) + int(b)) for u, g, b in rows]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 4), (4, 2), (6, 1)])
def test_attention_is_a_table_softmax(causal: bool, heads: int, kv_heads: int) -> None:
    rng = np.random.default_rng(heads)
    size, first, new = 4, (3 if causal else 0), 5
    rows = first + new
    q = rng.integers(-3000, 3000, (new, heads * size))
    k = rng.integers(-3000, 3000, (rows, kv_heads * size))
    v = values(rng, (rows, kv_heads * size))
    table = exp_table(128, 16, 255)
    got = attention(
        q, k, v, heads=heads, kv_heads=kv_heads, causal=causal, first=first,
        score_shift=14, table=table, bits=16,
    )  # fmt: skip
    for i in range(new):
        seen = range(first + i + 1 if causal else rows)
        for h in range(heads):
            at = h * kv_heads // heads * size
            scores = [
                sum(int(q[i, h * size + d]) * int(k[j, at + d]) for d in range(size)) >> 14
                for j in seen
            ]
            weights = [int(table[min(127, max(scores) - s)]) for s in scores]
            for d in range(size):
                total = sum(w * int(v[j, at + d]) for w, j in zip(weights, seen, strict=True))
                assert got[i, h * size + d] == clip(total // max(1, sum(weights)))


@pytest.mark.parametrize("interleaved", [True, False])
def test_rope_turns_each_pair_by_its_position(interleaved: bool) -> None:
    rng = np.random.default_rng(3)
    heads, size = 2, 6
    x = values(rng, (4, heads * size))
    cosine = rng.integers(-16384, 16385, (9, 3)).astype(np.int16)
    sine = rng.integers(-16384, 16385, (9, 3)).astype(np.int16)
    position = np.array([2, 3, 4, 8])
    got = rope(
        x, position, cosine=cosine, sine=sine, heads=heads, interleaved=interleaved, bits=16
    )
    for i, p in enumerate(position):
        for h in range(heads):
            for d in range(3):
                pair = (2 * d, 2 * d + 1) if interleaved else (d, d + 3)
                a, b = (int(x[i, h * size + j]) for j in pair)
                c, s = int(cosine[p, d]), int(sine[p, d])
                turned = (a * c - b * s + 8192 >> 14, a * s + b * c + 8192 >> 14)
                assert [got[i, h * size + j] for j in pair] == [clip(t) for t in turned]


def test_relu_keeps_what_is_above_zero() -> None:
    assert relu(np.array([-32768, -1, 0, 1, 32767]), bits=16).tolist() == [0, 0, 0, 1, 32767]


@pytest.mark.parametrize("amount", [0, 4, 8])
def test_lookup_draws_lines_between_points(amount: int) -> None:
    rng = np.random.default_rng(amount)
    table = rng.integers(-32768, 32768, 257)
    xs = [*EXTREMES, -(128 << amount), (128 << amount) - 1, 128 << amount]
    xs = [clip(x) for x in xs] + rng.integers(-32768, 32768, 200).tolist()
    got = lookup(np.array(xs), table=table, shift=amount, tail=1, bits=16)
    for x, out in zip(xs, got.tolist(), strict=True):
        u = max(-(128 << amount), min((128 << amount) - 1, x))
        i = (u >> amount) + 128
        f = u - ((i - 128) << amount)
        line = int(table[i]) + ((int(table[i + 1]) - int(table[i])) * f >> amount)
        assert out == clip(x >> 1 if x >= 128 << amount else line)


def test_multiply_floors_then_saturates() -> None:
    a, b = np.array([-32768, -3, 300]), np.array([-32768, 3, 200])
    assert multiply(a, b, shift=2, bits=16).tolist() == [32767, -3, 15000]
