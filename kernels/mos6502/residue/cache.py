"""Keys and values kept as residues -> assembly text: how a fast attention finds them.

For each modulus a key's feature d is an array over (head, position), so that one X picks a row and
no read crosses a page; a value is an array over its features, one for each position and modulus.
With them go the sums of t that every product has too much, negative: of a key's head, an array over
(head, position); of the values, running, an array over features.

    <name>_take      residues of a vector     <name>_keep_key, <name>_keep_value   store them
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.moduli import MODULI

PAGE = 256


@dataclass(frozen=True)
class Shape:
    """What an attention's code is made for.

    small  the fourth modulus
    """

    name: str
    size: int  # features of keys and of values
    heads: int
    n_rows: int
    small: int

    @property
    def head_size(self) -> int:
        return self.size // self.heads

    @property
    def moduli(self) -> tuple[int, ...]:
        return (*MODULI, self.small)

    @property
    def key_stride(self) -> int:
        return self.heads * self.n_rows

    def key(self, modulus: int, feature: int) -> str:
        """The array of a feature of all heads' keys; feature head_size: the sums."""
        number = self.moduli.index(modulus) * (self.head_size + 1) + feature
        return f"{self.name}_cache+{_offset(number, self.key_stride)}"

    @property
    def key_bytes(self) -> int:
        return _pages(len(self.moduli) * (self.head_size + 1), self.key_stride) * PAGE

    def value(self, modulus: int, position: int) -> str:
        """The array of a position's value; position n_rows: the sums."""
        return f"{self.name}_cache+{self.value_offset(modulus, position)}"

    def value_offset(self, modulus: int, position: int) -> int:
        number = position * len(self.moduli) + self.moduli.index(modulus)
        return self.key_bytes + _offset(number, self.size)

    @property
    def largest_high(self) -> str:
        """A byte: the largest high byte of a value so far, signs taken off."""
        spare = PAGE % self.key_stride  # what no array takes of a page
        return f"{self.name}_cache+{PAGE - spare if spare else self.cache_bytes - PAGE}"

    @property
    def cache_bytes(self) -> int:
        n_pages = _pages(len(self.moduli) * (self.n_rows + 1), self.size)
        return self.key_bytes + (n_pages + (PAGE % self.key_stride == 0)) * PAGE

    @property
    def cache_pages(self) -> int:
        return self.cache_bytes // PAGE

    def taken(self, modulus: int) -> str:
        """The array of a vector's residues, as take leaves them."""
        return f"{self.name}_taken+{self.moduli.index(modulus) * self.size}"

    @property
    def taken_bytes(self) -> int:
        return len(self.moduli) * self.size


def _offset(number: int, stride: int) -> int:
    """Where array `number` of so many bytes lies: none crosses a page."""
    in_page = PAGE // stride
    return number // in_page * PAGE + number % in_page * stride


def _pages(count: int, stride: int) -> int:
    return -(-count // (PAGE // stride))


def take(shape: Shape) -> str:
    """`<name>_take`: residues of the words that a call has put into its operands."""
    name, small = shape.name, shape.small
    return f"""\
; {name}_take: the residues of a vector of {shape.size} words; uses A, X, Y, scratch
{name}_take:
    ldx #{shape.size - 1}
{name}_take_high:
    ldy $ffff,x             ;@ p=0.3
    sty scratch
{name}_take_low:
    lda $ffff,x             ;@ p=0.3
    sta {shape.taken(256)},x
    clc
    adc high_mod255,y       ;@ aligned
    adc #0
    sta {shape.taken(255)},x
    lda high_mod99,y        ;@ aligned
    ldy {shape.taken(256)},x    ;@ aligned
    adc low_mod99,y         ;@ aligned
    sta {shape.taken(99)},x
    lda low_mod{small},y        ;@ aligned
    ldy scratch
    adc high_mod{small},y       ;@ aligned
    sta {shape.taken(small)},x
    dex
    bpl {name}_take_high    ;@ times {shape.size}
    rts"""


def keep_key(shape: Shape) -> str:
    """`<name>_keep_key`: the vector taken becomes the key of `position`."""
    name, n = shape.name, shape.n_rows
    text = [
        f"; {name}_keep_key: what take left -> the keys' row at `position`; uses A, X, Y, scratch",
        f"{name}_keep_key:\n    ldx #0\n    ldy position\n{name}_key_head:\n    sty scratch",
    ]
    for m in shape.moduli:
        text += [
            f"    lda {shape.taken(m)}+{d},x    ;@ aligned\n    sta {shape.key(m, d)},y"
            for d in range(shape.head_size)
        ]
    for m in shape.moduli:
        reads = [f"{shape.taken(m)}+{d},x    ;@ aligned" for d in range(shape.head_size)]
        text.append(_sum(m, shape.small, reads))
        text.append(f"    ldy scratch\n    sta {shape.key(m, shape.head_size)},y")
    text.append(
        f"    txa\n    clc\n    adc #{shape.head_size}\n    tax\n    tya\n    clc\n    adc #{n}\n"
        f"    tay\n    cpx #{shape.size}\n    beq _done           ;@ times {shape.heads}\n"
        f"    jmp {name}_key_head\n_done:\n    rts"
    )
    return lines(*text)


def chain(modulus: int, small: int, terms: list[tuple[str, str]], most: int) -> tuple[str, int]:
    """A += every term, (what loads Y, what adds); A is at most `most` before, and after.

    The carry is clear before, but for modulus 256, which clears it.
    """
    text = []
    for load, add in terms:
        if modulus == small and most + small - 1 > 255:
            text.append(fold(small))
            most = small - 1
        text += [load, "    clc" if modulus == 256 else "", add]
        most += small - 1
    return lines(*text), most


def fold(small: int) -> str:
    """A modulo the fourth modulus."""
    return f"    tay\n    lda low_mod{small},y           ;@ aligned"


def start(m: int, constant: str, own: str) -> str:
    """A chain's start: less the sums of both sides, and less what the chains before have told."""
    match m:
        case 256:
            return f"    stx index\n    lda {constant}\n    clc\n{own}:\n    adc #0"
        case 255:
            return f"    sta total\n    eor #$ff\n    clc\n    adc {constant}\n{own}:\n    adc #0"
        case 99:
            return (
                "    adc #0\n    sta total+1\n    tay\n    sed\n    lda less_middle,y ;@ aligned\n"
                f"    ldy total\n    adc less_low,y      ;@ aligned\n    adc {constant}\n"
                f"{own}:\n    adc #0"
            )
    return (
        f"    adc #0\n    cld\n    sta total+2\n    tay\n    lda less_top{m},y  ;@ aligned\n"
        f"    sec                 ; stays: less_top has {m} - 1 too much\n"
        f"    ldy total\n    sbc low_mod{m},y    ;@ aligned\n    ldy total+1\n"
        f"    adc less_middle{m},y ;@ aligned\n    adc {constant}\n{own}:\n    adc #0"
    )


def join(small: int, low: str = "term", high: str = "term+1") -> str:
    """low, high, A = T >> 8 of four chains, of which the last has just ended; X, term are lost."""
    return f"""\
    tay                 ; the fourth chain's end, reduced
    lda low_mod{small},y       ;@ aligned
    tay
    clc
    lda total+1
    ldx total+2
    adc lift_low,x      ;@ aligned
    sta term
    lda lift_high,x     ;@ aligned
    adc #0
    sta term+1
    lda term
    adc turn_low,y      ;@ aligned
    sta {low}
    lda term+1
    adc turn_middle,y   ;@ aligned
    sta {high}
    lda #0
    adc turn_high,y     ;@ aligned"""


def _sum(m: int, small: int, reads: list[str]) -> str:
    """A = less the sum of t over what reads load into Y."""
    adds = [(f"    ldy {read}", f"    adc t{m},y            ;@ p=0.2") for read in reads]
    text, most = chain(m, small, adds, 0)
    return lines("    sed" if m == 99 else "", "    lda #0\n    clc", text, negate(m, small, most))


def negate(m: int, small: int, most: int) -> str:
    """A = less A, of a chain that has just ended; decimal mode ends."""
    match m:
        case 256:
            return "    eor #$ff\n    clc\n    adc #1"
        case 255:
            return "    adc #0\n    eor #$ff"
        case 99:
            return (
                "    adc #0\n    cld\n    sta scratch+1\n    lda #$99\n    sec\n    sbc scratch+1"
            )
    reduce = fold(small) if most >= small else ""
    return lines(reduce, f"    eor #$ff\n    sec\n    adc #{small}")


def keep_value(shape: Shape) -> str:
    """`<name>_keep_value`: the vector taken becomes the value of `position`."""
    name, size, n = shape.name, shape.size, shape.n_rows
    base = shape.value_offset(256, 0)
    offsets = [shape.value_offset(m, p) for p in range(n) for m in shape.moduli]
    text = [
        f"; {name}_keep_value: what take left -> the values' row at `position`, and to their sums;"
        " uses A, X, Y",
        f"{name}_keep_value:\n    lda position\n    bne {name}_later    ;@ p=0.95\n"
        f"    ldx #{size - 1}\n{name}_clear:",
        *(f"    sta {shape.value(m, n)},x" for m in shape.moduli),
        f"    dex\n    bpl {name}_clear    ;@ times {size}\n    sta {shape.largest_high}\n"
        f"{name}_later:\n    lda {name}_take_high+1\n    sta {name}_look+1\n"
        f"    lda {name}_take_high+2\n    sta {name}_look+2\n"
        f"    ldy {shape.largest_high}\n    sty scratch\n    ldx #{size - 1}\n{name}_look:",
        f"""\
    lda $ffff,x         ;@ p=0.3
    bpl *+4             ;@ p=0.5
    eor #$ff
    cmp scratch
    bcc *+4             ;@ p=0.9
    sta scratch
    dex
    bpl {name}_look     ;@ times {size}
    lda scratch
    sta {shape.largest_high}
    lda position
    asl
    asl
    tax""",
    ]
    for i, m in enumerate(shape.moduli):
        text.append(
            f"    lda {name}_value_low+{i},x\n    sta {name}_to_{m}+1\n"
            f"    lda {name}_value_page+{i},x\n    clc\n    adc {name}_page\n"
            f"    sta {name}_to_{m}+2"
        )
    for m in shape.moduli:
        sums = shape.value(m, n)
        less = f"    lda {sums},x    ;@ aligned\n    sec\n    sbc t{m},y          ;@ p=0.2\n"
        match m:
            case 255 | 99:
                less += "    sbc #0\n"
            case 256:
                pass
            case _:
                less += f"    bcs *+4             ;@ p=0.5\n    adc #{m}\n"
        mode = ("    sed", "    cld") if m == 99 else ("", "")
        text.append(mode[0])
        text.append(
            f"    ldx #{size - 1}\n{name}_sum_{m}:\n    ldy {shape.taken(m)},x    ;@ aligned\n"
            f"    tya\n{name}_to_{m}:\n    sta $ffff,x\n{less}    sta {sums},x\n    dex\n"
            f"    bpl {name}_sum_{m}       ;@ times {size}"
        )
        text.append(mode[1])
    low = ",".join(str(o & 0xFF) for o in offsets)
    page = ",".join(str(o >> 8) for o in offsets)
    text.append(
        f"    rts\n{name}_value_low:\n    .byte {low}\n{name}_value_page:\n    .byte {page}"
    )
    assert base % PAGE == 0
    return lines(*text)
