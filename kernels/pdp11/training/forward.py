"""The forward pass: embeddings, queries, keys and values, attention, logits.

Each function is a stretch of one straight program: a stretch takes all registers, SP among them,
which walks whatever is stored, and runs into the next one.
"""

from __future__ import annotations

from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training.products import (
    Products,
    at,
    encode,
    read_along,
    read_down,
    repeat,
    store_from,
    store_next,
    wrap,
)
from anachron.kernels.pdp11.training.shape import Shape
from anachron.kernels.reference.log_model import SUM_OCTAVES, SUM_SHIFT
from anachron.kernels.reference.log_tables import octaves

FARTHEST = 513  # a score so far below the largest and 1 counts as 512 below it


def qkv_products(shape: Shape) -> Products:
    return Products("qkv.sum", shape.dim, shape.positions)


def score_products(shape: Shape) -> Products:
    return Products("score.sum", shape.dim, shape.positions, indexed=True)


def mix_products(shape: Shape) -> Products:
    """Its slots are the weights of attention, a column an asking position."""
    return Products("mix.sum", shape.positions, shape.positions)


def logit_products(shape: Shape) -> Products:
    return Products("logit.sum", shape.dim, shape.positions)


def enter() -> str:
    """SP is needed; the way back is kept in memory."""
    return """\
; forward: logits, and what the backward pass reads, of the sequence in token.rows
forward:
    MOV (SP)+,forward.return"""


def leave() -> str:
    return """\
forward_end:
    MOV #stack,SP
    MOV forward.return,-(SP)
    RTS PC"""


def embed(shape: Shape) -> str:
    """x = token + position: its codes in Q10, itself in Q8."""
    elements = "\n".join(
        f"""\
    MOV (R1)+,R0
    ADD (R2)+,R0
    {shape.cpu.shift_right(3)}
    MOV R0,R3
    ASR R3
    ASR R3
    MOV R3,{at(shape.place * feature, "R4")}
    {wrap("R0")}
    MOV codes(R0),{at(shape.place * feature, "R5")}"""
        for feature in range(shape.dim)
    )
    return f"""\
; embed: x.codes (Q10) and y.codes (x in Q8) from the rows of tok.weight and pos.weight (Q13)
embed:
    MOV #token.rows,SP
    MOV #pos.weight,R2
    MOV #y.codes,R4
    MOV #x.codes,R5
embed.next:
    MOV (SP)+,R1
{elements}
    ADD #2,R4
    ADD #2,R5
    {repeat("R5", f"x.codes+{shape.place}.", "embed.next", shape.positions)}"""


def qkv(shape: Shape) -> str:
    """Codes of queries, keys and values into the records."""
    kernel = qkv_products(shape)
    return _times_rows(
        shape, kernel, "qkv", "x.codes", "qkv.codes", 3 * shape.dim, _store_records(shape)
    )


def _store_records(shape: Shape) -> tuple[str, str]:
    skip = shape.row - shape.place
    return "MOV #records,SP", f"ADD #{skip}.,SP" if skip else ""


def _times_rows(
    shape: Shape,
    kernel: Products,
    name: str,
    source: str,
    rows: str,
    n_rows: int,
    pointer: tuple[str, str],
) -> str:
    """Each row of codes times the columns of a matrix, codes of the sums to (SP)+."""
    before, after = pointer
    groups = []
    for group in range(kernel.groups):
        groups += [kernel.group(group, read_along), encode(kernel.registers, store_next)]
        last = group == kernel.groups - 1
        step = shape.row - 2 * shape.dim if last else -2 * shape.dim
        groups += [f"ADD #{step}.,R1"] * bool(step)
    body = "\n".join(groups)
    return f"""\
; {name}: {n_rows} rows of {rows}, each times all columns of {source}
{name}:
    {kernel.patch(shape.cpu, source)}
    MOV #{rows},R1
    {before}
{name}.next:
{body}
    {after}
    {repeat("R1", f"{rows}+{n_rows * shape.row}.", f"{name}.next", n_rows)}"""


def scores(shape: Shape) -> str:
    """Q4: every query times every key."""
    kernel = score_products(shape)
    keys = f"records+{shape.dim * shape.row}."
    groups = []
    for group in range(kernel.groups):
        groups.append(kernel.group(group, read_down(shape.row)))
        groups += [f"MOV R{register},(SP)+" for register in kernel.registers]
    body = "\n".join(groups)
    return f"""\
; scores: attention = queries times keys (Q4)
scores:
    {kernel.patch(shape.cpu, keys, shape.row - shape.place, shape.scales.scores)}
    MOV #records,R1
    MOV #attention,SP
scores.next:
{body}
    ADD #2,R1
    {repeat("R1", f"records+{shape.place}.", "scores.next", shape.positions)}"""


def largest(count: int, label: str, *, place: bool = False) -> str:
    """R5 = the largest of the words from R1 on, plus 1; R1 comes to lie behind them.

    place   R3 = the address behind the first of the largest
    """
    lines = ["MOV (R1)+,R5"] + ["MOV R1,R3"] * place
    for word in range(1, count):
        lines += ["CMP (R1)+,R5", f"BLE {label}.{word} ;@ p=0.7", "MOV -2(R1),R5"]
        lines += ["MOV R1,R3"] * place + [f"{label}.{word}:"]
    return "\n".join([*lines, "INC R5"])


def likelihoods(cpu: Cpu, count: int, label: str, top: int = SUM_OCTAVES) -> str:
    """Words behind R1 = 32 ln of their share before division, minus 2; R3 = the sum's code.

    A word becomes c - 2, where c is its distance from the largest, halved, even, at least -256;
    the shares are powers(c + top octaves).  Takes R5 from `largest`; R1 comes back to the first
    word; uses R0, R4.
    """
    lines = ["CLR R4"]
    for word in range(count):
        lines += [
            "MOV -(R1),R0",
            "SUB R5,R0",
            f"CMP R0,#-{FARTHEST}.  ; as unsigned: a distance of up to 65534",
            f"BHIS {label}.near{word} ;@ p=0.6",
            f"MOV #-{FARTHEST}.,R0",
            f"{label}.near{word}:",
            "ASR R0",
            "BIC #1,R0",
            f"ADD one+{octaves(top) + 2}.(R0),R4",
            "MOV R0,(R1)",
        ]
    return "\n".join([*lines, cpu.shift_right(SUM_SHIFT, "R4"), "BIC #1,R4",
                      "MOV codes(R4),R3"])  # fmt: skip


def attention_weights(shape: Shape) -> str:
    """Scores to weights' codes: in place, and into the slots of `mix` and of the values' slopes.

    A code for a slot is an address less the half that every code has: one - half + code.
    """
    from anachron.kernels.pdp11.training.backward import value_products

    mix, values = mix_products(shape), value_products(shape)
    n = shape.positions
    store = "\n".join(
        f"""\
    MOV (R1),R0
    SUB R3,R0
    MOV R0,(R1)+
    MOV R0,{at(mix.stride * column, "R2")}
    MOV R0,{at(values.offset(column), "SP")}"""
        for column in range(n)
    )
    return f"""\
; weights: the rows of attention from scores to codes of their softmax
weights:
    MOV #attention,R1
    MOV #mix.slots,weights.slot
    MOV #{values.slot(0)},SP
weights.next:
{largest(n, "weights.max")}
{likelihoods(shape.cpu, n, "weights")}
    SUB #one+octaves.8+2,R3
    MOV @weights.slot,R2
    ADD #2,weights.slot
{store}
    ADD #{values.stride}.,SP
    {repeat("R1", f"attention+{2 * n * n}.", "weights.next", n)}"""


def mix(shape: Shape) -> str:
    """y = x + the values mixed by attention's weights: codes of Q8, over x."""
    kernel = mix_products(shape)
    groups = []
    for group in range(kernel.groups):
        groups += [f"MOV (SP)+,R{register}" for register in kernel.registers]
        groups.append(kernel.group(group, read_along, preloaded=True))
        groups.append(encode(kernel.registers, store_from(-2 * kernel.each)))
        last = group == kernel.groups - 1
        step = shape.row - shape.place if last else -shape.place
        groups.append(f"ADD #{step}.,R1")
    body = "\n".join(groups)
    return f"""\
; mix: y.codes = codes of x + values times weights
mix:
    MOV #records+{2 * shape.dim * shape.row}.,R1
    MOV #y.codes,SP
mix.next:
{body}
    {repeat("SP", f"y.codes+{shape.dim * shape.place}.", "mix.next", shape.dim)}"""


def logits(shape: Shape) -> str:
    """Q6, a row a position."""
    kernel = logit_products(shape)
    groups = []
    for group in range(kernel.groups):
        groups.append(kernel.group(group, read_along))
        first = group * kernel.each
        groups += [
            f"MOV R{register},{at(2 * shape.vocab * (first + k), 'SP')}"
            for k, register in enumerate(kernel.registers)
        ]
        last = group == kernel.groups - 1
        step = shape.row - 2 * shape.dim if last else -2 * shape.dim
        groups += [f"ADD #{step}.,R1"] * bool(step)
    body = "\n".join(groups)
    return f"""\
; output: logits = out.weight times y
output:
    {kernel.patch(shape.cpu, "y.codes")}
    MOV #out.codes,R1
    MOV #logits,SP
output.next:
{body}
    ADD #2,SP
    {repeat("R1", f"out.codes+{shape.vocab * shape.row}.", "output.next", shape.vocab)}"""
