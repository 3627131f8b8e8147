"""The chains of sums of products in residues, the last of them modulo a small number."""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines


def chain(modulus: int, small: int, terms: list[tuple[str, str]], most: int) -> tuple[str, int]:
    """A += every term, (what loads Y, what adds); A is at most `most` before, and after.

    The carry is clear before, but for modulus 256, which clears it.
    """
    text = []
    for load, add in terms:
        if modulus == small and most + small - 1 > 255:
            text.append(fold(small))
            most = small - 1
        text += [load, "    clc" if modulus == 256 else "", add]
        most += small - 1
    return lines(*text), most


def fold(small: int) -> str:
    """A modulo the fourth modulus."""
    return f"    tay\n    lda low_mod{small},y           ;@ aligned"


def start(m: int, constant: str, own: str) -> str:
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
        f"    sec                 ; stays: less_top has {m} - 1 too much\n"
        f"    ldy total\n    sbc low_mod{m},y    ;@ aligned\n    ldy total+1\n"
        f"    adc less_middle{m},y ;@ aligned\n    adc {constant}\n{own}:\n    adc #0"
    )


def join(small: int, low: str = "term", high: str = "term+1") -> str:
    """low, high, A = T >> 8 of four chains, of which the last has just ended; X, term are lost."""
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
    sta {low}
    lda term+1
    adc turn_middle,y   ;@ aligned
    sta {high}
    lda #0
    adc turn_high,y     ;@ aligned"""


def negate(m: int, small: int, most: int) -> str:
    """A = less A, of a chain that has just ended; decimal mode ends."""
    match m:
        case 256:
            return "    eor #$ff\n    clc\n    adc #1"
        case 255:
            return "    adc #0\n    eor #$ff"
        case 99:
            return (
                "    adc #0\n    cld\n    sta scratch+1\n    lda #$99\n    sec\n    sbc scratch+1"
            )
    reduce = fold(small) if most >= small else ""
    return lines(reduce, f"    eor #$ff\n    sec\n    adc #{small}")
