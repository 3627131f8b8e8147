"""A graph's sums of products: matrices, their gradients and updates, and what attention sums.

Each is a Products (products.py): one factor written into the program's own instructions, the slots,
from rows that are terms or from rows that are columns; the other one streamed, along rows or down
columns; a row of sums a turn of the loop.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training.products import (
    USUAL,
    Products,
    at,
    count_back,
    read_along,
    read_down,
    repeat,
)

STACK_BACK = "MOV #stack,SP"


@dataclass(frozen=True)
class Factor:
    """Codes that are written into slots; of rows without gaps.

    by_column   each row is a column's slots, not a term's
    constant    the code that each product is to have more
    cut         the word whose code is added too
    """

    source: str
    constant: int
    by_column: bool = False
    cut: str = ""


@dataclass(frozen=True)
class Stream:
    """Codes that are read: `rows` times, each time `step` bytes further.

    down   bytes from a term's code to the next one's, where it is not the next word
    """

    source: str
    rows: int
    step: int
    down: int = 0


def sums(
    cpu: Cpu,
    name: str,
    terms: int,
    columns: int,
    factor: Factor,
    stream: Stream,
    target: str,
    how: str = "MOV",
    spread: int = 0,
) -> str:
    """A row of `columns` sums for each row of the stream, to the target.

    how     MOV, ADD or SUB: what is done to the target with a sum
    spread  bytes from a sum to the next one, where it is not the next word
    """
    kernel = Products(f"{name}.s", terms, columns, indexed=bool(stream.down))
    load = read_down(stream.down) if stream.down else read_along
    groups = []
    for group in range(kernel.groups):
        groups.append(kernel.group(group, load))
        for k, register in enumerate(kernel.registers):
            place = at(spread * (group * kernel.each + k), "SP") if spread else "(SP)+"
            groups.append(f"{how} R{register},{place}")
        back = 0 if stream.down else 2 * terms
        last = group == kernel.groups - 1
        step = (stream.step if last else 0) - back
        groups += [f"ADD #{step}.,R1"] * bool(step)
    if spread:
        groups.append("ADD #2,SP")
    end = f"{stream.source}+{stream.step * stream.rows}."
    return "\n".join(
        [
            f"{name}:",
            _patch(cpu, kernel, factor),
            f"MOV #{stream.source},R1",
            f"MOV #{target},SP",
            f"{name}.next:",
            *groups,
            repeat("R1", end, f"{name}.next", stream.rows),
            STACK_BACK,
        ]
    )


def _patch(cpu: Cpu, kernel: Products, factor: Factor) -> str:
    """Write the slots; uses R0 to R5."""
    constant = factor.constant - USUAL
    more = grow(constant, factor.cut) if constant or factor.cut else ""
    copy = "MOV (R1)+,R0\nADD R5,R0\nMOV R0,{}" if more else "MOV (R1)+,{}"
    words = 4 if more else 2
    start = [more] * bool(more) + [f"MOV #{factor.source},R1", f"MOV #{kernel.slot(0)},R2"]
    label = f"{kernel.name}.patch"
    if not factor.by_column:
        copies = [copy.format(at(kernel.offset(k), "R2")) for k in range(kernel.columns)]
        size = words * kernel.columns + 4
        back = count_back(cpu, "R3", label, kernel.terms, size)
        step = f"ADD #{kernel.stride}.,R2"
        return "\n".join([*start, f"MOV #{kernel.terms}.,R3", f"{label}:", *copies, step, back])
    copies = [copy.format(at(kernel.stride * term, "R2")) for term in range(kernel.terms)]
    group = f"{kernel.name}.1-{kernel.name}.0" if kernel.groups > 1 else "0"
    inner = words * kernel.terms + 3
    return "\n".join(
        [
            *start,
            f"MOV #{kernel.groups}.,R4",
            f"{label}:",
            f"MOV #{kernel.each}.,R3",
            f"{label}.column:",
            *copies,
            "ADD #4,R2",
            count_back(cpu, "R3", f"{label}.column", kernel.each, inner),
            f"ADD #{group}-{4 * kernel.each}.,R2",
            count_back(cpu, "R4", label, kernel.groups, inner + 7),
        ]
    )


def update_rows(
    cpu: Cpu, name: str, n: int, size: int, table: str, dy: str, by_token: bool, more: str
) -> str:
    """Rows of a table, those of the tokens or all in order, less their gradients' products."""
    row = f"MOV (R3)+,R0\n{cpu.scale(2 * size)}\nADD #{table},R1" if by_token else ""
    body = [row]
    for feature in range(size):
        body += [f"MOV {at(2 * n * feature, 'R4')},R0", "ADD R5,R0", "SUB one-half(R0),(R1)+"]
    return "\n".join(
        [
            f"{name}:",
            more,
            f"MOV #{'tokens' if by_token else table},{'R3' if by_token else 'R1'}",
            f"MOV #{dy},R4",
            f"{name}.next:",
            *body,
            "ADD #2,R4",
            repeat("R4", f"{dy}+{2 * n}.", f"{name}.next", n),
        ]
    )


def update_bias(name: str, n: int, size: int, bias: str, dy: str, more: str) -> str:
    """Biases less the sums of their gradients' products."""
    body = ["CLR R2"]
    for _ in range(n):
        body += ["MOV (R1)+,R0", "ADD R5,R0", "ADD one-half(R0),R2"]
    return "\n".join(
        [
            f"{name}:",
            more,
            f"MOV #{dy},R1",
            f"MOV #{bias},R4",
            f"{name}.next:",
            *body,
            "SUB R2,(R4)+",
            repeat("R1", f"{dy}+{2 * n * size}.", f"{name}.next", size),
        ]
    )


def grow(constant: int, cut: str) -> str:
    """R5 = a constant, and the word that the rates are cut by."""
    return "\n".join([f"MOV #{constant}.,R5", *[f"ADD {cut},R5"] * bool(cut)])
