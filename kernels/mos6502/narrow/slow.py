"""A head of an int8 attention whose sums two residues do not tell apart -> assembly text.

    <name>_slow_scores   what the scores' chains leave, from sums of 24 bits
    <name>_slow_mix      the head's results, in several turns of two residues
    narrow_add           total (3 bytes) += A * Y

100 cycles a score's product; a head's mixing some 5000 more than without.
"""

from __future__ import annotations

from anachron.kernels.mos6502.arithmetic import TOP
from anachron.kernels.mos6502.instructions import lines, set_word
from anachron.kernels.mos6502.narrow.attention import Mixer, mask, mix
from anachron.kernels.mos6502.narrow.cache import MODULI


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
    """`<name>_slow_mix`: goes on at `<name>_mixed`.

    As many weights at a time as sum to at most 255, the others 0; then the sums of all times.
    """
    name, n = mixer.name, mixer.shape.n_rows
    return lines(
        f"""\
; {name}_slow_mix: uses everything
{name}_slow_mix:
    lda {name}_head
    clc
    adc #{mixer.shape.head_size - 1}
    sta first
    tax
    lda #0
    ldy #{mixer.shape.head_size}
_clear:
    sta {name}_sums_low,x       ;@ aligned
    sta {name}_sums_high,x      ;@ aligned
    sta {name}_sums_top,x       ;@ aligned
    dex
    dey
    bne _clear          ;@ times {mixer.shape.head_size}""",
        _take_some(mixer),
        _mix_some(mixer),
        f"""\
    lda scratch+1
    beq {name}_slow_rest       ;@ times 2..{max(2, n)} ~2
    jmp {name}_slow_some
{name}_slow_rest:""",
        _divide_sums(mixer),
    )


def _take_some(mixer: Mixer) -> str:
    """Weights into the operands of the chains below, from the head's first row on: those that fit.

    scratch: their sum; scratch+1: others are left; where the chains are entered
    """
    name = mixer.name
    ends = {m: (7, 5) if m == 256 else (6, 4) for m in MODULI}  # bytes of a slot, to its operand
    pointers = dict(zip(MODULI, ("pointer", "row"), strict=True))
    step = [
        f"    sec\n    lda {at}\n    sbc #{ends[m][0]}\n    sta {at}\n"
        f"    bcs *+4             ;@ p=0.97\n    dec {at}+1"
        for m, at in pointers.items()
    ]
    enter = [
        f"    sec\n    lda {at}\n    sbc #{ends[m][1]}\n    sta {name}_slow_enter_v{m}+1\n"
        f"    lda {at}+1\n    sbc #0\n    sta {name}_slow_enter_v{m}+2"
        for m, at in pointers.items()
    ]
    return lines(
        f"{name}_slow_some:\n    lda #0\n    sta scratch\n    sta scratch+1\n    sta term\n"
        "    sta term+1",
        *(set_word(at, f"{name}_slow_p{m}_0+1") for m, at in pointers.items()),
        f"""\
    ldx {name}_base
{name}_slow_take:
    ldy #0
    lda {name}_weights,x        ;@ aligned
    clc
    adc scratch
    bcs _later          ;@ p=0.2
    sta scratch
    lda {name}_weights,x        ;@ aligned
    sta (pointer),y
    sta (row),y
    tay
    clc
    lda term
    adc t256,y          ;@ aligned
    sta term
    clc
    lda term+1
    adc t255,y          ;@ aligned
    adc #0
    sta term+1
    lda #0
    sta {name}_weights,x
    beq _taken          ;@ always
_later:
    inc scratch+1
    tya
    sta (pointer),y
    sta (row),y
_taken:
    cpx {name}_row
    beq _all            ;@ times seen
    inx""",
        *step,
        f"    jmp {name}_slow_take\n_all:",
        *enter,
        f"    sec\n    lda #0\n    sbc term\n    sta {name}_slow_ps256+1\n"
        f"    lda term+1\n    eor #$ff\n    sta {name}_slow_ps255+1",
    )


def _mix_some(mixer: Mixer) -> str:
    """The sums of products with the weights taken, added to those of all."""
    shape, name = mixer.shape, mixer.name
    return lines(
        f"    ldx first\n    lda #{shape.head_size}\n    sta index\n{name}_slow_result:",
        mix(shape, f"{name}_slow"),
        f"""\
    tay
    clc
    lda total
    adc {name}_sums_low,x       ;@ aligned
    sta {name}_sums_low,x
    tya
    adc {name}_sums_high,x      ;@ aligned
    sta {name}_sums_high,x
    bcc *+5             ;@ p=0.5
    inc {name}_sums_top,x
    dex
    dec index
    beq _mixed          ;@ times {shape.head_size}
    jmp {name}_slow_result
_mixed:""",
    )


def _divide_sums(mixer: Mixer) -> str:
    """The head's results: sums, of values + 128, by divisor, of two bytes."""
    name, size = mixer.name, mixer.shape.head_size
    return f"""\
    ldx first
    lda #{size}
    sta index
{name}_slow_divide:
    lda {name}_sums_low,x       ;@ aligned
    sta total
    lda {name}_sums_top,x       ;@ aligned
    sta remainder+1
    lda {name}_sums_high,x      ;@ aligned
    ldy #8
_bit:
    asl total
    rol
    rol remainder+1
    sta remainder
    sec
    sbc divisor
    sta scratch
    lda remainder+1
    sbc divisor+1
    bcc _less           ;@ p=0.5
    sta remainder+1
    inc total
    lda scratch
    bcs _next           ;@ always
_less:
    lda remainder
_next:
    dey
    bne _bit            ;@ times 8
    lda total
    eor #$80
{name}_slow_out:
    sta $ffff,x
    dex
    dec index
    bne {name}_slow_divide     ;@ times {size}
    jmp {name}_mixed"""
