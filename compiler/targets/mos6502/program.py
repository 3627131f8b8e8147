"""The sections of a program: the loop that talks, variables, the ops' routines, tables, weights.

To add a variable that the host may touch: `_variables`.
"""

from __future__ import annotations

from anachron.compiler.fixed import FixedModel
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import Options
from anachron.compiler.targets.mos6502.expanded import Expansion
from anachron.compiler.targets.mos6502.forward import forward_done, keep_answer
from anachron.compiler.targets.mos6502.lowering import Lowering
from anachron.compiler.targets.mos6502.sections import Section, byte_lines, data, fill_pages
from anachron.compiler.targets.mos6502.text import (
    are_short,
    character_ids,
    message,
    piece_section,
)
from anachron.emulators.containers import prg
from anachron.kernels.mos6502 import arithmetic, banks, console, runtime, sampling, tokenizer
from anachron.kernels.mos6502.expansion import SIGNATURE_BYTES, check_contents
from anachron.kernels.mos6502.runtime import Talk
from anachron.kernels.mos6502.tokenizer import Text

LINE_SIZE = 240
SHOW_FRAMES = 4


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
        "n_generated": (2, 0),
        "text_count": (1, 0),
        "line_length": (1, 0),
        "show_frames": (1, SHOW_FRAMES),
        "border": (1, 0),
    }
    return "\n".join(
        f"{label}:\n{byte_lines(value.to_bytes(size, 'little'))}"
        for label, (size, value) in cells.items()
    )


def has_wide_text(fixed: FixedModel) -> bool:
    """Ids of a text take two bytes."""
    return fixed.vocab_size > tokenizer.DROPPED


def list_sections(lowering: Lowering, pass_text: str, options: Options) -> list[Section]:
    values = lowering.values
    fixed = values.fixed
    generation, width = fixed.generation, lowering.token_bytes
    encoder = values.encoder
    room = fixed.seq_len - 1 - len(generation.prefix) - len(generation.suffix)
    if not encoder and room < 1:
        raise ValueError(f"{fixed.name}: the template leaves no room for a prompt")
    tables = fixed.tokenizer.machine_tables()
    measured = are_short(tables.pieces, width)
    talk = Talk(
        fixed.seq_len,
        generation.stop,
        min(room, LINE_SIZE + 1),
        encoder,
        lowering.samples,
        width,
        LINE_SIZE,
        options.screen,
        options.feedback,
        lowering.chooses,
        lowering.expansion is not None,
        lowering.expansion.keep if lowering.expansion else 0,
        banks.attach() if lowering.rom else "",
        banks.talk() if lowering.rom else "",
        measured,
    )
    has_merges = len(tables.merges) > 0
    few = len(tables.merges) <= tokenizer.FEW
    text = Text(
        tables.lead,
        () if encoder else generation.prefix,
        () if encoder else generation.suffix,
        min(fixed.seq_len if encoder else room, LINE_SIZE + 1),
        width,
        has_merges,
        has_wide_text(fixed),
        few,
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
                    runtime.start(lowering.fills, talk.expanded),
                    runtime.answer_sequence(talk) if encoder else runtime.answer_next(talk),
                    runtime.compute(talk),
                    console.console(talk),
                    _expansion(lowering.expansion),
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
    if lowering.samples:
        frac = fixed.logits.format.frac
        sample = sampling.sample(logits, frac, generation.first_id, width)
        sections.append(Section("sampling", "runtime", sample + "\n" + sampling.next_random()))
        sections.append(data("rank weights", "table", "rank_weights", sampling.rank_weights()))
    sections += [
        Section("tokenizer", "runtime", tokenizer.encode(text)),
        data("characters low", "table", "character_low", low),
        *([data("characters high", "table", "character_high", high)] if text.wide else []),
        Section("pieces", "table", piece_section(tables.pieces, measured)),
        Section("messages", "runtime", _messages(fixed)),
    ]
    if has_merges:
        records = tokenizer.merge_records(tables.merges, tables.ranks, width, few)
        sections.append(Section("merges", "table", records))
    sections += fill_pages(lowering.tables.values())
    if any(lowering.fills.values()):
        sections.append(Section("tables", "runtime", "\n".join(lowering.fills.values())))
    return sections


def _expansion(there: Expansion | None) -> str:
    """What looks whether the expansion is there."""
    if there is None:
        return ""
    found = f"signature_found:\n    .res {SIGNATURE_BYTES}, 0"
    return f"{check_contents()}\nsignature:\n{byte_lines(there.signature)}\n{found}"


def _arithmetic(sections: list[Section]) -> str:
    """The shared routines that some section calls."""
    text = "\n".join(section.text for section in sections)
    return "\n".join(
        [
            arithmetic.fill_products(),
            arithmetic.multiply(),
            arithmetic.multiply_byte() if "jsr multiply_byte" in text else "",
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
        "no_expansion": clean + message("\n(attach the .reu file, press a key)\n"),
        "length_note": message(f"(it takes {fixed.seq_len} tokens)\n"),
    }
    return "\n".join(
        f"{label}:\n{byte_lines(content + bytes(1))}" for label, content in texts.items()
    )
