"""The cycles of one 6502 instruction, and where the path goes from it.

Cycles are the CPU's own: the VIC-II's bad lines come on top where the screen is on.
Source: MOS Technology, MCS6500 Family Programming Manual (1976), appendix B.
"""
from __future__ import annotations

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Claims, Cycles, TimingError, amount
from anachron.compiler.steps import Flow, Step
from anachron.emulators.mos6502.isa import Instruction

_INDEXED = frozenset({"abx", "aby", "izy"})
_ENDS = frozenset({"RTS", "RTI", "BRK", "JAM"})


def patched_bytes(program: Program) -> frozenset[int]:
    """Addresses of bytes that some instruction stores to by name."""
    known = program.notes.get("patched")
    if known is None:
        known = program.notes["patched"] = frozenset(
            line.operand for line in program.instructions.values()
            if line.row.mode in ("abs", "zp") and line.row.access in ("write", "modify"))
    return known  # type: ignore[no-any-return]


def step(program: Program, line: Line, claims: Claims, timing: str | None = None) -> Step:
    """An instruction's Step."""
    row: Instruction = line.row
    cycles = Cycles(row.cycles, row.cycles, row.cycles)
    if line.address in patched_bytes(program) and claims.takes is None:
        raise TimingError("the program changes this opcode; claim `;@ takes LO..HI`")
    if row.mode == "rel":
        assert line.operand is not None
        crosses = (line.address + 2 ^ line.operand) & 0xFF00 != 0
        taken = row.cycles + 1 + crosses
        return Step(line, Flow.BRANCH, cycles, claims, line.operand, Cycles(taken, taken, taken))
    if row.mnemonic in ("JMP", "JSR"):
        flow = Flow.JUMP if row.mnemonic == "JMP" else Flow.CALL
        unknown = row.mode == "ind" or _is_patched(program, line, claims)
        if unknown and not claims.goes and (flow is Flow.JUMP or claims.plus is None):
            raise TimingError(f"where this {row.mnemonic} goes is not in the text; "
                              "claim `;@ goes LABEL`")
        return Step(line, flow, cycles, claims, None if unknown else line.operand)
    if row.mnemonic in _ENDS:
        return Step(line, Flow.JUMP if claims.goes else Flow.RETURN, cycles, claims)
    if row.crossing and row.mode in _INDEXED:
        cycles += _crossing(program, line, claims)
    return Step(line, Flow.NEXT, cycles, claims)


def _is_patched(program: Program, line: Line, claims: Claims) -> bool:
    patched = patched_bytes(program)
    return claims.patched or any(line.address + k in patched for k in range(1, line.size))


def _crossing(program: Program, line: Line, claims: Claims) -> Cycles:
    """The cycle more that an indexed read takes across a page: none, one, or who knows."""
    if claims.aligned:
        return Cycles(0, 0, 0)
    low = None
    if line.row.mode != "izy" and not claims.patched and (
            line.address + 1 not in patched_bytes(program)):
        assert line.operand is not None
        low = line.operand & 0xFF
    least, most = 0, 255
    if claims.index is not None:
        bounds = amount(claims.index, {}, program.symbols)
        least, most = bounds.lo, bounds.hi
        if not 0 <= least <= most <= 255:
            raise TimingError(f"an index of {least} to {most} is not in 0 to 255")
    if low is None:
        chance, lo, hi = 0.5, 0, 1
    else:
        chance = max(0, most - max(least, 256 - low) + 1) / (most - least + 1)
        lo, hi = int(low + least > 255), int(low + most > 255)
    if claims.probability is not None and lo != hi:
        chance = amount(claims.probability, {}, program.symbols).expected
        if not 0 <= chance <= 1:
            raise TimingError(f"the probability {chance} is not in 0 to 1")
    return Cycles(lo, chance, hi)
