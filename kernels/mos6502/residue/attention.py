"""attention in residues: 30 cycles a product instead of 300 -> assembly text.

    scores    three chains over the features of a key: q's residues are the operands, X is the row
    weights   table[min(entries - 1, largest - score)], and the operands of the mixing chains
    mixing    mixing.py

Scores are kept as (T >> 8) + LIFT; a weight's index is a difference of them, shifted: with the
largest's low bits all set it is the difference of the shifted ones.

What bounds it: a product takes 10, 8 and 11.5 cycles modulo 256, 255 and 253; a score about 70 more
to be put together and compared, a weight 100.

Three residues tell a score while the query's length, times that of the head's longest key, says so;
else all is done twice (turns.py).  Exact where every value lies within `largest`, and objection has
none.
"""

from __future__ import annotations

import re

from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.residue.cache import Shape
from anachron.kernels.mos6502.residue.lengths import LEAST_SHIFT, choose, long_scores
from anachron.kernels.mos6502.residue.middle import FAR, begin_sum, chain, join, negate, start
from anachron.kernels.mos6502.residue.mixing import (
    Mixer,
    enter,
    entry_tables,
    heavy,
    limits,
    mix,
    own_sums,
)
from anachron.kernels.mos6502.residue.turns import turn


def attend(mixer: Mixer) -> str:
    """`<name>_attend`: all heads of one position, of the query that take has left."""
    shape, name = mixer.shape, mixer.name
    text = [
        f"; {name}_attend: {shape.heads} heads of {shape.head_size}; uses everything",
        f"{name}_attend:\n    lda #0\n    sta {name}_head",
        f"    sta {name}_number" if shape.measured[0] else "",
        f"    lda position\n    sta {name}_row",
        enter(shape),
        f"{name}_next_head:\n    jsr {name}_query",
    ]
    if shape.measured[0]:
        text.append(choose(shape))
    text.append(f"    jsr {name}_scores\n{name}_scored:\n{_weights(mixer)}")
    if shape.measured[1]:
        text.append(
            f"    bit first\n    bmi {name}_light       ;@ p=1-heavy_heads\n"
            f"    jsr {name}_heavy_head\n    jmp {name}_next\n{name}_light:"
        )
    text += [
        f"    jsr {name}_mix\n{name}_next:",
        f"    inc {name}_number" if shape.measured[0] else "",
        f"    clc\n    lda {name}_row\n    adc #{shape.n_rows}\n    sta {name}_row\n"
        f"    lda {name}_head\n    adc #{shape.head_size}\n    sta {name}_head\n"
        f"    cmp #{shape.size}\n    beq _done           ;@ times {shape.heads}\n"
        f"    jmp {name}_next_head\n_done:\n    rts",
    ]
    text += [_query(shape), _scores(mixer), mix(mixer)]
    if shape.measured[0]:
        text.append(long_scores(mixer))
    if shape.measured[1]:
        text += [heavy(mixer), limits(mixer)]
    if any(shape.measured):
        text.append(turn(name))
    return lines(
        *text,
        f"{name}_head:\n    .byte 0\n{name}_row:\n    .byte 0\n"
        f"{name}_page:\n    .byte >{name}_cache",
        entry_tables(shape),
    )


def _query(shape: Shape) -> str:
    """`<name>_query`: a head's residues into the operands of the score chains."""
    name = shape.name
    text = [f"{name}_query:\n    ldx {name}_head"]
    for m in shape.moduli:
        terms = (
            (
                f"    ldy {shape.taken(m)}+{d},x    ;@ aligned\n    sty {name}_q{m}_{d}+1",
                f"t{m},y            ;@ p=0.1",
                "",
            )
            for d in range(shape.head_size)
        )
        text += [begin_sum(m), chain(m, list(terms)), negate(m), f"    sta {name}_qs{m}+1"]
    return lines(*text, "    rts")


def _scores(mixer: Mixer) -> str:
    """`<name>_scores`: of the head's rows, and the largest."""
    shape, name, size = mixer.shape, mixer.name, mixer.shape.head_size
    text = [
        f"{name}_scores:\n    lda #0\n    sta largest\n    sta largest+1\n    ldx {name}_row\n"
        f"    txa\n    sec\n    sbc position\n    tay\n    dey\n    sty {name}_last+1\n"
        f"{name}_score:"
    ]
    for m in shape.moduli:
        terms = [
            (f"    ldy {shape.key(m, d)},x    ;@ aligned", f"t{m},y            ;@ p=0.5",
             f"{name}_q{m}_{d}:\n")
            for d in range(size)
        ]
        text.append(start(m, f"{shape.key(m, size)},x    ;@ aligned", f"{name}_qs{m}"))
        text.append(chain(m, terms))
    text.append(join(f"{name}_scores_low,x ;@ aligned"))
    text.append(f"""\
    sta {name}_scores_high,x    ;@ aligned
    cmp largest+1
    bcc _less           ;@ p=less_rows
    bne _more           ;@ p=0.9
    ldy {name}_scores_low,x     ;@ aligned
    cpy largest
    bcc _less           ;@ p=0.5
_more:
    sta largest+1
    lda {name}_scores_low,x     ;@ aligned
    sta largest
_less:
    dex
{name}_last:
    cpx #0
    beq _done           ;@ times seen
    jmp {name}_score
_done:
    rts""")
    return lines(*text)


def _index(mixer: Mixer) -> str:
    """Y = the index into the table of weights, from the difference (A, term)."""
    down, entries = mixer.shift - LEAST_SHIFT, mixer.entries
    end = entries << down
    above = -(-end >> 8)
    text = [f"    cmp #{above}\n    bcs _far            ;@ p=far_rows" if above <= FAR else ""]
    if down == 8:
        text.append("    tay")
    elif down > 4:
        text += ["    asl term\n    rol\n" * (8 - down), "    tay"]
    else:
        text += ["    lsr\n    ror term\n" * down, "    ldy term\n    clc"]
    if end & 0xFF:
        text.append(f"    cpy #{entries}\n    bcc _near           ;@ p=0.99")
    else:
        text.append(f"    bc{'c' if above <= FAR else 's'} _near           ;@ always")
    return lines(*text)


def _weights(mixer: Mixer) -> str:
    """weights of the rows, their sum in divisor, and what the division needs of it."""
    shape, name, entries = mixer.shape, mixer.name, mixer.entries
    mask = (1 << mixer.shift - LEAST_SHIFT) - 1
    return lines(
        f"    lda largest\n    ora #{mask}\n    sta largest" if mask else "",
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
    sta term
    lda largest+1
    sbc {name}_scores_high,x    ;@ aligned""",
        _index(mixer),
        f"""\
_far:
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
    lda {shape.largest}
    lsr
    lsr
    tay
    lda divisor+1
    cmp {name}_weight_limits,y  ;@ p=0.1
    lda #0
    ror
    eor #$80
    sta first"""
        if shape.measured[1]
        else "",
        """\
    lda divisor
    bne *+4             ;@ p=0.99
    dec divisor+1
    dec divisor         ; a subtraction with the carry clear takes one more""",
    )


def call(mixer: Mixer, name: str, q: Vector, out: Vector) -> str:
    """The op `name`: the heads of one position; its cache is selected."""
    return lines(
        f"{name}:",
        set_word("source_high", q.high) if mixer.shape.measured[0] else "",
        point(mixer.shape, "take", ("take_low", "take_high"), q),
        point(mixer.shape, "=attend", ("out_low", "out_high"), out),
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


def call_keep(shape: Shape, name: str, role: str, x: Vector, select: str = "") -> str:
    """The routine `name`: a key or a value into the cache at a label, if there are several."""
    choose = f"    ldy #>{select}\n    jsr {shape.name}_select" if select else ""
    if role == "value":
        return lines(f"{name}:", choose, point(shape, "=keep_value", ("of_low", "of_high"), x))
    taken = point(shape, "take", ("take_low", "take_high"), x)
    return lines(f"{name}:", choose, taken, f"    jmp {shape.name}_keep_key")


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
