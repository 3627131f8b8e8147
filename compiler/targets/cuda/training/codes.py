"""What a step's codes come to: which ones are multiplied, by what scales, and the rates' words.

A step at another learning rate is the same but for what its updates multiply by.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from anachron.compiler.logarithms import LogOp, LogStep
from anachron.kernels.arithmetic import Fixed, Log
from anachron.kernels.cuda.training.products import Scale
from anachron.kernels.cuda.training.tables import (
    INTEGER_CODES,
    UNCLIPPED,
    bits,
    find_scale,
)
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES
from anachron.kernels.reference.log_model import FARTHEST, SUM_SHIFT, softmax_octaves
from anachron.kernels.reference.log_tables import (
    FARTHEST_CODED,
    SILENT,
    magnitude_code,
    octaves,
)

SLACK = 2  # of a probability: two roundings
MOST_SHIFT = 31


def find_codes(log: LogStep, name: str) -> tuple[int, ...]:
    """All codes that a value can have where it is multiplied."""
    if isinstance(log.formats[name], Fixed):
        return INTEGER_CODES
    model = log.step.model
    loss = name == log.loss.name
    return _find_codes(model.vocab_size if loss else model.seq_len, loss)


@cache
def _find_codes(entries: int, loss: bool) -> tuple[int, ...]:
    """Of a softmax's probabilities; of the loss, its gradients, with those at the target."""
    top = softmax_octaves(entries)
    most = octaves(top - SUM_SHIFT) - magnitude_code((1 << top) >> SUM_SHIFT) + SLACK
    least = octaves(top - SUM_SHIFT) - magnitude_code(FARTHEST_CODED) - 2 * (FARTHEST >> 2)
    more = octaves(LOSS_OCTAVES) if loss else 0
    levels = range(least + more, most + more + 2, 2)
    return tuple(sorted({SILENT, *levels, *(INTEGER_CODES if loss else ())}))


def find_factors(log: LogStep, op: LogOp) -> list[tuple[int, ...]]:
    """The codes of what an op multiplies: two values, or one by a rate."""
    factors = [
        find_codes(log, name)
        for role, name in op.reads.items()
        if role in op.coded or isinstance(log.formats.get(name), Log)
    ]
    return [*factors, (0,)][:2]


def make_scale(constant: int, a: Sequence[int], b: Sequence[int]) -> Scale:
    """For products of any two codes."""
    return Scale(str(bits(find_scale(constant, a, b))), constant + max(a) + max(b) > UNCLIPPED)


def find_op_scale(log: LogStep, op: LogOp) -> Scale:
    """What an op's products are multiplied by, where no rate is in it."""
    return make_scale(int(op.attributes.get("constant", 0)), *find_factors(log, op))


def is_clipped(logs: Sequence[LogStep], number: int) -> bool:
    """Whether an update's product may be beyond the largest, at any of the rates."""
    return any(
        int(op.attributes.get("constant", 0)) + sum(map(max, find_factors(log, op))) > UNCLIPPED
        for log in logs
        for op in (log.updates[number],)
    )


def find_words(log: LogStep, cut: int) -> list[int]:
    """What each update multiplies by, as kernels/cuda/training/update.py reads it.

    cut  the code that a window's decay adds to the rates'

    A shift by more than all bits is one by all bits: int16 remains of it.
    """
    words: list[int] = []
    for op in log.updates:
        if "amount" in op.attributes:
            amount = max(-MOST_SHIFT, min(MOST_SHIFT, int(op.attributes["amount"])))
            words += (max(0, -amount), max(0, amount))
        else:
            constant = int(op.attributes["constant"]) + cut
            words += (bits(find_scale(constant, *find_factors(log, op))), 0)
    return words
