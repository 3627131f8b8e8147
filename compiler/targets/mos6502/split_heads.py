"""FixedModel, ranges -> which attentions of int16 vectors run in residues on bytes of numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Bound, Ranges
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502.residue import levels as residue_levels
from anachron.kernels.mos6502.split.attention import highest_sum
from anachron.kernels.mos6502.split.shape import PAGE, SHIFTS, Mixer, Shape, longer

MOST_ROWS = 64  # the code is unrolled over them
HEAD_SIZES = range(1, 33)  # and over a head's features
MOST_FEATURES = 128  # of a key
MOST_QUERY = 256
RARE = 0.01  # queries too long: products do them


@dataclass(frozen=True)
class SplitHeads:
    """Attentions that share code, each with a cache of its own.

    least  small modulus that tells sums of scores apart, where queries may well be too long for
           256, 255 and 253
    value_bits  of their values, by what is proven of them
    """

    name: str
    ops: tuple[Op, ...]
    n_rows: int
    least: int | None
    value_bits: int = 16

    @property
    def table(self) -> bytes:
        return self.ops[0].constants["table"].astype("u1").tobytes()

    def mixer(self, small: int | None) -> Mixer:
        """What its code depends on, with a small modulus that is `least` or more, if any is."""
        op = self.ops[0]
        heads, kv_heads = op.attributes["heads"], op.attributes["kv_heads"]
        size = op.value.size // heads
        causal = bool(op.attributes["causal"])
        four, caches = self.least is not None, len(self.ops)
        sizes = (heads, kv_heads, size, self.n_rows, small)
        shape = Shape(self.name, *sizes, four, causal, caches, self.value_bits)
        shifts = tuple(op.attributes["score_shift"] for op in self.ops)
        return Mixer(shape, shifts, f"{self.name}_exponential", len(self.table))

    @property
    def saves(self) -> int:
        """Cycles of a pass in mid-context that the general kernel would take more, roughly."""
        return 90 * self.ops[0].value.size * self.n_rows * len(self.ops)

    def cache(self, op: Op) -> str:
        number = self.ops.index(op)
        return f"{self.name}_cache" + (f"_{number}" if number else "")


def group_split_heads(
    values: Values, ranges: Ranges, others: set[str]
) -> tuple[tuple[SplitHeads, ...], dict[str, str]]:
    """The attentions but some others, and op -> why an attention is not among them."""
    found: dict[tuple[object, ...], list[Op]] = {}
    reasons: dict[str, str] = {}
    least: dict[str, int | None] = {}
    n_rows = values.fixed.seq_len - (0 if values.encoder else 1)
    for op in values.fixed.ops:
        if op.contract != "attention" or op.name in others:
            continue
        why = _objection(op, values, ranges)
        if why:
            reasons[op.name] = why
            continue
        size = op.value.size // op.attributes["heads"]
        least[op.name] = _least_small(op, ranges) if longer(size) > RARE else None
        attributes, table = op.attributes, op.constants["table"].astype("u1").tobytes()
        whole = attributes["score_shift"] == SHIFTS[-1] and len(table) == PAGE
        found.setdefault(
            (
                op.value.size,
                *(attributes[role] for role in ("heads", "kv_heads", "causal")),
                whole,
                table,
            ),
            [],
        ).append(op)
    groups = (
        SplitHeads(
            f"split{number}",
            tuple(ops),
            n_rows,
            _largest(least[op.name] for op in ops),
            max(_value_bits(ranges.values[op.inputs[2]]) for op in ops),
        )
        for number, ops in enumerate(found.values())
    )
    return tuple(groups), reasons


def _value_bits(values: Bound) -> int:
    """So many hold every value; of a byte's, one more."""
    return max(9, min(16, int(values.peak.max(initial=0)).bit_length() + 1))


def _largest(moduli: Iterable[int | None]) -> int | None:
    """The largest, or nothing if there is none for one."""
    known = list(moduli)
    return None if None in known else max(m for m in known if m)


def _least_small(op: Op, ranges: Ranges) -> int | None:
    """The least small modulus with which no sum of a score can leave its basis."""
    longest = highest_sum(_longest_query(ranges.values[op.inputs[0]], op.attributes["heads"]))
    return residue_levels.choose_small(-longest, longest)


def _longest_query(q: Bound, heads: int) -> int:
    """The sum of the magnitudes of a head's elements, at most."""
    size = len(q.lo) // heads
    by_element = max(int(q.peak[h * size :][:size].sum()) for h in range(heads))
    norms = [q.norm]
    if q.image is not None:
        norms.append(max(q.image.norm(slice(h * size, (h + 1) * size)) for h in range(heads)))
    return math.ceil(min(by_element, float(min(norms)) * math.sqrt(size)))


def _objection(op: Op, values: Values, ranges: Ranges) -> str:
    """Why these kernels cannot do an attention, or nothing."""
    attributes, n = op.attributes, values.fixed.seq_len
    heads, kv_heads = attributes["heads"], attributes["kv_heads"]
    size, table = op.value.size // heads, op.constants["table"]
    vectors = [values.vector(name) for name in (*op.inputs, op.name)]
    readers = [list(values.attentions(name)) for name in op.inputs[1:]]
    score = math.ceil(float(ranges.accumulators[op.name]["score"]))
    shift = attributes["score_shift"]
    checks = (
        (all(x.bits == 16 for x in vectors), "a value has not 16 bits"),
        (all(len(r) == 1 for r in readers), "another attention reads its keys or values"),
        (bool(attributes["causal"]) != values.encoder, "it is causal in an encoder, or neither"),
        (1 < n <= MOST_ROWS, f"more than {MOST_ROWS} positions"),
        (kv_heads * n <= PAGE, f"more than {PAGE} keys of a feature"),
        (size * kv_heads <= MOST_FEATURES, f"more than {MOST_FEATURES} features"),
        (op.value.size <= MOST_QUERY, f"more than {MOST_QUERY} features"),
        (size in HEAD_SIZES, f"a head of {size} features"),
        (shift in SHIFTS, f"its scores move by {shift}"),
        (score >> shift < 1 << 15, "its scores may leave 16 bits"),
        (int(table[0]) > 0 and len(table) <= PAGE, f"{len(table)} weights"),
    )
    return next((why for holds, why in checks if not holds), "")
