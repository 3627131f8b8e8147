"""Rows of any shifts of the columns of elements above 0, against the meaning of their contract."""

import numpy as np
import pytest
from random_models import random_text
from test_mos6502_residues import ResidueBench

import anachron.compiler as ac
from anachron.kernels.mos6502.residue import compaction
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.residue import sparse as residue_sparse
from anachron.kernels.mos6502.residue import sparse_rows as residue_sparse_rows
from anachron.kernels.mos6502.residue.ends import End
from anachron.kernels.reference import matvec as meant_matvec


@pytest.mark.parametrize("columns, bits", ((64, 16), (33, 16), (3, 8), (1, 16)))
def test_rows_of_any_shift_are_exact_for_any_number_of_elements(columns, bits):
    rng = np.random.default_rng(columns)
    shifts = rng.choice([1, 3, 4, 7, 8, 9, 12], 24)
    saturates = (shifts < 9) | (rng.random(24) < 0.3) | (bits == 8)
    wanted = [
        End("wide", bits, int(s), bool(t)) for s, t in zip(shifts, saturates, strict=True)
    ]
    order = sorted(range(24), key=lambda row: wanted[row])
    weight = rng.integers(-128, 128, (24, columns)).astype(np.int8)
    bias = rng.integers(-9000, 9000, 24)
    packed = residue_sparse.pack("s", [weight[order]])
    bench = ResidueBench()
    label = bench.data("order", bytes(range(columns)))
    shape = residue_sparse.Shape(packed, columns / 3, False, order=label)
    bench.pages(residue_matvec.block_label("s", 0), packed.blocks[0])
    for m in residues.MODULI:
        bench.data(f"s_bias_{m}", residues.reduce(bias[order], m).astype(np.uint8).tobytes())
    bench.data("s_places", np.array(order).astype(np.uint8).tobytes())
    x = bench.vector("v", np.zeros(columns, int), 16)
    out = bench.vector("y", np.zeros(24, int), bits)
    runs = [(end, [i for i, row in enumerate(order) if wanted[row] == end]) for end in set(wanted)]
    bench.add(compaction.take(shape), residue_sparse_rows.rows(shape, sorted(set(wanted))))
    bench.add(f"take:\n{residue_sparse_rows.take(shape, x)}\n    rts")
    for i, (end, mine) in enumerate(runs):
        bench.add(f"run_{i}:", residue_sparse_rows.call(shape, mine[0], len(mine), end, out))
    bench.start()
    largest = min(3000, 1_000_000 // (128 * columns))
    for active in sorted({0, 1, columns // 3, columns}):
        elements = -rng.integers(0, 3000, columns)
        elements[rng.permutation(columns)[:active]] = rng.integers(1, largest, active)
        bench.set("v", elements)
        bench.call("take", {})
        for i, (end, mine) in enumerate(runs):
            bench.call(f"run_{i}", residue_sparse_rows.environment(shape, end, len(mine)))
        meant = meant_matvec.matvec(
            np.maximum(elements, 0)[None], weight=weight, bias=bias, shift=shifts, bits=bits
        )
        assert bench.read("y", 24, bits).tolist() == meant[0].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_random_models_do_what_counts_of_a_relu(seed, tmp_path):
    path = tmp_path / "random.model"
    path.write_text(random_text(seed, ("rms",)))
    fixed = ac.quantize(ac.load(path), activations=10 + seed % 2)
    image = ac.build(fixed, "c64", logits=True)
    downs = [call for call in image.calls if call.variant.endswith("above 0")]
    run, meant = image.run("abc", 5), ac.run_reference(fixed, "abc", 5)
    assert run.agrees(meant)
    assert run.predicted.lo <= run.total <= run.predicted.hi
    assert downs, "no matrix does what counts alone"
