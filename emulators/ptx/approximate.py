"""The few instructions of floating point that exact kernels use: a first guess, then corrected.

A GPU's approximations are not in its manual, only how far they may err; so a kernel may use them
where integers put right whatever they give.  Here they are right to the last bit, or, where the
registers have a source of errors, wrong by as much as the manual allows, at random.

    cvt.rn.f32.u32 cvt.rz.f32.u32 cvt.rzi.u32.f32     between integers and floats
    mul.rz.f32  sqrt.approx.ftz.f32  rcp.approx.ftz.f32

To add one: a function of an array of float64 and a line in APPROXIMATIONS.
Source: PTX ISA 9.0, section 9.7.3: the errors of sqrt.approx and rcp.approx; unverified.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anachron.emulators.ptx.isa import Step
from anachron.emulators.ptx.registers import Array, Registers, assign
from anachron.emulators.ptx.syntax import Instruction, PtxError

Meaning = Callable[[Array], Array]
LARGEST_ERROR = 2.0**-23  # relative


def truncate(exact: Array) -> Array:
    """float64 to float32, toward zero."""
    near = exact.astype(np.float32)
    beyond = np.abs(near.astype(np.float64)) > np.abs(exact)
    return np.where(beyond, np.nextafter(near, np.float32(0)), near)


def bind_root(instruction: Instruction, registers: Registers) -> Step:
    return _guess(instruction, registers, np.sqrt)


def bind_reciprocal(instruction: Instruction, registers: Registers) -> Step:
    return _guess(instruction, registers, lambda x: 1.0 / np.where(x == 0, 1.0, x))


def _guess(instruction: Instruction, registers: Registers, meaning: Meaning) -> Step:
    target = registers.write(instruction.operands[0], "b32").view(np.float32)
    x = registers.read(instruction.operands[1], "f32")

    def step(lanes: Array | None) -> None:
        exact = meaning(x.astype(np.float64))
        if registers.errors is not None:
            exact = exact * (1 + LARGEST_ERROR * registers.errors.uniform(-1, 1, exact.shape))
        assign(target, exact.astype(np.float32), lanes)

    return step


def bind_product(instruction: Instruction, registers: Registers) -> Step:
    """mul.rz: a product of two floats has 48 bits, which float64 holds."""
    target = registers.write(instruction.operands[0], "b32").view(np.float32)
    a, b = (registers.read(operand, "f32") for operand in instruction.operands[1:])
    return lambda lanes: assign(target, truncate(a.astype(np.float64) * b), lanes)


def bind_conversion(instruction: Instruction, registers: Registers) -> Step:
    """cvt to and from floats."""
    to, source = instruction.operands
    match instruction.parts[1:]:
        case ("rn" | "rz") as mode, "f32", "u32":
            x = registers.read(source, "u32")
            target = registers.write(to, "b32").view(np.float32)
            convert = truncate if mode == "rz" else (lambda wide: wide.astype(np.float32))
            return lambda lanes: assign(target, convert(x.astype(np.float64)), lanes)
        case "rzi", "u32", "f32":
            real = registers.read(source, "f32")
            words = registers.write(to, "u32")
            return lambda lanes: assign(
                words, np.clip(real.astype(np.float64), 0, 2.0**32 - 1).astype(np.uint32), lanes
            )
    raise PtxError("only cvt.rn, cvt.rz from u32 and cvt.rzi to u32 are known")


APPROXIMATIONS = {
    ("sqrt", "approx", "ftz", "f32"): bind_root,
    ("rcp", "approx", "ftz", "f32"): bind_reciprocal,
    ("mul", "rz", "f32"): bind_product,
}
