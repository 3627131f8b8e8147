"""The backward pass: from the gradients of the logits to those of queries, keys, values and x.

Stretches of one straight program, as in forward.py.  A gradient of attention's scores is clipped
twice: before it is multiplied by the weight, and after.
"""

from __future__ import annotations

from anachron.kernels.pdp11.training.products import (
    USUAL,
    Products,
    at,
    encode,
    read_along,
    read_down,
    repeat,
    store_next,
    wrap,
)
from anachron.kernels.pdp11.training.shape import Shape

MOST_DISTANCE = 256  # of a gradient of a weight from their mean, Q7


def d_y_products(shape: Shape) -> Products:
    """Its slots are the gradients of the logits."""
    return Products("d.y.sum", shape.vocab, shape.positions, indexed=True)


def d_attention_products(shape: Shape) -> Products:
    return Products("d.weight.sum", shape.dim, shape.positions, indexed=True)


def query_products(shape: Shape) -> Products:
    """Its slots are the gradients of the scores, a column an asking position."""
    return Products("d.q.sum", shape.positions, shape.positions)


def key_products(shape: Shape) -> Products:
    """Its slots are the gradients of the scores, a column an answering position."""
    return Products("d.k.sum", shape.positions, shape.positions)


def value_products(shape: Shape) -> Products:
    """Its slots are the weights of attention, a column an answering position."""
    return Products("d.v.sum", shape.positions, shape.positions)


def d_x_products(shape: Shape) -> Products:
    return Products("d.x.sum", 3 * shape.dim, shape.positions, indexed=True)


def d_y(shape: Shape) -> str:
    """The gradient of y: codes of Q11, and itself in Q9."""
    kernel = d_y_products(shape)
    groups = []
    for group in range(kernel.groups):
        groups.append(kernel.group(group, read_down(shape.row)))
        for k, register in enumerate(kernel.registers):
            position = group * kernel.each + k
            groups.append(f"""\
    MOV R{register},R0
    ASR R0
    ASR R0
    MOV R0,d.y-out.codes+{2 * shape.dim * position}.(R1)
    {encode(range(register, register + 1), store_next)}""")
    body = "\n".join(groups)
    return f"""\
; d_y: out.weight turned over, times the gradients of the logits
d_y:
    MOV #out.codes,R1
    MOV #d.y.codes,SP
d_y.next:
{body}
    ADD #2,R1
    {repeat("R1", f"out.codes+{2 * shape.dim}.", "d_y.next", shape.dim)}"""


def d_attention(shape: Shape) -> str:
    """The gradients of attention's weights, Q7: values times the gradients of y."""
    kernel = d_attention_products(shape)
    n = shape.positions
    groups = []
    for group in range(kernel.groups):
        groups.append(kernel.group(group, read_down(shape.row)))
        groups += [
            f"MOV R{register},{at(2 * n * (group * kernel.each + k), 'SP')}"
            for k, register in enumerate(kernel.registers)
        ]
    body = "\n".join(groups)
    values = f"records+{2 * shape.dim * shape.row}."
    return f"""\
; d_attention: gradients of the weights of attention
d_attention:
    {kernel.patch(shape.cpu, "d.y.codes")}
    MOV #{values},R1
    MOV #d.attention,SP
d_attention.next:
{body}
    ADD #2,R1
    ADD #2,SP
    {repeat("R1", f"{values}+{shape.place}.", "d_attention.next", n)}"""


def d_scores(shape: Shape) -> str:
    """The gradients of the scores, Q13 before attention's scale, into two kernels' slots."""
    queries, keys, n = query_products(shape), key_products(shape), shape.positions
    more = shape.scales.slopes - USUAL
    beyond = f"ADD #{more}.,R0" if more else ""
    mean = "\n".join(
        f"""\
    MOV (R1)+,R0
    {wrap("R0")}
    MOV codes(R0),R0
    ADD (R2)+,R0
    ADD (R0),R5"""
        for _ in range(n)
    )
    slopes = "\n".join(
        f"""\
    MOV -(R1),R0
    SUB R5,R0
    {clip(MOST_DISTANCE, f"d_scores.a{column}")}
    {wrap("R0")}
    MOV codes(R0),R0
    ADD -(R2),R0
    MOV {shape.scales.d_scores}.(R0),R0
    {clip(shape.scales.most, f"d_scores.b{column}")}
    {wrap("R0")}
    MOV codes(R0),R0
    {beyond}
    MOV R0,{at(queries.stride * column, "R3")}
    MOV R0,{at(keys.offset(column), "R4")}"""
        for column in reversed(range(n))
    )
    return f"""\
; d_scores: weight times the distance of its gradient from the weighted mean of all
d_scores:
    MOV #d.attention,R1
    MOV #attention,R2
    MOV #d.q.slots,d_scores.slot
    MOV #{keys.slot(0)},R4
d_scores.next:
    CLR R5
{mean}
    MOV @d_scores.slot,R3
    ADD #2,d_scores.slot
{slopes}
    ADD #{2 * n}.,R1
    ADD #{2 * n}.,R2
    ADD #{keys.stride}.,R4
    {repeat("R1", f"d.attention+{2 * n * n}.", "d_scores.next", n)}"""


def clip(most: int, label: str) -> str:
    return f"""\
    CMP R0,#{most}.
    BLE {label}hi   ;@ p=0.98
    MOV #{most}.,R0
{label}hi:
    CMP R0,#-{most}.
    BGE {label}lo   ;@ p=0.98
    MOV #-{most}.,R0
{label}lo:"""


def d_records(shape: Shape) -> str:
    """Codes of the gradients of queries, keys and values, Q11, behind their own codes."""
    rows = shape.dim * shape.row
    parts = (
        ("d_queries", query_products(shape), f"records+{rows}.", shape.row, 0),
        ("d_keys", key_products(shape), "records", shape.row, 1),
        ("d_values", value_products(shape), "d.y.codes", shape.place, 2),
    )
    return "\n".join(_d_record(shape, *part, rows) for part in parts)


def _d_record(
    shape: Shape, name: str, kernel: Products, source: str, length: int, which: int, rows: int
) -> str:
    groups = []
    for group in range(kernel.groups):
        groups += [kernel.group(group, read_along), encode(kernel.registers, store_next)]
        last = group == kernel.groups - 1
        step = length - shape.place if last else -shape.place
        groups += [f"ADD #{step}.,R1"] * bool(step)
    body = "\n".join(groups)
    return f"""\
{name}:
    MOV #{source},R1
    MOV #records+{shape.place + which * rows}.,SP
{name}.next:
{body}
    ADD #{shape.row - shape.place}.,SP
    {repeat("R1", f"{source}+{shape.dim * length}.", f"{name}.next", shape.dim)}"""


def d_x(shape: Shape) -> str:
    """The gradients of x, Q9, taken from the embeddings, Q13: a rate of 1/16 where unshifted."""
    kernel = d_x_products(shape)
    row = 2 * shape.dim
    own = "\n".join(
        f"""\
    MOV token.rows+{2 * position}.,R0
    SUB #qkv.codes,R0
    MOV R0,d_x.token{position}+2"""
        for position in range(shape.positions)
    )
    groups = []
    for group in range(kernel.groups):
        first = group * kernel.each
        groups += [
            f"MOV d.y-qkv.codes+{row * (first + k)}.(R1),R{register}"
            for k, register in enumerate(kernel.registers)
        ]
        groups.append(kernel.group(group, read_down(shape.row), preloaded=True))
        for k, register in enumerate(kernel.registers):
            source, shifts = _scale(register, shape.scales.position)
            groups += [*shifts, f"SUB {source},pos.weight-qkv.codes+{row * (first + k)}.(R1)"]
            source, shifts = _scale(register, shape.scales.token)
            groups += [*shifts, f"d_x.token{first + k}:", f"SUB {source},0(R1) ;@ patched"]
    body = "\n".join(groups)
    return f"""\
; d_x: y's gradient, and qkv.weight turned over, times the gradients of the records
d_x:
    {kernel.patch(shape.cpu, f"records+{shape.place}.", shape.row - shape.place)}
{own}
    MOV #qkv.codes,R1
d_x.next:
{body}
    ADD #2,R1
    {repeat("R1", f"qkv.codes+{row}.", "d_x.next", shape.dim)}"""


def _scale(register: int, amount: int) -> tuple[str, list[str]]:
    """Where a register's word stands when it is shifted to the left, and how it comes there."""
    if amount == 0:
        return f"R{register}", []
    shift = "ASL R0" if amount > 0 else "ASR R0"
    return "R0", [f"MOV R{register},R0", *[shift] * min(16, abs(amount))]
