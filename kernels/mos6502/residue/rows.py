"""matvec in residues for rows of any shifts and any sums of 30 bits -> assembly text.

As matvec.py, but each row has the cheapest basis that its sums fit, and an end of its own
(ends.py).  Rows with the same basis and end lie together, a run, whatever their places in
the result; one call does a run.  After each chain that is the last of some rows a JMP leads on,
whose operand calls patch:

    256 - 255 -+- narrow ends
               +- 99 --- wide ends
               +- small - small ends
               +- 253 -+- wider ends
                       +- small - widest ends

What bounds it: 8 cycles a product and modulus, 2 more for 256, 3.5 for 253: 18, 26, 29.5 and about
38 in the bases; a row about 60 to 170 more, a column 30 to 130.

    <name>_select    points at a block         <name>_prepare, <name>_prepare_<m>   take a vector
    <name>_rows      does a run of rows

To add an end: ends.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from anachron.kernels.mos6502.instructions import Vector, lines
from anachron.kernels.mos6502.residue.ends import (
    end_label,
    ends,
    last_label,
    operands,
    order_labels,
)
from anachron.kernels.mos6502.residue.levels import (
    CORRECTION,
    LIFT,
    add,
    raise_turns,
    reduce_middle,
)
from anachron.kernels.mos6502.residue.matvec import negate_own
from anachron.kernels.mos6502.residue.runs import PAGE, Packed, Run


def block_label(name: str, number: int) -> str:
    return f"{name}_block_{number}"


def select(packed: Packed) -> str:
    """`<name>_select`: point the code at the block whose first page is in Y."""
    name, uses = packed.name, dict[int, list[str]]()
    for m in packed.moduli:
        for c, offset in enumerate(packed.column):
            uses.setdefault(offset // PAGE, []).append(f"{name}_w{m}_{c}")
        uses.setdefault(packed.constant[m] // PAGE, []).append(f"{name}_r{m}")
    if packed.order is not None:
        uses.setdefault(packed.order // PAGE, []).extend(order_labels(name, packed.ends))
    text = [f"; {name}_select: the block of pages from Y on; uses Y\n{name}_select:"]
    for page in sorted(uses):
        text += ["    iny" if page else "", *(f"    sty {label}+2" for label in uses[page])]
    return lines(*text, "    rts")


def prepare_label(packed: Packed, modulus: int) -> str:
    """The routine that takes a vector for a chain: those of 256 and 255 are one."""
    return f"{packed.name}_prepare" + (f"_{modulus}" if modulus < 255 else "")


def prepare(packed: Packed) -> str:
    """The vector at source_low, source_high becomes the chains' operands: a routine a modulus.

    uses A, X, Y, scratch; decimal mode is on for a while: interrupts must be off
    """
    name, wide = packed.name, packed.bits == 16
    text = [f"; {name}_prepare: a vector -> residues, operands; uses A, X, Y, scratch"]
    text.append(f"{name}_prepare:")
    if wide:
        text.append(_take(packed, 255))
    else:
        text.append(
            f"    ldy #{packed.columns - 1}\n_take:\n    lda (source_low),y  ;@ p=0.1\n"
            f"    eor #$80\n    sta {name}_256,y\n    dey\n"
            f"    bpl _take           ;@ times {packed.columns}"
        )
    text += [_own(packed, 256), _own(packed, 255), "    rts"]
    for m in packed.moduli[2:]:
        text.append(f"{prepare_label(packed, m)}:")
        text += [_take(packed, m) if wide else "", _own(packed, m), "    rts"]
    return lines(*text)


def _take(packed: Packed, m: int) -> str:
    """The residues of int16 elements, not all reduced, to an array."""
    name, load = packed.name, "    clc\n"
    match m:
        case 255:
            load = (
                "    bpl *+3             ;@ p=0.5\n    dex                 ; 256 h, of the int8 h\n"
                f"    stx scratch\n    lda (source_low),y  ;@ p=0.1\n    sta {name}_256,y\n"
                "    clc\n    adc scratch\n    adc #0"
            )
        case 253:
            load = (
                f"    lda (source_low),y  ;@ p=0.1\n    clc\n    adc high_mod{m},x   ;@ aligned\n"
                f"    bcc *+4             ;@ p=0.5\n    adc #{CORRECTION - 1}"
            )
        case _:
            low, high = ("low_mod99", "high_mod99") if m == 99 else ("row_low", "row_high")
            load = (
                f"    lda {high},x    ;@ aligned\n    sta scratch\n"
                f"    lda (source_low),y  ;@ p=0.1\n    tax\n    clc\n"
                f"    lda {low},x     ;@ aligned\n    adc scratch"
            )
    return (
        f"    ldy #{packed.columns - 1}\n_take_{m}:\n    lda (source_high),y ;@ p=0.1\n    tax\n"
        f"{load}\n    sta {name}_{m},y\n    dey\n    bpl _take_{m}       ;@ times {packed.columns}"
    )


def arrays(packed: Packed) -> list[str]:
    """The labels of arrays of `columns` bytes in which prepare leaves residues."""
    moduli = packed.moduli if packed.bits == 16 else (256,)
    return [f"{packed.name}_{m}" for m in moduli]


def _table(m: int) -> str:
    return f"t{m}" if m >= 99 else "row_t"


def _fold() -> str:
    return "    tay\n    lda row_low,y       ;@ aligned"


def _own(packed: Packed, m: int) -> str:
    """The residues and their own sum of t, negative, into the rows' code."""
    name = packed.name
    array = f"{name}_{m}" if packed.bits == 16 else f"{name}_256"
    text = ["    sed" if m == 99 else "", "    lda #0\n    clc"]
    most = 0
    for c in range(packed.columns):
        if m < 99 and most + m - 1 > 255:
            text.append(_fold())
            most = m - 1
        text.append(f"    ldy {array}+{c}\n    sty {name}_t{m}_{c}+1")
        text.append(add(m, f"{_table(m)}+{-int(packed.origin[c])},y"))
        most += m - 1
    match m:
        case 256 | 255 | 99:
            text.append(negate_own(name, m))
        case 253:
            text.append(f"    eor #$ff\n{reduce_middle()}\n    sta {name}_s{m}+1")
        case _:
            text.append(f"{_fold()}\n    eor #$ff\n    sec\n    adc #{m}\n    sta {name}_s{m}+1")
    return lines(*text)


def rows(packed: Packed) -> str:
    """`<name>_rows`: the rows from X down to the one above the operand of the store's `last`."""
    name = packed.name
    text = [
        f"; {name}_rows: rows X, X-1, ... of the block times the vector, to where their end says",
        f"; uses A, X, Y, total; decimal for a while\n{name}_rows:",
    ]
    bases = {end.basis for end in packed.ends}
    for m in packed.moduli:
        if m < 99 and "small" in bases:
            text.append(_directly(packed, m, "widest" in bases))
        if m >= 99 or "widest" in bases:
            text.append(f"{packed.chain(m)}:" if m != 256 else "")
            text.append(_start(packed, m))
        if m < 99:
            constant = _at(packed, packed.constant[m])
            text.append(f"{name}_r{m}:\n    adc {constant}\n{name}_s{m}:\n    adc #0")
        most = 5 * (m - 1) + 1
        if m < 99 and most > 255:
            text.append(_fold())
            most = m - 1
        for c in range(packed.columns):
            if m < 99 and most + m - 1 > 255:
                text.append(_fold())
                most = m - 1
            most += m - 1
            text.append(f"{name}_w{m}_{c}:\n    ldy {_at(packed, packed.column[c])}")
            share = packed.crossing[m][c]
            text.append("    clc" if m == 256 else "")
            operand = f"{_table(m)},y            ;@ p={share:.3f}"
            text.append(f"{name}_t{m}_{c}:\n" + add(m, operand).replace("    clc\n", ""))
        match m:
            case 255:
                text.append("    adc #0")
            case 99:
                text.append("    adc #0\n    cld\n    tay")
            case 253:
                text.append("    tay")
            case 256:
                continue
            case _:
                text.append(f"{_fold()}\n    tay")
        ways = packed.ways(m)
        if ways != {packed.chain(m) for m in packed.moduli[packed.moduli.index(m) + 1 :][:1]}:
            target = sorted(ways - {"end"} or {end_label(name, packed.ends[0])})[0]
            text.append(f"{name}_next_{m}:\n    jmp {target}    ;@ goes {{{way(packed, m)}}}")
    text.append(ends(name, packed.ends, packed.place(0), packed.sum_rows))
    return lines(*text)


def way(packed: Packed, modulus: int) -> str:
    """The variable of timing claims that holds what follows a chain."""
    return f"{packed.name}_after_{modulus}"


def _at(packed: Packed, offset: int) -> str:
    return f"{block_label(packed.name, 0)}+{offset},x   ;@ aligned"


def _start(packed: Packed, m: int) -> str:
    """A chain's start: the row's constant, less the vector's sum, less what is told already."""
    name, constant = packed.name, _at(packed, packed.constant[m])
    own = f"{name}_s{m}"
    match m:
        case 256:
            return f"{name}_r256:\n    lda {constant}\n    sec\n{own}:\n    sbc #0"
        case 255:
            return (
                "    sta total\n    eor #$ff\n    clc\n"
                f"{name}_r255:\n    adc {constant}\n{own}:\n    adc #0"
            )
        case 99:
            return (
                "    sta total+1\n    tay\n    sed\n    lda less_middle,y       ;@ aligned\n"
                f"    ldy total\n    adc less_low,y          ;@ aligned\n{name}_r99:\n"
                f"    adc {constant}\n{own}:\n    adc #0"
            )
        case 253:
            keep = ("    sty total+4\n", "    sta total+5\n")
            keep = keep if any(end.basis == "widest" for end in packed.ends) else ("", "")
            return lines(
                "    cmp #$80            ; k, -127 .. 127\n    adc #0\n    eor #$80\n"
                f"    sta total+1         ; and {LIFT} more\n    eor #$7f\n    tay\n{keep[0]}"
                f"    lda total\n    eor #$ff\n{keep[1]}    clc",
                add(m, f"high_mod{m},y     ;@ aligned"),
                f"{name}_r{m}:",
                add(m, constant),
                f"{own}:",
                add(m, "#0"),
            )
    return f"""\
{raise_turns()}
    clc
    lda row_less_top,y  ;@ aligned
    ldy total+5         ; 255 - a
    adc row_low,y       ;@ aligned
    ldy total+4         ; - k - 1
    adc row_high,y      ;@ aligned"""


def _directly(packed: Packed, m: int, more: bool) -> str:
    """The small chain's start behind that of 255, without the row's constant.

    more  another start lies between this and that constant
    """
    return (
        f"{packed.name}_directly:\n    cmp #$80            ; k, -127 .. 127\n    adc #0\n"
        f"    eor #$80\n    sta total+1         ; and {LIFT} more\n    eor #$7f\n    tay\n"
        "    lda row_high,y      ;@ aligned\n    sta total+2\n    lda total\n    eor #$ff\n"
        "    tay\n    clc\n    lda row_low,y       ;@ aligned\n    adc total+2"
        + (f"\n    jmp {packed.name}_r{m}" if more else "")
    )


def patches(packed: Packed, run: Run, out: Vector) -> dict[str, str]:
    """The jumps and stores of a run: label of an instruction -> its operand."""
    name, path, found = packed.name, packed.path(run.end), {}
    targets = [packed.entry(path, at) for at in range(2, len(path))]
    for m, target in zip(path[1:], [*targets, end_label(name, run.end)], strict=True):
        ways = packed.ways(m)
        if len(ways) > 1 or "end" in ways:
            found[f"{name}_next_{m}"] = target
    place = out.at(run.base)
    high = place.high if out.bits == 16 else ""
    if packed.order is None:
        found |= dict.fromkeys(order_labels(name, [run.end]), packed.place(run.block))
    return found | dict(operands(name, run.end, place.low, high))


def environment(packed: Packed, run: Run) -> dict[str, object]:
    """What the claims ask for when a run is done."""
    path = packed.path(run.end)
    chains = [packed.entry(path, at) for at in range(2, len(path))]
    targets = zip(path[1:], [*chains, end_label(packed.name, run.end)], strict=True)
    return {"rows": run.size} | {way(packed, m): target for m, target in targets}


def aim(changed: Mapping[str, str]) -> str:
    """Put in place those of `patches` that are not."""
    return lines(
        *(
            f"    lda #<({target})\n    sta {label}+1\n    lda #>({target})\n    sta {label}+2"
            for label, target in changed.items()
        )
    )


def call(packed: Packed, run: Run) -> str:
    """Do a run: a tail call.  Its block is selected, its vector prepared, its end aimed at."""
    last = last_label(packed.name, run.end)
    return (
        f"    lda #{run.first - 1 & 255}\n    sta {last}+1\n"
        f"    ldx #{run.first + run.size - 1}\n    jmp {packed.name}_rows"
    )
