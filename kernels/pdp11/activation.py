"""relu, lookup, multiply: what happens to each element by itself."""

from __future__ import annotations

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.pdp11.instructions import Cpu, clip_byte, loop_back, saturate


def relu(cpu: Cpu, name: str, *, x: str, y: str, size: int, bits: int) -> str:
    """y = max(0, x), saturated; uses R0, R2 to R4."""
    clip = "CMP R0,#127.\nBLE 20$ ;@ p=0.99\nMOV #127.,R0" if bits == 8 else ""
    return f"""\
; {name}: {size} words, none below 0
{name}:
    MOV {x},R4
    MOV {y},R3
    MOV #{size}.,R2
10$: MOV (R4)+,R0
    BPL 15$         ;@ p=usual(positive,0.5)
    CLR R0
15$: {clip}
20$: MOV R0,(R3)+
    {cpu.count("R2", "10$", size)}
    RTS PC"""


def multiply(
    cpu: Cpu, name: str, *, a: str, b: str, y: str, size: int, shift: int, bits: int
) -> str:
    """y = saturate((a * b) >> shift); uses R0 to R5.  shift 0 or more."""
    return f"""\
; {name}: {size} products >> {shift}, to int{bits}
{name}:
    MOV {a},R4
    MOV {b},R5
    MOV {y},R3
    MOV #{size}.,-(SP)
10$: MOV (R4)+,R0
    {cpu.multiply("(R5)+")}
    {cpu.shift_right_long(min(shift, 31), "R0", "R1")}
    {saturate(bits, 20, "R0", "R1", "R2")}
    MOV R1,(R3)+
    DEC (SP)
    BNE 10$         ;@ times {size}
    TST (SP)+
    RTS PC"""


def lookup(
    cpu: Cpu,
    name: str,
    *,
    x: str,
    y: str,
    size: int,
    table: str,
    points: Array,
    shift: int,
    tail: int,
    bits: int,
) -> str:
    """y = the table's straight lines, and x >> tail beyond them.

    table   label of the 257 words; points: the same, to see how steep the lines are
    uses    R0 to R5
    A line's rise may need 17 bits: then both ends are multiplied, and the products subtracted.
    """
    top = 128 << shift
    gentle = np.abs(np.diff(points.astype(np.int64))).max() < 1 << 15
    beyond = f"""\
    CMP R0,#{top}.
    BLT 20$         ;@ p=usual(not_above,0.9)
    {cpu.shift_right(min(tail, 15))}
    BR 50$          ;@ always"""
    below = f"""\
    CMP R0,#-{top}.
    BGE 30$         ;@ p=usual(not_below,0.9)
    MOV #-{top}.,R0"""
    return f"""\
; {name}: {size} words by 256 straight lines, to int{bits}
{name}:
    MOV {x},R4
    MOV {y},R5
    MOV #{size}.,-(SP)
10$: MOV (R4)+,R0
    {beyond if top < 1 << 15 else ""}
20$: {below if top < 1 << 15 else ""}
30$: {_line(cpu, table, shift, bool(gentle))}
50$: {clip_byte("R0", 60) if bits == 8 else ""}
    MOV R0,(R5)+
    {loop_back("10$", "90$", size)}
    TST (SP)+
    RTS PC"""


def _line(cpu: Cpu, table: str, shift: int, gentle: bool) -> str:
    """R0 = the table's line at R0; uses R1 to R3."""
    middle = f"{table}+256."
    if shift == 0:
        return f"ASL R0\nMOV {middle}(R0),R0"
    start = f"""\
    MOV R0,R3       ; R2 the byte offset of the point below, R0 the distance from it
    {cpu.shift_right(shift, "R3")}
    MOV R3,R2
    ASL R2
    BIC #{-(1 << shift) & 0xFFFF:o},R0
    BEQ 40$         ;@ p=usual(line_even,0.05)"""
    if gentle:
        return f"""{start}
    MOV {middle}+2(R2),R1
    SUB {middle}(R2),R1
    MOV R1,-(SP)
    {cpu.multiply("(SP)+")}
    {cpu.shift_right_long(shift, "R0", "R1")}
    MOV R1,R0
    BR 45$          ;@ always
40$: CLR R0
45$: ADD {middle}(R2),R0"""
    return f"""{start}
    MOV R0,-(SP)
    {cpu.multiply(f"{middle}+2(R2)")}
    MOV R0,R3
    MOV (SP)+,R0
    MOV R1,-(SP)
    {cpu.multiply(f"{middle}(R2)")}
    SUB R1,(SP)
    SBC R3
    SUB R0,R3
    MOV R3,R0
    MOV (SP)+,R1
    {cpu.shift_right_long(shift, "R0", "R1")}
    MOV R1,R0
    BR 45$          ;@ always
40$: CLR R0
45$: ADD {middle}(R2),R0"""
