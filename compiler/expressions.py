"""The graph of a program text: its lines of `name = expression`, and its layers.

Names: a value is called as its variable is, with the layer in front inside a `repeat`, and with a
number behind where the name is taken (x, x2, layer0.x).  An op inside an expression is called
after the variable and itself (logits.add).  A parameter is called after its op and its role
(logits.weight).  Arithmetic on sizes is exact; a size has to come out whole.

To add an op: a row in ops.py; nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lark import Tree

from anachron.compiler.model import MAX_NODES, Node
from anachron.compiler.ops import INDICES, MAX_SIZE, NEEDED, OPS, Row, ShapeError
from anachron.compiler.syntax import Source, called, near


@dataclass(frozen=True)
class Reference:
    """A value of the graph, in an expression."""

    name: str
    size: int

    @property
    def is_index(self) -> bool:
        return self.name in INDICES


class Graph:
    """Reads the lines of a graph, one after the other, into nodes.

    nodes    what they have given so far, by name
    tensors  parameter -> the name that the text gives its tensor
    """

    def __init__(self, source: Source, sizes: Mapping[str, int]) -> None:
        self.source, self.sizes = source, sizes
        self.nodes: dict[str, Node] = {}
        self.tensors: dict[str, str] = {}
        self.variables: dict[str, Reference] = {}
        self.counters: dict[str, int] = {}  # the layer we are in: name -> number
        self.taken: dict[str, int] = {}  # name -> how many there are of it

    def repeat(self, line: Tree) -> None:
        """repeat COUNT as LAYER: the lines below, for layer 0, 1, ..."""
        count, name, *assignments = line.children
        if str(name) in (*self.sizes, *self.variables, *INDICES):
            raise self.source.at(name, f"{name} is taken: call the layer by another name")
        for number in range(self.whole(count)):
            self.counters = {str(name): number}
            for assignment in assignments:
                self.assign(assignment)
        self.counters = {}

    def assign(self, line: Tree) -> None:
        """NAME = EXPRESSION; a name may be given a new value."""
        token, expression = line.children
        name = str(token)
        if name in self.sizes or name in INDICES or name in self.counters:
            raise self.source.at(token, f"{name} is no variable, and cannot be given a value")
        prefix = "".join(f"{layer}{number}." for layer, number in self.counters.items())
        value = self.evaluate(expression, prefix + name, outermost=True)
        if not isinstance(value, Reference) or value.is_index:
            raise self.source.at(
                expression, f"{name} has to be a value of the graph; `size` gives names to numbers"
            )
        self.variables[name] = value

    def evaluate(self, part: Tree, owner: str = "", outermost: bool = False) -> Any:
        """A Fraction, a Reference or a str; new nodes are called after their owner."""
        match part.data:
            case "number":
                return Fraction(str(part.children[0]))
            case "string":
                return self.source.string(part.children[0])
            case "name":
                return self.look_up(part)
            case "negative":
                return -self.number(part.children[0])
            case "subtract":
                return self.number(part.children[0]) - self.number(part.children[1])
            case "divide":
                below = self.number(part.children[1])
                if below == 0:
                    raise self.source.at(part, "this divides by zero")
                return self.number(part.children[0]) / below
            case "add" | "multiply":
                return self.combine(part, owner, outermost)
            case _:
                return self.call(part, owner, outermost)

    def combine(self, part: Tree, owner: str, outermost: bool) -> Fraction | Reference:
        """The sum or the product of two numbers or of two values of the graph."""
        op = str(part.data)
        left, right = (self.evaluate(child, owner) for child in part.children)
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left + right if op == "add" else left * right
        for value, child in zip((left, right), part.children, strict=True):
            if not isinstance(value, Reference) or value.is_index:
                found = value.name if isinstance(value, Reference) else value
                raise self.source.at(
                    child, f"{op} takes two values of the graph or two numbers, but here is {found}"
                )
        return self.emit(part, owner, outermost, op, [left, right], {}, {})

    def call(self, part: Tree, owner: str, outermost: bool) -> Reference:
        """OP(INPUTS, NEEDED SETTINGS, FLAGS, SETTING = ...)."""
        op, arguments, settings = called(self.source, part)
        if op not in OPS:
            raise self.source.at(
                part, f"there is no op {op}{near(op, OPS)}; there are {', '.join(OPS)}"
            )
        if not owner:
            raise self.source.at(part, f"a number is expected here, not {op}(...)")
        row = OPS[op]
        values = dict(row.settings)
        flags = [name for name, default in values.items() if default is False]
        needed = [name for name, default in values.items() if default is NEEDED]
        signature = f"{op}({', '.join((*row.inputs, *needed))})"
        plain = []
        for argument in arguments:
            word = str(argument.children[0]) if argument.data == "name" else ""
            if word in flags:
                values[word] = True
            else:
                plain.append(argument)
        if len(plain) > len(row.inputs) + len(needed):
            raise self.source.at(plain[-1], f"this is one argument too many for {signature}")
        inputs = [self.read_input(op, argument, owner) for argument in plain[: len(row.inputs)]]
        if len(inputs) < len(row.inputs):
            raise self.source.at(part, f"{row.inputs[len(inputs)]} is missing: {signature}")
        for name, argument in zip(needed, plain[len(row.inputs) :], strict=False):
            values[name] = self.plain(self.number(argument))
        given = self.read_settings(row, settings, values)
        for name in needed:
            if values[name] is NEEDED:
                raise self.source.at(part, f"{name} is missing: {signature}")
        return self.emit(part, owner, outermost, op, inputs, values, given)

    def read_settings(
        self, row: Row, settings: dict[str, Tree], values: dict[str, Any]
    ) -> dict[str, str | Reference]:
        """Put settings into values; give back the parameters that the text names itself.

        `weight = tok` shares the weight of tok; `weight = "wte"` names the tensor in the file.
        """
        given: dict[str, str | Reference] = {}
        roles = [role for role in row.gradients if role not in row.inputs]
        for name, part in settings.items():
            value = self.evaluate(part)
            if name in roles and isinstance(value, str | Reference):
                given[name] = value
                if isinstance(value, str):
                    given[name] = self.fill_in(value, part)
                elif value.is_index or name not in self.nodes[value.name].parameters:
                    raise self.source.at(part, f"{value.name} has no {name} to share")
                if name in row.settings:
                    values[name] = True  # naming a bias asks for one
            elif name in row.settings:
                values[name] = self.plain(self.number(part))
            else:
                known = ", ".join(dict.fromkeys([*row.settings, *roles])) or "none"
                raise self.source.at(part, f"{row.name} has no setting {name}; it has {known}")
        return given

    def fill_in(self, text: str, part: Tree) -> str:
        """The text with numbers in place of {layer} and of sizes."""
        for name, number in {**self.sizes, **self.counters}.items():
            text = text.replace(f"{{{name}}}", str(number))
        if "{" in text:
            raise self.source.at(part, f"{text!r}: between braces stands the layer or a size")
        return text

    def read_input(self, op: str, argument: Tree, owner: str) -> Reference:
        """A value that an op reads."""
        value = self.evaluate(argument, owner)
        wanted = "token or position" if op == "embed" else "a value of the graph"
        if not isinstance(value, Reference) or value.is_index != (op == "embed"):
            found = value.name if isinstance(value, Reference) else value
            raise self.source.at(argument, f"{op} reads {wanted}, not {found}")
        return value

    def emit(
        self,
        part: Tree,
        owner: str,
        outermost: bool,
        op: str,
        inputs: list[Reference],
        settings: dict[str, Any],
        given: dict[str, str | Reference],
    ) -> Reference:
        """A node, named by its place; given are the parameters that the text names itself."""
        try:
            attributes, size, shapes = OPS[op].resolve([i.size for i in inputs], settings)
        except ShapeError as error:
            raise self.source.at(part, f"{op}: {error}") from None
        if len(self.nodes) >= MAX_NODES:
            raise self.source.at(part, f"more than {MAX_NODES} ops")
        stem = owner if outermost else f"{owner}.{op}"
        name = stem
        while name in self.nodes or name in INDICES:
            self.taken[stem] = self.taken.get(stem, 1) + 1
            name = f"{stem}{self.taken[stem]}"
        parameters = {role: f"{name}.{role}" for role in shapes}
        for role, what in given.items():
            if isinstance(what, str):
                self.tensors[parameters[role]] = what
            else:
                parameters[role] = self.nodes[what.name].parameters[role]
        where = self.source.where(part)
        self.nodes[name] = Node(
            name, op, tuple(i.name for i in inputs), attributes, parameters, where
        )
        return Reference(name, size)

    def look_up(self, part: Tree) -> Fraction | Reference:
        """What a name stands for."""
        name = str(part.children[0])
        for numbers in (self.counters, self.sizes):
            if name in numbers:
                return Fraction(numbers[name])
        if name in self.variables:
            return self.variables[name]
        if name in INDICES and "seq_len" in self.sizes and "vocab_size" in self.sizes:
            return Reference(name, self.sizes["vocab_size" if name == "token" else "seq_len"])
        known = [*self.sizes, *self.variables, *self.counters, *INDICES]
        raise self.source.at(part, f"{name} is not known here{near(name, known)}")

    def number(self, part: Tree) -> Fraction:
        """The number that an expression comes to."""
        value = self.evaluate(part)
        if not isinstance(value, Fraction):
            what = value.name if isinstance(value, Reference) else repr(value)
            raise self.source.at(part, f"a number is expected here, not {what}")
        return value

    def whole(self, part: Tree) -> int:
        """The size that an expression comes to."""
        value = self.number(part)
        if value.denominator != 1 or not 1 <= value <= MAX_SIZE:
            raise self.source.at(
                part, f"this is {value}, allowed is a whole number from 1 to {MAX_SIZE}"
            )
        return int(value)

    def plain(self, value: Fraction) -> int | float:
        """A number as Python has it."""
        return int(value) if value.denominator == 1 else float(value)
