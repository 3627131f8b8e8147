"""What a row ends with: residues put together, saturated, shifted, stored -> assembly text.

A row's sum T is bytes total, total+1, ... and A.  A shift by up to 3 moves all of it right, by 4 to
8 left, and drops the last byte; by more, right without it.  Shifts of one kind are one ladder of
steps, entered at a rung, and end in one store, whose operands a call has patched: the row's place
in the result comes from a table, for rows lie in the order of their ends.

What bounds it: the sum's bytes 12 to 35 cycles, a step 12, saturation 20 to 25, the store 28.

To add a basis: a case in `_bytes`.
"""

from __future__ import annotations

from typing import NamedTuple

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import MIDDLE

SHIFTS = range(17)
RIGHT = 3  # up to this, all of the sum moves right
SUM_BYTES = {"narrow": 2, "small": 3, "wide": 3, "wider": 3, "widest": 4}
SIGN = "    asl\n    lda #0\n    adc #$ff\n    eor #$ff"  # A = 0 or 255, by A's top bit
SATURATED = 0.01  # of rows that may be


class End(NamedTuple):
    """How a row ends.

    basis     the name of its basis
    bits      of the result
    shift     of the sum, flooring
    saturates  whether the shifted sum may be more than the result holds
    part      of a matrix done some columns at a time: "first" keeps the sum, "more" adds to it,
              "last" adds it and goes on
    size      bytes of such a sum
    """

    basis: str
    bits: int
    shift: int
    saturates: bool
    part: str = ""
    size: int = 0

    @property
    def store(self) -> str:
        """The store in which its ladder ends, or its sum."""
        if self.part in {"first", "more"}:
            return f"{self.part}_{self.size}"
        return f"{self.bits}" + ("_right" if self.bits == 16 and self.shift <= RIGHT else "")

    @property
    def cycles(self) -> int:
        """Of a row, beyond its chains, roughly."""
        steps = min(self.shift, abs(8 - self.shift)) if self.shift <= RIGHT else abs(8 - self.shift)
        added = 10 * self.size + 10 if self.part else 0
        return 60 + 5 * self.bits // 8 + 12 * steps + (30 if self.saturates else 0) + added


def end_label(name: str, end: End) -> str:
    label = f"{name}_{end.basis}"
    if end.part:
        label += f"_{end.part}_{end.size}"
    if end.part not in {"first", "more"}:
        label += f"_{end.bits}_{end.shift}" + ("_saturated" if end.saturates else "")
    return label


def ends(name: str, wanted: list[End], order: str, rows: int) -> str:
    """All ends of a kernel.

    order  where the table of rows' places lies, indexed by X
    rows   the length of the arrays at `sums`, one a byte of the sums that are kept
    """
    text = [_stub(name, end, order, rows) for end in wanted]
    for store in sorted({end.store for end in wanted if end.part in {"first", "more"}}):
        part, size = store.split("_")
        text.append(_keep(name, store, part == "more", int(size), order, rows))
    done = [end for end in wanted if end.part not in {"first", "more"}]
    for bits in sorted({end.bits for end in done}):
        shifts = {end.shift for end in done if end.bits == bits}
        text.append(_ladders(name, bits, shifts, order))
    return lines(*text)


def operands(name: str, end: End, low: str, high: str) -> list[tuple[str, str]]:
    """(label of an instruction, the address that it must have) of a run's store."""
    if end.part in {"first", "more"}:
        return []
    stem = f"{name}_store_{end.store}"
    return [(f"{stem}_{part}", place) for part, place in (("low", low), ("high", high)) if place]


def last_label(name: str, end: End) -> str:
    """The instruction whose operand is the row above which a run ends."""
    return f"{name}_store_{end.store}_last"


def order_labels(name: str, wanted: list[End]) -> list[str]:
    """The instructions that read the table of places."""
    labels = {f"{name}_store_{end.store}_order" for end in wanted}
    added = [end for end in wanted if end.part == "last"]
    return sorted(labels | {f"{end_label(name, end)}_order" for end in added})


def _keep(name: str, store: str, adds: bool, size: int, order: str, rows: int) -> str:
    """A sum, in total, to the arrays `sums`."""
    values = ["    clc"] if adds else []
    for i in range(size):
        add = f"    adc sums+{i * rows},y\n" if adds else ""
        values.append(f"    lda total+{i}\n{add}    sta sums+{i * rows},y")
    return _store(name, store, values, order, False)


def _bytes(basis: str, top: int) -> str:
    """Byte `top` of the sum to A, those below to total, total+1, ...; X is kept.

    Y is the last chain's end, reduced but modulo 99 and 253; narrow: A is k.
    """
    text = []
    match basis:
        case "narrow":
            text = ["    cmp #$80\n    adc #0"]
            have = 1
        case "small" | "wide" | "wider":
            stem = {"small": "row_wraps", "wide": "wraps", "wider": f"wraps{MIDDLE}"}[basis]
            text = [f"    clc\n    lda total+1\n    adc {stem}_low,y     ;@ aligned"]
            have = 1
            if top > 1:
                text.append(f"    sta total+1\n    lda {stem}_high,y    ;@ aligned\n    adc #0")
                have = 2
        case _:
            text = ["    clc\n    lda total+2\n    adc row_turn_low,y   ;@ aligned"]
            have = 1
            if top > 1:
                text.append("    sta total+1\n    lda total+3")
                text.append("    adc row_turn_middle,y   ;@ aligned")
                have = 2
            if top > 2:
                text.append("    sta total+2\n    lda #0\n    adc row_turn_high,y   ;@ aligned")
                have = 3
    if have < top:
        text.append(f"    sta total+{have}\n{SIGN}")
        text += [f"    sta total+{i}" for i in range(have + 1, top)]
    return lines(*text)


def _stub(name: str, end: End, order: str, rows: int) -> str:
    """From the last chain to a ladder's rung."""
    n, label = end.bits // 8, end_label(name, end)
    top = n + (end.shift > 8)  # the byte that its ladder has in A
    rung = f"    jmp {name}_shift_{end.bits}_{end.shift}"
    if end.part in {"first", "more"}:
        least = end.size - 1
        return lines(
            f"{label}:",
            _bytes(end.basis, least),
            f"    sta total+{least}\n    jmp {name}_store_{end.store}",
        )
    have = end.size or SUM_BYTES[end.basis]
    if end.part == "last":
        start = [
            f"{label}:",
            _bytes(end.basis, have - 1),
            f"    sta total+{have - 1}\n{label}_order:\n    ldy {order},x   ;@ aligned\n    clc",
        ]
        start += [
            f"    lda total+{i}\n    adc sums+{i * rows},y\n    sta total+{i}" for i in range(have)
        ]
    elif not end.saturates:
        return lines(f"{label}:", _bytes(end.basis, top), rung)
    else:
        start = [f"{label}:", _bytes(end.basis, have - 1), f"    sta total+{have - 1}"]
    last = have - 1
    load = f"    lda total+{min(top, last)}"
    if top > last:
        load = lines(load, SIGN, *(f"    sta total+{i}" for i in range(last + 1, top)))
    if not end.saturates:
        return lines(*start, load, rung)
    value = [f"    lda total+{last}\n    asl\n    lda #$ff\n    adc #0"]
    if n == 2:
        at = 0 if end.store.endswith("right") else 1
        value.append(f"    sta total+{at}\n    lda #$7f\n    adc #0")
        value.append(f"    sta total+{at + 1}" if not at else "")
    else:
        value = [f"    lda total+{last}\n    asl\n    lda #$7f\n    adc #0"]
    return lines(
        *start,
        _compare(n, last + 1 - n, end.shift, f"{label}_most"),
        load,
        rung,
        f"{label}_most:",
        *value,
        f"    jmp {name}_store_{end.store}",
    )


def _compare(first: int, size: int, shift: int, beyond: str) -> str:
    """Branch where the number of `size` bytes at total+first is not within 2**(shift - 1)."""
    half, text, tests = 1 << shift - 1, ["    clc"], []
    zero = [i for i in range(size) if 8 * i >= shift]
    for i in range(size):
        text.append(f"    lda total+{first + i}\n    adc #{half >> 8 * i & 0xFF}")
        last = i == size - 1
        if i in zero:
            text.append("" if i == zero[0] else "    ora scratch")
            text.append("" if last else "    sta scratch")
            if last:
                text.append(f"    bne {beyond}    ;@ p={SATURATED}")
        elif 8 * i < shift < 8 * i + 8:
            limit = 1 << shift % 8
            if last:
                text.append(f"    cmp #{limit}\n    bcs {beyond}    ;@ p={SATURATED}")
            else:
                text.append("    tay")
                tests.append(f"    cpy #{limit}\n    bcs {beyond}    ;@ p={SATURATED}")
    return lines(*text, *tests)


def _ladders(name: str, bits: int, shifts: set[int], order: str) -> str:
    """The rungs of a result's width, and its stores."""
    n = bits // 8
    rung = f"{name}_shift_{bits}"
    text: list[str] = []
    right = [s for s in shifts if s <= RIGHT]
    if right:
        for s in range(max(right), 0, -1):
            text.append(f"{rung}_{s}:\n    lsr")
            text += [f"    ror total+{i}" for i in range(n - 1, -1, -1)]
        text.append(f"{rung}_0:")
        if n == 2:
            values = ["    lda total+1\n{}_high:\n    sta $ffff,y", "    lda total"]
            text.append(_store(name, "16_right", values, order))
        else:
            text.append(f"    lda total\n    jmp {name}_store_8")
    beyond = [s for s in shifts if s > 8]
    if beyond:
        for s in range(max(beyond), 8, -1):
            text.append(f"{rung}_{s}:\n    lsr")
            text += [f"    ror total+{i}" for i in range(n, 0, -1)]
        text.append(f"    lda total+{n}\n    jmp {name}_store_{bits}")
    left = [s for s in shifts if RIGHT < s <= 8]
    for s in range(min(left, default=8), 8):
        text.append(f"{rung}_{s}:\n    asl total")
        text += [f"    rol total+{i}" for i in range(1, n)]
        text.append("    rol")
    text.append(f"{rung}_8:" if left else "")
    if left or beyond or n == 1:
        values = ["{}_high:\n    sta $ffff,y", "    lda total+1"] if n == 2 else []
        text.append(_store(name, str(bits), values, order))
    return lines(*text)


def _store(name: str, store: str, values: list[str], order: str, result: bool = True) -> str:
    """The result to its place, and the next row; values: what loads and stores the bytes."""
    label = f"{name}_store_{store}"
    return lines(
        f"{label}:\n{label}_order:\n    ldy {order},x   ;@ aligned",
        *(value.format(label) for value in values),
        f"{label}_low:\n    sta $ffff,y" if result else "",
        f"    dex\n{label}_last:\n    cpx #0\n"
        f"    beq _done           ;@ times rows\n    jmp {name}_rows\n_done:\n    rts",
    )
