"""A vector into the operands of matvec.py's chains -> assembly text.

For each modulus: residues, which become operands, and the negative sum of t over them, which each
row's chain starts from.  90 cycles a column without loops; by loops 170, in a third of the bytes.

The routine uses A, X, Y, scratch; decimal mode is on for a while: interrupts must be off.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.streamed.chains import chain, fold, negate
from anachron.kernels.mos6502.streamed.matvec import Kernel

CROSSING = 0.3  # of the reads of t


def prepare(kernel: Kernel) -> str:
    """`<name>_prepare`."""
    text = [
        f"; {kernel.name}_prepare: the vector at source_low, source_high -> operands; uses A, X, Y,"
        f" scratch\n{kernel.name}_prepare:"
    ]
    parts = _by_loops(kernel) if kernel.looped else _unrolled(kernel)
    return lines(*text, *parts, "    rts")


def _unrolled(kernel: Kernel) -> list[str]:
    name, moduli, small = kernel.name, kernel.moduli, kernel.small
    text = []
    for c in range(kernel.columns):
        text.append(f"    ldy #{c}\n    lda (source_low),y  ;@ p=0.1")
        if kernel.bits == 8:
            text.append("    eor #$80")
            text += [f"    sta {name}_t{m}_{c}+1" for m in moduli]
            continue
        text.append(
            f"    sta {name}_t256_{c}+1\n    tax\n    lda (source_high),y ;@ p=0.1\n    tay\n"
            "    txa\n    clc\n    adc high_mod255,y   ;@ aligned\n    adc #0\n"
            f"    sta {name}_t255_{c}+1"
        )
        for m in moduli[2:]:
            text.append(
                f"    lda low_mod{m},x      ;@ aligned\n    adc high_mod{m},y     ;@ aligned\n"
                f"    sta {name}_t{m}_{c}+1"
            )
    for m in moduli:
        terms = [
            (
                f"    ldy {name}_t{m}_{c}+1",
                f"    adc {kernel.table(m)}+{-origin},y    ;@ p={CROSSING}",
            )
            for c, origin in enumerate(kernel.origin)
        ]
        body, most = chain(m, small, terms, 0)
        text.append(lines("    sed" if m == 99 else "", "    lda #0\n    clc", body))
        text.append(negate(m, small, most) + f"\n    sta {name}_s{m}+1")
    return text


def _by_loops(kernel: Kernel) -> list[str]:
    """Residues to arrays, then to the operands one by one, and their sums."""
    name, moduli, n = kernel.name, kernel.moduli, kernel.columns
    text = [f"    ldy #{n - 1}\n{name}_take:\n    lda (source_low),y  ;@ p=0.1"]
    if kernel.bits == 8:
        text.append("    eor #$80")
        text += [f"    sta {kernel.taken(m)},y" for m in moduli]
    else:
        text.append(
            f"    sta {kernel.taken(256)},y\n    sta scratch\n    lda (source_high),y ;@ p=0.1\n"
            "    tax\n    lda scratch\n    clc\n    adc high_mod255,x   ;@ aligned\n    adc #0\n"
            f"    sta {kernel.taken(255)},y\n    sty scratch+1\n    ldy scratch"
        )
        for i, m in enumerate(moduli[2:]):
            text.append(
                f"    lda low_mod{m},y      ;@ aligned\n    adc high_mod{m},x     ;@ aligned\n"
                + (f"    sta scratch+{2 + i}" if len(moduli) > 3 else "")
            )
        text.append("    ldy scratch+1")
        for i, m in enumerate(moduli[2:]):
            load = f"    lda scratch+{2 + i}\n" if len(moduli) > 3 else ""
            text.append(f"{load}    sta {kernel.taken(m)},y")
    text.append(f"    dey\n    cpy #$ff\n    bne {name}_take      ;@ times {n}")
    for m in moduli:
        text += [f"    lda {kernel.taken(m)}+{c}\n    sta {name}_t{m}_{c}+1" for c in range(n)]
    # One origin for all columns: the loops' table is one.
    (origin,) = set(kernel.origin)
    for m in moduli:
        reduce = fold(kernel.small) if m == kernel.small else ""
        text.append(
            lines(
                "    sed" if m == 99 else "",
                f"    ldx #{256 - n & 255}\n    lda #0\n    clc\n{name}_own_{m}:",
                f"    ldy {kernel.taken(m)}-{256 - n},x      ;@ index {256 - n}..255",
                "    clc" if m == 256 else "",
                f"    adc {kernel.table(m)}+{-origin},y    ;@ p={CROSSING}",
                reduce,
                f"    inx\n    bne {name}_own_{m}      ;@ times {n}",
                negate(m, kernel.small, kernel.small - 1),
                f"    sta {name}_s{m}+1",
            )
        )
    return text
