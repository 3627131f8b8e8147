"""Models whose weights are read from a cartridge's banks: the reference's integers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import random_prompt, random_text

import anachron.compiler as ac
from anachron.compiler.image import Image
from anachron.compiler.ranges import analyse
from anachron.compiler.run import run_image, run_reference
from anachron.compiler.targets import DoesNotFit, Options, find_machine
from anachron.compiler.targets.mos6502 import target
from anachron.compiler.targets.mos6502.banked import BankedLowering
from anachron.compiler.targets.mos6502.banked_rom import BANK_BYTES, Rom
from anachron.compiler.targets.mos6502.plan import Plan
from anachron.compiler.targets.mos6502.values import Values
from anachron.emulators import create
from anachron.emulators.containers import crt
from anachron.kernels.mos6502.banks import WINDOW, WINDOW_END

MODELS = Path(__file__).parents[2] / "shared" / "models"
stories = pytest.mark.skipif(not MODELS.exists(), reason="no ../shared/models here")
CRT = find_machine("c64+crt")
WIDE = """
model wide
size dim = 96, seq_len = 12, vocab_size = 40, hidden_dim = 300
tokenizer characters("abcdefghijklmnopqrstuvwxyz 0123456789.,!")
tok = embed(token, dim)
pos = embed(position, dim)
x = tok + pos
n = rms_norm(x)
a = attention(linear(n, dim), linear(n, dim), linear(n, dim), heads = 4, causal)
x = x + linear(a, dim)
n = rms_norm(x)
x = x + linear(relu(linear(n, hidden_dim)), dim)
logits = linear(rms_norm(x), vocab_size)
"""


def quantized(folder: Path, text: str, **options: object) -> ac.FixedModel:
    path = folder / "m.model"
    path.write_text(text)
    return ac.quantize(ac.load(path), **options)


def load_stories(seq_len: int) -> ac.FixedModel:
    model = ac.load(MODELS / "stories260K.bin", tokenizer=MODELS / "tok512.bin")
    return ac.quantize(replace(model, dimensions={**model.dimensions, "seq_len": seq_len}))


def agree(fixed: ac.FixedModel, image: Image, prompt: str, n: int | None = None) -> ac.Run:
    run, meant = run_image(image, prompt, n), run_reference(fixed, prompt, n)
    assert run.generated == meant.generated
    assert run.logits is None or np.array_equal(run.logits, meant.logits)
    assert run.predicted.lo <= run.total <= run.predicted.hi
    return run


def any_prompt(fixed: ac.FixedModel, seed: int) -> str:
    if fixed.generation.mode == "sequence":
        return fixed.tokenizer.decode([i % fixed.vocab_size for i in range(fixed.seq_len)])
    return random_prompt(seed, fixed.vocab_size, 2)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("activations", [16, 8])
def test_weights_in_rom_give_the_reference_s_integers(
    seed: int, activations: int, tmp_path: Path
) -> None:
    fixed = quantized(tmp_path, random_text(seed), activations=activations)
    image = target.build_banked(fixed, CRT, Options(logits=True))
    agree(fixed, image, any_prompt(fixed, seed), 4)


@pytest.mark.parametrize("seed", [1, 4])
def test_general_kernels_read_their_rows_there(seed: int, tmp_path: Path) -> None:
    fixed = quantized(tmp_path, random_text(seed))
    lowering = BankedLowering(Values(fixed), analyse(fixed), Plan())
    image = target._build(CRT, Options(logits=True), lowering)
    assert {o.name for o in image.expansion} >= {
        op.name for op in fixed.ops if op.contract == "matvec"
    }
    agree(fixed, image, any_prompt(fixed, seed), 3)


@pytest.mark.parametrize("plan", ["whole", "general"])
def test_a_model_larger_than_memory_lies_in_several_banks(plan: str, tmp_path: Path) -> None:
    fixed = quantized(tmp_path, WIDE)
    with pytest.raises(DoesNotFit):
        ac.build(fixed, "c64")
    if plan == "whole":
        image = ac.build(fixed, "c64+crt", logits=True)
    else:
        lowering = BankedLowering(Values(fixed), analyse(fixed), Plan())
        image = target._build(CRT, Options(logits=True), lowering)
    weights = [o for o in image.expansion if o.kind == "weights"]
    assert len({o.address >> 16 for o in weights}) > 3
    for o in weights:
        assert WINDOW <= o.address & 0xFFFF <= (o.end - 1) & 0xFFFF < WINDOW_END
    run = agree(fixed, image, "hello", 3)
    assert abs(run.predicted.expected / run.total - 1) < 0.02


def test_what_a_kernel_reads_lies_beside_the_window(tmp_path: Path) -> None:
    text = WIDE.replace("seq_len = 12", "seq_len = 60")
    image = ac.build(quantized(tmp_path, text), "c64+crt")
    beside = [o for o in image.objects if o.name in ("matvec", "embedding", "norm", "t256", "desk")]
    assert len(beside) == 5
    assert all(o.end <= WINDOW or WINDOW_END <= o.address < 0xD000 for o in beside)
    past = [o for o in image.objects if o.kind == "cache"]
    assert any(WINDOW <= o.address < WINDOW_END or o.address >= 0xD000 for o in past)


def test_a_faster_way_in_memory_is_taken() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    assert ac.build(fixed, "c64+crt").expansion == ()


def test_the_file_boots_talks_with_its_constants_and_answers_twice(tmp_path: Path) -> None:
    fixed = quantized(tmp_path, WIDE)
    image = ac.build(fixed, "c64+crt")
    image.save(tmp_path / "wide.crt")
    text = (tmp_path / "wide.map").read_text()
    assert "in the cartridge" in text
    machine = create("c64+crt")
    machine.load(tmp_path / "wide.crt")
    for _ in range(2):
        machine.run(max_cycles=50_000_000, until=image.symbols["ready"])
        assert machine.registers["pc"] == image.symbols["ready"]
        assert int(machine.peek(1)) & 7 == 7
        assert machine.get("cart_bank") == image.symbols["constants_bank"]
        machine.type("hello\r")
        machine.run(max_cycles=50_000_000, until=image.symbols["forward"])
        assert int(machine.peek(1)) & 7 == 4  # all RAM
        machine.run(max_cycles=500_000_000, until=image.symbols["answer_done"])
    wanted = run_reference(fixed, "hello").text
    said = str(machine.screen()).replace("\n", "")
    assert said.count(wanted[:20]) == 2


def test_the_restore_key_does_no_harm_while_rom_is_seen(tmp_path: Path) -> None:
    fixed = quantized(tmp_path, WIDE)
    image = ac.build(fixed, "c64+crt", logits=True)
    machine = create("c64+crt")
    machine.load(image.save(tmp_path / "wide.crt")[0])
    machine.run(max_cycles=50_000_000, until=image.symbols["ready"])
    machine.type("hello\r")
    machine.run(max_cycles=50_000_000, until=image.symbols["forward"])
    for _ in range(40):
        machine.run(max_cycles=9_973)
        machine.restore_key()
    machine.run(max_cycles=500_000_000, until=image.symbols["token_chosen"])
    chosen = int(machine.memory[image.symbols["next_token"]])
    assert chosen == run_reference(fixed, "hello", 1).generated[0]


def test_too_long_a_context_says_which_would_fit(tmp_path: Path) -> None:
    fixed = quantized(tmp_path, WIDE.replace("seq_len = 12", "seq_len = 150"))
    with pytest.raises(DoesNotFit, match=r"seq_len = (\d+) would fit") as error:
        ac.build(fixed, "c64+crt")
    assert error.value.bytes_over > 0
    fits = int(str(error.value).split("seq_len = ")[1].split()[0])
    text = WIDE.replace("seq_len = 12", f"seq_len = {fits * 3 // 4}")
    ac.build(quantized(tmp_path, text), "c64+crt")


def test_a_past_that_no_memory_holds_is_refused_at_once(tmp_path: Path) -> None:
    fixed = quantized(tmp_path, WIDE.replace("seq_len = 12", "seq_len = 400"))
    with pytest.raises(DoesNotFit, match="keys and values of 400 positions") as error:
        ac.build(fixed, "c64+crt")
    assert error.value.bytes_over > 0


@stories
def test_a_story_is_told_from_a_cartridge() -> None:
    fixed = load_stories(24)
    image = ac.build(fixed, "c64+crt", logits=True)
    run = agree(fixed, image, "Once upon", 2)
    assert abs(run.predicted.expected / run.total - 1) < 0.01


# ---- the banks


def test_what_shares_a_kernel_lies_at_one_address_in_banks_of_its_own() -> None:
    rom = Rom()
    rom.place("table", bytes(5000), "weights")
    spots = rom.place_alike(["a", "b", "c"], [b"\1" * 9000, b"\2" * 9000, b"\3" * 700], "weights")
    assert len({spot.address for spot in spots}) == 1
    assert len({spot.bank for spot in spots}) == 3
    for one in rom.placed:
        for other in rom.placed:
            assert one is other or one.end <= other.address or other.end <= one.address
    banks = rom.banks
    at = spots[0].address - WINDOW
    whole = b"".join(
        banks.get((spots[0].bank, half), b"\xff" * 8192) for half in (crt.ROML, crt.ROMH)
    )
    assert whole[at : at + 9000] == b"\1" * 9000


def test_the_boot_s_pages_are_left_alone() -> None:
    rom = Rom()
    for number in range(40):
        rom.place(f"p{number}", bytes([number + 1]) * 3000, "weights")
    assert (0, crt.ROMH) not in rom.banks
    assert (0, crt.ROML) in rom.banks


def test_a_cartridge_that_is_full_says_by_how_much() -> None:
    rom = Rom()
    for number in range(70):
        rom.place(f"p{number}", b"\1" * BANK_BYTES, "weights")
    with pytest.raises(DoesNotFit, match="71 banks of ROM.*has 64: 114,688 bytes") as error:
        rom.check("a model")
    assert error.value.bytes_over == 7 * BANK_BYTES
    with pytest.raises(DoesNotFit, match="in one piece"):
        rom.place("large", bytes(BANK_BYTES + 1), "weights")
