"""The same machine in CPython: slow, strict, and open to a debugger."""

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anachron.emulators.jit.subset import Array, subroutine


def interpret_machine(
    source: str,
    constants: Mapping[str, Any],
    registers: Sequence[str],
    arrays: Mapping[str, str],
    entry: str = "run",
    level: int = 1,
    fields: Sequence[str] = (),
    where: str = "machine",
) -> Callable[..., None]:
    """Run a machine's text unchanged; arguments and result as those of `compile_machine`.

    Arrays are seen through memoryviews, which give Python integers and refuse what does not fit;
    a negative index is the one mistake that Python lets pass.
    """
    for text in arrays.values():
        Array.parse(text)
    names = (*registers, *fields)
    globals_: dict[str, Any] = {"subroutine": subroutine, **constants}
    tree = ast.parse(source)
    tree.body = [part for part in tree.body if isinstance(part, ast.FunctionDef)]
    exec(compile(tree, where, "exec"), globals_)

    def run(state: np.ndarray, *buffers: np.ndarray) -> None:
        globals_.update(zip(names, state.tolist(), strict=True))
        globals_.update(zip(arrays, [b.data for b in buffers], strict=True))
        try:
            globals_[entry]()
        except StopIteration:
            pass  # the machine's `raise`
        state[:] = [int(globals_[name]) for name in names]

    return run
