"""A row of sums to its softmax: the bytes of the probabilities, and the largest.

Meaning: kernels/reference/log_model.py.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.training.codes import ORIGIN, SHARES
from anachron.kernels.mos6502.training.products import Products
from anachron.kernels.reference.log_model import FARTHEST, SUM_SHIFT, softmax_octaves
from anachron.kernels.reference.log_tables import octaves

FAR = FARTHEST // 4  # the largest distance that counts, in steps of a magnitude


def softmax(kernel: Products, name: str, *, place: bool = False) -> str:
    """rest = the bytes of the probabilities of a kernel's sums, which are Q6; uses A, X, part.

    name   its label and, before _low and _high, the table of its terms
    place  Y = the first column with the largest sum
    """
    n = kernel.columns
    octave = octaves(softmax_octaves(n) - SUM_SHIFT) // 2
    text = [f"; {name}: rest = {n} probabilities from low, rest", f"{name}:"]
    for c in range(n):
        text += [kernel.double(c), f"    sta rest+{c}"]
    text.append("    lda low\n    sta largest\n    lda rest\n    sta largest+1")
    text.append("    ldy #0" if place else "")
    for c in range(1, n):
        text.append(
            f"""\
    lda largest
    cmp low+{c}
    lda largest+1
    sbc rest+{c}
    bvc *+4             ;@ p=0.99
    eor #$80
    bpl {name}_keep{c}  ;@ p=0.7
    lda low+{c}
    sta largest
    lda rest+{c}
    sta largest+1"""
        )
        text += [f"    ldy #{c}"] * place + [f"{name}_keep{c}:"]
    text.append("    lda #0\n    sta total\n    sta total+1")
    for c in range(n):
        text.append(
            f"""\
    sec
    lda largest
    sbc low+{c}
    sta part
    lda largest+1
    sbc rest+{c}        ; below {FARTHEST}, or farther than counts
    cmp #{FARTHEST >> 8}
    bcc {name}_near{c}  ;@ p=0.6
    ldx #{FAR}
    bne {name}_term{c}  ;@ always
{name}_near{c}:
    lsr
    lda part
    ror
    lsr
    tax
{name}_term{c}:
    stx rest+{c}
    clc
    lda total
    adc {name}_low,x    ;@ aligned
    sta total
    lda total+1
    adc {name}_high,x   ;@ aligned
    sta total+1"""
        )
    text.append(
        f"""\
    ldx total+1
    lda pages_of_words,x ;@ aligned
    sta {name}_sum+2
    lda sixteenfold,x   ;@ aligned
    ldx total
    ora sixteenths,x    ;@ aligned
    tax
{name}_sum:
    lda codes,x         ;@ patched, aligned
    lsr
    eor #$ff
    clc
    adc #{SHARES + octave - ORIGIN - 255}
    sta part
    sec"""
    )
    for c in range(n):
        text.append(f"    lda part\n    sbc rest+{c}        ; it stays set\n    sta rest+{c}")
    return lines(*text, "    rts")
