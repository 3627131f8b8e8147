"""load: a program's name, a program text or a checkpoint -> Model.

To add a checkpoint format: a row in checkpoints.FORMATS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from anachron.compiler import checkpoints, weights
from anachron.compiler.language import Program, parse
from anachron.compiler.model import Model, ModelError, check, random_weights
from anachron.compiler.tokenizer import Tokenizer, load_tokenizer
from anachron.emulators.containers.files import is_file, read_file, shown

PROGRAMS = Path(__file__).parents[1] / "programs"
MAX_TEXT_BYTES = 1 << 20


def list_programs() -> list[str]:
    """The names of the programs that come with anachron."""
    return sorted(path.stem for path in PROGRAMS.glob("*.model"))


def load(
    name_or_path: str | Path,
    tokenizer: str | Path | Tokenizer | None = None,
    overrides: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Model:
    """A Model with its weights.

    name_or_path  a name in programs/, a program text (.model), or a checkpoint: llama2.c's or
                  soul.bin, .npz with a program text inside
    tokenizer     a tokenizer, or its file, instead of the model's own
    overrides     sizes of a program text to change; of a checkpoint seq_len, which may be less
    seed          of the random weights of a program that has none
    Raises ModelError or TokenizerError, both ValueErrors, in one line.
    """
    path = find_model(name_or_path)
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        tokenizer = load_tokenizer(tokenizer)
    if path.suffix != ".model":
        return check(shorten(checkpoints.load_checkpoint(path, tokenizer), overrides or {}))
    text, folder = read_text(path), str(path.parent)
    program = parse(text, path.name, overrides, tokenizer, folder)
    if overrides and "seq_len" in overrides:
        others = {name: size for name, size in overrides.items() if name != "seq_len"}
        longer = parse(text, path.name, others, tokenizer, folder)
        if longer.model.seq_len > program.model.seq_len and program.model.generation.mode == "next":
            whole = fill(longer, path, seed, bool(others))
            cut = shorten(whole, {"seq_len": program.model.seq_len})
            if not whole.weights_from.startswith("random") and cut.shapes == program.model.shapes:
                return check(program.model.with_weights(cut.weights, cut.weights_from))
    return check(fill(program, path, seed, bool(overrides)))


def find_model(name_or_path: str | Path) -> Path:
    """The file of a model; a bare name is one of ours."""
    path, ours = Path(name_or_path), list_programs()
    if str(name_or_path) in ours:
        return PROGRAMS / f"{name_or_path}.model"
    if not is_file(name_or_path, ModelError):
        raise ModelError(
            f"{shown(name_or_path)}: no such file, and no program of that name: there are "
            f"{', '.join(ours)}"
        )
    return path


def fill(program: Program, path: Path, seed: int, resized: bool) -> Model:
    """The model of a program text with its weights: those it names, those beside it, or random.

    Weights beside a text are for its own sizes: a model of other sizes starts from random ones.
    """
    model = program.model
    file = path.with_suffix(".npz") if program.weights is None else path.parent / program.weights
    if program.weights is None and (
        not os.path.isfile(file) or (resized and not weights.fits(file, model))
    ):
        start = random_weights(model.shapes, seed)
        return model.with_weights(start, f"random, seed {seed}")
    return model.with_weights(weights.read_tensors(file, model.shapes, program.tensors), file.name)


def shorten(model: Model, sizes: Mapping[str, int]) -> Model:
    """A decoder with the weights it has in a shorter context: the first rows of its positions.

    sizes  {"seq_len": n}, or nothing; raises ModelError for another
    """
    if not sizes:
        return model
    if set(sizes) != {"seq_len"} or model.generation.mode != "next":
        raise ModelError(
            f"{model.name}: of a model with weights only a decoder's seq_len can be set, to a "
            f"smaller one; others are set in a program text"
        )
    n = sizes["seq_len"]
    if not 1 <= n <= model.seq_len:
        raise ModelError(f"{model.name}: seq_len is {n}, allowed is 1 to {model.seq_len}")
    tables = {node.parameters["weight"] for node in model.nodes if node.inputs == ("position",)}
    cut = {name: array[:n] if name in tables else array for name, array in model.weights.items()}
    return replace(
        model,
        dimensions={**model.dimensions, "seq_len": n},
        shapes={name: array.shape for name, array in cut.items()},
        weights=cut,
    )


def read_text(path: Path) -> str:
    """A program text; raises ModelError where it is not one."""
    try:
        text = read_file(path, MAX_TEXT_BYTES, ModelError).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: byte {error.start} is not UTF-8 text") from None
