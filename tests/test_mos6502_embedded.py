"""Two embeddings that are only added, in one kernel, against the meaning of both and of the sum."""

from pathlib import Path

import numpy as np
import pytest
from test_mos6502_kernels import Bench

from anachron.compiler.building import build
from anachron.compiler.language import parse
from anachron.compiler.loader import fill
from anachron.compiler.quantization import quantize
from anachron.compiler.run import run_image, run_reference
from anachron.kernels.mos6502 import embedding
from anachron.kernels.reference import embedding as meant


@pytest.mark.parametrize("shift", embedding.SUM_SHIFTS)
@pytest.mark.parametrize(("rows", "dim"), ((3, 256), (300, 7), (20, 32)))
def test_the_sum_of_two_rows(shift, rows, dim):
    rng = np.random.default_rng(dim)
    tables = rng.integers(-128, 128, (2, rows, dim))
    tables[:, 0], tables[:, 1] = -128, 127
    bench = Bench()
    width = 2 if rows > 256 else 1
    places = [bench.data(f"place_{i}", bytes(2)) for i in range(2)]
    stored = [bench.vector(f"table_{i}", table, 8) for i, table in enumerate(tables)]
    out = bench.vector("result", np.zeros(dim, int), 16)
    sources = [(place, width, table) for place, table in zip(places, stored, strict=True)]
    bench.add(embedding.embed_sum("op", sources, out, shift))
    bench.start()
    for pair in ((0, 0), (1, 1), (0, 1), (rows - 1, 2), (2, rows - 1)):
        parts = []
        for i, row in enumerate(pair):
            at = bench.symbols[f"place_{i}"]
            bench.machine.memory[at : at + 2] = [row & 255, row >> 8]
            parts.append(meant.embed(np.array([row]), table=tables[i], shift=shift, bits=16)[0])
        bench.call("op", {})
        wanted = meant.add(*parts, bits=16)
        assert bench.read("result", dim, 16).tolist() == wanted.tolist(), pair


MODEL = """\
model summed
size dim = 16, seq_len = 8, vocab_size = 10
tokenizer digits
tok = embed(token, dim)
pos = embed(position, dim)
x = tok + pos
{more}
x = x + attention(linear(x, dim), linear(x, dim), linear(x, dim), heads = 2, causal)
logits = linear(x, vocab_size)
"""


@pytest.mark.parametrize("more", ("", "x = x + tok"), ids=("alone", "read twice"))
def test_a_program_adds_rows_where_nobody_else_reads_them(more):
    program = parse(MODEL.format(more=more), "summed.model")
    fixed = quantize(fill(program, Path("summed.model"), 3, True))
    image = build(fixed, "c64", logits=True)
    variants = {call.op: call.variant for call in image.calls}
    assert (variants["tok"] == variants["pos"] == "none") == (not more)
    run, wanted = run_image(image, "314", 4), run_reference(fixed, "314", 4)
    assert run.generated == wanted.generated
    assert run.logits.tolist() == wanted.logits.tolist()
    assert run.predicted.lo <= run.total <= run.predicted.hi
