"""LogStep -> a PDP-11 program that trains by itself, on absolute-loader tape.

From 001000 upwards: the steps, one straight program; what they call; variables; the two tables.
Behind them, not on the tape: weights, their codes, and what a step computes.  Stack and interrupts
are as in target.py.

The kernels know one shape of model: x = token + position, y = x + attention(q, k, v) with one
head, logits; compiler/encoder_parts.py says where a model differs.  To add a shape: there, and its
kernels in kernels/pdp11/training/.
"""

from __future__ import annotations

from anachron.compiler.assembly.errors import PastMemory
from anachron.compiler.encoder_parts import Parts, find_parts, find_scales
from anachron.compiler.image import Location
from anachron.compiler.log_training import N_TESTS, WEIGHTS_STREAM, start_shift
from anachron.compiler.logarithms import LogStep
from anachron.compiler.model import Model
from anachron.compiler.targets import DoesNotFit, Machine, Options
from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.compiler.targets.pdp11.sections import (
    Section,
    code,
    compose,
    place,
    reserve,
    strings,
    words,
)
from anachron.compiler.training_image import TrainingImage
from anachron.emulators.containers import lda
from anachron.kernels.pdp11 import arithmetic, runtime, sampling
from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.pdp11.training import (
    backward,
    forward,
    loss,
    program,
    report,
    tables,
    tasks,
    update,
)
from anachron.kernels.pdp11.training.shape import MOST_TERMS, Shape
from anachron.kernels.reference.sampling import seed_state

ORIGIN = 0o1000
ADDRESSES = 0o200000


def build(
    log: LogStep, machine: Machine, options: Options, *, steps: int, window: int, seed: int
) -> TrainingImage:
    """The program that trains a model for so many steps from one seed.

    Raises ValueError for a model that the kernels do not know, DoesNotFit where memory ends.
    """
    model = log.step.model
    parts = find_parts(log, "a PDP-11", tasks.ANSWERS, MOST_TERMS)
    dim = model.shapes[parts.token][1]
    scales = find_scales(log, parts)
    shape = Shape(model.seq_len, dim, model.vocab_size, scales, Cpu(machine.multiplies))
    _check_report(model, steps, window)
    memory = options.memory_bytes or machine.memory_bytes or 0
    least = ORIGIN + 2 * sum(shape.buffers().values())
    if least > memory:
        raise _does_not_fit(model, machine, least, memory, "at least ")
    sections = _sections(log, parts, shape, machine, steps, window, seed)
    source = compose(f"{model.name} learns on {machine.title}", ORIGIN, "start", sections)
    try:
        assembled = assemble(source, f"{model.name}.mac", machine=machine.name)
    except PastMemory as past:
        raise _does_not_fit(model, machine, ADDRESSES + past.n_bytes, memory, "at least ") from None
    symbols = {label.lower(): value for label, value in assembled.symbols.items()}
    if symbols["image_end"] > memory:
        raise _does_not_fit(model, machine, symbols["image_end"], memory)
    return TrainingImage(
        model=model,
        machine=machine,
        options=options,
        steps=steps,
        seed=seed,
        source=source,
        program=assembled,
        symbols=symbols,
        weights=_locate_weights(model, parts, shape, symbols),
        stretches=_stretches(sections),
        states=(symbols["weights.state"], symbols["data.state"]),
        objects=place(sections, symbols),
        regions=((ORIGIN, memory),),
        container={".lda": lda.pack(assembled.segments, symbols["start"])},
        entry=symbols["start"],
    )


def _does_not_fit(
    model: Model, machine: Machine, needed: int, memory: int, least: str = ""
) -> DoesNotFit:
    over = needed - memory
    return DoesNotFit(
        f"{model.name} needs {least}{needed:,} bytes to train, {machine.title} has {memory:,}: "
        f"{least}{over:,} too many",
        over,
    )


def label_weights(parts: Parts, dim: int) -> dict[str, str]:
    """Parameter -> where its weights lie."""
    size = 2 * dim * dim
    return {
        parts.token: "tok.weight",
        parts.position: "pos.weight",
        parts.query: "qkv.weight",
        parts.key: f"qkv.weight+{size}.",
        parts.value: f"qkv.weight+{2 * size}.",
        parts.output: "out.weight",
    }


def _check_report(model: Model, steps: int, window: int) -> None:
    """Losses and hits of a window are divided by words."""
    n = min(window, steps) * model.seq_len
    if n * report.STEPS_OF_LOSS >= 1 << 16:
        most = ((1 << 16) - 1) // (model.seq_len * report.STEPS_OF_LOSS)
        raise ValueError(f"{model.name}: windows of {window} steps; on a PDP-11 at most {most}")
    if not 1 <= steps < 1 << 16:
        raise ValueError(f"{model.name}: {steps} steps; on a PDP-11 1 to 65535")


def _sections(
    log: LogStep,
    parts: Parts,
    shape: Shape,
    machine: Machine,
    steps: int,
    window: int,
    seed: int,
) -> list[Section]:
    """Everything in memory, in order."""
    model, cpu = log.step.model, shape.cpu
    labels = label_weights(parts, shape.dim)
    lowest = tables.find_lowest(shape)
    tensors = [
        (labels[name], rows * columns, start_shift(log, name))
        for name, (rows, columns) in model.shapes.items()
    ]
    straight = {
        "start": program.start(),
        "step": program.begin_step(),
        "loss": loss.loss(shape),
        "choose": program.choose(),
        "d_y": backward.d_y(shape),
        "d_attention": backward.d_attention(shape),
        "d_scores": backward.d_scores(shape),
        "d_queries": backward.d_records(shape),
        "d_x": backward.d_x(shape),
        "update_output": update.update_output(shape),
        **update.update_qkv(shape),
        "step_done": program.end_step(steps, window),
        "forward": forward.enter(),
        "embed": forward.embed(shape),
        "qkv": forward.qkv(shape),
        "scores": forward.scores(shape),
        "weights": forward.attention_weights(shape),
        "mix": forward.mix(shape),
        "output": forward.logits(shape),
        "forward_end": forward.leave(),
        "draw": tasks.draw(shape, model.task["name"]),
        "random": sampling.random(cpu),
        "fill.all": tasks.fill(cpu, tensors),
        "encode.all": update.encode_weights(shape),
        "report": report.report(shape),
        "test": report.test(shape, N_TESTS),
        "print_number": report.numbers(cpu),
        "new_line": runtime.printing(),
        "divide": arithmetic.divide(cpu),
    }
    if not cpu.multiplies:
        straight["multiply"] = arithmetic.multiply()
    title = f"{model.name.upper()} LEARNS ON A {machine.title.upper()}"
    return [
        *(code(name, text) for name, text in straight.items()),
        words("variables", _variables(seed)),
        Section("slots", "table", "mix.slots", program.slot_lists(shape)),
        Section("tens", "table", "tens", report.tens()),
        Section("symbols", "table", "token.characters", _characters(model)),
        strings(report.texts(title, N_TESTS)),
        Section("codes", "table", "codes", tables.codes(lowest)),
        Section("powers", "table", "powers", tables.powers(lowest)),
        *(reserve(name, name, n_words, "buffer") for name, n_words in shape.buffers().items()),
    ]


def _stretches(sections: list[Section]) -> dict[str, tuple[str, str]]:
    """The kernels of a step: they are run through, each into the next, except for `draw`."""
    names = [section.label for section in sections]
    inside = [*range(names.index("embed"), names.index("forward_end")), names.index("loss")]
    inside += range(names.index("d_y"), names.index("step_done"))
    stretches = {names[i]: (names[i], names[i + 1]) for i in inside}
    return {"draw": ("step.draw", "step.forward")} | stretches


def _variables(seed: int) -> dict[str, int]:
    """Words that hold something from the start; the host may deposit into the two states."""
    cells = dict.fromkeys(program.CELLS, 0)
    for name, state in (
        ("weights.state", seed_state(seed ^ WEIGHTS_STREAM)),
        ("data.state", seed_state(seed)),
        ("random_state", 1),
    ):
        cells |= {name: state & 0xFFFF, f"{name}.high": state >> 16}
    return cells


def _characters(model: Model) -> str:
    """A character for each id."""
    pieces = model.tokenizer.machine_tables().pieces[: model.vocab_size]
    characters = [piece[0] if len(piece) == 1 else ord("?") for piece in pieces]
    return "token.characters: .BYTE " + ",".join(f"{c:o}" for c in characters) + "\n.EVEN"


def _locate_weights(
    model: Model, parts: Parts, shape: Shape, symbols: dict[str, int]
) -> dict[str, Location]:
    located = {}
    for name, label in label_weights(parts, shape.dim).items():
        stem, _, offset = label.partition("+")
        rows, columns = model.shapes[name]
        address = symbols[stem] + int(offset.rstrip(".") or 0)
        located[name] = Location(address, rows * columns, "words")
    return {name: located[name] for name in model.shapes}
