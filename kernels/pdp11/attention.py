"""attention: a position mixes the values of those before it.

A head is done in three passes: scores, weights, and the weighted sums of the values.  A score is
kept in a word.  Where that is not proven for every input, two checks stand guard.  A sum of
products stays inside 32 bits where the magnitudes of q add up to less than 2**16, or else where
that sum times the largest magnitude of the keys is below 2**31 (`att.reach`).  And each shifted
score must fit a word.  A head that fails is done again by `att.wide`, in 48 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.pdp11.arithmetic import terms
from anachron.kernels.pdp11.instructions import Cpu, clip_byte, loop_back

MOST_ROWS = 257  # weights of at most 255 then add up to less than 2**16
CELLS = tuple("q k v y rows score most total heads group stride size shift".split())


@dataclass(frozen=True)
class Heads:
    """The shape of an attention op, and what is proven about its scores.

    score_bound   largest magnitude of q . k before the shift
    """

    heads: int
    kv_heads: int
    size: int
    score_shift: int
    entries: int  # of the table
    causal: bool
    seq_len: int
    score_bound: int

    @property
    def stride(self) -> int:
        """Bytes from one row of keys or values to the next."""
        return 2 * self.kv_heads * self.size

    @property
    def may_overflow(self) -> bool:
        """A sum of products may leave 32 bits."""
        return self.score_bound >= 1 << 31

    @property
    def may_exceed_word(self) -> bool:
        """A shifted score may leave 16 bits."""
        return min(self.score_bound, 1 << 31) >> self.score_shift >= 1 << 15

    @property
    def guarded(self) -> bool:
        return self.may_overflow or self.may_exceed_word

    @property
    def rows(self) -> str | int:
        """How many rows a position sees, as the timing claims say it."""
        return "position+1" if self.causal else self.seq_len


def attention(
    cpu: Cpu, name: str, *, q: str, k: str, v: str, y: str, table: str, form: Heads, bits: int
) -> str:
    """y = the softmax mixture of the rows of v, head by head.

    q, y    operands: the address of the first word
    k, v    labels of row 0;  table: label of the bytes
    uses    R0 to R5, the words att.*, and the words `scores`
    Raises ValueError beyond 257 rows: the weights would not add up in 16 bits.
    """
    if form.seq_len > MOST_ROWS:
        raise ValueError(
            f"{name}: attention over {form.seq_len} positions, at most {MOST_ROWS} on the pdp11"
        )
    group = form.heads // form.kv_heads
    rows = "MOV position,R0\nINC R0\nMOV R0,att.rows"
    again = f"""\
    SUB #{2 * form.size}.,att.v ; the next head of the group reads the same keys and values
    {loop_back("10$", "80$", group, "att.group")}
    ADD #{2 * form.size}.,att.k
    ADD #{2 * form.size}.,att.v"""
    return f"""\
; {name}: {form.heads} heads of {form.size} over {form.kv_heads} of keys, scores >> \
{form.score_shift}
{name}:
    MOV {q},att.q
    MOV #{k},att.k
    MOV #{v},att.v
    MOV {y},att.y
    {rows if form.causal else f"MOV #{form.seq_len}.,att.rows"}
    {_wide_cells(form) if form.guarded else ""}
    MOV #{form.kv_heads}.,att.heads
5$: {f"MOV #{group}.,att.group" if group > 1 else ""}
10$:
    {_scores(cpu, form)}
    {_weights(cpu, table, form)}
    {_mixture(cpu, form, bits)}
    ADD #{2 * form.size}.,att.q
    {again if group > 1 else f"ADD #{2 * form.size}.,att.k"}
    {loop_back("5$", "95$", form.kv_heads, "att.heads")}
    RTS PC"""


def _wide_cells(form: Heads) -> str:
    return (
        f"MOV #{form.stride}.,att.stride\nMOV #{form.size}.,att.size\n"
        f"MOV #{form.score_shift}.,att.shift"
    )


def _scores(cpu: Cpu, form: Heads) -> str:
    """scores[j] = (q . k[j]) >> shift, and the largest of them in att.most."""
    magnitude = f"""\
    MOV att.q,R4
    MOV #{form.size}.,R5
    CLR R2
12$: MOV (R4)+,R0
    BPL 14$         ;@ p=usual(query_positive,0.5)
    NEG R0
14$: ADD R0,R2
    BCS 16$         ;@ p=usual(long_here,0)
    {cpu.count("R5", "12$", f"{form.size}, left usual(long_at,{form.size})")}
    BR 20$          ;@ always
16$: JSR PC,att.reach
    BCS 20$         ;@ p=usual(in_reach,0.9)
    JSR PC,att.wide
    JMP 40$         ;@ always
20$:"""
    fits = """\
    MOV R3,R0
    ASL R0
    ADC R2
    BNE 18$         ;@ p=usual(beyond_here,0)"""
    slow = """\
    BR 40$          ;@ always
18$: TST (SP)+
    JSR PC,att.wide"""
    return f"""\
    {magnitude if form.may_overflow else ""}
    MOV #scores,att.score
    MOV #100000,att.most
    MOV att.k,R4
    MOV att.rows,-(SP)
30$: MOV att.q,R5
    CLR R2
    CLR R3
    {terms(cpu, form.size, "MOV")}
    {f"ADD #{form.stride - 2 * form.size}.,R4" if form.kv_heads > 1 else ""}
    {cpu.shift_right_long(min(form.score_shift, 31))}
    {fits if form.may_exceed_word else ""}
    MOV R3,@att.score
    ADD #2,att.score
    CMP R3,att.most
    BLE 32$         ;@ p=1-usual(higher,0.4)
    MOV R3,att.most
32$: {loop_back("30$", "34$", f"{form.rows}, left usual(beyond_at,{form.rows})")}
    TST (SP)+
    {slow if form.may_exceed_word else ""}
40$:"""


def _weights(cpu: Cpu, table: str, form: Heads) -> str:
    """scores[j] = table[largest - scores[j]], -1 behind the last; att.total their sum."""
    return f"""\
    MOV #scores,R4
    MOV att.rows,R5
    MOV att.most,R3
    CLR R2
42$: MOV R3,R0
    SUB (R4),R0     ; 0 .. 65535
    CMP R0,#{form.entries - 1}.
    BLOS 44$        ;@ p=1-usual(far,0.2)
    MOV #{form.entries - 1}.,R0
44$: CLR R1
    BISB {table}(R0),R1
    MOV R1,(R4)+
    ADD R1,R2
    {cpu.count("R5", "42$", form.rows)}
    MOV #-1,(R4)
    MOV R2,att.total"""


def _mixture(cpu: Cpu, form: Heads, bits: int) -> str:
    """The next `size` words of y: floor(sum(weight * v) / total)."""
    return f"""\
    MOV #{form.size}.,-(SP)
50$: MOV #scores,R4
    MOV att.v,R5
    CLR R2
    CLR R3
    MOV (R4)+,R0
52$: BEQ 54$        ;@ p=usual(weightless,0.3)
    {cpu.multiply("(R5)")}
    ADD R1,R3
    ADC R2
    ADD R0,R2
54$: ADD #{form.stride}.,R5
    MOV (R4)+,R0
    BPL 52$         ;@ times {form.rows}
    {_quotient(cpu, form)}
    {clip_byte("R2", 70) if bits == 8 else ""}
    MOV R2,@att.y
    ADD #2,att.y
    ADD #2,att.v
    DEC (SP)
    BNE 50$         ;@ times {form.size}
    TST (SP)+"""


def _quotient(cpu: Cpu, form: Heads) -> str:
    """R2 = floor(R2:R3 / att.total): a negative sum is complemented before and after."""
    if cpu.multiplies and 255 * form.seq_len < 1 << 15:
        return """\
    TST R2
    BPL 56$         ;@ p=usual(mixed_positive,0.5)
    COM R2
    COM R3
    DIV att.total,R2
    COM R2
    BR 58$          ;@ always
56$: DIV att.total,R2
58$:"""
    return """\
    MOV R2,-(SP)
    BPL 56$         ;@ p=usual(mixed_positive,0.5)
    COM R2
    COM R3
56$: MOV att.total,R4
    JSR PC,divide
    MOV R3,R2
    TST (SP)+
    BPL 58$         ;@ p=usual(mixed_positive,0.5)
    COM R2
58$:"""


def wide(cpu: Cpu) -> str:
    """The second guard and the slow exact way to a head's scores, shared by all attention ops.

    att.reach counts the magnitudes of q, at most 2**23, in units of 512, rounded up.
    """
    size = "usual(head_size,1)..usual(head_size,256) ~usual(head_size,8)"
    rows = "usual(rows,position+1)"
    shift = "usual(score_shift,1)..usual(score_shift,47) ~usual(score_shift,14)"
    return f"""\
; att.reach: carry set where no score can leave 32 bits;  in as att.wide, uses R0 to R5
att.reach:
    CLR R2
    CLR R3
    MOV att.q,R4
    MOV att.size,R5
10$: MOV (R4)+,R0
    BPL 15$         ;@ p=usual(query_positive,0.5)
    NEG R0
15$: ADD R0,R3
    ADC R2
    {cpu.count("R5", "10$", size)}
    CLRB R3
    BISB R2,R3
    SWAB R3
    CLC
    ROR R3
    INC R3
    CLR R2          ; the largest magnitude of the keys
    MOV att.k,R4
    MOV att.rows,-(SP)
20$: MOV att.size,R5
25$: MOV (R4)+,R0
    BPL 30$         ;@ p=usual(key_positive,0.5)
    NEG R0
30$: CMP R0,R2
    BLOS 35$        ;@ p=1-usual(key_higher,0.1)
    MOV R0,R2
35$: {cpu.count("R5", "25$", size)}
    ADD att.stride,R4
    SUB att.size,R4
    SUB att.size,R4
    DEC (SP)
    BNE 20$         ;@ times {rows}
    TST (SP)+
    TST R2
    BMI 40$         ;@ p=0
    MOV R3,R0
    {cpu.multiply("R2")}
    CMP R0,#100     ; 2**22 in units of 512
    RTS PC
40$: CLC
    RTS PC

; att.wide: scores in 48 bits, for a head whose sums or scores leave their words
; in   att.q, att.k, att.rows, att.stride, att.size, att.shift
; out  att.most = 0 and scores[j] = -(largest - score), no less than -32767;  uses R0 to R5
att.wide:
    MOV #wide.scores,att.score
    MOV att.k,R4
    MOV att.rows,-(SP)
10$: MOV R4,-(SP)
    MOV att.q,R5
    MOV att.size,-(SP)
    CLR R2
    CLR R3
    CLR wide.high
20$: MOV (R4)+,R0
    {cpu.multiply("(R5)+")}
    ADD R1,R3
    ADC R2
    ADC wide.high
    ADD R0,R2
    ADC wide.high
    TST R0
    BPL 25$         ;@ p=usual(product_positive,0.5)
    DEC wide.high
25$: DEC (SP)
    BNE 20$         ;@ times {size}
    TST (SP)+
    MOV att.shift,R0
    BEQ 40$         ;@ p=usual(no_score_shift,0.1)
30$: ASR wide.high
    ROR R2
    ROR R3
    DEC R0
    BNE 30$         ;@ times {shift}
40$: MOV att.score,R1
    MOV wide.high,(R1)+
    MOV R2,(R1)+
    MOV R3,(R1)+
    MOV R1,att.score
    MOV (SP)+,R4
    ADD att.stride,R4
    DEC (SP)
    BNE 10$         ;@ times {rows}
    TST (SP)+
    MOV #wide.scores,R4 ; the largest, into wide.high, R2, R3
    MOV att.rows,R5
    MOV (R4),wide.high
    MOV 2(R4),R2
    MOV 4(R4),R3
50$: CMP (R4),wide.high
    BLT 70$         ;@ p=usual(less_1,0.4)
    BGT 60$         ;@ p=usual(more_1,0.2)
    CMP 2(R4),R2
    BLO 70$         ;@ p=usual(less_2,0.4)
    BHI 60$         ;@ p=usual(more_2,0.4)
    CMP 4(R4),R3
    BLOS 70$        ;@ p=usual(less_3,0.4)
60$: MOV (R4),wide.high
    MOV 2(R4),R2
    MOV 4(R4),R3
70$: ADD #6,R4
    DEC R5
    BNE 50$         ;@ times {rows}
    MOV #wide.scores,R4
    MOV #scores,R5
    MOV att.rows,-(SP)
80$: MOV wide.high,-(SP) ; the distance from the largest
    MOV R2,R1
    MOV R3,R0
    SUB 4(R4),R0
    SBC R1
    SBC (SP)
    SUB 2(R4),R1
    SBC (SP)
    SUB (R4),(SP)
    BIS (SP)+,R1
    BNE 85$         ;@ p=usual(words_apart,0.5)
    TST R0
    BPL 90$         ;@ p=usual(near,0.9)
85$: MOV #77777,R0
90$: NEG R0
    MOV R0,(R5)+
    ADD #6,R4
    DEC (SP)
    BNE 80$         ;@ times {rows}
    TST (SP)+
    CLR att.most
    RTS PC"""
