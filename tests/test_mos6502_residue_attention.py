"""Attention in three residues against its meaning: at once, and in two turns."""

import numpy as np
import pytest
from test_mos6502_kernels import Bench
from test_mos6502_residues import ResidueBench

from anachron.kernels.mos6502.residue import attention as residue_attention
from anachron.kernels.mos6502.residue import cache as residue_cache
from anachron.kernels.mos6502.residue import middle, turns
from anachron.kernels.mos6502.residue import mixing as residue_mixing
from anachron.kernels.mos6502.residue.levels import MIDDLE
from anachron.kernels.reference import attention as meant_attention

# What claims of time ask for; the bounds hold whatever is expected.
MIXED = {"long_heads": 0.1, "heavy_heads": 0.1, "less_rows": 0.5, "far_rows": 0.1}
MIXED["quotient"] = (1, 1.5, 200)


@pytest.mark.parametrize("reach", (1, 11, 16, 40, 128))
def test_the_machine_builds_the_tables_of_attentions_itself(reach):
    bench = Bench()
    tables = middle.make_tables()
    for name, content in tables.items():
        bench.at = (bench.at + 255) & ~255
        bench.data(name, bytes(len(content)))
    bench.add(middle.fill_tables(reach))
    bench.start()
    bench.call("fill_middle", {})
    for name, content in tables.items():
        at = bench.symbols[name]
        found = bytes(bench.machine.memory[at : at + len(content)])
        if name in middle.ENDS:
            found, content = found[:reach] + found[-reach:], content[:reach] + content[-reach:]
        assert found == content, name


def test_sums_that_start_at_the_ends_of_a_byte_are_exact():
    """Whatever a and k are, constants below 253 leave no carry behind that is worth 3 more."""
    m = MIDDLE
    bench = ResidueBench()
    for name, content in middle.make_tables().items():
        bench.pages(name, content)
    bench.data("constants", bytes(1))
    bench.data("found", bytes(2))
    bench.add(
        f"begin:\n    lda found\n{middle.start(m, 'constants', 'own')}\n    ldx #0\n"
        "    bcc *+3\n    inx\n    sta found\n    stx found+1\n    rts",
        f"less:\n    lda found\n{middle.negate(m)}\n    sta found\n    rts",
    )
    bench.start()
    memory, found = bench.machine.memory, bench.symbols["found"]
    own, total = bench.program.symbols["own"] + 1, bench.program.symbols["total"]
    for a in (0, 1, 2, 3, 90, 253, 254, 255):
        for k in range(0, 256, 5):
            for constant in (0, 1, m - 2, m - 1):
                for less in (0, m - 1):
                    memory[found], memory[total] = k, a
                    memory[bench.symbols["constants"]], memory[own] = constant, less
                    bench.call("begin")
                    assert memory[found + 1] == 0
                    assert int(memory[found]) % m == (constant + less - a - 256 * k) % m
    for a in range(256):
        memory[found] = a
        bench.call("less")
        assert int(memory[found]) == (2 - a) % m


def attention_bench(size, heads, n_rows, table, largest, shift=14, measured=(True, True)):
    shape = residue_cache.Shape("att", size, heads, n_rows, measured)
    mixer = residue_mixing.Mixer(shape, shift, "exponential", len(table), largest)
    bench = ResidueBench()
    for name, content in middle.make_tables().items():
        bench.pages(name, content)
    bench.pages("att_cache", bytes(shape.cache_bytes))
    bench.pages("att_taken", bytes(shape.taken_bytes))
    for name in ("scores_low", "scores_high", "weights"):
        bench.pages(f"att_{name}", bytes(max(size, heads * n_rows)))
    bench.pages("exponential", np.asarray(table, np.uint8).tobytes())
    bench.data("position", bytes(1))
    vectors = [bench.vector(name, np.zeros(size, int), 16) for name in ("q", "k", "v", "made")]
    q, k, v, out = vectors
    bench.add(
        residue_cache.take(shape),
        residue_cache.keep_key(shape),
        residue_cache.keep_value(shape),
        residue_attention.attend(mixer),
        residue_attention.call(mixer, "mix", q, out),
        residue_attention.call_keep(shape, "keep_k", "key", k),
        residue_attention.call_keep(shape, "keep_v", "value", v),
    )
    return bench.start(), mixer


@pytest.mark.parametrize("measured", ((True, True), (False, False)), ids=("guarded", "proven"))
@pytest.mark.parametrize(
    ("size", "heads", "n_rows", "entries", "shift", "spread", "values"),
    (
        (32, 4, 20, 128, 14, 500, 900),
        (32, 4, 19, 128, 14, 1500, 4095),
        (16, 2, 9, 100, 12, 1700, 8000),
        (8, 8, 7, 256, 16, 2600, 16383),
        (24, 3, 40, 256, 8, 90, 6000),
        (32, 4, 19, 128, 14, 2500, 16383),
    ),
)
def test_attention_is_exact_up_to_its_bounds(
    size, heads, n_rows, entries, shift, spread, values, measured
):
    rng = np.random.default_rng(size + n_rows + entries)
    table = np.maximum(1, np.round(255 * np.exp(-np.arange(entries) / 16))).astype(int)
    table[0], table[-1] = 255, 0
    most = (255 << 8) * (MIDDLE // 2) - 256
    reach = min(3 * turns.TURN, (1 << shift + 15) - 1) if measured[0] else most
    if not measured[1]:
        values = min(values, most // 255 // n_rows)
    bench, mixer = attention_bench(size, heads, n_rows, table, values, shift, measured)
    head = size // heads
    ways = {"att_long": 0, "att_heavy_head": 0}
    keys, mixed = [], []
    for position in range(n_rows):
        k = np.clip(rng.normal(0, spread, size), -32768, 32767).astype(int)
        v = rng.integers(-values, values + 1, size)
        if position % 3 == 0:
            v = np.where(rng.integers(0, 2, size) > 0, values, -values)
        if position == 1:
            k[:] = np.sign(k) * min(int((reach // head) ** 0.5), 32767)
        q = np.clip(rng.normal(0, spread, size), -32768, 32767).astype(int)
        if position % 4 == 1:
            q = np.roll(k, 0) * (1 if position % 8 == 1 else -1)
        if position % 5 == 4:  # scores so alike that weights are many
            q = q // 64
        keys.append(k)
        mixed.append(v)
        scores = (np.array(keys) * q).reshape(position + 1, heads, head).sum(-1)
        while np.abs(scores).max() > reach:
            q = q * 9 // 10
            scores = (np.array(keys) * q).reshape(position + 1, heads, head).sum(-1)
        bench.machine.memory[bench.symbols["position"]] = position
        for name, x in (("q", q), ("k", k), ("v", v)):
            bench.set(name, x, 16)
        bench.call("keep_k", {})
        bench.call("keep_v", {})
        before = np.array(bench.machine.profile())
        bench.call("mix", {"seen": position + 1} | MIXED)
        spent = np.array(bench.machine.profile()) - before
        for way in ways:
            ways[way] += bool(spent[bench.program.symbols.get(way, 0)])
        meant = meant_attention.attention(
            q[None],
            np.array(keys),
            np.array(mixed),
            heads=heads,
            kv_heads=heads,
            causal=True,
            first=position,
            score_shift=shift,
            table=table,
            bits=16,
        )
        assert bench.read("made", size, 16).tolist() == meant[0].tolist(), position
    assert bool(ways["att_long"]) == (measured[0] and reach > most)
    may_be_heavy = measured[1] and 255 * n_rows * values > most
    assert may_be_heavy or not ways["att_heavy_head"]
    assert ways["att_heavy_head"] or not may_be_heavy or n_rows < 10
    if spread < 1000 and n_rows < 40:  # the others have a long query at each position
        assert ways["att_long"] < n_rows
