"""attention: every score, its weight, and the values mixed by them -> assembly text.

How keys and values are kept: cache.py.  Scores, weights and columns are walked by an X that ends
at 0, so the last row seen lies at the end of a page.

    scores   one a row seen, shifted, top bit flipped so that they compare as unsigned
    weights  table[min(entries - 1, largest - score)]
    result   the sum of weight * (value + 32768), divided by the sum of weights, less 32768
"""

from __future__ import annotations

from collections.abc import Collection

from anachron.kernels.mos6502.arithmetic import OFFSET, TOP, accumulate
from anachron.kernels.mos6502.cache import (
    COLUMN_FIX_BYTES,
    FIX_BYTES,
    MOST_ROWS,
    Keys,
    Values,
)
from anachron.kernels.mos6502.instructions import (
    Vector,
    add,
    add_constant,
    add_to_word,
    clear,
    copy,
    lines,
    set_word,
)

# How often a sum's third byte grows (see accumulate): low bytes are any, high bytes near 128.
SCORE_CARRIES = (0.08, 0.05, 0.01)
MIX_CARRIES = (0.15, 0.12)  # most weights are near 0


def attention(
    name: str,
    position: str,
    q: Vector,
    out: Vector,
    keys: Keys,
    values: Values,
    heads: int,
    causal: bool,
    score_shift: int,
    score_bytes: int,
    table: str,
    entries: int,
) -> str:
    """All heads of one position: a call, and what it calls."""
    shifts = [score_shift]
    return lines(
        call(name, f"{name}_heads", q, out, keys, values, score_shift, shifts),
        attend(
            f"{name}_heads",
            position,
            (q.bits, out.bits),
            keys,
            values,
            heads,
            causal,
            shifts,
            score_bytes,
            table,
            entries,
        ),
    )


def call(
    name: str,
    routine: str,
    q: Vector,
    out: Vector,
    keys: Keys,
    values: Values,
    score_shift: int,
    shifts: Collection[int],
) -> str:
    """The op `name`: a routine that `attend` made for it, among others, with shifts of scores."""
    patches = [
        (f"{routine}_fix_{i}", f"{values.fix}+{i * values.size}") for i in range(COLUMN_FIX_BYTES)
    ]
    if len(set(shifts)) > 1:
        patches.append((f"{routine}_shift", f"{routine}_shift_{score_shift}"))
    return lines(
        f"{name}:",
        set_word("query_low", q.low),
        set_word("query_high", q.high) if q.bits == 16 else "",
        set_word("key_low", keys.low),
        set_word("key_high", keys.high) if keys.bits == 16 else "",
        set_word("key_fix", keys.fix),
        set_word("value_low", values.low),
        set_word("value_high", values.high) if values.bits == 16 else "",
        set_word("out_low", out.low),
        set_word("out_high", out.high) if out.bits == 16 else "",
        *(
            f"    lda #<({target})\n    sta {label}+1\n    lda #>({target})\n    sta {label}+2"
            for label, target in patches
        ),
        f"    jmp {routine}",
    )


def attend(
    name: str,
    position: str,
    bits: tuple[int, int],
    keys: Keys,
    values: Values,
    heads: int,
    causal: bool,
    shifts: Collection[int],
    score_bytes: int,
    table: str,
    entries: int,
) -> str:
    """`<name>`: all heads of one position; calls set where its vectors, keys and values lie.

    position     label of its number, a byte
    bits         of queries and of results
    keys, values of any of the ops that share it
    shifts       of their scores
    score_bytes  so many hold every score, shifted (a bound that ranges.py proves)
    table        label of the exponential's bytes
    """
    q = Vector("", "", 0, bits[0])
    out = Vector("", "", 0, bits[1])
    if values.n_rows > MOST_ROWS or entries > 256:
        raise ValueError(
            f"{name}: {values.n_rows} positions and {entries} table entries: "
            f"the 6502's attention takes at most {MOST_ROWS} and 256"
        )
    size, group = keys.head_size, heads // keys.heads
    first = f"    lda {position}\n    eor #$ff" if causal else f"    lda #{-values.n_rows & 255}"
    step = [
        add_to_word("query_low", str(size)),
        add_to_word("query_high", str(size)) if q.bits == 16 else "",
        "    dec group_left\n    bne _next           ;@ p="
        + f"{1 - 1 / group:g}\n    lda #{group}\n    sta group_left",
        add_to_word("key_low", str(size)),
        add_to_word("key_high", str(size)) if keys.bits == 16 else "",
        add_to_word("key_fix", str(FIX_BYTES)),
        copy("value_low", "past_low", 2),
        copy("value_high", "past_high", 2) if values.bits == 16 else "",
        "    lda value_index\n    sta value_first",
    ]
    return lines(
        f"; {name}: {heads} heads of {size}, keys and values of {keys.heads}; uses everything",
        f"{name}:\n{first}\n    sta first\n    lda #{heads}\n    sta heads_left",
        f"    lda #{group}\n    sta group_left\n    lda #0\n    sta value_first",
        f"{name}_head:",
        _scores(name, q, keys, sorted(set(shifts)), score_bytes),
        _weights(name, values, score_bytes, table, entries),
        _mix(name, values, out),
        "    dec heads_left\n    bne _more           ;@ times " + str(heads) + "\n    rts\n_more:",
        *step,
        f"_next:\n    jmp {name}_head",
    )


def shift_variable(routine: str) -> str:
    """The variable of timing claims that holds where a score's shift begins."""
    return f"{routine}_shifts"


def _shift_score(name: str, shifts: list[int], score_bytes: int) -> str:
    """total >>= a shift, of which calls choose one if there are several; in bytes that are kept.

    A byte more moves along: bits come in from it.
    """
    whole = shifts[0] // 8
    if any(shift // 8 != whole for shift in shifts):
        raise ValueError(f"{name}: shifts of {shifts} are no bits apart")
    moved = min(score_bytes + 1, 5 - whole)
    text = [f"    lda total+{i + whole}\n    sta total+{i}" for i in range(moved)]
    if 5 - whole <= score_bytes:
        sign = "    asl\n    lda #0\n    adc #$ff\n    eor #$ff"
        text += [sign, *(f"    sta total+{i}" for i in range(moved, score_bytes + 1))]
    if len(shifts) > 1:
        text.append(
            f"{name}_shift:\n    jmp {name}_shift_{shifts[0]}   "
            f";@ goes {{{shift_variable(name)}}}"
        )
    for shift in range(shifts[-1], 8 * whole - 1, -1):
        text.append(f"{name}_shift_{shift}:" if len(shifts) > 1 else "")
        if shift > 8 * whole:
            text.append(f"    lsr total+{score_bytes}")
            text += [f"    ror total+{i}" for i in range(score_bytes - 1, -1, -1)]
    return lines(*text)


def _scores(name: str, q: Vector, keys: Keys, shifts: list[int], score_bytes: int) -> str:
    """The scores of all rows, and the largest."""
    size = keys.head_size
    offsets = OFFSET[q.bits] * OFFSET[keys.bits]
    parts_q, parts_k = q.bits // 8, keys.bits // 8
    scale = sum(256 ** (i + j) for i in range(parts_q) for j in range(parts_k))
    skip = size - 256  # from a row's first byte to the address that X indexes
    inner = []
    for k_part, key in enumerate(("low", "high")[:parts_k]):
        inner.append(
            f"{name}_key_{key}:\n    lda $ffff,x         ;@ p={(511 - size) / 512:.3f}\n"
            "    sta product_low\n    sta product_high"
        )
        for q_part in range(parts_q):
            total = ("sum_a", "sum_b", "sum_c")[k_part + q_part]
            carries = SCORE_CARRIES[k_part + q_part]
            inner.append(f"    ldy query+{256 * q_part},x\n" + accumulate(total, carries))
    sums = parts_q + parts_k - 1
    order = ("sum_a", "sum_b", "sum_c")[:sums]
    keep = [f"    lda total+{i}\n    sta scores+{256 * i},x" for i in range(score_bytes - 1)]
    top = score_bytes - 1
    keep.append(
        f"    lda total+{top}\n    eor #$80\n    sta total+{top}\n    sta scores+{256 * top},x"
    )
    larger = ["    lda largest\n    cmp total"]
    larger += [f"    lda largest+{i}\n    sbc total+{i}" for i in range(1, score_bytes)]
    return lines(
        copy("source_low", "query_low", 2),
        copy("source_high", "query_high", 2) if q.bits == 16 else "",
        f"    jsr take_{size}_{q.bits}_{keys.bits}",
        # Every product lacks one TOP; what the offsets of both multiply to is counted in, too.
        add_constant("correction", -size * (TOP * scale + offsets), 5),
        copy("past_low", "key_low", 2),
        copy("past_high", "key_high", 2) if keys.bits == 16 else "",
        copy("past_fix", "key_fix", 2),
        clear("largest", score_bytes),
        f"    lda first\n    sta index\n{name}_score:",
        *(clear(total, 3) for total in order),
        "    sec",
        *(f"    lda #0\n    sbc correction+{i}\n    sta total+{i}" for i in range(5)),
        "    ldy #0\n    sec",
        *(
            f"    lda total+{i}\n    sbc (past_fix),y\n    sta total+{i}"
            + ("\n    iny" if i < 4 else "")
            for i in range(5)
        ),
        *(
            f"    clc\n    lda past_{key}\n    adc #<({skip % 65536})\n    sta {name}_key_{key}+1\n"
            f"    lda past_{key}+1\n    adc #>({skip % 65536})\n    sta {name}_key_{key}+2"
            for key in ("low", "high")[:parts_k]
        ),
        f"    ldx #{-size & 255}\n    clc",
        *inner,
        f"    inx\n    beq {name}_summed    ;@ times {size}\n    jmp {name}_key_low\n"
        f"{name}_summed:",
        *(add("total", total, 5, 3, up) for up, total in enumerate(order)),
        _shift_score(name, shifts, score_bytes),
        "    ldx index",
        *keep,
        *larger,
        "    bcs _smaller        ;@ p=0.7",
        copy("largest", "total", score_bytes),
        "_smaller:",
        add_to_word("past_low", str(keys.size)),
        add_to_word("past_high", str(keys.size)) if keys.bits == 16 else "",
        add_to_word("past_fix", str(FIX_BYTES * keys.heads)),
        f"    inc index\n    beq _scored         ;@ times seen\n    jmp {name}_score\n_scored:",
    )


def _weights(name: str, values: Values, score_bytes: int, table: str, entries: int) -> str:
    """weights, their sum in divisor, and the columns' share of the correction."""
    far = []
    for i in range(1, score_bytes):
        far.append(f"    lda largest+{i}\n    sbc scores+{256 * i},x")
        far.append("    ora scratch" if i > 1 else "")
        far.append("    sta scratch" if i < score_bytes - 1 else "    bne _far            ;@ p=0.3")
    short = f"    cpy #{entries}\n    bcc _near           ;@ p=0.7\n" if entries < 256 else ""
    skip = "    jmp _near\n" if entries == 256 else ""
    reach = f"{short}{skip}_far:\n    ldy #{entries - 1}\n_near:"
    return lines(
        f"{name}_weights:",
        clear("sum_c", 3),
        "    sta divisor\n    sta divisor+1\n    ldx first\n_weight:",
        "    sec\n    lda largest\n    sbc scores,x\n    tay",
        *far,
        reach,
        f"""\
    lda {table},y
    sta weights,x
    tay
    clc
    adc divisor
    sta divisor
    bcc *+4             ;@ p=0.7
    inc divisor+1
    sec
    lda #<{TOP}
    sbc products_low,y
    sta term
    lda #>{TOP}
    sbc products_high,y
    sta term+1
    clc
    lda sum_c
    adc term
    sta sum_c
    lda sum_c+1
    adc term+1
    sta sum_c+1
    bcc *+4             ;@ p=0.8
    inc sum_c+2
    inx
    bne _weight         ;@ times seen""",
        copy("correction", "sum_c", 3),
        "    lda #0\n    sta correction+3",
        add("correction", "sum_c", 4, 3, 1) if values.bits == 16 else "",
    )


def _mix(name: str, values: Values, out: Vector) -> str:
    """One head's result: its columns weighted, summed and divided."""
    size, wide = values.head_size, values.bits == 16
    parts = ("low", "high")[: values.bits // 8]
    point = [
        f"    sec\n    lda past_{part}\n    sbc first\n    sta {name}_value_{part}+1\n"
        f"    lda past_{part}+1\n    sbc #0\n    sta {name}_value_{part}+2"
        for part in parts
    ]
    inner = [
        f"{name}_value_{part}:\n    ldy $ffff,x\n" + accumulate(total, carries, 0.1)
        for part, total, carries in zip(parts, ("sum_a", "sum_b"), MIX_CARRIES, strict=False)
    ]
    fixes = [
        f"    lda total+{i}\n{name}_fix_{i}:\n    sbc $ffff,x         ;@ p=0.1\n    sta total+{i}"
        for i in range(COLUMN_FIX_BYTES)
    ]
    if wide:
        signed = "    lda total+1\n    eor #$80\n    sta total+1"
    else:  # the quotient, an unsigned byte, less 128
        signed = (
            "    lda total\n    eor #$80\n    sta total\n    asl\n    lda #0\n    adc #$ff\n"
            "    eor #$ff\n    sta total+1"
        )
    return lines(
        f"{name}_mix:",
        *(copy(f"past_{part}", f"value_{part}", 2) for part in parts),
        f"    lda value_first\n    sta value_index\n    lda #{size}\n    sta index\n{name}_column:",
        *point,
        clear("sum_a", 3),
        "    sta sum_b\n    sta sum_b+1\n    sta sum_b+2" if wide else "",
        "    ldx first\n    clc\n_row:\n    lda weights,x\n    sta product_low\n"
        "    sta product_high",
        *inner,
        f"    inx\n    bne {name}_row_again ;@ times seen\n    beq {name}_sum       ;@ always",
        f"{name}_row_again:\n    jmp {name}_row",
        f"{name}_sum:",
        copy("total", "correction", 4),
        add("total", "sum_a", 4, 3),
        add("total", "sum_b", 4, 3, 1) if wide else "",
        "    ldx value_index\n    sec",
        *fixes,
        "    jsr divide_short",
        signed,
        f"    jsr saturate_{out.bits}_2\n    ldy #0\n    lda total\n    sta (out_low),y",
        "    lda total+1\n    sta (out_high),y" if out.bits == 16 else "",
        add_to_word("out_low", "1"),
        add_to_word("out_high", "1") if out.bits == 16 else "",
        *(add_to_word(f"past_{part}", str(values.n_rows)) for part in parts),
        "    inc value_index\n    dec index\n"
        f"    beq {name}_mixed     ;@ times {size}\n    jmp {name}_column\n{name}_mixed:",
    ).replace("\n_row:", f"\n{name}_row:")
