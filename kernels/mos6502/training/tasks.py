"""What a machine trains on: its random numbers, its first weights, sequences and their answers.

To add a task: a function of a Shape in ANSWERS, named as in compiler/recipes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import add_to_word, lines, set_word
from anachron.kernels.mos6502.training.shape import Shape


@dataclass(frozen=True)
class Tensor:
    """Where a parameter's integers lie: label_low, label_high, `first` behind them.

    step, stride  bytes from a column to the next, from a row to the next
    shift         of a random 16-bit integer to the right, for a first weight
    """

    label: str
    first: int
    rows: int
    columns: int
    step: int
    stride: int
    shift: int


def fill(tensors: Sequence[Tensor]) -> str:
    """First weights, a random number each, in the order of the model.

    """
    calls = [
        lines(
            set_word("source", f"{t.label}_low+{t.first}"),
            set_word("slot", f"{t.label}_high+{t.first}"),
            f"    lda #{t.rows}\n    sta offset\n    lda #{t.shift}\n    sta total",
            f"fill_{t.label}_{t.first}:",
            set_word("product", str(t.step)),
            f"    lda #{t.columns}\n    sta position\n    jsr fill",
            add_to_word("source", str((t.stride - t.columns * t.step) % 65536)),
            add_to_word("slot", str((t.stride - t.columns * t.step) % 65536)),
            f"    dec offset\n    bne fill_{t.label}_{t.first}",
        )
        for t in tensors
    ]
    return lines(
        "; fill_all: random weights;  uses A, X, Y",
        "fill_all:",
        *calls,
        "    rts",
        """\
; fill: `position` numbers from source and slot on, `product` apart: even random ones of 16 bits
;  >> total;  uses A, X, Y, part
fill:
    jsr next_random
    lda random_state+3
    sta part+1
    lda random_state+2
    ldx total
fill_shift:
    tay
    lda part+1
    asl
    tya
    ror part+1
    ror
    dex
    bne fill_shift
    ldy #0
    and #$fe
    sta (source),y
    lda part+1
    sta (slot),y""",
        _add("source"),
        _add("slot"),
        "    dec position\n    bne fill\n    rts",
    )


def _add(name: str) -> str:
    return (
        f"    clc\n    lda {name}\n    adc product\n    sta {name}\n"
        f"    lda {name}+1\n    adc product+1\n    sta {name}+1"
    )


def draw(shape: Shape, task: str) -> str:
    """A sequence: its tokens, where their embeddings lie, and what it is to become."""
    n = shape.positions
    return f"""\
; draw: tokens, token_rows and answers of the next sequence;  uses A, X, Y, part, total
draw:
    lda #0
    sta position
draw_next:
    jsr next_random
{_scale("random_state+2", shape.vocab)}
    ldx position
    lda total+2
    sta tokens,x
    sta part
    lda #0
    sta part+1
{_scale("part", shape.dim)}
    ldx position
    clc
    lda total
    adc #<tok_low
    sta token_rows_low,x
    lda total+1
    adc #>tok_low
    sta token_rows_high,x
    inc position
    lda position
    cmp #{n}
    beq draw_answer     ;@ times {n}
    jmp draw_next
draw_answer:
{ANSWERS[task](shape)}
    rts"""


def _scale(word: str, times: int) -> str:
    """total, three bytes, = a word times a constant."""
    text = ["    lda #0\n    sta total\n    sta total+1\n    sta total+2"]
    for bit in f"{times:b}":
        if len(text) > 1:
            text.append("    asl total\n    rol total+1\n    rol total+2")
        if bit == "1":
            text.append(
                f"    clc\n    lda total\n    adc {word}\n    sta total\n    lda total+1\n"
                f"    adc {word}+1\n    sta total+1\n    lda total+2\n    adc #0\n    sta total+2"
            )
        elif len(text) == 1:
            text.append("")
    return lines(*text)


def _reverse(shape: Shape) -> str:
    n = shape.positions
    return f"""\
    ldx #{n - 1}
    ldy #0
draw_turn:
    lda tokens,x        ;@ aligned
    sta answers,y
    iny
    dex
    bpl draw_turn       ;@ times {n}"""


def _copy(shape: Shape) -> str:
    n = shape.positions
    return f"""\
    ldx #{n - 1}
draw_copy:
    lda tokens,x        ;@ aligned
    sta answers,x
    dex
    bpl draw_copy       ;@ times {n}"""


def _sort(shape: Shape) -> str:
    """Neighbours are exchanged, in as many walks as there are positions."""
    n = shape.positions
    return f"""\
{_copy(shape)}
    lda #{n}
    sta part
draw_walk:
    ldx #0
draw_pair:
    lda answers+1,x     ;@ aligned
    cmp answers,x       ;@ aligned
    bcs draw_ordered    ;@ p=0.6
    tay
    lda answers,x       ;@ aligned
    sta answers+1,x
    tya
    sta answers,x
draw_ordered:
    inx
    cpx #{n - 1}
    bne draw_pair       ;@ times {n - 1}
    dec part
    bne draw_walk       ;@ times {n}"""


def _sum(shape: Shape) -> str:
    """At every place the sum of all, modulo the number of ids."""
    n = shape.positions
    return f"""\
    lda #0
    ldx #{n - 1}
draw_add:
    clc
    adc tokens,x        ;@ aligned
    cmp #{shape.vocab}
    bcc draw_below      ;@ p=0.5
    sbc #{shape.vocab}
draw_below:
    dex
    bpl draw_add        ;@ times {n}
    ldx #{n - 1}
draw_store:
    sta answers,x
    dex
    bpl draw_store      ;@ times {n}"""


ANSWERS: dict[str, Callable[[Shape], str]] = {
    "reverse": _reverse,
    "copy": _copy,
    "sort": _sort,
    "sum": _sum,
}
