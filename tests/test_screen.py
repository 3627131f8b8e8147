"""The picture: memory and registers to text, terminal colours and pixels."""
import struct
import zlib

import numpy as np
import pytest

from anachron.emulators import png
from anachron.emulators.mos6502 import font, petscii, screen
from anachron.emulators.mos6502.typed import petscii_of_keys
from anachron.emulators.terminal import Terminal, View, parse_speed, play


class Chip:
    """The VIC-II's inputs, and nothing else."""

    def __init__(self) -> None:
        self.ram = memoryview(np.full(0x10000, 0x20, np.uint8))
        self.colour = memoryview(np.full(0x400, 14, np.uint8))
        self.vic = memoryview(np.zeros(64, np.uint8))
        self.vic[0x11], self.vic[0x16], self.vic[0x18] = 0x1B, 0xC8, 0x15
        self.vic[0x20], self.vic[0x21] = 14, 6
        self.characters = font.character_rom()
        self.video_bank = 0


@pytest.fixture
def chip() -> Chip:
    return Chip()


def test_screen_is_25_lines_of_unicode(chip: Chip) -> None:
    chip.ram[0x0400:0x0405] = bytes([8, 5, 12, 12, 15])
    chip.ram[0x0400 + 40 * 24:0x0400 + 40 * 24 + 2] = bytes([0x53, 0xC1])
    lines = screen.text(screen.read_frame(chip)).split("\n")
    assert len(lines) == 25
    assert lines[0] == "HELLO" and lines[24] == "♥♠" and lines[1] == ""


def test_small_letters_are_the_other_character_set(chip: Chip) -> None:
    chip.ram[0x0400:0x0402] = bytes([0x48, 9])
    chip.vic[0x18] = 0x17
    assert screen.text(screen.read_frame(chip)).split("\n")[0] == "Hi"


def test_screen_is_where_the_registers_point(chip: Chip) -> None:
    chip.ram[0x8C00:0x8C02] = bytes([1, 2])
    chip.video_bank, chip.vic[0x18] = 2, 0x35
    assert screen.text(screen.read_frame(chip)).startswith("AB\n")


def test_terminal_line_has_the_colours_of_its_cells(chip: Chip) -> None:
    chip.ram[0x0400], chip.ram[0x0401], chip.colour[0] = 1, 0x82, 1
    line = screen.terminal_lines(screen.read_frame(chip))[1]
    blue, light = "53;40;121", "108;94;181"
    assert f"\x1b[38;2;255;255;255;48;2;{blue}mA" in line
    assert f"\x1b[38;2;{blue};48;2;{light}mB" in line


def test_small_terminal_gets_no_border(chip: Chip) -> None:
    frame = screen.read_frame(chip)
    assert [len(screen.terminal_lines(frame, height)) for height in (26, 27)] == [25, 27]


def test_pixels_show_a_letter_in_its_place_and_colours(chip: Chip) -> None:
    chip.ram[0x0400 + 41] = 1
    chip.colour[41] = 2
    picture = screen.pixels(screen.read_frame(chip))
    assert picture.shape == (272, 384)
    assert picture[0, 0] == 14 and picture[36, 32] == 6
    cell = picture[36 + 8:36 + 16, 32 + 8:32 + 16]
    assert ((cell == 2) == font.glyphs()["A"]).all() and set(cell.flat) == {2, 6}


def test_blank_display_is_all_border(chip: Chip) -> None:
    chip.ram[0x0400] = 1
    chip.vic[0x11] = 0x0B
    frame = screen.read_frame(chip)
    assert set(screen.pixels(frame).flat) == {14}
    assert "38;2;108;94;181;48;2;108;94;181" in screen.terminal_lines(frame)[1]


def test_multicolour_characters_pair_their_dots(chip: Chip) -> None:
    chip.vic[0x16] = 0xD8
    chip.vic[0x22], chip.vic[0x23] = 3, 4
    chip.vic[0x18] = 0x18
    chip.ram[0x2000:0x2008] = bytes([0b00_01_10_11] * 8)
    chip.ram[0x0400], chip.colour[0] = 0, 8 | 5
    picture = screen.pixels(screen.read_frame(chip))
    assert picture[36, 32:40].tolist() == [6, 6, 3, 3, 4, 4, 5, 5]


def test_extended_mode_takes_the_paper_from_the_code(chip: Chip) -> None:
    chip.vic[0x11] = 0x5B
    chip.vic[0x24] = 9
    chip.ram[0x0400] = 0xC0 | 0x20
    picture = screen.pixels(screen.read_frame(chip))
    assert set(picture[36:44, 32:40].flat) == {9}


def test_png_holds_the_pixels() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    data = png.pack(pixels, screen.PALETTE)
    chunks, at = {}, 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        chunks[kind] = data[at + 8:at + 8 + size]
        check = struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        assert check == zlib.crc32(data[at + 4:at + 8 + size])
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (4, 3, 8, 3, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0\0\1\2\3\0\4\5\6\7\0\x08\x09\x0a\x0b"
    with pytest.raises(ValueError, match="colours below 16"):
        png.pack(np.full((1, 1), 16, np.uint8), screen.PALETTE)


def test_every_sign_of_both_sets_is_drawn_and_no_two_look_alike() -> None:
    glyphs = font.glyphs()
    for pictures in (petscii.UPPER, petscii.LOWER):
        assert len(pictures) == 128
        drawn = {}
        for sign in pictures:
            drawn.setdefault(glyphs[sign].tobytes(), set()).add(sign)
        alike = [signs for signs in drawn.values() if len(signs) > 1]
        assert alike == [{" ", "\u00a0"}]


def test_character_rom_has_reversed_signs_behind_each_set() -> None:
    rom = font.character_rom()
    assert all(rom[base + at] ^ rom[base + 1024 + at] == 255
               for base in (0, 2048) for at in range(1024))


@pytest.mark.parametrize("lower", [False, True])
def test_text_survives_petscii_and_back(lower: bool) -> None:
    text = "HELLO, WORLD! 0123456789 £↑←[]\n" + ("hello" if lower else "♠♥♦♣")
    assert petscii.decode(petscii.encode(text, lower), lower) == text


def test_screen_codes_and_petscii_agree_with_each_other() -> None:
    for code in range(128):
        assert petscii.screen_code(petscii.petscii_of_screen_code(code)) == code


@pytest.mark.parametrize(("typed", "codes"), [
    (b"Hey\r", b"HEY\r"), (b"\x1b[A\x1b[B\x1b[C\x1b[D", b"\x91\x11\x1d\x9d"), (b"\x7f", b"\x14"),
    (b"\x1bOP\x1b[15~", b"\x85\x87"), ("£♠".encode(), b"\x5c\xc1"), (b"\x1b[99~A", b"A"),
    (b"\x1b", b"\x03"), (b"\xff\xfe\xc3", b"")])
def test_keys_of_a_terminal_are_those_of_a_c64(typed: bytes, codes: bytes) -> None:
    assert petscii_of_keys(typed) == codes


class Paper:
    """An output that remembers."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_only_changed_lines_are_drawn_again() -> None:
    paper = Paper()
    terminal = Terminal(paper)  # type: ignore[arg-type]
    terminal.draw(["one", "two"])
    paper.text = ""
    terminal.draw(["one", "TWO"])
    assert paper.text == "\x1b[2;1HTWO\x1b[K"


@pytest.mark.parametrize(("speed", "slept"), [(1.0, 1.6), (4.0, 0.4)])
def test_real_speed_is_kept_by_sleeping(speed: float, slept: float) -> None:
    now, total, machine_ns = [0.0], [0.0], [0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        total[0] += seconds

    def advance(ns: int) -> str | None:
        machine_ns[0] += ns
        return "ended" if machine_ns[0] >= 1_600_000_000 + ns else None

    view = View(advance, lambda: machine_ns[0], lambda height: [], lambda typed: None)
    terminal = Terminal(Paper())  # type: ignore[arg-type]
    assert play(view, terminal, speed, lambda: now[0], sleep) == "ended"
    assert round(total[0], 6) == slept


def test_speed_is_a_number_or_max() -> None:
    assert (parse_speed("1"), parse_speed("x50"), parse_speed("max")) == (1.0, 50.0, None)
    for text in ("fast", "0", "-1", "nan", "inf"):
        with pytest.raises(ValueError, match="--live"):
            parse_speed(text)
