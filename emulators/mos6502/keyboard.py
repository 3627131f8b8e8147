"""Pressed keys -> the CIA's matrix and the KERNAL's key codes; text -> keys pressed one by one.

The keyboard is 8 x 8 switches: the CIA pulls columns of port A low and reads rows on port B.
A key's number is 8 * column + row. KEYS names them in that order; the four tables give the PETSCII
code of each key alone and with SHIFT, the Commodore key and CTRL (0xFF: none).

Source: Commodore 64 Programmer's Reference Guide (1982), app. C and the keyboard matrix in app. O;
Mapping the Commodore 64 (S. Leemon, 1984), $EB81 ff. for what SHIFT, C= and CTRL give.
"""

from collections import deque
from collections.abc import Iterable
from copy import copy
from typing import Any

import numpy as np

KEYS = """
    delete return right  f7  f1    f3    f5  down
    3      w      a      4   z     s     e   left-shift
    5      r      d      6   c     f     t   x
    7      y      g      8   b     h     u   v
    9      i      j      0   m     k     o   n
    +      p      l      -   .     :     @   ,
    pound  *      ;      home right-shift = ↑ /
    1      ←      control 2  space commodore q stop
""".split()
NUMBER = {name: number for number, name in enumerate(KEYS)}
NO_KEY = 64
NONE = 0xFF
SHIFT, COMMODORE, CONTROL = 1, 2, 4  # bits of $028D
MODIFIERS = {NUMBER["left-shift"]: SHIFT, NUMBER["right-shift"]: SHIFT,
             NUMBER["commodore"]: COMMODORE, NUMBER["control"]: CONTROL}

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NAMED = {  # key: alone, SHIFT, C=, CTRL
    "delete": (0x14, 0x94, 0x94, NONE), "return": (0x0D, 0x8D, 0x8D, NONE),
    "right": (0x1D, 0x9D, 0x9D, NONE), "down": (0x11, 0x91, 0x91, NONE),
    "f1": (0x85, 0x89, 0x89, NONE), "f3": (0x86, 0x8A, 0x8A, NONE),
    "f5": (0x87, 0x8B, 0x8B, NONE), "f7": (0x88, 0x8C, 0x8C, NONE),
    "home": (0x13, 0x93, 0x93, NONE), "stop": (0x03, 0x83, 0x03, NONE),
    "space": (0x20, 0xA0, 0xA0, NONE), "pound": (0x5C, 0xA9, 0xA8, 0x1C),
    "+": (0x2B, 0xDB, 0xA6, NONE), "-": (0x2D, 0xDD, 0xDC, NONE), ".": (0x2E, 0x3E, 0x3E, NONE),
    ",": (0x2C, 0x3C, 0x3C, NONE), ":": (0x3A, 0x5B, 0x5B, 0x1B), ";": (0x3B, 0x5D, 0x5D, 0x1D),
    "@": (0x40, 0xBA, 0xA4, 0x00), "*": (0x2A, 0xC0, 0xDF, NONE), "=": (0x3D, 0x3D, 0x3D, 0x1F),
    "↑": (0x5E, 0xDE, 0xDE, 0x1E), "/": (0x2F, 0x3F, 0x3F, NONE), "←": (0x5F, 0x5F, 0x5F, 0x06),
}
_DIGITS = {  # 0 to 9: SHIFT, C=, CTRL
    digit: row for digit, row in zip("0123456789", zip(
        b"0!\"#$%&'()", b"0\x81\x95\x96\x97\x98\x99\x9a\x9b)",
        b"\x92\x90\x05\x1c\x9f\x9c\x1e\x1f\x9e\x12", strict=True), strict=True)}
_COMMODORE_LETTERS = bytes.fromhex(
    "b0 bf bc ac b1 bb a5 b4 a2 b5 a1 b6 a7 aa b9 af ab b2 ae a3 b8 be b3 bd b7 ad")


def _codes(key: str) -> tuple[int, int, int, int]:
    """A key's code alone and with SHIFT, C= and CTRL."""
    if key in _NAMED:
        return _NAMED[key]
    if key in _DIGITS:
        return ord(key), *_DIGITS[key]
    if key in _LETTERS:
        at = _LETTERS.index(key)
        return 0x41 + at, 0xC1 + at, _COMMODORE_LETTERS[at], 1 + at
    return NONE, NONE, NONE, NONE


PLAIN, SHIFTED, WITH_COMMODORE, WITH_CONTROL = (
    bytes(column) for column in zip(*map(_codes, KEYS), strict=True))


def key_code(key: int, modifiers: int) -> int:
    """The PETSCII code of a key number with $028D's modifiers; 0xFF for none.

    CTRL goes before the Commodore key, and that before SHIFT.
    """
    if key >= NO_KEY:
        return NONE
    table = (WITH_CONTROL if modifiers & CONTROL else WITH_COMMODORE if modifiers & COMMODORE
             else SHIFTED if modifiers & SHIFT else PLAIN)
    return table[key]


def keys_for(petscii: int) -> tuple[int, ...] | None:
    """The key numbers that give a PETSCII code when held together; None if there are none.

    >>> [KEYS[key] for key in keys_for(0xC1)]
    ['left-shift', 'a']
    """
    return _KEYS_FOR.get(petscii)


_KEYS_FOR: dict[int, tuple[int, ...]] = {}
for _modifier, _table in (((), PLAIN), (("left-shift",), SHIFTED),
                          (("commodore",), WITH_COMMODORE), (("control",), WITH_CONTROL)):
    for _key, _code in enumerate(_table):
        if _code != NONE:
            _KEYS_FOR.setdefault(_code, (*(NUMBER[name] for name in _modifier), _key))
_KEYS_FOR[0xFF] = _KEYS_FOR[0xDE]

HELD_CYCLES = 40_000  # a key stays down two frames, so that a scan every 1/60 s sees it
PAUSE_CYCLES = 40_000
QUEUE, QUEUE_LENGTH, QUEUE_LIMIT, JIFFY = 0x0277, 0xC6, 10, 0xA2
KERNAL_LOOKS = 3  # at the switches in a jiffy, at most, while no key is down
PROGRAM_LOOKS = 10  # beyond those: the program scans the switches itself


class Keyboard:
    """The switches, and text that waits to be typed.

    Text goes into the KERNAL's queue, ten codes at a time, whenever the queue is empty. If the
    program is seen to scan the switches itself, what is left in the queue is taken back, and the
    keys are pressed one by one.
    """

    def __init__(self) -> None:
        self.matrix = np.full(8, 0xFF, np.uint8)  # a column: its rows, low where pressed
        self.waiting: deque[int] = deque()
        self.queued: list[int] = []  # what was last put into the queue, until it is read
        self.held_until: int | None = None
        self.next_at = 0
        self.seen: tuple[int, int] | None = None  # looks and jiffy, when last watched
        self.surplus = 0  # looks that were not the KERNAL's

    def type(self, petscii: Iterable[int]) -> None:
        """Append PETSCII codes to what is typed."""
        if not self.busy:
            self.seen = None
        self.waiting.extend(petscii)

    @property
    def busy(self) -> bool:
        """Whether there is something left to type or a key to let go."""
        return bool(self.waiting or self.queued) or self.held_until is not None

    def press(self, keys: Iterable[int]) -> None:
        """Hold keys down, by number."""
        for key in keys:
            self.matrix[key >> 3] &= 0xFF ^ 1 << (key & 7)

    def release(self) -> None:
        """Let all keys go."""
        self.matrix[:] = 0xFF

    def pressed(self) -> list[int]:
        """The numbers of the keys held down, in the order of a scan."""
        return [8 * column + row for column in np.flatnonzero(self.matrix != 0xFF).tolist()
                for row in range(8) if not self.matrix[column] >> row & 1]

    def feed(self, ram: memoryview) -> None:
        """Give the queue its next codes if it is empty."""
        if ram[QUEUE_LENGTH]:
            return
        self.queued = [self.waiting.popleft() for _ in range(min(QUEUE_LIMIT, len(self.waiting)))]
        for at, code in enumerate(self.queued):
            ram[QUEUE + at] = code
        ram[QUEUE_LENGTH] = len(self.queued)

    def state(self) -> dict[str, Any]:
        """What is being typed, for a snapshot; the switches are the machine's."""
        return {name: copy(value) for name, value in vars(self).items() if name != "matrix"}

    def restore(self, state: dict[str, Any]) -> None:
        """Come back to a state."""
        for name, value in state.items():
            setattr(self, name, copy(value))

    def take_back(self, ram: memoryview) -> None:
        """Take what the program has not read out of the queue again."""
        n_left = min(ram[QUEUE_LENGTH], len(self.queued))
        if n_left:
            self.waiting.extendleft(reversed(self.queued[-n_left:]))
            ram[QUEUE_LENGTH] -= n_left
        self.queued = []

    def watch(self, looks: int, jiffy: int) -> bool:
        """Whether the program scans the switches itself.

        looks  how often port B has been read since power-on, by whomever
        jiffy  the low byte of the KERNAL's clock, for how many of those are its own
        """
        if self.seen is None:
            self.surplus = 0
        else:
            others = looks - self.seen[0] - KERNAL_LOOKS * ((jiffy - self.seen[1]) % 256)
            self.surplus = max(-KERNAL_LOOKS, self.surplus + others)  # within an interrupt: less
        self.seen = looks, jiffy
        return self.surplus >= PROGRAM_LOOKS

    def tick(self, ram: memoryview, now: int, looks: int) -> None:
        """Type on; call once a frame while busy. looks as in `watch`."""
        if self.held_until is not None:
            self.seen = looks, ram[JIFFY]  # more of the KERNAL's own while a key is down
            if now >= self.held_until:
                self.release()
                self.held_until = None
                self.next_at = now + PAUSE_CYCLES
        elif self.watch(looks, ram[JIFFY]):
            self.take_back(ram)
            if self.waiting and now >= self.next_at:
                keys = keys_for(self.waiting.popleft())
                if keys is not None:
                    self.press(keys)
                    self.held_until = now + HELD_CYCLES
        else:
            self.feed(ram)


def modifiers_of(keys: Iterable[int]) -> int:
    """$028D's bits for the keys held down."""
    bits = 0
    for key in keys:
        bits |= MODIFIERS.get(key, 0)
    return bits
