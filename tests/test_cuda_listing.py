"""Listings of kernels: all instructions, under the lines that they come from."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

import anachron.compiler as ac
from anachron.compiler.targets.cuda import inspection
from anachron.compiler.targets.cuda.inspection import assemble, disassemble, find_tool
from anachron.compiler.targets.cuda.latency import read_instructions
from anachron.compiler.targets.cuda.listing import list_machine_code
from anachron.compiler.targets.cuda.target import KernelImage
from anachron.emulators.ptx.syntax import parse

pytestmark = pytest.mark.skipif(not find_spec("numba_cuda"), reason="numba-cuda is not installed")
TOOLS = pytest.mark.skipif(
    not (find_tool("ptxas") and find_tool("nvdisasm")), reason="ptxas, nvdisasm are not installed"
)
CODE = re.compile(r"  (\d{4,})  B[0-5-]{6}:R[0-5-]:W[0-5-]:[Y-]:S(\d\d)   (.*)")
TEXT = re.compile(r"(---- |\s*\d+ \| ).*")


@pytest.fixture(scope="module")
def image() -> KernelImage:
    built = ac.build(ac.quantize(ac.load("chat")), "ptx")
    assert isinstance(built, KernelImage)
    return built


def test_the_interpreters_listing_is_its_ptx_between_lines_of_the_text(image: KernelImage) -> None:
    listed = image.program.listing()
    kept = "\n".join(line for line in listed.splitlines() if not TEXT.fullmatch(line))
    ours, theirs = parse(kept), parse(image.program.ptx)
    assert ours.name == "kernel"
    assert [i.opcode for i in ours.instructions] == [i.opcode for i in theirs.instructions]
    assert ours.labels == theirs.labels


def test_every_op_has_a_heading(image: KernelImage) -> None:
    headed = re.findall(r"^---- (\S+?)(?::|$)", image.program.listing(), re.M)
    fused = {name for name, (variant, _) in image.text.variants.items() if variant == "fused"}
    assert {op.name for op in image.fixed.ops} - fused <= set(headed)


@TOOLS
def test_a_gpus_listing_is_its_machine_code_with_where_branches_go(image: KernelImage) -> None:
    ptx = image.program.ptx
    listed = list_machine_code(ptx, image.source)
    found = [match for line in listed.splitlines() if (match := CODE.fullmatch(line))]
    cubin, _ = assemble(ptx)
    instructions = read_instructions(disassemble(cubin, "-hex", "-g"))
    assert [int(f[1]) for f in found] == list(range(len(instructions)))
    assert [int(f[2]) for f in found] == [i.stall for i in instructions]
    branches = [(f[3], i.target) for f, i in zip(found, instructions, strict=True)
                if i.target is not None]  # fmt: skip
    assert branches and all(said.endswith(f"{target:04}") for said, target in branches)
    assert ".L_x_" not in listed


def test_without_nvidias_tools_a_gpus_listing_is_the_ptx(
    image: KernelImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "find_tool", lambda name: None)
    gpu = ac.build(image.fixed, "h200")
    assert gpu.program.listing() == image.program.listing()
