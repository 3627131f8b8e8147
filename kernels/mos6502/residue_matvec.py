"""matvec in residues: 26 cycles a product where the general kernel takes 60 -> assembly text.

    one row, X:    for each modulus    A = row's constant - vector's constant
                                       for each column   LDY weight,X   ADC table+x,Y

The address adder forms w + x: the weight is the index, the operand's low byte, patched once a
vector, is the residue of x.  Column c of the matrix is a page of weights, one byte a row, so that X
picks the row and no weight read crosses a page; all matrices with so many columns share the code
and, 256 rows at a time, the pages (a block).  A matrix is then a range of X.

What bounds it: only ADC accumulates, only into A; each product and modulus needs an indexed
operand (4 cycles) and a fresh index (4): 8 cycles, 2 more for the CLC of modulus 256, so 26 a
product.  A row adds about 90, a column about 70, a crossed page 1 (w + x above 255).

Exact where every sum lies in residues.LOWEST_SUM .. HIGHEST_SUM and its shifted value fits int16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residues import MODULI, choose_origin, row_constants

BLOCK_ROWS = 256
SHIFTS = range(4, 15)  # of results that the kernel's ends can make


@dataclass(frozen=True)
class Block:
    """Up to 256 rows with the same number of columns, from any matrices.

    weights    (columns, 256)  uint8: weight less the column's origin
    constants  modulus -> (256,) uint8
    """

    weights: Array
    constants: dict[int, Array]

    def pages(self) -> bytes:
        """The block as it lies in memory: a page a column, then a page a modulus."""
        rows = [*self.weights, *(self.constants[m] for m in MODULI)]
        return np.stack(rows).astype(np.uint8).tobytes()


def pack_blocks(
    matrices: list[tuple[Array, Array]],
) -> tuple[list[Block], list[tuple[int, int]], Array]:
    """Rows of several matrices into blocks.

    matrices  (weight (rows, columns) int8, bias (rows,) int32), each of at most 256 rows
    return    (blocks, (block, first row in it) of each matrix, origins (columns,))
    """
    origin = choose_origin(np.concatenate([w for w, _ in matrices]))
    columns = len(origin)
    filled: list[int] = []
    places: list[tuple[int, int]] = []
    for weight, _ in matrices:
        at = next((i for i, n in enumerate(filled) if n + len(weight) <= BLOCK_ROWS), len(filled))
        if at == len(filled):
            filled.append(0)
        places.append((at, filled[at]))
        filled[at] += len(weight)
    blocks = [
        Block(
            np.zeros((columns, BLOCK_ROWS), np.uint8),
            {m: np.zeros(BLOCK_ROWS, np.uint8) for m in MODULI},
        )
        for _ in filled
    ]
    for (weight, bias), (at, first) in zip(matrices, places, strict=True):
        rows = slice(first, first + len(weight))
        blocks[at].weights[:, rows] = (weight.astype(np.int64) - origin).T
        for m, values in row_constants(weight, bias, origin).items():
            blocks[at].constants[m][rows] = values
    return blocks, places, origin


def select(name: str, columns: int) -> str:
    """`<name>_select`: point the code at the block whose first page is in Y."""
    text = [f"; {name}_select: the block of pages from Y on; uses Y\n{name}_select:"]
    for c in range(columns):
        text += [f"    sty {name}_w{m}_{c}+2" for m in MODULI] + ["    iny"]
    for i, m in enumerate(MODULI):
        text += [f"    sty {name}_r{m}+2"] + (["    iny"] if i < len(MODULI) - 1 else [])
    return lines(*text, "    rts")


def prepare(name: str, columns: int, low: str, high: str, origin: Array) -> str:
    """`<name>_prepare`: the int16 vector at low, high becomes the operands of the rows' chains.

    scratch is used; decimal mode is on for a while: interrupts must be off.
    """
    text = [f"; {name}_prepare: {low}, {high} -> operands; uses A, X, Y, scratch\n{name}_prepare:"]
    for c in range(columns):
        text.append(
            f"    ldx {low}+{c}\n    stx {name}_t256_{c}+1\n    lda {high}+{c}\n    eor #$80\n"
            f"    tay\n    sty scratch\n    txa\n    clc\n    adc scratch\n    adc #0\n"
            f"    sta {name}_t255_{c}+1\n    lda low_mod99,x         ;@ aligned\n"
            f"    adc high_mod99,y        ;@ aligned\n    sta {name}_t99_{c}+1"
        )
    for m in MODULI:
        text.append("    sed" if m == 99 else "")
        text.append("    lda #0\n    clc")
        for c in range(columns):
            text.append(f"    ldy {name}_t{m}_{c}+1")
            text.append("    clc" if m == 256 and c else "")
            text.append(f"    adc t{m}+{-int(origin[c])},y")
        match m:
            case 256:
                text.append(f"    sta {name}_s256+1")
            case 255:
                text.append(f"    adc #0\n    eor #$ff\n    sta {name}_s255+1")
            case 99:
                text.append(
                    "    adc #0\n    sta scratch\n    lda #$99\n    sec\n    sbc scratch\n"
                    f"    sta {name}_s99+1\n    cld"
                )
    return lines(*text, "    rts")


def rows(name: str, columns: int, ends: tuple[int, ...]) -> str:
    """`<name>_rows`: the rows from X down to the one above the operand of `<name>_last`.

    ends  the shifts that the matrices need; a call patches `<name>_end` to one of them
    """
    text = [
        f"; {name}_rows: rows X, X-1, ... of the block times the vector, shifted, to the arrays",
        f"; that `{name}_low`, `{name}_high` name; uses A, X, Y, total; decimal for a while",
        f"{name}_rows:",
    ]
    for m in MODULI:
        match m:
            case 256:
                text.append(f"{name}_r256:\n    lda $ff00,x\n    sec\n{name}_s256:\n    sbc #0")
            case 255:
                text.append(
                    f"    sta total\n    eor #$ff\n    clc\n{name}_r255:\n    adc $ff00,x\n"
                    f"{name}_s255:\n    adc #0"
                )
            case 99:
                text.append(
                    "    adc #0\n    sta total+1\n    tay\n    sed\n"
                    "    lda less_middle,y       ;@ aligned\n    ldy total\n"
                    f"    adc less_low,y          ;@ aligned\n{name}_r99:\n    adc $ff00,x\n"
                    f"{name}_s99:\n    adc #0"
                )
        for c in range(columns):
            text.append(f"{name}_w{m}_{c}:\n    ldy $ff00,x         ;@ aligned")
            text.append("    clc" if m == 256 else "")
            text.append(f"{name}_t{m}_{c}:\n    adc t{m},y            ;@ p={CROSSING}")
    text.append(
        f"    adc #0\n    cld\n    tay\n    clc\n    lda total+1\n"
        f"    adc wraps_low,y         ;@ aligned\n{name}_end:\n    jmp {name}_end_{ends[0]}"
        f"    ;@ goes {', '.join(f'{name}_end_{s}' for s in ends)}"
    )
    for shift in ends:
        text.append(_end(name, shift))
    return lines(*text)


CROSSING = 0.27  # of the reads t+x,Y, measured on trained weights


def _end(name: str, shift: int) -> str:
    """A holds the low byte of T >> 8, Y the third residue, carry out of the low byte."""
    text = [f"{name}_end_{shift}:"]
    up, down = max(0, 8 - shift), max(0, shift - 8)
    if up:
        text.append("    sta total+1\n    lda wraps_high,y        ;@ aligned\n    adc #0")
        text += ["    asl total\n    rol total+1\n    rol"] * up
    elif down:
        text.append("    sta total+1\n    lda wraps_high,y        ;@ aligned\n    adc #0")
        text += ["    cmp #$80\n    ror\n    ror total+1"] * down
    else:
        text.append(
            f"{name}_low_{shift}:\n    sta $ffff,x\n    lda wraps_high,y        ;@ aligned\n"
            "    adc #0"
        )
    text.append(f"{name}_high_{shift}:\n    sta $ffff,x")
    if shift != 8:
        text.append(f"    lda total+1\n{name}_low_{shift}:\n    sta $ffff,x")
    text.append(
        f"    dex\n{name}_last_{shift}:\n    cpx #0\n    beq _done           ;@ times rows\n"
        f"    jmp {name}_rows\n_done:\n    rts"
    )
    return lines(*text)


def call(name: str, first: int, n_rows: int, shift: int, low: str, high: str) -> str:
    """Set the ends of a matrix's rows and do them: a tail call.

    first  its first row in the block that is selected
    low, high  labels of the result's arrays
    """
    text = []
    for part, label in (("low", low), ("high", high)):
        target = f"{label}-{first}" if first else label
        text.append(
            f"    lda #<({target})\n    sta {name}_{part}_{shift}+1\n"
            f"    lda #>({target})\n    sta {name}_{part}_{shift}+2"
        )
    text.append(
        f"    lda #<{name}_end_{shift}\n    sta {name}_end+1\n"
        f"    lda #>{name}_end_{shift}\n    sta {name}_end+2\n"
        f"    lda #{first - 1 & 255}\n    sta {name}_last_{shift}+1\n"
        f"    ldx #{first + n_rows - 1}\n    jmp {name}_rows"
    )
    return lines(*text)


def applicable(rows_lo: Array, rows_hi: Array, shift: Array) -> str:
    """Why these kernels cannot do a matrix, or nothing: bounds of its sums, row by row."""
    from anachron.kernels.mos6502.residues import HIGHEST_SUM, LOWEST_SUM

    if len(set(shift.tolist())) != 1 or int(shift[0]) not in SHIFTS:
        return "its rows have different shifts"
    if rows_lo.min() < LOWEST_SUM or rows_hi.max() > HIGHEST_SUM:
        return f"its sums may reach {max(-rows_lo.min(), rows_hi.max()):,}"
    if (rows_lo >> shift).min() < -32768 or (rows_hi >> shift).max() > 32767:
        return "its results may saturate"
    return ""
