"""An attention's weighted sums of values kept as two bytes -> assembly text.

The weights are the operands of the chains, X is the feature, or that of its low byte; the code is
unrolled over the rows and entered at the last one seen.  Weighted bytes are not negative: with
256, 255 and a small modulus, or 253, their sum is told from 0 on; that of high bytes of values of
few bits with 256 and 255, where the weights' sum says so.  A result is 256 times the sum
of the high bytes and that of the low ones, divided by the sum of the weights.

What bounds it: 2 * 27 cycles a product, 200 a result, 33 a bit of its division.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines
from anachron.kernels.mos6502.residue.levels import LIFT, MIDDLE, add
from anachron.kernels.mos6502.split.chains import fold, start_middle, table
from anachron.kernels.mos6502.split.division import divide
from anachron.kernels.mos6502.split.shape import MOST_WEIGHT, Shape


def mix(shape: Shape) -> str:
    """A head's results."""
    name, n, third = shape.name, shape.n_rows, shape.third
    text = [
        "    lda divisor         ; less 1\n    bne *+4             ;@ p=0.99\n    dec divisor+1\n"
        f"    dec divisor\n    ldx {name}_from_value\n    stx value_index\n"
        f"    ldx {name}_head\n    stx index"
    ]
    if shape.causal:
        text.append(f"{name}_enter_patch:\n    jmp {name}_patch_1 ;@ goes {name}_patch_{{seen}}")
    for row in range(n - 1, -1, -1):
        text.append(f"{name}_patch_{row + 1}:\n    ldy {name}_weights+{row}")
        text += [f"    sty {name}_v{m}_{row}+1" for m in (256, 255)]
        if third == MIDDLE:  # a weight is its own residue, of 253 to 255 one not reduced
            text.append(f"    sty {name}_v{third}_{row}+1")
        else:
            text.append(f"    lda row_low,y       ;@ aligned\n    sta {name}_v{third}_{row}+1")
    if shape.narrow_sum:
        text.append(_judge(shape))
    middle = 257 * shape.middle >> 8
    least = (middle - (128 << 8)) & 0xFFFFFF  # 128 more in the byte above: the sum has no sign then
    text.append(f"""\
{name}_result:
    ldx value_index
{_choose("heads_left") if shape.narrow_sum else ""}
    jsr {name}_sum
    tay
    clc
    lda total
    adc #{least & 0xFF}
    sta term
    lda total+1
    adc #{least >> 8 & 0xFF}
    sta term+1
    tya
    adc #{least >> 16}
    sta term+2
    txa
    clc
    adc #{shape.kv_size}
    tax
{_choose("#0") if shape.narrow_sum else ""}
    jsr {name}_sum
    eor #$80
    tay
    clc
    lda total+1
    adc term
    sta total+1
    tya
    adc term+1
    sta total+2
    lda term+2
    adc #0
    sta total+3
{divide(shape.value_bits)}
    ldx index
    lda total
{name}_out_low:
    sta $ffff,x
    lda total+1
{shape.unflip}
{name}_out_high:
    sta $ffff,x
    inc value_index
    inx
    stx index
    cpx {name}_next
    beq {name}_mixed     ;@ times {shape.head_size}
    jmp {name}_result""")
    return lines(*text)


def _choose(what: str) -> str:
    return f"    lda {what}\n    sta first"


def _judge(shape: Shape) -> str:
    """heads_left: top bit set where two chains tell this head's sums of high bytes."""
    most = shape.narrow_sum  # divisor is 1 less
    if most >= MOST_WEIGHT * shape.n_rows:
        return "    lda #$80\n    sta heads_left"
    return f"""\
    lda divisor
    cmp #{most & 0xFF}
    lda divisor+1
    sbc #{most >> 8}
    ror                 ; carry: at least so much
    eor #$80
    sta heads_left"""


def _narrow(shape: Shape) -> str:
    """Where two chains do, their sum, of which A is the second, less the middle."""
    less = shape.middle >> 8
    return lines(
        f"    bit first\n    bpl {shape.name}_further   ;@ p=0.5\n    adc #0\n    cmp #$ff\n"
        "    bne *+4             ;@ p=0.99\n    lda #0",
        f"    sec\n    sbc #{less & 0xFF}" if less else "",
        "    sta total+1\n    lda #0",
        f"    sbc #{less >> 8}" if less else "",
        f"    rts\n{shape.name}_further:",
    )


def weighted_sum(shape: Shape) -> str:
    """`<name>_sum`: total, total+1, A = the sum of weighted bytes of feature X, less the middle."""
    name, n, third = shape.name, shape.n_rows, shape.third
    text = [f"{name}_sum:"]
    for m in shape.mixed:
        constant = f"{shape.value_sums(m)},x    ;@ aligned\n{name}_own_{m}:\n    adc #0"
        if shape.narrow_sum and m == shape.third:
            text.append(_narrow(shape))
        match m:
            case 256:
                text.append(f"    clc\n    lda {constant}")
            case 255:
                text.append(f"    sta total\n    eor #$ff\n    clc\n    adc {constant}")
            case 253:
                text += [
                    start_middle(),
                    add(m, constant.partition("\n")[0]),
                    add(m, "#0", f"{name}_own_{m}:\n"),
                ]
            case _:
                text += [
                    "    adc #0\n    cmp #$80            ; k, -127 .. 127\n    adc #0\n"
                    f"    eor #$80\n    sta total+1         ; and {LIFT} more\n    eor #$7f\n"
                    "    tay\n    lda row_high,y      ;@ aligned\n    sta total+2\n"
                    "    lda total\n    eor #$ff\n    tay\n    clc\n"
                    f"    lda row_low,y       ;@ aligned\n    adc total+2\n    adc {constant}",
                    fold(),
                ]
        if shape.causal:
            text.append(
                f"{name}_enter_{m}:\n    jmp {name}_v{m}_1_row   "
                f";@ goes {name}_v{m}_{{seen}}_row"
            )
        often = max(1, (255 - (third - 1)) // (third - 1))  # adds between two reductions
        for row in range(n - 1, -1, -1):
            text.append(f"{name}_v{m}_{row + 1}_row:\n    ldy {shape.value(row)},x    ;@ aligned")
            text.append(add(m, f"{table(m)},y            ;@ p=0.15", f"{name}_v{m}_{row}:\n"))
            if m == third != MIDDLE and row % often == 0:
                text.append(fold())
    wraps = f"wraps{MIDDLE}" if third == MIDDLE else "row_wraps"
    text.append(
        f"    tay\n    clc\n    lda total+1\n    adc {wraps}_low,y ;@ aligned\n    sta total+1\n"
        f"    lda {wraps}_high,y    ;@ aligned\n    adc #0\n    rts"
    )
    return lines(*text)


def _strides(shape: Shape) -> dict[str, tuple[str, int]]:
    """The jump into code that is unrolled over the rows -> what it goes to by the rows seen, and
    the bytes of a row; 0 where they are not all as long."""
    name = shape.name
    sizes = {256: 7, 255: 6, MIDDLE: 10}
    sums = {
        f"{name}_enter_{m}": (f"{name}_v{m}_{{}}_row", sizes.get(m, 0)) for m in shape.mixed
    }
    patch = 12 if MIDDLE in shape.mixed else 15
    return {f"{name}_enter_patch": (f"{name}_patch_{{}}", patch), **sums}


def enter(shape: Shape) -> str:
    """Patch those jumps for a position."""
    text = ["    ldx position"]
    ways = sorted(_strides(shape).items(), key=lambda way: way[1][1])
    for at, (_, stride) in ways:
        if not stride:
            text += [
                f"    lda {at}_{part},x  ;@ p=0.1\n    sta {at}+{i}"
                for i, part in ((1, "low"), (2, "page"))
            ]
    multiples = {4: "scratch+1", 2: "scratch", 1: "position"}
    text.append(
        "    txa\n    asl\n    sta scratch\n    asl\n    sta scratch+1\n    lda #0\n"
        "    sta term\n    sta term+1"
    )
    before = 0
    for at, (target, stride) in ways:
        if not stride:
            continue
        more, before = stride - before, stride
        while more:
            times = next(times for times in multiples if times <= more)
            more -= times
            text.append(
                f"    clc\n    lda term\n    adc {multiples[times]}\n    sta term\n"
                "    bcc *+4             ;@ p=0.9\n    inc term+1"
            )
        first = target.format(1)
        text.append(
            f"    sec\n    lda #<{first}\n    sbc term\n    sta {at}+1\n    lda #>{first}\n"
            f"    sbc term+1\n    sta {at}+2"
        )
    return lines(*text)


def entry_tables(shape: Shape) -> str:
    text = []
    for at, (target, stride) in _strides(shape).items():
        if stride:
            continue
        slots = [target.format(seen) for seen in range(1, shape.n_rows + 1)]
        for part, sign in (("low", "<"), ("page", ">")):
            text.append(f"{at}_{part}:")
            text += [f"    .byte {sign}{slot}" for slot in slots]
    return lines(*text)
