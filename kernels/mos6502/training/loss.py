"""The loss: hits, and the gradient of each position's logits, or that it has none.

A position whose answer is nearly certain has no gradient; where no position has one, the rest of
the step is left out.  Meaning: kernels/reference/log_gradients.py.
"""

from __future__ import annotations

from anachron.kernels.mos6502.training.codes import SHARES, SILENT_BYTE
from anachron.kernels.mos6502.training.shape import MOST, Shape


def lose(shape: Shape) -> str:
    """What follows from a position's softmax: its gradients' bytes, the loss, a hit.

    Half the code of the target's probability is added to the loss with its sign turned: the loss
    of a window is in half steps of a code.
    """
    least = SILENT_BYTE
    store = "\n".join(
        f"""\
    lda rest+{v}
    cmp #{least}
    bcs lose_{v}        ;@ p=0.95
    lda #{least}
lose_{v}:
    sta gradients+{MOST * v},x"""
        for v in range(shape.vocab)
    )
    silent = "\n".join(f"    sta gradients+{MOST * v},x" for v in range(shape.vocab))
    return f"""\
; lose: gradients, active, loss and hits of `position`; Y = the likeliest id; uses A, X, Y, part
lose:
    ldx position
    tya
    sta best,x
    cmp answers,x       ;@ aligned
    bne lose_miss       ;@ p=0.1
    inc hits
    bne *+5             ;@ p=0.99
    inc hits+1
lose_miss:
    ldy answers,x       ;@ aligned
    ldx rest,y          ; the target's probability
    sec
    lda #{SHARES}
    stx part
    sbc part
    tay
    lda #0
    sbc #0
    sta part+1
    tya
    clc
    adc window_loss
    sta window_loss
    lda part+1
    adc window_loss+1
    sta window_loss+1
    lda part+1
    adc window_loss+2
    sta window_loss+2
    lda lacks,x         ;@ aligned
    ldx position
    sta active,x
    tay
    bne lose_loud       ;@ p=0.9
    jmp lose_silent
lose_loud:
    inc n_active
{store}
    tya
    ldy answers,x       ;@ aligned
    sta part
    tya
    asl
    asl
    asl
    asl
    ora position
    tay
    lda part
    sta gradients,y     ;@ aligned
    rts
lose_silent:
    lda #{least}
{silent}
    rts"""

