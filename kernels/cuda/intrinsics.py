"""What the kernels are written in: exact 32-bit operations, each described once.

Numba widens every sum and product to 64 bits; these do not.  A row of INTRINSICS says what an
operation takes and gives, how it is emitted, as LLVM's IR or as an instruction of PTX, and what it
means in Python's integers.  wrapping.py makes Numba's functions of the rows; the tests run each
row's PTX in the interpreter (emulators/ptx) and compare it with the row's meaning.

    add32 sub32 mul32 shl32 sar32 shr32     sar32 keeps the sign, shr32 does not
    and32 or32 xor32 popc32 lowest32        bits; how many are set; the number of the lowest
    mulhi32                                 the upper half of a product without sign
    select select_lt eq32                   one of two, by a truth, or if x < y; 1 where x = y
    min32 max32 clamp32 umin32              signed, but for umin32
    clamp64                                 takes 64 bits, gives 32
    udiv32 urem32 udiv64 udiv_all           without sign; udiv_all: 0xffffffff / x
    floordiv32 floordiv64                   flooring, by what is above 0
    isqrt32 isqrt64                         floored roots, bit by bit
    root_below quotient_below ratio_below   floored roots and quotients, or one less: see lanes.py
                                            and heads.py
    low16 high16 pack16 add16 positive16    halves of a word; two numbers saturated, the high one
                                            first; sums, and max(0, x), of both halves
    dp2a_lo dp2a_hi dp4a                    two words by two bytes, four bytes by four, and a sum;
    dp2a_lo_u dp2a_hi_u dp4a_u              the second operand's bytes without sign
    prmt                                    any four bytes of two words
    fmul ffma                               of words that are the bits of floats, rounded to nearest
    mma_s8 mma_u8                           16x32 bytes (the second: without sign) by 32x8, a sum
    redux_add redux_max ballot              over a warp
    shfl_xor shfl_up shfl_idx               another lane's word
    clock                                   clocks of the multiprocessor, the low 32 bits

Memory is read and written by byte offset, `load32(memory, offset)`; a constant may follow the
offset, `load32(memory, offset, 8)`, and becomes part of the instruction:

    load8 loadu8 load16 loadu16 load32      a number      store8 store16 store32
    load64 load128                          two words, four words       store64 store128

To add one: a row.
Source: PTX ISA 9.0 for the instructions named in the texts.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from llvmlite import ir

BYTE, WORD, LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOAT = ir.FloatType()
MASK = (1 << 32) - 1
WARP = 32


@dataclass(frozen=True)
class Intrinsic:
    """One operation.

    takes     a letter an operand: w a word, l 64 bits, t a truth
    emit      (LLVM's builder, values) -> a value, or a list of words
    meaning   the same of Python's integers, words with their sign; of lists of a warp's 32 where
              `together`.  Wider results wrap.  None: what no two machines have in common
    gives     w, l, or how many words
    together  all threads of a warp take part, and it stays where it is
    """

    takes: str
    emit: Callable[..., Any]
    meaning: Callable[..., Any] | None
    gives: str | int = "w"
    together: bool = False


def unsigned(x: int) -> int:
    return x & MASK


def wrap(x: int, bits: int = 32) -> int:
    """The low bits of x as a number with a sign."""
    half = 1 << (bits - 1)
    return (x + half) % (2 * half) - half


def _byte(x: int, i: int, signed: bool = True) -> int:
    value = x >> 8 * i & 255
    return wrap(value, 8) if signed else value


def _half(x: int, i: int) -> int:
    return wrap(x >> 16 * i, 16)


def _assembled(text: str, together: bool = False) -> Callable[..., Any]:
    def emit(b: Any, *values: Any) -> Any:
        kind = ir.FunctionType(WORD, [WORD] * len(values))
        return b.asm(kind, text, "=r" + ",r" * len(values), values, together)

    return emit


def _ptx(text: str, takes: int, meaning: Callable[..., Any]) -> Intrinsic:
    return Intrinsic("w" * takes, _assembled(text), meaning)


def _warp(text: str, takes: int, meaning: Callable[..., Any] | None) -> Intrinsic:
    return Intrinsic("w" * takes, _assembled(text, True), meaning, together=True)


def _binary(operation: str, meaning: Callable[..., Any]) -> Intrinsic:
    return Intrinsic("ww", lambda b, x, y: getattr(b, operation)(x, y), meaning)


def _least(b: Any, x: Any, y: Any) -> Any:
    return b.select(b.icmp_signed("<", x, y), x, y)


def _most(b: Any, x: Any, y: Any) -> Any:
    return b.select(b.icmp_signed(">", x, y), x, y)


def _lowest(b: Any, x: Any) -> Any:
    return b.ctpop(b.sub(b.and_(x, b.neg(x)), WORD(1)))


def _high_half(b: Any, x: Any, y: Any) -> Any:
    return b.trunc(b.lshr(b.mul(b.zext(x, LONG), b.zext(y, LONG)), LONG(32)), WORD)


def _floored(b: Any, x: Any, y: Any) -> Any:
    """x / y, y > 0: the complement of a negative x makes truncation flooring."""
    sign = b.ashr(x, x.type(x.type.width - 1))
    return b.xor(b.udiv(b.xor(x, sign), y), sign)


def _rooted(b: Any, x: Any) -> Any:
    """The root, a bit at a time from the top: a bit stays if its square is not too large."""
    root = x.type(0)
    for i in reversed(range(x.type.width // 2 - (x.type == LONG))):
        tried = b.or_(root, x.type(1 << i))
        root = b.select(b.icmp_unsigned("<=", b.mul(tried, tried), x), tried, root)
    return root


def _multiplied(kind: str) -> Callable[..., Any]:
    text = f"mma.sync.aligned.m16n8k32.row.col.s32.{kind}.s8.s32 "
    text += "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"

    def emit(b: Any, *values: Any) -> list[Any]:
        kind = ir.FunctionType(ir.LiteralStructType([WORD] * 4), [WORD] * 10)
        whole = b.asm(kind, text, ",".join(["=r"] * 4 + ["r"] * 10), values, False)
        return [b.extract_value(whole, i) for i in range(4)]

    return emit


def _matrix_product(signed: bool) -> Callable[..., list[list[int]]]:
    """D = A B + C: lane 4 g + p has rows g and g + 8 of A, column g of B, and of D's rows g, g + 8
    the columns 2 p and 2 p + 1."""

    def meaning(*operands: list[int]) -> list[list[int]]:
        a, b, c = operands[:4], operands[4:6], operands[6:]
        results: list[list[int]] = [[] for _ in range(4)]
        for lane in range(WARP):
            for i in range(4):
                row, column = lane // 4 + 8 * (i // 2), 2 * (lane % 4) + i % 2
                total = c[i][lane]
                for k in range(32):
                    left = a[row // 8 + 2 * (k // 16)][4 * (row % 8) + k % 16 // 4]
                    right = b[k // 16][4 * column + k % 16 // 4]
                    total += _byte(left, k % 4, signed) * _byte(right, k % 4)
                results[i].append(total)
        return results

    return meaning


def _dp2a(first: int, signed: bool) -> Callable[[int, int, int], int]:
    return lambda x, y, total: total + sum(
        _half(x, i) * _byte(y, first + i, signed) for i in range(2)
    )


def _dp4a(signed: bool) -> Callable[[int, int, int], int]:
    return lambda x, y, total: total + sum(_byte(x, i) * _byte(y, i, signed) for i in range(4))


def _permuted(x: int, y: int, control: int) -> int:
    """Any four bytes of two words; the top bit of a choice asks for the byte's sign."""
    result = 0
    for i in range(4):
        choice = control >> 4 * i & 15
        byte = _byte((x, y)[choice >> 2 & 1], choice & 3, signed=False)
        result |= (255 * (byte >> 7) if choice & 8 else byte) << 8 * i
    return result


def _saturated(x: int) -> int:
    return min(max(x, -(1 << 15)), (1 << 15) - 1)


def _float(word: int) -> Fraction:
    return Fraction(struct.unpack("<f", struct.pack("<I", unsigned(word)))[0])


def _word(exact: Fraction) -> int:
    """The bits of the nearest float, the even one of two; of what is no subnormal, nor infinite."""
    if not exact:
        return 0
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (exponent - 23)
    nearest = float(round(exact / unit) * unit)
    return int(struct.unpack("<i", struct.pack("<f", nearest))[0])


def _floating(text: str, takes: int, meaning: Callable[..., Fraction]) -> Intrinsic:
    def emit(b: Any, *words: Any) -> Any:
        kind = ir.FunctionType(FLOAT, [FLOAT] * takes)
        floats = [b.bitcast(word, FLOAT) for word in words]
        return b.bitcast(b.asm(kind, text, "=f" + ",f" * takes, floats, False), WORD)

    return Intrinsic("w" * takes, emit, lambda *words: _word(meaning(*map(_float, words))))


# A little less than the root: 0f3F7FFFF8 is 1 - 2**-21.  Adding 2**23 (0f4B000000) leaves the
# integer in the low bits: sooner done than a conversion.  MAGIC, what it leaves above them, is
# taken off outside, where it may become part of an address.
MAGIC = 0x4B000000
ROOT = (
    "{ .reg .f32 f; cvt.rz.f32.u32 f, $1; sqrt.approx.ftz.f32 f, f; "
    "fma.rz.f32 f, f, 0f3F7FFFF8, 0f4B000000; mov.b32 $0, f; }"
)
# The first operand is the bits of a float.
QUOTIENT = (
    "{ .reg .f32 f, n; mov.b32 n, $1; cvt.rn.f32.u32 f, $2; rcp.approx.ftz.f32 f, f; "
    "fma.rz.f32 f, f, n, 0f4B000000; mov.b32 $0, f; }"
)
RATIO = (
    "{ .reg .f32 f, g; cvt.rz.f32.u32 f, $1; cvt.rn.f32.u32 g, $2; rcp.approx.ftz.f32 g, g; "
    "fma.rz.f32 g, g, 0f3F7FFFF8, 0f00000000; fma.rz.f32 f, f, g, 0f4B000000; mov.b32 $0, f; }"
)


def _guessed(text: str, takes: int) -> Intrinsic:
    emit = _assembled(text)
    return Intrinsic("w" * takes, lambda b, *xs: b.sub(emit(b, *xs), WORD(MAGIC)), None)


INTRINSICS: dict[str, Intrinsic] = {
    "int32": Intrinsic("w", lambda b, x: x, lambda x: x),
    "add32": _binary("add", lambda x, y: x + y),
    "sub32": _binary("sub", lambda x, y: x - y),
    "mul32": _binary("mul", lambda x, y: x * y),
    "shl32": _binary("shl", lambda x, y: x << y),
    "sar32": _binary("ashr", lambda x, y: x >> y),
    "shr32": _binary("lshr", lambda x, y: unsigned(x) >> y),
    "and32": _binary("and_", lambda x, y: x & y),
    "or32": _binary("or_", lambda x, y: x | y),
    "xor32": _binary("xor", lambda x, y: x ^ y),
    "udiv32": _binary("udiv", lambda x, y: unsigned(x) // unsigned(y)),
    "urem32": _binary("urem", lambda x, y: unsigned(x) % unsigned(y)),
    "popc32": Intrinsic("w", lambda b, x: b.ctpop(x), lambda x: unsigned(x).bit_count()),
    "lowest32": Intrinsic("w", _lowest, lambda x: (unsigned(x & -x) - 1 & MASK).bit_count()),
    "mulhi32": Intrinsic("ww", _high_half, lambda x, y: unsigned(x) * unsigned(y) >> 32),
    "select": Intrinsic("tww", lambda b, t, x, y: b.select(t, x, y), lambda t, x, y: x if t else y),
    "select_lt": Intrinsic(
        "wwww",
        lambda b, x, y, yes, no: b.select(b.icmp_signed("<", x, y), yes, no),
        lambda x, y, yes, no: yes if x < y else no,
    ),
    "eq32": Intrinsic("ww", lambda b, x, y: b.zext(b.icmp_signed("==", x, y), WORD), int.__eq__),
    "min32": Intrinsic("ww", _least, min),
    "max32": Intrinsic("ww", _most, max),
    "umin32": Intrinsic(
        "ww",
        lambda b, x, y: b.select(b.icmp_unsigned("<", x, y), x, y),
        lambda x, y: min(unsigned(x), unsigned(y)),
    ),
    "clamp32": Intrinsic(
        "www",
        lambda b, x, lo, hi: _least(b, _most(b, x, lo), hi),
        lambda x, lo, hi: min(max(x, lo), hi),
    ),
    "clamp64": Intrinsic(
        "lll",
        lambda b, x, lo, hi: b.trunc(_least(b, _most(b, x, lo), hi), WORD),
        lambda x, lo, hi: min(max(x, lo), hi),
    ),
    "udiv64": Intrinsic(
        "ll",
        lambda b, x, y: b.udiv(x, y),
        lambda x, y: x % (1 << 64) // (y % (1 << 64)),
        gives="l",
    ),
    "udiv_all": Intrinsic("w", lambda b, x: b.udiv(WORD(MASK), x), lambda x: MASK // unsigned(x)),
    "floordiv32": Intrinsic("ww", _floored, lambda x, y: x // y),
    "floordiv64": Intrinsic("ll", _floored, lambda x, y: x // y, gives="l"),
    "isqrt32": Intrinsic("w", _rooted, lambda x: math.isqrt(unsigned(x))),
    "isqrt64": Intrinsic("l", _rooted, math.isqrt, gives="l"),
    "root_below": _guessed(ROOT, 1),
    "quotient_below": _guessed(QUOTIENT, 2),
    "ratio_below": _guessed(RATIO, 2),
    "low16": Intrinsic(
        "w", lambda b, x: b.ashr(b.shl(x, WORD(16)), WORD(16)), lambda x: _half(x, 0)
    ),
    "high16": Intrinsic("w", lambda b, x: b.ashr(x, WORD(16)), lambda x: _half(x, 1)),
    "pack16": _ptx(
        "cvt.pack.sat.s16.s32 $0, $1, $2;",
        2,
        lambda x, y: _saturated(x) << 16 | _saturated(y) & 0xFFFF,
    ),
    "add16": _ptx(
        "add.s16x2 $0, $1, $2;", 2, lambda x, y: x + (y & -65536) & -65536 | x + y & 65535
    ),
    "positive16": _ptx(
        "{ .reg .b32 z; mov.b32 z, 0; max.s16x2 $0, $1, z; }",
        1,
        lambda x: max(0, _half(x, 1)) << 16 | max(0, _half(x, 0)),
    ),
    "dp2a_lo": _ptx("dp2a.lo.s32.s32 $0, $1, $2, $3;", 3, _dp2a(0, True)),
    "dp2a_hi": _ptx("dp2a.hi.s32.s32 $0, $1, $2, $3;", 3, _dp2a(2, True)),
    "dp2a_lo_u": _ptx("dp2a.lo.s32.u32 $0, $1, $2, $3;", 3, _dp2a(0, False)),
    "dp2a_hi_u": _ptx("dp2a.hi.s32.u32 $0, $1, $2, $3;", 3, _dp2a(2, False)),
    "dp4a": _ptx("dp4a.s32.s32 $0, $1, $2, $3;", 3, _dp4a(True)),
    "dp4a_u": _ptx("dp4a.s32.u32 $0, $1, $2, $3;", 3, _dp4a(False)),
    "prmt": _ptx("prmt.b32 $0, $1, $2, $3;", 3, _permuted),
    "fmul": _floating("mul.rn.f32 $0, $1, $2;", 2, lambda x, y: x * y),
    "ffma": _floating("fma.rn.f32 $0, $1, $2, $3;", 3, lambda x, y, z: x * y + z),
    "mma_s8": Intrinsic("w" * 10, _multiplied("s8"), _matrix_product(True), 4, True),
    "mma_u8": Intrinsic("w" * 10, _multiplied("u8"), _matrix_product(False), 4, True),
    "redux_add": _warp("redux.sync.add.s32 $0, $1, -1;", 1, lambda x: [sum(x)] * WARP),
    "redux_max": _warp("redux.sync.max.s32 $0, $1, -1;", 1, lambda x: [max(x)] * WARP),
    "ballot": _warp(
        "{ .reg .pred q; setp.ne.s32 q, $1, 0; vote.sync.ballot.b32 $0, q, -1; }",
        1,
        lambda x: [sum((value != 0) << i for i, value in enumerate(x))] * WARP,
    ),
    "shfl_xor": _warp(
        "shfl.sync.bfly.b32 $0, $1, $2, 31, -1;",
        2,
        lambda x, by: [x[i ^ by[i] & 31] for i in range(WARP)],
    ),
    "shfl_up": _warp(
        "shfl.sync.up.b32 $0, $1, $2, 0, -1;",
        2,
        lambda x, by: [x[i - (by[i] & 31) if i >= by[i] & 31 else i] for i in range(WARP)],
    ),
    "shfl_idx": _warp(
        "shfl.sync.idx.b32 $0, $1, $2, 31, -1;",
        2,
        lambda x, lane: [x[lane[i] & 31] for i in range(WARP)],
    ),
    "clock": _warp("{ .reg .b64 t; mov.u64 t, %clock64; cvt.u32.u64 $0, t; }", 0, None),
}
LOADS = {  # suffix -> bits of a number, sign, numbers
    **{"8": (8, True, 1), "u8": (8, False, 1), "16": (16, True, 1), "u16": (16, False, 1)},
    **{"32": (32, True, 1), "64": (32, True, 2), "128": (32, True, 4)},
}
STORES = {suffix: (bits, count) for suffix, (bits, signed, count) in LOADS.items() if signed}
NAMES = frozenset(
    (*INTRINSICS, *(f"load{suffix}" for suffix in LOADS), *(f"store{suffix}" for suffix in STORES))
)


def _locate(b: Any, start: Any, places: tuple[Any, ...], element: Any) -> Any:
    """start is a pointer to bytes; the constant comes last, to be part of the instruction."""
    for place in places:
        start = b.gep(start, [place])
    return b.bitcast(start, element.as_pointer(start.type.addrspace))


def emit_load(b: Any, suffix: str, start: Any, places: tuple[Any, ...]) -> Any:
    """A number with 32 bits, or a list of words, from `start` and one or two offsets on."""
    bits, signed, count = LOADS[suffix]
    element = ir.IntType(bits)
    whole = element if count == 1 else ir.VectorType(element, count)
    loaded = b.load(_locate(b, start, places, whole), align=bits // 8 * count)
    if count > 1:
        return [b.extract_element(loaded, WORD(i)) for i in range(count)]
    if bits == 32:
        return loaded
    return b.sext(loaded, WORD) if signed else b.zext(loaded, WORD)


def emit_store(b: Any, suffix: str, start: Any, places: tuple[Any, ...], words: Any) -> None:
    bits, count = STORES[suffix]
    element = ir.IntType(bits)
    whole = element if count == 1 else ir.VectorType(element, count)
    stored = words[0] if bits == 32 else b.trunc(words[0], element)
    if count > 1:
        stored = ir.Constant(whole, ir.Undefined)
        for i, word in enumerate(words):
            stored = b.insert_element(stored, word, WORD(i))
    b.store(stored, _locate(b, start, places, whole), align=bits // 8 * count)
