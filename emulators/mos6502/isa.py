"""The instruction set of the NMOS 6502 and 6510: the one table.

The assembler, the disassembler, the emulator and the static timing all read INSTRUCTIONS, 256 rows
in the order of the opcodes, so they cannot disagree. A row is written `MNEMONIC mode cycles`, with
`+` where a page crossing costs one cycle more (a taken branch costs one, and one more across a
page), `*` for an opcode that MOS did not document and `!` for one whose result differs from chip
to chip. Mnemonics are the ones that 64tass and ca65 both know; ALIASES has the other names.

Sources: MOS Technology, MCS6500 Family Programming Manual (January 1976), appendices A and B;
"NMOS 6510 Unintended Opcodes - No More Secrets" (groepaz, v0.99, 2024) for the undocumented ones.
"""

from dataclasses import dataclass

TABLE = """
00 BRK imp 7  |ORA izx 6  |*JAM imp 2 |*SLO izx 8 |*NOP zp 3  |ORA zp 3   |ASL zp 5   |*SLO zp 5
08 PHP imp 3  |ORA imm 2  |ASL acc 2  |*ANC imm 2 |*NOP abs 4 |ORA abs 4  |ASL abs 6  |*SLO abs 6
10 BPL rel 2+ |ORA izy 5+ |*JAM imp 2 |*SLO izy 8 |*NOP zpx 4 |ORA zpx 4  |ASL zpx 6  |*SLO zpx 6
18 CLC imp 2  |ORA aby 4+ |*NOP imp 2 |*SLO aby 7 |*NOP abx 4+|ORA abx 4+ |ASL abx 7  |*SLO abx 7
20 JSR abs 6  |AND izx 6  |*JAM imp 2 |*RLA izx 8 |BIT zp 3   |AND zp 3   |ROL zp 5   |*RLA zp 5
28 PLP imp 4  |AND imm 2  |ROL acc 2  |*ANC imm 2 |BIT abs 4  |AND abs 4  |ROL abs 6  |*RLA abs 6
30 BMI rel 2+ |AND izy 5+ |*JAM imp 2 |*RLA izy 8 |*NOP zpx 4 |AND zpx 4  |ROL zpx 6  |*RLA zpx 6
38 SEC imp 2  |AND aby 4+ |*NOP imp 2 |*RLA aby 7 |*NOP abx 4+|AND abx 4+ |ROL abx 7  |*RLA abx 7
40 RTI imp 6  |EOR izx 6  |*JAM imp 2 |*SRE izx 8 |*NOP zp 3  |EOR zp 3   |LSR zp 5   |*SRE zp 5
48 PHA imp 3  |EOR imm 2  |LSR acc 2  |*ALR imm 2 |JMP abs 3  |EOR abs 4  |LSR abs 6  |*SRE abs 6
50 BVC rel 2+ |EOR izy 5+ |*JAM imp 2 |*SRE izy 8 |*NOP zpx 4 |EOR zpx 4  |LSR zpx 6  |*SRE zpx 6
58 CLI imp 2  |EOR aby 4+ |*NOP imp 2 |*SRE aby 7 |*NOP abx 4+|EOR abx 4+ |LSR abx 7  |*SRE abx 7
60 RTS imp 6  |ADC izx 6  |*JAM imp 2 |*RRA izx 8 |*NOP zp 3  |ADC zp 3   |ROR zp 5   |*RRA zp 5
68 PLA imp 4  |ADC imm 2  |ROR acc 2  |*ARR imm 2 |JMP ind 5  |ADC abs 4  |ROR abs 6  |*RRA abs 6
70 BVS rel 2+ |ADC izy 5+ |*JAM imp 2 |*RRA izy 8 |*NOP zpx 4 |ADC zpx 4  |ROR zpx 6  |*RRA zpx 6
78 SEI imp 2  |ADC aby 4+ |*NOP imp 2 |*RRA aby 7 |*NOP abx 4+|ADC abx 4+ |ROR abx 7  |*RRA abx 7
80 *NOP imm 2 |STA izx 6  |*NOP imm 2 |*SAX izx 6 |STY zp 3   |STA zp 3   |STX zp 3   |*SAX zp 3
88 DEY imp 2  |*NOP imm 2 |TXA imp 2  |!ANE imm 2 |STY abs 4  |STA abs 4  |STX abs 4  |*SAX abs 4
90 BCC rel 2+ |STA izy 6  |*JAM imp 2 |!SHA izy 6 |STY zpx 4  |STA zpx 4  |STX zpy 4  |*SAX zpy 4
98 TYA imp 2  |STA aby 5  |TXS imp 2  |!TAS aby 5 |!SHY abx 5 |STA abx 5  |!SHX aby 5 |!SHA aby 5
A0 LDY imm 2  |LDA izx 6  |LDX imm 2  |*LAX izx 6 |LDY zp 3   |LDA zp 3   |LDX zp 3   |*LAX zp 3
A8 TAY imp 2  |LDA imm 2  |TAX imp 2  |!LAX imm 2 |LDY abs 4  |LDA abs 4  |LDX abs 4  |*LAX abs 4
B0 BCS rel 2+ |LDA izy 5+ |*JAM imp 2 |*LAX izy 5+|LDY zpx 4  |LDA zpx 4  |LDX zpy 4  |*LAX zpy 4
B8 CLV imp 2  |LDA aby 4+ |TSX imp 2  |!LAS aby 4+|LDY abx 4+ |LDA abx 4+ |LDX aby 4+ |*LAX aby 4+
C0 CPY imm 2  |CMP izx 6  |*NOP imm 2 |*DCP izx 8 |CPY zp 3   |CMP zp 3   |DEC zp 5   |*DCP zp 5
C8 INY imp 2  |CMP imm 2  |DEX imp 2  |*AXS imm 2 |CPY abs 4  |CMP abs 4  |DEC abs 6  |*DCP abs 6
D0 BNE rel 2+ |CMP izy 5+ |*JAM imp 2 |*DCP izy 8 |*NOP zpx 4 |CMP zpx 4  |DEC zpx 6  |*DCP zpx 6
D8 CLD imp 2  |CMP aby 4+ |*NOP imp 2 |*DCP aby 7 |*NOP abx 4+|CMP abx 4+ |DEC abx 7  |*DCP abx 7
E0 CPX imm 2  |SBC izx 6  |*NOP imm 2 |*ISC izx 8 |CPX zp 3   |SBC zp 3   |INC zp 5   |*ISC zp 5
E8 INX imp 2  |SBC imm 2  |NOP imp 2  |*SBC imm 2 |CPX abs 4  |SBC abs 4  |INC abs 6  |*ISC abs 6
F0 BEQ rel 2+ |SBC izy 5+ |*JAM imp 2 |*ISC izy 8 |*NOP zpx 4 |SBC zpx 4  |INC zpx 6  |*ISC zpx 6
F8 SED imp 2  |SBC aby 4+ |*NOP imp 2 |*ISC aby 7 |*NOP abx 4+|SBC abx 4+ |INC abx 7  |*ISC abx 7
"""

# Addressing modes: bytes of the operand, and how an assembler writes it.
MODES = {
    "imp": (0, ""), "acc": (0, "A"), "imm": (1, "#{}"), "zp": (1, "{}"), "zpx": (1, "{},X"),
    "zpy": (1, "{},Y"), "izx": (1, "({},X)"), "izy": (1, "({}),Y"), "rel": (1, "{}"),
    "abs": (2, "{}"), "abx": (2, "{},X"), "aby": (2, "{},Y"), "ind": (2, "({})"),
}

# What an instruction does with its operand in memory; all others only read it, or have none.
STORES = frozenset("STA STX STY SAX SHA SHX SHY TAS".split())
MODIFIES = frozenset("ASL LSR ROL ROR INC DEC SLO RLA SRE RRA DCP ISC".split())
BRANCHES = frozenset("BPL BMI BVC BVS BCC BCS BNE BEQ".split())

# The flags an instruction may change; JAM, stores, branches and the rest change none.
FLAGS = {flags: frozenset(names.split()) for flags, names in {
    "NVZC": "ADC SBC RRA ISC ARR", "NVZ": "BIT",
    "NZC": "ASL LSR ROL ROR CMP CPX CPY SLO RLA SRE DCP ANC ALR AXS",
    "NZ": "LDA LDX LDY AND ORA EOR INC DEC INX INY DEX DEY TAX TAY TXA TYA TSX PLA LAX LAS ANE",
    "C": "CLC SEC", "V": "CLV", "D": "CLD SED", "I": "CLI SEI BRK", "NVDIZC": "PLP RTI",
}.items()}

# Other names in use -> the name here. (LXA is LAX with an immediate operand, $AB.)
ALIASES = {
    "AHX": "SHA", "AXA": "SHA", "SHS": "TAS", "XAS": "SHX", "SXA": "SHX", "SYA": "SHY",
    "SAY": "SHY", "LAE": "LAS", "LAR": "LAS", "LDS": "LAS", "XAA": "ANE", "LXA": "LAX",
    "OAL": "LAX", "ATX": "LAX", "SBX": "AXS", "ASR": "ALR", "ISB": "ISC", "INS": "ISC",
    "DCM": "DCP", "ASO": "SLO", "LSE": "SRE", "AAX": "SAX", "ANC2": "ANC", "USBC": "SBC",
    "KIL": "JAM", "HLT": "JAM", "DOP": "NOP", "TOP": "NOP", "BLT": "BCC", "BGE": "BCS",
}


@dataclass(frozen=True)
class Instruction:
    """One opcode: its row of the table."""

    opcode: int
    mnemonic: str
    mode: str
    cycles: int  # without page crossing, branch not taken
    crossing: bool  # one cycle more across a page; a branch, when taken: 1, across a page 2
    status: str  # documented, undocumented, unstable

    @property
    def length(self) -> int:
        """Bytes, opcode included."""
        return 1 + MODES[self.mode][0]

    @property
    def access(self) -> str:
        """What it does with its operand in memory: read, write, modify or none."""
        if self.mode in ("imp", "acc", "imm", "rel") or self.mnemonic in ("JMP", "JSR"):
            return "none"
        if self.mnemonic in STORES:
            return "write"
        return "modify" if self.mnemonic in MODIFIES else "read"

    @property
    def writes(self) -> int:
        """Which of its cycles write, bit 0 the first: the ones a bad line lets pass."""
        match self.access, self.mnemonic:
            case "write", _:
                return 1 << self.cycles - 1
            case "modify", _:
                return 3 << self.cycles - 2
            case _, "PHA" | "PHP":
                return 0b100
            case _, "JSR":
                return 0b11000
            case _, "BRK":
                return 0b11100
        return 0

    @property
    def flags(self) -> str:
        """The flags it may change, as in "NZC"; SP, A, X, Y are told by the mnemonic."""
        return next((flags for flags, names in FLAGS.items() if self.mnemonic in names), "")


def _rows() -> tuple[Instruction, ...]:
    rows = []
    status = {"*": "undocumented", "!": "unstable"}
    for line in TABLE.split("\n")[1:-1]:
        opcode = int(line[:2], 16)
        for cell in line[3:].split("|"):
            mnemonic, mode, cycles = cell.strip("*! ").split()
            rows.append(Instruction(opcode, mnemonic, mode, int(cycles[0]), "+" in cycles,
                                    status.get(cell[0], "documented")))
            opcode += 1
    return tuple(rows)


INSTRUCTIONS = _rows()

# (mnemonic, mode) -> opcode, as 64tass and ca65 choose among several: documented, then the lowest.
OPCODES = {
    (row.mnemonic, row.mode): row.opcode
    for row in sorted(INSTRUCTIONS, key=lambda r: (r.status == "documented", -r.opcode))
}
