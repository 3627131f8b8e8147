"""The PTX interpreter, judged by compilers that work constants out: NVIDIA's ptxas, and LLVM.

An instruction whose operands are all constants need not be left to the GPU: the compiler gives its
result as a number, and that number is what the maker of the instruction, or LLVM, says it does.
Random and extreme operands, all cases of an instruction in one kernel; what was worked out is read
from the machine's code and must be what the interpreter stores.

ptxas    integers: arithmetic, products and their halves, shifts and funnels by any count, fields of
         bits, minima, comparisons, conversions; halves of a word, where the GPU has no instruction
         for them; floats: cvt.rn, mul.rn, add.rn, min, max; how far sqrt.approx and rcp.approx err
ptxas    lop3, by the table that it makes of two operations
LLVM     prmt, fma.rz, fma.rn
neither  dp4a, dp2a (but of zero), cvt.pack, cvt.rz to a float, and what a warp does together
         (redux, shfl, vote, mma); mad.hi, div, rem: test_ptx_llvm.py, test_ptx_ocelot.py
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from random import Random

import llvmlite.binding as llvm
import numpy as np
import pytest
from ptx_instructions import BASIC

from anachron.compiler.targets.cuda.inspection import disassemble, find_tool
from anachron.emulators.ptx import load
from anachron.emulators.ptx.approximate import LARGEST_ERROR

CASES = 24
EDGES = (0, 1, 2, 7, 31, 32, 33, 63, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF)
EDGES = (*EDGES, 0x80000000, 0x80000001, 0xFFFFFFFF, 0xFFFFFF80)
HEAD = """.version 9.0
.target {target}
.address_size 64
.visible .entry try(.param .u64 y) {{
    .reg .pred %p<4>; .reg .b16 %rs<8>; .reg .b32 %r<16>; .reg .b64 %rd<16>; .reg .f32 %f<8>;
    ld.param.u64 %rd1, [y];
"""
# Of 64 bits only fields that end inside them: of others ptxas does not say what the manual does.
INSIDE = (
    "mov.b64 %rd5, {%r1, %r2}; and.b32 %r6, %r3, 31; and.b32 %r7, %r1, 31; add.s32 %r7, %r7, 1;"
)
# %r1, %r2, %r3 are numbers; %r4 and, where it is named, %r5 are the result.
WORDS = BASIC + """
shl.b32 %r4, %r1, %r2;
shr.s32 %r4, %r1, %r2;
shr.u32 %r4, %r1, %r2;
shf.l.wrap.b32 %r4, %r1, %r2, %r3;
shf.r.wrap.b32 %r4, %r1, %r2, %r3;
shf.l.clamp.b32 %r4, %r1, %r2, %r3;
shf.r.clamp.b32 %r4, %r1, %r2, %r3;
bfe.s32 %r4, %r1, %r2, %r3;
bfe.u32 %r4, %r1, %r2, %r3;
bfi.b32 %r4, %r1, %r2, %r3, %r1;
cvt.sat.s16.s32 %rs1, %r1; cvt.s32.s16 %r4, %rs1;
cvt.sat.u16.s32 %rs1, %r1; cvt.u32.u16 %r4, %rs1;
cvt.rn.f32.u32 %f1, %r1; mov.b32 %r4, %f1;
setp.gt.s32 %p1, %r1, 0; setp.le.and.u32 %p2, %r1, %r2, %p1; selp.b32 %r4, 1, 0, %p2;
dp4a.s32.s32 %r4, %r1, 0, %r3;
mul.wide.s32 %rd4, %r1, %r2; mov.b64 {%r4, %r5}, %rd4;
mul.wide.u32 %rd4, %r1, %r2; mov.b64 {%r4, %r5}, %rd4;
cvt.s64.s32 %rd5, %r3; mad.wide.s32 %rd4, %r1, %r2, %rd5; mov.b64 {%r4, %r5}, %rd4;
cvt.u64.u32 %rd4, %r1; mov.b64 {%r4, %r5}, %rd4;
mov.b64 %rd5, {%r1, %r2}; shl.b64 %rd4, %rd5, %r3; mov.b64 {%r4, %r5}, %rd4;
mov.b64 %rd5, {%r1, %r2}; shr.s64 %rd4, %rd5, %r3; mov.b64 {%r4, %r5}, %rd4;
mov.b64 %rd5, {%r1, %r2}; shr.u64 %rd4, %rd5, %r3; mov.b64 {%r4, %r5}, %rd4;
{INSIDE} bfe.u64 %rd4, %rd5, %r6, %r7; mov.b64 {%r4, %r5}, %rd4;
{INSIDE} bfe.s64 %rd4, %rd5, %r6, %r7; mov.b64 {%r4, %r5}, %rd4;
mov.b64 %rd5, {%r1, %r2}; popc.b64 %r4, %rd5;
mov.b64 %rd5, {%r1, %r2}; clz.b64 %r4, %rd5;
mov.b64 %rd5, {%r1, %r2}; mul.lo.s64 %rd4, %rd5, %rd5; mov.b64 {%r4, %r5}, %rd4;
""".replace("{INSIDE}", INSIDE).strip().splitlines()
HALVES = [
    f"{name}.{kind}16x2 %r4, %r1, %r2;"
    for name in ("add", "min", "max")
    for kind in "su"
    if (name, kind) != ("add", "u")
]
FLOATS = [
    f"mov.b32 %f1, %r1; mov.b32 %f2, %r2; {name}.f32 %f3, %f1, %f2; mov.b32 %r4, %f3;"
    for name in ("mul.rn", "add.rn", "min", "max")
]
TARGETS = {**dict.fromkeys(WORDS, "sm_75"), **dict.fromkeys(HALVES, "sm_110")}

needs_ptxas = pytest.mark.skipif(
    not (find_tool("ptxas") and find_tool("nvdisasm")),
    reason="NVIDIA's ptxas and nvdisasm are not installed: pip install -e '.[cuda]'",
)


def draw(random: Random) -> int:
    match random.randrange(3):
        case 0:
            return random.choice(EDGES)
        case 1:
            return random.randrange(70)  # a count, a place, a length
    return random.randrange(1 << 32)


def draw_floats(seed: int, count: int) -> np.ndarray:
    """(count, 3): some subnormal or with subnormal products, some half-way between two floats."""
    random = np.random.default_rng(seed)
    scale = np.exp2(random.integers(-30, 30, (count, 3)))
    floats = (random.uniform(-2, 2, (count, 3)) * scale).astype(np.float32)
    floats[: count // 8] *= np.float32(2.0**-70)
    some = slice(count // 8, count // 2)
    floats[some, :2] = random.integers(1 << 12, 1 << 13, (some.stop - some.start, 2))
    floats[some, 2] *= np.float32(2.0**-60)
    return floats


def write_kernel(body: str, target: str, cases: list[tuple[int, ...]]) -> str:
    """Each case's results at 8 bytes of their own."""
    text = HEAD.format(target=target)
    for i, case in enumerate(cases):
        text += "".join(f"    mov.b32 %r{j}, {number:#x};\n" for j, number in enumerate(case, 1))
        text += f"    {body}\n    st.global.b32 [%rd1+{8 * i}], %r4;\n"
        if "%r5" in body:
            text += f"    st.global.b32 [%rd1+{8 * i + 4}], %r5;\n"
    return text + "    ret;\n}\n"


def interpret(text: str, cases: int) -> list[int]:
    y = np.zeros(2 * cases, np.uint32)
    load(text).launch(y, threads=32, races=False)  # a warp stores the same everywhere
    return y.tolist()


# ---- what ptxas worked out


def read_float16(text: str) -> int | None:
    try:
        return int(np.float16(float(text)).view(np.uint16))
    except ValueError:  # not a number: which one is not said
        return None


def read_constants(code: str) -> dict[int, int]:
    """Byte offset -> the number stored there, of a listing without branches."""
    known: dict[str, int | None] = {"RZ": 0, "URZ": 0}
    stored: dict[int, int] = {}
    for found in re.finditer(r"\*/\s+(@\S+\s+)?([A-Z][\w.]*)\s*([^;/]*);", code):
        opcode, operands = found[2], [o.strip() for o in found[3].split(",")]
        if opcode.startswith("STG.E"):
            at = re.search(r"\+(-?0x[0-9a-f]+)\]", operands[0])
            number = known.get(operands[1])
            if number is not None:
                stored[int(at[1], 16) if at else 0] = number
            continue
        target, sources = operands[0], operands[1:]
        number = None
        if opcode in ("MOV", "UMOV", "IMAD.MOV.U32", "IMAD.U32") and not found[1]:
            plain = sources[:2] == ["RZ", "RZ"] or "MOV" == opcode[-3:]
            if plain and re.fullmatch(r"-?0x[0-9a-f]+", sources[-1]):
                number = int(sources[-1], 16) & 0xFFFFFFFF
            elif plain:
                number = known.get(sources[-1])
        elif opcode.startswith("HFMA2") and sources[:2] == ["-RZ", "RZ"]:
            high, low = (read_float16(part) for part in sources[2:4])
            number = None if high is None or low is None else high << 16 | low
        elif opcode.startswith("CS2R") and sources == ["SRZ"]:
            number = 0
            known[f"R{int(target[1:]) + 1}"] = None if opcode == "CS2R.32" else 0
        known[target] = number
    return stored


def fold(text: str, target: str, folder: Path) -> dict[int, int]:
    source, made = folder / "kernel.ptx", folder / "kernel.cubin"
    source.write_text(text)
    command = [str(find_tool("ptxas")), f"-arch={target}", str(source), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if f"'{target}' is not" in done.stderr:
        pytest.skip(f"this ptxas does not know {target}")
    assert not done.returncode, done.stderr
    return read_constants(disassemble(made.read_bytes()))


def compare(body: str, target: str, cases: list[tuple[int, ...]], folder: Path) -> None:
    text = write_kernel(body, target, cases)
    judged, ours = fold(text, target, folder), interpret(text, len(cases))
    wrong = [
        f"{[hex(x) for x in cases[at // 8]]}: {number:#x} at {at % 8}, here {ours[at // 4]:#x}"
        for at, number in judged.items()
        if ours[at // 4] != number
    ]
    assert not wrong
    assert len({at // 8 for at in judged}) > len(cases) // 2  # it did work them out


@needs_ptxas
@pytest.mark.parametrize("body", TARGETS)
def test_an_instruction_is_what_ptxas_works_out(body: str, tmp_path: Path) -> None:
    random = Random(body)
    cases = [tuple(draw(random) for _ in range(3)) for _ in range(CASES)]
    compare(body, TARGETS[body], cases, tmp_path)


@needs_ptxas
@pytest.mark.parametrize("body", FLOATS)
def test_an_instruction_on_floats_is_what_ptxas_works_out(body: str, tmp_path: Path) -> None:
    cases = [tuple(case) for case in draw_floats(1, 4 * CASES).view(np.uint32).tolist()]
    compare(body, "sm_75", cases, tmp_path)


@needs_ptxas
@pytest.mark.parametrize("name, power", [("sqrt", 0.5), ("rcp", -1.0)])
def test_an_approximation_errs_as_little_as_is_said(
    name: str, power: float, tmp_path: Path
) -> None:
    random = Random(name)
    floats = np.array([random.uniform(1, 4) for _ in range(CASES)], np.float32)
    floats *= np.float32(2.0) ** np.arange(CASES, dtype=np.float32)
    cases = [(number,) for number in floats.view(np.uint32).tolist()]
    body = f"mov.b32 %f1, %r1; {name}.approx.ftz.f32 %f2, %f1; mov.b32 %r4, %f2;"
    judged = fold(write_kernel(body, "sm_75", cases), "sm_75", tmp_path)
    assert len(judged) > CASES // 2
    for at, number in judged.items():
        exact = float(floats[at // 8]) ** power
        said = float(np.array([number], np.uint32).view(np.float32)[0])
        assert abs(said - exact) <= LARGEST_ERROR * exact


# ---- what LLVM worked out


def fold_by_llvm(kind: str, calls: list[str]) -> list[int]:
    """The numbers that calls of intrinsics become."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    lines = ['target triple = "nvptx64-nvidia-cuda"']
    lines.append("declare i32 @llvm.nvvm.prmt(i32, i32, i32)")
    lines += [f"declare float @llvm.nvvm.fma.{m}.f(float, float, float)" for m in ("rn", "rz")]
    lines.append("define ptx_kernel void @k(ptr addrspace(1) %y) {")
    for i, call in enumerate(calls):
        lines.append(f"%v{i} = call {kind} {call}")
        lines.append(f"store volatile {kind} %v{i}, ptr addrspace(1) %y")
    machine = llvm.Target.from_triple("nvptx64-nvidia-cuda").create_target_machine(
        cpu="sm_90", features="+ptx80", opt=3
    )
    module = llvm.parse_assembly("\n".join([*lines, "ret void\n}"]))
    options = llvm.create_pipeline_tuning_options(2)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    text = machine.emit_assembly(module)
    return [int(n) & 0xFFFFFFFF for n in re.findall(r"st\.volatile\S*\s+\[\S+, (-?\d+);", text)]


def needs_llvm(folded: list[int]) -> None:
    if not folded:
        pytest.skip("this LLVM leaves it to the GPU: pip install -U llvmlite")


def test_prmt_is_what_llvm_works_out() -> None:
    random = Random(1)
    cases = [tuple(random.randrange(1 << 32) for _ in range(3)) for _ in range(300)]
    signed = [[n - (n >> 31 << 32) for n in case] for case in cases]
    folded = fold_by_llvm("i32", [f"@llvm.nvvm.prmt(i32 {a}, i32 {b}, i32 {c})"
                                  for a, b, c in signed])  # fmt: skip
    needs_llvm(folded)
    ours = interpret(write_kernel("prmt.b32 %r4, %r1, %r2, %r3;", "sm_90", cases), len(cases))
    assert folded == ours[::2]


@pytest.mark.parametrize("mode", ["rn", "rz"])
def test_a_product_and_sum_is_what_llvm_works_out(mode: str) -> None:
    floats = draw_floats(2, 400)
    calls = [
        f"@llvm.nvvm.fma.{mode}.f(" + ", ".join(f"float 0x{w:016X}" for w in wide) + ")"
        for wide in floats.astype(np.float64).view(np.uint64).tolist()
    ]
    folded = fold_by_llvm("float", calls)
    needs_llvm(folded)
    body = "".join(f"mov.b32 %f{i}, %r{i}; " for i in (1, 2, 3))
    body += f"fma.{mode}.f32 %f4, %f1, %f2, %f3; mov.b32 %r4, %f4;"
    cases = [tuple(case) for case in floats.view(np.uint32).tolist()]
    assert folded == interpret(write_kernel(body, "sm_90", cases), len(cases))[::2]


# ---- the table of lop3, which ptxas makes of two operations


LOADED = r"LDG\S*\s+(R\d+), [^\[]*\[U?R\d+[^+\]]*(?:\+(0x\w+))?\]"  # register, offset
FRAME = HEAD + """
    ld.global.b32 %r1, [%rd1]; ld.global.b32 %r2, [%rd1+4]; ld.global.b32 %r3, [%rd1+8];
    {body}
    st.global.b32 [%rd1+12], %r4;
    ret;
}}
"""


@needs_ptxas
@pytest.mark.parametrize("inverted", ["", "not.b32 %r2, %r2; "])
@pytest.mark.parametrize("second", ["and", "or", "xor"])
@pytest.mark.parametrize("first", ["and", "or", "xor"])
def test_a_table_of_three_bits_is_read_as_ptxas_writes_it(
    first: str, second: str, inverted: str, tmp_path: Path
) -> None:
    body = f"{inverted}{first}.b32 %r4, %r1, %r2; {second}.b32 %r4, %r4, %r3;"
    source, made = tmp_path / "kernel.ptx", tmp_path / "kernel.cubin"
    source.write_text(FRAME.format(target="sm_75", body=body))
    command = [str(find_tool("ptxas")), "-arch=sm_75", str(source), "-o", str(made)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    code = disassemble(made.read_bytes())
    loaded = {
        register: f"%r{int(at or '0', 16) // 4 + 1}"
        for register, at in re.findall(LOADED, code)
    }
    found = re.findall(r"LOP3\.LUT\s+R\d+, (R\w+), (R\w+), (R\w+), (0x\w+), !PT", code)
    assert len(loaded) == 3 and len(found) == 1, code
    *registers, table = found[0]
    operands = ", ".join(loaded[register] for register in registers)
    words = [0xF0F0A55A, 0xCCCC0FF0, 0xAAAA3C3C, 0]
    results = []
    for text in (body, f"lop3.b32 %r4, {operands}, {table};"):
        y = np.array(words, np.uint32)
        load(FRAME.format(target="sm_75", body=text)).launch(y, threads=32, races=False)
        results.append(int(y[3]))
    assert results[0] == results[1]
