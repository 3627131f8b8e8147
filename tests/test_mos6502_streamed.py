"""What only programs with an expansion use, kernel by kernel, against its meaning."""

import numpy as np
import pytest
from test_mos6502_kernels import KINDS, Bench, numbers

from anachron.kernels.mos6502 import fast_norm
from anachron.kernels.mos6502.streamed import gating, slopes, turning
from anachron.kernels.reference import activation as meant_activation
from anachron.kernels.reference import attention as meant_attention


def with_pages(names: dict[str, int]) -> Bench:
    """A bench with tables of so many bytes, each from a page on."""
    bench, at = Bench(), 0xA000
    for name, size in names.items():
        bench.symbols[name] = at
        at += -(-size // 256) * 256
    return bench


def test_quarter_squares_are_filled() -> None:
    bench = with_pages(gating.TABLES)
    bench.add(gating.fill_tables())
    bench.start().call("fill_quarters", {})
    n = np.arange(511)
    found = [bench.read(name, 511, 16) for name in ("quarter", "other")]
    assert np.array_equal(found[0] & 0xFFFF, n**2 // 4)
    assert np.array_equal(found[1] & 0xFFFF, (n - 255) ** 2 // 4)


@pytest.mark.parametrize("shift", range(17))
@pytest.mark.parametrize("saturates", [True, False])
def test_words_are_multiplied_by_quarter_squares(shift: int, saturates: bool) -> None:
    rng = np.random.default_rng(shift)
    a, b = (np.concatenate([numbers(rng, 40, 16, kind) for kind in KINDS]) for _ in range(2))
    edges = np.array([-32768, -32767, -256, -1, 0, 1, 255, 256, 32767])
    a, b = np.append(a[:140], edges), np.append(b[:140], edges[::-1])
    if not saturates:
        fits = np.abs((a * b) >> shift) < 32768
        a, b = a[fits], b[fits]
    bench = with_pages(gating.TABLES)
    x, y, out = (bench.vector(name, values, 16) for name, values in (("x", a), ("y", b), ("z", a)))
    bench.add(gating.fill_tables(), gating.multiply("op", x, y, out, shift, saturates))
    bench.start().call("fill_quarters", {})
    bench.call("op", {})
    meant = meant_activation.multiply(a, b, shift=shift, bits=16)
    assert bench.read("z", len(a), 16).tolist() == meant.tolist()


@pytest.mark.parametrize(("heads", "size"), [(1, 2), (3, 8)])
@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("saturates", [True, False])
def test_pairs_are_turned(heads: int, size: int, interleaved: bool, saturates: bool) -> None:
    rng, half = np.random.default_rng(size), size // 2
    angle = rng.uniform(-4, 4, (len(KINDS) + 4, half))
    angle[-4:] = np.arange(4)[:, None] * np.pi / 2 + np.array([0, np.pi / 4, 1, 3])[:half]
    cosine, sine = (np.round(f(angle) * turning.ONE).astype(int) for f in (np.cos, np.sin))
    rows = turning.pack_rows(cosine, sine)
    bench = with_pages(fast_norm.TABLES)
    x = bench.vector("x", np.zeros(heads * size, int), 16)
    out = bench.vector("z", np.zeros(heads * size, int), 16)
    row = bench.data("angles", bytes(rows.shape[1]))
    bench.add(
        fast_norm.fill_tables(),
        turning.rope("op", x, out, row, size, str(heads), interleaved, saturates, ""),
    )
    bench.start().call("fill_less_products", {})
    for number, data in enumerate(rows):
        kind = KINDS[number] if number < len(KINDS) else "extreme"
        values = numbers(rng, heads * size, 16, kind if kind in KINDS else KINDS[-1])
        if kind == "extreme":
            values = rng.choice([-32768, 32767], heads * size)
        values = values if saturates else values // 2
        bench.set("x", values)
        at = bench.symbols["angles"]
        bench.machine.memory[at : at + len(data)] = data
        bench.call("op", {"heads": heads})
        meant = meant_attention.rope(
            values[None],
            np.array([number]),
            cosine=cosine,
            sine=sine,
            heads=heads,
            interleaved=interleaved,
            bits=16,
        )
        assert bench.read("z", heads * size, 16).tolist() == meant[0].tolist(), kind


@pytest.mark.parametrize("shift", range(1, 9))
@pytest.mark.parametrize("kind", ["silu", "any"])
def test_slopes_of_a_table_are_its_straight_lines(shift: int, kind: str) -> None:
    rng, tail = np.random.default_rng(shift), 1
    points = np.arange(-128, 129) / 16
    table = np.round(points / (1 + np.exp(-points)) * 4000).astype(int)
    if kind == "any":
        table = np.clip(np.cumsum(rng.integers(-511, 512, 257)), -32768, 32767)
    found = slopes.find_slopes(table, shift)
    assert found is not None
    near = (rng.choice([-129, -128, -1, 0, 126, 127, 128], 16) << shift) + rng.integers(0, 3, 16)
    inside = rng.integers(-128 << shift, 128 << shift, 120)
    anything = rng.integers(-32768, 32768, 110)
    x = np.clip(np.concatenate([near, inside, anything]), -32768, 32767)
    bench = with_pages(gating.TABLES)
    vectors = [bench.vector(name, values, 16) for name, values in (("x", x), ("z", x))]
    p = bench.vector("points", found.points, 16)
    for name, data in (("sizes", found.sizes), ("kinds", found.kinds)):
        bench.data(name, data.astype(np.uint8).tobytes())
    bench.add(gating.fill_tables())
    bench.add(slopes.lookup("op", *vectors, p, "sizes", "kinds", shift, tail))
    bench.start().call("fill_quarters", {})
    bench.call("op", {})
    meant = meant_activation.lookup(x, table=table, shift=shift, tail=tail, bits=16)
    assert bench.read("z", len(x), 16).tolist() == meant.tolist()


def test_a_step_that_is_too_large_has_no_slope() -> None:
    table = np.zeros(257, int)
    table[100] = 512
    assert slopes.find_slopes(table, 7) is None
    assert slopes.find_slopes(table // 2, 9) is None
