"""An attention's scores of int16 keys kept as two bytes -> assembly text.

A score's sum is 256 times that of the keys' high bytes, H, and that of their low ones, L, each by
chains over the features: q's residues are the operands, X is the row.  H and L of three moduli,
256, 255 and 253, while the query is so short that they tell the sums apart; else a small modulus
follows (levels.py), or, where that is left out, products do the row.  Bits 8 on of the sum are
H + (L >> 8); as 128 is added to what is kept of a low byte, 128 times the sum of the query is taken
to H and, its last bit, to L.

What bounds it: 2 * 29.5 cycles a product, 16 more with the small modulus; a score 220 more, to be
put together and compared.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import add_to_word, clear, lines
from anachron.kernels.mos6502.residue.levels import MIDDLE, add, raise_turns
from anachron.kernels.mos6502.split.chains import Term, chain, fold, start_middle
from anachron.kernels.mos6502.split.shape import FLIP, PARTS, Mixer, Shape
from anachron.kernels.mos6502.split.weights import ladder


def scores(mixer: Mixer) -> str:
    """The scores of the rows from `row` down, top bit flipped, and the largest."""
    shape, name = mixer.shape, mixer.name
    high, low = (_three(shape, part) for part in (0, 1))
    four = len(shape.moduli) > 3
    near = f"    bit first\n    bmi *+5             ;@ p=1-{mixer.longer}\n    jmp {name}"
    return lines(
        f"    lda #0\n    sta largest\n    sta largest+1\n    ldx {name}_row\n{name}_score:",
        "" if four else f"{near}_product",
        high,
        f"{near}_high_four" if four else "",
        _three_bytes(),
        f"""\
    tay
    clc
    lda total
{name}_more_0:
    adc #0
    sta term
    lda total+1
{name}_more_1:
    adc #0
    sta term+1
    tya
{name}_more_2:
    adc #0
    sta term+2
{name}_low:""",
        low,
        f"{near}_low_four" if four else "",
        _three_bytes(),
        f"""\
    eor #$80
    tay
    clc
    lda total
{name}_parity:
    adc #0
    lda total+1
    adc term
    tya
    adc term+1
    sta total
    lda term+2
    adc #0
{name}_compare:
    tay
{name}_keep_high:
    sta $ffff,x
    lda total
{name}_keep_low:
    sta $ffff,x
    cmp largest
    tya
    sbc largest+1
    bcc _less           ;@ p=0.6
    sty largest+1
    lda total
    sta largest
_less:
    dex
{name}_last:
    cpx #0
    beq _scored         ;@ times seen
    jmp {name}_score
_scored:
    jmp {name}_weigh""",
        _longer(mixer) if four else _products_of_row(mixer),
        f"{name}_weigh:",
    )


def _longer(mixer: Mixer) -> str:
    """What follows where a query is too long for three chains: four."""
    shape, name = mixer.shape, mixer.name
    return lines(
        f"{name}_low_four:",
        _four(shape, 1),
        f"""\
    eor #$80            ; topmost of L >> 8
    sta term+5
    clc
    lda total
{name}_parity_four:
    adc #0
    lda total+1
    adc term
    lda total+2
    adc term+1
    sta total
    lda term+5
    adc term+2
    sta total+1
    lda term+3
    adc #0
    sta total+2""",
        ladder(mixer, "down", "    lsr total+2\n    ror total+1\n    ror total"),
        f"    lda total+1\n    eor #$80\n    jmp {name}_compare\n{name}_high_four:",
        _four(shape, 0),
        f"""\
    sta term+3
    clc
    lda total
    adc {name}_more_0+1
    sta term
    lda total+1
    adc {name}_more_1+1
    sta term+1
    lda total+2
    adc {name}_more_2+1
    sta term+2
    bcc *+4             ;@ p=0.5
    inc term+3
    clc                 ; the same, without what takes off signs of three bytes, but of four
    lda term+1
    adc #{FLIP}
    sta term+1
    lda term+2
    adc #0
    sta term+2
    lda term+3
    adc #255
    sta term+3
    jmp {name}_low""",
    )


def _products_of_row(mixer: Mixer) -> str:
    """The same by products: the row X's score, feature by feature.

    A sum of five bytes in `correction`; keys are arrays that follow each other.
    """
    shape, name = mixer.shape, mixer.name
    start = []
    for part, pointer in enumerate(("pointer", "source_low")):
        offset = int(shape.key(part, 0).partition("+")[2])
        page = f"    lda {name}_page\n" if shape.caches > 1 else f"    lda #>{name}_cache\n"
        start.append(
            f"    lda #{offset & 0xFF}\n    sta {pointer}\n{page}"
            + (f"    clc\n    adc #{offset >> 8}\n" if offset >> 8 else "")
            + f"    sta {pointer}+1"
        )
    return lines(
        f"{name}_product:\n    stx index\n    lda {name}_head\n    sta value_index",
        *start,
        clear("correction", 5),
        f"""\
{name}_product_of:
    ldy value_index
    lda {name}_256,y    ;@ p=0.1
    sta factor_a
    lda {name}_flipped,y    ;@ p=0.1
    eor #$80
    sta factor_a+1
    ldy index
    lda (source_low),y  ;@ p=0.3
    sta factor_b
    lda (pointer),y     ;@ p=0.3
    eor #$80
    sta factor_b+1
    jsr multiply_signed
    lda total+3
    asl
    lda #0
    adc #$ff
    eor #$ff
    sta term
    clc""",
        *(
            f"    lda correction+{i}\n    adc {what}\n    sta correction+{i}"
            for i, what in enumerate((*(f"total+{i}" for i in range(4)), "term"))
        ),
        add_to_word("pointer", str(shape.key_stride)),
        add_to_word("source_low", str(shape.key_stride)),
        f"""\
    inc value_index
    lda value_index
    cmp {name}_next
    beq *+5             ;@ times {shape.head_size}
    jmp {name}_product_of
    ldx index
    lda correction+2
    sta total
    lda correction+3
    sta total+1
    lda correction+4
    sta total+2""",
        ladder(mixer, "down", "    lsr total+2\n    ror total+1\n    ror total"),
        f"    lda total+1\n    eor #$80\n    jmp {name}_compare",
    )


def _three(shape: Shape, part: int) -> str:
    """Chains of three moduli; Y is the last one's end, total and total+1 those before."""
    text = []
    for m in shape.moduli[:3]:
        own = f"{shape.name}_{PARTS[part]}_own_{m}"
        constant = shape.read_key_sums(part, m)
        match m:
            case 256:
                text.append(f"    lda {constant}\n    sec\n{own}:\n    sbc #0")
            case 255:
                text.append(
                    f"    sta total\n    eor #$ff\n    clc\n    adc {constant}\n{own}:\n    adc #0"
                )
            case _:
                text.append(start_middle())
                text.append(add(m, constant))
                text.append(add(m, "#0", f"{own}:\n"))
        text.append(_products(shape, part, m, 0)[0])
    return lines(*text, "    tay")


def _products(shape: Shape, part: int, m: int, most: int) -> tuple[str, int]:
    terms = [
        Term(f"    ldy {shape.read_key(part, i)}", f"{shape.name}_{PARTS[part]}_{m}_{i}")
        for i in range(shape.head_size)
    ]
    return chain(m, terms, most)


def _three_bytes() -> str:
    """total, total+1, A = the sum of three chains, Y the last one's end."""
    return (
        f"    clc\n    lda total+1\n    adc wraps{MIDDLE}_low,y    ;@ aligned\n    sta total+1\n"
        f"    lda wraps{MIDDLE}_high,y   ;@ aligned\n    adc #0"
    )


def _four(shape: Shape, part: int) -> str:
    """total, total+1, total+2, A = the sum of four chains, Y the third one's end."""
    small = shape.moduli[3]
    start = f"""\
{raise_turns()}
    lda row_less_top,y  ;@ aligned
    sta scratch
    lda total
    eor #$ff
    tay
    clc
    lda row_low,y       ;@ aligned
    adc scratch
    sta scratch
    lda total+1
    eor #$7f
    tay
    lda row_high,y      ;@ aligned
    adc scratch
    adc {shape.read_key_sums(part, small)}
{shape.name}_{PARTS[part]}_own_{small}:
    adc #0"""
    most = 5 * (small - 1) + 1
    if most > 255:
        start += "\n" + fold()
        most = small - 1
    return lines(
        start,
        _products(shape, part, small, most)[0],
        fold(),
        """\
    tay
    clc
    lda total+2
    adc row_turn_low,y  ;@ aligned
    sta total+1
    lda total+3
    adc row_turn_middle,y   ;@ aligned
    sta total+2
    lda #0
    adc row_turn_high,y ;@ aligned""",
    )
