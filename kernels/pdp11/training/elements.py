"""What a graph's program does element by element: embeddings, sums, ReLU, codes, masks.

A value is stored feature by feature, a word a position, `n` positions; its codes, where products
look at them, lie in another buffer of the same order.  A code is half of an address (tables.py).
SP is a stack in all of these.
"""

from __future__ import annotations

from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training.products import at, count_back, repeat

INSIDE, NEGATIVE = 8192, 36864  # of an integer plus 4096: has a code of its own; was below that
UNROLLED, ENCODED = 8, 4  # elements of a loop at most


def unroll(count: int, most: int = UNROLLED) -> int:
    """Elements a turn: as many as divide all of them."""
    return max(u for u in range(1, most + 1) if count % u == 0)


def turn(name: str, body: list[str], pointer: str, end: str, times: int) -> str:
    """A loop over elements until a pointer has come to its end."""
    return "\n".join([f"{name}.next:", *body, repeat(pointer, end, f"{name}.next", times)])


def look_up(name: str, offset: str = "#4096.", inside: str = f"#{INSIDE}.") -> str:
    """R0 = a number as an index of the table of codes from codes.low on: saturated, even.

    offset, inside  where the two numbers are to be had, if in registers
    """
    return f"""\
    ADD {offset},R0
    CMP R0,{inside}
    BLO {name}      ;@ p=1
    JSR PC,far.r0
{name}:
    BIC #1,R0"""


def far() -> str:
    """What look_up calls for a number beyond the table: its last index, or its first."""
    return f"""\
; far.r0: R0, a number plus 4096, to where the table of codes ends on its side
far.r0:
    CMP R0,#{NEGATIVE}.
    BHIS 10$        ;@ p=0.5
    MOV #{INSIDE - 2}.,R0
    RTS PC
10$: CLR R0
    RTS PC"""


def encode(cpu: Cpu, name: str, source: str, target: str, count: int, amount: int) -> str:
    """The codes of a buffer's words, each shifted right by an amount first."""
    each, lines = unroll(count, ENCODED), []
    for k in range(each):
        lines += ["MOV (R1)+,R0", cpu.shift_right(amount)]
        lines += [look_up(f"{name}.in{k}", "R4", "R5"), "MOV codes.low(R0),(R2)+"]
    body = "\n".join(lines)
    return f"""\
{name}:
    MOV #{source},R1
    MOV #{target},R2
    MOV #4096.,R4
    MOV #{INSIDE}.,R5
    MOV #{count // each}.,R3
{name}.next:
{body}
    {count_back(cpu, "R3", f"{name}.next", count // each, (10 + 3 * bool(amount)) * each + 1)}"""


def embed(cpu: Cpu, name: str, n: int, size: int, table: str, target: str, by_token: bool) -> str:
    """Rows of a table, those of the tokens or all in order, as columns."""
    row = f"MOV (R3)+,R0\n{cpu.scale(2 * size)}\nADD #{table},R1" if by_token else ""
    body = [row, *(f"MOV (R1)+,{at(2 * n * f, 'R4')}" for f in range(size)), "ADD #2,R4"]
    return f"""\
{name}:
    MOV #{"tokens" if by_token else table},{"R3" if by_token else "R1"}
    MOV #{target},R4
{turn(name, body, "R4", f"{target}+{2 * n}.", n)}"""


def add(
    cpu: Cpu, name: str, a: str, b: str, target: str, count: int, shifts: tuple[int, int]
) -> str:
    """Two buffers, each shifted right by an amount, added."""
    body = []
    for _ in range(unroll(count)):
        body += ["MOV (R1)+,R0", cpu.shift_right(shifts[0])]
        if shifts[1]:
            body += ["MOV (R2)+,R3", cpu.shift_right(shifts[1], "R3"), "ADD R3,R0"]
        else:
            body.append("ADD (R2)+,R0")
        body.append("MOV R0,(R4)+")
    return f"""\
{name}:
    MOV #{a},R1
    MOV #{b},R2
    MOV #{target},R4
{turn(name, body, "R1", f"{a}+{2 * count}.", count // unroll(count))}"""


def add_bias(
    cpu: Cpu, name: str, n: int, size: int, source: str, bias: str, target: str, amount: int,
    spread: int = 0,
) -> str:  # fmt: skip
    """A feature's bias, shifted right by an amount, to each of its positions.

    spread  bytes from a position's sum to the next one's, where it is not the next word
    """
    body = ["MOV (R2)+,R0", cpu.shift_right(amount)]
    for position in range(n):
        place = at(spread * position, "R4") if spread else "(R4)+"
        body += ["MOV (R1)+,R3", "ADD R0,R3", f"MOV R3,{place}"]
    body += ["ADD #2,R4"] * bool(spread)
    return f"""\
{name}:
    MOV #{source},R1
    MOV #{bias},R2
    MOV #{target},R4
{turn(name, body, "R1", f"{source}+{2 * n * size}.", size)}"""


def relu(name: str, source: str, target: str, count: int) -> str:
    """What is above 0."""
    body = []
    for k in range(unroll(count)):
        body += ["MOV (R1)+,R0", f"BPL {name}.p{k} ;@ p=0.5", "CLR R0"]
        body += [f"{name}.p{k}:", "MOV R0,(R4)+"]
    return f"""\
{name}:
    MOV #{source},R1
    MOV #{target},R4
{turn(name, body, "R1", f"{source}+{2 * count}.", count // unroll(count))}"""


def relu_gradient(name: str, dy: str, x: str, target: str, count: int) -> str:
    """dy where x is above 0."""
    body = []
    for k in range(unroll(count)):
        body += ["MOV (R1)+,R0", "TST (R2)+", f"BGT {name}.p{k} ;@ p=0.5", "CLR R0"]
        body += [f"{name}.p{k}:", "MOV R0,(R4)+"]
    return f"""\
{name}:
    MOV #{dy},R1
    MOV #{x},R2
    MOV #{target},R4
{turn(name, body, "R1", f"{dy}+{2 * count}.", count // unroll(count))}"""


def mask(name: str, n: int, heads: int, target: str, value: str) -> str:
    """A value to the right of the diagonal of each head's square matrix."""
    body = []
    for row in range(n - 1):
        body += [f"ADD #{2 * (row + 1)}.,R1", *["MOV R0,(R1)+"] * (n - 1 - row)]
    body.append(f"ADD #{2 * n}.,R1")
    return f"""\
{name}:
    MOV #{target},R1
    MOV #{value},R0
{turn(name, body, "R1", f"{target}+{2 * heads * n * n}.", heads)}"""
