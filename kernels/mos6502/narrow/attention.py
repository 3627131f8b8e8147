"""attention of int8 vectors in two residues: 18 cycles a product -> assembly text.

    scores    two chains over the features of a key: q's residues are the operands, X is the row
    weights   table[min(entries - 1, largest - score)], and the operands of the mixing chains
    mixing    two chains over the rows, X is the feature
    result    a long division of 8 bits by 8

What bounds it: 8 cycles a product and modulus, 2 for the CLC; a score 70 more to be put together
and compared, a weight 70, a result 60 and its division 150, a head 600.

Exact: where the lengths of query and keys do not prove that scores fit, or the weights sum to more
than 255, slow.py does the head.
"""

from __future__ import annotations

from dataclasses import dataclass

from anachron.kernels.mos6502.instructions import Vector, lines, set_word
from anachron.kernels.mos6502.narrow.cache import MODULI, PAGE, Shape, length, sums
from anachron.kernels.mos6502.narrow.guard import UNIT
from anachron.kernels.mos6502.residue.moduli import NARROW

SHIFTS = range(1, 9)
MOST_WEIGHT = 255  # that a head's weights may sum to: with values of 8 bits two chains do


@dataclass(frozen=True)
class Mixer:
    """What else the code depends on.

    shifts  of the scores, of each attention that shares the code, 1 .. 8
    table   of PAGE weights; the last, and what a shorter one lacks, are 0
    """

    shape: Shape
    shifts: tuple[int, ...]
    table: str

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def tables(self) -> dict[str, bytes]:
        """By label, what a difference's high and low bytes are when it has gone right by a shift.

        255 stands for all that is larger.
        """
        found = {}
        for shift in self.shifts:
            up = (min(255, high << 8 - shift) for high in range(PAGE))
            found[f"{self.name}_up_{shift}"] = bytes(up)
            found[f"{self.name}_down_{shift}"] = bytes(low >> shift for low in range(PAGE))
        return found if self.shifts != (8,) else {}


def applicable(shift: int, entries: int) -> str:
    """Why these kernels cannot do an attention, by its shift and its table, or nothing."""
    if shift not in SHIFTS:
        return f"its scores move by {shift}"
    return f"{entries} weights" if entries > PAGE else ""


def limits(shape: Shape) -> bytes:
    """`<name>_limits`: by a query's length, how long keys may be, both in units of a head."""
    most = (-NARROW.lowest) ** 2 // (UNIT << shape.coarse) ** 2
    return bytes(min(255, most // max(1, query)) for query in range(256))


def attend(mixer: Mixer) -> str:
    """`<name>_attend`: all heads of one position, of the query at source_low."""
    shape, name = mixer.shape, mixer.name
    return lines(
        f"; {name}_attend: {shape.heads} heads of {shape.head_size}; uses everything",
        f"{name}_attend:\n    lda #0\n    sta {name}_head\n    sta {name}_number\n"
        f"    lda position\n    sta {name}_row\n{_enter(shape)}\n{name}_next_head:",
        _query(shape),
        _scores(mixer),
        f"{name}_scored:\n{_weights(mixer)}",
        _mix(mixer),
        _much(mixer),
        f"{name}_mixed:\n    clc\n    lda {name}_row\n    adc #{shape.n_rows}\n    sta {name}_row\n"
        f"    inc {name}_number\n    lda {name}_head\n    clc\n    adc #{shape.head_size}\n"
        f"    sta {name}_head\n    cmp #{shape.size}\n"
        f"    beq _done           ;@ times {shape.heads}\n    jmp {name}_next_head\n"
        "_done:\n    rts",
        f"{name}_head:\n    .byte 0\n{name}_number:\n    .byte 0\n{name}_row:\n    .byte 0\n"
        f"{name}_page:\n    .byte >{name}_cache",
        _entry_tables(shape),
    )


def _query(shape: Shape) -> str:
    """A head's residues into the operands of the score chains; then whether keys are too long."""
    name, size = shape.name, shape.head_size
    take = [
        f"    lda (source_low),y  ;@ p=0.1\n    eor #$80\n    sta {name}_q256_{d}+1\n    sec\n"
        f"    sbc #1\n    sbc #0              ; one less, and 254 for -1\n    sta {name}_q255_{d}+1"
        for d in range(size)
    ]
    reads = [f"    ldy {name}_q256_{d}+1" for d in range(size)]
    return lines(
        f"    ldy {name}_head",
        "\n    iny\n".join(take),
        sums(256, reads),
        "    eor #$80" if size % 2 else "",
        f"    sta {name}_qs256+1\n{sums(255, reads)}\n    sta {name}_qs255+1",
        length(reads, shape.coarse),
        f"""\
    ldx {name}_row       ; loops go from the position's row down to the head's first
    tay
    txa
    sec
    sbc position
    sta {name}_base
    tax
    dex
    stx {name}_last+1
    lda {name}_limits,y  ;@ p=0.1
    ldy {name}_number
    cmp {shape.longest},y     ;@ aligned
    ldx {name}_row
    bcs _short          ;@ p=short_heads
    jmp {name}_slow_scores
_short:""",
    )


def _scores(mixer: Mixer) -> str:
    """scores of the head's rows, top bit flipped, and the largest."""
    shape, name = mixer.shape, mixer.name
    text = [f"    lda #0\n    sta largest\n    sta largest+1\n{name}_score:"]
    for m in MODULI:
        constant = f"{shape.key_sums(m)},x    ;@ aligned"
        if m == 256:
            text.append(f"    lda {constant}\n    clc")
        else:
            text.append(f"    sta total\n    eor #$ff\n    clc\n    adc {constant}")
        text.append(f"{name}_qs{m}:\n    adc #0")
        for d in range(shape.head_size):
            text.append(f"    ldy {shape.key(d)},x    ;@ aligned")
            text.append("    clc" if m == 256 else "")
            text.append(f"{name}_q{m}_{d}:\n    adc t{m},y            ;@ p=0.5")
    text.append(f"""\
    adc #0
    cmp #$80
    adc #$80            ; the residue as a signed byte, its top bit flipped
    sta {name}_scores_high,x    ;@ aligned
    ldy total
    cmp largest+1
    bcc _less           ;@ p=0.6
    bne _more           ;@ p=0.9
    cpy largest
    bcc _less           ;@ p=0.5
_more:
    sta largest+1
    sty largest
_less:
    tya
    sta {name}_scores_low,x     ;@ aligned
    dex
{name}_last:
    cpx #0
    beq {name}_scored    ;@ times seen
    jmp {name}_score""")
    return lines(*text)


def _weights(mixer: Mixer) -> str:
    """Weights of the rows into the operands of the mixing chains, and their sum in divisor.

    Unrolled over the rows, X the head's first.  A difference of sums goes right by tables: where
    attentions of several shifts share the code, a call has pointed at theirs.
    """
    name, n = mixer.name, mixer.shape.n_rows
    several = len(mixer.shifts) > 1
    up, down = f"{name}_up_{mixer.shifts[0]},y    ;@ aligned", f"{name}_down_{mixer.shifts[0]},y"
    if several:
        up, down = "(past_low),y    ;@ aligned", "(key_low),y"
    text = [
        f"    lda largest\n{name}_mask:\n    ora #{mask(mixer.shifts[0])}\n    sta largest\n"
        f"    ldx {name}_base\n{name}_enter_weigh:\n"
        f"    jmp {name}_weigh_1       ;@ goes {name}_weigh_{{seen}}"
    ]
    for row in range(n - 1, -1, -1):
        text.append(f"{name}_weigh_{row + 1}:\n    sec")
        high = f"    lda largest+1\n    sbc {name}_scores_high+{row},x    ;@ aligned\n    tay"
        if mixer.shifts == (8,):
            text.append(high)
        else:
            text.append(
                f"    lda largest\n    sbc {name}_scores_low+{row},x     ;@ aligned\n    sta term\n"
                f"{high}\n    lda {up}\n    ldy term\n    ora {down}    ;@ aligned\n    tay"
            )
        text.append(
            f"    lda {mixer.table},y     ;@ aligned\n"
            f"    sta {name}_p256_{row}+1\n    sta {name}_p255_{row}+1"
        )
    text.append(
        f"    lda #0\n    sta divisor+1\n    clc\n{name}_enter_sum:\n"
        f"    jmp {name}_sum_1         ;@ goes {name}_sum_{{seen}}"
    )
    for row in range(n - 1, -1, -1):
        text.append(
            f"{name}_sum_{row + 1}:\n    adc {name}_p256_{row}+1\n"
            "    bcc *+5             ;@ p=0.99\n    inc divisor+1\n    clc"
        )
    text.append(
        f"    sta divisor\n    lda divisor+1\n    beq _little         ;@ p=light_heads\n"
        f"    jmp {name}_much\n_little:"
    )
    return lines(*text)


def mask(shift: int) -> int:
    """What makes a difference from the largest sum, shifted, that of shifted sums."""
    return (1 << shift) - 1


def _much(mixer: Mixer) -> str:
    """Weights that sum to more than two residues mix: to where the slow way finds them."""
    name = mixer.name
    copies = [
        f"    lda {name}_p256_{row}+1\n    sta {name}_weights+{row},x    ;@ aligned"
        for row in range(mixer.shape.n_rows)
    ]
    return lines(f"{name}_much:", *copies, f"    jmp {name}_slow_mix")


def _mix(mixer: Mixer) -> str:
    """The head's results."""
    shape, name, n = mixer.shape, mixer.name, mixer.shape.n_rows
    text = [
        f"    lda #0\n{name}_enter_own256:\n"
        f"    jmp {name}_own256_1      ;@ goes {name}_own256_{{seen}}"
    ]
    for row in range(n - 1, -1, -1):
        text.append(
            f"{name}_own256_{row + 1}:\n    ldy {name}_p256_{row}+1\n    clc\n"
            "    adc t256,y          ;@ aligned"
        )
    text.append(
        f"    eor #$ff\n    clc\n    adc #1\n    sta {name}_ps256+1\n    lda #0\n    clc\n"
        f"{name}_enter_own255:\n"
        f"    jmp {name}_own255_1      ;@ goes {name}_own255_{{seen}}"
    )
    for row in range(n - 1, -1, -1):
        text.append(
            f"{name}_own255_{row + 1}:\n    ldy {name}_p255_{row}+1\n"
            "    adc t255,y          ;@ aligned"
        )
    text.append(
        f"    adc #0\n    eor #$ff\n    sta {name}_ps255+1\n    lda {name}_head\n    clc\n"
        f"    adc #{shape.head_size - 1}\n    tax\n    ldy {name}_head\n    dey\n"
        f"    sty {name}_first+1\n{name}_result:"
    )
    text.append(mix(shape, name))
    text.append(divide_byte())
    text.append(
        f"{name}_out_low:\n    sta $ffff,x\n    dex\n{name}_first:\n    cpx #0\n"
        f"    beq {name}_to_mixed  ;@ times {shape.head_size}\n    jmp {name}_result\n"
        f"{name}_to_mixed:\n    jmp {name}_mixed"
    )
    return lines(*text)


def mix(shape: Shape, stem: str) -> str:
    """total, A = a sum of weights times values of feature X, by a chain for each modulus: entered
    where <stem>_enter_v<m> goes, by weights at <stem>_p<m>_<row>, from less their t's sum."""
    text = []
    for m in MODULI:
        constant = f"{shape.value_sums(m)},x    ;@ aligned"
        if m == 256:
            text.append(f"    lda {constant}\n    clc")
        else:
            text.append(f"    sta total\n    eor #$ff\n    clc\n    adc {constant}")
        text.append(f"{stem}_ps{m}:\n    adc #0")
        text.append(f"{stem}_enter_v{m}:\n    jmp {stem}_v{m}_1   ;@ goes {stem}_v{m}_{{seen}}")
        for row in range(shape.n_rows - 1, -1, -1):
            text.append(f"{stem}_v{m}_{row + 1}:\n    ldy {shape.value(row)},x    ;@ aligned")
            text.append("    clc" if m == 256 else "")
            text.append(f"{stem}_p{m}_{row}:\n    adc t{m},y            ;@ p=0.03")
    text.append("    adc #0\n    cmp #$ff            ; 255 is 0\n    adc #0")
    return lines(*text)


def divide_byte() -> str:
    """A = (total + 256 A) / divisor - 128, in eight steps: values have been taken + 128."""
    step = """\
    rol
    bcs _over_{i}           ;@ p=0.05
    cmp divisor
    bcc _less_{i}           ;@ p=0.5
    sbc divisor
_less_{i}:
    rol total"""
    over = "_over_{i}:\n    sbc divisor\n    sec\n    bcs _less_{i}           ;@ always"
    text = [
        "    asl total",
        *(step.format(i=i) for i in range(8)),
        "    lda total\n    eor #$80\n    jmp _quotient",
        *(over.format(i=i) for i in range(8)),
        "_quotient:",
    ]
    return lines(*text)


def _entries(shape: Shape) -> list[str]:
    """Labels of the jumps into code that is unrolled over the rows."""
    return ["weigh", "sum", *(f"{part}{m}" for part in ("own", "v") for m in MODULI)]


def _enter(shape: Shape) -> str:
    """Patch those jumps for a position."""
    text = ["    ldx position"]
    for entry in _entries(shape):
        text += [
            f"    lda {shape.name}_{part}_{entry},x   ;@ p=0.1\n"
            f"    sta {shape.name}_enter_{entry}+{i}"
            for i, part in ((1, "low"), (2, "page"))
        ]
    return lines(*text)


def _entry_tables(shape: Shape) -> str:
    text = [f"{shape.name}_base:\n    .byte 0"]
    for entry in _entries(shape):
        slots = [f"{shape.name}_{entry}_{seen}" for seen in range(1, shape.n_rows + 1)]
        for part, sign in (("low", "<"), ("page", ">")):
            text.append(f"{shape.name}_{part}_{entry}:")
            text += [f"    .byte {sign}{slot}" for slot in slots]
    return lines(*text)


def call(mixer: Mixer, label: str, q: Vector, out: Vector, shift: int) -> str:
    """The op `label`: the heads of one position; its cache is selected."""
    name = mixer.name
    chosen = [
        set_word("past_low", f"{name}_up_{shift}"),
        set_word("key_low", f"{name}_down_{shift}"),
        f"    lda #{mask(shift)}\n    sta {name}_mask+1\n    sta {name}_slow_mask+1",
    ]
    return lines(
        f"""\
{label}:
    lda #<{q.low}
    sta source_low
    lda #>{q.low}
    sta source_low+1
    lda #<{out.low}
    sta {name}_out_low+1
    sta {name}_slow_out+1
    lda #>{out.low}
    sta {name}_out_low+2
    sta {name}_slow_out+2""",
        *(chosen if len(mixer.shifts) > 1 else []),
        f"    jmp {name}_attend",
    )
