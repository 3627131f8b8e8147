"""Kernels in residues against the meaning of their contracts, up to the ends of their windows."""

import numpy as np
import pytest
from test_mos6502_kernels import Bench

from anachron.kernels.mos6502 import residue_matvec, residues
from anachron.kernels.reference import matvec as meant_matvec


class ResidueBench(Bench):
    """A bench with the residues' tables, and data that starts on pages."""

    def __init__(self):
        super().__init__()
        for name, content in residues.make_tables().items():
            self.pages(name, content)

    def pages(self, name, content):
        self.at = (self.at + 255) & ~255
        return self.data(name, content)


def place(bench, name, basis, bits, matrices):
    """A kernel for matrices (weight, bias, shift); its calls are `<name>_0`, `<name>_1`, ..."""
    packed = residue_matvec.pack(name, basis, bits, [(w, b) for w, b, _ in matrices])
    for number, block in enumerate(packed.blocks):
        bench.pages(residue_matvec.block_label(name, number), block)
    columns = len(packed.origin)
    x = bench.vector(f"{name}_x", np.zeros(columns, int), bits)
    ends = sorted({(shift, 16) for _, _, shift in matrices})
    bench.add(
        residue_matvec.select(packed),
        residue_matvec.prepare(packed, x),
        residue_matvec.rows(packed, ends),
    )
    for i, ((w, _, shift), (block, _)) in enumerate(zip(matrices, packed.places, strict=True)):
        out = bench.vector(f"{name}_out{i}", np.zeros(len(w), int), 16)
        label = residue_matvec.block_label(name, block)
        jump = f"    ldy #>{label}\n    jsr {name}_select\n" if len(packed.blocks) > 1 else ""
        bench.add(
            f"{name}_{i}:\n{jump}    jsr {name}_prepare\n"
            + residue_matvec.call(packed, i, len(w), shift, out)
        )
    return packed


def random_matrix(rng, rows, columns, shift, spread=40):
    weight = np.clip(rng.normal(0, spread, (rows, columns)), -128, 127).astype(np.int8)
    return weight, rng.integers(-9000, 9000, rows), shift


def extreme_vectors(rng, weight, bias, basis, bits):
    """Vectors that bring a row's sum close to an end of the window, the others staying inside."""
    w = weight.astype(np.int64)
    limit = (1 << bits - 1) - 1
    for row in rng.permutation(len(w))[:6]:
        for end in (basis.lowest, basis.highest):
            scale = (end - bias[row]) / max(1, (w[row] ** 2).sum())
            x = np.clip(np.trunc(w[row] * scale), -limit - 1, limit).astype(np.int64)
            sums = w @ x + bias
            while not basis.holds(int(sums.min()), int(sums.max())):
                x = x * 99 // 100
                sums = w @ x + bias
            yield x
    for size in (0, 1, 7, limit):
        x = rng.integers(-size - 1, size + 1, w.shape[1])
        sums = w @ x + bias
        if basis.holds(int(sums.min()), int(sums.max())):
            yield x


@pytest.mark.parametrize("basis", (residues.NARROW, residues.WIDE), ids=lambda b: b.name)
@pytest.mark.parametrize("bits", (8, 16))
@pytest.mark.parametrize(
    ("columns", "shapes"),
    (
        (1, ((1, 8), (7, 4))),
        (7, ((5, 8), (250, 7), (130, 10))),
        (32, ((96, 7), (64, 8), (128, 6))),
        (64, ((32, 8), (32, 7))),
    ),
)
def test_sums_up_to_the_ends_of_the_window_are_exact(basis, bits, columns, shapes):
    rng = np.random.default_rng(columns)
    spread = 40 if basis is residues.WIDE else 12
    matrices = [random_matrix(rng, rows, columns, shift, spread) for rows, shift in shapes]
    if basis is residues.NARROW:
        matrices = [(w, bias % 500, shift) for w, bias, shift in matrices]
    bench = ResidueBench()
    packed = place(bench, "m", basis, bits, matrices)
    bench.start()
    reached = 0
    for i, (weight, bias, shift) in enumerate(matrices):
        for x in extreme_vectors(rng, weight, bias, basis, bits):
            sums = weight.astype(np.int64) @ x + bias
            if (sums >> shift).max() > 32767 or (sums >> shift).min() < -32768:
                continue
            bench.set("m_x", x, bits)
            end = residue_matvec.end_label(packed, shift, 16)
            bench.call(f"m_{i}", {"rows": len(weight), residue_matvec.which("m"): end})
            meant = meant_matvec.matvec(
                x[None], weight=weight, bias=bias, shift=np.full(len(weight), shift), bits=16
            )
            assert bench.read(f"m_out{i}", len(weight), 16).tolist() == meant[0].tolist()
            reached = max(reached, np.abs(sums).max() / basis.highest)
    assert reached > (0.9 if (columns, bits) in ((32, 16), (64, 16)) else 0)


def test_the_machine_builds_the_tables_itself():
    bench = Bench()
    tables = residues.make_tables()
    for name, content in tables.items():
        bench.at = (bench.at + 255) & ~255
        bench.data(name, bytes(len(content)))
    bench.add(residues.fill_tables())
    bench.start()
    bench.call("fill_residues", {})
    for name, content in tables.items():
        at = bench.symbols[name]
        assert bytes(bench.machine.memory[at : at + len(content)]) == content, name
