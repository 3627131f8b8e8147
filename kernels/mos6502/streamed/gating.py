"""multiply of words by tables of quarter squares -> assembly text.

    x * y = f(x + y) - g(255 - x + y),    f(n) = n**2 // 4,  g(n) = f(|n - 255|)

for bytes x and y without sign: the pointer that holds x, or 255 - x, in its low byte adds.  Where a
factor is negative, the products have counted 65536 times the other too much.

What bounds it: four products of two bytes at 30 cycles and their sums: 300 an element.

Exact for any words.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import Vector, lines

TABLES = {name: 512 for name in ("quarter_low", "quarter_high", "other_low", "other_high")}
# Pointers at the four tables, for the low byte of a factor and for the high one.
LOW = ("past_low", "past_high", "past_fix", "query_low")
HIGH = ("query_high", "key_low", "key_high", "key_fix")


def fill_tables() -> str:
    """`fill_quarters`: build the tables; once."""
    return """\
; fill_quarters: quarter_low .. other_high; uses A, X, Y, total, scratch
fill_quarters:
    lda #0
    sta total
    sta total+1
    sta scratch
    tax
_first:                 ; f(n), n = 0 .. 255; g(255 - n) is the same
    jsr _write
    bne _first          ;@ times 256
    lda total
    sta other_low+511
    lda total+1
    sta other_high+511
_second:                ; f(256 + n)
    lda total
    sta quarter_low+256,x
    lda total+1
    sta quarter_high+256,x
    jsr _next
    bne _second         ;@ times 256
_third:                 ; g(256 + n) = f(n + 1)
    lda quarter_low+1,x
    sta other_low+256,x
    lda quarter_high+1,x
    sta other_high+256,x
    inx
    cpx #255
    bne _third          ;@ times 255
    rts
_write:
    lda total
    sta quarter_low,x
    lda total+1
    sta quarter_high,x
    txa
    eor #$ff
    tay
    lda total
    sta other_low,y
    lda total+1
    sta other_high,y
_next:                  ; f(n + 1) = f(n) + (n + 1) // 2
    inx
    txa
    lsr                 ; the carry: n + 1 is odd
    ldy scratch         ; how often X has come to 0
    bne _upper          ;@ p=0.5
    cpx #0
    bne _lower          ;@ p=0.996
    lda #128
    inc scratch
    bne _lower          ;@ always
_upper:
    ora #$80
_lower:
    clc
    adc total
    sta total
    bcc *+4             ;@ p=0.5
    inc total+1
    cpx #0
    rts"""


def multiply(
    name: str, a: Vector, b: Vector, out: Vector, shift: int, saturates: bool
) -> str:
    """(a * b) >> shift of words, saturated; out may be a or b."""
    n = out.size
    pages = []
    for pointers in (LOW, HIGH):
        for pointer, table in zip(pointers, TABLES, strict=True):
            pages.append(f"    lda #>{table}\n    sta {pointer}+1")
    takes = [
        f"    lda {part},x\n    sta {p[0]}\n    sta {p[1]}\n    eor #$ff\n    sta {p[2]}\n"
        f"    sta {p[3]}"
        for part, p in ((a.low, LOW), (a.high, HIGH))
    ]
    end = "" if n == 256 else f"    cpx #{n}\n"
    return lines(
        f"{name}:",
        *pages,
        f"    ldx #0\n{name}_element:",
        *takes,
        f"    ldy {b.low},x",
        _product(LOW, "total", "total+1"),
        _product(HIGH, "term", "term+1"),
        f"    ldy {b.high},x",
        _product(LOW, "term+2", "term+3"),
        _product(HIGH, "total+2", "total+3"),
        *(
            f"    clc\n    lda total+1\n    adc {middle}\n    sta total+1\n    lda total+2\n"
            f"    adc {middle}+1\n    sta total+2\n    bcc *+4             ;@ p=0.7\n"
            "    inc total+3"
            for middle in ("term", "term+2")
        ),
        *(
            f"    lda {x.high},x\n    bpl {name}_{kind}        ;@ p=0.5\n    sec\n    lda total+2\n"
            f"    sbc {y.low},x\n    sta total+2\n    lda total+3\n    sbc {y.high},x\n"
            f"    sta total+3\n{name}_{kind}:"
            for kind, x, y in (("positive_a", a, b), ("positive_b", b, a))
        ),
        _store(name, out, shift, saturates),
        f"    inx\n{end}    beq {name}_done      ;@ times {n}\n    jmp {name}_element\n"
        f"{name}_done:\n    rts",
    )


def _product(pointers: tuple[str, ...], low: str, high: str) -> str:
    f_low, f_high, g_low, g_high = pointers
    return f"""\
    sec
    lda ({f_low}),y     ;@ p=0.4
    sbc ({g_low}),y     ;@ p=0.4
    sta {low}
    lda ({f_high}),y    ;@ p=0.4
    sbc ({g_high}),y    ;@ p=0.4
    sta {high}"""


def _store(name: str, out: Vector, shift: int, saturates: bool) -> str:
    """total (4 bytes) >> shift to the element X."""
    whole, rest = divmod(shift, 8)
    found = [f"total+{i}" for i in range(whole, 4)]
    text = []
    if rest > 4:  # to the left, and down by a byte
        if saturates or len(found) < 3:
            text.append("    lda total+3\n    asl\n    lda #0\n    adc #$ff\n    eor #$ff\n"
                        "    sta scratch")
            found.append("scratch")
        step = [f"    asl {found[0]}", *(f"    rol {byte}" for byte in found[1:])]
        text += step * (8 - rest)
        found = found[1:]
    else:
        step = ["    lda total+3\n    asl", *(f"    ror {byte}" for byte in reversed(found))]
        text += step * rest
        if len(found) < 2:
            text.append("    lda total+3\n    asl\n    lda #0\n    adc #$ff\n    eor #$ff\n"
                        "    sta scratch")
            found.append("scratch")
    low, high, *above = found
    if not saturates or not above:
        text.append(f"    lda {low}\n    sta {out.low},x\n    lda {high}\n    sta {out.high},x")
        return lines(*text)
    # Where a number's sign, carried into the bytes above, makes all of them 0, it fits.
    text.append(f"    lda {high}\n    asl")
    text += [f"    lda {byte}\n    adc #0\n    bne {name}_clip  ;@ p=0.01" for byte in above]
    text.append(f"""\
    lda {low}
    sta {out.low},x
    lda {high}
    jmp {name}_fits
{name}_clip:
    lda {above[-1]}
    asl
    lda #$ff
    adc #0
    sta {out.low},x
    lda #$7f
    adc #0
{name}_fits:
    sta {out.high},x""")
    return lines(*text)
