"""A kernel's text -> the same with each stretch of straight lines as one call: for Numba's sake.

Lines that only assign, from the functions of kernels/cuda/instructions.py, stand together as long
as no branch, label or access to an array comes between.  What such a stretch needs of the variables
before it, and what is needed of it later, are the call's arguments and results.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from anachron.kernels.cuda.instructions import NAMES

SHORTEST = 3  # lines that are worth a call


@dataclass
class Stretch:
    """Lines in a row; reads are what they take from before."""

    lines: list[ast.stmt] = field(default_factory=list)
    reads: dict[str, None] = field(default_factory=dict)
    writes: dict[str, None] = field(default_factory=dict)

    def add(self, line: ast.stmt) -> None:
        for name in _names(line):
            if name not in self.writes:
                self.reads[name] = None
        if isinstance(line, ast.Assign):
            target = line.targets[0]
            assert isinstance(target, ast.Name)
            self.writes[target.id] = None
        self.lines.append(line)


def fuse(source: str, make: Callable[[str, Any, list[str], list[str]], Any]) -> tuple[str, dict]:
    """The shorter text, and the intrinsics that it calls, made by `make`."""
    tree = ast.parse(source)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    parts = [part for body in _bodies(function) for part in _cut(body)]
    stretches = [part for part in parts if isinstance(part, Stretch)]
    needed = {name for stretch in stretches for name in stretch.reads}
    for part in parts:
        if isinstance(part, ast.stmt):
            needed |= set(_own_names(part))
    intrinsics: dict[str, Any] = {}

    def rebuild(body: list[ast.stmt]) -> list[ast.stmt]:
        lines: list[ast.stmt] = []
        for part in _cut(body):
            if isinstance(part, Stretch):
                lines += _call(part, needed, intrinsics, make)
                continue
            for name in ("body", "orelse"):
                if getattr(part, name, None):
                    setattr(part, name, rebuild(getattr(part, name)))
            lines.append(part)
        return lines

    function.body = rebuild(function.body)
    return ast.unparse(ast.fix_missing_locations(tree)), intrinsics


def _call(
    stretch: Stretch, needed: set[str], intrinsics: dict[str, Any], make: Callable[..., Any]
) -> list[ast.stmt]:
    if len(stretch.lines) < SHORTEST and not _many(stretch):
        return stretch.lines
    name = f"stretch{len(intrinsics)}"
    outputs = [n for n in stretch.writes if n in needed]
    inputs = list(stretch.reads)
    module = ast.Module(stretch.lines, [])
    code = compile(ast.fix_missing_locations(module), f"<{name}>", "exec")
    intrinsics[name] = make(name, code, inputs, outputs)
    call = f"{name}({', '.join(inputs)})"
    if not outputs:
        return ast.parse(call).body
    lines = [f"out = {call}", *(f"{n} = out[{i}]" for i, n in enumerate(outputs))]
    return ast.parse("\n".join(lines)).body


def _many(stretch: Stretch) -> bool:
    """Whether a line calls what Numba's own intrinsics have not."""
    known = {"fetch", "put"}
    called = [n.id for line in stretch.lines for n in ast.walk(line) if isinstance(n, ast.Name)]
    return any(name.startswith(tuple(known)) or name in NAMES for name in called)


def _bodies(function: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body


def _cut(body: list[ast.stmt]) -> list[Stretch | ast.stmt]:
    """Stretches, and the lines between them."""
    parts: list[Stretch | ast.stmt] = []
    for line in body:
        last = parts[-1] if parts and isinstance(parts[-1], Stretch) else None
        if _straight(line, last.writes if last else {}):
            if last is None:
                last = Stretch()
                parts.append(last)
            last.add(line)
        else:
            parts.append(line)
    return parts


def _straight(line: ast.stmt, written: dict[str, None]) -> bool:
    match line:
        case ast.Assign(targets=[ast.Name()], value=value):
            return _plain(value, written)
        case ast.Expr(value=ast.Call() as call):
            return _plain(call, written)
    return False


def _plain(node: ast.expr, written: dict[str, None]) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.Constant(value=int()):
            return True
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _plain(operand, written)
        case ast.Call(func=ast.Name(id=name), args=args):
            return name in NAMES and all(_plain(arg, written) for arg in args)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant()):
            return name in written
    return False


def _names(line: ast.stmt) -> Iterator[str]:
    """Variables that a line reads."""
    for node in ast.walk(line):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in NAMES:
            yield node.id


def _own_names(line: ast.stmt) -> Iterator[str]:
    """Variables that a line reads, but not the lines inside of it."""
    match line:
        case ast.If(test=test) | ast.While(test=test):
            yield from _names(ast.Expr(test))
        case ast.For(iter=iter_):
            yield from _names(ast.Expr(iter_))
        case _:
            yield from _names(line)
