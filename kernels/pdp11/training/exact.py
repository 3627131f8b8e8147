"""Training in plain fixed point: sums of products by MUL, exact in 32 bits, op by op.

What matrices.py and softmaxes.py are in logarithms.  A sum begins with half a unit, so that its
shift rounds, and is saturated to a word.  Only for a CPU that multiplies.  What bounds it: a
product's MOV, MUL, ADD, ADC, ADD, 15.1 us on the 11/34A where the codes' ADD takes 3.1.

Meaning: kernels/reference/exact_training.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.pdp11.instructions import saturate
from anachron.kernels.pdp11.training.backward import MOST_DISTANCE, clip
from anachron.kernels.pdp11.training.forward import largest
from anachron.kernels.pdp11.training.loss import add_loss, next_position
from anachron.kernels.pdp11.training.products import at, repeat
from anachron.kernels.pdp11.training.softmaxes import each_position
from anachron.kernels.reference.exact_training import (
    FARTHEST,
    LEAST_LACK,
    SHARE_FRAC,
    exponentials,
    sum_logarithms,
    top_octaves,
)

STACK_BACK = "MOV #stack,SP"
WORDS_A_LINE = 8
# What a MUL takes follows from how often the bits of its register change: numbers of a training are
# small, and take less than random ones by so many ns; the mean over the first steps of reverse.
SMALL = ";@ plus -650..0 ~-650"


@dataclass(frozen=True)
class Operand:
    """One side of sums of products: `count` vectors, `step` bytes apart, of words `term` apart."""

    source: str
    count: int
    step: int
    term: int = 2

    @property
    def end(self) -> str:
        return f"{self.source}+{self.step * self.count}."


def half(exponent: int) -> int:
    """Half a unit of a sum that is to be scaled by 2**exponent."""
    return 1 << -exponent - 1 if exponent < 0 else 0


def begin(exponent: int) -> str:
    """R2:R3 = half a unit."""
    high, low = divmod(half(exponent), 1 << 16)
    return f"{f'MOV #{high}.,R2' if high else 'CLR R2'}\n{f'MOV #{low}.,R3' if low else 'CLR R3'}"


def settle(exponent: int, high: str = "R2", low: str = "R3", scratch: str = "R0") -> str:
    """low = high:low scaled by 2**exponent, saturated; uses labels 10$ and 11$."""
    shift = f"ASHC #{max(-31, exponent)}.,{high}" if exponent else ""
    return "\n".join([shift, saturate(16, 10, high, low, scratch)])


def dots(
    name: str, terms: int, a: Operand, b: Operand, target: str, exponent: int,
    how: str = "MOV", spread: int = 0,
) -> str:  # fmt: skip
    """Every vector of a times every one of b, to the target: a row for each of a.

    how     MOV, ADD or SUB: what is done to the target with a sum
    spread  bytes from a sum to the next one, where it is not the next word
    """
    first = "(R4)+" if a.term == 2 else ""
    second = "(R5)+" if b.term == 2 else ""
    lines = []
    for k in range(terms):
        lines.append(f"MOV {first or at(a.term * k, 'R4')},R0")
        lines.append(f"MUL {second or at(b.term * k, 'R5')},R0 {SMALL}")
        lines.append("ADD R1,R3\nADC R2\nADD R0,R2")
    back = [f"SUB #{2 * terms}.,R4"] if first else []
    step = b.step - (2 * terms if second else 0)
    body = "\n".join([*lines, *back, *[f"ADD #{step}.,R5"] * bool(step)])
    store = f"{how} R3,(SP)\n    ADD #{spread}.,SP" if spread else f"{how} R3,(SP)+"
    rewind = f"SUB #{spread * b.count - 2}.,SP" if spread else ""
    return f"""\
{name}:
    MOV #{a.source},R4
    MOV #{target},SP
{name}.row:
    MOV #{b.source},R5
{name}.next:
    {begin(exponent)}
{body}
    {settle(exponent)}
    {store}
{name}.column:
    {repeat("R5", b.end, f"{name}.next", b.count)}
    {rewind}
    ADD #{a.step}.,R4
    {repeat("R4", a.end, f"{name}.row", a.count)}
    {STACK_BACK}"""


def shares(name: str, entries: int) -> str:
    """Words behind R1, their largest in R5 plus 1, to Q14 shares of their exponentials.

    R1 comes back behind the words; R4 is the exponentials' sum.  Uses R0, R3.
    """
    lines = ["CLR R4"]
    for k in range(entries):
        lines += [
            "MOV R5,R0",
            "SUB -(R1),R0",
            f"CMP R0,#{FARTHEST + 1}.",
            f"BLOS {name}.near{k} ;@ p=0.8",
            f"MOV #{FARTHEST + 1}.,R0",
            f"{name}.near{k}:",
            "ASL R0",
            f"MOV exps.{top_octaves(entries)}-2(R0),R0",
            "ADD R0,R4",
            "MOV R0,(R1)",
        ]
    lines.append("MOV R1,R3")
    for _ in range(entries):
        lines += ["MOV (R3),R0", "CLR R1", f"ASHC #{SHARE_FRAC - 16}.,R0", "DIV R4,R0"]
        lines.append("MOV R0,(R3)+")
    return "\n".join([*lines, "MOV R3,R1"])


def softmax(name: str, scores: str, rows: int, entries: int) -> str:
    """Rows of scores, Q6, to their softmax, Q14, in place."""
    return f"""\
{name}:
    MOV #{scores},R1
{name}.next:
{largest(entries, f"{name}.max")}
{shares(name, entries)}
    {repeat("R1", f"{scores}+{2 * rows * entries}.", f"{name}.next", rows)}"""


def d_scores(
    name: str, d_weights: str, weights: str, rows: int, n: int, exponent: int, most: int
) -> str:
    """Rows of gradients of weights to those of the scores, in place."""
    mean = "\n".join(
        ["MOV (R4)+,R0\nMUL (R5)+,R0\nADD R1,R3\nADC R2\nADD R0,R2"] * n
    )
    rounded = half(exponent)
    slopes = "\n".join(
        f"""\
    MOV -(R4),R0
    SUB R3,R0
{clip(MOST_DISTANCE, f"{name}.a{k}")}
    MUL -(R5),R0
    ADD #{rounded & 0xFFFF}.,R1
    ADC R0
    {f"ADD #{rounded >> 16}.,R0" if rounded >> 16 else ""}
    {settle(exponent, "R0", "R1", "R2")}
{name}.c{k}:
{clip(most, f"{name}.b{k}").replace("R0", "R1")}
    MOV R1,(R4)"""
        for k in reversed(range(n))
    )
    return f"""\
{name}:
    MOV #{d_weights},R4
    MOV #{weights},R5
{name}.next:
    {begin(-SHARE_FRAC)}
{mean}
    {settle(-SHARE_FRAC)}
{name}.mean:
{slopes}
    ADD #{2 * n}.,R4
    ADD #{2 * n}.,R5
    {repeat("R4", f"{d_weights}+{2 * rows * n}.", f"{name}.next", rows)}"""


def loss(name: str, n: int, vocab: int, gradient: str) -> str:
    """step.loss, hits, n.active, and the logits' gradients, Q14, feature by feature."""
    store = "\n".join(f"MOV (R1)+,{at(2 * n * k, 'R4')}" for k in range(vocab))
    nothing = "\n".join(f"CLR {at(2 * n * k, 'R4')}" for k in range(vocab))
    down = f"ASH #-{top_octaves(vocab) - 3}.,R0"
    return f"""\
{each_position(name, vocab, gradient, "CLR step.loss")}
    MOV R5,R0
    DEC R0
    SUB -2(R2),R0   ; the answer's distance from the largest
    CMP R0,#{FARTHEST}.
    BLOS {name}.far ;@ p=0.9
    MOV #{FARTHEST}.,R0
{name}.far:
    ASR R0
    ADD R0,step.loss
{shares(name, vocab)}
    MOV R4,R0
    {down}
    ASL R0
    ADD logs(R0),step.loss
    SUB #{2 * vocab}.,R1
    MOV loss.slope,R4
    ADD #2,loss.slope
    MOV -2(R2),R0
    SUB #{1 << SHARE_FRAC}.,R0
    CMP R0,#-{LEAST_LACK}.
    BLT {name}.unsure ;@ p=0.9
    ADD #{2 * vocab}.,R1
{nothing}
    JMP {name}.last
{name}.unsure:
    INC n.active
    MOV R0,-2(R2)
{store}
{next_position(name, n, vocab)}
{add_loss(name)}"""


def _scaled(exponent: int) -> str:
    """R1 = R0 scaled, by way of R0:R1."""
    rounded = half(exponent)
    return f"""\
    MUL #1,R0
    ADD #{rounded & 0xFFFF}.,R1
    ADC R0
    {f"ADD #{rounded >> 16}.,R0" if rounded >> 16 else ""}
    {settle(exponent, "R0", "R1", "R5")}"""


def update_rows(
    name: str, n: int, size: int, table: str, dy: str, scale_row: str, exponent: int
) -> str:
    """Rows of a table, those of the tokens or all in order, less their gradients, scaled.

    scale_row  R1 = R0 times a row's bytes; nothing for all rows in order
    """
    row = f"MOV (R3)+,R0\n{scale_row}\nADD #{table},R1\nMOV R1,R2" if scale_row else ""
    body = [row]
    for feature in range(size):
        body += [f"MOV {at(2 * n * feature, 'R4')},R0", _scaled(exponent), "SUB R1,(R2)+"]
        body.append(f"{name}.f{feature}:")
    return "\n".join(
        [
            f"{name}:",
            f"MOV #{'tokens' if scale_row else table},{'R3' if scale_row else 'R2'}",
            f"MOV #{dy},R4",
            f"{name}.next:",
            *body,
            "ADD #2,R4",
            repeat("R4", f"{dy}+{2 * n}.", f"{name}.next", n),
        ]
    )


def update_bias(name: str, n: int, size: int, bias: str, dy: str, exponent: int) -> str:
    """Biases less the sums of their gradients, scaled."""
    body = "\n".join(["MOV (R4)+,R0\nMUL #1,R0\nADD R1,R3\nADC R2\nADD R0,R2"] * n)
    return f"""\
{name}:
    MOV #{dy},R4
    MOV #{bias},R5
{name}.next:
    {begin(exponent)}
{body}
    {settle(exponent)}
    SUB R3,(R5)+
{name}.row:
    {repeat("R4", f"{dy}+{2 * n * size}.", f"{name}.next", size)}"""


def tables(positions: int, vocab: int) -> str:
    """Exponentials of both softmaxes, logarithms of the loss's sums.

    In front of the exponentials lies that of a distance of 65535, which is -1.
    """
    lines = [".EVEN", "logs:", *_lines(sum_logarithms(vocab).tolist())]
    for top in sorted({top_octaves(positions), top_octaves(vocab)}):
        lines += [".WORD 0", f"exps.{top}:", *_lines(exponentials(top).tolist())]
    return "\n".join(lines)


def _lines(cells: list[int]) -> list[str]:
    words = [f"{cell}." if cell >= 0 else f"-{-cell}." for cell in cells]
    return [
        ".WORD " + ",".join(words[at_ : at_ + WORDS_A_LINE])
        for at_ in range(0, len(words), WORDS_A_LINE)
    ]
