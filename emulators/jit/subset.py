"""The text of a machine -> its functions, checked: what may be compiled, and what each name is."""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
KINDS = ("u1", "u2", "u4", "i1", "i2", "i4", "i8")


class MachineError(ValueError):
    """A machine's text is outside the subset; the message begins with file:line:column."""


def subroutine(function: F) -> F:
    """Mark a function to be compiled once, apart: for large, rarely taken paths (devices)."""
    return function


@dataclass(frozen=True)
class Array:
    """What an array holds: "u1[65536]" is 65,536 unsigned bytes."""

    kind: np.dtype[Any]
    size: int

    @classmethod
    def parse(cls, text: str) -> "Array":
        kind, bracket, size = text.partition("[")
        if kind not in KINDS or not bracket or not size[:-1].isdecimal() or size[-1] != "]":
            raise MachineError(f"array type {text!r}: one of {' '.join(KINDS)} and its number of "
                               "elements expected, as in u1[65536]")
        return cls(np.dtype(kind), int(size[:-1]))


@dataclass(frozen=True)
class Function:
    """One function of the text and what its names are."""

    name: str
    parameters: tuple[str, ...]
    body: tuple[ast.stmt, ...]
    node: ast.FunctionDef
    assigned: frozenset[str]  # every name it assigns
    shared: frozenset[str]  # those declared `global`
    returns: bool
    apart: bool  # a @subroutine
    fault: str  # why it cannot be compiled: an error once something calls it


@dataclass(frozen=True)
class Machine:
    """A machine's text, parsed, with the meaning of its global names."""

    where: str
    functions: Mapping[str, Function]
    constants: Mapping[str, Any]
    registers: tuple[str, ...]
    fields: tuple[str, ...]
    arrays: Mapping[str, Array]

    def fail(self, node: ast.AST, message: str) -> NoReturn:
        line, column = getattr(node, "lineno", 0), getattr(node, "col_offset", -1) + 1
        raise MachineError(f"{self.where}:{line}:{column}: {message}")


def parse_machine(
    source: str,
    constants: Mapping[str, Any],
    registers: Sequence[str],
    arrays: Mapping[str, str],
    fields: Sequence[str] = (),
    where: str = "machine",
) -> Machine:
    """Find the functions in a machine's text; MachineError for what can never be compiled.

    Only functions are looked at: whatever else the module does is done, and `constants` is what
    it left behind (its globals), of which the UPPER_CASE integers and arrays are taken.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise MachineError(f"{where}:{error.lineno}:{error.offset}: {error.msg}") from None
    kept = {name: _constant(value) for name, value in constants.items() if name.isupper()}
    kept = {name: value for name, value in kept.items() if value is not None}
    functions: dict[str, Function] = {}
    shared = (*registers, *fields)
    machine = Machine(where, functions, kept, tuple(registers), tuple(fields),
                      {name: Array.parse(text) for name, text in arrays.items()})
    clash = [name for name in shared if shared.count(name) > 1 or name in arrays or name.isupper()]
    if clash:
        raise MachineError(f"{where}: {clash[0]!r} is named twice, or is an UPPER_CASE register")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            if node.name in functions:
                machine.fail(node, f"{node.name} is defined twice")
            functions[node.name] = _function(machine, node)
    return machine


def _constant(value: Any) -> int | np.ndarray | None:
    """An integer or a flat integer array, or None for anything else."""
    if isinstance(value, (bool, int, np.integer)):
        return int(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.shape == (value.size,):
        return value if value.size else None
    return None


def _function(machine: Machine, node: ast.FunctionDef) -> Function:
    assigned: set[str] = set()
    shared: set[str] = set()
    returns = False
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name, ctx=ast.Store()):
                assigned.add(name)
            case ast.Global(names=names):
                shared.update(names)
            case ast.Return(value=ast.expr()):
                returns = True
    plain = node.args
    parameters = tuple(a.arg for a in plain.args)
    marks = [d.id if isinstance(d, ast.Name) else "?" for d in node.decorator_list]
    machine_wide = {*machine.registers, *machine.fields}
    rules: dict[str, Any] = {
        "only positional parameters without defaults": plain.vararg or plain.kwarg
        or plain.defaults or plain.kwonlyargs or plain.posonlyargs,
        "the only decorator is @subroutine": marks not in ([], ["subroutine"]),
        "declare registers and fields `global` before assigning them":
            machine_wide & (assigned - shared),
        "`global` is for registers and fields": shared - machine_wide,
        "a parameter has a register's or a field's name": machine_wide & set(parameters),
        "UPPER_CASE names are constants": {n for n in (*assigned, *parameters) if n.isupper()},
        "an array is assigned as a whole": set(machine.arrays) & assigned,
    }
    fault = ""
    for rule, broken in rules.items():
        if broken and not fault:
            what = f" ({', '.join(sorted(broken))})" if isinstance(broken, set) else ""
            fault = f"{node.name}: {rule}{what}"
    return Function(node.name, parameters, tuple(node.body), node, frozenset(assigned),
                    frozenset(shared), returns, marks == ["subroutine"], fault)
