"""Rows that a head has noticed: their weights, and the mean of their values: see heads.py."""

from __future__ import annotations

from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.narrow.attention import divide_byte
from anachron.kernels.mos6502.streamed.head_shapes import (
    AUTOLOAD,
    NOTICED,
    PAGE,
    RECORD,
    RIGHT,
    Heads,
    kind,
)


def mix(h: Heads) -> str:
    """Sums of weight * (value + 128) in the zero page, of weights in divisor."""
    name = h.name
    text = [
        "    lda #0",
        *(f"    sta {h.sums(b, d)}" for b in range(3) for d in range(h.size)),
        "    sta divisor\n    sta divisor+1\n    sta index\n    sta correction\n"
        "    sta correction+1\n    sta correction+2",
        expansion.set_up(f"${RECORD:04x}", h.size),
        f"    lda #${RECORD:02x}\n    sta ${expansion.HOST:04x}\n    lda #{h.size}\n"
        f"    sta ${expansion.LENGTH:04x}\n    lda {name}_values+2\n"
        f"    sta ${expansion.AT + 2:04x}",
        "    sec\n    lda #0\n    sbc row\n    sta rows_left\n    lda #0\n    sbc row+1\n"
        "    sta rows_left+1",
    ]
    for number, pointer in enumerate(NOTICED):
        place = f"{name}_noticed+{number * h.pages * PAGE}"
        text.append(f"    lda #>({place})\n    sta {pointer}+1")
    text.append(f"""\
{name}_weigh:
    ldy index
    sec
    lda largest
    sbc (key_low),y
    sta term
    lda largest+1
    sbc (key_high),y
    sta term+1
    lda largest+2
    sbc (key_fix),y""")
    text.append(_place(h))
    text.append(f"""\
    lda {h.table},x      ;@ p=0.2
    bne {name}_weighs    ;@ p=min(1,{h.weighed}/{h.noticed})
{name}_to_weighed:
    jmp {name}_weighed
{name}_weighs:
    sta product_low
    sta product_high
    tax
    clc
    adc divisor
    sta divisor
    bcc *+4             ;@ p=0.9
    inc divisor+1
    clc
    lda correction
    adc products_low,x  ;@ aligned
    sta correction
    lda correction+1
    adc products_high,x ;@ aligned
    sta correction+1
    bcc *+4             ;@ p=0.6
    inc correction+2
    lda (value_low),y
    sta ${expansion.AT:04x}
    lda (value_high),y
    sta ${expansion.AT + 1:04x}
    lda #${expansion.FETCH | AUTOLOAD:02x}
    sta ${expansion.COMMAND:04x}           ;@ plus {h.size}""")
    for d in range(h.size):
        text.append(f"""\
    ldy ${RECORD + d:02x}
    sec
    lda (product_low),y     ;@ p=0.1
    sbc less_product_low,y  ;@ aligned
    tax
    lda (product_high),y    ;@ p=0.1
    sbc less_product_high,y ;@ aligned
    sta term
    txa
    clc
    adc {h.sums(0, d)}
    sta {h.sums(0, d)}
    lda term
    adc {h.sums(1, d)}
    sta {h.sums(1, d)}
    bcc *+4                 ;@ p=0.6
    inc {h.sums(2, d)}""")
    wrap = ""
    if h.pages > 1:
        wrap = "    bne *+12            ;@ p=0.996\n" + "\n".join(
            f"    inc {p}+1" for p in NOTICED
        )
    text.append(f"""\
{name}_weighed:
    inc index
{wrap}
    inc rows_left
    bne *+4             ;@ p=0.99
    inc rows_left+1
    lda rows_left
    ora rows_left+1
    beq {name}_mixed     ;@ times 1..seen ~{h.noticed}
    jmp {name}_weigh
{name}_mixed:""")
    return lines(*text)


def _place(h: Heads) -> str:
    """X = the place in the table of a row at distance A, term+1, term; or it weighs nothing."""
    name, far = h.name, f"    jmp {h.name}_weighed\n"
    (upper, bits, rest), text, low = kind(h.shifts[0]), [], "term+1"
    if not upper:  # the distance must have two bytes
        text.append(f"    beq *+5             ;@ p=0.99\n{far}    lda term+1")
        low = "term"
    if bits:
        text.append(f"{name}_bits:\n    cmp #{1 << rest}\n    bcc *+5             ;@ p=0.95\n{far}")
    if rest in (0, 8):
        text.append("    tax" if rest else f"    ldx {low}")
    else:
        right = rest <= RIGHT
        rungs = sorted({kind(shift)[2] for shift in h.shifts}, reverse=right)
        if h.several:
            text.append(f"{name}_way:\n    jmp {name}_step_{rungs[0]}  ;@ goes {{{name}_way}}")
        for i, rung in enumerate(rungs):
            after = rungs[i + 1] if i + 1 < len(rungs) else 0 if right else 8
            step = f"    lsr\n    ror {low}" if right else f"    asl {low}\n    rol"
            text += [f"{name}_step_{rung}:", *([step] * abs(rung - after))]
        text.append(f"    ldx {low}" if right else "    tax")
    if h.entries < PAGE:
        text.append(f"    cpx #{h.entries}\n    bcc *+5             ;@ p=0.95\n{far}")
    return lines(*text)


def results(h: Heads) -> str:
    """A head's results."""
    text = []
    for d in range(h.size):
        text.append("    sec")
        for b in range(3):
            text.append(
                f"    lda {h.sums(b, d)}\n    sbc correction+{b}\n    sta total+{b}"
            )
        text.append(f"    jsr {h.name}_divide\n    ldy #{d}\n    sta (out_low),y")
    return lines(*text)


def divide(h: Heads) -> str:
    """`<name>_divide`: A = total (3 bytes) / divisor (2 bytes) - 128, a quotient below 256."""
    name = h.name
    return lines(
        f"; {name}_divide: A = total / divisor - 128; uses A, X, total\n{name}_divide:\n"
        f"    lda divisor+1\n    beq *+5             ;@ p=0.9\n    jmp {name}_divide_long\n"
        "    lda total+1",
        divide_byte(),
        f"    rts\n{name}_divide_long:\n    ldx #8",
        """\
_long_bit:
    asl total
    rol total+1
    rol total+2
    bcs _long_over          ;@ p=0.05
    lda total+1
    cmp divisor
    lda total+2
    sbc divisor+1
    bcc _long_less          ;@ p=0.5
_long_over:
    lda total+1
    sbc divisor
    sta total+1
    lda total+2
    sbc divisor+1
    sta total+2
    inc total
_long_less:
    dex
    bne _long_bit           ;@ times 8
    lda total
    eor #$80
    rts""",
    )
