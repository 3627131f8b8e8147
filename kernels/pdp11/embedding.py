"""embed, add: rows of a table, and sums of values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.arithmetic import saturate as saturated
from anachron.kernels.arithmetic import shift as shifted
from anachron.kernels.pdp11.instructions import Cpu, clip_byte


@dataclass(frozen=True)
class Table:
    """An embedding as it is stored: int8 where a shift to the left brings back every entry."""

    storage: str  # "bytes" or "words"
    left: int  # shift on the way
    data: bytes
    n_columns: int

    @property
    def row_bytes(self) -> int:
        return self.n_columns * (1 if self.storage == "bytes" else 2)


def store_table(table: Array, shift: int, bits: int) -> Table:
    """Shift and saturate every entry now, and keep the smallest form that gives the same."""
    wanted = saturated(shifted(table.astype(np.int64), shift), bits)
    left = max(0, min(shift, 15))
    small = wanted >> left
    if small.min() >= -128 and small.max() <= 127 and (small << left == wanted).all():
        return Table("bytes", left, small.astype(np.int8).tobytes(), table.shape[1])
    return Table("words", 0, wanted.astype("<i2").tobytes(), table.shape[1])


def embed(cpu: Cpu, name: str, *, index: str, y: str, table: str, form: Table) -> str:
    """y = the row of a table at the index.

    index, y  operands: the word of the index, the address of y;  uses R0 to R4
    """
    move = "MOVB" if form.storage == "bytes" else "MOV"
    if form.left:
        copy = f"{move} (R4)+,R0\n{cpu.shift_left(form.left)}\nMOV R0,(R3)+"
    elif move == "MOVB":
        copy = "MOVB (R4)+,R0\nMOV R0,(R3)+"
    else:
        copy = "MOV (R4)+,(R3)+"
    return f"""\
; {name}: a row of {form.n_columns} {form.storage}, times {1 << form.left}
{name}:
    MOV {index},R0
    {cpu.scale(form.row_bytes)}
    ADD #{table},R1
    MOV R1,R4
    MOV {y},R3
    MOV #{form.n_columns}.,R2
10$: {copy}
    {cpu.count("R2", "10$", form.n_columns)}
    RTS PC"""


def add(cpu: Cpu, name: str, *, a: str, b: str, y: str, size: int, bits: int) -> str:
    """y = a + b, saturated; uses R0, R2 to R5."""
    return f"""\
; {name}: {size} sums, saturated to int{bits}
{name}:
    MOV {a},R4
    MOV {b},R5
    MOV {y},R3
    MOV #{size}.,R2
10$: MOV (R4)+,R0
    ADD (R5)+,R0
    BVC 30$         ;@ p=0.99
    BPL 20$         ;@ p=0.5
    MOV #77777,R0   ; past the top, and so it looks negative
    BR 30$          ;@ always
20$: MOV #100000,R0
30$: {clip_byte("R0", 40) if bits == 8 else ""}
    MOV R0,(R3)+
    {cpu.count("R2", "10$", size)}
    RTS PC"""
