"""Random programs in LLVM's language, for a GPU and for the processor here.

A program takes four words of each thread and gives four.  No value is ever undefined: counts of
shifts are masked or guarded, divisors odd, quotients inside their width, and `poison` is only made
where nothing chooses it.

To add what LLVM may choose an instruction for: a function of a Program and a line in KINDS.
Source: LLVM Language Reference Manual, "Instruction Reference" and "Standard Integer Intrinsics".
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np

WORDS = 4  # of a thread, in and out
SLOT = 32  # bytes of shared memory a thread
INTEGERS = ("i32", "i64", "i16")
BITS = {"i16": 16, "i32": 32, "i64": 64}
PAIR = "<2 x i16>"
NEWEST = 6  # how many of the last values a new one is made of
EDGES = (0, 1, -1, 2, 7, 31, 32, 33, 255, -128, 32767, -32768, 65535, 2**31 - 1, -(2**31))
COMPARISONS = "eq ne slt sle sgt sge ult ule ugt uge".split()
ROUNDS = 8  # of a loop, at most
DECLARED = [
    *(
        f"declare {kind} @llvm.{name}.{kind.strip('<>').replace('2 x ', 'v2')}({kind}, {kind})"
        for name in ("smin", "smax", "umin", "umax")
        for kind in (*INTEGERS, PAIR)
    ),
    *(f"declare {t} @llvm.{n}.{t}({t}, i1)" for n in ("ctlz", "abs") for t in ("i32", "i64")),
    *(
        f"declare {t} @llvm.{n}.{t}({t})"
        for n in ("ctpop", "bswap", "bitreverse")
        for t in ("i32", "i64")
    ),
    *(f"declare i32 @llvm.{n}.i32(i32, i32, i32)" for n in ("fshl", "fshr")),
    "declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()",
]


class Program:
    """A text being written: `values` has the names of each type, the newest last."""

    def __init__(self, seed: int, steps: int) -> None:
        self.random = Random(seed)
        self.lines: list[str] = []
        self.block, self.count = "entry", 0
        self.values = {"i32": [f"%x{i}" for i in range(WORDS)], "i64": [], "i16": [], "i1": []}
        self.values[PAIR] = []
        for _ in range(steps):
            self.random.choice(KINDS)(self)
        self.results = self.gather()

    def name(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def hide(self, text: str) -> str:
        """A value that nothing else is made of."""
        name = self.name()
        self.lines.append(f"{name} = {text}")
        return name

    def new(self, kind: str, text: str) -> str:
        self.values[kind].append(self.hide(text))
        return self.values[kind][-1]

    def pick(self, kind: str) -> str:
        """A value of a type, made from others if there is none."""
        if not self.values[kind]:
            match kind:
                case "i64":
                    self.new(kind, f"sext i32 {self.pick('i32')} to i64")
                case "i16":
                    self.new(kind, f"trunc i32 {self.pick('i32')} to i16")
                case "i1":
                    compare(self)
                case _:
                    self.new(kind, f"bitcast i32 {self.pick('i32')} to {PAIR}")
        return self.random.choice(self.values[kind][-NEWEST:])

    def any(self, kind: str) -> str:
        """A value or a number."""
        if kind not in BITS or self.random.random() < 0.75:
            return self.pick(kind)
        half = 1 << BITS[kind] - 1
        number = self.random.choice([*EDGES, self.random.randrange(-half, half)])
        return str((number + half) % (2 * half) - half)

    def choose(self, names: str) -> str:
        return self.random.choice(names.split())

    def gather(self) -> list[str]:
        """Four words that everything made last has a part in."""
        results = self.values["i32"][-WORDS:]
        for kind in ("i64", "i16", "i1"):
            for value in self.values[kind][-3:]:
                wide = value if kind == "i64" else self.hide(f"zext {kind} {value} to i64")
                for shift in (0, 32) if kind == "i64" else (0,):
                    part = self.hide(f"lshr i64 {wide}, {shift}")
                    word = self.hide(f"trunc i64 {part} to i32")
                    results[shift == 32] = self.hide(f"xor i32 {results[shift == 32]}, {word}")
                turned = self.hide(f"mul i32 {results[0]}, 5")
                results[0] = self.hide(f"add i32 {turned}, 1")
        return results

    def write(self, gpu: bool) -> str:
        """The module as text."""
        place = " addrspace(1)" if gpu else ""
        near = " addrspace(3)" if gpu else ""
        if gpu:
            head = (
                f"@slots = internal addrspace(3) global [1024 x [{SLOT} x i8]] undef, align 16\n"
                f"define ptx_kernel void @k(ptr{place} %x, ptr{place} %y) {{\nentry:\n"
                "%t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()\n"
                f"%slot = getelementptr [{SLOT} x i8], ptr addrspace(3) @slots, i32 %t\n"
            )
        else:
            head = (
                "define void @k(ptr %x, ptr %y, i32 %t) {\nentry:\n"
                f"%slot = alloca [{SLOT} x i8], align 16\n"
            )
        whole = f"<{WORDS} x i32>"
        parts = [
            "\n".join(DECLARED[: None if gpu else -1]),
            head,
            f"%p = getelementptr {whole}, ptr{place} %x, i32 %t",
            f"%q = getelementptr {whole}, ptr{place} %y, i32 %t",
            f"%whole = load {whole}, ptr{place} %p, align 16",
            f"store {whole} %whole, ptr{near} %slot, align 16",
            f"%other = getelementptr i8, ptr{near} %slot, i32 16",
            f"store {whole} %whole, ptr{near} %other, align 16",
            *(f"%x{i} = extractelement {whole} %whole, i32 {i}" for i in range(WORDS)),
            *(line.replace("NEAR", near) for line in self.lines),
        ]
        made = "poison"
        for i, result in enumerate(self.results):
            parts.append(f"%made{i} = insertelement {whole} {made}, i32 {result}, i32 {i}")
            made = f"%made{i}"
        parts += [f"store {whole} {made}, ptr{place} %q, align 16", "ret void\n}"]
        return "\n".join(parts)


# ---- what a step may add


def binary(program: Program) -> None:
    kind, name = program.choose("i32 i32 i64 i16"), program.choose("add sub mul and or xor")
    program.new(kind, f"{name} {kind} {program.any(kind)}, {program.any(kind)}")


def extreme(program: Program) -> None:
    kind, name = program.random.choice(INTEGERS), program.choose("smin smax umin umax")
    a, b = program.any(kind), program.any(kind)
    program.new(kind, f"call {kind} @llvm.{name}.{kind}({kind} {a}, {kind} {b})")


def halves(program: Program) -> None:
    a, b = program.any(PAIR), program.any(PAIR)
    name = program.choose("add sub smin smax umin umax")
    call = f"call {PAIR} @llvm.{name}.v2i16({PAIR} {a}, {PAIR} {b})"
    made = program.new(PAIR, call if "m" in name else f"{name} {PAIR} {a}, {b}")
    program.new("i32", f"bitcast {PAIR} {made} to i32")


def shift(program: Program) -> None:
    """By a number, by a count that wraps, or by any count: all bits gone, or all the sign."""
    kind, name = program.choose("i32 i64"), program.choose("shl lshr ashr")
    width, x = BITS[kind], program.any(kind)
    match program.choose("number wrap any"):
        case "number":
            program.new(kind, f"{name} {kind} {x}, {program.random.randrange(width)}")
        case "wrap":
            masked = program.hide(f"and {kind} {program.any(kind)}, {width - 1}")
            program.new(kind, f"{name} {kind} {x}, {masked}")
        case _:
            # Of 64 bits only what 32 bits hold: LLVM 22 forgets a count's upper half here.
            count = program.any("i32")
            if kind == "i64":
                count = program.hide(f"zext i32 {count} to i64")
            gone = f"ashr {kind} {x}, {width - 1}" if name == "ashr" else f"and {kind} {x}, 0"
            gone = program.hide(gone)
            inside = program.hide(f"icmp ult {kind} {count}, {width}")
            moved = program.hide(f"{name} {kind} {x}, {count}")
            program.new(kind, f"select i1 {inside}, {kind} {moved}, {kind} {gone}")


def funnel(program: Program) -> None:
    a, b, count = (program.any("i32") for _ in "abc")
    name = program.choose("fshl fshr")
    program.new("i32", f"call i32 @llvm.{name}.i32(i32 {a}, i32 {b}, i32 {count})")


def high_half(program: Program) -> None:
    """The upper half of a product."""
    kind, extend = program.choose("i32 i64"), program.choose("sext zext")
    double = "i64" if kind == "i32" else "i128"
    a, b = (program.hide(f"{extend} {kind} {program.pick(kind)} to {double}") for _ in "ab")
    product = program.hide(f"mul {double} {a}, {b}")
    high = program.hide(f"lshr {double} {product}, {BITS[kind]}")
    program.new(kind, f"trunc {double} {high} to {kind}")


def wide_sum(program: Program) -> None:
    extend = program.choose("sext zext")
    a, b = (program.hide(f"{extend} i32 {program.any('i32')} to i64") for _ in "ab")
    product = program.hide(f"mul i64 {a}, {b}")
    program.new("i64", f"add i64 {product}, {program.any('i64')}")


def product_sum(program: Program) -> None:
    product = program.hide(f"mul i32 {program.any('i32')}, {program.any('i32')}")
    program.new("i32", f"add i32 {product}, {program.any('i32')}")


def width(program: Program) -> None:
    have, want = program.choose("i16:i32 i32:i64 i64:i32 i32:i16 i64:i16 i8:i32").split(":")
    value = program.any("i32" if have == "i8" else have)
    if have == "i8":
        value = program.hide(f"trunc i32 {value} to i8")
    grows = int(have[1:]) < int(want[1:])
    name = program.choose("sext zext") if grows else "trunc"
    program.new(want, f"{name} {have} {value} to {want}")


def field(program: Program) -> None:
    """Bits out of the middle, with or without a sign."""
    kind = program.choose("i32 i64")
    bits, x = BITS[kind], program.any(kind)
    length = program.random.randrange(1, bits)
    at = program.random.randrange(bits - length)
    if program.random.random() < 0.5:
        moved = program.hide(f"lshr {kind} {x}, {at}")
        program.new(kind, f"and {kind} {moved}, {(1 << length) - 1}")
    else:
        moved = program.hide(f"shl {kind} {x}, {bits - length - at}")
        program.new(kind, f"ashr {kind} {moved}, {bits - length}")


def insertion(program: Program) -> None:
    """Low bits of one word into the middle of another."""
    length = program.random.randrange(1, 31)
    at = program.random.randrange(32 - length)
    low = program.hide(f"and i32 {program.any('i32')}, {(1 << length) - 1}")
    low = program.hide(f"shl i32 {low}, {at}")
    rest = program.hide(f"and i32 {program.any('i32')}, {~((1 << length) - 1 << at)}")
    program.new("i32", f"or i32 {low}, {rest}")


def one_operand(program: Program) -> None:
    kind, name = program.choose("i32 i64"), program.choose("ctpop ctlz bswap abs bitreverse")
    more = ", i1 0" if name in ("ctlz", "abs") else ""
    program.new(kind, f"call {kind} @llvm.{name}.{kind}({kind} {program.any(kind)}{more})")


def compare(program: Program) -> None:
    kind, name = program.random.choice(INTEGERS), program.random.choice(COMPARISONS)
    program.new("i1", f"icmp {name} {kind} {program.any(kind)}, {program.any(kind)}")


def combine(program: Program) -> None:
    name = program.choose("and or xor")
    program.new("i1", f"{name} i1 {program.any('i1')}, {program.any('i1')}")


def select(program: Program) -> None:
    kind = program.random.choice(INTEGERS)
    asked, a, b = program.any("i1"), program.any(kind), program.any(kind)
    program.new(kind, f"select i1 {asked}, {kind} {a}, {kind} {b}")


def divide(program: Program) -> None:
    """A divisor is odd, and where it has a sign it is not -1: no quotient leaves its width."""
    kind, name = program.choose("i32 i64"), program.choose("udiv urem sdiv srem")
    divisor = program.hide(f"or {kind} {program.any(kind)}, 1")
    if name[0] == "s":
        least = program.hide(f"icmp eq {kind} {divisor}, -1")
        divisor = program.hide(f"select i1 {least}, {kind} 3, {kind} {divisor}")
    program.new(kind, f"{name} {kind} {program.any(kind)}, {divisor}")


def shuffle(program: Program) -> None:
    """Any four of the bytes of two words."""
    a, b = (program.hide(f"bitcast i32 {program.pick('i32')} to <4 x i8>") for _ in "ab")
    order = ", ".join(f"i32 {program.random.randrange(8)}" for _ in range(4))
    made = program.hide(f"shufflevector <4 x i8> {a}, <4 x i8> {b}, <4 x i32> <{order}>")
    program.new("i32", f"bitcast <4 x i8> {made} to i32")


def logic(program: Program) -> None:
    """Two operations on three words, which one instruction may do."""
    names = (program.choose("and or xor") for _ in "ab")
    first = program.hide(f"{next(names)} i32 {program.pick('i32')}, {program.pick('i32')}")
    if program.random.random() < 0.5:
        first = program.hide(f"xor i32 {first}, -1")
    program.new("i32", f"{next(names)} i32 {first}, {program.pick('i32')}")


def memory(program: Program) -> None:
    """A store and a load, of any widths, in the thread's own bytes."""
    kind = program.choose("i8 i16 i32 i64")
    value = program.any("i32" if kind == "i8" else kind)
    if kind == "i8":
        value = program.hide(f"trunc i32 {value} to i8")
    volatile = program.random.choice(["", "volatile "])
    size = int(kind[1:]) // 8
    at = size * program.random.randrange(SLOT // size)
    to = program.hide(f"getelementptr i8, ptrNEAR %slot, i32 {at}")
    program.lines.append(f"store {volatile}{kind} {value}, ptrNEAR {to}, align {size}")
    kind = program.choose("i8 i16 i32 i64")
    size = int(kind[1:]) // 8
    at = size * program.random.randrange(SLOT // size)
    source = program.hide(f"getelementptr i8, ptrNEAR %slot, i32 {at}")
    text = f"load {volatile}{kind}, ptrNEAR {source}, align {size}"
    if kind == "i8":
        program.new("i32", f"{program.choose('sext zext')} i8 {program.hide(text)} to i32")
    else:
        program.new(kind, text)


def loop(program: Program) -> None:
    """As many rounds as a thread's own number says."""
    rounds = program.hide(f"and i32 {program.pick('i32')}, {ROUNDS - 1}")
    start, step, name = program.pick("i32"), program.any("i32"), program.choose("add xor sub mul")
    before, i = program.block, program.count
    program.lines += [
        f"br label %head{i}",
        f"head{i}:",
        f"%round{i} = phi i32 [ 0, %{before} ], [ %next{i}, %body{i} ]",
        f"%sum{i} = phi i32 [ {start}, %{before} ], [ %more{i}, %body{i} ]",
        f"%go{i} = icmp ult i32 %round{i}, {rounds}",
        f"br i1 %go{i}, label %body{i}, label %after{i}",
        f"body{i}:",
        f"%made{i}a = {name} i32 %sum{i}, {step}",
        f"%more{i} = add i32 %made{i}a, %round{i}",
        f"%next{i} = add i32 %round{i}, 1",
        f"br label %head{i}",
        f"after{i}:",
    ]
    program.block = f"after{i}"
    program.values["i32"].append(f"%sum{i}")


def branch(program: Program) -> None:
    """Two ways that meet again."""
    asked, x, y = program.pick("i1"), program.pick("i32"), program.any("i32")
    program.count += 1
    i = program.count
    program.lines += [
        f"br i1 {asked}, label %yes{i}, label %no{i}",
        f"yes{i}:",
        f"%one{i} = mul i32 {x}, {y}",
        f"br label %met{i}",
        f"no{i}:",
        f"%two{i} = sub i32 {y}, {x}",
        f"br label %met{i}",
        f"met{i}:",
        f"%meet{i} = phi i32 [ %one{i}, %yes{i} ], [ %two{i}, %no{i} ]",
    ]
    program.block = f"met{i}"
    program.values["i32"].append(f"%meet{i}")


KINDS: tuple[Callable[[Program], None], ...] = (
    *(binary, binary, extreme, halves, shift, shift, funnel, high_half, wide_sum, product_sum),
    *(width, field, insertion, one_operand, compare, combine, select, divide, shuffle, logic),
    *(memory, memory, loop, branch),
)


def draw_words(seed: int, threads: int) -> np.ndarray:
    """(threads, WORDS) int32: extremes first, then any."""
    random = np.random.default_rng(seed)
    x = random.integers(-(2**31), 2**31, (threads, WORDS)).astype(np.int32)
    x[: threads // 2] = random.choice(np.array(EDGES, np.int32), (threads // 2, WORDS))
    return x
