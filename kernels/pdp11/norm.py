"""rms_norm, layer_norm: a vector brought to unit root mean square, then scaled by its gains.

Everything up to the reciprocal of the root is done once a vector, in unsigned 32 bits.
"""

from __future__ import annotations

from anachron.kernels.pdp11.instructions import Cpu, saturate
from anachron.kernels.reference.norm import LARGEST_RECIPROCAL

WIDEST = 1 << 32  # sums, means and dividends stay below


def rms_norm(
    cpu: Cpu,
    name: str,
    *,
    x: str,
    y: str,
    gain: str,
    size: int,
    gain_shift: int,
    pre_shift: int,
    root_shift: int,
    reciprocal_bits: int,
    bits: int,
    bias: str = "",
) -> str:
    """y = saturate((((x * reciprocal) >> 15) * gain) >> gain_shift), plus bias where there is one.

    x, y   operands: the address of the first word;  gain: label of bytes;  bias: label of words
    uses   R0 to R5 and the word norm.inverse
    Raises ValueError where the sum of squares or the shifted mean may leave 32 bits.
    """
    largest = 1 << 2 * (15 - pre_shift)
    if largest * size >= WIDEST or (largest << root_shift) > WIDEST:
        raise ValueError(
            f"{name}: the sum of {size} squares needs more than 32 bits: make pre_shift larger "
            f"than {pre_shift} or root_shift smaller than {root_shift}"
        )
    return f"""\
; {name}: {size} words over their root mean square, times int8 gains >> {gain_shift}, to int{bits}
{name}:
    MOV {x},R5
    MOV #{size}.,R4
    CLR R2
    CLR R3
10$: MOV (R5)+,R0
    {cpu.shift_right(pre_shift)}
    {cpu.multiply("R0")}
    ADD R1,R3
    ADC R2
    ADD R0,R2
    {cpu.count("R4", "10$", size)}
    {_mean(cpu, size)}
    TST R2
    BNE 15$         ;@ p=0.1
    TST R3
    BNE 15$         ;@ p=0.9
    INC R3
15$: {cpu.shift_left_long(root_shift)}
    JSR PC,isqrt
    {_reciprocal(cpu, pre_shift, root_shift, reciprocal_bits)}
    MOV {y},-(SP)
    MOV {x},R5
    MOV #{gain},R4
    {f"MOV #{bias},-(SP)" if bias else ""}
    MOV #{size}.,-(SP)
30$: MOV (R5)+,R0
    {cpu.multiply("norm.inverse")}
    ASL R1          ; >> 15 is << 1, seen from the high word
    ROL R0
    MOVB (R4)+,R1
    {cpu.multiply("R1")}
    {_add_bias(cpu, gain_shift) if bias else cpu.shift_right_long(gain_shift, "R0", "R1")}
    {saturate(bits, 40, "R0", "R1", "R2")}
    MOV R1,@{4 if bias else 2}(SP)
    ADD #2,{4 if bias else 2}(SP)
    DEC (SP)
    BNE 30$         ;@ times {size}
    ADD #{6 if bias else 4},SP
    RTS PC"""


def layer_norm(
    cpu: Cpu, name: str, *, x: str, y: str, bias: str, size: int, centred: str, **rest
) -> str:
    """rms_norm of x less its floored mean, plus a bias; centred is a label of `size` words."""
    return f"""\
; {name}: the mean of {size} words taken away, then as an RMS norm
{name}:
    MOV {x},R5
    MOV #{size}.,R4
    CLR R2
    CLR R3
10$: MOV (R5)+,R1
    MOV R1,R0
    ASL R0          ; the sign, into the high word of the sum
    SBC R2
    ADD R1,R3
    ADC R2
    {cpu.count("R4", "10$", size)}
    CLR -(SP)       ; floor: complement, divide, complement
    TST R2
    BPL 15$         ;@ p=usual(mean_positive,0.5)
    COM (SP)
    COM R2
    COM R3
15$: {_mean(cpu, size)}
    TST (SP)+
    BEQ 20$         ;@ p=usual(mean_positive,0.5)
    COM R3
20$: MOV {x},R5
    MOV #{centred},R4
    MOV #{size}.,R2
30$: MOV (R5)+,R0
    SUB R3,R0
    BVC 40$         ;@ p=0.99
    BPL 35$         ;@ p=0.5
    MOV #77777,R0
    BR 40$          ;@ always
35$: MOV #100000,R0
40$: MOV R0,(R4)+
    {cpu.count("R2", "30$", size)}
{rms_norm(cpu, f"{name}$", x=f"#{centred}", y=y, size=size, bias=bias, **rest)}"""


def _mean(cpu: Cpu, size: int) -> str:
    """R2:R3 /= size, unsigned."""
    if size & (size - 1) == 0:
        return "\n".join(["CLC\nROR R2\nROR R3"] * (size.bit_length() - 1))
    return f"MOV #{size}.,R4\nJSR PC,divide"


def _reciprocal(cpu: Cpu, pre_shift: int, root_shift: int, reciprocal_bits: int) -> str:
    """norm.inverse = min(32767, 2**reciprocal_bits // R0).

    DIV serves where the root is sure to be below 2**15 and the quotient below 2**15.
    """
    dividend = 1 << reciprocal_bits
    load = f"MOV #{dividend >> 16:o},R2\nMOV #{dividend & 0xFFFF:o},R3"
    largest_root = 1 << 15 - pre_shift + root_shift // 2
    if cpu.multiplies and largest_root < 1 << 15 and 15 <= reciprocal_bits < 30:
        return f"""\
    MOV #{LARGEST_RECIPROCAL:o},R2
    CMP R0,#{1 << reciprocal_bits - 15}.
    BLE 25$         ;@ p=0.05
    {load}
    DIV R0,R2
25$: MOV R2,norm.inverse"""
    return f"""\
    MOV R0,R4
    {load}
    JSR PC,divide
    TST R2
    BNE 20$         ;@ p=0.05
    TST R3
    BPL 25$         ;@ p=0.95
20$: MOV #{LARGEST_RECIPROCAL:o},R3
25$: MOV R3,norm.inverse"""


def _add_bias(cpu: Cpu, gain_shift: int) -> str:
    """R0:R1 = (R0:R1 >> gain_shift) + the next bias."""
    return f"""\
    {cpu.shift_right_long(gain_shift, "R0", "R1")}
    MOV @2(SP),R2
    ADD #2,2(SP)
    MOV R2,R3
    ASL R3
    SBC R0
    ADD R2,R1
    ADC R0"""
