"""The screen and the keyboard: a line read, codes and tokens printed -> assembly text.

Source: Commodore 64 Programmer's Reference Guide (1982), ch. 5, the KERNAL's jump table.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.runtime import (
    BORDER,
    CHROUT,
    CONTROL,
    DELETE,
    GETIN,
    LEFT,
    QUOTE_MODE,
    RETURN,
    REVERSE,
    REVERSE_OFF,
    Talk,
)


def console(talk: Talk) -> str:
    """Reading a line and printing."""
    on = (
        ""
        if talk.screen
        else f"    lda ${CONTROL:04x}\n    and #$7f\n    ora #$10\n    sta ${CONTROL:04x}"
    )
    return lines(
        "; read_line: line, line_length = what is typed up to RETURN, echoed; uses A, X, Y",
        "read_line:",
        on,
        f"    lda border\n    sta ${BORDER:04x}" if "border" in talk.feedback else "",
        f"""\
    lda #0
    sta line_length
_cursor:
    lda #{REVERSE}
    jsr put
    lda #' '
    jsr put
    lda #{REVERSE_OFF}
    jsr put
    lda #{LEFT}
    jsr put
_wait:
    jsr ${GETIN:04x}
    cmp #0
    beq _wait
    cmp #{RETURN}
    beq _return
    cmp #{DELETE}
    beq _delete
    tax
    and #$60            ; other control codes are not for a line
    beq _wait
    ldy line_length
    cpy #{talk.line_size}
    beq _wait
    txa
    sta line,y
    inc line_length
    jsr put
    jmp _cursor
_delete:
    lda line_length
    beq _wait
    dec line_length
    lda #' '
    jsr put
    lda #{LEFT}
    jsr put
    lda #{DELETE}
    jsr put
    jmp _cursor
_return:
    lda #' '
    jsr put
    lda #{RETURN}
; put: a code on the screen, never in quote mode; keeps A, X, Y
put:
    jsr ${CHROUT:04x}
    pha
    lda #0
    sta ${QUOTE_MODE:02x}
    pla
    rts
; print: the codes at pointer up to a zero; uses A, Y
print:
    ldy #0
_code:
    lda (pointer),y
    beq _end
    jsr put
    iny
    bne _code
_end:
    rts
""",
        _print_piece(talk),
    )


def _print_piece(talk: Talk) -> str:
    """Where pieces are measured, the ones before are passed over; else each has its address."""
    if talk.measured:
        find = """\
    lda #<piece_texts
    sta pointer
    lda #>piece_texts
    sta pointer+1
    ldy #0
_before:
    lda pieces,y
    cpy next_token
    beq _found
    clc
    adc pointer
    sta pointer
    bcc *+4
    inc pointer+1
    iny
    bne _before
_found:
    sta term+2"""
    else:
        wide = talk.token_bytes == 2
        find = f"""\
    lda next_token
    sta term
    lda {"next_token+1" if wide else "#0"}
    sta term+1
    asl term
    rol term+1
    clc
    lda term
    adc #<pieces
    sta term
    lda term+1
    adc #>pieces
    sta term+1
    ldy #0
    lda (term),y
    sta pointer
    iny
    lda (term),y
    sta pointer+1
    iny
    sec
    lda (term),y        ; where the next piece begins
    sbc pointer
    sta term+2"""
    return f"""\
; print_piece: the text of next_token; uses A, Y, pointer, term
print_piece:
{find}
    ldy #0
_code:
    cpy term+2
    beq _end
    lda (pointer),y
    jsr put
    iny
    bne _code
_end:
    rts"""
