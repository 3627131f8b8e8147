"""What the kernels are written in: exact 32-bit operations that Numba's own integers are not.

Numba widens every sum and product to 64 bits; these do not.  They are made when a kernel is
compiled, so that nothing here needs the compiler to be installed.

    load8 load16 load32 loadu8 load128   from sm or gm at a byte offset, the first two by sign
    store8 store16 store32               to the same
    add32 sub32 mul32 shl32 sar32        32 bits, wrapping; sar32 keeps the sign
    min32 max32 clamp32 clamp64          signed; clamp64 takes 64 bits and gives 32
    udiv32 urem32 udiv64                 without sign     floordiv32 floordiv64  flooring
    dp2a_lo dp2a_hi dp4a                 two words by two bytes, four bytes by four, and a sum
    redux_add redux_max                  over a warp      isqrt32 isqrt64        floored roots

To add one: a line of a table, or a function of a builder.
Source: PTX ISA 9.0 for the instructions named in the texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BINARY = {
    **{"add32": "add", "sub32": "sub", "mul32": "mul", "shl32": "shl", "sar32": "ashr"},
    **{"udiv32": "udiv", "urem32": "urem"},
}
ASSEMBLY = {  # name -> (instruction, operands); redux must not be moved
    "dp2a_lo": ("dp2a.lo.s32.s32 $0, $1, $2, $3;", 3),
    "dp2a_hi": ("dp2a.hi.s32.s32 $0, $1, $2, $3;", 3),
    "dp4a": ("dp4a.s32.s32 $0, $1, $2, $3;", 3),
    "redux_add": ("redux.sync.add.s32 $0, $1, -1;", 1),
    "redux_max": ("redux.sync.max.s32 $0, $1, -1;", 1),
}
ELEMENTS = {"8": (8, True), "u8": (8, False), "16": (16, True), "32": (32, True)}


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
        parameters = ", ".join("abc"[: len(arguments)])

        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            return emit(builder, *values)

        def typed(typingctx: Any, *_: Any) -> Any:
            return signature(numba_result, *numba_arguments), codegen

        scope: dict[str, Any] = {"typed": typed}
        exec(f"def {name}(context, {parameters}): return typed(context)", scope)
        made[name] = intrinsic(scope[name])

    for name, operation in BINARY.items():
        function(name, i32, [i32, i32], lambda b, x, y, op=operation: getattr(b, op)(x, y))
    function("udiv64", i64, [i64, i64], lambda b, x, y: b.udiv(x, y))
    for name, (text, count) in ASSEMBLY.items():
        moved = not name.startswith("redux")

        def assemble(b: Any, *values: Any, text: str = text, moved: bool = moved) -> Any:
            kind = ir.FunctionType(i32, [i32] * len(values))
            return b.asm(kind, text, "=r" + ",r" * len(values), values, not moved)

        function(name, i32, [i32] * count, assemble)

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

    def load_four(memory: Any) -> Any:
        four = types.UniTuple(types.int32, 4)

        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            element = ir.VectorType(i32, 4)
            at = pointer(context, b, sig.args[0], values[0], values[1], element)
            whole = b.load(at, align=16)
            parts = [b.extract_element(whole, ir.Constant(i32, i)) for i in range(4)]
            return context.make_tuple(b, four, parts)

        return signature(four, memory, types.int32), codegen

    def accessor(name: str, typed: Any, parameters: str) -> None:
        scope: dict[str, Any] = {"typed": typed}
        exec(f"def {name}(context, memory, {parameters}): return typed(memory)", scope)
        made[name] = intrinsic(scope[name])

    for suffix, (bits, signed) in ELEMENTS.items():
        accessor(f"load{suffix}", loader(bits, signed), "offset")
        if signed:
            accessor(f"store{suffix}", storer(bits), "offset, value")
    accessor("load128", load_four, "offset")
    return made
