"""Rows in residues, each with a basis and an end of its own, against the meaning of matvec."""

import numpy as np
import pytest
from test_mos6502_kernels import Bench

from anachron.kernels.mos6502.residue import levels as residue_levels
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue import rows as residue_rows
from anachron.kernels.mos6502.residue import runs as residue_runs
from anachron.kernels.mos6502.residue.ends import End
from anachron.kernels.reference import matvec as meant_matvec

BASES = ("narrow", "small", "wide", "wider", "widest")


def basis_of(name, small):
    known = {"narrow": residues.NARROW, "wide": residues.WIDE, "wider": residue_levels.WIDER}
    if name == "small":
        return residue_levels.small_basis(small)
    return known.get(name) or residue_levels.widest(small)


class RowBench(Bench):
    """A bench for long code, with all tables of residues."""

    def __init__(self):
        super().__init__()
        self.at = 0x7000
        for name, content in residues.make_tables().items():
            self.pages(name, content)

    def pages(self, name, content):
        self.at = (self.at + 255) & ~255
        return self.data(name, content)


def build(name, bits, small, matrices):
    """A bench with the matrices' kernel; `<name>_<i>_<run>` does a run of matrix i."""
    bench = RowBench()
    for label, content in residue_levels.make_tables(small).items():
        bench.pages(label, content)
    if small:
        for label, content in residue_levels.turns(small).items():
            bench.pages(label, content)
    packed = residue_runs.pack(name, bits, small, matrices)
    for number, block in enumerate(packed.blocks):
        bench.pages(residue_rows.block_label(name, number), block)
    bench.pages(f"{name}_places", packed.places)
    bench.vector(f"{name}_x", np.zeros(packed.columns, int), bits)
    for label in residue_rows.arrays(packed):
        bench.data(label, bytes(packed.columns))
    bench.data("sums", bytes(4 * packed.sum_rows))
    bench.add(residue_rows.select(packed), residue_rows.prepare(packed), residue_rows.rows(packed))
    for i, (matrix, runs) in enumerate(zip(matrices, packed.runs, strict=True)):
        out = bench.vector(f"{name}_out{i}", np.zeros(len(matrix.ends), int), matrix.ends[0].bits)
        for number, run in enumerate(runs):
            bench.add(
                f"{name}_{i}_{number}:\n    ldy #>{residue_rows.block_label(name, run.block)}\n"
                f"    jsr {name}_select",
                residue_rows.aim(residue_rows.patches(packed, run, out)),
                residue_rows.call(packed, run),
            )
    bench.start()
    return bench, packed


def run_matrix(bench, packed, i, matrix, x):
    bench.set(f"{packed.name}_x", x, packed.bits)
    for part in ("low", "high"):
        at = bench.symbols[f"{packed.name}_x_{part}"]
        pointer = bench.program.symbols[f"source_{part}"]
        bench.machine.memory[pointer : pointer + 2] = at & 0xFF, at >> 8
    for m in packed.moduli[1:]:
        bench.call(residue_rows.prepare_label(packed, m), {})
    for number, run in enumerate(packed.runs[i]):
        bench.call(f"{packed.name}_{i}_{number}", residue_rows.environment(packed, run))
    return bench.read(f"{packed.name}_out{i}", len(matrix.ends), matrix.ends[0].bits)


def inside(basis, sums):
    return basis.holds(int(sums.min()), int(sums.max()))


@pytest.mark.parametrize("bits", (8, 16))
@pytest.mark.parametrize("out_bits", (8, 16))
@pytest.mark.parametrize(("columns", "small"), ((1, 7), (7, 31), (32, 13), (48, 49)))
def test_rows_of_any_basis_and_shift_are_exact(bits, out_bits, columns, small):
    rng = np.random.default_rng(columns + bits + out_bits)
    matrices = []
    for n_rows in (300, 5, 90):
        ends = [
            End(str(rng.choice(BASES)), out_bits, int(rng.integers(1, 15)), True)
            for _ in range(n_rows)
        ]
        spread = {"narrow": 9, "small": 20, "wide": 30, "wider": 60, "widest": 90}
        weight = np.array(
            [np.clip(rng.normal(0, spread[e.basis], columns), -128, 127) for e in ends], np.int8
        )
        matrices.append(residue_runs.Matrix(weight, rng.integers(-90, 90, n_rows), tuple(ends)))
    bench, packed = build("m", bits, small, matrices)
    saturated = 0
    for i, matrix in enumerate(matrices):
        shift = np.array([end.shift for end in matrix.ends])
        weight = matrix.weight.astype(np.int64)
        for row in rng.permutation(len(weight))[:5]:
            basis = basis_of(matrix.ends[row].basis, small)
            most = (1 << bits - 1) - 1
            for end in (basis.lowest, basis.highest):
                scale = (end - matrix.bias[row]) / max(1, (weight[row] ** 2).sum())
                x = np.clip(np.trunc(weight[row] * scale), -most - 1, most).astype(np.int64)
                made = run_matrix(bench, packed, i, matrix, x)
                meant = meant_matvec.matvec(
                    x[None], weight=weight, bias=matrix.bias, shift=shift, bits=out_bits
                )[0]
                sums = weight @ x + matrix.bias
                held = np.array(
                    [
                        basis_of(e.basis, small).holds(int(s), int(s))
                        for e, s in zip(matrix.ends, sums, strict=True)
                    ]
                )
                assert held.any()
                assert made[held].tolist() == meant[held].tolist()
                limit = 1 << out_bits - 1
                plain = sums >> shift
                saturated += int(((plain < -limit) | (plain >= limit))[held].sum())
    assert saturated or columns == 1


@pytest.mark.parametrize("size", (3, 4))
def test_matrices_are_done_some_columns_at_a_time(size):
    rng = np.random.default_rng(size)
    n_rows, columns, small = 40, 8, 7
    shift = rng.integers(1, 12, n_rows)
    whole = rng.integers(-128, 128, (n_rows, 3 * columns)).astype(np.int8)
    bias = rng.integers(-3000, 3000, n_rows)
    parts = []
    for part, weight in zip(("first", "more", "last"), np.split(whole, 3, axis=1), strict=True):
        basis = "wider" if size == 3 else "widest"
        ends = tuple(
            End(basis, 16, int(s), bool(s < 9), part, size)
            if part == "last"
            else End(basis, 16, 8, False, part, size)
            for s in shift
        )
        parts.append(residue_runs.Matrix(weight, bias if part == "first" else 0 * bias, ends))
    bench, packed = build("m", 16, small, parts)
    for scale in (0, 50, 1500, 4000 if size == 3 else 32767):
        x = rng.integers(-scale - 1, scale + 1, 3 * columns)
        for i, matrix in enumerate(parts):
            made = run_matrix(bench, packed, i, matrix, x[columns * i :][:columns])
        meant = meant_matvec.matvec(x[None], weight=whole, bias=bias, shift=shift, bits=16)[0]
        plain = (whole.astype(np.int64) @ x + bias) >> shift
        known = (shift < 9) | (np.abs(plain) < 32768)
        assert made[known].tolist() == meant[known].tolist()


@pytest.mark.parametrize("out_bits", (8, 16))
def test_rows_proven_not_to_saturate_need_no_test(out_bits):
    rng = np.random.default_rng(out_bits)
    columns, small = 16, 7
    ends, weight = [], []
    for basis in BASES:
        for shift in range(17):
            ends.append(End(basis, out_bits, shift, False))
            weight.append(rng.integers(-128, 128, columns))
    matrix = residue_runs.Matrix(
        np.array(weight, np.int8), rng.integers(-300, 300, len(ends)), tuple(ends)
    )
    bench, packed = build("m", 16, small, [matrix])
    shift = np.array([end.shift for end in ends])
    limit, compared = 1 << out_bits - 1, 0
    for size in (0, 3, 40, 600, 9000, 32767):
        x = rng.integers(-size - 1, size + 1, columns)
        sums = matrix.weight.astype(np.int64) @ x + matrix.bias
        good = np.array(
            [
                basis_of(e.basis, small).holds(int(s), int(s)) and -limit <= s >> e.shift < limit
                for e, s in zip(ends, sums, strict=True)
            ]
        )
        made = run_matrix(bench, packed, 0, matrix, x)
        assert made[good].tolist() == (sums >> shift)[good].tolist()
        compared += int(good.sum())
    assert compared > 150


def test_the_machine_builds_the_tables_itself():
    for small, most in ((None, 256), (7, 256), (49, 97), (7, 13)):
        bench = Bench()
        tables = residue_levels.make_tables(small)
        if small:
            tables["row_t"] = tables["row_t"][: 256 + most]
        for name, content in tables.items():
            bench.at = (bench.at + 255) & ~255
            bench.data(name, bytes(len(content)))
        bench.add(residue_levels.fill_tables(True, small, most))
        bench.start()
        bench.call("fill_levels", {})
        for name, content in tables.items():
            at = bench.symbols[name]
            assert bytes(bench.machine.memory[at : at + len(content)]) == content, (small, name)


def test_a_vector_whose_own_sum_is_0_modulo_253_is_exact():
    """Then 255 is added for it, after which a carry's worth could carry again."""
    rng = np.random.default_rng(253)
    weight = rng.integers(-128, 128, (256, 1)).astype(np.int8)
    weight[0] = -128
    bias = rng.integers(-1_000_000, 1_000_000, 256)
    matrix = residue_runs.Matrix(weight, bias, (End("wider", 16, 8, False),) * 256)
    bench, packed = build("m", 16, None, [matrix])
    xs = np.arange(-20_000, 20_000)
    low, high = xs & 0xFF, xs >> 8
    own = residues.triangle((low + 3 * high) % residue_levels.MIDDLE + 128)
    shift = np.full(256, 8)
    for x in rng.permutation(xs[own % residue_levels.MIDDLE < 2])[:60]:
        meant = meant_matvec.matvec(
            np.array([[x]]), weight=weight.astype(np.int64), bias=bias, shift=shift, bits=16
        )[0]
        assert run_matrix(bench, packed, 0, matrix, np.array([x])).tolist() == meant.tolist()
