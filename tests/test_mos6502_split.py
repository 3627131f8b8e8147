"""Attention of int16 vectors kept as two bytes against its meaning, at the ends of its ranges."""

import numpy as np
import pytest
from test_mos6502_kernels import Bench

import anachron.compiler as ac
from anachron.kernels.mos6502.residue import levels as residue_levels
from anachron.kernels.mos6502.residue import moduli as residues
from anachron.kernels.mos6502.split import attention as split_attention
from anachron.kernels.mos6502.split.shape import MOST_UNITS, UNIT, Mixer, Shape
from anachron.kernels.reference import attention as meant_attention


class SplitBench(Bench):
    """A bench with the residues' tables, and data that starts on pages."""

    def __init__(self, small):
        super().__init__()
        tables = residues.make_tables()
        for name in residue_levels.SHARED:
            self.pages(name, tables[name])
        for name, content in residue_levels.make_tables(small).items():
            self.pages(name, content)
        for name, content in residue_levels.turns(small).items() if small else ():
            self.pages(name, content)

    def pages(self, name, content):
        self.at = (self.at + 255) & ~255
        return self.data(name, content)


def make_bench(shape, shifts, table):
    mixer = Mixer(shape, shifts, "exponential", len(table))
    bench = SplitBench(shape.small)
    for number in range(shape.caches):
        bench.pages("att_cache" + (f"_{number}" if number else ""), bytes(shape.cache_bytes))
    if not shape.apart:
        bench.pages("att_values", bytes(shape.value_bytes))
    for name, size in (shape.kept | shape.asked | shape.weighed).items():
        bench.data(name, bytes(size))
    bench.data("exponential", np.asarray(table, np.uint8).tobytes())
    bench.data("position", bytes(1))
    for number in range(shape.caches):
        q, out = (bench.vector(f"{n}{number}", np.zeros(shape.size, int), 16) for n in ("q", "o"))
        k, v = (bench.vector(f"{n}{number}", np.zeros(shape.kv_size, int), 16) for n in ("k", "v"))
        label = "att_cache" + (f"_{number}" if number else "") if shape.caches > 1 else ""
        bench.add(
            split_attention.call(
                mixer, f"mix{number}", shifts[number % len(shifts)], q, out, number, label
            ),
            split_attention.call_keep(shape, f"keep_k{number}", "key", k, number, label),
            split_attention.call_keep(shape, f"keep_v{number}", "value", v, number),
        )
    bench.add(split_attention.attend(mixer))
    return bench.start(), mixer


def exponential(entries, last=0):
    table = np.maximum(1, np.round(255 * np.exp(-np.arange(entries) / 16))).astype(int)
    table[0], table[-1] = 255, last
    return table


def vectors(rng, size, kind):
    """Vectors of a kind: usual ones, those at the ends of the range, those of one sign."""
    match kind:
        case "usual":
            return np.clip(rng.normal(0, 6000, size), -32768, 32767).astype(int)
        case "ends":
            return rng.choice([-32768, 32767, -32767, -1, 0, 1, 255, -256], size)
        case "none":  # all rows weigh the most
            return np.zeros(size, int)
        case "least":
            return np.full(size, -32768)
        case "most":
            return np.full(size, 32767)
        case "edge":  # a head as long as three chains allow, or a unit more
            x = np.full(size, 256 * (MOST_UNITS * UNIT // 256 // size) - 1)
            return x * rng.choice([-1, 1], size)
    return rng.integers(-32768, 32768, size)


KINDS = ("usual", "ends", "any", "least", "usual", "most", "edge", "usual", "any")


@pytest.mark.parametrize(
    "heads, kv_heads, head, n_rows, small, four, causal, caches, shifts, entries, value_bits",
    (
        (4, 4, 8, 39, 41, True, True, 2, (21, 20), 256, 16),
        (4, 2, 8, 25, 13, True, True, 2, (20,), 256, 16),
        (4, 4, 8, 39, 41, False, True, 2, (21, 20), 256, 16),
        (4, 4, 8, 31, None, False, True, 2, (21,), 256, 16),
        (4, 2, 3, 9, 7, False, False, 2, (19, 20), 256, 16),
        (1, 1, 16, 8, 49, True, False, 1, (21,), 256, 16),
        (2, 2, 4, 5, 31, True, True, 1, (24,), 256, 16),
        (6, 3, 1, 9, 13, True, True, 3, (16, 24, 17), 200, 16),
        (3, 1, 7, 4, 47, True, False, 1, (18,), 100, 16),
        (5, 5, 24, 3, 37, True, True, 2, (22,), 128, 16),
        (4, 4, 8, 12, None, False, True, 2, (21, 20), 256, 12),
        (2, 1, 6, 17, 31, True, True, 1, (20,), 200, 9),
        (1, 1, 4, 39, None, False, True, 1, (21,), 256, 11),
        (1, 1, 2, 39, 41, False, True, 1, (21,), 256, 11),
        (3, 3, 4, 6, 29, False, False, 2, (19,), 256, 11),
    ),
)
def test_attention_is_exact_for_any_vectors(
    heads, kv_heads, head, n_rows, small, four, causal, caches, shifts, entries, value_bits
):
    sizes = (heads, kv_heads, head, n_rows, small)
    shape = Shape("att", *sizes, four, causal, caches, value_bits)
    longest = min(head * 32768, 1 << 24)
    most = split_attention.highest_sum(longest)
    assert not four or residue_levels.widest(small).holds(-most, most)
    rng = np.random.default_rng(heads * head + n_rows)
    table = exponential(entries, 3 if entries == 128 else 0)
    bench, mixer = make_bench(shape, shifts, table)
    keys = [[] for _ in range(caches)]
    values = [[] for _ in range(caches)]

    def keep(position):
        bench.machine.memory[bench.symbols["position"]] = position
        for c in range(caches):
            k = vectors(rng, shape.kv_size, KINDS[(position + 2 * c) % len(KINDS)])
            v = vectors(rng, shape.kv_size, KINDS[(position * 4 + c) % len(KINDS)])
            v >>= 16 - value_bits
            keys[c].append(k)
            values[c].append(v)
            bench.set(f"k{c}", k, 16)
            bench.set(f"v{c}", v, 16)
            bench.call(f"keep_k{c}", {})
            bench.call(f"keep_v{c}", {})
            if causal:
                mix(position, c)

    def mix(position, c):
        for kind in (KINDS[position % len(KINDS)], "same", "edge", "none"):
            q = vectors(rng, shape.size, kind)
            if kind == "same":
                q = np.repeat(keys[c][-1].reshape(kv_heads, head), heads // kv_heads, 0).ravel()
                q = q // (1 + position % 5)
            bench.set(f"q{c}", q, 16)
            shift = shifts[c % len(shifts)]
            bench.call(f"mix{c}", {"seen": len(keys[c])} | mixer.environment(shift))
            meant = meant_attention.attention(
                q[None],
                np.array(keys[c]),
                np.array(values[c]),
                heads=heads,
                kv_heads=kv_heads,
                causal=causal,
                first=position,
                score_shift=shift,
                table=table,
                bits=16,
            )
            found = bench.read(f"o{c}", shape.size, 16)
            assert found.tolist() == meant[0].tolist(), (position, c, kind)

    for position in range(n_rows):
        keep(position)
    if not causal:
        for position in range(n_rows):
            bench.machine.memory[bench.symbols["position"]] = position
            mix(position, 0)


@pytest.mark.parametrize(
    ("name", "contract", "way"),
    (("chat", "attention", "bytes, residues"), ("gpt2", "matvec", "residues")),
)
def test_programs_have_room_for_their_fastest_kernels(name, contract, way):
    image = ac.build(ac.quantize(ac.load(name)), "c64")
    ways = [call.variant for call in image.calls if call.kernel == contract]
    assert ways and all(found.startswith(way) for found in ways)


def test_only_a_program_with_a_temperature_has_a_sampler():
    reverse, chat = (ac.quantize(ac.load(name)) for name in ("reverse", "chat"))
    assert "rank_weights" not in ac.build(reverse, "c64").symbols
    drawn = ac.build(chat, "c64", sampling=ac.Sampling(0.8))
    assert "rank_weights" in drawn.symbols
    image = ac.build(chat, "c64")
    assert "rank_weights" not in image.symbols
    run = image.run("hi", n=2, temperature=0.8, seed=3)
    assert run.generated == ac.run_reference(chat, "hi", 2, ac.Sampling(0.8, seed=3)).generated
