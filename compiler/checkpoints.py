"""Checkpoints of other projects -> Model: one function a format, one dict.

    llama2.c  .bin of versions 0 (float32), 1 (float32, with a magic number) and 2 (int8 in groups)
    soul      Soul Player C64's soul.bin: int8 tensors, each with its shift
    npz       our own: weights with the text of their program

Files are not trusted: sizes in a header are checked against the file's before anything is read.

To add a format: a function from (bytes, where, tokenizer) to Model, a test for its first bytes in
`find_format`, a line in FORMATS.
Sources: llama2.c, export.py and run.c; Soul Player C64, as documented with its checkpoint.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from anachron.compiler import weights
from anachron.compiler.language import parse
from anachron.compiler.model import MAX_PARAMETERS, Array, Model, ModelError
from anachron.compiler.tokenizer import Tokenizer
from anachron.emulators.containers.files import read_file

MAX_FILE_BYTES = 4 * MAX_PARAMETERS + (1 << 20)
MAGIC = 0x616B3432  # llama2.c, "ak42"
LLAMA_FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
LLAMA_LIMITS = (1 << 14, 1 << 16, 256, 256, 256, 1 << 15, 1 << 16)
HEADER_BYTES = 256  # llama2.c from version 1 on

LLAMA = """
size dim = 64, hidden_dim = 172, n_layers = 5, n_heads = 8, n_kv_heads = 4
size vocab_size = 512, seq_len = 512, kv_dim = dim / n_heads * n_kv_heads
prompt "<s>" text
stop   "<s>" "</s>"

tok = embed(token, dim)
x   = tok
repeat n_layers as layer:
    a    = rms_norm(x)
    wq   = linear(a, dim)
    wk   = linear(a, kv_dim)
    v    = linear(a, kv_dim)
    q    = rope(wq, heads = n_heads, interleaved)
    k    = rope(wk, heads = n_kv_heads, interleaved)
    mix  = attention(q, k, v, heads = n_heads, kv_heads = n_kv_heads, causal)
    out  = linear(mix, dim)
    x    = x + out
    f    = rms_norm(x)
    gate = linear(f, hidden_dim)
    up   = linear(f, hidden_dim)
    down = linear(silu(gate) * up, dim)
    x    = x + down
z   = rms_norm(x)
"""
LLAMA_SHARED = "logits = linear(z, vocab_size, weight = tok)\n"
LLAMA_OWN = "logits = linear(z, vocab_size)\n"
LLAMA_ORDER_0 = "tok a wq wk v out f gate down up z skipped logits".split()
LLAMA_NORMS = "a f z".split()  # versions 1 and 2: norms first, then matrices
LLAMA_MATRICES = "tok wq wk v out gate down up logits".split()

SOUL = """
size dim = 32, hidden_dim = 64, n_layers = 2, n_heads = 4, vocab_size = 128, seq_len = 20
prompt "<SEP>" text "<SEP>"
stop   "<PAD>" "<SEP>" "<END>"
never  "<PAD>" "<SEP>" "<UNK>" "<END>"
fixed  exact = soul

tok = embed(token, dim)
pos = embed(position, dim)
x   = tok + pos
repeat n_layers as layer:
    a    = rms_norm(x)
    q    = linear(a, dim)
    k    = linear(a, dim)
    v    = linear(a, dim)
    mix  = attention(q, k, v, heads = n_heads, causal, scale = 1/4)
    out  = linear(mix, dim)
    x    = x + out
    f    = rms_norm(x)
    up   = linear(f, hidden_dim, bias)
    down = linear(relu(up), dim, bias)
    x    = x + down
z      = rms_norm(x)
logits = linear(z, vocab_size)
"""
SOUL_HEAD_SIZE = 8
SOUL_FRAC = 8  # of every activation
SOUL_FIRST = ("tok.weight", "pos.weight")
SOUL_LAYER = (
    "a.gain", "q.weight", "k.weight", "v.weight", "out.weight",
    "f.gain", "up.weight", "up.bias", "down.weight", "down.bias",
)  # fmt: skip
SOUL_LAST = ("z.gain", "logits.weight")


def load_checkpoint(path: Path, tokenizer: Tokenizer | None) -> Model:
    """Read a checkpoint of any of FORMATS; raises ModelError where it is none, or damaged."""
    data = read_file(path, MAX_FILE_BYTES, ModelError)
    found = find_format(data)
    if path.suffix == ".safetensors":
        raise ModelError(
            f"{path}: tensors alone are no model: write a program text with the line "
            f'`weights "{path.name}"`'
        )
    if found is None:
        raise ModelError(
            f"{path}: this is no checkpoint of {', '.join(FORMATS)}, and no program text (.model)"
        )
    if tokenizer is None and found != "npz":
        raise ModelError(f"{path}: a {found} checkpoint needs a tokenizer: --tokenizer FILE")
    model = FORMATS[found](data, path, tokenizer)
    return replace(model, weights_from=path.name, folder=str(path.parent))


def find_format(data: bytes) -> str | None:
    """The format of a checkpoint, by its first bytes."""
    if data[:2] == b"PK":
        return "npz"
    if len(data) >= 4 and struct.unpack_from("<I", data)[0] == MAGIC:
        return "llama2.c"
    if len(data) >= 28:
        sizes = struct.unpack_from("<7i", data)
        if all(0 < abs(s) <= limit for s, limit in zip(sizes, LLAMA_LIMITS, strict=True)):
            return "llama2.c"
    if len(data) >= 6:
        kind, rows, columns, shift = struct.unpack_from("<BHHb", data)
        if kind == 0 and 0 < rows <= 4096 and 0 < columns <= 4096 and 0 <= shift <= 16:
            return "soul"
    return None


def read_npz(data: bytes, path: Path, tokenizer: Tokenizer | None) -> Model:
    """Weights with the text of their program, as `anachron train -o` writes them."""
    text = weights.read_program(path)
    if text is None:
        raise ModelError(
            f"{path}: it has no program text inside: write one with the line "
            f'`weights "{path.name}"`'
        )
    model = parse(text, path.name, tokenizer=tokenizer, folder=str(path.parent)).model
    return model.with_weights(weights.read_tensors(path, model.shapes), path.name)


class Reader:
    """Takes arrays off the front of a file's bytes, which has been found long enough."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.data, self.offset = data, offset

    def take(self, dtype: str, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        array = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += array.nbytes
        return array.reshape(shape)


def read_llama(data: bytes, path: Path, tokenizer: Tokenizer | None) -> Model:
    """llama2.c's checkpoints of every version."""
    version, offset, group = 0, 28, 0
    where = 0
    if struct.unpack_from("<I", data)[0] == MAGIC:
        if len(data) < HEADER_BYTES:
            raise ModelError(f"{path}: {len(data)} bytes, its header alone has {HEADER_BYTES}")
        version, where, offset = struct.unpack_from("<i", data, 4)[0], 8, HEADER_BYTES
        if version not in (1, 2):
            raise ModelError(f"{path}: version {version} of llama2.c's format; 0, 1, 2 are read")
    sizes = dict(zip(LLAMA_FIELDS, struct.unpack_from("<7i", data, where), strict=True))
    shared = sizes["vocab_size"] > 0
    if version:
        shared = data[36] != 0
        group = struct.unpack_from("<i", data, 37)[0] if version == 2 else 0
    sizes["vocab_size"] = abs(sizes["vocab_size"])
    for (name, size), limit in zip(sizes.items(), LLAMA_LIMITS, strict=True):
        if not 0 < size <= limit:
            raise ModelError(f"{path}: {name} is {size}, allowed is 1 to {limit}")
    if sizes["dim"] % sizes["n_heads"] or sizes["n_heads"] % sizes["n_kv_heads"]:
        raise ModelError(
            f"{path}: dim {sizes['dim']}, n_heads {sizes['n_heads']} and n_kv_heads "
            f"{sizes['n_kv_heads']} do not divide"
        )
    if sizes["dim"] // sizes["n_heads"] % 2:
        raise ModelError(
            f"{path}: heads of {sizes['dim'] // sizes['n_heads']} features: they turn in pairs"
        )
    text = LLAMA + (LLAMA_SHARED if shared else LLAMA_OWN)
    model = parse(text, str(path), sizes, tokenizer).model
    found = _read_llama_tensors(Reader(data, offset), model, version, group, path)
    return model.with_weights(found, path.name)


def _read_llama_tensors(
    reader: Reader, model: Model, version: int, group: int, path: Path
) -> dict[str, Array]:
    """Every tensor, in the version's order; first the sum of their sizes is checked."""
    n_skipped = 0
    if version == 0:  # two tables of cosines and sines, which can be worked out
        head_size = model.dimensions["dim"] // model.dimensions["n_heads"]
        n_skipped = model.seq_len * (head_size // 2) * 2
    order = LLAMA_ORDER_0 if version == 0 else LLAMA_NORMS + LLAMA_MATRICES
    expected = reader.offset + 4 * n_skipped
    plan: list[tuple[str, bool]] = []  # parameter, in groups
    for variable in order:
        if variable == "skipped":
            plan.append((variable, False))
            continue
        grouped = version == 2 and variable in LLAMA_MATRICES
        for name in _find_parameters(model, variable):
            count = math.prod(model.shapes[name])
            if grouped and (group < 1 or count % group):
                raise ModelError(f"{path}: {name} of {count:,} is not in groups of {group}")
            expected += count + 4 * (count // group) if grouped else 4 * count
            plan.append((name, grouped))
    if len(reader.data) != expected:
        raise ModelError(f"{path}: {len(reader.data):,} bytes, but its header says {expected:,}")
    found: dict[str, Array] = {}
    for name, grouped in plan:
        if name == "skipped":
            reader.take("<f4", (n_skipped,))
            continue
        shape = model.shapes[name]
        if grouped:
            codes = reader.take("i1", (math.prod(shape) // group, group))
            with np.errstate(invalid="ignore"):
                scales = reader.take("<f4", (len(codes), 1)).astype(np.float64)
                found[name] = (codes * scales).reshape(shape)
        else:
            with np.errstate(invalid="ignore"):  # of a signalling NaN, which is refused later
                found[name] = reader.take("<f4", shape).astype(np.float64)
    return found


def _find_parameters(model: Model, variable: str) -> Iterator[str]:
    """The parameters that belong to a variable: one, or one a layer."""
    for name in model.shapes:
        parts = name.split(".")
        if parts[-2] == variable and (len(parts) == 3) == (variable not in ("tok", "z", "logits")):
            yield name


def read_soul(data: bytes, path: Path, tokenizer: Tokenizer | None) -> Model:
    """Soul Player C64's tensors, one after the other, each with its own head."""
    tensors: list[tuple[Array, int]] = []
    offset = 0
    while offset < len(data):
        if offset + 6 > len(data):
            raise ModelError(f"{path}: it ends inside the head of tensor {len(tensors)}")
        kind, rows, columns, shift = struct.unpack_from("<BHHb", data, offset)
        offset += 6
        size = rows * columns * (2 if kind else 1)
        if kind not in (0, 1) or not 0 <= shift <= 16 or not 0 < size <= len(data) - offset:
            raise ModelError(
                f"{path}: tensor {len(tensors)} is of kind {kind}, {rows} by {columns}, shift "
                f"{shift}, but {len(data) - offset:,} bytes are left"
            )
        array = np.frombuffer(data, "<i2" if kind else "i1", rows * columns, offset)
        tensors.append((array.reshape(rows, columns), shift))
        offset += size
    n_layers, rest = divmod(len(tensors) - 4, len(SOUL_LAYER))
    if n_layers < 1 or rest:
        raise ModelError(
            f"{path}: {len(tensors)} tensors, allowed are 4 and {len(SOUL_LAYER)} a layer"
        )
    dim = tensors[0][0].shape[1]
    sizes = {
        "dim": dim,
        "hidden_dim": tensors[2 + 6][0].shape[0],
        "n_layers": n_layers,
        "n_heads": max(1, dim // SOUL_HEAD_SIZE),
        "vocab_size": tensors[0][0].shape[0],
        "seq_len": tensors[1][0].shape[0],
    }
    model = parse(SOUL, str(path), sizes, tokenizer).model
    layers = [f"layer{i}.{name}" for i in range(n_layers) for name in SOUL_LAYER]
    names = (*SOUL_FIRST, *layers, *SOUL_LAST)
    frac = _find_soul_fractions(dict(zip(names, (shift for _, shift in tensors), strict=True)))
    found = {}
    for name, (array, _) in zip(names, tensors, strict=True):
        shape = model.shapes[name]
        if array.size != math.prod(shape) or (len(shape) == 2 and array.shape != shape):
            raise ModelError(f"{path}: {name} is {array.shape}, but {shape} is needed")
        found[name] = array.reshape(shape) / 2.0 ** frac[name]
    model = replace(model, numerics=MappingProxyType({**model.numerics, "frac": frac}))
    return model.with_weights(found, path.name)


def _find_soul_fractions(shifts: dict[str, int]) -> dict[str, int]:
    """The fraction bits of each parameter.

    A matrix's product is shifted by its shift and one more, the output's by its shift alone;
    a bias has the scale of the product.
    """
    frac = {}
    for name, shift in shifts.items():
        if name.endswith(".gain") or name in (*SOUL_FIRST, "logits.weight"):
            frac[name] = shift
        elif name.endswith(".weight"):
            frac[name] = shift + 1
        else:
            weight = name.replace(".bias", ".weight")
            frac[name] = SOUL_FRAC + shifts[weight] + 1
    return frac


FORMATS = {"llama2.c": read_llama, "soul": read_soul, "npz": read_npz}
