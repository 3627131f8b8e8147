"""FixedModel -> which attentions of int8 vectors run in two residues."""

from __future__ import annotations

from dataclasses import dataclass

from anachron.compiler.fixed import Op
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.mos6502.narrow import attention as narrow_attention
from anachron.kernels.mos6502.narrow.attention import Mixer
from anachron.kernels.mos6502.narrow.cache import PAGE, Shape

MOST_ROWS = 64  # the code is unrolled over them
MOST_FEATURES = 128
HEAD_SIZES = range(2, 65)  # the code is unrolled over a head, and a byte holds its length


@dataclass(frozen=True)
class NarrowHeads:
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
        return 100 * self.shape.size * self.shape.n_rows * len(self.ops)

    def cache(self, op: Op) -> str:
        number = self.ops.index(op)
        return f"{self.shape.name}_cache" + (f"_{number}" if number else "")


def group_narrow_heads(values: Values) -> tuple[NarrowHeads, ...]:
    """The attentions of a model's int8 vectors that run in residues."""
    found: dict[tuple, list[Op]] = {}
    for op in values.fixed.ops:
        if op.contract == "attention" and not _objection(op, values):
            attributes = op.attributes
            table = op.constants["table"].astype("u1").tobytes()
            key = (op.value.size, attributes["heads"], table)
            found.setdefault(key, []).append(op)
    groups = []
    for number, ((size, heads, table), ops) in enumerate(found.items()):
        n = values.fixed.seq_len - 1  # nothing is asked of a full context's last token
        shape = Shape(f"narrow{number}", size, heads, n)
        shifts = sorted({op.attributes["score_shift"] for op in ops})
        mixer = Mixer(shape, tuple(shifts), f"{shape.name}_exponential")
        groups.append(NarrowHeads(mixer, tuple(ops), table.ljust(PAGE, b"\0")))
    return tuple(groups)


def _objection(op: Op, values: Values) -> str:
    """Why these kernels cannot do an attention, or nothing."""
    attributes, n = op.attributes, values.fixed.seq_len
    table = op.constants["table"]
    vectors = [values.vector(name) for name in (*op.inputs, op.name)]
    readers = [list(values.attentions(name)) for name in op.inputs[1:]]
    checks = (
        (all(x.bits == 8 for x in vectors), "a value has not 8 bits"),
        (attributes["causal"] and not values.encoder, "it sees all positions"),
        (attributes["heads"] == attributes["kv_heads"], "heads share keys"),
        (all(len(r) == 1 for r in readers), "another attention reads its keys or values"),
        (1 < n <= MOST_ROWS, f"more than {MOST_ROWS} positions"),
        (attributes["heads"] * n <= 256, "more than 256 rows and heads"),
        (op.value.size <= MOST_FEATURES, f"more than {MOST_FEATURES} features"),
        (op.value.size // attributes["heads"] in HEAD_SIZES, "the size of a head"),
        (int(table[-1]) == 0, "its last weight is not 0"),
    )
    why = next((why for holds, why in checks if not holds), "")
    return why or narrow_attention.applicable(attributes["score_shift"], len(table))
