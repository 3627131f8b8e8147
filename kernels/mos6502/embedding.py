"""embed, add: rows of a table, and sums of values -> assembly text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anachron.kernels.arithmetic import Array, saturate
from anachron.kernels.arithmetic import shift as shifted
from anachron.kernels.mos6502.instructions import Vector, each, lines, load, store_saturated

SUM_SHIFTS = range(1, 8)  # with which the sum of two int8 fits 16 bits


def pack_table(table: Array, shift: int, bits: int) -> tuple[Array, int]:
    """(table, shift) as the kernel keeps it: int8 and a shift left, where that loses nothing.

    Otherwise the rows as embed gives them, and no shift.
    """
    exact = shifted(table.astype(np.int64), shift)
    result = saturate(exact, bits)
    narrow = table.size and -128 <= table.min() and table.max() <= 127
    if shift > 0 and bits == 16 and shift <= 8 and narrow and np.array_equal(exact, result):
        return table.astype(np.int64), shift
    return result, 0


def row_address(dim: int, token_bytes: int) -> str:
    """pointer = (A, and with token_bytes 2 X as the high byte) * dim, by shifts and sums."""
    text = ["    sta pointer\n    sta scratch"]
    if token_bytes == 2:
        text.append("    stx pointer+1\n    stx scratch+1")
    else:
        text.append("    lda #0\n    sta pointer+1\n    sta scratch+1")
    for bit in f"{dim:b}"[1:]:
        text.append("    asl pointer\n    rol pointer+1")
        if bit == "1":
            text.append(
                "    clc\n    lda pointer\n    adc scratch\n    sta pointer\n"
                "    lda pointer+1\n    adc scratch+1\n    sta pointer+1"
            )
    return lines(*text)


def find_row(index: str, token_bytes: int, dim: int) -> str:
    """pointer = the number at a label * dim."""
    high = f"    ldx {index}+1" if token_bytes == 2 else ""
    return lines(f"    lda {index}", high, row_address(dim, token_bytes))


def point(target: str, table: str, start: int = 0) -> str:
    """target = pointer + the address of a table's element."""
    return (
        f"    clc\n    lda pointer\n    adc #<({table}+{start})\n    sta {target}\n"
        f"    lda pointer+1\n    adc #>({table}+{start})\n    sta {target}+1"
    )


def embed(
    name: str,
    index: str,
    token_bytes: int,
    out: Vector,
    table: Vector,
    shift: int,
    fetch: str = "",
    locate: str = "",
) -> str:
    """The row of a table at an index.

    index   label of the token's id or the position, token_bytes wide
    table   where the rows lie; bits is what is stored: int8, shifted left here, or int16
    fetch   brings the row to the table's place, where the table is not in memory
    locate  in its place: pointer = how far behind the table's place the row lies
    """
    text = [f"{name}:"]
    if fetch:
        text.append(f"{fetch}\n    lda #0\n    sta pointer\n    sta pointer+1")
    else:
        text.append(locate or find_row(index, token_bytes, out.size))
    for start in range(0, out.size, 256):
        n = min(256, out.size - start)
        text.append(point("past_low", table.low, start))
        text.append(point("past_high", table.high, start) if table.bits == 16 else "")
        text.append(f"    ldy #0\n_element_{start}:\n    lda (past_low),y")
        low, high = f"{out.low}+{start},y", f"{out.high}+{start},y"
        if out.bits == 8:
            text.append(f"    sta {low}")
        elif table.bits == 16:
            text.append(f"    sta {low}\n    lda (past_high),y\n    sta {high}")
        elif shift <= 4:  # leftwards from the low byte
            text.append(
                "    sta scratch\n    ora #$7f\n    bmi *+4             ;@ p=0.5\n    lda #0"
            )
            text.append("    asl scratch\n    rol\n" * shift)
            text.append(f"    sta {high}\n    lda scratch\n    sta {low}")
        else:  # rightwards from the high byte
            text.append("    sta scratch\n    lda #0\n    sta scratch+1")
            text.append(
                "    lda scratch\n    cmp #$80\n    ror scratch\n    ror scratch+1\n" * (8 - shift)
            )
            text.append(f"    lda scratch\n    sta {high}\n    lda scratch+1\n    sta {low}")
        end = "" if n == 256 else f"    cpy #{n}\n"
        text.append(f"    iny\n{end}    bne _element_{start}      ;@ times {n}")
    text.append("    rts")
    return lines(*text)


def embed_sum(
    name: str, rows: Sequence[tuple[str, int, Vector]], out: Vector, shift: int
) -> str:
    """The sum of two rows of int8, shifted left: up to 256 elements, a shift of SUM_SHIFTS.

    rows  (label of the index, its bytes, where the rows lie) of both
    """
    text = [f"{name}:"]
    for target, (index, width, table) in zip(("past_low", "past_high"), rows, strict=True):
        text += [find_row(index, width, out.size), point(target, table.low)]
    crosses = f";@ p={min(out.size, 256) / 512:.2f}"
    end = "" if out.size == 256 else f"    cpy #{out.size}\n"
    shifts = "    asl scratch\n    rol\n" * shift
    text.append(f"""\
    ldy #0
_element:
    lda (past_low),y    {crosses}
    clc
    adc (past_high),y   {crosses}
    sta scratch
    bvc _fits           ;@ p=0.99
    lda #0              ; the carry is the sign
    bcc _sign           ;@ p=0.5
    lda #$ff
    bne _sign           ;@ always
_fits:
    ora #$7f
    bmi _sign           ;@ p=0.5
    lda #0
_sign:
{shifts}    sta {out.high},y
    lda scratch
    sta {out.low},y
    iny
{end}    bne _element        ;@ times {out.size}
    rts""")
    return lines(*text)


def add(name: str, a: Vector, b: Vector, out: Vector) -> str:
    """a + b, saturated; out may be a or b."""

    def wide(start: int) -> str:
        x, y, z = a.at(start), b.at(start), out.at(start)
        crosses = f"    ;@ p={min(out.size, 256) / 512:.2f}"
        return f"""\
    clc
    lda {x.low},x{crosses}
    adc {y.low},x{crosses}
    sta {z.low},x
    lda {x.high},x{crosses}
    adc {y.high},x{crosses}
    bvc _fits           ;@ p=0.999
    lda #$ff            ; the carry is set where the sum was too low
    adc #0
    sta {z.low},x
    lda #$7f
    adc #0
_fits:
    sta {z.high},x"""

    def any_width(start: int) -> str:
        return lines(
            load(a.at(start), "factor_a"),
            load(b.at(start), "factor_b"),
            """\
    clc
    lda factor_a
    adc factor_b
    sta total
    lda factor_a+1
    adc factor_b+1
    sta total+1
    lda #0              ; the third byte: the sign that was meant
    bvc *+4             ;@ p=0.999
    lda #$80
    eor total+1
    asl
    lda #0
    adc #$ff
    eor #$ff
    sta total+2""",
            store_saturated(out.at(start), 3),
        )

    same = a.bits == b.bits == out.bits == 16
    return lines(f"{name}:", each(f"{name}_add", out.size, wide if same else any_width), "    rts")


def store_row(name: str, position: str, x: Vector, rows: Vector) -> str:
    """Keep this position's row."""
    return _move_row(name, position, x, rows, store=True)


def load_row(name: str, position: str, x: Vector, rows: Vector) -> str:
    """Fetch this position's row."""
    return _move_row(name, position, x, rows, store=False)


def _move_row(name: str, position: str, x: Vector, rows: Vector, store: bool) -> str:
    text = [f"{name}:\n    lda {position}", row_address(x.size, 1)]
    for start in range(0, x.size, 256):
        n = min(256, x.size - start)
        end = "" if n == 256 else f"    cpy #{n}\n"
        text += [point("past_low", rows.low, start)]
        text += [point("past_high", rows.high, start) if x.bits == 16 else ""]
        text.append(f"    ldy #0\n_element_{start}:")
        for part, label in (("low", x.low), ("high", x.high))[: x.bits // 8]:
            here, there = f"{label}+{start},y", f"(past_{part}),y"
            source, target = (here, there) if store else (there, here)
            text.append(f"    lda {source}\n    sta {target}")
        text.append(f"    iny\n{end}    bne _element_{start}      ;@ times {n}")
    return lines(*text, "    rts")
