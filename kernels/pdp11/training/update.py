"""The weights' updates: outer products, taken from the weights as they come; then new codes."""

from __future__ import annotations

from anachron.kernels.pdp11.training.products import (
    USUAL,
    Products,
    at,
    copy_code,
    copy_words,
    count_back,
    read_along,
    repeat,
    wrap,
)
from anachron.kernels.pdp11.training.shape import Shape


def update(
    shape: Shape,
    name: str,
    *,
    source: str,
    gradients: str,
    weights: str,
    first_row: int,
    n_rows: int,
    constant: int,
) -> str:
    """Some rows of weights -= gradients times source, summed over the positions; Q10, wrapping.

    source      matrix of codes, a row a feature
    gradients   where the codes of row 0's gradients lie; rows as of weights' codes
    weights     stem of two labels: linear, and codes
    constant    the code that is added to each product: the rate is in it
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
; {name}: {n_rows} rows of {weights}.weight and {weights}.codes
{name}:
{_patch_columns(shape, kernel, source, constant)}
    MOV #{gradients}+{first_row * shape.row}.,R1
    MOV #{weights}.weight+{2 * first_row * shape.dim}.,SP
{name}.next:
{body}
    {repeat("R1", f"{gradients}+{(first_row + n_rows) * shape.row}.", f"{name}.next", n_rows)}"""


def _patch_columns(shape: Shape, kernel: Products, source: str, constant: int) -> str:
    """The slots from a matrix with a row a column; uses R0 to R4."""
    copies = "\n".join(
        copy_code(at(kernel.stride * term, "R2"), constant) for term in range(kernel.terms)
    )
    group = f"{kernel.name}.1-{kernel.name}.0" if kernel.groups > 1 else "0"
    inner = copy_words(constant) * kernel.terms + 2
    outer = inner + 7
    return f"""\
    MOV #{source},R1
    MOV #{kernel.slot(0)},R2
    MOV #{kernel.groups}.,R4
{kernel.name}.group:
    MOV #{kernel.each}.,R3
{kernel.name}.column:
{copies}
    ADD #4,R2
    {count_back(shape.cpu, "R3", f"{kernel.name}.column", kernel.each, inner)}
    ADD #{group}-{4 * kernel.each}.,R2
    {count_back(shape.cpu, "R4", f"{kernel.name}.group", kernel.groups, outer)}"""


def update_qkv(shape: Shape) -> dict[str, str]:
    """Label -> an update of queries', keys' and values' weights: one for those of one rate."""
    scales = shape.scales
    runs: list[tuple[int, int, int]] = []
    for part, constant in enumerate((scales.query, scales.key, scales.value)):
        if runs and runs[-1][2] == constant:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, constant)
        else:
            runs.append((part, 1, constant))
    return {
        f"update_qkv{first}": update(
            shape,
            f"update_qkv{first}",
            source="x.codes",
            gradients=f"records+{shape.place}.",
            weights="qkv",
            first_row=first * shape.dim,
            n_rows=count * shape.dim,
            constant=constant,
        )
        for first, count, constant in runs
    }


def update_output(shape: Shape) -> str:
    """The slopes hold the rate already, and the whole of an address with the codes of y."""
    return update(
        shape,
        "update_output",
        source="y.codes",
        gradients="slopes",
        weights="out",
        first_row=0,
        n_rows=shape.vocab,
        constant=USUAL,
    )


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
