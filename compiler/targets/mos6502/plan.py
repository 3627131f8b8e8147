"""What a C64 program does in its fastest ways, and what it leaves where memory is short.

To add a way: a field, and its gain in cycles, `saves`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from anachron.compiler.fixed import FixedModel
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets import Options
from anachron.compiler.targets.mos6502.attentions import Heads, group_attentions
from anachron.compiler.targets.mos6502.matrices import Group, group_matrices
from anachron.compiler.targets.mos6502.narrow import Narrow, group_narrow
from anachron.compiler.targets.mos6502.narrow_heads import NarrowHeads, group_narrow_heads
from anachron.compiler.targets.mos6502.opening import Opening, find_opening
from anachron.compiler.targets.mos6502.row_groups import STYLES, RowGroup, group_rows
from anachron.compiler.targets.mos6502.row_screening import RowScreening, find_row_screening
from anachron.compiler.targets.mos6502.screening import Screening, find_screening
from anachron.compiler.targets.mos6502.sparse import Sparse, find_sparse
from anachron.compiler.targets.mos6502.sparse_rows import SparseRows, find_sparse_rows
from anachron.compiler.targets.mos6502.split_heads import SplitHeads, group_split_heads
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502.residue.matvec import PAGE

MOST_CHOICES = 6  # parts with which and without which a build is tried; the others go together

Part: TypeAlias = (
    Group
    | Heads
    | Narrow
    | NarrowHeads
    | RowGroup
    | SplitHeads
    | Sparse
    | SparseRows
    | Screening
    | RowScreening
    | Opening
)
NO_OPS = Screening | RowScreening | Opening  # parts that do not take the place of ops


@dataclass(frozen=True)
class Plan:
    """Parts of a program that have a faster way.

    groups     matrices in residues          heads      attentions in residues
    narrow     matrices of int8 vectors in two residues, narrow_heads their attentions
    rows       matrices whose rows differ, in residues
    split      attentions in residues that keep two bytes a number
    smaller    the same in less memory and more time
    screening  how the likeliest token is found, or None; seeking: where its rows differ
    opening    what the first position leaves, or None
    sparse     matrices whose vectors are 0 in many places, or None; dense: the same plan without
    compact    a plan of `rows` and `split` alone, in place of `groups` and `heads`, or None
    reasons    op -> why it has no faster way
    short_norms  norms to int8 have a way of their own for short elements
    """

    groups: tuple[Group, ...] = ()
    heads: tuple[Heads, ...] = ()
    narrow: tuple[Narrow, ...] = ()
    narrow_heads: tuple[NarrowHeads, ...] = ()
    rows: tuple[RowGroup, ...] = ()
    split: tuple[SplitHeads, ...] = ()
    smaller: tuple[tuple[RowGroup, ...], ...] = ()
    screening: Screening | None = None
    seeking: RowScreening | None = None
    opening: Opening | None = None
    sparse: Sparse | SparseRows | None = None
    dense: Plan | None = None
    compact: Plan | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    short_norms: bool = False

    @property
    def parts(self) -> list[Part]:
        single: list[Part] = [
            p for p in (self.sparse, self.screening, self.seeking, self.opening) if p
        ]
        narrow: list[Part] = [*self.narrow, *self.narrow_heads]
        return [*self.groups, *self.heads, *narrow, *self.rows, *self.split, *single]

    @property
    def saves(self) -> int:
        """Cycles of a pass, roughly."""
        return sum(part.saves for part in self.parts)

    @property
    def ops(self) -> set[str]:
        """Ops in residues, by name."""
        parts = (part for part in self.parts if not isinstance(part, NO_OPS))
        return {op.name for part in parts for op in part.ops}

    def explain(self, whole: Plan, why: str) -> Mapping[str, str]:
        """The reasons where this is all that fits of a whole plan."""
        reasons = dict(whole.reasons) | dict.fromkeys(whole.ops - self.ops, why)
        for had, has in ((whole.screening, self.screening), (whole.seeking, self.seeking)):
            if had and not has:
                reasons.setdefault(had.op.name, why)
        return reasons


def make_plan(
    fixed: FixedModel, ranges: Ranges, options: Options, most_pages: int = PAGE
) -> Plan:
    """Everything that may be done in a faster way, with blocks of no more than so many pages."""
    matrices = group_matrices(fixed, ranges, _narrow_ops(fixed, ranges, most_pages), most_pages)
    attentions = group_attentions(Values(fixed), ranges)
    whole = _make_plan(fixed, ranges, options, most_pages, matrices, attentions)
    if not (whole.groups or whole.heads) or most_pages < PAGE:
        return whole
    left = (dict(known[1]) for known in (matrices, attentions))
    none: tuple[tuple, ...] = ((), ())
    compact = _make_plan(fixed, ranges, options, most_pages, *zip(none, left, strict=True))
    return replace(whole, compact=compact)


def _narrow_ops(fixed: FixedModel, ranges: Ranges, most_pages: int) -> set[str]:
    return {op.name for group in group_narrow(fixed, ranges, most_pages) for op in group.ops}


def _make_plan(
    fixed: FixedModel,
    ranges: Ranges,
    options: Options,
    most_pages: int,
    matrices: tuple[tuple[Group, ...], dict[str, str]],
    attentions: tuple[tuple[Heads, ...], Mapping[str, str]],
) -> Plan:
    """The same with matrices and attentions in residues that are given, and why others are not."""
    (groups, reasons), (heads, objections) = matrices, attentions
    narrow = group_narrow(fixed, ranges, most_pages)
    others = {op.name for group in narrow for op in group.ops}
    others |= {op.name for group in groups for op in group.ops}
    narrow_heads = group_narrow_heads(Values(fixed))
    own = {op.name for shared in narrow_heads for op in shared.ops}
    complete = options.logits or options.draws
    screening = None if complete else find_screening(fixed, ranges, groups, narrow)
    split, refused = group_split_heads(
        Values(fixed), ranges, {op.name for group in heads for op in group.ops} | own
    )
    least = max((group.least or 0 for group in split), default=0) or None

    def find_rows(others: set[str]) -> list[tuple[tuple[RowGroup, ...], dict[str, str]]]:
        ways = [
            group_rows(Values(fixed), ranges, others, style, most_pages, least) for style in STYLES
        ]
        ways = [way for i, way in enumerate(ways) if way not in ways[:i]]
        return sorted(ways, key=lambda way: -sum(group.saves for group in way[0]))

    ways = find_rows(others)
    rows, why = ways[0]
    reasons = {name: reason for name, reason in reasons.items() if name in why} | why
    seeking = None if complete else find_row_screening(fixed, ranges, rows)
    smaller = tuple(way for way, _ in ways[1:])
    opening = find_opening(fixed)
    reasons |= {name: reason for name, reason in objections.items() if name in refused}
    reasons |= refused
    dense = Plan(
        groups,
        heads,
        narrow,
        narrow_heads,
        rows,
        split,
        smaller,
        screening,
        seeking,
        opening,
        reasons=reasons,
    )
    if most_pages < PAGE:
        return dense
    active, left_out = find_sparse_rows(fixed, ranges, rows)
    if active is not None:
        ways = find_rows(others | left_out)
        rows, left = ways[0][0], tuple(way for way, _ in ways[1:])
        seeking = None if complete else find_row_screening(fixed, ranges, rows)
        plan = replace(dense, rows=rows, smaller=left, seeking=seeking)
        return replace(plan, sparse=active, dense=dense)
    sparse, groups = find_sparse(fixed, ranges, groups)
    if sparse is None:
        return dense
    # The origins of the weights are others.
    screening = None if complete else find_screening(fixed, ranges, groups, narrow)
    return replace(dense, groups=groups, screening=screening, sparse=sparse, dense=dense)


def choices(whole: Plan) -> Iterator[Plan]:
    """The whole plan, then what saves the most in less memory or without some of it."""
    if whole.dense and isinstance(whole.sparse, Sparse):
        yield whole
        yield from choices(replace(whole.dense, compact=whole.compact))
        return
    first = replace(whole, dense=None, compact=None)
    if first.narrow:
        yield replace(first, short_norms=True)
    yield first
    if first.screening and first.screening.finer:
        first = replace(first, screening=replace(first.screening, finer=None))
        yield first
    plans = _in_less(first)
    for other in (whole.dense, whole.compact, whole.compact and whole.compact.dense):
        if other:
            plans += [other, *_in_less(other)]
    different = {tuple(map(id, plan.parts)): plan for plan in plans}
    yield from sorted(different.values(), key=lambda plan: -plan.saves)


def _in_less(whole: Plan) -> list[Plan]:
    """All other plans of a whole one's parts."""
    wholes = [whole, *(replace(whole, rows=rows, smaller=()) for rows in whole.smaller)]
    plans = wholes[1:]
    for way in wholes:
        rest = replace(way, rows=())
        plans += _without_some(rest.parts, way.rows)[1:]
    plans += _without_some(wholes[-1].parts)
    own = [*map(id, whole.parts)]
    return [plan for plan in plans if [*map(id, plan.parts)] != own]


def _without_some(parts: list[Part], always: tuple[RowGroup, ...] = ()) -> list[Plan]:
    """Plans of some of the parts, all of them first, and of others always."""
    plans = []
    for choice in range(1 << min(len(parts), MOST_CHOICES + 1)):
        kept = [part for i, part in enumerate(parts) if not choice >> min(i, MOST_CHOICES) & 1]
        groups = tuple(part for part in kept if isinstance(part, Group))
        heads = tuple(part for part in kept if isinstance(part, Heads))
        narrow = tuple(part for part in kept if isinstance(part, Narrow))
        narrow_heads = tuple(part for part in kept if isinstance(part, NarrowHeads))
        rows = (*(part for part in kept if isinstance(part, RowGroup)), *always)
        split = tuple(part for part in kept if isinstance(part, SplitHeads))
        screening = next((part for part in kept if isinstance(part, Screening)), None)
        seeking = next((part for part in kept if isinstance(part, RowScreening)), None)
        opening = next((part for part in kept if isinstance(part, Opening)), None)
        active = next((part for part in kept if isinstance(part, SparseRows)), None)
        matrices: list[Group | Narrow] = [*groups, *narrow]
        sought = screening is None or any(screening.op in group.ops for group in matrices)
        sought &= seeking is None or any(seeking.op in group.ops for group in rows)
        if sought:
            fast = (groups, heads, narrow, narrow_heads, rows, split)
            plans.append(Plan(*fast, (), screening, seeking, opening, active))
    return plans
