"""attention in residues, keys and values from the expansion -> assembly text.

    scores    two or three chains over the features of a key: q's residues are the operands, X is
              where a key's record begins in a block of some that one transfer has brought
    noticed   rows whose score may still have a weight: within the table's reach of the largest
              score so far; other rows cost nothing more; the newest rows come first, for theirs
              are mostly the largest
    result    the values of noticed rows that have a weight come by a transfer each, and
              weight * (value + 128) goes to sums in the zero page; a division each

What bounds it: a score 8 cycles a product and modulus and 2 for the CLC, 70 to be put together and
compared; a row noticed 80 and weighed 80; a row with a weight 80, and 52 for each of its features.

Exact where scores lie in the range of the chains and a head's sums in three bytes (Heads.fits).

    key record    for each modulus the features' residues, then for each less their sum of t
    value record  the features, the top bit flipped

    <name>           all heads of one position; a call has set the rest
    <name>_keep_key, <name>_keep_value   this position's records
"""

from __future__ import annotations

from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.instructions import (
    Vector,
    add_constant,
    add_to_word,
    copy,
    lines,
    set_word,
)
from anachron.kernels.mos6502.streamed.cache import Places
from anachron.kernels.mos6502.streamed.head_shapes import Heads
from anachron.kernels.mos6502.streamed.scores import query, scores
from anachron.kernels.mos6502.streamed.weighing import mix, results


def attend(h: Heads, places: Places) -> str:
    """`<name>`: all heads of one position."""
    name, group = h.name, h.heads // h.kv_heads
    offsets = [i * h.key_bytes for i in range(h.block_rows)]
    steps = [i * h.size for i in range(h.block_rows) for _ in range(h.key_bytes)]
    shift, none = h.block_rows.bit_length() - 1, ("0", "0", "0")
    return lines(
        f"; {name}: {h.heads} heads of {h.size}; query_low, query_high, out_low and {name}_keys,\n"
        f"; {name}_values are set; uses everything\n{name}:",
        f"    lda position\n    and #{h.block_rows - 1}\n    tax\n    lda {name}_offsets,x ;@ p=0.1"
        f"\n    sta {name}_last_row\n    lda position+1\n    sta scratch\n    lda position",
        *(["    lsr scratch\n    ror"] * shift),
        f"    sta {name}_whole",
        expansion.locate("scratch", f"{name}_whole", 1, h.block_rows * h.key_bytes, none),
        copy(f"{name}_last_keys", "scratch", 3),
        expansion.locate("scratch", f"{name}_whole", 1, h.block_rows * h.size, none),
        copy(f"{name}_last_values", "scratch", 2),
        f"    lda #{h.heads}\n    sta heads_left\n    lda #{group}\n    sta group_left\n"
        f"{name}_head:",
        query(h),
        scores(h),
        mix(h),
        results(h),
        f"    dec heads_left\n    bne {name}_more     ;@ times {h.heads}\n    rts\n{name}_more:",
        add_to_word("query_low", str(h.size)),
        add_to_word("query_high", str(h.size)),
        add_to_word("out_low", str(h.size)),
        f"    dec group_left\n    bne {name}_again    ;@ p={1 - 1 / group:g}\n"
        f"    lda #{group}\n    sta group_left",
        add_constant(f"{name}_keys", places.key_step, 3),
        add_constant(f"{name}_values", places.value_step, 3),
        f"{name}_again:\n    jmp {name}_head",
        f"{name}_keys:\n    .byte 0, 0, 0\n{name}_values:\n    .byte 0, 0, 0\n"
        f"{name}_whole:\n    .byte 0\n{name}_last_row:\n    .byte 0\n"
        f"{name}_last_keys:\n    .byte 0, 0, 0\n{name}_last_values:\n    .word 0",
        f"{name}_offsets:\n    .byte {','.join(str(n & 255) for n in offsets)}",
        f"{name}_steps:\n    .byte {','.join(map(str, steps))}",
    )


def call(h: Heads, name: str, q: Vector, out: Vector, places: Places, shift: int) -> str:
    """The op `name`, whose scores move by a shift."""
    text = [f"{name}:"]
    if h.several:
        text += [f"    lda #{byte}\n    sta {at}+1" for at, byte in h.limits(shift).items()]
        text.append(set_word(f"{h.name}_way+1", h.way(shift)))
    for part, address in (("keys", places.keys), ("values", places.values)):
        for i in range(3):
            text.append(f"    lda #{address >> 8 * i & 0xFF}\n    sta {h.name}_{part}+{i}")
    for target, label in (("query_low", q.low), ("query_high", q.high), ("out_low", out.low)):
        text.append(set_word(target, label))
    return lines(*text, f"    jmp {h.name}")
