"""A vector's elements above 0 into the chains of sparse.py, from their last slots on.

Each chain has a pointer at the slot that was filled last, which is where it will be entered.  What
the vector decides alone, for each modulus, is summed up on the way, and how long the vector may be.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.mos6502.instructions import lines, set_word
from anachron.kernels.mos6502.residue.guard import add_square
from anachron.kernels.mos6502.residue.matvec import block_label
from anachron.kernels.mos6502.residue.moduli import reduce, triangle
from anachron.kernels.mos6502.residue.sparse import POINTERS, SLOT, UNIT, Shape


def take(shape: Shape) -> str:
    """`<name>_take`: a vector's elements above 0, and what they decide alone, into the chains.

    X the last column, count_a one below the first, where X ends; source_low, source_high; count_b
    the limit: the sum of squares, each of x / UNIT rounded up, must be below it; uses A, Y,
    scratch, sum_a, sum_b and the pointers; decimal mode is on for a while.  `<name>_order`: further
    columns, as if they had been taken with those before
    """
    name, packed = shape.name, shape.packed
    origin = -int(packed.origin[0])
    own = {m: int(reduce(triangle(np.array(origin)), m)) for m in SLOT}
    column_bits = packed.stride.bit_length() - 1
    starts = (set_word(POINTERS[m], shape.slot(m, shape.slots)) for m in SLOT)
    cleared = ["sum_a", "sum_a+1", "sum_a+2", "sum_b", "sum_b+1", "sum_b+2"]
    likely = "taken" if shape.guarded else packed.columns
    back = lines(
        *(
            f"    lda {POINTERS[m]}\n    sec\n    sbc #{SLOT[m]}\n    sta {POINTERS[m]}\n"
            f"    bcs *+4             ;@ p=0.95\n    dec {POINTERS[m]}+1"
            for m in SLOT
        )
    )
    goes = lines(
        *(
            f"    lda {POINTERS[m]}{byte}\n    sta {name}_go{m}+{at}"
            for m in SLOT
            for at, byte in ((1, ""), (2, "+1"))
        )
    )
    up, down = "    asl\n" * column_bits, "    lsr\n" * (8 - column_bits)
    return lines(
        f"; {name}_take: elements X, X-1, ... above count_a of source_low, source_high into the\n"
        f"; chains, those above 0; the carry is set where they are too large for count_b\n"
        f"{name}_take:",
        *starts,
        "    lda #0",
        *(f"    sta {byte}" for byte in cleared),
        f"""\
{name}_order:
    ldy {shape.order or "$ffff"},x         ;@ p=0.2
    lda (source_high),y ;@ p=0.1
    bmi _zero           ;@ p=usual(columns_zero,{1 - shape.active / packed.columns:.2f})
    sta scratch+5
    ora (source_low),y  ;@ p=0.1
    bne _some           ;@ p=0.98
_zero:
    dex
    cpx count_a
    bne {name}_order      ;@ times {packed.columns // 2}..{packed.columns} ~{likely}
    jmp _taken
_some:
    stx scratch+3
    lda (source_low),y  ;@ p=0.1
    tax
    stx scratch
    ldy scratch+5
    clc
    adc high_mod255,y   ;@ aligned
    adc #0
    sta scratch+1
    lda low_mod99,x     ;@ aligned
    adc high_mod99,y    ;@ aligned
    sta scratch+2""",
        _measure(shape) if shape.guarded else "",
        f"""\
    clc
    lda sum_a
    adc t256+{origin},x     ;@ p=0.4
    sec
    sbc #{own[256]}
    sta sum_a
    ldy scratch+1
    clc
    lda sum_a+1
    adc t255+{origin},y     ;@ p=0.4
    sbc #{own[255]}
    adc #0
    sta sum_a+1
    ldy scratch+2
    sed
    lda sum_a+2
    adc t99+{origin},y      ;@ p=0.2
    sbc #${own[99]:02x}
    adc #0
    sta sum_a+2
    cld
    lda scratch+3
{up}    sta scratch+4
    lda scratch+3
{down}    clc
    adc #>{block_label(name, 0)}
    sta scratch+5
{back}
    ldy #1
    lda scratch+4
    sta (past_low),y
    sta (past_high),y
    sta (key_low),y
    iny
    lda scratch+5
    sta (past_low),y
    sta (past_high),y
    sta (key_low),y
    ldy #4
    lda scratch+1
    sta (past_high),y
    lda scratch+2
    sta (key_low),y
    iny
    lda scratch
    sta (past_low),y
    ldx scratch+3
    jmp _zero
_taken:
{goes}
    lda sum_a
    sta {name}_s256+1
    lda sum_a+1
    eor #$ff
    sta {name}_s255+1
    lda #$99
    sec
    sbc sum_a+2
    sta {name}_s99+1""",
        _judge() if shape.guarded else "    clc\n    rts",
    )


def _measure(shape: Shape) -> str:
    """The square of an element X, Y to sum_b, unless any will do; X is kept."""
    long = """\
    bcs _long           ;@ p=0.001
    cmp #255
    bcc _near           ;@ p=0.999
_long:
    inc sum_b+2
_near:"""
    return lines(
        """\
    bit count_b+1
    bmi _sure           ;@ p=0.5
    stx scratch+7
    tya
    asl scratch+7
    rol
    asl scratch+7
    rol""",
        long if shape.largest >= 255 * UNIT else "",
        "    tay\n    clc",
        add_square("square_low+1,y", "square_high+1,y", "p=0.01", "sum_b"),
        "    bcc *+4             ;@ p=0.99\n    inc sum_b+2\n_sure:",
    )


def _judge() -> str:
    """The carry set unless the sum of squares is below the limit."""
    return """\
    bit count_b+1
    bmi _fits           ;@ p=0.5
    lda sum_b+2
    bne _over           ;@ p=0.001
    lda sum_b
    cmp count_b
    lda sum_b+1
    sbc count_b+1
    rts
_fits:
    clc
    rts
_over:
    sec
    rts"""
