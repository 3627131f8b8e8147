"""A machine -> the text of LLVM's language: tables, subroutines, and the entry around them."""

import ast

import numpy as np

from anachron.emulators.jit.expressions import Frame
from anachron.emulators.jit.statements import Body
from anachron.emulators.jit.subset import Function, Machine

# The arithmetic that LLVM leaves undefined for some operands, made whole; expanded by LLVM.
PRELUDE = """
define internal i64 @shift.left(i64 %x, i64 %n) alwaysinline nounwind {
  %far = icmp ugt i64 %n, 63
  %near = and i64 %n, 63
  %y = shl i64 %x, %near
  %z = select i1 %far, i64 0, i64 %y
  ret i64 %z
}
define internal i64 @shift.right(i64 %x, i64 %n) alwaysinline nounwind {
  %far = icmp ugt i64 %n, 63
  %near = select i1 %far, i64 63, i64 %n
  %y = ashr i64 %x, %near
  ret i64 %y
}
define internal i64 @floor.div(i64 %x, i64 %d) alwaysinline nounwind {
  %none = icmp eq i64 %d, 0
  %minus = icmp eq i64 %d, -1
  %odd = or i1 %none, %minus
  %by = select i1 %odd, i64 1, i64 %d
  %q = sdiv i64 %x, %by
  %r = srem i64 %x, %by
  %left = icmp ne i64 %r, 0
  %signs = xor i64 %r, %by
  %differ = icmp slt i64 %signs, 0
  %down = and i1 %left, %differ
  %one = zext i1 %down to i64
  %floor = sub i64 %q, %one
  %negative = sub i64 0, %x
  %whole = select i1 %minus, i64 %negative, i64 %floor
  %z = select i1 %none, i64 0, i64 %whole
  ret i64 %z
}
define internal i64 @floor.mod(i64 %x, i64 %d) alwaysinline nounwind {
  %q = call i64 @floor.div(i64 %x, i64 %d)
  %p = mul i64 %q, %d
  %r = sub i64 %x, %p
  %none = icmp eq i64 %d, 0
  %z = select i1 %none, i64 0, i64 %r
  ret i64 %z
}
"""


def emit_machine(machine: Machine, entry: str) -> str:
    """The LLVM text of a machine: @entry(registers and fields, arrays...)."""
    if entry not in machine.functions or machine.functions[entry].parameters:
        machine.fail(ast.Pass(), f"no function {entry}() without parameters")
    bodies: dict[str, str] = {}
    tables: dict[str, np.ndarray] = {}
    waiting = [machine.functions[entry]]
    while waiting:
        function = waiting.pop()
        if function.name not in bodies:
            body = Body(machine, function.apart)
            bodies[function.name] = _entry(body, function, machine) if function.name == entry \
                else _subroutine(body, function, machine)
            tables |= body.tables
            waiting += body.wanted.values()
    texts = [PRELUDE, "declare i64 @llvm.umin.i64(i64, i64)\n"]
    for name, table in tables.items():
        kind = f"i{8 * table.itemsize}"
        numbers = ", ".join(f"{kind} {number}" for number in table.tolist())
        texts.append(f"@{name} = internal unnamed_addr constant [{table.size} x {kind}] "
                     f"[{numbers}]\n")
    return "".join((*texts, *bodies.values()))


def _pointers(machine: Machine, first: str) -> str:
    return ", ".join(f"ptr noalias nocapture %{a}"
                     for a in (first, *("a." + name for name in machine.arrays)))


def _slots(body: Body) -> str:
    return "".join(f"  %v.{name} = alloca i64\n  store i64 0, ptr %v.{name}\n"
                   for name in body.slots)


def _fields(machine: Machine) -> str:
    return "".join(f"  %f.{name} = getelementptr i64, ptr %fields, i64 {i}\n"
                   for i, name in enumerate(machine.fields))


def _entry(body: Body, function: Function, machine: Machine) -> str:
    """The function called from outside: registers come in from memory and go back at the end."""
    body.slots.update(dict.fromkeys(machine.registers))
    body.expand(function, [], function.node)
    body.jump("leave")
    n_registers = len(machine.registers)
    places = "".join(f"  %p.{name} = getelementptr i64, ptr %registers, i64 {i}\n"
                     for i, name in enumerate(machine.registers))
    loads = "".join(f"  %in.{name} = load i64, ptr %p.{name}\n"
                    f"  store i64 %in.{name}, ptr %v.{name}\n" for name in machine.registers)
    stores = "".join(f"  %out.{name} = load i64, ptr %v.{name}\n"
                     f"  store i64 %out.{name}, ptr %p.{name}\n" for name in machine.registers)
    return (f"define void @{function.name}({_pointers(machine, 'registers')}) nounwind {{\n"
            f"  %fields = getelementptr i64, ptr %registers, i64 {n_registers}\n"
            f"{_fields(machine)}{places}{_slots(body)}{loads}"
            + "\n".join(body.code) + f"\nleave:\n{stores}  ret void\n}}\n")


def _subroutine(body: Body, function: Function, machine: Machine) -> str:
    """A function compiled apart: out of the way, and called."""
    frame = Frame(function, f"{function.name}.0.", "end", {})
    body.frames.append(frame)
    for i, parameter in enumerate(function.parameters):
        body.emit(f"store i64 %x{i}, ptr {body.slot(function.node, parameter)}")
    result = body.finish(frame)
    parameters = "".join(f", i64 %x{i}" for i in range(len(function.parameters)))
    return (f"define internal i64 @{function.name}({_pointers(machine, 'fields')}{parameters}) "
            f"cold noinline nounwind {{\n{_fields(machine)}{_slots(body)}"
            + "\n".join(body.code) + f"\n  ret i64 {result}\n}}\n")
