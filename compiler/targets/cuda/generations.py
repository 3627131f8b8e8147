"""What a kernel's PTX needs, and how it is written for older GPUs, from Turing on.

PTX runs on the GPUs of its `.target` and on all newer ones, and a driver takes the `.version` that
was current when it was made, and all older ones.  So a header states what the instructions need,
no more; what an older GPU lacks is written in what it has.  NVIDIA's assembler makes the same of
both headers.

To add an instruction: a row in NEEDS, and one in WAYS if an older GPU can do the same.
Sources: PTX ISA 9.0, the notes on each instruction and "Release Notes" (ptxas says the same: the
tests ask it); CUDA C++ Programming Guide 13.0, "Technical Specifications per Compute Capability".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda.layout import SHARED_BYTES

Pair: TypeAlias = tuple[int, int]  # a compute capability, or a version: major, minor


@dataclass(frozen=True)
class Gpu:
    """What of a GPU decides how a kernel is written.

    capability    compute capability: major, minor
    shared_bytes  shared memory of a block, at most
    """

    name: str
    capability: Pair
    shared_bytes: int


HOPPER = Gpu("H200", (9, 0), SHARED_BYTES)
GENERATIONS = (
    Gpu("Turing: T4, RTX 2080", (7, 5), 64 * 1024),
    Gpu("Ampere: A100", (8, 0), 163 * 1024),
    Gpu("Ampere: A10, RTX 3090", (8, 6), 99 * 1024),
    Gpu("Ada: L4, L40, RTX 4090", (8, 9), 99 * 1024),
    HOPPER,
    Gpu("Blackwell: B200", (10, 0), 227 * 1024),
    Gpu("Blackwell: RTX 5090", (12, 0), 99 * 1024),
)
OLDEST = GENERATIONS[0].capability
TARGETS: dict[Pair, Pair] = {(7, 5): (6, 3), (8, 0): (7, 0), (9, 0): (7, 8)}  # -> their versions
NEEDS: dict[str, tuple[Pair, Pair]] = {  # instruction -> version of PTX, capability
    r"redux\.sync\.(add|min|max|and|or|xor)\b": ((7, 0), (8, 0)),
    r"mma\.sync\.aligned\.m16n8k(16|32)\S*\.[su]8\b": ((7, 0), (8, 0)),
    r"mma\.sync\.aligned\.m8n8k16\b": ((6, 5), (7, 5)),
    r"ldmatrix\.sync\b": ((6, 5), (7, 5)),
    r"cvt\.pack\b": ((6, 5), (7, 2)),
    r"cp\.async\.(ca|cg|commit_group|wait_group|wait_all)\b": ((7, 0), (8, 0)),
    r"mbarrier\.": ((7, 0), (8, 0)),
    r"(add|min|max)(\.relu)?\.[su]16x2\b": ((8, 0), (9, 0)),
    r"(min|max)\.(relu\.s32|s16x2\.relu)\b": ((8, 0), (9, 0)),
    r"cp\.async\.bulk\b": ((8, 0), (9, 0)),
    r"(barrier\.cluster|mapa)\b|shared::cluster": ((7, 8), (9, 0)),
}
HEADER = re.compile(r"^\.version\s+\S+\s+\.target\s+sm_\d+", re.M)
HALF_WARP = 16


def find_needs(ptx: str) -> tuple[Pair, Pair]:
    """The least version of PTX and the least capability that have a text's instructions."""
    found = [need for pattern, need in NEEDS.items() if re.search(rf"(?<![\w.]){pattern}", ptx)]
    capability = max([OLDEST, *(capability for _, capability in found)])
    target = min(target for target in TARGETS if target >= capability)
    return max([TARGETS[target], *(version for version, _ in found)]), target


def state(ptx: str) -> str:
    """A text whose header asks for what its instructions need."""
    version, target = find_needs(ptx)
    header = f".version {version[0]}.{version[1]}\n.target sm_{target[0]}{target[1]}"
    return HEADER.sub(header, ptx, count=1)


def port(ptx: str, gpu: Gpu) -> str:
    """A text as a GPU can take it.  Raises Absent for one that is too old, or of another kind."""
    for least, pattern, write in WAYS:
        if gpu.capability < least:
            ptx = pattern.sub(write, ptx)
    ptx = state(ptx)
    needed = max(OLDEST, find_needs(ptx)[1])
    if gpu.capability < needed:
        raise Absent(
            f"the GPU here is a {gpu.name} of compute capability {_dotted(gpu.capability)}: "
            f"the kernels need {_dotted(needed)}, {_find_name(needed)}, or newer"
        )
    return ptx


def _dotted(pair: Pair) -> str:
    return f"{pair[0]}.{pair[1]}"


def _find_name(capability: Pair) -> str:
    return next(gpu.name for gpu in GENERATIONS if gpu.capability >= capability)


def _reduce(found: re.Match[str]) -> str:
    """A sum, or an extreme, over a warp: with the lane 16 on, 8 on, ..., 1 on."""
    operation, kind, target, source = found.groups()
    typed = f"{operation}.b32" if kind == "b32" else f"{operation}.{kind}"
    lines = ["{ .reg .b32 whole, other;", f"mov.b32 whole, {source};"]
    by = HALF_WARP
    while by:
        lines.append(f"shfl.sync.bfly.b32 other, whole, {by}, 31, -1;")
        lines.append(f"{typed} whole, whole, other;")
        by //= 2
    return "\n\t".join([*lines, f"mov.b32 {target}, whole; }}"])


def _multiply(found: re.Match[str]) -> str:
    """16x32 by 32x8 as four products of 8x16 by 16x8, whose lanes hold the same pieces."""
    kinds, *operands = found.groups()
    d, a, b, c = ([name.strip() for name in operand.split(",")] for operand in operands)
    lines = ["{ .reg .b32 d0, d1, d2, d3;"]
    for half in range(2):
        low, high = f"d{2 * half}", f"d{2 * half + 1}"
        start = f"{c[2 * half]}, {c[2 * half + 1]}"
        for k in range(2):
            lines.append(
                f"mma.sync.aligned.m8n8k16.row.col.s32.{kinds}.s32 {{{low}, {high}}}, "
                f"{{{a[half + 2 * k]}}}, {{{b[k]}}}, {{{start}}};"
            )
            start = f"{low}, {high}"
    lines += [f"mov.b32 {name}, d{i};" for i, name in enumerate(d)]
    return "\n\t".join([*lines, "}"])


def _halve(found: re.Match[str]) -> str:
    """Two numbers of 16 bits in a word, one after the other."""
    operation, kind, target, x, y = found.groups()
    return "\n\t".join(
        [
            "{ .reg .b16 x0, x1, y0, y1; .reg .b32 x, y;",
            f"mov.b32 x, {x}; mov.b32 y, {y};",
            "mov.b32 {x0, x1}, x; mov.b32 {y0, y1}, y;",
            *(f"{operation}.{kind} x{i}, x{i}, y{i};" for i in range(2)),
            f"mov.b32 {target}, {{x0, x1}}; }}",
        ]
    )


_LIST = r"\{([^}]*)\}"
WAYS: tuple[tuple[Pair, re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        (9, 0),
        re.compile(r"(add|min|max)\.([su]16)x2\s+([^,;]+),\s*([^,;]+),\s*([^,;]+);"),
        _halve,
    ),
    (
        (8, 0),
        re.compile(
            r"redux\.sync\.(add|min|max|and|or|xor)\.([su]32|b32)\s+([^,;]+),\s*([^,;]+),"
            r"\s*(?:-1|0xffffffff)\s*;"
        ),
        _reduce,
    ),
    (
        (8, 0),
        re.compile(
            r"mma\.sync\.aligned\.m16n8k32\.row\.col\.s32\.([su]8\.[su]8)\.s32\s+"
            rf"{_LIST}\s*,\s*{_LIST}\s*,\s*{_LIST}\s*,\s*{_LIST}\s*;"
        ),
        _multiply,
    ),
)
