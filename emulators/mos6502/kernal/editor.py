"""PETSCII, code by code -> the C64's text screen: the KERNAL's screen editor, without its ROM.

Printing, control codes, quote and insert mode, scrolling, lines of 80 columns made of two rows,
line input with the cursor. All state lives in the machine's own RAM, at the addresses that
programs peek and poke. To add a control code: a row in CONTROLS.

Sources: Mapping the Commodore 64 (S. Leemon, 1984), $C5-$F4, $0277-$0292 and $E500-$EB41;
Commodore 64 Programmer's Reference Guide (1982), app. B, C and "The screen editor".
"""

from collections.abc import Callable
from typing import Protocol

from anachron.emulators.mos6502 import petscii

COLUMNS, ROWS = 40, 25
LINE_LIMIT = 2 * COLUMNS
LAST_SCREEN = 0x10000 - 1024
SPACE = 0x20
QUOTE = 0x22

# Zero page and page 2: Mapping the Commodore 64, at each address.
REVERSE, INPUT_END, INPUT_ROW, INPUT_COLUMN = 0xC7, 0xC8, 0xC9, 0xCA
BLINK_OFF, BLINK_COUNT, UNDER_CURSOR, BLINK_PHASE = 0xCC, 0xCD, 0xCE, 0xCF
INPUT_SOURCE, LINE_POINTER, COLUMN, QUOTE_MODE, LINE_END, ROW = 0xD0, 0xD1, 0xD3, 0xD4, 0xD5, 0xD6
LAST_CODE, INSERTS, LINKS, COLOUR_POINTER = 0xD7, 0xD8, 0xD9, 0xF3
COLOUR, UNDER_COLOUR, SCREEN_PAGE, OPEN_LINES = 0x0286, 0x0287, 0x0288, 0x0292
SHIFT_LOCKED = 0x0291
COLOUR_RAM, MEMORY_POINTERS = 0xD800, 0xD018
BLINK_JIFFIES = 20

COLOUR_CODES = (0x90, 0x05, 0x1C, 0x9F, 0x9C, 0x1E, 0x1F, 0x9E,
                0x81, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B)
RETURN, DELETE, INSERT = 0x0D, 0x14, 0x94


class Screen(Protocol):
    """What the editor writes to: RAM, colour RAM, and the VIC-II's registers by address."""

    @property
    def ram(self) -> memoryview: ...

    @property
    def colour(self) -> memoryview: ...

    def peek(self, address: int) -> int: ...

    def poke(self, address: int, value: int) -> None: ...


class Editor:
    """The screen editor of one machine."""

    def __init__(self, machine: Screen) -> None:
        self.machine = machine
        self.ram = machine.ram
        self.colour = machine.colour
        self.scrolls = 0  # since somebody set it to 0

    # Places on the screen.

    def start_of(self, row: int) -> int:
        """The first row of the line that a row belongs to."""
        while row > 0 and not self.ram[LINKS + row] & 0x80:
            row -= 1
        return row

    def end_of(self, row: int) -> int:
        """The row after the line that a row belongs to."""
        row += 1
        while row < ROWS and not self.ram[LINKS + row] & 0x80:
            row += 1
        return row

    def set_link(self, row: int, starts: bool) -> None:
        """Whether a row starts a line; the low bits keep the page of its screen address."""
        self.ram[LINKS + row] = self.row_address(row) >> 8 & 0x7F | 0x80 * starts

    def place(self, row: int, column: int) -> None:
        """Put the cursor on a row of the screen and a column of that row."""
        row = min(row, ROWS - 1)
        start = self.start_of(row)
        self.ram[ROW] = row
        self.ram[COLUMN] = (column + COLUMNS * (row - start)) % 256
        self.ram[LINE_END] = min((self.end_of(row) - start) * COLUMNS, LINE_LIMIT) - 1
        for pointer, address in ((LINE_POINTER, self.row_address(start)),
                                 (COLOUR_POINTER, COLOUR_RAM + COLUMNS * start)):
            self.ram[pointer], self.ram[pointer + 1] = address & 0xFF, address >> 8

    @property
    def column(self) -> int:
        """The cursor's column on its row of the screen."""
        return self.ram[COLUMN] % COLUMNS

    def get(self, at: int) -> int:
        """The screen code at a column of the cursor's line."""
        return self.ram[self._pointer(LINE_POINTER) + at & 0xFFFF]

    def put(self, at: int, code: int, colour: int) -> None:
        """A screen code and its colour at a column of the cursor's line."""
        self.ram[self._pointer(LINE_POINTER) + at & 0xFFFF] = code
        self.put_colour(at, colour)

    def put_colour(self, at: int, colour: int) -> None:
        self.colour[self._pointer(COLOUR_POINTER) + at & 0x3FF] = colour & 15

    def get_colour(self, at: int) -> int:
        return self.colour[self._pointer(COLOUR_POINTER) + at & 0x3FF] & 15

    def _pointer(self, at: int) -> int:
        return self.ram[at] | self.ram[at + 1] << 8

    # Rows.

    def row_address(self, row: int) -> int:
        """Where a row's codes are in RAM; its colours are at COLUMNS * row of the colour RAM."""
        return min(self.ram[SCREEN_PAGE] << 8, LAST_SCREEN) + COLUMNS * row

    def clear_row(self, row: int) -> None:
        """Fill a row with spaces of the current colour."""
        self._set_row(row, bytes([SPACE]) * COLUMNS, bytes([self.ram[COLOUR] & 15]) * COLUMNS)

    def copy_row(self, source: int, target: int) -> None:
        """Copy a row's codes and colours."""
        start = self.row_address(source)
        self._set_row(target, bytes(self.ram[start:start + COLUMNS]),
                      bytes(self.colour[COLUMNS * source:COLUMNS * (source + 1)]))

    def _set_row(self, row: int, codes: bytes, colours: bytes) -> None:
        start = self.row_address(row)
        self.ram[start:start + COLUMNS] = codes
        self.colour[COLUMNS * row:COLUMNS * (row + 1)] = colours

    def clear(self) -> None:
        """Empty the screen, every row a line of its own, the cursor at home."""
        for row in range(ROWS):
            self.set_link(row, starts=True)
            self.clear_row(row)
        self.place(0, 0)

    def scroll(self) -> int:
        """Move all lines up until the top line has left the screen; returns how many rows."""
        n_rows = self.end_of(0)
        self.scrolls += 1
        for row in range(ROWS - n_rows):
            self.copy_row(row + n_rows, row)
            self.set_link(row, bool(self.ram[LINKS + row + n_rows] & 0x80))
        for row in range(ROWS - n_rows, ROWS):
            self.clear_row(row)
            self.set_link(row, starts=True)
        self.ram[INPUT_ROW] = (self.ram[INPUT_ROW] - n_rows) % 256
        return n_rows

    def open_row(self, row: int) -> int:
        """Make an empty row at row, moving what is below down; returns where it came to lie."""
        if row >= ROWS:
            return ROWS - self.scroll()
        for below in range(ROWS - 1, row, -1):
            self.copy_row(below - 1, below)
            self.set_link(below, bool(self.ram[LINKS + below - 1] & 0x80))
        self.clear_row(row)
        return row

    def lengthen(self) -> bool:
        """Give the cursor's line a second row; False if it has one."""
        row = self.ram[ROW]
        end = self.end_of(row)
        if self.ram[LINE_END] >= LINE_LIMIT - 1:
            return False
        if end >= ROWS or self.ram[OPEN_LINES]:
            new = self.open_row(end)
            self.ram[ROW] = max(row - (end - new), 0)
            end = new
        self.set_link(end, starts=False)
        if end + 1 < ROWS:
            self.set_link(end + 1, starts=True)
        self.place(self.ram[ROW], self.column)
        return True

    # The cursor.

    def next_line(self) -> None:
        """The cursor to the start of the next line, scrolling at the bottom."""
        self.to_row(self.end_of(self.ram[ROW]), 0)

    def to_row(self, row: int, column: int) -> None:
        """The cursor to a row below, scrolling if that is below the screen.

        A new line halves the row where input began, which Commodore's editor does too: what is
        read after RETURN on another line depends on it.
        """
        if row >= self.end_of(self.ram[ROW]):
            self.ram[INPUT_ROW] >>= 1
        while row >= ROWS:
            row -= self.scroll()
        self.place(row, column)

    def advance(self) -> None:
        """The cursor behind the code just printed, into a second row if the line needs it."""
        at = self.ram[COLUMN]
        if at < self.ram[LINE_END]:
            self._go(at + 1)
        elif self.lengthen():
            self._go(at + 1)
        else:
            self.next_line()

    def _go(self, at: int) -> None:
        """The cursor to a column of its line."""
        self.place(self.start_of(self.ram[ROW]) + at // COLUMNS, at % COLUMNS)

    def left(self) -> bool:
        """The cursor one back, to the end of the row above; False at home."""
        row, column = self.ram[ROW], self.column
        if row == 0 and column == 0:
            return False
        self.place(*((row, column - 1) if column else (row - 1, COLUMNS - 1)))
        return True

    def right(self) -> None:
        row, column = self.ram[ROW], self.column
        self.to_row(*((row, column + 1) if column < COLUMNS - 1 else (row + 1, 0)))

    def up(self) -> None:
        self.place(max(self.ram[ROW] - 1, 0), self.column)

    def down(self) -> None:
        self.to_row(self.ram[ROW] + 1, self.column)

    def home(self) -> None:
        self.place(0, 0)

    def new_line(self) -> None:
        """RETURN: the modes off and the cursor to the next line."""
        for mode in (INSERTS, REVERSE, QUOTE_MODE):
            self.ram[mode] = 0
        self.next_line()

    def delete(self) -> None:
        """Take out the code before the cursor."""
        if not self.left():
            return
        at, end = self.ram[COLUMN], self.ram[LINE_END]
        for place in range(at, end):
            self.put(place, self.get(place + 1), self.get_colour(place + 1))
        self.put(end, SPACE, self.ram[COLOUR])

    def insert(self) -> None:
        """Make room for a code under the cursor; up to 80 columns a line."""
        at, end = self.ram[COLUMN], self.ram[LINE_END]
        if self.get(end) != SPACE or at == end:
            if not self.lengthen():
                return
            at, end = self.ram[COLUMN], self.ram[LINE_END]
        for place in range(end, at, -1):
            self.put(place, self.get(place - 1), self.get_colour(place - 1))
        self.put(at, SPACE, self.ram[COLOUR])
        self.ram[INSERTS] = (self.ram[INSERTS] + 1) % 256

    # Printing.

    def print(self, code: int) -> None:
        """What CHROUT does with a PETSCII code on the screen."""
        self.ram[LAST_CODE] = code
        self.ram[INPUT_SOURCE] = 0
        control = not code & 0x60
        if code & 0x7F == RETURN:
            self.new_line()
        elif not control:
            if code == QUOTE:
                self.ram[QUOTE_MODE] ^= 1
            self.show(petscii.screen_code(code) | 0x80 * bool(self.ram[REVERSE]))
        elif self.literal(code):
            self.show(code & 0x1F | 0x80 | (code & 0x80) >> 1)
        elif code in CONTROLS:
            CONTROLS[code](self)

    def literal(self, code: int) -> bool:
        """Whether a control code shows as a reversed sign: within quotes and inserted places."""
        if code == DELETE:
            return bool(self.ram[INSERTS])
        return bool(self.ram[QUOTE_MODE]) or (bool(self.ram[INSERTS]) and code != INSERT)

    def show(self, code: int) -> None:
        """Put a screen code at the cursor and move on."""
        if self.ram[INSERTS]:
            self.ram[INSERTS] -= 1
        self.put(self.ram[COLUMN], code, self.ram[COLOUR])
        self.advance()
        if self.ram[INSERTS]:
            self.ram[QUOTE_MODE] = 0

    def set_character_set(self, small: bool) -> None:
        """Small letters and capitals, or capitals and graphics: bit 1 of $D018."""
        pointers = self.machine.peek(MEMORY_POINTERS)
        self.machine.poke(MEMORY_POINTERS, pointers & 0xFD | 2 * small)

    # Input.

    def blink(self) -> None:
        """The cursor's share of the 60 Hz interrupt."""
        if self.ram[BLINK_OFF]:
            return
        self.ram[BLINK_COUNT] = (self.ram[BLINK_COUNT] - 1) % 256
        if self.ram[BLINK_COUNT]:
            return
        self.ram[BLINK_COUNT] = BLINK_JIFFIES
        at = self.ram[COLUMN]
        if self.ram[BLINK_PHASE]:
            self.hide_cursor()
        else:
            self.ram[BLINK_PHASE] = 1
            self.ram[UNDER_CURSOR] = self.get(at)
            self.ram[UNDER_COLOUR] = self.get_colour(at)
            self.put(at, self.get(at) ^ 0x80, self.ram[COLOUR])

    def hide_cursor(self) -> None:
        """Restore what the cursor covers."""
        if self.ram[BLINK_PHASE]:
            self.ram[BLINK_PHASE] = 0
            self.put(self.ram[COLUMN], self.ram[UNDER_CURSOR], self.ram[UNDER_COLOUR])

    def begin_input(self) -> None:
        """Remember where the typed line starts."""
        self.ram[INPUT_ROW], self.ram[INPUT_COLUMN] = self.ram[ROW], self.ram[COLUMN]

    def end_line(self) -> None:
        """RETURN was typed: the line on the screen, without trailing spaces, is the input."""
        end = self.ram[LINE_END]
        while end > 0 and self.get(end) == SPACE:
            end -= 1
        self.ram[INPUT_END] = end + 1  # an empty line is read as a space, unless begun behind it
        self.ram[INPUT_SOURCE] = 1
        self.ram[OPEN_LINES] = self.ram[QUOTE_MODE] = 0
        row = self.ram[ROW]
        same_line = self.start_of(row) == self.start_of(min(self.ram[INPUT_ROW], ROWS - 1))
        self._go(self.ram[INPUT_COLUMN] if same_line else 0)

    def read_line(self) -> int:
        """The next PETSCII code of the line on the screen; RETURN behind its last."""
        at = self.ram[COLUMN]
        if at >= self.ram[INPUT_END]:
            self.ram[INPUT_SOURCE] = 0
            return RETURN
        code = self.get(at)
        result = petscii.petscii_of_screen_code(code)
        if code & 0x80 and self.ram[QUOTE_MODE] and code & 0x7F < SPACE:
            result = code & 0x1F
        elif code & 0x80 and self.ram[QUOTE_MODE] and 0x40 <= code & 0x7F < 0x60:
            result = code & 0x1F | 0x80
        if result == QUOTE:
            self.ram[QUOTE_MODE] ^= 1
        if at < self.ram[LINE_END]:
            self._go(at + 1)
        else:
            self.ram[COLUMN] = at + 1
        return 0xFF if result == 0xDE else result


def _set(address: int, value: int) -> Callable[[Editor], None]:
    def store(editor: Editor) -> None:
        editor.ram[address] = value
    return store


CONTROLS: dict[int, Callable[[Editor], object]] = {
    0x08: _set(SHIFT_LOCKED, 0x80),
    0x09: _set(SHIFT_LOCKED, 0),
    0x0E: lambda editor: editor.set_character_set(small=True),
    0x8E: lambda editor: editor.set_character_set(small=False),
    0x11: Editor.down,
    0x91: Editor.up,
    0x12: _set(REVERSE, 0x12),
    0x92: _set(REVERSE, 0),
    0x13: Editor.home,
    0x93: Editor.clear,
    DELETE: Editor.delete,
    INSERT: Editor.insert,
    0x1D: Editor.right,
    0x9D: Editor.left,
    **{code: _set(COLOUR, colour) for colour, code in enumerate(COLOUR_CODES)},
}
