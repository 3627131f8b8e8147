"""Sections: the parts of an image's source text in the order of memory, and areas left empty.

To add a kind of data: a function that gives a Section.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from anachron.compiler.memory import Placed, find_free
from anachron.kernels.mos6502 import zeropage

BYTES_A_LINE = 24
SHUFFLES = 60  # orders of chance in which areas are placed where others fail
PAGE = 256
ZERO_PAGE = frozenset(name for name, _, _ in zeropage.ROWS)


@dataclass(frozen=True)
class Section:
    """Lines of source, between the labels section_<name> and section_<name>_end.

    size     in bytes, where that is known before it is assembled
    aligned  it begins on a page
    """

    name: str
    kind: str  # as in memory.Placed
    text: str
    size: int = 0
    aligned: bool = False

    @property
    def label(self) -> str:
        return "section_" + "".join(c if c.isalnum() else "_" for c in self.name.lower())


@dataclass(frozen=True)
class Area:
    """Memory that nothing is loaded into.

    pieces    (offset, size) of the bytes that are used, from the label on
    align     the label's address is a multiple of it
    visible   must be there while the KERNAL is, too
    whole     in one page, wherever there
    """

    label: str
    kind: str
    pieces: tuple[tuple[int, int], ...]
    align: int = 1
    visible: bool = False
    whole: bool = False

    @property
    def size(self) -> int:
        return sum(size for _, size in self.pieces)


def area(label: str, kind: str, size: int, visible: bool = False) -> Area:
    return Area(label, kind, ((0, size),), 1, visible)


def small_table(label: str, size: int) -> Area:
    """A table that is filled by the program and read by an index: in pages, or in one of them."""
    return Area(label, "table", ((0, size),), *((1, False, True) if size < PAGE else (PAGE,)))


def page_ends(label: str, kind: str, sizes: Iterable[int]) -> Area:
    """The last bytes of consecutive pages: so many of each."""
    pieces = tuple((PAGE * i + PAGE - size, size) for i, size in enumerate(sizes))
    return Area(label, kind, pieces, PAGE)


def byte_lines(data: bytes) -> str:
    return "\n".join(
        "    .byte " + ",".join(str(b) for b in data[at : at + BYTES_A_LINE])
        for at in range(0, len(data), BYTES_A_LINE)
    )


def data(name: str, kind: str, label: str, content: bytes) -> Section:
    return Section(name, kind, f"{label}:\n{byte_lines(content)}", len(content))


def page_data(name: str, kind: str, text: str, size: int) -> Section:
    """Data, with its labels, that begins on a page."""
    return Section(name, kind, f"    .align 256, 0\n{text}", size, True)


def fill_pages(sections: Iterable[Section]) -> list[Section]:
    """Sections in an order that leaves few bytes unused where one must begin on a page: those of
    known size that need not go between those that must."""
    sections = list(sections)
    left = sorted((s for s in sections if not s.aligned), key=lambda s: -s.size)
    pages = [s for s in sections if s.aligned]
    ordered: list[Section] = []
    for i, page in enumerate(pages):
        ordered.append(page)
        room = -page.size % PAGE if i + 1 < len(pages) else 0
        for section in list(left):
            if 0 < section.size <= room:
                ordered.append(section)
                left.remove(section)
                room -= section.size
    return [*ordered, *left]


def compose(title: str, origin: int, constants: str, sections: Iterable[Section]) -> str:
    """The whole source text."""
    body = "\n\n".join(
        f"{section.label}:\n{section.text}\n{section.label}_end:" for section in sections
    )
    return f"; {title}\n{constants}\n\n* = ${origin:04x}\n{body}\nimage_end:\n"


def least_size(section: Section) -> int:
    """The bytes of a section, or about so many, and hardly more than there will be."""
    if section.size:
        return section.size
    return sum(_least_bytes(line) for line in section.text.splitlines())


def _least_bytes(line: str) -> int:
    word, _, operand = line.partition(";")[0].strip().partition(" ")
    operand = operand.strip()
    if not line.startswith(" ") or not word or (not word.isalpha() and word != ".byte"):
        return 0
    if word == ".byte":
        return operand.count(",") + 1
    if operand in ("", "a") or word[0] == ".":
        return 1
    short = operand[0] in "#(*" or (word[0] == "b" and word != "bit")
    name = operand.partition(",")[0].partition("+")[0]
    return 2 if short or name in ZERO_PAGE else 3


def place_sections(sections: Iterable[Section], symbols: Mapping[str, int]) -> tuple[Placed, ...]:
    """The memory map of what is loaded."""
    found = []
    for section in sections:
        start, end = symbols[section.label], symbols[f"{section.label}_end"]
        if section.aligned:  # what fills the page before belongs to nobody, or to an area
            start = -(-start // PAGE) * PAGE
        if end > start:
            found.append(Placed(section.name, start, end - start, section.kind))
    return tuple(found)


def zero_page() -> tuple[Placed, ...]:
    """The variables that kernels share."""
    addresses = zeropage.assign()
    return tuple(Placed(n, addresses[n], size, "zero page") for n, size, _ in zeropage.ROWS)


class Overflow(ValueError):
    """An area finds no place."""

    def __init__(self, area: Area) -> None:
        super().__init__(f"{area.label} of {area.size} bytes finds no place")
        self.area = area


def place_areas(
    areas: Iterable[Area],
    regions: Iterable[tuple[int, int]],
    visible_end: int,
    once: tuple[int, int] = (0, 0),
) -> tuple[dict[str, int], tuple[Placed, ...]]:
    """Addresses of areas, tables from the top of a region down, others upwards, the demanding ones
    first.

    regions      (address, end) of free memory
    once         where routines lie that run once, and fill the tables: free for all others
    visible_end  visible areas end below it
    Raises Overflow for the first that finds no place.
    """
    regions = list(regions)
    areas = list(areas)
    there = sum(end - start for start, end in [*regions, once])
    shuffles = SHUFFLES if sum(area.size for area in areas) <= there else 0
    failed: Overflow | None = None
    for order in (*ORDERS, *(_shuffled(areas, seed) for seed in range(shuffles))):
        try:
            return _place(areas, regions, visible_end, once, order)
        except Overflow as overflow:
            failed = overflow
    assert failed is not None
    raise failed


def _shuffled(areas: Iterable[Area], seed: int) -> Callable[[Area], tuple[float, int]]:
    """An order in which most areas that must begin on a page come early, and chance has its part.

    Where areas are short of room for their alignment alone, one of a few such orders places them.
    """
    rng = random.Random(seed)
    ranks = {
        area.label: (area.align if rng.random() < 0.7 else 0) + rng.random() * 2 * PAGE
        for area in areas
    }
    return lambda area: (ranks[area.label], 0)


# What comes first where areas are placed, each tried: what is hard to place; page ends, which are
# small, in what larger areas leave; page ends before areas of a page or two; what is large.
ORDERS: tuple[Callable[[Area], tuple[float, int]], ...] = (
    lambda a: (a.align, a.size),
    lambda a: (0 if a.pieces[0][0] else a.align, a.size),
    lambda a: (1, 2 * PAGE + len(a.pieces)) if a.pieces[0][0] else (a.align, a.size),
    lambda a: (0, 2 * PAGE if a.pieces[0][0] else a.size),
)


def _place(
    areas: list[Area],
    regions: list[tuple[int, int]],
    visible_end: int,
    once: tuple[int, int],
    first: Callable[[Area], tuple[float, int]],
) -> tuple[dict[str, int], tuple[Placed, ...]]:
    """place_areas, in one order."""
    placed: list[Placed] = []
    addresses: dict[str, int] = {}

    def rank(area: Area) -> tuple[object, ...]:
        alignment, size = first(area)
        return (not area.visible, -alignment, -size, -area.size, area.label)

    order = sorted(areas, key=rank)
    for wanted in order:
        late = [] if wanted.kind == "table" or once[0] == once[1] else [once]
        gaps = find_free(placed, join_regions([*regions, *late]))
        address = _find(wanted, gaps, visible_end)
        if address is None:
            raise Overflow(wanted)
        addresses[wanted.label] = address
        placed += [
            Placed(wanted.label, address + offset, size, wanted.kind)
            for offset, size in wanted.pieces
            if size
        ]
    return addresses, tuple(sorted(placed, key=lambda p: p.address))


def join_regions(regions: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Regions that touch become one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(r for r in regions if r[0] < r[1]):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def lay_out(sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """label -> (offset from a page's start, size), so that what a page can hold crosses none."""
    at, places = 0, {}
    for label, size in sizes.items():
        if at // PAGE != (at + size - 1) // PAGE and size <= PAGE:
            at = -(-at // PAGE) * PAGE
        places[label] = (at, size)
        at += size
    return places


def _find(wanted: Area, gaps: list[tuple[int, int]], visible_end: int) -> int | None:
    """The address of the smallest gap that takes an area: as high in it as it goes for a table,
    as low for another."""
    align, first_offset = wanted.align, wanted.pieces[0][0]
    last_offset, last_size = wanted.pieces[-1]
    for start, end in sorted(gaps, key=lambda gap: gap[1] - gap[0]):
        end = min(end, visible_end) if wanted.visible else end
        lowest = -(-(start - first_offset) // align) * align
        highest = (end - last_offset - last_size) // align * align
        places = range(lowest, highest + 1, align if align > 1 else max(1, highest - lowest))
        if wanted.whole:
            places = range(lowest, highest + 1)
        for address in reversed(places) if wanted.kind == "table" else places:
            if _fits(wanted, address, gaps):
                return address
    return None


def _fits(wanted: Area, address: int, gaps: list[tuple[int, int]]) -> bool:
    if wanted.whole and address // PAGE != (address + wanted.size - 1) // PAGE:
        return False
    return all(
        any(start <= address + offset and address + offset + size <= end for start, end in gaps)
        for offset, size in wanted.pieces
        if size
    )
