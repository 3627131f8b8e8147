"""What an EasyFlash cartridge does at power-on: a program from its ROM into RAM, and a jump to it.

    reset, Ultimax   power_on   RAM up to $0FFF, ROMH of bank 0 at $E000: copies the rest to RAM
    8 KB cartridge   set_up     the KERNAL sets the machine up as it does without a cartridge
                     mover      ROML's banks at $8000, one after another, to the program's place
    no cartridge                the program's entry

Source: EasyFlash programmer's guide, $DE00 the bank, $DE02 the mode; Commodore 64 Programmer's
Reference Guide (1982), ch. 5, the KERNAL's IOINIT, RAMTAS, RESTOR and CINT, in this order.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import set_word

PIECES = ("power_on", "set_up", "mover")  # as they follow one another in ROMH
ROMH = 0xE000
RESET_VECTOR = 0xFFFC
BANK, MODE = 0xDE00, 0xDE02
CARTRIDGE_8K, CARTRIDGE_OFF, LED = 0x06, 0x04, 0x80
SET_UP = 0x0900  # RAM that Ultimax has, and that CINT and RAMTAS leave alone
MOVER = 0x0334  # the tape's buffer: below every program
ROML_PAGE, BANK_PAGES = 0x80, 32
FROM, TO = 0xFB, 0xFD  # zero page that the KERNAL leaves to programs


def boot(load: int, size: int, entry: int, first: int = 0) -> str:
    """ROMH of bank 0: copies `size` bytes from bank `first`'s ROML on to `load`, and jumps to
    `entry`.

    Three pieces, each at the address where it runs; in the ROM they follow one another.
    """
    pages, rest = divmod(size, 256)
    return f"""\
* = ${ROMH:04x}
power_on:
    sei
    cld
    ldx #$ff
    txs
    lda #$37            ; the processor port as the KERNAL sets it
    sta $01
    lda #$2f
    sta $00
    ldx #0
_copy:
    lda power_on_end,x
    sta set_up,x
    inx
    bne _copy
    jmp set_up
power_on_end:

* = ${SET_UP:04x}
set_up:
    lda #${CARTRIDGE_8K | LED:02x}
    sta ${MODE:04x}
    stx $d016           ; 0: the VIC-II's reset bit is off, as in the KERNAL's own start
    jsr $ff84           ; IOINIT
    jsr $ff87           ; RAMTAS
    jsr $ff8a           ; RESTOR
    jsr $ff81           ; CINT
    ldx #mover_end-mover
_copy:
    lda set_up_end-1,x
    sta mover-1,x
    dex
    bne _copy
    jmp mover
set_up_end:

* = ${MOVER:04x}
mover:
{set_word(f"${TO:02x}", f"${load:04x}")}
    ldy #0
    sty ${FROM:02x}
    ldx #{pages}
bank:
    lda #{first}
    sta ${BANK:04x}
    lda #${ROML_PAGE:02x}
    sta ${FROM + 1:02x}
_page:
    cpx #0
    beq _rest
_byte:
    lda (${FROM:02x}),y
    sta (${TO:02x}),y
    iny
    bne _byte
    inc ${TO + 1:02x}
    inc ${FROM + 1:02x}
    dex
    lda ${FROM + 1:02x}
    cmp #${ROML_PAGE + BANK_PAGES:02x}
    bne _page
    inc bank+1
    bne bank
_rest:
    cpy #{rest}
    beq _done
    lda (${FROM:02x}),y
    sta (${TO:02x}),y
    iny
    bne _rest
_done:
    lda #${CARTRIDGE_OFF:02x}
    sta ${MODE:04x}
    jmp ${entry:04x}
mover_end:
"""
