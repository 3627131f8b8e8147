"""argmax, sample, and the random numbers: how a token is chosen from a row of logits."""

from __future__ import annotations

from anachron.kernels.pdp11.arithmetic import shift_and_add
from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.reference.sampling import ONE

LARGEST_RANK = 255
EXCLUSIVE_OR = """\
    MOV {a},R4
    BIC {b},R4
    BIC {a},{b}
    BIS R4,{b}"""


def argmax(cpu: Cpu, vocab_size: int, first_id: int) -> str:
    """The first of the largest."""
    return f"""\
; argmax: next_token = the first id of the largest logit, R1 that logit
; in   R4 the row;  uses R0 to R4
argmax:
    ADD #{2 * first_id}.,R4
    MOV R4,-(SP)
    MOV (R4)+,R1
    MOV R4,R2       ; behind the largest so far
    MOV #{vocab_size - first_id - 1}.,R3
    BEQ 30$         ;@ p=0
10$: CMP (R4)+,R1
    BLE 20$         ;@ p=0.95
    MOV -2(R4),R1
    MOV R4,R2
20$: {cpu.count("R3", "10$", max(1, vocab_size - first_id - 1))}
30$: SUB (SP)+,R2
    ASR R2
    ADD #{first_id - 1}.,R2
    MOV R2,next_token
    RTS PC"""


def sample(cpu: Cpu, vocab_size: int, first_id: int, frac: int) -> str:
    """A token in proportion to its likelihood, among the likeliest.

    Ranks are counted first, so that the rank at which top-p cuts, and how many ids of that rank
    still take part, follow from one walk over the counts.
    """
    n = vocab_size - first_id
    return f"""\
; sample: next_token by inverse_temperature, top_p and random_state
; in   R4 the row;  uses R0 to R5, `ranks` (a byte an id) and `counts` (a word a rank)
sample:
    MOV R4,-(SP)
    JSR PC,argmax
    MOV #counts,R5
    MOV #{LARGEST_RANK + 1}.,R3
10$: CLR (R5)+
    {cpu.count("R3", "10$", LARGEST_RANK + 1)}
    MOV (SP)+,R4
    ADD #{2 * first_id}.,R4
    MOV R1,sample.largest
    MOV #ranks,R5
    MOV #{n}.,-(SP)
    CLR kept
    CLR kept+2
20$: MOV sample.largest,R0
    SUB (R4)+,R0
    MOV inverse_temperature,R1
    JSR PC,product
    {_shift_down(cpu, frac + 4)}
    TST R0
    BNE 25$         ;@ p=0.1
    CMP R1,#{LARGEST_RANK}.
    BLOS 30$        ;@ p=0.5
25$: MOV #{LARGEST_RANK}.,R1
30$: MOVB R1,(R5)+
    ASL R1
    INC counts(R1)
    ADD sample.weights(R1),kept+2
    ADC kept
    DEC (SP)
    BNE 20$         ;@ times {n}
    TST (SP)+
    MOV #{LARGEST_RANK}.,cut.rank
    MOV #{n}.,cut.count
    CMP top_p,#{ONE}.
    BHIS 50$        ;@ p=0.5
    JSR PC,cut
50$: JSR PC,random
    MOV random_state+2,R0 ; the target: (random * kept) >> 16, into R2:R3
    MOV kept+2,R1
    JSR PC,product
    MOV R0,R3
    MOV random_state+2,R0
    MOV kept,R1
    JSR PC,product
    MOV R0,R2
    ADD R1,R3
    ADC R2
    MOV #ranks,R5
    MOV #{first_id}.,R4
60$: CLR R1
    BISB (R5)+,R1
    CMP R1,cut.rank
    BHI 80$         ;@ p=0.5
    BLO 70$         ;@ p=0.5
    DEC cut.count
    BMI 80$         ;@ p=0.5
70$: ASL R1
    SUB sample.weights(R1),R3
    SBC R2
    BCS 90$         ;@ p=0.05
80$: INC R4
    BR 60$          ;@ times 1..{n} ~{(n + 1) // 2}
90$: MOV R4,next_token
    RTS PC

; cut: cut.rank, cut.count, kept = where top-p ends: the rank, how many ids of it, the weight of all
; in   kept the weight of all;  uses R0 to R5
cut:
    MOV kept,R2     ; enough = (kept >> 8) * top_p, into R2:R3
    MOV kept+2,R1
    CLRB R1
    BISB R2,R1
    SWAB R1
    CLRB R2
    SWAB R2
    MOV R2,R0
    MOV R1,-(SP)
    MOV top_p,R1
    JSR PC,product
    MOV R1,R2
    MOV (SP)+,R0
    MOV top_p,R1
    JSR PC,product
    MOV R1,R3
    ADD R0,R2
    CLR kept
    CLR kept+2
    CLR R1          ; the rank, as an offset of words
    CLR R5          ; how many ids of it
10$: CMP R5,counts(R1)
    BEQ 30$         ;@ p=0.5
    CMP kept,R2
    BLO 20$         ;@ p=0.5
    BNE 40$         ;@ p=0.1
    CMP kept+2,R3
    BHIS 40$        ;@ p=0.1
20$: INC R5
    ADD sample.weights(R1),kept+2
    ADC kept
    BR 10$          ;@ times 1..{n} ~{(n + 1) // 2}
30$: CLR R5
    ADD #2,R1
    CMP R1,#{2 * LARGEST_RANK + 2}.
    BLO 10$         ;@ times 1..{LARGEST_RANK + 1} ~20
40$: MOV R5,cut.count
    ASR R1
    MOV R1,cut.rank
    RTS PC

{_product(cpu)}

{random(cpu)}"""


def random(cpu: Cpu) -> str:
    """Marsaglia's xorshift on the two words of random_state, the low one first."""
    return f"""\
; random: random_state moves on, by shifts of 13, 17 and 5;  uses R0 to R4
random:
    MOV random_state+2,R0
    MOV random_state,R1
    MOV R0,R2
    MOV R1,R3
    {cpu.shift_left_long(13)}
    {EXCLUSIVE_OR.format(a="R2", b="R0")}
    {EXCLUSIVE_OR.format(a="R3", b="R1")}
    MOV R0,R2
    CLC
    ROR R2
    {EXCLUSIVE_OR.format(a="R2", b="R1")}
    MOV R0,R2
    MOV R1,R3
    {cpu.shift_left_long(5)}
    {EXCLUSIVE_OR.format(a="R2", b="R0")}
    {EXCLUSIVE_OR.format(a="R3", b="R1")}
    MOV R0,random_state+2
    MOV R1,random_state
    RTS PC"""


def _product(cpu: Cpu) -> str:
    """The unsigned product of two words.

    MUL is signed: a factor from 2**15 on has counted 2**16 times the other one too little.
    """
    head = "; product: R0:R1 = R0 * R1, unsigned\nproduct:"
    if cpu.multiplies:
        return f"""\
{head}
    MOV R0,-(SP)
    MOV R1,-(SP)
    MUL R1,R0
    TST 2(SP)
    BPL 10$         ;@ p=0.5
    ADD (SP),R0
10$: TST (SP)
    BPL 20$         ;@ p=0.5
    ADD 2(SP),R0
20$: CMP (SP)+,(SP)+
    RTS PC"""
    return f"""\
{head}
    MOV R2,-(SP)
    MOV R3,-(SP)
    MOV R0,R2
    CLR R0
    {shift_and_add()}
    MOV (SP)+,R3
    MOV (SP)+,R2
    RTS PC"""


def _shift_down(cpu: Cpu, amount: int) -> str:
    """R0:R1 >>= amount, unsigned."""
    if amount >= 16:
        return "\n".join(["MOV R0,R1", "CLR R0", *["CLC\nROR R1"] * (amount - 16)])
    if amount == 0:
        return ""
    return f"CLC\nROR R0\nROR R1\n{cpu.shift_right_long(amount - 1, 'R0', 'R1')}"
