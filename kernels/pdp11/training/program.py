"""The program around a step: first weights, the steps and their reports, the test, HALT.

start       title, random weights and their codes
train_start the first step begins
step_done   the weights are those after step n.steps
train_end   the last step, and its report, are over
"""

from __future__ import annotations

from anachron.kernels.pdp11.runtime import PRIORITY_7, STACK, STATUS_WORD
from anachron.kernels.pdp11.training.shape import Shape

CELLS = (
    "n.steps",
    "window.steps",
    "window.loss",
    "window.loss.low",
    "step.loss",
    "hits",
    "n.active",
    "tests.left",
    "tests.right",
    "tests.wrong",
    "fill.left",
    "fill.shift",
    "forward.return",
    "weights.slot",
    "loss.slot",
    "loss.slope",
    "d_scores.slot",
    "rate.cut",
    "cuts.next",
)


def start(decays: bool = False) -> str:
    """Where the program is entered; interrupts stay off, for SP is not always a stack."""
    whole = "\n    CLR rate.cut\n    MOV #cuts+2,cuts.next"
    return f"""\
stack = {STACK:o}
start:
    MOV #stack,SP
    MOV #{PRIORITY_7:o},@#{STATUS_WORD:o}
    MOV #text.title,R1
    JSR PC,print{whole if decays else ""}
    MOV weights.state,random_state
    MOV weights.state+2,random_state+2
    JSR PC,fill.all
    JSR PC,encode.all
    MOV data.state,random_state
    MOV data.state+2,random_state+2
train_start:
    CLR n.steps
    JSR PC,clear_window"""


def begin_step() -> str:
    """To the logits of the next sample; the loss follows."""
    return """\
step:
    INC n.steps
    INC window.steps
step.draw:
    JSR PC,draw
step.forward:
    JSR PC,forward"""


def choose(first: str = "d_y") -> str:
    """Without any gradient the rest of the step changes nothing, and is left out."""
    return f"""\
; choose: the backward pass and the updates, or neither
choose:
    TST n.active
    BNE {first}     ;@ p=0.3
    JMP step_done"""


def finish() -> str:
    """The end of a program that makes no test."""
    return """\
test:
finished:
    HALT"""


def end_step(steps: int, window: int, decays: bool = False) -> str:
    """A report after each window, and after the last step; the rates of the next window."""
    cut = """
    MOV cuts.next,R0
    MOV (R0)+,rate.cut
    MOV R0,cuts.next"""
    return f"""\
step_done:
    MOV #stack,SP
    CMP n.steps,#{steps}.
    BHIS 10$        ;@ p=0.003
    CMP window.steps,#{window}.
    BLO 20$         ;@ p=0.98
    JSR PC,report{cut if decays else ""}
20$: JMP step       ;@ goes step
10$: JSR PC,report
train_end:
    JMP test"""


def slot_lists(shape: Shape) -> str:
    """Addresses of slots, a position each: where the columns of three kernels begin."""
    from anachron.kernels.pdp11.training import backward, forward

    lists = {
        "mix.slots": forward.mix_products(shape),
        "d.y.slots": backward.d_y_products(shape),
        "d.q.slots": backward.query_products(shape),
    }
    lines = [".EVEN"]
    for label, kernel in lists.items():
        slots = ",".join(kernel.slot(position) for position in range(shape.positions))
        lines.append(f"{label}: .WORD {slots}")
    return "\n".join(lines)
