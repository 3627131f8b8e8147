"""A kernel's machine code -> how many clocks of a multiprocessor a position takes, by what is busy.

Each of a multiprocessor's four schedulers issues an instruction of a warp a clock; an instruction
then occupies a pipe for as long as the pipe needs for 32 threads.  What is busiest bounds a kernel
however many warps there are; whether the warps that fit are enough is what `follow` (latency.py)
says, for a way through one pass.

To add an opcode: a word in PIPES.

Sources: CUDA C++ Programming Guide 13.0, "Throughput of Native Arithmetic Instructions", column
9.0: results a clock a multiprocessor; which opcodes share a pipe: NVIDIA's developer forum, "On
GH100: FMAheavy handles IMAD, IDP and FP32", and Nsight Compute's "Pipelines".  Unverified: the
rates of I2IP, of IMAD's upper half and of mma.sync beside wgmma's; bytes a clock of L2, which is
what NVIDIA states for an A100 ("NVIDIA A100 Tensor Core GPU Architecture").  None was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anachron.compiler.targets.cuda.batch.kernel import STREAMS
from anachron.compiler.targets.cuda.batch.machine_code import (
    MachineCode,
    find_pass,
    read_machine_code,
)
from anachron.compiler.targets.cuda.batch.processors import H200, Processor
from anachron.compiler.targets.cuda.batch.streams import BatchKernel, BatchRun
from anachron.compiler.targets.cuda.latency import ARITHMETIC, PRODUCTS, follow
from anachron.emulators.ptx.traffic import SECTOR
from anachron.kernels.cuda.places import WARP

PIPES: dict[str, tuple[int, tuple[str, ...]]] = {  # pipe -> results a clock, opcodes
    "integers": (
        64, (*ARITHMETIC, "MOV", "I2IP", "SGXT", "BMSK", "VOTE", "FMNMX", "LOP", "IADD"),
    ),
    "products": (64, (*PRODUCTS, "FFMA", "FMUL", "FADD", "HFMA2")),
    "conversions and roots": (16, ("MUFU", "POPC", "FLO", "BREV", "I2F", "F2I", "I2I", "F2F")),
    "tensor cores": (16, ("IMMA",)),
    "shared memory": (32, ("SHFL",)),
}  # fmt: skip
SLOWER: dict[str, int] = {"IMAD.HI": 32, "IMAD.WIDE": 32, "REDUX": 16}  # results a clock
PIPE_OF = {name: pipe for pipe, (_, names) in PIPES.items() for name in names} | {
    "REDUX": "shared memory"
}
TURN = 128  # bytes of the first-level memory a clock
CASES = ("least", "expected", "most")


@dataclass(frozen=True)
class Throughput:
    """What bounds a kernel for many streams, from its machine code.

    clocks     of a multiprocessor a position: issue, each pipe, L2 and memory
    latency    clocks a position if only the warps that fit go their way: least, expected, most
    warps      of a multiprocessor          instructions  machine instructions a position
    conflicts  wavefronts of shared memory a position that bank conflicts cost
    """

    processor: Processor
    clocks: Mapping[str, float]
    latency: tuple[float, float, float]
    warps: int
    instructions: float
    conflicts: float

    def per_second(self, clocks: float) -> float:
        """Positions a second of all multiprocessors."""
        return self.processor.multiprocessors * self.processor.clock_hz / max(clocks, 1e-9)

    @property
    def bound(self) -> str:
        """What is busiest."""
        return max(self.clocks, key=lambda name: self.clocks[name])

    @property
    def positions_per_second(self) -> float:
        """At most: by what is busiest, or by what the warps wait for."""
        return self.per_second(max(self.clocks[self.bound], self.latency[1]))

    def __repr__(self) -> str:
        rate = self.positions_per_second / 1e9
        return f"Throughput({rate:.2f} G positions a second; busiest: {self.bound})"


def count_pipes(code: MachineCode) -> dict[str, float]:
    """Clocks of a multiprocessor that the issue of instructions and each pipe were busy."""
    counts = code.count()
    clocks = {"issue": sum(counts.values()) / 4, **dict.fromkeys(PIPES, 0.0)}
    for opcode, times in counts.items():
        pipe = PIPE_OF.get(opcode.split(".")[0])
        if pipe:
            slow = [rate for name, rate in SLOWER.items() if opcode.startswith(name)]
            clocks[pipe] += times * WARP / (slow[0] if slow else PIPES[pipe][0])
    return clocks


def find_throughput(
    kernel: BatchKernel, run: BatchRun, processor: Processor = H200
) -> Throughput:
    """By an interpreted run of whole warps of streams, with its traffic.

    Raises Absent where NVIDIA's tools are not installed.
    """
    if run.traffic is None:
        raise ValueError("this run's traffic was not counted")
    code = read_machine_code(kernel.ptx, run.issued)
    clocks = {name: n / run.passes for name, n in count_pipes(code).items()}
    moved = sum(run.traffic.sectors.values()) * SECTOR
    clocks["shared memory"] += (run.traffic.wavefronts + moved / TURN) / run.passes
    each = processor.multiprocessors * processor.clock_hz
    clocks["second-level cache"] = moved * each / processor.cache_bytes_per_second / run.passes
    held = kernel.text.warp_bytes * kernel.text.warps * processor.multiprocessors
    beyond = max(0.0, 1 - processor.cache_bytes / held) if held else 0.0
    rows = kernel.text.far_bytes(run.passes / len(run.generated))
    clocks["memory"] = beyond * rows * each / processor.memory_bytes_per_second
    path = find_pass(code)
    warps = kernel.text.warps
    waits = [
        follow(code.instructions, path, warps, case)[0] / (warps * STREAMS)
        for case in range(len(CASES))
    ]
    return Throughput(
        processor,
        clocks,
        (waits[0], waits[1], waits[2]),
        warps,
        sum(code.count().values()) / run.passes,
        run.traffic.conflicts / run.passes,
    )
