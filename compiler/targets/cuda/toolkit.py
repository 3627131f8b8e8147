"""Kernel text -> PTX, by Numba CUDA and NVIDIA's compiler: the extra `cuda`, no GPU needed."""

from __future__ import annotations

from collections.abc import Mapping

from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.stretches import fuse
from anachron.kernels.cuda.instructions import make_stretch
from anachron.kernels.cuda.intrinsics import make_intrinsics

ARCHITECTURE = (9, 0)  # Hopper
INSTALL = "pip install 'anachron[cuda]'"


def compile_kernel(
    source: str,
    threads: int,
    arguments: Mapping[str, str],
    *,
    fused: bool = False,
) -> str:
    """The PTX of a kernel; Absent, saying what to install, where the compiler is not here.

    threads    of a block, at most
    arguments  name -> bytes or words, a pointer to them, or word, an integer
    fused      the source has stretches of kernels/cuda/instructions.py
    """
    try:
        import numba_cuda  # noqa: F401  (numba's own CUDA, older, lacks what is needed)
        from numba import cuda, int32, int64, types

        scope = make_intrinsics()
    except ImportError as error:
        raise Absent(f"Numba CUDA is not installed here ({error}): {INSTALL}") from None
    scope |= {"cuda": cuda, "int32": int32, "int64": int64}
    if fused:
        source, intrinsics = fuse(source, make_stretch)
        scope |= intrinsics
    exec(compile(source, "<kernel>", "exec"), scope)
    kinds = {
        "bytes": types.CPointer(types.int8),
        "words": types.CPointer(types.int32),
        "word": types.int32,
    }
    try:
        ptx, _ = cuda.compile(
            scope["kernel"],
            types.void(*(kinds[kind] for kind in arguments.values())),
            cc=ARCHITECTURE,
            device=False,
            abi="numba",
            output="ptx",
            launch_bounds=threads,
        )
    except (OSError, RuntimeError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Absent(f"NVIDIA's compiler is not installed here ({reason}): {INSTALL}") from None
    return ptx.decode() if isinstance(ptx, bytes) else str(ptx)
