"""matvec in residues: 26 cycles a product where the general kernel takes 60 -> assembly text.

    one row, X:    for each modulus    A = row's constant - vector's constant
                                       for each column   LDY weight,X   ADC table+x,Y

The address adder forms w + x: the weight is the index, the operand's low byte, patched once a
vector, is the residue of x.  A column of the matrix is a row of bytes inside a page, so that X
picks the row and no weight read crosses a page; all matrices with so many columns share the code
and, 256 rows at a time, the pages (a block).  A matrix is then a range of X.

What bounds it: only ADC accumulates, only into A; each product and modulus needs an indexed
operand (4 cycles) and a fresh index (4): 8 cycles, 2 more for the CLC of modulus 256, so 26 a
product in the wide basis, 18 in the narrow one.  A row adds about 90 (50), a column about 70 (30),
a crossed page 1 (w + x above 255).

Exact where every sum lies in the basis and its shifted value fits the result.

    <name>_select    points at a block         <name>_prepare   takes a vector
    <name>_rows      does a range of rows      <name>_end_...   what a row ends with

To add an end: a case in `_end`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.moduli import Basis, choose_origin, row_constants

PAGE = 256
BLOCK_ROWS = (256, 128, 64)  # of a block, where there are several: 1, 2 or 4 columns a page
SUMS = 0  # in place of a shift: the row's sum goes to the arrays `sums`, to be added to
SHIFTS = range(2, 15)  # of results that the kernel's ends can make


End = tuple[int, int, bool]


@dataclass(frozen=True)
class Packed:
    """Rows of several matrices with the same number of columns, in blocks of up to 256.

    blocks  bytes of each, from the start of a page
    places  (block, first row in it) of each matrix
    origin  (columns,)  what was taken off the weights
    stride  bytes from a column to the next
    column, constant  offsets in a block of each column, and of each modulus's row constants
    crossing  how often a read of a modulus's table crosses a page, if x is spread evenly
    """

    name: str
    basis: Basis
    bits: int
    blocks: tuple[bytes, ...]
    places: tuple[tuple[int, int], ...]
    origin: Array
    stride: int
    column: tuple[int, ...]
    constant: dict[int, int]
    crossing: dict[int, float]

    @property
    def columns(self) -> int:
        return len(self.origin)


def pack(
    name: str,
    basis: Basis,
    bits: int,
    matrices: list[tuple[Array, Array]],
    dense: Sequence[float] = (),
    most_pages: int = PAGE,
) -> Packed:
    """Put matrices, (weight (rows, columns) int8, bias (rows,) int32), into blocks.

    dense       share of each matrix's elements of x that are not 0, for the prediction of its time
    most_pages  of a block; has_block says whether so many do
    """
    origin = choose_origin(np.concatenate([w for w, _ in matrices]))
    columns = len(origin)
    arrays = columns + len(basis.moduli)
    tried = [(fill([len(w) for w, _ in matrices], size), size) for size in BLOCK_ROWS]
    (filled, places), size = min(
        (
            way
            for way in tried
            if way[0][0] and pages(find_stride(way[0][0], way[1]), arrays) <= most_pages
        ),
        key=lambda way: block_bytes(way[0][0], way[1], arrays),
    )
    stride = find_stride(filled, size)
    in_page = PAGE // stride
    offsets = [i // in_page * PAGE + i % in_page * stride for i in range(arrays)]
    constant = dict(zip(basis.moduli, offsets[columns:], strict=False))
    blocks = [np.zeros(offsets[-1] + stride, np.uint8) for _ in filled]
    for (weight, bias), (at, first) in zip(matrices, places, strict=True):
        for c, values in enumerate((weight.astype(np.int64) - origin).T):
            blocks[at][offsets[c] + first :][: len(values)] = values
        for m, values in row_constants(weight, bias, origin, basis, bits).items():
            blocks[at][constant[m] + first :][: len(values)] = values
    data = tuple(block.tobytes() for block in blocks)
    shares = zip(matrices, dense or [1.0] * len(matrices), strict=True)
    crossing = _crossing(basis, bits, origin, [(w, share) for (w, _), share in shares])
    column = tuple(offsets[:columns])
    return Packed(
        name, basis, bits, data, tuple(places), origin, stride, column, constant, crossing
    )


def _crossing(
    basis: Basis, bits: int, origin: Array, matrices: list[tuple[Array, float]]
) -> dict[int, float]:
    """How often r + w' is more than a page, r a residue: even over a byte, of an int8 near 128."""
    byte, part = np.arange(256), np.arange(99)
    even = byte if bits == 16 else np.arange(64, 192)
    residues = {256: even, 255: even, 99: np.add.outer(part, part).ravel() if bits == 16 else even}
    found = {}
    for m in basis.moduli:
        # P(r > 255 - w') by w', then over all weights
        beyond = 1 - np.searchsorted(np.sort(residues[m]), 255 - byte, "right") / residues[m].size
        sizes = [w.size for w, _ in matrices]
        means = [float(beyond[w.astype(int) - origin].mean()) * share for w, share in matrices]
        found[m] = round(float(np.average(means, weights=sizes)), 3)
    return found


def fill(sizes: list[int], block: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Rows in each block, and (block, first row) of each part; nothing if one is too large."""
    filled: list[int] = []
    places: list[tuple[int, int]] = []
    if max(sizes) > block:
        return [], []
    for size in sizes:
        at = next((i for i, n in enumerate(filled) if n + size <= block), len(filled))
        if at == len(filled):
            filled.append(0)
        places.append((at, filled[at]))
        filled[at] += size
    return filled, places


def find_stride(filled: list[int], block: int) -> int:
    """A power of two: then columns follow each other at that distance."""
    return 1 << (filled[0] - 1).bit_length() if len(filled) == 1 else block


def pages(stride: int, arrays: int) -> int:
    """Of a block of so many arrays, rows of them at that distance."""
    return -(-arrays // (PAGE // stride))


def has_block(rows: int, arrays: int, most_pages: int) -> bool:
    """Some kind of block of no more than so many pages holds so many rows."""
    return any(rows <= size and pages(size, arrays) <= most_pages for size in BLOCK_ROWS)


def block_bytes(filled: list[int], block: int, arrays: int) -> int:
    return len(filled) * pages(find_stride(filled, block), arrays) * PAGE


def block_label(name: str, number: int) -> str:
    return f"{name}_block_{number}"


def select(packed: Packed) -> str:
    """`<name>_select`: point the code at the block whose first page is in Y."""
    name, moduli = packed.name, packed.basis.moduli
    uses: dict[int, list[str]] = {}
    for c, offset in enumerate(packed.column):
        uses.setdefault(offset // PAGE, []).extend(f"{name}_w{m}_{c}" for m in moduli)
    for m, offset in packed.constant.items():
        uses.setdefault(offset // PAGE, []).append(f"{name}_r{m}")
    text = [f"; {name}_select: the block of pages from Y on; uses Y\n{name}_select:"]
    for page in sorted(uses):
        text += ["    iny" if page else "", *(f"    sty {label}+2" for label in uses[page])]
    return lines(*text, "    rts")


def prepare(packed: Packed, x: Vector) -> str:
    """`<name>_prepare`: the vector x becomes the operands of the rows' chains.

    uses A, X, Y, scratch; decimal mode is on for a while: interrupts must be off
    """
    name, moduli = packed.name, packed.basis.moduli
    text = [f"; {name}_prepare: {x.low}, {x.high} -> operands; uses A, X, Y, scratch"]
    text.append(f"{name}_prepare:")
    for c in range(packed.columns):
        if x.bits == 8:
            text.append(f"    lda {x.low}+{c}\n    eor #$80")
            text += [f"    sta {name}_t{m}_{c}+1" for m in moduli]
            continue
        text.append(
            f"    ldx {x.low}+{c}\n    stx {name}_t256_{c}+1\n    ldy {x.high}+{c}\n    txa\n"
            + ("" if c else "    clc\n")  # no sum of residues leaves a carry
            + "    adc high_mod255,y       ;@ aligned\n    adc #0\n"
            f"    sta {name}_t255_{c}+1"
        )
        if 99 in moduli:
            text.append(
                "    lda low_mod99,x         ;@ aligned\n"
                f"    adc high_mod99,y        ;@ aligned\n    sta {name}_t99_{c}+1"
            )
    for m in moduli:
        text.append("    sed" if m == 99 else "")
        text.append("    lda #0\n    clc")
        for c in range(packed.columns):
            text.append(f"    ldy {name}_t{m}_{c}+1")
            text.append("    clc" if m == 256 and c else "")
            text.append(f"    adc t{m}+{-int(packed.origin[c])},y")
        text.append(negate_own(name, m))
    return lines(*text, "    rts")


def negate_own(name: str, m: int) -> str:
    """A, the sum of a vector's t modulo 256, 255 or 99, negative, into the rows' code."""
    match m:
        case 256:
            return f"    sta {name}_s256+1"
        case 255:
            return f"    adc #0\n    eor #$ff\n    sta {name}_s255+1"
    return (
        "    adc #0\n    sta scratch\n    lda #$99\n    sec\n    sbc scratch\n"
        f"    sta {name}_s99+1\n    cld"
    )


def rows(packed: Packed, ends: list[End]) -> str:
    """`<name>_rows`: the rows from X down to the one above the operand of the end's `last`.

    ends  (shift, bits of the result, whether `sums` are added) that the matrices need; shift SUMS
    """
    name, moduli, crossing = packed.name, packed.basis.moduli, packed.crossing
    first = block_label(name, 0)
    text = [
        f"; {name}_rows: rows X, X-1, ... of the block times the vector, shifted, to the arrays",
        f"; that the end at `{name}_end` names; uses A, X, Y, total; decimal for a while",
        f"{name}_rows:",
    ]
    for m in moduli:
        constant = f"{name}_r{m}:\n    {{}} {first}+{packed.constant[m]},x   ;@ aligned\n"
        text.append(chain_start(name, m, constant))
        for c in range(packed.columns):
            text.append(f"{name}_w{m}_{c}:\n    ldy {first}+{packed.column[c]},x   ;@ aligned")
            text.append("    clc" if m == 256 else "")
            text.append(f"{name}_t{m}_{c}:\n    adc t{m},y            ;@ p={crossing[m]}")
    text.append(finish(packed))
    labels = [end_label(packed, *end) for end in ends]
    text.append(f"{name}_end:\n    jmp {labels[0]}    ;@ goes {{{which(name)}}}")
    for label, end in zip(labels, ends, strict=True):
        text.append(_end(packed, label, *end))
    return lines(*text)


def chain_start(name: str, m: int, constant: str) -> str:
    """A chain's start: a row's constant, less the vector's, less what is told already.

    constant  the instruction that reads the row's, {} in place of its mnemonic
    """
    match m:
        case 256:
            return constant.format("lda") + f"    sec\n{name}_s256:\n    sbc #0"
        case 255:
            constant = constant.format("adc")
            return f"    sta total\n    eor #$ff\n    clc\n{constant}{name}_s255:\n    adc #0"
    less = "    lda less_middle,y       ;@ aligned\n    ldy total\n    adc less_low,y  ;@ aligned\n"
    return (
        f"    adc #0\n    sta total+1\n    tay\n    sed\n{less}{constant.format('adc')}"
        f"{name}_s99:\n    adc #0"
    )


def finish(packed: Packed) -> str:
    """The last chain's end into what `shifted` begins with."""
    if 99 in packed.basis.moduli:
        return (
            "    adc #0\n    cld\n    tay\n    clc\n    lda total+1\n"
            "    adc wraps_low,y         ;@ aligned"
        )
    return "    adc #0\n    cmp #$80\n    adc #0"


def which(name: str) -> str:
    """The variable of timing claims that holds the end in use."""
    return f"{name}_which"


def end_label(packed: Packed, shift: int, bits: int, adds: bool = False) -> str:
    return f"{packed.name}_end_{shift or 'sums'}_{bits}" + ("_more" if adds else "")


def _end(packed: Packed, label: str, shift: int, bits: int, adds: bool) -> str:
    """A row's end: the shifted sum to its place, the next row."""
    return lines(
        f"{label}:",
        shifted(packed, label, shift, bits, adds),
        f"    dex\n{label}_last:\n    cpx #0\n    beq _done           ;@ times rows\n"
        f"    jmp {packed.name}_rows\n_done:\n    rts",
    )


def shifted(packed: Packed, label: str, shift: int, bits: int, adds: bool) -> str:
    """The shifted sum to its place.

    In the wide basis A holds the low byte of T >> 8, Y the third residue, carry is out of the low
    byte; in the narrow one A holds T >> 8.
    """
    up, down = max(0, 8 - shift), max(0, shift - 8)
    wide = 99 in packed.basis.moduli
    high = (
        "    lda wraps_high,y        ;@ aligned\n    adc #0"
        if wide
        else ("    asl\n    lda #0\n    adc #$ff\n    eor #$ff")
    )
    text: list[str] = []
    if shift == SUMS:
        text.append(
            f"{label}_sum_1:\n    sta $ffff,x\n{high}\n{label}_sum_2:\n    sta $ffff,x\n"
            f"    lda total\n{label}_sum_0:\n    sta $ffff,x"
        )
    elif adds:
        text.append(f"    sta total+1\n{high}\n    sta total+2\n    clc")
        text += [
            f"    lda total+{i}\n{label}_sum_{i}:\n    adc $ffff,x\n    sta total+{i}"
            for i in range(3)
        ]
        text += ["    asl total\n    rol total+1\n    rol"] * up
        text += ["    cmp #$80\n    ror\n    ror total+1"] * down
        text.append(f"{label}_high:\n    sta $ffff,x" if bits == 16 else "")
        text.append(f"    lda total+1\n{label}_low:\n    sta $ffff,x")
    elif bits == 8:
        text += ["    asl total\n    rol"] * up
        if down:
            text.append(f"    sta total+1\n{high}")
            text += ["    cmp #$80\n    ror\n    ror total+1"] * down
            text.append("    lda total+1")
        text.append(f"{label}_low:\n    sta $ffff,x")
    elif up or down:
        text.append(f"    sta total+1\n{high}")
        text += ["    asl total\n    rol total+1\n    rol"] * up
        text += ["    cmp #$80\n    ror\n    ror total+1"] * down
        text.append(f"{label}_high:\n    sta $ffff,x")
        text.append(f"    lda total+1\n{label}_low:\n    sta $ffff,x")
    else:
        text.append(f"{label}_low:\n    sta $ffff,x\n{high}\n{label}_high:\n    sta $ffff,x")
    return lines(*text)


def call(packed: Packed, matrix: int, n_rows: int, end: End, out: Vector, sums: str = "") -> str:
    """Do a matrix's rows: a tail call.  Its block is selected, its vector prepared.

    sums  label of three arrays of n_rows, where the end needs them
    """
    label, first = end_label(packed, *end), packed.places[matrix][1]
    return lines(
        aim(packed, matrix, end, out, [f"{sums}+{i * n_rows}" for i in range(3)]),
        f"    lda #{first - 1 & 255}\n    sta {label}_last+1\n"
        f"    ldx #{first + n_rows - 1}\n    jmp {packed.name}_rows",
    )


def aim(packed: Packed, matrix: int, end: End, out: Vector, sums: Sequence[str] = ()) -> str:
    """Rows of a matrix end so, and go there; uses A."""
    label, first = end_label(packed, *end), packed.places[matrix][1]
    operands = [("low", out.low), ("high", out.high)][: out.bits // 8] if end[0] != SUMS else []
    if end[0] == SUMS or end[2]:
        operands += [(f"sum_{i}", target) for i, target in enumerate(sums)]
    text = []
    for part, target in operands:
        target = f"{target}-{first}" if first else target
        text.append(
            f"    lda #<({target})\n    sta {label}_{part}+1\n"
            f"    lda #>({target})\n    sta {label}_{part}+2"
        )
    text.append(
        f"    lda #<{label}\n    sta {packed.name}_end+1\n"
        f"    lda #>{label}\n    sta {packed.name}_end+2"
    )
    return lines(*text)


def gather(vector: Vector, x: Vector, order: str) -> str:
    """vector = the elements of x that the bytes at a label number; a loop, entered in line."""
    return f"""\
    ldx #{vector.size - 1}
_gather:
    ldy {order},x       ;@ p=0.1
    lda {x.low},y       ;@ p=0.1
    sta {vector.low},x
    lda {x.high},y      ;@ p=0.1
    sta {vector.high},x
    dex
    bpl _gather         ;@ times {vector.size}"""
