"""What a machine that trains prints: a line a window, and the sequences of the test at the end."""

from __future__ import annotations

from anachron.kernels import training_lines
from anachron.kernels.mos6502.instructions import copy, lines, set_word
from anachron.kernels.mos6502.runtime import CHROUT, RETURN
from anachron.kernels.mos6502.training.shape import Shape
from anachron.kernels.training_lines import (
    ACCURACY_DIGITS,
    LOSS_DIGITS,
    STEP_DIGITS,
    STEPS_OF_LOSS,
)

BYTES = 4  # of what is divided


def report(shape: Shape) -> str:
    """A line: step, mean loss and accuracy of the window; the window begins anew.

    The loss is in half steps; where it is below 0, 0 is printed.
    """
    n = shape.positions
    return f"""\
; report: STEP, LOSS and ACC, of window_steps steps;  uses A, X, Y
report:
    jsr open_screen
{set_word("pointer", "text_step")}
    jsr print
    lda #' '
    sta blank
{copy("number", "n_steps", 2)}
    jsr print_number
{set_word("pointer", "text_loss")}
    jsr print
{_divisor(STEPS_OF_LOSS // 2 * n)}
    lda window_loss+2
    bmi report_none     ;@ p=0
{copy("ratio", "window_loss", 3)}
    lda #0
    beq report_loss     ;@ always
report_none:
    lda #0
    sta ratio
    sta ratio+1
    sta ratio+2
report_loss:
    sta ratio+3
    lda #{LOSS_DIGITS}
    jsr print_ratio
{set_word("pointer", "text_accuracy")}
    jsr print
{_divisor(n)}
{copy("ratio", "hits", 2)}
    lda #0
    sta ratio+2
    sta ratio+3
    lda #{ACCURACY_DIGITS}
    jsr print_ratio
    lda #{RETURN}
    jsr put
    jsr close_screen
; clear_window: nothing seen yet
clear_window:
    lda #0
    sta window_steps
    sta window_steps+1
    sta window_loss
    sta window_loss+1
    sta window_loss+2
    sta hits
    sta hits+1
    rts"""


def _divisor(times: int) -> str:
    """divisor = window_steps times a constant."""
    text = ["    lda #0"] + [f"    sta divisor+{i}" for i in range(BYTES)]
    for bit in f"{times:b}":
        text += ["    asl divisor"] + [f"    rol divisor+{i}" for i in range(1, BYTES)]
        if bit == "1":
            text.append("    clc")
            for i in range(BYTES):
                operand = f"window_steps+{i}" if i < 2 else "#0"
                text.append(f"    lda divisor+{i}\n    adc {operand}\n    sta divisor+{i}")
    return lines(*text)


def numbers() -> str:
    """Decimal numbers, whole and broken."""
    compare = lines(*(f"    lda ratio+{i}\n    sbc divisor+{i}" for i in range(BYTES)))
    subtract = lines(
        *(f"    lda ratio+{i}\n    sbc divisor+{i}\n    sta ratio+{i}" for i in range(BYTES))
    )
    double = lines("    asl ratio", *(f"    rol ratio+{i}" for i in range(1, BYTES)))
    tenfold = lines(
        copy("kept", "ratio", BYTES),
        double,
        double,
        "    clc",
        *(f"    lda ratio+{i}\n    adc kept+{i}\n    sta ratio+{i}" for i in range(BYTES)),
        double,
    )
    return f"""\
; print_number: number, unsigned; `blank` for each leading zero, unless it is 0;  uses A, X, Y
print_number:
    ldx #{STEP_DIGITS - 1}
number_digit:
    ldy #'0'
number_less:
    sec
    lda number
    sbc tens_low,x
    sta kept
    lda number+1
    sbc tens_high,x
    bcc number_found
    sta number+1
    lda kept
    sta number
    iny
    bne number_less
number_found:
    cpy #'0'
    bne number_shown
    cpx #0
    beq number_shown
    lda blank
    bmi number_shown    ; zeros count from the first other digit on
    beq number_next
    jsr put
    jmp number_next
number_shown:
    lda #$ff
    sta blank
    tya
    jsr put
number_next:
    dex
    bpl number_digit
    rts
; print_ratio: ratio / divisor, unsigned, with A digits behind the point, cut;  uses A, X, Y
print_ratio:
    sta digits
    lda #0
    sta blank
    sta number+1
    jsr divide_ratio
    sta number
    jsr print_number
    lda #'.'
ratio_digit:
    jsr put
{tenfold}
    jsr divide_ratio
    ora #'0'
    dec digits
    bne ratio_digit
    jmp put
; divide_ratio: A = ratio / divisor, below 256; ratio = the remainder;  uses Y
divide_ratio:
    ldy #0
divide_more:
    sec
{compare}
    bcc divide_done
    iny
    sec
{subtract}
    jmp divide_more
divide_done:
    tya
    rts
tens_low:
    .byte {",".join(str(10**d & 255) for d in range(STEP_DIGITS))}
tens_high:
    .byte {",".join(str(10**d >> 8) for d in range(STEP_DIGITS))}
; print: the codes at pointer up to a zero;  uses A, Y
print:
    ldy #0
print_code:
    lda (pointer),y
    beq print_end
    jsr put
    iny
    bne print_code
print_end:
    rts
; put: a code on the screen;  keeps A, X, Y
put:
    jmp ${CHROUT:04x}"""


def test(shape: Shape, sequences: int) -> str:
    """Sequences that the machine has not seen, answered; how many of them right."""
    n = shape.positions
    return f"""\
; test: {sequences} more sequences, forward only; the program's end
test:
    lda #{sequences}
    sta tests_left
    lda #0
    sta tests_right
    sta tests_right+1
test_next:
    jsr draw
    jsr forward
    jsr open_screen
{set_word("source", "tokens")}
    jsr print_tokens
{set_word("pointer", "text_becomes")}
    jsr print
{set_word("source", "best")}
    jsr print_tokens
    ldx #{n - 1}
test_answer:
    lda best,x          ;@ aligned
    cmp answers,x       ;@ aligned
    bne test_wrong
    dex
    bpl test_answer
    inc tests_right
{set_word("pointer", "text_right")}
    jmp test_told
test_wrong:
{set_word("pointer", "text_wrong")}
test_told:
    jsr print
    jsr close_screen
    dec tests_left
    beq test_end
    jmp test_next
test_end:
    jsr open_screen
{set_word("pointer", "text_tests")}
    jsr print
    lda #0
    sta blank
{copy("number", "tests_right", 2)}
    jsr print_number
{set_word("pointer", "text_of_tests")}
    jsr print
finished:
    jmp finished        ;@ goes finished

; print_tokens: the ids that `source` points at;  uses A, X, Y
print_tokens:
    ldy #0
token_next:
    lda (source),y
    tax
    lda token_characters,x
    jsr put
    iny
    cpy #{n}
    bne token_next
    rts"""


def texts(title: str, sequences: int) -> dict[str, str]:
    """Label -> what is printed."""
    named = training_lines.texts(title, sequences, "\n")
    return {f"text_{name}": text for name, text in named.items()}
