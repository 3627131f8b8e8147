"""What a machine that trains prints: a line a window, and the sequences of the test at the end."""

from __future__ import annotations

from anachron.kernels import training_lines
from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training.shape import AnyShape
from anachron.kernels.training_lines import (
    ACCURACY_DIGITS,
    LOSS_DIGITS,
    STEP_DIGITS,
    STEPS_OF_LOSS,
)


def report(shape: AnyShape) -> str:
    """A line: step, mean loss and accuracy of the window; the window begins anew."""
    n = shape.positions
    return f"""\
; report: STEP, LOSS and ACC, of window.steps steps;  uses R0 to R5
report:
    MOV #text.step,R1
    JSR PC,print
    MOV n.steps,R0
    MOV #40,R4
    JSR PC,print_number
    MOV #text.loss,R1
    JSR PC,print
    MOV window.steps,R0
    {shape.cpu.scale(STEPS_OF_LOSS * n)}
    MOV R1,R4
    MOV window.loss,R2
    MOV window.loss+2,R3
    BIT #100000,R2
    BEQ 10$         ;@ p=1
    CLR R2
    CLR R3
10$: MOV #{LOSS_DIGITS}.,R5
    JSR PC,print_ratio
    MOV #text.accuracy,R1
    JSR PC,print
    MOV window.steps,R0
    {shape.cpu.scale(n)}
    MOV R1,R4
    CLR R2
    MOV hits,R3
    MOV #{ACCURACY_DIGITS}.,R5
    JSR PC,print_ratio
    JSR PC,new_line
; clear_window: nothing seen yet
clear_window:
    CLR window.steps
    CLR window.loss
    CLR window.loss+2
    CLR hits
    RTS PC"""


def numbers(cpu: Cpu) -> str:
    """Decimal numbers, whole and broken."""
    return f"""\
; print_number: R0, unsigned; R4 is printed for each leading zero, unless it is 0; uses R0 to R4
print_number:
    MOV #tens,R2
10$: MOV #'0,R1
20$: CMP R0,(R2)
    BLO 30$         ;@ p=0.3
    SUB (R2),R0
    INC R1
    BR 20$          ;@ times 0..9 ~3
30$: TST (R2)+
    CMP R1,#'0
    BNE 40$         ;@ p=0.5
    TST R4
    BMI 50$         ;@ p=0.5
    CMP R2,#tens.end
    BEQ 50$         ;@ p=0.2
    MOV R4,R1
    BEQ 60$         ;@ p=0.5
    BR 50$          ;@ always
40$: MOV #-1,R4     ; from here on zeros count
50$: MOV R0,R3
    MOV R1,R0
    JSR PC,put
    MOV R3,R0
60$: CMP R2,#tens.end
    BLO 10$         ;@ times {STEP_DIGITS}
    RTS PC

; print_ratio: R2:R3 / R4, unsigned, with R5 digits behind the point, cut off; uses R0 to R5
print_ratio:
    JSR PC,divide
    MOV R1,-(SP)
    MOV R4,-(SP)
    MOV R3,R0
    CLR R4
    JSR PC,print_number
    MOV (SP)+,R4
    MOV #'.,R0
10$: JSR PC,put
    MOV (SP)+,R3    ; what is left, ten times
    CLR R2
    MOV R3,R1
    ASL R3
    ROL R2
    ASL R3
    ROL R2
    ADD R1,R3
    ADC R2
    ASL R3
    ROL R2
    JSR PC,divide
    MOV R1,-(SP)
    MOV R3,R0
    ADD #'0,R0
    DEC R5
    BPL 10$         ;@ times {LOSS_DIGITS + 1}
    TST (SP)+
    RTS PC"""


def tens() -> str:
    """What print_number subtracts."""
    powers = ",".join(f"{10**digit}." for digit in reversed(range(STEP_DIGITS)))
    return f".EVEN\ntens: .WORD {powers}\ntens.end:"


def test(shape: AnyShape, sequences: int) -> str:
    """Sequences that the machine has not seen, answered; how many of them right."""
    n, vocab = shape.positions, shape.vocab
    return f"""\
; test: {sequences} more sequences, forward only; the program's end
test:
    MOV #{sequences}.,tests.left
    CLR tests.right
test.next:
    JSR PC,draw
    JSR PC,forward
    MOV #tokens,R5
    JSR PC,print_tokens
    MOV #text.becomes,R1
    JSR PC,print
    MOV #logits,R4
    MOV #tokens,R5
    CLR tests.wrong
10$: MOV R4,R2       ; the first of the largest
    MOV (R4)+,R1
    MOV R4,R3
    MOV #{vocab - 1}.,R0
20$: CMP (R4)+,R1
    BLE 30$         ;@ p=0.7
    MOV -2(R4),R1
    MOV R4,R3
30$: DEC R0
    BNE 20$         ;@ times {vocab - 1}
    SUB R2,R3
    SUB #2,R3       ; twice the id
    CMP R3,answers-tokens(R5)
    BEQ 40$         ;@ p=1
    INC tests.wrong
40$: ASR R3
    MOV R3,(R5)+
    CMP R5,#tokens+{2 * n}.
    BLO 10$         ;@ times {n}
    MOV #tokens,R5
    JSR PC,print_tokens
    MOV #text.wrong,R1
    TST tests.wrong
    BNE 50$         ;@ p=0
    MOV #text.right,R1
    INC tests.right
50$: JSR PC,print
    DEC tests.left
    BEQ test.end    ;@ times {sequences}
    JMP test.next
test.end:
    MOV #text.tests,R1
    JSR PC,print
    MOV tests.right,R0
    CLR R4
    JSR PC,print_number
    MOV #text.of_tests,R1
    JSR PC,print
finished:
    HALT

; print_tokens: the words from R5 on;  uses R0, R5
print_tokens:
    MOV #{n}.,-(SP)
10$: MOV (R5)+,R0
    MOVB token.characters(R0),R0
    JSR PC,put
    DEC (SP)
    BNE 10$         ;@ times {n}
    TST (SP)+
    RTS PC"""


def texts(title: str, sequences: int) -> dict[str, str]:
    """Label -> what is printed."""
    line = "\r\n"
    named = training_lines.texts(title, sequences, line)
    return {f"text.{name}": text for name, text in named.items()} | {
        "text.title": line + named["title"]
    }
