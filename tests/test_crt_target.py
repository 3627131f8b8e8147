"""Programs for a C64 with an EasyFlash: from the cartridge, the same integers."""

from pathlib import Path

import numpy as np
import pytest

import anachron.compiler as ac
from anachron.compiler.machine_training import build_training, train_on
from anachron.compiler.run import run_image
from anachron.compiler.targets import DoesNotFit
from anachron.compiler.targets.mos6502.containers import pack_cartridge
from anachron.emulators import create
from anachron.emulators.containers import crt, prg


def test_a_model_that_memory_holds_runs_as_on_a_c64_without_a_cartridge() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    image, plain = ac.build(fixed, "c64+crt"), ac.build(fixed, "c64")
    assert list(image.container) == [".crt"]
    assert image.container[".crt"] == plain.container[".crt"]
    run = run_image(image, "31415926")
    assert run.text == "62951413"
    assert run.total == run_image(plain, "31415926").total


def test_a_comparison_has_a_row_for_it() -> None:
    fixed = ac.quantize(ac.load("reverse"))
    comparison = ac.compare(fixed, ["c64", "c64+crt"], "31415926")
    assert comparison.agree
    assert [run.on.name for run in comparison.runs] == ["reference", "c64", "c64+crt"]
    assert comparison.runs[2].counts == comparison.runs[1].counts


def test_training_starts_from_a_cartridge_too() -> None:
    image = build_training(ac.load("reverse"), "c64+crt", steps=3)
    assert list(image.container) == [".crt"]
    train_on(image)  # raises where a weight or a line differs


def test_a_cartridge_is_not_packed() -> None:
    with pytest.raises(ValueError, match="leave --pack out"):
        ac.build(ac.quantize(ac.load("reverse")), "c64+crt", packed=True)


def test_the_program_follows_what_else_the_cartridge_holds() -> None:
    data = bytes(range(256)) * 40
    program = prg.Prg(0x0801, data)
    banks = {(bank, crt.ROMH): bytes([bank]) * 8192 for bank in range(1, 4)}
    low, high = crt.parse(pack_cartridge(program, 0x080D, banks)).roms()
    assert low[4 * 8192 : 4 * 8192 + len(data)] == data
    assert high[3 * 8192 : 4 * 8192] == bytes([3]) * 8192
    with pytest.raises(DoesNotFit, match="8,192 bytes too many"):
        pack_cartridge(program, 0x080D, {(62, crt.ROML): b"x"})


@pytest.mark.parametrize("size", [3, 255, 256, 257, 8191, 8192, 8193, 20000])
def test_a_program_of_any_size_is_copied_whole(size: int, tmp_path: Path) -> None:
    """It begins with a jump to itself: reached, with every byte behind in its place."""
    load = 0x0801
    body = (np.arange(size - 3) * 31 % 251).astype(np.uint8).tobytes()
    data = bytes([0x4C, load & 0xFF, load >> 8]) + body
    path = tmp_path / "x.crt"
    path.write_bytes(pack_cartridge(prg.Prg(load, data), load, {(2, crt.ROML): b"\x99" * 8192}))
    machine = create("c64+crt")
    machine.load(path)
    machine.run(max_cycles=2_000_000, until=load)
    assert machine.registers["pc"] == load
    assert bytes(machine.memory[load : load + size]) == data
