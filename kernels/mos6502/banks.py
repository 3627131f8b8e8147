"""ROM banks of an EasyFlash in a window of memory -> assembly text: what shows one, and hides all.

While a pass runs the cartridge is in its 16 KB mode.  The processor port then chooses alone: with
all its lines up a bank is seen at $8000-$BFFF, the I/O chips and the KERNAL above; with $34 all is
RAM.  Stores reach the RAM beneath in both cases, but for the I/O chips'.  While the program talks,
the bank of constants is shown, and the KERNAL is there.

What bounds reading weights there: nothing; an indexed read from ROM takes the 4 cycles that one
from RAM takes.  A bank shown first takes 11 cycles, another 6, hiding it 17: a kernel of a block
takes some hundred thousand.

Source: EasyFlash programmer's guide, $DE00 the bank, $DE02 the mode; Commodore 64 Programmer's
Reference Guide (1982), pp. 260-267, the memory maps.
"""

from __future__ import annotations

from anachron.kernels.mos6502.cartridge import BANK, LED, MODE
from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.runtime import ALL_RAM, PORT

WINDOW, WINDOW_END = 0x8000, 0xC000
BANK_BITS = 14  # of an address within a bank: 8 KB of ROML, then 8 of ROMH
ROM_IN = 0x37  # the processor port
CARTRIDGE_16K = 0x07
HIDE, SHOW_CONSTANTS = "hide_rom", "show_constants"
CONSTANTS = "constants_bank"  # the bank of constants, a label


def show(bank: int | str) -> str:
    """A bank in the window; uses A."""
    return lines(f"    lda #${ROM_IN:02x}\n    sta ${PORT:02x}", turn(bank))


def turn(bank: int | str) -> str:
    """Another bank, where one is in the window; uses A."""
    return f"    lda #{bank}\n    sta ${BANK:04x}"


def hide() -> str:
    """`hide_rom`: all memory is RAM again."""
    return (
        f"; {HIDE}: all memory is RAM; uses A\n{HIDE}:\n"
        f"    lda #${ALL_RAM:02x}\n    sta ${PORT:02x}\n    rts"
    )


def show_constants() -> str:
    """`show_constants`: the bank of constants in the window."""
    name = SHOW_CONSTANTS
    return f"; {name}: the constants in the window; uses A\n{name}:\n{show(CONSTANTS)}\n    rts"


def attach() -> str:
    """Banks can be shown; the cartridge's light is on.  The I/O chips are there; A is used."""
    return f"    lda #${CARTRIDGE_16K | LED:02x}\n    sta ${MODE:04x}"


def talk() -> str:
    """The constants in the window, the KERNAL above, and the light off; the same holds."""
    return lines(f"    lda #${CARTRIDGE_16K:02x}\n    sta ${MODE:04x}", show(CONSTANTS))


def locate(index: str, index_bytes: int, stride_bits: int, bank: int) -> str:
    """The bank of a row of 2**stride_bits bytes, and pointer = how far into the window it lies.

    index  label of the row's number; row 0 begins bank `bank`.  Uses A, scratch.
    """
    high = f"{index}+1" if index_bytes == 2 else "#0"
    text = [
        f"    lda {index}\n    sta pointer\n    lda {high}\n    sta pointer+1\n    lda #0\n"
        "    sta scratch"
    ]
    text += ["    asl pointer\n    rol pointer+1\n    rol scratch"] * stride_bits
    text.append(
        "    lda pointer+1\n    asl\n    rol scratch\n    asl\n    rol scratch\n"
        f"    lda #${ROM_IN:02x}\n    sta ${PORT:02x}\n    lda scratch\n    clc\n    adc #{bank}\n"
        f"    sta ${BANK:04x}\n    lda pointer+1\n    and #${(1 << BANK_BITS - 8) - 1:02x}\n"
        "    sta pointer+1"
    )
    return lines(*text)
