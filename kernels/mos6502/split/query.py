"""A query of an attention that keeps two bytes a number -> assembly text.

Its residues become the operands of the chains; its length says how many moduli tell scores apart.

    length   a head's |q0| + |q1| + ... in units of 256, rounded up
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import CORRECTION, MIDDLE, reduce_middle
from anachron.kernels.mos6502.split.chains import Term, chain, fold
from anachron.kernels.mos6502.split.shape import FLIP, MOST_UNITS, PARTS, Mixer, Shape


def take(shape: Shape) -> str:
    """`<name>_take`: residues, lengths and high bytes of the query that a call has put there."""
    name, size = shape.name, shape.size
    step = f"    dex\n    bpl {name}_query_high ;@ times {size}"
    if size > 128:
        step = f"    dex\n    cpx #$ff\n    bne {name}_query_high ;@ times {size}"
    return f"""\
; {name}_take: a query -> its residues, lengths, high bytes; uses A, X, Y, scratch
{name}_take:
    ldx #{size - 1}
{name}_query_high:
    ldy $ffff,x         ;@ p=0.3
    sty scratch         ; 256 h modulo 255
    tya
    eor #$80
    sta {name}_flipped,x
    bmi _positive       ;@ p=0.5
    dec scratch
    eor #$ff
_positive:
    and #$7f
    sta {name}_length,x
{name}_query_low:
    lda $ffff,x         ;@ p=0.3
    sta {name}_256,x
    clc
    adc scratch
    adc #0
    sta {name}_255,x
    lda {name}_256,x    ;@ p=0.1
    clc
    adc high_mod{MIDDLE},y   ;@ aligned
    bcc *+4             ;@ p=0.5
    adc #{CORRECTION - 1}
    sta {name}_{MIDDLE},x
{_take_small(shape)}{step}
    rts"""


def _take_small(shape: Shape) -> str:
    """The residue modulo the small one, not reduced, where it is needed."""
    if len(shape.moduli) < 4:
        return ""
    return f"""\
    lda row_high,y      ;@ aligned
    ldy {shape.name}_256,x    ;@ p=0.1
    clc
    adc row_low,y       ;@ aligned
    sta {shape.name}_{shape.small},x
"""


def query(mixer: Mixer) -> str:
    """A head's residues into the operands of the chains; `first`: top bit set where three do."""
    shape, name, d = mixer.shape, mixer.name, mixer.shape.head_size
    length = [
        f"    adc {name}_length+{i},x  ;@ p=0.1\n"
        f"    bcs _long           ;@ p=usual(query_over,0)/{d}"
        for i in range(d)
    ]
    text = [
        f"    ldx {name}_head\n    lda #0\n    clc",
        *length,
        f"    cmp #{MOST_UNITS - d + 1}\n    lda #$80\n    bcc _short          "
        f";@ p=1-{mixer.longer}\n_long:\n    lda #0\n_short:\n    sta first",
        _sum_query(mixer),
    ]
    for m in shape.moduli:
        terms = [
            Term(
                f"    ldy {name}_{m}+{i},x    ;@ p=0.1\n"
                + "\n".join(f"    sty {name}_{part}_{m}_{i}+1" for part in PARTS),
                offset=FLIP,
            )
            for i in range(d)
        ]
        body, _ = chain(m, terms, 0)
        if m < MIDDLE:
            text.append(
                f"    bit first\n    bpl *+5             ;@ p={mixer.longer}\n"
                f"    jmp {name}_three"
            )
        text.append(f"    lda #0\n    clc\n{body}")
        match m:
            case 256:
                pass
            case 255:
                text.append("    adc #0\n    eor #$ff")
            case 253:
                text.append(f"    eor #$ff\n{reduce_middle()}")
            case _:
                text.append(f"{fold()}\n    eor #$ff\n    sec\n    adc #{m}")
        text += [f"    sta {name}_{part}_own_{m}+1" for part in PARTS]
    return lines(*text, f"{name}_three:")


def _sum_query(mixer: Mixer) -> str:
    """128 times the sum of the query's elements into what is added to each score.

    With it go what has the sums' signs taken off: 128 in the byte above L >> 8, and in the topmost.
    """
    name, d = mixer.name, mixer.shape.head_size
    more = ((FLIP << 16) - (FLIP << 8) - (FLIP << 7) * d) & 0xFFFFFF
    text = []
    for at, what in enumerate(("256", "flipped")):
        text.append(f"""\
    ldx {name}_head
    ldy #{d}
    lda #0
    sta scratch+{2 * at + 1}
    clc
{name}_add_{what}:
    adc {name}_{what},x  ;@ p=0.1
    bcc *+5             ;@ p=0.5
    inc scratch+{2 * at + 1}
    clc
    inx
    dey
    bne {name}_add_{what}       ;@ times {d}
    sta scratch+{2 * at}""")
    return lines(
        *text,
        f"""\
    clc
    lda scratch+1
    adc scratch+2
    tay
    lda scratch+3
    adc #0
    lsr
    sta scratch+1
    tya
    ror
    tay
    lda scratch
    ror
    sta scratch
    lda #0
    ror
    sta {name}_parity+1
{f"    sta {name}_parity_four+1" if len(mixer.shape.moduli) > 3 else ""}
    clc
    lda scratch
    adc #{more & 0xFF}
    sta {name}_more_0+1
    tya
    adc #{more >> 8 & 0xFF}
    sta {name}_more_1+1
    lda scratch+1
    adc #{more >> 16}
    sta {name}_more_2+1
    ldx {name}_head""",
    )
