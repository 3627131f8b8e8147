"""A C64 program in memory -> its files: a .prg, a disk with it, a cartridge with it.

To add a kind of file: a line in `pack_files`.
"""

from __future__ import annotations

from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.emulators.containers import crt, d64, prg
from anachron.emulators.containers.crunch import crunch
from anachron.kernels.mos6502 import cartridge


def pack_files(name: str, program: prg.Prg, entry: int, packed: bool) -> dict[str, bytes]:
    """The files of a program by suffix, the usual one first.

    packed: the .prg, also the one on the disk, is smaller and unpacks itself.  Raises ValueError
    for a program that packing does not make smaller.
    """
    file = crunch(program, entry) if packed else prg.pack(program.load, program.data)
    return {".prg": file, ".d64": pack_disk(name, file), ".crt": pack_cartridge(program, entry)}


def pack_disk(name: str, file: bytes) -> bytes:
    """A disk with one program, which LOAD "*",8,1 finds."""
    title = "".join(c for c in name.upper() if c.isascii() and c.isalnum())[:16] or "MODEL"
    return d64.pack([(title, file)], name=title)


def pack_cartridge(program: prg.Prg, entry: int) -> bytes:
    """An EasyFlash that copies the program into memory and starts it."""
    source = cartridge.boot(program.load, len(program.data), entry)
    assembled = assemble(source, "boot.asm")
    pieces = {address: bytes(data) for address, data in assembled.segments}
    code = b"".join(pieces[assembled.symbols[label]] for label in cartridge.PIECES)
    vector = assembled.symbols[cartridge.PIECES[0]].to_bytes(2, "little")
    romh = code.ljust(cartridge.RESET_VECTOR - cartridge.ROMH, b"\xff") + vector
    banks = {(0, crt.ROMH): romh}
    for at in range(0, len(program.data), crt.BANK_SIZE):
        banks[at // crt.BANK_SIZE, crt.ROML] = program.data[at : at + crt.BANK_SIZE]
    return crt.pack(crt.easyflash(banks))
