"""The rows of intrinsics.py -> functions of Numba CUDA: one each, or one for a stretch of lines.

A stretch is lines without branches; the compiler (compiler/targets/cuda/stretches.py) makes one
function of each, so that Numba, whose time grows with the square of the lines, sees only the
branches between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from anachron.kernels.cuda.intrinsics import (
    BYTE,
    INTRINSICS,
    LOADS,
    LONG,
    STORES,
    WORD,
    Intrinsic,
    emit_load,
    emit_store,
)

TRUTH = ir.IntType(1)
SHARED = "sm"  # the name of shared memory, in a text


def _named(name: str, parameters: list[str], typed: Callable[..., Any]) -> Any:
    """Numba's intrinsic of a function that gives its signature and code."""
    from numba.cuda.extending import intrinsic

    scope: dict[str, Any] = {"typed": typed}
    listed = ", ".join(parameters)
    exec(f"def {name}(context, {listed}): return typed({listed})", scope)
    return intrinsic(scope[name])


def _start_of(context: Any, b: Any, kind: Any, passed: Any) -> Any:
    """A pointer to bytes: shared memory is an array, or where it begins; global memory a plain
    pointer."""
    from numba import types

    if isinstance(kind, types.Array):
        start = b.bitcast(context.make_array(kind)(context, b, passed).data, BYTE.as_pointer())
        return b.addrspacecast(start, BYTE.as_pointer(3))
    if isinstance(kind, types.Integer):
        return b.inttoptr(passed, BYTE.as_pointer(3))
    return b.bitcast(passed, BYTE.as_pointer())


def make_intrinsics() -> dict[str, Any]:
    """Every operation by name, for Numba CUDA; ImportError where that is not installed."""
    from numba import types
    from numba.core.typing import signature

    kinds = {"w": types.int32, "l": types.int64, "t": types.boolean}
    made: dict[str, Any] = {}

    def operation(name: str, row: Intrinsic) -> Any:
        words = types.UniTuple(types.int32, row.gives) if isinstance(row.gives, int) else None
        result = words or kinds[str(row.gives)]

        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            found = row.emit(b, *values)
            return context.make_tuple(b, words, found) if words else found

        taken = [kinds[letter] for letter in row.takes]
        parameters = [f"a{i}" for i in range(len(taken))]
        return _named(name, parameters, lambda *_: (signature(result, *taken), codegen))

    for name, row in INTRINSICS.items():
        if name != "int32":  # Numba's own
            made[name] = operation(name, row)

    def loader(suffix: str) -> Any:
        count = LOADS[suffix][2]
        result = types.UniTuple(types.int32, count) if count > 1 else types.int32

        def typed(memory: Any, offset: Any) -> Any:
            def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
                start = _start_of(context, b, sig.args[0], values[0])
                found = emit_load(b, suffix, start, values[1:])
                return context.make_tuple(b, result, found) if count > 1 else found

            return signature(result, memory, types.int32), codegen

        return _named(f"load{suffix}", ["memory", "offset"], typed)

    def storer(suffix: str) -> Any:
        words = [f"word{i}" for i in range(STORES[suffix][1])]

        def typed(memory: Any, *offset_and_words: Any) -> Any:
            def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
                start = _start_of(context, b, sig.args[0], values[0])
                emit_store(b, suffix, start, values[1:2], values[2:])
                return context.get_dummy_value()

            taken = [types.int32] * len(offset_and_words)
            return signature(types.void, memory, *taken), codegen

        return _named(f"store{suffix}", ["memory", "offset", *words], typed)

    def begin(memory: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            start = _start_of(context, b, sig.args[0], values[0])
            return INTRINSICS["redux_max"].emit(b, b.ptrtoint(start, WORD))

        return signature(types.int32, memory), codegen

    def move_on(memory: Any, offset: Any) -> Any:
        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            moved = b.gep(b.bitcast(values[0], BYTE.as_pointer()), [values[1]])
            return b.bitcast(moved, values[0].type)

        return signature(memory, memory, types.int64), codegen

    made |= {f"load{suffix}": loader(suffix) for suffix in LOADS}
    made |= {f"store{suffix}": storer(suffix) for suffix in STORES}
    made["start_of"] = _named("start_of", ["memory"], begin)
    return made | {"forward": _named("forward", ["memory", "offset"], move_on)}


def count_words(name: str) -> int:
    """How many words an operation gives as a tuple; 0 where it gives one number, or nothing."""
    if name.startswith("load"):
        count = LOADS[name[4:]][2]
        return count if count > 1 else 0
    gives = INTRINSICS[name].gives if name in INTRINSICS else 0
    return gives if isinstance(gives, int) else 0


def needs_stretch(name: str, operands: int) -> bool:
    """Whether a call can only stand in a stretch: one with a constant behind the offset."""
    if name.startswith("load") and name[4:] in LOADS:
        return operands > 2
    return name.startswith("store") and operands > 2 + STORES[name[5:]][1]


def _operations(b: Any) -> dict[str, Callable[..., Any]]:
    """Every operation on LLVM's values, or Python's integers, through builder b; and `compare`,
    `both`, `either` and `opposite`, of truths."""

    def value(x: Any, kind: Any = WORD) -> Any:
        return ir.Constant(kind, x) if isinstance(x, int) else x

    def operation(row: Intrinsic) -> Callable[..., Any]:
        kinds = [{"w": WORD, "l": LONG, "t": TRUTH}[letter] for letter in row.takes]
        return lambda *xs: row.emit(b, *map(value, xs, kinds))

    def loader(suffix: str) -> Callable[..., Any]:
        return lambda memory, *places: emit_load(b, suffix, memory, tuple(map(value, places)))

    def storer(suffix: str) -> Callable[..., None]:
        count = STORES[suffix][1]

        def emit(memory: Any, *rest: Any) -> None:
            given = list(map(value, rest))
            emit_store(b, suffix, memory, tuple(given[:-count]), given[-count:])

        return emit

    made = {name: operation(row) for name, row in INTRINSICS.items()}
    made |= {f"load{suffix}": loader(suffix) for suffix in LOADS}
    made |= {f"store{suffix}": storer(suffix) for suffix in STORES}
    return made | {
        "compare": lambda sign, x, y: b.icmp_signed(sign, value(x), value(y)),
        "both": b.and_,
        "either": b.or_,
        "opposite": b.not_,
    }


def _mark(b: Any, here: Any, line: int) -> None:
    """What is emitted next is of this line, where Numba keeps lines at all."""
    if here is not None:
        scope = dict(here.operands)["scope"]
        place = {"line": line, "column": 1, "scope": scope}
        b.debug_metadata = b.module.add_debug_info("DILocation", place)


def make_stretch(name: str, code: Any, inputs: list[str], outputs: dict[str, int]) -> Any:
    """An intrinsic: the words of `outputs` (name -> how many) after compiled lines, given `inputs`.

    Of inputs, shared memory comes as an array, global memory as a pointer, words together as a
    tuple, a truth as one; the rest is int32.  All words of the outputs come as one tuple.  Lines
    may say their numbers, `now_at(number)`.
    """
    from numba import types
    from numba.core.typing import signature

    plain = (types.Array, types.CPointer, types.Boolean, types.UniTuple)

    def typed(*kinds: Any) -> Any:
        taken = [kind if isinstance(kind, plain) else types.int32 for kind in kinds]
        result = types.UniTuple(types.int32, sum(outputs.values())) if outputs else types.void

        def codegen(context: Any, b: Any, sig: Any, values: Any) -> Any:
            scope: dict[str, Any] = _operations(b)
            here = b.debug_metadata
            scope["now_at"] = lambda number: _mark(b, here, number)
            for input_, kind, passed in zip(inputs, sig.args, values, strict=True):
                if isinstance(kind, (types.Array, types.CPointer)):
                    passed = _start_of(context, b, kind, passed)
                elif input_ == SHARED and isinstance(kind, types.Integer):
                    passed = _start_of(context, b, kind, passed)
                elif isinstance(kind, types.UniTuple):
                    passed = [b.extract_value(passed, i) for i in range(kind.count)]
                scope[input_] = passed
            exec(code, scope)
            b.debug_metadata = here
            if not outputs:
                return context.get_dummy_value()
            words: list[Any] = []
            for output in outputs:
                found = scope[output]
                words += found if isinstance(found, list) else [found]
            words = [WORD(n) if isinstance(n, int) else n for n in words]
            return context.make_tuple(b, result, words)

        return signature(result, *taken), codegen

    return _named(name, [f"a{i}" for i in range(len(inputs))], typed)
