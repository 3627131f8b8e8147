"""Every PDP-11 kernel gives the integers of its contract, on both machines."""
import numpy as np
import pytest

from anachron.compiler.assembly.program import Program
from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.compiler.targets.pdp11.sections import code, compose, data, reserve, words
from anachron.emulators import create
from anachron.kernels.arithmetic import exp_table, isqrt
from anachron.kernels.pdp11 import (
    activation,
    arithmetic,
    attention,
    embedding,
    matvec,
    norm,
    rope,
)
from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.sampling import argmax, sample
from anachron.kernels.reference import activation as activation_meaning
from anachron.kernels.reference import attention as attention_meaning
from anachron.kernels.reference import embedding as embedding_meaning
from anachron.kernels.reference import matvec as matvec_meaning
from anachron.kernels.reference import norm as norm_meaning
from anachron.kernels.reference import sampling as sampling_meaning

MACHINES = {"pdp11/34a": Cpu(True), "pdp11/20": Cpu(False)}
EXTREMES = np.array([-32768, 32767, -32767, 0, 1, -1, 255, 256, -256, 128, -128, 127, -129])
VARIABLES = {
    name: 0
    for name in (
        "position", "norm.inverse", "wide.high", "next_token", "random_state", "random_state_high",
        "inverse_temperature", "top_p", "sample.largest", "kept", "kept_low", "cut.rank",
        "cut.count",
        *(f"att.{cell}" for cell in attention.CELLS),
    )
}  # fmt: skip

both = pytest.mark.parametrize("machine", MACHINES)
storage = pytest.mark.parametrize("bits", [8, 16])


def words_of(values) -> bytes:
    return np.asarray(values, np.int64).astype("<i2").tobytes()


def execute(program: Program, machine: str):
    """Run a program to its HALT; its memory, in bytes."""
    emulated = create(machine)
    for address, content in program.segments:
        emulated.memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    emulated.registers["pc"] = program.entry
    emulated.run(max_instructions=20_000_000)
    return np.array(emulated.memory, np.uint8)


def run(machine, routine, name, tables, n_out, variables=None, shared=(), entry=""):
    """Call a kernel that reads `tables` (label -> bytes); the words at y, and variables."""
    cpu = MACHINES[machine]
    sections = [
        code("start", f"start: MOV #1000,SP\n{entry}\nJSR PC,{name}\nHALT"),
        code(name, routine),
        code("divide", arithmetic.divide(cpu)),
        code("isqrt", arithmetic.isqrt(cpu)),
        code("att.wide", attention.wide(cpu)),
        *shared,
        words("variables", VARIABLES | (variables or {})),
        *(data(label, label, content, "table") for label, content in tables.items()),
        reserve("y", "y", n_out, "buffer"),
        reserve("scores", "scores", 300, "buffer"),
        reserve("wide.scores", "wide.scores", 900, "buffer"),
        reserve("centred", "centred", 300, "buffer"),
        reserve("ranks", "ranks", 300, "buffer"),
        reserve("counts", "counts", 256, "buffer"),
    ]
    if not cpu.multiplies:
        sections.insert(2, code("multiply", arithmetic.multiply()))
        sections.insert(3, code("multiply.byte", arithmetic.multiply_byte()))
    program = assemble(compose(name, 0o1000, "start", sections), machine=machine)
    memory = execute(program, machine)
    at = program.symbols["Y"]
    found = memory[at : at + 2 * n_out].view("<i2").astype(np.int64)
    symbols = {label.lower(): value for label, value in program.symbols.items()}
    return found, {
        label: int(memory[value : value + 2].view("<u2")[0])
        for label, value in symbols.items()
        if label in VARIABLES
    }


def numbers(seed: int, size: int, bits: int = 16, peak: int | None = None) -> np.ndarray:
    """Random integers with the extremes among them."""
    rng = np.random.default_rng(seed)
    top = peak or 1 << bits - 1
    values = rng.integers(-top, top, size)
    edge = EXTREMES[(EXTREMES >= -top) & (EXTREMES < top)]
    places = rng.integers(0, size, min(size // 2 + 1, len(edge)))
    values[places] = rng.permutation(edge)[: len(places)]
    return values


@both
@pytest.mark.parametrize("n", [1, 7, 40])
def test_products_quotients_and_roots_are_exact(machine, n):
    cpu = MACHINES[machine]
    a, b = numbers(n, n), numbers(n + 1, n)
    table = np.random.default_rng(n).integers(0, 1 << 32, n)
    table[: n // 2] >>= 17
    table[-1] = (1 << 32) - 1
    divisor = (np.abs(b) * 2 + 1) & 0xFFFF
    rows = np.stack([a, b, table >> 16, table & 0xFFFF, divisor], 1)
    loop = f"""\
all: MOV #{n}.,left
    MOV #rows,R5
    MOV #y,R4
each: MOV (R5)+,R0
    {cpu.multiply("(R5)+")}
    MOV R0,(R4)+
    MOV R1,(R4)+
    MOV (R5)+,R2
    MOV (R5)+,R3
    MOV R4,-(SP)
    MOV (R5),R4
    JSR PC,divide
    MOV (SP)+,R4
    MOV R2,(R4)+
    MOV R3,(R4)+
    MOV R1,(R4)+
    MOV R5,-(SP)
    MOV R4,-(SP)
    MOV -4(R5),R2
    MOV -2(R5),R3
    JSR PC,isqrt
    MOV (SP)+,R4
    MOV (SP)+,R5
    TST (R5)+
    MOV R0,(R4)+
    DEC left
    BNE each
    RTS PC
left: .WORD 0"""
    found, _ = run(machine, loop, "all", {"rows": words_of(rows.ravel())}, 6 * n)
    found = found.reshape(n, 6) & 0xFFFF
    product, quotient = (a * b) & 0xFFFFFFFF, table // divisor
    expected = [
        product >> 16, product & 0xFFFF, quotient >> 16, quotient & 0xFFFF, table % divisor,
        isqrt(table),
    ]  # fmt: skip
    assert np.array_equal(found, np.stack(expected, 1))


@both
@storage
@pytest.mark.parametrize("size", [1, 7, 257])
def test_add_saturates(machine, bits, size):
    a, b = numbers(size, size), numbers(size + 1, size)
    cpu = MACHINES[machine]
    text = embedding.add(cpu, "op", a="#a", b="#b", y="#y", size=size, bits=bits)
    found, _ = run(machine, text, "op", {"a": words_of(a), "b": words_of(b)}, size)
    assert np.array_equal(found, embedding_meaning.add(a, b, bits=bits))


@both
@storage
@pytest.mark.parametrize("shift, peak", [(8, 1 << 7), (5, 128), (0, 1 << 15), (-3, 1 << 15)])
def test_embed_takes_a_row(machine, bits, shift, peak):
    table = numbers(shift + 20, 7 * 9, peak=peak).reshape(7, 9)
    form = embedding.store_table(table, shift, bits)
    cpu = MACHINES[machine]
    text = embedding.embed(cpu, "op", index="position", y="#y", table="t", form=form)
    for index in (0, 6):
        found, _ = run(machine, text, "op", {"t": form.data}, 9, {"position": index})
        expected = embedding_meaning.embed(np.array([index]), table=table, shift=shift, bits=bits)
        assert np.array_equal(found, expected[0])


MATRICES = [(1, 1, 0), (7, 7, 9), (3, 255, 8), (2, 256, 16), (2, 257, 31), (5, 8, 1), (4, 6, 2)]


@both
@storage
@pytest.mark.parametrize("variant", ["straight", "shared"])
@pytest.mark.parametrize("n_rows, n_columns, shift", MATRICES)
def test_matvec_is_exact(machine, bits, variant, n_rows, n_columns, shift):
    rng = np.random.default_rng(n_columns)
    weight = rng.integers(-128, 128, (n_rows, n_columns))
    weight[0] = -128
    x = numbers(n_columns, n_columns)
    if n_rows == 2:
        x[:] = -32768
    amount = np.full(n_rows, shift)
    cpu = MACHINES[machine]
    biases = [np.full(n_rows, 1 << shift >> 1 if shift < 31 else 0), rng.integers(-9, 9, n_rows)]
    biases.append(rng.integers(-(1 << 29), 1 << 29, n_rows))
    for bias in biases:
        for amounts in (amount, np.maximum(0, amount - np.arange(n_rows))):
            rows = matvec.find_rows(weight, bias, amounts)
            tables = {"w": matvec.store_rows(rows, weight, bias, amounts), "x": words_of(x)}
            assert len(tables["w"]) == rows.size
            text = matvec.matvec(
                cpu, "op", x="#x", y="#y", weight="w", rows=rows, bits=bits, variant=variant
            )
            dot = code("dot", arithmetic.dot(cpu, {1, n_columns}), f"dot.{n_columns}")
            shared = [dot] if variant == "shared" else []
            found, _ = run(machine, text, "op", tables, n_rows, shared=shared)
            expected = matvec_meaning.matvec(
                x[None], weight=weight, bias=bias, shift=amounts, bits=bits
            )
            assert np.array_equal(found, expected[0])


@both
@storage
def test_relu_keeps_what_is_above_zero(machine, bits):
    x = np.concatenate([EXTREMES, numbers(1, 20)])
    text = activation.relu(MACHINES[machine], "op", x="#x", y="#y", size=len(x), bits=bits)
    found, _ = run(machine, text, "op", {"x": words_of(x)}, len(x))
    assert np.array_equal(found, activation_meaning.relu(x, bits=bits))


@both
@storage
@pytest.mark.parametrize("shift", [0, 1, 7, 8, 15, 16, 31])
def test_multiply_floors_and_saturates(machine, bits, shift):
    a, b = np.tile(EXTREMES, 13), np.repeat(EXTREMES, 13)
    text = activation.multiply(
        MACHINES[machine], "op", a="#a", b="#b", y="#y", size=len(a), shift=shift, bits=bits
    )
    found, _ = run(machine, text, "op", {"a": words_of(a), "b": words_of(b)}, len(a))
    assert np.array_equal(found, activation_meaning.multiply(a, b, shift=shift, bits=bits))


@both
@storage
@pytest.mark.parametrize("shift", [0, 1, 4, 7, 8])
@pytest.mark.parametrize("steep", [False, True])
def test_lookup_follows_its_lines(machine, bits, shift, steep):
    rng = np.random.default_rng(shift)
    points = rng.integers(-32768, 32768, 257) if steep else np.sort(rng.integers(-900, 9000, 257))
    x = np.concatenate([EXTREMES, rng.integers(-(160 << shift), 160 << shift, 60)])
    x = np.clip(np.concatenate([x, np.array([128, -128, 127]) << shift]), -32768, 32767)
    text = activation.lookup(
        MACHINES[machine], "op", x="#x", y="#y", size=len(x), table="t", points=points, shift=shift,
        tail=3, bits=bits,
    )  # fmt: skip
    found, _ = run(machine, text, "op", {"x": words_of(x), "t": words_of(points)}, len(x))
    expected = activation_meaning.lookup(x, table=points, shift=shift, tail=3, bits=bits)
    assert np.array_equal(found, expected)


NORMS = [
    (1, 0, 0, 15), (7, 2, 0, 19), (32, 4, 0, 19), (48, 3, 4, 22), (256, 4, 8, 24), (8, 1, 2, 24),
]  # fmt: skip


@both
@storage
@pytest.mark.parametrize("size, pre_shift, root_shift, reciprocal_bits", NORMS)
@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_norms_are_exact(machine, bits, size, pre_shift, root_shift, reciprocal_bits, kind):
    cpu = MACHINES[machine]
    gain = numbers(size, size, bits=8)
    bias = numbers(size + 2, size, peak=4000)
    attributes = dict(
        gain_shift=6, pre_shift=pre_shift, root_shift=root_shift, reciprocal_bits=reciprocal_bits
    )
    for peak in (1, 40, 3000, 32768):
        x = numbers(size, size, peak=peak)
        tables = {"x": words_of(x), "g": gain.astype(np.int8).tobytes(), "b": words_of(bias)}
        places = dict(x="#x", y="#y", gain="g", size=size, bits=bits)
        if kind == "rms":
            text = norm.rms_norm(cpu, "op", **places, **attributes)
            expected = norm_meaning.rms_norm(x[None], gain=gain, bits=bits, **attributes)
        else:
            text = norm.layer_norm(cpu, "op", bias="b", centred="centred", **places, **attributes)
            expected = norm_meaning.layer_norm(
                x[None], gain=gain, bias=bias, bits=bits, **attributes
            )
        found, _ = run(machine, text, "op", tables, size)
        assert np.array_equal(found, expected[0])


def test_a_norm_that_may_leave_32_bits_is_refused():
    with pytest.raises(ValueError, match="more than 32 bits"):
        norm.rms_norm(
            Cpu(), "op", x="#x", y="#y", gain="g", size=8, gain_shift=6, pre_shift=0, root_shift=0,
            reciprocal_bits=19, bits=16,
        )  # fmt: skip


TABLE = np.maximum(1, exp_table(128, 16, 255))
TABLE[127] = 0
HEADS = [  # heads, kv_heads, size, rows, causal, score_shift, peak
    (1, 1, 1, 1, True, 0, 32768),
    (4, 4, 8, 20, True, 14, 700),
    (1, 1, 16, 8, False, 12, 500),
    (4, 2, 7, 5, True, 14, 30000),
    (6, 2, 4, 3, False, 20, 32768),
    (2, 1, 64, 3, True, 4, 32768),
    (1, 1, 8, 6, True, 0, 4),
    (1, 1, 2, 140, True, 9, 300),
    (2, 1, 16, 6, True, 21, 11000),
    (1, 1, 256, 3, False, 21, 2000),
    (1, 1, 2, 257, False, 12, 32768),
]


@both
@storage
@pytest.mark.parametrize("heads, kv_heads, size, rows, causal, shift, peak", HEADS)
def test_attention_is_exact(machine, bits, heads, kv_heads, size, rows, causal, shift, peak):
    rng = np.random.default_rng(rows * size)
    q = numbers(1, heads * size, peak=peak)
    k = rng.integers(-peak, peak, (rows, kv_heads * size))
    v = numbers(3, rows * kv_heads * size).reshape(rows, -1)
    if rows % 2:
        k[0], v[:, 0] = -peak, -32768
    if rows == 257:
        q[0], k[1] = -32768, -32768
    bound = int(np.abs(q).max() * np.abs(k).max() * size)
    form = attention.Heads(heads, kv_heads, size, shift, len(TABLE), causal, rows, bound)
    text = attention.attention(
        MACHINES[machine], "op", q="#q", k="k", v="v", y="#y", table="t", form=form, bits=bits
    )
    tables = {"q": words_of(q), "k": words_of(k.ravel()), "v": words_of(v.ravel())}
    tables["t"] = TABLE.astype(np.uint8).tobytes()
    found, _ = run(machine, text, "op", tables, heads * size, {"position": rows - 1})
    expected = attention_meaning.attention(
        q[None], k, v, heads=heads, kv_heads=kv_heads, causal=causal, first=rows - 1,
        score_shift=shift, table=TABLE, bits=bits,
    )  # fmt: skip
    assert np.array_equal(found, expected[0])


@both
@storage
@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("heads, half", [(1, 1), (2, 3), (3, 8)])
def test_rope_turns_pairs(machine, bits, interleaved, heads, half):
    rng = np.random.default_rng(half)
    cosine, sine = rng.integers(-16384, 16385, (2, 5, half))
    cosine[3, 0], sine[3, 0] = -32768, 32767
    x = numbers(half, heads * 2 * half)
    turns = np.stack([cosine, sine], -1).ravel()
    text = rope.rope(
        MACHINES[machine], "op", x="#x", y="#y", turns="t", heads=heads, half=half,
        interleaved=interleaved, bits=bits,
    )  # fmt: skip
    for position in (0, 3):
        tables = {"x": words_of(x), "t": words_of(turns)}
        found, _ = run(machine, text, "op", tables, len(x), {"position": position})
        expected = attention_meaning.rope(
            x[None], np.array([position]), cosine=cosine, sine=sine, heads=heads,
            interleaved=interleaved, bits=bits,
        )  # fmt: skip
        assert np.array_equal(found, expected[0])


@both
@pytest.mark.parametrize("vocab_size, first_id", [(1, 0), (10, 4), (257, 0), (5, 4)])
def test_argmax_takes_the_first_of_equals(machine, vocab_size, first_id):
    logits = np.random.default_rng(vocab_size).integers(-3, 3, vocab_size)
    text = argmax(MACHINES[machine], vocab_size, first_id)
    entry = "MOV #x,R4"
    _, cells = run(machine, text, "argmax", {"x": words_of(logits)}, 1, entry=entry)
    assert cells["next_token"] == sampling_meaning.argmax(logits, first_id=first_id)


@both
@pytest.mark.parametrize(
    "inverse, top_p", [(256, 256), (1, 230), (65535, 1), (300, 128), (90, 255)]
)
def test_sampling_is_exact(machine, inverse, top_p):
    cpu, n, first_id, frac = MACHINES[machine], 60, 4, 8
    text = sample(cpu, n, first_id, frac)
    shared = [code("argmax", argmax(cpu, n, first_id))]
    weights = sampling_meaning.WEIGHTS.astype("<u2").tobytes()
    for seed in range(4):
        logits = numbers(seed, n, peak=(600, 2000, 32768, 3)[seed])
        state = sampling_meaning.seed_state(seed)
        variables = {
            "random_state": state & 0xFFFF, "random_state_high": state >> 16,
            "inverse_temperature": inverse, "top_p": top_p,
        }  # fmt: skip
        tables = {"x": words_of(logits), "sample.weights": weights}
        _, cells = run(
            machine, text, "sample", tables, 1, variables, shared, entry="MOV #x,R4"
        )
        token, after = sampling_meaning.sample(
            logits, state, frac=frac, inverse=inverse, top_p=top_p, first_id=first_id
        )
        assert cells["next_token"] == token
        assert cells["random_state"] | cells["random_state_high"] << 16 == after
