"""Sections and areas -> a linked program beside a window of ROM.

While a bank is in the window its addresses, the I/O chips' and the KERNAL's hide the RAM beneath.
What a kernel touches that reads ROM - every label in its text, and in the text of all that it may
call - lies elsewhere; the rest is put beneath first.

To let another section lie beneath: its name in BENEATH, if nothing calls it while ROM is seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anachron.compiler.assembly.program import Program
from anachron.compiler.fixed import FixedModel
from anachron.compiler.memory import Placed, find_free
from anachron.compiler.targets import DoesNotFit, Machine
from anachron.compiler.targets.mos6502.linking import (
    BUFFERS,
    IO_START,
    MEMORY_END,
    SMALL_REGIONS,
    assemble_at,
    page_gaps,
)
from anachron.compiler.targets.mos6502.sections import (
    Area,
    Overflow,
    Section,
    fill_pages,
    join_regions,
    place_areas,
)
from anachron.emulators.containers import prg
from anachron.kernels.mos6502.banks import WINDOW, WINDOW_END

# Sections of code that nothing needs while ROM is seen, and what they alone read.
BENEATH = ("attention", "sampling", "rank weights", "tables")
ALWAYS = {"desk", "operand", "prompt_ids", "answer_ids"}  # also by other names
GAP, GAP_STEP = "for areas", 1024
SMALL = sum(end - start for start, end in SMALL_REGIONS)
ANYWHERE, NOWHERE = 0x1000, (0, 0)
_WORD, _LABEL = re.compile(r"[a-z_]\w*"), re.compile(r"^(\w+):", re.MULTILINE)


@dataclass(frozen=True)
class Split:
    """What must be seen beside the ROM, and what need not."""

    beside: tuple[Section, ...]
    beneath: tuple[Section, ...]
    areas_beside: tuple[Area, ...]
    areas_beneath: tuple[Area, ...]

    @property
    def sections(self) -> list[Section]:
        """In the order of memory."""
        return [*self.beside, *self.beneath]

    def apart(self, gap: int) -> list[Section]:
        """With so many bytes left free between the two."""
        room = [Section(GAP, "runtime", f"    .res {gap}, 0", gap)] if gap else []
        return [*self.beside, *room, *self.beneath]


def split(sections: Iterable[Section], areas: Iterable[Area], data: Mapping[str, Section]) -> Split:
    """data: label -> the section of an op's constants, among the sections."""
    constants = {section.name for section in data.values()}
    code = [s for s in sections if s.name not in constants]
    seen = [s for s in code if s.name not in BENEATH]
    words = ALWAYS | {word for s in seen for word in _WORD.findall(s.text)}
    tables = {True: list[Section](), False: list[Section]()}
    for section in data.values():
        tables[not words.isdisjoint(_LABEL.findall(section.text))].append(section)
    late = [s for s in code if s.name in BENEATH and s.name != "tables"]
    once = [s for s in code if s.name == "tables"]
    areas = list(areas)
    words |= {a.label for a in areas if a.label.startswith(BUFFERS)}
    return Split(
        (*seen, *fill_pages(tables[True])),
        (*late, *fill_pages(tables[False]), *once),
        tuple(a for a in areas if a.label in words),
        tuple(a for a in areas if a.label not in words),
    )


def check_past(fixed: FixedModel, machine: Machine) -> None:
    """Raise DoesNotFit where keys and values alone are more than the RAM."""
    reads = {n for op in fixed.ops if op.contract == "attention" for n in op.inputs[1:]}
    each = sum(fixed.values[n].size * fixed.values[n].format.bits // 8 for n in reads)
    room = MEMORY_END - prg.BASIC_START
    if each * fixed.seq_len > room:
        over = each * fixed.seq_len - room
        raise DoesNotFit(
            f"{fixed.name} for {machine.title}: the keys and values of {fixed.seq_len} positions "
            f"take {each * fixed.seq_len:,} bytes of RAM, {over:,} more than there are",
            over,
        )


def link_banked(
    title: str, parts: Split, constants: str, past_bytes: int, seq_len: int
) -> tuple[Program, str, tuple[Placed, ...]]:
    """Assemble twice: what is loaded is as long wherever the rest lies.

    past_bytes  of keys and values, of seq_len positions: what a shorter context saves
    """
    sections = parts.sections
    areas = [*parts.areas_beside, *parts.areas_beneath]
    program, _ = assemble_at(title, sections, constants, {a.label: ANYWHERE for a in areas})
    end = program.symbols["image_end"]
    last = program.symbols[f"{parts.beside[-1].label}_end"]
    seen_bytes = last - prg.BASIC_START + sum(a.size for a in parts.areas_beside)
    seen_room = WINDOW - prg.BASIC_START + IO_START - WINDOW_END + SMALL
    needed = end - prg.BASIC_START + sum(a.size for a in areas)
    room = MEMORY_END - prg.BASIC_START + SMALL
    over = max(seen_bytes - seen_room, needed - room, end - IO_START, last - WINDOW)
    most = min(WINDOW - last, IO_START - end)
    for gap in range(0, most + 1, GAP_STEP) if over <= 0 else ():
        found = _place(program, parts, gap)
        if found:
            addresses, placed = found
            program, source = assemble_at(title, parts.apart(gap), constants, addresses)
            return program, source, placed
    over = max(over, 1)
    raise DoesNotFit(
        f"{title} needs {needed:,} bytes of RAM, {seen_bytes:,} of them beside the window of ROM; "
        f"there are {room:,} and {seen_room:,}: about {over:,} too many"
        + _advice(needed - room, past_bytes, seq_len),
        over,
    )


def _place(
    program: Program, parts: Split, gap: int
) -> tuple[dict[str, int], tuple[Placed, ...]] | None:
    """Addresses of areas, where what lies beneath begins so many bytes later; None: no place."""
    late = program.symbols[parts.beneath[0].label] if parts.beneath else 0
    end = program.symbols["image_end"]
    once = (program.symbols.get("section_tables", end) + gap, end + gap)
    unused = page_gaps(program, parts.sections)
    gaps = [(a, b) if a < late else (a + gap, b + gap) for a, b in unused]
    free = [*SMALL_REGIONS, *gaps, (late, late + gap), (end + gap, MEMORY_END)]
    beside = [*_cut(free, 0, WINDOW), *_cut(free, WINDOW_END, IO_START)]
    turns = (once, NOWHERE) if once[1] <= WINDOW else (NOWHERE, once)
    try:
        found, seen = place_areas(parts.areas_beside, beside, IO_START, turns[0])
        left = find_free(seen, join_regions(free))
        others, under = place_areas(parts.areas_beneath, left, IO_START, turns[1])
    except Overflow:
        return None
    return found | others, tuple(sorted((*seen, *under), key=lambda p: p.address))


def _advice(over: int, past_bytes: int, seq_len: int) -> str:
    """A context that would fit, where keys and values are what is too large."""
    each = past_bytes / seq_len
    fits = int(seq_len - over / each) if each else 0
    return f"; seq_len = {fits} would fit, or nearly" if over > 0 and 1 < fits < seq_len else ""


def _cut(regions: Iterable[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """What lies between two addresses."""
    return [(max(a, start), min(b, end)) for a, b in regions if max(a, start) < min(b, end)]
