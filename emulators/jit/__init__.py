"""A small compiler: plain integer Python -> LLVM -> machine code, for the CPUs next door.

A machine is a module of small functions over shared integers. `compile_machine` reads its text,
expands every function in place from the entry on, so that the machine's registers stay in
registers of the host, and hands the result to LLVM. `interpret_machine` runs the same text in
CPython, slowly and visibly; both give the same integers, and the tests say so of every construct.

    registers   module globals, read freely, changed under `global`; kept in host registers
    fields      the same, kept in memory: the only ones that a `@subroutine` may touch
    arrays      name -> "u1[65536]": element type and number of elements; an index is kept inside
    constants   UPPER_CASE names: integers, or numpy arrays that become read-only tables

    statements   = (also a = b = 0)  op=  if  while  for i in range()  match (integers)  break
                 continue  pass  return  raise (leaves the machine)  a call
    expressions  + - * // % & | ^ << >>  ~ -  not and or  == != < <= > >= (also chained)
                 x if c else y   array[i]   f(x)

Differences from CPython, all of them: integers wrap at 64 bits; a shift by a negative count or by
64 or more gives what an endless shift gives; dividing by 0 gives 0; an index outside its array is
brought inside; a value stored in an array loses the bits that do not fit. `interpret_machine`
raises where Python does, so what runs there means the same here. `if CONSTANT` is decided while
compiling, and so is an `if` over a parameter that was given a constant; a name that is neither
register, field, local nor constant, and anything not listed above, is an error with its line.

subset.py    what a function may be: parsed and checked
expressions.py, statements.py   the functions -> LLVM's language
emitter.py   a whole machine in that language
native.py    that text -> machine code, kept in a cache
interpreter.py   the same text in CPython

To add a statement or an expression: a case in the file of that name, a row in tests/test_jit.py.
Source: LLVM Language Reference Manual, https://llvm.org/docs/LangRef.html
"""

if __name__ != "anachron.emulators.jit":
    raise ImportError("import anachron.emulators.jit, not jit")

from anachron.emulators.jit.interpreter import interpret_machine
from anachron.emulators.jit.native import compile_machine
from anachron.emulators.jit.subset import MachineError, subroutine

__all__ = ["MachineError", "compile_machine", "interpret_machine", "subroutine"]
