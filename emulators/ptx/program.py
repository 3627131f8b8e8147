"""A kernel that can be launched: arguments in, arrays changed, a Result out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from anachron.emulators.ptx.access import Memory
from anachron.emulators.ptx.approximate import draw_errors, repeat_error
from anachron.emulators.ptx.machine import Block, Result
from anachron.emulators.ptx.memory import (
    GLOBAL_BASE,
    WARP,
    Blocks,
    Clock,
    Race,
    Shadow,
    Space,
    Watch,
    place_arrays,
)
from anachron.emulators.ptx.registers import Array, Registers
from anachron.emulators.ptx.syntax import LARGEST_SHARED, Program, PtxError, parse

MOST_THREADS = 1024  # of a block: CUDA C++ Programming Guide, table 28
MOST_INSTRUCTIONS = 10**9


@dataclass(frozen=True)
class Kernel:
    """A program and how to run it."""

    program: Program

    def __repr__(self) -> str:
        program = self.program
        return f"Kernel({program.name}: {len(program.instructions)} instructions)"

    def launch(
        self,
        *arguments: Array | int,
        threads: int,
        blocks: int = 1,
        shared: int = 0,
        seed: int | None = None,
        races: bool = True,
        error: float | None = None,
        most: int = MOST_INSTRUCTIONS,
        watch: Watch | None = None,
    ) -> Result:
        """Run the kernel to its end.

        arguments  arrays by reference (contiguous; stores change them), integers by value
        threads    of a block: whole warps, at most 1024
        blocks     run one after the other
        shared     bytes of dynamic shared memory
        seed       draws which warp goes on, how approximations err, and what registers and shared
                   memory hold at first; None runs all together
        races      watch every access: races, and loads of shared memory that nobody stored to
        error      of every approximation, in units of the manual's largest; drawn where None
        most       instructions, after which the kernel is given up
        watch      is told of every access to shared and global memory: addresses, bytes of each,
                   threads, instruction

        Raises PtxError, naming the line, for a bad address, a division by zero, a barrier that
        not all threads reach, and whatever else the PTX manual leaves undefined and is noticed.
        """
        program = self.program
        size = program.shared_bytes + shared
        if threads % WARP or not 0 < threads <= MOST_THREADS:
            raise PtxError(f"{threads} threads: allowed are multiples of {WARP} to {MOST_THREADS}")
        if shared < 0 or size > LARGEST_SHARED:
            raise PtxError(f"{size:,} bytes of shared memory: a block has {LARGEST_SHARED:,}")
        if len(arguments) != len(program.parameters):
            raise PtxError(
                f"{program.name} takes {len(program.parameters)} arguments, not {len(arguments)}"
            )
        arrays = [a for a in arguments if isinstance(a, np.ndarray)]
        for array in arrays:
            if not array.flags.c_contiguous:
                raise PtxError("an argument's array is not contiguous")
        addresses, valid = place_arrays(arrays)
        places = iter(addresses)
        values = {
            name: next(places) if isinstance(argument, np.ndarray) else int(argument)
            for (_, name), argument in zip(program.parameters, arguments, strict=True)
        }
        found: list[Race] = []
        issued = np.zeros(len(program.instructions), np.int64)
        unset: list[Race] = []
        intervals: list[int] = []
        active = 0
        memory = Space("global", GLOBAL_BASE, valid, None, watch)
        for address, array in zip(addresses, arrays, strict=True):
            at = address - GLOBAL_BASE
            memory.bytes[at : at + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        errors = None if seed is None else draw_errors(seed)
        if error is not None:
            errors = repeat_error(error)
        between = Blocks(len(valid), found)
        for number in range(blocks):
            clock = Clock(threads)
            if races:
                memory.shadow = Shadow("global", len(valid), clock, found)
            local = Shadow("shared", size, clock, found) if races else None
            near = Space("shared", 0, np.ones(size, bool), local, watch)
            if seed is not None:
                near.bytes[:] = np.random.default_rng(seed).integers(0, 256, size)
            block = Block(
                program,
                Registers(program, threads, number, blocks, shared, errors, seed),
                Memory(memory, near, values),
                clock,
                seed,
                most,
            )
            block.run()
            issued += block.issued
            if memory.shadow and blocks > 1:
                between.add(number, memory.shadow)
            unset += local.unset if local else []
            intervals += block.intervals
            active += block.active_threads
        for address, array in zip(addresses, arrays, strict=True):
            if array.flags.writeable:
                at = address - GLOBAL_BASE
                raw = memory.bytes[at : at + array.nbytes]
                array[...] = raw.view(array.dtype).reshape(array.shape)
        counts: Counter[str] = Counter()
        for instruction, times in zip(program.instructions, issued.tolist(), strict=True):
            if times:
                counts[instruction.opcode] += times
        each = tuple(issued.tolist())
        return Result(dict(counts), tuple(intervals), active, tuple(found), each, tuple(unset))


def load(text: str) -> Kernel:
    """The first kernel of a module of PTX.

    Raises PtxError, naming the line, for text that is not PTX and for what is not known here.
    """
    program = parse(text)
    kernel = Kernel(program)
    _check(program)
    return kernel


def _check(program: Program) -> None:
    """Take every instruction apart once, so that an unknown one is refused now."""
    arguments = dict.fromkeys((name for _, name in program.parameters), 0)
    nothing = np.zeros(0, bool)
    space = Space("global", GLOBAL_BASE, nothing, None)
    registers = Registers(program, WARP, 0, 1, 0)
    Block(program, registers, Memory(space, space, arguments), Clock(WARP), None, 0)
