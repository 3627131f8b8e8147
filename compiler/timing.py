"""An assembled program into the time of its routines, without running it: (lo, expected, hi).

The time of straight-line code is in the listing: every instruction's row, and, because addresses
are known, whether a branch or an indexed read crosses a page. What the text cannot tell, a comment
on the line claims. lo and hi take the shortest and the longest path; expected weighs all paths by
probability.

    ;@ times N        on the branch that closes a loop: it runs N times each time the loop is
                      entered; at most N times where the loop has other ways out
    ;@ times A..B ~E  at least A, at most B, E expected
    ;@ left N         with `times`: the pass in which the loop is left by another way, expected
    ;@ never, always  a branch goes one way whatever the data
    ;@ when V         it is taken if V, a variable mostly, is not 0
    ;@ p=0.3          a branch is taken with this probability (0.5 unless claimed); an indexed read
                      crosses a page with it; a jump goes to the first of its labels with it
    ;@ aligned        an indexed read crosses no page; `index A..B`: its index is bounded
    ;@ patched        the program changes this operand (found where a store names its address)
    ;@ goes A, B      where an indirect jump or call may go: labels; {variables} in them are filled
                      in
    ;@ plus N         more time than the instruction's own: DMA, a wait, code outside the program
    ;@ takes N        this much time and not the instruction's own

N, A, B and E are decimal numbers, symbols, and variables that a query gives (`position`), joined by
+ - * / // % min max. A variable may be three numbers itself; usual(name, N) is a variable, or N
where the query does not give it. Calls and jumps are followed.

    >>> from anachron.compiler.targets.mos6502.assembler import assemble
    >>> program = assemble('''
    ... clear   ldx #COUNT
    ... loop    dex
    ...         sta $0400,x
    ...         bne loop        ;@ times COUNT
    ...         rts
    ... COUNT = 40
    ... ''')
    >>> predict(program, "clear")
    Cycles(lo=407, expected=407.0, hi=407)

To add a CPU: a `step` in compiler/targets/<cpu>/timing.py and a line in STEPS.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from anachron.compiler.assembly.program import Line, Program
from anachron.compiler.claims import (
    Asked,
    Claims,
    Cycles,
    Environment,
    TimingError,
    amount,
    claims_of,
)
from anachron.compiler.flow import END, Block, Edge, measure
from anachron.compiler.steps import Flow, Step
from anachron.compiler.targets.mos6502 import timing as mos6502
from anachron.compiler.targets.pdp11 import timing as pdp11

__all__ = ["Cycles", "TimingError", "per_label", "predict"]

# Target -> (program, line, its claims, machine's timing row) -> Step.
STEPS: dict[str, Callable[[Program, Line, Claims, str | None], Step]] = {
    "mos6502": mos6502.step,
    "pdp11": pdp11.step,
}
MAX_CALLS = 60  # of routines inside each other


def predict(program: Program, entry: str | int, stop: str | int | None = None,
            environment: Environment | None = None, timing: str | None = None) -> Cycles:
    """The time from an entry to its return, or to `stop` where that comes first.

    entry, stop  labels or addresses
    environment  variable of a claim -> its value, or (lo, expected, hi)
    timing       the row of times of a machine that has several ("ll-34", "dec")

    Raises TimingError, with the line, where a claim is missing.
    """
    predictor = _predictor(program, timing)
    return predictor.routine(_address(program, entry),
                             None if stop is None else _address(program, stop),
                             environment or {}, 0)


def per_label(program: Program, environment: Environment | None = None,
              timing: str | None = None) -> dict[str, Cycles]:
    """The time of every routine, callees included: of each label that is called or not run into.

    A routine whose time cannot be told with this environment is left out.
    """
    predictor = _predictor(program, timing)
    times = {}
    for address in sorted(predictor.entries()):
        label = program.label_at.get(address)
        if label is not None:
            try:
                times[label] = predictor.routine(address, None, environment or {}, 0)
            except TimingError:
                continue
    return times


def _address(program: Program, place: str | int) -> int:
    if isinstance(place, int):
        return place
    value = program.symbols.get(place, program.symbols.get(place.upper()))
    if value is None:
        raise TimingError(f"{program.name} has no label {place}")
    return value


def _filled(name: str, environment: Environment) -> str:
    """A label with variables in braces."""
    try:
        return name.format_map(environment) if "{" in name else name
    except (KeyError, ValueError, IndexError, AttributeError):
        raise TimingError(f"a variable of `goes {name}` is not in the environment") from None


def _predictor(program: Program, timing: str | None) -> Predictor:
    known = program.notes.get(("timing", timing))
    if known is None:
        known = program.notes["timing", timing] = Predictor(program, timing)
    return known  # type: ignore[no-any-return]


class Run(NamedTuple):
    """The time of instructions one after the other that nothing is claimed of, and what follows."""

    lo: int
    expected: float
    hi: int
    next: int


class Predictor:
    """A program's steps and straight runs, found once, and its routines' times, found once for all
    environments that agree in what a routine asks of them."""

    def __init__(self, program: Program, timing: str | None) -> None:
        self.program, self.timing = program, timing
        self._lines = program.instructions
        self._step = STEPS[program.target]
        self._steps: dict[int, Step] = {}
        self._marks = set(program.label_at)  # no run goes on beyond
        self._runs: dict[int, Run] = {}
        self._known: dict[tuple[int, int | None], list[tuple[dict[str, Any], Cycles]]] = {}

    def step(self, line: Line) -> Step:
        """What one instruction does to the time and to the path."""
        step = self._steps.get(line.address)
        if step is None:
            try:
                step = self._step(self.program, line, claims_of(line.text), self.timing)
            except TimingError as error:
                raise _placed(error, line) from None
            self._steps[line.address] = step
        return step

    def entries(self) -> set[int]:
        """Where routines begin: what is called, and code that nothing before it runs into."""
        entries, end = set(), -1
        for address, line in sorted(self._lines.items()):
            if address != end:
                entries.add(address)
            try:
                step = self.step(line)
            except TimingError:
                end = -1
                continue
            if step.flow is Flow.CALL and step.target is not None:
                entries.add(step.target)
            end = -1 if step.flow in (Flow.JUMP, Flow.RETURN) else step.next
        return entries

    def place(self, address: int) -> str:
        """An address as a message calls it: file:line, and the label where there is one."""
        line = self._lines.get(address)
        if line is None:
            return f"{address:#x}"
        return f"{line.file}:{line.line}" + (f" ({line.label})" if line.label else "")

    def routine(self, entry: int, stop: int | None, environment: Environment,
                depth: int) -> Cycles:
        """The time from an entry to its return."""
        known = self._known.setdefault((entry, stop), [])
        for answers, time in known:
            if all(environment.get(name) == value for name, value in answers.items()):
                return time
        if depth > MAX_CALLS:
            raise TimingError(f"{self.place(entry)}: calls itself, or calls go deeper than "
                              f"{MAX_CALLS}")
        asked = Asked(environment)
        time = measure(self._blocks(entry, stop, asked, depth), entry, self.place)
        known.append((asked.answers, time))
        return time

    def _blocks(self, entry: int, stop: int | None, environment: Environment,
                depth: int) -> dict[int, Block]:
        """The routine's blocks: straight runs between the places that branches go to."""
        leaders, _ = self._reach(entry, stop, environment)
        return {leader: self._block(leader, leaders, stop, environment, depth)
                for leader in leaders if leader != stop or leader == entry}

    def reached(self, entry: int, stop: int | None, environment: Environment) -> set[int]:
        """Where runs, and all other instructions, begin that a routine and its callees come to."""
        _, seen = self._reach(entry, stop, environment)
        work = list(seen)
        while work:
            step = self._step_at(work.pop())
            if step.flow is Flow.CALL:
                for target in self._called(step, environment):
                    if target in self._lines and target not in seen:
                        new = self._reach(target, None, environment)[1] - seen
                        seen |= new
                        work += new
        return seen

    def _reach(self, entry: int, stop: int | None,
               environment: Environment) -> tuple[set[int], set[int]]:
        """(where blocks begin, where runs and other instructions begin) of a routine alone."""
        self._mark(entry, *([] if stop is None else [stop]))
        leaders, work, seen = {entry}, [entry], set()
        while work:  # all places that are reached, to know where blocks begin
            address = work.pop()
            while address not in seen and (address != stop or address == entry):
                seen.add(address)
                run = self._run_at(address)
                if run.next != address:
                    address = run.next
                    continue
                step = self._step_at(address)
                targets = self._targets(step, environment)
                self._mark(*targets)
                leaders.update(targets)
                work += targets
                if step.flow not in (Flow.NEXT, Flow.CALL):
                    if step.flow is Flow.BRANCH:
                        leaders.add(step.next)
                        work.append(step.next)
                    break
                address = step.next
        return leaders, seen

    def _called(self, step: Step, environment: Environment) -> list[int]:
        """Where a call goes."""
        names = [_address(self.program, _filled(name, environment)) for name in step.claims.goes]
        return names or ([] if step.target is None else [step.target])

    def _mark(self, *addresses: int) -> None:
        """No run goes on beyond these."""
        if not self._marks.issuperset(addresses):
            self._marks.update(addresses)
            self._runs.clear()

    def _run_at(self, address: int) -> Run:
        """The run that begins here; its `next` is its beginning where it is empty."""
        run = self._runs.get(address)
        if run is None:
            lo, expected, hi, at = 0, 0.0, 0, address
            while at == address or at not in self._marks:
                step = self._step_at(at)
                if step.flow is not Flow.NEXT or step.needs_amount:
                    break
                own, at = step.time, step.next
                lo, expected, hi = lo + own.lo, expected + own.expected, hi + own.hi
            run = self._runs[address] = Run(lo, expected, hi, at)
        return run

    def _step_at(self, address: int) -> Step:
        line = self._lines.get(address)
        if line is None:
            raise TimingError(f"{self.program.name}: the path leads to {address:#x}, where no "
                              "instruction is; claim `;@ goes` or `;@ plus` where it leaves")
        return self.step(line)

    def _targets(self, step: Step, environment: Environment) -> list[int]:
        if step.flow is Flow.JUMP:
            names = [_filled(name, environment) for name in step.claims.goes]
            if names:
                return [_address(self.program, name) for name in names]
        leads = step.flow in (Flow.JUMP, Flow.BRANCH)
        return [step.target] if leads and step.target is not None else []

    def _block(self, leader: int, leaders: set[int], stop: int | None, environment: Environment,
               depth: int) -> Block:
        lo, expected, hi, address = 0, 0.0, 0, leader
        while True:
            run = self._run_at(address)
            if run.next != address:
                lo, expected, hi = lo + run.lo, expected + run.expected, hi + run.hi
                address = run.next
                if address == stop:
                    return Block([Edge(END, lo, expected, hi, 1.0)])
                if address in leaders:
                    return Block([Edge(address, lo, expected, hi, 1.0)])
                continue
            step = self._step_at(address)
            own = step.time
            if step.needs_amount or step.flow is Flow.CALL:
                own = self._whole_time(step, environment, depth)
            match step.flow:
                case Flow.BRANCH | Flow.RETURN | Flow.JUMP:
                    break
                case _:
                    lo, expected, hi = lo + own.lo, expected + own.expected, hi + own.hi
                    address = step.next
                    if address == stop:
                        return Block([Edge(END, lo, expected, hi, 1.0)])
                    if address in leaders:
                        return Block([Edge(address, lo, expected, hi, 1.0)])

        def edge(to: int | None, time: Cycles, probability: float) -> Edge:
            return Edge(END if to is None or to == stop else to, lo + time.lo,
                        expected + time.expected, hi + time.hi, probability)

        times = is_range = left = None
        if step.claims.times is not None:
            times = self._amount(step, step.claims.times, environment)
            is_range = ".." in step.claims.times
        if step.claims.left is not None:
            left = self._amount(step, step.claims.left, environment).expected
        match step.flow:
            case Flow.RETURN:
                edges = [edge(None, own, 1.0)]
            case Flow.JUMP:
                targets = self._targets(step, environment)
                shares = self._shares(step, len(targets), environment)
                edges = [edge(*each) for each in zip(targets, [own] * len(targets), shares,
                                                     strict=True)]
            case _:
                edges = self._ways(step, edge, own, environment)
        return Block(edges, times, bool(is_range), left)

    def _shares(self, step: Step, n: int, environment: Environment) -> list[float]:
        """How often a jump goes to each of its targets: to the first as often as is claimed."""
        if step.claims.probability is None or n == 1:
            return [1.0 / n] * n
        first = self._amount(step, step.claims.probability, environment).expected
        if not 0 <= first <= 1:
            raise _placed(TimingError(f"the probability {first} is not in 0 to 1"), step.line)
        return [first, *[(1 - first) / (n - 1)] * (n - 1)]

    def _ways(self, step: Step, edge: Callable[[int | None, Cycles, float], Edge], own: Cycles,
              environment: Environment) -> list[Edge]:
        """A conditional branch's two ways, or the one that its claim leaves."""
        claims, taken = step.claims, step.taken + own - step.time
        if claims.never:
            return [edge(step.next, own, 1.0)]
        if claims.always:
            return [edge(step.target, taken, 1.0)]
        if claims.when is not None:
            known = self._amount(step, claims.when, environment).expected
            return [edge(step.target, taken, 1.0) if known else edge(step.next, own, 1.0)]
        if claims.probability is not None:
            p = self._amount(step, claims.probability, environment).expected
            if not 0 <= p <= 1:
                raise _placed(TimingError(f"the probability {p} is not in 0 to 1"), step.line)
            return [edge(step.target, taken, p), edge(step.next, own, 1 - p)]
        even = 1.0 if claims.times is not None else 0.5  # a counted branch goes both ways in turn
        return [edge(step.target, taken, even), edge(step.next, own, even)]

    def _whole_time(self, step: Step, environment: Environment, depth: int) -> Cycles:
        """An instruction's time with its claims, and with the routine that it calls."""
        time, claims = step.time, step.claims
        if claims.takes is not None:
            time = self._amount(step, claims.takes, environment)
        if claims.plus is not None:
            time += self._amount(step, claims.plus, environment)
        if step.flow is Flow.CALL:
            targets = self._called(step, environment)
            inside = [target for target in targets if target in self._lines]
            if inside:
                parts = [self.routine(target, None, environment, depth + 1) for target in inside]
                time += Cycles(min(part.lo for part in parts),
                               sum(part.expected for part in parts) / len(parts),
                               max(part.hi for part in parts))
            elif claims.plus is None and claims.takes is None:
                raise _placed(TimingError("the routine called is not in the program; claim "
                                          "`;@ plus N` or `;@ goes LABEL`"), step.line)
        return time

    def _amount(self, step: Step, text: str, environment: Environment) -> Cycles:
        try:
            return amount(text, environment, self.program.symbols)
        except TimingError as error:
            raise _placed(error, step.line) from None


def _placed(error: TimingError, line: Line) -> TimingError:
    """The same error with its place, once."""
    text = str(error)
    return TimingError(text if text.startswith(line.file) else f"{line.file}:{line.line}: {text}")


def step_of(program: Program, line: Line, timing: str | None = None) -> Step:
    """One instruction's own time, without what it calls and what is claimed to be added."""
    return _predictor(program, timing).step(line)
