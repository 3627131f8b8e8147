"""FixedModel -> a C64 program: a .prg that RUN starts, and a disk or a cartridge with it.

Loaded from $0801 upwards: the loop that talks, the ops' routines, what they call, tables, weights.
Everything that need not be loaded - buffers, rows of keys and values, the products' table - lies
above, to the end of memory: while a pass runs, all 64 KB are RAM.

To add a contract: lowering.py.  To add a section: program.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image, Location
from anachron.compiler.ranges import Ranges, analyse
from anachron.compiler.targets import DoesNotFit, Machine, Options
from anachron.compiler.targets.mos6502.banked import BankedLowering
from anachron.compiler.targets.mos6502.banked_constants import place_constants
from anachron.compiler.targets.mos6502.banked_linking import check_past, link_banked, split
from anachron.compiler.targets.mos6502.banked_rom import BANK_PAGES
from anachron.compiler.targets.mos6502.containers import pack_files
from anachron.compiler.targets.mos6502.forward import forward
from anachron.compiler.targets.mos6502.linking import (
    BUFFERS,
    IO_START,
    MEMORY_END,
    SMALL_REGIONS,
    UPPER_RAM,
    link,
)
from anachron.compiler.targets.mos6502.lowering import ALL, KERNELS, Lowering
from anachron.compiler.targets.mos6502.matrices import share_vectors
from anachron.compiler.targets.mos6502.plan import Plan, choices, make_plan
from anachron.compiler.targets.mos6502.prediction import Prediction
from anachron.compiler.targets.mos6502.program import LINE_SIZE, has_wide_text, list_sections
from anachron.compiler.targets.mos6502.sections import (
    Area,
    area,
    join_regions,
    lay_out,
    page_ends,
    place_sections,
    zero_page,
)
from anachron.compiler.targets.mos6502.split_lowering import SplitLowering
from anachron.compiler.targets.mos6502.streamed_matrices import Choice
from anachron.compiler.targets.mos6502.streamed_rows import MOST_COLUMNS
from anachron.compiler.targets.mos6502.streaming import StreamedLowering
from anachron.compiler.targets.mos6502.values import Values
from anachron.compiler.targets.mos6502.ways import list_calls, try_others
from anachron.emulators.containers import prg
from anachron.kernels.mos6502 import sampling

__all__ = ["KERNELS", "build"]


def build(fixed: FixedModel, machine: Machine, options: Options) -> Image:
    """The program of a model: the fastest kernels that its ranges allow and its memory takes.

    Raises DoesNotFit, saying by how many bytes, and ValueError for a model that the kernels cannot
    compute exactly.
    """
    ranges = analyse(fixed)
    if machine.expanded:
        weights = sum(array.nbytes for op in fixed.ops for array in op.constants.values())
        try:
            if weights < MEMORY_END:
                return _build_in_memory(fixed, machine, options, ranges)
        except ValueError:
            pass  # too large, or beyond a kernel that works in memory: those that stream may do it
        return build_streamed(fixed, machine, options, ranges)
    if machine.cartridge:
        return _build_cartridge(fixed, machine, options, ranges)
    return _build_in_memory(fixed, machine, options, ranges)


def build_streamed(
    fixed: FixedModel, machine: Machine, options: Options, ranges: Ranges | None = None
) -> Image:
    """The program of a model whose weights and past lie in a RAM Expansion Unit."""
    ranges = ranges or analyse(fixed)
    columns = {op.constants["weight"].shape[1] for op in fixed.ops if op.contract == "matvec"}
    widest = [*sorted((n for n in columns if n <= MOST_COLUMNS), reverse=True), 0]
    complete = options.logits or options.draws
    known = [
        partial(StreamedLowering, Values(fixed), ranges, Choice(most, quarters, complete))
        for most in widest
        for quarters in (True, False)
    ]
    for lower in known:
        try:
            image = _build(machine, options, lower())
        except DoesNotFit as error:
            found = error
            continue
        rest = [other for other in known if other is not lower]
        return replace(image, others=partial(try_others, image, rest, _build))
    raise found


def build_banked(
    fixed: FixedModel, machine: Machine, options: Options, ranges: Ranges | None = None
) -> Image:
    """The program of a model whose weights lie in the banks of a cartridge."""
    check_past(fixed, machine)
    ranges = ranges or analyse(fixed)
    plans = choices(make_plan(fixed, ranges, options, BANK_PAGES))
    return _build_first(fixed, machine, options, ranges, plans, BankedLowering)


def _build_cartridge(
    fixed: FixedModel, machine: Machine, options: Options, ranges: Ranges
) -> Image:
    """With weights in the ROM, or in memory where that holds the fastest way and is faster."""
    found = []
    weights = sum(array.nbytes for op in fixed.ops for array in op.constants.values())
    if weights < MEMORY_END:
        plan = make_plan(fixed, ranges, options)
        try:
            plans = [plan, plan.dense] if plan.dense else [plan]
            found.append(_build_first(fixed, machine, options, ranges, plans, SplitLowering))
        except DoesNotFit:
            pass
    try:
        found.append(build_banked(fixed, machine, options, ranges))
    except DoesNotFit:
        if not found:
            raise
    return min(found, key=lambda image: sum(part.expected for part in image.cycles.values()))


def _build_in_memory(
    fixed: FixedModel, machine: Machine, options: Options, ranges: Ranges
) -> Image:
    plans = choices(make_plan(fixed, ranges, options))
    return _build_first(fixed, machine, options, ranges, plans, SplitLowering)


def _build_first(
    fixed: FixedModel,
    machine: Machine,
    options: Options,
    ranges: Ranges,
    plans: Iterable[Plan],
    lower: Callable[[Values, Ranges, Plan], SplitLowering],
) -> Image:
    """The first of some plans that memory holds: the whole one is first, the smallest last."""
    known = [*plans]
    whole, *others = known[-1:] if options.smallest else known
    why = ""

    def lower_plan(plan: Plan) -> SplitLowering:
        plan = replace(plan, reasons=plan.explain(whole, why))
        unmade = plan.sparse.unmade(fixed) if plan.sparse else {}
        values = Values(fixed, share_vectors(Values(fixed), plan.groups), unmade)
        return lower(values, ranges, plan)

    def build_plan(plan: Plan, hasty: bool = False) -> Image:
        lowerings = [partial(lower_plan, other) for other in known if other is not plan]
        image = _build(machine, options, lower_plan(plan), hasty)
        return replace(image, others=partial(try_others, image, lowerings, _build))

    try:
        return build_plan(whole)
    except DoesNotFit as error:
        if not others:
            raise
        why = f"{error.bytes_over:,} bytes too many in its fastest way"
    *others, smallest = others
    last = build_plan(smallest)  # where that does not fit, nothing does
    for plan in others:
        try:
            return build_plan(plan, hasty=True)
        except DoesNotFit:
            pass
    return last


def _build(
    machine: Machine, options: Options, lowering: Lowering, hasty: bool = False
) -> Image:
    """The program as a lowering makes it; hasty: none where memory clearly cannot hold it."""
    values, fixed = lowering.values, lowering.values.fixed
    lowering.samples = options.draws
    if not values.encoder and len(values.stages) > 1:
        raise ValueError(
            f"{fixed.name}: a model that generates token by token needs causal attention"
        )
    loads = []
    for number, stage in enumerate(values.stages):
        lowering.begin_stage()
        for op in stage.ops:
            lowering.lower(op)
        loads.append([lowering.load_rows(name, number) for name in values.loaded(stage)])
    _answer(lowering, options)
    first = lowering.first_pass()
    pass_text = forward(values, lowering.sequence, loads, first)
    sections = list_sections(lowering, pass_text, options)
    areas = [*lowering.areas.values(), *_shared_areas(lowering)]
    stretches = values.stretches
    areas += [area(f"{BUFFERS}{at}", "buffer", end - at) for at, end in stretches]
    constants = _buffer_constants(values) + "\n" + _desk_constants(lowering)
    title = f"{fixed.name} for {machine.title}"
    expansion = lowering.expansion
    outside = expansion or lowering.rom
    upper = UPPER_RAM if expansion else IO_START
    if lowering.rom:
        sections = place_constants(lowering.rom, lowering.pool.values(), sections)
        lowering.rom.check(title)
        parts = split(sections, areas, lowering.tables)
        past = sum(a.size for a in areas if a.kind == "cache")
        labels = f"{constants}\n{lowering.rom.definitions()}"
        program, source, placed = link_banked(title, parts, labels, past, fixed.seq_len)
    else:
        program, source, placed = link(title, sections, areas, constants, upper, hasty)
    objects = (*zero_page(), *place_sections(sections, program.symbols), *placed)
    load_end = program.symbols["image_end"]
    memory = next(d for a, d in program.segments if a == prg.BASIC_START)
    assert load_end <= IO_START
    files = pack_files(
        fixed.name,
        machine,
        prg.Prg(prg.BASIC_START, memory),
        program.symbols["start"],
        options.packed,
        lowering.rom.banks if lowering.rom else None,
    )
    if expansion:
        del files[".crt"]  # they share a port
        files[".reu"] = expansion.image(title)
    predict = Prediction(
        program,
        values,
        objects,
        lowering.sequence,
        lowering.environments,
        lowering.anything,
        lowering.counts,
        {name: labels for name, labels in lowering.kept.items() if first and labels},
        tuple(label for labels in loads for label in labels),
        screen=options.screen,
    )
    return Image(
        fixed=fixed,
        machine=machine,
        options=options,
        source=source,
        program=program,
        symbols=program.symbols,
        locations=_locations(values, program.symbols, options, not lowering.chooses),
        objects=objects,
        regions=(
            *SMALL_REGIONS,
            *join_regions([(prg.BASIC_START, IO_START), (upper, MEMORY_END)]),
        ),
        calls=list_calls(lowering),
        container=files,
        expansion=tuple(outside.placed) if outside else (),
        entry=program.symbols["start"],
        predict=predict,
    )


def _answer(lowering: Lowering, options: Options) -> None:
    """What an encoder does with each position's logits."""
    values = lowering.values
    final = values.fixed.logits
    if final.format.bits != 16:
        raise ValueError(f"{final.name}: logits have 16 bits, not {final.format.bits}")
    if not values.encoder:
        return
    if options.logits:
        lowering.store_rows(final.name, "keep_logits")
    lowering.sequence[final.name] += ["argmax", "keep_answer"]


def _locations(
    values: Values, symbols: Mapping[str, int], options: Options, complete: bool
) -> dict[str, Location]:
    """Values that can still be read when a pass is done; complete: all logits, too."""
    found = {}
    for name in values.alive_at_end():
        if name == values.fixed.logits.name and not complete:
            continue
        x = values.vector(name)
        layout = "split" if x.bits == 16 else "bytes"
        found[name] = Location(symbols[x.low], x.size, layout, symbols[x.high])
    final = values.fixed.logits.name
    if values.encoder and options.logits:
        rows = values.rows(final)
        n = values.fixed.seq_len * rows.size
        found["logits"] = Location(symbols[rows.low], n, "split", symbols[rows.high])
    elif complete:
        found["logits"] = found[final]
    return found


def _desk_constants(lowering: Lowering) -> str:
    places = {
        label: at
        for user in desk_users(lowering)
        for label, (at, _) in lay_out(user).items()
    }
    return "\n".join(f"{label} = desk+{at}" for label, at in places.items())


def _buffer_constants(values: Values) -> str:
    """Where each value's buffer lies."""
    offsets, _ = values.buffers

    def place(offset: int) -> str:
        start = next(at for at, end in values.stretches if at <= offset < end)
        return f"{BUFFERS}{start}+{offset - start}"

    def halves(low: str, high: str, name: str) -> list[str]:
        x, at = values.vector(name), offsets[name]
        upper = at + (x.size if x.bits == 16 else 0)
        return [f"{low} = {place(at)}", f"{high} = {place(upper)}"]

    text: list[str] = []
    for label, names in values.shared.items():
        text += halves(f"{label}_low", f"{label}_high", names[0])
    for name in (name for name in offsets if name not in values.unmade):
        x = values.vector(name)
        text += halves(x.low, x.high, name)
    return "\n".join(text)


def _shared_areas(lowering: Lowering) -> list[Area]:
    fixed = lowering.values.fixed
    width = lowering.token_bytes
    generation = fixed.generation
    most = fixed.seq_len  # ids of a prompt: of a line's characters, in the template
    if not lowering.values.encoder:
        most = min(most, LINE_SIZE + 1 + len(generation.prefix) + len(generation.suffix))
    areas = [
        Area("products_low", "table", ((0, 512),), 256),
        Area("products_high", "table", ((0, 512),), 256),
        area("prompt_ids", "runtime", width * most, visible=True),
        Area("desk", "runtime", ((0, desk_size(desk_users(lowering))),), 256, visible=True),
    ]
    if lowering.operand_pages:
        areas.append(page_ends("operand", "buffer", lowering.operand_pages))
    if lowering.values.encoder:
        areas.append(area("answer_ids", "runtime", width * fixed.seq_len, visible=True))
    return areas


def desk_users(lowering: Lowering) -> list[dict[str, int]]:
    """What takes turns on the desk: reading a line, choosing a token, a pass's scratch."""
    fixed = lowering.values.fixed
    reading = {"line": LINE_SIZE, "text_low": LINE_SIZE + 2}
    if has_wide_text(fixed):
        reading["text_high"] = LINE_SIZE + 2
    choosing = {"rank_counts": sampling.count_bytes(fixed.vocab_size), "ranks": fixed.vocab_size}
    whole = lowering.scratch.get(ALL, {})
    passing = [whole | user for user in lowering.scratch.values()]
    return [reading, choosing if lowering.samples else {}, *passing]


def desk_size(users: list[dict[str, int]]) -> int:
    return max(max((at + n for at, n in lay_out(user).values()), default=1) for user in users)
