"""Straight lines of a kernel as one call: the same integers, and no more passed than is needed."""

from __future__ import annotations

import ast
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anachron.compiler.targets.cuda.stretches import fuse

MEANINGS = {
    "add32": lambda a, b: a + b,
    "mul32": lambda a, b: a * b,
    "xor32": lambda a, b: a ^ b,
    "load64": lambda memory, base, offset: [memory[base + offset], memory[base + offset + 1]],
    "int32": lambda x: x,
    "now_at": lambda line: None,
}
SOURCE = """
def kernel(memory, x, n):
    a = add32(x, 1)
    b = mul32(a, x)
    z = load64(memory, x, 1)
    c = add32(z[0], z[1])
    i = int32(0)
    while i < n:
        b = xor32(b, c)
        z = load64(memory, i, 0)
        c = add32(c, z[1])
        if c > 40:
            t = mul32(a, -1)
            a = add32(t, b)
            d = add32(a, 1)
        else:
            d = add32(a, 2)
        i = add32(i, 1)
    memory[0] = c
    e = add32(a, d)
    f = mul32(e, b)
    g = add32(f, c)
    return g
"""


def make(name: str, code: Any, inputs: list[str], outputs: dict[str, int]) -> Any:
    def call(*values: Any) -> list[Any]:
        scope = dict(MEANINGS) | dict(zip(inputs, values, strict=True))
        exec(code, scope)
        words: list[Any] = []
        for output, count in outputs.items():
            words += [scope[output]] if count == 1 else scope[output]
        return words

    call.inputs, call.outputs = inputs, outputs  # type: ignore[attr-defined]
    return call


def run(source: Any, scope: dict[str, Any], x: int, n: int) -> tuple[int, list[int]]:
    scope = dict(scope)
    exec(compile(source, "<kernel>", "exec"), scope)
    memory = [(i * 7 + 3) % 11 for i in range(40)]
    return scope["kernel"](memory, x, n), memory


@given(st.integers(0, 20), st.integers(1, 12))
def test_a_fused_kernel_is_the_same(x: int, n: int) -> None:
    fused, intrinsics = fuse(SOURCE, make)
    assert run(fused, MEANINGS | intrinsics, x, n) == run(SOURCE, MEANINGS, x, n)


def test_what_nobody_reads_later_stays_inside() -> None:
    fused, intrinsics = fuse(SOURCE, make)
    assert "load64" not in ast.unparse(fused) and len(intrinsics) >= 4
    assert all("t" not in made.outputs and "z" not in made.outputs for made in intrinsics.values())
