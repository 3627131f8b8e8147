"""FixedModel -> a C64 program: a .prg that RUN starts, and a disk with it.

Loaded from $0801 upwards: the loop that talks, the ops' routines, what they call, tables, weights.
Everything that need not be loaded - buffers, rows of keys and values, the products' table - lies
above, to the end of memory: while a pass runs, all 64 KB are RAM.

To add a contract: lowering.py.  To add a variable that the host may touch: `_variables`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from anachron.compiler.assembly.program import Program
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Call, Image, Location
from anachron.compiler.memory import Placed
from anachron.compiler.ranges import Ranges, analyse
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import DoesNotFit, Machine, Options
from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.compiler.targets.mos6502.attentions import Heads, group_attentions
from anachron.compiler.targets.mos6502.containers import pack_files
from anachron.compiler.targets.mos6502.forward import (
    forward,
    forward_done,
    keep_answer,
)
from anachron.compiler.targets.mos6502.lowering import KERNELS, Lowering
from anachron.compiler.targets.mos6502.matrices import Group, group_matrices, share_vectors
from anachron.compiler.targets.mos6502.narrow import Narrow, NarrowLowering, group_narrow
from anachron.compiler.targets.mos6502.prediction import Prediction
from anachron.compiler.targets.mos6502.sections import (
    Area,
    Overflow,
    Section,
    area,
    byte_lines,
    compose,
    data,
    fill_pages,
    lay_out,
    page_ends,
    place_areas,
    place_sections,
    zero_page,
)
from anachron.compiler.targets.mos6502.text import character_ids, message, piece_section
from anachron.compiler.targets.mos6502.values import Values
from anachron.emulators.containers import prg
from anachron.kernels.mos6502 import arithmetic, runtime, sampling, tokenizer, zeropage
from anachron.kernels.mos6502.runtime import Talk
from anachron.kernels.mos6502.tokenizer import Text

__all__ = ["KERNELS", "build"]

IO_START = 0xD000  # a .prg cannot load into the I/O chips' addresses
MEMORY_END = 0xFFFA  # the vectors, of which the RESTORE key's is used
# Free between the KERNAL's variables: BASIC's input line, its vectors' neighbours, the cassette's.
SMALL_REGIONS = [(0x0200, 0x0259), (0x02A7, 0x0300), (0x0334, 0x0400)]
LINE_SIZE = 240
SHOW_FRAMES = 4
MOST_CHOICES = 6  # kernels with which and without which a build is tried; the others go together

Part: TypeAlias = Group | Heads | Narrow  # ops that share a kernel in residues


def build(fixed: FixedModel, machine: Machine, options: Options) -> Image:
    """The program of a model: the fastest kernels that its ranges allow and its memory takes.

    Raises DoesNotFit, saying by how many bytes, and ValueError for a model that the kernels cannot
    compute exactly.
    """
    ranges = analyse(fixed)
    narrow = group_narrow(fixed, ranges)
    groups, reasons = group_matrices(fixed, ranges, _ops(*narrow))
    heads, objections = group_attentions(Values(fixed), ranges)
    reasons |= objections
    parts: tuple[Part, ...] = (*groups, *heads, *narrow)
    over: DoesNotFit | None = None
    for some in _choices(parts):
        left = _ops(*parts) - _ops(*some)
        why = f"in residues, {over.bytes_over:,} bytes too many" if over else ""
        try:
            known = reasons | dict.fromkeys(left, why)
            return _build(fixed, machine, options, ranges, some, known)
        except DoesNotFit as error:
            over = over or error
            last = error
    raise last


def _ops(*parts: Part) -> set[str]:
    """The ops of groups, by name."""
    return {op.name for part in parts for op in part.ops}


def _choices(parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    """What may run in residues, all first, then what saves the most without some of it."""
    kept = [
        tuple(part for i, part in enumerate(parts) if choice >> min(i, MOST_CHOICES) & 1)
        for choice in range(1 << min(len(parts), MOST_CHOICES + 1))
    ]
    return sorted(kept, key=lambda some: -sum(part.saves for part in some))


def _build(
    fixed: FixedModel,
    machine: Machine,
    options: Options,
    ranges: Ranges,
    parts: tuple[Part, ...],
    reasons: dict[str, str],
) -> Image:
    """The program with some ops in residues; reasons say why the others are not."""
    groups = tuple(part for part in parts if isinstance(part, Group))
    heads = tuple(part for part in parts if isinstance(part, Heads))
    narrow = tuple(part for part in parts if isinstance(part, Narrow))
    values = Values(fixed, share_vectors(Values(fixed), groups))
    if not values.encoder and len(values.stages) > 1:
        raise ValueError(
            f"{fixed.name}: a model that generates token by token needs causal attention"
        )
    lowering = NarrowLowering(values, ranges, groups, heads, reasons, narrow)
    loads = []
    for number, stage in enumerate(values.stages):
        lowering.begin_stage()
        for op in stage.ops:
            lowering.lower(op)
        loads.append([lowering.load_rows(name, number) for name in values.loaded(stage)])
    _answer(lowering, options)
    pass_text = forward(values, lowering.sequence, loads)
    sections = _sections(lowering, pass_text, options)
    areas = [*lowering.areas.values(), *_shared_areas(lowering)]
    offsets, buffer_bytes = values.buffers
    areas.append(area("buffers", "buffer", buffer_bytes))
    constants = _buffer_constants(values, offsets) + "\n" + _desk_constants(lowering)
    title = f"{fixed.name} for {machine.title}"
    program, source, placed = _link(title, sections, areas, constants)
    objects = (*zero_page(), *place_sections(sections, program.symbols), *placed)
    load_end = program.symbols["image_end"]
    memory = next(d for a, d in program.segments if a == prg.BASIC_START)
    calls = tuple(
        Call(op.name, op.contract, *lowering.variants[op.name], lowering.data_bytes(op))
        for stage in values.stages
        for op in stage.ops
    )
    assert load_end <= IO_START
    return Image(
        fixed=fixed,
        machine=machine,
        options=options,
        source=source,
        program=program,
        symbols=program.symbols,
        locations=_locations(values, program.symbols, options),
        objects=objects,
        regions=(*SMALL_REGIONS, (prg.BASIC_START, MEMORY_END)),
        calls=calls,
        container=pack_files(
            fixed.name,
            prg.Prg(prg.BASIC_START, memory),
            program.symbols["start"],
            options.packed,
        ),
        entry=program.symbols["start"],
        predict=Prediction(
            program,
            values,
            objects,
            lowering.sequence,
            lowering.environments,
            lowering.anything,
            tuple(label for labels in loads for label in labels),
            options.screen,
        ),
    )


def _link(
    title: str, sections: list[Section], areas: list[Area], constants: str
) -> tuple[Program, str, tuple[Placed, ...]]:
    """Assemble twice: what is loaded is as long wherever the rest lies."""

    def attempt(addresses: dict[str, int]) -> tuple[Program, str]:
        words = [f"{label} = ${address:04x}" for label, address in sorted(addresses.items())]
        head = "\n".join([zeropage.definitions(), *words, constants])
        source = compose(title, prg.BASIC_START, head, sections)
        return assemble(source, "model.asm"), source

    program, _ = attempt({a.label: IO_START for a in areas})
    end = program.symbols["image_end"]
    once = program.symbols.get("section_tables", end)  # routines that run once, at the image's end
    free = [*SMALL_REGIONS, (end, IO_START), (IO_START, MEMORY_END)]
    if end <= IO_START:
        try:
            addresses, placed = place_areas(areas, free, IO_START, (once, end))
            program, source = attempt(addresses)
            return program, source, placed
        except Overflow:
            pass
    needed = end - prg.BASIC_START + sum(a.size for a in areas)
    over = max(end - IO_START, needed - (MEMORY_END - prg.BASIC_START), 1)
    raise DoesNotFit(
        f"{title} needs {needed:,} bytes, of which {end - prg.BASIC_START:,} are loaded; there are "
        f"{MEMORY_END - prg.BASIC_START:,} and {IO_START - prg.BASIC_START:,}: about {over:,} too "
        f"many",
        over,
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


def _locations(values: Values, symbols: Mapping[str, int], options: Options) -> dict[str, Location]:
    """Values that can still be read when a pass is done."""
    found = {}
    for name in values.alive_at_end():
        x = values.vector(name)
        layout = "split" if x.bits == 16 else "bytes"
        found[name] = Location(symbols[x.low], x.size, layout, symbols[x.high])
    final = values.fixed.logits.name
    if values.encoder and options.logits:
        rows = values.rows(final)
        n = values.fixed.seq_len * rows.size
        found["logits"] = Location(symbols[rows.low], n, "split", symbols[rows.high])
    else:
        found["logits"] = found[final]
    return found


def _desk_constants(lowering: Lowering) -> str:
    return "\n".join(
        f"{label} = desk+{at}"
        for user in desk_users(lowering)
        for label, (at, _) in lay_out(user).items()
    )


def _buffer_constants(values: Values, offsets: dict[str, int]) -> str:
    """Where each value's buffer lies."""
    text = []
    for label, names in values.shared.items():
        x = values.vector(names[0])
        high = offsets[names[0]] + (x.size if x.bits == 16 else 0)
        text.append(f"{label}_low = buffers+{offsets[names[0]]}")
        text.append(f"{label}_high = buffers+{high}")
    for name, offset in offsets.items():
        x = values.vector(name)
        text.append(f"{x.low} = buffers+{offset}")
        text.append(f"{x.high} = buffers+{offset + (x.size if x.bits == 16 else 0)}")
    return "\n".join(text)


def _shared_areas(lowering: Lowering) -> list[Area]:
    fixed = lowering.values.fixed
    width = lowering.token_bytes
    areas = [
        Area("products_low", "table", ((0, 512),), 256),
        Area("products_high", "table", ((0, 512),), 256),
        area("prompt_ids", "runtime", width * fixed.seq_len, visible=True),
        Area("desk", "runtime", ((0, desk_size(desk_users(lowering))),), 256, visible=True),
    ]
    if lowering.operand_pages:
        areas.append(page_ends("operand", "buffer", lowering.operand_pages))
    if lowering.values.encoder:
        areas.append(area("answer_ids", "runtime", width * fixed.seq_len, visible=True))
    return areas


def desk_users(lowering: Lowering) -> list[dict[str, int]]:
    """What takes turns on the desk: reading a line, choosing a token, a pass's scratch."""
    reading = {"line": LINE_SIZE, "text_low": LINE_SIZE + 2, "text_high": LINE_SIZE + 2}
    choosing = {"rank_counts": sampling.COUNT_BYTES, "ranks": lowering.values.fixed.vocab_size}
    return [reading, {} if lowering.values.encoder else choosing, lowering.scratch]


def desk_size(users: list[dict[str, int]]) -> int:
    return max(max((at + n for at, n in lay_out(user).values()), default=1) for user in users)


def _variables(fixed: FixedModel, begin: Sampling) -> str:
    """What the host may read or deposit, and what the loop remembers."""
    cells = {
        "position": (2, 0),
        "token": (2, 0),
        "next_token": (2, 0),
        "n_prompt": (2, 0),
        "max_new": (2, fixed.seq_len),
        "inverse_temperature": (2, begin.inverse),
        "top_p": (2, begin.kept),
        "random_state": (4, begin.state),
        "wants_logits": (1, 0),
        "n_generated": (1, 0),
        "text_count": (1, 0),
        "line_length": (1, 0),
        "show_frames": (1, SHOW_FRAMES),
        "border": (1, 0),
    }
    return "\n".join(
        f"{label}:\n{byte_lines(value.to_bytes(size, 'little'))}"
        for label, (size, value) in cells.items()
    )


def _sections(lowering: Lowering, pass_text: str, options: Options) -> list[Section]:
    values = lowering.values
    fixed = values.fixed
    generation, width = fixed.generation, lowering.token_bytes
    encoder = values.encoder
    room = fixed.seq_len - 1 - len(generation.prefix) - len(generation.suffix)
    if not encoder and room < 1:
        raise ValueError(f"{fixed.name}: the template leaves no room for a prompt")
    talk = Talk(
        fixed.seq_len,
        generation.stop,
        min(room, LINE_SIZE + 1),
        encoder,
        not encoder,
        width,
        LINE_SIZE,
        options.screen,
        options.feedback,
    )
    tables = fixed.tokenizer.machine_tables()
    has_merges = len(tables.merges) > 0
    text = Text(
        tables.lead,
        () if encoder else generation.prefix,
        () if encoder else generation.suffix,
        min(fixed.seq_len if encoder else room, LINE_SIZE + 1),
        width,
        has_merges,
    )
    logits = values.vector(fixed.logits.name)
    choosing = [sampling.argmax(logits, generation.first_id, width)]
    if encoder:
        choosing.append(keep_answer(width))
    low, high = tokenizer.characters(character_ids(tables.characters))
    sections = [
        Section(
            "start",
            "runtime",
            "\n".join(
                [
                    byte_lines(prg.basic_stub(prg.BASIC_START + len(prg.basic_stub(2061)))),
                    runtime.start(lowering.fills),
                    runtime.answer_sequence(talk) if encoder else runtime.answer_next(talk),
                    runtime.compute(talk),
                    runtime.console(talk),
                ]
            ),
        ),
        Section("variables", "runtime", _variables(fixed, options.sampling)),
        Section("forward", "code", pass_text),
        Section("forward done", "runtime", forward_done()),
        Section("argmax", "code" if encoder else "runtime", "\n".join(choosing)),
    ]
    for part, texts in lowering.texts.items():
        if texts or lowering.routines[part]:
            sections.append(
                Section(part, "code", "\n".join([*texts, *lowering.routines[part].values()]))
            )
    sections.append(Section("arithmetic", "code", _arithmetic(sections)))
    if not encoder:
        frac = fixed.logits.format.frac
        sample = sampling.sample(logits, frac, generation.first_id, width)
        sections.append(Section("sampling", "runtime", sample + "\n" + sampling.next_random()))
        sections.append(data("rank weights", "table", "rank_weights", sampling.rank_weights()))
    sections += [
        Section("tokenizer", "runtime", tokenizer.encode(text)),
        data("characters low", "table", "character_low", low),
        data("characters high", "table", "character_high", high),
        Section("pieces", "table", piece_section(tables.pieces)),
        Section("messages", "runtime", _messages(fixed)),
    ]
    if has_merges:
        records = tokenizer.merge_records(tables.merges, tables.ranks, width)
        sections.append(Section("merges", "table", records))
    sections += fill_pages(lowering.tables.values())
    if any(lowering.fills.values()):
        sections.append(Section("tables", "runtime", "\n".join(lowering.fills.values())))
    return sections


def _arithmetic(sections: list[Section]) -> str:
    """The shared routines that some section calls."""
    text = "\n".join(section.text for section in sections)
    return "\n".join(
        [
            arithmetic.fill_products(),
            arithmetic.multiply(),
            arithmetic.divide(),
            arithmetic.isqrt() if "jsr isqrt" in text else "",
            *(
                arithmetic.saturate(bits, size)
                for bits in (8, 16)
                for size in (2, 3, 4)
                if f"jsr saturate_{bits}_{size}" in text
            ),
        ]
    )


def _messages(fixed: FixedModel) -> str:
    clean = bytes([runtime.CLEAR, runtime.SMALL_LETTERS, runtime.NO_SWITCH])
    texts = {
        "title": clean + message(f"\n{fixed.name}: {fixed.n_weights:,} weights\n\n"),
        "prompt": message("> "),
        "cut_note": message("(only the beginning fits)\n"),
        "length_note": message(f"(it takes {fixed.seq_len} tokens)\n"),
    }
    return "\n".join(
        f"{label}:\n{byte_lines(content + bytes(1))}" for label, content in texts.items()
    )
