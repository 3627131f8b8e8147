"""A kernel's text -> the same with each stretch of straight lines as one call: for Numba's sake.

Lines that only assign, from the operations of kernels/cuda/intrinsics.py, stand together as long
as no branch, label or access to an array comes between.  What such a stretch needs of the variables
before it, and what is needed of it later, are the call's arguments and results.  A comparison may
be an operand; it becomes a call, too, as `and`, `or` and `not` do.

Every line keeps its number: a stretch says before each of its lines, `now_at(number)`, which one it
is.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from anachron.kernels.cuda.intrinsics import NAMES
from anachron.kernels.cuda.wrapping import count_words, needs_stretch

SHORTEST = 3  # lines that are worth a call
SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


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


def fuse(
    source: str, make: Callable[[str, Any, list[str], dict[str, int]], Any]
) -> tuple[ast.Module, dict]:
    """The shorter text, and the intrinsics that it calls, made by `make`."""
    tree = ast.parse(source)
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    tuples = dict(_tuples(function))
    parts = [part for body in _bodies(function) for part in _cut(body, tuples)]
    stretches = [part for part in parts if isinstance(part, Stretch)]
    needed = {name for stretch in stretches for name in stretch.reads}
    for part in parts:
        if isinstance(part, ast.stmt):
            needed |= set(_own_names(part))
    intrinsics: dict[str, Any] = {}

    def rebuild(body: list[ast.stmt]) -> list[ast.stmt]:
        lines: list[ast.stmt] = []
        for part in _cut(body, tuples):
            if isinstance(part, Stretch):
                lines += _call(part, needed, tuples, intrinsics, make)
                continue
            for name in ("body", "orelse"):
                if getattr(part, name, None):
                    setattr(part, name, rebuild(getattr(part, name)))
            lines.append(part)
        return lines

    function.body = rebuild(function.body)
    return ast.fix_missing_locations(tree), intrinsics


def _call(
    stretch: Stretch,
    needed: set[str],
    tuples: dict[str, int],
    intrinsics: dict[str, Any],
    make: Callable[..., Any],
) -> list[ast.stmt]:
    if len(stretch.lines) < SHORTEST and not _many(stretch):
        return stretch.lines
    name = f"stretch{len(intrinsics)}"
    outputs = {n: tuples.get(n, 1) for n in stretch.writes if n in needed}
    inputs = list(stretch.reads)
    lines: list[ast.stmt] = []
    for line in stretch.lines:
        lines += [*ast.parse(f"now_at({line.lineno})").body, _Truths().visit(line)]
    module = ast.Module(lines, [])
    code = compile(ast.fix_missing_locations(module), f"<{name}>", "exec")
    intrinsics[name] = make(name, code, inputs, outputs)
    call = f"{name}({', '.join(inputs)})"
    texts, at = [f"made = {call}" if outputs else call], 0
    for output, count in outputs.items():
        words = [f"made[{i}]" for i in range(at, at + count)]
        texts.append(f"{output} = {words[0] if count == 1 else '(' + ', '.join(words) + ')'}")
        at += count
    made = ast.parse("\n".join(texts)).body
    for node in (n for statement in made for n in ast.walk(statement)):
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno = node.end_lineno = stretch.lines[0].lineno
    return made


def _tuples(function: ast.AST) -> Iterator[tuple[str, int]]:
    """Variables of several words, and how many."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=called))
            ) if called in NAMES and count_words(called):
                yield name, count_words(called)


class _Truths(ast.NodeTransformer):
    """Comparisons and what joins them -> calls."""

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sign = ast.Constant(SIGNS[type(node.ops[0])])
        left, right = self.visit(node.left), self.visit(node.comparators[0])
        return ast.Call(ast.Name("compare", ast.Load()), [sign, left, right], [])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        name = ast.Name("both" if isinstance(node.op, ast.And) else "either", ast.Load())
        first, *others = map(self.visit, node.values)
        for other in others:
            first = ast.Call(name, [first, other], [])
        return first

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if not isinstance(node.op, ast.Not):
            return node
        return ast.Call(ast.Name("opposite", ast.Load()), [self.visit(node.operand)], [])


def _many(stretch: Stretch) -> bool:
    """Whether a line calls what stands in stretches alone."""
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        and needs_stretch(n.func.id, len(n.args))
        for line in stretch.lines for n in ast.walk(line)
    )  # fmt: skip


def _bodies(function: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body


def _cut(body: list[ast.stmt], tuples: dict[str, int]) -> list[Stretch | ast.stmt]:
    """Stretches, and the lines between them."""
    parts: list[Stretch | ast.stmt] = []
    for line in body:
        last = parts[-1] if parts and isinstance(parts[-1], Stretch) else None
        if _straight(line, tuples):
            if last is None:
                last = Stretch()
                parts.append(last)
            last.add(line)
        else:
            parts.append(line)
    return parts


def _straight(line: ast.stmt, tuples: dict[str, int]) -> bool:
    match line:
        case ast.Assign(targets=[ast.Name()], value=ast.Compare() | ast.BoolOp()):
            return False  # a stretch gives words
        case ast.Assign(targets=[ast.Name()], value=ast.UnaryOp(op=ast.Not())):
            return False
        case ast.Assign(targets=[ast.Name()], value=value):
            return _plain(value, tuples)
        case ast.Expr(value=ast.Call() as call):
            return _plain(call, tuples)
    return False


def _plain(node: ast.expr, tuples: dict[str, int]) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.Constant(value=int()):
            return True
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            return _plain(operand, tuples)
        case ast.Compare(left=left, ops=[_], comparators=[right]):
            return _plain(left, tuples) and _plain(right, tuples)
        case ast.BoolOp(values=values):
            return all(_plain(value, tuples) for value in values)
        case ast.Call(func=ast.Name(id=name), args=args):
            return name in NAMES and all(_plain(arg, tuples) for arg in args)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant()):
            return name in tuples
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
