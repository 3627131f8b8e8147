"""PTX, the assembly of NVIDIA's GPUs, run without one: exact integers, exact counts, races found.

    kernel = load(text)                            # PTX as a compiler writes it
    result = kernel.launch(x, y, 7, threads=128)   # arrays by reference, integers by value
    result.instructions, result.counts["dp4a.s32.s32"], result.races

A block of threads runs in warps of 32.  Every register is a numpy array with a number a thread, and
an instruction is one operation on it, masked where threads have gone different ways.  What is
known for certain afterwards:

integers      of every register and every byte of memory, as the PTX manual defines them
instructions  how many times a warp issued each opcode; the same for every schedule
intervals     the same counts between one barrier of the block and the next
races         accesses to one byte by two threads, one of them a store, with no barrier between:
              a missing bar.sync (between warps) or bar.warp.sync (inside one) is always found,
              whether or not the integers came out right this time
unset         loads of shared memory that nobody has stored to

A seed runs the warps in a random order instead of together, fills registers and shared memory with
anything, and lets what a GPU approximates err as far as it may.  What is not known is time: a GPU's
clocks are not in its manual, and the clock register counts instructions.  Floating point but for
guesses that integers correct and sums that are integers, local memory, atomics, textures and
clusters are left out: a kernel that asks for them is refused when it is loaded.

syntax.py reads the text, isa.py, collective.py and approximate.py are the opcodes, memory.py the
address spaces and the races, machine.py the block.  To add an opcode: a row in isa.py.

Source: NVIDIA, "Parallel Thread Execution ISA Version 9.0", section numbers as given there.
Judged by NVIDIA's ptxas, where it works constants out, by LLVM's two back ends and by gpuocelot
(tests/test_ptx_folding.py, test_ptx_llvm.py, test_ptx_ocelot.py); not yet by a GPU.
"""

from anachron.emulators.ptx.machine import Result
from anachron.emulators.ptx.memory import Race
from anachron.emulators.ptx.program import Kernel, load
from anachron.emulators.ptx.syntax import PtxError

__all__ = ["Kernel", "PtxError", "Race", "Result", "load"]
