"""What NVIDIA's assembler makes of kernels: no spills, no local memory, no double precision."""

from __future__ import annotations

import pytest

from anachron.compiler.targets import Absent
from anachron.compiler.targets.cuda import inspection
from anachron.compiler.targets.cuda.inspection import Inspection, assemble, find_tool, inspect

assembles = pytest.mark.skipif(
    not (find_tool("ptxas") and find_tool("nvdisasm")),
    reason="NVIDIA's ptxas and nvdisasm are not installed: pip install -e '.[cuda]'",
)
FRAME = """
.version 8.0
.target sm_90
.address_size 64
.visible .entry try(.param .u64 x)
{{
    .reg .pred %p<4>; .reg .b32 %r<200>; .reg .b64 %rd<9>; .reg .f64 %fd<9>;
    ld.param.u64 %rd1, [x];
    cvta.to.global.u64 %rd1, %rd1;
    {body}
    ret;
}}
"""
PLAIN = "ld.global.u32 %r1, [%rd1]; add.s32 %r1, %r1, 5; st.global.u32 [%rd1], %r1;"
INDEXED = """.local .align 4 .b8 room[256]; mov.u64 %rd3, room;
    ld.global.u32 %r1, [%rd1]; and.b32 %r2, %r1, 63; mul.wide.u32 %rd4, %r2, 4;
    add.s64 %rd5, %rd3, %rd4; st.local.u32 [%rd5], %r1; ld.global.u32 %r3, [%rd1+4];
    and.b32 %r3, %r3, 63; mul.wide.u32 %rd4, %r3, 4; add.s64 %rd5, %rd3, %rd4;
    ld.local.u32 %r4, [%rd5]; st.global.u32 [%rd1], %r4;"""
DOUBLE = """ld.global.f64 %fd1, [%rd1]; fma.rn.f64 %fd1, %fd1, %fd1, %fd1;
    st.global.f64 [%rd1], %fd1;"""
CROWDED = ".maxnreg 24"


@assembles
def test_a_plain_kernel_has_no_fault() -> None:
    seen = inspect(FRAME.format(body=PLAIN))
    assert seen.faults == ()
    assert seen.count("LDG") == seen.count("STG") == 1
    assert 0 < seen.registers < 32


@assembles
@pytest.mark.parametrize(
    "body, fault",
    [(INDEXED, "local memory"), (INDEXED, "stack"), (DOUBLE, "double precision")],
)
def test_what_must_not_be_is_found(body: str, fault: str) -> None:
    assert any(fault in found for found in inspect(FRAME.format(body=body)).faults)


@assembles
def test_a_spill_is_found() -> None:
    loads = [f"ld.global.u32 %r{i}, [%rd1+{4 * i}];" for i in range(100)]
    stores = [f"st.global.u32 [%rd1+{4 * i}], %r{99 - i};" for i in range(100)]
    text = FRAME.format(body="\n    ".join([*loads, "bar.sync 0;", *stores]))
    text = text.replace("(.param .u64 x)\n", f"(.param .u64 x)\n{CROWDED}\n")
    assert any("spilled" in found for found in inspect(text).faults)


@assembles
def test_ptx_that_is_refused_is_one_line() -> None:
    with pytest.raises(ValueError, match="ptxas refuses the kernel: [^\n]*$"):
        assemble(FRAME.format(body="frobnicate;"))


def test_tools_that_are_not_there_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "find_tool", lambda name: None)
    for look in (lambda: assemble(""), lambda: inspection.disassemble(b"")):
        with pytest.raises(Absent, match="pip install"):
            look()


def test_faults_are_counted_by_opcode() -> None:
    opcodes = {"LDL.64": 2, "DFMA": 1, "F2F.F64.F32": 1, "IMAD": 9}
    seen = Inspection(b"", 10, 8, 4, 4, opcodes, "")
    assert seen.faults == (
        "8 bytes of stack",
        "8 bytes spilled",
        "2 instructions on local memory",
        "2 instructions in double precision",
    )
    assert seen.count("IMAD") == 9
