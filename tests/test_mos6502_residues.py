"""Kernels in residues against the meaning of their contracts, up to the ends of their windows."""

import numpy as np
import pytest
from test_mos6502_kernels import Bench

from anachron.kernels.mos6502 import fast_norm
from anachron.kernels.mos6502.instructions import set_word
from anachron.kernels.mos6502.residue import guard, nibbles
from anachron.kernels.mos6502.residue import matvec as residue_matvec
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.reference import matvec as meant_matvec
from anachron.kernels.reference import norm as meant_norm

# What claims of time ask for; the bounds hold whatever is expected.
MEASURED = {"long_elements": 0.1, "long_turns": (1, 2, 8)}


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
    ends = sorted({(shift, 16, False) for _, _, shift in matrices})
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
            + residue_matvec.call(packed, i, len(w), (shift, 16, False), out)
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


@pytest.mark.parametrize(
    ("size", "gain_shift", "most"), ((16, 6, 127), (32, 6, 255), (128, 8, 255))
)
def test_norms_by_table_are_exact_for_any_vector(size, gain_shift, most):
    rng = np.random.default_rng(size)
    gain = rng.integers(0, most + 1, size)
    gain[:2] = 0, most
    shape = fast_norm.Shape(size, gain_shift, 19)
    bench = ResidueBench()
    for name, n in {**guard.TABLES, **fast_norm.TABLES}.items():
        bench.pages(name, bytes(n))
    for page in ("products_low", "products_high"):
        assert bench.symbols[page] % 256 == 0
    x, out = (bench.vector(name, np.zeros(size, int), 16) for name in ("x", "made"))
    table = np.vstack([gain, fast_norm.gain_constants(gain)]).astype(np.uint8)
    bench.data("gains", table.tobytes())
    bench.add(
        guard.fill_squares(),
        guard.measure(),
        fast_norm.fill_tables(),
        fast_norm.routine(shape),
        fast_norm.call(shape, "norm", x, out, "gains"),
    )
    bench.start()
    bench.call("fill_squares", {})
    bench.call("fill_less_products", {})
    for scale in (0, 1, 5, 40, 300, 2000, 4095, 4096, 9000, 32767):
        for _ in range(3):
            values = rng.integers(-scale - 1, scale + 1, size)
            values[0], values[1] = scale, -scale - 1
            bench.set("x", values)
            bench.call("norm", {"elements": size} | MEASURED)
            meant = meant_norm.rms_norm(
                values[None],
                gain=gain,
                gain_shift=gain_shift,
                pre_shift=4,
                root_shift=0,
                reciprocal_bits=19,
                bits=24,
            )[0]
            if np.abs(meant).max() < 32768:
                assert bench.read("made", size, 16).tolist() == meant.tolist(), scale


@pytest.mark.parametrize("way", (guard, nibbles), ids=("shifts", "tables"))
def test_the_measure_of_a_vector_is_exact(way):
    bench = ResidueBench()
    for name, n in {**guard.TABLES, "upper_nibble": 256, "lower_nibble": 256}.items():
        bench.pages(name, bytes(n))
    bench.vector("x", np.zeros(128, int), 16)
    point = "\n".join(
        f"    lda #<{label}\n    sta source_{part}\n    lda #>{label}\n    sta source_{part}+1"
        for part, label in (("low", "x_low"), ("high", "x_high"))
    )
    bench.add(guard.fill_squares(), nibbles.fill_nibbles(), way.measure())
    bench.add(f"start_measure:\n{point}\n    ldy #127\n    jmp measure")
    bench.start()
    bench.call("fill_squares", {})
    bench.call("fill_nibbles", {})
    rng = np.random.default_rng(2)
    edges = [0, 1, -1, 15, 16, -16, -17, 4079, 4080, 4095, 4096, -4080, -4081, -4096, -4097]
    for scale in (16, 4096, 32768):
        values = rng.integers(-scale, scale, 128)
        values[: len(edges)] = edges
        values[-2:] = 32767, -32768
        bench.set("x", values)
        bench.call("start_measure", {"elements": 128} | MEASURED)
        at = bench.symbols["sum_a"] if "sum_a" in bench.symbols else bench.program.symbols["sum_a"]
        found = int.from_bytes(bytes(bench.machine.memory[at : at + 4]), "little")
        assert found == int(((values >> 4) ** 2).sum())


def test_rows_beyond_their_limits_are_done_again_bit_by_bit():
    rng = np.random.default_rng(3)
    rows, columns, shift = 9, 7, 9
    weight, bias, _ = random_matrix(rng, rows, columns, shift, 90)
    weight[0], weight[1] = -128, 127
    bench = ResidueBench()
    packed = place(bench, "m", residues.WIDE, 16, [(weight, bias, shift)])
    limits = [100_000 if row % 2 else 2_000_000_000 for row in range(rows)]
    bench.data("origins", (packed.origin & 0xFF).astype(np.uint8).tobytes())
    bench.data("biases", bias.astype("<i4").tobytes())
    bench.data("limits", guard.row_limits(limits))
    words = {
        "row": residue_matvec.block_label("m", 0),
        "past_low": "origins",
        "past_high": "biases",
        "key_low": "limits",
        "source_low": "m_x_low",
        "source_high": "m_x_high",
        "count_a": str(packed.stride),
        "out_low": "m_out0_low",
        "out_high": "m_out0_high",
    }
    bench.add(
        guard.exact_rows(),
        "again:",
        *(set_word(label, value) for label, value in words.items()),
        f"    lda #{columns}\n    sta count_b\n    lda #{shift}\n    sta count_b+1\n"
        f"    lda #{rows}\n    sta rows_left\n    lda #0\n    sta sum_a\n    sta sum_a+3\n"
        "    lda #$02\n    sta sum_a+1\n    sta sum_a+2\n    jmp exact_rows",
    )
    bench.start()
    for scale in (3, 500, 32767):
        x = rng.integers(-scale - 1, scale + 1, columns)
        x[0], x[1] = 0, -scale - 1
        bench.set("m_x", x)
        bench.set("m_out0", np.full(rows, 4711))
        environment = {"rows": rows, "exact_columns": columns, "shift_bytes": 1, "shift_bits": 1}
        environment |= {"row_beyond": 0.5, "zero_columns": 0.1, "weight_bits": (1, 6, 8)}
        environment["weight_ones"] = 0.5
        bench.call("again", environment)
        meant = meant_matvec.matvec(
            x[None], weight=weight, bias=bias, shift=np.full(rows, shift), bits=16
        )[0]
        expected = [int(m) if row % 2 else 4711 for row, m in enumerate(meant)]
        assert bench.read("m_out0", rows, 16).tolist() == expected
