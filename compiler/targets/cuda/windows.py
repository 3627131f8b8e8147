"""Where a stream kernel loads what takes long: while a chain of its own waits for itself.

A window opens where a value is on its way, and is a line of the text that loads are put into later.
They wait for a word that is 0 and known when the window begins, of which the assembler only knows
the second: it would load everything at once, in front of what is wanted sooner.

To add one: open_window where a chain starts to wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from anachron.compiler.targets.cuda.stream import Stream, Window
from anachron.kernels.cuda.heads import ZERO

EARLY = "early"  # the window of loads for what follows the next barrier
MOST_EARLY = 1  # of a product's tiles: the barrier's own time is as short
MOST_AHEAD = 12  # tiles that are loaded before a barrier, for the product behind it


def open_window(s: Stream, name: str, known: str) -> None:
    """Loads that are wanted once a value is there may stand here, where `known` is."""
    after = f"after{s.serial}_{len(s.loads)}"
    s.emit(f"{after} = and32({known}, {ZERO})", f"@W{len(s.loads)}@")
    s.windows[name] = Window(len(s.loads), len(s.intervals), after)
    s.loads.append([])


def find_window(s: Stream, name: str) -> Window | None:
    """The window that goes with a value, if no barrier of the block came since."""
    window = s.windows.get(name)
    return window if window and window.interval == len(s.intervals) else None


def find_early(s: Stream) -> Window | None:
    """A window before the last barrier of the block, if there was one."""
    window = s.windows.get(EARLY)
    return window if window and window.interval == len(s.intervals) - 1 else None


def load_tiles(s: Stream, names: Sequence[str], window: Window | None) -> None:
    """Where tiles that are not in registers are loaded: before the last barrier, if few."""
    if window:
        early = find_early(s)
        first = len(names) - (MOST_EARLY if early else 0)
        for i, name in enumerate(names):  # of tiles in a window, the last are loaded first
            chosen = early if early and i >= first else window
            s.loads[chosen.number].append(f"@L{name[1:]}+{chosen.after}@")
        return
    loads = [f"@L{name[1:]}@" for name in names]
    if s.ahead is not None and len(loads) <= MOST_AHEAD:
        s.lines[s.ahead : s.ahead] = loads
        s.ahead = None
    else:
        s.emit(*loads)
