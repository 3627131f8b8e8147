"""A graph's norms, position by position: R4 is twice the position, in all buffers.

A root is half of a code: ASR.  Meaning: kernels/reference/log_norms.py.
"""

from __future__ import annotations

from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training.elements import look_up
from anachron.kernels.pdp11.training.products import USUAL, repeat
from anachron.kernels.reference.log_norms import LARGE, LARGE_SHIFT, mean_constant
from anachron.kernels.reference.log_tables import octaves


def _place(label: str, n: int, feature: int) -> str:
    return f"{label}+{2 * n * feature}.(R4)"


def _loop(name: str, n: int, body: list[str]) -> str:
    """A turn a position."""
    back = repeat("R4", f"{2 * n}.", f"{name}.next", n)
    return "\n".join([f"{name}:", "CLR R4", f"{name}.next:", *body, "ADD #2,R4", back])


def _half_root(name: str, n: int, size: int, x: str, constant: int) -> list[str]:
    """R2 = half of the code of the sum of squares, even; uses R0."""
    lines = ["CLR R2"]
    for f in range(size):
        lines += [f"MOV {_place(x, n, f)},R0", "ASL R0", f"ADD {constant - USUAL}.(R0),R2"]
    return [
        *lines,
        f"CMP R2,#{LARGE}.",
        f"BLO {name}.small ;@ p=0.9",
        "CLC",
        "ROR R2",
        *["ASR R2"] * (LARGE_SHIFT - 1),
        "BIC #1,R2",
        "MOV codes(R2),R2",
        f"ADD #{octaves(LARGE_SHIFT)}.,R2",
        f"BR {name}.root ;@ always",
        f"{name}.small:",
        "MOV codes(R2),R2",
        f"{name}.root:",
        "SUB #half,R2",
        "ASR R2",
        "BIC #1,R2",
    ]


def center(
    cpu: Cpu, name: str, n: int, size: int, x: str, codes: str, target: str, amount: int
) -> str:
    """x, shifted right by an amount, less its mean."""
    share, body = mean_constant(size), ["CLR R2"]
    for f in range(size):
        body += [f"MOV {_place(codes, n, f)},R0", f"ADD one-half-{-share}.(R0),R2"]
    for f in range(size):
        body += [f"MOV {_place(x, n, f)},R0", cpu.shift_right(amount), "SUB R2,R0"]
        body.append(f"MOV R0,{_place(target, n, f)}")
    return _loop(name, n, body)


def normalize(
    name: str, n: int, size: int, x: str, target: str, square: int, constant: int
) -> str:
    """x over its root mean square."""
    body = _half_root(name, n, size, x, square)
    for f in range(size):
        body += [f"MOV {_place(x, n, f)},R0", "SUB R2,R0"]
        body.append(f"MOV {_near(constant)}(R0),{_place(target, n, f)}")
    return _loop(name, n, body)


def _near(constant: int) -> str:
    """The address of the product of a code, which is half + code, and a constant."""
    return f"one-half+{constant}." if constant >= 0 else f"one-half-{-constant}."


def scale(
    name: str, n: int, size: int, x: str, gain: str, target: str, constant: int
) -> str:
    """Each feature times its gain."""
    each = ["MOV (R2)+,R0", "ADD R3,R0", f"MOV {constant - USUAL}.(R0),(R4)+"]
    return "\n".join(
        [
            f"{name}:",
            f"MOV #{gain},R1",
            f"MOV #{x},R2",
            f"MOV #{target},R4",
            f"{name}.next:",
            "MOV (R1)+,R3",
            *each * n,
            repeat("R1", f"{gain}+{2 * size}.", f"{name}.next", size),
        ]
    )


def normalize_gradient(
    name: str,
    n: int,
    size: int,
    buffers: tuple[str, str, str, str, str],
    constants: tuple[int, int, int, int],
) -> str:
    """The gradient of x.

    buffers    dy, its codes, unit's codes, x's codes, the target
    constants  of the squares, of the mean, of unit times the mean, of the result
    """
    dy, codes, unit, x, target = buffers
    square, mean, product, constant = constants
    body = [*_half_root(name, n, size, x, square), "CLR R3"]
    for f in range(size):
        body += [f"MOV {_place(codes, n, f)},R0", f"ADD {_place(unit, n, f)},R0"]
        body.append(f"ADD {mean - USUAL}.(R0),R3")
    body += ["MOV R3,R0", look_up(f"{name}.mean"), "MOV codes.low(R0),R3"]
    for f in range(size):
        body += [f"MOV {_place(unit, n, f)},R1", "ADD R3,R1", f"MOV {_place(dy, n, f)},R0"]
        body += [f"SUB {product - USUAL}.(R1),R0", look_up(f"{name}.f{f}")]
        body += ["MOV codes.low(R0),R0", "SUB R2,R0"]
        body.append(f"MOV {_near(constant)}(R0),{_place(target, n, f)}")
    return _loop(name, n, body)


def update_gain(name: str, n: int, size: int, gain: str, dy: str, x: str, more: str) -> str:
    """Gains less the sums of their gradients' products; more: R5 = what each code grows by."""
    each = ["MOV (R1)+,R0", "ADD (R3)+,R0", "ADD R5,R0", "ADD (R0),R2"]
    return "\n".join(
        [
            f"{name}:",
            more,
            f"MOV #{dy},R1",
            f"MOV #{x},R3",
            f"MOV #{gain},R4",
            f"{name}.next:",
            "CLR R2",
            *each * n,
            "SUB R2,(R4)+",
            repeat("R1", f"{dy}+{2 * n * size}.", f"{name}.next", size),
        ]
    )
