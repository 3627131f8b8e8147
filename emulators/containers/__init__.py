"""A file on disk -> what a machine loads: one module a container, reader and writer together.

Each module has `parse(data, where)`, from the bytes of a file to a frozen record, and `pack(...)`,
from what goes in to the bytes of a file; both are pure. `read` picks the parser by the file's
suffix. To add a container: a module, and a row in FORMATS.

Every byte of a file is untrusted: sizes and links are checked before they are used, and whatever
is wrong is one ValueError line.
"""

if __name__ != "anachron.emulators.containers":
    raise ImportError("import anachron.emulators.containers, not containers")

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from anachron.emulators.containers import crt, d64, lda, prg, reu
from anachron.emulators.containers.files import read_file

Container: TypeAlias = prg.Prg | d64.D64 | reu.Reu | crt.Crt | lda.Lda


class Format(NamedTuple):
    """A suffix's row: who parses it, and the largest file that can be one."""

    parse: Callable[[bytes, str], Container]
    limit: int


FORMATS: dict[str, Format] = {
    ".prg": Format(prg.parse, prg.SIZE_LIMIT),
    ".d64": Format(d64.parse, d64.SIZE_LIMIT),
    ".reu": Format(reu.parse, reu.SIZE_LIMIT),
    ".crt": Format(crt.parse, crt.SIZE_LIMIT),
    ".lda": Format(lda.parse, lda.SIZE_LIMIT),
}


def read(path: str | Path) -> Container:
    """Read a container, its kind told by the suffix; ValueError says what is wrong with it."""
    path = Path(path)
    row = FORMATS.get(path.suffix.lower())
    if row is None:
        raise ValueError(f"{path}: no container has the suffix '{path.suffix}': "
                         f"give the file one of {' '.join(FORMATS)}")
    return row.parse(read_file(path, row.limit), str(path))
