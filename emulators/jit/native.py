"""LLVM text -> machine code of this computer, kept in a cache for the next start.

The cache is one file a machine under the user's cache directory, named by a hash of the LLVM text,
the host's CPU and LLVM's version; where it cannot be written, the machine is compiled each time.
"""

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from anachron.emulators.jit.emitter import emit_machine
from anachron.emulators.jit.subset import MachineError, parse_machine

Run = Callable[..., None]
CACHE_LIMIT = 32  # machines kept, the newest


def compile_machine(
    source: str,
    constants: Mapping[str, Any],
    registers: Sequence[str],
    arrays: Mapping[str, str],
    entry: str = "run",
    level: int = 1,
    fields: Sequence[str] = (),
    where: str = "machine",
) -> Run:
    """Compile a machine: `run(state, *arrays)`, which lets other threads run meanwhile.

    source     the machine's text; its functions are reached from `entry()`
    constants  the globals it left behind: UPPER_CASE integers and tables are taken
    registers  state[0:len(registers)], kept in host registers while running
    fields     the state behind them, kept in memory
    arrays     name -> "u1[65536]"; run takes numpy arrays of just that type and size, in order
    level      LLVM's optimisation, 0 to 3; 0 compiles fastest, 2 runs no faster than 1

    Raises MachineError, with where:line:column, for a text outside the subset.
    """
    machine = parse_machine(source, constants, registers, arrays, fields, where)
    engine = build(emit_machine(machine, entry), level)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (1 + len(arrays)))(
        engine.get_function_address(entry))
    kinds = [np.dtype("i8"), *(a.kind for a in machine.arrays.values())]
    sizes = [len(registers) + len(fields), *(a.size for a in machine.arrays.values())]
    names = ["state", *machine.arrays]

    def run(*buffers: np.ndarray) -> None:
        if len(buffers) != len(names):
            raise MachineError(f"{where}: run takes {', '.join(names)}")
        for name, kind, size, buffer in zip(names, kinds, sizes, buffers, strict=True):
            if buffer.dtype != kind or buffer.size != size or not buffer.flags.carray:
                raise MachineError(f"{where}: {name}: {kind}[{size}], writeable and contiguous, "
                                   f"expected; {buffer.dtype}[{buffer.size}] found")
        call(*[buffer.ctypes.data for buffer in buffers])

    run.engine = engine  # type: ignore[attr-defined]  # the code lives as long as this
    return run


def _target(level: int) -> llvm.TargetMachine:
    """A target for one compilation: an execution engine takes it over."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=level, jit=True)


def build(text: str, level: int = 1) -> llvm.ExecutionEngine:
    """Machine code of an LLVM text, from the cache where it has been compiled before."""
    target = _target(level)
    host = (llvmlite.__version__, target.triple, llvm.get_host_cpu_name(),
            llvm.get_host_cpu_features().flatten(), str(level), text)
    kept = cache_directory() / (hashlib.sha256("\n".join(host).encode()).hexdigest() + ".o")
    code = _read(kept)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    if code is None:
        module = llvm.parse_assembly(text)
        options = llvm.create_pipeline_tuning_options(speed_level=level)
        passes = llvm.create_pass_builder(target, options)
        passes.getModulePassManager().run(module, passes)
        code = target.emit_object(module)
        _write(kept, code)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def cache_directory() -> Path:
    """Where compiled machines are kept: $XDG_CACHE_HOME/anachron, else ~/.cache/anachron."""
    root = os.environ.get("XDG_CACHE_HOME")
    return Path(root if root else os.path.expanduser("~/.cache")) / "anachron"


def _read(path: Path) -> bytes | None:
    """A cached object, checked against the hash it was written with; None if there is none."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, code = data[:32], data[32:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Keep an object for the next start; whatever goes wrong, the code in memory is good."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(name, path)
        kept = sorted(path.parent.glob("*.o"), key=lambda file: file.stat().st_mtime)
        for old in kept[:-CACHE_LIMIT]:
            old.unlink(missing_ok=True)
    except OSError:
        return
