"""Sprites take cycles from the CPU: five a line each, less where their fetches overlap."""

import pytest

from anachron.emulators import create

CODE = 0xC000
COUNT = bytes.fromhex("a000 a200 cad0fd 88d0fa ea")  # 256 times 256 DEX: every cycle reads
PASSES = {False: 17, True: 20}  # of the sprites' lines while that runs, from line 0 on
LINE = 58  # 256 lines on there is none


def stolen(registers: dict[int, int], ntsc: bool = False) -> int:
    """Cycles that COUNT takes with these VIC registers, beyond what it takes without."""
    times = []
    for values in ({}, registers):
        m = create("c64", ntsc=ntsc)
        m.memory[CODE:CODE + len(COUNT)] = list(COUNT)
        m.put("cycles", 10 * m.get("line_cycles") * m.get("frame_lines"))
        for register, value in {0x11: 0x0B, **values}.items():
            m.poke(0xD000 + register, value)
        m.registers["pc"], m.registers["p"] = CODE, 4
        before = m.cycles
        m.run(until=CODE + len(COUNT) - 1)
        times.append(m.cycles - before)
    return times[1] - times[0]


@pytest.mark.parametrize("ntsc", [False, True])
@pytest.mark.parametrize(("on", "cycles"), [
    (0x01, 5), (0x80, 5), (0x03, 7), (0x05, 9), (0x09, 10), (0x11, 10), (0x0F, 11), (0xFF, 19)])
def test_sprites_take_cycles_from_21_lines(on: int, cycles: int, ntsc: bool) -> None:
    registers = {2 * i + 1: LINE for i in range(8)} | {0x15: on}
    assert stolen(registers, ntsc) == 21 * cycles * PASSES[ntsc]


def test_an_expanded_sprite_takes_cycles_from_42_lines() -> None:
    assert stolen({0x01: LINE, 0x15: 1, 0x17: 1}) == 42 * 5 * PASSES[False]


def test_a_sprite_beyond_line_255_is_found_by_the_low_byte_of_its_line() -> None:
    assert stolen({0x01: 40, 0x15: 1}) == 21 * 5 * (2 * PASSES[False] - 1)


@pytest.mark.parametrize("scroll", range(8))
def test_a_store_to_d011_in_a_bad_line_loses_none_of_its_cycles(scroll: int) -> None:
    m = create("c64")
    store = bytes.fromhex("8d11d0")
    m.memory[CODE:CODE + 3] = list(store)
    m.put("cycles", 10 * 63 * 312 + 0x33 * 63 + 9)
    m.poke(0xD011, 0x1B)
    m.registers["pc"], m.registers["a"] = CODE, 0x18 | scroll
    assert m.step() == 4 + 43  # its third cycle, a read, meets the fall of BA
