"""What one machine does in one instruction and another in several: a Cpu -> lines of MACRO-11.

The 11/34A multiplies (MUL, DIV, ASH, ASHC, SOB: the extended instruction set); the 11/20 has only
shifts and sums, and calls `multiply` in arithmetic.py.  Kernels ask a Cpu for these lines and are
otherwise the same text on both.  SXT and XOR, which some machines lack, are never used.

Registers: every product is in R0 (high) and R1 (low).
Source: PDP-11/04/34/45/55/60 processor handbook, 1976, chapter 4.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cpu:
    """A PDP-11 with or without the extended instruction set."""

    multiplies: bool = True

    def multiply(self, source: str) -> str:
        """R0:R1 = R0 * source, signed."""
        if self.multiplies:
            return f"MUL {source},R0"
        return f"MOV {source},-(SP)\nJSR PC,multiply"

    def count(self, register: str, label: str, times: int | str) -> str:
        """Decrement a register and go back to a label while it is not zero."""
        if self.multiplies:
            return f"SOB {register},{label} ;@ times {times}"
        return f"DEC {register}\nBNE {label} ;@ times {times}"

    def scale(self, factor: int) -> str:
        """R1 = R0 * factor, modulo 2**16; R0 is kept."""
        if self.multiplies and factor & (factor - 1):
            return f"MOV R0,R1\nMUL #{factor}.,R1"
        lines = ["MOV R0,R1"]
        for bit in f"{factor:b}"[1:]:
            lines += ["ASL R1", "ADD R0,R1"] if bit == "1" else ["ASL R1"]
        return "\n".join(lines)

    def shift_left(self, amount: int, register: str = "R0") -> str:
        """register <<= amount, 0 .. 15."""
        if self.multiplies and amount > 2:
            return f"ASH #{amount}.,{register}"
        if amount >= 8:
            rest = ["ASL " + register] * (amount - 8)
            return "\n".join([f"SWAB {register}", f"CLRB {register}", *rest])
        return "\n".join(["ASL " + register] * amount)

    def shift_right(self, amount: int, register: str = "R0") -> str:
        """register >>= amount, flooring, 0 .. 15."""
        if self.multiplies and amount > 1:
            return f"ASH #-{amount}.,{register}"
        if amount >= 8:
            rest = ["ASR " + register] * (amount - 8)
            return "\n".join([f"SWAB {register}", f"MOVB {register},{register}", *rest])
        return "\n".join(["ASR " + register] * amount)

    def shift_right_long(self, amount: int, high: str = "R2", low: str = "R3") -> str:
        """high:low >>= amount, flooring, 0 .. 31."""
        pair = [f"ASR {high}", f"ROR {low}"]
        if self.multiplies and amount > 1:
            return f"ASHC #-{amount}.,{high}"
        if amount >= 16:
            down = [f"MOV {high},{low}", sign_extend(high, low)]
            return "\n".join(down + ["ASR " + low] * (amount - 16))
        if amount >= 8:
            bytes_down = [f"CLRB {low}", f"BISB {high},{low}", f"SWAB {low}"]
            bytes_down += [f"SWAB {high}", f"MOVB {high},{high}"]
            return "\n".join(bytes_down + pair * (amount - 8))
        return "\n".join(pair * amount)

    def shift_left_long(self, amount: int, high: str = "R2", low: str = "R3") -> str:
        """high:low <<= amount."""
        if self.multiplies and amount > 1:
            return f"ASHC #{amount}.,{high}"
        return "\n".join([f"ASL {low}", f"ROL {high}"] * amount)


def sign_extend(high: str, low: str) -> str:
    """high = -1 or 0, as low is negative or not (MOV leaves the carry alone)."""
    return f"MOV {low},{high}\nASL {high}\nMOV #0,{high}\nSBC {high}"


def saturate(bits: int, label: int, high: str = "R2", low: str = "R3", scratch: str = "R0") -> str:
    """low = high:low clipped to a signed integer of 8 or 16 bits; uses labels label$ .. label+4$.

    high:low fits a word where high, plus the sign bit of low, is zero.
    """
    word = f"""\
    MOV {low},{scratch}
    ASL {scratch}
    ADC {high}
    BEQ {label + 1}$ ;@ p=0.99
    BLT {label}$ ;@ p=0.5
    MOV #77777,{low}
    BR {label + 1}$ ;@ always
{label}$:  MOV #100000,{low}
{label + 1}$:"""
    return word if bits == 16 else f"{word}\n{clip_byte(low, label + 2)}"


def loop_back(label: str, out: str, times: int | str, counter: str = "(SP)") -> str:
    """Decrement a counter and go back, however far, while it is not zero; defines the label out."""
    return f"DEC {counter}\nBEQ {out} ;@ times {times}\nJMP {label}\n{out}:"


def clip_byte(register: str, label: int) -> str:
    """A word clipped to -128 .. 127; uses labels label$, label+1$."""
    return f"""\
    CMP {register},#127.
    BLE {label}$ ;@ p=0.99
    MOV #127.,{register}
{label}$:  CMP {register},#-128.
    BGE {label + 1}$ ;@ p=0.99
    MOV #-128.,{register}
{label + 1}$:"""


def lay_out(text: str) -> str:
    """Lines in columns, as MACRO-11 listings have them: label, operation, operands, comment."""
    lines = []
    for raw in text.splitlines():
        if ".ASCI" in raw or " = " in raw.partition(";")[0]:
            lines.append(raw.strip())
            continue
        line, mark, comment = raw.partition(";")
        label, colon, rest = line.rpartition(":")
        words = rest.split(None, 1)
        operation = words[0] if words else ""
        operands = words[1].strip() if len(words) > 1 else ""
        if not line.strip():
            lines.append(raw.strip() if mark else "")
            continue
        label = f"{label.strip()}{colon}"
        if len(label) > 7 and operation:
            lines.append(label)
            label = ""
        body = f"{label:<8}{operation:<8}{operands}" if operation else label
        lines.append(f"{body:<31} ;{comment}".rstrip() if mark else body.rstrip())
    return "\n".join(lines) + "\n"
