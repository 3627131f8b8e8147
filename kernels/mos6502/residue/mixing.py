"""An attention's weighted sums in residues: 30 cycles a product -> assembly text.

The weights are the operands of the chains, X is the feature; the code is unrolled over the rows and
entered at the last one seen.  Three chains tell a sum while the sum of the weights, times the
largest value so far, says so.  Else all is done twice: first with a sixteenth of each weight, which
tells how far the sums of the second time are off (turns.py).  A result is a long division: its high
byte by subtraction, for most are below 256, then eight steps.

What bounds it: 29.5 cycles a product, 60 a result, 33 a bit of the division.

Exact where every value lies within `largest`, and `objection` has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.cache import COARSE, PAGE, Shape
from anachron.kernels.mos6502.residue.levels import add, reduce_middle
from anachron.kernels.mos6502.residue.middle import (
    FAR,
    MIDDLE,
    REACH,
    begin_sum,
    join,
    negate,
    start,
)
from anachron.kernels.mos6502.residue.turns import PART

MOST_WEIGHT = 255


@dataclass(frozen=True)
class Mixer:
    """What else the code depends on.

    shift    of the scores, 8 .. 16         entries  of the table of weights, up to 256
    largest  magnitude of the values
    """

    shape: Shape
    shift: int
    table: str
    entries: int
    largest: int

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def limits(self) -> list[int]:
        """By the values' squares, without COARSE bits: the high byte of a sum of weights from which
        on three chains may not do."""
        found = []
        for square in range((1 << COARSE) - 1, PAGE, 1 << COARSE):
            peak = 256 * math.isqrt(square) if square < FAR else self.largest
            found.append(min(REACH // max(1, min(peak, self.largest)) + 1 >> 8, PAGE - 1))
        return found

    @property
    def largest_sum(self) -> int:
        """Of weighted values, in size."""
        return MOST_WEIGHT * self.shape.n_rows * self.largest


def own_sums(mixer: Mixer) -> str:
    """The sum of t over the weights, which every product of the mixing has too much, negative.

    t(n) = T(n) + 256 n - 32640, of arithmetic.py's T: sum_a becomes the sum of t, 24 bits; from its
    bytes the residues.
    """
    name, m = mixer.name, MIDDLE
    return lines(
        f"""\
    ldx position        ; less 32640 a row, scratch = 128 a row: 256 (sum of weights - scratch),
    inx                 ; and scratch
    txa
    lsr
    sta scratch+1
    lda #0
    ror
    sta scratch
    clc
    adc sum_a
    sta sum_a
    lda scratch+1
    adc sum_a+1
    sta sum_a+1
    bcc *+4             ;@ p=0.9
    inc sum_a+2
    sec
    lda divisor
    sbc scratch
    tax
    lda divisor+1
    sbc scratch+1
    tay
    txa
    clc
    adc sum_a+1
    sta sum_a+1
    tya
    adc sum_a+2
    sta sum_a+2
    lda #0
    sec
    sbc sum_a
    sta {name}_ps256+1
    clc
    lda sum_a
    adc sum_a+1
    adc sum_a+2
    adc #0
    eor #$ff
    sta {name}_ps255+1
    lda sum_a+2         ; 256 = 3
    asl
    adc sum_a+2""",
        add(m, "sum_a+1"),
        "    tay\n    lda sum_a\n    eor #$ff\n    clc",
        add(m, f"less_middle{m},y ;@ aligned"),
        reduce_middle(),
        f"    sta {name}_ps{m}+1",
    )


def patch(shape: Shape) -> str:
    """The head's weights into the chains; X the row of its last one seen, less `position`."""
    name = shape.name
    text = [f"    sec\n    lda {name}_row\n    sbc position\n    tax\n{name}_enter_patch:"]
    text.append(f"    jmp {name}_patch_1       ;@ goes {name}_patch_{{seen}}")
    for row in range(shape.n_rows - 1, -1, -1):
        text.append(f"{name}_patch_{row + 1}:\n    ldy {name}_weights+{row},x    ;@ aligned")
        text += [f"    sty {name}_p{m}_{row}+1" for m in shape.moduli]
    return lines(*text)


def mix(mixer: Mixer) -> str:
    """`<name>_mix`: the head's results."""
    shape, name, n = mixer.shape, mixer.name, mixer.shape.n_rows
    text = [
        f"{name}_mix:",
        patch(shape),
        f"    lda {name}_head\n    clc\n    adc #{shape.head_size - 1}\n    tax\n"
        f"    ldy {name}_head\n    dey\n    sty {name}_first+1\n{name}_result:",
    ]
    for m in shape.moduli:
        text.append(start(m, f"{shape.value(m, n)},x    ;@ aligned", f"{name}_ps{m}"))
        text.append(f"{name}_enter_v{m}:\n    jmp {name}_v{m}_1   ;@ goes {name}_v{m}_{{seen}}")
        text.append(_rows_chain(shape, m))
    text += [join("term"), "    eor #$80"]
    if shape.measured[1]:
        text.append(
            f"    bit first\n    bmi {name}_near        ;@ p=1-heavy_heads\n    jmp {name}_heavy\n"
            f"{name}_near:"
        )
    text += [_divide(mixer)]
    text.append(
        f"    ldx index\n{name}_out_high:\n    sta $ffff,x\n    tya\n{name}_out_low:\n"
        f"    sta $ffff,x\n{name}_more:\n    dex\n{name}_first:\n    cpx #0\n"
        f"    beq {name}_mixed     ;@ times {shape.head_size}\n    jmp {name}_result\n"
        f"{name}_mixed:\n    rts"
    )
    return lines(*text)


def _rows_chain(shape: Shape, m: int) -> str:
    """A chain of products over the rows, entered at the last one seen."""
    name = shape.name
    text = []
    for row in range(shape.n_rows - 1, -1, -1):
        text.append(f"{name}_v{m}_{row + 1}:\n    ldy {shape.value(m, row)},x    ;@ aligned")
        text.append(add(m, f"t{m},y            ;@ p=0.2", f"{name}_p{m}_{row}:\n"))
    return lines(*text)


def _divide(mixer: Mixer) -> str:
    """A, Y = floor((total + 256 (A, term)) / (divisor + 1)), signed, high byte first; X to index.

    Of a negative sum S the quotient is that of ~S = -S - 1, inverted.
    """
    name = mixer.name
    most = mixer.largest // 256 + 1
    steps = (
        f"""\
    rol total
    rol
    rol term+1
    tax
    sbc divisor
    tay
    lda term+1
    sbc divisor+1
    bcc _less_{step}        ;@ p=0.6
    sta term+1
    tya
    bcs _more_{step}        ;@ always
_less_{step}:
    txa
_more_{step}:"""
        for step in range(8)
    )
    invert = "\n".join(f"    lda {b}\n    eor #$ff\n    sta {b}" for b in ("total", "term"))
    return lines(
        f"""\
    stx index
    sta term+1
    sta scratch
    asl
    bcc _positive       ;@ p=0.5
    lda term+1
    eor #$ff
    sta term+1
{invert}
_positive:
    ldy #$ff
_above:
    iny                 ; the quotient's high byte
    clc
    lda term
    sbc divisor
    tax
    lda term+1
    sbc divisor+1
    bcc {name}_below        ;@ times 1..{most} ~min(quotient, {most})
    sta term+1
    stx term
    jmp _above
{name}_below:
    sty scratch+1
    lda term""",
        *steps,
        """\
    lda total
    rol
    tay
    lda scratch
    asl
    lda scratch+1
    bcc _signed         ;@ p=0.5
    tya
    eor #$ff
    tay
    lda scratch+1
    eor #$ff
_signed:""",
    )


def heavy(mixer: Mixer) -> str:
    """`<name>_heavy_head`: the head's results, where the weights are too many for three chains.

    `<name>_heavy`: a sum, (A, term), in both turns: the upper byte is kept, then it is corrected.
    """
    shape, name = mixer.shape, mixer.name
    most = mixer.largest // 256 + 1
    upper = ("term", "term+1", "term+2")
    invert = "\n".join(f"    lda {b}\n    eor #$ff\n    sta {b}" for b in ("total", *upper))
    sums = []
    for m in shape.moduli:
        sums.append(
            lines(
                f"    lda {name}_ps{m}+1\n    pha\n    ldx {name}_row",
                begin_sum(m),
                f"{name}_own_{m}:\n    ldy {name}_weights,x     ;@ aligned",
                add(m, f"t{m},y            ;@ aligned"),
                # The carry of a chain of 255 outlives the loop's end.
                f"    php\n    dex\n    cpx {name}_above\n    beq *+6             ;@ times seen\n"
                f"    plp\n    jmp {name}_own_{m}\n    plp",
                negate(m),
                f"    sta {name}_ps{m}+1",
            )
        )
    restored = "\n".join(f"    pla\n    sta {name}_ps{m}+1" for m in reversed(shape.moduli))
    return lines(
        f"""\
; {name}_heavy_head: results of too many weights for three chains; uses everything
{name}_heavy_head:
    lda {name}_last+1
    sta {name}_above
    ldx {name}_row
{name}_part:
    lda {name}_weights,x        ;@ aligned
    sta {name}_scores_low,x     ;@ aligned""",
        "    lsr\n" * PART,
        f"""\
    sta {name}_weights,x        ;@ aligned
    dex
    cpx {name}_above
    bne {name}_part         ;@ times seen""",
        *sums,
        f"    lda #$40\n    sta first\n    jsr {name}_mix\n{restored}",
        f"""\
    ldx {name}_row
{name}_whole:
    lda {name}_scores_low,x     ;@ aligned
    sta {name}_weights,x        ;@ aligned
    dex
    cpx {name}_above
    bne {name}_whole        ;@ times seen
    lda #0
    sta first
    jmp {name}_mix
{name}_heavy:
    bit first
    bvc _turned         ;@ p=0.5
    sta {name}_scores_high,x    ;@ aligned
    jmp {name}_more
_turned:
    stx index
    sta term+1
    lda {name}_scores_high,x    ;@ aligned
    jsr {name}_turn
    lda term+2
    sta scratch
    bpl _positive       ;@ p=0.5
{invert}
_positive:
    ldy #$ff
_above:
    iny
    clc
    lda term
    sbc divisor
    tax
    lda term+1
    sbc divisor+1
    sta scratch+2
    lda term+2
    sbc #0
    bcc _below          ;@ times 1..{most} ~min(quotient, {most})
    sta term+2
    lda scratch+2
    sta term+1
    stx term
    jmp _above
_below:
    jmp {name}_below
{name}_above:
    .byte 0""",
    )


def limits(mixer: Mixer) -> str:
    """The table of Mixer.limits."""
    return f"{mixer.name}_weight_limits:\n    .byte {','.join(map(str, mixer.limits))}"


def _entries(shape: Shape) -> list[str]:
    """Labels of the jumps into code that is unrolled over the rows."""
    return ["patch", *(f"v{m}" for m in shape.moduli)]


def enter(shape: Shape) -> str:
    """Patch those jumps for a position."""
    text = ["    ldx position"]
    for entry in _entries(shape):
        text += [
            f"    lda {shape.name}_{part}_{entry},x\n    sta {shape.name}_enter_{entry}+{i}"
            for i, part in ((1, "low"), (2, "page"))
        ]
    return lines(*text)


def entry_tables(shape: Shape) -> str:
    text = []
    for entry in _entries(shape):
        slots = [f"{shape.name}_{entry}_{seen}" for seen in range(1, shape.n_rows + 1)]
        for part, sign in (("low", "<"), ("page", ">")):
            text.append(f"{shape.name}_{part}_{entry}:")
            text += [f"    .byte {sign}{slot}" for slot in slots]
    return lines(*text)
