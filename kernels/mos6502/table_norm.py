"""rms_norm, layer_norm of any shifts and gains, by tables; all share the code -> assembly text.

    length      and its reciprocal, centring: norm_length.py
    element     (x + 32768) times the reciprocal and the result times the gain, as in fast_norm.py;
                a gain's product is of its byte without sign, 256 times the unit value less where
                it is negative

A call sets the addresses, the shifts' entries and the dividend.

What bounds it: six products of two bytes and their sums, 300 cycles an element.

Exact for any vector of up to 128 elements, pre_shift 1 and more, gain_shift 0 to 8.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import fast_norm
from anachron.kernels.mos6502.arithmetic import triangular
from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.norm_length import Shape

MOST_ELEMENTS = 128
POSITIVE = 0.95  # of gains


def applicable(size: int, attributes: Mapping[str, int]) -> str:
    """Why these kernels cannot do a norm, or nothing."""
    if size > MOST_ELEMENTS:
        return f"more than {MOST_ELEMENTS} elements"
    if not 1 <= attributes["pre_shift"] <= 8:
        return "its shift before the squares"
    if not 0 <= attributes["gain_shift"] <= 8:
        return "the shift after its gains"
    return ""


def gain_constants(gain: Array) -> Array:
    """(3, size) bytes: what a gain's products have too much, and 32768 times the gain.

    gain  (size,) int8; its products are of gain & 255
    """
    gain = gain.astype(np.int64)
    extra = triangular(gain & 0xFF) * 257 + 32768 * gain
    return np.stack([extra >> shift & 0xFF for shift in (0, 8, 16)])


def scale(bias: bool, saturates: bool, plain: bool = False) -> str:
    """The routine that multiplies elements by the reciprocal, in total, and by their gains.

    plain  all gains are 1
    """
    name, long = scale_label(bias, saturates, plain), saturates or bias
    step = "    asl total\n    rol total+1\n    rol total+2" + ("\n    rol" if long else "")
    steps = (f"{name}_up_{shift}:\n{step}" for shift in range(8))
    sign = "    lda total+2\n    asl\n    lda #0\n    adc #$ff\n    eor #$ff"
    return lines(
        f"; {name}: a vector times total and its gains; uses everything\n{name}:",
        fast_norm.patch(name),
        f"{name}_from:\n    ldx #0\n{name}_element:",
        fast_norm.products(name),
        fast_norm.unit_value(),
        _PLAIN if plain else _gain(name),
        f"{name}_shift:",
        sign if long else "",
        f"{name}_enter:\n    jmp {name}_up_8    ;@ goes {{{shift_variable(name)}}}",
        *steps,
        f"{name}_up_8:",
        "    sta total+3" if long else "",
        _add_bias(name) if bias else "",
        _saturate() if long else "",
        f"""\
    lda total+1
{name}_out_low:
    sta $ffff,x
    lda total+2
{name}_out_high:
    sta $ffff,x
    dex
    bmi *+5             ;@ times elements
    jmp {name}_element
    rts""",
    )


# total, 24 bits, = the unit value.
_PLAIN = """\
    lda total+2
    sta total
    lda scratch+1
    eor #$80
    sta total+1
    asl
    lda #0
    adc #$ff
    eor #$ff
    sta total+2"""


def _gain(name: str) -> str:
    """total, 24 bits, = the unit value times the element's gain."""
    return lines(
        f"""\
    ldy total+2
    sty scratch
{name}_gain:
    lda $ffff,x
    sta product_low
    sta product_high""",
        fast_norm.times_gain(name),
        f"""\
    sta total+2
    lda product_low
    bpl {name}_shift    ;@ p={POSITIVE}
    sec
    lda total+1
    sbc scratch
    sta total+1
    lda total+2
    sbc scratch+1
    sta total+2""",
    )


def _add_bias(name: str) -> str:
    return f"""\
    clc
    lda total+1
{name}_bias_low:
    adc $ffff,x
    sta total+1
    lda total+2
{name}_bias_high:
    adc $ffff,x
    sta total+2
{name}_bias_sign:
    lda $ffff,x
    ora #$7f            ; its sign; the carry stays
    bmi *+4             ;@ p=0.5
    lda #0
    sta index
    lda total+3
    adc index
    sta total+3"""


def _saturate() -> str:
    return """\
    lda total+2
    asl
    lda #0
    adc #$ff
    eor #$ff
    cmp total+3
    beq _held           ;@ p=0.99
    lda total+3
    asl
    lda #$ff
    adc #0
    sta total+1
    lda #$7f
    adc #0
    sta total+2
_held:"""


def scale_label(bias: bool, saturates: bool, plain: bool = False) -> str:
    kinds = (("_bias", bias), ("_saturated", saturates), ("_plain", plain))
    return "scale_unit" + "".join(kind for kind, holds in kinds if holds)


def shift_variable(name: str) -> str:
    """The variable of timing claims that holds where a gain's shift begins."""
    return f"{name}_shifts"


def shift_entry(name: str, gain_shift: int) -> str:
    return f"{name}_up_{gain_shift}"


def settings(routine: str, bias: bool, plain: bool = False) -> list[str]:
    """Where the words of an op's record go."""
    parts = ["x_low", "x_high", *([] if plain else ["gain", "c0", "c1", "c2"])]
    parts += ["out_low", "out_high", "enter"]
    parts += ["bias_low", "bias_high", "bias_sign"] if bias else []
    return ["source_low", "source_high", "query_low", "query_high"] + [
        f"{routine}_{part}+1" for part in parts
    ]


def choose(routine: str, bias: bool, plain: bool = False) -> str:
    """`<routine>_set`: the record at `pointer`, its words and the vector's last index."""
    text = [f"; {routine}_set: what an op's record says; uses A, Y", f"{routine}_set:\n    ldy #0"]
    for place in settings(routine, bias, plain):
        text += [
            f"    lda (pointer),y     ;@ p=0.1\n    sta {place}{byte}\n    iny"
            for byte in ("", "+1")
        ]
    text.append(f"    lda (pointer),y     ;@ p=0.1\n    sta {routine}_from+1\n    rts")
    return lines(*text)


def call(
    name: str,
    shape: Shape,
    routine: str,
    x: Vector,
    out: Vector,
    gain: str,
    shifts: tuple[int, int],
    bias: Vector | None = None,
) -> str:
    """The op `name`.

    routine  the label of what scales
    gain     the label of its gains, then of the three bytes of their constants; "": all are 1
    shifts   of the gains, and of the reciprocal's dividend
    bias     of a layer norm, whose vector is centred first
    """
    size = x.size
    source = Vector("centred", f"centred+{size}", size, 16) if bias else x
    dividend = 1 << shifts[1]
    words = [x.low, x.high, str(dividend & 0xFFFF), str(dividend >> 16), source.low, source.high]
    words += [gain, *(f"{gain}+{(i + 1) * size}" for i in range(3))] if gain else []
    words += [out.low, out.high]
    words.append(shift_entry(routine, shifts[0]))
    words += [bias.low, bias.high, bias.high] if bias else []
    centred = lines(
        f"    jsr centre_{size}",
        set_word("source_low", source.low),
        set_word("source_high", source.high),
    )
    return lines(
        f"{name}:",
        set_word("pointer", f"{name}_record"),
        f"    jsr {routine}_set",
        centred if bias else "",
        f"    jsr {shape.name}\n    jmp {routine}\n{name}_record:",
        *(f"    .word {word}" for word in words),
        f"    .byte {size - 1}",
    )
