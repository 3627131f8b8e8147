"""The nanoseconds of one PDP-11 instruction, and where the path goes from it.

The times are those of emulators/pdp11/timing.py, which the emulator reads too.
"""
from __future__ import annotations

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import Claims, Cycles, TimingError
from anachron.compiler.steps import Flow, Step
from anachron.emulators.pdp11.isa import Instruction
from anachron.emulators.pdp11.timing import DEFAULT, instruction_time, timing_row

_PC = 0o07  # the program counter as an operand: a register that jumps
_PLAIN = (0o37, 0o67)  # an address written out
_RETURNS = frozenset({"RTS", "RETURN", "RTI", "RTT", "HALT"})
_UNKNOWN = frozenset({"EMT", "TRAP", "BPT", "IOT", "WAIT"})  # what follows is not in the text
_IO_PAGE = 0o160000


def step(program: Program, line: Line, claims: Claims, timing: str | None = None) -> Step:
    """An instruction's Step."""
    row: Instruction = line.row
    words = [int.from_bytes(line.bytes[k:k + 2], "little") for k in range(0, len(line.bytes), 2)]
    timing = timing or DEFAULT.get(program.machine or "", "ll-34")
    patched = _patched_words(program)
    if line.address in patched and claims.takes is None:
        raise TimingError("the program changes this instruction; claim `;@ takes LO..HI`")
    if row.set == "eis" and (claims.patched or line.address + 2 in patched):
        words = words[:1]  # what is behind it, when it runs, is not known
    time = Cycles(*instruction_time(words, timing))
    if row.form in ("OOO", "RNN") and row.mnemonic != "BR":
        not_taken, taken = (Cycles(ns, ns, ns) for ns in (time.lo, time.hi))
        return Step(line, Flow.BRANCH, not_taken, claims, line.operand, taken)
    if row.mnemonic == "BR":
        return Step(line, Flow.JUMP, time, claims, line.operand)
    if row.access == "address":  # JMP, JSR, CALL
        flow = Flow.JUMP if row.mnemonic == "JMP" else Flow.CALL
        known = words[0] & 0o77 in _PLAIN and line.address + 2 not in patched
        if not known and not claims.goes and (flow is Flow.JUMP or claims.plus is None):
            raise _lost(f"where this {row.mnemonic} goes")
        return Step(line, flow, time, claims, line.operand if known else None)
    if row.mnemonic in _RETURNS:
        return Step(line, Flow.JUMP if claims.goes else Flow.RETURN, time, claims)
    if row.mnemonic in _UNKNOWN and claims.plus is None and claims.takes is None:
        raise TimingError(f"how long {row.mnemonic} takes is not in the text; claim `;@ plus N`")
    if row.access in ("write", "modify") and words[0] & 0o77 == _PC:
        if not claims.goes:
            raise _lost("where this change of PC goes")
        return Step(line, Flow.JUMP, time, claims)
    return Step(line, Flow.NEXT, time + _beyond_words(line, words, timing), claims)


def _lost(what: str) -> TimingError:
    return TimingError(f"{what} is not in the text; claim `;@ goes LABEL`")


def _operands(line: Line, words: list[int]) -> list[tuple[int, int | None, bool]]:
    """Mode, address where it is written out, and whether it is the last, of each operand."""
    row: Instruction = line.row
    specs: tuple[int, ...] = ()
    if row.form == "SSDD":
        specs = (words[0] >> 6 & 0o77, words[0] & 0o77)
    elif row.form in ("DD", "SS", "RDD", "RSS"):
        specs = (words[0] & 0o77,)
    found, place = [], 1
    for number, spec in enumerate(specs):
        address = None
        if spec >> 3 in (6, 7) or spec in (0o27, 0o37):
            if place < len(words):
                address = {0o37: words[place], 0o67: words[place] + line.address + 2 * place + 2
                           }.get(spec)
            place += 1
        found.append((spec, None if address is None else address & 0xFFFF,
                      number == len(specs) - 1))
    return found


def _beyond_words(line: Line, words: list[int], timing: str) -> Cycles:
    """What an operand's address adds: odd bytes, and devices that answer sooner or later."""
    times, row = timing_row(timing), line.row
    more = Cycles(0, 0, 0)
    for spec, address, is_last in _operands(line, words):
        if row.byte and spec >= 0o10 and spec != 0o27 and times.odd_byte:
            odd = (0, 1) if address is None else (address & 1,) * 2
            lo, hi = (times.odd_byte * n for n in odd)
            more += Cycles(lo, (lo + hi) / 2, hi)
        if address is not None and address >= _IO_PAGE and times.latencies:
            n_cycles = 2 if is_last and row.access == "modify" else 1
            later = sorted(n_cycles * ns for ns in (0, *times.latencies.values()))
            more += Cycles(later[0], later[len(later) // 2], later[-1])
    return more


def _patched_words(program: Program) -> frozenset[int]:
    """Addresses of words that some instruction stores to by name."""
    known = program.notes.get("patched")
    if known is None:
        known = program.notes["patched"] = frozenset(
            line.operand & ~1 for line in program.instructions.values()
            if line.row.access in ("write", "modify") and line.operand is not None
            and int.from_bytes(line.bytes[:2], "little") & 0o77 in _PLAIN)
    return known  # type: ignore[no-any-return]
