"""What the kernels are written in: exact 32-bit operations that Numba's own integers are not.

Numba widens every sum and product to 64 bits; these do not.  They are made when a kernel is
compiled, so that nothing here needs the compiler to be installed.

    load8 load16 load32 loadu8 loadu16   from sm or gm at a byte offset, the first two by sign
    load64 load128                       two and four words, a tuple
    store8 store16 store32               to the same
    forward                              gm moved on by 64 bits of bytes
    add32 sub32 mul32 shl32 sar32        32 bits, wrapping; sar32 keeps the sign
    and32 or32 xor32 popc32 lowest32     bits; how many are set; the number of the lowest
    shr32 mulhi32                        without sign: a shift, the upper half of a product
    select                               one of two, by a truth
    min32 max32 clamp32 clamp64          signed; clamp64 takes 64 bits and gives 32
    udiv32 urem32 udiv64                 without sign     floordiv32 floordiv64  flooring
    dp2a_lo dp2a_hi dp4a                 two words by two bytes, four bytes by four, and a sum;
    dp2a_lo_u dp2a_hi_u dp4a_u           the second operand's bytes without sign
    mma_s8 mma_u8                        16x32 bytes (the second: without sign) by 32x8, and a sum
    prmt                                 any four bytes of eight
    redux_add redux_max ballot           over a warp
    shfl_xor shfl_up shfl_idx            another lane's word
    isqrt32 isqrt64                      floored roots, bit by bit
    root_below quotient_below            floored roots and quotients, or one less: see norm.py
    clock                                clocks of the multiprocessor, the low 32 bits

To add one: a line of a table, or a function of a builder.
Source: PTX ISA 9.0 for the instructions named in the texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BINARY = {
    **{"add32": "add", "sub32": "sub", "mul32": "mul", "shl32": "shl", "sar32": "ashr"},
    **{"and32": "and_", "or32": "or_", "xor32": "xor"},
    **{"shr32": "lshr", "udiv32": "udiv", "urem32": "urem"},
}
ASSEMBLY = {  # name -> (instruction, operands)
    "dp2a_lo": ("dp2a.lo.s32.s32 $0, $1, $2, $3;", 3),
    "dp2a_hi": ("dp2a.hi.s32.s32 $0, $1, $2, $3;", 3),
    "dp4a": ("dp4a.s32.s32 $0, $1, $2, $3;", 3),
    "dp2a_lo_u": ("dp2a.lo.s32.u32 $0, $1, $2, $3;", 3),
    "dp2a_hi_u": ("dp2a.hi.s32.u32 $0, $1, $2, $3;", 3),
    "dp4a_u": ("dp4a.s32.u32 $0, $1, $2, $3;", 3),
    "prmt": ("prmt.b32 $0, $1, $2, $3;", 3),
    "mulhi32": ("mul.hi.u32 $0, $1, $2;", 2),
    # A little less than the root: 0f3F7FFFF8 is 1 - 2**-21.  Adding 2**23 (0f4B000000) leaves the
    # integer in the low bits: sooner done than a conversion.
    "root_below": (
        "{ .reg .f32 f; .reg .b32 r; cvt.rz.f32.u32 f, $1; sqrt.approx.ftz.f32 f, f; "
        "fma.rz.f32 f, f, 0f3F7FFFF8, 0f4B000000; mov.b32 r, f; sub.s32 $0, r, 0x4B000000; }",
        1,
    ),
    # The first operand is the bits of a float.
    "quotient_below": (
        "{ .reg .f32 f, n; .reg .b32 r; mov.b32 n, $1; cvt.rn.f32.u32 f, $2; "
        "rcp.approx.ftz.f32 f, f; fma.rz.f32 f, f, n, 0f4B000000; mov.b32 r, f; "
        "sub.s32 $0, r, 0x4B000000; }",
        2,
    ),
}
COLLECTIVE = {  # the same, of all threads of a warp together: not to be moved
    "redux_add": ("redux.sync.add.s32 $0, $1, -1;", 1),
    "redux_max": ("redux.sync.max.s32 $0, $1, -1;", 1),
    "ballot": ("{ .reg .pred q; setp.ne.s32 q, $1, 0; vote.sync.ballot.b32 $0, q, -1; }", 1),
    "shfl_xor": ("shfl.sync.bfly.b32 $0, $1, $2, 31, -1;", 2),
    "shfl_up": ("shfl.sync.up.b32 $0, $1, $2, 0, -1;", 2),
    "shfl_idx": ("shfl.sync.idx.b32 $0, $1, $2, 31, -1;", 2),
    "clock": ("{ .reg .b64 t; mov.u64 t, %clock64; cvt.u32.u64 $0, t; }", 0),
}
MATRIX = (
    "mma.sync.aligned.m16n8k32.row.col.s32.{kind}.s8.s32 "
    "{{$0, $1, $2, $3}}, {{$4, $5, $6, $7}}, {{$8, $9}}, {{$10, $11, $12, $13}};"
)
ELEMENTS = {
    "8": (8, True), "u8": (8, False), "16": (16, True), "u16": (16, False), "32": (32, True),
}  # fmt: skip


def make_intrinsics() -> dict[str, Any]:
    """Every intrinsic by name, for Numba CUDA; ImportError where that is not installed."""
    from llvmlite import ir
    from numba import types
    from numba.core.typing import signature
    from numba.cuda.extending import intrinsic

    i8, i32, i64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
    made: dict[str, Any] = {}

    def function(name: str, result: Any, arguments: list[Any], emit: Callable[..., Any]) -> None:
        """An intrinsic of fixed types; emit(builder, *values) gives the result."""
        numba_result = {i32: types.int32, i64: types.int64}[result]
        numba_arguments = [{i32: types.int32, i64: types.int64}[a] for a in arguments]
        parameters = ", ".join("abcdefghij"[: len(arguments)])

        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            return emit(builder, *values)

        def typed(typingctx: Any, *_: Any) -> Any:
            return signature(numba_result, *numba_arguments), codegen

        scope: dict[str, Any] = {"typed": typed}
        exec(f"def {name}(context, {parameters}): return typed(context)", scope)
        made[name] = intrinsic(scope[name])

    def choose(typingctx: Any, truth: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            return b.select(*values)

        return signature(types.int32, types.boolean, types.int32, types.int32), codegen

    made["select"] = intrinsic(choose)

    for name, operation in BINARY.items():
        function(name, i32, [i32, i32], lambda b, x, y, op=operation: getattr(b, op)(x, y))
    function("popc32", i32, [i32], lambda b, x: b.ctpop(x))

    def lowest(b: Any, x: Any) -> Any:
        one = b.and_(x, b.neg(x))
        return b.ctpop(b.sub(one, ir.Constant(i32, 1)))

    function("lowest32", i32, [i32], lowest)
    function("udiv64", i64, [i64, i64], lambda b, x, y: b.udiv(x, y))
    for name, (text, count) in {**ASSEMBLY, **COLLECTIVE}.items():
        fixed = name in COLLECTIVE

        def assemble(b: Any, *values: Any, text: str = text, fixed: bool = fixed) -> Any:
            kind = ir.FunctionType(i32, [i32] * len(values))
            return b.asm(kind, text, "=r" + ",r" * len(values), values, fixed)

        function(name, i32, [i32] * count, assemble)

    def multiplier(kind: str) -> Any:
        """D = A B + C in fragments: four words of A, two of B, four of C, four of D."""
        four = types.UniTuple(types.int32, 4)

        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            function = ir.FunctionType(ir.LiteralStructType([i32] * 4), [i32] * 10)
            constraints = ",".join(["=r"] * 4 + ["r"] * 10)
            whole = b.asm(function, MATRIX.format(kind=kind), constraints, values, False)
            parts = [b.extract_value(whole, i) for i in range(4)]
            return context.make_tuple(b, four, parts)

        def typed(typingctx: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any,
                  i: Any, j: Any) -> Any:  # fmt: skip
            return signature(four, *[types.int32] * 10), codegen

        return intrinsic(typed)

    made["mma_s8"], made["mma_u8"] = multiplier("s8"), multiplier("u8")

    def least(b: Any, x: Any, y: Any) -> Any:
        return b.select(b.icmp_signed("<", x, y), x, y)

    def most(b: Any, x: Any, y: Any) -> Any:
        return b.select(b.icmp_signed(">", x, y), x, y)

    function("min32", i32, [i32, i32], least)
    function("max32", i32, [i32, i32], most)
    function("clamp32", i32, [i32, i32, i32], lambda b, x, lo, hi: least(b, most(b, x, lo), hi))
    function(
        "clamp64",
        i32,
        [i64, i64, i64],
        lambda b, x, lo, hi: b.trunc(least(b, most(b, x, lo), hi), i32),
    )

    def floored(kind: Any) -> Callable[..., Any]:
        """x / y, y > 0: the complement of a negative x makes truncation flooring."""

        def emit(b: Any, x: Any, y: Any) -> Any:
            sign = b.ashr(x, ir.Constant(kind, kind.width - 1))
            return b.xor(b.udiv(b.xor(x, sign), y), sign)

        return emit

    function("floordiv32", i32, [i32, i32], floored(i32))
    function("floordiv64", i64, [i64, i64], floored(i64))

    def rooted(kind: Any, bits: int) -> Callable[..., Any]:
        """The root, a bit at a time from the top: a bit stays if its square is not too large."""

        def emit(b: Any, x: Any) -> Any:
            root = ir.Constant(kind, 0)
            for i in reversed(range(bits)):
                tried = b.or_(root, ir.Constant(kind, 1 << i))
                fits = b.icmp_unsigned("<=", b.mul(tried, tried), x)
                root = b.select(fits, tried, root)
            return root

        return emit

    function("isqrt32", i32, [i32], rooted(i32, 16))
    function("isqrt64", i64, [i64], rooted(i64, 31))

    def pointer(context: Any, b: Any, kind: Any, memory: Any, offset: Any, element: Any) -> Any:
        """Where an element lies: shared memory is an array, global memory a plain pointer."""
        if isinstance(kind, types.Array):
            start = b.bitcast(context.make_array(kind)(context, b, memory).data, i8.as_pointer())
            start = b.addrspacecast(start, i8.as_pointer(3))
            return b.bitcast(b.gep(start, [offset]), element.as_pointer(3))
        start = b.bitcast(memory, i8.as_pointer())
        return b.bitcast(b.gep(start, [offset]), element.as_pointer())

    def loader(bits: int, signed: bool) -> Any:
        element = ir.IntType(bits)

        def typed(memory: Any) -> Any:
            def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
                at = pointer(context, b, sig.args[0], values[0], values[1], element)
                value = b.load(at, align=bits // 8)
                if bits == 32:
                    return value
                return b.sext(value, i32) if signed else b.zext(value, i32)

            return signature(types.int32, memory, types.int32), codegen

        return typed

    def storer(bits: int) -> Any:
        element = ir.IntType(bits)

        def typed(memory: Any) -> Any:
            def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
                value = values[2] if bits == 32 else b.trunc(values[2], element)
                at = pointer(context, b, sig.args[0], values[0], values[1], element)
                b.store(value, at, align=bits // 8)
                return context.get_dummy_value()

            return signature(types.void, memory, types.int32, types.int32), codegen

        return typed

    def vector_loader(count: int) -> Any:
        def typed(memory: Any) -> Any:
            words = types.UniTuple(types.int32, count)

            def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
                element = ir.VectorType(i32, count)
                at = pointer(context, b, sig.args[0], values[0], values[1], element)
                whole = b.load(at, align=4 * count)
                parts = [b.extract_element(whole, ir.Constant(i32, i)) for i in range(count)]
                return context.make_tuple(b, words, parts)

            return signature(words, memory, types.int32), codegen

        return typed

    def accessor(name: str, typed: Any, parameters: str) -> None:
        scope: dict[str, Any] = {"typed": typed}
        exec(f"def {name}(context, memory, {parameters}): return typed(memory)", scope)
        made[name] = intrinsic(scope[name])

    for suffix, (bits, signed) in ELEMENTS.items():
        accessor(f"load{suffix}", loader(bits, signed), "offset")
        if signed:
            accessor(f"store{suffix}", storer(bits), "offset, value")
    accessor("load64", vector_loader(2), "offset")
    accessor("load128", vector_loader(4), "offset")

    def move_on(memory: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            moved = b.gep(b.bitcast(values[0], i8.as_pointer()), [values[1]])
            return b.bitcast(moved, values[0].type)

        return signature(memory, memory, types.int64), codegen

    accessor("forward", move_on, "offset")
    return made
