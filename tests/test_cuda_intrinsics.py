"""Every operation of the CUDA kernels: its PTX, interpreted, gives what its row says it means."""

from __future__ import annotations

import numpy as np
import pytest

from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.device import Device
from anachron.compiler.targets.cuda.generations import GENERATIONS, HOPPER, Gpu, port
from anachron.compiler.targets.cuda.inspection import assemble, find_tool
from anachron.compiler.targets.cuda.toolkit import compile_kernel
from anachron.emulators.ptx import load
from anachron.kernels.cuda.intrinsics import INTRINSICS, LOADS, STORES, WARP, wrap

ARGUMENTS = {"gm": "bytes", "out": "words"}
TURING = GENERATIONS[0]
ROUNDS = 24  # of operands
MOST = 10  # operands
EXTREMES = (0, 1, -1, 127, -128, 32767, -32768, (1 << 31) - 1, -(1 << 31))
TESTED = {name: row for name, row in INTRINSICS.items() if row.meaning}
SHIFTS = ("shl32", "sar32", "shr32")
FLOORS = ("floordiv32", "floordiv64", "udiv64")
FLOATING = ("fmul", "ffma")
DIVISORS = (*FLOORS, "udiv32", "urem32", "udiv_all")


def operands(name: str) -> list[str]:
    """The texts of a row's operands, from the words x0, x1, ..."""
    takes = INTRINSICS[name].takes
    texts = []
    for i, letter in enumerate(takes):
        word = f"x{i}"
        if name in SHIFTS and i == 1:
            word = "and32(x1, 31)"
        if name in FLOATING:  # of moderate size
            word = f"or32(and32(x{i}, {-1 ^ 1 << 30}), {1 << 29})"
        if name in DIVISORS and i == len(takes) - 1:
            word = f"max32(1, and32(x{i}, 2147483647))" if name in FLOORS else f"or32(x{i}, 1)"
        if name == "isqrt64":
            texts.append("int64(and32(x0, 2147483647)) * int64(and32(x1, 1073741823))")
        elif letter == "l":
            texts.append(f"int64({word})" if name in FLOORS and i else f"int64({word}) * int64(x9)")
        elif letter == "t":
            texts.append("x8 < x9")
        else:
            texts.append(word)
    return texts


def scope(words: list[int]) -> dict[str, object]:
    simple = ("and32", "or32", "max32")
    meant = {name: INTRINSICS[name].meaning for name in simple}
    return meant | {f"x{i}": word for i, word in enumerate(words)} | {"int64": int}


def count(name: str) -> int:
    gives = INTRINSICS[name].gives
    return gives if isinstance(gives, int) else {"w": 1, "l": 2}[gives]


def lines(name: str, at: int) -> list[str]:
    call = f"{name}({', '.join(operands(name))})"
    gives = INTRINSICS[name].gives
    if isinstance(gives, int):
        return [f"r = {call}", *(f"out[base + {at + i}] = r[{i}]" for i in range(gives))]
    if gives == "l":
        return [f"w = {call}", f"out[base + {at}] = int32(w)",
                f"out[base + {at + 1}] = int32(w >> int64(32))"]  # fmt: skip
    return [f"r = {call}", f"out[base + {at}] = r"]


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """(rounds, operands, lanes)"""
    random = np.random.default_rng(5)
    values = random.integers(-(1 << 31), 1 << 31, (ROUNDS, MOST, WARP))
    values[0] = random.choice(EXTREMES, (MOST, WARP))
    values[1] = random.choice(EXTREMES, (MOST, WARP))
    values[2] = random.integers(-40, 40, (MOST, WARP))
    return values


@pytest.fixture(scope="module")
def kernel() -> tuple[str, dict[str, int], int]:
    """Every operation in one kernel; where each has its words, of how many."""
    width = sum(count(name) for name in TESTED)
    body, stretch, at, places = [], [], 0, {}
    for name in TESTED:
        places[name] = at
        wide = "l" in TESTED[name].takes + str(TESTED[name].gives)
        body += [f"    # {name}", "    if lane >= 0:", *(f"        {x}" for x in lines(name, at))]
        if not wide:
            call, *stores = lines(name, at + width)
            stretch.append("    " + call.replace("r = ", f"s{at} = ", 1))
            body += [f"    {x}".replace("= r", f"= s{at}") for x in stores]
        at += count(name)
    source = [
        "def kernel(gm, out):",
        "    lane = int32(cuda.threadIdx.x)",
        "    base = int32(cuda.blockIdx.x)",
        *(f"    x{i} = load32(gm, 128 * ({MOST} * base + {i}) + 4 * lane)" for i in range(MOST)),
        f"    base = (base * 32 + lane) * {2 * width}",
        *stretch,
        *body,
    ]
    try:
        ptx = compile_kernel("\n".join(source) + "\n", WARP, ARGUMENTS)
    except Absent as reason:
        pytest.skip(str(reason))
    return ptx, places, width


REAL = pytest.param(None, marks=pytest.mark.gpu, id="a GPU")


@pytest.fixture(
    scope="module", params=(HOPPER, TURING, REAL), ids=lambda gpu: gpu.name if gpu else "a GPU"
)
def results(
    request: pytest.FixtureRequest, kernel: tuple[str, dict[str, int], int], values: np.ndarray
) -> dict[str, np.ndarray]:
    """name -> (forms, rounds, lanes, words): as functions of Numba, and in a stretch."""
    ptx, places, width = kernel
    out = np.zeros((ROUNDS, WARP, 2, width), np.int32)
    given = values.astype("<i4")
    if request.param:
        kernel_there = load(port(ptx, request.param))
        kernel_there.launch(given, out, threads=WARP, blocks=ROUNDS, races=False)
    else:
        try:
            Device.open().load(ptx, 0).run((given, out), WARP, ROUNDS, 1)
        except Absent as reason:
            pytest.skip(str(reason))
    out = np.moveaxis(out, 2, 0)
    return {name: out[..., at : at + count(name)] for name, at in places.items()}


@pytest.mark.skipif(
    not find_tool("ptxas"), reason="NVIDIA's ptxas is not installed: pip install -e '.[cuda]'"
)
@pytest.mark.parametrize("gpu", GENERATIONS, ids=lambda gpu: gpu.name)
def test_every_generation_takes_every_operation(
    gpu: Gpu, kernel: tuple[str, dict[str, int], int]
) -> None:
    assemble(port(kernel[0], gpu), gpu.capability)


@pytest.mark.parametrize("name", TESTED)
def test_an_operation_gives_what_it_means(
    name: str, values: np.ndarray, results: dict[str, np.ndarray]
) -> None:
    row, texts = TESTED[name], operands(name)
    single, stretched = results[name]
    forms = [single] if "l" in row.takes + str(row.gives) else [single, stretched]
    for i, words in enumerate(values):
        rows = [scope([int(word) for word in words[:, lane]]) for lane in range(WARP)]
        given = [[eval(text, {}, rows[lane]) for text in texts] for lane in range(WARP)]
        if row.together:
            found = row.meaning(*map(list, zip(*given, strict=True)))
            found = found if count(name) > 1 else [found]
            wanted = np.array([[wrap(x) for x in word] for word in found]).T
        elif row.gives == "l":
            both = [row.meaning(*mine) for mine in given]
            wanted = np.array([[wrap(x), wrap(x >> 32)] for x in both])
        else:
            wanted = np.array([[wrap(int(row.meaning(*mine)))] for mine in given])
        for form in forms:
            assert (form[i] == wanted).all(), f"{name}: {given[0]}"


def test_every_load_and_store_moves_its_bytes() -> None:
    """Each from gm to gm, with the offset alone and with a constant behind it."""
    source = ["def kernel(gm, out):", "    at = int32(cuda.threadIdx.x) * 0"]
    for n, suffix in enumerate(LOADS):
        source.append(f"    a{n} = load{suffix}(gm, at)")
        source.append(f"    b{n} = load{suffix}(gm, at, 16)")
    for n, (suffix, (_, _, words)) in enumerate(LOADS.items()):
        for m, name in enumerate("ab"):
            parts = [f"{name}{n}[{i}]" for i in range(words)] if words > 1 else [f"{name}{n}"]
            to = 128 + 64 * n + 32 * m
            if suffix in STORES:
                source.append(f"    store{suffix}(gm, at, {to}, {', '.join(parts)})")
            else:
                source.append(f"    store32(gm, at, {to}, {parts[0]})")
    try:
        ptx = compile_kernel("\n".join(source) + "\n", WARP, ARGUMENTS)
    except Absent as reason:
        pytest.skip(str(reason))
    memory = np.random.default_rng(1).integers(128, 256, 1024).astype(np.uint8)
    before = memory.copy()
    load(ptx).launch(memory, np.zeros(1, np.int32), threads=WARP, races=False)
    for n, (suffix, (bits, signed, words)) in enumerate(LOADS.items()):
        for m in range(2):
            moved = before[16 * m :][: bits // 8 * words]
            if suffix not in STORES:
                moved = np.frombuffer(moved.tobytes(), f"<u{bits // 8}").astype("<u4")
                moved = moved.view(np.uint8)
            to = 128 + 64 * n + 32 * m
            expected = before.copy()
            expected[to : to + len(moved)] = moved
            end = to + 16
            assert (memory[to:end] == expected[to:end]).all(), (suffix, m, signed)
