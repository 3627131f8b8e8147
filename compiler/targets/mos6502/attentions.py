"""FixedModel, ranges -> which attentions run in residues, and the code that each shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from anachron.compiler.fixed import Op
from anachron.compiler.ranges import Ranges
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502.residue.cache import Shape
from anachron.kernels.mos6502.residue.middle import REACH
from anachron.kernels.mos6502.residue.mixing import MOST_WEIGHT, Mixer
from anachron.kernels.mos6502.residue.turns import PART, holds

MOST_ROWS = 64  # the code is unrolled over them
MOST_FEATURES = 128
SHIFTS = range(8, 17)
MOST_BITS = 15  # of a value, its sign counted


@dataclass(frozen=True)
class Heads:
    """Attentions that share code, each with a cache of its own."""

    mixer: Mixer
    ops: tuple[Op, ...]
    table: bytes

    @property
    def shape(self) -> Shape:
        return self.mixer.shape

    @property
    def saves(self) -> int:
        """Cycles of a pass in mid-context that the general kernel would take more, roughly."""
        return 130 * self.shape.size * self.shape.n_rows * len(self.ops)

    def cache(self, op: Op) -> str:
        number = self.ops.index(op)
        return f"{self.shape.name}_cache" + (f"_{number}" if number else "")


@dataclass(frozen=True)
class _Needs:
    """What an attention's sums and values may reach."""

    score: int
    weighted: int
    value: int


def group_attentions(values: Values, ranges: Ranges) -> tuple[tuple[Heads, ...], Mapping[str, str]]:
    """The attentions that run in residues, and op -> why it does not."""
    reasons: dict[str, str] = {}
    needs: dict[str, _Needs] = {}
    found: dict[tuple, list[Op]] = {}
    for op in values.fixed.ops:
        if op.contract != "attention":
            continue
        reasons[op.name] = _objection(op, values)
        if reasons[op.name]:
            continue
        n = values.fixed.seq_len
        score = math.ceil(float(ranges.accumulators[op.name]["score"]))
        value = int(ranges.values[op.inputs[2]].peak.max(initial=0))
        need = _Needs(score, MOST_WEIGHT * n * value, value)
        dropped = (1 << PART) - 1
        keys = ranges.values[op.inputs[1]].peak.reshape(op.attributes["heads"], -1).sum(1)
        if not holds(score, dropped * int(keys.max())):
            reasons[op.name] = f"its scores may reach {score:,}"
        elif not holds(need.weighted, dropped * n * value):
            reasons[op.name] = f"its weighted sums may reach {need.weighted:,}"
        elif score >> op.attributes["score_shift"] >= 1 << 15:
            reasons[op.name] = "its scores may leave 16 bits"
        elif value.bit_length() + 1 > MOST_BITS:
            reasons[op.name] = f"its values may reach {value:,}"
        else:
            needs[op.name] = need
            table = op.constants["table"].astype("u1").tobytes()
            attributes = op.attributes
            key = (op.value.size, attributes["heads"], attributes["score_shift"], table)
            found.setdefault(key, []).append(op)
    groups = []
    for number, ((size, heads, shift, table), ops) in enumerate(found.items()):
        n = values.fixed.seq_len - 1  # nothing is asked of a full context's last token
        needed = [needs[op.name] for op in ops]
        measured = (
            any(need.score > REACH for need in needed),
            any(need.weighted > REACH for need in needed),
        )
        shape = Shape(f"heads{number}", size, heads, n, measured)
        value = max(need.value for need in needed)
        label = f"{shape.name}_exponential"
        mixer = Mixer(shape, shift, label, len(table), value)
        groups.append(Heads(mixer, tuple(ops), table))
    return tuple(groups), {name: why for name, why in reasons.items() if why}


def _objection(op: Op, values: Values) -> str:
    """Why these kernels cannot do an attention, by its shape, or nothing."""
    attributes, n = op.attributes, values.fixed.seq_len
    vectors = [values.vector(name) for name in (*op.inputs, op.name)]
    readers = [list(values.attentions(name)) for name in op.inputs[1:]]
    checks = (
        (attributes["causal"] and not values.encoder, "it sees all positions"),
        (attributes["heads"] == attributes["kv_heads"], "heads share keys"),
        (all(x.bits == 16 for x in vectors), "a value has not 16 bits"),
        (all(len(r) == 1 for r in readers), "another attention reads its keys or values"),
        (1 < n <= MOST_ROWS, f"more than {MOST_ROWS} positions"),
        (attributes["heads"] * n <= 256, "more than 256 rows and heads"),
        (op.value.size <= MOST_FEATURES, f"more than {MOST_FEATURES} features"),
        (attributes["score_shift"] in SHIFTS, "the shift of its scores"),
        (len(op.constants["table"]) <= 256, "more than 256 weights"),
    )
    return next((why for holds, why in checks if not holds), "")
