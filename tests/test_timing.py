"""Predicted times against the emulators': lo <= measured <= hi; equal where data plays no part."""
import random

import pytest

from anachron.compiler.assembly.program import Program
from anachron.compiler.claims import Cycles, amount, claims_of, parse_claims
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.timing import TimingError, per_label, predict
from anachron.emulators import create

START = 0x1000
BACK = 0x0300  # where the outermost RTS returns to


def measured(program: Program, entry: str, data: dict[int, int] | None = None, x: int = 0,
             y: int = 0) -> int:
    """Cycles from an entry to its return, on the emulated CPU."""
    machine = create("6502")
    for address, code in program.segments:
        machine.memory[address:address + len(code)] = list(code)
    for address, value in (data or {}).items():
        machine.memory[address] = value
    machine.memory[0x01FC], machine.memory[0x01FD] = (BACK - 1) & 0xFF, BACK - 1 >> 8
    registers = machine.registers
    registers["s"], registers["x"], registers["y"] = 0xFB, x, y
    registers["pc"] = program.symbols[entry]
    before = machine.cycles
    machine.run(max_cycles=2_000_000, until=BACK)
    assert registers["pc"] == BACK
    return int(machine.cycles - before)


def at(text: str, start: int = START) -> Program:
    return assemble(f"* = ${start:04X}\n{text}")


STEADY = {
    "straight": "it lda #1\n sta $20\n inc $20\n asl $2000,x\n pha\n pla\n rts",
    "counted": "it ldx #40\nl sta $400,x\n dex\n bne l ;@ times 40\n rts",
    "nested": "it ldy #3\nm ldx #5\nl dex\n bne l ;@ times 5\n dey\n bne m ;@ times 3\n rts",
    "one start, two loops": "it ldx #0\n ldy #3\nl nop\n dex\n bne l ;@ times 256\n dey\n"
                            " bne l ;@ times 3\n rts",
    "test at the top": "it ldx #5\nl dex\n bmi e\n nop\n jmp l ;@ times 5\ne rts",
    "entered at the test": "it ldx #5\n jmp t\nl nop\nt dex\n bne l ;@ times 5\n rts",
    "exit counted": "it ldx #5\nl dex\n beq e ;@ times 5\n nop\n jmp l\ne rts",
    "calls": "it jsr a\n jsr a\n jmp a\na nop\n jsr b\n rts\nb rts",
    "falls into": "it nop\na nop\n rts\nz jmp a",
    "always and never": "it sec\n bcs a ;@ always\n nop\na bcc b ;@ never\n nop\nb rts",
    "page start": "it ldx #255\n lda $2000,x\n rts",
    "index bounded": "it ldx #15\n lda $20f0,x ;@ index 0..15\n lda $20f1,x ;@ index 15..15\n rts",
    "aligned pointer": "it ldy #255\n lda ($fb),y ;@ aligned\n rts",
    "indirect": "v = $fb\nit jmp (v) ;@ goes a\na rts",
    "goes back": "it lda #>(a-1)\n pha\n lda #<(a-1)\n pha\n rts ;@ goes a\na rts",
}
DATA = {0xFB: 0x00, 0xFC: 0x20}


def test_a_branch_goes_where_a_variable_says() -> None:
    program = at("it bne a ;@ when far\n rts\na nop\n rts")
    assert predict(program, "it", environment={"far": 0}) == (8, 8, 8)
    assert predict(program, "it", environment={"far": 1}) == (11, 11, 11)


@pytest.mark.parametrize("name", sorted(STEADY))
@pytest.mark.parametrize("start", [0x1000, 0x10F0, 0x10FA])
def test_the_time_is_exact_where_it_does_not_depend_on_data(name: str, start: int) -> None:
    program = at(STEADY[name], start)
    data = dict(DATA)
    if name == "indirect":
        data = {0xFB: program.symbols["a"] & 0xFF, 0xFC: program.symbols["a"] >> 8}
    time = measured(program, "it", data)
    assert predict(program, "it") == Cycles(time, time, time)


LOOSE = {
    "branch": "it lda $20\n beq s\n inc $21\ns rts",
    "either way": "it lda $20\n bmi a\n nop\n nop\n jmp b\na nop\nb rts",
    "early out": "it ldx #8\nl lda $1f,x\n bmi e ;@ p=0.3\n dex\n bne l ;@ times 8\n nop\ne rts",
    "two ways out": "it ldx #8\nl lda $1f,x\n bmi e\n cmp #3\n bcc f\n dex\n"
                    " bne l ;@ times 8\n nop\ne nop\nf rts",
    "own count": "it lda $20\n and #7\n tax\n inx\nl dex\n bne l ;@ times 1..8\n rts",
    "range with a way out": "it ldx #8\nl lda $1f,x\n bmi e\n dex\n bne l ;@ times 1..8 ~3\ne rts",
    "continue": "it ldx #8\nl dex\n beq e ;@ times 8\n lda $20,x\n bmi l\n inc $30\n jmp l\ne rts",
    "page crossing": "it ldx $20\n lda $20c0,x\n rts",
    "pointer": "it ldy $20\n lda ($22),y\n rts",
    "patched": "it lda $20\n sta p+1\n ldx $21\np lda $2000,x\n rts",
    "callee": "it jsr a\n jsr a\n rts\na lda $20\n bpl b\n nop\n nop\nb rts",
    "dispatch": "it lda $20\n bmi a\n jmp (v) ;@ goes a, b\na nop\nb rts\nv .word a",
}


@pytest.mark.parametrize("name", sorted(LOOSE))
def test_a_measurement_lies_between_the_bounds(name: str) -> None:
    program, random_ = at(LOOSE[name], 0x10F4), random.Random(name)
    time = predict(program, "it")
    assert time.lo < time.hi and time.lo <= time.expected <= time.hi
    seen = set()
    for _ in range(60):
        data = {0x20 + k: random_.choice((0, 255, random_.randrange(256))) for k in range(16)}
        cycles = measured(program, "it", data)
        assert time.lo <= cycles <= time.hi, data
        seen.add(cycles)
    assert len(seen) > 1


def test_the_bounds_are_reached() -> None:
    program = at(LOOSE["early out"])
    least = measured(program, "it", {0x27: 0x80})
    most = measured(program, "it", {})
    time = predict(program, "it")
    assert (time.lo, time.hi) == (least, most)


def test_the_expectation_is_the_mean_of_fair_data() -> None:
    """Eight bytes, each negative with p = 1/2: the mean over all 256 patterns is exact."""
    program = at(LOOSE["early out"].replace("p=0.3", "p=0.5"))
    machine_cycles = [measured(program, "it", {0x20 + k: pattern << 7 - k & 0x80 for k in range(8)})
                      for pattern in range(256)]
    assert predict(program, "it").expected == pytest.approx(sum(machine_cycles) / 256, abs=1e-9)


def test_a_loop_is_left_in_the_pass_that_is_claimed() -> None:
    """The third byte is negative, always: the time is that of its way, exactly."""
    program = at(LOOSE["early out"].replace("p=0.3", "p=1").replace("times 8", "times 8, left 3"))
    assert predict(program, "it").expected == measured(program, "it", {0x20 + 8 - 3: 0x80})


def structured(random_: random.Random, depth: int = 0) -> tuple[list[str], bool]:
    """Random code of loops, branches and plain instructions, and whether its path is one."""
    lines, steady = [], True
    for _ in range(random_.randrange(1, 5)):
        label = f"l{random_.randrange(1 << 60):x}"
        kind = random_.choice(["plain", "loop", "branch", "call"]) if depth < 3 else "plain"
        if kind == "loop":
            inside, inner_steady = structured(random_, depth + 1)
            times, counter = random_.randrange(1, 6), 0x40 + depth
            lines += [f" lda #{times}", f" sta {counter}", label, *inside, f" dec {counter}",
                      f" beq {label}o ;@ times {times}", f" jmp {label}", f"{label}o"]
            steady &= inner_steady
        elif kind == "branch":
            inside, _ = structured(random_, depth + 1)
            lines += [f" lda ${random_.randrange(0x20, 0x30):02x}", " bpl *+5", f" jmp {label}",
                      *inside, label]
            steady = False
        elif kind == "call":
            lines += [" jsr sub"]
        else:
            lines += random_.choice([[" inx"], [" lda $2000,x"], [" asl $30"], [" pha", " pla"],
                                     [" sta $2100,x"], [" nop"]])
    return lines, steady


@pytest.mark.parametrize("seed", range(40))
def test_random_structures_stay_inside_their_bounds(seed: int) -> None:
    random_ = random.Random(seed)
    lines, steady = structured(random_)
    text = "\n".join(["it", *lines, " rts", "sub lda #1", " rts"])
    program = at(text, random_.randrange(0x1000, 0x1100))
    time = predict(program, "it")
    for _ in range(4):
        data = {0x20 + k: random_.randrange(256) for k in range(16)}
        assert time.lo <= measured(program, "it", data) <= time.hi
    assert not steady or time.exact


def test_variables_of_a_claim_are_given_with_the_query() -> None:
    program = at("it ldx n\n inx\nl dex\n bne l ;@ times position+1\n rts\nn = $20")
    for position in (0, 3, 9):
        time = measured(program, "it", {0x20: position})
        assert predict(program, "it", environment={"position": position}) == (time, time, time)
    spread = predict(program, "it", environment={"position": (0, 3, 9)})
    assert spread == (measured(program, "it", {0x20: 0}), measured(program, "it", {0x20: 3}),
                      measured(program, "it", {0x20: 9}))


def test_a_stretch_ends_at_its_stop() -> None:
    program = at("it lda #1\nhalf lda #2\n bne stop ;@ always\n nop\nstop rts")
    assert predict(program, "it", "half") == (2, 2, 2)
    assert predict(program, "it", "stop") == (7, 7, 7)


def test_time_may_be_added_or_replaced() -> None:
    program = at("it sta $df01 ;@ plus 32*2\n jsr $ffd2 ;@ plus 100..200 ~120\n"
                 " nop ;@ takes 9\n rts")
    assert predict(program, "it") == (4 + 64 + 6 + 100 + 9 + 6, 4 + 64 + 6 + 120 + 9 + 6,
                                      4 + 64 + 6 + 200 + 9 + 6)


def test_per_label_tells_every_routine() -> None:
    program = at("main jsr sub\n rts\nsub nop\ninside nop\n rts\nlost jmp ($1234)\nend brk")
    assert per_label(program) == {"main": (22, 22, 22), "sub": (10, 10, 10), "end": (7, 7, 7)}


@pytest.mark.parametrize("text, told", [
    ("it ldx #5\nl dex\n bne l\n rts", "source.asm:3 (l) has no `;@ times`"),
    ("it jmp it", "has no `;@ times`"),
    ("it jmp ($fffc)", "source.asm:2: where this JMP goes is not in the text"),
    ("it jsr $ffd2\n rts", "source.asm:2: the routine called is not in the program"),
    ("it lda #1", "the path leads to 0x1002, where no instruction is"),
    ("it jsr it\n rts", "calls itself"),
    ("it bne it ;@ times n\n rts", "n in `n` is neither in the environment nor a symbol"),
    ("it bne it ;@ times 5..3\n rts", "5 is more than 3"),
    ("it bne it ;@ tims 5\n rts", "source.asm:2: 'tims 5' is not a claim"),
    ("it bne a ;@ p=2\na rts", "the probability 2 is not in 0 to 1"),
    ("it inc it\n rts", "the program changes this opcode"),
    ("it lda $20\n beq b\na nop\nb nop\n dex\n beq a ;@ times 5\n rts", "also entered elsewhere"),
    ("it bne it ;@ times __import__('os')\n rts", "is not a number, a name"),
    ("it bne it ;@ times 1/0\n rts", "divides by zero"),
])
def test_what_cannot_be_told_is_an_error_with_its_place(text: str, told: str) -> None:
    with pytest.raises(TimingError) as caught:
        predict(at(text), "it")
    assert told in str(caught.value)


def test_an_unknown_label_is_an_error() -> None:
    with pytest.raises(TimingError, match="has no label nowhere"):
        predict(at("it rts"), "nowhere")


@pytest.mark.parametrize("text, value", [
    ("5", (5, 5, 5)), ("2..9", (2, 5.5, 9)), ("2..9 ~3", (2, 3, 9)), ("n*2+1", (3, 5, 9)),
    ("1..n ~2", (1, 2, 4)), ("max(n, 3)", (3, 3, 4)), ("16.", (16, 16, 16)), ("k//2", (5, 5, 5)),
    ("usual(n, 9)", (1, 2, 4)), ("8*usual(m,(2-1)/4)", (2, 2, 2)),
])
def test_an_amount_is_three_numbers(text: str, value: tuple[float, float, float]) -> None:
    assert amount(text, {"n": (1, 2, 4)}, {"K": 10}) == value


def test_commas_in_parentheses_and_remarks_divide_no_claims() -> None:
    claims = claims_of("x ;@ plus 0..1 ~usual(n,(2-1)/4), aligned ; the low byte, (or so")
    assert (claims.plus, claims.aligned) == ("0..1 ~usual(n,(2-1)/4)", True)


def test_twenty_thousand_instructions_are_one_block() -> None:
    program = at("it\n" + " lda #3\n adc $2000,x\n" * 10_000 + " rts")
    assert predict(program, "it") == (60_006, 60_006, 60_006)


def test_a_listing_tells_the_cycles_of_lines_and_labels() -> None:
    text = "it ldx #8 ; eight\nl lda $20f0,x\n dex\n bne l ;@ times 8\n rts\nd .byte 1,2"
    listing = at(text).listing()
    assert "1000  A2 08                        2  it ldx #8 ; eight\n" in listing
    assert "1002  BD F0 20                   4-5  l lda $20f0,x\n" in listing
    assert "1006  D0 FA                      2/3   bne l ;@ times 8\n" in listing
    assert "1009  01 02                           d .byte 1,2\n" in listing
    assert "it                          1000       2             2  79 to 87" in listing
    assert "l                           1002       7         14-16\n" in listing


def test_a_map_tells_objects_zero_page_and_free_memory() -> None:
    text = at("p = $fb\nit lda (p),y\n rts\nbuffer .res 16\n* = $2000\ntable .byte 1,2,3").map()
    assert text.split("\n\n") == [
        "source.asm: 6 bytes loaded, 22 in use",
        "by address\n1000-1002       3  it\n1003-1012      16  buffer\n2000-2002       3  table",
        "by size\n1003-1012      16  buffer\n1000-1002       3  it\n2000-2002       3  table",
        "zero page\nFB  p",
        "free\n0000-0FFF    4096\n1013-1FFF    4077\n2003-FFFF   57341\n"]


def test_commas_in_nested_brackets_are_an_expression_s() -> None:
    claims = parse_claims("p=max(0, min(1, (seen+1)/4)), aligned")
    assert claims.probability == "max(0, min(1, (seen+1)/4))" and claims.aligned
