"""matvec of int8 vectors in two residues: 18 cycles a product -> assembly text.

    one row, X:    A = row's constant - vector's constant       modulo 256
                   for each column   LDY weight,X   CLC   ADC t256+x,Y
                   T modulo 256 is taken off; A = the rest      modulo 255
                   for each column   LDY weight,X   ADC t255+x,Y

residue/moduli.py says why, residue/matvec.py how weights lie: a column of bytes inside a page, X
the row.
Two chains tell sums within 32,512 of 0 apart: A ends as T >> 8, a signed byte, with no table.

Results of 8 bits may be rectified as they are made: a ReLU of its own is then not needed.

Rows of a matrix may have different shifts.  They are sorted by shift into runs; where that moves
rows, one more column of the block says where each result goes.  Results of 8 bits may saturate.

What bounds it: 8 cycles a product and modulus, 2 for the CLC; 45 to 70 a row, 40 a column of the
vector, 1 where w + x leaves a page.

Exact where every sum lies in moduli.NARROW; guard.py looks after the others.

    <name>_select    points at a block         <name>_prepare   takes the vector at source_low
    <name>_rows      does a run of rows        <name>_end_...   what a row ends with

To add an end: a case in `_end`.
"""

from __future__ import annotations

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.narrow.rows import MODULI, PAGE, Matrix, Packed, Run, pack

__all__ = ["PAGE", "Matrix", "Run", "pack"]

MOST_COLUMNS = 256
SHIFTS = range(15)  # that the ends can make


def block_label(name: str, number: int) -> str:
    return f"{name}_block_{number}"


def select(packed: Packed) -> str:
    """`<name>_select`: point the code at the block whose first page is in Y."""
    name = packed.name
    uses: dict[int, list[str]] = {}
    for c, offset in enumerate(packed.column):
        uses.setdefault(offset // PAGE, []).extend(f"{name}_w{m}_{c}" for m in MODULI)
    for m, offset in packed.constant.items():
        uses.setdefault(offset // PAGE, []).append(f"{name}_r{m}")
    if packed.order is not None:
        apart = [end_label(packed, run) for run in ends(packed) if run.order is not None]
        uses.setdefault(packed.order // PAGE, []).extend(f"{label}_order" for label in apart)
    text = [f"; {name}_select: the block of pages from Y on; uses Y\n{name}_select:"]
    last = 0
    for page in sorted(uses):
        text += ["    iny"] * (page - last)
        text += [f"    sty {label}+2" for label in uses[page]]
        last = page
    return lines(*text, "    rts")


def prepare(packed: Packed) -> str:
    """`<name>_prepare`: the vector at source_low becomes the operands of the rows' chains."""
    name = packed.name
    text = [
        f"; {name}_prepare: the int8 vector at source_low -> operands; uses A, Y\n{name}_prepare:",
        "    ldy #0",
    ]
    for c in range(packed.columns):
        text += ["    iny" if c else "", "    lda (source_low),y  ;@ p=0.1\n    eor #$80"]
        text += [f"    sta {name}_t{m}_{c}+1" for m in MODULI]
    for m in MODULI:
        text.append("    lda #0\n    clc")
        for c in range(packed.columns):
            origin = -int(packed.origin[c])
            text.append(f"    ldy {name}_t{m}_{c}+1")
            text.append("    clc" if m == 256 and c else "")
            text.append(f"    adc t{m}+{origin},y     ;@ p={packed.own_crosses[c]}")
        text.append("" if m == 256 else "    adc #0\n    eor #$ff")
        text.append(f"    sta {name}_s{m}+1")
    return lines(*text, "    rts")


def rows(packed: Packed) -> str:
    """`<name>_rows`: the rows from X down to the one above the operand of the end's `last`."""
    name, first = packed.name, block_label(packed.name, 0)
    text = [
        f"; {name}_rows: rows X, X-1, ... of the block times the vector, shifted, to the place",
        f"; that the end at `{name}_end` names; uses A, X, Y, total",
        f"{name}_rows:",
    ]
    for m in MODULI:
        constant = f"{name}_r{m}:\n    {{}} {first}+{packed.constant[m]},x   ;@ aligned\n"
        if m == 256:
            text.append(constant.format("lda") + f"    sec\n{name}_s256:\n    sbc #0")
        else:
            text.append("    sta total\n    eor #$ff\n    clc")
            text.append(constant.format("adc") + f"{name}_s255:\n    adc #0")
        for c, crosses in enumerate(packed.crosses):
            text.append(f"{name}_w{m}_{c}:\n    ldy {first}+{packed.column[c]},x   ;@ aligned")
            text.append("    clc" if m == 256 else "")
            text.append(f"{name}_t{m}_{c}:\n    adc t{m},y            ;@ p={crosses}")
    text.append("    adc #0\n    cmp #$80\n    adc #0")
    found = ends(packed)
    if len(found) > 1:
        label = end_label(packed, found[0])
        text.append(f"{name}_end:\n    jmp {label}    ;@ goes {{{which(name)}}}")
    text += [_end(packed, end_label(packed, run), run) for run in found]
    return lines(*text)


def ends(packed: Packed) -> list[Run]:
    """A run for each different end."""
    found = {run.end: run for runs in packed.runs for run in runs}
    return [found[end] for end in sorted(found)]


def which(name: str) -> str:
    """The variable of timing claims that holds the end in use."""
    return f"{name}_which"


def end_label(packed: Packed, run: Run) -> str:
    return f"{packed.name}_end_{run.end}"


def _end(packed: Packed, label: str, run: Run) -> str:
    """A row's end: of A = T >> 8 and total, its low byte, the shifted sum to its place."""
    up, down = max(0, 8 - run.shift), max(0, run.shift - 8)
    text = [f"{label}:"]
    index = "x"
    if run.order is not None:
        index = "y"
        text.append(
            f"{label}_order:\n    ldy {block_label(packed.name, 0)}+{packed.order},x   ;@ aligned"
        )
    if run.rectified:
        text.append(_positive_byte(label, up, down, run.saturates))
        text.append(f"{label}_low:\n    sta $ffff,{index}")
    elif run.bits == 8:
        text += [_low_byte(label, up, run.saturates)] if up else []
        text += ["    cmp #$80\n    ror"] * down
        text.append(f"{label}_low:\n    sta $ffff,{index}")
    else:
        shifts, low = _word(up, down)
        text.append(shifts)
        text.append(f"{label}_high:\n    sta $ffff,{index}\n    lda {low}")
        text.append(f"{label}_low:\n    sta $ffff,{index}")
    text.append(
        f"    dex\n{label}_last:\n    cpx #0\n    beq _done           ;@ times rows\n"
        f"    jmp {packed.name}_rows\n_done:\n    rts"
    )
    return lines(*text)


def _low_byte(label: str, up: int, saturates: bool) -> str:
    """A = (A, total) << up >> 8, a byte; saturated to it, if asked."""
    if not saturates:
        return lines(*["    asl total\n    rol"] * up)
    # It fits where the bits that leave, and the one that comes to the top, are all the same.
    step = """\
    asl total
    rol
    bcs {label}_minus_{i}     ;@ p=0.5
    bmi {label}_most        ;@ p=0.01
    bpl {label}_fits_{i}      ;@ always
{label}_minus_{i}:
    bpl {label}_least       ;@ p=0.01
{label}_fits_{i}:"""
    text = [step.format(label=label, i=i) for i in range(up)]
    text.append(
        f"    jmp {label}_byte\n{label}_most:\n    lda #$7f\n    bne {label}_byte    ;@ always\n"
        f"{label}_least:\n    lda #$80\n{label}_byte:"
    )
    return lines(*text)


def _positive_byte(label: str, up: int, down: int, saturates: bool) -> str:
    """A = the same of A >> down, too, but 0 where it is below."""
    most = f"{label}_most:\n    lda #$7f\n    bne {label}_byte    ;@ always" if saturates else ""
    fits = f"\n    bmi {label}_most        ;@ p=0.01" if saturates else ""
    return lines(
        f"    cmp #$80\n    bcc {label}_positive    ;@ p=0.5\n    lda #0\n"
        f"    beq {label}_byte        ;@ always",
        most,
        f"{label}_positive:",
        *[f"    asl total\n    rol{fits}"] * up,
        *["    lsr"] * down,
        f"{label}_byte:",
    )


def _word(up: int, down: int) -> tuple[str, str]:
    """(text, place): A = the high byte of (A, total) << up >> 8 or of A >> down, place the low."""
    if up >= 4:
        return lines(*["    cmp #$80\n    ror\n    ror total"] * (8 - up)), "total"
    sign = "    asl\n    lda #0\n    adc #$ff\n    eor #$ff"
    if not up:
        return lines(*["    cmp #$80\n    ror"] * down, "    sta total", sign), "total"
    shifts = ["    asl total\n    rol total+1\n    rol"] * up
    return lines("    sta total+1", sign, *shifts), "total+1"


def aim(packed: Packed, run: Run, out: Vector) -> str:
    """A run's rows end in their way, and go to their places; uses A."""
    label, many = end_label(packed, run), len(ends(packed)) > 1
    first = 0 if run.order is not None else run.first
    text = []
    for part, target in [("low", out.low), ("high", out.high)][: run.bits // 8]:
        at = run.base - first
        target = f"{target}{at:+}" if at else target
        text.append(
            f"    lda #<({target})\n    sta {label}_{part}+1\n"
            f"    lda #>({target})\n    sta {label}_{part}+2"
        )
    if many:
        text.append(
            f"    lda #<{label}\n    sta {packed.name}_end+1\n"
            f"    lda #>{label}\n    sta {packed.name}_end+2"
        )
    return lines(*text)


def call(packed: Packed, run: Run, out: Vector) -> str:
    """Do a run of rows: a tail call.  Its block is selected, its vector prepared."""
    return lines(
        aim(packed, run, out),
        f"    lda #{run.first - 1 & 255}\n    sta {end_label(packed, run)}_last+1\n"
        f"    ldx #{run.first + run.rows - 1}\n    jmp {packed.name}_rows",
    )


def applicable(shift: Array, columns: int) -> str:
    """Why this kernel cannot do a matrix, whatever its sums, or nothing."""
    if columns > MOST_COLUMNS:
        return f"more than {MOST_COLUMNS} columns"
    if not set(shift.tolist()) <= set(SHIFTS):
        return f"a shift of {int(shift.max())}"
    return ""
