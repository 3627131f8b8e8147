"""How a row of matvec.py ends: chains into a sum, shifted, saturated -> assembly text.

A sum's bytes are total, total+1, ... and A, its upper one.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.streamed.chains import join

BYTES = {2: 2, 3: 3, 4: 4}  # of a sum, by chains
SIGN = "    asl\n    lda #0\n    adc #$ff\n    eor #$ff"  # of A


@dataclass(frozen=True, order=True)
class End:
    """chains, shift; bits of the result; saturates: it may leave them."""

    chains: int
    shift: int
    bits: int
    saturates: bool

    @property
    def name(self) -> str:
        return f"{self.chains}_{self.shift}_{self.bits}" + ("s" if self.saturates else "")


def end(e: End, label: str, small: int, name: str) -> str:
    """The end at a label; it goes on at <name>_store_<bits> with A, or A and Y (low)."""
    text = [f"{label}:", _join(e.chains, small)]
    lower = [f"total+{i}" for i in range(BYTES[e.chains] - 1)]  # without A
    shift = e.shift
    while shift >= 8 and lower:
        lower = lower[1:]
        shift -= 8
    if shift > 4 and lower:
        up = 8 - shift
        text.append(f"    sta scratch\n{SIGN}")
        lower.append("scratch")
        step = [f"    asl {lower[0]}", *(f"    rol {byte}" for byte in lower[1:]), "    rol"]
        text += step * up
        lower = lower[1:]
    else:
        text += ["    cmp #$80\n    ror", *(f"    ror {byte}" for byte in reversed(lower))] * shift
    need = e.bits // 8
    while len(lower) + 1 < need:  # a short sum: its sign is its upper byte
        text.append(f"    sta scratch+1\n{SIGN}")
        lower.append("scratch+1")
    if len(lower) + 1 > need:
        text.append(_clip(e, label, lower))
    if e.bits == 16:
        text.append(f"    ldy {lower[0]}")
    return lines(*text, f"    jmp {name}_store_{e.bits}")


def _clip(e: End, label: str, lower: list[str]) -> str:
    """A = the byte of the result that is not in Y later; what is above it must be its sign."""
    top = lower[e.bits // 8 - 1]
    if not e.saturates:
        return f"    lda {top}"
    above = [*lower[e.bits // 8 :], "scratch+1"]
    # Where a number's sign, carried into the bytes above, makes all of them 0, it fits.
    text = [f"    sta scratch+1\n    lda {top}\n    asl"]
    text += [f"    lda {byte}\n    adc #0\n    bne {label}_clip  ;@ p=0.01" for byte in above]
    text.append(f"    lda {top}\n    jmp {label}_fits\n{label}_clip:\n    lda scratch+1\n    asl")
    if e.bits == 16:
        text.append(f"    lda #$ff\n    adc #0\n    sta {lower[0]}")
    text.append(f"    lda #$7f\n    adc #0\n{label}_fits:")
    return lines(*text)


def _join(chains: int, small: int) -> str:
    """Of the last chain's end, A, the sum's bytes."""
    if chains == 2:
        return "    adc #0\n    cmp #$80\n    adc #0"
    if chains == 3:
        return (
            "    adc #0\n    cld\n    tay\n    clc\n    lda total+1\n"
            "    adc wraps_low,y  ;@ aligned\n    sta total+1\n"
            "    lda wraps_high,y ;@ aligned\n    adc #0"
        )
    return join(small, "total+1", "total+2")
