"""Which barrier a kernel needs next: who wrote and who read what since the last one.

A block's object is written by some warps and read by others; a warp's own object only needs its own
warp's barrier.  emulators/ptx finds whatever is missed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Hazards:
    """Objects by name; `own` ones belong to a warp."""

    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    own_written: set[str] = field(default_factory=set)
    own_read: set[str] = field(default_factory=set)

    def copy(self) -> Hazards:
        return Hazards(set(self.written), set(self.read), set(self.own_written), set(self.own_read))

    def joined(self, other: Hazards) -> Hazards:
        """What may be pending where two ways meet."""
        return Hazards(
            self.written | other.written,
            self.read | other.read,
            self.own_written | other.own_written,
            self.own_read | other.own_read,
        )

    def to_read(self, name: str, own: bool = False) -> str:
        """The barrier that a read needs first: block, warp, or none."""
        needed = self._needed(name, own, writing=False)
        (self.own_read if own else self.read).add(name)
        return needed

    def to_write(self, name: str, own: bool = False) -> str:
        needed = self._needed(name, own, writing=True)
        (self.own_written if own else self.written).add(name)
        return needed

    def _needed(self, name: str, own: bool, writing: bool) -> str:
        written, read = (
            (self.own_written, self.own_read) if own else (self.written, self.read)
        )
        if name not in written and not (writing and name in read):
            return ""
        self.clear(own)
        return "warp" if own else "block"

    def clear(self, own: bool = False) -> None:
        """A barrier stood here: of the block, or of a warp."""
        self.own_written.clear()
        self.own_read.clear()
        if not own:
            self.written.clear()
            self.read.clear()
