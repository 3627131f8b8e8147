"""The few instructions of floating point that exact kernels use: a first guess, then corrected, or
products and sums whose rounding is part of the integers.

A GPU's approximations are not in its manual, only how far they may err; so a kernel may use them
where integers put right whatever they give.  Here they are right to the last bit, or, where the
registers have a source of errors, wrong by as much as the manual allows: at random, or always.

    cvt.rn.f32.u32  cvt.rz.f32.u32  fma.rz.f32  sqrt.approx.ftz.f32  rcp.approx.ftz.f32
    mul.rn.f32  add.rn.f32  fma.rn.f32  min.f32  max.f32          as IEEE 754 says, subnormals too

To add one: a function of an array of float64 and a line in APPROXIMATIONS.
Source: PTX ISA 9.0, section 9.7.3: the errors of sqrt.approx and rcp.approx.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anachron.emulators.ptx.isa import Step
from anachron.emulators.ptx.registers import Array, Registers, assign
from anachron.emulators.ptx.syntax import Instruction, PtxError

Meaning = Callable[[Array], Array]
Errors = Callable[[tuple[int, ...]], Array]  # of a shape, in units of the largest
LARGEST_ERROR = 2.0**-23  # relative


def draw_errors(seed: int) -> Errors:
    random = np.random.default_rng(seed)
    return lambda shape: random.uniform(-1, 1, shape)


def repeat_error(error: float) -> Errors:
    return lambda shape: np.full(shape, error)


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
            exact = exact * (1 + LARGEST_ERROR * registers.errors(exact.shape))
        assign(target, exact.astype(np.float32), lanes)

    return step


def _sum(a: Array, b: Array, c: Array) -> tuple[Array, Array]:
    """a b + c in float64, and what that left out: a product of two floats has 48 bits, which
    float64 holds; the sum may not (Knuth's two-sum)."""
    product, more = a.astype(np.float64) * b, c.astype(np.float64)
    total = product + more
    back = total - product
    return total, (product - (total - back)) + (more - back)


def bind_product(instruction: Instruction, registers: Registers) -> Step:
    """fma.rz: what the sum left out decides where it ends on a float exactly."""
    target = registers.write(instruction.operands[0], "b32").view(np.float32)
    a, b, c = (registers.read(operand, "f32") for operand in instruction.operands[1:])

    def step(lanes: Array | None) -> None:
        total, lost = _sum(a, b, c)
        result = truncate(total)
        over = (result == total) & (np.sign(lost) * np.sign(total) < 0)
        nearer = np.nextafter(result, np.float32(0))
        assign(target, np.where(over, nearer, result).astype(np.float32), lanes)

    return step


def bind_sum(instruction: Instruction, registers: Registers) -> Step:
    """fma.rn: rounded once, so what float64 left out makes an even last bit odd, on its side."""
    target = registers.write(instruction.operands[0], "b32").view(np.float32)
    a, b, c = (registers.read(operand, "f32") for operand in instruction.operands[1:])

    def step(lanes: Array | None) -> None:
        total, lost = _sum(a, b, c)
        even = (lost != 0) & (total.view(np.int64) & 1 == 0)
        odd = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
        assign(target, np.where(even, odd, total).astype(np.float32), lanes)

    return step


def bind_rounded(instruction: Instruction, registers: Registers) -> Step:
    """A function of two floats that float64 gives exactly, or so that it is rounded the same."""
    meaning = {"mul": np.multiply, "add": np.add, "min": np.fmin, "max": np.fmax}[
        instruction.parts[0]
    ]
    target = registers.write(instruction.operands[0], "b32").view(np.float32)
    a, b = (registers.read(operand, "f32") for operand in instruction.operands[1:])

    def step(lanes: Array | None) -> None:
        wide = meaning(a.astype(np.float64), b.astype(np.float64))
        assign(target, wide.astype(np.float32), lanes)

    return step


def bind_conversion(instruction: Instruction, registers: Registers) -> Step:
    """cvt of an integer to a float."""
    to, source = instruction.operands
    match instruction.parts[1:]:
        case ("rn" | "rz") as mode, "f32", "u32":
            x = registers.read(source, "u32")
            target = registers.write(to, "b32").view(np.float32)
            convert = truncate if mode == "rz" else (lambda wide: wide.astype(np.float32))
            return lambda lanes: assign(target, convert(x.astype(np.float64)), lanes)
    raise PtxError("only cvt.rn and cvt.rz from u32 are known")


APPROXIMATIONS = {
    ("sqrt", "approx", "ftz", "f32"): bind_root,
    ("rcp", "approx", "ftz", "f32"): bind_reciprocal,
    ("fma", "rz", "f32"): bind_product,
    ("fma", "rn", "f32"): bind_sum,
    ("mul", "rn", "f32"): bind_rounded,
    ("add", "rn", "f32"): bind_rounded,
    ("min", "f32"): bind_rounded,
    ("max", "f32"): bind_rounded,
}
