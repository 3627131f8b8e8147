"""A running machine -> a terminal, live: its picture drawn, the keys typed passed on, time kept.

`Terminal` is the screen and the keyboard of the person; `play` runs a machine in slices of its own
time, at its real speed, a multiple of it, or as fast as it goes. To show another machine: give
`play` its View.

Sources: ECMA-48 (1991) for the control sequences; xterm's "ctlseqs" for keys.
"""

import os
import select
import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self, TextIO

try:
    import termios
    import tty
except ImportError:  # a system without terminals of this kind: drawn, but nothing can be typed
    termios = None  # type: ignore[assignment]

QUIT = 0x1D  # Ctrl-]
FRAMES_A_SECOND = 25
FRAME_NS = 1_000_000_000 // FRAMES_A_SECOND
LONGEST_SLICE_NS = 2_000_000_000
CLEAR, HIDE_CURSOR, SHOW_CURSOR = "\x1b[2J", "\x1b[?25l", "\x1b[?25h"
OTHER_SCREEN, FIRST_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


class View(NamedTuple):
    """What `play` needs of a machine."""

    advance: Callable[[int], str | None]  # run some ns of its time; why it stopped, if for good
    time_ns: Callable[[], int]
    picture: Callable[[int], list[str]]  # at most so many lines, control sequences included
    press: Callable[[bytes], None]  # what the person typed, as the terminal sends it


class Terminal:
    """A terminal in raw mode; only the lines that change are drawn again."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stdout
        self.shown: list[str] = []
        self.keyboard = sys.stdin.fileno() if termios and sys.stdin.isatty() else None

    def __enter__(self) -> Self:
        if self.keyboard is not None:
            self.before = termios.tcgetattr(self.keyboard)
            tty.setraw(self.keyboard)
        self.out.write(OTHER_SCREEN + HIDE_CURSOR + CLEAR)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.out.write(SHOW_CURSOR + FIRST_SCREEN)
        self.out.flush()
        if self.keyboard is not None:
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, self.before)

    @property
    def height(self) -> int:
        """How many lines the terminal has."""
        return shutil.get_terminal_size().lines

    def draw(self, lines: list[str]) -> None:
        """Show lines from the top of the terminal, as many as it has."""
        lines = lines[:self.height]
        old = self.shown + [""] * len(lines)
        changed = [f"\x1b[{row};1H{line}\x1b[K" for row, line in enumerate(lines, 1)
                   if line != old[row - 1]]
        if len(self.shown) > len(lines):
            changed.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
        self.shown = list(lines)
        if changed:
            self.out.write("".join(changed))
            self.out.flush()

    def read(self) -> bytes:
        """What has been typed since, without waiting."""
        if self.keyboard is None or not select.select([self.keyboard], [], [], 0)[0]:
            return b""
        return os.read(self.keyboard, 1024)


def play(view: View, terminal: Terminal, speed: float | None,
         clock: Callable[[], float] = time.perf_counter,
         sleep: Callable[[float], None] = time.sleep) -> str:
    """Run until the machine stops or Ctrl-] is typed; returns why.

    speed  machine time for a second of ours, 1.0 being the real thing; None: as fast as it goes
    """
    began, started_ns = clock(), view.time_ns()
    slice_ns = FRAME_NS if speed is None else max(1, int(FRAME_NS * speed))
    while True:
        typed = terminal.read()
        if QUIT in typed:
            return "stopped from the keyboard"
        if typed:
            view.press(typed)
        frame = clock()
        reason = view.advance(slice_ns)
        status = status_line(view.time_ns() - started_ns, clock() - began)
        terminal.draw([*view.picture(terminal.height - 1), status])
        if reason:
            return reason
        if speed is None:  # as much as fits between two pictures
            taken = max(clock() - frame, 1e-6)
            slice_ns = int(min(max(slice_ns / taken / FRAMES_A_SECOND, 1000), LONGEST_SLICE_NS))
        else:
            ahead = (view.time_ns() - started_ns) / 1e9 / speed - (clock() - began)
            if ahead > 0:
                sleep(ahead)


def status_line(machine_ns: int, seconds: float) -> str:
    """How long the machine has run, and how fast that was."""
    machine = machine_ns / 1e9
    ratio = machine / seconds if seconds > 0 else 0.0
    return f"{machine:10.2f} s of the machine, {ratio:8.1f} times its speed.   Ctrl-] stops."


def parse_speed(text: str) -> float | None:
    """`1`, `x10` or `max` -> times real speed; None for max.

    >>> parse_speed("x10"), parse_speed("max")
    (10.0, None)
    """
    if text == "max":
        return None
    try:
        speed = float(text.removeprefix("x"))
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1e6:
        raise ValueError(f"--live {text}: 'max', or how many times the real speed, as in x10")
    return speed
