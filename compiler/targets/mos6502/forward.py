"""The forward pass: the labels that each op calls -> the routine that calls them in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anachron.compiler.schedule import Stage
from anachron.compiler.targets.mos6502.values import Values


def forward(
    values: Values,
    sequence: Mapping[str, Sequence[str]],
    loads: Sequence[Sequence[str]],
    first: str = "",
) -> str:
    """A decoder: one position, with logits where they are wanted.  An encoder: the whole input.

    sequence  op -> the routines called for it
    loads     for each stage the routines that fetch what earlier stages left
    first     the routine `forward_first` of position 0, if it has its own
    """
    head = "; forward: the model's ops, in order; forward_done is where a pass has ended"
    if values.encoder:
        token_bytes = 1 if max(values.fixed.vocab_size, values.fixed.seq_len) <= 256 else 2
        body = [
            _stage(values, stage, number, sequence, loads[number], token_bytes)
            for number, stage in enumerate(values.stages)
        ]
    else:
        (stage,) = values.stages
        long = "    ora position+1\n" if values.fixed.seq_len > 256 else ""
        enter = (
            f"    lda position\n{long}    bne forward_all     ;@ when later\n"
            f"    jmp forward_first\nforward_all:"
        )
        body = [
            *([enter] if first else []),
            *(f"    jsr {label}" for op in stage.always for label in sequence[op.name]),
            "forward_choice:\n    lda wants_logits\n    bne forward_logits  ;@ when wants\n"
            "    jmp forward_done\nforward_logits:",
            *(f"    jsr {label}" for op in stage.for_logits for label in sequence[op.name]),
            *(["    jmp forward_done", first] if first else []),
        ]
    return "\n".join([head, "forward:", *body])


def forward_done() -> str:
    """Where a pass has ended: the host listens here."""
    return "forward_done:\n    rts"


def _stage(
    values: Values,
    stage: Stage,
    number: int,
    sequence: Mapping[str, Sequence[str]],
    loads: Sequence[str],
    token_bytes: int,
) -> str:
    n = values.fixed.seq_len
    text = ["    lda #0\n    sta position", f"stage_{number}:"]
    if any("token" in op.inputs for op in stage.ops):
        text.append(_take_token(token_bytes))
    text += [f"    jsr {label}" for label in loads]
    text += [f"    jsr {label}" for op in stage.ops for label in sequence[op.name]]
    text.append(
        f"    inc position\n    lda position\n    cmp #{n & 255}\n"
        f"    beq stage_{number}_done      ;@ times {n}\n    jmp stage_{number}\n"
        f"stage_{number}_done:"
    )
    return "\n".join(text)


def _take_token(token_bytes: int) -> str:
    if token_bytes == 1:
        return "    ldx position\n    lda prompt_ids,x    ;@ aligned\n    sta token"
    return """\
    lda #0
    sta pointer+1
    lda position
    asl
    rol pointer+1
    adc #<prompt_ids    ; the carry is clear: pointer+1 was 0
    sta pointer
    lda pointer+1
    adc #>prompt_ids
    sta pointer+1
    ldy #0
    lda (pointer),y     ;@ aligned
    sta token
    iny
    lda (pointer),y
    sta token+1"""


def keep_answer(token_bytes: int) -> str:
    """An encoder's routine that notes the token chosen for a position."""
    if token_bytes == 1:
        return "keep_answer:\n    ldx position\n    lda next_token\n    sta answer_ids,x\n    rts"
    return """\
keep_answer:
    lda #0
    sta pointer+1
    lda position
    asl
    rol pointer+1
    adc #<answer_ids
    sta pointer
    lda pointer+1
    adc #>answer_ids
    sta pointer+1
    ldy #0
    lda next_token
    sta (pointer),y
    iny
    lda next_token+1
    sta (pointer),y
    rts"""
