"""The PTX interpreter, judged by gpuocelot, Georgia Tech's emulator of GPUs: instructions, kernels.

    ocelot-run FILE.ptx KERNEL THREADS BLOCKS SHARED [@FILE | NUMBER]...

on the path, or named by ANACHRON_OCELOT, launches a kernel on gpuocelot's EmulatorDevice; @FILE is
an array that is read, passed by reference, and written back.

Its PTX is that of 2011, so kernels are rewritten for it (ptx_lowering.py), and what is rewritten it
does not judge: lop3, dp4a, dp2a, mma, redux, shfl, vote, fma.rn, fma.rz, cvt.rz and barriers of a
warp.  Nor is it asked where it is known to differ from NVIDIA's ptxas: shifts by the width or more,
fields that leave the register, saturation.  test_ptx_folding.py has those.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ptx_instructions import BASIC
from ptx_lowering import lower
from test_cuda_stream import compiles, image_of
from test_cuda_training import reverse
from test_ptx import FRAME, THREADS, operands

from anachron.compiler.targets.cuda.conversation import KernelConversation
from anachron.compiler.targets.cuda.training import replicas
from anachron.emulators.ptx import Kernel, Result, load

OCELOT = os.environ.get("ANACHRON_OCELOT") or shutil.which("ocelot-run")
MOST_SECONDS = 300
MASKED = "and.b32 %r6, %r2, 31; "
JOINED = "mov.b64 %rd8, {%r1, %r2}; mov.b64 %rd9, {%r3, %r1}; "
INSTRUCTIONS = BASIC + """
mad.hi.s32 %r4, %r1, %r2, %r3;
mad.hi.u32 %r4, %r1, %r2, %r3;
or.b32 %r6, %r2, 1; div.s32 %r4, %r1, %r6;
or.b32 %r6, %r2, 1; div.u32 %r4, %r1, %r6;
or.b32 %r6, %r2, 1; rem.s32 %r4, %r1, %r6;
or.b32 %r6, %r2, 1; rem.u32 %r4, %r1, %r6;
MASKED shl.b32 %r4, %r1, %r6;
MASKED shr.s32 %r4, %r1, %r6;
MASKED shr.u32 %r4, %r1, %r6;
bfe.s32 %r4, %r1, 4, 7;
bfe.u32 %r4, %r1, 7, 25;
bfi.b32 %r4, %r1, %r2, 8, 4;
prmt.b32 %r4, %r1, %r2, %r3;
setp.gt.s32 %p1, %r1, 0; setp.eq.and.s32 %p2, %r1, %r2, %p1; selp.b32 %r4, 1, 0, %p2;
setp.gt.s32 %p1, %r1, 0; setp.ne.xor.u32 %p2, %r1, %r2, %p1; selp.b32 %r4, 1, 0, %p2;
mov.u32 %r4, %r3; setp.ne.s32 %p1, %r1, 0; @!%p1 mov.u32 %r4, 5;
mul.wide.s32 %rd4, %r1, %r2;
mul.wide.u32 %rd4, %r1, %r2;
cvt.s64.s32 %rd8, %r3; mad.wide.s32 %rd4, %r1, %r2, %rd8;
cvt.u64.u32 %rd8, %r3; mad.wide.u32 %rd4, %r1, %r2, %rd8;
JOINED add.s64 %rd4, %rd8, %rd9;
JOINED mul.lo.s64 %rd4, %rd8, %rd9;
JOINED mul.hi.s64 %rd4, %rd8, %rd9;
JOINED mul.hi.u64 %rd4, %rd8, %rd9;
JOINED min.s64 %rd4, %rd8, %rd9;
JOINED max.u64 %rd4, %rd8, %rd9;
JOINED MASKED shr.s64 %rd4, %rd8, %r6;
JOINED MASKED shl.b64 %rd4, %rd8, %r6;
JOINED setp.lt.s64 %p1, %rd8, %rd9; selp.b64 %rd4, %rd8, %rd9, %p1;
JOINED xor.b64 %rd4, %rd8, %rd9;
st.global.u8 [%rd7+3], %r1; ld.global.s8 %r4, [%rd7+3];
st.global.u16 [%rd7+2], %r1; ld.global.s16 %r4, [%rd7+2];
st.global.v2.u32 [%rd7], {%r1, %r2}; ld.global.u8 %r4, [%rd7+5];
st.global.v2.u32 [%rd7], {%r1, %r2}; ld.global.u64 %rd4, [%rd7];
""".replace("MASKED ", MASKED).replace("JOINED ", JOINED).strip().splitlines()  # fmt: skip

pytestmark = [
    pytest.mark.ocelot,
    pytest.mark.skipif(not OCELOT, reason="gpuocelot's ocelot-run is not in the path"),
]


def run_ocelot(
    text: str, name: str, arguments: tuple, threads: int, shared: int = 0, blocks: int = 1
) -> list[Any]:
    """What a launch leaves in its arguments."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.ptx").write_text(text)
        words = [str(OCELOT), "kernel.ptx", name, str(threads), str(blocks), str(shared)]
        for i, argument in enumerate(arguments):
            if isinstance(argument, np.ndarray):
                (Path(folder) / f"{i}").write_bytes(argument.tobytes())
            words.append(f"@{i}" if isinstance(argument, np.ndarray) else str(int(argument)))
        done = subprocess.run(words, cwd=folder, capture_output=True, timeout=MOST_SECONDS)
        assert not done.returncode, done.stderr.decode(errors="replace")[-500:]
        return [
            np.frombuffer((Path(folder) / f"{i}").read_bytes(), a.dtype).reshape(a.shape)
            if isinstance(a, np.ndarray)
            else a
            for i, a in enumerate(arguments)
        ]


@pytest.mark.parametrize("body", INSTRUCTIONS)
def test_an_instruction_is_ocelots(body: str) -> None:
    if "%rd4" not in body:
        body += " cvt.s64.s32 %rd4, %r4;"
    text = FRAME.format(body=body)
    old = text.replace(".version 8.0", ".version 2.3").replace("sm_90", "sm_20")
    old = re.sub(r"\.maxntid.*", "", old)
    for seed in range(2):
        words, y = operands(seed), np.zeros(THREADS, np.int64)
        theirs = run_ocelot(old, "try", (words, y), THREADS)[1]
        load(text).launch(words, y, threads=THREADS)
        assert y.tolist() == theirs.tolist()


class Compared:
    """A kernel that is launched on both; `clocks` are arguments that have times, which differ."""

    def __init__(self, kernel: Kernel, clocks: tuple[int, ...] = ()) -> None:
        self.kernel, self.program, self.clocks, self.launches = kernel, kernel.program, clocks, 0

    def launch(self, *arguments: Any, threads: int, shared: int, seed: int | None) -> Result:
        text = lower(self.program, threads, shared)
        theirs = run_ocelot(text, "kernel", arguments, threads, shared)
        result = self.kernel.launch(*arguments, threads=threads, shared=shared, seed=seed)
        self.launches += 1
        for i, (mine, other) in enumerate(zip(arguments, theirs, strict=True)):
            if isinstance(mine, np.ndarray) and i % len(arguments) not in self.clocks:
                assert np.array_equal(mine, other), f"argument {i}"
        return result


@compiles
@pytest.mark.parametrize("name, activations", [("soul", 16), ("llama", 16), ("soul", 8)])
def test_a_stream_on_ocelot_gives_the_same_tokens_and_logits(name: str, activations: int) -> None:
    talk = KernelConversation(image_of(name, activations), 8, None, None)
    clocks = len(talk.kernel.program.parameters) - 1
    talk.kernel = both = Compared(talk.kernel, (clocks,))
    talk.ask("hey you")
    assert both.launches == 1


@compiles
def test_a_training_on_ocelot_gives_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Compared] = []

    def load_both(text: str) -> Compared:
        made.append(Compared(load(text)))
        return made[-1]

    monkeypatch.setattr(replicas, "load", load_both)
    replicas.interpret(reverse(2), [0, 1])
    assert made[0].launches == 1
