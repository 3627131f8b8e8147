"""FixedModel -> keys and values of the first position, where all prompts begin with one token.

A template's first token stands at position 0 in every answer, and sees nothing before it: what it
leaves is known when the program is built.  Its pass copies that, unless its logits are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.targets.mos6502.values import Values
from anachron.kernels.arithmetic import Array
from anachron.kernels.mos6502.instructions import Vector, lines

MOST_BYTES = 1024


@dataclass(frozen=True)
class Opening:
    """The first token, and the keys and values that it leaves, in the order of work."""

    token: int
    kept: tuple[tuple[Op, Array], ...]
    saves: int  # cycles of a pass, roughly, if an answer takes all the context


def find_opening(fixed: FixedModel) -> Opening | None:
    """What the first position leaves, or None where prompts begin in different ways."""
    if fixed.generation.mode == "sequence" or not fixed.generation.prefix:
        return None
    token = fixed.generation.prefix[0]
    values = Values(fixed)
    (stage, *others) = values.stages
    ops = [op for op in stage.ops if any(values.attentions(op.name))]
    n_bytes = sum(op.value.size * op.value.format.bits // 8 for op in ops)
    if others or n_bytes > MOST_BYTES or any(op.value.size > 128 for op in ops):
        return None
    trace = fixed.trace([token])
    kept = tuple((op, trace[op.name][0]) for op in ops)
    return Opening(token, kept, 30 * fixed.macs(0, False) // fixed.seq_len)


def leave(
    opening: Opening,
    values: Values,
    tables: Mapping[str, Vector],
    keeps: Mapping[str, Sequence[str]],
    token_bytes: int,
) -> str:
    """`forward_first`: the pass of position 0.

    tables  op -> where its vector lies              keeps  op -> the routines that keep it
    """
    high = f"    lda token+1\n    cmp #>{opening.token}\n    bne _other          ;@ never\n"
    text = [
        f"; forward_first: what token {opening.token} leaves at position 0\nforward_first:\n"
        "    lda wants_logits\n    bne _other          ;@ when wants\n"
        f"    lda token\n    cmp #<{opening.token}\n    bne _other          ;@ never",
        high if token_bytes == 2 else "",
        "    jmp forward_known\n_other:\n    jmp forward_all\nforward_known:",
    ]
    for op, _ in opening.kept:
        source, target = tables[op.name], values.vector(op.name)
        parts = [(source.low, target.low), (source.high, target.high)][: target.bits // 8]
        text.append(
            f"    ldx #{target.size - 1}\n_{values.op(op)}:\n"
            + "".join(f"    lda {a},x        ;@ p=0.1\n    sta {b},x\n" for a, b in parts)
            + f"    dex\n    bpl _{values.op(op)}  ;@ times {target.size}"
        )
        text += [f"    jsr {label}" for label in keeps[op.name]]
    return lines(*text, "    jmp forward_done")
