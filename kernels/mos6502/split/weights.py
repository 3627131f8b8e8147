"""From scores to weights, in an attention that keeps two bytes a number -> assembly text.

What bounds it: a weight about 100 cycles, of which the sums of t of the mixing's own side are 40.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import MIDDLE, add, reduce_middle
from anachron.kernels.mos6502.split.chains import table
from anachron.kernels.mos6502.split.shape import Mixer


def ladder(mixer: Mixer, way: str, step: str) -> str:
    """A step so many times "down" as bits are left, or "up" as they lack to 8."""
    name, left = mixer.name, mixer.left
    rungs = {n if way == "down" else 8 - n: n for n in left}
    text = []
    if len(left) > 1:
        text.append(f"{name}_{way}:\n    jmp {name}_{way}_{left[0]}  ;@ goes {{{name}_{way}_way}}")
    for steps in range(max(rungs), 0, -1):
        if len(left) > 1 and steps in rungs:
            text.append(f"{name}_{way}_{rungs[steps]}:")
        text.append(step)
    if len(left) > 1 and 0 in rungs:
        text.append(f"{name}_{way}_{rungs[0]}:")
    return lines(*text)


def weights(mixer: Mixer) -> str:
    """weights of the rows, their sum in divisor, and the operands of the mixing chains."""
    name, entries, third = mixer.name, mixer.entries, mixer.shape.third
    near = ladder(mixer, "up", "    asl term\n    rol") + "\n    tay"
    if any(mixer.short(left) for left in mixer.left):
        near += f"\n    cpy #{entries}\n    bcs {name}_far         ;@ p=0.1"
    far = mixer.far(mixer.left[0])
    reach = (
        f"{name}_reach:\n    cmp #{far}\n    bcs {name}_far         ;@ p=0.02"
        if far < 256
        else ""
    )
    return lines(
        f"""\
    lda #0
    sta divisor
    sta divisor+1
    sta sum_a
    sta sum_a+1
    sta sum_b
    sta sum_b+1
    ldx {name}_seen
    bit first
    bpl {name}_weight    ;@ p={mixer.longer}
    lda largest
{name}_mask:
    ora #{mixer.mask(mixer.left[0])}
    sta largest
{name}_weight:
    sec
    lda largest
    sbc {name}_scores_low,x     ;@ p=0.1
    sta term
    lda largest+1
    sbc {name}_scores_high,x    ;@ p=0.1
    bit first
    bpl {name}_shifted   ;@ p={mixer.longer}""",
        reach,
        near,
        f"""\
    jmp {name}_near
{name}_shifted:
    tay
    bne {name}_far       ;@ p=0.1
    ldy term
{f"    cpy #{entries}" if entries < 256 else ""}
{f"    bcc {name}_near      ;@ p=0.9" if entries < 256 else f"    jmp {name}_near"}
{name}_far:
    ldy #{entries - 1}
{name}_near:
    lda {mixer.table},y     ;@ p=0.1
    sta {name}_weights,x
    tay
    clc
    adc divisor
    sta divisor
    bcc *+5             ;@ p=0.8
    inc divisor+1
    clc
    lda t256,y          ;@ aligned
    adc sum_a
    sta sum_a
    clc
    lda t255,y          ;@ aligned
    adc sum_a+1
    adc #0
    sta sum_a+1
{_add_own(third)}
    dex
    bpl {name}_weight    ;@ times seen
    lda #0
    sec
    sbc sum_a
    sta {name}_own_256+1
    lda sum_a+1
    eor #$ff
    sta {name}_own_255+1
{_negate_own(name, third)}""",
    )


def _add_own(third: int) -> str:
    """A weight's t to the sum of the third modulus."""
    if third == MIDDLE:
        return lines(
            f"    lda {table(third)},y          ;@ aligned",
            "    clc\n" + add(third, "sum_b"),
            "    sta sum_b",
        )
    return """\
    clc
    lda row_t,y         ;@ aligned
    adc sum_b
    sta sum_b
    bcc *+4             ;@ p=0.9
    inc sum_b+1"""


def _negate_own(name: str, third: int) -> str:
    """That sum, negative, to where the mixing adds it."""
    if third == MIDDLE:
        return f"    lda sum_b\n    eor #$ff\n{reduce_middle()}\n    sta {name}_own_{third}+1"
    return f"""\
    ldx sum_b
    ldy sum_b+1
    lda row_low,x       ;@ aligned
    clc
    adc row_high,y      ;@ aligned
    tay
    lda row_low,y       ;@ aligned
    eor #$ff
    sec
    adc #{third}
    sta {name}_own_{third}+1"""
