"""Tensors in files: .npz and .safetensors -> the weights of a model, and back to .npz.

Files are not trusted: a tensor is read only after its shape, its type and its size in the file
have been found to be what the model needs, and nothing is ever unpickled.

A program text may name a tensor by an expression, for checkpoints that keep several in one or
store them the other way round:  weight = "h.{layer}.attn.c_attn.weight[:, 0:64].T"

To add a format: a reader here and a line in READERS.
"""

from __future__ import annotations

import io
import math
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anachron.compiler.model import MAX_PARAMETERS, Array, Model, ModelError

Shape = tuple[int, ...]

PROGRAM = "program"  # the program text that a file written here carries along
MAX_TENSORS = 10_000
MAX_HEADER_BYTES = 10_000
MAX_PROGRAM_BYTES = 1 << 20
REFERENCE = re.compile(r"(?P<name>[^\[\]]+?)(?:\[(?P<part>[0-9:, ]+)\])?(?P<turned>\.T)?")


class Tensor(NamedTuple):
    """A tensor in a file: its shape is known, its numbers are read on demand."""

    shape: Shape
    read: Callable[[], Array]


def read_tensors(
    path: Path, shapes: Mapping[str, Shape], names: Mapping[str, str] | None = None
) -> dict[str, Array]:
    """The tensors of a file for a model's parameters.

    shapes  parameter -> shape
    names   parameter -> the name of its tensor in the file, where it differs
    Raises ModelError for the first that is absent, of another shape, or damaged.
    """
    tensors = list_tensors(path)
    return {
        parameter: _read_one(path, tensors, (names or {}).get(parameter, parameter), shape)
        for parameter, shape in shapes.items()
    }


def list_tensors(path: Path) -> dict[str, Tensor]:
    """What is in a file, without its numbers."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ModelError(f"{path}: weights are read from {' and '.join(READERS)} files")
    try:
        return reader(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file") from None
    except DAMAGE as error:
        raise ModelError(f"{path}: no whole {path.suffix} file: {_first_line(error)}") from None


def _read_one(path: Path, tensors: Mapping[str, Tensor], reference: str, shape: Shape) -> Array:
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise ModelError(f"{path}: {reference!r} is not the name of a tensor, [part] and .T")
    name = match["name"]
    if name not in tensors:
        some = ", ".join(list(tensors)[:6])
        raise ModelError(f"{path}: it has no tensor {name}; it has {some or 'none'}, ...")
    tensor = tensors[name]
    wanted = math.prod(shape)
    if math.prod(tensor.shape) > max(64 * wanted, 1 << 20):
        raise ModelError(f"{path}: {name} has shape {tensor.shape}, for a parameter of {shape}")
    if not match["part"] and not match["turned"] and tensor.shape != shape:
        raise ModelError(f"{path}: {name} has shape {tensor.shape}, {shape} is needed")
    try:
        array = tensor.read()
        if match["part"]:
            array = array[_find_part(match["part"])]
    except (*DAMAGE, IndexError) as error:
        raise ModelError(f"{path}: {name}: {_first_line(error)}") from None
    array = array.T if match["turned"] else array
    if array.shape != shape:
        raise ModelError(f"{path}: {reference} has shape {array.shape}, {shape} is needed")
    return np.array(array, np.float64)


def _find_part(text: str) -> tuple[slice, ...]:
    parts = []
    for axis in text.split(","):
        start, colon, end = (part.strip() for part in axis.partition(":"))
        if not colon:
            raise ValueError(f"[{text}]: a part is written start:end")
        parts.append(slice(int(start) if start else None, int(end) if end else None))
    return tuple(parts)


def _read_npz(path: Path) -> dict[str, Tensor]:
    archive = zipfile.ZipFile(path)
    members = archive.infolist()
    if len(members) > MAX_TENSORS:
        raise ModelError(f"{len(members)} members, at most {MAX_TENSORS} are allowed")
    tensors: dict[str, Tensor] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        with archive.open(member) as stream:
            shape, column_major, dtype, start = _read_npy_head(stream, name)
        size = math.prod(shape) * dtype.itemsize
        if member.file_size != start + size:
            raise ModelError(
                f"{name} takes {member.file_size:,} bytes, its head says {start + size:,}"
            )

        def read(
            member: zipfile.ZipInfo = member,
            start: int = start,
            shape: Shape = shape,
            column_major: bool = column_major,
            dtype: np.dtype = dtype,
        ) -> Array:
            flat = np.frombuffer(archive.read(member)[start:], dtype)
            return flat.reshape(shape, order="F" if column_major else "C")

        tensors[name] = Tensor(shape, read)
    return tensors


def _read_npy_head(stream: Any, name: str) -> tuple[Shape, bool, np.dtype, int]:
    """(shape, column-major, type, where the numbers begin)."""
    head = io.BytesIO(stream.read(MAX_HEADER_BYTES + 16))
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ModelError(f"{name} is in version {version} of the .npy format, 1 or 2 are allowed")
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, column_major, dtype = read(head, max_header_size=MAX_HEADER_BYTES)
    if dtype.hasobject or dtype.kind not in "fiu" or dtype.names or dtype.subdtype:
        raise ModelError(f"{name} holds {dtype}, allowed are plain numbers")
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) > MAX_PARAMETERS:
        raise ModelError(f"{name} has shape {shape}, at most {MAX_PARAMETERS:,} numbers are read")
    return shape, column_major, dtype, head.tell()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ModelError("this needs a library: pip install 'anachron[safetensors]'") from None
    path.stat()
    try:
        file = safe_open(path, framework="numpy")
        tensors = {}
        for name in file.keys():
            part = file.get_slice(name)
            if part.get_dtype() not in ("F64", "F32", "F16", "I8", "I16", "I32", "U8"):
                raise ModelError(f"{name} holds {part.get_dtype()}: store it as F32")
            read = lambda name=name: file.get_tensor(name)  # noqa: E731
            tensors[name] = Tensor(tuple(part.get_shape()), read)
        return tensors
    except SafetensorError as error:
        raise ModelError(_first_line(error)) from None


def read_program(path: Path) -> str | None:
    """The program text inside a file that save_weights wrote, if there is one."""
    tensor = list_tensors(path).get(PROGRAM)
    if tensor is None:
        return None
    if len(tensor.shape) != 1 or tensor.shape[0] > MAX_PROGRAM_BYTES:
        raise ModelError(f"{path}: its program text is not a row of at most {MAX_PROGRAM_BYTES:,}")
    try:
        return bytes(tensor.read().astype(np.uint8)).decode("utf-8")
    except DAMAGE as error:
        raise ModelError(f"{path}: its program text: {_first_line(error)}") from None


def save_weights(path: str | Path, weights: Mapping[str, Array], program: str = "") -> None:
    """Write weights as float32 .npz, and the text of their program so that the file is whole.

    The same weights give the same bytes.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    arrays = {name: np.asarray(array, np.float32) for name, array in weights.items()}
    if program:
        arrays[PROGRAM] = np.frombuffer(program.encode(), np.uint8)
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                stream = io.BytesIO()
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(name + ".npy"), stream.getvalue())
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ModelError(f"{path}: {error.strerror or error}") from None


def fits(path: Path, model: Model) -> bool:
    """Whether a file has a tensor of the right shape for every parameter, and no others."""
    shapes = {name: tensor.shape for name, tensor in list_tensors(path).items() if name != PROGRAM}
    return shapes == dict(model.shapes)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


READERS = {".npz": _read_npz, ".safetensors": _read_safetensors}
DAMAGE = (  # what numpy, zipfile and zlib raise on a damaged file
    ValueError,
    OSError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    RuntimeError,
    NotImplementedError,
    MemoryError,
    tokenize.TokenError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)
