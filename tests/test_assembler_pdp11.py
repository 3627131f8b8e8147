"""MACRO-11: what the language means, what the messages say, every word of the table."""
import random

import pytest

from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.emulators.pdp11.disassembler import disassemble
from anachron.emulators.pdp11.isa import ALIASES, INSTRUCTIONS


def words(text: str, **options: object) -> list[int]:
    """The words of a source that has one segment, or none."""
    segments = assemble(text, **options).segments  # type: ignore[arg-type]
    data = segments[0][1] if segments else b""
    return [int.from_bytes(data[k:k + 2], "little") for k in range(0, len(data), 2)]


def code(text: str, **options: object) -> bytes:
    segments = assemble(text, **options).segments  # type: ignore[arg-type]
    return segments[0][1] if segments else b""


def message(text: str, **options: object) -> str:
    with pytest.raises(AssemblyError) as caught:
        assemble(text, "it.mac", **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("operand, spec, extra", [
    ("R3", 0o03, []), ("SP", 0o06, []), ("PC", 0o07, []), ("%5", 0o05, []), ("(R3)", 0o13, []),
    ("@R3", 0o13, []), ("(R3)+", 0o23, []), ("@(R3)+", 0o33, []), ("-(R3)", 0o43, []),
    ("@-(R3)", 0o53, []), ("12(R3)", 0o63, [0o12]), ("-2(R3)", 0o63, [0o177776]),
    ("@12(R3)", 0o73, [0o12]), ("@(R3)", 0o73, [0]), ("#123", 0o27, [0o123]),
    ("#-1", 0o27, [0o177777]), ("@#177560", 0o37, [0o177560]), ("1010", 0o67, [0o4]),
    ("@1010", 0o77, [0o4]), ("A+2-3(R3)", 0o63, [0o77]), ("#A", 0o27, [0o100]),
])
def test_an_operand_is_its_mode_and_register(operand: str, spec: int, extra: list[int]) -> None:
    assert words(f"A = 100\n. = 1000\n TST {operand}")[:2] == [0o005700 | spec, *extra]


def test_both_operands_have_their_extra_words_in_order() -> None:
    assert words(". = 1000\n MOV #1,@#2\n ADD 2000,2000") == [
        0o012737, 1, 2, 0o066767, 0o766, 0o764]


OPERANDS = {"": "", "SSDD": "(R1)+,-(R2)", "DD": "(R2)+", "SS": "(R2)+", "RDD": "R3,(R2)+",
            "RSS": "(R2)+,R3", "R": "R4", "RNN": "R3,.-10", "OOO": ".+10", "NN": "17",
            "N": "5", "NNN": "123"}
FIELDS = {"": 0, "SSDD": 0o2142, "DD": 0o22, "SS": 0o22, "RDD": 0o322, "RSS": 0o322, "R": 4,
          "RNN": 0o305, "OOO": 3, "NN": 0o17, "N": 5, "NNN": 0o123}


@pytest.mark.parametrize("row", INSTRUCTIONS + ALIASES, ids=lambda row: row.mnemonic)
def test_every_instruction_of_the_table_has_its_word(row) -> None:  # type: ignore[no-untyped-def]
    assert words(f". = 1000\n {row.mnemonic} {OPERANDS[row.form]}") == [
        row.opcode | FIELDS[row.form]]


@pytest.mark.parametrize("row", [row for row in INSTRUCTIONS if row.form == "SSDD"],
                         ids=lambda row: row.mnemonic)
def test_lower_case_is_upper_case(row) -> None:  # type: ignore[no-untyped-def]
    name = row.mnemonic.lower()
    assert words(f" {name} r1,(r2)") == words(f" {row.mnemonic} R1,(R2)")


def test_flag_operators_are_joined() -> None:
    assert words(" CLC!CLV\n SEN!SEZ!SEC\n +SEC!SEV\n +NOP") == [0o243, 0o275, 0o263, 0o240]


def test_an_instruction_s_name_is_its_opcode_in_an_expression() -> None:
    assert words("SCOPE = NOP\n SCOPE\n .WORD RTS!7") == [0o240, 0o207]


def test_a_number_in_brackets_is_a_register() -> None:
    assert words(" CLR (4)\n CLR @(3)+\n CLR 2(%1)\n CLR 2(1)") == (
        [0o005014, 0o005033, 0o005061, 2, 0o005061, 2])


def test_a_symbol_alone_is_its_word() -> None:
    assert words("SCOPE = 104400\n SCOPE\nA: B\nB: NOP") == [0o104400, 4, 0o240]


@pytest.mark.parametrize("expression, value", [
    ("10", 8), ("10.", 10), ("^D10", 10), ("^B101", 5), ("^O17", 15), ("^XFF", 255), ("'A", 65),
    ('"AB', 0x4241), ("1+2*3", 9), ("1+<2*3>", 7), ("7-2-1", 4), ("17!60&15", 0o15), ("-1", 65535),
    ("^C1", 65534), ("-1/2", 0o77777), ("177777+2", 1), ("^RABC", 0o3223), (".", 0o20),
    ("LATER-.", 2), ("CLR", 1), ("A.B", 2), ("$C", 3), ("LONGER.THAN.6", 4),
])
def test_an_expression_has_its_value(expression: str, value: int) -> None:
    names = "CLR = 1\nA.B = 2\n$C = 3\nLONGER.THAN.6 = 4\n"
    assert words(f"{names}. = 20\n .WORD {expression}\nLATER:") == [value]


@pytest.mark.parametrize("text, data", [
    (".WORD 1,2,-1", b"\1\0\2\0\xff\xff"), (".WORD", b"\0\0"), (".BYTE 1,-1,'A", b"\1\xffA"),
    (".ASCII /HI; YOU/ ; comment", b"HI; YOU"), (".ASCIZ \"A\"<15><12>", b"A\r\n\0"),
    (".ASCII <101>/B/<CR>\nCR=15", b"AB\r"), (".RAD50 /ABCDE/", b"\x93\x06\xc8\x19"),
    (".BYTE 1\n.EVEN\n.WORD 2", None), (".RADIX 10\n.WORD 10\n.RADIX 8\n.WORD 10", b"\x0a\0\x08\0"),
    (".RADIX 2\n.WORD 101", b"\5\0"), (".WORD .,.-2\n.BYTE .,.", b"\0\0\0\0\4\5"),
])
def test_a_directive_lays_its_data(text: str, data: bytes | None) -> None:
    if data is None:
        assert assemble(text).segments == ((0, b"\1"), (2, b"\2\0"))
    else:
        assert code(text) == data


def test_blocks_reserve_memory() -> None:
    program = assemble("A: .BLKW 10.\nB: .BLKB 3\n.EVEN\nC: .BLKW\nD:")
    assert program.symbols == {"A": 0, "B": 20, "C": 24, "D": 26}
    assert program.segments == ()


def test_local_labels_live_between_ordinary_ones() -> None:
    assert words("A: BR 1$\n1$: BR 1$\nB: BR 1$\n1$: BR 1$") == [0o400, 0o777, 0o400, 0o777]
    assert "1$ is not defined under B" in message("A:\n1$: NOP\nB: BR 1$")


def test_symbols_are_assigned_and_assigned_again() -> None:
    program = assemble("A = 1\nA = A+1\nB == A*10.\nC:: D: .WORD A,B\n .END C")
    assert program.symbols == {"A": 2, "B": 20, "C": 0, "D": 0}
    assert (program.entry, code("A = 1\n .WORD A\nA = 2\n .WORD A")) == (0, b"\1\0\2\0")


def test_a_macro_substitutes_joins_and_makes_labels() -> None:
    text = """
        .MACRO  ADDTO A,B,?L,N=3
        ADD     A,V'B
        BCC     L
        INC     B'V+N
L:
        .ENDM   ADDTO
        ADDTO   #1,X
        ADDTO   <#2> X
        ADDTO   #3,X,,4
VX = 10
XV = 20
"""
    assert words(". = 1000\n" + text) == [
        0o062767, 1, 0o010 - 0o1006 & 0xFFFF, 0o103002, 0o005267, 0o023 - 0o1014 & 0xFFFF,
        0o062767, 2, 0o010 - 0o1022 & 0xFFFF, 0o103002, 0o005267, 0o023 - 0o1030 & 0xFFFF,
        0o062767, 3, 0o010 - 0o1036 & 0xFFFF, 0o103002, 0o005267, 0o024 - 0o1044 & 0xFFFF]


def test_a_backslash_passes_a_number() -> None:
    assert words(".MACRO M N\nX'N: .WORD N\n.ENDM\nA = 12\n M \\A\n .WORD X12") == [0o12, 0]


def test_a_macro_may_end_early() -> None:
    text = ".MACRO M A\n.WORD 1\n.IF B A\n.MEXIT\n.ENDC\n.WORD A\n.ENDM\n M\n M 2"
    assert words(text) == [1, 1, 2]


def test_repeats() -> None:
    assert words(".REPT 3\n.WORD 1\n.ENDR\n.IRP X,<2,<3,4>,5>\n.WORD X\n.ENDR") == [
        1, 1, 1, 2, 3, 4, 5]
    assert code(".IRPC C,AB\n.ASCII /C'C/\n.ENDM") == b"AABB"


@pytest.mark.parametrize("test, holds", [
    ("EQ 0", True), ("EQ,1", False), ("NE 1", True), ("GT 1", True), ("GT -1", False),
    ("LT 100000", True), ("GE 0", True), ("LE 1", False), ("DF A", True), ("NDF A", False),
    ("DF B", False), ("DF A&B", False), ("DF B!A", True), ("B", True), ("B X", False),
    ("NB <X>", True), ("IDN A,A", True), ("IDN <A B>,<A C>", False), ("DIF A,B", True),
])
def test_a_conditional_tests(test: str, holds: bool) -> None:
    text = f"A = 1\n.IF {test}\n.WORD 1\n.IFF\n.WORD 2\n.IFTF\n.WORD 3\n.IFT\n.WORD 4\n.ENDC"
    assert words(text) == ([1, 3, 4] if holds else [2, 3])


def test_a_skipped_conditional_hides_those_inside_it() -> None:
    assert words(".IF EQ 1\n.IF EQ 0\n.WORD 1\n.ENDC\n.IFF\n.WORD 2\n.ENDC\n.IFNE 1\n.WORD 3\n.ENDC"
                 ) == [2, 3]


def test_a_conditional_line() -> None:
    assert words("\n.IIF EQ 0, .WORD 1\n.IIF DF A, .WORD 2\n.IIF NB <X>, .WORD 3") == [1, 3]


def test_an_include_and_a_remark() -> None:
    text = ' .INCLUDE "IT.MAC"\n .REM & nothing\n of this\n counts &\n .WORD 2'
    assert words(text, include={"IT.MAC": " .WORD 1"}.__getitem__) == [1, 2]


def test_a_macro_counts_its_arguments_and_characters() -> None:
    text = ".MACRO M A,B,C\n.NARG N\n.NCHR L,<A>\n.WORD N,L\n.ENDM\n M <X,Y>,2\n M"
    assert words(text) == [2, 3, 0, 0]


def test_plain_addresses_may_be_absolute() -> None:
    assert words(". = 1000\n TST 1010\n .ENABL AMA\n TST 1010\n MOV 4,@6\n .DSABL AMA\n TST 1010"
                 ) == [0o005767, 4, 0o005737, 0o1010, 0o013777, 4, 0o176770, 0o005767, 0o177766]


def test_one_block_of_local_labels_may_span_ordinary_ones() -> None:
    text = "A: BR 1$\n.ENABL LSB\nB: BR 1$\nC:\n1$: NOP\n.DSABL LSB\nD:\n1$: NOP"
    assert "1$ is not defined under A" in message(text)
    assert words(text[9:]) == [0o400, 0o240, 0o240]


def test_old_register_assignments_are_accepted() -> None:
    assert words("R0=%0\nSP=%6\n CLR R0") == [0o5000]
    assert "R0 is register 0" in message("R0=%1")


@pytest.mark.parametrize("name", ["MUL R1,R0", "DIV R1,R0", "ASH R1,R0", "ASHC R1,R0", "SXT R0",
                                  "XOR R0,R1", "SOB R0,.", "MARK 1", "RTT", "MFPS R0"])
def test_the_first_pdp11_lacks_what_came_later(name: str) -> None:
    mnemonic = name.split()[0]
    told = f"it.mac:1:2: {mnemonic} does not exist on the pdp11/20; it does on the pdp11/34a"
    assert told in message(f" {name}", machine="pdp11/20")
    assert assemble(f" {name}", machine="pdp11/34a").segments


@pytest.mark.parametrize("text, told", [
    (" MOV R0", "MOV takes a source and a destination, found 1 operands"),
    (" CLR", "CLR takes one operand"), (" NOP 1", "NOP takes no operand"),
    (" MUL R1,(R0)", "the second operand of MUL must be a register"),
    (" JMP R1", "JMP takes an address, and a register has none"),
    (" BNE .+402", "BNE goes 128 words, 1 too far: -128 to 127 are possible"),
    (". = 1000\n BR .-400", "BR goes -129 words, 1 too far"),
    (" BR .+3", "BR to the odd address 3"), (" SOB R0,.+4", "SOB goes 1 words, 1 too far"),
    (". = 1000\n SOB R0,.-200", "SOB goes -65 words, 2 too far"),
    (" BR (R1)", "BR takes a plain address"), (" EMT 400", "the number 256 is 1 above 255"),
    (" .BYTE 400", "256 is 1 above 255"),
    (" MOV #8,R0", "it.mac:1:7: 8 is not a number in radix 8; 8. is decimal"),
    (". = 1001\n NOP", "an instruction at an odd address"),
    (". = 1\n .WORD 1", "a word at an odd address"),
    (" FOO R1", "it.mac:1:2: FOO is not an instruction"), (" .FOO", ".FOO is not an instruction"),
    (" MOV X,R0", "it.mac:1:6: X is not defined"), ("A:\nA:", "A is already defined at it.mac:1"),
    (" .ASCII /X", "no second '/' ends the text"), (" CLC!SEC", "cannot both set and clear"),
    (" FOO", "it.mac:1:2: FOO is not an instruction, a directive, a macro or a symbol"),
    ("FOO:\n+ 5", "it.mac:2:3: expected an instruction, found '5'"),
    (" FOO", "it.mac:1:2: FOO is not an instruction, a directive, a macro or a symbol"),
    (" CLC!MOV", "MOV does not set or clear flags"),
    (" .PSECT A", "needs a linker"), (" .IF EQ 1", "it.mac:1:1: no .endc"),
    (" .IF EQ 0", "it.mac:1:1: nothing ends this"), (" .IF XX 1\n.ENDC", "'xx' is not a test"),
    (" .REPT 2", "no .endm"), (" .ENDC", "without an open"),
    (" .MACRO M\n.ENDM\n M 1", "M takes 0 arguments, found 1"), (" .RADIX 7", "radix 7"),
    (" .BLKW 100001", "fit"), (" .WORD <1", "expected '>'"), (" .ERROR ; NO", "it.mac:1:2: NO"),
    (" .RAD50 /a_b/", "'_' has no code in radix 50"), (" MOV %9,R0", "%9 is not a register"),
])
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    assert told in message(text)


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="'pdp11/99' is not one of pdp11/20, pdp11/34a"):
        assemble(" NOP", machine="pdp11/99")


@pytest.mark.parametrize("high", range(0o20), ids=lambda high: f"{high:02o}xxxx")
def test_assembling_a_disassembly_gives_the_words(high: int) -> None:
    """Every instruction word, at both ends of the memory, with words behind it of all sizes."""
    texts, expected = [". = 1000"], []
    for word in range(high << 12, high + 1 << 12):
        random_ = random.Random(word)
        at = 0o1000 + 2 * len(expected)
        memory = {at: word} | {at + k: random_.choice((0, 0o177777, random_.randrange(0o200000)))
                               for k in (2, 4)}
        text, size = disassemble(memory.__getitem__, at)
        texts.append(f" {text}")
        expected += [memory[at + k] for k in range(0, size, 2)]
    assert words("\n".join(texts)) == expected
