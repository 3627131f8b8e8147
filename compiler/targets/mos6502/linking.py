"""Sections and areas -> a linked program: addresses for what is loaded, and for what is not.

To add memory: SMALL_REGIONS.
"""

from __future__ import annotations

from collections.abc import Mapping

from anachron.compiler.assembly.errors import PastMemory
from anachron.compiler.assembly.program import Program
from anachron.compiler.memory import Placed
from anachron.compiler.targets import DoesNotFit
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.targets.mos6502.sections import (
    PAGE,
    Area,
    Overflow,
    Section,
    compose,
    least_size,
    place_areas,
)
from anachron.emulators.containers import prg
from anachron.kernels.mos6502 import zeropage

IO_START = 0xD000  # a .prg cannot load into the I/O chips' addresses
UPPER_RAM = 0xE000  # and where they must be seen, nothing else can lie there
MEMORY_END = 0xFFFA  # the vectors, of which the RESTORE key's is used
SLACK = 2 * PAGE  # by which an estimate of what is loaded may be wrong
ROOM = IO_START - prg.BASIC_START + SLACK
END_PAGE = MEMORY_END // PAGE * PAGE
BUFFERS = "buffers_"  # begins the labels of the areas of values
# Free between the KERNAL's variables: BASIC's input line, its vectors' neighbours, the cassette's.
# None in the stack's page: arrays are addressed from up to a page below their start, and in the
# zero page an indexed address wraps.
SMALL_REGIONS = [(0x0200, 0x0259), (0x02A7, 0x0300), (0x0334, 0x0400)]


def assemble_at(
    title: str, sections: list[Section], constants: str, addresses: Mapping[str, int]
) -> tuple[Program, str]:
    """The program, and its source, with areas at some addresses; raises DoesNotFit."""
    words = [f"{label} = ${address:04x}" for label, address in sorted(addresses.items())]
    head = "\n".join([zeropage.definitions(), *words, constants])
    source = compose(title, prg.BASIC_START, head, sections)
    try:
        return assemble(source, "model.asm"), source
    except PastMemory as past:
        over = past.n_bytes + (1 << 16) - IO_START
        raise DoesNotFit(
            f"{title} needs at least {over:,} bytes more than the {IO_START - prg.BASIC_START:,} "
            "that can be loaded",
            over,
        ) from None


def _check_size(title: str, sections: list[Section], areas: list[Area], upper: int) -> None:
    """Raise DoesNotFit, with an estimate, where there is no hope."""
    loaded = sum(map(least_size, sections))
    over = loaded + sum(a.size for a in areas) - (MEMORY_END - upper + IO_START - prg.BASIC_START)
    over = max(over - sum(end - start for start, end in SMALL_REGIONS) - SLACK, loaded - ROOM)
    if over > 0:
        raise DoesNotFit(f"{title} needs about {over:,} bytes more than there are", over)


def reach(area: Area) -> int:
    """Bytes from an area's label to its last one, in whole pages."""
    return -(-max((at + size for at, size in area.pieces), default=0) // PAGE) * PAGE


def page_gaps(program: Program, sections: list[Section]) -> list[tuple[int, int]]:
    """What is unused before sections that begin on pages."""
    starts = [program.symbols[section.label] for section in sections if section.aligned]
    return [(start, -(-start // PAGE) * PAGE) for start in starts]


def link(
    title: str,
    sections: list[Section],
    areas: list[Area],
    constants: str,
    upper: int,
    hasty: bool = False,
) -> tuple[Program, str, tuple[Placed, ...]]:
    """Assemble twice: what is loaded is as long wherever the rest lies.

    upper  where memory begins again behind what a file can be loaded to
    hasty  what is clearly too large is not assembled once
    """
    if hasty:
        _check_size(title, sections, areas, upper)
    # Somewhere behind the zero page, so low that all of an area has addresses.
    addresses = {a.label: min(IO_START, END_PAGE - reach(a)) for a in areas}
    program, _ = assemble_at(title, sections, constants, addresses)
    end = program.symbols["image_end"]
    once = program.symbols.get("section_tables", end)  # routines that run once, at the image's end
    free = [*SMALL_REGIONS, (end, IO_START), (upper, MEMORY_END)]
    free += page_gaps(program, sections)
    if end <= IO_START:
        try:
            addresses, placed = place_areas(areas, free, IO_START, (once, end))
            program, source = assemble_at(title, sections, constants, addresses)
            return program, source, placed
        except Overflow:
            pass
    needed = end - prg.BASIC_START + sum(a.size for a in areas)
    there = IO_START - prg.BASIC_START + MEMORY_END - upper
    over = max(end - IO_START, needed - there, 1)
    raise DoesNotFit(
        f"{title} needs {needed:,} bytes, of which {end - prg.BASIC_START:,} are loaded; there are "
        f"{there:,} and {IO_START - prg.BASIC_START:,}: about {over:,} too "
        f"many",
        over,
    )
