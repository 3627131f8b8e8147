"""Norms by tables, which share their code, against the meaning of rms_norm and layer_norm."""

import numpy as np
import pytest
from test_mos6502_rows import RowBench

from anachron.kernels.mos6502 import fast_norm, norm_length, table_norm, zeropage
from anachron.kernels.reference import norm as meant_norm


def soil(bench):
    """What kernels leave in the zero page, as a whole program's would."""
    addresses = zeropage.assign()
    for name in ("factor_a", "factor_b", "total", "term", "scratch", "correction"):
        bench.machine.memory[addresses[name] : addresses[name] + 2] = 0xA5


def bench_of(size, pre, up, gain, bias, saturates):
    bench = RowBench()
    for name, n in fast_norm.TABLES.items():
        bench.pages(name, bytes(n))
    shape = norm_length.Shape(size, pre, up)
    plain = bool((gain == 1).all())
    routine = table_norm.scale_label(bias is not None, saturates, plain)
    x, out = (bench.vector(name, np.zeros(size, int), 16) for name in ("x", "made"))
    table = np.vstack([gain & 0xFF, table_norm.gain_constants(gain)]).astype(np.uint8)
    bench.data("gains", table.tobytes())
    bench.data("centred", bytes(2 * size))
    biases = None if bias is None else bench.vector("bias", bias, 16)
    bench.add(
        fast_norm.fill_tables(),
        norm_length.reciprocal(shape),
        norm_length.centre(size),
        table_norm.scale(bias is not None, saturates, plain),
        table_norm.choose(routine, bias is not None, plain),
    )
    return bench, shape, routine, x, out, biases


@pytest.mark.parametrize(
    ("size", "pre", "up", "bits", "gain_shift"),
    (
        (32, 2, 4, 22, 7),
        (32, 2, 4, 24, 5),
        (8, 1, 0, 19, 6),
        (24, 3, 0, 19, 6),
        (7, 4, 2, 20, 8),
        (1, 3, 6, 24, 0),
        (128, 4, 0, 24, 6),
    ),
)
@pytest.mark.parametrize("layer", (False, True))
@pytest.mark.parametrize("plain", (False, True))
def test_norms_by_tables_are_exact_for_any_vector(size, pre, up, bits, gain_shift, layer, plain):
    rng = np.random.default_rng(size)
    gain = rng.integers(-128, 128, size)
    gain[:1] = -128
    gain = np.ones_like(gain) if plain else gain
    bias = rng.integers(-32768, 32768, size) if layer else None
    bench, shape, routine, x, out, biases = bench_of(size, pre, up, gain, bias, True)
    shifts = (gain_shift, bits)
    gains = "" if plain else "gains"
    bench.add(table_norm.call("norm", shape, routine, x, out, gains, shifts, biases))
    bench.start()
    bench.call("fill_less_products", {})
    soil(bench)
    claims = {
        "elements": size,
        table_norm.shift_variable(routine): table_norm.shift_entry(routine, gain_shift),
    }
    common = {
        "gain": gain,
        "gain_shift": gain_shift,
        "pre_shift": pre,
        "root_shift": up,
        "reciprocal_bits": bits,
        "bits": 16,
    }
    for scale in (0, 1, 5, 300, 2000, 4095, 9000, 32767):
        for sign in (0, 1, -1):
            values = rng.integers(-scale - 1, scale + 1, size)
            values = values if not sign else np.where(sign > 0, scale, -scale - 1) + 0 * values
            bench.set("x", values)
            bench.call("norm", claims)
            if layer:
                meant = meant_norm.layer_norm(values[None], bias=bias, **common)[0]
            else:
                meant = meant_norm.rms_norm(values[None], **common)[0]
            assert bench.read("made", size, 16).tolist() == meant.tolist(), (scale, sign)


def test_results_proven_not_to_saturate_need_no_test():
    size = 16
    rng = np.random.default_rng(0)
    gain = rng.integers(-40, 41, size)
    bench, shape, routine, x, out, _ = bench_of(size, 2, 4, gain, None, False)
    bench.add(table_norm.call("norm", shape, routine, x, out, "gains", (6, 22), None))
    bench.start()
    bench.call("fill_less_products", {})
    soil(bench)
    claims = {
        "elements": size,
        table_norm.shift_variable(routine): table_norm.shift_entry(routine, 6),
    }
    for scale in (9, 900, 32767):
        values = rng.integers(-scale - 1, scale + 1, size)
        bench.set("x", values)
        bench.call("norm", claims)
        meant = meant_norm.rms_norm(
            values[None],
            gain=gain,
            gain_shift=6,
            pre_shift=2,
            root_shift=4,
            reciprocal_bits=22,
            bits=16,
        )[0]
        assert bench.read("made", size, 16).tolist() == meant.tolist()
