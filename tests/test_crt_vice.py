"""Cartridges whose weights are read from their banks, in VICE: the same tokens, the same cycles."""

from pathlib import Path
from types import ModuleType

import pytest
from random_models import random_text
from test_crt_banks import CRT, MODELS, WIDE, load_stories, quantized
from test_images_vice import SET_UP, ZEROS, unraisable, vicectl

import anachron.compiler as ac
from anachron.compiler.image import Image
from anachron.compiler.targets import Options
from anachron.compiler.targets.mos6502.target import build_banked
from anachron.emulators import create

__all__ = ["vicectl"]


def answer_in_vice(
    vicectl: ModuleType, image: Image, path: Path, prompt: str, n_passes: int
) -> tuple[list[int], list[int]]:
    """(cycles of each pass, tokens chosen) of the first passes, from the program's own labels."""
    path.write_bytes(image.container[".crt"])
    places = {image.symbols[name]: name for name in ("forward", "forward_done", "token_chosen")}
    counts, tokens, began = [], [], 0
    with vicectl.Vice(None, extra=(*ZEROS, "-cartcrt", str(path))) as vice:
        vice.run_cycles(SET_UP)
        for address in places:
            vice.brk(address)
        vice.keybuf(prompt + "\r")
        while len(counts) < n_passes:
            vice.go()
            registers = vice.regs()
            match places[registers["pc"]]:
                case "forward":
                    began = registers["clk"]
                case "forward_done":
                    counts.append(registers["clk"] - began)
                case "token_chosen":
                    at = image.symbols["next_token"]
                    value = bytes(vice.mem(at, at + image.token_bytes - 1))
                    tokens.append(int.from_bytes(value, "little"))
        vice.s.close()
    return counts, tokens


def answer_here(image: Image, path: Path, prompt: str, n_passes: int) -> list[int]:
    """The same of our emulator; its memory, too, is all zeros before the cartridge starts.

    A kernel of 64 columns looks at what lies behind a shorter vector, times 0: a matter of cycles.
    """
    machine = create("c64+crt")
    machine.load(path)
    machine.ram[0x0800:] = bytes(0xF800)
    machine.run(max_cycles=SET_UP, until=image.symbols["ready"])
    machine.type(prompt + "\r")
    counts = []
    for _ in range(n_passes):
        machine.run(max_cycles=10**9, until=image.symbols["forward"])
        began = machine.cycles
        machine.run(max_cycles=10**9, until=image.symbols["forward_done"])
        counts.append(machine.cycles - began)
    return counts


def same(vicectl: ModuleType, image: Image, path: Path, prompt: str, n_passes: int) -> None:
    run = image.run(prompt)
    n_passes = min(n_passes, len(run.counts))
    counts, tokens = answer_in_vice(vicectl, image, path, prompt, n_passes)
    assert counts == answer_here(image, path, prompt, n_passes)
    assert tokens == list(run.generated[: len(tokens)])
    assert tokens


@unraisable
@pytest.mark.vice
def test_vice_reads_weights_from_the_banks(vicectl: ModuleType, tmp_path: Path) -> None:
    small = quantized(tmp_path, random_text(4, ("layer",)))
    image = build_banked(small, CRT, Options(logits=True))
    same(vicectl, image, tmp_path / "small.crt", "abc", 5)
    wide = ac.build(quantized(tmp_path, WIDE), "c64+crt")
    same(vicectl, wide, tmp_path / "wide.crt", "hello", 8)


@unraisable
@pytest.mark.vice
def test_vice_answers_soul_players_question_from_a_cartridge(
    vicectl: ModuleType, tmp_path: Path
) -> None:
    soul, names = MODELS / "soul.bin", MODELS / "soul_tokenizer.json"
    if not soul.is_file():
        pytest.skip(f"{soul} is absent")
    image = build_banked(ac.quantize(ac.load(soul, tokenizer=names)), CRT, Options())
    same(vicectl, image, tmp_path / "soul.crt", "hey", 19)


@unraisable
@pytest.mark.vice
def test_vice_tells_a_story_from_a_cartridge(vicectl: ModuleType, tmp_path: Path) -> None:
    if not MODELS.is_dir():
        pytest.skip(f"{MODELS} is absent")
    image = ac.build(load_stories(16), "c64+crt")
    same(vicectl, image, tmp_path / "stories.crt", "Once", 4)
