"""matvec of a vector that is often 0, for rows of any shifts, in the wide basis -> assembly text.

The chains are sparse.py's, with a slot for every column; how rows end is rows.py's: those that end
alike lie together, a run, and a table has their places in the result.  Elements below 0 count as 0.

What bounds it: 40 cycles a product that counts, a row 60 to 170 more, an element that does 200.

    <name>_take   takes a vector (compaction.py)      <name>_rows   does a run of rows
"""

from __future__ import annotations

from collections.abc import Sequence

from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.residue.ends import End, end_label, ends, last_label, operands
from anachron.kernels.mos6502.residue.sparse import Shape, chain


def places(shape: Shape) -> str:
    """The label of the table of rows' places."""
    return f"{shape.name}_places"


def rows(shape: Shape, wanted: Sequence[End]) -> str:
    """`<name>_rows`: the rows from X down to the one above the operand of the store's `last`."""
    name = shape.name
    return lines(
        f"; {name}_rows: rows X, X-1, ... of the columns taken, to where their end says; uses A,\n"
        f"; X, Y, total; decimal for a while\n{name}_rows:",
        *(chain(shape, m) for m in shape.packed.basis.moduli),
        f"    adc #0\n    cld\n    tay\n{name}_next:\n    jmp $ffff           "
        f";@ goes {{{way(shape)}}}",
        ends(name, list(wanted), places(shape), 0).replace(",x   ;@ aligned", ",x   ;@ p=0.1"),
    )


def way(shape: Shape) -> str:
    """The variable of timing claims that holds what follows the chains."""
    return f"{shape.name}_after"


def environment(shape: Shape, end: End, size: int) -> dict[str, object]:
    """What claims ask for when a run of so many rows is done."""
    return {"rows": size, way(shape): end_label(shape.name, end)}


def take(shape: Shape, x: Vector) -> str:
    """Put a vector into the chains."""
    return lines(
        set_word("source_low", x.low),
        set_word("source_high", x.high),
        f"    ldx #{x.size - 1}\n    lda #$ff\n    sta count_a\n    jsr {shape.name}_take",
    )


def call(shape: Shape, first: int, size: int, end: End, out: Vector) -> str:
    """Do a run of rows: a tail call."""
    targets = [(f"{shape.name}_next", end_label(shape.name, end))]
    targets += operands(shape.name, end, out.low, out.high if out.bits == 16 else "")
    return lines(
        *(
            f"    lda #<({target})\n    sta {label}+1\n    lda #>({target})\n    sta {label}+2"
            for label, target in targets
        ),
        f"    lda #{first - 1 & 255}\n    sta {last_label(shape.name, end)}+1",
        f"    ldx #{first + size - 1}\n    jmp {shape.name}_rows",
    )
