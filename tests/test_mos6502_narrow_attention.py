"""Attention of int8 vectors in two residues against its meaning, slow heads as well."""

import numpy as np
import pytest
from test_mos6502_residues import ResidueBench

from anachron.kernels.arithmetic import exp_table
from anachron.kernels.mos6502.narrow import attention as narrow_attention
from anachron.kernels.mos6502.narrow import cache as narrow_cache
from anachron.kernels.mos6502.narrow import guard as narrow_guard
from anachron.kernels.mos6502.narrow import slow as narrow_slow
from anachron.kernels.mos6502.residue import attention as residue_attention
from anachron.kernels.reference import attention as meant_attention


def attention_bench(size, heads, n_rows, table, shifts):
    caches = len(shifts)
    shape = narrow_cache.Shape("att", size, heads, n_rows)
    mixer = narrow_attention.Mixer(shape, tuple(sorted(set(shifts))), "exponential")
    assert not any(narrow_attention.applicable(shift, len(table)) for shift in shifts)
    bench = ResidueBench()
    for number in range(caches):
        bench.pages("att_cache" + (f"_{number}" if number else ""), bytes(shape.cache_bytes))
    for name in ("scores_low", "scores_high", "scores_top", "weights"):
        bench.pages(f"att_{name}", bytes(heads * n_rows))
    for name in ("low", "high", "top"):
        bench.pages(f"att_sums_{name}", bytes(size))
    bench.pages("narrow_squares", narrow_guard.squares())
    for name, content in mixer.tables.items():
        bench.pages(name, content)
    bench.pages("exponential", np.asarray(table, np.uint8).tobytes().ljust(256, b"\0"))
    bench.data("att_limits", narrow_attention.limits(shape))
    bench.data("position", bytes(1))
    q, k, v, out = (bench.vector(name, np.zeros(size, int), 8) for name in ("q", "k", "v", "made"))
    text = "\n".join(
        [
            narrow_cache.keep_key(shape),
            narrow_cache.keep_value(shape),
            narrow_attention.attend(mixer),
            narrow_slow.slow_scores(mixer),
            narrow_slow.slow_mix(mixer),
        ]
    )
    if caches > 1:
        text = residue_attention.relocate(shape.name, shape.cache_pages, text)
    bench.add(
        text,
        narrow_slow.narrow_add(),
        *(
            narrow_attention.call(mixer, f"mix{number}", q, out, shift)
            for number, shift in enumerate(shifts)
        ),
        narrow_cache.call_keep(shape, "keep_v", "value", v),
    )
    for number in range(caches):
        select = ("att_cache" + (f"_{number}" if number else "")) if caches > 1 else ""
        bench.add(narrow_cache.call_keep(shape, f"keep_k{number}", "key", k, select))
    return bench.start(), mixer


@pytest.mark.parametrize("more", ((), (0,), (-1,)))
@pytest.mark.parametrize(
    ("size", "heads", "n_rows", "shift", "entries", "top", "spread"),
    (
        (32, 4, 19, 6, 128, 31, 30),
        (32, 4, 19, 5, 256, 31, 45),
        (64, 2, 33, 8, 256, 13, 50),
        (15, 5, 7, 2, 64, 255, 20),
        (6, 1, 40, 1, 128, 90, 8),
    ),
)
def test_attention_of_any_int8_is_exact(more, size, heads, n_rows, shift, entries, top, spread):
    shifts = [shift, *(shift + less if shift + less else 2 for less in more)]
    rng = np.random.default_rng(size + n_rows)
    table = exp_table(entries, 16, top)
    table[-1] = 0
    bench, mixer = attention_bench(size, heads, n_rows, table, shifts)
    past = [([], []) for _ in shifts]
    for position in range(n_rows):
        for number, (keys, mixed) in enumerate(past):
            large = 128 if position % 7 == 5 else spread
            q, k, v = (
                np.clip(np.round(rng.normal(0, s, size)), -128, 127).astype(int)
                for s in (large, large, 2 * spread)
            )
            if position % 11 == 9:
                k[:], q[:], v[:] = -128, -128, rng.choice((-128, 127), size)
            keys.append(k)
            mixed.append(v)
            bench.machine.memory[bench.symbols["position"]] = position
            for name, x in (("q", q), ("k", k), ("v", v)):
                bench.set(name, x, 8)
            bench.call(f"keep_k{number}", {})
            bench.call("keep_v", {})
            usual = {"seen": position + 1, "short_heads": 0.9, "light_heads": 0.9}
            bench.call(f"mix{number}", usual)
            meant = meant_attention.attention(
                q[None],
                np.array(keys),
                np.array(mixed),
                heads=heads,
                kv_heads=heads,
                causal=True,
                first=position,
                score_shift=shifts[number],
                table=table,
                bits=8,
            )
            assert bench.read("made", size, 8).tolist() == meant[0].tolist(), position
