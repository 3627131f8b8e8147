"""What the 6510 sees where: the PLA's work, from the processor port and a cartridge's two lines.

`mem` holds everything that can be seen, side by side; `bank` says for each page of 4 KB how far
from an address the byte lies that is read there (16 numbers), or written (16 more).

    $000000 RAM             $01A000 BASIC    $01D000 VIC, SID, colours, CIAs, I/O areas
    $01E000 KERNAL          $02D000 characters    $030000 nothing: writes lost    $031000 all ones
    $032000 the RAM under the port    $100000 cartridge ROML, 64 banks    $180000 its ROMH

Sources: Commodore 64 Programmer's Reference Guide (1982), pp. 260-267, the memory maps;
"EasyFlash programmer's guide" (T. Giesel), for $DE00 and $DE02.
"""

# The names that are not defined here are those of the whole machine: see clockwork.py.
# ruff: noqa: F821
# mypy: ignore-errors

from anachron.emulators.jit import subroutine

FIELDS = "exrom game cart_bank cart_boot port_input port_output port_charge".split()

SPACE = 0x200000  # the size of mem
ROM, CHARACTERS = 0x10000, 0x20000  # distances: BASIC, KERNAL and devices; the character ROM
NOWHERE, ALL_ONES, UNDER_PORT = 0x30000, 0x31000, 0x32000
ROML, ROMH, CART_BANK = 0x100000, 0x180000, 0x2000
EASYFLASH = 1  # cart_boot: the board has EasyFlash's registers, and starts in Ultimax mode
LORAM, HIRAM, CHAREN, FLOATING = 1, 2, 4, 0xC8


def see(page, distance):
    """Let a page of 4 KB be read at a distance."""
    bank[page] = distance


@subroutine
def map_memory():
    """Set all banks from the port and the cartridge."""
    lines = mem[1] | ~mem[0] & 7
    for page in range(16):
        see(page, 0)
        bank[PAGE_WRITES + page] = 0
    if game == 0 and exrom:
        map_ultimax()
        return
    low = lines & LORAM
    high = lines & HIRAM
    if low and high and exrom == 0:
        see(8, ROML + cart_bank * CART_BANK - 0x8000)
        see(9, ROML + cart_bank * CART_BANK - 0x8000)
    if high and game == 0:
        see(10, ROMH + cart_bank * CART_BANK - 0xA000)
        see(11, ROMH + cart_bank * CART_BANK - 0xA000)
    elif low and high:
        see(10, ROM)
        see(11, ROM)
    if low or high:
        if lines & CHAREN:
            see(13, ROM)
            bank[PAGE_WRITES + 13] = ROM
        else:
            see(13, CHARACTERS)
    if high:
        see(14, ROM)
        see(15, ROM)


def map_ultimax():
    """GAME alone is low: 4 KB of RAM, the cartridge, the devices, and nothing else."""
    for page in range(1, 16):
        see(page, ALL_ONES - (page << 12))
        bank[PAGE_WRITES + page] = NOWHERE - (page << 12)
    see(8, ROML + cart_bank * CART_BANK - 0x8000)
    see(9, ROML + cart_bank * CART_BANK - 0x8000)
    see(14, ROMH + cart_bank * CART_BANK - 0xE000)
    see(15, ROMH + cart_bank * CART_BANK - 0xE000)
    see(13, ROM)
    bank[PAGE_WRITES + 13] = ROM


def port_write(address, m):
    """$00, the direction, and $01, the data: an input reads what is outside.

    Bits 3, 6 and 7 are not connected, or to an open input: they keep what was put out last (for
    ever; the real charge is gone after about a third of a second).
    """
    global port_output, port_charge
    if address:
        port_output = m
    else:
        mem[0] = m
    port_charge = port_charge & ~mem[0] | port_output & mem[0]
    mem[1] = port_output & mem[0] | (port_input | port_charge & FLOATING) & ~mem[0] & 0xFF
    map_memory()


def cartridge_write(address, m):
    """EasyFlash: $DE00 chooses the bank, $DE02 the lines; the rest does not exist."""
    global cart_bank, game, exrom
    if cart_boot != EASYFLASH:
        return
    if address & 2 == 0:
        cart_bank = m & 63
    else:
        exrom = m >> 1 & 1 ^ 1
        game = m & 1 ^ 1 if m & 4 else 0
    map_memory()
