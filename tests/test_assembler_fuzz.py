"""Malformed sources: one AssemblyError that can be printed, never another exception or an end.

ANACHRON_FUZZ=20000 mutates that many sources of each dialect instead of a few.
"""
import os
import random
import re
from collections.abc import Callable

import pytest

from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.targets.mos6502 import assembler as mos6502
from anachron.compiler.targets.pdp11 import assembler as pdp11

N_MUTANTS = int(os.environ.get("ANACHRON_FUZZ", "250"))
Assemble = Callable[..., object]

SOURCE_6502 = """
* = $0801
zp = 32
v := 1
start:  lda #<table+1
loop    lda table,x
        sta (zp),y
        lda (zp,x)
        jmp (vector)
        bne loop
@out    inx
        asl a
        beq @out
        bpl *+7
        lda @w zp
:       dex
        bne :-
-       bne -
table   .byte 1,2,$ff,%101,'a',"hello",-1,2+3*(4-1)<<1
        .word start, loop-1
vector  .addr start
        .fill 4,$ea
        .res 3
        .align 16
        .if zp==32 && v
        .byte 1
        .elseif zp > 3
        .byte 2
        .else
        .byte 3
        .endif
        .ifdef loop
        nop
        .endif
        .macro add16 first, second=3
        .local here
        clc
        lda \\first
here    adc #<second
        bne here
        .endmacro
        add16 zp, $1234
        add16 {zp}
        .repeat 3, i
        .byte i
        .endrepeat
        .include "other"
        .text "text",0
"""
SOURCE_PDP11 = """
        .TITLE FUZZ
        .ASECT
        . = 1000
X = 10.
START:: MOV #X,R0
        MOV (R1)+,@-(R2)
        MOV @TAB,X(R5)
        ADD #<X+2>*3,@#TAB+4
1$:     MUL (R5)+,R0
        SOB R0,1$
        JSR PC,SUBR
        CLC!CLV
SUBR:   RTS PC
1$:     BR 1$
        .MACRO ADDM A,B,?L,N=3
        ADD A,B
        BCC L
        INC B'X+N
L:
        .ENDM
BX = 4
B = 6
        ADDM R0,B
        ADDM <#5>,B,,\\X
TAB:    .WORD 1,-1,177777,'A,"AB,^D10,^B101,^C0,<1+2>*3
        .ASCII "TEXT"<15><12>/MORE/
        .EVEN
        .RAD50 /ABCDEF/
        .BLKW 4
        .IF EQ X-10.
        .WORD 1
        .IFF
        .WORD 2
        .IFTF
        .ENDC
        .IIF DF X, .WORD 3
        .IRP Q,<1,2,3>
        .WORD Q
        .ENDR
        .IRPC Q,<AB>
        .BYTE ''Q
        .ENDR
        .REPT 3
        NOP
        .ENDR
        .REM & remark &
        .RADIX 10
        .INCLUDE "OTHER"
        .END START
"""
DIALECTS = {"6502": (mos6502.assemble, SOURCE_6502), "pdp11": (pdp11.assemble, SOURCE_PDP11)}
NUMBERS = ["0", "1", "-2", "255", "65535", "65536", "99999999999999999999"]


def mutant(random_: random.Random, source: str) -> str:
    """A source with a few of its lines, characters or numbers lost, doubled, moved or changed."""
    lines = source.split("\n")
    for _ in range(random_.randrange(1, 7)):
        k, other = random_.randrange(len(lines)), random_.randrange(len(lines))
        line, column = lines[k], random_.randrange(len(lines[k]) + 1)
        match random_.randrange(7):
            case 0:
                del lines[k]
            case 1:
                lines.insert(k, lines[other])
            case 2:
                lines[k], lines[other] = lines[other], lines[k]
            case 3:
                lines[k] = line[:column] + chr(random_.randrange(32, 127)) + line[column:]
            case 4:
                lines[k] = line[:column] + line[column + 1:]
            case 5:
                lines[k] = re.sub(r"\d+", lambda _: random_.choice(NUMBERS), line)
            case _:
                words = lines[other].split() or [""]
                lines[k] = line[:column] + random_.choice(words) + line[column:]
        lines = lines or [""]
    return "\n".join(lines)


@pytest.mark.parametrize("name", DIALECTS)
def test_the_source_itself_assembles(name: str) -> None:
    assemble, source = DIALECTS[name]
    assert assemble(source, include=lambda _: "").segments  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", DIALECTS)
def test_a_mutant_assembles_or_raises_one_clear_error(name: str) -> None:
    assemble, source = DIALECTS[name]
    outcomes = {True: 0, False: 0}
    for seed in range(N_MUTANTS):
        text = mutant(random.Random(f"{name} {seed}"), source)
        try:
            assemble(text, "it", include=lambda _: "")
            outcomes[True] += 1
        except AssemblyError as error:
            assert re.match(r"\S+:\d+:\d+: .|it: ", str(error)), f"seed {seed}: {error}"
            outcomes[False] += 1
    assert all(outcomes.values())


RUNAWAYS = {
    "6502": {
        "a macro that calls itself": " .macro m\n m\n m\n .endm\n m\n",
        "an argument that grows": " .macro m a\n m {a+a+a}\n .endm\n m 1\n",
        "a file that includes itself": ' .include "it"\n',
        "repeats of repeats": " .rept 65535\n" * 5 + " nop\n" + " .endrept\n" * 5,
        "filling again and again": " .rept 5000\n .fill 60000,1\n * = 0\n .endrept",
        "a number that grows": "v := 3\n .rept 90\nv := v*v\n .endrept\n",
        "a shift too far": " .word 1<<999999999999",
        "brackets": " lda " + "(" * 3000 + "1" + ")" * 3000,
        "signs": " lda #" + "-" * 3000 + "1",
        "a line too long": " .byte " + "1," * 5000 + "1",
        "digits": " lda #" + "9" * 5000,
        "sizes that chase each other": " .if x < 10\n .fill 20\n .endif\nx = *",
    },
    "pdp11": {
        "a macro that calls itself": " .MACRO M\n M\n .ENDM\n M\n",
        "an argument that grows": " .MACRO M A\n M <A'A>\n .ENDM\n M 12\n",
        "a file that includes itself": ' .INCLUDE "IT"\n',
        "repeats of repeats": " .REPT 77777\n" * 5 + " NOP\n" + " .ENDR\n" * 5,
        "many times many lines": " .IRPC A," + "1" * 8000 + "\n" + " NOP\n" * 500 + " .ENDR\n",
        "brackets": " .WORD " + "<" * 3000 + "1" + ">" * 3000,
        "conditions in a line": " .IIF EQ 0," * 300,
    },
}


@pytest.mark.parametrize("name, what", [(n, what) for n, some in RUNAWAYS.items() for what in some])
def test_a_runaway_source_is_stopped(name: str, what: str) -> None:
    text = RUNAWAYS[name][what]
    with pytest.raises(AssemblyError):
        DIALECTS[name][0](text, "it", include=lambda _: text)
