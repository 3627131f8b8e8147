"""Keys and values of int16 into a cache of bytes -> assembly text: shape.py says where.

    <name>_keep_key, <name>_keep_value   take the vector that a call has put into their operands
"""

from __future__ import annotations

import numpy as np

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import MIDDLE, add, reduce_middle
from anachron.kernels.mos6502.residue.moduli import triangle
from anachron.kernels.mos6502.split.chains import Term, chain, fold, table
from anachron.kernels.mos6502.split.shape import FLIP, PAGE, PARTS, Shape


def keep_key(shape: Shape) -> str:
    """`<name>_keep_key`: a vector becomes the key of `position`."""
    name, d, size = shape.name, shape.head_size, shape.kv_size
    taken = f"{name}_taken"
    sums = [
        [
            f"    lda term+{i}\n    sta {shape.key_sums(part, m)},y"
            for i, m in enumerate(shape.moduli)
        ]
        for part in (0, 1)
    ]
    rows = [
        f"    lda {taken}+{part * size + i},x   ;@ p=0.1\n    sta {shape.key(part, i)},y"
        for part in (0, 1)
        for i in range(d)
    ]
    return lines(
        f"; {name}_keep_key: a vector -> the keys' row at `position`; uses A, X, Y, term, scratch",
        f"{name}_keep_key:\n    ldx #{size - 1}",
        f"""\
{name}_key_high:
    lda $ffff,x         ;@ p=0.3
    eor #$80
    sta {taken},x
{name}_key_low:
    lda $ffff,x         ;@ p=0.3
    sta {taken}+{size},x
    dex
    bpl {name}_key_high  ;@ times {size}
    inx
    lda position
    sta scratch
{name}_key_head:
    ldy scratch""",
        *rows,
        f"    jsr {name}_key_sums\n    ldy scratch",
        *sums[0],
        f"    txa\n    clc\n    adc #{size}\n    tax\n    jsr {name}_key_sums\n    ldy scratch",
        *sums[1],
        f"""\
    tya
    clc
    adc #{shape.n_rows}
    sta scratch
    txa
    sec
    sbc #{size - d}
    tax
    cpx #{size}
    beq _done           ;@ times {shape.kv_heads}
    jmp {name}_key_head
_done:
    rts""",
        _key_sums(shape),
    )


def _key_sums(shape: Shape) -> str:
    """`<name>_key_sums`: term+i = what a score starts from modulo the i-th; keeps X."""
    name, d = shape.name, shape.head_size
    text = [f"{name}_key_sums:"]
    origin = d * int(triangle(np.array(FLIP)))
    for number, m in enumerate(shape.moduli):
        terms = [Term(f"    ldy {name}_taken+{i},x   ;@ p=0.1") for i in range(d)]
        body, _ = chain(m, terms, 0)
        text.append(f"    lda #0\n    clc\n{body}")
        match m:
            case 256:
                text.append(f"    eor #$ff\n    sec\n    adc #{origin % m}")
            case 255:
                text.append(f"    adc #0\n    eor #$ff\n    clc\n    adc #{origin % m}\n    adc #0")
            case 253:  # 255 - s is 2 more, and a score's start 1 less: levels.row_constants
                text.append(f"    eor #$ff\n    clc\n{add(m, f'#{(origin - 2 + 1 - 2) % m}')}")
                text.append(reduce_middle())
            case _:
                text.append(
                    f"{fold()}\n    eor #$ff\n    sec\n    adc #{m}\n    clc\n"
                    f"    adc #{(origin + 1) % m}\n{fold()}"
                )
        text.append(f"    sta term+{number}")
    return lines(*text, "    rts")


def keep_value(shape: Shape) -> str:
    """`<name>_keep_value`: a vector becomes the value of `position`, from <name>_first in a row."""
    name, size, third = shape.name, shape.kv_size, shape.third
    shift = 8 - (shape.value_stride - 1).bit_length()
    first = shape.value(0)
    sums = {m: shape.value_sums(m) for m in shape.mixed}
    # A chain starts with 1 less, and modulo 253 with 2 more: levels.row_constants.
    start = (1 - shape.middle - (2 if third == MIDDLE else 0)) % third
    target = [
        f"    lda scratch\n    clc\n    adc {name}_first\n    sta {name}_to_{part}+1\n"
        f"    sty {name}_to_{part}+2"
        for part in PARTS
    ]
    target[1] = target[1].replace("    lda scratch\n    clc\n", "    clc\n").replace(
        f"    adc {name}_first\n", f"    adc #{size}\n"
    )
    page = f"    adc {name}_page" if shape.apart else f"    adc #>({first})"
    skipped = f"    adc #{-(-shape.key_bytes // PAGE)}\n" if shape.apart else ""
    return lines(
        f"; {name}_keep_value: a vector -> the values' row at `position`, and to their sums; uses",
        f"; A, X, Y, scratch\n{name}_keep_value:\n    lda {name}_first\n    clc\n"
        f"    adc #{2 * size - 1}\n    sta scratch+1\n    lda position\n"
        f"    bne {name}_later    ;@ p=0.95\n    ldx scratch+1\n    ldy #{2 * size}\n"
        f"{name}_clear:\n    lda #0\n    sta {sums[256]},x\n    sta {sums[255]},x\n"
        f"    lda #{start}\n    sta {sums[third]},x\n    dex\n    dey\n"
        f"    bne {name}_clear    ;@ times {2 * size}\n{name}_later:\n    lda #0\n    sta scratch\n"
        "    lda position",
        *(["    lsr\n    ror scratch"] * shift),
        f"    clc\n{skipped}{page}\n    tay\n    sty {name}_from+2\n    lda scratch\n"
        f"    sta {name}_from+1",
        *target,
        f"""\
    ldx #{size - 1}
{name}_value_high:
    lda $ffff,x         ;@ p=0.3
{shape.flip}
{name}_to_high:
    sta $ffff,x
{name}_value_low:
    lda $ffff,x         ;@ p=0.3
{name}_to_low:
    sta $ffff,x
    dex
    bpl {name}_value_high ;@ times {size}
    ldx scratch+1
    lda #{2 * size}
    sta scratch
{name}_from:
    ldy $ffff,x         ;@ aligned
    sec
    lda {sums[256]},x   ;@ aligned
    sbc t256,y          ;@ aligned
    sta {sums[256]},x
    sec
    lda {sums[255]},x   ;@ aligned
    sbc t255,y          ;@ aligned
    sbc #0
    sta {sums[255]},x
    sec
    lda {sums[third]},x ;@ aligned
    sbc {table(third)},y        ;@ aligned
    bcs *+4             ;@ p=0.5
    adc #{third}
    sta {sums[third]},x
    dex
    dec scratch
    bne {name}_from      ;@ times {2 * size}
    rts""",
    )
