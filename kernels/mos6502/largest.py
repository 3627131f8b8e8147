"""The largest of 16-bit numbers with signs: is another one larger, and then it is that -> assembly.

What looks for the likeliest token keeps its result in `largest`.  A number is a pair of operands,
of its low and of its high byte.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines

Number = tuple[str, str]
LARGEST = ("largest", "largest+1")


def compare(a: Number, b: Number) -> str:
    """The sign is set where a is less than b; A is lost."""
    return f"""\
    lda {a[0]}
    cmp {b[0]}
    lda {a[1]}
    sbc {b[1]}
    bvc *+4             ;@ p=0.99
    eor #$80"""


def challenge(other: Number, larger: str) -> str:
    """To _better where another is larger, which is so often, to _worse where it is less, or on."""
    return lines(
        compare(LARGEST, other),
        f"""\
    bmi _better         ;@ p={larger}
    lda largest
    cmp {other[0]}
    bne _worse          ;@ p=0.99
    lda largest+1
    cmp {other[1]}
    bne _worse          ;@ p=0.5""",
    )


def take(other: Number) -> str:
    """Another is the largest."""
    return f"    lda {other[0]}\n    sta largest\n    lda {other[1]}\n    sta largest+1"
