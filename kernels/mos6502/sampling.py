"""argmax, sample and the random numbers -> assembly text.

To drop the unlikely, ids need no sorting: ranks are bytes, so a count of each rank tells the rank
at which the weights reach what top-p asks for, and how many ids of that rank are still taken.
"""

from __future__ import annotations

from collections.abc import Callable

from anachron.kernels.mos6502 import largest
from anachron.kernels.mos6502.instructions import (
    Vector,
    add,
    clear,
    copy,
    lines,
    set_word,
)
from anachron.kernels.mos6502.norm import shift_unsigned
from anachron.kernels.reference.sampling import WEIGHTS

RANKS = 256
LAST_RANK = int((WEIGHTS > 0).sum())  # and those beyond weigh nothing
LARGE = int((WEIGHTS > 255).sum())  # weights that take two bytes, the first
_HIGH = f"rank_weights+{LAST_RANK + 1}"


def count_bytes(n: int) -> int:
    """Of rank_counts for n ids: low bytes, then high bytes, if one may need them."""
    return RANKS if n < 256 else 2 * RANKS


def argmax(logits: Vector, first_id: int, token_bytes: int) -> str:
    """next_token = the first id from first_id on with the largest logit, left in `largest`."""
    text = [
        "; argmax: next_token, and its logit in `largest`; uses A, X\nargmax:",
        "    lda #$00\n    sta largest\n    lda #$80\n    sta largest+1",
        f"    lda #<{first_id}\n    sta next_token",
        f"    lda #>{first_id}\n    sta next_token+1" if token_bytes == 2 else "",
    ]
    for start in range(first_id & ~0xFF, logits.size, 256):
        n, skip = min(256, logits.size - start), max(0, first_id - start)
        row = logits.at(start)
        end = "" if n == 256 else f"    cpx #{n}\n"
        logit = f"{row.low},x", f"{row.high},x"
        text.append(
            f"""\
argmax_{start}:
    ldx #{skip}
_logit:
{largest.compare(largest.LARGEST, logit)}
    bpl _smaller        ;@ p=0.95
{largest.take(logit)}
    stx next_token"""
        )
        if token_bytes == 2:
            text.append(f"    lda #>{start}\n    sta next_token+1")
        text.append(f"_smaller:\n    inx\n{end}    bne _logit          ;@ times {n - skip}")
    return lines(*text, "    rts")


def next_random() -> str:
    """xorshift with 13, 17 and 5, by bytes and bits."""
    return lines(
        "; next_random: random_state moves on; uses A, X, term",
        "next_random:\n    lda #0\n    sta term",
        "    lda random_state\n    sta term+1\n    lda random_state+1\n    sta term+2",
        "    lda random_state+2\n    sta term+3\n    ldx #5",
        "_left_13:\n    asl term+1\n    rol term+2\n    rol term+3\n    dex\n"
        "    bne _left_13        ;@ times 5",
        *(
            f"    lda random_state+{i}\n    eor term+{i}\n    sta random_state+{i}"
            for i in (1, 2, 3)
        ),
        "    lda random_state+3  ; right by 17: two bytes and a bit\n    lsr\n    sta term+1",
        "    lda random_state+2\n    ror\n    eor random_state\n    sta random_state",
        "    lda random_state+1\n    eor term+1\n    sta random_state+1",
        copy("term", "random_state", 4),
        "    ldx #5\n_left_5:\n    asl term\n    rol term+1\n    rol term+2\n    rol term+3\n"
        "    dex\n    bne _left_5         ;@ times 5",
        *(
            f"    lda random_state+{i}\n    eor term+{i}\n    sta random_state+{i}"
            for i in range(4)
        ),
        "    rts",
    )


def _begin_walk(name: str, logits: Vector, first_id: int) -> str:
    """Point at the first id's logit and rank."""
    return lines(
        set_word("source_low", f"{logits.low}+{first_id}"),
        set_word("source_high", f"{logits.high}+{first_id}"),
        set_word("past_low", "ranks"),
        set_word("id", str(first_id)),
        set_word("rows_left", str(logits.size - first_id)),
        f"{name}:",
    )


def sample(logits: Vector, frac: int, first_id: int, token_bytes: int) -> str:
    """next_token, chosen by chance among the likely; argmax has left the largest logit.

    frac  fraction bits of the logits
    """
    n = logits.size - first_id
    low = "rank_weights,x"
    high = f"    ldy #0\n    cpx #{LARGE}\n    bcs *+5             ;@ p=0.7\n    ldy {_HIGH},x"

    def grow(total: str) -> str:
        return lines(
            f"{high}\n    clc\n    lda {total}\n    adc {low}\n    sta {total}",
            f"    tya\n    adc {total}+1\n    sta {total}+1",
            f"    bcc *+8             ;@ p=0.5\n    inc {total}+2\n"
            f"    bne *+4             ;@ p=0.99\n    inc {total}+3",
        )

    many = count_bytes(logits.size) > RANKS
    more = "    sta rank_counts+256,x\n" if many else ""
    shift = frac + 4
    if not 0 <= shift <= 31:
        raise ValueError(f"logits with {frac} fraction bits: sampling takes -4 to 27")
    total_shift = lines(*(shift_unsigned("total", min(8, shift - i)) for i in range(0, shift, 8)))
    return lines(
        "; sample: next_token; after argmax; uses everything\nsample:",
        clear("kept", 4),
        f"    tax\n_clear:\n    sta rank_counts,x\n{more}    inx\n"
        "    bne _clear          ;@ times 256",
        _begin_walk("sample_rank", logits, first_id),
        "    ldy #0\n    sec\n    lda largest\n    sbc (source_low),y\n    sta factor_a",
        "    lda largest+1\n    sbc (source_high),y\n    sta factor_a+1",
        copy("factor_b", "inverse_temperature", 2),
        "    jsr multiply",
        total_shift,
        "    lda total+1\n    ora total+2\n    ora total+3\n    beq _rank           ;@ p=0.7",
        "    lda #255\n    sta total\n_rank:\n    ldy #0\n    lda total\n"
        f"    cmp #{LAST_RANK}\n    bcc *+4             ;@ p=0.7\n    lda #{LAST_RANK}\n"
        "    sta (past_low),y\n    tax",
        "    inc rank_counts,x",
        "    bne *+5             ;@ p=0.99\n    inc rank_counts+256,x" if many else "",
        grow("kept"),
        f"    jsr next_id\n    beq _ranked         ;@ times {n}\n    jmp sample_rank\n_ranked:",
        "    lda #255            ; nothing is dropped\n    sta cut_rank\n    sta cut_left\n"
        "    sta cut_left+1",
        "    lda top_p+1\n    bne sample_choose   ;@ p=0.5\n    jsr cut_unlikely",
        "sample_choose:\n    jsr next_random",
        copy("factor_a", "random_state+2", 2),
        copy("factor_b", "kept", 2),
        "    jsr multiply",
        copy("enough", "total+2", 2),
        clear("enough+2", 2),
        copy("factor_b", "kept+2", 2),
        "    jsr multiply",
        add("enough", "total", 4, 4),
        _begin_walk("sample_walk", logits, first_id),
        "    ldy #0\n    lda (past_low),y\n    cmp cut_rank\n    bcc _take           ;@ p=0.9\n"
        "    bne _skip           ;@ p=0.9",
        "    lda cut_left\n    ora cut_left+1\n    beq _skip           ;@ p=0.5",
        "    lda cut_left\n    bne *+4             ;@ p=0.99\n    dec cut_left+1\n    dec cut_left",
        "    lda (past_low),y\n_take:\n    tax",
        f"{high}\n    sty scratch\n    sec\n    lda enough\n    sbc {low}\n    sta enough",
        "    lda enough+1\n    sbc scratch\n    sta enough+1",
        "    lda enough+2\n    sbc #0\n    sta enough+2\n    lda enough+3\n    sbc #0\n"
        "    sta enough+3",
        "    bcc _chosen         ;@ p=0.02",
        f"_skip:\n    jsr next_id\n    beq _chosen         ;@ times {n}\n    jmp sample_walk",
        "_chosen:\n    lda id\n    sta next_token",
        "    lda id+1\n    sta next_token+1" if token_bytes == 2 else "",
        "    rts",
        """\
; next_id: to the next id's logit and rank; the zero flag is set after the last; uses A
next_id:
    inc source_low
    bne *+4             ;@ p=0.99
    inc source_low+1
    inc source_high
    bne *+4             ;@ p=0.99
    inc source_high+1
    inc past_low
    bne *+4             ;@ p=0.99
    inc past_low+1
    inc id
    bne *+4             ;@ p=0.99
    inc id+1
    lda rows_left
    bne *+4             ;@ p=0.99
    dec rows_left+1
    dec rows_left
    lda rows_left
    ora rows_left+1
    rts""",
        _cut(grow, many),
    )


def _cut(grow: Callable[[str], str], many: bool) -> str:
    """cut_rank and cut_left from top_p; kept becomes what is left.

    many  counts of ranks have two bytes
    """
    high = "rank_counts+256,x" if many else "#0"
    return lines(
        "; cut_unlikely: cut_rank, cut_left and kept from top_p, below 256; uses everything",
        "cut_unlikely:",
        copy("factor_a", "kept+1", 2),
        copy("factor_b", "top_p", 2),
        "    jsr multiply",
        copy("enough", "total", 4),
        "    lda kept+3\n    sta factor_a\n    lda #0\n    sta factor_a+1\n    jsr multiply",
        add("enough", "total", 4, 4, 2),
        clear("kept", 4),
        "    sta index           ; nothing taken yet\n    tax",
        f"cut_next:\n    lda rank_counts,x\n    sta rows_left\n    lda {high}\n"
        "    sta rows_left+1\n    lda #0\n    sta cut_left\n    sta cut_left+1",
        "cut_one:\n    lda rows_left\n    ora rows_left+1",
        "    beq _rank_done      ;@ times 1..513 ~1.5",
        "    lda kept\n    cmp enough",
        *(f"    lda kept+{i}\n    sbc enough+{i}" for i in (1, 2, 3)),
        "    bcc _take           ;@ p=0.9\n    lda index\n    bne _cut            ;@ p=0.9",
        "_take:\n    inc index\n    bne *+4             ;@ p=0.99\n    inc index",
        grow("kept"),
        "    inc cut_left\n    bne *+4             ;@ p=0.99\n    inc cut_left+1",
        "    lda rows_left\n    bne *+4             ;@ p=0.99\n    dec rows_left+1",
        "    dec rows_left\n    jmp cut_one",
        "_rank_done:\n    inx\n    beq _all            ;@ times 1..256 ~40\n    jmp cut_next",
        "_all:\n    lda #255\n    sta cut_left\n    sta cut_left+1\n_cut:\n    stx cut_rank\n"
        "    lda cut_left\n    and cut_left+1\n    cmp #255\n    bne *+4             ;@ p=0.9\n"
        "    sta cut_rank\n    rts",
    )


def rank_weights() -> bytes:
    """The weights by rank: low bytes up to LAST_RANK, then high bytes of those that are LARGE."""
    low, high = WEIGHTS[: LAST_RANK + 1], WEIGHTS[:LARGE]
    return bytes(int(w) & 255 for w in low) + bytes(int(w) >> 8 for w in high)
