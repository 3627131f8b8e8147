"""Chains of sums of products in residues, whose terms an attention says -> assembly text."""

from __future__ import annotations

from typing import NamedTuple

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import LIFT, MIDDLE, add


class Term(NamedTuple):
    """What loads Y, and where its t is: at a label's operand, or at an offset of the table."""

    load: str
    label: str = ""
    offset: int = 0


def table(modulus: int) -> str:
    return f"t{modulus}" if modulus >= MIDDLE else "row_t"


def fold() -> str:
    """A modulo the small modulus; Y is lost."""
    return "    tay\n    lda row_low,y       ;@ aligned"


def start_middle() -> str:
    """The start of the chain of 253, behind that of 255, but for its constants."""
    return lines(
        "    adc #0\n    cmp #$80            ; k, -127 .. 127\n    adc #0\n    eor #$80\n"
        f"    sta total+1         ; and {LIFT} more\n    eor #$7f\n    tay\n    lda total\n"
        "    eor #$ff\n    clc",
        add(MIDDLE, f"high_mod{MIDDLE},y     ;@ aligned"),
    )


def chain(modulus: int, terms: list[Term], most: int) -> tuple[str, int]:
    """A += t of every term; A is at most `most` before, and after."""
    text = []
    for load, label, offset in terms:
        if modulus < MIDDLE and most + modulus - 1 > 255:
            text.append(fold())
            most = modulus - 1
        most += modulus - 1
        claim = "   ;@ p=0.5" if label or offset else ""
        where = table(modulus) + (f"+{offset}" if offset else "")
        text += [load, add(modulus, f"{where},y{claim}", f"{label}:\n" if label else "")]
    return lines(*text), most
