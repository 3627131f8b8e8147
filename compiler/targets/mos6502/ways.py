"""A model's other lowerings -> what would do its ops, in how many bytes and cycles, and why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from anachron.compiler.image import Call, Image, Way
from anachron.compiler.targets import DoesNotFit, Machine, Options
from anachron.compiler.targets.mos6502.lowering import Lowering

MOST_TRIED = 8  # lowerings, the likeliest of which are first; and the last


def list_calls(lowering: Lowering) -> tuple[Call, ...]:
    """What does each op, of those that have been lowered."""
    return tuple(
        Call(op.name, op.contract, *lowering.variants[op.name], lowering.data_bytes(op))
        for stage in lowering.values.stages
        for op in stage.ops
        if op.name in lowering.variants
    )


def try_others(
    image: Image,
    lowerings: Sequence[Callable[[], Lowering]],
    build: Callable[[Machine, Options, Lowering], Image],
) -> Iterator[Way]:
    """Those ways to build an image that do some op as none before did that fits."""
    fitting = {(call.op, call.variant) for call in image.calls}
    for make in (*lowerings[:MOST_TRIED], *lowerings[MOST_TRIED:][-1:]):
        lowering, over, found = make(), 0, None
        try:
            found = build(image.machine, image.options, lowering)
        except DoesNotFit as error:
            over = error.bytes_over
        calls = list_calls(lowering)
        new = {(call.op, call.variant) for call in calls}
        if not new <= fitting:
            yield Way(calls, found.times if found else {}, over)
        if found:
            fitting |= new
