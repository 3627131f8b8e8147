"""Statements of a machine's functions -> LLVM text: jumps, loops and assignments."""

import ast
from collections.abc import Sequence

from anachron.emulators.jit.expressions import Expressions


class Body(Expressions):
    """The text of one LLVM function: the entry, or a @subroutine."""

    def block(self, statements: Sequence[ast.stmt]) -> None:
        for s in statements:
            self.statement(s)

    def leave_to(self, label: str) -> None:
        """Jump, and begin a block for whatever the text has behind (it is never reached)."""
        self.jump(label)
        self.begin(self.label())

    def assign(self, target: ast.expr, value: str) -> None:
        match target:
            case ast.Name(id=name):
                self.emit(f"store i64 {value}, ptr {self.slot(target, name)}")
            case ast.Subscript(value=ast.Name(id=name)) if name in self.machine.arrays:
                place, array = self.element(target)
                bits = 8 * array.kind.itemsize
                narrow = value if bits == 64 else self.value(f"trunc i64 {value} to i{bits}")
                self.emit(f"store i{bits} {narrow}, ptr {place}")
            case _:
                self.machine.fail(target, f"cannot be assigned: {ast.unparse(target)}")

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Assign(targets, value):
                result = self.expression(value)
                for target in targets:
                    self.assign(target, result)
            case ast.AugAssign(target, op, value):
                old = ast.copy_location(ast.BinOp(_loaded(target), op, value), s)
                self.assign(target, self.expression(old))
            case ast.If(test, body, orelse):
                self.branch(test, body, orelse)
            case ast.While(test, body, []):
                top, inside, end = self.label(), self.label(), self.label()
                self.jump(top)
                self.begin(top)
                self.emit(f"br i1 {self.condition(test)}, label %{inside}, label %{end}")
                self.begin(inside)
                self.loop(body, top, end)
                self.jump(top)
                self.begin(end)
            case ast.For(ast.Name() as target, ast.Call(ast.Name("range"), bounds, []), body, []):
                self.count_through(target, bounds, body)
            case ast.Match(subject, cases):
                self.switch(subject, cases)
            case ast.Break() | ast.Continue() if self.frames[-1].loops:
                self.leave_to(self.frames[-1].loops[-1][isinstance(s, ast.Break)])
            case ast.Raise():
                if self.apart:
                    self.machine.fail(s, "a @subroutine cannot leave the machine")
                self.leave_to("leave")
            case ast.Return(value):
                if value is not None:
                    self.emit(f"store i64 {self.expression(value)}, ptr %v.{self.local('return')}")
                self.leave_to(self.frames[-1].end)
            case ast.Expr(ast.Call() as e):
                self.call(e, wanted=False)
            case ast.Expr(ast.Constant()) | ast.Pass() | ast.Global():
                pass
            case _:
                self.machine.fail(s, f"not in the subset: {ast.unparse(s).splitlines()[0]}")

    def branch(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        choice = self.known(test)
        if choice is not None:
            return self.block(body if choice else orelse)
        yes, no, end = self.label(), self.label(), self.label()
        self.emit(f"br i1 {self.condition(test)}, label %{yes}, label %{no}")
        for label, part in ((yes, body), (no, orelse)):
            self.begin(label)
            self.block(part)
            self.jump(end)
        self.begin(end)

    def loop(self, body: list[ast.stmt], again: str, end: str) -> None:
        self.frames[-1].loops.append((again, end))
        self.block(body)
        self.frames[-1].loops.pop()

    def count_through(
        self, target: ast.Name, bounds: list[ast.expr], body: list[ast.stmt]
    ) -> None:
        if len(bounds) not in (1, 2):
            self.machine.fail(target, "range takes an end, or a start and an end")
        first = self.expression(bounds[0]) if len(bounds) == 2 else "0"
        last = self.expression(bounds[-1])
        self.count += 1
        counter = self.local(f"range{self.count}")
        self.slots[counter] = None
        self.emit(f"store i64 {first}, ptr %v.{counter}")
        top, inside, again, end = (self.label() for _ in range(4))
        self.jump(top)
        self.begin(top)
        now = self.value(f"load i64, ptr %v.{counter}")
        test = self.value(f"icmp slt i64 {now}, {last}")
        self.emit(f"br i1 {test}, label %{inside}, label %{end}")
        self.begin(inside)
        self.assign(target, now)
        self.loop(body, again, end)
        self.jump(again)
        self.begin(again)
        following = self.value(f"add i64 {now}, 1")
        self.emit(f"store i64 {following}, ptr %v.{counter}")
        self.jump(top)
        self.begin(end)

    def switch(self, subject: ast.expr, cases: list[ast.match_case]) -> None:
        value, end, default = self.expression(subject), self.label(), self.label()
        arms: list[str] = []
        placeholder = len(self.code)
        self.code.append("")
        begun = False
        for case in cases:
            numbers = self.patterns(case)
            label = self.label() if numbers else default
            begun = begun or not numbers
            arms += [f"i64 {n}, label %{label}" for n in numbers]
            self.begin(label)
            self.block(case.body)
            self.jump(end)
        if not begun:
            self.begin(default)
            self.jump(end)
        self.code[placeholder] = f"  switch i64 {value}, label %{default} [{' '.join(arms)}]"
        self.begin(end)

    def patterns(self, case: ast.match_case) -> list[int]:
        """The integers of a case; none for `case _`."""
        parts = getattr(case.pattern, "patterns", [case.pattern])
        match parts:
            case [ast.MatchAs(pattern=None, name=None)] if case.guard is None:
                return []
        numbers = [self.known(p.value) if isinstance(p, ast.MatchValue) else None for p in parts]
        if case.guard is not None or None in numbers:
            self.machine.fail(case.pattern, "a case is integers, joined by |, or _")
        return [n for n in numbers if n is not None]


def _loaded(target: ast.expr) -> ast.expr:
    """The same place, read."""
    match target:
        case ast.Name(id=name):
            return ast.copy_location(ast.Name(name, ast.Load()), target)
        case ast.Subscript(value, index):
            return ast.copy_location(ast.Subscript(value, index, ast.Load()), target)
    return target
