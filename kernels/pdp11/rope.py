"""rope: pairs turned by their position's angle."""

from __future__ import annotations

from anachron.kernels.pdp11.instructions import Cpu, loop_back, saturate


def rope(
    cpu: Cpu,
    name: str,
    *,
    x: str,
    y: str,
    turns: str,
    heads: int,
    half: int,
    interleaved: bool,
    bits: int,
) -> str:
    """y = each pair of x turned by its position's angle.

    turns   label of the rows of words cosine, sine, cosine, sine, ...: half pairs a position
    uses    R0 to R5
    """
    apart, step, skip = (2, 4, 0) if interleaved else (2 * half, 2, 2 * half)

    def turned(first: int, second: int, sign: str) -> str:
        """R3 = (x[first] * cosine +- x[second] * sine + 2**13) >> 14, saturated."""
        carry, high = ("SBC", "SUB") if sign == "SUB" else ("ADC", "ADD")
        return f"""\
    MOV {first}.(R5),R0
    {cpu.multiply("(R4)")}
    MOV R0,R2
    MOV R1,R3
    MOV {second}.(R5),R0
    {cpu.multiply("2(R4)")}
    {sign} R1,R3
    {carry} R2
    {high} R0,R2
    ADD #{1 << 13:o},R3
    ADC R2
    {cpu.shift_right_long(14)}"""

    return f"""\
; {name}: {heads} heads of {half} pairs, each turned by its angle
{name}:
    MOV position,R0
    {cpu.scale(4 * half)}
    ADD #{turns},R1
    MOV R1,-(SP)
    MOV {x},R5
    MOV {y},R1
    MOV R1,-(SP)
    MOV #{heads}.,-(SP)
10$: MOV 4(SP),R4
    MOV #{half}.,-(SP)
20$: {turned(0, apart, "SUB")}
    {saturate(bits, 40)}
    MOV R3,@4(SP)
    {turned(apart, 0, "ADD")}
    {saturate(bits, 50)}
    ADD #{apart}.,4(SP)
    MOV R3,@4(SP)
    ADD #{step - apart}.,4(SP)
    ADD #{step}.,R5
    ADD #4,R4
    {loop_back("20$", "60$", half)}
    TST (SP)+
    {f"ADD #{skip}.,R5" if skip else ""}
    {f"ADD #{skip}.,2(SP)" if skip else ""}
    {loop_back("10$", "70$", heads)}
    ADD #6,SP
    RTS PC"""
