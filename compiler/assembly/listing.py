"""A Program as text: the listing with bytes and times, and the map of memory.

Numbers are hexadecimal bytes for the 6502, octal words for the PDP-11, as their people read them.
"""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from anachron.compiler.assembly.program import MEMORY_BYTES, Line, Program
from anachron.compiler.claims import Cycles, Environment, TimingError
from anachron.compiler.steps import Flow, Step


class Look(NamedTuple):
    """How a machine's people write its memory."""

    address: str
    unit: int  # bytes written together
    data: str
    in_a_line: int  # bytes
    time: str
    end: int  # of the memory that programs may use


LOOKS = {
    "mos6502": Look("{:04X}", 1, "{:02X}", 6, "cycles", MEMORY_BYTES),
    "pdp11": Look("{:06o}", 2, "{:06o}", 6, "ns", 0o160000),
}


class Thing(NamedTuple):
    """Something in memory with a name: from one label to the next."""

    address: int
    size: int
    name: str


def print_listing(program: Program, environment: Environment | None = None,
                  timing: str | None = None) -> str:
    """Address, bytes, time and source of every line; then bytes and time of each label.

    A time is one number, `a-b` where it depends on data or pages, `a/b` for a branch not taken and
    taken. A label has the sum of its lines, each run once, and the time of the routine that it
    begins, loops and all that it calls included, where the text tells it.
    """
    from anachron.compiler.timing import per_label, step_of
    look = LOOKS[program.target]
    lines = [f"{'':<{len(look.address.format(0))}}  {'':<18} {look.time:>11}  {program.name}"]
    once: dict[int, tuple[int, int]] = {}
    for line in program.lines:
        time = ""
        if line.row is not None:
            try:
                step = step_of(program, line, timing)
            except TimingError:
                time = "?"
            else:
                time = _time(step)
                once[line.address] = (min(step.time.lo, step.taken.lo or step.time.lo),
                                      max(step.time.hi, step.taken.hi))
        lines += _listed(look, line, time)
    routines = per_label(program, environment, timing)
    lines += ["", f"{'label':<24}{'address':>8}{'bytes':>8}{look.time + ' once':>14}  routine"]
    addresses = sorted(once)
    for thing in things(program):
        start = bisect_left(addresses, thing.address)
        inside = addresses[start:bisect_left(addresses, thing.address + thing.size)]
        sums = [sum(once[address][k] for address in inside) for k in (0, 1)]
        known = routines.get(thing.name)
        lines.append(f"{thing.name:<24}{look.address.format(thing.address):>8}{thing.size:>8}"
                     f"{_range(*sums) if inside else '':>14}"
                     + (f"  {_told(known)}" if known else ""))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _range(least: int, most: int) -> str:
    return f"{least}" if least == most else f"{least}-{most}"


def _time(step: Step) -> str:
    """One instruction's time: `4`, `4-5`, or `2/3` for a branch."""
    if step.flow is Flow.BRANCH:
        return f"{step.time.lo}/{step.taken.lo}"
    return _range(step.time.lo, step.time.hi)


def _told(time: Cycles) -> str:
    if time.exact:
        return f"{time.lo:,}"
    return f"{time.lo:,} to {time.hi:,}, {time.expected:,.1f} expected"


def _listed(look: Look, line: Line, time: str) -> Iterator[str]:
    address = look.address.format(line.address)
    step = look.in_a_line
    if line.address % look.unit:
        look = look._replace(unit=1, data="{:03o}")
    yield f"{address}  {_data(look, line.bytes[:step]):<20} {time:>9}  {line.text}"
    for start in range(step, len(line.bytes), step):
        address = look.address.format(line.address + start)
        yield f"{address}  {_data(look, line.bytes[start:start + step])}"


def _data(look: Look, data: bytes) -> str:
    whole = len(data) - len(data) % look.unit
    words = [look.data.format(int.from_bytes(data[k:k + look.unit], "little"))
             for k in range(0, whole, look.unit)]
    return " ".join(words + [f"{byte:03o}" for byte in data[whole:]])


def things(program: Program) -> list[Thing]:
    """What lies in memory, by address: each label up to the next, or to the next gap."""
    found: list[Thing] = []
    name, start, end = "", 0, -1
    placed = [line for line in program.lines if line.size or line.label in program.labels]
    for line in sorted(placed, key=lambda line: line.address):
        named = line.label in program.labels
        if end >= 0 and (named or line.address != end):
            if end > start:
                found.append(Thing(start, end - start, name))
            end = -1
        if end < 0:
            name = line.label or f"({line.file}:{line.line})"
            start = end = line.address
        end = max(end, line.address + line.size)
    if end > start >= 0:
        found.append(Thing(start, end - start, name))
    return found


def _zero_page(program: Program) -> Mapping[int, list[str]]:
    """Zero-page addresses that instructions name -> the symbols of that value."""
    used = sorted({line.operand for line in program.instructions.values()
                   if line.row.mode in ("zp", "zpx", "zpy", "izx", "izy")
                   and line.operand is not None})
    names: dict[int, list[str]] = {address: [] for address in used}
    for name, value in program.symbols.items():
        if value in names:
            names[value].append(name)
    return names


def print_map(program: Program) -> str:
    """Objects by address and by size, the zero page, and the memory that is free."""
    look = LOOKS[program.target]
    found = things(program)
    filled = sum(len(data) for _, data in program.segments)
    lines = [f"{program.name}: {filled} bytes loaded, {sum(thing.size for thing in found)} in use",
             "", "by address"]
    lines += [_mapped(look, thing) for thing in found]
    lines += ["", "by size"]
    lines += [_mapped(look, thing)
              for thing in sorted(found, key=lambda thing: (-thing.size, thing.address))]
    if program.target == "mos6502":
        lines += ["", "zero page"]
        lines += [f"{address:02X}  {' '.join(names)}".rstrip()
                  for address, names in _zero_page(program).items()]
    lines += ["", "free"]
    end = 0
    for thing in [*found, Thing(look.end, 0, "")]:
        if thing.address > end:
            lines.append(_mapped(look, Thing(end, thing.address - end, "")))
        end = max(end, thing.address + thing.size)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _mapped(look: Look, thing: Thing) -> str:
    last = look.address.format(thing.address + thing.size - 1)
    return f"{look.address.format(thing.address)}-{last}  {thing.size:>6}  {thing.name}"
