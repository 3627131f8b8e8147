import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anachron.compiler.checkpoints import MAGIC
from anachron.compiler.loader import load
from anachron.compiler.model import Generation, ModelError
from anachron.compiler.ops import forward
from anachron.compiler.printer import format_model
from anachron.compiler.tokenizer import Tokenizer
from anachron.compiler.weights import list_tensors, save_weights

SHARED = Path(__file__).parents[1] / ".." / "shared" / "models"
needs_models = pytest.mark.skipif(not SHARED.exists(), reason="../shared/models is not here")

LLAMA = Tokenizer("bpe", (b"", b"", b"", b" ", b"a"), (), (("<s>", 1), ("</s>", 2)), 0, 3)
SOUL_NAMES = ("<PAD>", "<SEP>", "<UNK>", "<END>")
SOUL = Tokenizer("bpe", (b"",) * 4 + (b"a", b"b"), (), tuple(zip(SOUL_NAMES, range(4))), 2)  # noqa: B905

DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCABULARY, CONTEXT = 8, 12, 2, 4, 2, 5, 6
KV = DIM // HEADS * KV_HEADS
MATRICES = {  # variable -> shape, as llama2.c calls and orders them in version 1
    "tok": (VOCABULARY, DIM),
    "wq": (DIM, DIM),
    "wk": (KV, DIM),
    "v": (KV, DIM),
    "out": (DIM, DIM),
    "gate": (HIDDEN, DIM),
    "down": (DIM, HIDDEN),
    "up": (HIDDEN, DIM),
    "logits": (VOCABULARY, DIM),
}
ORDER_0 = "tok a wq wk v out f gate down up z".split()


def make_llama_weights(shared):
    rng = np.random.default_rng(3)
    found = {}
    for variable, shape in MATRICES.items():
        if variable == "tok" or (variable == "logits" and not shared):
            found[f"{variable}.weight"] = rng.normal(size=shape)
        elif variable != "logits":
            for i in range(LAYERS):
                found[f"layer{i}.{variable}.weight"] = rng.normal(size=shape)
    for variable in "af":
        for i in range(LAYERS):
            found[f"layer{i}.{variable}.gain"] = rng.normal(size=DIM)
    found["z.gain"] = rng.normal(size=DIM)
    return {name: array.astype(np.float32) for name, array in found.items()}


def names_of(variable):
    role = "gain" if variable in ("a", "f", "z") else "weight"
    if variable in ("tok", "z", "logits"):
        return [f"{variable}.{role}"]
    return [f"layer{i}.{variable}.{role}" for i in range(LAYERS)]


def write_llama(path, version, shared=True, group=4):
    """A checkpoint as llama2.c's export.py writes it; the weights that a reader should find."""
    weights = make_llama_weights(shared)
    sizes = [DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCABULARY, CONTEXT]
    last = [] if shared else ["logits"]
    out = io.BytesIO()
    if version == 0:
        sizes[5] *= 1 if shared else -1
        out.write(struct.pack("<7i", *sizes))
        for variable in ORDER_0:
            for name in names_of(variable):
                out.write(weights[name].tobytes())
        out.write(np.full(CONTEXT * DIM // HEADS, np.nan, np.float32).tobytes())
        order = last
    else:
        head = struct.pack("<IiiiiiiiiB", MAGIC, version, *sizes, shared)
        head += struct.pack("<i", group) if version == 2 else b""
        out.write(head.ljust(256, b"\0"))
        for variable in "afz":
            for name in names_of(variable):
                out.write(weights[name].tobytes())
        order = "tok wq wk v out gate down up".split() + last
    for name in [name for variable in order for name in names_of(variable)]:
        if version < 2:
            out.write(weights[name].tobytes())
        else:
            groups = weights[name].reshape(-1, group)
            scale = (np.abs(groups).max(1, keepdims=True) / 127).astype(np.float32)
            codes = np.round(groups / scale).astype(np.int8)
            out.write(codes.tobytes() + scale.tobytes())
            weights[name] = (codes * scale.astype(np.float64)).reshape(weights[name].shape)
    path.write_bytes(out.getvalue())
    return weights


def write_soul(path, layers=1, dim=16, hidden=4):
    """Tensors in that project's order, with the shift 6 for matrices; the real numbers they are."""
    rng = np.random.default_rng(4)
    shapes = [(6, dim), (5, dim)]
    square = (dim, dim)
    for _ in range(layers):
        shapes += [(1, dim), square, square, square, square, (1, dim)]
        shapes += [(hidden, dim), (1, hidden), (dim, hidden), (1, dim)]
    shapes += [(1, dim), (6, dim)]
    out, arrays = b"", []
    for i, (rows, columns) in enumerate(shapes):
        kind = int(i >= 2 and i < len(shapes) - 2 and (i - 2) % 10 in (7, 9))
        array = rng.integers(-100, 100, (rows, columns)).astype("<i2" if kind else "i1")
        out += struct.pack("<BHHb", kind, rows, columns, 6) + array.tobytes()
        arrays.append(array)
    path.write_bytes(out)
    return arrays


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_llama_checkpoints_of_every_version_give_their_weights(tmp_path, version, shared):
    weights = write_llama(tmp_path / "m.bin", version, shared)
    model = load(tmp_path / "m.bin", tokenizer=LLAMA)
    assert set(model.weights) == set(weights)
    for name, array in weights.items():
        assert np.array_equal(model.weights[name], array), name
    assert model.generation == Generation("next", (1,), (), (1, 2), 0)
    assert (model.name, model.weights_from) == ("m", "m.bin")


def test_soul_tensors_are_integers_over_powers_of_two(tmp_path):
    arrays = write_soul(tmp_path / "s.bin")
    model = load(tmp_path / "s.bin", tokenizer=SOUL)
    frac = model.numerics["frac"]
    assert model.numerics["exact"] == "soul"
    assert (frac["tok.weight"], frac["layer0.q.weight"], frac["logits.weight"]) == (6, 7, 6)
    assert (frac["layer0.up.bias"], frac["z.gain"]) == (15, 6)
    for name, array in zip(
        ["tok.weight", "pos.weight", "layer0.a.gain", "layer0.q.weight"], arrays, strict=False
    ):
        found = model.weights[name] * 2.0 ** frac[name]
        assert np.array_equal(found, array.reshape(found.shape)), name
    assert model.generation == Generation("next", (1,), (1,), (0, 1, 3), 4)
    assert dict(model.dimensions) == {
        "dim": 16,
        "hidden_dim": 4,
        "n_layers": 1,
        "n_heads": 2,
        "vocab_size": 6,
        "seq_len": 5,
    }


def write(path, *parts):
    path.write_bytes(b"".join(parts))
    return path


def head(**changes):
    fields = {
        "dim": DIM, "hidden": HIDDEN, "layers": LAYERS, "heads": HEADS, "kv": KV_HEADS,
        "vocabulary": VOCABULARY, "context": CONTEXT,
    }  # fmt: skip
    return struct.pack("<7i", *{**fields, **changes}.values())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([b""], "this is no checkpoint of llama2.c, soul, npz"),
        ([b"hello, world, this is a text file"], "this is no checkpoint of"),
        ([head()], "28 bytes, but its header says"),
        ([head(), b"\0" * 9999], "10,027 bytes, but its header says"),
        ([head(dim=9), b"\0" * 999], "dim 9, n_heads 4 and n_kv_heads 2 do not divide"),
        ([head(kv=3), b"\0" * 999], "n_kv_heads 3 do not divide"),
        ([head(dim=12), b"\0" * 999], "heads of 3 features: they turn in pairs"),
        ([head(vocabulary=7), b"\0" * 999], "vocab_size is 7, but the tokenizer has 5"),
        ([head(vocabulary=2**31 - 1), b"\0" * 999], "this is no checkpoint of"),
        ([head(dim=16384, hidden=65536, layers=200)], "parameters, at most"),
        ([struct.pack("<Ii", MAGIC, 1)], "8 bytes, its header alone has 256"),
        ([struct.pack("<Ii", MAGIC, 3), b"\0" * 999], "version 3 of llama2.c's format"),
        ([struct.pack("<Ii", MAGIC, 1), b"\0" * 999], "dim is 0, allowed is 1 to"),
        (
            [struct.pack("<Ii", MAGIC, 2), head(), b"\1" + struct.pack("<i", 3), b"\0" * 999],
            "tok.weight of 40 is not in groups of 3",
        ),
        (
            [struct.pack("<Ii", MAGIC, 2), head(), b"\1" + struct.pack("<i", -8), b"\0" * 999],
            "is not in groups of -8",
        ),
    ],
    ids=range(15),
)
def test_a_faulty_llama_checkpoint_is_one_clear_line(tmp_path, parts, message):
    path = write(tmp_path / "m.bin", *parts)
    with pytest.raises(ModelError) as caught:
        load(path, tokenizer=LLAMA)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_every_truncated_llama_checkpoint_is_refused(tmp_path):
    for version in (0, 1, 2):
        write_llama(tmp_path / "m.bin", version)
        data = (tmp_path / "m.bin").read_bytes()
        for size in [*range(0, 300, 7), len(data) // 2, len(data) - 1]:
            path = write(tmp_path / "t.bin", data[:size])
            with pytest.raises(ModelError, match="bytes, |no checkpoint"):
                load(path, tokenizer=LLAMA)


def test_every_truncated_soul_checkpoint_is_refused(tmp_path):
    write_soul(tmp_path / "s.bin", dim=8)
    data = (tmp_path / "s.bin").read_bytes()
    for size in range(0, len(data), 13):
        with pytest.raises(ModelError):
            load(write(tmp_path / "t.bin", data[:size]), tokenizer=SOUL)


def test_a_checkpoint_without_a_tokenizer_says_so(tmp_path):
    write_llama(tmp_path / "m.bin", 0)
    with pytest.raises(ModelError, match="a llama2.c checkpoint needs a tokenizer: --tokenizer"):
        load(tmp_path / "m.bin")


def test_sizes_of_a_checkpoint_cannot_be_set(tmp_path):
    write_llama(tmp_path / "m.bin", 0)
    with pytest.raises(ModelError, match="only a decoder's seq_len can be set"):
        load(tmp_path / "m.bin", tokenizer=LLAMA, overrides={"dim": 4})


def test_a_value_that_is_not_finite_is_refused(tmp_path):
    write_llama(tmp_path / "m.bin", 0)
    data = bytearray((tmp_path / "m.bin").read_bytes())
    for value in (struct.pack("<f", float("inf")), b"\x01\x00\x80\x7f"):  # a signalling NaN
        data[28:32] = value
        with pytest.raises(ModelError, match="tok.weight holds a value that is not finite"):
            load(write(tmp_path / "t.bin", data), tokenizer=LLAMA)


def test_heads_of_odd_size_are_refused(tmp_path):
    write_llama(tmp_path / "m.bin", 0)
    data = bytearray((tmp_path / "m.bin").read_bytes())
    data[:4], data[12:16], data[16:20] = (struct.pack("<i", n) for n in (12, 4, 2))
    with pytest.raises(ModelError, match="heads of 3 features: they turn in pairs") as caught:
        load(write(tmp_path / "t.bin", data), tokenizer=LLAMA)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_checkpoint_raises_nothing_but_a_model_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("c")
    if data.draw(st.booleans()):
        write_llama(folder / "m.bin", data.draw(st.sampled_from([0, 1, 2])))
        tokenizer = LLAMA
    else:
        write_soul(folder / "m.bin", dim=8)
        tokenizer = SOUL
    content = bytearray((folder / "m.bin").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
    try:
        load(write(folder / "m.bin", content), tokenizer=tokenizer)
    except ModelError as error:
        assert "\n" not in str(error)


TEXT = "size vocab_size = 4, seq_len = 3\ntokenizer digits\n{}x = embed(token, 2{})\n"
TEXT += "logits = linear(x, 4)\n"
TENSORS = {"x.weight": np.arange(8.0).reshape(4, 2), "logits.weight": np.ones((4, 2))}


def write_text(folder, head="", settings=""):
    return write(folder / "m.model", TEXT.format(head, settings).encode())


def test_weights_beside_a_text_are_read(tmp_path):
    np.savez(tmp_path / "m.npz", **TENSORS)
    model = load(write_text(tmp_path))
    assert np.array_equal(model.weights["x.weight"], TENSORS["x.weight"])
    assert model.weights_from == "m.npz"


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_text_names_its_weights_and_their_tensors(tmp_path, suffix):
    tensors = {
        "wte": np.arange(24, dtype=np.float32).reshape(2, 12),
        "logits.weight": np.ones((4, 2), np.float16),
    }
    if suffix == "npz":
        np.savez(tmp_path / "w.npz", **tensors)
    else:
        library = pytest.importorskip("safetensors.numpy", reason="needs the safetensors library")
        library.save_file(tensors, tmp_path / "w.safetensors")
    text = write_text(tmp_path, f'weights "w.{suffix}"\n', ', weight = "wte[:, 4:8].T"')
    assert np.array_equal(load(text).weights["x.weight"], tensors["wte"][:, 4:8].T)


def test_saved_weights_carry_their_program(tmp_path):
    np.savez(tmp_path / "m.npz", **TENSORS)
    model = load(write_text(tmp_path))
    save_weights(tmp_path / "whole.npz", model.weights, format_model(model))
    again = load(tmp_path / "whole.npz")
    assert again.nodes == model.nodes and again.tokenizer == model.tokenizer
    assert np.array_equal(again.weights["x.weight"], model.weights["x.weight"])


def test_the_same_weights_are_saved_as_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        save_weights(tmp_path / name, TENSORS, "text")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_numpy_reads_what_is_saved(tmp_path):
    save_weights(tmp_path / "a.npz", TENSORS)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert {name: found[name].tolist() for name in found} == {
            name: array.tolist() for name, array in TENSORS.items()
        }


def npz(folder, **members):
    with zipfile.ZipFile(folder / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name + ".npy", content)
    return write_text(folder)


def npy(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def npy_head(shape, dtype="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


GOOD = npy(np.ones((4, 2)))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"x.weight": GOOD}, "it has no tensor logits.weight; it has x.weight"),
        ({"x.weight": npy(np.ones((2, 4)))}, "x.weight has shape (2, 4), (4, 2) is needed"),
        ({"x.weight": npy(np.array([[print]] * 4))}, "x.weight holds object"),
        ({"x.weight": npy(np.ones((4, 2), complex))}, "x.weight holds complex128"),
        ({"x.weight": GOOD[:-1]}, "takes 191 bytes, its head says 192"),
        ({"x.weight": npy_head((1 << 40, 1 << 20))}, "numbers are read"),
        ({"x.weight": npy_head((4, 2))}, "takes 128 bytes, its head says 160"),
        ({"x.weight": npy_head((-4, 2))}, "x.weight has shape (-4, 2)"),
        ({"x.weight": b"\x93NUMPY\x09\x00"}, "version (9, 0)"),
        ({"x.weight": b"garbage, garbage"}, "magic"),
        ({"x.weight": b"\x93NUMPY\x01\x00\x28\x23" + b"(" * 9000}, "no whole .npz file: "),
        ({"x.weight": npy(np.full((4, 2), np.nan)), "logits.weight": GOOD}, "not finite"),
        ({"x.weight": npy(np.full((4, 2), 1e99)), "logits.weight": GOOD}, "beyond 1,000,000,000"),
    ],
    ids=range(13),
)
def test_a_faulty_npz_is_one_clear_line(tmp_path, members, message):
    with pytest.raises(ModelError) as caught:
        load(npz(tmp_path, **members))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_bomb_of_zeros_is_never_unpacked(tmp_path):
    size = 1 << 24
    text = npz(tmp_path, **{"x.weight": npy_head((size // 4,)) + bytes(size)})
    assert (tmp_path / "m.npz").stat().st_size < 1 << 16
    with pytest.raises(ModelError, match=r"x.weight has shape \(4194304,\), for a parameter of"):
        load(text)


def test_tensors_alone_are_no_model(tmp_path):
    np.savez(tmp_path / "w.npz", **TENSORS)
    with pytest.raises(ModelError, match="it has no program text inside: write one with"):
        load(tmp_path / "w.npz")
    write(tmp_path / "w.safetensors", b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(ModelError, match="tensors alone are no model: write a program text"):
        load(tmp_path / "w.safetensors")


@settings(deadline=None)
@given(st.data())
def test_a_damaged_npz_raises_nothing_but_a_model_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("n")
    text = npz(folder, **{"x.weight": GOOD, "logits.weight": GOOD})
    content = bytearray((folder / "m.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    write(folder / "m.npz", content[: data.draw(st.integers(0, len(content)))])
    try:
        load(text)
    except ModelError as error:
        assert "\n" not in str(error)


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_garbage_as_safetensors_raises_nothing_but_a_model_error(tmp_path_factory, content):
    pytest.importorskip("safetensors", reason="needs the safetensors library")
    path = write(tmp_path_factory.mktemp("s") / "w.safetensors", content)
    try:
        list_tensors(path)
    except ModelError as error:
        assert "\n" not in str(error)


@needs_models
def test_stories_continue_as_in_llama2c():
    model = load(SHARED / "stories260K.bin", tokenizer=SHARED / "tok512.bin")
    for row in json.loads((SHARED / "stories_expected.json").read_text()):
        start = len(row["prompt_ids"])
        logits = forward(model, row["tokens"])["logits"][:-1]
        assert logits[start - 1 :].argmax(-1).tolist() == row["tokens"][start:]
        best = np.sort(logits, -1)
        assert np.allclose(best[:, -1] - best[:, -2], row["margin"], atol=2e-3)


@needs_models
def test_soul_in_floating_point_says_what_its_integers_say():
    model = load(SHARED / "soul.bin", tokenizer=SHARED / "soul_tokenizer.json")
    for row in json.loads((SHARED / "soul_expected.json").read_text()):
        ids = [*row["ids"], *row["generated"][:-1]]
        logits = forward(model, ids)["logits"][len(row["ids"]) - 1 :]
        wanted = np.array(row["logits"]) / 256
        assert (logits[:, 4:].argmax(-1) == wanted[:, 4:].argmax(-1)).mean() > 0.6
        assert np.abs(logits - wanted).mean() < 0.5
