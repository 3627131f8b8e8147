"""attention whose keys and values lie in the expansion: any context, any values -> assembly text.

What keys and values look like there: cache.py.

    scores    one a row seen, so many bytes each, the top bit flipped so that they compare unsigned
    weights   table[min(entries - 1, largest - score)], each over its score's first byte
    result    the sum of weight * (value + offset) divided by the sum of weights, less the offset;
              rows of weight 0 are skipped

To add a layer of the same shape: a call with other places.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502 import expansion
from anachron.kernels.mos6502.arithmetic import OFFSET, TOP, accumulate
from anachron.kernels.mos6502.cache import FIX_BYTES
from anachron.kernels.mos6502.instructions import (
    Vector,
    add,
    add_constant,
    add_to_word,
    clear,
    copy,
    lines,
    set_word,
    shift_left,
    shift_right,
)
from anachron.kernels.mos6502.streamed import word_scores
from anachron.kernels.mos6502.streamed.cache import Places
from anachron.kernels.mos6502.streamed.loops import count_rows, next_row

MOST_WEIGHT = 255
# How often a sum's third byte grows (see arithmetic.accumulate): high bytes are near 128.
CARRIES = (0.08, 0.05, 0.01)


@dataclass(frozen=True)
class Shape:
    """What the code is made for.

    n_rows       positions of a context
    score_bytes  so many hold every score, shifted (a bound that ranges.py proves)
    table        label of the exponential's bytes, `entries` of them
    weighed      expected of `seen` rows, an expression: those that have a weight
    """

    name: str
    heads: int
    kv_heads: int
    head_size: int
    query_bits: int
    key_bits: int
    value_bits: int
    out_bits: int
    n_rows: int
    causal: bool
    score_bytes: int
    table: str
    entries: int
    weighed: str = "seen"

    @property
    def key_bytes(self) -> int:
        """Of a record."""
        return self.head_size * self.key_bits // 8 + FIX_BYTES

    @property
    def value_bytes(self) -> int:
        return self.head_size * self.value_bits // 8

    @property
    def sum_bytes(self) -> int:
        """Of a sum of weighted values."""
        most = MOST_WEIGHT * self.n_rows * (2 * OFFSET[self.value_bits] - 1)
        return max(4, (most.bit_length() + 7) // 8)

    @property
    def wide(self) -> bool:
        """The sum of weights may leave two bytes."""
        return MOST_WEIGHT * self.n_rows > 0xFFFF

    @property
    def scratch(self) -> dict[str, int]:
        """label -> bytes that only a pass needs."""
        return {
            "attend_record": max(self.key_bytes, self.value_bytes),
            "attend_sums": self.sum_bytes * self.head_size,
            "attend_scores": self.score_bytes * self.n_rows,
        }


def attend(shape: Shape, places: Places) -> str:
    """`<name>`: all heads of one position; a call has set the rest.  places: of any of its ops."""
    name, group = shape.name, shape.heads // shape.kv_heads
    seen = "    clc\n    lda position\n    adc #1\n    sta {0}_seen\n    lda position+1\n" \
        "    adc #0\n    sta {0}_seen+1"
    if not shape.causal:
        seen = f"    lda #<{shape.n_rows}\n    sta {{0}}_seen\n    lda #>{shape.n_rows}\n" \
            "    sta {0}_seen+1"
    return lines(
        f"; {name}: {shape.heads} heads of {shape.head_size}; query_low, query_high, out_low, "
        f"out_high and\n; {name}_keys, {name}_values are set; uses everything\n{name}:",
        seen.format(name),
        f"    lda #{shape.heads}\n    sta heads_left\n    lda #{group}\n    sta group_left",
        f"{name}_head:",
        word_scores.scores(shape) if word_scores.applicable(shape) else _scores(shape),
        _weights(shape),
        _mix(shape),
        f"    dec heads_left\n    bne {name}_more     ;@ times {shape.heads}\n    rts",
        f"{name}_more:",
        add_to_word("query_low", str(shape.head_size)),
        add_to_word("query_high", str(shape.head_size)) if shape.query_bits == 16 else "",
        add_to_word("out_low", str(shape.head_size)),
        add_to_word("out_high", str(shape.head_size)) if shape.out_bits == 16 else "",
        f"    dec group_left\n    bne {name}_again    ;@ p={1 - 1 / group:g}\n"
        f"    lda #{group}\n    sta group_left",
        add_constant(f"{name}_keys", places.key_step, 3),
        add_constant(f"{name}_values", places.value_step, 3),
        f"{name}_again:\n    jmp {name}_head",
        f"{name}_seen:\n    .word 0",
        *(f"{name}_{part}:\n    .byte 0, 0, 0" for part in ("keys", "values")),
        _divide_wide(name) if shape.wide else "",
    )


def _scores(shape: Shape) -> str:
    """The scores of all rows, and the largest."""
    name, size = shape.name, shape.head_size
    parts_q, parts_k = shape.query_bits // 8, shape.key_bits // 8
    offsets = OFFSET[shape.query_bits] * OFFSET[shape.key_bits]
    scale = sum(256 ** (i + j) for i in range(parts_q) for j in range(parts_k))
    record, sums = "attend_record", ("sum_a", "sum_b", "sum_c")
    inner = []
    for k_part in range(parts_k):
        inner.append(
            f"    lda {record}+{k_part * size}-{256 - size},x ;@ index {256 - size}..255\n"
            "    sta product_low\n    sta product_high"
        )
        for q_part in range(parts_q):
            total, carries = sums[k_part + q_part], CARRIES[k_part + q_part]
            inner.append(f"    ldy query+{256 * q_part},x ;@ aligned")
            inner.append(accumulate(total, carries))
    order = sums[: parts_q + parts_k - 1]
    fix = f"{record}+{parts_k * size}"
    top = shape.score_bytes - 1
    keep = [
        f"    ldy #{i}\n    lda total+{i}\n"
        + (f"    eor #$80\n    sta total+{i}\n" if i == top else "")
        + "    sta (past_low),y"
        for i in range(shape.score_bytes)
    ]
    larger = ["    lda largest\n    cmp total"]
    larger += [f"    lda largest+{i}\n    sbc total+{i}" for i in range(1, shape.score_bytes)]
    return lines(
        copy("source_low", "query_low", 2),
        copy("source_high", "query_high", 2) if parts_q == 2 else "",
        f"    jsr take_{size}_{shape.query_bits}_{shape.key_bits}",
        # Every product lacks one TOP; what the offsets of both multiply to is counted in, too.
        add_constant("correction", -size * (TOP * scale + offsets), 5),
        expansion.point_at(f"{name}_keys"),
        expansion.set_up(record, shape.key_bytes),
        set_word("past_low", "attend_scores"),
        clear("largest", shape.score_bytes),
        count_rows(name),
        f"{name}_score:",
        expansion.again(expansion.FETCH, record, shape.key_bytes),
        *(clear(total, 3) for total in order),
        "    sec",
        *(f"    lda #0\n    sbc correction+{i}\n    sta total+{i}" for i in range(5)),
        "    sec",
        *(f"    lda total+{i}\n    sbc {fix}+{i}\n    sta total+{i}" for i in range(5)),
        f"    ldx #{256 - size}\n    clc\n{name}_feature:",
        *inner,
        f"    inx\n    beq {name}_summed    ;@ times {size}\n    jmp {name}_feature\n"
        f"{name}_summed:",
        *(add("total", total, 5, 3, up) for up, total in enumerate(order)),
        f"{name}_shift:\n    jsr $ffff           ;@ goes {{{name}_shift}}",
        *keep,
        *larger,
        f"    bcs {name}_smaller  ;@ p=1-min(5,seen)/seen",
        copy("largest", "total", shape.score_bytes),
        f"{name}_smaller:",
        add_to_word("past_low", str(shape.score_bytes)),
        next_row(f"{name}_score"),
    )


def shift_label(shape: Shape, amount: int) -> str:
    return f"{shape.name}_down_{amount}"


def shift_scores(shape: Shape, amount: int, bits: int) -> str:
    """`<name>_down_...`: total moves right: to the left and down by bytes, if that is less.

    bits  so many hold every score, shifted, and its sign (a bound that ranges.py proves)
    """
    whole, rest = divmod(amount, 8)
    up = 8 - rest
    text = shift_right("total", 5, amount)
    if rest > up and bits + amount + up <= 40:
        whole += 1
        down = copy("total", f"total+{whole}", min(5 - whole, shape.score_bytes))
        text = lines(shift_left("total", 5, up), down)
    return lines(f"{shift_label(shape, amount)}:", text, "    rts")


def _weights(shape: Shape) -> str:
    """Weights over the scores' first bytes; their sum in sum_c."""
    name = shape.name
    far = []
    for i in range(1, shape.score_bytes):
        far.append(f"    iny\n    lda largest+{i}\n    sbc (past_low),y")
        far.append("    ora scratch" if i > 1 else "")
        last = i == shape.score_bytes - 1
        far.append(f"    bne {name}_far      ;@ p=0.3" if last else "    sta scratch")
    short = f"    cpx #{shape.entries}\n    bcc {name}_near     ;@ p=0.7\n"
    reach = f"{short if shape.entries < 256 else ''}"
    if shape.entries == 256:
        reach = f"    jmp {name}_near\n"
    return lines(
        set_word("past_low", "attend_scores"),
        clear("sum_c", 3),
        count_rows(name),
        f"{name}_weight:\n    ldy #0\n    sec\n    lda largest\n    sbc (past_low),y\n    tax",
        *far,
        f"{reach}{name}_far:\n    ldx #{shape.entries - 1}\n{name}_near:",
        f"""\
    lda {shape.table},x     ;@ p=0.2
    ldy #0
    sta (past_low),y
    clc
    adc sum_c
    sta sum_c
    bcc *+8             ;@ p=0.7
    inc sum_c+1
    bne *+4             ;@ p=0.99
    inc sum_c+2""",
        add_to_word("past_low", str(shape.score_bytes)),
        next_row(f"{name}_weight"),
    )


def _mix(shape: Shape) -> str:
    """One head's result."""
    name, size, parts = shape.name, shape.head_size, shape.value_bits // 8
    sums = [f"attend_sums+{i * size},x" for i in range(shape.sum_bytes)]
    inner = []
    for part in range(parts):
        carry = "".join(
            f"    inc {sums[i]}\n    bne _kept_{part}        ;@ p=0.99\n"
            for i in range(part + 2, shape.sum_bytes)
        )
        # T(w + v) - T(v) + TOP = w * v + T(w)
        inner.append(f"""\
    ldy attend_record+{part * size},x   ;@ p=0.1
    sec
    lda (product_low),y     ;@ p=0.4
    sbc less_product_low,y  ;@ aligned
    sta term
    lda (product_high),y    ;@ p=0.4
    sbc less_product_high,y ;@ aligned
    sta term+1
    clc
    lda {sums[part]}        ;@ p=0.1
    adc term
    sta {sums[part]}
    lda {sums[part + 1]}    ;@ p=0.1
    adc term+1
    sta {sums[part + 1]}
    bcc _kept_{part}        ;@ p=0.8
{carry}_kept_{part}:""")
    less = [f"    lda {sums[0]}        ;@ p=0.1\n    sec\n    sbc correction\n    sta total"]
    less += [
        f"    lda {sums[i]}        ;@ p=0.1\n    sbc correction+{i}\n    sta total+{i}"
        for i in range(1, shape.sum_bytes)
    ]
    if parts == 2:
        signed = "    lda total+1\n    eor #$80\n    sta total+1"
    else:  # the quotient, an unsigned byte, less 128
        signed = (
            "    lda total\n    eor #$80\n    sta total\n    asl\n    lda #0\n    adc #$ff\n"
            "    eor #$ff\n    sta total+1"
        )
    above = "    ora total+4\n" if shape.sum_bytes > 4 else ""
    divide = "    jsr divide_short"
    if shape.wide:
        divide = (
            f"    lda sum_c+2\n{above}    beq {name}_short    ;@ p=0.99\n"
            f"    jsr {name}_divide\n    jmp {name}_divided\n{name}_short:\n    jsr divide_short\n"
            f"{name}_divided:"
        )
    extra = "" if shape.out_bits == 8 else "    lda total+1\n    sta (out_high),y"
    scaled = "" if parts == 1 else add("correction", "scratch+4", 6, 4, 1)
    return lines(
        f"    ldx #{size - 1}\n    lda #0\n{name}_clear:",
        *(f"    sta {plane}" for plane in sums),
        f"    dex\n    bpl {name}_clear    ;@ times {size}",
        clear("correction", 6),
        expansion.point_at(f"{name}_values"),
        expansion.set_up("attend_record", shape.value_bytes),
        set_word("past_low", "attend_scores"),
        count_rows(name),
        f"{name}_row:",
        expansion.again(expansion.FETCH, "attend_record", shape.value_bytes),
        f"    ldy #0\n    lda (past_low),y\n    bne {name}_weighs   "
        f";@ p=1-usual(weightless,1-({shape.weighed})/seen)\n"
        f"    jmp {name}_weightless\n{name}_weighs:",
        "    sta product_low\n    sta product_high\n    tay\n    clc",
        "    lda correction\n    adc products_low,y     ;@ aligned\n    sta correction",
        "    lda correction+1\n    adc products_high,y    ;@ aligned\n    sta correction+1",
        "    bcc *+8             ;@ p=0.8\n    inc correction+2",
        "    bne *+4             ;@ p=0.99\n    inc correction+3",
        f"    ldx #{size - 1}\n{name}_value:",
        *inner,
        f"    dex\n    bmi {name}_weightless ;@ times {size}\n    jmp {name}_value",
        f"{name}_weightless:",
        add_to_word("past_low", str(shape.score_bytes)),
        next_row(f"{name}_row"),
        copy("scratch+4", "correction", 4),
        scaled,
        copy("divisor", "sum_c", 2),
        f"    ldx #{size - 1}\n{name}_result:",
        *less,
        f"    stx index\n{divide}",
        signed,
        f"    jsr saturate_{shape.out_bits}_2\n    ldy index\n    lda total\n    sta (out_low),y",
        extra,
        f"    ldx index\n    dex\n    bmi {name}_mixed    ;@ times {size}\n    jmp {name}_result\n"
        f"{name}_mixed:",
    )


def _divide_wide(name: str) -> str:
    """A quotient of 16 bits, of 5 bytes by 3."""
    return f"""\
; {name}_divide: total+0,1 = total (5 bytes) / sum_c (3 bytes); uses A, X, remainder, term
{name}_divide:
{copy("remainder", "total+2", 3)}
    ldx #16
_bit:
    asl total
    rol total+1
    rol remainder
    rol remainder+1
    rol remainder+2
    sec
    lda remainder
    sbc sum_c
    sta term
    lda remainder+1
    sbc sum_c+1
    sta term+1
    lda remainder+2
    sbc sum_c+2
    bcc _less           ;@ p=0.5
    sta remainder+2
    lda term+1
    sta remainder+1
    lda term
    sta remainder
    inc total
_less:
    dex
    bne _bit            ;@ times 16
    rts"""


def call(
    shape: Shape, name: str, q: Vector, out: Vector, places: Places, score_shift: int
) -> str:
    """The op `name`."""
    text = [f"{name}:", set_word(f"{shape.name}_shift+1", shift_label(shape, score_shift))]
    for part, address in (("keys", places.keys), ("values", places.values)):
        for i in range(3):
            text.append(f"    lda #{address >> 8 * i & 0xFF}\n    sta {shape.name}_{part}+{i}")
    for target, label in (("query", q), ("out", out)):
        text.append(set_word(f"{target}_low", label.low))
        text.append(set_word(f"{target}_high", label.high) if label.bits == 16 else "")
    return lines(*text, f"    jmp {shape.name}")
