"""load: a program's name, a program text or a checkpoint -> Model.

To add a checkpoint format: a row in checkpoints.FORMATS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from anachron.compiler import checkpoints, weights
from anachron.compiler.language import Program, parse
from anachron.compiler.model import Model, ModelError, check, random_weights
from anachron.compiler.tokenizer import Tokenizer, load_tokenizer
from anachron.emulators.containers.files import read_file

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
    overrides     sizes of a program text to change
    seed          of the random weights of a program that has none
    Raises ModelError or TokenizerError, both ValueErrors, in one line.
    """
    path = find_model(name_or_path)
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    if path.suffix != ".model":
        if overrides:
            raise ModelError(f"{path}: sizes can be set for a program text, not for a checkpoint")
        return check(checkpoints.load_checkpoint(path, tokenizer))
    program = parse(read_text(path), path.name, overrides, tokenizer, str(path.parent))
    return check(fill(program, path, seed, bool(overrides)))


def find_model(name_or_path: str | Path) -> Path:
    """The file of a model; a bare name is one of ours."""
    path = Path(name_or_path)
    ours = PROGRAMS / f"{name_or_path}.model"
    if path.suffix == "" and path.name == str(name_or_path) and ours.is_file():
        return ours
    if not path.is_file():
        raise ModelError(
            f"{name_or_path}: no such file, and no program of that name: there are "
            f"{', '.join(list_programs())}"
        )
    return path


def fill(program: Program, path: Path, seed: int, resized: bool) -> Model:
    """The model of a program text with its weights: those it names, those beside it, or random.

    Weights beside a text are for its own sizes: a model of other sizes starts from random ones.
    """
    model = program.model
    file = path.with_suffix(".npz") if program.weights is None else path.parent / program.weights
    if program.weights is None and (
        not file.is_file() or (resized and not weights.fits(file, model))
    ):
        start = random_weights(model.shapes, seed)
        return model.with_weights(start, f"random, seed {seed}")
    return model.with_weights(weights.read_tensors(file, model.shapes, program.tensors), file.name)


def read_text(path: Path) -> str:
    """A program text; raises ModelError where it is not one."""
    try:
        text = read_file(path, MAX_TEXT_BYTES, ModelError).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: byte {error.start} is not UTF-8 text") from None
