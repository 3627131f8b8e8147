"""LogStep -> the text of a kernel: a warp a training, from its start weights to its tests.

    tables into shared memory, a column for every lane; then, training by training:
        start weights; steps, each [sample, forward, loss, and what goes back]; a report a window
        the tests: samples that are only answered

Arguments: the tables; how many trainings there are, and of how many steps, reports and tests; the
generators' states for weights and for data; rows of what updates multiply by, one for each rate
and, where rates decay, window; the first row of each training; what comes back: weights, reports
(loss, hits, positions), steps that went back, and the tests' tokens, targets and answers; and the
samples of every training, for a task that the kernel makes no data for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anachron.compiler.log_training import start_shift, start_value
from anachron.compiler.logarithms import LogStep
from anachron.compiler.model import Model
from anachron.compiler.targets.cuda.layout import SHARED_BYTES
from anachron.compiler.targets.cuda.training.step import Lines, StepLowering
from anachron.kernels.cuda.places import indent
from anachron.kernels.cuda.training import program
from anachron.kernels.cuda.training.grid import VECTOR
from anachron.kernels.cuda.training.update import RATE_WORDS

MOST_WARPS = 18  # of a block: 576 threads may have 112 registers each
MOST_POSITIONS = 32  # a lane has a token
ARGUMENTS = {
    **{"gm": "bytes", "trainings": "word", "steps": "word", "n_reports": "word"},
    **{"n_tests": "word", "start_states": "words", "states": "words"},
    **{"scales": "bytes", "first_rows": "words"},
    **{"memory": "bytes", "reports": "words", "backward": "words"},
    **{"tests": "words", "samples": "words"},
}


@dataclass(frozen=True)
class TrainingText:
    """A kernel's source, its tables, and what a warp needs.

    weight_bytes  of global memory for each training, its spare words included
    row_words     of a row of scales
    room          bytes of shared memory that a block has
    """

    source: str
    tables: bytes
    table_bytes: int
    warp_bytes: int
    weight_bytes: int
    row_words: int
    weights: dict[str, int]
    room: int = SHARED_BYTES

    @property
    def warps(self) -> int:
        """Of a block, at most."""
        return min(MOST_WARPS, (self.room - self.table_bytes) // self.warp_bytes)

    def shared_bytes(self, warps: int) -> int:
        return self.table_bytes + warps * self.warp_bytes


def write_training(
    log: LogStep, window: int, others: Sequence[LogStep] = (), room: int = SHARED_BYTES
) -> TrainingText:
    """The text for a step; ValueError, in one line, for one that the kernels lack.

    others  the same step at other learning rates, which the kernel is to take, too
    room    bytes of shared memory that a block has
    """
    model = log.step.model
    if model.seq_len > MOST_POSITIONS:
        raise ValueError(
            f"{model.name}: {model.seq_len} positions, training on a GPU takes {MOST_POSITIONS}"
        )
    lowering = StepLowering(log, others)
    table_bytes = lowering.tables.n_bytes
    if table_bytes + lowering.warp_bytes > room:
        raise ValueError(
            f"{model.name}: a training needs {lowering.warp_bytes:,} bytes of shared memory beside "
            f"the tables' {table_bytes:,}, a block has {room:,}"
        )
    forward = list(_join(lowering.lower((*lowering.forward, log.loss))))
    back = list(_join(lowering.lower(lowering.back)))
    one = [
        f"mine = forward(memory, int64(training) * int64({lowering.weight_bytes}))",
        "state = start_states[training]",
        *_fill(log, lowering),
        "cuda.syncwarp()",
        *lowering.encode(),
        "first_row = first_rows[training]",
        "state = states[training]",
        *(f"{name} = int32(0)" for name in ("gone", "step", "report", *COUNTS)),
        f"until = int32({window})",
        "while step < steps + n_tests:",
        *indent(_step(lowering, forward, back, window)),
        "if lane == 0:",
        "    backward[training] = gone",
        "training = add32(training, stride)",
    ]
    source = [
        f"def kernel({', '.join(ARGUMENTS)}):",
        *indent(
            [
                f'"""{model.name}: a warp a training."""',
                *_start(lowering),
                "while training < trainings:",
                *indent(one),
            ]
        ),
    ]
    return TrainingText(
        "\n".join(source) + "\n",
        lowering.tables.entries,
        table_bytes,
        lowering.warp_bytes,
        lowering.weight_bytes,
        RATE_WORDS * len(log.updates),
        lowering.weights,
        room,
    )


def decays(model: Model) -> bool:
    """Whether the rates of a window are not those of the one before."""
    return bool(model.recipe.get("decay", 0) > 0)


def makes_data(model: Model) -> bool:
    """Whether the kernel draws the samples of a model's task."""
    return model.task.get("name") in program.ANSWERS


COUNTS = ("loss", "hits", "counted")


def _join(items: list[Lines]) -> Iterator[str]:
    for item in items:
        if item.barrier:
            yield "cuda.syncwarp()"
        yield from (f"# {op.name}: {op.contract}" for op in item.ops)
        yield from item.lines


def _start(lowering: StepLowering) -> list[str]:
    """The tables, and where the warp's memory is."""
    tables = lowering.tables
    return [
        "sm = cuda.shared.array(0, int32, alignment=16)",
        "tid = int32(cuda.threadIdx.x)",
        "threads = int32(cuda.blockDim.x)",
        "block = int32(cuda.blockIdx.x)",
        "blocks = int32(cuda.gridDim.x)",
        "lane = and32(tid, 31)",
        "warp = shr32(tid, 5)",
        "lane4 = mul32(lane, 4)",
        f"w = add32(mul32(warp, {lowering.warp_bytes}), {tables.n_bytes})",
        f"spare = add32(add32(w, mul32(lane4, {VECTOR})), {lowering.dump.offset})",
        "i = mul32(tid, 4)",
        f"while i < {tables.n_bytes}:",
        "    value = load32(gm, i, 0)",
        "    store32(sm, i, 0, value)",
        "    i = add32(i, mul32(threads, 4))",
        "cuda.syncthreads()",
        "training = add32(mul32(block, shr32(threads, 5)), warp)",
        "stride = mul32(blocks, shr32(threads, 5))",
    ]


def _fill(log: LogStep, lowering: StepLowering) -> list[str]:
    lines = []
    for name, at in lowering.weights.items():
        rows, columns = lowering.shape(name)
        first = start_value(log, name)
        if first is None:
            lines += program.fill(at, rows * columns, start_shift(log, name), lowering.spare)
        else:
            lines += program.set_all(at, rows * columns, int(first))
    return lines


def _step(
    lowering: StepLowering,
    forward: list[str],
    back: list[str],
    window: int,
) -> list[str]:
    model = lowering.log.step.model
    task = str(model.task["name"])
    n = lowering.n
    sample = program.take(lowering.tokens, lowering.targets)
    if makes_data(model):
        sample = program.draw(task, lowering.tokens, lowering.targets, lowering.n_ids)
    row = "add32(first_row, report)" if decays(model) else "first_row"
    learn = [
        f"rate_at = mul32({row}, {4 * RATE_WORDS * len(lowering.log.updates)})",
        "if redux_add(active) > 0:",
        "    gone = add32(gone, 1)",
        *indent(back),
        "step = add32(step, 1)",
        "if step == until or step == steps:",
        *indent([f"whole_{name} = redux_add({name})" for name in COUNTS]),
        "    if lane == 0:",
        *indent(
            [
                f"reports[(training * n_reports + report) * 3 + {k}] = whole_{name}"
                for k, name in enumerate(COUNTS)
            ],
            2,
        ),
        *indent([f"{name} = int32(0)" for name in COUNTS]),
        "    report = add32(report, 1)",
        f"    until = add32(until, {window})",
    ]
    parts = (lowering.tokens, lowering.targets, lowering.answers)
    test = [
        f"if lane < {n}:",
        *(f"    said{k} = load32(sm, add32(w, lane4), {p.offset})" for k, p in enumerate(parts)),
        *(
            f"    tests[((training * n_tests + step - steps) * 3 + {k}) * {n} + lane] = said{k}"
            for k in range(len(parts))
        ),
        "step = add32(step, 1)",
    ]
    return [
        "cuda.syncwarp()",
        *sample,
        "active = int32(0)",
        "cuda.syncwarp()",
        *forward,
        "cuda.syncwarp()",
        "if step < steps:",
        *indent(learn),
        *(["else:", *indent(test)] if model.generation.mode == "sequence" else []),
    ]
