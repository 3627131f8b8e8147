"""Keys and values in the expansion: how an attention finds them -> assembly text.

A key is a record (its features' low bytes, their high bytes with the top bit flipped, a correction
as in cache.py), a value a record of its low and high bytes; a head's records follow each other,
position by position, so that reading them in order needs no addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.cache import FIX_BYTES
from anachron.kernels.mos6502.instructions import (
    Vector,
    add_constant,
    add_to_word,
    copy,
    lines,
    set_word,
)


@dataclass(frozen=True)
class Places:
    """Where an attention's records lie in the expansion, and from one head's to the next's."""

    keys: int
    key_step: int
    values: int
    value_step: int


Place: TypeAlias = tuple[str, str, str]  # in the expansion, as operands


def keep_key(
    name: str, k: Vector, heads: int, query_bits: int, place: Place, step: int, wide: bool
) -> str:
    """This position's key becomes a record for each head.  place, step: as in Places."""
    size, record = k.size // heads, "attend_record"
    bytes_ = size * k.bits // 8 + FIX_BYTES
    flip = "    eor #$80\n" if k.bits == 8 else ""
    text = [
        f"; {name}: {k.low}, {k.high} -> records; uses everything\n{name}:",
        expansion.locate("scratch+4", "position", 1 + wide, bytes_, place),
        set_word("query_low", k.low),
        set_word("query_high", k.high) if k.bits == 16 else "",
        f"    lda #{heads}\n    sta heads_left\n{name}_head:",
        copy("source_low", "query_low", 2),
        copy("source_high", "query_high", 2) if k.bits == 16 else "",
        f"    jsr take_{size}_{k.bits}_{query_bits}\n    ldy #{size - 1}\n_element:",
        f"    lda (query_low),y\n{flip}    sta {record},y",
        f"    lda (query_high),y\n    eor #$80\n    sta {record}+{size},y" if k.bits == 16 else "",
        f"    dey\n    bpl _element        ;@ times {size}",
        *(
            f"    lda correction+{i}\n    sta {record}+{size * k.bits // 8 + i}"
            for i in range(FIX_BYTES)
        ),
        _store_record(record, bytes_, step),
        add_to_word("query_low", str(size)),
        add_to_word("query_high", str(size)) if k.bits == 16 else "",
        f"    dec heads_left\n    beq _done           ;@ times {heads}\n    jmp {name}_head\n"
        "_done:\n    rts",
    ]
    return lines(*text)


def _store_record(record: str, size: int, step: int) -> str:
    return lines(
        expansion.point_at("scratch+4"),
        expansion.move(expansion.STASH, record, size),
        add_constant("scratch+4", step, 3),
    )


def keep_value(name: str, v: Vector, heads: int, place: Place, step: int, wide: bool) -> str:
    """This position's value becomes a record for each head."""
    size, record = v.size // heads, "attend_record"
    bytes_ = size * v.bits // 8
    flip = "    eor #$80\n" if v.bits == 8 else ""
    return lines(
        f"; {name}: {v.low}, {v.high} -> records; uses A, X, Y, term, scratch\n{name}:",
        expansion.locate("scratch+4", "position", 1 + wide, bytes_, place),
        set_word("query_low", v.low),
        set_word("query_high", v.high) if v.bits == 16 else "",
        f"    ldx #{heads}\n{name}_head:\n    ldy #{size - 1}\n_element:",
        f"    lda (query_low),y\n{flip}    sta {record},y",
        f"    lda (query_high),y\n    eor #$80\n    sta {record}+{size},y" if v.bits == 16 else "",
        f"    dey\n    bpl _element        ;@ times {size}",
        _store_record(record, bytes_, step),
        add_to_word("query_low", str(size)),
        add_to_word("query_high", str(size)) if v.bits == 16 else "",
        f"    dex\n    beq _done           ;@ times {heads}\n    jmp {name}_head\n_done:\n    rts",
    )
