"""attention in residues: 34 cycles a product instead of 300 -> assembly text.

    scores    four chains over the features of a key: q's residues are the operands, X is the row
    weights   table[min(entries - 1, largest - score)], and the operands of the mixing chains
    mixing    three chains over the rows, X is the feature; a fourth where the sum of the weights
              says that three may not do
    result    a long division of as many steps as the quotient has bits

What bounds it: a product and modulus takes 8 cycles, as in residue_matvec.py; a score about 110
more to be put together and compared, a weight 100, a result 60 and the division 38 a bit.

Exact where every score lies within residues.reach(small), and every value within 2**(bits - 1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue_cache import Shape, chain, fold, negate
from anachron.kernels.mos6502.residues import WIDE

MOST_WEIGHT = 255


@dataclass(frozen=True)
class Mixer:
    """What else the code depends on.

    shift    of the scores, 8 .. 16         entries  of the table of weights, up to 256
    bits     of a quotient, its sign counted
    largest  magnitude of the values
    """

    shape: Shape
    shift: int
    table: str
    entries: int
    bits: int
    largest: int

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def narrow_weight(self) -> int:
        """The largest sum of weights with which three chains do."""
        return min(-WIDE.lowest, WIDE.highest) // max(1, self.largest)


def attend(mixer: Mixer) -> str:
    """`<name>_attend`: all heads of one position, of the query that take has left."""
    shape, name = mixer.shape, mixer.name
    return lines(
        f"; {name}_attend: {shape.heads} heads of {shape.head_size}; uses everything",
        f"{name}_attend:\n    lda #0\n    sta {name}_head\n    lda position\n    sta {name}_row\n"
        + _enter(shape)
        + f"\n{name}_next_head:",
        _query(shape),
        _scores(mixer),
        _weights(mixer),
        _mix(mixer),
        f"    clc\n    lda {name}_row\n    adc #{shape.n_rows}\n    sta {name}_row\n"
        f"    lda {name}_head\n    adc #{shape.head_size}\n    sta {name}_head\n"
        f"    cmp #{shape.size}\n    beq _done           ;@ times {shape.heads}\n"
        f"    jmp {name}_next_head\n_done:\n    rts",
        f"{name}_head:\n    .byte 0\n{name}_row:\n    .byte 0\n"
        f"{name}_page:\n    .byte >{name}_cache",
        _entry_tables(shape),
    )


def _query(shape: Shape) -> str:
    """A head's residues into the operands of the score chains."""
    name, small = shape.name, shape.small
    text = [f"    ldx {name}_head"]
    for m in shape.moduli:
        terms = [
            (
                f"    ldy {shape.taken(m)}+{d},x    ;@ aligned\n    sty {name}_q{m}_{d}+1",
                f"    adc t{m},y            ;@ p=0.1",
            )
            for d in range(shape.head_size)
        ]
        body, most = chain(m, small, terms, 0)
        text += ["    sed" if m == 99 else "", "    lda #0\n    clc", body]
        text += [negate(m, small, most), f"    sta {name}_qs{m}+1"]
    return lines(*text)


def _scores(mixer: Mixer) -> str:
    """scores of the head's rows, top bit flipped, and the largest."""
    shape, name = mixer.shape, mixer.name
    small, size = shape.small, shape.head_size
    text = [
        f"    lda #0\n    sta largest\n    sta largest+1\n    ldx {name}_row\n    txa\n    sec\n"
        f"    sbc position\n    tay\n    dey\n    sty {name}_last+1\n{name}_score:"
    ]
    for m in shape.moduli:
        terms = [
            (
                f"    ldy {shape.key(m, d)},x    ;@ aligned",
                f"{name}_q{m}_{d}:\n    adc t{m},y            ;@ p=0.2",
            )
            for d in range(size)
        ]
        text.append(_start(m, small, f"{shape.key(m, size)},x    ;@ aligned", f"{name}_qs{m}"))
        most = 5 * (small - 1) + 2
        if m == small and most > 255:
            text.append(fold(small))
            most = small - 1
        body, most = chain(m, small, terms, most)
        text.append(body)
    text.append(_join(small))
    text += ["    asl term\n    rol term+1\n    rol"] * (16 - mixer.shift)
    text.append(f"""\
    eor #$80
    ldx index
    sta {name}_scores_high,x    ;@ aligned
    tay
    lda term+1
    sta {name}_scores_low,x     ;@ aligned
    cmp largest
    tya
    sbc largest+1
    bcc _less           ;@ p=0.6
    sty largest+1
    lda term+1
    sta largest
_less:
    dex
{name}_last:
    cpx #0
    beq {name}_scored    ;@ times seen
    jmp {name}_score
{name}_scored:""")
    return lines(*text)


def _start(m: int, small: int, constant: str, own: str) -> str:
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
        f"    ldy total\n    adc less_low{m},y   ;@ aligned\n    ldy total+1\n"
        f"    adc less_middle{m},y ;@ aligned\n    adc {constant}\n{own}:\n    adc #0"
    )


def _join(small: int) -> str:
    """term, term+1, A = T >> 8 of four chains, of which the last has just ended; X is lost."""
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
    sta term
    lda term+1
    adc turn_middle,y   ;@ aligned
    sta term+1
    lda #0
    adc turn_high,y     ;@ aligned"""


def _weights(mixer: Mixer) -> str:
    """weights of the rows, their sum in divisor, and what the division needs of it."""
    name, entries = mixer.name, mixer.entries
    short = f"    cpy #{entries}\n    bcc _near           ;@ p=0.9\n" if entries < 256 else ""
    skip = "    bcs _near           ;@ always\n" if entries == 256 else ""
    limit = mixer.narrow_weight
    up = mixer.bits - 9  # the sum moves left by bits - 1: a byte, and so many bits
    return lines(
        f"""\
    lda #0
    sta divisor
    sta divisor+1
    lda {name}_last+1
    sta {name}_last_weight+1
    ldx {name}_row
{name}_weight:
    sec
    lda largest
    sbc {name}_scores_low,x     ;@ aligned
    tay
    lda largest+1
    sbc {name}_scores_high,x    ;@ aligned
    bne _far            ;@ p=0.1
{short}{skip}_far:
    ldy #{entries - 1}
_near:
    lda {mixer.table},y     ;@ p=0.1
    sta {name}_weights,x        ;@ aligned
    clc
    adc divisor
    sta divisor
    bcc *+4             ;@ p=0.7
    inc divisor+1
    dex
{name}_last_weight:
    cpx #0
    bne {name}_weight    ;@ times seen
    lda divisor
    sta correction
    lda divisor+1
    sta correction+1
    lda #0
    sta correction+2""",
        "    asl correction\n    rol correction+1\n    rol correction+2\n" * up,
        f"""\
    lda #<{min(limit, 65535)}
    cmp divisor
    lda #>{min(limit, 65535)}
    sbc divisor+1
    lda #0
    ror                 ; top bit set where three chains do
    sta first
    lda divisor
    bne *+4             ;@ p=0.99
    dec divisor+1
    dec divisor         ; a subtraction with the carry clear takes one more""",
    )


def _mix(mixer: Mixer) -> str:
    """The head's results."""
    shape, name, small, n = mixer.shape, mixer.name, mixer.shape.small, mixer.shape.n_rows
    text = [f"    sec\n    lda {name}_row\n    sbc position\n    tax\n{name}_enter_patch:"]
    text.append(f"    jmp {name}_patch_1       ;@ goes {name}_patch_{{seen}}")
    for row in range(n - 1, -1, -1):
        text.append(f"{name}_patch_{row + 1}:\n    ldy {name}_weights+{row},x    ;@ aligned")
        text += [f"    sty {name}_p{m}_{row}+1" for m in (256, 255)]
        for m, table in ((99, "low_mod99"), (small, f"low_mod{small}")):
            text.append(f"    lda {table},y        ;@ aligned\n    sta {name}_p{m}_{row}+1")
    for m in shape.moduli:
        text += ["    sed" if m == 99 else "", "    lda #0\n    clc"]
        text.append(f"{name}_enter_s{m}:\n    jmp {name}_s{m}_1   ;@ goes {name}_s{m}_{{seen}}")
        text.append(_rows_chain(shape, m, f"{name}_s{m}", own=True))
        text += [negate(m, small, small - 1), f"    sta {name}_ps{m}+1"]
    text.append(
        f"    lda {name}_head\n    clc\n    adc #{shape.head_size - 1}\n    tax\n"
        f"    ldy {name}_head\n    dey\n    sty {name}_first+1\n{name}_result:"
    )
    for m in shape.moduli:
        start = _start(m, small, f"{shape.value(m, n)},x    ;@ aligned", f"{name}_ps{m}")
        if m == small:
            text.append(_three(name))
            start = start.replace("    adc #0\n    cld\n    sta total+2\n", "", 1)
            start += "\n" + fold(small)
        text.append(start)
        text.append(f"{name}_enter_v{m}:\n    jmp {name}_v{m}_1   ;@ goes {name}_v{m}_{{seen}}")
        text.append(_rows_chain(shape, m, f"{name}_v{m}", own=False))
    text += [_join(small), "    sta term+2", f"{name}_divide:", _divide(mixer)]
    text.append(
        f"    ldx index\n{name}_out_high:\n    sta $ffff,x\n    lda total\n{name}_out_low:\n"
        f"    sta $ffff,x\n    dex\n{name}_first:\n    cpx #0\n"
        f"    beq {name}_mixed     ;@ times {shape.head_size}\n    jmp {name}_result\n{name}_mixed:"
    )
    return lines(*text)


def _rows_chain(shape: Shape, m: int, label: str, own: bool) -> str:
    """A chain over the rows, entered at the last one seen: of the weights' own t, or products."""
    name, small = shape.name, shape.small
    often = max(1, (255 - (small - 1)) // (small - 1))  # adds between two reductions
    text = []
    for row in range(shape.n_rows - 1, -1, -1):
        text.append(f"{label}_{row + 1}:")
        if own:
            text.append(f"    ldy {name}_p{m}_{row}+1")
        else:
            text.append(f"    ldy {shape.value(m, row)},x    ;@ aligned")
        text.append("    clc" if m == 256 else "")
        page = f"t{m},y            ;@ p=0.2"
        text.append(f"    adc {page}" if own else f"{name}_p{m}_{row}:\n    adc {page}")
        if m == small and row % often == 0:
            text.append(fold(small))
    return lines(*text)


def _three(name: str) -> str:
    """T >> 8 in term, where three chains do; else the fourth follows."""
    return f"""\
    adc #0
    cld
    sta total+2
    bit first
    bpl {name}_four      ;@ p=0.6
    tay
    clc
    lda total+1
    adc wraps_low,y     ;@ aligned
    sta term
    lda wraps_high,y    ;@ aligned
    adc #0
    sta term+1
    asl
    lda #0
    adc #$ff
    eor #$ff
    sta term+2
    jmp {name}_divide
{name}_four:"""


def _divide(mixer: Mixer) -> str:
    """total, A = floor((total + 256 term) / (divisor + 1)), signed; X is lost."""
    bits = mixer.bits
    text = [
        """\
    clc
    lda term
    adc correction
    sta term
    lda term+1
    adc correction+1
    sta term+1
    lda term+2
    adc correction+2
    sta term+2"""
    ]
    text += ["    asl total\n    rol term\n    rol term+1\n    rol term+2"] * (16 - bits)
    text.append("    lda term+1\n    clc")
    for step in range(bits):
        text.append(f"""\
    rol {"term" if step < 8 else "total"}
    rol
    rol term+2
    tax
    sbc divisor
    tay
    lda term+2
    sbc divisor+1
    bcc _less_{step}        ;@ p=0.5
    sta term+2
    tya
    bcs _more_{step}        ;@ always
_less_{step}:
    txa
_more_{step}:""")
    low = 15 - bits  # the quotient: seven bits in term, the others in total and the carry
    text.append("    lda total\n    rol")
    text += ["    asl"] * low
    text.append("    sta total\n    lda term")
    text += ["    lsr\n    ror total"] * low
    text.append(f"    sec\n    sbc #{1 << bits - 9}")
    return lines(*text)


def _entries(shape: Shape) -> list[str]:
    """Labels of the jumps into code that is unrolled over the rows."""
    kinds = [f"{kind}{m}" for kind in "sv" for m in shape.moduli]
    return ["patch", *kinds]


def _enter(shape: Shape) -> str:
    """Patch those jumps for a position."""
    text = ["    ldx position"]
    for entry in _entries(shape):
        text += [
            f"    lda {shape.name}_{part}_{entry},x\n    sta {shape.name}_enter_{entry}+{i}"
            for i, part in ((1, "low"), (2, "page"))
        ]
    return lines(*text)


def _entry_tables(shape: Shape) -> str:
    text = []
    for entry in _entries(shape):
        slots = [f"{shape.name}_{entry}_{seen}" for seen in range(1, shape.n_rows + 1)]
        for part, sign in (("low", "<"), ("page", ">")):
            text.append(f"{shape.name}_{part}_{entry}:")
            text += [f"    .byte {sign}{slot}" for slot in slots]
    return lines(*text)


def point(shape: Shape, routine: str, parts: tuple[str, str], x: Vector) -> str:
    """A vector's address into a routine's operands, named <name>_<part> of (low, high)."""
    return lines(
        *(
            f"    lda #<{label}\n    sta {shape.name}_{part}+1\n"
            f"    lda #>{label}\n    sta {shape.name}_{part}+2"
            for part, label in zip(parts, (x.low, x.high), strict=True)
        ),
        f"    j{'mp' if routine.startswith('=') else 'sr'} {shape.name}_{routine.lstrip('=')}",
    )


def call(mixer: Mixer, name: str, q: Vector, out: Vector) -> str:
    """The op `name`: the heads of one position; its cache is selected."""
    return lines(
        f"{name}:",
        point(mixer.shape, "take", ("take_low", "take_high"), q),
        point(mixer.shape, "=attend", ("out_low", "out_high"), out),
    )


def call_keep(shape: Shape, name: str, role: str, x: Vector, select: str = "") -> str:
    """The routine `name`: a key or a value into the cache at a label, if there are several."""
    choose = f"    ldy #>{select}\n    jsr {shape.name}_select" if select else ""
    taken = point(shape, "take", ("take_low", "take_high"), x)
    return lines(f"{name}:", choose, taken, f"    jmp {shape.name}_keep_{role}")


def relocate(shape: Shape, text: str) -> str:
    """The code for several caches: `<name>_select` points it at the pages from Y on."""
    uses: dict[int, list[str]] = {}
    found: list[str] = []
    for line in text.split("\n"):
        if match := re.search(rf"{shape.name}_cache\+(\d+)", line):
            label = f"{shape.name}_at_{len(found)}"
            uses.setdefault(int(match[1]) >> 8, []).append(label)
            found.append(f"{label}:")
        found.append(line)
    choose = [f"; {shape.name}_select: the cache of pages from Y on; uses Y"]
    choose.append(f"{shape.name}_select:\n    sty {shape.name}_page")
    for page in range(shape.cache_pages):
        choose += [f"    sty {label}+2" for label in uses.get(page, ())]
        choose.append("    iny")
    return lines(*found, *choose, "    rts")
