"""Bytes <-> files: reading no more than allowed, and writing all of it or nothing."""

import os
import stat
import tempfile
from pathlib import Path


def shown(path: str | Path) -> str:
    """A name in a message, which is one line whatever the name is."""
    text = str(path)
    return text if text and text.isprintable() else repr(text)


def is_file(path: str | Path, error: type[ValueError] = ValueError) -> bool:
    """Whether there is a regular file of that name, which may be one that no file can have; an
    error where something else has it, or where it may not be looked for."""
    try:
        mode = os.stat(path).st_mode
    except PermissionError as problem:
        raise error(f"{shown(path)}: cannot be read: {problem.strerror}") from None
    except (OSError, ValueError):  # none; too long, or with a NUL in it
        return False
    if not stat.S_ISREG(mode):
        raise error(f"{shown(path)}: not a regular file: give the name of one")
    return True


def read_file(path: str | Path, limit: int, error: type[ValueError] = ValueError) -> bytes:
    """The bytes of a regular file; an error, before reading on, if it has more than limit."""
    if not is_file(path, error):
        raise error(f"{shown(path)}: no such file")
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
            size = max(len(data), os.fstat(file.fileno()).st_size)
    except OSError as problem:
        raise error(f"{shown(path)}: cannot be read: {problem.strerror}") from None
    if len(data) > limit:
        raise error(f"{shown(path)}: {size} bytes, at most {limit} allowed for this kind of file")
    return data


def write_file(path: str | Path, data: bytes) -> None:
    """Write data beside path under another name, then rename: never half a file."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ValueError(f"{shown(path)}: cannot be written: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{shown(path)}: cannot be written: no file can have that name") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ValueError(f"{shown(path)}: cannot be written: {error.strerror}") from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
