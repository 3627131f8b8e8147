"""encode: a line of characters to token ids, by table and by ranked merges."""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.pdp11.instructions import Cpu


@dataclass(frozen=True)
class Text:
    """What the encoder is made for.  room: ids of text that fit the context beside the template."""

    n_merges: int
    lead: int  # id in front of any text, -1 for none
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    room: int
    line_size: int

    @property
    def most_ids(self) -> int:
        return self.line_size + (self.lead >= 0)


def encode(cpu: Cpu, text: Text) -> str:
    """prompt_ids, n_prompt = the template around the line's ids; R0 = ids of the whole line."""
    lead = f"TST R3\nBEQ 20$ ;@ p=0.05\nMOV #{text.lead}.,(R4)+\nTST R3"
    return f"""\
; encode: prompt_ids and n_prompt from `line`, `line_length` bytes long
; out  text_count the ids of the whole line, before it is cut;  uses R0 to R5
encode:
    MOV #line,R5
    MOV #text_ids,R4
    MOV line_length,R3
    {lead if text.lead >= 0 else ""}
    BEQ 20$         ;@ p=0.05
10$: CLR R0
    BISB (R5)+,R0
    ASL R0
    MOV characters(R0),R0
    BMI 15$         ;@ p=0.05
    MOV R0,(R4)+
15$: {cpu.count("R3", "10$", f"1..{text.line_size} ~8")}
20$: SUB #text_ids,R4
    ASR R4
    MOV R4,text_count
    {"JSR PC,join" if text.n_merges else ""}
    MOV #prompt_ids,R4
    {_copy_template(text.prefix)}
    MOV #text_ids,R5
    MOV text_count,R0
    CMP R0,#{text.room}.
    BLE 30$         ;@ p=0.9
    MOV #{text.room}.,R0
30$: TST R0
    BEQ 50$         ;@ p=0.05
40$: MOV (R5)+,(R4)+
    {cpu.count("R0", "40$", f"1..{max(1, text.room)} ~{max(1, text.room // 2)}")}
50$: {_copy_template(text.suffix)}
    SUB #prompt_ids,R4
    ASR R4
    MOV R4,n_prompt
    RTS PC
{_join(cpu, text) if text.n_merges else ""}"""


def _copy_template(ids: tuple[int, ...]) -> str:
    return "\n".join(f"MOV #{i}.,(R4)+" for i in ids)


def _join(cpu: Cpu, text: Text) -> str:
    """Byte-pair merges.  found[i] is the merge of neighbours i and i+1, 0 where there is none."""
    most = text.most_ids
    return f"""\

; join: text_ids and text_count after all merges: the lowest rank first, the leftmost of equals
; uses R0 to R5
join:
    MOV text_count,R5
    DEC R5
    BGT 10$         ;@ p=0.95
    RTS PC
10$: MOV #text_ids,R4
20$: JSR PC,find_merge
    TST (R4)+
    {cpu.count("R5", "20$", f"1..{most} ~8")}
30$: MOV #text_ids,R4 ; the best merge, its rank in R1, its place in R2
    MOV text_count,R5
    MOV #177777,R1
    CLR R2
    BR 50$          ;@ always
40$: MOV found-text_ids(R4),R3
    BEQ 45$         ;@ p=0.6
    CMP 6(R3),R1
    BHIS 45$        ;@ p=0.5
    MOV 6(R3),R1
    MOV R4,R2
45$: TST (R4)+
50$: DEC R5
    BGT 40$         ;@ times 1..{most} ~8
    TST R2
    BNE 60$         ;@ p=0.8
    RTS PC
60$: MOV found-text_ids(R2),R3
    MOV 4(R3),(R2)  ; the result, and everything behind it moves up
    DEC text_count
    MOV text_count,R5
    ASL R5
    ADD #text_ids,R5
    MOV R2,R4
70$: TST (R4)+
    CMP R4,R5
    BHIS 80$        ;@ p=0.2
    MOV 2(R4),(R4)
    MOV found-text_ids+2(R4),found-text_ids(R4)
    BR 70$          ;@ times 1..{most} ~5
80$: MOV R2,-(SP)
    MOV R2,R4
    CMP R4,#text_ids
    BEQ 90$         ;@ p=0.2
    TST -(R4)
    JSR PC,find_merge
90$: MOV (SP)+,R4
    MOV R4,R0
    ADD #2,R0
    CMP R0,R5
    BHIS 95$        ;@ p=0.2
    JSR PC,find_merge
95$: JMP 30$        ;@ times 1..{most} ~5

; find_merge: found at (R4) = the first merge of the ids (R4) and 2(R4), or 0;  uses R0 to R3
find_merge:
    MOV (R4),R0
    MOV 2(R4),R1
    MOV #merges,R2
    MOV #{text.n_merges}.,R3
10$: CMP (R2)+,R0
    BNE 20$         ;@ p=0.98
    CMP (R2),R1
    BEQ 30$         ;@ p=0.3
20$: ADD #6,R2
    {cpu.count("R3", "10$", f"1..{text.n_merges} ~{(text.n_merges + 1) // 2}")}
    CLR found-text_ids(R4)
    RTS PC
30$: TST -(R2)
    MOV R2,found-text_ids(R4)
    RTS PC"""
