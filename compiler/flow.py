"""A routine's flow graph into its shortest, expected and longest time.

Blocks are joined by edges that carry time and probability. Loops, innermost first, become one node
each, whose edges are the loop's ways out; what is left has no cycle and is walked once, in order.
Source: natural loops as in Aho, Lam, Sethi, Ullman, Compilers (2nd edition), section 9.6.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from anachron.compiler.claims import Cycles, TimingError

END = -1  # where every path of a routine leads


class Edge(NamedTuple):
    """A way to a block, with its time and the probability that it is taken."""

    to: int
    lo: int
    expected: float
    hi: int
    probability: float


@dataclass
class Block:
    """Instructions that run one after the other, and the ways on from the last of them."""

    edges: list[Edge]
    times: Cycles | None = None  # the claim on its last instruction
    is_range: bool = False  # the claim gives least and most itself
    left: float | None = None  # the pass in which its loop is left by another way, expected


@dataclass
class Reached:
    """How a place is reached: least and most time, and the time and weight of all ways to it."""

    lo: int
    hi: int
    weight: float = 0.0
    time: float = 0.0  # times weight

    @property
    def mean(self) -> float:
        """The expected time, given that the place is reached."""
        if self.weight <= 0.0:
            return (self.lo + self.hi) / 2
        return self.time / self.weight


@dataclass
class Passed:
    """One walk over a loop's body: the way back, and the ways out, by the block they leave from."""

    back: Reached | None = None
    out: dict[tuple[int, bool], Reached] = field(default_factory=dict)  # (to, at the claim)


def measure(blocks: dict[int, Block], entry: int, place: Callable[[int], str]) -> Cycles:
    """The time from the entry to END. `blocks` is consumed.

    place  address -> how a message calls it
    """
    order = _order(blocks, entry)
    for loop in _loops(blocks, order, place):
        _collapse(blocks, loop, order)
    reached = _walk(blocks, sorted(order, key=order.__getitem__), entry, None)
    end = reached.out.get((END, False))
    if end is None:
        raise TimingError(f"no path from {place(entry)} ends")
    expected = float(end.lo) if end.lo == end.hi else min(max(end.mean, end.lo), end.hi)
    return Cycles(end.lo, expected, end.hi)


def _order(blocks: Mapping[int, Block], entry: int) -> dict[int, int]:
    """Reverse postorder: every edge leads onward, but for those that close a loop."""
    finished: list[int] = []
    seen, stack = {entry}, [(entry, iter(blocks[entry].edges))]
    while stack:
        address, edges = stack[-1]
        for edge in edges:
            if edge.to != END and edge.to not in seen:
                seen.add(edge.to)
                stack.append((edge.to, iter(blocks[edge.to].edges)))
                break
        else:
            finished.append(address)
            stack.pop()
    return {address: number for number, address in enumerate(reversed(finished))}


class Loop(NamedTuple):
    """A loop: the block it is entered by, the block whose claim counts it, all its blocks."""

    header: int
    claim: int
    body: frozenset[int]


def _loops(blocks: Mapping[int, Block], order: Mapping[int, int],
           place: Callable[[int], str]) -> list[Loop]:
    """All loops, the inner before the outer."""
    before: dict[int, list[int]] = {}
    latches: dict[int, list[int]] = {}
    for address in order:
        for edge in blocks[address].edges:
            if edge.to == END:
                continue
            before.setdefault(edge.to, []).append(address)
            if order[edge.to] <= order[address] and address not in latches.get(edge.to, ()):
                latches.setdefault(edge.to, []).append(address)
    loops: list[Loop] = []
    unclaimed: list[tuple[int, frozenset[int]]] = []
    for header, sources in latches.items():
        bodies = {latch: _body(before, order, header, latch, place) for latch in sources}
        claimed = [latch for latch in sources if blocks[latch].times is not None]
        loops += [Loop(header, latch, bodies[latch]) for latch in claimed]
        rest = [latch for latch in sources if latch not in claimed
                and not any(latch in bodies[other] for other in claimed)]
        if rest:
            unclaimed.append((header, frozenset().union(*(bodies[latch] for latch in rest))))
    taken = {loop.claim for loop in loops}
    for header, body in sorted(unclaimed, key=lambda item: len(item[1])):
        claims = [address for address in body
                  if blocks[address].times is not None and address not in taken]
        if len(claims) != 1:
            raise TimingError(f"the loop at {place(header)} has "
                              + ("more than one" if claims else "no") + " `;@ times`")
        taken.add(claims[0])
        loops.append(Loop(header, claims[0], body))
    return sorted(loops, key=lambda loop: len(loop.body))


def _body(before: Mapping[int, list[int]], order: Mapping[int, int], header: int, latch: int,
          place: Callable[[int], str]) -> frozenset[int]:
    """The blocks from which the latch is reached without passing the header."""
    body, work = {header, latch}, [latch] if latch != header else []
    while work:
        address = work.pop()
        for source in before[address]:
            if order[source] < order[header]:
                raise TimingError(f"the loop at {place(header)} is also entered elsewhere")
            if source not in body:
                body.add(source)
                work.append(source)
    return frozenset(body)


def _walk(blocks: Mapping[int, Block], body: list[int], header: int, claim: int | None) -> Passed:
    """Walk once from the header over blocks in order; edges to the header or out are the result."""
    passed, inside = Passed(), set(body)
    reached = {header: Reached(0, 0, 1.0, 0.0)}
    for address in body:
        here = reached.get(address)
        if here is None:
            continue
        for edge in blocks[address].edges:
            weight = here.weight * edge.probability
            arriving = Reached(here.lo + edge.lo, here.hi + edge.hi, weight,
                               here.time * edge.probability + weight * edge.expected)
            if claim is not None and edge.to == header:
                passed.back = _join(passed.back, arriving)
            elif edge.to in inside:
                reached[edge.to] = _join(reached.get(edge.to), arriving)
            else:
                way = (edge.to, address == claim)
                passed.out[way] = _join(passed.out.get(way), arriving)
    return passed


def _join(known: Reached | None, new: Reached) -> Reached:
    if known is None:
        return new
    return Reached(min(known.lo, new.lo), max(known.hi, new.hi),
                   known.weight + new.weight, known.time + new.time)


def _collapse(blocks: dict[int, Block], loop: Loop, order: dict[int, int]) -> None:
    """Replace a loop by its header, with an edge for each way out."""
    body = sorted((address for address in loop.body if address in order), key=order.__getitem__)
    claim = blocks[loop.claim] if loop.claim in blocks else None
    assert claim is not None and claim.times is not None
    passed = _walk(blocks, body, loop.header, loop.claim)
    edges = _ways_out(passed, claim.times, claim.is_range, claim.left)
    for address in body:
        if address != loop.header:
            del order[address]
    kept = blocks[loop.header]
    blocks[loop.header] = Block(edges, None if loop.header == loop.claim else kept.times,
                                kept.is_range, kept.left)


def _ways_out(passed: Passed, times: Cycles, is_range: bool, left: float | None) -> list[Edge]:
    """Times and probabilities of a loop's ways out, from one pass over it and its claim.

    Where the claimed branch leads out itself, it runs `times` times and the loop goes back once
    less; a loop with other ways out may leave in any pass before, in `left` where that is claimed,
    unless the claim is a range.
    Where it does not lead out (a JMP back), it runs `times` times and some later test leaves.
    """
    back = passed.back or Reached(0, 0)
    at_claim = {to: way for (to, at), way in passed.out.items() if at}
    early = {to: way for (to, at), way in passed.out.items() if not at}
    if not at_claim:
        total = sum(way.weight for way in early.values())
        share = 1.0 / len(early) if early and total <= 0 else 0.0
        return [Edge(to, times.lo * back.lo + way.lo, times.expected * back.mean + way.mean,
                     times.hi * back.hi + way.hi, way.weight / total if total > 0 else share)
                for to, way in early.items()]
    most, least = max(times.hi - 1, 0), max(times.lo - 1, 0)
    mean_back = max(times.expected - 1, 0.0)
    leaving = min(sum(way.weight for way in early.values()), 1.0)
    stays = 1.0 - leaving
    at_end = stays ** times.hi if early else 1.0
    early_back = mean_back
    if early and not is_range:
        backs = stays * (1 - stays ** most) / leaving if leaving > 0 else float(most)
        early_back = (backs - at_end * most) / (1 - at_end) if at_end < 1 else 0.0
        if left is not None:
            early_back = min(max(left - 1, 0.0), most)
        mean_back = most
    edges = []
    weight = sum(way.weight for way in at_claim.values())
    for to, way in at_claim.items():
        share = way.weight / weight if weight > 0 else 1.0 / len(at_claim)
        edges.append(Edge(to, least * back.lo + way.lo, mean_back * back.mean + way.mean,
                          most * back.hi + way.hi, at_end * share))
    for to, way in early.items():
        share = way.weight / leaving if leaving > 0 else 0.0
        edges.append(Edge(to, (least if is_range else 0) * back.lo + way.lo,
                          early_back * back.mean + way.mean, most * back.hi + way.hi,
                          (1 - at_end) * share))
    return edges
