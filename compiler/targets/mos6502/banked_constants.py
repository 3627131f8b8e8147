"""Constants that lie together in one bank: what the loop that talks reads, gains, lookup tables.

While the program talks this bank is in the window, the KERNAL above it; while a pass runs it is
shown where an op reads it.

To move another section there: its name in TALKING, if only the loop that talks reads it.
"""

from __future__ import annotations

from collections.abc import Iterable

from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.targets.mos6502.banked_rom import BANK_BYTES, Rom, Spot
from anachron.compiler.targets.mos6502.sections import PAGE, Section
from anachron.kernels.mos6502.banks import WINDOW

TALKING = ("messages", "characters low", "characters high", "pieces", "merges")


def place_constants(
    rom: Rom, pool: Iterable[Section], sections: Iterable[Section]
) -> list[Section]:
    """The sections that are left when what can lie in the ROM does; pool: constants of ops."""
    chosen, left, size = list(pool), [], 0
    size = sum(-(-s.size // PAGE) * PAGE for s in chosen)
    by_name = {s.name: s for s in sections}
    for section in by_name.values():
        content = _assemble([section], WINDOW)[0] if section.name in TALKING else b""
        if content and size + len(content) <= BANK_BYTES:
            chosen.append(section)
            size += len(content)
        else:
            left.append(section)
    content, _ = _assemble(chosen, WINDOW)
    spot = rom.place("constants", content, "table")
    content, symbols = _assemble(chosen, spot.address)
    rom.replace(spot, content)
    rom.spots |= {label: Spot(spot.bank, address) for label, address in symbols.items()}
    rom.constants_bank = spot.bank
    return left


def _assemble(sections: Iterable[Section], address: int) -> tuple[bytes, dict[str, int]]:
    """The bytes of sections from an address on, and their labels."""
    text = "\n".join(s.text for s in sections)
    program = assemble(f"* = ${address:04x}\n{text}\n", "constants.asm")
    return b"".join(bytes(part) for _, part in program.segments), dict(program.symbols)
