"""The likeliest token without every logit: the same token, whatever the weights and the vector."""

import numpy as np
import pytest
from test_mos6502_residues import ResidueBench, place

from anachron.kernels.mos6502.residue import finer as residue_finer
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue import screen as residue_screen

SHIFT = 6


def sums_of(weight, bias, x):
    return weight.astype(np.int64) @ x + bias


def make(rng, rows, columns, spread, size, fine, skip, before, finer=0, shift=SHIFT):
    """A bench with a screen over one matrix of a block, and what it was planned for.

    finer  the bits that the table of a second bound loses, or 0: there is none
    """
    weight = np.clip(rng.normal(0, spread, (rows, columns)), -128, 127).astype(np.int8)
    weight[1::9] = weight[0]  # equals
    bias = rng.integers(-500, 500, rows)
    bias[1::9] = bias[0]
    other = rng.integers(-128, 128, (before, columns)).astype(np.int8)
    lo, hi = np.full(columns, -size), np.full(columns, size)
    reach = np.abs(weight.astype(np.int64)).sum(1) * size
    bench = ResidueBench()
    matrices = [(other, np.zeros(before, int), shift)] * (before > 0) + [(weight, bias, shift)]
    packed = place(bench, "m", residues.WIDE, 16, matrices)
    number = len(matrices) - 1
    given = (weight, bias, packed.origin, (lo, hi), (bias - reach, bias + reach), shift)
    screen = residue_screen.plan(*given, fine)
    assert screen is not None
    bench.pages(residue_screen.TABLE, bytes(512))
    bench.data("best_constants", screen.constants.astype(np.uint8).tobytes())
    bench.data("best_origins", (-packed.origin).astype(np.uint8).tobytes())
    bench.data("best_bounds", bytes(rows))
    bench.data("next_token", bytes(1))
    x = bench.vector("x", np.zeros(columns, int), 16)
    out = bench.vector("result", np.zeros(rows, int), 16)
    ends = (shift, 16, False)
    block, first = packed.places[number]
    kernel = (
        packed.name,
        residue_matvec.end_label(packed, *ends),
        residue_matvec.aim(packed, number, ends, out),
    )
    label = residue_matvec.block_label(packed.name, block)
    choice = residue_screen.Rows("best", out, label, packed.column, kernel, first, skip)
    second = residue_screen.NONE
    if finer:
        made = residue_finer.plan(screen, weight, bias, packed.origin, bias + reach, finer, 2)
        assert made is not None
        bench.pages(residue_finer.TABLE, bytes(512))
        bench.data("best_finer_constants", made.screen.constants.astype(np.uint8).tobytes())
        bench.add(residue_finer.fill(made))
        second = residue_finer.second(choice, made, x, 0.5, 0.1, 0.2)
    bench.add(
        residue_screen.fill_table(fine),
        residue_screen.seek(choice, screen, x, 0.2, second),
        "seek:\n    jsr m_prepare\n    jmp best_seek",
    )
    bench.start()
    bench.call("fill_screen", {})
    if finer:
        bench.call("fill_finer", {})
    return bench, screen, weight, bias, packed


@pytest.mark.parametrize(
    ("rows", "columns", "spread", "size", "fine", "skip", "before"),
    (
        (128, 32, 20, 1000, 6, 4, 0),
        (128, 32, 20, 1000, 7, 0, 0),
        (100, 32, 30, 400, 4, 3, 100),
        (40, 7, 128, 900, 8, 1, 60),
        (33, 1, 60, 127, 7, 0, 0),
        (250, 64, 12, 800, 6, 2, 0),
    ),
)
def test_the_first_of_the_largest_is_found(rows, columns, spread, size, fine, skip, before):
    rng = np.random.default_rng(rows + columns + fine)
    bench, screen, weight, bias, packed = make(
        rng, rows, columns, spread, size, fine, skip, before
    )
    table = bench.symbols[residue_screen.TABLE]
    assert bytes(bench.machine.memory[table : table + 512]) == residue_screen.make_table(fine)
    end = residue_matvec.end_label(packed, SHIFT, 16)
    environment = {"rows": 1, residue_matvec.which("m"): end}
    vectors = [np.zeros(columns, int), np.full(columns, size), np.full(columns, -size)]
    vectors += [rng.integers(-size, size + 1, columns) for _ in range(4)]
    for row in rng.integers(0, rows, 4):  # along a row, and against it
        w = weight[row].astype(int)
        vectors += [w * size // 128, -w * size // 128]
    for x in vectors:
        sums = sums_of(weight, bias, x)
        if not residues.WIDE.holds(int(sums.min()), int(sums.max())) or np.abs(
            sums >> SHIFT
        ).max() > 32767:
            continue
        ends = screen.bounds(weight, packed.origin, x)
        for name in ("m_x", "x"):
            bench.set(name, x, 16)
        bench.call("seek", environment)
        results = sums >> SHIFT
        best = skip + int(np.argmax(results[skip:]))
        assert bench.machine.memory[bench.symbols["next_token"]] == best
        at = bench.symbols["best_bounds"]
        found = np.array(bench.machine.memory[at + skip : at + rows])
        assert (found % 255).tolist() == ends[skip:].tolist()
        least = residue_screen.least_end(screen, int(results[best]))
        assert ends[best] >= least


def test_a_bound_is_never_below_its_sum():
    rng = np.random.default_rng(5)
    for _ in range(200):
        columns = int(rng.integers(1, 80))
        weight = rng.integers(-128, 128, (9, columns))
        bias = rng.integers(-9000, 9000, 9)
        size = int(rng.integers(1, 3000))
        lo, hi = np.full(columns, -size), np.full(columns, size)
        reach = np.abs(weight).sum(1) * size
        origin = residues.choose_origin(weight)
        shift, fine = int(rng.integers(2, 9)), int(rng.integers(1, 9))
        screen = residue_screen.plan(
            weight, bias, origin, (lo, hi), (bias - reach, bias + reach), shift, fine
        )
        if screen is None:
            continue
        x = np.where(rng.integers(0, 2, columns) > 0, size, -size)
        x = x if rng.integers(0, 2) else rng.integers(-size, size + 1, columns)
        sums = sums_of(weight, bias, x)
        unit = 1 << screen.down + screen.fine
        ends = screen.bounds(weight, origin, x)
        bounds = (ends + screen.lowest - 1) * unit
        near = sums > screen.lowest * unit  # lower ones may look high
        assert (bounds >= sums)[near].all()
        assert (sums <= (screen.lowest + 253) * unit).all()


def flat(rng, weight, size):
    """Vectors with which many results are alike: near 0, or across what rows have in common."""
    columns = weight.shape[1]
    for scale in (0, 1, 3, size // 20, size // 6):
        yield rng.integers(-scale, scale + 1, columns)
    for _ in range(6):
        x = rng.normal(0, size / 2, columns)
        w = weight[rng.integers(0, len(weight), 5)].astype(float)
        x -= np.linalg.pinv(w) @ (w @ x)
        yield np.clip(x, -size, size).astype(np.int64)


@pytest.mark.parametrize(
    ("rows", "columns", "spread", "size", "fine", "skip", "before", "finer"),
    (
        (128, 32, 13, 127, 7, 4, 100, 5),
        (128, 32, 20, 120, 8, 0, 0, 6),
        (250, 20, 30, 100, 8, 2, 0, 5),
        (60, 32, 12, 300, 6, 1, 0, 4),
        (128, 32, 8, 500, 7, 4, 0, 5),
        (40, 5, 127, 127, 7, 0, 0, 4),
    ),
)
def test_rows_are_bounded_again_where_many_may_be_the_largest(
    rows, columns, spread, size, fine, skip, before, finer
):
    rng = np.random.default_rng(rows + columns + finer)
    bench, _, weight, bias, packed = make(
        rng, rows, columns, spread, size, fine, skip, before, finer, 3
    )
    end = residue_matvec.end_label(packed, 3, 16)
    environment = {"rows": 1, residue_matvec.which("m"): end}
    again = far = 0
    for x in flat(rng, weight, size):
        sums = sums_of(weight, bias, x)
        for name in ("m_x", "x"):
            bench.set(name, x, 16)
        bench.call("seek", environment)
        left = bench.machine.memory[bench.program.symbols["best_left"]]
        again += left == 0
        far += left > 127
        best = skip + int(np.argmax((sums >> 3)[skip:]))
        assert bench.machine.memory[bench.symbols["next_token"]] == best
    assert again > 2
    assert (far > 0) == (size > 127)  # a byte holds others


def test_a_second_bound_leaves_what_may_be_the_largest():
    rng = np.random.default_rng(9)
    taken = 0
    for _ in range(300):
        columns, shift = int(rng.integers(1, 80)), int(rng.integers(2, 7))
        weight = np.clip(rng.normal(0, rng.integers(2, 60), (40, columns)), -128, 127).astype(int)
        bias, size = rng.integers(-300, 300, 40), int(rng.integers(1, 800))
        reach = np.abs(weight).sum(1) * size
        origin = residues.choose_origin(weight)
        given = (weight, bias, origin, (np.full(columns, -size), np.full(columns, size)))
        fine, finer = int(rng.integers(6, 9)), int(rng.integers(3, 6))
        coarse = residue_screen.plan(*given, (bias - reach, bias + reach), shift, fine)
        made = coarse and residue_finer.plan(coarse, weight, bias, origin, bias + reach, finer, 2)
        if not made:
            continue
        x = rng.integers(-size, size + 1, columns) // int(rng.integers(1, 40))
        results = sums_of(weight, bias, x) >> shift
        ends, finer_ends = (s.bounds(weight, origin, x) for s in (coarse, made.screen))
        for best in rng.choice(results, 5):
            least = residue_screen.least_end(coarse, int(best))
            for end, finer_end, result in zip(ends, finer_ends, results, strict=True):
                if end >= least:
                    kept = made.leaves(int(end), least, int(finer_end), int(best))
                    assert kept or result < best
                    taken += not kept
    assert taken > 100
