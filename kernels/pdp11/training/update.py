"""The weights' updates: outer products, taken from the weights as they come; then new codes."""

from __future__ import annotations

from anachron.kernels.pdp11.training.products import Products, read_along, repeat, wrap
from anachron.kernels.pdp11.training.shape import Shape


def update(
    shape: Shape, name: str, *, source: str, gradients: str, weights: str, n_rows: int
) -> str:
    """weights -= gradients times source, summed over the positions; Q10, wrapping.

    source      matrix of codes, a row a feature
    gradients   where the codes of the first row's gradients lie; rows as of weights' codes
    weights     stem of two labels: linear, and codes
    """
    kernel = Products(f"{name}.sum", shape.positions, shape.dim)
    groups = []
    for group in range(kernel.groups):
        groups.append(kernel.group(group, read_along))
        for k, register in enumerate(kernel.registers):
            code = f"{weights}.codes-<{gradients}>+{2 * (group * kernel.each + k)}."
            groups.append(f"""\
    SUB R{register},(SP)
    MOV (SP)+,R0
    {wrap("R0")}
    MOV codes(R0),{code}-{shape.place}.(R1)""")
        last = group == kernel.groups - 1
        groups.append(f"ADD #{(shape.row if last else 0) - shape.place}.,R1")
    body = "\n".join(groups)
    return f"""\
; {name}: {weights}.weight and {weights}.codes
{name}:
{_patch_columns(shape, kernel, source)}
    MOV #{gradients},R1
    MOV #{weights}.weight,SP
{name}.next:
{body}
    {repeat("R1", f"{gradients}+{n_rows * shape.row}.", f"{name}.next", n_rows)}"""


def _patch_columns(shape: Shape, kernel: Products, source: str) -> str:
    """The slots from a matrix with a row a column; uses R1 to R4."""
    copies = "\n".join(
        f"MOV (R1)+,{kernel.stride * term}.(R2)" if term else "MOV (R1)+,(R2)"
        for term in range(kernel.terms)
    )
    group = f"{kernel.name}.1-{kernel.name}.0" if kernel.groups > 1 else "0"
    return f"""\
    MOV #{source},R1
    MOV #{kernel.slot(0)},R2
    MOV #{kernel.groups}.,R4
{kernel.name}.group:
    MOV #{kernel.each}.,R3
{kernel.name}.column:
{copies}
    ADD #4,R2
    {shape.cpu.count("R3", f"{kernel.name}.column", kernel.each)}
    ADD #{group}-{4 * kernel.each}.,R2
    {shape.cpu.count("R4", f"{kernel.name}.group", kernel.groups)}"""


def encode_weights(shape: Shape) -> str:
    """Codes of all matrices, once, before the first step."""
    parts = (("qkv", 3 * shape.dim), ("out", shape.vocab))
    loops = "\n".join(_encode(shape, stem, rows) for stem, rows in parts)
    return f"; encode.all: qkv.codes, out.codes;  uses R0 to R4\nencode.all:\n{loops}\n    RTS PC"


def _encode(shape: Shape, stem: str, rows: int) -> str:
    rest = shape.row - 2 * shape.dim
    return f"""\
    MOV #{stem}.weight,R1
    MOV #{stem}.codes,R2
    MOV #{rows}.,R3
encode.{stem}:
    MOV #{shape.dim}.,R4
encode.{stem}.next:
    MOV (R1)+,R0
    {wrap("R0")}
    MOV codes(R0),(R2)+
    {shape.cpu.count("R4", f"encode.{stem}.next", shape.dim)}
    {f"ADD #{rest}.,R2" if rest else ""}
    {shape.cpu.count("R3", f"encode.{stem}", rows)}"""
