"""LogStep -> a PDP-11 program that trains by itself, on absolute-loader tape.

From 001000 upwards: the steps, one straight program; what they call; variables; the two tables.
Behind them, not on the tape: weights, their codes, and what a step computes.  Stack and interrupts
are as in target.py.

A plain encoder (compiler/encoder_parts.py) has kernels of its own, which share registers, slots and
buffers as no general ones can; any other graph is trained op by op (graph_training.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from anachron.compiler.assembly.errors import PastMemory
from anachron.compiler.data import read_ids
from anachron.compiler.encoder_parts import Parts, find_parts, find_scales
from anachron.compiler.image import Location
from anachron.compiler.log_training import (
    N_TESTS,
    WEIGHTS_STREAM,
    find_characters,
    find_cuts,
    start_shift,
    start_value,
)
from anachron.compiler.logarithms import LogStep
from anachron.compiler.model import Model
from anachron.compiler.targets import DoesNotFit, Machine, Options
from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.compiler.targets.pdp11.exact_training import ExactProgram
from anachron.compiler.targets.pdp11.graph_training import Program, check_ops
from anachron.compiler.targets.pdp11.sections import (
    Section,
    code,
    compose,
    data,
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
    elements,
    exact,
    forward,
    loss,
    program,
    report,
    tables,
    tasks,
    update,
)
from anachron.kernels.pdp11.training.shape import MOST_TERMS, AnyShape, Shape, Sizes
from anachron.kernels.reference.sampling import seed_state
from anachron.kernels.training_lines import STEPS_OF_LOSS

ORIGIN = 0o1000
ADDRESSES = 0o200000
MOST_IDS = 128  # of a corpus that a program holds as bytes


@dataclass(frozen=True)
class Plan:
    """What a program consists of: sections in order, where parameters lie, what is predicted."""

    sections: list[Section]
    labels: dict[str, str]  # parameter -> where its weights lie
    stretches: dict[str, tuple[str, str]]
    buffer_words: int


def build(
    log: LogStep, machine: Machine, options: Options, *, steps: int, window: int, seed: int
) -> TrainingImage:
    """The program that trains a model for so many steps from one seed.

    Raises ValueError for a model that the kernels do not know, DoesNotFit where memory ends.
    """
    model = log.step.model
    _check_report(model, steps, window)
    memory = options.memory_bytes or machine.memory_bytes or 0
    plan_program = plan_plain if log.plain else plan_exact if log.exact else plan_graph
    plan = plan_program(log, machine, steps, window, seed)
    least = ORIGIN + 2 * plan.buffer_words
    if least > memory:
        raise _does_not_fit(model, machine, least, memory, "at least ")
    source = compose(f"{model.name} learns on {machine.title}", ORIGIN, "start", plan.sections)
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
        weights=_locate_weights(model, plan.labels, symbols),
        stretches=plan.stretches,
        numerics="fixed" if log.exact else "log",
        states=(symbols["weights.state"], symbols["data.state"]),
        objects=place(plan.sections, symbols),
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
    if n * STEPS_OF_LOSS >= 1 << 16:
        most = ((1 << 16) - 1) // (model.seq_len * STEPS_OF_LOSS)
        raise ValueError(f"{model.name}: windows of {window} steps; on a PDP-11 at most {most}")
    if not 1 <= steps < 1 << 16:
        raise ValueError(f"{model.name}: {steps} steps; on a PDP-11 1 to 65535")


def plan_plain(log: LogStep, machine: Machine, steps: int, window: int, seed: int) -> Plan:
    """A plain encoder, by kernels of its own."""
    model, cpu = log.step.model, Cpu(machine.multiplies)
    parts = find_parts(log, "a PDP-11", tasks.ANSWERS, MOST_TERMS)
    dim = model.shapes[parts.token][1]
    shape = Shape(model.seq_len, dim, model.vocab_size, find_scales(log, parts), cpu)
    labels = label_weights(parts, dim)
    lowest = tables.find_lowest(shape)
    kernels = {
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
        "encode.all": update.encode_weights(shape),
    }
    held = [
        Section("slots", "table", "mix.slots", program.slot_lists(shape)),
        Section("codes", "table", "codes", tables.codes(lowest)),
        Section("powers", "table", "powers", tables.powers(lowest)),
    ]
    buffers = shape.buffers()
    sections = _sections(log, machine, shape, kernels, held, labels, buffers, seed)
    return Plan(sections, labels, _stretches(sections), sum(buffers.values()))


def plan_graph(log: LogStep, machine: Machine, steps: int, window: int, seed: int) -> Plan:
    """Any other graph, op by op."""
    cuts = find_cuts(log.step.model, steps)
    graph = Program(log, Cpu(machine.multiplies), cuts)
    bounds = graph.bounds
    held = [
        *[Section("cuts", "table", "cuts", tables.cuts(cuts))] * bool(graph.cut),
        Section("codes", "table", "codes.low", tables.signed_codes(bounds.lowest, bounds.highest)),
        Section("powers", "table", "powers", tables.powers(bounds.lowest, bounds.highest)),
    ]
    kernels = _run_ops(graph, steps, window, {"step.encode": "step.encode:\nJSR PC,encode.all"})
    kernels |= {"encode.all": graph.encode_matrices(), "far.r0": elements.far()}
    return _plan_ops(graph, machine, kernels, held, seed)


def plan_exact(log: LogStep, machine: Machine, steps: int, window: int, seed: int) -> Plan:
    """Any graph by multiplications, op by op."""
    graph = ExactProgram(log, Cpu(machine.multiplies))
    held = [Section("exps", "table", "logs", exact.tables(graph.n, graph.model.vocab_size))]
    kernels = _run_ops(graph, steps, window, {})
    kernels["encode.all"] = "encode.all:\nRTS PC"
    return _plan_ops(graph, machine, kernels, held, seed)


def _run_ops(graph: Program, steps: int, window: int, last: dict[str, str]) -> dict[str, str]:
    """Label -> the kernels of a step in the order of the program; `last` ends the updates."""
    log = graph.log
    check_ops(log)
    ahead = graph.run(log.forward)
    judged = graph.run([log.loss])
    back = graph.run([*log.backward, *log.updates])
    return {
        **judged,
        "choose": program.choose(next(iter(back))),
        **back,
        **last,
        "step_done": program.end_step(steps, window, bool(graph.cut)),
        "forward": forward.enter(),
        **ahead,
        "forward_end": forward.leave(),
    }


def _plan_ops(
    graph: Program, machine: Machine, kernels: dict[str, str], held: list[Section], seed: int
) -> Plan:
    """The program around the kernels of a graph."""
    model = graph.model
    sizes = Sizes(model.seq_len, model.vocab_size, graph.cpu)
    draw, corpus = _find_data(model, sizes)
    labels = {name: graph.labels[name] for name in model.shapes}
    buffers = graph.share() | dict.fromkeys(("tokens", "answers"), model.seq_len)
    sections = _sections(
        graph.log, machine, sizes, kernels | {"draw": draw}, corpus + held, labels, buffers, seed
    )
    sections.append(Section("values", "buffer", "values", f"values:\n{graph.place()}"))
    return Plan(sections, labels, _stretches(sections, graph.names), sum(buffers.values()))


def _find_data(model: Model, sizes: Sizes) -> tuple[str, list[Section]]:
    """How a machine draws a sample, and what it draws from."""
    task = model.task.get("name")
    if task in tasks.ANSWERS:
        return tasks.draw(sizes, task), []
    if task != "next":
        known = ", ".join([*tasks.ANSWERS, "next"])
        raise ValueError(f"{model.name}: a PDP-11 makes data for {known}")
    ids = read_ids(model)
    starts = len(ids) - model.seq_len
    if starts >= 1 << 16 or model.vocab_size > MOST_IDS:
        raise ValueError(
            f"{model.name}: a corpus of {len(ids):,} tokens and {model.vocab_size} ids; a PDP-11 "
            f"holds fewer than 65,536 of at most {MOST_IDS}"
        )
    return tasks.draw_stretch(model.seq_len, starts), [
        data("corpus", "corpus", bytes(ids.tolist()), "table")
    ]


def _sections(
    log: LogStep,
    machine: Machine,
    shape: AnyShape,
    kernels: dict[str, str],
    held: list[Section],
    labels: dict[str, str],
    buffers: dict[str, int],
    seed: int,
) -> list[Section]:
    """Everything in memory, in order."""
    model, cpu = log.step.model, shape.cpu
    tensors, constants = [], []
    for name, size in model.shapes.items():
        value, place_of = start_value(log, name), (labels[name], math.prod(size))
        if value is None:
            tensors.append((*place_of, start_shift(log, name)))
        else:
            constants.append((*place_of, value))
    whole = model.generation.mode == "sequence"
    straight = {
        "start": program.start(any(section.label == "cuts" for section in held)),
        "step": program.begin_step(),
        **kernels,
        "random": sampling.random(cpu),
        "fill.all": tasks.fill(cpu, tensors, constants),
        "report": report.report(shape),
        "test": report.test(shape, N_TESTS) if whole else program.finish(),
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
        Section("tens", "table", "tens", report.tens()),
        Section("symbols", "table", "token.characters", _characters(model)),
        strings(report.texts(title, N_TESTS)),
        *held,
        *(reserve(name, name, n_words, "buffer") for name, n_words in buffers.items()),
    ]


def _stretches(
    sections: list[Section], titles: dict[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    """The kernels of a step: they are run through, each into the next, except for `draw`.

    titles   label -> what a kernel is called, where not by its label
    """
    names = [section.label for section in sections]
    inside = [*range(names.index("forward") + 1, names.index("forward_end")), names.index("loss")]
    inside += range(names.index("choose") + 1, names.index("step_done"))
    stretches = {names[i]: (names[i], names[i + 1]) for i in inside}
    named = {(titles or {}).get(name, name): ends for name, ends in stretches.items()}
    return {"draw": ("step.draw", "step.forward")} | named


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
    codes = ",".join(f"{ord(character):o}" for character in find_characters(model))
    return f"token.characters: .BYTE {codes}\n.EVEN"


def _locate_weights(
    model: Model, labels: dict[str, str], symbols: dict[str, int]
) -> dict[str, Location]:
    located = {}
    for name, size in model.shapes.items():
        stem, _, offset = labels[name].partition("+")
        address = symbols[stem] + int(offset.rstrip(".") or 0)
        located[name] = Location(address, math.prod(size), "words")
    return located
