"""The 6502 assembler: what its language means, what its messages say, and that a pass settles."""
import time

import pytest

from anachron.compiler.assembly.errors import AssemblyError
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.emulators.mos6502.disassembler import disassemble
from anachron.emulators.mos6502.isa import ALIASES, INSTRUCTIONS, MODES, OPCODES


def code(text: str, **options: object) -> bytes:
    """The bytes of a source that has one segment, or none."""
    segments = assemble(text, **options).segments  # type: ignore[arg-type]
    return segments[0][1] if segments else b""


def message(text: str, **options: object) -> str:
    with pytest.raises(AssemblyError) as caught:
        assemble(text, "it.asm", **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("row", INSTRUCTIONS, ids=lambda row: f"{row.opcode:02X}")
@pytest.mark.parametrize("operand", [(0x12, 0x34), (0x80, 0x00), (0xFF, 0xFF), (0x00, 0x00)])
def test_assembling_a_disassembly_gives_the_bytes(row: object, operand: tuple[int, int]) -> None:
    memory = {0x1000: row.opcode, 0x1001: operand[0], 0x1002: operand[1]}  # type: ignore[attr-defined]
    text, length = disassemble(memory.__getitem__, 0x1000)
    assert code(f"* = $1000\n {text}") == bytes(memory[0x1000 + k] for k in range(length))


@pytest.mark.parametrize("name, mode", sorted(OPCODES))
def test_every_mnemonic_and_mode_has_its_opcode(name: str, mode: str) -> None:
    size, form = MODES[mode]
    operand = form.format({0: "", 1: "$1022" if mode == "rel" else "$22", 2: "$2244"}[size])
    row = assemble(f"* = $1000\n {name.lower()} {operand}").lines[1].row
    assert (row.opcode, row.mode) == (OPCODES[name, mode], mode)


@pytest.mark.parametrize("alias, name", sorted(ALIASES.items()))
def test_an_alias_is_its_instruction(alias: str, name: str) -> None:
    mode = next(mode for known, mode in OPCODES if known == name)
    operand = MODES[mode][1].format("$1000")
    operand = operand if mode in ("abs", "abx", "aby", "rel") else MODES[mode][1].format("$10")
    assert code(f"* = $1000\n {alias} {operand}") == code(f"* = $1000\n {name} {operand}")


def test_a_word_that_no_other_assembler_reserves_may_be_a_label() -> None:
    assert code("top: jmp top\nsay lda top\n beq say")[0] == 0x4C


@pytest.mark.parametrize("expression, value", [
    ("2+3*4", 14), ("(2+3)*4", 20), ("7/2", 3), ("7-2-1", 4), ("1+2<<3", 24), ("6&3|8", 10),
    ("5^1", 4), ("-1&$ff", 255), ("~0&15", 15), ("!0", 1), ("3<4", 1), ("3>=4", 0), ("3=3", 1),
    ("3<>3", 0), ("1&&0||1", 1), ("%1010", 10), ("$fF", 255), ("'a'", 97), ("'a", 97),
    ("<$1234", 0x34), (">$1234", 0x12), ("<$12ff+1", 0), (">$12ff+1", 0x13), ("*", 0x20),
    ("here", 0x20), ("later-here", 1), ("17%5", 2), ("1<<4>>1", 8), ('"a"', 97),
])
def test_an_expression_has_its_value(expression: str, value: int) -> None:
    assert code(f"* = $20\nhere .byte {expression}\nlater") == bytes([value])


@pytest.mark.parametrize("text, data", [
    (".byte 1,2,-1,\"ab\",'c'", b"\1\2\xffabc"), (".text \"hi\",0", b"hi\0"),
    (".word $1234,-2", b"\x34\x12\xfe\xff"), (".addr $1234", b"\x34\x12"),
    (".fill 3,$ea", b"\xea\xea\xea"), (".res 2,1", b"\1\1"), (".asciiz \"a\"", b"a\0"),
    (".dbyt $1234", b"\x12\x34"), (".byte 9\n.align 4,$aa", b"\x09\xaa\xaa\xaa"),
    (".lobytes $1234,$5678", b"\x34\x78"), (".hibytes $1234,$5678", b"\x12\x56"),
])
def test_a_directive_lays_its_data(text: str, data: bytes) -> None:
    assert code(text) == data


def test_reserved_memory_has_an_address_and_no_bytes() -> None:
    program = assemble("* = $c000\na nop\nbuffer .res 256\nend nop")
    assert program.segments == ((0xC000, b"\xea"), (0xC101, b"\xea"))
    assert program.symbols == {"a": 0xC000, "buffer": 0xC001, "end": 0xC101}


def test_origins_may_stand_in_any_order() -> None:
    program = assemble("* = $20\n nop\n.org $10\n rts\n")
    assert program.segments == ((0x10, b"\x60"), (0x20, b"\xea"))


def test_touching_segments_are_one() -> None:
    assert assemble("* = 1\n nop\n* = 0\n rts\n").segments == ((0, b"\x60\xea"),)


def test_zero_page_is_chosen_for_a_value_defined_later() -> None:
    assert code(" lda late\n lda far\nlate = $20\nfar = $120") == b"\xa5\x20\xad\x20\x01"


def test_sizes_settle_where_one_depends_on_another() -> None:
    program = assemble("* = $fc\n lda near\nnear nop\n lda next\nnext nop")
    assert program.segments == ((0xFC, b"\xa5\xfe\xea\xad\x02\x01\xea"),)


@pytest.mark.parametrize("text, data", [
    ("lda @w $12", b"\xad\x12\x00"), ("lda a:$12,x", b"\xbd\x12\x00"), ("lda @b $12", b"\xa5\x12"),
    ("ldx z:$12,y", b"\xb6\x12"), ("lda ($12),y", b"\xb1\x12"), ("lda ($12,x)", b"\xa1\x12"),
    ("jmp ($12)", b"\x6c\x12\x00"), ("lda (3+4)*2", b"\xa5\x0e"), ("asl", b"\x0a"),
    ("asl a", b"\x0a"), ("asl A", b"\x0a"), ("LDA #'x'", b"\xa9x"), ("lda $12 , x", b"\xb5\x12"),
    ("lda #-128", b"\xa9\x80"), ("bne *+2", b"\xd0\x00"), ("bne *", b"\xd0\xfe"),
])
def test_an_operand_picks_its_mode(text: str, data: bytes) -> None:
    assert code(f" {text}") == data


def test_labels_need_no_colon_and_may_have_one() -> None:
    text = "one nop\ntwo: nop\nthree\n jmp one\n jmp two\n jmp three"
    assert code("* = $1000\n" + text).endswith(b"\x4c\x00\x10\x4c\x01\x10\x4c\x02\x10")


@pytest.mark.parametrize("name", ["@l", "_l"])
def test_a_local_label_belongs_to_the_label_before_it(name: str) -> None:
    text = f"a nop\n{name} jmp {name}\nb nop\n{name}: jmp {name}"
    assert code(text) == b"\xea\x4c\x01\x00\xea\x4c\x05\x00"


@pytest.mark.parametrize("text", [
    ": dex\n bne :-\n beq :+\n nop\n: rts", "- dex\n bne -\n beq +\n nop\n+ rts"])
def test_unnamed_labels_are_counted_from_the_line(text: str) -> None:
    assert code(text) == b"\xca\xd0\xfd\xf0\x01\xea\x60"


def test_a_variable_changes_and_a_constant_does_not() -> None:
    assert code("v := 1\n .byte v\nv := 2\n .byte v") == b"\1\2"
    assert "c is already defined at it.asm:1" in message("c = 1\nc = 2")


@pytest.mark.parametrize("head, call", [
    (".macro add a1, a2", "add"), ("add .macro a1, a2", "#add"), ("add .macro a1, a2", ".add"),
    (".mac add a1, a2", "here add")])
def test_a_macro_takes_arguments(head: str, call: str) -> None:
    text = f"{head}\n lda \\a1\n adc a2\n sta \\1\n .endmacro\n {call} $10, #5 ; twice\n"
    assert code(text) == b"\xa5\x10\x69\x05\x85\x10"


def test_a_macro_has_defaults_braces_and_fresh_labels() -> None:
    text = (".macro m first, second=7\n .local l\nl .byte first, second\n jmp l\n.endmacro\n"
            " m {1,2}\n m 3,4")
    assert code(text) == b"\1\2\7\x4c\x00\x00\3\4\x4c\x06\x00"


def test_a_macros_local_labels_are_its_own() -> None:
    text = ".macro w\n@l dex\n bne @l\n.endmacro\na nop\n@l nop\n w\n w\n beq @l"
    assert code(text) == b"\xea\xea\xca\xd0\xfd\xca\xd0\xfd\xf0\xf7"


def test_a_repeat_counts() -> None:
    assert code(" .repeat 3, i\n .byte i\n .rept 2\n nop\n .endrept\n .endrepeat") == (
        b"\0\xea\xea\1\xea\xea\2\xea\xea")


@pytest.mark.parametrize("value, data", [(0, b"\0"), (1, b"\1"), (2, b"\2"), (3, b"\3")])
def test_a_conditional_keeps_one_part(value: int, data: bytes) -> None:
    text = (" .if V=0\n .byte 0\n .elseif V=1\n .byte 1\n .if 1\n .else\n .byte 9\n .endif\n"
            " .elsif V=2\n .byte 2\n .else\n .byte 3\n .endif")
    assert code(text, symbols={"V": value}) == data


def test_a_condition_may_look_ahead() -> None:
    assert code(" .if late > 3\n .byte 1\n .else\n .byte 2\n .endif\nlate = 5") == b"\1"


def test_ifdef_asks_for_what_is_known_so_far() -> None:
    text = (" .ifdef x\n .byte 1\n .endif\nx = 1\n .ifdef x\n .byte 2\n .endif\n"
            " .ifndef x\n nop\n .fi")
    assert code(text) == b"\2"


def test_a_macro_asks_whether_an_argument_is_blank() -> None:
    body = ".ifblank a\n nop\n.endif\n.ifnblank a\n .byte a\n.endif\n"
    assert code(f".macro m a\n{body}.endmacro\n m\n m 5") == b"\xea\5"


def test_set_changes_a_variable() -> None:
    assert code("v .set 1\n .byte v\nv .set v+1\n .byte v\nw .var 9\n .byte w") == b"\1\2\x09"


def test_an_include_reads_the_file_that_it_names() -> None:
    files = {"one.asm": " .byte 1\n .include \"two.asm\"\n", "two.asm": " .byte 2"}
    assert code(" .include \"one.asm\"\n .byte 3", include=files.__getitem__) == b"\1\2\3"


def test_an_include_looks_in_the_folders_given(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "it.inc").write_text(" rts")
    assert code(' .include "it.inc"', include=[tmp_path]) == b"\x60"
    assert f"it.asm:1:2: no.inc is not in {tmp_path}" in message(
        ' .include "no.inc"', include=[tmp_path])


def test_a_line_knows_its_place_its_row_and_its_operand() -> None:
    line = assemble("* = $1000\nloop lda $2000,x ;@ aligned", "it.asm").lines[1]
    assert (line.file, line.line, line.address, line.bytes) == ("it.asm", 2, 0x1000, b"\xbd\0\x20")
    assert (line.row.mnemonic, line.row.mode, line.operand) == ("LDA", "abx", 0x2000)
    assert (line.text, line.label) == ("loop lda $2000,x ;@ aligned", "loop")


@pytest.mark.parametrize("text, told", [
    (" lda #256", "it.asm:1:2: the value 256 is 1 above 255\n   lda #256\n   ^"),
    (" lda #-129", "-129 is 1 below -128"),
    (" bne $100", "bne goes 254 bytes, 127 too far: -128 to 127 are possible"),
    ("* = $1000\n bne $f00", "bne goes -258 bytes, 130 too far"),
    (" lda ($100),y", "the zero-page address 256 is 1 above 255"),
    (" lda 65536", "the address 65536 is 1 above 65535"),
    (" lda nope", "it.asm:1:6: nope is not defined"),
    ("vector = 1\n lda vectr", "vectr is not defined; did you mean vector?"),
    (" lad 5", "it.asm:1:2: lad is not an instruction, a directive or a macro"),
    (" .bite 5", ".bite is not a directive; did you mean .byte?"),
    (" sta #5", "sta takes "), (" jmp ($10),y", "jmp takes "), (" rts 5", "rts takes nothing"),
    (" lda (5", "expected ')'"), (" lda 5)", "found ')'"),
    ("x nop\nx nop", "it.asm:2:1: x is already defined at it.asm:1"),
    (" .if 1\n nop", "it.asm:1:1: nothing ends this conditional block"),
    (" .rept 2\n nop", "no .endrep"), (" .macro m\n", "no .endm"), (" .endif", "without an open"),
    (" .byte 256", "256 is 1 above 255"), (" .byte \"\u00e9\"", "is not an ASCII character"),
    (" .fill 70000", "70000 bytes: 0 to 65536 fit"), (" .byte 1/0", "1 / 0 has no value"),
    (" .error \"too old\"", "it.asm:1:2: too old"),
    ("* = $ffff\n .word 1", "1 bytes past the end"),
    ("a nop\n* = 0\nb nop", "it.asm:3:1: 1 of these bytes overlap those of it.asm:1"),
    (" .byte $fffffffffffffffff", "too large a number"), (" lda \0", "makes no sense here"),
    ("a = b\nb = a", "is not defined"),
    (" .macro m a\n .endm\n m 1,2", "m takes 1 arguments, found 2"),
    (".macro m\n bra 5\n.endm\n m", "it.asm:2:2: bra is not an instruction"),
])
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    assert told in message(text)


def test_a_mistake_in_a_macro_tells_who_called_it() -> None:
    assert message(".macro m\n lda #999\n.endm\n\n m").endswith("expanded from it.asm:5")


def test_the_caret_stands_under_the_column() -> None:
    first, line, caret = message("\tlda (5").split("\n")
    assert first.startswith("it.asm:1:15:")
    assert (line, caret.index("^")) == ("          lda (5", 16)


def test_an_address_that_depends_on_itself_is_an_error() -> None:
    assert "x still changes" in message(" .if x < 10\n .fill 20\n .else\n nop\n .endif\nx = *")


def test_twenty_thousand_lines_are_parsed_by_shape() -> None:
    """CPU time is measured, not asserted here; the number of shapes is what keeps it small."""
    from anachron.compiler.targets.mos6502.assembler import _grammar
    lines = [f"l{i} lda $2000+{i},x ;@ aligned\n adc z{i % 50},y" for i in range(10_000)]
    lines += [f"z{i} = {i + 300}" for i in range(50)]
    before, started = len(_grammar()._recipes), time.process_time()
    program = assemble("\n".join(lines))
    print(f"{len(program.lines)} lines: {time.process_time() - started:.2f} s")
    assert len(program.segments[0][1]) == 60_000
    assert len(_grammar()._recipes) - before <= 4
