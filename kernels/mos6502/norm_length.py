"""How long a vector is, by tables, and the vector less its mean -> assembly text.

    the sum of squares of |x >> pre|, h its upper bits and l 7 lower ones:
    (128 h + l)**2 = 16384 h*h + 256 h*l + l*l; with t(n) = n(n + 1)/2, by table,
    n*n = 2 t(n) - n and h*l = t(h + l) - t(h) - t(l)

What bounds it: three sums of two bytes, 180 cycles an element; the root and the division of
arithmetic.py, 2,500.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502 import norm
from anachron.kernels.mos6502.instructions import clear, copy, lines

# Of t(l), t(h + l) and t(h); of l and h.
SUMS = ("sum_a", "sum_b", "sum_c", "count_a", "count_b")


@dataclass(frozen=True)
class Shape:
    """What the routine that finds a reciprocal is made for."""

    size: int
    pre: int
    up: int

    @property
    def name(self) -> str:
        return f"reciprocal_{self.size}_{self.pre}_{self.up}"


def reciprocal(shape: Shape) -> str:
    """`<name>`: total = the reciprocal of x at source_low, source_high; query_low: the dividend."""
    size, name = shape.size, shape.name
    high = "\n".join(["    lsr\n    ror scratch"] * (shape.pre - 1))

    def add_triangle(register: str, total: str) -> str:
        return f"""\
    clc
    lda products_low+256,{register}  ;@ aligned
    adc {total}
    sta {total}
    lda products_high+256,{register} ;@ aligned
    adc {total}+1
    sta {total}+1
    bcc *+4             ;@ p=0.9
    inc {total}+2"""

    def add_own(load: str, total: str) -> str:
        return f"""\
    {load}
    clc
    adc {total}
    sta {total}
    bcc *+4             ;@ p=0.8
    inc {total}+1"""

    def square(total: str, own: str) -> str:
        """total = twice total less own: the sum of squares of those whose t it held."""
        return lines(
            f"    asl {total}\n    rol {total}+1\n    rol {total}+2\n    sec",
            *(
                f"    lda {total}+{i}\n    sbc {taken}\n    sta {total}+{i}"
                for i, taken in enumerate((own, f"{own}+1", "#0"))
            ),
        )

    return lines(
        f"; {name}: the reciprocal root mean square of {size} words; uses everything\n{name}:",
        *(clear(total, 3) for total in SUMS),
        f"""\
    ldy #{size - 1}
_element:
    sty index
    lda (source_low),y  ;@ p=0.1
    sta scratch
    lda (source_high),y ;@ p=0.1
    bmi _negative       ;@ p=0.5
{high}
    tax                 ; h
    lda scratch
    lsr                 ; l
    bpl _squares        ;@ always
_negative:              ; 1 more than what is left of 65535 - x
    eor #$ff
    pha
    lda scratch
    eor #$ff
    sta scratch
    pla
{high}
    tax
    lda scratch
    lsr
    clc
    adc #1
_squares:
    sta scratch
    tay""",
        add_triangle("y", "sum_a"),
        add_triangle("x", "sum_c"),
        add_own("tya", "count_a"),
        add_own("txa", "count_b"),
        "    txa\n    clc\n    adc scratch\n    tay",
        add_triangle("y", "sum_b"),
        f"""\
    ldy index
    dey
    bmi *+5             ;@ times {size}
    jmp _element
    sec                 ; h l: t(h + l) - t(l) - t(h)
    lda sum_b
    sbc sum_a
    sta sum_b
    lda sum_b+1
    sbc sum_a+1
    sta sum_b+1
    lda sum_b+2
    sbc sum_a+2
    sta sum_b+2
    sec
    lda sum_b
    sbc sum_c
    sta correction+1
    lda sum_b+1
    sbc sum_c+1
    sta correction+2
    lda sum_b+2
    sbc sum_c+2
    sta correction+3""",
        square("sum_a", "count_a"),
        square("sum_c", "count_b"),
        """\
    lda sum_a
    sta correction
    clc
    lda correction+1
    adc sum_a+1
    sta correction+1
    lda correction+2
    adc sum_a+2
    sta correction+2
    bcc *+4             ;@ p=0.99
    inc correction+3
    lsr sum_c+2         ; 16384 c: four times less, two bytes up
    ror sum_c+1
    ror sum_c
    lda #0
    ror
    lsr sum_c+2
    ror sum_c+1
    ror sum_c
    ror
    clc
    adc correction+1
    sta correction+1
    lda sum_c
    adc correction+2
    sta correction+2
    lda sum_c+1
    adc correction+3
    sta correction+3""",
        norm.root_of_mean(size, shape.up),
        copy("total", "query_low", 4),
        "    jsr divide\n    jsr saturate_16_4\n    rts",
    )


def centre(size: int) -> str:
    """`centre_<size>`: x at source_low, source_high, less its floored mean, to `centred`."""
    return lines(
        f"; centre_{size}: {size} words less their mean; uses everything\ncentre_{size}:",
        clear("correction", 4),
        f"""\
    ldy #{size - 1}
_sum:
    clc
    lda (source_low),y  ;@ p=0.1
    adc correction
    sta correction
    lda (source_high),y ;@ p=0.1
    eor #$80            ; x + 32768: no signs
    adc correction+1
    sta correction+1
    bcc *+4             ;@ p=0.5
    inc correction+2
    dey
    bpl _sum            ;@ times {size}""",
        copy("total", "correction", 4),
        norm.divide_by(size),
        f"""\
    lda total
    sta factor_a
    lda total+1
    eor #$80
    sta factor_a+1
    ldy #{size - 1}
_element:
    sec
    lda (source_low),y  ;@ p=0.1
    sbc factor_a
    tax
    lda (source_high),y ;@ p=0.1
    sbc factor_a+1
    bvc _fits           ;@ p=0.99
    lda #$7f            ; the carry is set where the difference is too low
    adc #0
    pha
    eor #$80
    tax
    pla
_fits:
    sta centred+{size},y
    txa
    sta centred,y
    dey
    bpl _element        ;@ times {size}
    rts""",
    )
