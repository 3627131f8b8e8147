"""The likeliest token without every logit whole, the same one, rows from the expansion -> assembly.

    coarse   all rows by the first two chains, of x >> down: sums of 16 bits
    exact    the row of the largest, then each that may be as large, by all of its chains; and the
             few rows that end otherwise than most

What bounds it: two chains a row instead of three or four; 45 cycles a row to look through the sums
twice; an exact row as long as all its chains, and what finds its record, about 3,000.

A coarse sum A, of (x >> down) w and the bias, tells that the whole sum does not exceed 2**down A
and what the bits that x lost may add: from A = best << (shift - down) - margin on a row may be as
large as the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502 import largest
from anachron.kernels.mos6502.instructions import Vector, lines

NEED = "largest+2"  # the least coarse sum of a row that may be as large as the largest
LEAST = -32768  # a result; nothing is larger before the first


@dataclass(frozen=True)
class Page:
    """Up to 256 rows whose results lie together.

    base     of the results         size    rows
    first    the first row that is asked for
    exact    the label of a call that does one row, whose descriptor lies at <exact>_rows
    address  of the record of the first of those that end as most, in the expansion
    others   places of rows that end otherwise, rising
    """

    base: int
    size: int
    first: int
    exact: str
    address: int
    others: Array


@dataclass(frozen=True)
class Screen:
    """What the code is made for.

    down    bits that x loses     shift   of most rows     margin  in coarse sums
    record  bytes of a row in the expansion
    """

    down: int
    shift: int
    margin: int
    record: int

    def need(self, best: int) -> int:
        """The least coarse sum of a row that may be as large as a result."""
        moved = best << self.shift - self.down if self.shift >= self.down else (
            best >> self.down - self.shift
        )
        return max(moved - self.margin, LEAST)


def plan(
    weight: Array, bias: Array, sums: tuple[Array, Array], down: int, shift: int, record: int
) -> Screen | None:
    """The screen, or None where the coarse sums may leave 16 bits.

    weight (rows, columns), bias (rows,): of most rows; sums (least, most) of each, whole
    """
    weight, bias = np.asarray(weight, np.int64), np.asarray(bias, np.int64)
    lost = (1 << down) - 1
    more = lost * np.maximum(weight, 0).sum(1) - lost * bias  # 2**down A is less by, at most
    less = lost * np.maximum(-weight, 0).sum(1) + lost * bias  # or more
    lowest, highest = (sums[0] - more >> down).min(), (sums[1] + less >> down).max() + 1
    if lowest < -127 * 256 or highest > 127 * 256:
        return None
    margin = -(-int(more.max()) >> down) + 1
    return Screen(down, shift, margin, record) if margin < 32768 else None


def narrow(x: Vector, out: Vector, down: int) -> str:
    """out = x >> down."""
    step = "    cmp #$80\n    ror\n    ror scratch\n" * down
    return f"""\
    ldx #{x.size - 1}
_narrow:
    lda {x.low},x
    sta scratch
    lda {x.high},x
{step}    sta {out.high},x
    lda scratch
    sta {out.low},x
    dex
    bpl _narrow         ;@ times {x.size}"""


def seek(name: str, screen: Screen, pages: Sequence[Page], out: Vector, wide: bool) -> str:
    """`<name>_seek`: next_token = the row of the largest result, of those that end as most.

    Then the others are done, and `<name>_others` does the same with them: of equals the first wins.

    wide  tokens have two bytes
    """
    parts = [f"; {name}_seek: next_token, and its result in `largest`; uses everything"]
    parts.append(f"{name}_seek:\n    lda #<{LEAST}\n    sta largest\n    lda #>{LEAST}\n"
                 "    sta largest+1")
    for number, page in enumerate(pages):
        if len(page.others):
            parts.append(_each(name, number, page, f"""\
    lda #<{LEAST}
    sta {out.at(page.base).low},y
    lda #>{LEAST}
    sta {out.at(page.base).high},y""", "leave"))
    for number, page in enumerate(pages):
        parts.append(_largest(name, number, page, out.at(page.base)))
    parts.append("    lda #$ff            ; no token: any is better\n    sta next_token")
    parts.append("    sta next_token+1" if wide else "")
    parts.append(f"    lda #<{LEAST}\n    sta largest\n    lda #>{LEAST}\n    sta largest+1")
    parts.append(f"    ldx {name}_index")
    if len(pages) > 1:
        parts.append(f"    lda {name}_page\n    beq {name}_there   ;@ p=0.5")
        parts.append(f"    jsr {name}_exact_1\n    jmp {name}_begun")
    parts.append(f"{name}_there:\n    jsr {name}_exact_0\n{name}_begun:")
    for number, page in enumerate(pages):
        parts.append(_scan(name, number, page, out.at(page.base)))
    parts.append(f"    rts\n{name}_others:")
    for number, page in enumerate(pages):
        if len(page.others):
            parts.append(_each(name, number, page, f"""\
    cpy #{page.first}
    bcc _no             ;@ p=0.01
    stx {name}_other
    tya
    tax
    jsr {name}_judge_{number}
    ldx {name}_other
_no:""", "end"))
    parts.append("    rts")
    for number, page in enumerate(pages):
        parts.append(_exact(name, number, page, out.at(page.base), screen, wide))
    parts.append(_need(name, screen))
    for number, page in enumerate(pages):
        if len(page.others):
            places = ", ".join(map(str, page.others.tolist()))
            parts.append(f"{name}_places_{number}:\n    .byte {places}")
    parts.append(f"{name}_index:\n    .byte 0\n{name}_page:\n    .byte 0")
    parts.append(f"{name}_other:\n    .byte 0")
    return lines(*parts)


def _each(name: str, number: int, page: Page, body: str, what: str) -> str:
    """For the place, in Y, of each row that ends otherwise; the last first."""
    label = f"{name}_{what}_{number}"
    n = len(page.others)
    return f"""\
    ldx #{n - 1}
{label}:
    ldy {name}_places_{number},x    ;@ p=0.1
{body}
    dex
    bpl {label}          ;@ times {n}"""


def _next(page: Page, label: str) -> str:
    end = "" if page.size == 256 else f"    cpx #{page.size}\n"
    return f"    inx\n{end}    bne {label}    ;@ times {page.size - page.first}"


def _largest(name: str, number: int, page: Page, out: Vector) -> str:
    """The largest coarse sum of a page, if it is larger: `index`, `page`."""
    label, result = f"{name}_coarse_{number}", (f"{out.low},x", f"{out.high},x")
    return f"""\
    ldx #{page.first}
{label}:
{largest.compare(largest.LARGEST, result)}
    bpl _smaller        ;@ p=0.98
{largest.take(result)}
    stx {name}_index
    lda #{number}
    sta {name}_page
_smaller:
{_next(page, label)}"""


def _scan(name: str, number: int, page: Page, out: Vector) -> str:
    """Each row of a page that may be as large as the largest is done exactly."""
    label, result = f"{name}_scan_{number}", (f"{out.low},x", f"{out.high},x")
    return f"""\
    ldx #{page.first}
{label}:
{largest.compare(result, (NEED, f"{NEED}+1"))}
    bmi _small          ;@ p=1 - exact_rows
    jsr {name}_exact_{number}
_small:
{_next(page, label)}"""


def _exact(
    name: str, number: int, page: Page, out: Vector, screen: Screen, wide: bool
) -> str:
    """`<name>_exact_<n>`: row X by all chains, and judged; keeps X.  `judge` alone: as it is."""
    count = ""
    if len(page.others):
        count = f"""\
    ldy #{len(page.others) - 1}
_count:
    cmp {name}_places_{number},y
    bcc _before         ;@ p=0.5
    dec scratch
_before:
    dey
    bpl _count          ;@ times {len(page.others)}
"""
    descriptor = f"{page.exact}_rows"
    address = [page.address >> 8 * i & 0xFF for i in range(3)]
    base, result = page.base, (f"{out.low},x", f"{out.high},x")
    token = "    cpx next_token      ; of equals the first\n"
    token += f"    lda #{base >> 8}\n    sbc next_token+1\n" if wide else ""
    token += "    bcs _worse          ;@ p=0.5"
    store = f"    lda #{base >> 8}\n    sta next_token+1\n" if wide else ""
    return f"""\
{name}_exact_{number}:
    stx index
    stx scratch
    txa
{count}    lda #{address[0]}
    sta {descriptor}+1
    lda #{address[1]}
    sta {descriptor}+2
    lda #{address[2]}
    sta {descriptor}+3
    ldx scratch
    beq _found          ;@ p=0.01
_record:
    clc
    lda {descriptor}+1
    adc #{screen.record}
    sta {descriptor}+1
    bcc *+10            ;@ p=0.73
    inc {descriptor}+2
    bne *+5             ;@ p=0.99
    inc {descriptor}+3
    dex
    bne _record         ;@ times records
_found:
    jsr {page.exact}
    ldx index
{name}_judge_{number}:
{largest.challenge(result, "0.2")}
{token}
_better:
    stx next_token
{store}{largest.take(result)}
    jmp {name}_need
_worse:
    rts"""


def _need(name: str, screen: Screen) -> str:
    """`<name>_need`: the least coarse sum of a row that may be as large; keeps X."""
    up, down = max(screen.shift - screen.down, 0), max(screen.down - screen.shift, 0)
    steps = ["    asl scratch\n    rol"] * up + ["    cmp #$80\n    ror\n    ror scratch"] * down
    return lines(
        f"{name}_need:\n    lda largest\n    sta scratch\n    lda largest+1",
        *steps,
        f"""\
    tay
    sec
    lda scratch
    sbc #<{screen.margin}
    sta {NEED}
    tya
    sbc #>{screen.margin}
    bvc _held           ;@ p=0.99
    lda #0
    sta {NEED}
    lda #$80
_held:
    sta {NEED}+1
    rts""",
    )
