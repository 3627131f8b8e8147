"""encode: a typed line to token ids, by a table of characters and ranked merges -> assembly text.

Merges are walked in the order of rank.  When one is applied, the walk goes back only to the first
merge that can use its result, so every pair of a lower rank is always gone already; where merges
are few, it begins again, and no record says where to go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import add_to_word, copy, lines, set_word

MORE, LAST, END = 0, 1, 2  # a merge record's first byte: more of this rank follow, or none
FEW = 128  # merges
DROPPED = 0xFF  # in place of a character's id, or of its high byte where ids are wide


@dataclass(frozen=True)
class Text:
    """What the encoder is made for.  room: ids of text that fit the context beside the template.

    wide  an id of text takes two bytes: there are more than DROPPED of them
    few   merges: no more than FEW
    """

    lead: int  # id in front of any text, -1 for none
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    room: int
    token_bytes: int
    merges: bool
    wide: bool
    few: bool = False


def record_bytes(token_bytes: int, few: bool) -> int:
    """Of a merge: kind, left, right, result, and, where they are not few, the address to go on at
    when it was applied."""
    return 1 + 3 * token_bytes + (0 if few else 2)


def merge_records(merges: Array, ranks: Array, token_bytes: int, few: bool = False) -> str:
    """The merges as .byte and .word lines, grouped by rank, closed by an END.

    merges (n, 3)  left, right, result, in the order of rank
    """
    first_of_rank: dict[int, int] = {}
    for i, rank in enumerate(ranks):
        first_of_rank.setdefault(int(rank), i)
    first_use: dict[int, int] = {}
    for i, (left, right, _) in enumerate(merges):
        for part in (int(left), int(right)):
            first_use.setdefault(part, i)
    text = ["merges:"]
    for i, merge in enumerate(merges):
        here = first_of_rank[int(ranks[i])]
        use = first_use.get(int(merge[2]), len(merges))
        back = min(here, first_of_rank[int(ranks[use])] if use < len(merges) else here)
        kind = MORE if i + 1 < len(merges) and ranks[i + 1] == ranks[i] else LAST
        parts = b"".join(int(v).to_bytes(token_bytes, "little") for v in merge)
        text.append(f"    .byte {', '.join(str(b) for b in bytes([kind]) + parts)}")
        if not few:
            text.append(f"    .word merges+{back * record_bytes(token_bytes, few)}")
    return lines(*text, f"    .byte {END}")


def encode(text: Text) -> str:
    """`encode`: line, line_length -> text_low, text_high, text_count; then prompt_ids, n_prompt."""
    lead = ""
    if text.lead >= 0:
        lead = (
            f"    cpy line_length\n    beq _end            ;@ p=0.05\n    lda #<{text.lead}\n"
            f"    sta text_low\n"
            + (f"    lda #>{text.lead}\n    sta text_high\n" if text.wide else "")
            + "    inx"
        )
    high = "    lda character_high,y\n" if text.wide else "    lda character_low,y\n"
    low = "    sta text_high,x\n    lda character_low,y\n" if text.wide else ""
    return lines(
        "; encode: the line's ids, merged, in the template: prompt_ids, n_prompt;"
        " text_count before it is cut\nencode:\n    ldx #0\n    ldy #0",
        lead,
        f"""\
_character:
    cpy line_length
    beq _end            ;@ times 1..250 ~10
    sty index
    lda line,y
    tay
{high}    cmp #{DROPPED}
    beq _dropped        ;@ p=0.05
{low}    sta text_low,x
    inx
_dropped:
    ldy index
    iny
    jmp _character
_end:
    stx text_count""",
        "    cpx #2              ; fewer have no pair\n    bcc *+5             ;@ p=0.05\n"
        "    jsr join"
        if text.merges
        else "",
        set_word("out_low", "prompt_ids"),
        "    lda #0\n    sta n_prompt" + ("\n    sta n_prompt+1" if text.token_bytes == 2 else ""),
        *(_put_constant(i, text.token_bytes) for i in text.prefix),
        f"    lda text_count\n    cmp #{text.room + 1}\n    bcc _fits           ;@ p=0.9\n"
        f"    lda #{text.room}\n_fits:\n    sta rows_left\n    ldx #0",
        "_copy:\n    cpx rows_left\n    beq _copied         ;@ times 1..250 ~10\n"
        "    lda text_low,x\n" + ("    ldy text_high,x" if text.wide else "    ldy #0"),
        "    jsr put_id\n    inx\n    jmp _copy\n_copied:",
        *(_put_constant(i, text.token_bytes) for i in text.suffix),
        "    rts",
        "; put_id: the id in A (low) and Y (high) behind prompt_ids\nput_id:",
        "    sta term\n    sty term+1\n    ldy #0\n    lda term\n    sta (out_low),y",
        "    iny\n    lda term+1\n    sta (out_low),y" if text.token_bytes == 2 else "",
        add_to_word("out_low", str(text.token_bytes)),
        "    inc n_prompt\n    rts",
        _join(text) if text.merges else "",
    )


def _put_constant(token: int, token_bytes: int) -> str:
    return f"    lda #<{token}\n    ldy #>{token}\n    jsr put_id"


def _join(text: Text) -> str:
    wide = text.token_bytes == 2
    size = record_bytes(text.token_bytes, text.few)
    take_high = "    lda total+1\n    sta text_high,x\n" if text.wide else ""
    move_high = "    lda text_high+1,x\n    sta text_high,x\n" if text.wide else ""
    take = "\n".join(
        f"    iny\n    lda (pointer),y\n    sta {target}"
        for name in ("factor_a", "factor_b", "divisor")
        for target in ([name, f"{name}+1"] if wide else [name])
    )
    high = (
        "    lda text_high,x\n    cmp factor_a+1\n    bne _next           ;@ p=0.1\n"
        "    lda text_high+1,x\n    cmp factor_b+1\n    bne _next           ;@ p=0.1\n"
    )
    way = "".join(f"    iny\n    lda (pointer),y\n    sta total+{i}\n" for i in (2, 3))
    back = lines(copy("pointer", "total+2", 2), "    jmp join_rank")
    if text.few:
        way, back = "", "    jmp join"
    # index: the leftmost place found in this rank, $ff for none; total: its result and the way on
    return lines(
        "; join: all merges, the lowest rank first, the leftmost of equals; uses A, X, Y\njoin:",
        set_word("pointer", "merges"),
        f"""\
join_rank:
    lda #$ff
    sta index
join_merge:
    ldy #0
    lda (pointer),y
    sta scratch
    cmp #{END}
    bne _go_on          ;@ times 1..30000 ~200
    rts
_go_on:
{take}
    ldx text_count
    dex
    beq _absent         ;@ p=0.1
    cpx index           ; no further than a place found already
    bcc *+4             ;@ p=0.9
    ldx index
    stx scratch+1
    ldx #0
_place:
    cpx scratch+1
    bcs _absent         ;@ times 1..250 ~10
    lda text_low,x
    cmp factor_a
    bne _next           ;@ p=0.95
    lda text_low+1,x
    cmp factor_b
    bne _next           ;@ p=0.9
{high if wide else ""}    stx index
{copy("total", "divisor", 2)}
{way}    jmp _absent
_next:
    inx
    jmp _place
_absent:
{add_to_word("pointer", str(size))}
    lda scratch
    cmp #{LAST}
    beq _rank_done      ;@ p=0.99
    jmp join_merge
_rank_done:
    ldx index
    cpx #$ff
    bne _merge          ;@ p=0.1
    jmp join_rank
_merge:
    lda total
    sta text_low,x
{take_high}    dec text_count
_close:
    inx
    cpx text_count
    bcs _closed         ;@ times 1..250 ~10
    lda text_low+1,x
    sta text_low,x
{move_high}    jmp _close
_closed:
{back}""",
    )


def characters(ids: Array) -> tuple[bytes, bytes]:
    """The table of typed codes: low and high bytes of their ids; -1 is dropped, in both."""
    ids = np.asarray(ids, np.int64)
    low = np.where(ids < 0, DROPPED, ids & 0xFF).astype(np.uint8)
    high = np.where(ids < 0, DROPPED, ids >> 8).astype(np.uint8)
    return low.tobytes(), high.tobytes()
