"""Programs whose model lies in a RAM Expansion Unit: the reference's integers, the DMA's time."""

from pathlib import Path

import numpy as np
import pytest
from random_models import random_prompt, random_text

import anachron.compiler as ac
from anachron.compiler.arguments import run_lines
from anachron.compiler.claims import amount
from anachron.compiler.image import Image
from anachron.compiler.operands import attention
from anachron.compiler.run import Conversation, run_image, run_reference, start
from anachron.compiler.targets import DoesNotFit, Options, find_machine
from anachron.compiler.targets.mos6502 import growth
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.targets.mos6502.expanded import LEAST_SIZE, Expansion
from anachron.compiler.targets.mos6502.target import build_streamed
from anachron.compiler.timing import predict
from anachron.emulators import create
from anachron.emulators.containers import reu
from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.expansion import BLOCK, SIGNATURE_BYTES
from anachron.kernels.mos6502.streamed import smooth
from anachron.kernels.reference.activation import lookup

MODELS = Path(__file__).parents[2] / "shared" / "models"
LONG = """
model long
size dim = 8, seq_len = 264, vocab_size = 10
tokenizer characters("abcdefghij")
tok = embed(token, dim)
pos = embed(position, dim)
x = tok + pos
q = linear(x, dim)
k = linear(x, 4)
v = linear(x, 4)
y = x + linear(attention(q, k, v, heads = 4, kv_heads = 2, causal), dim)
logits = linear(y, vocab_size)
"""


def quantized(folder: Path, text: str, **options: object) -> ac.FixedModel:
    path = folder / "m.model"
    path.write_text(text)
    return ac.quantize(ac.load(path), **options)


def streamed(fixed: ac.FixedModel) -> Image:
    """A build whose model is in the expansion, however small."""
    return build_streamed(fixed, find_machine("c64+reu"), Options(logits=True))


def agree(fixed: ac.FixedModel, prompt: str, n: int | None = None) -> ac.Run:
    run, meant = run_image(streamed(fixed), prompt, n), run_reference(fixed, prompt, n)
    assert run.generated == meant.generated
    assert np.array_equal(run.logits, meant.logits)
    assert run.predicted.lo <= run.total <= run.predicted.hi
    return run


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 7])
@pytest.mark.parametrize("activations", [16, 8])
def test_a_streamed_model_gives_the_reference_s_integers(
    seed: int, activations: int, tmp_path: Path
) -> None:
    fixed = quantized(tmp_path, random_text(seed), activations=activations)
    if fixed.generation.mode == "sequence":
        prompt = fixed.tokenizer.decode([i % fixed.vocab_size for i in range(fixed.seq_len)])
    else:
        prompt = random_prompt(seed, fixed.vocab_size, 2)
    agree(fixed, prompt, 4)


def test_a_context_is_longer_than_a_page(tmp_path: Path) -> None:
    """Equal scores: every weight is the largest, and their sum leaves 16 bits."""
    path = tmp_path / "m.model"
    path.write_text(LONG)
    model = ac.load(path)
    weights = dict(model.weights)
    (query,) = (node.parameters["weight"] for node in model.nodes if node.name == "q")
    weights[query] = np.zeros_like(weights[query])
    run = agree(ac.quantize(model.with_weights(weights, "the test")), "abc")
    assert len(run.counts) == 263


ROTATED = """
model rotated
size dim = 16, seq_len = 300, vocab_size = 12
tokenizer characters("abcdefghijkl")
tok = embed(token, dim)
a = rms_norm(tok)
q = rope(linear(a, dim), heads = 4)
k = rope(linear(a, 8), heads = 2)
v = linear(a, 8)
x = tok + linear(attention(q, k, v, heads = 4, kv_heads = 2, causal), dim)
f = rms_norm(x)
y = x + linear(silu(linear(f, 20)) * linear(f, 20), dim)
logits = linear(rms_norm(y), vocab_size)
"""


@pytest.mark.parametrize(("scale", "n"), [(1.0, 40), (0.0, 290), (9.0, 20)])
def test_scores_in_residues_choose_what_the_reference_chooses(
    scale: float, n: int, tmp_path: Path
) -> None:
    """Blocks of keys that are whole and not; scores all equal, so that every row has a weight and
    the rows noticed fill more than a page; scores far apart."""
    path = tmp_path / "m.model"
    path.write_text(ROTATED)
    model = ac.load(path)
    weights = dict(model.weights)
    (query,) = (node.inputs[0] for node in model.nodes if node.name == "q")
    name = model[query].parameters["weight"]
    weights[name] = weights[name] * scale
    fixed = ac.quantize(model.with_weights(weights, "the test"), activations=8)
    image = streamed(fixed)
    (attention,) = (call for call in image.calls if call.kernel == "attention")
    assert attention.variant.startswith("streamed residues 256, 255")
    run = agree(fixed, "abc", n)
    assert len(run.counts) == n + 2


def test_how_many_rows_count_is_counted_row_by_row(tmp_path: Path) -> None:
    fixed = quantized(tmp_path, ROTATED, activations=8)
    op = next(op for op in fixed.ops if op.contract == "attention")
    found, reach = attention(op, fixed.usual_long), int(np.count_nonzero(op.constants["table"]))
    texts, heads, n, _ = found.scores.shape
    meant = np.zeros((3, texts, n))
    for text, head, row in np.ndindex(texts, heads, n):
        scores = found.scores[text, head, row, : row + 1].tolist()
        largest: int | None = None
        for score in reversed(scores):  # the newest first
            record = largest is None or score > largest
            noticed = record or largest - score < reach
            largest = score if record else largest
            weighed = max(scores) - score < reach
            meant[:, text, row] += np.array([weighed, noticed, record]) / heads
    assert np.allclose(growth._count(fixed, op), meant)
    assert (meant[0] <= meant[1]).all() and (meant[2] <= meant[1]).all()


def test_what_grows_in_straight_pieces_is_said_as_it_is() -> None:
    seen = np.arange(1, 161)
    slopes = (0.75, -0.5, 0.125, -0.25, 0.0625)
    knots = (1, *growth.KNOTS)
    counts = 1 + sum(s * np.maximum(0, seen - k) for s, k in zip(slopes, knots, strict=True))
    text = growth._express(counts)
    said = [amount(text, {"seen": int(n)}, {}).expected for n in seen]
    assert np.allclose(said, np.clip(counts, 1, seen), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [1, 6, 7])
def test_steps_of_a_table_are_its_straight_lines(shift: int) -> None:
    points = np.arange(-128, 129) / 16
    table = np.round(points / (1 + np.exp(-points)) * 100).astype(np.int64)
    steps = smooth.find_steps(table, shift, 16)
    assert steps is not None
    x = np.arange(-128 << shift, 128 << shift)
    place, fraction = (x >> shift) + 128, x & (1 << shift) - 1
    rows = np.frombuffer(steps.rows, np.uint8).astype(int)
    found = steps.points[place] + rows[steps.places[place] + fraction]
    assert np.array_equal(found, lookup(x, table=table, shift=shift, tail=0, bits=16))
    assert smooth.find_steps(table * 40, 7, 16) is None  # too many different steps
    assert smooth.find_steps(table, shift, 8) is None  # its results have more bits


def test_a_gate_beyond_its_table_is_the_reference_s(tmp_path: Path) -> None:
    path = tmp_path / "m.model"
    path.write_text(ROTATED)
    model = ac.load(path)
    (silu,) = (node for node in model.nodes if node.op == "silu")
    name = model[silu.inputs[0]].parameters["weight"]
    weights = {**model.weights, name: model.weights[name] * 30}
    fixed = ac.quantize(model.with_weights(weights, "the test"), activations=8)
    (call,) = (call for call in streamed(fixed).calls if call.kernel == "lookup")
    assert call.variant == "steps by table"
    agree(fixed, "abc", 12)


def test_a_small_model_needs_no_expansion() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    image = ac.build(fixed, "c64+reu")
    assert ".reu" not in image.container
    assert image.run("31415926").total == ac.build(fixed, "c64").run("31415926").total


def test_the_reu_file_holds_the_rows_and_a_signature(tmp_path: Path) -> None:
    fixed = quantized(tmp_path, random_text(3))
    image = streamed(fixed)
    paths = image.save(tmp_path / "m.prg")
    contents = reu.parse((tmp_path / "m.reu").read_bytes()).data
    assert tmp_path / "m.reu" in paths
    assert len(contents) == LEAST_SIZE
    places = {o.name: o for o in image.expansion if o.kind == "weights"}
    op = next(op for op in fixed.ops if op.contract == "matvec")
    place, weight = places[op.name], op.constants["weight"].astype(int)
    there = np.frombuffer(contents, np.uint8)[place.address : place.end].reshape(len(weight), -1)
    shifted = there[:, : weight.shape[1]].astype(int) - weight[there[:, -1]]
    assert (shifted == shifted[0]).all()  # rows in any order, less each column's least weight
    signature = image.symbols["signature"]
    machine = start(image)
    assert bytes(machine.memory[signature : signature + SIGNATURE_BYTES]) == contents[:8]
    assert "in the expansion" in (tmp_path / "m.map").read_text()
    (line,) = run_lines(image, tmp_path / "m.prg")
    assert f"-reu -reusize 512 -reuimage {tmp_path / 'm.reu'} -autostart" in line


def test_a_missing_expansion_is_asked_for(tmp_path: Path) -> None:
    image = streamed(quantized(tmp_path, random_text(1)))
    talk = Conversation(image)
    other = create("c64+reu")
    other.load(image.save(tmp_path / "m.prg")[0])
    other.run(max_cycles=3_000_000)
    assert "attach the .reu file" in str(other.screen())
    contents = np.frombuffer(image.container[".reu"], np.uint8)
    other.arrays["reu"][: len(contents)] = contents
    other.type(" ")
    other.run(max_cycles=30_000_000, until=image.symbols["ready"])
    assert other.registers["pc"] == image.symbols["ready"]
    assert talk.machine.registers["pc"] == image.symbols["ready"]


def test_transfers_take_a_cycle_a_byte() -> None:
    for size in (1, 77, 256, 700):
        text = "\n".join(
            [
                "* = $1000\nstart:",
                expansion.point(0x12345),
                expansion.move(expansion.STASH, "$4000", size),
                expansion.point(0x12345),
                expansion.set_up("$6000", size),
                expansion.again(expansion.FETCH, "$6000", size),
                "done:\n    rts",
            ]
        )
        program = assemble(text, "dma.asm")
        machine = create("c64+reu")
        for address, data in program.segments:
            machine.memory[address : address + len(data)] = np.frombuffer(data, np.uint8)
        machine.memory[0x01] = 0x35
        machine.memory[0xD011] = 0x0B
        machine.run(max_cycles=40_000)  # the blank takes hold
        given = np.arange(size) * 7 % 251
        machine.memory[0x4000 : 0x4000 + size] = given
        machine.registers["pc"] = program.symbols["start"]
        before = machine.cycles
        machine.run(max_cycles=100_000, until=program.symbols["done"])
        time = predict(program, "start", "done")
        assert machine.cycles - before == time.lo == time.hi
        assert np.array_equal(np.array(machine.memory[0x6000 : 0x6000 + size]), given)


def test_nothing_crosses_a_block() -> None:
    there = Expansion()
    there.place("small", bytes(1000), "weights")
    large = there.reserve("large", BLOCK, "cache")
    assert large % BLOCK == 0
    rows = [bytes([i % 256]) * 300 for i in range(4000)]
    pieces = there.place_rows("rows", rows, "weights")
    assert sum(n for _, n in pieces) == 4000
    for address, n in pieces:
        assert address // BLOCK == (address + 300 * n - 1) // BLOCK
    assert there.place("again", bytes(1000), "weights") == there.placed[0].address


def test_what_no_expansion_holds_says_by_how_much() -> None:
    there = Expansion()
    for _ in range(33):
        there.reserve("past", BLOCK, "cache")
    with pytest.raises(DoesNotFit, match="smaller seq_len") as error:
        there.image("a model")
    assert error.value.bytes_over == there.end - (16 << 20)
    with pytest.raises(DoesNotFit, match="in one piece") as error:
        there.reserve("past", BLOCK + 5, "cache")
    assert error.value.bytes_over == 5


@pytest.mark.skipif(not MODELS.exists(), reason="no ../shared/models here")
def test_a_story_is_told_from_the_expansion() -> None:
    model = ac.load(MODELS / "stories260K.bin", tokenizer=MODELS / "tok512.bin")
    fixed = ac.quantize(model)
    run = ac.build(fixed, "c64+reu", logits=True).run("Once upon", 2)
    meant = run_reference(fixed, "Once upon", 2)
    assert run.generated == meant.generated
    assert np.array_equal(run.logits, meant.logits)
    assert run.predicted.lo <= run.total <= run.predicted.hi
