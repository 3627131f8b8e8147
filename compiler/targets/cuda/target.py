"""FixedModel -> one CUDA kernel in PTX, with its constants; and how a prompt is put to it.

The machines are a GPU, driven through its driver (device.py), and the interpreter of
emulators/ptx, which counts instructions and finds races.  Building needs Numba CUDA and NVIDIA's
compiler, the extra `cuda`, but no GPU.

To add a contract: lowering.py.  To add a way of choosing ids: kernel.py.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Call, Image
from anachron.compiler.memory import Placed
from anachron.compiler.targets import Absent, Machine, Options
from anachron.compiler.targets.cuda.conversation import converse
from anachron.compiler.targets.cuda.device import find_gpu
from anachron.compiler.targets.cuda.estimation import MARK, ClockPrediction
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, KernelText, write_kernel
from anachron.compiler.targets.cuda.layout import SHARED_BYTES
from anachron.compiler.targets.cuda.listing import list_machine_code, list_ptx
from anachron.compiler.targets.cuda.lowering import KERNELS
from anachron.compiler.targets.cuda.prediction import Prediction
from anachron.compiler.targets.cuda.residence import Residence
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.emulators.ptx.syntax import parse

__all__ = ["KERNELS", "build", "converse", "tell_estimate"]
KINDS = {"constant": "weights", "buffer": "buffer", "cache": "cache"}


@dataclass(frozen=True)
class Module:
    """What stands for an assembled program: the PTX, and the memory that the kernel is given."""

    ptx: str
    source: str = field(repr=False)
    segments: tuple[tuple[int, bytes], ...] = field(repr=False)
    machine_code: bool = False  # is what is listed, not the PTX
    target: str = "cuda"

    def listing(self) -> str:
        """Of the machine code, where NVIDIA's tools are, or of the PTX."""
        if self.machine_code:
            with suppress(Absent):
                return list_machine_code(self.ptx, self.source)
        return list_ptx(self.ptx, self.source)


@dataclass(frozen=True, kw_only=True, repr=False)
class KernelImage(Image):
    """An image whose program is a kernel.

    instructions, clocks  what is predicted of them
    """

    text: KernelText
    instructions: Prediction
    clocks: ClockPrediction

    def __repr__(self) -> str:
        shared = self.text.layout.shared_bytes
        return (
            f"Image({self.name} for {self.machine.title}: {self.size_bytes:,} bytes of constants, "
            f"{self.text.threads} threads, {shared:,} bytes shared)"
        )


def build(fixed: FixedModel, machine: Machine, options: Options) -> Image:
    """The kernel of a model, compiled; for `cuda`, as the GPU that is here can hold it.

    Raises Absent where the compiler is not installed, and ValueError for a model that the kernels
    cannot compute exactly.
    """
    text = write_kernel(fixed, options.logits, room=find_gpu(machine).shared_bytes)
    ptx = compile_kernel(text.source, text.threads, ARGUMENTS, alone=True)
    blob = text.layout.blob
    calls = tuple(
        Call(op.name, op.contract, *text.variants[op.name]) for op in fixed.ops
    )
    program = parse(ptx)
    instructions = Prediction(fixed, program, text.source, text.threads, options.sampling)
    clocks = ClockPrediction(fixed)
    return KernelImage(
        fixed=fixed,
        machine=machine,
        options=options,
        source=text.source,
        program=Module(ptx, text.source, ((0, blob),), machine.gpu),
        symbols={},
        locations={},
        objects=_objects(text),
        regions=((0, SHARED_BYTES),),
        calls=calls,
        container={".ptx": ptx.encode(), ".bin": blob},
        entry=0,
        predict=clocks if machine.gpu else instructions,
        text=text,
        instructions=instructions,
        clocks=clocks,
    )


def tell_estimate(image: KernelImage) -> dict[str, object]:
    """Of a token on a GPU, what `cycles --json` says beside its rows."""
    last = max(0, image.fixed.seq_len - 2)
    instructions = sum(row.expected for row in image.instructions(last, True).values())
    return {
        "basis": MARK,
        "clock_hz": image.machine.clock_hz,
        "cycles_per_token": list(image.clocks.estimate.clocks),
        "instructions_per_token": round(instructions),
    }


def _objects(text: KernelText) -> tuple[Placed, ...]:
    """Shared memory by name, and what stays in global memory."""
    layout = text.layout
    if isinstance(layout, Residence):
        return tuple(
            Placed(thing.name or "constants", thing.offset, thing.size, KINDS[thing.kind])
            for thing in layout.things
            if thing.memory == "sm"
        )
    objects = [Placed("constants", 0, layout.shared_constants, "weights")]
    for name, place in {**layout.values, "scores": layout.scratch}.items():
        if place.memory == "sm" and isinstance(place.offset, int):
            kind = "cache" if place.rows > 1 else "buffer"
            objects.append(Placed(name, place.offset, place.n_bytes, kind))
    return tuple(objects)
