"""The VIC-II's view of memory -> text, terminal colours, pixels.

A Frame is what the chip would fetch for one picture of the text screen: 40 x 25 codes and
colours, the characters' pixels, and the registers that colour them. Text modes are drawn as they
are (standard, multicolour, extended background); sprites and bitmaps are not drawn.

Sources: Commodore 64 Programmer's Reference Guide (1982), ch. 3 and app. N; the palette is
P. Timmermann, "Calculating the color palette of the VIC II" (2001).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anachron.emulators import png
from anachron.emulators.mos6502 import petscii

COLUMNS, ROWS = 40, 25
BORDER_X, BORDER_Y = 32, 36  # pixels of border around the 320 x 200: a PAL television's, about
PALETTE = bytes.fromhex(
    "000000 ffffff 68372b 70a4b2 6f3d86 588d43 352879 b8c76f"
    "6f4f25 433900 9a6759 444444 6c6c6c 9ad284 6c5eb5 959595")
CONTROL_1, CONTROL_2, POINTERS, BORDER, BACKGROUND = 0x11, 0x16, 0x18, 0x20, 0x21
DISPLAY_ON, BITMAP, EXTENDED, MULTICOLOUR = 0x10, 0x20, 0x40, 0x10


class Picture(Protocol):
    """What is needed of a machine: memory and registers as the VIC-II sees them."""

    @property
    def ram(self) -> memoryview: ...

    @property
    def colour(self) -> memoryview: ...

    @property
    def vic(self) -> memoryview:
        """The 64 registers, as last written."""

    @property
    def characters(self) -> bytes:
        """The 4 KB character ROM."""

    @property
    def video_bank(self) -> int:
        """Which 16 KB the VIC-II sees, 0 to 3."""


@dataclass(frozen=True)
class Frame:
    """One picture of the text screen."""

    codes: np.ndarray  # (25, 40) uint8 screen codes
    colours: np.ndarray  # (25, 40) uint8, 0 to 15
    characters: np.ndarray  # (256, 8) uint8, a bit a pixel
    registers: bytes
    small: bool  # small letters and capitals

    @property
    def border(self) -> int:
        return self.registers[BORDER] & 15

    @property
    def background(self) -> int:
        return self.registers[BACKGROUND] & 15

    @property
    def blank(self) -> bool:
        """Whether the display is switched off: border everywhere."""
        return not self.registers[CONTROL_1] & DISPLAY_ON


def read_frame(machine: Picture) -> Frame:
    """The text screen as it is now."""
    registers = bytes(machine.vic[:0x40])
    bank = machine.video_bank * 0x4000
    screen = bank + (registers[POINTERS] >> 4) * 0x0400
    place = registers[POINTERS] >> 1 & 7  # of the characters, in 2 KB
    if machine.video_bank in (0, 2) and place in (2, 3):  # there the VIC-II sees its ROM
        start = (place - 2) * 0x0800
        patterns = np.frombuffer(machine.characters[start:start + 0x0800], np.uint8)
    else:
        start = bank + place * 0x0800
        patterns = np.frombuffer(bytes(machine.ram[start:start + 0x0800]), np.uint8)
    size = COLUMNS * ROWS
    codes = np.frombuffer(bytes(machine.ram[screen:screen + size]), np.uint8)
    colours = np.frombuffer(bytes(machine.colour[:size]), np.uint8) & 15
    return Frame(codes.reshape(ROWS, COLUMNS), colours.reshape(ROWS, COLUMNS),
                 patterns.reshape(256, 8), registers, place in (1, 3))


def text(frame: Frame) -> str:
    """25 lines of Unicode, without the spaces at their ends; reversed signs as the plain ones."""
    pictures = petscii.LOWER if frame.small else petscii.UPPER
    return "\n".join(
        "".join(pictures[code & 0x7F] for code in row).replace("\u00a0", " ").rstrip()
        for row in frame.codes.tolist())


def terminal_lines(frame: Frame, height: int = ROWS + 2) -> list[str]:
    """The screen as lines for a terminal of 24-bit colour; a border if there is room for one."""
    pictures = petscii.LOWER if frame.small else petscii.UPPER
    edge = _paint(frame.border, frame.border)
    side = edge + "    "
    border = [edge + " " * (COLUMNS + 8)] if height >= ROWS + 2 else []
    lines = list(border)
    for codes, row_colours in zip(frame.codes.tolist(), frame.colours.tolist(), strict=True):
        parts, last = [side], None
        for code, colour in zip(codes, row_colours, strict=True):
            ink, paper = (frame.background, colour) if code & 0x80 else (colour, frame.background)
            if frame.blank:
                ink = paper = frame.border
            if (ink, paper) != last:
                parts.append(_paint(ink, paper))
                last = ink, paper
            parts.append(pictures[code & 0x7F])
        lines.append("".join(parts).replace("\u00a0", " ") + side)
    lines += border
    return [line + "\x1b[0m" for line in lines]


def _paint(ink: int, paper: int) -> str:
    (r, g, b), (red, green, blue) = PALETTE[3 * ink:3 * ink + 3], PALETTE[3 * paper:3 * paper + 3]
    return f"\x1b[38;2;{r};{g};{b};48;2;{red};{green};{blue}m"


def pixels(frame: Frame) -> np.ndarray:
    """The picture with its border: (272, 384) uint8 colours of PALETTE."""
    picture = np.full((8 * ROWS + 2 * BORDER_Y, 8 * COLUMNS + 2 * BORDER_X), frame.border,
                      np.uint8)
    if frame.blank:
        return picture
    extended = bool(frame.registers[CONTROL_1] & EXTENDED)
    multicolour = bool(frame.registers[CONTROL_2] & MULTICOLOUR)
    papers = np.array([frame.registers[BACKGROUND + n] & 15 for n in range(4)], np.uint8)
    codes = frame.codes & 0x3F if extended else frame.codes
    dots = np.unpackbits(frame.characters[codes], axis=2).reshape(ROWS, COLUMNS, 8, 8)
    paper = papers[frame.codes >> 6] if extended else np.full_like(frame.codes, papers[0])
    ink = frame.colours & (7 if multicolour else 15)
    cells = np.where(dots == 1, ink[:, :, None, None], paper[:, :, None, None])
    if multicolour:  # colours 8 to 15: pairs of dots choose among four colours
        pairs = np.repeat(2 * dots[..., 0::2] + dots[..., 1::2], 2, axis=3)
        wide = np.where(pairs == 3, ink[:, :, None, None], papers[pairs % 3])
        cells = np.where((frame.colours >= 8)[:, :, None, None], wide, cells)
    inner = cells.transpose(0, 2, 1, 3).reshape(8 * ROWS, 8 * COLUMNS)
    picture[BORDER_Y:-BORDER_Y, BORDER_X:-BORDER_X] = inner
    return picture


def screenshot(frame: Frame) -> bytes:
    """A PNG file's bytes."""
    return png.pack(pixels(frame), PALETTE)
