"""matvec in residues of a vector that is often 0: the other columns alone -> assembly text.

    take   for each element above 0, from the last slots of the chains on: where its column of
           weights lies, and its residues as operands
    rows   each chain is entered at the first slot in use:
           LDY weight,X   ADC table+x,Y   SBC table,Y

matvec.py takes the sum of t(w) off once, in a row's constant; here nobody knows beforehand which
columns will count, so each takes its own off.  In the chains of 255 and 99 ADC and SBC follow each
other: the carry that SBC takes for no borrow is one too many, the one that it leaves one too few.

What bounds it: 12 cycles a product and modulus, 16 in that of 256: 40 where matvec.py takes 26, so
it is faster where fewer than two of three elements count; an element that does takes some 200, one
that does not 30.

Elements below 0 count as 0: a relu before it need not be done.  A vector with more elements than
slots, or too long for its sums to be proven, is done in two halves, the second added to the first.

    <name>_whole     begins with the rows' constants, <name>_more with none: a second half
    <name>_take      takes a vector (compaction.py): the carry is set where it is too long
    <name>_rows      does a range of rows

To add an end: matvec.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.residue.matvec import (
    End,
    Packed,
    aim,
    chain_start,
    end_label,
    finish,
    shifted,
)
from anachron.kernels.mos6502.residue.moduli import WIDE

SLOT = {256: 11, 255: 9, 99: 9}  # bytes
POINTERS = {256: "past_low", 255: "past_high", 99: "key_low"}  # at the slot filled last
ENOUGH = 0x8000  # a limit from here on is none
UNIT = 64  # of elements that are squared
LIKELY = 6  # in 8, the share of vectors with the expected number of elements


@dataclass(frozen=True)
class Shape:
    """A kernel's.

    packed   one block; all columns have the same origin
    slots    elements that it takes at once
    active   elements that are expected in a run of the rows
    guarded  some vectors are measured
    largest  element
    order    label of the columns' elements, if it is that of all matrices
    """

    packed: Packed
    slots: int
    active: float
    guarded: bool
    largest: int = 0x7FFF
    order: str = ""

    @property
    def name(self) -> str:
        return self.packed.name

    def slot(self, modulus: int, number: int) -> str:
        return f"{self.name}_c{modulus}_{number}"

    def entries(self, modulus: int) -> str:
        """Where a chain may be entered: at its ends, and where it is expected to be, so often that
        the mean is right."""
        rest = 8 - LIKELY
        used = round(8 * min(self.active, self.slots) - rest // 2 * self.slots)
        used = max(0, min(self.slots * LIKELY, used))
        likely = (self.slots - (used + i) // LIKELY for i in range(LIKELY))
        numbers = [0, self.slots, *likely]
        return ", ".join(self.slot(modulus, number) for number in numbers)


def pack(name: str, weights: Sequence[Array]) -> Packed:
    """Put matrices, (rows, columns) int8, into one block, all columns with one origin."""
    rows = np.concatenate(weights).astype(np.int64)
    n, columns = rows.shape
    stride = 1 << (n - 1).bit_length()
    origin = min(0, int(rows.min()))
    block = np.zeros((columns, stride), np.uint8)
    block[:, :n] = (rows - origin).T
    byte, part = np.arange(256), np.arange(99)
    residues = {256: byte, 255: byte, 99: np.add.outer(part, part).ravel()}
    # P(r > 255 - w') by w', then over all weights
    beyond = {m: np.array([(r > 255 - w).mean() for w in byte]) for m, r in residues.items()}
    firsts = np.cumsum([0, *(len(weight) for weight in weights)])
    return Packed(
        name,
        WIDE,
        16,
        (block.tobytes(),),
        tuple((0, int(first)) for first in firsts[:-1]),
        np.full(columns, origin),
        stride,
        tuple(range(0, columns * stride, stride)),
        {},
        {m: round(float(shares[rows - origin].mean()), 3) for m, shares in beyond.items()},
    )


def constants(shape: Shape) -> str:
    """`<name>_whole`, `<name>_more`: what rows start from: their constants, or nothing."""
    name = shape.name
    operands = [f"{name}_r{m}" for m in SLOT]
    zeros = [f"    sta {label}+{at}" for at in (1, 2) for label in operands]
    return lines(
        f"; {name}_more: rows start from 0; uses A\n{name}_more:\n    lda #<{name}_zeros",
        *zeros[:3],
        f"    lda #>{name}_zeros",
        *zeros[3:],
        f"    rts\n; {name}_whole: they start from their constants; uses A\n{name}_whole:",
        *(
            f"    lda #{half}{name}_bias_{m}\n    sta {name}_r{m}+{at}"
            for m in SLOT
            for at, half in ((1, "<"), (2, ">"))
        ),
        "    rts",
    )


def fill_zeros(shape: Shape) -> str:
    """`fill_<name>`: the constants of a second half; once."""
    n = shape.packed.stride
    return f"""\
; fill_{shape.name}: {shape.name}_zeros; uses A, X
fill_{shape.name}:
    ldx #{n - 1}
    lda #0
_zero:
    sta {shape.name}_zeros,x
    dex
    cpx #$ff
    bne _zero           ;@ times {n}
    rts"""


def chain(shape: Shape, m: int) -> str:
    """A row's sum modulo m, entered at the first slot in use."""
    name, crossing = shape.name, shape.packed.crossing
    constant = f"{name}_r{m}:\n    {{}} {name}_bias_{m},x   ;@ p=0.1\n"
    text = [chain_start(name, m, constant)]
    text.append(f"{name}_go{m}:\n    jmp $ffff           ;@ goes {shape.entries(m)}")
    clear, borrow = ("    clc\n", "    sec\n") if m == 256 else ("", "")
    for number in range(shape.slots):
        text.append(
            f"{shape.slot(m, number)}:\n    ldy $ffff,x         ;@ aligned\n{clear}"
            f"    adc t{m},y           ;@ patched, p={crossing[m]}\n{borrow}"
            f"    sbc t{m},y           ;@ aligned"
        )
    return lines(*text, f"{shape.slot(m, shape.slots)}:")


def rows(shape: Shape, ends: Sequence[End], likely: End) -> str:
    """`<name>_rows`: the rows from X down to the one above the operand of `last`."""
    name, packed = shape.name, shape.packed
    text = [
        f"; {name}_rows: rows X, X-1, ... of the columns taken times their elements, shifted, to\n"
        f"; the arrays that the end at `{name}_end` names; uses A, X, Y, total\n"
        f"{name}_done:\n    rts\n{name}_next:\n    dex\n{name}_last:\n    cpx #0\n"
        f"    beq {name}_done     ;@ times rows\n{name}_rows:"
    ]
    text += [chain(shape, m) for m in packed.basis.moduli]
    labels = {end: end_label(packed, *end) for end in ends}
    targets = ", ".join([labels[likely]] * LIKELY + [labels[end] for end in ends if end != likely])
    text.append(f"{finish(packed)}\n{name}_end:\n    jmp $ffff           ;@ goes {targets}")
    for end, label in labels.items():
        text.append(f"{label}:\n{shifted(packed, label, *end)}\n    jmp {name}_next")
    return lines(*text)


def call(
    shape: Shape,
    op: str,
    matrix: int,
    x: Vector,
    out: Vector,
    order: str,
    limit: int,
    ends: tuple[End, End, End],
    sums: str,
    in_halves: float = 0.04,
) -> str:
    """The op's text: at once where that is possible, else in halves.

    order  label of the columns' elements    limit  of take; ENOUGH or more: all vectors will do
    ends   of the whole, and of both halves  sums   label of three arrays of rows
    """
    packed, half = shape.packed, x.size // 2
    first = packed.places[matrix][1]
    parts = [f"{sums}+{i * out.size}" for i in range(3)]

    def go(end: End, jump: str) -> str:
        return lines(aim(packed, matrix, end, out, parts), f"    ldx #{first + out.size - 1}\n"
                     f"    {jump} {shape.name}_rows")

    def took(last: int, before: int) -> str:
        return (
            f"    ldx #{last}\n    lda #{before & 255}\n    sta count_a\n    jsr {shape.name}_take"
        )

    set_order = (
        f"    lda #<{order}\n    sta {shape.name}_order+1\n    lda #>{order}\n"
        f"    sta {shape.name}_order+2"
    )
    whole, one, other = ends
    guard = set_word("count_b", str(limit)) if shape.guarded else ""
    sure = "    lda #$ff\n    sta count_b+1" if shape.guarded else ""
    return lines(
        f"{op}:",
        set_word("source_low", x.low),
        set_word("source_high", x.high),
        "" if shape.order else set_order,
        f"    lda #{first - 1 & 255}\n    sta {shape.name}_last+1",
        guard,
        took(x.size - 1, -1),
        f"    bcs {op}_parts      ;@ p={in_halves:.3f}",
        go(whole, "jmp"),
        f"{op}_parts:",
        sure,
        took(x.size - 1, half - 1),
        go(one, "jsr"),
        f"    jsr {shape.name}_more",
        took(half - 1, -1),
        go(other, "jsr"),
        f"    jmp {shape.name}_whole",
    )
