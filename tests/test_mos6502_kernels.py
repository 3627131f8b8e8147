"""Every 6502 kernel against its meaning in kernels/reference: equal integers, any values.

A kernel is assembled with the routines that it calls, run on the bare emulated CPU, and its result
read back from memory.
"""

import numpy as np
import pytest

from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.timing import predict
from anachron.emulators import create
from anachron.kernels.arithmetic import exp_table, isqrt
from anachron.kernels.mos6502 import (
    activation,
    arithmetic,
    attention,
    cache,
    embedding,
    matvec,
    norm,
    rope,
    sampling,
    zeropage,
)
from anachron.kernels.mos6502.instructions import Vector
from anachron.kernels.reference import activation as meant_activation
from anachron.kernels.reference import attention as meant_attention
from anachron.kernels.reference import embedding as meant_embedding
from anachron.kernels.reference import matvec as meant_matvec
from anachron.kernels.reference import norm as meant_norm
from anachron.kernels.reference import sampling as meant_sampling

CODE, DATA = 0x0801, 0x4000
PAGES = {
    "products_low": 0xF000,
    "products_high": 0xF200,
    "operand": 0xE000,
    "query": 0xE800,
    "scores": 0xEA00,
    "weights": 0xEF00,
}


class Bench:
    """A 6502 with the tables filled, vectors in its memory, and kernels to call."""

    def __init__(self):
        self.at = DATA
        self.symbols = dict(PAGES)
        self.texts = [
            arithmetic.fill_products(),
            arithmetic.multiply(),
            arithmetic.multiply_byte(),
            arithmetic.divide(),
            arithmetic.isqrt(),
            matvec.shift_total(),
        ]
        self.texts += [arithmetic.saturate(bits, n) for bits in (8, 16) for n in (2, 3, 4)]
        self.memory = []
        self.machine = None

    def add(self, *texts):
        self.texts += texts

    def data(self, name, data):
        """Bytes at a label of their own."""
        self.symbols[name] = self.at
        self.memory.append((self.at, bytes(data)))
        self.at += len(bytes(data))
        return name

    def vector(self, name, values, bits):
        values = np.asarray(values).ravel()
        self.data(f"{name}_low", (values & 0xFF).astype(np.uint8).tobytes())
        self.data(f"{name}_high", (values >> 8 & 0xFF).astype(np.uint8).tobytes())
        return Vector(f"{name}_low", f"{name}_high", len(values), bits)

    def set(self, name, values, bits=16):
        for part, shift in (("low", 0), ("high", 8))[: bits // 8]:
            at = self.symbols[f"{name}_{part}"]
            self.machine.memory[at : at + len(values)] = np.asarray(values) >> shift & 0xFF

    def start(self):
        head = f"* = ${CODE:04x}\n{zeropage.definitions()}\n"
        self.program = assemble("\n".join([head, *self.texts]), symbols=self.symbols)
        self.machine = create("6502")
        for address, data in (*self.program.segments, *self.memory):
            self.machine.memory[address : address + len(data)] = np.frombuffer(data, np.uint8)
        self.call("fill_products")
        return self

    def call(self, label, environment=None):
        """Call a routine; its time must lie within the prediction."""
        machine = self.machine
        machine.memory[0x01FE], machine.memory[0x01FF] = 0xFE, 0xFF  # RTS goes to $FFFF
        machine.registers["s"] = 0xFD
        machine.registers["pc"] = self.program.symbols[label]
        before = machine.cycles
        machine.run(max_cycles=200_000_000, until=0xFFFF)
        assert machine.registers["pc"] == 0xFFFF
        took = machine.cycles - before
        if environment is not None:
            least, _, most = predict(self.program, label, environment=environment)
            assert least <= took <= most
        return took

    def read(self, name, size, bits):
        memory, at = self.machine.memory, self.symbols[f"{name}_low"]
        low = np.array(memory[at : at + size], np.uint8)
        if bits == 8:
            return low.view(np.int8).astype(np.int64)
        at = self.symbols[f"{name}_high"]
        high = np.array(memory[at : at + size], np.uint16)
        return (low | high << 8).view(np.int16).astype(np.int64)

    def word(self, name, n_bytes):
        at = self.program.symbols[name]
        return int.from_bytes(bytes(self.machine.memory[at : at + n_bytes]), "little")


def numbers(rng, size, bits, kind):
    """Random numbers, small ones, or only the extremes."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    match kind:
        case "any":
            return rng.integers(low, high + 1, size)
        case "small":
            return rng.integers(-3, 4, size)
        case "lowest":
            return np.full(size, low)
        case "highest":
            return np.full(size, high)
        case "extremes":
            return rng.choice([low, high, 0, -1], size)


KINDS = ("any", "small", "lowest", "highest", "extremes")


def test_products_of_all_extreme_words():
    bench = Bench().start()
    for a in (0, 1, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x1234):
        for b in (0, 1, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0xFEDC):
            for label, signed in (("multiply", False), ("multiply_signed", True)):
                for name, value in (("factor_a", a), ("factor_b", b)):
                    at = bench.program.symbols[name]
                    bench.machine.memory[at : at + 2] = [value & 255, value >> 8]
                bench.call(label, {})
                x, y = (((v ^ 0x8000) - 0x8000) if signed else v for v in (a, b))
                assert bench.word("total", 4) == x * y % (1 << 32)


def test_quotients_and_roots():
    bench = Bench().start()
    rng = np.random.default_rng(1)
    pairs = [(0, 1), (0xFFFFFFFF, 1), (0xFFFFFFFF, 0xFFFF), (1 << 24, 3), (0x7FFFFFFF, 0x8000)]
    pairs += [(int(rng.integers(1 << 32)), int(rng.integers(1, 1 << 16))) for _ in range(20)]
    total, divisor = (bench.program.symbols[n] for n in ("total", "divisor"))
    for a, b in pairs:
        bench.machine.memory[total : total + 4] = list(a.to_bytes(4, "little"))
        bench.machine.memory[divisor : divisor + 2] = list(b.to_bytes(2, "little"))
        bench.call("divide", {})
        assert bench.word("total", 4) == a // b
        if a >> 16 < b:
            bench.machine.memory[total : total + 4] = list(a.to_bytes(4, "little"))
            bench.call("divide_short", {})
            assert bench.word("total", 2) == a // b
        bench.machine.memory[total : total + 4] = list(a.to_bytes(4, "little"))
        bench.call("isqrt", {})
        assert bench.word("root", 2) == int(isqrt(np.int64(a)))


@pytest.mark.parametrize("columns", (1, 7, 32, 255, 256, 257, 520))
@pytest.mark.parametrize("bits, result_bits", ((16, 16), (8, 16), (8, 8), (16, 8)))
def test_matvec(columns, bits, result_bits):
    rng = np.random.default_rng(columns + bits)
    n_rows = 5 if columns > 200 else 9
    weight = numbers(rng, (n_rows, columns), 8, "any")
    weight[0], weight[1] = -128, 127
    if columns > 400:
        weight //= 3  # 32 bits hold no more
    largest = (np.abs(weight).sum(1) << bits - 1).max()
    room = (1 << 31) - 1 - int(largest)
    bias = rng.integers(-room, room + 1, n_rows)
    shift = rng.integers(0, 32, n_rows)
    shift[:2] = 0, 31
    bench = Bench()
    x = bench.vector("x", np.zeros(columns, int), bits)
    out = bench.vector("result", np.zeros(n_rows, int), result_bits)
    bench.data("matrix", matvec.pack_rows(weight, bias, shift, bits))
    bench.add(
        matvec.prepare(columns, bits),
        matvec.rows(columns, bits, result_bits),
        matvec.call("op", x, out, "matrix", False),
    )
    bench.start()
    environment = {"rows": n_rows, "shift_bytes": (0, 1, 3), "shift_bits": (0, 3, 7)}
    for kind in KINDS:
        values = numbers(rng, columns, bits, kind)
        bench.set("x", values, bits)
        bench.call("op", environment)
        meant = meant_matvec.matvec(
            values[None], weight=weight, bias=bias, shift=shift, bits=result_bits
        )[0]
        assert bench.read("result", n_rows, result_bits).tolist() == meant.tolist(), kind


def test_matvec_of_more_than_256_rows():
    rng = np.random.default_rng(3)
    weight, x_values = rng.integers(-128, 128, (512, 3)), np.array([-32768, 32767, 77])
    bench = Bench()
    x, out = bench.vector("x", x_values, 16), bench.vector("result", np.zeros(512, int), 16)
    shift, bias = np.full(512, 7), np.arange(512)
    bench.data("matrix", matvec.pack_rows(weight, bias, shift, 16))
    bench.add(
        matvec.prepare(3, 16), matvec.rows(3, 16, 16), matvec.call("op", x, out, "matrix", False)
    )
    bench.start().call("op", {"rows": 512, "shift_bytes": 0, "shift_bits": 7})
    meant = meant_matvec.matvec(x_values[None], weight=weight, bias=bias, shift=shift, bits=16)
    assert bench.read("result", 512, 16).tolist() == meant[0].tolist()


@pytest.mark.parametrize("bits", ((16, 16, 16), (8, 16, 16), (8, 8, 8), (16, 16, 8), (8, 8, 16)))
@pytest.mark.parametrize("size", (1, 7, 256, 300))
def test_add(size, bits):
    rng = np.random.default_rng(size)
    bench = Bench()
    a, b, out = (bench.vector(n, np.zeros(size, int), k) for n, k in zip("abo", bits, strict=True))
    bench.add(embedding.add("op", a, b, out))
    bench.start()
    for kind in KINDS:
        left, right = (numbers(rng, size, k, kind) for k in bits[:2])
        bench.set("a", left, bits[0])
        bench.set("b", right, bits[1])
        bench.call("op", {})
        meant = meant_embedding.add(left, right, bits=bits[2])
        assert bench.read("o", size, bits[2]).tolist() == meant.tolist()


@pytest.mark.parametrize(
    "shift, bits", ((0, 16), (3, 16), (6, 16), (8, 16), (9, 16), (-2, 16), (2, 8), (0, 8))
)
@pytest.mark.parametrize("rows, dim, storage", ((3, 1, 8), (5, 7, 16), (300, 33, 8), (2, 300, 16)))
def test_embed(shift, bits, rows, dim, storage):
    rng = np.random.default_rng(dim)
    table = numbers(rng, (rows, dim), storage, "any")
    kept, left = embedding.pack_table(table, shift, bits)
    bench = Bench()
    wide = 8 if -128 <= kept.min() and kept.max() <= 127 else 16
    if left == 0 and bits == 16:
        wide = 16
    stored = bench.vector("table", kept, wide)
    out = bench.vector("result", np.zeros(dim, int), bits)
    index = bench.data("place", bytes(2))
    width = 2 if rows > 256 else 1
    bench.add(embedding.embed("op", index, width, out, stored, left))
    bench.start()
    for row in (0, rows // 2, rows - 1):
        at = bench.symbols["place"]
        bench.machine.memory[at : at + 2] = [row & 255, row >> 8]
        bench.call("op", {})
        meant = meant_embedding.embed(np.array([row]), table=table, shift=shift, bits=bits)[0]
        assert bench.read("result", dim, bits).tolist() == meant.tolist()


@pytest.mark.parametrize("bits", ((16, 16), (8, 8), (16, 8), (8, 16)))
@pytest.mark.parametrize("size", (1, 7, 257))
def test_relu(size, bits):
    rng = np.random.default_rng(size)
    bench = Bench()
    x, out = (
        bench.vector("x", np.zeros(size, int), bits[0]),
        bench.vector("result", np.zeros(size, int), bits[1]),
    )
    bench.add(activation.relu("op", x, out))
    bench.start()
    for kind in KINDS:
        values = numbers(rng, size, bits[0], kind)
        bench.set("x", values, bits[0])
        bench.call("op", {})
        meant = meant_activation.relu(values, bits=bits[1])
        assert bench.read("result", size, bits[1]).tolist() == meant.tolist()


@pytest.mark.parametrize("shift, tail", ((0, 0), (5, 3), (8, 0)))
@pytest.mark.parametrize("bits", (16, 8))
def test_lookup(shift, tail, bits):
    rng = np.random.default_rng(shift)
    table = numbers(rng, 257, 16, "any")
    table[100:104] = 32767, -32768, 32767, -32768
    values = np.concatenate([numbers(rng, 200, 16, k) for k in KINDS])
    values = np.concatenate([values, np.arange(-600, 600, 7), np.arange(-130, 130) << shift])
    values = np.clip(values, -32768, 32767)
    bench = Bench()
    x, out = bench.vector("x", values, 16), bench.vector("result", values, bits)
    points = bench.vector("table", table, 16)
    bench.add(activation.lookup("op", x, out, points, shift, tail))
    bench.start().call("op", {})
    meant = meant_activation.lookup(values, table=table, shift=shift, tail=tail, bits=bits)
    assert bench.read("result", len(values), bits).tolist() == meant.tolist()


@pytest.mark.parametrize("shift", (0, 7, 15))
@pytest.mark.parametrize("bits", ((16, 16, 16), (8, 16, 8), (8, 8, 16)))
def test_multiply(shift, bits):
    rng = np.random.default_rng(shift)
    a, b = (np.concatenate([numbers(rng, 60, k, kind) for kind in KINDS]) for k in bits[:2])
    bench = Bench()
    x, y = bench.vector("x", a, bits[0]), bench.vector("y", b, bits[1])
    out = bench.vector("result", a, bits[2])
    bench.add(activation.multiply("op", x, y, out, shift))
    bench.start().call("op", {})
    meant = meant_activation.multiply(a, b, shift=shift, bits=bits[2])
    assert bench.read("result", len(a), bits[2]).tolist() == meant.tolist()


NORMS = (
    {"pre_shift": 4, "root_shift": 0, "reciprocal_bits": 19},
    {"pre_shift": 4, "root_shift": 8, "reciprocal_bits": 24},
    {"pre_shift": 0, "root_shift": 0, "reciprocal_bits": 15},
)


@pytest.mark.parametrize("shifts", NORMS)
@pytest.mark.parametrize(
    "size, gain_shift, bits", ((1, 6, 16), (7, 0, 8), (32, 5, 16), (256, 7, 16))
)
@pytest.mark.parametrize("centre", (False, True))
def test_norms(shifts, size, gain_shift, bits, centre):
    if size > 4 and not shifts["pre_shift"]:
        pytest.skip("the squares would leave 32 bits")
    rng = np.random.default_rng(size)
    gain, bias = numbers(rng, size, 8, "any"), numbers(rng, size, 16, "any")
    bench = Bench()
    x, out = bench.vector("x", gain, 16), bench.vector("result", gain, bits)
    label = bench.data("gain", (gain & 255).astype(np.uint8).tobytes())
    if centre:
        kept = bench.vector("centred", gain, 16)
        bench.add(
            norm.layer_norm(
                "op", x, out, kept, label, gain_shift, bench.vector("bias", bias, 16), **shifts
            )
        )
    else:
        bench.add(norm.rms_norm("op", x, out, label, gain_shift, **shifts))
    bench.start()
    for kind in KINDS:
        values = numbers(rng, size, 16, kind)
        bench.set("x", values)
        bench.call("op", {})
        if centre:
            meant = meant_norm.layer_norm(
                values[None], gain=gain, gain_shift=gain_shift, bias=bias, bits=bits, **shifts
            )
        else:
            meant = meant_norm.rms_norm(
                values[None], gain=gain, gain_shift=gain_shift, bits=bits, **shifts
            )
        assert bench.read("result", size, bits).tolist() == meant[0].tolist(), kind


ATTENTIONS = (  # heads, kv_heads, size, rows, q, k, v, result bits, score_shift, entries
    (4, 4, 8, 20, 16, 16, 16, 16, 14, 128),
    (1, 1, 16, 8, 16, 16, 16, 16, 10, 256),
    (4, 2, 5, 9, 8, 8, 8, 8, 3, 256),
    (2, 1, 7, 6, 8, 16, 16, 8, 0, 60),
    (2, 2, 1, 256, 16, 8, 8, 16, 22, 256),
)


@pytest.mark.parametrize("causal", (True, False))
@pytest.mark.parametrize(
    "heads, kv_heads, size, n, q, k, v, bits, score_shift, entries", ATTENTIONS
)
def test_attention(heads, kv_heads, size, n, q, k, v, bits, score_shift, entries, causal):
    rng = np.random.default_rng(size)
    kv = kv_heads * size
    table = exp_table(entries, 16, 255)
    bench = Bench()
    query = bench.vector("q", np.zeros(heads * size, int), q)
    key, value = (bench.vector(m, np.zeros(kv, int), b) for m, b in (("k", k), ("v", v)))
    out = bench.vector("result", np.zeros(heads * size, int), bits)
    bench.data("table", table.astype(np.uint8).tobytes())
    for label in ("keys_low", "keys_high", "values_low", "values_high"):
        bench.data(label, bytes(n * kv))
    bench.data("keys_fix", bytes(5 * n * kv_heads))
    bench.data("values_fix", bytes(4 * kv))
    bench.data("position", bytes(1))
    keys = cache.Keys("keys_low", "keys_high", "keys_fix", kv, k, kv_heads)
    values = cache.Values("values_low", "values_high", "values_fix", kv, v, kv_heads, n)
    text = attention.attention(
        "op", "position", query, out, keys, values, heads, causal, score_shift, 5, "table", entries
    )
    bench.add(
        *{cache.take_head(size, q, k), cache.take_head(size, k, q)},
        text,
        cache.store_key("keep_k", "position", key, keys, q),
        cache.store_value("keep_v", "position", value, values),
    )
    bench.start()
    for kind in ("any", "extremes", "highest", "lowest"):
        if n > 200 and kind != "any":
            continue
        qs, ks, vs = (
            numbers(rng, (n, w), b, kind) for w, b in ((heads * size, q), (kv, k), (kv, v))
        )
        rows = range(n) if n < 50 else (0, 100, n - 1)
        at = bench.symbols["position"]
        got = np.zeros((n, heads * size), int)
        for stage in ("keep", "attend"):
            for row in range(n):
                bench.machine.memory[at] = row
                if stage == "keep":
                    bench.set("k", ks[row], k)
                    bench.set("v", vs[row], v)
                    bench.call("keep_k", {})
                    bench.call("keep_v", {})
                if row in rows and (stage == "attend") != causal:
                    bench.set("q", qs[row], q)
                    bench.call("op", {"seen": row + 1 if causal else n})
                    got[row] = bench.read("result", heads * size, bits)
        meant = meant_attention.attention(
            qs,
            ks,
            vs,
            heads=heads,
            kv_heads=kv_heads,
            causal=causal,
            first=0,
            score_shift=score_shift,
            table=table,
            bits=bits,
        )
        assert got[list(rows)].tolist() == meant[list(rows)].tolist(), kind


@pytest.mark.parametrize("heads, size, interleaved", ((1, 2, True), (3, 8, True), (3, 8, False)))
@pytest.mark.parametrize("bits", ((16, 16), (8, 8), (16, 8)))
def test_rope(heads, size, interleaved, bits):
    rng = np.random.default_rng(size)
    cosine, sine = (numbers(rng, (6, size // 2), 16, "any") for _ in range(2))
    bench = Bench()
    x = bench.vector("x", np.zeros(heads * size, int), bits[0])
    out = bench.vector("result", np.zeros(heads * size, int), bits[1])
    tables = bench.vector("cosine", cosine, 16), bench.vector("sine", sine, 16)
    bench.data("position", bytes(1))
    bench.add(rope.rope("op", "position", x, out, *tables, heads, interleaved))
    bench.start()
    for row, kind in enumerate(KINDS):
        values = numbers(rng, heads * size, bits[0], kind)
        bench.set("x", values, bits[0])
        bench.machine.memory[bench.symbols["position"]] = row
        bench.call("op", {})
        meant = meant_attention.rope(
            values[None],
            np.array([row]),
            cosine=cosine,
            sine=sine,
            heads=heads,
            interleaved=interleaved,
            bits=bits[1],
        )
        assert bench.read("result", heads * size, bits[1]).tolist() == meant[0].tolist(), kind


@pytest.mark.parametrize("size, first_id, frac", ((2, 0, 8), (31, 4, 11), (256, 0, 0), (600, 3, 8)))
def test_argmax_and_sample(size, first_id, frac):
    rng = np.random.default_rng(size)
    bench = Bench()
    width = 1 if size <= 256 else 2
    logits = bench.vector("logits", np.zeros(size, int), 16)
    for name, n in (
        ("next_token", 2),
        ("random_state", 4),
        ("top_p", 2),
        ("ranks", size),
        ("inverse_temperature", 2),
        ("rank_counts", sampling.count_bytes(size)),
    ):
        bench.data(name, bytes(n))
    bench.data("rank_weights", sampling.rank_weights())
    bench.add(
        sampling.argmax(logits, first_id, width),
        sampling.next_random(),
        sampling.sample(logits, frac, first_id, width),
    )
    bench.start()

    def deposit(name, value, n):
        at = bench.symbols[name]
        bench.machine.memory[at : at + n] = list(value.to_bytes(n, "little"))

    for kind in KINDS:
        for inverse, top_p in ((256, 256), (40, 230), (65535, 1), (1, 100), (300, 255)):
            values = numbers(rng, size, 16, kind) >> rng.integers(0, 8)
            bench.set("logits", values)
            bench.call("argmax", {})
            largest = meant_sampling.argmax(values, first_id=first_id)
            assert bench.word("next_token", width) == largest
            state = int(rng.integers(1, 1 << 32))
            deposit("random_state", state, 4)
            deposit("top_p", top_p, 2)
            deposit("inverse_temperature", inverse, 2)
            bench.call("sample")
            token, state = meant_sampling.sample(
                values, state, frac=frac, inverse=inverse, top_p=top_p, first_id=first_id
            )
            assert bench.word("next_token", width) == token, (kind, inverse, top_p)
            assert bench.word("random_state", 4) == state
