"""Placement: buffers that never live at the same time share addresses; objects fill free regions.

The buffers of a stage are packed by first fit, the longest-lived first; objects (weights, tables,
code) go into the free regions of a machine's memory, the largest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anachron.compiler.schedule import Lifetime


@dataclass(frozen=True)
class Placed:
    """One object in memory.  kind: code, weights, table, buffer, cache, runtime, zero page."""

    name: str
    address: int
    size: int
    kind: str

    @property
    def end(self) -> int:
        return self.address + self.size


def pack(
    lifetimes: Iterable[Lifetime], bytes_of: Mapping[str, int], block: int = 0
) -> tuple[dict[str, int], int]:
    """Offsets for buffers, and the bytes that they need in all; lifetimes that meet never share,
    and those that follow each other share all or nothing.

    block  where it is not 0, what is no larger lies inside one of so many bytes

    >>> pack([Lifetime("a", 2, 8, 0, 2), Lifetime("b", 2, 8, 1, 4), Lifetime("c", 2, 8, 3, 5)],
    ...      {"a": 2, "b": 2, "c": 2})
    ({'a': 2, 'b': 0, 'c': 2}, 4)
    """
    order = sorted(lifetimes, key=lambda t: (t.first - t.last, -bytes_of[t.name], t.first, t.name))
    placed: list[tuple[Lifetime, int]] = []
    for life in order:
        size = bytes_of[life.name]
        spans = [(other, offset, offset + bytes_of[other.name]) for other, offset in placed]
        busy = [(start, end) for other, start, end in spans if _meet(life, other)]
        near = [(start, end) for other, start, end in spans if _follow(life, other)]
        at = next(
            (
                start
                for start, end in near
                if end - start == size
                and not any(start < high and low < end for low, high in busy)
                and not any(start < high and low < end for low, high in near if low != start)
            ),
            -1,
        )
        if at < 0:
            at = 0
            for start, end in sorted(busy + near):
                if start - at >= size:
                    break
                at = _inside(max(at, end), size, block)
        placed.append((life, at))
    total = max((at + bytes_of[life.name] for life, at in placed), default=0)
    return {life.name: at for life, at in sorted(placed, key=lambda p: p[0].first)}, total


def _inside(at: int, size: int, block: int) -> int:
    """The first place from one on where an object crosses no block's end, if it must not."""
    crosses = block > 0 and at // block != (at + size - 1) // block
    return -(-at // block) * block if crosses else at


def _meet(a: Lifetime, b: Lifetime) -> bool:
    """Both live at some tick."""
    return a.first <= b.last and b.first <= a.last


def _follow(a: Lifetime, b: Lifetime) -> bool:
    """One is written over the other, element by element: at the same place, or apart."""
    return a.first == b.last + 1 or b.first == a.last + 1


def find_free(
    objects: Iterable[Placed], regions: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The gaps (address, end) that objects leave in regions.

    >>> find_free([Placed("x", 4, 2, "code")], [(0, 10)])
    [(0, 4), (6, 10)]
    """
    taken = sorted((o.address, o.end) for o in objects)
    gaps = []
    for start, end in sorted(regions):
        at = start
        for low, high in taken:
            if high <= at or low >= end:
                continue
            if low > at:
                gaps.append((at, low))
            at = max(at, high)
        if at < end:
            gaps.append((at, end))
    return gaps


def find_overlap(objects: Iterable[Placed]) -> tuple[Placed, Placed] | None:
    """The first two objects that share an address, if any."""
    ordered = sorted((o for o in objects if o.size), key=lambda o: o.address)
    for a, b in zip(ordered, ordered[1:], strict=False):
        if b.address < a.end:
            return a, b
    return None
