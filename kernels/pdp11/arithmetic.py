"""What every kernel calls: sums of products, division, roots, and the 11/20's multiplication.

Sums of products are straight lines of code.  Matrices that share one enter it where as many terms
are left as their rows have: dot.64 runs into dot.32.
"""

from __future__ import annotations

from collections.abc import Iterable

from anachron.kernels.pdp11.instructions import Cpu


def terms(cpu: Cpu, count: int, load: str) -> str:
    """R2:R3 += the sum of count products (R4)+ * (R5)+, modulo 2**32; uses R0, R1.

    load   MOVB or MOV: the storage of what R4 points at; R5 points at words

    MUL is faster the fewer changes from 0 to 1 its register's bits have: the int8 goes there.
    """
    return "\n".join([term(cpu, load)] * count)


def term(cpu: Cpu, load: str) -> str:
    """R2:R3 += (R4)+ * (R5)+."""
    product = cpu.multiply("(R5)+")
    if load == "MOVB" and not cpu.multiplies:
        product = "MOV (R5)+,-(SP)\nJSR PC,multiply.byte"
    return f"{load} (R4)+,R0\n{product}\nADD R1,R3\nADC R2\nADD R0,R2"


def dot(cpu: Cpu, counts: Iterable[int]) -> str:
    """terms as a subroutine that all matrices share: dot.N is the entry for N int8 weights."""
    left = sorted(set(counts), reverse=True)
    lines = []
    for count, less in zip(left, [*left[1:], 0], strict=True):
        lines += [f"dot.{count}:", terms(cpu, count - less, "MOVB")]
    return "\n".join([*lines, "RTS PC"])


def shift_and_add() -> str:
    """R0:R1 = R1 * R2, unsigned, where R0 = 0: a bit of R1 at a time; uses R3."""
    return """\
    MOV #16.,R3
    CLC
    ROR R1
10$: BCC 20$        ;@ p=usual(clear,0.5)
    ADD R2,R0
20$: ROR R0
    ROR R1
    DEC R3          ; leaves the carry, the next bit of the multiplier
    BNE 10$         ;@ times 16"""


def multiply() -> str:
    """The 11/20's MUL: shift and add, then the signs put right."""
    return f"""\
; multiply: R0:R1 = R0 * 2(SP), signed; takes the argument off the stack
; A negative factor has counted 2**16 times the other factor too much.
multiply:
    MOV R2,-(SP)
    MOV R3,-(SP)
    MOV R4,-(SP)
    MOV R0,R1       ; the multiplier leaves R1 at the right as the product enters at the left
    MOV R0,R4
    MOV 10(SP),R2
    CLR R0
    {shift_and_add()}
    TST R4
    BPL 30$         ;@ p=usual(positive_a,0.5)
    SUB R2,R0
30$: TST R2
    BPL 40$         ;@ p=usual(positive_b,0.5)
    SUB R4,R0
40$: MOV (SP)+,R4
    MOV (SP)+,R3
    MOV (SP)+,R2
    MOV (SP)+,(SP)  ; the return address over the argument
    RTS PC"""


def multiply_byte(clear: float = 0.75) -> str:
    """multiply, where R0 is an int8: eight steps, from its highest bit down.

    clear  how many of its magnitude's bits are 0, of all eight
    """
    steps = "\n".join(
        f"""\
    ASL R1
    ROL R0
    ASL R3
    BCC {label}$    ;@ p=usual(byte_clear,{clear:.4f})
    ADD R2,R1
    ADC R0
{label}$:"""
        for label in range(11, 19)
    )
    return f"""\
; multiply.byte: R0:R1 = R0 * 2(SP), where R0 is -128 .. 127; takes the argument off the stack
multiply.byte:
    MOV R2,-(SP)
    MOV R3,-(SP)
    MOV R0,-(SP)
    MOV 10(SP),R2
    MOV R0,R3
    BPL 10$         ;@ p=usual(positive_a,0.5)
    NEG R3
10$: MOV R3,-(SP)
    SWAB R3
    CLR R0
    CLR R1
{steps}
    TST R2          ; a negative word has counted 2**16 times the byte too much
    BPL 20$         ;@ p=usual(positive_b,0.5)
    SUB (SP),R0
20$: TST (SP)+
    TST (SP)+
    BPL 30$         ;@ p=usual(positive_a,0.5)
    NEG R0
    NEG R1
    SBC R0
30$: MOV (SP)+,R3
    MOV (SP)+,R2
    MOV (SP)+,(SP)  ; the return address over the argument
    RTS PC"""


def divide(cpu: Cpu) -> str:
    """Long division of unsigned numbers, 32 bits by 16."""
    return f"""\
; divide: R2:R3 = R2:R3 / R4, all unsigned; R1 is the remainder; uses R0
divide:
    MOV #32.,R0
    CLR R1
10$: ASL R3
    ROL R2
    ROL R1
    BCS 20$         ;@ p=usual(quotient_over,0.01)
    CMP R1,R4
    BLO 30$         ;@ p=usual(quotient_less,0.75)
20$: SUB R4,R1
    INC R3
30$: {cpu.count("R0", "10$", 32)}
    RTS PC"""


def isqrt(cpu: Cpu, short: float = 0.9) -> str:
    """The integer square root of 32 bits, two bits of the number for each bit of the root.

    short  how often the number is below 2**16, as far as is known

    The root so far and the bit on trial never overlap, so that BIS adds them; where the number is
    below 2**16, the high words are zero throughout and are left alone.
    """
    return f"""\
; isqrt: R0 = the integer square root of R2:R3, unsigned; uses R1 to R5
isqrt:
    CLR R0
    CLR R1
    TST R2
    BEQ 50$         ;@ p=usual(root_short,{short:.3f})
    MOV #16.,-(SP)
    MOV #40000,R4   ; R4:R5 the bit on trial, R0:R1 the root, both to be moved right
    CLR R5
10$: BIS R4,R0
    BIS R5,R1
    CMP R2,R0
    BLO 20$         ;@ p=usual(root_less,0.5)
    BNE 15$         ;@ p=0.9
    CMP R3,R1
    BLO 20$         ;@ p=0.5
15$: SUB R1,R3
    SBC R2
    SUB R0,R2
    ADD R5,R1       ; the bit is set in the root: twice here, once when it has moved
    ADC R0
    ADD R4,R0
    BR 30$          ;@ always
20$: BIC R4,R0
    BIC R5,R1
30$: CLC
    ROR R0
    ROR R1
    ASR R4
    ROR R5
    ASR R4
    ROR R5
    DEC (SP)
    BNE 10$         ;@ times 16
    TST (SP)+
    MOV R1,R0
    RTS PC
50$: MOV #40000,R4
    MOV #8.,R1
60$: BIS R4,R0
    CMP R3,R0
    BLO 70$         ;@ p=usual(short_root_less,0.5)
    SUB R0,R3
    ADD R4,R0
    BR 80$          ;@ always
70$: BIC R4,R0
80$: CLC
    ROR R0
    ASR R4
    ASR R4
    {cpu.count("R1", "60$", 8)}
    RTS PC"""
