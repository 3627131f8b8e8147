"""rope by table: pairs of features turned, a pair of all heads at a time -> assembly text.

For a pair (a, b) and its angle's cosine c and sine s, in units of 2**-14, let A = a + 32768, and
C = c + 16384, S = s + 16384, which have no sign.  Then

    (a c - b s + 2**13) >> 14 = ((A C - B S + less) >> 14) - A + B
    (a s + b c + 2**13) >> 14 = ((A S + B C + more) >> 14) - A - B + 65536

where `less` and `more` hold the rounding, and what the offsets and the products by table count too
much of C and S; a position's row in the expansion has them ready.  An angle's bytes are operands
while the pair of every head is turned.

What bounds it: 16 products of two bytes a pair at 25 cycles, and their sums: 780 a pair.

Exact for any words x, and angles within 16384 of 0.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.arithmetic import triangular
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.products import add_middle, product_by_byte

ONE = 16384
FACTORS = ("cl", "ch", "sl", "sh")  # bytes of C and S
CONSTANTS = tuple(f"{kind}{i}" for kind in ("less", "more") for i in range(4))
FIELDS = (*FACTORS, *CONSTANTS)
# How often a factor's byte and one of a feature's sum to more than 255: high bytes are near 128.
CROSSES = {"ll": 0.5, "hl": 0.4, "lh": 0.5, "hh": 0.2}
A, B = ("scratch+2", "scratch+3"), ("scratch+4", "scratch+5")


def pack_rows(cosine: Array, sine: Array) -> Array:
    """A row of FIELDS, a byte for each pair, for every position.

    cosine, sine (positions, pairs) int16 Q14; return (positions, 12 * pairs) uint8
    """
    c, s = cosine.astype(np.int64) + ONE, sine.astype(np.int64) + ONE

    def extra(factor: Array) -> Array:
        """What the products of a factor count too much, but for A."""
        low, high = triangular(factor & 0xFF), triangular(factor >> 8)
        return low * 257 + high * 65792 + 32768 * factor

    # a c - b s without the offsets of A and B; those of C and S are A and B themselves.
    less = (1 << 13) - extra(c) + extra(s)
    more = (1 << 13) - extra(s) - extra(c)
    planes = [c & 0xFF, c >> 8, s & 0xFF, s >> 8]
    planes += [constant >> 8 * i & 0xFF for constant in (less, more) for i in range(4)]
    return np.hstack(planes).astype(np.uint8)


def rope(
    name: str,
    x: Vector,
    out: Vector,
    row: str,
    size: int,
    heads: str,
    interleaved: bool,
    saturates: bool,
    fetch: str,
) -> str:
    """Rotate each pair of features by its position's angle.

    row        label of the memory for a position's fields, which `fetch` brings there
    size       features of a head;  heads  their number, as an operand
    saturates  a result may leave 16 bits
    """
    half = size // 2
    step = "    asl\n" if interleaved else ""
    reach = 1 if interleaved else half
    patches = []
    for field in FACTORS:
        patches.append(f"    lda {row}+{FIELDS.index(field) * half},x ;@ p=0.04")
        patches += [f"    sta {name}_{at}+1" for at in _sites(field)]
    for field in CONSTANTS:
        patches.append(
            f"    lda {row}+{FIELDS.index(field) * half},x ;@ p=0.04\n    sta {name}_{field}+1"
        )
    return lines(
        f"{name}:",
        fetch,
        f"    lda #0\n    sta index\n{name}_pair:\n    ldx index",
        *patches,
        f"    txa\n{step}    tax\n    lda #<({heads})\n    sta heads_left\n{name}_head:",
        *(
            f"    lda {source},x\n{flip}    sta {target}"
            for part, ends in ((x, A), (x.at(reach), B))
            for source, flip, target in (
                (part.low, "", ends[0]), (part.high, "    eor #$80\n", ends[1])
            )
        ),
        _result(name, "less", out, saturates),
        _result(name, "more", out.at(reach), saturates),
        f"    txa\n    clc\n    adc #{size}\n    tax\n    dec heads_left\n"
        f"    beq {name}_turned    ;@ times heads\n    jmp {name}_head\n{name}_turned:\n"
        f"    inc index\n    lda index\n    cmp #{half}\n"
        f"    beq {name}_done      ;@ times {half}\n    jmp {name}_pair\n{name}_done:\n    rts",
    )


PRODUCTS = {"less": ("c", "s"), "more": ("s", "c")}  # what A is multiplied by, and B


def _sites(field: str) -> list[str]:
    """Labels of the instructions whose operand a factor's byte is."""
    factor, byte = field[0], field[1]
    return [
        f"{kind}_{of}_{byte}{place}_{end}"
        for kind, factors in PRODUCTS.items()
        for of, meant in zip("ab", factors, strict=True)
        if meant == factor
        for place in "lh"
        for end in ("low", "high")
    ]


def _result(name: str, kind: str, out: Vector, saturates: bool) -> str:
    """One element of a turned pair."""
    sign = "sbc" if kind == "less" else "adc"
    start = ("sec", "sbc") if kind == "less" else ("clc", "adc")
    text = [_product(f"{name}_{kind}_a", A), "    clc"]
    for i in range(4):
        text.append(f"    lda total+{i}\n{name}_{kind}{i}:\n    adc #0\n    sta correction+{i}")
    text.append(_product(f"{name}_{kind}_b", B))
    text.append(f"    {start[0]}")
    for i in range(4):
        text.append(f"    lda correction+{i}\n    {sign} total+{i}\n    sta total+{i}")
    ext = ""
    if saturates:
        ext = "    asl\n    lda #0\n    adc #$ff\n    eor #$ff\n    sta term\n"
    shift = "    asl total+1\n    rol total+2\n    rol total+3" + ("\n    rol term" if ext else "")
    text.append(f"{ext}{shift}\n{shift}")
    # Less A, and B more or less.
    b = ("clc", "adc") if kind == "less" else ("sec", "sbc")
    text.append(f"    sec\n    lda total+2\n    sbc {A[0]}\n    sta total+2\n    lda total+3\n"
                f"    sbc {A[1]}\n    sta total+3")
    if saturates:
        text.append("    lda term\n    sbc #0\n    sta term")
    text.append(f"    {b[0]}\n    lda total+2\n    {b[1]} {B[0]}")
    if not saturates:
        text.append(f"    sta {out.low},x\n    lda total+3\n    {b[1]} {B[1]}\n"
                    f"    sta {out.high},x")
        return lines(*text)
    up = "" if kind == "less" else "    clc\n    adc #1\n"  # 65536 more
    text.append(f"""\
    tay
    lda total+3
    {b[1]} {B[1]}
    sta total+3
    lda term
    {b[1]} #0
{up}    sta term
    lda total+3
    asl
    lda term
    adc #0
    beq {name}_{kind}_fits   ;@ p=0.99
    lda term
    asl                 ; the sign that was meant
    ldy #$ff
    lda #$7f
    bcc *+4             ;@ p=0.5
    iny
    tya
    bcc {name}_{kind}_high   ;@ p=0.5
    lda #$80
    bne {name}_{kind}_high   ;@ always
{name}_{kind}_fits:
    lda total+3
{name}_{kind}_high:
    sta {out.high},x
    tya
    sta {out.low},x""")
    return lines(*text)


def _product(label: str, ends: tuple[str, str]) -> str:
    """total (4 bytes) = a feature and 32768 times C or S, and what that counts too much."""

    def by_table(byte: str, place: str, low: str, high: str) -> str:
        return product_by_byte(f"{label}_{byte}{place}", low, high, CROSSES[byte + place])

    return lines(
        f"    ldy {ends[0]}",
        by_table("l", "l", "total", "total+1"),
        by_table("h", "l", "term", "term+1"),
        f"    ldy {ends[1]}",
        by_table("l", "h", "term+2", "term+3"),
        by_table("h", "h", "total+2", "total+3"),
        add_middle("term"),
        add_middle("term+2"),
    )
