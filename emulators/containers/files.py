"""Bytes <-> files: reading no more than allowed, and writing all of it or nothing."""

import os
import tempfile
from pathlib import Path


def read_file(path: str | Path, limit: int, error: type[ValueError] = ValueError) -> bytes:
    """The bytes of a regular file; an error, before reading on, if it has more than limit."""
    path = Path(path)
    try:
        if not path.is_file():
            raise error(f"{path}: no such file" if not path.exists() else
                        f"{path}: not a regular file: give the name of one")
        with path.open("rb") as file:
            data = file.read(limit + 1)
            size = max(len(data), os.fstat(file.fileno()).st_size)
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}") from None
    if len(data) > limit:
        raise error(f"{path}: {size} bytes, at most {limit} allowed for this kind of file")
    return data


def write_file(path: str | Path, data: bytes) -> None:
    """Write data beside path under another name, then rename: never half a file."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ValueError(f"{path}: cannot be written: {error.strerror}") from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
