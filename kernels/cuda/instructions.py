"""What straight stretches of a kernel are written in: a function a name, that emits LLVM's IR.

A stretch is lines without branches, `name = function(...)`, all of 32-bit integers that wrap; the
compiler (compiler/targets/cuda/stretches.py) makes one intrinsic of each, so that Numba CUDA, whose
time grows with the square of the lines, sees only the branches between them.

    add32 sub32 mul32 shl32 sar32 shr32     sar32 keeps the sign, shr32 does not
    and32 or32 xor32 umulhi32               umulhi32: the high half of a product without sign
    min32 max32 clamp32 umin32              umin32 without sign
    udiv32 urem32 udiv_all floordiv32       udiv_all: 0xffffffff / x;  floordiv32 by what is above 0
    select_lt eq32                          c if a < b, else d;  1 or 0
    isqrt32                                 the floored root of 32 bits without sign
    low16 high16 pack16 positive16          halves of a word; two numbers saturated, the high one
                                            first; max(0, x) of both halves
    bytes_of                                any four bytes of two words
    dp2a_lo dp2a_hi dp2a_lo_u dp2a_hi_u     two words by two bytes, with and without sign, and a sum
    dp4a                                    four bytes by four, and a sum
    mma_s8 mma_u8                           16 rows of 32 bytes, with and without sign, by 8 columns
    shuffle_xor                             a number from lane ^ constant
    redux_add redux_max                     over a warp
    fetch8 fetchu8 fetch16 fetchu16 fetch32 fetch64 fetch128     memory, base, constant: bytes
    put16 put32 put64 put128                the same, and what is stored

fetch64 and fetch128 and the mma give several numbers: name[0], name[1], ...

To add one: a line of a table, or a function in `make_instructions`.
Source: PTX ISA 9.0 for the instructions named in the texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BINARY = {
    **{"add32": "add", "sub32": "sub", "mul32": "mul", "shl32": "shl", "sar32": "ashr"},
    **{"shr32": "lshr", "and32": "and_", "or32": "or_", "xor32": "xor"},
    **{"udiv32": "udiv", "urem32": "urem"},
}
ASSEMBLY = {  # name -> instruction
    "dp2a_lo": "dp2a.lo.s32.s32 $0, $1, $2, $3;",
    "dp2a_hi": "dp2a.hi.s32.s32 $0, $1, $2, $3;",
    "dp2a_lo_u": "dp2a.lo.s32.u32 $0, $1, $2, $3;",
    "dp2a_hi_u": "dp2a.hi.s32.u32 $0, $1, $2, $3;",
    "dp4a": "dp4a.s32.s32 $0, $1, $2, $3;",
    "bytes_of": "prmt.b32 $0, $1, $2, $3;",
    "pack16": "cvt.pack.sat.s16.s32 $0, $1, $2;",
    "positive16": "max.s16x2 $0, $1, 0;",
}
TOGETHER = {  # of the whole warp: they stay where they are
    "redux_add": "redux.sync.add.s32 $0, $1, -1;",
    "redux_max": "redux.sync.max.s32 $0, $1, -1;",
    "shuffle_xor": "shfl.sync.bfly.b32 $0, $1, $2, 31, -1;",
}
MATRIX = "mma.sync.aligned.m16n8k32.row.col.s32.{}.s8.s32 "
MATRIX += "{{$0,$1,$2,$3}}, {{$4,$5,$6,$7}}, {{$8,$9}}, {{$10,$11,$12,$13}};"
LOADS = {  # suffix -> bits, sign, words
    **{"8": (8, True, 1), "u8": (8, False, 1), "16": (16, True, 1), "u16": (16, False, 1)},
    **{"32": (32, True, 1), "64": (32, True, 2), "128": (32, True, 4)},
}
STORES = {"16": (16, 1), "32": (32, 1), "64": (32, 2), "128": (32, 4)}
NAMES = frozenset(
    (*BINARY, *ASSEMBLY, *TOGETHER, "mma_s8", "mma_u8", "low16", "high16", "min32", "max32")
    + ("clamp32", "umin32", "select_lt", "eq32", "udiv_all", "umulhi32", "floordiv32", "isqrt32")
    + (*(f"fetch{suffix}" for suffix in LOADS), *(f"put{suffix}" for suffix in STORES), "int32")
)


def make_instructions(b: Any) -> dict[str, Callable[..., Any]]:
    """Name -> function of LLVM's values, or of Python's integers, that emits through builder b."""
    from llvmlite import ir

    i8, i16, i32, i64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
    made: dict[str, Callable[..., Any]] = {}

    def value(x: Any) -> Any:
        return ir.Constant(i32, x) if isinstance(x, int) else x

    def define(name: str, emit: Callable[..., Any]) -> None:
        made[name] = lambda *xs: emit(*map(value, xs))

    def assemble(text: str, moved: bool = True) -> Callable[..., Any]:
        def emit(*xs: Any) -> Any:
            kind = ir.FunctionType(i32, [i32] * len(xs))
            return b.asm(kind, text, "=r" + ",r" * len(xs), xs, not moved)

        return emit

    for name, operation in BINARY.items():
        define(name, getattr(b, operation))
    for name, text in ASSEMBLY.items():
        define(name, assemble(text))
    for name, text in TOGETHER.items():
        define(name, assemble(text, moved=False))

    def matrix(kind: str) -> Callable[..., Any]:
        def emit(*xs: Any) -> list[Any]:
            four = ir.LiteralStructType([i32] * 4)
            constraints = ",".join(["=r"] * 4 + ["r"] * 10)
            made_of = b.asm(
                ir.FunctionType(four, [i32] * 10), MATRIX.format(kind), constraints, xs, True
            )
            return [b.extract_value(made_of, i) for i in range(4)]

        return emit

    define("mma_s8", matrix("s8"))
    define("mma_u8", matrix("u8"))
    sixteen = ir.Constant(i32, 16)
    define("int32", lambda x: x)
    define("high16", lambda x: b.ashr(x, sixteen))
    define("low16", lambda x: b.ashr(b.shl(x, sixteen), sixteen))

    def least(x: Any, y: Any) -> Any:
        return b.select(b.icmp_signed("<", x, y), x, y)

    def most(x: Any, y: Any) -> Any:
        return b.select(b.icmp_signed(">", x, y), x, y)

    define("min32", least)
    define("max32", most)
    define("clamp32", lambda x, lo, hi: least(most(x, lo), hi))
    define("umin32", lambda x, y: b.select(b.icmp_unsigned("<", x, y), x, y))
    define("select_lt", lambda x, y, yes, no: b.select(b.icmp_signed("<", x, y), yes, no))
    define("eq32", lambda x, y: b.zext(b.icmp_signed("==", x, y), i32))
    define("udiv_all", lambda x: b.udiv(ir.Constant(i32, (1 << 32) - 1), x))

    def high_half(x: Any, y: Any) -> Any:
        whole = b.mul(b.zext(x, i64), b.zext(y, i64))
        return b.trunc(b.lshr(whole, ir.Constant(i64, 32)), i32)

    define("umulhi32", high_half)

    def floored(x: Any, y: Any) -> Any:
        """The complement of a negative x makes truncation flooring."""
        sign = b.ashr(x, ir.Constant(i32, 31))
        return b.xor(b.udiv(b.xor(x, sign), y), sign)

    define("floordiv32", floored)

    def rooted(x: Any) -> Any:
        """The root, a bit at a time from the top: a bit stays if its square is not too large."""
        root = ir.Constant(i32, 0)
        for i in reversed(range(16)):
            tried = b.or_(root, ir.Constant(i32, 1 << i))
            fits = b.icmp_unsigned("<=", b.mul(tried, tried), x)
            root = b.select(fits, tried, root)
        return root

    define("isqrt32", rooted)

    def locate(memory: Any, base: Any, offset: Any, element: Any) -> Any:
        """memory is a pointer to bytes; the constant comes last, to be part of the instruction."""
        at = b.gep(b.gep(memory, [value(base)]), [value(offset)])
        return b.bitcast(at, element.as_pointer(memory.type.addrspace))

    def load(bits: int, signed: bool, count: int) -> Callable[..., Any]:
        element = ir.IntType(bits)
        whole = element if count == 1 else ir.VectorType(element, count)

        def emit(memory: Any, base: Any, offset: Any) -> Any:
            loaded = b.load(locate(memory, base, offset, whole), align=bits // 8 * count)
            if count > 1:
                return [b.extract_element(loaded, ir.Constant(i32, i)) for i in range(count)]
            if bits == 32:
                return loaded
            return b.sext(loaded, i32) if signed else b.zext(loaded, i32)

        return emit

    def store(bits: int, count: int) -> Callable[..., Any]:
        element = ir.IntType(bits)
        whole = element if count == 1 else ir.VectorType(element, count)

        def emit(memory: Any, base: Any, offset: Any, *xs: Any) -> None:
            words = [value(x) for x in xs]
            stored = words[0] if bits == 32 else b.trunc(words[0], i16)
            if count > 1:
                stored = ir.Constant(whole, ir.Undefined)
                for i, word in enumerate(words):
                    stored = b.insert_element(stored, word, ir.Constant(i32, i))
            b.store(stored, locate(memory, base, offset, whole), align=bits // 8 * count)

        return emit

    for suffix, (bits, signed, count) in LOADS.items():
        made[f"fetch{suffix}"] = load(bits, signed, count)
    for suffix, (bits, count) in STORES.items():
        made[f"put{suffix}"] = store(bits, count)
    assert i8
    return made


def make_stretch(name: str, code: Any, inputs: list[str], outputs: list[str]) -> Any:
    """An intrinsic: the numbers `outputs` after compiled lines, given the variables `inputs`.

    Of inputs, shared memory comes as an array and global memory as a pointer; the rest is int32.
    """
    from llvmlite import ir
    from numba import types
    from numba.core.typing import signature
    from numba.cuda.extending import intrinsic

    byte = ir.IntType(8)

    def pointer(context: Any, b: Any, kind: Any, passed: Any) -> Any:
        if isinstance(kind, types.Array):
            start = b.bitcast(context.make_array(kind)(context, b, passed).data, byte.as_pointer())
            return b.addrspacecast(start, byte.as_pointer(3))
        if isinstance(kind, types.CPointer):
            return b.bitcast(passed, byte.as_pointer())
        return passed

    def typed(*kinds: Any) -> Any:
        plain = (types.Array, types.CPointer)
        taken = [kind if isinstance(kind, plain) else types.int32 for kind in kinds]
        result = types.UniTuple(types.int32, len(outputs)) if outputs else types.void

        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            scope: dict[str, Any] = dict(make_instructions(b))
            for input_, kind, passed in zip(inputs, sig.args, values, strict=True):
                scope[input_] = pointer(context, b, kind, passed)
            exec(code, scope)
            if not outputs:
                return context.get_dummy_value()
            numbers = [scope[output] for output in outputs]
            words = [ir.Constant(ir.IntType(32), n) if isinstance(n, int) else n for n in numbers]
            return context.make_tuple(b, result, words)

        return signature(result, *taken), codegen

    scope: dict[str, Any] = {"typed": typed}
    parameters = ", ".join(f"a{i}" for i in range(len(inputs)))
    exec(f"def {name}(context, {parameters}): return typed({parameters})", scope)
    return intrinsic(scope[name])
