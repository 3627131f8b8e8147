"""Sums modulo 256, 255 and 253 that attentions keep: their chains, and the tables of the third.

T = a + 256 u, u = k + 255 c: the third chain, started at -(a + 256 k), ends at 65280 c modulo 253,
from which a table gives 255 c.  k is what the chain of 255 leaves, 0 .. 255, so 255 may stand for 0
and c be one less.  Modulo 253 a carry is worth 3 (levels.py).

A sum beyond REACH comes out TURN too large or too small, or several; what it is about tells how
many (attention.py).
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import (
    CORRECTION,
    HIGHEST_C,
    MIDDLE,
    add,
    fill_numbers,
    reduce_middle,
)
from anachron.kernels.mos6502.residue.moduli import STEP, triangle

MODULI = (256, 255, MIDDLE)
REACH = HIGHEST_C * STEP - 256  # sums of this size or less are told apart
LIFT = 1 << 15  # what is added to T >> 8, so that it has no sign
FAR = 255  # of head_squares: too large for a byte
# name -> bytes; the first from a page's start: T + x is an address.
TABLES = {
    f"t{MIDDLE}": 512,
    f"less_middle{MIDDLE}": 256,
    f"over{MIDDLE}_low": 256,
    f"over{MIDDLE}_high": 256,
}
ENDS = (f"high_mod{MIDDLE}", "head_squares")  # of which high bytes' share is there


def make_tables() -> dict[str, bytes]:
    """Every table, ENDS as if any high byte came.

    t253             t(n) reduced, n = 0 .. 511
    less_middle253   -256 k - 2 modulo 253: with 255 - a it is -(a + 256 k)
    over253_low, _high   255 c + LIFT as a word, by the third chain's end
    high_mod253      256 n modulo 253 for the int8 n
    head_squares     for an int8 n of 256 n .. 256 n + 255 the largest size's square, in units of
                     65536, or FAR
    """
    n, byte = np.arange(512), np.arange(256)
    signed = byte - (byte >> 7 << 8)
    c = byte * pow(STEP % MIDDLE, -1, MIDDLE) % MIDDLE
    over = 255 * (c - (c > HIGHEST_C) * MIDDLE) + LIFT
    size = np.where(signed < 0, ~signed, signed) + 1
    tables = (
        triangle(n) % MIDDLE,
        (-256 * byte - 2) % MIDDLE,
        over & 0xFF,
        over >> 8,
        256 * signed % MIDDLE,
        np.minimum(size**2, FAR),
    )
    names = (*TABLES, *ENDS)
    return {name: t.astype(np.uint8).tobytes() for name, t in zip(names, tables, strict=True)}


def fill_tables(reach: int = 128) -> str:
    """`fill_middle`: build every table; once.

    reach  high bytes are -reach .. reach - 1; ENDS have no others
    """
    m = MIDDLE
    step = STEP % m
    least = 255 * -HIGHEST_C + LIFT
    return lines(
        "; fill_middle: the tables of middle.py; uses A, X, Y, scratch, pointer\nfill_middle:",
        fill_numbers(f"t{m}", m),
        f"""\
    lda #{-2 % m}
    ldx #0
_less:
    sta less_middle{m},x
    sec                 ; -256 = -3
    sbc #{CORRECTION}
    bcs *+4             ;@ p=0.99
    sbc #{CORRECTION - 1}
    inx
    bne _less           ;@ times 256
    lda #{256 * -reach % m}
    ldx #{256 - reach}
_high:
    sta high_mod{m},x
    clc
    adc #{CORRECTION}
    cmp #{m}
    bcc *+4             ;@ p=0.99
    sbc #{m}
    inx
    cpx #{reach}
    bne _high           ;@ times {2 * reach}
    lda #3
    sta scratch
    ldx #0
    ldy #255
    lda #1
_square:
    sta head_squares,x
    sta head_squares,y
    clc
    adc scratch
    bcc _near           ;@ p=0.9
    lda #0
    sta scratch
    lda #{FAR}
_near:
    inc scratch
    inc scratch
    dey
    inx
    cpx #{reach}
    bne _square         ;@ times {reach}
    lda #<({least})
    sta pointer
    lda #>({least})
    sta pointer+1
    ldx #{m}
    ldy #{-HIGHEST_C * STEP % m}
_over:
    lda pointer
    sta over{m}_low,y
    lda pointer+1
    sta over{m}_high,y
    clc
    lda pointer
    adc #255
    sta pointer
    bcc *+4             ;@ p=0.01
    inc pointer+1
    tya
    clc
    adc #{step}
    bcs *+6             ;@ p=0.02
    cmp #{m}
    bcc *+4             ;@ p=0.98
    sbc #{m}
    tay
    dex
    bne _over           ;@ times {m}
    ldx #{CORRECTION - 1}
_alias:                 ; {m} to 255 are 0 to {CORRECTION - 1}, too
    lda over{m}_low,x
    sta over{m}_low+{m},x
    lda over{m}_high,x
    sta over{m}_high+{m},x
    dex
    bpl _alias          ;@ times {CORRECTION}
    rts""",
    )


def chain(modulus: int, terms: list[tuple[str, str, str]]) -> str:
    """A += every term: what loads Y, an operand, a label of what adds it, or nothing."""
    return lines(*(lines(load, add(modulus, *term)) for load, *term in terms))


def start(modulus: int, constant: str, own: str) -> str:
    """A chain's start: less the sums of both sides, and less what the chains before have told."""
    match modulus:
        case 256:
            return f"    lda {constant}\n    clc\n{own}:\n    adc #0"
        case 255:
            return f"    sta total\n    eor #$ff\n    clc\n    adc {constant}\n{own}:\n    adc #0"
    return lines(
        "    adc #0\n    sta total+1\n    tay\n    lda total\n    eor #$ff\n    clc",
        add(MIDDLE, f"less_middle{MIDDLE},y ;@ aligned"),
        add(MIDDLE, constant),
        add(MIDDLE, "#0", f"{own}:\n"),
    )


def join(low: str) -> str:
    """low, A = (T >> 8) + LIFT of three chains, of which the last has just ended; X is kept."""
    return (
        f"    tay\n    lda total+1\n    adc over{MIDDLE}_low,y ;@ aligned\n    sta {low}\n"
        f"    lda over{MIDDLE}_high,y ;@ aligned\n    adc #0"
    )


def begin_sum(modulus: int) -> str:
    """A sum that `negate` ends: in a chain of 253 it is 2 more."""
    return f"    lda #{CORRECTION - 1 if modulus == MIDDLE else 0}\n    clc"


def negate(modulus: int) -> str:
    """A = less A, of a chain that has just ended."""
    match modulus:
        case 256:
            return "    eor #$ff\n    clc\n    adc #1"
        case 255:
            return "    adc #0\n    eor #$ff"
    return f"    eor #$ff\n{reduce_middle()}"


def subtract(modulus: int, what: str) -> str:
    """A -= what, A modulo the modulus."""
    less = f"    sec\n    sbc {what}"
    match modulus:
        case 256:
            return less
        case 255:
            return f"{less}\n    sbc #0"
    return f"{less}\n    bcs *+4             ;@ p=0.5\n    sbc #{CORRECTION - 1}"
