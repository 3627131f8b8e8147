"""The loss: softmax of the logits, hits, and the gradient of each position, or that it has none.

A position whose answer is nearly certain has no gradient; where no position has one, the rest of
the step is left out.
"""

from __future__ import annotations

from anachron.kernels.pdp11.training.backward import d_y_products
from anachron.kernels.pdp11.training.forward import largest, likelihoods
from anachron.kernels.pdp11.training.products import at, wrap
from anachron.kernels.pdp11.training.shape import Shape

CERTAIN = 40  # a gradient from -40 up, of 4096, is none
NO_SLOPE = 312  # a code so far below 1 that its product with every other one is 0


def loss(shape: Shape) -> str:
    """Gradients' codes to the slots of `d_y` and, times the rate, to slopes; loss and hits.

    A gradient is stored as that of an address: one - half + code + one octave.
    """
    kernel, vocab, n = d_y_products(shape), shape.vocab, shape.positions
    slopes = "\n".join(
        f"""\
    MOV (R1)+,R0
    SUB R3,R0
    MOV R0,{at(kernel.stride * k, "R5")}
    SUB #octaves.1-octaves.12-{shape.scales.output}.,R0
    MOV R0,{at(shape.row * k, "R4")}"""
        for k in range(vocab)
    )
    nothing = "\n".join(
        f"MOV R0,{at(kernel.stride * k, 'R5')}\nMOV R0,{at(shape.row * k, 'R4')}"
        for k in range(vocab)
    )
    return f"""\
; loss: step.loss, hits, n.active, and the gradients of the logits
loss:
    MOV #logits,R1
    MOV #answers,SP
    MOV #d.y.slots,loss.slot
    MOV #slopes,loss.slope
    MOV #{n}.*<one-half+octaves.1>,step.loss
    CLR n.active
loss.next:
{largest(vocab, "loss.max", place=True)}
    MOV (SP)+,R2
    ADD R1,R2
    SUB #{2 * vocab - 2}.,R2 ; behind the answer's logit
    CMP R2,R3
    BNE loss.miss   ;@ p=0.1
    INC hits
loss.miss:
{likelihoods(shape.cpu, vocab, "loss")}
    SUB #one+octaves.8+octaves.1+2,R3
    MOV @loss.slot,R5
    ADD #2,loss.slot
    MOV loss.slope,R4
    ADD #2,loss.slope
    MOV -2(R2),R0   ; the answer
    SUB R3,R0
    SUB R0,step.loss
    MOV half+octaves.12-octaves.1(R0),R0
    SUB #4096.,R0   ; its gradient in Q12
    BLE loss.below  ;@ p=1
    CLR R0
loss.below:
    CMP R0,#-{CERTAIN}.
    BLT loss.unsure ;@ p=0.9
    ADD #{2 * vocab}.,R1
    MOV #one-half-{NO_SLOPE}.,R0
{nothing}
    JMP loss.last
loss.unsure:
    INC n.active
    {wrap("R0")}
    MOV codes(R0),R0
    ADD #one-half-half-octaves.12+octaves.1,R0
    ADD R3,R0
    MOV R0,-2(R2)
{slopes}
{next_position("loss", n, vocab)}
    MOV #stack,SP
{add_loss("loss")}"""


def next_position(name: str, n: int, vocab: int) -> str:
    """`<name>.last`: to the next position's logits, until R1 is behind those of all."""
    return f"""\
{name}.last:
    CMP R1,#logits+{2 * n * vocab}.
    BHIS {name}.end ;@ times {n}
    JMP {name}.next
{name}.end:"""


def add_loss(name: str) -> str:
    """The step's loss, a word with a sign, to the window's, of two words."""
    return f"""\
    ADD step.loss,window.loss+2
    ADC window.loss
    TST step.loss
    BPL {name}.sign ;@ p=0.9
    DEC window.loss
{name}.sign:"""
