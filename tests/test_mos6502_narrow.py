"""Kernels of int8 vectors in two residues against the meaning of their contracts."""

from dataclasses import replace

import numpy as np
import pytest
from test_mos6502_residues import ResidueBench

from anachron.kernels.mos6502 import fast_norm
from anachron.kernels.mos6502.instructions import Vector, set_word
from anachron.kernels.mos6502.narrow import guard as narrow_guard
from anachron.kernels.mos6502.narrow import matvec as narrow_matvec
from anachron.kernels.mos6502.narrow import norm as narrow_norm
from anachron.kernels.mos6502.residue import guard
from anachron.kernels.mos6502.residue.moduli import NARROW
from anachron.kernels.reference import matvec as meant_matvec
from anachron.kernels.reference import norm as meant_norm


def random_matrix(rng, rows, columns, bits, shifts, spread=30, bias=500):
    weight = np.clip(rng.normal(0, spread, (rows, columns)), -128, 127).astype(np.int8)
    return narrow_matvec.Matrix(
        weight, rng.integers(-bias, bias, rows), rng.choice(shifts, rows), bits, bits == 8
    )


def place(bench, matrices):
    """A kernel for matrices; op i is the routines `op<i>_<run>`, after `op<i>`, which prepares."""
    packed = narrow_matvec.pack("m", matrices)
    for number, block in enumerate(packed.blocks):
        bench.pages(narrow_matvec.block_label("m", number), block)
    bench.vector("x", np.zeros(packed.columns, int), 8)
    bench.add(
        narrow_matvec.select(packed), narrow_matvec.prepare(packed), narrow_matvec.rows(packed)
    )
    for i, (matrix, runs) in enumerate(zip(matrices, packed.runs, strict=True)):
        out = bench.vector(f"out{i}", np.zeros(len(matrix.weight), int), matrix.bits)
        bench.add(f"op{i}:\n{set_word('source_low', 'x_low')}\n    jmp m_prepare")
        for j, run in enumerate(runs):
            block = narrow_matvec.block_label("m", run.block)
            jump = f"    ldy #>{block}\n    jsr m_select\n" if len(packed.blocks) > 1 else ""
            bench.add(f"op{i}_{j}:\n{jump}" + narrow_matvec.call(packed, run, out))
    return packed


def run(bench, packed, i):
    bench.call(f"op{i}", {})
    for j, part in enumerate(packed.runs[i]):
        end = narrow_matvec.end_label(packed, part)
        bench.call(f"op{i}_{j}", {"rows": part.rows, narrow_matvec.which("m"): end})


def meant(x, matrix):
    return meant_matvec.matvec(
        x[None], weight=matrix.weight, bias=matrix.bias, shift=matrix.shift, bits=matrix.bits
    )[0]


def vectors(rng, matrix):
    """Vectors that bring sums close to the ends of what two residues tell apart."""
    w = matrix.weight.astype(np.int64)
    for row in rng.permutation(len(w))[:6]:
        for end in (NARROW.lowest, NARROW.highest):
            scale = (end - matrix.bias[row]) / max(1, (w[row] ** 2).sum())
            x = np.clip(np.trunc(w[row] * scale), -128, 127).astype(np.int64)
            while not fits(x, matrix):
                x = x * 99 // 100
            yield x
    for size in (0, 1, 20, 127):
        x = rng.integers(-size - 1, size + 1, w.shape[1])
        if fits(x, matrix):
            yield x


def fits(x, matrix):
    sums = matrix.weight.astype(np.int64) @ x + matrix.bias
    return NARROW.holds(int(sums.min()), int(sums.max()))


@pytest.mark.parametrize(
    ("columns", "shapes"),
    (
        (1, ((1, 8, (8,)), (7, 16, (0, 4)))),
        (7, ((5, 8, (7,)), (250, 16, (7, 8)), (130, 8, (5, 9, 10)))),
        (32, ((96, 8, (6, 7, 8)), (64, 16, (1, 2, 3)), (128, 16, (0,)), (32, 8, (11,)))),
        (64, ((32, 16, (4, 5, 6, 7, 8, 9, 12)), (32, 8, (4, 5)))),
        (33, ((600, 16, (2, 3)), (300, 8, (7,)))),
    ),
)
def test_rows_of_any_shifts_are_exact_and_saturate(columns, shapes):
    rng = np.random.default_rng(columns)
    matrices = [random_matrix(rng, rows, columns, bits, shifts) for rows, bits, shifts in shapes]
    bench = ResidueBench()
    packed = place(bench, matrices)
    bench.start()
    saturated = 0
    for i, matrix in enumerate(matrices):
        for x in vectors(rng, matrix):
            bench.set("x", x, 8)
            run(bench, packed, i)
            expected = meant(x, matrix)
            assert bench.read(f"out{i}", len(matrix.weight), matrix.bits).tolist() == (
                expected.tolist()
            )
            saturated += int((np.abs(expected) >= 127).sum())
    assert saturated or columns == 1


def test_results_of_8_bits_are_rectified_as_they_are_made():
    rng = np.random.default_rng(11)
    matrices = [
        replace(random_matrix(rng, 60, 32, 8, (5, 6, 7, 8, 9, 11)), rectified=True),
        replace(random_matrix(rng, 20, 32, 8, (8, 10)), rectified=True, saturates=False),
        random_matrix(rng, 20, 32, 8, (7, 8)),
    ]
    bench = ResidueBench()
    packed = place(bench, matrices)
    bench.start()
    seen = set()
    for i, matrix in enumerate(matrices):
        for x in vectors(rng, matrix):
            bench.set("x", x, 8)
            run(bench, packed, i)
            expected = np.maximum(meant(x, matrix), 0 if matrix.rectified else -128)
            assert bench.read(f"out{i}", len(matrix.weight), 8).tolist() == expected.tolist()
            seen |= set(expected.tolist()) if matrix.rectified else set()
    assert {0, 1, 127} <= seen


def test_a_product_costs_less_than_twenty_cycles():
    rng = np.random.default_rng(3)
    matrix = random_matrix(rng, 96, 32, 8, (8,), spread=20)
    bench = ResidueBench()
    packed = place(bench, [matrix])
    bench.start()
    bench.set("x", np.clip(rng.normal(0, 30, 32), -100, 100).astype(int), 8)
    end = narrow_matvec.end_label(packed, packed.runs[0][0])
    took = bench.call("op0", {}) + bench.call("op0_0", {"rows": 96, "m_which": end})
    assert took / (96 * 32) < 20


@pytest.mark.parametrize("bits", (8, 16))
@pytest.mark.parametrize("positive", (False, True))
def test_sums_beyond_two_residues_are_done_again(bits, positive):
    rng = np.random.default_rng(bits)
    matrix = random_matrix(rng, 40, 64, bits, (2, 5, 9), spread=50)
    bench = ResidueBench()
    packed = place(bench, [matrix])
    bench.pages("narrow_squares", narrow_guard.squares())
    most = narrow_guard.limits(matrix.weight, matrix.bias, NARROW.lowest, NARROW.highest, positive)
    order = np.concatenate([part.index for part in packed.runs[0]])
    bench.data(
        "records",
        narrow_guard.records(
            matrix.weight[order], matrix.bias[order], matrix.shift[order], most[order], order
        ),
    )
    bench.data("origins", (packed.origin + 128).astype(np.uint8).tobytes())
    x, out = Vector("x_low", "x_high", 64, 8), Vector("out0_low", "out0_high", 40, bits)
    first = packed.runs[0][0].first
    call = narrow_guard.call(
        x,
        out,
        f"{narrow_matvec.block_label('m', 0)}+{first}",
        "origins",
        "records",
        packed.stride,
        40,
    )
    bench.add(
        narrow_guard.exact_rows(bits), narrow_guard.check("check", x, int(most.min()), 0.9, call)
    )
    bench.start()
    beyond = 0
    for size in (0, 5, 30, 60, 100, 127):
        for _ in range(8):
            v = rng.integers(-size - 1, size + 1, 64)
            v = np.abs(v) if positive else v
            if size == 127:
                v = np.clip(
                    np.sign(matrix.weight[rng.integers(40)]).astype(int) * 127,
                    0 if positive else -128,
                    127,
                )
            bench.set("x", v, 8)
            run(bench, packed, 0)
            bench.call(
                "check",
                {
                    "rows": 40,
                    "exact_columns": 64,
                    "shift_bytes": (0, 0.5, 1),
                    "shift_bits": (1, 3, 7),
                },
            )
            assert bench.read("out0", 40, bits).tolist() == meant(v, matrix).tolist()
            beyond += not fits(v, matrix)
    assert beyond > 4


@pytest.mark.parametrize(
    ("shift", "shortens"),
    (*((s, False) for s in range(9)), *((s, True) for s in narrow_norm.SHORT_SHIFTS)),
)
@pytest.mark.parametrize(("size", "bits"), ((16, 19), (32, 16), (128, 22)))
def test_norms_to_int8_are_exact_and_saturate(size, bits, shift, shortens):
    rng = np.random.default_rng(shift)
    shape = narrow_norm.Shape(size, shift, bits, shortens)
    bench = ResidueBench()
    for name, n in {**guard.TABLES, **fast_norm.TABLES}.items():
        bench.pages(name, bytes(n))
    for name, n in {**narrow_norm.TABLES, narrow_norm.UPPER: size}.items():
        bench.pages(name, bytes(n))
    for name in narrow_norm.PARTS:
        bench.pages(name, bytes(narrow_norm.ENTRIES))
    x, made = (bench.vector(name, np.zeros(size, int), b) for name, b in (("x", 16), ("made", 8)))
    bench.add(
        guard.fill_squares(),
        guard.measure(),
        fast_norm.fill_tables(),
        narrow_norm.fill_tables(),
        narrow_norm.routine(shape),
        narrow_norm.call(shape, "norm", x, made),
    )
    bench.start()
    bench.call("fill_squares", {})
    bench.call("fill_less_products", {})
    bench.call("fill_units", {})
    usual = {
        "elements": size,
        "long_elements": 0.1,
        "long_turns": (1, 2, 8),
        "plain_elements": 0.4,
        "stays_short": 0.9,
        "left_at": 3,
    }
    gain = np.ones(size, int)
    attributes = {"pre_shift": 4, "root_shift": 0, "reciprocal_bits": bits}
    assert not narrow_norm.applicable(size, gain, {**attributes, "gain_shift": shift})
    for scale in (0, 1, 15, 40, 300, 1000, 2047, 2048, 4096, 32767):
        for _ in range(2):
            values = rng.integers(-scale - 1, scale + 1, size)
            values[0], values[1] = scale, -scale - 1
            bench.set("x", values)
            bench.call("norm", usual)
            meant = meant_norm.rms_norm(
                values[None], gain=gain, gain_shift=shift, bits=8, **attributes
            )[0]
            assert bench.read("made", size, 8).tolist() == meant.tolist(), scale
