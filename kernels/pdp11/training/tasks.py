"""What a machine trains on: its random numbers, its first weights, sequences and their answers.

To add a task: a function of a Shape in ANSWERS, named as in compiler/recipes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training.shape import AnyShape, Shape


def fill(
    cpu: Cpu, tensors: Sequence[tuple[str, int, int]], constants: Sequence[tuple[str, int, int]]
) -> str:
    """First weights, a random number each, in the order of the model; gains and biases.

    tensors    label, elements, and how far a random 16-bit integer is shifted right for one
    constants  label, elements, and what each of them is
    """
    loops = "\n".join(
        f"MOV #{label},R5\nMOV #{size}.,R0\n{label}.fill: MOV #{value}.,(R5)+\n"
        + cpu.count("R0", f"{label}.fill", size)
        for label, size, value in constants
    )
    calls = "\n".join(
        f"MOV #{label},R5\nMOV #{size}.,fill.left\nMOV #{shift}.,fill.shift\nJSR PC,fill"
        for label, size, shift in tensors
    )
    most, shifts = max(size for _, size, _ in tensors), [shift for *_, shift in tensors]
    return f"""\
; fill.all: random weights;  uses R0 to R5
fill.all:
{calls}
{loops}
    RTS PC

; fill: fill.left words from R5 on: even random numbers of 16 bits >> fill.shift
fill:
    JSR PC,random
    MOV random_state+2,R0
    MOV fill.shift,R1
10$: ASR R0
    {cpu.count("R1", "10$", f"{min(shifts)}..{max(shifts)} ~{max(shifts)}")}
    BIC #1,R0
    MOV R0,(R5)+
    DEC fill.left
    BNE fill        ;@ times 1..{most}
    RTS PC"""


def draw(shape: AnyShape, task: str) -> str:
    """A sequence: its tokens, where a plain encoder's embeddings lie, and what it is to become."""
    n = shape.positions
    rows = ""
    if isinstance(shape, Shape):
        rows = f"""\
    {shape.cpu.scale(2 * shape.dim)}
    ADD #tok.weight,R1
    MOV R1,token.rows-tokens-2(R5)"""
    return f"""\
; draw: tokens and answers of the next sequence;  uses R0 to R5
draw:
    MOV #tokens,R5
draw.next:
    JSR PC,random
    MOV random_state+2,R0
    MOV R0,-(SP)
    {shape.cpu.multiply(f"#{shape.vocab}.")}
    TST (SP)+       ; MUL takes numbers from 2**15 up for negative ones
    BPL 10$         ;@ p=0.5
    ADD #{shape.vocab}.,R0
10$: MOV R0,(R5)+
{rows}
    CMP R5,#tokens+{2 * n}.
    BLO draw.next   ;@ times {n}
{ANSWERS[task](shape)}
    RTS PC"""


def draw_stretch(n: int, starts: int) -> str:
    """A stretch of the corpus, a byte an id, and the same moved on by one."""
    return f"""\
; draw: tokens and answers, from one of {starts} places of the corpus;  uses R0 to R5
draw:
    JSR PC,random
    MOV random_state+2,-(SP)
    JSR PC,random
    MOV random_state+2,R3
    MOV (SP)+,R2
    MOV #{starts}.,R4
    JSR PC,divide
    ADD #corpus,R1
    MOV #tokens,R4
    MOV #answers,R5
10$: MOVB (R1)+,(R4)+
    CLRB (R4)+
    MOVB (R1),R0
    ASL R0
    MOV R0,(R5)+
    CMP R4,#tokens+{2 * n}.
    BLO 10$         ;@ times {n}
    RTS PC"""


def _reverse(shape: AnyShape) -> str:
    n = shape.positions
    return f"""\
    MOV #tokens,R4
    MOV #answers+{2 * n}.,R5
20$: MOV (R4)+,R0
    ASL R0
    MOV R0,-(R5)
    CMP R4,#tokens+{2 * n}.
    BLO 20$         ;@ times {n}"""


def _copy(shape: AnyShape) -> str:
    n = shape.positions
    return f"""\
    MOV #tokens,R4
    MOV #answers,R5
20$: MOV (R4)+,R0
    ASL R0
    MOV R0,(R5)+
    CMP R4,#tokens+{2 * n}.
    BLO 20$         ;@ times {n}"""


def _sort(shape: AnyShape) -> str:
    """Neighbours are exchanged, in as many walks as there are positions."""
    n = shape.positions
    walk = f"""\
    MOV #{n}.,R3
30$: MOV #answers,R5
40$: CMP (R5)+,(R5)
    BLOS 50$        ;@ p=0.6
    MOV (R5),R0
    MOV -2(R5),(R5)
    MOV R0,-2(R5)
50$: CMP R5,#answers+{2 * n - 2}.
    BLO 40$         ;@ times {n - 1}
    DEC R3
    BNE 30$         ;@ times {n}"""
    return f"{_copy(shape)}\n{walk if n > 1 else ''}"


def _sum(shape: AnyShape) -> str:
    """At every place the sum of all, modulo the number of ids."""
    n = shape.positions
    return f"""\
    CLR R0
    MOV #tokens,R4
20$: ADD (R4)+,R0
    CMP R0,#{shape.vocab}.
    BLT 30$         ;@ p=0.5
    SUB #{shape.vocab}.,R0
30$: CMP R4,#tokens+{2 * n}.
    BLO 20$         ;@ times {n}
    ASL R0
    MOV #answers,R5
40$: MOV R0,(R5)+
    CMP R5,#answers+{2 * n}.
    BLO 40$         ;@ times {n}"""


ANSWERS: dict[str, Callable[[AnyShape], str]] = {
    "reverse": _reverse,
    "copy": _copy,
    "sort": _sort,
    "sum": _sum,
}
