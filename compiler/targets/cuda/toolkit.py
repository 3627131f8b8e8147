"""Kernel text -> PTX, by Numba CUDA and NVIDIA's compiler: the extra `cuda`, no GPU needed.

The PTX names, in `.loc`, the line of the text that each of its instructions comes from.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TypeAlias

from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.generations import HOPPER, state
from anachron.compiler.targets.cuda.stretches import fuse
from anachron.kernels.cuda.wrapping import make_intrinsics, make_stretch

Key: TypeAlias = tuple[str, int, tuple[tuple[str, str], ...], bool]
NAME = "<kernel>"
FILE = re.compile(r'^(\s*\.file\s+\d+\s+)"[^"]*"', re.M)
KEPT = 64  # kernels, compiled: a quarter of a megabyte each at most
INSTALL = "pip install 'anachron[cuda]'"
_COMPILED: dict[Key, str] = {}


def compile_kernel(
    source: str, threads: int, arguments: Mapping[str, str], *, alone: bool = False
) -> str:
    """The PTX of a kernel, of those met last at once; Absent where the compiler is not here.

    threads    of a block, at most
    arguments  name -> bytes or words, a pointer to them, or word, an integer
    """
    key = source, threads, tuple(arguments.items()), alone
    if key not in _COMPILED:
        keep_compiled({key: _compile(*key)})
    return _COMPILED[key]


def compiled() -> dict[Key, str]:
    """The kernels at hand."""
    return dict(_COMPILED)


def keep_compiled(kernels: Mapping[Key, str]) -> None:
    """Take kernels, and let the oldest go."""
    _COMPILED.update(kernels)
    while len(_COMPILED) > KEPT:
        del _COMPILED[next(iter(_COMPILED))]


def _compile(
    source: str, threads: int, arguments: tuple[tuple[str, str], ...], alone: bool
) -> str:
    try:
        import numba_cuda  # noqa: F401  (numba's own CUDA, older, lacks what is needed)
        from numba import cuda, int32, int64, types

        scope = make_intrinsics()
    except ImportError as error:
        raise Absent(f"Numba CUDA is not installed here ({error}): {INSTALL}") from None
    scope |= {"cuda": cuda, "int32": int32, "int64": int64}
    tree, intrinsics = fuse(source, make_stretch)
    scope |= intrinsics
    exec(compile(tree, NAME, "exec"), scope)
    kinds = {
        "bytes": types.CPointer(types.int8),
        "words": types.CPointer(types.int32),
        "word": types.int32,
    }
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Could not find source")  # it is in no file
            ptx, _ = cuda.compile(
                scope["kernel"],
                types.void(*(kinds[kind] for _, kind in arguments)),
                cc=HOPPER.capability,
                device=False,
                abi="numba",
                output="ptx",
                launch_bounds=(threads, 1) if alone else threads,
                lineinfo=True,
            )
    except (OSError, RuntimeError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Absent(f"NVIDIA's compiler is not installed here ({reason}): {INSTALL}") from None
    text = ptx.decode() if isinstance(ptx, bytes) else str(ptx)
    return FILE.sub(rf'\1"{NAME}"', state(text))  # not where the compiler was called
