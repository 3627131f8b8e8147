"""Numbers as residues: the moduli that cost a 6502 nothing, and the tables that go with them.

A product needs one look into a table, w * r = t(w + r) - t(w) - t(r) with t(n) = n(n + 1)/2; a sum
of products needs one addition each, if nobody has to carry.  Three moduli need no carry:

    256  ADC with the carry cleared each time
    255  ADC alone: the carry that comes out of one addition goes into the next, and 256 = 1
    99   the same in decimal mode, where 100 = 1

256 and 255 tell 65,280 sums apart (the narrow basis); 255 and 99 share a factor 3, so with 99 they
tell 256 * 255 * 33 = 2,154,240 apart (the wide one).  A sum T is put together in mixed radix:
a = T mod 256; k = (T - a)/256 mod 255, by starting the second chain at -a; and the third chain,
started at -(a + 256 k), ends at 65280 j mod 99, from which a table gives 255 j: T >> 8 = k + 255 j,
for 33 neighbouring j.

Decimal tables hold binary-coded decimals.  Sources: the triangular product is folklore of the
6502 (codebase64.org, "seriously fast multiplication"); residue arithmetic: Knuth, TAOCP 2, 4.3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array

MODULI = (256, 255, 99)
STEP = 256 * 255  # of j
LOWEST_J, HIGHEST_J = -16, 16


@dataclass(frozen=True)
class Basis:
    """Moduli in the order of their chains, and the sums that they tell apart."""

    name: str
    moduli: tuple[int, ...]
    lowest: int
    highest: int

    def holds(self, lowest: int, highest: int) -> bool:
        return self.lowest <= lowest and highest <= self.highest


NARROW = Basis("narrow", MODULI[:2], -127 * 256, 128 * 256 - 1)
# A chain may end at 255 for 0: k = 0 then reads 255, and j one less, which must be there, too.
WIDE = Basis("wide", MODULI, LOWEST_J * STEP + 256, (HIGHEST_J + 1) * STEP - 1)

# bits -> what is added to a number before its residue is taken: an int8's top bit is flipped.
OFFSETS = {8: 128, 16: 0}

CODES = 0x9A  # decimal codes end at $99
DECIMALS = 2 * 98 + 256  # of t99, where it is read at a word's residue and a byte
# name -> bytes; the first three start on a page and take two: T + x is an address.
TABLES = {
    "t256": 512,
    "t255": 512,
    "t99": 512,
    "low_mod99": 256,
    "high_mod255": 256,
    "high_mod99": 256,
    "less_low": 256,
    "less_middle": 256,
    "wraps_low": CODES,
    "wraps_high": CODES,
}


def triangle(n: Array) -> Array:
    """t(n) = n(n + 1)/2."""
    return n * (n + 1) // 2


def decimal(n: Array) -> Array:
    """0 .. 99 as binary-coded decimals.

    >>> decimal(np.array([0, 9, 10, 98])).tolist()
    [0, 9, 16, 152]
    """
    return n // 10 * 16 + n % 10


def reduce(n: Array, modulus: int) -> Array:
    """n modulo a modulus, as the chain of that modulus holds it: 0 .. 255."""
    n = n % modulus
    return decimal(n) if modulus == 99 else n


def make_tables() -> dict[str, bytes]:
    """Every table of TABLES.

    t256, t255, t99   t(n) reduced, n = 0 .. 511
    low_mod99         n mod 99, binary: half of a word's residue
    high_mod255       256 n mod 255 for the int8 n: what a word's high byte adds to its low one
    high_mod99        256 n mod 99, binary, for the int8 n
    less_low          -n mod 99, decimal: takes a off
    less_middle       -256 n mod 99, decimal: takes 256 k off
    wraps_low, wraps_high   255 j as a word, by the decimal code of 65280 j mod 99
    """
    n, byte = np.arange(512), np.arange(256)
    tables = {f"t{m}": reduce(triangle(n), m) for m in MODULI}
    signed = byte - (byte >> 7 << 8)
    tables["low_mod99"], tables["high_mod99"] = byte % 99, 256 * signed % 99
    tables["high_mod255"] = signed % 255
    tables["less_low"], tables["less_middle"] = reduce(-byte, 99), reduce(-256 * byte, 99)
    low, high = np.zeros(256, int), np.zeros(256, int)
    for j in range(LOWEST_J, HIGHEST_J + 1):
        code = int(reduce(np.array(STEP * j), 99))
        for c in (code, 0x99) if code == 0 else (code,):  # decimal 99 is 0, too
            low[c], high[c] = 255 * j & 0xFF, 255 * j >> 8 & 0xFF
    tables["wraps_low"], tables["wraps_high"] = low[:CODES], high[:CODES]
    return {name: tables[name].astype(np.uint8).tobytes() for name in TABLES}


def residue(x: Array, modulus: int, bits: int) -> Array:
    """What kernels take of words, or of int8 numbers, for a modulus: less than 256, not reduced."""
    low, high = x & 255, x >> 8
    if bits == 8:
        return low ^ 128
    match modulus:
        case 256:
            return low
        case 255:
            total = low + high % 255
            return total - 255 * (total > 255)
    return low % modulus + 256 * high % modulus


def choose_origin(weight: Array) -> Array:
    """The least weight of each column, at most 0: what is taken off so that few pages are crossed.

    weight (rows, columns) int8; return (columns,) -128 .. 0
    """
    return np.minimum(0, weight.astype(np.int64).min(0, initial=0))


def row_constants(
    weight: Array, bias: Array, origin: Array, basis: Basis, bits: int
) -> dict[int, Array]:
    """modulus -> (rows,): what a row's chain starts from, for a vector of so many bits.

    With w' = w - origin and r the vector's residues (x + offset), the sum of t(w' + r) less the
    vector's own sum of t(r - origin) is the sum of products, less what is counted in here.
    """
    weight, origin = weight.astype(np.int64), origin.astype(np.int64)
    own = triangle(weight - origin).sum(1) - triangle(-origin).sum()
    start = bias.astype(np.int64) - own
    return {m: reduce(start - OFFSETS[bits] * weight.sum(1), m) for m in basis.moduli}


def fill_tables(reach: int = 128, decimals: int = 512) -> str:
    """`fill_residues`: build every table; once, with interrupts off.

    reach     high bytes of words are -reach .. reach - 1; high_mod255 has no others
    decimals  of t99, bytes
    """
    parts = ["; fill_residues: the tables of moduli.py; uses A, X, Y, scratch, pointer"]
    parts.append("fill_residues:")
    for m in MODULI:
        parts.append(_fill_triangles(m, decimals if m == 99 else 512))
    for name, modulus, step, start in (
        ("low_mod99", 0, 1, 0),
        ("high_mod99", 0, 256 % 99, -128 * 256 % 99),
        ("less_low", 99, -1 % 99, 0),
        ("less_middle", 99, -256 % 99, 0),
    ):
        parts.append(_fill_steps(name, modulus, step, start))
    parts.append(f"""\
    ldx #{256 - reach}
_high255:
    txa
    bpl *+5             ;@ p=0.5
    sec                 ; below 0: 256 more, which is 1
    sbc #1
    sta high_mod255,x
    inx
    cpx #{reach}
    bne _high255        ;@ times {2 * reach}""")
    first = int(reduce(np.array(STEP * LOWEST_J), 99))
    step = int(reduce(np.array(STEP), 99))
    parts.append(f"""\
    lda #<({255 * LOWEST_J})
    sta pointer
    lda #>({255 * LOWEST_J})
    sta pointer+1
    ldx #{HIGHEST_J - LOWEST_J + 1}
    ldy #${first:02x}
_wrap:
    lda pointer
    sta wraps_low,y
    lda pointer+1
    sta wraps_high,y
    sec                 ; 255 = 256 - 1
    lda pointer
    sbc #1
    sta pointer
    bcs *+4             ;@ p=0.03
    dec pointer+1
    inc pointer+1
    tya
    sed
    clc
    adc #${step:02x}
    adc #0
    cld
    cmp #$99
    bne *+4             ;@ p=0.97
    lda #0
    tay
    dex
    bne _wrap           ;@ times {HIGHEST_J - LOWEST_J + 1}
    lda wraps_low       ; 99 is 0, too
    sta wraps_low+$99
    lda wraps_high
    sta wraps_high+$99
    rts""")
    return "\n".join(parts)


def fill_triangles() -> str:
    """`fill_triangles`: the tables of the narrow basis alone."""
    text = (_fill_triangles(m) for m in NARROW.moduli)
    return "\n".join(["; fill_triangles: uses A, X, Y, scratch\nfill_triangles:", *text, "    rts"])


def _fill_triangles(modulus: int, size: int = 512) -> str:
    """t(n) for n = 0 .. size - 1: each is n more than the one before; scratch holds n reduced."""
    decimal_on, decimal_off = ("    sed\n", "    cld\n") if modulus == 99 else ("", "")
    around = "    adc #0\n" if modulus != 256 else ""
    top = {256: "", 255: "ff", 99: "99"}[modulus]
    zero = f"    cmp #${top}\n    bne *+4             ;@ p=0.99\n    lda #0\n" if top else ""
    body = (
        "{label}:\n    tya\n    sta t{m}+{at},x\n    clc\n    lda scratch\n    adc #1\n{around}"
        "    sta scratch\n    clc\n    tya\n    adc scratch\n{around}{zero}    tay\n    inx\n"
        "{end}    bne {label}          ;@ times {turns}\n"
    )
    text = f"{decimal_on}    ldx #0\n    stx scratch\n    ldy #0\n"
    for at in (0, 256):
        label = f"_t{modulus}_{at}"
        turns = min(256, size - at)
        end = f"    cpx #{turns}\n" if turns < 256 else ""
        text += body.format(
            label=label, m=modulus, at=at, around=around, zero=zero, end=end, turns=turns
        )
    return text + decimal_off.rstrip("\n")


def _fill_steps(name: str, modulus: int, step: int, start: int) -> str:
    """A page of multiples of a step modulo 99: binary, or decimal where modulus is 99."""
    if modulus == 99:
        amount = int(decimal(np.array(step)))
        add = f"    sed\n    clc\n    adc #${amount:02x}\n    adc #0\n    cld\n    cmp #$99\n"
        add += "    bne *+4             ;@ p=0.99\n    lda #0\n"
    else:
        add = f"    clc\n    adc #{step}\n    cmp #99\n    bcc *+4             ;@ p=0.5\n"
        add += "    sbc #99\n"
    first = 128 if name.startswith("high") else 0  # of an int8
    return (
        f"    lda #{start}\n    ldx #{first}\n_{name}:\n    sta {name},x\n{add}    inx\n"
        f"    cpx #{first}\n    bne _{name}        ;@ times 256"
    )


SMALL_MODULI = (7, 13, 19, 23, 29, 31, 37, 41, 43, 47, 49)  # prime to the three and each other
WIDE_STEP = STEP * 33  # what a turn of the wide basis is
LIFT = -LOWEST_J  # what is added to j so that tables of it hold no negative numbers


def reach(small: int) -> int:
    """With a fourth modulus: sums up to this size are told apart."""
    return WIDE_STEP * (small // 2)


def make_small_tables(small: int) -> dict[str, bytes]:
    """Tables of a fourth modulus, which is small, so that sums rarely need to be reduced.

    A sum is T = a + 256 u, u = k + 255 (j + LIFT) + (8415 i - 255 LIFT); the fourth chain, started
    at -(a + 256 k + 65280 j), ends at 2154240 i, not reduced.

    t<m>                      t(n) reduced, n = 0 .. 4 m - 1
    low_mod<m>, high_mod<m>   of a word's bytes; their sum is not reduced
    less_middle<m>, less_top<m>   -256 k, and m - 1 - 65280 j by j's decimal code
    lift_low, lift_high       255 (j + LIFT) by j's decimal code
    turn_low, turn_middle, turn_high   8415 i - 255 LIFT, 24 bits, by the fourth chain's end
    """
    byte = np.arange(256)
    signed = byte - (byte >> 7 << 8)
    m = small
    tables = {
        f"t{m}": triangle(byte[: 4 * m]) % m,
        f"low_mod{m}": byte % m,
        f"high_mod{m}": 256 * signed % m,
        f"less_middle{m}": -256 * byte % m,
    }
    less, lift = np.zeros(256, int), np.zeros(256, int)
    for j in range(LOWEST_J, HIGHEST_J + 1):
        code = int(reduce(np.array(STEP * j), 99))
        for c in (code, 0x99) if code == 0 else (code,):
            less[c], lift[c] = -STEP * j % m + m - 1, 255 * (j + LIFT)
    inverse = pow(WIDE_STEP % m, -1, m)
    i = np.arange(m) * inverse % m
    turn = 8415 * (i - (i > m // 2) * m) - 255 * LIFT
    less, lift = less[:CODES], lift[:CODES]
    tables |= {"turn_low": turn & 0xFF, "turn_middle": turn >> 8 & 0xFF, "turn_high": turn >> 16}
    tables |= {f"less_top{m}": less, "lift_low": lift & 0xFF, "lift_high": lift >> 8}
    return {name: (t & 0xFF).astype(np.uint8).tobytes() for name, t in tables.items()}
