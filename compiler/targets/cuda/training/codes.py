"""What a step's codes come to: how far the table of products reaches, and the rates' words.

A step at another learning rate is the same but for what its updates multiply by.
"""

from __future__ import annotations

from collections.abc import Sequence

from anachron.compiler.logarithms import LogStep
from anachron.kernels.arithmetic import Fixed, Log
from anachron.kernels.cuda.training.products import word
from anachron.kernels.reference.log_gradients import LOSS_OCTAVES, MOST_SPREAD
from anachron.kernels.reference.log_model import SUM_SHIFT, softmax_octaves
from anachron.kernels.reference.log_tables import FARTHEST_CODED, magnitude_code, octaves

LARGEST = magnitude_code(FARTHEST_CODED + 2)  # of an integer's code
SLACK = 2  # of a probability: two roundings
MOST_SHIFT = 31


def find_highest(log: LogStep) -> int:
    """The largest logarithm whose product any op looks up."""
    highest = octaves(LOSS_OCTAVES) + SLACK
    for op in (*log.forward, log.loss, *log.backward, *log.updates):
        constant = int(op.attributes.get("constant", 0))
        factors = [
            find_most(log, name)
            for role, name in op.reads.items()
            if role in op.coded or isinstance(log.formats.get(name), Log)
        ]
        highest = max(highest, constant + sum(factors[:2]))
        if op.contract == "attention_scores_gradient":
            probability = find_most(log, op.reads["weights"])
            score = int(op.attributes["score_constant"]) + magnitude_code(MOST_SPREAD)
            highest = max(highest, LARGEST + probability, score + probability)
    return highest + highest % 2


def find_most(log: LogStep, name: str) -> int:
    """The largest code of a value that is read as codes."""
    if isinstance(log.formats[name], Fixed):
        return LARGEST
    model = log.step.model
    loss = name == log.loss.name
    top = softmax_octaves(model.vocab_size if loss else model.seq_len)
    most = octaves(top - SUM_SHIFT) - magnitude_code((1 << top) >> SUM_SHIFT) + SLACK
    if loss:
        most = max(most + octaves(LOSS_OCTAVES), magnitude_code(1 << LOSS_OCTAVES))
    return most


def find_words(log: LogStep) -> Sequence[int]:
    """What each update multiplies by, as kernels/cuda/training/update.py reads it.

    A shift by more than all bits is one by all bits: int16 remains of it.
    """
    words: list[int] = []
    for op in log.updates:
        if "amount" in op.attributes:
            amount = max(-MOST_SHIFT, min(MOST_SHIFT, int(op.attributes["amount"])))
            words += (max(0, -amount), max(0, amount))
        else:
            words += (word(int(op.attributes["constant"])), 0)
    return words
