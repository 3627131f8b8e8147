"""Expressions and calls of a machine's functions -> LLVM text.

Each variable is a stack slot, each function called is expanded in place; LLVM's first pass turns
the slots into registers. What is known while emitting (constants, and parameters that were given
one) is folded here, so that a branch not taken costs no compile time.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from anachron.emulators.jit.subset import Array, Function, Machine

ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul",
              ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor"}
SUPPORT = {ast.LShift: "shift.left", ast.RShift: "shift.right",
           ast.FloorDiv: "floor.div", ast.Mod: "floor.mod"}
COMPARE = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "slt",
           ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge"}
FOLD = {
    ast.Add: int.__add__, ast.Sub: int.__sub__, ast.Mult: int.__mul__, ast.BitAnd: int.__and__,
    ast.BitOr: int.__or__, ast.BitXor: int.__xor__, ast.LShift: int.__lshift__,
    ast.RShift: int.__rshift__, ast.FloorDiv: int.__floordiv__, ast.Mod: int.__mod__,
    ast.Eq: int.__eq__, ast.NotEq: int.__ne__, ast.Lt: int.__lt__, ast.LtE: int.__le__,
    ast.Gt: int.__gt__, ast.GtE: int.__ge__,
}

@dataclass
class Frame:
    """A function being expanded: how its locals are called, what is known of its parameters."""

    function: Function
    prefix: str
    end: str
    known: dict[str, int]
    loops: list[tuple[str, str]] = field(default_factory=list)


class Expressions:
    """The text of one LLVM function as it grows: its names, values and calls."""

    def __init__(self, machine: Machine, apart: bool) -> None:
        self.machine, self.apart = machine, apart
        self.code: list[str] = []
        self.slots: dict[str, None] = {}
        self.frames: list[Frame] = []
        self.count = 0
        self.wanted: dict[str, Function] = {}  # subroutines it calls
        self.tables: dict[str, np.ndarray] = {}  # constant arrays it reads

    # ---- text
    def emit(self, text: str) -> None:
        self.code.append("  " + text)

    def value(self, text: str) -> str:
        self.count += 1
        self.emit(f"%t{self.count} = {text}")
        return f"%t{self.count}"

    def label(self) -> str:
        self.count += 1
        return f"L{self.count}"

    def begin(self, label: str) -> None:
        self.code.append(label + ":")

    def jump(self, label: str) -> None:
        self.emit(f"br label %{label}")

    # ---- names
    def local(self, name: str) -> str:
        return self.frames[-1].prefix + name

    def slot(self, node: ast.AST, name: str) -> str:
        """Where a variable lives; error if it is not one."""
        machine = self.machine
        if name in machine.fields:
            return f"%f.{name}"
        if name in machine.registers:
            if self.apart:
                machine.fail(node, f"a @subroutine cannot touch the register {name!r}: "
                                   "pass it, or make it a field")
            return f"%v.{name}"
        function = self.frames[-1].function
        if name not in function.assigned and name not in function.parameters:
            machine.fail(node, f"{name!r} is no register, field, local or constant")
        self.slots[self.local(name)] = None
        return f"%v.{self.local(name)}"

    def known(self, e: ast.expr) -> int | None:
        """The value of an expression where it is known now, else None."""
        match e:
            case ast.Constant(value=bool() | int() as literal):
                return int(literal)
            case ast.Name(id=name):
                constant = self.machine.constants.get(name)
                number = self.frames[-1].known.get(name, constant)
                return number if isinstance(number, int) else None
            case ast.BinOp(left, op, right):
                return self.fold(op, self.known(left), self.known(right))
            case ast.Compare(left, [op], [right]):
                return self.fold(op, self.known(left), self.known(right))
            case ast.UnaryOp(op, operand):
                return self.fold_unary(op, self.known(operand))
            case ast.BoolOp(op, values):
                parts = [self.known(v) for v in values]
                decisive = isinstance(op, ast.Or)
                if any(p is not None and bool(p) == decisive for p in parts):
                    return int(decisive)
                return None if None in parts else int(not decisive)
            case ast.IfExp(test, body, orelse):
                choice = self.known(test)
                return None if choice is None else self.known(body if choice else orelse)
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                table, at = self.machine.constants.get(name), self.known(index)
                if isinstance(table, np.ndarray) and at is not None and 0 <= at < table.size:
                    return int(table[at])
        return None

    def fold(self, op: ast.AST, left: int | None, right: int | None) -> int | None:
        if left is None or right is None or type(op) not in FOLD:
            return None
        if type(op) in SUPPORT and not 0 < right < 64:
            return None  # what CPython refuses, or would make huge, is left to SUPPORT
        return int(FOLD[type(op)](left, right))

    def fold_unary(self, op: ast.unaryop, operand: int | None) -> int | None:
        if operand is None:
            return None
        match op:
            case ast.USub():
                return -operand
            case ast.Invert():
                return ~operand
            case ast.Not():
                return int(not operand)
        return None

    # ---- expressions
    def expression(self, e: ast.expr) -> str:
        """Emit an expression; the name of its 64-bit value, or a number."""
        number = self.known(e)
        if number is not None:
            return str((number + 2**63) % 2**64 - 2**63)
        match e:
            case ast.Name(id=name):
                return self.value(f"load i64, ptr {self.slot(e, name)}")
            case ast.BinOp(left, op, right):
                return self.arithmetic(e, op, self.expression(left), self.expression(right), right)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.value(f"sub i64 0, {self.expression(operand)}")
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return self.value(f"xor i64 -1, {self.expression(operand)}")
            case ast.IfExp(test, body, orelse):
                return self.choice(test, body, orelse)
            case ast.Subscript():
                place, array = self.element(e)
                bits = 8 * array.kind.itemsize
                got = self.value(f"load i{bits}, ptr {place}")
                widen = "zext" if array.kind.kind == "u" else "sext"
                return got if bits == 64 else self.value(f"{widen} i{bits} {got} to i64")
            case ast.Call():
                return self.call(e, wanted=True)
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return self.value(f"zext i1 {self.condition(e)} to i64")
            case ast.BoolOp(values=values) if all(map(_is_test, values)):
                return self.value(f"zext i1 {self.condition(e)} to i64")
            case ast.BoolOp():
                self.machine.fail(e, "as a value, `and` and `or` need comparisons on both sides")
        self.machine.fail(e, f"not in the subset: {ast.unparse(e)}")

    def arithmetic(
        self, e: ast.expr, op: ast.operator, left: str, right: str, divisor: ast.expr
    ) -> str:
        count = self.known(divisor)
        match op:
            case ast.LShift() if count is not None and 0 <= count < 64:
                return self.value(f"shl i64 {left}, {right}")
            case ast.RShift() if count is not None and 0 <= count < 64:
                return self.value(f"ashr i64 {left}, {right}")
            case ast.FloorDiv() if count is not None and count > 0 and count & count - 1 == 0:
                return self.value(f"ashr i64 {left}, {count.bit_length() - 1}")
            case ast.Mod() if count is not None and count > 0 and count & count - 1 == 0:
                return self.value(f"and i64 {left}, {count - 1}")
        if type(op) in SUPPORT:
            return self.value(f"call i64 @{SUPPORT[type(op)]}(i64 {left}, i64 {right})")
        if type(op) not in ARITHMETIC:
            self.machine.fail(e, f"not in the subset: {ast.unparse(e)}")
        return self.value(f"{ARITHMETIC[type(op)]} i64 {left}, {right}")

    def choice(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> str:
        """`body if test else orelse`; only one is called where either calls."""
        choice = self.known(test)
        if choice is not None:
            return self.expression(body if choice else orelse)
        if not (_calls(body) or _calls(orelse)):
            chosen = self.condition(test)
            yes, no = self.expression(body), self.expression(orelse)
            return self.value(f"select i1 {chosen}, i64 {yes}, i64 {no}")
        self.count += 1
        result = self.local(f"choice{self.count}")
        self.slots[result] = None
        ends = [self.label() for _ in range(3)]
        self.emit(f"br i1 {self.condition(test)}, label %{ends[0]}, label %{ends[1]}")
        for label, part in zip(ends, (body, orelse), strict=False):
            self.begin(label)
            self.emit(f"store i64 {self.expression(part)}, ptr %v.{result}")
            self.jump(ends[2])
        self.begin(ends[2])
        return self.value(f"load i64, ptr %v.{result}")

    def condition(self, e: ast.expr) -> str:
        """Emit a test; the name of its 1-bit value."""
        number = self.known(e)
        if number is not None:
            return "true" if number else "false"
        match e:
            case ast.Compare(left, ops, comparators):
                values = [self.expression(v) for v in (left, *comparators)]
                got = ""
                for op, a, b in zip(ops, values, values[1:], strict=False):
                    if type(op) not in COMPARE:
                        self.machine.fail(e, f"not in the subset: {ast.unparse(e)}")
                    one = self.value(f"icmp {COMPARE[type(op)]} i64 {a}, {b}")
                    got = self.value(f"and i1 {got}, {one}") if got else one
                return got
            case ast.BoolOp(op, [first, *rest]):
                word = "and" if isinstance(op, ast.And) else "or"
                got = self.condition(first)
                for part in rest:
                    got = (self.short_circuit(word, got, part) if _calls(part)
                           else self.value(f"{word} i1 {got}, {self.condition(part)}"))
                return got
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.value(f"xor i1 true, {self.condition(operand)}")
        return self.value(f"icmp ne i64 {self.expression(e)}, 0")

    def short_circuit(self, word: str, got: str, part: ast.expr) -> str:
        """`got and part` where part calls: only if it still matters."""
        self.count += 1
        result = self.local(f"both{self.count}")
        self.slots[result] = None
        wide = self.value(f"zext i1 {got} to i64")
        self.emit(f"store i64 {wide}, ptr %v.{result}")
        more, end = self.label(), self.label()
        to = (more, end) if word == "and" else (end, more)
        self.emit(f"br i1 {got}, label %{to[0]}, label %{to[1]}")
        self.begin(more)
        wide = self.value(f"zext i1 {self.condition(part)} to i64")
        self.emit(f"store i64 {wide}, ptr %v.{result}")
        self.jump(end)
        self.begin(end)
        return self.value(f"icmp ne i64 {self.value(f'load i64, ptr %v.{result}')}, 0")

    def element(self, e: ast.Subscript) -> tuple[str, Array]:
        """Where array[index] is; the index is brought inside the array."""
        if not isinstance(e.value, ast.Name):
            self.machine.fail(e, f"not in the subset: {ast.unparse(e)}")
        name = e.value.id
        table = self.machine.constants.get(name)
        if name in self.machine.arrays:
            array, base = self.machine.arrays[name], "%a." + name
        elif isinstance(table, np.ndarray):
            array, base = Array(table.dtype, table.size), "@" + name
            self.tables[name] = table
        else:
            self.machine.fail(e, f"{name!r} is no array")
        number = self.known(e.slice)
        if number is not None and not 0 <= number < array.size:
            self.machine.fail(e, f"{name}[{number}]: it has {array.size} elements")
        index = self.expression(e.slice)
        if number is None and array.size & array.size - 1 == 0:
            index = self.value(f"and i64 {index}, {array.size - 1}")
        elif number is None:
            index = self.value(f"call i64 @llvm.umin.i64(i64 {index}, i64 {array.size - 1})")
        kind = f"i{8 * array.kind.itemsize}"
        return self.value(f"getelementptr {kind}, ptr {base}, i64 {index}"), array

    # ---- calls
    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Emit statements: Body does."""
        raise NotImplementedError

    def call(self, e: ast.Call, wanted: bool) -> str:
        name = ast.unparse(e.func)
        function = self.machine.functions.get(name)
        if function is None or e.keywords:
            self.machine.fail(e, f"{name}: no function of this machine, or keywords given")
        if function.fault:
            self.machine.fail(function.node, function.fault)
        if len(e.args) != len(function.parameters):
            self.machine.fail(e, f"{name} takes {len(function.parameters)} arguments, "
                                 f"{len(e.args)} given")
        if wanted and not function.returns:
            self.machine.fail(e, f"{name} returns nothing")
        if not function.apart:
            return self.expand(function, e.args, e)
        self.wanted[name] = function
        values = ["ptr %fields", *(f"ptr %a.{a}" for a in self.machine.arrays),
                  *(f"i64 {self.expression(a)}" for a in e.args)]
        return self.value(f"call i64 @{name}({', '.join(values)})")

    def expand(self, function: Function, arguments: Sequence[ast.expr], e: ast.AST) -> str:
        """Emit a function's body here; its result, or 0."""
        if any(f.function is function for f in self.frames):
            self.machine.fail(e, f"{function.name} calls itself")
        given = [(self.known(a), self.expression(a)) for a in arguments]
        self.count += 1
        frame = Frame(function, f"{function.name}.{self.count}.", self.label(), {})
        for parameter, (number, _) in zip(function.parameters, given, strict=True):
            if number is not None and parameter not in function.assigned:
                frame.known[parameter] = number
        self.frames.append(frame)
        for parameter, (_, value) in zip(function.parameters, given, strict=True):
            if parameter not in frame.known:
                self.emit(f"store i64 {value}, ptr {self.slot(e, parameter)}")
        return self.finish(frame)

    def finish(self, frame: Frame) -> str:
        """Emit the body of the function whose frame is on top, and take the frame off."""
        result = self.local("return")
        if frame.function.returns:
            self.slots[result] = None
        self.block(frame.function.body)
        self.jump(frame.end)
        self.begin(frame.end)
        self.frames.pop()
        return self.value(f"load i64, ptr %v.{result}") if frame.function.returns else "0"


def _is_test(e: ast.expr) -> bool:
    """Does an expression give a truth value, and nothing else?"""
    match e:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=values):
            return all(map(_is_test, values))
    return False


def _calls(e: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(e))
