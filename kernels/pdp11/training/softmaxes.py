"""A graph's softmaxes: attention's weights, the gradients of its scores, and the loss.

As in forward.py, backward.py and loss.py, but for any number of rows and entries, with look-ups
that saturate and every scale a constant.  The codes of attention's weights are addresses less the
half that every code has (one - half + code); all others are halves (half + code).
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training.backward import MOST_DISTANCE, clip
from anachron.kernels.pdp11.training.elements import look_up
from anachron.kernels.pdp11.training.forward import largest, likelihoods
from anachron.kernels.pdp11.training.loss import CERTAIN, add_loss, next_position
from anachron.kernels.pdp11.training.products import at, repeat
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES
from anachron.kernels.reference.log_model import SUM_SHIFT, softmax_octaves
from anachron.kernels.reference.log_tables import octaves


@dataclass(frozen=True)
class Scores:
    """The gradients of scores: the code that they grow by, and where they are clipped."""

    constant: int
    most: int


def softmax(cpu: Cpu, name: str, scores: str, rows: int, entries: int) -> str:
    """Rows of scores, Q6, to codes of their softmax, in place: one - half + code."""
    top = softmax_octaves(entries)
    store = "\n".join(["MOV (R1),R0\nSUB R3,R0\nMOV R0,(R1)+"] * entries)
    return f"""\
{name}:
    MOV #{scores},R1
{name}.next:
{largest(entries, f"{name}.max")}
{likelihoods(cpu, entries, f"{name}.of", top)}
    SUB #one+{octaves(top - SUM_SHIFT) + 2}.,R3
{store}
    {repeat("R1", f"{scores}+{2 * rows * entries}.", f"{name}.next", rows)}"""


def d_scores(name: str, d_weights: str, weights: str, rows: int, n: int, scores: Scores) -> str:
    """Rows of gradients of weights to codes of the gradients of the scores, in place."""
    mean = "\n".join(
        f"""\
    MOV (R1)+,R0
{look_up(f"{name}.m{k}")}
    MOV codes.low(R0),R0
    ADD (R2)+,R0
    ADD (R0),R5"""
        for k in range(n)
    )
    slopes = "\n".join(
        f"""\
    MOV -(R1),R0
    SUB R5,R0
{clip(MOST_DISTANCE, f"{name}.a{k}")}
    BIC #1,R0
    MOV codes(R0),R0
    ADD -(R2),R0
    MOV {scores.constant}.(R0),R0
{clip(scores.most, f"{name}.b{k}")}
    BIC #1,R0
    MOV codes(R0),(R1)"""
        for k in reversed(range(n))
    )
    return f"""\
{name}:
    MOV #{d_weights},R1
    MOV #{weights},R2
{name}.next:
    CLR R5
{mean}
{slopes}
    ADD #{2 * n}.,R1
    ADD #{2 * n}.,R2
    {repeat("R1", f"{d_weights}+{2 * rows * n}.", f"{name}.next", rows)}"""


def each_position(name: str, vocab: int, gradient: str, begin: str) -> str:
    """How a loss begins, up to a position's hit; R1 and R2 are behind its and its answer's logits.

    begin  sets step.loss
    """
    return f"""\
; {name}: step.loss, hits, n.active, and the gradients of the logits
{name}:
    MOV #logits,R1
    MOV #answers,loss.slot
    MOV #{gradient},loss.slope
    {begin}
    CLR n.active
{name}.next:
{largest(vocab, f"{name}.max", place=True)}
    MOV @loss.slot,R2
    ADD #2,loss.slot
    ADD R1,R2
    SUB #{2 * vocab - 2}.,R2 ; behind the answer's logit
    CMP R2,R3
    BNE {name}.miss ;@ p=0.3
    INC hits
{name}.miss:"""


def loss(cpu: Cpu, name: str, n: int, vocab: int, gradient: str, silent: int) -> str:
    """step.loss, hits, n.active, and codes of the logits' gradients, Q12, feature by feature.

    silent  the code of a position that sends nothing back
    """
    top, unit = softmax_octaves(vocab), octaves(LOSS_OCTAVES)
    store = "\n".join(
        f"MOV (R1)+,R0\nSUB R3,R0\nMOV R0,{at(2 * n * k, 'R4')}" for k in range(vocab)
    )
    nothing = "\n".join(f"MOV R0,{at(2 * n * k, 'R4')}" for k in range(vocab))
    return f"""\
{each_position(name, vocab, gradient, f"MOV #{n}.*<half+{unit}.>,step.loss")}
{likelihoods(cpu, vocab, f"{name}.of", top)}
    SUB #half+half+{2 + octaves(top - SUM_SHIFT) + unit}.,R3
    MOV loss.slope,R4
    ADD #2,loss.slope
    MOV -2(R2),R0   ; the answer
    SUB R3,R0
    SUB R0,step.loss
    MOV one-half(R0),R0
    SUB #{1 << LOSS_OCTAVES}.,R0 ; its gradient
    BLE {name}.below ;@ p=1
    CLR R0
{name}.below:
    CMP R0,#-{CERTAIN}.
    BLT {name}.unsure ;@ p=0.9
    ADD #{2 * vocab}.,R1
    MOV #half-{-silent}.,R0
{nothing}
    JMP {name}.last
{name}.unsure:
    INC n.active
    MOV codes(R0),R0
    ADD R3,R0
    MOV R0,-2(R2)
{store}
{next_position(name, n, vocab)}
{add_loss(name)}"""
