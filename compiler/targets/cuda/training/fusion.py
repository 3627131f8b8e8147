"""A step's ops -> fewer: sums that are made where they are added up, updates where they fit.

A value that only an addition reads, and reads unshifted, need not be kept: what is added to it is
added before the sum of products is stored, and sums of products of one shape go on from each other.
Sums wrap, so that the order does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anachron.compiler.logarithms import LogOp, LogStep

SUM = "sum"  # the contract of what is made here: attributes parts and addends
MATRICES = ("linear", "linear_gradient")


@dataclass
class Terms:
    """What is added up: ops whose values are not kept, and (value, shift) of those that are."""

    parts: list[LogOp] = field(default_factory=list)
    addends: list[tuple[str, int]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)  # additions inside of it


def fuse_sums(log: LogStep) -> tuple[tuple[LogOp, ...], tuple[LogOp, ...]]:
    """The ops forward and backward, additions with what they add up."""
    readers: dict[str, int] = {}
    for op in (*log.forward, log.loss, *log.backward, *log.updates):
        for name in op.reads.values():
            readers[name] = readers.get(name, 0) + 1
    shapes = log.step.model.shapes
    return _fuse(log.forward, readers, shapes), _fuse(log.backward, readers, shapes)


def _fuse(
    ops: Sequence[LogOp], readers: dict[str, int], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[LogOp, ...]:
    made = {op.name: op for op in ops}
    inner = {
        op.reads[role]
        for op in ops
        if op.contract == "add"
        for role in "ab"
        if _is_inner(op, role, made, readers) and made[op.reads[role]].contract == "add"
    }
    fused: dict[str, LogOp] = {}
    gone: set[str] = set()
    for op in ops:
        if op.contract == "add" and op.name not in inner:
            terms = Terms()
            _gather(op, made, readers, terms)
            kept = _choose(terms, shapes)
            gone |= terms.gone | {part.name for part in kept}
            fused[op.name] = _join(op, kept, terms)
    return tuple(fused.get(op.name, op) for op in ops if op.name not in gone)


def _is_inner(op: LogOp, role: str, made: dict[str, LogOp], readers: dict[str, int]) -> bool:
    name = op.reads[role]
    return not op.attributes[f"{role}_shift"] and name in made and readers[name] == 1


def _gather(
    op: LogOp, made: dict[str, LogOp], readers: dict[str, int], terms: Terms
) -> None:
    for role in "ab":
        name = op.reads[role]
        if not _is_inner(op, role, made, readers):
            terms.addends.append((name, op.attributes[f"{role}_shift"]))
        elif made[name].contract == "add":
            terms.gone.add(name)
            _gather(made[name], made, readers, terms)
        else:
            terms.parts.append(made[name])


def _choose(terms: Terms, shapes: Mapping[str, tuple[int, ...]]) -> list[LogOp]:
    """The parts of one kind, with sums over as many terms; the others are kept."""

    def length(part: LogOp) -> int:
        return shapes[part.reads["weight"]][part.contract == "linear"]

    matrices = [part for part in terms.parts if part.contract in MATRICES]
    if matrices:
        return [part for part in matrices if length(part) == length(matrices[0])]
    attentions = [part for part in terms.parts if part.contract == "attention"]
    return attentions[:1] or [part for part in terms.parts if part.contract == "embed"]


def _join(op: LogOp, parts: Sequence[LogOp], terms: Terms) -> LogOp:
    kept = [(part.name, 0) for part in terms.parts if part not in parts]
    addends = [*terms.addends, *kept]
    reads: dict[str, str] = {}
    coded: dict[str, int] = {}
    for i, part in enumerate(parts):
        reads |= {f"{i}.{role}": name for role, name in part.reads.items()}
        coded |= {f"{i}.{role}": shift for role, shift in part.coded.items()}
    reads |= {f"+{j}": name for j, (name, _) in enumerate(addends)}
    attributes = {"parts": tuple(parts), "shifts": tuple(shift for _, shift in addends)}
    return LogOp(op.name, SUM, reads, attributes, coded, op.saturates)


def order_updates(log: LogStep, backward: Sequence[LogOp]) -> tuple[LogOp, ...]:
    """The backward ops, and each update as soon as its gradient is there and its old weights are
    read no more, so that what it reads can be forgotten; those of matrices that read the same
    come together, as what they share is loaded once."""
    order: list[LogOp] = []
    waiting = list(log.updates)
    for i, op in enumerate(backward):
        order.append(op)
        ready = {log.loss.name, *(done.name for done in backward[: i + 1])}
        later = {name for other in backward[i + 1 :] for name in other.reads.values()}
        free = [u for u in waiting if u.reads["dy"] in ready and u.name not in later]
        for done in free:
            same = [u for u in waiting if u.reads.get("x") == done.reads.get("x", "")]
            if all(u in free for u in same):
                order += [u for u in (same or [done]) if u in waiting]
                waiting = [u for u in waiting if u not in order]
    return (*order, *waiting)
