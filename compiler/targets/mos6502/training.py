"""LogStep -> a C64 program that trains by itself: a .prg that RUN starts, and a disk with it.

Loaded from $0801 upwards: the steps, one routine a kernel; what they call; variables; tables.
Weights, their codes, and what a step computes lie above, and in the RAM under the KERNAL.

The kernels know one shape of model; compiler/encoder_parts.py says where a model differs.  To add a
shape: there, and its kernels in kernels/mos6502/training/.
"""

from __future__ import annotations

from collections.abc import Mapping

from anachron.compiler.assembly.errors import PastMemory
from anachron.compiler.assembly.program import Program
from anachron.compiler.encoder_parts import MOST_TERMS, Parts, find_parts, find_scales
from anachron.compiler.image import Location
from anachron.compiler.log_training import (
    N_TESTS,
    WEIGHTS_STREAM,
    find_characters,
    start_shift,
)
from anachron.compiler.logarithms import LogStep
from anachron.compiler.memory import Placed
from anachron.compiler.model import Model
from anachron.compiler.targets import DoesNotFit, Machine, Options
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.targets.mos6502.containers import pack_files
from anachron.compiler.targets.mos6502.linking import IO_START, MEMORY_END, SMALL_REGIONS
from anachron.compiler.targets.mos6502.sections import (
    Area,
    Overflow,
    Section,
    byte_lines,
    compose,
    fill_pages,
    place_areas,
    place_sections,
)
from anachron.compiler.targets.mos6502.text import message
from anachron.compiler.targets.mos6502.training_tables import Fast, TableSet
from anachron.compiler.training_image import TrainingImage
from anachron.emulators.containers import prg
from anachron.kernels.mos6502 import sampling, zeropage
from anachron.kernels.mos6502.runtime import CLEAR, NO_SWITCH, SMALL_LETTERS
from anachron.kernels.mos6502.training import (
    backward,
    forward,
    loss,
    memory,
    program,
    report,
    softmax,
    tasks,
    update,
)
from anachron.kernels.mos6502.training.shape import MOST, MOST_DIM, Shape
from anachron.kernels.reference.sampling import seed_state

KERNAL = 0xE000  # where RAM begins again behind the I/O chips
ADDRESSES = 0x10000
PAGE = 256
VARIANTS = (  # fastest first
    Fast(recall=True, mutes=True, features=True, updates=True),
    Fast(recall=True, mutes=True, features=True, updates=False),
    Fast(recall=False, mutes=True, features=True, updates=False),
    Fast(recall=False, mutes=False, features=False, updates=False),
)


def build(
    log: LogStep, machine: Machine, options: Options, *, steps: int, window: int, seed: int
) -> TrainingImage:
    """The program that trains a model for so many steps from one seed.

    Raises ValueError for a model that the kernels do not know, DoesNotFit where memory ends.
    """
    model = log.step.model
    parts = find_parts(log, "a C64", tasks.ANSWERS, MOST_TERMS)
    dim = model.shapes[parts.token][1]
    shape = Shape(model.seq_len, dim, model.vocab_size, find_scales(log, parts))
    _check(model, machine, shape, steps, window)
    for fast in VARIANTS:
        tables = TableSet(model.name, shape, fast)
        sections = _sections(log, parts, shape, tables, options, machine, steps, window, seed)
        try:
            areas, constants = _areas(shape, fast), _constants(shape)
            assembled, source, placed = _link(model, machine, sections, areas, constants)
            break
        except DoesNotFit as error:
            last = error
    else:
        raise last
    symbols = assembled.symbols
    loaded = next(data for address, data in assembled.segments if address == prg.BASIC_START)
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
        stretches=_stretches(shape),
        states=(symbols["weights_state"], symbols["data_state"]),
        objects=(*_zero_page(shape), *place_sections(sections, symbols), *placed),
        regions=(*SMALL_REGIONS, (prg.BASIC_START, MEMORY_END)),
        container=pack_files(
            model.name,
            machine,
            prg.Prg(prg.BASIC_START, loaded),
            symbols["start"],
            options.packed,
        ),
        entry=symbols["start"],
    )


def _check(model: Model, machine: Machine, shape: Shape, steps: int, window: int) -> None:
    """Records of a position lie in a page; losses and hits of a window in 24 and 16 bits."""
    if shape.dim > MOST_DIM:
        bytes_over = shape.positions * 7 * (shape.dim - MOST_DIM)
        raise DoesNotFit(
            f"{model.name}: {shape.dim} features, training on a {machine.title} takes at most "
            f"{MOST_DIM}: {bytes_over:,} bytes of records too many",
            bytes_over,
        )
    if min(window, steps) * model.seq_len >= 1 << 15:
        most = ((1 << 15) - 1) // model.seq_len
        raise ValueError(f"{model.name}: windows of {window} steps; on a C64 at most {most}")
    if not 1 <= steps < 1 << 16:
        raise ValueError(f"{model.name}: {steps} steps; on a C64 1 to 65535")


def _link(
    model: Model, machine: Machine, sections: list[Section], areas: list[Area], constants: str
) -> tuple[Program, str, tuple[Placed, ...]]:
    """Assemble twice: what is loaded is as long wherever the rest lies."""
    title = f"{model.name} learns on {machine.title}"

    def attempt(addresses: dict[str, int]) -> tuple[Program, str]:
        words = [f"{label} = ${address:04x}" for label, address in sorted(addresses.items())]
        source = compose(title, prg.BASIC_START, "\n".join([constants, *words]), sections)
        return assemble(source, f"{model.name}.asm"), source

    try:
        assembled, _ = attempt({a.label: KERNAL for a in areas})
        end = assembled.symbols["image_end"]
    except PastMemory as past:
        end = ADDRESSES + past.n_bytes
    needed = end - prg.BASIC_START + sum(a.size for a in areas)
    room = IO_START - prg.BASIC_START + MEMORY_END - KERNAL
    if end <= IO_START:
        free = [*SMALL_REGIONS, (end, IO_START), (KERNAL, MEMORY_END)]
        try:
            addresses, placed = place_areas(areas, free, IO_START)
            program_, source = attempt(addresses)
            return program_, source, placed
        except Overflow:
            pass
    over = max(end - IO_START, needed - room, 1)
    raise DoesNotFit(
        f"{model.name} needs {needed:,} bytes to train, of which {end - prg.BASIC_START:,} are "
        f"loaded; {machine.title} has {room:,} and {IO_START - prg.BASIC_START:,}: about {over:,} "
        "too many",
        over,
    )


def _constants(shape: Shape) -> str:
    """The zero page."""
    at, lines_ = zeropage.FIRST, []
    for label, size in shape.zero_page().items():
        lines_.append(f"{label} = ${at:02x}")
        at += size
    assert at <= zeropage.END
    return "\n".join(lines_)


def _zero_page(shape: Shape) -> tuple[Placed, ...]:
    at, placed = zeropage.FIRST, []
    for label, size in shape.zero_page().items():
        placed.append(Placed(label, at, size, "zero page"))
        at += size
    return tuple(placed)


def _areas(shape: Shape, fast: Fast) -> list[Area]:
    """What is not loaded: where an index walks a row, the row lies within a page."""
    strides = {
        "qkv": shape.matrix if shape.aligned else 1,
        "out": shape.feature,
        "records": shape.record,
        "gradients": PAGE,
        "known": PAGE,
        "attention": MOST,
        "slopes": MOST,
        **dict.fromkeys(("y", "dy", "x", "dx"), shape.feature),
    }
    areas = []
    buffers = shape.buffers() | (memory.areas(shape) if fast.recall else {})
    for label, size in buffers.items():
        kind = "weights" if label.split("_")[0] in ("tok", "pos", "qkv", "out") else "buffer"
        align = strides.get(label, strides.get(label.split("_")[0], 1))
        areas.append(Area(label, kind, ((0, size),), align))
    small = ("tokens", "answers", "best", "active", "token_rows_low", "token_rows_high")
    pieces = ((0, shape.positions),)
    return areas + [Area(label, "buffer", pieces, MOST, visible=True) for label in small]


def _sections(
    log: LogStep,
    parts: Parts,
    shape: Shape,
    tables: TableSet,
    options: Options,
    machine: Machine,
    steps: int,
    window: int,
    seed: int,
) -> list[Section]:
    """Everything that is loaded, in order."""
    model = log.step.model
    stub = prg.basic_stub(prg.BASIC_START + len(prg.basic_stub(2061)))
    updates = update.update_qkv(shape)
    title = f"{model.name.upper()} LEARNS ON A {machine.title.upper()}"
    runtime = {
        "start": f"{byte_lines(stub)}\n{program.start()}",
        "step": program.step(("update_output", *updates), steps, window, options.feedback),
        "forward": program.forward(),
        "screen": program.screen(options.screen, options.feedback),
        "report": report.report(shape),
        "numbers": report.numbers(),
        "test": report.test(shape, N_TESTS),
        "fill": tasks.fill(_tensors(log, parts, shape)),
        "encode": update.encode_weights(shape),
        "variables": _variables(seed),
        "texts": _texts(report.texts(title, N_TESTS), model),
    }
    code = {
        "draw": tasks.draw(shape, model.task["name"]),
        "random": sampling.next_random(),
        "embed": forward.embed(shape),
        "qkv": forward.qkv(shape),
        "recall": tables.recall(),
        "attend": forward.attend(shape),
        "mix": forward.mix(shape),
        "output": forward.logits(shape),
        "lose": loss.lose(shape),
        "softmax of scores": softmax.softmax(forward.features(shape), "softmax_of_scores"),
        "softmax of logits": softmax.softmax(forward.ids(shape), "softmax_of_logits", place=True),
        "d_y": backward.d_y(shape),
        "d_scores": backward.d_scores(shape),
        "d_records": backward.d_records(shape),
        "d_x": backward.d_x(shape),
        "update embeddings": backward.update_embeddings(shape),
        "update output": update.update_output(shape),
        **updates,
        **{kernel.name: kernel.routine() for kernel in tables.kernels},
        **tables.mutes(),
        **tables.patches(),
    }
    return [
        *(Section(name, "runtime", text) for name, text in runtime.items()),
        *(Section(name, "code", text) for name, text in code.items()),
        *fill_pages(tables.sections()),
    ]


def _stretches(shape: Shape) -> dict[str, tuple[str, str]]:
    """The kernels of a step."""
    names = [*program.BACKWARD, "update_output", *update.update_qkv(shape)]
    begins = [f"step_{n}" for n in (*program.KERNELS, "choose", *names)]
    ends = [*begins[1:], "step_done"]
    pairs = zip((*program.KERNELS, "choose", *names), begins, ends, strict=True)
    return {name: (begin, end) for name, begin, end in pairs if name != "choose"}


def _variables(seed: int) -> str:
    """What holds something from the start; the host may deposit into the two states."""
    cells = {label: bytes(size) for label, size in program.CELLS.items()}
    for label, state in (
        ("weights_state", seed_state(seed ^ WEIGHTS_STREAM)),
        ("data_state", seed_state(seed)),
        ("random_state", 1),
    ):
        cells[label] = state.to_bytes(4, "little")
    return "\n".join(f"{label}:\n{byte_lines(content)}" for label, content in cells.items())


def _texts(texts: dict[str, str], model: Model) -> str:
    """What is printed, and a character for each id."""
    content = {label: message(text) + b"\0" for label, text in texts.items()}
    content["text_title"] = bytes([SMALL_LETTERS, NO_SWITCH, CLEAR]) + content["text_title"]
    content["token_characters"] = message(find_characters(model))
    return "\n".join(f"{label}:\n{byte_lines(data)}" for label, data in content.items())


def _matrices(parts: Parts, shape: Shape) -> dict[str, tuple[str, int, int, int]]:
    """Parameter -> label, the first byte behind it, bytes from a row and from a column to the next.
    """
    dim = shape.dim
    return {
        parts.token: ("tok", 0, dim, 1),
        parts.position: ("pos", 0, dim, 1),
        parts.query: ("qkv", shape.part(0), 1, shape.matrix),
        parts.key: ("qkv", shape.part(1), 1, shape.matrix),
        parts.value: ("qkv", shape.part(2), 1, shape.matrix),
        parts.output: ("out", 0, shape.feature, 1),
    }


def _tensors(log: LogStep, parts: Parts, shape: Shape) -> list[tasks.Tensor]:
    matrices = _matrices(parts, shape)
    tensors = []
    for name, (rows, columns) in log.step.model.shapes.items():
        label, first, stride, step = matrices[name]
        shift = start_shift(log, name)
        tensors.append(tasks.Tensor(label, first, rows, columns, step, stride, shift))
    return tensors


def _locate_weights(
    model: Model, parts: Parts, shape: Shape, symbols: Mapping[str, int]
) -> dict[str, Location]:
    matrices = _matrices(parts, shape)
    located = {}
    for name, (rows, columns) in model.shapes.items():
        label, first, stride, step = matrices[name]
        low, high = symbols[f"{label}_low"] + first, symbols[f"{label}_high"] + first
        located[name] = Location(low, rows * columns, "split", high, columns, (stride, step))
    return located
