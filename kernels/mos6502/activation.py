"""relu, lookup, multiply: what happens to each element by itself -> assembly text."""

from __future__ import annotations

from collections.abc import Callable

from anachron.kernels.mos6502.instructions import (
    Vector,
    each,
    lines,
    load,
    negate,
    shift_right,
    store_saturated,
)


def relu(name: str, x: Vector, out: Vector, positive: float = 0.5) -> str:
    """max(0, x); out may be x; positive: the share of x that is, to predict the time."""

    def element(start: int) -> str:
        a, z = x.at(start), out.at(start)
        if x.bits == out.bits == 16:
            return f"""\
    ldy {a.low},x
    lda {a.high},x
    bpl _keep           ;@ p={positive:.3f}
    ldy #0
    tya
_keep:
    sta {z.high},x
    tya
    sta {z.low},x"""
        if x.bits == 8:
            high = f"\n    lda #0\n    sta {z.high},x" if out.bits == 16 else ""
            return (
                f"    lda {a.low},x\n    bpl *+4             ;@ p={positive:.3f}\n    lda #0\n"
                f"    sta {z.low},x{high}"
            )
        return f"""\
    lda {a.high},x
    bpl _positive       ;@ p={positive:.3f}
    lda #0
    beq _keep           ;@ always
_positive:
    bne _large          ;@ p=0.01
    lda {a.low},x
    bpl _keep           ;@ p=0.99
_large:
    lda #$7f
_keep:
    sta {z.low},x"""

    return lines(f"{name}:", each(f"{name}_relu", out.size, element), "    rts")


def lookup(name: str, x: Vector, out: Vector, table: Vector, shift: int, tail: int) -> str:
    """A table of 257 points with straight lines between them, and x >> tail above it; x is int16.

    A step of the table is signed and has 17 bits: its size is multiplied, its sign put back.
    """

    def element(start: int) -> str:
        a, z = x.at(start), out.at(start)
        return lines(
            load(a, "factor_b"),
            "    lda factor_b\n    sta total\n    lda factor_b+1\n    sta total+1",
            shift_right("total", 2, shift),
            f"""\
    lda total+1         ; the place: inside the table where it is an int8
    beq _not_negative   ;@ p=0.5
    cmp #$ff
    bne _outside        ;@ p=0.01
    lda total
    bmi _inside         ;@ p=0.99
    bpl _below          ;@ always
_not_negative:
    lda total
    bpl _inside         ;@ p=0.99
    jmp _above
_outside:
    bit total+1
    bmi _below          ;@ p=0.5
    jmp _above
_below:
    lda #0              ; the place -128, the fraction 0
    sta factor_b
    lda #$80
_inside:
    eor #$80
    tay
    sty index
    lda factor_b
    and #{(1 << shift) - 1}
    sta factor_b
    sec
    lda {table.low}+1,y
    sbc {table.low},y
    sta factor_a
    lda {table.high}+1,y
    sbc {table.high},y
    sta factor_a+1
    bvc *+4             ;@ p=0.99
    eor #$80            ; the sign that was meant
    sta scratch+2
    bpl _rises          ;@ p=usual(rises,0.5)
{negate("factor_a", 2)}
_rises:
    jsr multiply_byte
    bit scratch+2
    bpl _sum            ;@ p=usual(rises,0.5)""",
            negate("total", 4),
            "_sum:",
            shift_right("total", 4, shift),
            f"""\
    ldy index
    lda {table.high},y
    ora #$7f            ; the sign of the table's entry
    bmi *+4             ;@ p=usual(starts_below,0.5)
    lda #0
    sta scratch+2
    clc
    lda total
    adc {table.low},y
    sta total
    lda total+1
    adc {table.high},y
    sta total+1
    lda total+2
    adc scratch+2
    sta total+2
    lda total+3
    adc scratch+2
    sta total+3
    jmp _store
_above:
    lda factor_b
    sta total
    lda factor_b+1
    sta total+1""",
            shift_right("total", 2, tail),
            "    lda #0\n    sta total+2\n    sta total+3\n_store:",
            store_saturated(z, 4),
        )

    return lines(f"{name}:", _each_far(f"{name}_lookup", out.size, element), "    rts")


def _each_far(name: str, size: int, body: Callable[[int], str]) -> str:
    """`each` for bodies too long for a branch back."""
    text = []
    for start in range(0, size, 256):
        n = min(256, size - start)
        end = "" if n == 256 else f"    cpx #{n}\n"
        text.append(
            f"{name}_{start}:\n    ldx #0\n_element:\n{body(start)}\n    inx\n{end}"
            f"    beq _done           ;@ times {n}\n    jmp _element\n_done:"
        )
    return lines(*text)


def multiply(name: str, a: Vector, b: Vector, out: Vector, shift: int) -> str:
    """(a * b) >> shift, saturated; out may be a or b."""

    def element(start: int) -> str:
        return lines(
            load(a.at(start), "factor_a"),
            load(b.at(start), "factor_b"),
            "    jsr multiply_signed",
            shift_right("total", 4, shift),
            store_saturated(out.at(start), 4),
        )

    return lines(f"{name}:", _each_far(f"{name}_multiply", out.size, element), "    rts")
