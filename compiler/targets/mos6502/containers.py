"""A C64 program in memory -> its files: a .prg, a disk with it, a cartridge with it.

A machine that runs from a cartridge has that alone: it lies in RAM where a .prg would, and more may
lie in the other banks.

To add a kind of file: a line in `pack_files`.
"""

from __future__ import annotations

from collections.abc import Mapping

from anachron.compiler.targets import DoesNotFit, Machine
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.emulators.containers import crt, d64, prg
from anachron.emulators.containers.crunch import crunch
from anachron.kernels.mos6502 import cartridge

Banks = Mapping[tuple[int, int], bytes]  # (bank, crt.ROML or crt.ROMH) -> its bytes


def pack_files(
    name: str,
    machine: Machine,
    program: prg.Prg,
    entry: int,
    packed: bool,
    banks: Banks | None = None,
) -> dict[str, bytes]:
    """The files of a program by suffix, the usual one first.

    packed  the .prg, also the one on the disk, is smaller and unpacks itself
    banks   what a cartridge holds besides the program

    Raises ValueError for a program that packing does not make smaller, and for a packed cartridge;
    DoesNotFit where the cartridge is full.
    """
    if machine.cartridge:
        if packed:
            raise ValueError("a cartridge is not packed: leave --pack out")
        return {".crt": pack_cartridge(program, entry, banks or {})}
    file = crunch(program, entry) if packed else prg.pack(program.load, program.data)
    return {".prg": file, ".d64": pack_disk(name, file), ".crt": pack_cartridge(program, entry)}


def pack_disk(name: str, file: bytes) -> bytes:
    """A disk with one program, which LOAD "*",8,1 finds."""
    title = "".join(c for c in name.upper() if c.isascii() and c.isalnum())[:16] or "MODEL"
    return d64.pack([(title, file)], name=title)


def pack_cartridge(program: prg.Prg, entry: int, banks: Banks | None = None) -> bytes:
    """An EasyFlash that copies the program into memory and starts it.

    banks  what it holds besides; the program follows in the banks behind, in ROML
    """
    banks = banks or {}
    first = 1 + max((bank for bank, _ in banks), default=-1)
    n_banks = -(-len(program.data) // crt.BANK_SIZE)
    if first + n_banks > crt.BANKS:
        over = (first + n_banks - crt.BANKS) * crt.BANK_SIZE
        raise DoesNotFit(
            f"an EasyFlash has {crt.BANKS} banks; the program begins in bank {first}, and takes "
            f"{n_banks}: {over:,} bytes too many",
            over,
        )
    source = cartridge.boot(program.load, len(program.data), entry, first)
    assembled = assemble(source, "boot.asm")
    pieces = {address: bytes(data) for address, data in assembled.segments}
    code = b"".join(pieces[assembled.symbols[label]] for label in cartridge.PIECES)
    vector = assembled.symbols[cartridge.PIECES[0]].to_bytes(2, "little")
    romh = code.ljust(cartridge.RESET_VECTOR - cartridge.ROMH, b"\xff") + vector
    chips = {**banks, (0, crt.ROMH): romh}
    for number in range(n_banks):
        at = number * crt.BANK_SIZE
        chips[first + number, crt.ROML] = program.data[at : at + crt.BANK_SIZE]
    return crt.pack(crt.easyflash(chips))
