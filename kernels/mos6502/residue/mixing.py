"""An attention's weighted sums in residues: 27 to 34 cycles a product -> assembly text.

The weights are the operands of the chains, X is the feature; the code is unrolled over the rows and
entered at the last one seen.  Three chains do while the sum of the weights, times the largest value
so far, says so; else a fourth follows.  A result is a long division: its high byte by subtraction,
for most are below 256, then eight steps.

What bounds it: 26 cycles a product, 8 more in the fourth chain, 60 a result, 33 a bit of the
division.

Exact where every value lies within `largest`.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.cache import Shape, fold, join, start
from anachron.kernels.mos6502.residue.moduli import WIDE

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
    def narrow_weights(self) -> list[int]:
        """The largest sum of weights with which three chains do, by the values' high byte."""
        reach = min(-WIDE.lowest, WIDE.highest)
        peaks = (min(256 * high + 256, self.largest) for high in range((self.largest >> 8) + 1))
        return [min(reach // max(1, peak), 0xFFFF) for peak in peaks]

    @property
    def largest_sum(self) -> int:
        """Of weighted values, in size."""
        return MOST_WEIGHT * self.shape.n_rows * self.largest


def own_sums(mixer: Mixer) -> str:
    """The sum of t over the weights, which every product of the mixing has too much, negative.

    t(n) = T(n) + 256 n - 32640, of arithmetic.py's T: sum_a becomes the sum of t, 24 bits, the
    middle byte signed; from its bytes the residues.
    """
    name, small = mixer.name, mixer.shape.small
    text = [
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
    lda sum_a+1         ; the middle byte as a signed one
    bpl *+4             ;@ p=0.5
    inc sum_a+2"""
    ]
    invert = f"    lda low_mod{small},y    ;@ aligned\n    eor #$ff\n    sec\n    adc #{small}"
    for m, less in ((99, "    lda less_low,y      ;@ aligned"), (small, invert)):
        reduce = f"    cmp #{m}\n    bcc *+5             ;@ p=0.5\n    sbc #{m}\n    clc\n"
        reduce = reduce if 3 * (m - 1) > 255 else ""
        text.append(f"""\
    ldy sum_a+2
    lda high_mod{m},y   ;@ aligned
    tay
    lda high_mod{m},y   ;@ aligned
    ldy sum_a+1
    clc
    adc high_mod{m},y   ;@ aligned
{reduce}    ldy sum_a
    adc low_mod{m},y    ;@ aligned
    tay
{less}
    sta {name}_ps{m}+1""")
    return lines(*text)


def mix(mixer: Mixer) -> str:
    """The head's results."""
    shape, name, small, n = mixer.shape, mixer.name, mixer.shape.small, mixer.shape.n_rows
    text = [f"    sec\n    lda {name}_row\n    sbc position\n    tax\n{name}_enter_patch:"]
    text.append(f"    jmp {name}_patch_1       ;@ goes {name}_patch_{{seen}}")
    for row in range(n - 1, -1, -1):
        text.append(f"{name}_patch_{row + 1}:\n    ldy {name}_weights+{row},x    ;@ aligned")
        text += [f"    sty {name}_p{m}_{row}+1" for m in (256, 255)]
        for m, table in ((99, "low_mod99"), (small, f"low_mod{small}")):
            text.append(f"    lda {table},y        ;@ aligned\n    sta {name}_p{m}_{row}+1")
    text.append(
        f"    lda {name}_head\n    clc\n    adc #{shape.head_size - 1}\n    tax\n"
        f"    ldy {name}_head\n    dey\n    sty {name}_first+1\n{name}_result:"
    )
    for m in shape.moduli:
        begin = start(m, f"{shape.value(m, n)},x    ;@ aligned", f"{name}_ps{m}")
        if m == small:
            text.append(_three(mixer))
            begin = begin.replace("    adc #0\n    cld\n    sta total+2\n", "", 1)
            begin += "\n" + fold(small)
        text.append(begin)
        text.append(f"{name}_enter_v{m}:\n    jmp {name}_v{m}_1   ;@ goes {name}_v{m}_{{seen}}")
        text.append(_rows_chain(shape, m))
    text += [join(small), "    sta term+2", f"{name}_divide:", _divide(mixer)]
    text.append(
        f"    ldx index\n{name}_out_high:\n    sta $ffff,x\n    tya\n{name}_out_low:\n"
        f"    sta $ffff,x\n    dex\n{name}_first:\n    cpx #0\n"
        f"    beq {name}_mixed     ;@ times {shape.head_size}\n    jmp {name}_result\n{name}_mixed:"
    )
    return lines(*text)


def _rows_chain(shape: Shape, m: int) -> str:
    """A chain of products over the rows, entered at the last one seen."""
    name, small = shape.name, shape.small
    often = max(1, (255 - (small - 1)) // (small - 1))  # adds between two reductions
    text = []
    for row in range(shape.n_rows - 1, -1, -1):
        text.append(f"{name}_v{m}_{row + 1}:\n    ldy {shape.value(m, row)},x    ;@ aligned")
        text.append("    clc" if m == 256 else "")
        text.append(f"{name}_p{m}_{row}:\n    adc t{m},y            ;@ p=0.2")
        if m == small and row % often == 0:
            text.append(fold(small))
    return lines(*text)


def _is_long(mixer: Mixer) -> bool:
    """A sum's upper bytes, its sign taken off, may need three bytes."""
    return mixer.largest_sum >> 8 >= 1 << 16


def _three(mixer: Mixer) -> str:
    """T >> 8 in term, where three chains do; else the fourth follows."""
    name = mixer.name
    sign = "    asl\n    lda #0\n    adc #$ff\n    eor #$ff" if _is_long(mixer) else ""
    return lines(
        f"""\
    adc #0
    cld
    sta total+2
    bit first
    bpl {name}_four      ;@ p=1-narrow_heads
    tay
    clc
    lda total+1
    adc wraps_low,y     ;@ aligned
    sta term
    lda wraps_high,y    ;@ aligned
    adc #0
    sta term+1""",
        sign,
        f"    sta term+2\n    jmp {name}_divide\n{name}_four:",
    )


def _divide(mixer: Mixer) -> str:
    """A, Y = floor((total + 256 term) / (divisor + 1)), signed, high byte first; X is lost.

    Of a negative sum S the quotient is that of ~S = -S - 1, inverted.
    """
    long = _is_long(mixer)
    upper = ("term", "term+1", "term+2") if long else ("term", "term+1")
    invert = "\n".join(f"    lda {b}\n    eor #$ff\n    sta {b}" for b in ("total", *upper))
    third = "    lda term+2\n    sbc #0\n    bcc _below          ;@ p=0.5\n    sta term+2"
    most = mixer.largest // 256 + 1
    times = f"times 1..{most} ~min(quotient, {most})"
    if long:
        less = f"    sta scratch+2\n{third}\n    lda scratch+2\n    sta term+1\n    stx term"
    else:
        less = "    bcc _below          ;@ p=0.5\n    sta term+1\n    stx term"
    less = less.replace("p=0.5", times)
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
    return lines(
        f"    lda term+2\n    sta scratch\n    bpl _positive       ;@ p=0.5\n{invert}\n_positive:",
        f"""\
    ldy #$ff
_above:
    iny                 ; the quotient's high byte
    clc
    lda term
    sbc divisor
    tax
    lda term+1
    sbc divisor+1
{less}
    jmp _above
_below:
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


def limits(mixer: Mixer) -> str:
    """Tables of narrow_weights."""
    parts = (("low", 0), ("high", 8))
    return lines(
        *(
            f"{mixer.name}_narrow_{part}:\n    .byte "
            + ",".join(str(limit >> shift & 0xFF) for limit in mixer.narrow_weights)
            for part, shift in parts
        )
    )


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
