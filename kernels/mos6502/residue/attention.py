"""attention in residues: 34 cycles a product instead of 300 -> assembly text.

    scores    four chains over the features of a key: q's residues are the operands, X is the row
    weights   table[min(entries - 1, largest - score)], and the operands of the mixing chains
    mixing    mixing.py

What bounds it: a product and modulus takes 8 cycles, as in matvec.py; a score about 110
more to be put together and compared, a weight 100.

Exact where every score lies within moduli.reach(small), and every value within `largest`.
"""

from __future__ import annotations

import re

from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.cache import Shape, chain, fold, join, negate, start
from anachron.kernels.mos6502.residue.mixing import (
    Mixer,
    enter,
    entry_tables,
    limits,
    mix,
    own_sums,
)


def attend(mixer: Mixer) -> str:
    """`<name>_attend`: all heads of one position, of the query that take has left."""
    shape, name = mixer.shape, mixer.name
    return lines(
        f"; {name}_attend: {shape.heads} heads of {shape.head_size}; uses everything",
        f"{name}_attend:\n    lda #0\n    sta {name}_head\n    lda position\n    sta {name}_row\n"
        + enter(shape)
        + f"\n{name}_next_head:",
        _query(shape),
        _scores(mixer),
        _weights(mixer),
        mix(mixer),
        f"    clc\n    lda {name}_row\n    adc #{shape.n_rows}\n    sta {name}_row\n"
        f"    lda {name}_head\n    adc #{shape.head_size}\n    sta {name}_head\n"
        f"    cmp #{shape.size}\n    beq _done           ;@ times {shape.heads}\n"
        f"    jmp {name}_next_head\n_done:\n    rts",
        f"{name}_head:\n    .byte 0\n{name}_row:\n    .byte 0\n"
        f"{name}_page:\n    .byte >{name}_cache",
        entry_tables(shape),
        limits(mixer),
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
        text.append(start(m, f"{shape.key(m, size)},x    ;@ aligned", f"{name}_qs{m}"))
        most = 5 * (small - 1) + 2
        if m == small and most > 255:
            text.append(fold(small))
            most = small - 1
        body, most = chain(m, small, terms, most)
        text.append(body)
    text.append(join(small))
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
    bcc _less           ;@ p=less_rows
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


def _weights(mixer: Mixer) -> str:
    """weights of the rows, their sum in divisor, and what the division needs of it."""
    name, entries = mixer.name, mixer.entries
    short = f"    cpy #{entries}\n    bcc _near           ;@ p=1-far_rows\n"
    short = short if entries < 256 else ""
    skip = "    bcs _near           ;@ always\n" if entries == 256 else ""
    return lines(
        f"""\
    lda #0
    sta divisor
    sta divisor+1
    sta sum_a
    sta sum_a+1
    sta sum_a+2
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
    bne _far            ;@ p=farther_rows
{short}{skip}_far:
    ldy #{entries - 1}
_near:
    lda {mixer.table},y     ;@ p=0.1
    sta {name}_weights,x        ;@ aligned
    tay
    clc
    adc divisor
    sta divisor
    bcc *+5             ;@ p=0.7
    inc divisor+1
    clc
    lda products_low,y      ;@ aligned
    adc sum_a
    sta sum_a
    lda products_high,y     ;@ aligned
    adc sum_a+1
    sta sum_a+1
    bcc *+4             ;@ p=0.7
    inc sum_a+2
    dex
{name}_last_weight:
    cpx #0
    bne {name}_weight    ;@ times seen""",
        own_sums(mixer),
        f"""\
    ldy {mixer.shape.largest_high}
    lda {name}_narrow_low,y     ;@ p=0.1
    cmp divisor
    lda {name}_narrow_high,y    ;@ p=0.1
    sbc divisor+1
    lda #0
    ror                 ; top bit set where three chains do
    sta first
    lda divisor
    bne *+4             ;@ p=0.99
    dec divisor+1
    dec divisor         ; a subtraction with the carry clear takes one more""",
    )


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


def relocate(name: str, pages: int, text: str) -> str:
    """The code for several caches: `<name>_select` points it at the pages from Y on."""
    uses: dict[int, list[str]] = {}
    found: list[str] = []
    for line in text.split("\n"):
        if match := re.search(rf"{name}_cache\+(\d+)", line):
            label = f"{name}_at_{len(found)}"
            uses.setdefault(int(match[1]) >> 8, []).append(label)
            found.append(f"{label}:")
        found.append(line)
    choose = [f"; {name}_select: the cache of pages from Y on; uses Y"]
    choose.append(f"{name}_select:\n    sty {name}_page")
    for page in range(pages):
        choose += [f"    sty {label}+2" for label in uses.get(page, ())]
        choose.append("    iny")
    return lines(*found, *choose, "    rts")
