"""A head of an int8 attention whose sums two residues do not tell apart -> assembly text.

    <name>_slow_scores   what the scores' chains leave, from sums of 24 bits
    <name>_slow_mix      the head's results, from sums of 24 bits, by a long division
    narrow_add           total (3 bytes) += A * Y

100 cycles a product: rarely needed.
"""

from __future__ import annotations

from anachron.kernels.mos6502.arithmetic import TOP
from anachron.kernels.mos6502.instructions import lines, subtract
from anachron.kernels.mos6502.narrow.attention import Mixer, mask


def narrow_add() -> str:
    """`narrow_add`: unsigned bytes."""
    return f"""\
; narrow_add: total (3 bytes) += A * Y, unsigned; uses A, X, term
narrow_add:
    sta product_low
    sta product_high
    tax
    sec
    lda (product_low),y     ;@ p=0.5
    sbc products_low,y      ;@ aligned
    sta term
    lda (product_high),y    ;@ p=0.5
    sbc products_high,y     ;@ aligned
    sta term+1
    sec
    lda term
    sbc products_low,x      ;@ aligned
    sta term
    lda term+1
    sbc products_high,x     ;@ aligned
    sta term+1
    clc
    lda term
    adc #<{TOP}
    sta term
    lda term+1
    adc #>{TOP}
    sta term+1
    clc
    lda term
    adc total
    sta total
    lda term+1
    adc total+1
    sta total+1
    bcc *+4             ;@ p=0.5
    inc total+2
    rts"""


def slow_scores(mixer: Mixer) -> str:
    """`<name>_slow_scores`: X is the position's row; goes on at `<name>_scored`.

    The differences from the largest sum, 65,535 at most, are what the weights need: less them, of
    65,535, goes to the scores, and the largest is 65,535.
    """
    shape, name = mixer.shape, mixer.name
    products = [
        f"""\
    ldx index
    lda {shape.key(d)},x    ;@ aligned
    tay
    clc
    adc scratch
    sta scratch
    bcc *+4             ;@ p=0.5
    inc scratch+1
    clc
    lda {name}_q256_{d}+1
    adc scratch
    sta scratch
    bcc *+4             ;@ p=0.5
    inc scratch+1
    lda {name}_q256_{d}+1
    jsr narrow_add"""
        for d in range(shape.head_size)
    ]
    # The sum of (k + 128)(q + 128) less 128 times that of k + q + 256, and 16384 each.
    constant = (16384 * shape.head_size) % (1 << 24)
    start = lines(
        *(f"    lda #{constant >> 8 * i & 0xFF}\n    sta total+{i}" for i in range(3)),
        "    lda #0\n    sta scratch\n    sta scratch+1",
    )
    return lines(
        f"""\
; {name}_slow_scores: uses everything
{name}_slow_scores:
    lda #0
    sta largest
    sta largest+1
    sta largest+2       ; of sums with the top bit flipped
{name}_slow_score:
    stx index
{start}""",
        *products,
        f"""\
    lsr scratch+1       ; half, a byte up
    ror scratch
    lda #0
    ror
    sta scratch+2
    sec
    lda total
    sbc scratch+2
    sta total
    lda total+1
    sbc scratch
    sta total+1
    lda total+2
    sbc scratch+1
    eor #$80
    sta total+2
    ldx index
    sta {name}_scores_top,x     ;@ aligned
    lda total+1
    sta {name}_scores_high,x    ;@ aligned
    lda total
    sta {name}_scores_low,x     ;@ aligned
    cmp largest
    lda total+1
    sbc largest+1
    lda total+2
    sbc largest+2
    bcc _less           ;@ p=0.6
    lda total
    sta largest
    lda total+1
    sta largest+1
    lda total+2
    sta largest+2
_less:
    dex
    cpx {name}_last+1
    beq _compare        ;@ times seen
    jmp {name}_slow_score
_compare:
    lda largest
{name}_slow_mask:
    ora #{mask(mixer.shifts[0])}
    sta largest
    ldx {name}_row
_row:
    sec
    lda largest
    sbc {name}_scores_low,x     ;@ aligned
    sta term
    lda largest+1
    sbc {name}_scores_high,x    ;@ aligned
    sta term+1
    lda largest+2
    sbc {name}_scores_top,x     ;@ aligned
    beq _short          ;@ p=0.9
    lda #$ff
    sta term
    sta term+1
_short:
    lda term
    eor #$ff
    sta {name}_scores_low,x     ;@ aligned
    lda term+1
    eor #$ff
    sta {name}_scores_high,x    ;@ aligned
    dex
    cpx {name}_last+1
    bne _row            ;@ times seen
    lda #$ff
    sta largest
    sta largest+1
    jmp {name}_scored""",
    )


def slow_mix(mixer: Mixer) -> str:
    """`<name>_slow_mix`: goes on at `<name>_mixed`."""
    shape, name = mixer.shape, mixer.name
    return lines(
        f"""\
; {name}_slow_mix: uses everything
{name}_slow_mix:
    lda {name}_head
    clc
    adc #{shape.head_size - 1}
    sta first
{name}_slow_result:
    lda #0
    sta total
    sta total+1
    sta total+2
    lda position
    sta index
{name}_slow_row:
    ldx index
    lda {name}_value_low,x  ;@ p=0.1
    sta pointer
    lda {name}_value_page,x ;@ p=0.1
    clc
    adc {name}_page
    sta pointer+1
    txa
    clc
    adc {name}_base
    tax
    ldy first
    lda (pointer),y
    tay
    lda {name}_weights,x        ;@ aligned
    jsr narrow_add
    dec index
    bpl {name}_slow_row     ;@ times seen
    lda divisor+1       ; less 128 divisor: half of it, a byte up
    lsr
    sta term+2
    lda divisor
    ror
    sta term+1
    lda #0
    ror
    sta term""",
        subtract("total", "term", 3, 3),
        f"""\
    bpl _positive       ;@ p=0.5
    lda #$ff            ; floor(-a / b) = -(floor((a - 1) / b) + 1)
    eor total
    sta total
    lda #$ff
    eor total+1
    sta total+1
    lda #$ff
    eor total+2
    sta total+2
    jsr {name}_slow_divide
    lda total
    eor #$ff
    jmp _store
_positive:
    jsr {name}_slow_divide
    lda total
_store:
    ldx first
{name}_slow_out:
    sta $ffff,x
    dec first
    lda {name}_head
    clc
    adc #{shape.head_size - 1}
    sec
    sbc first
    cmp #{shape.head_size}
    beq _done           ;@ times {shape.head_size}
    jmp {name}_slow_result
_done:
    jmp {name}_mixed
{name}_slow_divide:
    lda #0
    sta total+3
    jmp divide""",
    )
