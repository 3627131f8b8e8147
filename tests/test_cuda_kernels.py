"""Every kernel of the programs that are shipped, as NVIDIA's assembler makes it: integers, in
registers.

The streams' here, in each of their forms; test_cuda_batch.py and test_cuda_training.py look at
theirs.  What is allowed of floating point is the guesses that test_ptx_approximate.py proves, and
what the assembler itself makes of an integer division or a constant.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec

import pytest

import anachron.compiler as ac
from anachron.compiler.targets.cuda.inspection import INSTRUCTION, find_tool, inspect
from anachron.compiler.targets.cuda.kernel import ARGUMENTS, write_kernel
from anachron.compiler.targets.cuda.latency import GREEDY
from anachron.compiler.targets.cuda.toolkit import compile_kernel

assembles = pytest.mark.skipif(
    not (find_tool("ptxas") and find_tool("nvdisasm") and find_spec("numba_cuda")),
    reason="NVIDIA's tools are not installed: pip install -e '.[cuda]'",
)
FLOATING = re.compile(r"(F(?!LO)|H|D|MUFU|I2F|BF)[A-Z0-9]*(\.|$)")
GUESSES = ("MUFU.SQRT", "MUFU.RCP", "FFMA.RZ", "I2FP.F32.U32", "I2FP.F32.U32.RZ")
DIVISION = ("I2F.RP", "I2F.U16.RP", "I2F.U32.RP", "F2I.FTZ.U32.TRUNC.NTZ")
MOVE = re.compile(r"HFMA2(\.MMA)?$")  # of two halves of a constant


@cache
def fixed_of(name: str) -> ac.FixedModel:
    return ac.quantize(ac.load(name))


def find_floats(listing: str) -> set[str]:
    """Opcodes of floating point that nothing proves."""
    found = set()
    for instruction in INSTRUCTION.finditer(listing):
        opcode, operands = instruction[3], instruction[4]
        if MOVE.match(opcode) and re.match(r"R\d+, -RZ, RZ, ", operands):
            continue
        if FLOATING.match(opcode) and opcode not in (*GUESSES, *DIVISION):
            found.add(opcode)
    return found


@assembles
@pytest.mark.parametrize(
    "name, logits, phases, greedy",
    [
        ("chat", False, False, False),
        ("chat", True, True, False),
        ("gpt2", False, False, True),
        ("llama", False, False, False),
        ("count", True, False, False),
    ],
)
def test_a_stream_is_integers_in_registers(
    name: str, logits: bool, phases: bool, greedy: bool
) -> None:
    text = write_kernel(fixed_of(name), logits, phases=phases)
    source = text.source.replace(GREEDY, "True") if greedy else text.source
    seen = inspect(compile_kernel(source, text.threads, ARGUMENTS, alone=True))
    assert seen.faults == ()
    assert find_floats(seen.text) == set()
    assert seen.registers * text.threads <= 1 << 16


@assembles
def test_an_encoder_is_integers_in_registers() -> None:
    text = write_kernel(fixed_of("reverse"), False)
    seen = inspect(compile_kernel(text.source, text.threads, ARGUMENTS, alone=True))
    assert seen.faults == () and find_floats(seen.text) == set()


def test_a_float_that_nothing_proves_is_told() -> None:
    listing = """
        /*0010*/                   FADD R1, R2, R3 ;
        /*0020*/                   HFMA2.MMA R4, -RZ, RZ, 0, 0 ;
        /*0030*/                   FFMA.RZ R4, R2, R3, R5 ;
        /*0040*/                   HFMA2.MMA R4, R1, R2, R3 ;
        /*0050*/                   FLO.U32 R4, R1 ;
        /*0060*/                   IMAD R4, R1, R2, R3 ;
    """
    assert find_floats(listing) == {"FADD", "HFMA2.MMA"}
