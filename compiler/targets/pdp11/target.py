"""FixedModel -> a PDP-11 program on absolute-loader tape.

From 001000 upwards: the loop that talks, a routine an op, what they call, variables, tables and
weights; then, not on the tape, the buffers and the rows of keys and values.  The stack grows down
from 001000, interrupts stay off.

To add a contract: lowering.py.  To add a variable that the host may touch: `_variables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from anachron.compiler.assembly.errors import PastMemory
from anachron.compiler.fixed import FixedModel, Op
from anachron.compiler.image import Call, Image, Location, Way
from anachron.compiler.memory import Placed
from anachron.compiler.ranges import Ranges, analyse
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import DoesNotFit, Machine, Options
from anachron.compiler.targets.pdp11.assembler import assemble
from anachron.compiler.targets.pdp11.forward import forward, forward_done, place_rows
from anachron.compiler.targets.pdp11.lowering import KERNELS, Lowering, clear_bits, variant_of
from anachron.compiler.targets.pdp11.prediction import Prediction
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
from anachron.compiler.targets.pdp11.values import Values
from anachron.emulators.containers import lda
from anachron.emulators.pdp11.timing import DEFAULT
from anachron.kernels.pdp11 import arithmetic, attention, runtime, sampling, tokenizer
from anachron.kernels.pdp11.instructions import Cpu
from anachron.kernels.reference.sampling import WEIGHTS

__all__ = ["KERNELS", "build"]

ORIGIN = 0o1000
ADDRESSES = 0o200000
LINE_SIZE = 256
VARIANTS = ("straight", "shared")  # the fastest first


def build(fixed: FixedModel, machine: Machine, options: Options) -> Image:
    """The fastest image that fits.

    Raises DoesNotFit, saying by how many bytes, where none does, and ValueError for a model that
    the kernels cannot compute exactly.
    """
    values = Values(fixed)
    if not values.encoder and len(values.stages) > 1:
        raise ValueError(
            f"{fixed.name}: a model that generates token by token needs causal attention"
        )
    ranges, over = analyse(fixed), 0
    for variant in VARIANTS[-1:] if options.smallest else VARIANTS:
        try:
            image = _build(machine, options, _lower(machine, values, ranges, variant), over)
        except DoesNotFit as error:
            found, over = error, error.bytes_over
            continue
        rest = [other for other in VARIANTS if other != variant]
        others = partial(_try_others, image, values, ranges, rest)
        return replace(image, others=others)
    raise found


def _lower(machine: Machine, values: Values, ranges: Ranges, variant: str) -> Lowering:
    lowering = Lowering(Cpu(machine.multiplies), values, ranges, variant)
    for stage in values.stages:
        for op in stage.ops:
            lowering.lower(op)
    return lowering


def _try_others(
    image: Image, values: Values, ranges: Ranges, variants: Sequence[str]
) -> Iterator[Way]:
    """The ways to build an image that it was not built in."""
    for variant in variants:
        lowering = _lower(image.machine, values, ranges, variant)
        try:
            other = _build(image.machine, image.options, lowering, 0)
            yield Way(other.calls, other.times)
        except DoesNotFit as error:
            yield Way(_list_calls(lowering, (), 0), {}, error.bytes_over)


def _build(machine: Machine, options: Options, lowering: Lowering, over: int) -> Image:
    """The program as a lowering makes it; over: the bytes that a faster one is too large by."""
    values, fixed = lowering.values, lowering.values.fixed
    memory = options.memory_bytes or machine.memory_bytes or 0
    sections = _sections(lowering, machine, options)
    name = f"{fixed.name} for {machine.title}"
    source = compose(name, ORIGIN, "start", sections)
    try:
        program = assemble(source, f"{fixed.name}.mac", machine=machine.name)
    except PastMemory as past:
        raise _too_large(fixed, machine, memory, ADDRESSES + past.n_bytes, "at least ") from None
    symbols = {label.lower(): value for label, value in program.symbols.items()}
    if symbols["image_end"] > memory:
        raise _too_large(fixed, machine, memory, symbols["image_end"])
    objects = place(sections, symbols)
    entry = symbols["start"]
    return Image(
        fixed=fixed,
        machine=machine,
        options=options,
        source=source,
        program=program,
        symbols=symbols,
        locations=_locations(values, symbols),
        objects=objects,
        regions=((ORIGIN, memory),),
        calls=_list_calls(lowering, objects, over),
        container={".lda": lda.pack(program.segments, entry)},
        entry=entry,
        predict=Prediction(
            program,
            values,
            objects,
            options.timing or DEFAULT[machine.name],
            frozenset(lowering.long_scores),
        ),
    )


def _too_large(
    fixed: FixedModel, machine: Machine, memory: int, size: int, least: str = ""
) -> DoesNotFit:
    over = size - memory
    return DoesNotFit(
        f"{fixed.name} needs {least}{size:,} bytes, {machine.title} has {memory:,}: "
        f"{least}{over:,} too many",
        over,
    )


def _list_calls(lowering: Lowering, objects: Sequence[Placed], over: int) -> tuple[Call, ...]:
    """What does each op; objects: what lies in memory, if that is known."""

    def size(op: Op) -> int:
        """Of its routine, and of its own constants, which are called by its name and their role."""
        mine = (o for o in objects if o.name.rpartition(".")[0] == op.name)
        constants = sum(o.size for o in mine if o.kind in ("weights", "table"))
        return constants + sum(o.size for o in objects if o.name == op.name and o.kind == "code")

    return tuple(
        Call(op.name, op.contract, *variant_of(op.contract, lowering.variant, over), size(op))
        for stage in lowering.values.stages
        for op in stage.ops
    )


def _sections(lowering: Lowering, machine: Machine, options: Options) -> list[Section]:
    """Everything in memory, in order."""
    fixed, values, cpu = lowering.values.fixed, lowering.values, lowering.cpu
    tables = fixed.tokenizer.machine_tables()
    text = _text(fixed, len(tables.merges), tables.lead)
    talk = runtime.Talk(
        fixed.seq_len,
        tuple(fixed.generation.stop),
        text.room,
        values.encoder,
        not values.encoder,
        f"#{values.base(fixed.logits.name)}",
        2 * fixed.vocab_size,
        LINE_SIZE,
    )
    answer = runtime.answer_sequence(talk) if values.encoder else runtime.answer_next(talk)
    first_id = fixed.generation.first_id
    sections = [
        code("conversation", f"{runtime.start()}\n{answer}", "start", "runtime"),
        code("console", runtime.console(talk), "read_line", "runtime"),
        code("encode", tokenizer.encode(cpu, text), kind="runtime"),
        code("argmax", sampling.argmax(cpu, fixed.vocab_size, first_id), kind="runtime"),
    ]
    if talk.samples:
        frac = fixed.logits.format.frac
        sampler = sampling.sample(cpu, fixed.vocab_size, first_id, frac)
        sections.append(code("sample", sampler, kind="runtime"))
    sections += [
        code("forward", forward(values)),
        code("forward_done", forward_done(), kind="runtime"),
        code("place_rows", place_rows(cpu, values)),
        *lowering.routines,
    ]
    root = arithmetic.isqrt(cpu, lowering.short_roots)
    sections += [code("divide", arithmetic.divide(cpu)), code("isqrt", root)]
    if lowering.shared:
        longest = max(lowering.shared)
        sections.append(code("dot", arithmetic.dot(cpu, lowering.shared), f"dot.{longest}"))
    if lowering.wide:
        sections.append(code("att.wide", attention.wide(cpu), "att.reach"))
    if not cpu.multiplies:
        sections.append(code("multiply", arithmetic.multiply()))
        sections.append(code("multiply.byte", arithmetic.multiply_byte(clear_bits(fixed))))
    sections.append(words("variables", _variables(fixed, values, options.sampling)))
    sections.append(strings(_messages(fixed, machine, text)))
    sections += _text_tables(fixed)
    if talk.samples:
        weights = WEIGHTS.astype("<u2").tobytes()
        sections.append(data("sample.weights", "sample.weights", weights, "table"))
    return sections + lowering.constants + _reserved(lowering, text, talk.samples)


def _text(fixed: FixedModel, n_merges: int, lead: int) -> tokenizer.Text:
    generation = fixed.generation
    prefix, suffix = tuple(generation.prefix), tuple(generation.suffix)
    if generation.mode == "sequence":
        return tokenizer.Text(n_merges, lead, (), (), fixed.seq_len, LINE_SIZE)
    room = max(0, fixed.seq_len - 1 - len(prefix) - len(suffix))
    return tokenizer.Text(n_merges, lead, prefix, suffix, room, LINE_SIZE)


def _variables(fixed: FixedModel, values: Values, begin: Sampling) -> dict[str, int]:
    """Words that hold something from the start; the host may deposit into them."""
    cells = {
        "position": 0,
        "token": 0,
        "next_token": 0,
        "n_prompt": 0,
        "n_generated": 0,
        "wants_logits": 0,
        "max_new": fixed.seq_len,
        "inverse_temperature": begin.inverse,
        "top_p": begin.kept,
        "random_state": begin.state & 0xFFFF,
        "random_state_high": begin.state >> 16,
        "line_length": 0,
        "text_count": 0,
        "norm.inverse": 0,
        "sample.largest": 0,
        "kept": 0,
        "kept_low": 0,
        "cut.rank": 0,
        "cut.count": 0,
        "wide.high": 0,
    }
    cells |= {f"att.{cell}": 0 for cell in attention.CELLS}
    return cells | {values.at(name): 0 for name in values.kept}


def _messages(fixed: FixedModel, machine: Machine, text: tokenizer.Text) -> dict[str, str]:
    new_line = "\r\n"
    return {
        "title": f"{new_line}{fixed.name.upper()}, {machine.title}{new_line}",
        "prompt": "> ",
        "rubout": "\b \b",
        "cut_note": f"(THE FIRST {text.room} TOKENS ARE READ: THE CONTEXT IS {fixed.seq_len})"
        f"{new_line}",
        "length_note": f"{fixed.seq_len} TOKENS ARE WANTED{new_line}",
    }


def _text_tables(fixed: FixedModel) -> list[Section]:
    """What encoding and printing read: characters, merges, pieces."""
    tables = fixed.tokenizer.machine_tables()
    characters = tables.characters.astype("<i2").tobytes()
    sections = [data("characters", "characters", characters, "table")]
    if len(tables.merges):
        rows = [
            b"".join(int(word).to_bytes(2, "little") for word in (*merge, rank))
            for merge, rank in zip(tables.merges, tables.ranks, strict=True)
        ]
        sections.append(data("merges", "merges", b"".join(rows), "table"))
    pointers, content = [], bytearray()
    for piece in tables.pieces[: fixed.vocab_size]:
        pointers.append(f".WORD piece.text+{len(content)}.")
        content += bytes([min(len(piece), 255)]) + piece[:255]
    listing = "\n".join([".EVEN", "pieces:", *pointers])
    sections.append(Section("pieces", "table", "pieces", listing))
    return [*sections, data("piece.text", "piece.text", bytes(content), "table")]


def _reserved(lowering: Lowering, text: tokenizer.Text, samples: bool) -> list[Section]:
    """Words behind the image.

    A line is read and encoded before a model's values are computed, and shares their memory.
    """
    values, fixed = lowering.values, lowering.values.fixed
    template = len(text.prefix) + len(text.suffix) + text.room
    out = [reserve("prompt_ids", "prompt_ids", max(1, template), "buffer")]
    attends = any(op.contract == "attention" for op in fixed.ops)
    if attends:
        out.append(reserve("scores", "scores", fixed.seq_len + 1, "buffer"))
    if lowering.wide:
        out.append(reserve("wide.scores", "wide.scores", 3 * fixed.seq_len, "buffer"))
    if lowering.longest_centred:
        out.append(reserve("centred", "centred", lowering.longest_centred, "buffer"))
    if samples:
        out.append(reserve("ranks", "ranks", (fixed.vocab_size + 1) // 2, "buffer"))
        out.append(reserve("counts", "counts", 256, "buffer"))
    offsets, total = values.buffers
    lines = [".EVEN", "values:"]
    lines += [f"{values.base(name)} = values+{at}." for name, at in offsets.items()]
    reading = LINE_SIZE // 2 + 2 * (text.most_ids + 1)
    lines += ["line = values", f"text_ids = values+{LINE_SIZE}."]
    lines.append(f"found = text_ids+{2 * (text.most_ids + 1)}.")
    kept_words = sum(fixed.values[name].size * fixed.seq_len for name in values.kept)
    lines.append(f".BLKW {total // 2}.")
    out.append(Section("values", "buffer", "values", "\n".join(lines)))
    for name in values.kept:
        size = fixed.values[name].size * fixed.seq_len
        out.append(reserve(name, values.base(name), size, "cache"))
    spare = reading - total // 2 - kept_words
    if spare > 0:
        out.append(reserve("line", "line.rest", spare, "buffer"))
    return out


def _locations(values: Values, symbols: dict[str, int]) -> dict[str, Location]:
    fixed = values.fixed
    found = {}
    for name, value in fixed.values.items():
        size = value.size * (fixed.seq_len if name in values.kept else 1)
        found[name] = Location(symbols[values.base(name).lower()], size, "words")
    return found | {"logits": found[fixed.logits.name]}
