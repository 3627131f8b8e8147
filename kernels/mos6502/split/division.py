"""An attention's weighted sums divided by the sum of its weights -> assembly text.

A quotient has no more bits than a value: the steps above them only shift.  A step takes off one
more than is in `divisor`, for its carry is clear; the quotient's bits follow the dividend's out.

What bounds it: 33 cycles a bit of the quotient.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines

MOST_BITS = 16


def divide(bits: int) -> str:
    """total, total+1 = total / (divisor + 1) of `bits` bits; in line.

    total  4 bytes; divisor below 32767; uses A, X, Y, remainder
    """
    return lines(
        "    lda total+3\n    sta remainder+1\n    lda total+2",
        *(_step(place, place >= MOST_BITS - bits) for place in range(MOST_BITS)),
        "    rol total",
    )


def _step(place: int, counts: bool) -> str:
    """One bit of the dividend goes to the remainder, A its low byte; the one before comes."""
    moved = "    rol total+1\n" if place <= 8 else ""
    moved += "    rol total\n" if place >= 8 else ""
    moved += "    rol\n    rol remainder+1"
    if not counts:
        return moved
    return f"""\
{moved}
    tax
    sbc divisor
    tay
    lda remainder+1
    sbc divisor+1
    bcc _less_{place}        ;@ p=0.6
    sta remainder+1
    tya
    bcs _more_{place}        ;@ always
_less_{place}:
    txa
_more_{place}:"""
