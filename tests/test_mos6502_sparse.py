"""Matrices that do only the columns of elements above 0, against the meaning of their contract."""

import numpy as np
import pytest
from test_mos6502_residues import ResidueBench

from anachron.kernels.mos6502.residue import compaction, guard
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue import sparse as residue_sparse
from anachron.kernels.reference import matvec as meant_matvec


def place(weights, biases, shifts, limit, largest=0x7FFF):
    """A bench with the kernel; the calls are op_0, op_1, ..."""
    rng = np.random.default_rng(3)
    rows, columns = weights[0].shape
    orders = [rng.permutation(columns) for _ in weights]
    packed = residue_sparse.pack("s", [w[:, o] for w, o in zip(weights, orders, strict=True)])
    guarded = limit < residue_sparse.ENOUGH
    shape = residue_sparse.Shape(packed, columns // 2, guarded, largest)
    bench = ResidueBench()
    for name, size in guard.TABLES.items():
        bench.pages(name, bytes(size))
    bench.add(guard.fill_squares())
    bench.pages(residue_matvec.block_label("s", 0), packed.blocks[0])
    for m in residues.MODULI:
        reduced = residues.reduce(np.concatenate(biases), m)
        bench.data(f"s_bias_{m}", reduced.astype(np.uint8).tobytes())
    x = bench.vector("x", np.zeros(columns, int), 16)
    bench.data("sums", bytes(3 * rows))
    bench.data("s_zeros", b"?" * packed.stride)
    kinds = [((n, 16, False), (residue_matvec.SUMS, 24, False), (n, 16, True)) for n in shifts]
    ends = sorted({end for kind in kinds for end in kind})
    bench.add(residue_sparse.constants(shape), residue_sparse.fill_zeros(shape))
    bench.add(residue_sparse.halves(shape))
    bench.add(compaction.take(shape), residue_sparse.rows(shape, ends, kinds[0][0]))
    for i, kind in enumerate(kinds):
        out = bench.vector(f"out{i}", np.zeros(rows, int), 16)
        order = bench.data(f"order{i}", orders[i].astype(np.uint8).tobytes())
        bench.add(
            residue_sparse.call(shape, f"op_{i}", i, x, out, order, limit, kind, "sums")
        )
    bench.start()
    bench.call("fill_squares")
    bench.call("fill_s", {})
    return bench


def check(bench, i, weight, bias, shift, x):
    bench.set("x", x)
    took = bench.call(f"op_{i}", {"rows": len(weight), "taken": len(weight[0])})
    meant = meant_matvec.matvec(
        np.maximum(x, 0)[None],
        weight=weight,
        bias=bias,
        shift=np.full(len(weight), shift),
        bits=16,
    )
    assert bench.read(f"out{i}", len(weight), 16).tolist() == meant[0].tolist()
    return took


@pytest.mark.parametrize("columns", (64, 10, 2))
@pytest.mark.parametrize("limit", (residue_sparse.ENOUGH, 300, 0))
def test_any_number_of_elements_gives_exact_sums(columns, limit):
    rng = np.random.default_rng(columns)
    shifts = (8, 7, 8)
    weights = [rng.integers(-128, 128, (20, columns)).astype(np.int8) for _ in shifts]
    biases = [rng.integers(-9000, 9000, 20) for _ in shifts]
    bench = place(weights, biases, shifts, limit)
    for active in sorted({0, 1, columns // 2, columns - 1, columns}):
        for i, shift in enumerate(shifts):
            x = -rng.integers(0, 3000, columns)
            x[rng.permutation(columns)[:active]] = rng.integers(1, 200, active)
            check(bench, i, weights[i], biases[i], shift, x)


def test_sums_up_to_the_ends_of_the_window_are_exact():
    rng = np.random.default_rng(1)
    weight = rng.integers(-100, 101, (32, 64)).astype(np.int8)
    bias = rng.integers(-9000, 9000, 32)
    bench = place([weight], [bias], [8], residue_sparse.ENOUGH)
    reached = []
    for row in range(8):
        for sign, end in ((1, residues.WIDE.highest), (-1, residues.WIDE.lowest)):
            x = np.maximum(0, sign * weight[row].astype(int))
            x[np.argsort(x)[:24]] = 0
            x = x * int((end - bias[row]) // (weight[row].astype(int) @ x))
            sums = weight.astype(int) @ x + bias
            if residues.WIDE.holds(int(sums.min()), int(sums.max())):
                reached.append(int(sums[row]))
                check(bench, 0, weight, bias, 8, x)
    assert max(reached) > 0.95 * residues.WIDE.highest
    assert min(reached) < 0.93 * residues.WIDE.lowest


@pytest.mark.parametrize("largest", (255 * residue_sparse.UNIT - 1, 0x7FFF))
def test_a_vector_that_is_too_long_goes_in_halves(largest):
    rng = np.random.default_rng(2)
    weight = rng.integers(-60, 61, (16, 64)).astype(np.int8)
    weight[:, 3] //= 10  # so that sums fit whatever x[3] is
    bias = np.zeros(16, int)
    limit = 1000
    bench = place([weight], [bias], [7], limit, largest)
    x = np.zeros(64, int)
    x[:20] = 300
    short = check(bench, 0, weight, bias, 7, x)
    for value, goes in ((1400, False), (1500, True), (8000, True), (largest, True)):
        x[3] = value
        beyond = ((x[x > 0] // residue_sparse.UNIT + 1) ** 2).sum() >= limit
        assert beyond == goes
        assert (check(bench, 0, weight, bias, 7, x) > short + 16 * 100) == goes


def test_what_counts_decides_the_time():
    rng = np.random.default_rng(4)
    weight = rng.integers(-60, 61, (32, 64)).astype(np.int8)
    bias = np.zeros(32, int)
    bench = place([weight], [bias], [8], residue_sparse.ENOUGH)
    x = -np.ones(64, int)
    empty = check(bench, 0, weight, bias, 8, x)
    x[10:20] = 77
    ten = check(bench, 0, weight, bias, 8, x)
    assert 10 * 32 * 40 <= ten - empty <= 10 * (32 * 43 + 230)
