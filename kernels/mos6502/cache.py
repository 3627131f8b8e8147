"""The keys and values of all positions: how attention finds them -> assembly text.

A key is kept as a row, its top bits flipped, with 5 bytes of correction a head (matvec.py tells
why); a value is kept as a column, a byte a position, with the sums of T over each column.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import Vector, add_to_word, copy, lines, set_word
from anachron.kernels.mos6502.matvec import take

FIX_BYTES = 5  # of a key's correction, a head
COLUMN_FIX_BYTES = 4  # of a value's column
MOST_ROWS = 256


@dataclass(frozen=True)
class Keys:
    """Where the keys of all positions lie: rows, then the corrections of each row's heads."""

    low: str
    high: str
    fix: str
    size: int  # of a row
    bits: int
    heads: int

    @property
    def head_size(self) -> int:
        return self.size // self.heads


@dataclass(frozen=True)
class Values:
    """Where the values of all positions lie: columns of n_rows bytes, then the columns' sums."""

    low: str
    high: str
    fix: str
    size: int
    bits: int
    heads: int
    n_rows: int

    @property
    def head_size(self) -> int:
        return self.size // self.heads


def take_head(size: int, bits: int, other_bits: int) -> str:
    """The routine that takes a head of a query or a key to the page `query`."""
    return take(
        f"take_{size}_{bits}_{other_bits}", size, bits, other_bits, "query", "correction", 5
    )


def _follow(name: str, position: str, targets: list[tuple[str, str, int]]) -> str:
    """Words that start at an address when the position is 0 and else grow by a step."""
    return lines(
        f"    lda {position}\n    bne _later          ;@ p=0.95",
        *(set_word(f"{name}_{target}", base) for target, base, _ in targets),
        "    jmp _here\n_later:",
        *(add_to_word(f"{name}_{target}", str(step)) for target, _, step in targets),
        "_here:",
        *(copy(f"out_{t}" if t != "fix" else "past_fix", f"{name}_{t}", 2) for t, _, _ in targets),
    )


def store_key(name: str, position: str, k: Vector, keys: Keys, q_bits: int) -> str:
    """Keep this position's key."""
    places = [("low", keys.low, keys.size), ("fix", keys.fix, FIX_BYTES * keys.heads)]
    if keys.bits == 16:
        places.insert(1, ("high", keys.high, keys.size))
    size = keys.head_size
    end = "" if keys.size == 256 else f"    cpy #{keys.size}\n"
    flip = "    eor #$80\n" if keys.bits == 8 else ""
    text = [f"{name}:", _follow(name, position, places), "    ldy #0\n_element:"]
    text.append(f"    lda {k.low},y\n{flip}    sta (out_low),y")
    if keys.bits == 16:
        text.append(f"    lda {k.high},y\n    eor #$80\n    sta (out_high),y")
    text.append(f"    iny\n{end}    bne _element        ;@ times {keys.size}")
    text.append(set_word("query_low", k.low))
    text.append(set_word("query_high", k.high) if keys.bits == 16 else "")
    text.append(f"    lda #{keys.heads}\n    sta heads_left\n{name}_heads:")
    text.append(copy("source_low", "query_low", 2))
    text.append(copy("source_high", "query_high", 2) if keys.bits == 16 else "")
    text.append(f"    jsr take_{size}_{keys.bits}_{q_bits}\n    ldy #0")
    for i in range(FIX_BYTES):
        text.append(f"    lda correction+{i}\n    sta (past_fix),y")
        text.append("    iny" if i < FIX_BYTES - 1 else "")
    text += [add_to_word("past_fix", str(FIX_BYTES)), add_to_word("query_low", str(size))]
    text.append(add_to_word("query_high", str(size)) if keys.bits == 16 else "")
    text.append(
        f"    dec heads_left\n    beq _done           ;@ times {keys.heads}\n"
        f"    jmp {name}_heads\n_done:\n    rts"
    )
    text += [f"{name}_{target}:\n    .word 0" for target, _, _ in places]
    return lines(*text)


def store_value(name: str, position: str, v: Vector, values: Values) -> str:
    """Keep this position's value, and add it to the sums of its columns."""
    fix = [f"{values.fix}+{i * values.size}" for i in range(COLUMN_FIX_BYTES)]
    end = "" if values.size == 256 else f"    cpx #{values.size}\n"
    flip = "    eor #$80\n" if values.bits == 8 else ""
    text = [
        f"{name}:\n    lda {position}\n    bne _later          ;@ p=0.95\n    tax",
        "_clear:",
        *(f"    sta {plane},x" for plane in fix),
        f"    inx\n{end}    bne _clear          ;@ times {values.size}",
        "_later:",
    ]
    for part, base in (("low", values.low), ("high", values.high))[: values.bits // 8]:
        text.append(
            f"    clc\n    lda {position}\n    adc #<({base})\n    sta {name}_{part}+1\n"
            f"    lda #0\n    adc #>({base})\n    sta {name}_{part}+2"
        )
    text.append(f"    ldx #0\n{name}_element:\n    lda {v.low},x\n{flip}{name}_low:\n    sta $ffff")
    text.append(
        f"""\
    tay
    clc
    lda {fix[0]},x
    adc products_low,y
    sta {fix[0]},x
    lda {fix[1]},x
    adc products_high,y
    sta {fix[1]},x
    bcc {name}_carried  ;@ p=0.75
    inc {fix[2]},x
    bne {name}_carried  ;@ p=0.99
    inc {fix[3]},x
{name}_carried:"""
    )
    if values.bits == 16:
        text.append(
            f"""\
    lda {v.high},x
    eor #$80
{name}_high:
    sta $ffff
    tay
    clc
    lda {fix[1]},x
    adc products_low,y
    sta {fix[1]},x
    lda {fix[2]},x
    adc products_high,y
    sta {fix[2]},x
    bcc _carried        ;@ p=0.75
    inc {fix[3]},x
_carried:"""
        )
    text.append(add_to_word(f"{name}_low+1", str(values.n_rows)))
    text.append(add_to_word(f"{name}_high+1", str(values.n_rows)) if values.bits == 16 else "")
    text.append(
        f"    inx\n{end}    beq {name}_done     ;@ times {values.size}\n"
        f"    jmp {name}_element\n{name}_done:\n    rts"
    )
    return lines(*text)
