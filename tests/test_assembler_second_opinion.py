"""The same source through somebody else's assembler: 64tass and macro11."""
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

import anachron.compiler as ac
from anachron.compiler.assembly.program import Program
from anachron.compiler.machine_training import build_training
from anachron.compiler.targets.mos6502 import assembler as mos6502
from anachron.compiler.targets.pdp11 import assembler as pdp11
from anachron.emulators.mos6502.disassembler import listing
from anachron.emulators.mos6502.isa import MODES, OPCODES
from anachron.emulators.pdp11.isa import INSTRUCTIONS

PROTOTYPES = Path(__file__).parents[1] / "../shared/prototypes/mos6502/asm"
PROGRAMS = ["reverse", "chat"]
TASS = shutil.which("64tass")
MACRO11 = os.environ.get("ANACHRON_MACRO11") or shutil.which("macro11")



def flat(program: Program) -> bytes:
    """From the first byte to the last, gaps zero: what 64tass writes with --nostart."""
    start = program.segments[0][0]
    last, data = program.segments[-1]
    out = bytearray(last + len(data) - start)
    for address, data in program.segments:
        out[address - start:address - start + len(data)] = data
    return bytes(out)


def tass(text: str, folder: Path) -> bytes:
    """The bytes that 64tass makes of a source."""
    source, out = folder / "it.asm", folder / "it.bin"
    source.write_text(text)
    done = subprocess.run([str(TASS), "--quiet", "--nostart", "-Wno-all", "-o", str(out),
                           str(source)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


LANGUAGE = """
        .cpu    "6502i"
        * = $0801
zp = 32
start:  lda     #<(table+1)
        ldx     #>table
loop    lda     table,x         ; a label without a colon
        adc     zp,x
        sta     (zp),y
        lda     (zp,x)
        jmp     (vector)
        bne     loop
        beq     _out
_out    inx
        asl     a
        asl
        bpl     *+7
        .fill   5, $ea
        lda     later
        lda     later2
        lda     @w zp
        lda     @b zp,x
-       dex
        bne     -
        beq     +
        nop
+       rts
table   .byte   1,2,$ff,%101,'a',<table,>table
        .word   start, loop-1, 2+3*4, (2+3)*4, 1+2<<3, 6&3|8, 5^1, 7-2-1, 7/2, <start+1
        .text   "text",0,"more"
vector  .addr   start
        .fill   4,$ea
        .align  16,$55
later = 5
later2 = $500
        .if     zp==32 && later2 > 255
        .byte   1
        .else
        .byte   2
        .endif
add16   .macro  first, second
        clc
        lda     \\first
        adc     #<\\second
        sta     \\1
        .endmacro
        #add16  zp, $1234
        .rept   3
        nop
        .endrept
        .byte   3 >= 4, 3 != 4, !0, ~0 & 15, 17 % 5, 1 << 4 >> 1
"""


@pytest.mark.tass
@pytest.mark.skipif(TASS is None, reason="64tass is not installed")
def test_64tass_reads_our_language_alike(tmp_path: Path) -> None:
    assert flat(mos6502.assemble(LANGUAGE)) == tass(LANGUAGE, tmp_path)


@pytest.mark.tass
@pytest.mark.skipif(TASS is None, reason="64tass is not installed")
def test_64tass_encodes_every_instruction_alike(tmp_path: Path) -> None:
    lines = ['        .cpu "6502i"', "        * = $1000"]
    for name, mode in sorted(OPCODES):
        if name == "LAX" and mode == "imm":
            continue  # 64tass knows $AB as LXA and LAX both, by a warning
        values = {0: [""], 1: ["$00", "$12", "$ff"], 2: ["$0100", "$1234", "$ffff"]}[MODES[mode][0]]
        if mode == "rel":
            values = ["*", "*-126", "*+129"]
        lines += [f"        {name.lower()} {MODES[mode][1].format(value).lower()}"
                  for value in values]
    text = "\n".join(lines) + "\n"
    assert flat(mos6502.assemble(text)) == tass(text, tmp_path)


@pytest.mark.tass
@pytest.mark.skipif(TASS is None, reason="64tass is not installed")
@pytest.mark.parametrize("seed", range(3))
def test_64tass_reads_our_disassembly(seed: int, tmp_path: Path) -> None:
    data = random.Random(seed).randbytes(4096)
    memory = {0x1000 + k: byte for k, byte in enumerate(data)} | {0x2000: 0, 0x2001: 0}
    lines = [line.split(None, 1)[1] for line in listing(memory.__getitem__, 0x1000, 0x2000)]
    text = '        .cpu "6502i"\n        * = $1000\n' + "\n".join(
        f"        {line[10:]}" for line in lines) + "\n"
    ours = flat(mos6502.assemble(text))
    assert ours[:len(data)] == data
    assert ours == tass(text, tmp_path)


@pytest.mark.tass
@pytest.mark.skipif(TASS is None, reason="64tass is not installed")
@pytest.mark.skipif(not PROTOTYPES.is_dir(), reason="../shared is not here")
@pytest.mark.parametrize("path", sorted(PROTOTYPES.glob("*.asm")), ids=lambda path: path.stem)
def test_64tass_agrees_on_kernels_not_written_here(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert flat(mos6502.assemble(text)) == tass('        .cpu "6502i"\n' + text, tmp_path)


@pytest.mark.tass
@pytest.mark.skipif(TASS is None, reason="64tass is not installed")
@pytest.mark.parametrize("name", PROGRAMS)
def test_64tass_assembles_the_programs_that_we_print(name: str, tmp_path: Path) -> None:
    image = ac.build(ac.quantize(ac.load(name)), "c64")
    assert flat(image.program) == tass(image.source, tmp_path)


MACRO_LANGUAGE = """
        .TITLE  SECOND OPINION
        .ASECT
        . = 1000
X = 10.
Y == X*2+1
START:: MOV     #X,R0
        MOV     (R1)+,@-(R2)
        MOV     @#177564,TAB
        MOV     @TAB,X(R5)
        MOV     @X(R5),@(R3)
        ADD     #<X+2>*3,TAB+4
1$:     MUL     (R5)+,R0
        SOB     R0,1$
        BNE     2$
        JSR     PC,SUBR
2$:     RTS     PC
SUBR:   ADD     -(R4),(SP)+
        CALL    SUBR
        RETURN
1$:     BR      1$
        .MACRO  ADDM A,B,?L
        ADD     A,B
        BCC     L
        INC     B'X
L:
        .ENDM
BX = 4
B = 6
        ADDM    R0,B
        ADDM    #5,B
TAB:    .WORD   1,-1,177777,'A,"AB,^D10,^B101,^C0,<1+2>*3,1+2*3,17!60&15,.,.-TAB
        .BYTE   1,2,-1
        .ASCII  "TEXT"<15><12>
        .ASCIZ  /HELLO/
        .EVEN
        .RAD50  /ABCDEF/
        .BLKW   4
        .IF     EQ X-10.
        .WORD   1
        .IFF
        .WORD   2
        .IFTF
        .WORD   3
        .ENDC
        .IF     NDF NOWHERE
        .WORD   4
        .ENDC
        .IRP    Q,<1,2,3>
        .WORD   Q
        .ENDR
        .REPT   3
        NOP
        .ENDR
        .ENABL  AMA
        TST     TAB
        MOV     TAB,@TAB
        .DSABL  AMA
        TST     TAB
        .MACRO  COUNT A,B
        .NARG   N
        .NCHR   L,<A>
        .WORD   N,L
        .ENDM
        COUNT   <X,Y>,2
        .RADIX  10
        .WORD   10
        .RADIX  8
        .END    START
"""


def macro11(text: str, folder: Path) -> dict[int, int]:
    """Address -> byte, from the object file that macro11 makes of an absolute source."""
    source, out = folder / "it.mac", folder / "it.obj"
    source.write_text(text)
    done = subprocess.run([str(MACRO11), "-ysl", "64", "-yus", "-o", str(out), str(source)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "ERROR" not in done.stderr + done.stdout, done.stderr
    return object_bytes(out.read_bytes())


def object_bytes(data: bytes) -> dict[int, int]:
    """The absolute text of an RT-11 object file: TXT records, and RLD's displacements from PC."""
    memory: dict[int, int] = {}
    place = start = 0
    while place < len(data):
        if data[place] != 1:
            place += 1
            continue
        size = int.from_bytes(data[place + 2:place + 4], "little")
        record = data[place + 4:place + size]
        place += size + 1
        if record[0] == 3:  # TXT: an address and bytes
            start = int.from_bytes(record[2:4], "little")
            memory |= {start + k: byte for k, byte in enumerate(record[4:])}
        elif record[0] == 4:  # RLD: words of the text before it that await an address
            k = 2
            while k < len(record):
                kind, at = record[k] & 0x7F, start + record[k + 1] - 4
                if kind == 3:  # internal, displaced: the constant less the PC behind the word
                    value = int.from_bytes(record[k + 2:k + 4], "little") - at - 2
                    memory |= {at: value & 0xFF, at + 1: value >> 8 & 0xFF}
                assert kind in (3, 7, 8), f"relocation {kind} in an absolute source"
                k += {3: 4, 7: 8, 8: 4}[kind]
    return memory


@pytest.mark.macro11
@pytest.mark.skipif(MACRO11 is None, reason="no macro11 in PATH or ANACHRON_MACRO11")
def test_macro11_reads_our_language_alike(tmp_path: Path) -> None:
    ours = {address + k: byte for address, data in pdp11.assemble(MACRO_LANGUAGE).segments
            for k, byte in enumerate(data)}
    assert ours == macro11(MACRO_LANGUAGE, tmp_path)


@pytest.mark.macro11
@pytest.mark.skipif(MACRO11 is None, reason="no macro11 in PATH or ANACHRON_MACRO11")
@pytest.mark.parametrize("machine", ["pdp11/34a", "pdp11/20"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_macro11_assembles_the_programs_that_we_print(name: str, machine: str,
                                                      tmp_path: Path) -> None:
    image = ac.build(ac.quantize(ac.load(name)), machine)
    ours = {address + k: byte for address, data in image.program.segments
            for k, byte in enumerate(data)}
    assert ours == macro11(image.source, tmp_path)


@pytest.mark.macro11
@pytest.mark.skipif(MACRO11 is None, reason="no macro11 in PATH or ANACHRON_MACRO11")
@pytest.mark.parametrize("machine", ["pdp11/34a", "pdp11/20"])
def test_macro11_assembles_the_program_that_trains(machine: str, tmp_path: Path) -> None:
    image = build_training(ac.load("reverse"), machine)
    ours = {address + k: byte for address, data in image.program.segments
            for k, byte in enumerate(data)}
    assert ours == macro11(image.source, tmp_path)


@pytest.mark.macro11
@pytest.mark.skipif(MACRO11 is None, reason="no macro11 in PATH or ANACHRON_MACRO11")
def test_macro11_encodes_every_instruction_alike(tmp_path: Path) -> None:
    operands = ["R1", "(R2)", "(R3)+", "@(R4)+", "-(R5)", "@-(SP)", "12(R1)", "@-2(R2)", "#1234",
                "@#1234", "1234", "@1234", "@(R1)"]
    lines = ["        .ASECT", "        . = 1000"]
    for row in INSTRUCTIONS:
        given = {"": [""], "R": ["R4"], "RNN": ["R3,.-10"], "OOO": [".+10", ".-376", ".+400"],
                 "NN": ["17"], "N": ["5"], "NNN": ["123"],
                 "SSDD": [f"{a},{b}" for a in operands for b in operands],
                 "RDD": [f"R3,{b}" for b in operands], "RSS": [f"{a},R3" for a in operands],
                 }.get(row.form, operands)
        if row.mnemonic in ("JMP", "JSR"):
            given = [operand for operand in given if operand.split(",")[-1] != "R1"]
        lines += [f"        {row.mnemonic} {operand}" for operand in given]
    text = "\n".join(lines) + "\n        .END\n"
    ours = {address + k: byte for address, data in pdp11.assemble(text).segments
            for k, byte in enumerate(data)}
    assert ours == macro11(text, tmp_path)
