"""The PTX interpreter, judged by LLVM: two of its back ends and the interpreter agree.

LLVM is here wherever anachron is (llvmlite), so this judge is never absent.  It chooses the
instructions itself; which ones the programs below make it choose, `COMMON` names as far as every
version does.  It never chooses dp4a, dp2a, redux, shfl, vote, mma and cvt.pack: for those see
test_ptx_folding.py and test_ptx_ocelot.py.
"""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvm_compilers import compile_ptx, run_here
from llvm_programs import Program, draw_words

from anachron.emulators.ptx import load

BATCHES, PROGRAMS, STEPS, THREADS = 8, 30, 8, 64
COMMON = """
    add.s32 sub.s32 mul.lo.s32 mul.hi.s32 mul.hi.u32 mul.wide.s32 mul.wide.u32 mul.hi.s64 mul.hi.u64
    and.b32 or.b32 xor.b32 shl.b32 shr.s32 shr.u32 shl.b64 shr.u64 shf.l.wrap.b32 min.s32 max.u32
    setp.lt.s32 setp.lt.u32 selp.b32 cvt.s64.s32 cvt.u64.u32 cvt.u32.u64 div.s32 rem.u32 popc.b32
    clz.b32 abs.s32 brev.b32 bra ret
""".split()

pytestmark = pytest.mark.skipif(
    llvm.llvm_version_info[0] < 16, reason="this LLVM has pointers of the old kind: pip install -U"
)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_program_gives_what_this_processor_gives(batch: int) -> None:
    for seed in range(batch * PROGRAMS, (batch + 1) * PROGRAMS):
        program = Program(seed, STEPS)
        x = draw_words(seed, THREADS)
        text = compile_ptx(program)
        y = np.zeros_like(x)
        result = load(text).launch(x, y, threads=THREADS)
        wrong = np.argwhere(y != run_here(program, x))
        assert not len(wrong), f"seed {seed}: thread {wrong[0][0]}, word {wrong[0][1]}:\n{text}"
        assert not result.races


def test_the_programs_take_every_common_instruction() -> None:
    taken: set[str] = set()
    for seed in range(BATCHES * PROGRAMS):
        kernel = load(compile_ptx(Program(seed, STEPS)))
        taken |= {instruction.opcode for instruction in kernel.program.instructions}
    assert [name for name in COMMON if name not in taken] == []
