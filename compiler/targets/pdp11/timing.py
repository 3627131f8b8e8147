"""The nanoseconds of one PDP-11 instruction, and where the path goes from it.

The times are those of emulators/pdp11/timing.py, which the emulator reads too.
"""
from __future__ import annotations

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Claims, Cycles, TimingError
from anachron.compiler.steps import Flow, Step
from anachron.emulators.pdp11.isa import Instruction

DEFAULT_TIMING = {"pdp11/20": "11/20"}  # machine -> row of times; all others have "ll-34"

_PC = 0o07  # the program counter as an operand: a register that jumps
_PLAIN = (0o37, 0o67)  # an address written out
_TRAPS = frozenset({"EMT", "TRAP", "BPT", "IOT", "WAIT"})


def step(program: Program, line: Line, claims: Claims, timing: str | None = None) -> Step:
    """An instruction's Step."""
    from anachron.emulators.pdp11.timing import instruction_time
    row: Instruction = line.row
    words = [int.from_bytes(line.bytes[k:k + 2], "little") for k in range(0, len(line.bytes), 2)]
    timing = timing or DEFAULT_TIMING.get(program.machine or "", "ll-34")
    time = Cycles(*instruction_time(words, timing))
    if row.form in ("OOO", "RNN"):
        if row.mnemonic == "BR":
            return Step(line, Flow.JUMP, Cycles(time.hi, time.hi, time.hi), claims, line.operand)
        return Step(line, Flow.BRANCH, Cycles(time.lo, time.lo, time.lo), claims, line.operand,
                    Cycles(time.hi, time.hi, time.hi))
    if row.access == "address":  # JMP, JSR, CALL
        flow = Flow.JUMP if row.mnemonic == "JMP" else Flow.CALL
        target = line.operand if words[0] & 0o77 in _PLAIN else None
        if target is None and not claims.goes and (flow is Flow.JUMP or claims.plus is None):
            raise TimingError(f"where this {row.mnemonic} goes is not in the text; "
                              "claim `;@ goes LABEL`")
        return Step(line, flow, time, claims, target)
    if row.mnemonic in ("RTS", "RETURN", "RTI", "RTT", "HALT"):
        return Step(line, Flow.JUMP if claims.goes else Flow.RETURN, time, claims)
    if row.mnemonic in _TRAPS and claims.plus is None and claims.takes is None:
        raise TimingError(f"what {row.mnemonic} waits for is not in the text; claim `;@ plus N`")
    if row.access in ("write", "modify") and words[0] & 0o77 == _PC:
        if not claims.goes:
            raise TimingError("where this change of PC goes is not in the text; "
                              "claim `;@ goes LABEL`")
        return Step(line, Flow.JUMP, time, claims)
    return Step(line, Flow.NEXT, time, claims)
