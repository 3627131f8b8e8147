"""The scores of a head in residues, and the rows that may have a weight: see heads.py."""

from __future__ import annotations

from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.instructions import (
    Vector,
    add_constant,
    add_to_word,
    clear,
    copy,
    lines,
    set_word,
)
from anachron.kernels.mos6502.streamed.cache import Place
from anachron.kernels.mos6502.streamed.chains import chain, negate, start
from anachron.kernels.mos6502.streamed.head_shapes import (
    AUTOLOAD,
    NOTICED,
    PAGE,
    WINDOW_BYTES,
    Heads,
)

KEY_AT = "kept"  # where the block at work lies in the expansion


def _residues(h: Heads, targets: list[str]) -> str:
    """The feature at Y of the word at source_low, source_high: its residues to targets."""
    text = [
        f"    lda (source_low),y  ;@ p=0.1\n    sta {targets[0]}\n    tax\n"
        "    lda (source_high),y ;@ p=0.1\n"
    ]
    if h.chains > 2:
        text.append("    sty scratch+1")
    text.append(
        f"    tay\n    txa\n    clc\n    adc high_mod255,y   ;@ aligned\n    adc #0\n"
        f"    sta {targets[1]}"
    )
    if h.chains > 2:
        text.append(
            "    clc\n    lda low_mod99,x      ;@ aligned\n    adc high_mod99,y     ;@ aligned\n"
            f"    sta {targets[2]}\n    ldy scratch+1"
        )
    return lines(*text)


def _own(m: int, reads: list[str]) -> str:
    """A = less the sum of t over what reads load into Y."""
    terms = [(f"    ldy {read}", f"    adc t{m},y            ;@ p=0.2") for read in reads]
    body, most = chain(m, 0, terms, 0)
    return lines("    sed" if m == 99 else "", "    lda #0\n    clc", body, negate(m, 0, most))


def query(h: Heads) -> str:
    """A head's residues into the operands of the score chains, and less their sums."""
    name = h.name
    text = [copy("source_low", "query_low", 2), copy("source_high", "query_high", 2)]
    for d in range(h.size):
        text.append(f"    ldy #{d}")
        text.append(_residues(h, [f"{name}_q{m}_{d}+1" for m in h.moduli]))
    for m in h.moduli:
        reads = [f"{name}_q{m}_{d}+1" for d in range(h.size)]
        text.append(f"{_own(m, reads)}\n    sta {name}_s{m}+1")
    return lines(*text)


def scores(h: Heads) -> str:
    """The rows that may have a weight: their scores, top bit flipped, and where their values are.

    total, total+1, total+2: a score; largest: of all; enough: up to it there is no weight.
    """
    name, n, limits = h.name, h.block_rows, h.limits(h.shifts[0])
    mask = [f"{label}:\n    ora #{limits[label]}" for label in (f"{name}_mask_0", f"{name}_mask_1")]
    window = [
        f"{label}:\n    sbc #{limits[label]}"
        for label in (f"{name}_window_{i}" for i in range(WINDOW_BYTES))
    ]
    size, blocks = n * h.key_bytes, f"((seen+{n - 1})//{n})"
    text = [
        expansion.set_up(f"{name}_block", size),
        # The transfers' registers come back after each, but for the address.
        f"    lda #<{name}_block\n    sta ${expansion.HOST:04x}\n    lda #{size & 255}\n"
        f"    sta ${expansion.LENGTH:04x}",
        clear("largest", 3),
        "    sta enough\n    sta enough+1\n    sta enough+2\n    sta row\n    sta row+1",
        _sum(KEY_AT, f"{name}_keys", f"{name}_last_keys", 3),
        _sum("pointer", f"{name}_values", f"{name}_last_values", 2),
        f"    lda {name}_whole\n    sta rows_left",
    ]
    for number, pointer in enumerate(NOTICED):
        place = f"{name}_noticed+{number * h.pages * PAGE}"
        text.append(f"    lda #<({place})\n    sta {pointer}\n    lda #>({place})\n"
                    f"    sta {pointer}+1")
    text += [
        f"    ldx {name}_last_row\n{name}_fetch:",
        expansion.point_at(KEY_AT),
        f"    lda #${expansion.FETCH | AUTOLOAD:02x}\n"
        f"    sta ${expansion.COMMAND:04x}           ;@ plus {size}\n{name}_row:",
    ]
    for number, m in enumerate(h.moduli):
        constant, own = f"{h.key_sum(m)},x  ;@ aligned", f"{name}_s{m}"
        if number == 0:
            text.append(f"    lda {constant}\n    clc\n{own}:\n    adc #0")
        else:
            text.append(start(m, constant, own))
        crossing = 0.05 if m == 99 else 0.5
        terms = [
            (
                f"    ldy {h.key(m, d)},x  ;@ aligned",
                f"{name}_q{m}_{d}:\n    adc t{m},y            ;@ p={crossing}",
            )
            for d in range(h.size)
        ]
        text.append(chain(m, 0, terms, 0)[0])
    text += [
        _joined(h),
        f"""\
    eor #$80
    sta total+2
    lda enough
    cmp total
    lda enough+1
    sbc total+1
    lda enough+2
    sbc total+2
    bcs {name}_next      ;@ p=1-{h.noticed}/seen""",
        "    ldy row",
        *(
            f"    lda total+{i}\n    sta ({p}),y"
            for i, p in enumerate(NOTICED[:WINDOW_BYTES])
        ),
        f"    clc\n    lda {name}_steps,x   ;@ p=0.5\n    adc pointer\n"
        f"    sta ({NOTICED[3]}),y\n    lda pointer+1\n    adc #0\n    sta ({NOTICED[4]}),y",
        f"    inc row\n    bne {name}_kept      ;@ p=0.996",
        *(f"    inc {p}+1" for p in NOTICED),
        f"    inc row+1\n{name}_kept:",
        f"""\
    lda largest
    cmp total
    lda largest+1
    sbc total+1
    lda largest+2
    sbc total+2
    bcs {name}_next      ;@ p=1-min(1,{h.records}/{h.noticed})
    lda total
{mask[0]}
    sta largest
    sec
{window[0]}
    sta enough
    lda total+1
{mask[1]}
    sta largest+1
{window[1]}
    sta enough+1
    lda total+2
    sta largest+2
{window[2]}
    sta enough+2
    bcs {name}_next      ;@ p=0.999
    lda #0
    sta enough
    sta enough+1
    sta enough+2
{name}_next:
    txa
    sec
    sbc #{h.key_bytes}
    bcc {name}_block_done  ;@ times seen//{blocks}..(seen+{blocks}-1)//{blocks} ~seen/{blocks}
    tax
    jmp {name}_row
{name}_block_done:
    lda rows_left
    beq {name}_scored    ;@ times {blocks}
    dec rows_left
    sec
    lda {KEY_AT}
    sbc #{size & 255}
    sta {KEY_AT}
    lda {KEY_AT}+1
    sbc #{size >> 8}
    sta {KEY_AT}+1
    bcs *+4             ;@ p=0.8
    dec {KEY_AT}+2
    sec
    lda pointer
    sbc #{n * h.size}
    sta pointer
    bcs *+4             ;@ p=0.8
    dec pointer+1
    ldx #{(n - 1) * h.key_bytes}
    jmp {name}_fetch
{name}_scored:""",
    ]
    return lines(*text)


def _sum(target: str, a: str, b: str, size: int) -> str:
    text = [f"    lda {a}+{i}\n    adc {b}+{i}\n    sta {target}+{i}" for i in range(size)]
    return lines("    clc", *text)


def _joined(h: Heads) -> str:
    """The last chain's end -> A, total+1, total: a sum of three bytes."""
    if h.chains == 2:
        return (
            "    adc #0\n    cmp #$80\n    adc #0\n    sta total+1\n    asl\n    lda #0\n"
            "    adc #$ff\n    eor #$ff"
        )
    return (
        "    adc #0\n    cld\n    tay\n    clc\n    lda total+1\n    adc wraps_low,y  ;@ aligned\n"
        "    sta total+1\n    lda wraps_high,y ;@ aligned\n    adc #0"
    )


def keep_key(h: Heads, name: str, k: Vector, place: Place, step: int, wide: bool) -> str:
    """This position's key becomes a record for each head.  place, step: as in Places."""
    record = "attend_record"
    text = [
        f"; {name}: {k.low}, {k.high} -> records; uses everything\n{name}:",
        expansion.locate("scratch+4", "position", 1 + wide, h.key_bytes, place),
        set_word("source_low", k.low),
        set_word("source_high", k.high),
        f"    lda #{h.kv_heads}\n    sta heads_left\n{name}_head:\n    ldy #0\n"
        f"{name}_feature:\n    sty index",
    ]
    # X and Y are busy: residues wait for the index.
    targets = ["scratch+2", "term", "term+1"][: h.chains]
    text.append(_residues(h, targets))
    text.append("    ldy index")
    for number, target in enumerate(targets):
        text.append(f"    lda {target}\n    sta {record}+{number * h.size},y")
    text.append(f"    iny\n    cpy #{h.size}\n    bne {name}_feature   ;@ times {h.size}")
    for number, m in enumerate(h.moduli):
        reads = [f"{record}+{number * h.size + d}" for d in range(h.size)]
        text.append(f"{_own(m, reads)}\n    sta {record}+{h.chains * h.size + number}")
    text += [
        expansion.point_at("scratch+4"),
        expansion.move(expansion.STASH, record, h.key_bytes),
        add_constant("scratch+4", step, 3),
        add_to_word("source_low", str(h.size)),
        add_to_word("source_high", str(h.size)),
        f"    dec heads_left\n    beq _done           ;@ times {h.kv_heads}\n"
        f"    jmp {name}_head\n_done:\n    rts",
    ]
    return lines(*text)
