"""The instruction set of the PDP-11: the one table.

The assembler, the disassembler, the emulator and the timing all read INSTRUCTIONS, so they cannot
disagree. A row is written `MNEMONIC code access set`. The code is octal digits and fields:

    SS DD     addressing mode and register of the source, of the destination: three bits each
    R         a register                      NN     a number of six bits (SOB counts back)
    OOO       a branch: words from the next instruction, signed, eight bits
    NNN       a number of eight bits          N      a number of three bits
    .         0, and 1 in the byte instruction, whose mnemonic ends in B

Access is what the last operand suffers: read, write, modify, address (JMP, JSR), or none. `set`
is the group of instructions that a model has or lacks: MODELS.

To add an instruction: a row here, its operation (general.py says how), its times in timing.py.
Sources: PDP-11 Processor Handbook (DEC, 1976: 04/34/45/55/60), chapter 4 and appendix;
EK-KD11E-TM-001 (1976), tables 2-2 to 2-6.
"""

from collections.abc import Iterator
from dataclasses import dataclass

TABLE = """
MOV   .1SSDD write basic   |CMP   .2SSDD read basic    |BIT   .3SSDD read basic
BIC   .4SSDD modify basic  |BIS   .5SSDD modify basic  |ADD   06SSDD modify basic
SUB   16SSDD modify basic  |CLR   .050DD write basic   |COM   .051DD modify basic
INC   .052DD modify basic  |DEC   .053DD modify basic  |NEG   .054DD modify basic
ADC   .055DD modify basic  |SBC   .056DD modify basic  |TST   .057DD read basic
ROR   .060DD modify basic  |ROL   .061DD modify basic  |ASR   .062DD modify basic
ASL   .063DD modify basic  |SWAB  0003DD modify basic  |JMP   0001DD address basic
JSR   004RDD address basic |RTS   00020R none basic
BR    0004OOO none basic   |BNE   0010OOO none basic   |BEQ   0014OOO none basic
BGE   0020OOO none basic   |BLT   0024OOO none basic   |BGT   0030OOO none basic
BLE   0034OOO none basic   |BPL   1000OOO none basic   |BMI   1004OOO none basic
BHI   1010OOO none basic   |BLOS  1014OOO none basic   |BVC   1020OOO none basic
BVS   1024OOO none basic   |BCC   1030OOO none basic   |BCS   1034OOO none basic
EMT   1040NNN none basic   |TRAP  1044NNN none basic   |HALT  000000 none basic
WAIT  000001 none basic    |RTI   000002 none basic    |BPT   000003 none basic
IOT   000004 none basic    |RESET 000005 none basic    |NOP   000240 none basic
CLC   000241 none basic    |CLV   000242 none basic    |CLZ   000244 none basic
CLN   000250 none basic    |CCC   000257 none basic    |SEC   000261 none basic
SEV   000262 none basic    |SEZ   000264 none basic    |SEN   000270 none basic
SCC   000277 none basic
RTT   000006 none extended |MARK  0064NN none extended |SXT   0067DD write extended
XOR   074RDD modify extended|SOB  077RNN none extended
MUL   070RSS read eis      |DIV   071RSS read eis      |ASH   072RSS read eis
ASHC  073RSS read eis
MFPS  1067DD write psw     |MTPS  1064SS read psw
MFPI  0065SS read memory   |MTPI  0066DD write memory  |MFPD  1065SS read memory
MTPD  1066DD write memory  |SPL   00023N none split
"""

# The groups of instructions that a model has. `psw` is the LSI-11's and the 11/34's; `memory` comes
# with memory management; SPL is the 11/45's and its successors'.
MODELS = {
    "pdp11/20": frozenset({"basic"}),
    "pdp11/34a": frozenset({"basic", "extended", "eis", "psw", "memory"}),
}

REGISTERS = {"R0": 0, "R1": 1, "R2": 2, "R3": 3, "R4": 4, "R5": 5, "SP": 6, "PC": 7}

# A field's letters -> the bits they stand for.
FIELDS = {"SS": 6, "DD": 6, "R": 3, "OOO": 8, "NNN": 8, "NN": 6, "N": 3}


@dataclass(frozen=True)
class Instruction:
    """One row of the table: all words that agree with `opcode` in the bits of `mask`."""

    mnemonic: str
    opcode: int
    mask: int
    form: str  # its fields: "", SSDD, DD, SS, RDD, RSS, R, RNN, NN, N, NNN or OOO
    access: str
    set: str
    byte: bool = False

    def exists_on(self, model: str | None) -> bool:
        """Does a model have it? All do for None."""
        return model is None or self.set in MODELS[model]


def _rows() -> Iterator[Instruction]:
    for row in TABLE.replace("\n", "|").split("|"):
        if not row.strip():
            continue
        mnemonic, code, access, group = row.split()
        if "OOO" in code or "NNN" in code:  # eight bits lie across the octal digits
            form = code[4:]
            yield Instruction(mnemonic, int(code[:4], 8) << 6, 0o177400, form, access, group)
            continue
        form = code.lstrip(".01234567")
        digits = code[:len(code) - len(form)]
        bits = 3 * len(form)
        for byte in (False, True) if digits[0] == "." else (False,):
            opcode = int(digits.replace(".", "01"[byte]), 8) << bits
            name = mnemonic + "B" if byte else mnemonic
            yield Instruction(name, opcode, 0o177777 ^ (1 << bits) - 1, form, access, group, byte)


INSTRUCTIONS = tuple(_rows())

# What the condition-code operators are in general: 000240 clears the flags in its low four bits,
# 000260 sets them. The named ones are rows above; MACRO-11 writes the others CLC!CLV.
FLAG_OPERATORS = (
    Instruction("CLx", 0o240, 0o177760, "", "none", "basic"),
    Instruction("SEx", 0o260, 0o177760, "", "none", "basic"),
)

# Other names that MACRO-11 knows.
ALIASES = (
    Instruction("BHIS", 0o103000, 0o177400, "OOO", "none", "basic"),
    Instruction("BLO", 0o103400, 0o177400, "OOO", "none", "basic"),
    Instruction("CALL", 0o004700, 0o177700, "DD", "address", "basic"),
    Instruction("RETURN", 0o000207, 0o177777, "", "none", "basic"),
)

MNEMONICS = {row.mnemonic: row for row in INSTRUCTIONS + ALIASES}


def _decoded() -> tuple[Instruction | None, ...]:
    words: list[Instruction | None] = [None] * 0o200000
    for row in FLAG_OPERATORS + INSTRUCTIONS:
        for word in range(row.opcode, row.opcode + (~row.mask & 0o177777) + 1):
            words[word] = row
    return tuple(words)


DECODED = _decoded()  # every word's row, or None where it is no instruction


def n_words(word: int) -> int:
    """Words an instruction occupies, those of its operands included."""
    row = DECODED[word]
    specs: tuple[int, ...] = ()
    if row is not None and row.form == "SSDD":
        specs = (word >> 6 & 0o77, word & 0o77)
    elif row is not None and row.form in ("DD", "SS", "RDD", "RSS"):
        specs = (word & 0o77,)
    return 1 + sum(spec >> 3 in (6, 7) or spec in (0o27, 0o37) for spec in specs)
