"""The forward pass: Values -> the routine that calls the ops in order, position by position."""

from __future__ import annotations

from anachron.compiler.schedule import Stage
from anachron.compiler.targets.pdp11.values import Values
from anachron.kernels.pdp11.instructions import Cpu


def forward(values: Values) -> str:
    """A decoder: one position, with logits where they are wanted.  An encoder: the whole input."""
    body = _sequence(values) if values.encoder else _position(values)
    return f"""\
; forward: the model's ops, in order;  uses R0 to R5
forward:
{body}"""


def forward_done() -> str:
    """Where a pass has ended: the host listens here."""
    return "forward_done:\n    RTS PC"


def place_rows(cpu: Cpu, values: Values) -> str:
    """The addresses of a position's rows."""
    lines = ["MOV position,R0"]
    for stride, names in values.strides().items():
        lines.append(cpu.scale(stride))
        for name in names:
            lines += ["MOV R1,R2", f"ADD #{values.base(name)},R2", f"MOV R2,{values.at(name)}"]
    rows = "\n".join(lines)
    return f"""\
; place_rows: the addresses of this position's rows;  uses R0, R1, R2
place_rows:
    {rows}
    RTS PC"""


def _position(values: Values) -> str:
    (stage,) = values.stages
    return "\n".join(
        [
            "JSR PC,place_rows",
            *(f"JSR PC,{values.op(op)}" for op in stage.always),
            "forward.choice:",
            "TST wants_logits",
            "BNE forward.logits ;@ p=0.7",
            "JMP forward_done",
            "forward.logits:",
            *(f"JSR PC,{values.op(op)}" for op in stage.for_logits),
        ]
    )


def _sequence(values: Values) -> str:
    return "\n".join(
        _stage(values, stage, f"stage.{number}") for number, stage in enumerate(values.stages)
    )


def _stage(values: Values, stage: Stage, label: str) -> str:
    n = values.fixed.seq_len
    reads_token = any("token" in op.inputs for op in stage.ops)
    token = "MOV position,R0\nASL R0\nMOV prompt_ids(R0),token"
    calls = "\n".join(f"JSR PC,{values.op(op)}" for op in stage.ops)
    return f"""\
    CLR position
{label}:
    {token if reads_token else ""}
    JSR PC,place_rows
    {calls}
    INC position
    CMP position,#{n}.
    BEQ 10$         ;@ times {n}
    JMP {label}
10$:"""
