"""rms_norm, layer_norm: a reciprocal root a vector, two products an element -> assembly text.

The first product avoids signs: with X = x + 32768, (X * inverse >> 15) - inverse is
x * inverse >> 15 exactly.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import (
    Vector,
    add,
    clear,
    copy,
    lines,
    load,
    negate,
    shift_left,
    shift_right,
    store_saturated,
)

LARGEST_RECIPROCAL = 32767
MOST_SQUARES = 32  # bits of the sum of squares


def _each(name: str, size: int, body: str) -> str:
    end = "" if size == 256 else f"    cpx #{size}\n"
    return (
        f"{name}:\n    ldx #0\n_element:\n{body}\n    inx\n{end}"
        f"    beq _done           ;@ times {size}\n    jmp _element\n_done:"
    )


def divide_by(size: int) -> str:
    """total (4 bytes, unsigned) //= size."""
    if size & (size - 1) == 0:
        return shift_unsigned("total", size.bit_length() - 1)
    return f"    lda #<{size}\n    sta divisor\n    lda #>{size}\n    sta divisor+1\n    jsr divide"


def shift_unsigned(name: str, amount: int) -> str:
    """A number of 4 bytes moves right by a constant below 16, zeros coming in."""
    text = []
    if amount >= 8:
        text.append(copy(name, f"{name}+1", 3) + f"\n    lda #0\n    sta {name}+3")
        amount -= 8
    text += [f"    lsr {name}+3\n    ror {name}+2\n    ror {name}+1\n    ror {name}"] * amount
    return lines(*text)


def _reciprocal(name: str, x: Vector, pre: int, up: int, bits: int) -> str:
    """scratch+2 (a word) = the reciprocal root mean square of x."""
    square = lines(
        load(x, "factor_a"),
        shift_right("factor_a", 2, pre),
        f"""\
    bit factor_a+1      ; the square of the size, without a sign
    bpl _positive       ;@ p=usual(squared_positive,0.5)
{negate("factor_a", 2)}
_positive:
{copy("factor_b", "factor_a", 2)}
    jsr multiply""",
        add("correction", "total", 4, 4),
    )
    return lines(
        clear("correction", 4),
        _each(f"{name}_squares", x.size, square),
        f"{name}_root:",
        root_of_mean(x.size, up),
        f"""\
    lda #<{(1 << bits) & 0xFFFF}
    sta total
    lda #>{(1 << bits) & 0xFFFF}
    sta total+1
    lda #<{(1 << bits) >> 16}
    sta total+2
    lda #>{(1 << bits) >> 16}
    sta total+3
    jsr divide
    jsr saturate_16_4
{copy("scratch+2", "total", 2)}""",
    )


def root_of_mean(size: int, up: int) -> str:
    """divisor = the root of the mean of squares, whose sum is in correction; both at least 1."""
    return lines(
        copy("total", "correction", 4),
        divide_by(size),
        """\
    lda total
    ora total+1
    ora total+2
    ora total+3
    bne _mean           ;@ p=0.99
    inc total           ; a mean of at least 1
_mean:""",
        shift_left("total", 4, up),
        f"""\
    jsr isqrt
    lda root
    ora root+1
    bne _root           ;@ p=0.99
    inc root
_root:
{copy("divisor", "root", 2)}""",
    )


def _scale(x: Vector, out: Vector, gain: str, gain_shift: int, bias: Vector | None) -> str:
    """One element: (x * reciprocal >> 15) * gain >> gain_shift, and the bias."""
    text = [
        f"""\
    lda {x.low},x
    sta factor_a
    lda {x.high},x
    eor #$80
    sta factor_a+1
{copy("factor_b", "scratch+2", 2)}
    jsr multiply
    asl total+1         ; the upper word of twice the product, less the reciprocal
    rol total+2
    rol total+3
    sec
    lda total+2
    sbc scratch+2
    sta factor_a
    lda total+3
    sbc scratch+3
    sta factor_a+1
    lda {gain},x
    sta factor_b
    ora #$7f
    bmi *+4             ;@ p=0.5
    lda #0
    sta factor_b+1
    jsr multiply_signed""",
        shift_right("total", 4, gain_shift),
        shift_left("total", 4, -gain_shift),
    ]
    if bias is not None:
        text.append(
            f"""\
    clc
    lda total
    adc {bias.low},x
    sta total
    lda total+1
    adc {bias.high},x
    sta total+1
    lda {bias.high},x
    ora #$7f            ; its sign; the carry stays
    bmi *+4             ;@ p=0.5
    lda #0
    sta index
    lda total+2
    adc index
    sta total+2
    lda total+3
    adc index
    sta total+3"""
        )
    text.append(store_saturated(out, 4))
    return lines(*text)


def check_size(size: int) -> None:
    """Raise ValueError for a vector that these kernels do not reach."""
    if size > 256:
        raise ValueError(f"a norm of {size} features: the 6502's kernels take at most 256")


def rms_norm(
    name: str,
    x: Vector,
    out: Vector,
    gain: str,
    gain_shift: int,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
) -> str:
    """x over its root mean square, times gain; gain is the label of int8s."""
    check_size(x.size)
    return lines(
        f"{name}:",
        _reciprocal(name, x, pre_shift, root_shift, reciprocal_bits),
        _each(f"{name}_scale", x.size, _scale(x, out, gain, gain_shift, None)),
        "    rts",
    )


def layer_norm(
    name: str,
    x: Vector,
    out: Vector,
    centred: Vector,
    gain: str,
    gain_shift: int,
    bias: Vector,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
) -> str:
    """rms_norm of x less its floored mean, plus a bias.

    centred  an int16 vector of scratch, for the differences
    """
    check_size(x.size)
    total = lines(
        f"""\
    clc
    lda {x.low},x
    adc correction
    sta correction
    lda {x.high},x
    eor #$80            ; x + 32768: no signs
    adc correction+1
    sta correction+1
    bcc *+4             ;@ p=0.5
    inc correction+2"""
    )
    # floor(sum x / n) = floor(sum (x + 32768) / n) - 32768
    difference = f"""\
    sec
    lda {x.low},x
    sbc factor_a
    sta total
    lda {x.high},x
    sbc factor_a+1
    sta total+1
    bvc _fits           ;@ p=0.99
    lda #$7f            ; the carry is set where the difference is too low
    adc #0
    sta total+1
    eor #$80
    sta total
_fits:
    lda total
    sta {centred.low},x
    lda total+1
    sta {centred.high},x"""
    return lines(
        f"{name}:",
        clear("correction", 4),
        _each(f"{name}_sum", x.size, total),
        f"{name}_mean:",
        copy("total", "correction", 4),
        divide_by(x.size),
        "    lda total\n    sta factor_a\n    lda total+1\n    eor #$80\n    sta factor_a+1",
        _each(f"{name}_centre", x.size, difference),
        _reciprocal(name, centred, pre_shift, root_shift, reciprocal_bits),
        _each(f"{name}_scale", x.size, _scale(centred, out, gain, gain_shift, bias)),
        "    rts",
    )
