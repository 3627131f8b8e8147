"""matvec: rows of int8 weights times a vector of words, by MUL and 32-bit sums.

A row in memory is what R4 meets as it moves on: the shift, where rows differ in it, the bias, where
rows differ in it, the weights, and a byte to make that even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.pdp11.arithmetic import terms
from anachron.kernels.pdp11.instructions import Cpu, loop_back, saturate, sign_extend


@dataclass(frozen=True)
class Rows:
    """How the rows of one matrix are stored.

    bias   "long": two words a row, high first; "word": one; or "" where all have `start`
    shift  the amount of all rows, or -1: a negative amount in a word a row
    """

    n_rows: int
    n_columns: int
    bias: str
    start: int
    shift: int

    @property
    def headed(self) -> bool:
        return bool(self.bias) or self.shift < 0

    @property
    def padded(self) -> bool:
        """A byte follows each row, so that the next one's head is at an even address."""
        return self.headed and self.n_columns % 2 == 1

    @property
    def size(self) -> int:
        head = {"": 0, "word": 2, "long": 4}[self.bias] + (2 if self.shift < 0 else 0)
        return self.n_rows * (head + self.n_columns + self.padded)


def find_rows(weight: Array, bias: Array, shift: Array) -> Rows:
    """The smallest storage for a matrix."""
    n_rows, n_columns = weight.shape
    first = int(bias[0])
    if (bias == first).all():
        kind = ""
    else:
        kind = "word" if np.abs(bias.astype(np.int64)).max() < 1 << 15 else "long"
    uniform = int(shift[0]) if (shift == shift[0]).all() else -1
    return Rows(n_rows, n_columns, kind, 0 if kind else first, uniform)


def store_rows(rows: Rows, weight: Array, bias: Array, shift: Array) -> bytes:
    """The bytes of a matrix."""
    out = bytearray()
    for row, start, amount in zip(weight, bias.tolist(), shift.tolist(), strict=True):
        if rows.shift < 0:
            out += (-amount & 0xFFFF).to_bytes(2, "little")
        if rows.bias == "long":
            out += (start >> 16 & 0xFFFF).to_bytes(2, "little")
        if rows.bias:
            out += (start & 0xFFFF).to_bytes(2, "little")
        out += row.astype(np.int8).tobytes() + bytes(rows.padded)
    return bytes(out)


def matvec(
    cpu: Cpu,
    name: str,
    *,
    x: str,
    y: str,
    weight: str,
    rows: Rows,
    bits: int,
    variant: str = "straight",
) -> str:
    """y = saturate((weight . x + bias) >> shift) for every row.

    x, y     operands that give the address of the first word; weight: label of the stored rows
    variant  "straight": the sum of products stands here, one line of code; "shared": it is called
    uses     R0 to R5
    """
    count = rows.n_columns
    products = terms(cpu, count, "MOVB") if variant == "straight" else f"JSR PC,dot.{count}"
    return f"""\
; {name}: {rows.n_rows} rows of {rows.n_columns} int8 weights times words, to int{bits}
{name}:
    MOV {y},-(SP)
    MOV #{rows.n_rows}.,-(SP)
    MOV #{weight},R4
10$:{_head(rows)}
    MOV {x},R5
    {products}
    {"INC R4" if rows.padded else ""}
    {_shift(cpu, rows)}
    {saturate(bits, 30)}
    MOV R3,@2(SP)
    ADD #2,2(SP)
    {loop_back("10$", "40$", rows.n_rows)}
    CMP (SP)+,(SP)+
    RTS PC"""


def _head(rows: Rows) -> str:
    """Take a row's shift onto the stack and its bias into R2:R3."""
    lines = ["MOV (R4)+,-(SP)"] if rows.shift < 0 else []
    match rows.bias:
        case "long":
            lines += ["MOV (R4)+,R2", "MOV (R4)+,R3"]
        case "word":
            lines += ["MOV (R4)+,R3", sign_extend("R2", "R3")]
        case _:
            lines += [_set("R2", rows.start >> 16), _set("R3", rows.start & 0xFFFF)]
    return "\n".join(lines)


def _set(register: str, word: int) -> str:
    return f"MOV #{word & 0xFFFF:o},{register}" if word else f"CLR {register}"


def _shift(cpu: Cpu, rows: Rows) -> str:
    if rows.shift >= 0:
        return cpu.shift_right_long(rows.shift)
    if cpu.multiplies:
        return "ASHC (SP)+,R2"
    return """\
    TST (SP)
    BEQ 25$         ;@ p=usual(no_shift,0.01)
20$: ASR R2
    ROR R3
    INC (SP)
    BNE 20$         ;@ times usual(least_shift,0)..usual(most_shift,31) ~usual(shift,8)
25$: TST (SP)+"""
