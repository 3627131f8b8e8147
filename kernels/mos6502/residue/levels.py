"""Bases beyond the wide one, for sums of 23 to 30 bits, and the tables that go with them.

    narrow   256, 255             wide     256, 255, 99
    wider    256, 255, 253        widest   256, 255, 253 and a small modulus
    small    256, 255 and that modulus, in place of the wide one where memory is short

Modulo 253 a carry is worth 3: after each ADC, `BCC *+4, ADC #2` adds it with the carry that is set
and leaves none, 3.5 cycles a product more than modulo 255, and the three tell 16,515,840 sums apart
where 99 in place of 253 tells 2,154,240.  The fourth modulus is so small that a few sums need no
reduction (moduli.py).  With T = a + 256 (k + 255 c) the third chain ends at c and with
T = a + 256 (k + 255 (c + 253 i)) the fourth at i, each from a table.

To add a basis: here, a chain in rows.py, and how its sums are put together in
ends.py.
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.moduli import NARROW, STEP, Basis, reduce, triangle

MIDDLE = 253
CORRECTION = 256 - MIDDLE  # what a carry is worth
HIGHEST_C = MIDDLE // 2
TURN = STEP * MIDDLE  # of i
SMALL = (7, 13, 19, 29, 31, 37, 41, 43, 47, 49)  # prime to the three and each other
LIFT = 128  # what is added to k, which is -127 .. 127, so that it has no sign
WIDER = Basis(
    "wider",
    (256, 255, MIDDLE),
    -HIGHEST_C * STEP + NARROW.lowest,
    HIGHEST_C * STEP + NARROW.highest,
)
SHARED = ("t256", "t255")  # tables of moduli.py
# name -> bytes, each from a page's start; the first takes two: T + x is an address.
TABLES = {
    f"t{MIDDLE}": 512,
    f"high_mod{MIDDLE}": 256,
    f"wraps{MIDDLE}_low": 256,
    f"wraps{MIDDLE}_high": 256,
}


def widest(small: int) -> Basis:
    """The basis of four moduli, of which the last is small."""
    turns = small // 2
    return Basis(
        "widest",
        (256, 255, MIDDLE, small),
        -turns * TURN + WIDER.lowest,
        turns * TURN + WIDER.highest,
    )


def small_basis(small: int) -> Basis:
    """The basis of 256, 255 and the small modulus."""
    turns = small // 2
    return Basis(
        "small",
        (256, 255, small),
        -turns * STEP + NARROW.lowest,
        turns * STEP + NARROW.highest,
    )


def choose_small(lowest: int, highest: int) -> int | None:
    """The least fourth modulus that tells such sums apart, if one does."""
    return next((m for m in SMALL if widest(m).holds(lowest, highest)), None)


def small_tables(small: int, most: int = 256) -> dict[str, int]:
    """name -> bytes of a fourth modulus's tables; residues are below `most`."""
    return {"row_t": 256 + most} | {f"row_{name}": 256 for name in ("low", "high", "less_top")}


def turns(small: int) -> dict[str, bytes]:
    """By the small chain's end: T >> 8 without k + 255 c, less 32768, three bytes each; and, where
    it follows that of 255, T >> 8 without k, less LIFT, as a word."""
    inverse = pow(TURN % small, -1, small)
    i = np.arange(small) * inverse % small
    turn = STEP // 256 * MIDDLE * (i - (i > small // 2) * small) - 32768
    parts = ((turn >> shift & 0xFF).astype(np.uint8).tobytes() for shift in (0, 8, 16))
    found = dict(zip(("row_turn_low", "row_turn_middle", "row_turn_high"), parts, strict=True))
    j = np.arange(small) * pow(STEP % small, -1, small) % small
    wraps = 255 * (j - (j > small // 2) * small) - LIFT
    for name, shift in (("row_wraps_low", 0), ("row_wraps_high", 8)):
        found[name] = (wraps >> shift & 0xFF).astype(np.uint8).tobytes()
    return found


def make_tables(small: int | None) -> dict[str, bytes]:
    """Every table of TABLES, and of small_tables where there is a fourth modulus.

    t<m>                      t(n) reduced, n = 0 .. 511
    high_mod<m>               256 n modulo m for the int8 n
    row_less_top              -65280 c by the third chain's end
    wraps<m>_low, _high       255 c - 128 as a word, by the third chain's end
    """
    n, byte = np.arange(512), np.arange(256)
    signed = byte - (byte >> 7 << 8)
    m = MIDDLE
    c = byte * pow(STEP % m, -1, m) % m
    c = c - (c > HIGHEST_C) * m
    tables = {
        f"t{m}": triangle(n) % m,
        f"high_mod{m}": 256 * signed % m,
        f"wraps{m}_low": 255 * c - LIFT & 0xFF,
        f"wraps{m}_high": 255 * c - LIFT >> 8 & 0xFF,
    }
    if small:
        tables |= {
            "row_t": triangle(n) % small,
            "row_low": byte % small,
            "row_high": 256 * signed % small,
            "row_less_top": -STEP * c % small,
        }
    return {name: table.astype(np.uint8).tobytes() for name, table in tables.items()}


def row_constants(start: Array, modulus: int) -> Array:
    """What a row's chain starts from: bytes.

    In place of -a and -256 k a chain adds 255 - a and -256 (k + 1), 1 less; in place of a vector's
    own sum s modulo 253 it takes off s - 255, 2 more.
    """
    match modulus:
        case 256 | 255 | 99:
            return reduce(start, modulus)
        case 253:
            return reduce(start - 1, modulus)
    return reduce(start + 1, modulus)


def fill_tables(middle: bool, small: int | None, most: int = 256) -> str:
    """`fill_levels`: build the tables of 253 and of a small modulus; once.

    most  of the small modulus's residues, as small_tables
    """
    m = MIDDLE
    parts = ["; fill_levels: the tables of levels.py; uses A, X, Y, scratch, pointer"]
    parts.append("fill_levels:")
    pages = []
    if middle:
        parts.append(fill_numbers(f"t{m}", m))
        pages.append((f"high_mod{m}", m, 256, -128 * 256, 128))
    if small:
        parts.append(fill_numbers("row_t", small, most))
        pages += [("row_low", small, 1, 0, 0), ("row_high", small, 256, -128 * 256, 128)]
    for name, modulus, step, start, first in pages:
        parts.append(
            f"    lda #<{name}\n    ldx #>{name}\n    ldy #{modulus}\n    jsr _point\n"
            f"    lda #{step % modulus}\n    sta scratch+1\n    lda #{start % modulus}\n"
            f"    ldy #{first}\n    jsr _page"
        )
    parts += [_fill_wraps(small) if middle else "", "    rts", _PAGE]
    return lines(*parts)


_PAGE = """\
_point:
    sta pointer
    stx pointer+1
    sty scratch
    rts
_page:                  ; 256 times a step more, modulo `scratch`, from Y on
    ldx #0
_entry:
    sta (pointer),y
    clc
    adc scratch+1
    bcs _over           ;@ p=0.3
    cmp scratch
    bcc _under          ;@ p=0.5
_over:
    sbc scratch
_under:
    iny
    inx
    bne _entry          ;@ times 256
    rts"""


def fill_numbers(name: str, modulus: int, more: int = 256) -> str:
    """t(n), n = 0 .. 255 + more: each is n more than the one before; scratch+1 holds n reduced."""
    text = ["    ldx #0\n    stx scratch+1\n    lda #0"]
    for at in (0, 256):
        text.append(f"""\
_{name}_{at}:
    sta {name}+{at},x
    tay
    inc scratch+1
    lda scratch+1
    cmp #{modulus}
    bne *+6             ;@ p=0.9
    lda #0
    sta scratch+1
    tya
    clc
    adc scratch+1
    bcs *+6             ;@ p=0.3
    cmp #{modulus}
    bcc *+4             ;@ p=0.5
    sbc #{modulus}
    inx
{f"    cpx #{more}" if at and more < 256 else ""}
    bne _{name}_{at}    ;@ times {more if at else 256}""")
    return lines(*text)


def _fill_wraps(small: int | None) -> str:
    """255 c - LIFT by the code of c, from the least c up; 253 to 255 are codes of 0 to 2, too."""
    m = MIDDLE
    least = -HIGHEST_C
    top = ""
    start = ""
    if small:
        start = f"    lda #{-STEP * least % small}\n    sta scratch+1\n"
        top = (
            "    lda scratch+1\n    sta row_less_top,y\n    clc\n"
            f"    adc #{-STEP % small}\n    cmp #{small}\n    bcc *+4             ;@ p=0.5\n"
            f"    sbc #{small}\n    sta scratch+1\n"
        )
    names = [f"wraps{m}_low", f"wraps{m}_high", *(["row_less_top"] if small else [])]
    aliases = "".join(f"    lda {n},x\n    sta {n}+{m},x\n" for n in names)
    return f"""\
    lda #<({255 * least - LIFT})
    sta pointer
    lda #>({255 * least - LIFT})
    sta pointer+1
{start}    ldx #{m}
    ldy #{STEP * least % m}
_wrap:
    lda pointer
    sta wraps{m}_low,y
    lda pointer+1
    sta wraps{m}_high,y
{top}    sec                 ; 255 = 256 - 1
    lda pointer
    sbc #1
    sta pointer
    bcs *+4             ;@ p=0.01
    dec pointer+1
    inc pointer+1
    tya
    clc
    adc #{STEP % m}
    bcs *+6             ;@ p=0.1
    cmp #{m}
    bcc *+4             ;@ p=0.9
    sbc #{m}
    tay
    dex
    bne _wrap           ;@ times {m}
    ldx #{CORRECTION - 1}
_alias:
{aliases}    dex
    bpl _alias          ;@ times {CORRECTION}"""


def add(modulus: int, what: str, label: str = "") -> str:
    """A += what, in a chain; a label of the ADC, if it has one."""
    text = "    clc\n" if modulus == 256 else ""
    text += f"{label}    adc {what}"
    if modulus == MIDDLE:
        text += f"\n    bcc *+4             ;@ p=0.5\n    adc #{CORRECTION - 1}"
    return text


def reduce_middle() -> str:
    """A modulo 253: with more, what a chain's next carry is worth could carry again."""
    return f"    cmp #{MIDDLE}\n    bcc *+4             ;@ p=0.99\n    sbc #{MIDDLE}"


def raise_turns() -> str:
    """total+2, total+3 = the upper bytes of three chains' sum, without sign, Y the third's end."""
    return f"""\
    clc
    lda total+1
    adc wraps{MIDDLE}_low,y    ;@ aligned
    sta total+2
    lda wraps{MIDDLE}_high,y   ;@ aligned
    adc #0
    eor #$80            ; 32768 more, so that it has no sign
    sta total+3"""
