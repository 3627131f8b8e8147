"""The likeliest token among rows that end in several ways: the same token, whatever the vector."""

import numpy as np
import pytest
from test_mos6502_rows import RowBench

from anachron.kernels.mos6502.residue import bounds, run_screen
from anachron.kernels.mos6502.residue import levels as residue_levels
from anachron.kernels.mos6502.residue import rows as residue_rows
from anachron.kernels.mos6502.residue import runs as residue_runs
from anachron.kernels.mos6502.residue.ends import End, last_label
from anachron.kernels.mos6502.residue.screen import Rows

SMALL, FINE = 29, 8


def make(rng, rows, columns, spread, size, down, shifts, guarded):
    """A bench with a screen over the first of two matrices, and what it was planned for."""
    weight = np.clip(rng.normal(0, spread, (rows, columns)), -128, 127).astype(int)
    bias = rng.integers(-500, 500, rows)
    shift = np.sort(rng.choice(shifts, rows))[rng.permutation(rows)]
    for row in range(1, rows, 9):  # equals
        weight[row], bias[row], shift[row] = weight[0], bias[0], shift[0]
    names = [
        "wider" if np.abs(w).sum() * size < residue_levels.WIDER.highest else "widest"
        for w in weight
    ]
    ends = tuple(End(n, 16, int(s), False) for n, s in zip(names, shift, strict=True))
    other = rng.integers(-128, 128, (256 - rows, columns))  # all rows are one block
    more = residue_runs.Matrix(other.astype(np.int8), 0 * other[:, 0], ends[:1] * len(other))
    matrices = [residue_runs.Matrix(weight.astype(np.int8), bias, ends), more]
    packed = residue_runs.pack("m", 16, SMALL, matrices)
    runs = packed.runs[0]
    assert {run.block for run in runs} == {0}
    bench = RowBench()
    for label, content in residue_levels.make_tables(SMALL).items():
        bench.pages(label, content)
    for label, content in residue_levels.turns(SMALL).items():
        bench.pages(label, content)
    for number, block in enumerate(packed.blocks):
        bench.pages(residue_rows.block_label("m", number), block)
    bench.pages("m_places", packed.places)
    highest = np.abs(weight).sum(1) * size + bias
    screens, constants = [], np.zeros(rows, int)
    for run in runs:
        some = packed.rows_of(run)
        screens.append(
            bounds.place(
                weight[some],
                bias[some],
                packed.origin,
                highest[some],
                run.end.shift,
                down,
                FINE,
                ready=True,
                guarded=guarded,
            )
        )
        constants[run.first : run.first + run.size] = screens[-1].constants
    assert run_screen.applicable(screens)
    bench.data("best_constants", constants.astype(np.uint8).tobytes())
    bench.data("best_origins", (-packed.origin).astype(np.uint8).tobytes())
    bench.data("best_runs", run_screen.numbers(screens, [run.first for run in runs]))
    bench.data("best_bounds", bytes(rows))
    bench.data("next_token", bytes(1))
    for label in residue_rows.arrays(packed):
        bench.data(label, bytes(columns))
    x = bench.vector("x", np.zeros(columns, int), 16)
    out = bench.vector("result", np.zeros(rows, int), 16)
    block = residue_rows.block_label("m", 0)
    sought = Rows("best", out, block, packed.column, ("m", "", ""), 0, 0)
    lasts = sorted({last_label("m", run.end) for run in runs})
    bench.add(
        residue_rows.prepare(packed),
        residue_rows.rows(packed),
        run_screen.seek(sought, screens, lasts),
        "take:",
        run_screen.begin(sought, screens[0], x),
        "    rts",
    )
    for number, run in enumerate(runs):
        bench.add(
            f"run_{number}:",
            residue_rows.aim(residue_rows.patches(packed, run, out)),
            run_screen.call("best", number, run.first, run.size),
        )
    bench.start()
    return bench, packed, screens, weight, bias, shift


def vectors(rng, weight, size):
    """Flat ones, ends of the range, random ones, along rows and against them, and those with which
    many results are alike."""
    columns = weight.shape[1]
    yield from (np.zeros(columns, int), np.full(columns, size), np.full(columns, -size))
    for scale in (1, 3, size // 20, size, size):
        yield rng.integers(-scale, scale + 1, columns)
    for row in rng.integers(0, len(weight), 4):
        w = weight[row] * size // 128
        yield from (w, -w)
    for _ in range(4):
        x = rng.normal(0, size / 2, columns)
        w = weight[rng.integers(0, len(weight), 5)].astype(float)
        x -= np.linalg.pinv(w) @ (w @ x)
        yield np.clip(x, -size, size).astype(int)
    yield -np.abs(rng.integers(0, size, columns)) * np.sign(weight.sum(0))


@pytest.mark.parametrize(
    ("rows", "columns", "spread", "size", "down", "shifts", "guarded"),
    (
        (128, 32, 30, 8000, 6, (6, 7, 8), False),
        (128, 32, 30, 16000, 6, (7, 8), True),
        (44, 32, 40, 2900, 5, (4, 5), False),
        (60, 7, 127, 5000, 6, (6, 9, 10), False),
        (1, 32, 60, 900, 4, (5,), False),
        (33, 1, 60, 127, 1, (1, 0), False),
        (200, 20, 20, 1800, 4, (4, 4, 4, 8), False),
        (90, 24, 128, 6000, 4, (7,), True),
    ),
)
def test_the_first_of_the_largest_is_found(
    rows, columns, spread, size, down, shifts, guarded
):
    rng = np.random.default_rng(rows + columns + size)
    bench, packed, screens, weight, bias, shift = make(
        rng, rows, columns, spread, size, down, shifts, guarded
    )
    names = ("entered", "exact", "first", "larger", "still")
    claims = {"far_elements": 0.1} | {f"run_{name}": 0.3 for name in names}
    far = 0
    for x in vectors(rng, weight, size):
        while np.abs(weight @ x + bias >> shift).max() > 32767:
            x = x * 3 // 4
        sums = weight @ x + bias
        bench.set("x", x, 16)
        for part in ("low", "high"):
            at, pointer = bench.symbols[f"x_{part}"], bench.program.symbols[f"source_{part}"]
            bench.machine.memory[pointer : pointer + 2] = at & 0xFF, at >> 8
        for m in packed.moduli[1:]:
            bench.call(residue_rows.prepare_label(packed, m), {})
        bench.call("take", claims)
        for number, (run, screen) in enumerate(zip(packed.runs[0], screens, strict=True)):
            claim = claims | residue_rows.environment(packed, run) | {"rows": 1}
            turns = max(1, abs(8 - screen.coarse))
            bench.call(f"run_{number}", claim | {"run_rows": run.size, "run_turns": turns})
            at = bench.symbols["best_bounds"] + run.first
            found = np.array(bench.machine.memory[at : at + run.size]).astype(int) % 255
            ends = screen.bounds(weight[packed.rows_of(run)], packed.origin, x)
            assert (found == ends % 255).all()
        results = sums >> shift
        assert bench.machine.memory[bench.symbols["next_token"]] == int(np.argmax(results))
        assert (results == results[0])[1::9].all()
        far += guarded and bool((np.abs(x) >= 1 << 7 + down).any())
    assert bool(far) == guarded


def test_a_bound_of_products_is_never_below_its_sum():
    rng = np.random.default_rng(6)
    for _ in range(200):
        columns, down = int(rng.integers(1, 80)), int(rng.integers(1, 9))
        weight = rng.integers(-128, 128, (9, columns))
        bias, size = rng.integers(-9000, 9000, 9), int(rng.integers(1, 128 << down))
        reach = np.abs(weight).sum(1) * size
        origin = weight.min(0)
        screen = bounds.place(
            weight, bias, origin, bias + reach, 4, down, FINE, ready=True, guarded=True
        )
        x = np.where(rng.integers(0, 2, columns) > 0, size, -size)
        x = x if rng.integers(0, 2) else rng.integers(-size, size + 1, columns)
        sums, unit = weight @ x + bias, 1 << down + FINE
        limits = (screen.bounds(weight, origin, x) + screen.lowest - 1) * unit
        near = sums > screen.lowest * unit  # lower ones may look high
        assert (limits >= sums)[near].all()
        assert (sums <= (screen.lowest + 253) * unit).all()


def test_what_a_bound_must_be_is_told_for_every_result():
    rng = np.random.default_rng(7)
    for _ in range(300):
        coarse, lowest = int(rng.integers(1, 12)), int(rng.integers(-400, 400))
        screen = bounds.Screen(6, FINE, 6 + FINE - coarse, lowest, np.zeros(1, int), 0, 0, True)
        result = int(rng.integers(-32768, 32768))
        least = run_screen.least_end(screen, result)
        ends = np.arange(1, 255)
        may = (ends + lowest - 1 << coarse) >= result
        assert ((ends >= least) == may).all()
