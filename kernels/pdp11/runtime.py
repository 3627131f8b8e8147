"""The program around a model: its console, the line it reads, and the loop that answers.

The console is a DL11 at its usual addresses, polled; interrupts stay off.  A line ends with
return; rubout or backspace takes the last character back.
Source: DL11 asynchronous line interface manual, DEC-11-HDLAA, chapter 2 (registers).
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.pdp11.instructions import Cpu

RECEIVER_STATUS, RECEIVER = 0o177560, 0o177562
TRANSMITTER_STATUS, TRANSMITTER = 0o177564, 0o177566
PRIORITY_7 = 0o340  # of the processor status word at 177776: no device interrupts
STATUS_WORD = 0o177776
STACK = 0o1000


@dataclass(frozen=True)
class Talk:
    """What the loop must know of a model."""

    seq_len: int
    stop: tuple[int, ...]
    room: int  # ids of text that fit the context
    encoder: bool
    samples: bool  # the sampler is in the image
    logits: str  # operand: the address of the row to choose from
    logits_row: int  # bytes of such a row, where an encoder has one a position
    line_size: int


def start() -> str:
    """Where the image is entered."""
    return f"""\
start:
    MOV #{STACK:o},SP
    MOV #{PRIORITY_7:o},@#{STATUS_WORD:o}
    MOV #title,R1
    JSR PC,print
converse:
    MOV #prompt,R1
    JSR PC,print
ready:
    JSR PC,read_line
    JSR PC,encode"""


def answer_next(talk: Talk) -> str:
    """A decoder: the prompt position by position, then token after token."""
    stops = "\n".join(f"CMP R0,#{i}.\nBEQ answer_end ;@ p=0.05" for i in talk.stop)
    return f"""\
    TST n_prompt
    BEQ converse    ;@ p=0
    CMP text_count,#{talk.room}.
    BLE 10$         ;@ p=0.9
    MOV #cut_note,R1
    JSR PC,print
10$: CLR position
    CLR n_generated
    CLR wants_logits
    TST max_new
    BEQ answer_end  ;@ p=0
20$: MOV position,R0
    ASL R0
    MOV prompt_ids(R0),token
    MOV position,R0
    INC R0
    CMP R0,n_prompt
    BNE 30$         ;@ p=0.8
    INC wants_logits
30$: JSR PC,forward
    INC position
    CMP position,n_prompt
    BNE 20$         ;@ times 1..{talk.seq_len} ~{max(1, talk.seq_len // 3)}
next:
    JSR PC,choose
token_chosen:
    MOV next_token,R0
    {stops}
    JSR PC,print_piece
    INC n_generated
    CMP n_generated,max_new
    BHIS answer_end ;@ p=0.1
    CMP position,#{talk.seq_len - 1}.
    BHIS answer_end ;@ p=0.1
    MOV next_token,token
    JSR PC,forward
    INC position
    BR next         ;@ times 1..{talk.seq_len} ~{max(1, talk.seq_len // 2)}
answer_end:
    JSR PC,new_line
answer_done:
    JMP converse

choose:
    MOV {talk.logits},R4
    {"TST inverse_temperature" if talk.samples else ""}
    {"BNE 10$         ;@ p=0.1" if talk.samples else ""}
    JMP argmax
{"10$: JMP sample" if talk.samples else ""}"""


def answer_sequence(talk: Talk) -> str:
    """An encoder: the whole line at once, then the likeliest token of each position."""
    return f"""\
    CMP text_count,#{talk.seq_len}.
    BEQ 10$         ;@ p=0.9
    MOV #length_note,R1
    JSR PC,print
    JMP converse
10$: JSR PC,forward
    CLR position
answer_position:
    MOV position,R0
    {Cpu(False).scale(talk.logits_row)}
    ADD {talk.logits},R1
    MOV R1,R4
    JSR PC,argmax
token_chosen:
    MOV next_token,R0
    JSR PC,print_piece
    INC position
    CMP position,#{talk.seq_len}.
    BNE answer_position ;@ times {talk.seq_len}
    JSR PC,new_line
answer_done:
    JMP converse"""


def console(talk: Talk) -> str:
    """Reading and printing."""
    return f"""\
; read_line: line, line_length = what is typed up to a return, echoed;  uses R0, R2, R3
read_line:
    MOV #line,R2
10$: TSTB @#{RECEIVER_STATUS:o}
    BPL 10$
    MOVB @#{RECEIVER:o},R0
    CMPB R0,#15
    BEQ 40$
    CMPB R0,#12     ; a line feed behind a return
    BEQ 10$
    CMPB R0,#177
    BEQ 30$
    CMPB R0,#10
    BEQ 30$
    CMP R2,#line+{talk.line_size}.
    BHIS 20$
    MOVB R0,(R2)+
    JSR PC,put
    BR 10$
20$: MOV #7,R0      ; full: the bell
    JSR PC,put
    BR 10$
30$: CMP R2,#line
    BEQ 10$
    DEC R2
    MOV #rubout,R1
    JSR PC,print
    BR 10$
40$: SUB #line,R2
    MOV R2,line_length

{printing()}

; print_piece: the text of token R0;  uses R0 to R2
print_piece:
    ASL R0
    MOV pieces(R0),R1
    CLR R2
    BISB (R1)+,R2
    BEQ 40$         ;@ p=0.05
10$: MOVB (R1)+,R0
    CMPB R0,#12
    BNE 20$         ;@ p=0.98
    JSR PC,new_line
    BR 30$          ;@ always
20$: JSR PC,put
30$: DEC R2
    BNE 10$         ;@ times 1..255 ~3
40$: RTS PC"""


def printing() -> str:
    """Characters, lines and texts to the console.  Reading a line runs into new_line."""
    return f"""\
new_line:
    MOV #15,R0
    JSR PC,put
    MOV #12,R0

; put: the character R0, printed
put:
    TSTB @#{TRANSMITTER_STATUS:o}
    BPL put         ;@ times 1..1000000 ~1
    MOVB R0,@#{TRANSMITTER:o}
    RTS PC

; print: the characters from R1 on, up to a zero byte;  uses R0, R1
print:
    MOVB (R1)+,R0
    BEQ 10$         ;@ p=0.05
    JSR PC,put
    BR print        ;@ times 1..80 ~20
10$: RTS PC"""
