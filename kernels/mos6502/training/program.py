"""The program around a step: first weights, the steps and their reports, the test.

start        title, random weights and their codes
train_start  the first step begins
step_done    the weights are those after step n_steps
train_end    the last step, and its report, are over
finished     the test is over, too; the program stays here

While it computes, interrupts are off, RAM lies in place of the KERNAL, and the screen is blank so
that the VIC-II steals no cycles; the border changes its colour with each step, and there may be
sound.  To print, the KERNAL is there, and the screen is shown for some frames.  With `screen` it
stays on.
"""

from __future__ import annotations

from collections.abc import Collection

from anachron.kernels.mos6502.instructions import copy, lines, set_word
from anachron.kernels.mos6502.runtime import (
    BORDER,
    CONTROL,
    KERNAL_IN,
    LAST_LINE,
    PORT,
    RASTER,
    enter,
    play,
)

RAM_AND_CHIPS = 0x35  # of the processor port: the KERNAL is out, the I/O chips are there
FRAMES = 4  # that a new line is shown
CELLS = {  # label -> bytes
    "n_steps": 2,
    "window_steps": 2,
    "window_loss": 3,
    "hits": 2,
    "n_active": 1,
    "n_missing": 1,
    "stale": 1,
    "tests_left": 1,
    "tests_right": 2,
    "number": 2,
    "ratio": 4,
    "divisor": 4,
    "kept": 4,
    "digits": 1,
    "blank": 1,
}
KERNELS = ("draw", "embed", "recall", "attend", "mix", "output")
BACKWARD = ("d_y", "d_scores", "d_queries", "d_keys", "d_values", "d_x", "update_embeddings")


def start() -> str:
    """Where the program is entered; interrupts stay off."""
    return f"""\
{enter()}
{set_word("pointer", "text_title")}
    jsr print
    jsr close_screen
{copy("random_state", "weights_state", 4)}
    jsr fill_all
    jsr encode_all
{copy("random_state", "data_state", 4)}
    lda #0
    sta n_steps
    sta n_steps+1
    lda #1
    sta stale
    jsr clear_window
train_start:"""


def step(updates: tuple[str, ...], steps: int, window: int, feedback: Collection[str]) -> str:
    """The steps.  Without any gradient the rest of a step changes nothing, and is left out.

    updates   the routines of the matrices' updates
    feedback  "border": a colour a step; "sound": a note a step, the lower the fewer positions have
              a gradient
    """
    calls = [f"step_{name}:\n    jsr {name}" for name in (*BACKWARD, *updates)]
    return lines(
        "step:",
        f"    inc ${BORDER:04x}" if "border" in feedback else "",
        """\
    inc n_steps
    bne *+5             ;@ p=0.99
    inc n_steps+1
    inc window_steps
    bne *+5             ;@ p=0.99
    inc window_steps+1
    lda #0
    sta n_active""",
        *(f"step_{name}:\n    jsr {name}" for name in KERNELS),
        "step_choose:",
        "    jsr play" if "sound" in feedback else "",
        "    lda n_active\n    bne *+5\n    jmp step_done\n    sta stale",
        *calls,
        f"""\
step_done:
    lda n_steps
    cmp #<{steps}
    lda n_steps+1
    sbc #>{steps}
    bcs step_last
    lda window_steps
    cmp #<{window}
    lda window_steps+1
    sbc #>{window}
    bcc step_again
    jsr report
step_again:
    jmp step            ;@ goes step
step_last:
    jsr report
train_end:
    jmp test""",
    )


def forward() -> str:
    return lines("forward:", *(f"    jsr {name}" for name in KERNELS[1:]), "    rts")


def screen(stays: bool, feedback: Collection[str]) -> str:
    """To and from printing; the last line of the text is waited for, so that no frame is torn."""
    port = f"""\
    sei                 ; the KERNAL's printing ends with CLI
    lda #${RAM_AND_CHIPS:02x}
    sta ${PORT:02x}"""
    opening = f"    lda #${KERNAL_IN:02x}\n    sta ${PORT:02x}"
    on = f"    lda ${CONTROL:04x}\n    and #$7f\n    ora #$10\n    sta ${CONTROL:04x}"
    off = f"""\
    ldx #{FRAMES}
close_frame:
    lda #{LAST_LINE}
close_wait:
    cmp ${RASTER:04x}
    bne close_wait
close_same:
    cmp ${RASTER:04x}
    beq close_same
    dex
    bne close_frame
    lda ${CONTROL:04x}
    and #$6f            ; off; bit 7 belongs to the raster's interrupt
    sta ${CONTROL:04x}"""
    return lines(
        "; open_screen: to print: the KERNAL there, the screen on;  uses A",
        f"open_screen:\n{opening}",
        "" if stays else on,
        "    rts",
        "; close_screen: to compute;  uses A, X",
        "close_screen:",
        port,
        "" if stays else off,
        "    rts",
        "ignore:\n    rti",
        f"next_token = n_active\n{play()}" if "sound" in feedback else "",
    )
