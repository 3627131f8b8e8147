"""A program in LLVM's language, compiled by LLVM twice.

Its NVPTX back end makes PTX, its native one instructions that the processor here runs.  Neither was
written by us, and the manual of LLVM's language defines what they must agree on; so where the
interpreter differs, the interpreter is wrong.
"""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
from llvm_programs import Program


def compile_ptx(program: Program) -> str:
    """By LLVM's NVPTX back end."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("nvptx64-nvidia-cuda")
    machine = target.create_target_machine(cpu="sm_90", features="+ptx80", opt=3)
    module = llvm.parse_assembly('target triple = "nvptx64-nvidia-cuda"\n' + program.write(True))
    module.verify()
    return machine.emit_assembly(module)


def run_here(program: Program, x: np.ndarray) -> np.ndarray:
    """By LLVM's compiler for this processor, a thread after the other; x (threads, WORDS) int32."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple()
    module = llvm.parse_assembly(f'target triple = "{triple}"\n' + program.write(False))
    module.verify()
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=0)
    y = np.zeros_like(x)
    with llvm.create_mcjit_compiler(module, machine) as engine:
        engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
        function = kind(engine.get_function_address("k"))
        for thread in range(len(x)):
            function(x.ctypes.data, y.ctypes.data, thread)
    return y
