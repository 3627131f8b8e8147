"""rope: pairs of features turned by their position's angle -> assembly text."""

from __future__ import annotations

from anachron.kernels.mos6502.embedding import point, row_address
from anachron.kernels.mos6502.instructions import (
    Vector,
    add,
    add_constant,
    copy,
    lines,
    load,
    shift_right,
    store_saturated,
    subtract,
)


def rope(
    name: str,
    position: str,
    x: Vector,
    out: Vector,
    cosine: Vector,
    sine: Vector,
    heads: int,
    interleaved: bool,
    fetch: str = "",
) -> str:
    """Rotate each pair of features by its position's angle; out is not x.

    cosine, sine  rows of an int16 for each pair of a head; low and high bytes apart
    fetch         brings the position's row to their place, where they are not in memory
    """
    half = x.size // heads // 2
    step, reach = (2, 1) if interleaved else (1, half)
    cosine_at, sine_at, a, b = (f"scratch+{i}" for i in (2, 4, 6, 8))

    def product(left: str, right: str) -> str:
        return f"{copy('factor_a', left, 2)}\n{copy('factor_b', right, 2)}\n    jsr multiply_signed"

    def turned(first: str, second: str, target: Vector) -> str:
        return lines(first, add_constant("total", 1 << 13, 4), second, store_saturated(target, 4))

    keep = copy("correction", "total", 4)
    pair = lines(
        *(
            f"    lda ({pointer}),y\n    sta {target}"
            for pointer, target in (
                ("past_low", cosine_at),
                ("past_high", f"{cosine_at}+1"),
                ("query_low", sine_at),
                ("query_high", f"{sine_at}+1"),
            )
        ),
        load(x, a),
        load(x.at(reach), b),
        product(b, sine_at),
        keep,
        product(a, cosine_at),
        turned(subtract("total", "correction", 4, 4), shift_right("total", 4, 14), out),
        product(a, sine_at),
        keep,
        product(b, cosine_at),
        turned(add("total", "correction", 4, 4), shift_right("total", 4, 14), out.at(reach)),
    )
    skip = "" if interleaved else f"    txa\n    clc\n    adc #{half}\n    tax\n"
    find = lines(f"    lda {position}", row_address(half, 1))
    if fetch:
        find = f"{fetch}\n    lda #0\n    sta pointer\n    sta pointer+1"
    return lines(
        f"{name}:",
        find,
        *(
            point(target, table)
            for target, table in (
                ("past_low", cosine.low),
                ("past_high", cosine.high),
                ("query_low", sine.low),
                ("query_high", sine.high),
            )
        ),
        f"    ldx #0\n    lda #{heads}\n    sta heads_left\n{name}_head:\n    ldy #0\n{name}_pair:",
        "    sty index",
        pair,
        "    inx\n" * step,
        f"    ldy index\n    iny\n    cpy #{half}\n    beq _turned         ;@ times {half}\n"
        f"    jmp {name}_pair\n_turned:\n{skip}"
        f"    dec heads_left\n    beq _done           ;@ times {heads}\n    jmp {name}_head\n"
        "_done:\n    rts",
    )
