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

Elements below 0 count as 0: a relu before it need not be done.  A vector too long for its sums to
be proven is done in two halves: its columns are taken in two steps, and where the first one ended
the chains are left, for the second half alone, or entered, for the first.

    <name>_whole     begins with the rows' constants, <name>_more with none: a half
    <name>_take      takes a vector (compaction.py): the carry is set where it is too long;
                     <name>_order   takes more of it
    <name>_split     notes where the chains are; <name>_lower, <name>_upper   the elements taken
                     since, those before
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
JMP, LDY = 0x4C, 0xBC  # of absolute, absolute + X
LIKELY = 6  # in 8, the share of vectors with the expected number of elements


@dataclass(frozen=True)
class Shape:
    """A kernel's.

    packed   one block; all columns have the same origin
    active   elements that are expected in a run of the rows
    guarded  some vectors are measured
    largest  element
    order    label of the columns' elements, if it is that of all matrices
    """

    packed: Packed
    active: float
    guarded: bool
    largest: int = 0x7FFF
    order: str = ""

    @property
    def name(self) -> str:
        return self.packed.name

    @property
    def slots(self) -> int:
        """Elements that it takes: all may count."""
        return self.packed.columns

    def slot(self, modulus: int, number: int) -> str:
        return f"{self.name}_c{modulus}_{number}"

    def entries(self, modulus: int) -> str:
        """Where a chain is entered, as claims say it: at either end, so often that the mean is
        right."""
        share = min(self.active, self.slots) / self.slots
        first, last = self.slot(modulus, 0), self.slot(modulus, self.slots)
        return f"{first}, {last}, p=usual(columns_taken,{share:.4f})"


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


def halves(shape: Shape) -> str:
    """`<name>_split`, `<name>_lower`, `<name>_upper`; what is noted: where each chain is entered,
    and what it takes off."""
    name = shape.name
    goes = [f"{name}_go{m}+{i}" for m in SLOT for i in (1, 2)]
    noted = [*goes, *(f"{name}_s{m}+1" for m in SLOT)]
    kept = [f"{name}_noted+{i}" for i in range(len(noted))]
    less, leave = [], []
    column = [f"{name}_noted+{len(noted) + i}" for i in range(2)]  # of the slot that is left at
    for number, m in enumerate(SLOT):
        own, before = noted[len(goes) + number], kept[len(goes) + number]
        modes = ("    sed", "    cld") if m == 99 else ("", "")
        around = "" if m == 256 else "    sbc #0"
        less += [f"{modes[0]}\n    sec\n    lda {own}\n    sbc {before}", around]
        less += [f"    sta {own}", modes[1]]
        pointer, end = POINTERS[m], shape.slot(m, shape.slots)
        leave.append(
            f"    lda {kept[2 * number]}\n    sta {pointer}\n    lda {kept[2 * number + 1]}\n"
            f"    sta {pointer}+1\n    ldy #0\n    lda #{JMP}\n    sta ({pointer}),y\n    iny\n"
            f"    lda #<{end}\n    sta ({pointer}),y\n    iny\n    lda #>{end}\n"
            f"    sta ({pointer}),y"
        )
    stores = "\n".join(f"    sta ({pointer}),y" for pointer in POINTERS.values())
    point = f"    lda {kept[0]}\n    sta {POINTERS[256]}\n    lda {kept[1]}\n"
    point += f"    sta {POINTERS[256]}+1"
    end = shape.slot(256, shape.slots)
    none = f"    lda {kept[0]}\n    cmp #<{end}\n    bne *+9             ;@ p=0.99\n"
    none += f"    lda {kept[1]}\n    cmp #>{end}\n    beq {{}}           ;@ p=0.01"
    return lines(
        f"; {name}_split: notes where the chains are; uses A\n{name}_split:",
        *(f"    lda {a}\n    sta {b}" for a, b in zip(noted, kept, strict=True)),
        f"    rts\n; {name}_lower: only what was taken since; uses A, Y, the pointers",
        f"{name}_lower:",
        *less,
        none.format("_empty"),
        point,
        *(
            f"    ldy #{i + 1}\n    lda ({POINTERS[256]}),y\n    sta {place}"
            for i, place in enumerate(column)
        ),
        *leave,
        f"_empty:\n    rts\n; {name}_upper: only what was taken before; uses A, Y\n{name}_upper:",
        none.format("_nothing"),
        f"    ldy #0\n    lda #{LDY}\n{stores}",
        *(f"    iny\n    lda {place}\n{stores}" for place in column),
        "_nothing:",
        *(f"    lda {b}\n    sta {a}" for a, b in zip(noted, kept, strict=True)),
        f"    rts\n{name}_noted:\n    .res {len(noted) + len(column)}, 0",
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
    packed, half, name = shape.packed, x.size // 2, shape.name
    first = packed.places[matrix][1]
    parts = [f"{sums}+{i * out.size}" for i in range(3)]

    def go(end: End, jump: str) -> str:
        return lines(aim(packed, matrix, end, out, parts), f"    ldx #{first + out.size - 1}\n"
                     f"    {jump} {name}_rows")

    set_order = (
        f"    lda #<{order}\n    sta {name}_order+1\n    lda #>{order}\n    sta {name}_order+2"
    )
    whole, one, other = ends
    start = lines(
        f"{op}:",
        set_word("source_low", x.low),
        set_word("source_high", x.high),
        "" if shape.order else set_order,
        f"    lda #{first - 1 & 255}\n    sta {name}_last+1",
        set_word("count_b", str(limit)) if shape.guarded else "",
        f"    ldx #{x.size - 1}",
    )
    if limit >= ENOUGH:
        return lines(start, f"    lda #255\n    sta count_a\n    jsr {name}_take", go(whole, "jmp"))
    return lines(
        start,
        f"    lda #{half - 1}\n    sta count_a\n    jsr {name}_take\n    jsr {name}_split\n"
        f"    lda #255\n    sta count_a\n    jsr {name}_order",
        f"    bcs {op}_parts      ;@ p=usual(in_halves,{in_halves:.3f})",
        go(whole, "jmp"),
        f"{op}_parts:\n    jsr {name}_lower\n    jsr {name}_more",
        go(one, "jsr"),
        f"    jsr {name}_upper\n    jsr {name}_whole",
        go(other, "jmp"),
    )


def taken(shape: Shape, limit: int) -> int:
    """Columns that an op's vector is taken by at once."""
    return shape.packed.columns if limit >= ENOUGH else shape.packed.columns // 2
