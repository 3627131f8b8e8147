"""Which queries three residues do, and the scores of the others -> assembly text.

A score is at most the query's length times the key's (Cauchy and Schwarz).  The squares of both
come from high bytes, rounded up; the longest key of each head is kept with the keys.  A query that
may be too long is done in two turns, a sixteenth of it first (turns.py).

What bounds it: looking, 60 cycles a head; a long query's scores take 2.5 times as long.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.cache import COARSE, PAGE, Shape, measure, residues
from anachron.kernels.mos6502.residue.middle import FAR, REACH
from anachron.kernels.mos6502.residue.mixing import Mixer
from anachron.kernels.mos6502.residue.turns import PART

LEAST_SHIFT = 8  # of scores


def key_limits() -> list[int]:
    """By a key's squares, without COARSE bits: what the query's must be below."""
    most = (REACH >> 8) ** 2 >> 16  # of both, in units of 65536: of Cauchy and Schwarz
    lengths = range((1 << COARSE) - 1, PAGE, 1 << COARSE)
    return [min(most // length + 1, FAR) if length < FAR else 0 for length in lengths]


def choose(shape: Shape) -> str:
    """The head's scores in two turns where the query may be too long."""
    name = shape.name
    return lines(
        f"    ldx {name}_head\n    ldy {name}_number",
        measure(shape, f"{name}_is_long"),
        f"""\
    ldx {shape.longest},y    ;@ aligned
    cmp {name}_key_limits,x ;@ p=0.1
    bcc {name}_is_short      ;@ p=1-long_heads
{name}_is_long:
    jsr {name}_long
    jmp {name}_scored
{name}_is_short:""",
    )


def long_scores(mixer: Mixer) -> str:
    """`<name>_long`: the head's scores, where three residues may not tell them.

    They are left relative to the largest, so far as the table of weights tells them apart.
    """
    shape, name = mixer.shape, mixer.name
    down = mixer.shift - LEAST_SHIFT
    ups = 0 if down == 0 else 8 - down
    low, high = ("term", "term+1") if down == 0 else ("term+1", "term+2")
    shifts = "    asl term\n    rol term+1\n    rol term+2\n" * ups
    farthest = mixer.entries - 1
    back = 0xFFFF
    return lines(
        f"""\
; {name}_long: the scores of a long query; uses everything
{name}_long:
    ldx {name}_head
    txa
    clc
    adc #{shape.head_size}
    sta {name}_end
{name}_part_of_query:
    txa
    tay
    lda (source_high),y ;@ p=0.1
    sta scratch
    lda {shape.taken(256)},x    ;@ aligned
    ldy #{PART}
_down:
    pha
    lda scratch
    cmp #$80
    ror scratch
    pla
    ror
    dey
    bne _down           ;@ times {PART}
    ldy scratch
    sta {shape.taken(256)},x""",
        residues(shape),
        f"""\
    inx
    cpx {name}_end
    bne {name}_part_of_query    ;@ times {shape.head_size}
    jsr {name}_query
    jsr {name}_scores
    lda {name}_last+1
    sta {name}_end
    ldx {name}_row
_keep:
    lda {name}_scores_high,x    ;@ aligned
    eor #$80
    sta {name}_weights,x        ;@ aligned
    dex
    cpx {name}_end
    bne _keep           ;@ times seen
    jsr {name}_take
    jsr {name}_query
    jsr {name}_scores
    lda #0
    sta largest
    sta largest+1
    ldx {name}_row
{name}_turned:
    lda {name}_scores_low,x     ;@ aligned
    sta term
    lda {name}_scores_high,x    ;@ aligned
    eor #$80
    sta term+1
    lda {name}_weights,x        ;@ aligned
    jsr {name}_turn""",
        shifts,
        f"""\
    lda {high}
    eor #$80
    sta {name}_scores_high,x    ;@ aligned
    tay
    lda {low}
    sta {name}_scores_low,x     ;@ aligned
    cmp largest
    tya
    sbc largest+1
    bcc _less           ;@ p=less_rows
    sty largest+1
    lda {low}
    sta largest
_less:
    dex
    cpx {name}_end
    bne {name}_turned       ;@ times seen
    ldx {name}_row
{name}_relative:
    sec
    lda largest
    sbc {name}_scores_low,x     ;@ aligned
    tay
    lda largest+1
    sbc {name}_scores_high,x    ;@ aligned
    bne _far            ;@ p=0.1
    cpy #{farthest}
    bcc _near           ;@ p=0.9
_far:
    ldy #{farthest}
_near:
    tya
    ldy #0
    sty scratch""",
        "    asl\n    rol scratch\n" * down,
        f"""\
    eor #$ff
    sta {name}_scores_low,x     ;@ aligned
    lda scratch
    eor #$ff
    sta {name}_scores_high,x    ;@ aligned
    dex
    cpx {name}_end
    bne {name}_relative     ;@ times seen
    lda #{back & 0xFF}
    sta largest
    sta largest+1
    rts
{name}_number:
    .byte 0
{name}_end:
    .byte 0
{name}_key_limits:
    .byte {",".join(map(str, key_limits()))}""",
    )
