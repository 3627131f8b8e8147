"""Sums too large for three residues: what the same sum of a sixteenth tells -> assembly text.

With x = 16 h + l, 0 <= l < 16, the sum of h y fits three residues where that of x y does not, and
16 times it is off by the sum of l y at most: less than half a turn, so it tells how many turns the
residues of the sum of x y are off.

What bounds it: rare, so bytes count, not cycles.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import MIDDLE
from anachron.kernels.mos6502.residue.middle import REACH
from anachron.kernels.mos6502.residue.moduli import STEP

PART = 4  # bits that a part drops
TURN = STEP * MIDDLE
UPPER = TURN >> 16  # of the sums' upper bytes, a little less than a turn
NEAR = UPPER // 2 + 1  # so far from each other they may be without a turn between them
UNSURE = (NEAR - 2 - (1 << PART)) << 16  # what the dropped bits may be worth
MOST_TURNS = 3


def holds(largest: int, dropped: int) -> bool:
    """Sums up to this size come out right, where the dropped bits are worth so much at most."""
    return (
        largest + dropped <= REACH << PART
        and dropped <= UNSURE
        and largest <= MOST_TURNS * TURN
    )


def turn(name: str) -> str:
    """`<name>_turn`: term, 3 bytes, = T >> 8, of what three residues say of it, term, term+1, and
    of the signed byte A, the sum of the sixteenths >> 16; uses Y, scratch; keeps X."""
    step = TURN >> 8
    loops = []
    ways = (
        ("_more", NEAR, "bmi _less", ("sec", "sbc"), ("clc", "adc")),
        ("_less", 1 - NEAR, "bpl _done", ("clc", "adc"), ("sec", "sbc")),
    )
    for label, end, leave, (here, near), (there, far) in ways:
        loops.append(
            f"{label}:\n    lda scratch\n    cmp #{end & 0xFF}\n    lda scratch+1\n"
            f"    sbc #{end >> 8 & 0xFF}\n    {leave}           ;@ times 1..{MOST_TURNS + 1} ~1.2\n"
            f"    {here}\n    lda scratch\n    {near} #{UPPER}\n    sta scratch\n"
            f"    lda scratch+1\n    {near} #0\n    sta scratch+1\n    {there}\n    lda term\n"
            f"    {far} #<{step}\n    sta term\n    lda term+1\n    {far} #>{step}\n"
            f"    sta term+1\n    lda term+2\n    {far} #0\n    sta term+2\n    jmp {label}"
        )
    return lines(
        f"; {name}_turn: term = T >> 8 of its residues and of what it is about, A; uses Y, scratch",
        f"""\
{name}_turn:
    sta scratch
    ldy #0
    asl
    bcc *+3             ;@ p=0.5
    dey
    sty scratch+1""",
        "    asl scratch\n    rol scratch+1\n" * PART,
        """\
    ldy #0
    lda term+1
    bpl *+3             ;@ p=0.5
    dey
    sty term+2
    sec
    lda scratch
    sbc term+1
    sta scratch
    lda scratch+1
    sbc term+2
    sta scratch+1""",
        *loops,
        "_done:\n    rts",
    )
