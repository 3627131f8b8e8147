"""A kernel's PTX rewritten for a machine of 2010: with the instructions of PTX 2.3 and no others.

What a warp does together goes through shared memory, each thread having words of its own there; it
needs a machine that runs the threads of a warp in step, as gpuocelot does.  Products of bytes are
taken apart, shifts by a register are kept below the width, floats' sums that are rounded once or
toward zero are doubles.  These rewritings are ours: who runs them judges all else, not them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from anachron.emulators.ptx.syntax import Instruction, Program

PLANES = 6  # words a thread, for an mma's operands
HEAD = """
.reg .b32 %jw<40>; .reg .b32 %jlane; .reg .b32 %jlane4; .reg .b32 %jmine; .reg .b32 %jwarp;
.reg .b32 %jrow; .reg .b32 %jcolumn; .reg .pred %jp<4>;
.reg .f32 %jf; .reg .f64 %jd<4>; .reg .b64 %jx;
mov.u32 %jw0, %tid.x; and.b32 %jlane, %jw0, 31; shl.b32 %jlane4, %jlane, 2;
mov.u32 %jw1, judge; shl.b32 %jw2, %jw0, 2; add.u32 %jmine, %jw1, %jw2;
sub.u32 %jwarp, %jmine, %jlane4;
and.b32 %jw3, %jlane, 28; shl.b32 %jw3, %jw3, 2; add.u32 %jrow, %jwarp, %jw3;
and.b32 %jw3, %jlane, 3; shl.b32 %jw3, %jw3, 5; add.u32 %jcolumn, %jwarp, %jw3;
"""


def lower(program: Program, threads: int, shared: int) -> str:
    """A module with the same kernel, its name and its parameters; of shared memory only dynamic."""
    plane = 4 * threads
    lines = [".version 2.3\n.target sm_20\n.address_size 64"]
    lines.append(f".shared .align 16 .b8 judge[{PLANES * plane}];")
    lines += [f".extern .shared .align 16 .b8 {name}[];" for name in program.shared]
    parameters = ", ".join(f".param .{kind} {name}" for kind, name in program.parameters)
    lines.append(f".entry kernel({parameters}) {{{HEAD}")
    lines += [f".reg .{kind} {name};" for name, kind in program.registers.items()]
    names: dict[int, list[str]] = {}
    for name, at in program.labels.items():
        names.setdefault(at, []).append(name)
    for at, instruction in enumerate(program.instructions):
        lines += [f"{name}:" for name in names.get(at, ())]
        lines += rewrite(instruction, plane)
    lines += [f"{name}:" for name in names.get(len(program.instructions), ())]
    text = "\n".join([*lines, "ret;", "}"])
    return text.replace("%dynamic_smem_size", str(shared)).replace("%clock64", "0")


def rewrite(instruction: Instruction, plane: int) -> Iterator[str]:
    """The statements of one instruction; a guard stands before what writes the result."""
    guard = f"@{'!' * instruction.negated}{instruction.guard} " if instruction.guard else ""
    name = instruction.parts[0]
    if instruction.opcode.startswith("bar.warp"):
        return
    if name == "mma":
        yield from multiply(instruction, plane)
    elif name in REWRITTEN and needs(instruction):
        *made, last = REWRITTEN[name](instruction)
        yield from made
        yield f"{guard}{last}"
    else:
        yield f"{guard}{instruction.opcode} {', '.join(instruction.operands)};"


def needs(instruction: Instruction) -> bool:
    """Shifts by a number are left as they are, and all conversions but those toward zero."""
    match instruction.parts[0]:
        case "shl" | "shr":
            return instruction.operands[2].startswith("%")
        case "fma" | "cvt":
            return instruction.parts[1] == "rz" or instruction.opcode == "fma.rn.f32"
    return True


def shift(instruction: Instruction) -> Iterator[str]:
    to, a, count = instruction.operands
    kind, width = instruction.type, int(instruction.type[1:])
    if kind[0] == "s":
        yield f"min.u32 %jw0, {count}, {width - 1};"
        yield f"{instruction.opcode} {to}, {a}, %jw0;"
        return
    yield f"setp.lt.u32 %jp0, {count}, {width};"
    yield f"and.b32 %jw0, {count}, {width - 1};"
    yield f"{instruction.opcode} {to}, {a}, %jw0;"  # guarded kernels shift by numbers
    yield f"selp.b{width} {to}, {to}, 0, %jp0;"


def cut(instruction: Instruction) -> Iterator[str]:
    """fma, cvt.rz: with 53 bits, of which 24 are kept.

    What 53 bits round could only matter next to a float, or half-way between two, that the exact
    sum does not reach.
    """
    to, *sources = instruction.operands
    if instruction.parts[0] == "cvt":
        yield f"cvt.rn.f64.u32 %jd3, {sources[0]};"
    else:
        for i, source in enumerate(sources):
            yield f"mov.f32 %jf, {source}; cvt.f64.f32 %jd{i}, %jf;"
        yield "mul.rn.f64 %jd3, %jd0, %jd1; add.rn.f64 %jd3, %jd3, %jd2;"
    if instruction.parts[1] == "rz":
        yield f"mov.b64 %jx, %jd3; and.b64 %jx, %jx, {-(1 << 29)}; mov.b64 %jd3, %jx;"
    yield f"cvt.rn.f32.f64 {to}, %jd3;"


def logic(instruction: Instruction) -> Iterator[str]:
    to, a, b, c, table = instruction.operands
    yield "mov.u32 %jw0, 0;"
    for i, operand in enumerate((a, b, c), 1):
        yield f"mov.b32 %jw{i}, {operand};"
        yield f"not.b32 %jw{i + 3}, %jw{i};"
    for row in range(8):
        if int(table, 0) >> row & 1:
            first, second, third = (i + 3 * (not row & 4 >> i - 1) for i in (1, 2, 3))
            yield f"and.b32 %jw7, %jw{first}, %jw{second}; and.b32 %jw7, %jw7, %jw{third};"
            yield "or.b32 %jw0, %jw0, %jw7;"
    yield f"mov.b32 {to}, %jw0;"


def sum_products(
    a: str, b: str, kinds: tuple[str, str], width: int, first: int, total: str
) -> Iterator[str]:
    """total += products of parts of two words."""
    for i in range(32 // width):
        yield f"bfe.{kinds[0]} %jw30, {a}, {width * i}, {width};"
        yield f"bfe.{kinds[1]} %jw31, {b}, {8 * (first + i)}, 8;"
        yield f"mad.lo.s32 {total}, %jw30, %jw31, {total};"


def dot(instruction: Instruction) -> Iterator[str]:
    name, *half, a_kind, b_kind = instruction.parts
    to, a, b, c = instruction.operands
    yield f"mov.b32 %jw0, {c}; mov.b32 %jw1, {a}; mov.b32 %jw2, {b};"
    width = 8 if name == "dp4a" else 16
    yield from sum_products("%jw1", "%jw2", (a_kind, b_kind), width, 2 * (half == ["hi"]), "%jw0")
    yield f"mov.b32 {to}, %jw0;"


def reduce(name: str) -> Iterator[str]:
    """%jw0 of all lanes into each one's."""
    for k in (1, 2, 4, 8, 16):
        yield f"st.shared.u32 [%jmine], %jw0; xor.b32 %jw1, %jlane4, {4 * k};"
        yield "add.u32 %jw1, %jw1, %jwarp; ld.shared.u32 %jw2, [%jw1];"
        yield f"{name} %jw0, %jw0, %jw2;"


def redux(instruction: Instruction) -> Iterator[str]:
    to, a, _ = instruction.operands
    yield f"mov.b32 %jw0, {a};"
    yield from reduce(f"{instruction.parts[2]}.{instruction.type}")
    yield f"mov.b32 {to}, %jw0;"


def vote(instruction: Instruction) -> Iterator[str]:
    to, asked, _ = instruction.operands
    mode = instruction.parts[2]
    ones = (0, 1) if asked.startswith("!") else (1, 0)
    yield f"selp.u32 %jw0, {ones[0]}, {ones[1]}, {asked.lstrip('!')};"
    if mode == "ballot":
        yield "shl.b32 %jw0, %jw0, %jlane;"
    yield from reduce("and.b32" if mode == "all" else "or.b32")
    yield f"mov.b32 {to}, %jw0;" if mode == "ballot" else f"setp.ne.u32 {to}, %jw0, 0;"


def shuffle(instruction: Instruction) -> Iterator[str]:
    to, a, by, clamp, _ = instruction.operands
    mode, bound = instruction.parts[2], int(clamp, 0)
    segment = bound >> 8 & 31
    yield f"mov.b32 %jw0, {a}; st.shared.u32 [%jmine], %jw0; and.b32 %jw1, {by}, 31;"
    yield f"and.b32 %jw2, %jlane, {segment}; or.b32 %jw3, %jw2, {bound & 31 & ~segment};"
    match mode:
        case "up":
            yield "sub.s32 %jw4, %jlane, %jw1;"
        case "down":
            yield "add.s32 %jw4, %jlane, %jw1;"
        case "bfly":
            yield "xor.b32 %jw4, %jlane, %jw1;"
        case _:
            yield f"and.b32 %jw4, %jw1, {31 & ~segment}; or.b32 %jw4, %jw4, %jw2;"
    yield f"setp.{'ge' if mode == 'up' else 'le'}.s32 %jp0, %jw4, %jw3;"
    yield "selp.b32 %jw4, %jw4, %jlane, %jp0; shl.b32 %jw4, %jw4, 2; add.u32 %jw4, %jw4, %jwarp;"
    target, _, exists = to.partition("|")
    if exists:
        yield f"mov.pred {exists}, %jp0;"
    yield f"ld.shared.u32 {target}, [%jw4];"


def multiply(instruction: Instruction, plane: int) -> Iterator[str]:
    a_kind, b_kind = instruction.parts[-3:-1]
    kinds = tuple(f"{kind[0]}32" for kind in (a_kind, b_kind))
    d, a, b, c = ([x.strip() for x in o.strip("{}").split(",")] for o in instruction.operands)
    for i, word in enumerate([*a, *b]):
        yield f"mov.b32 %jw0, {word}; st.shared.u32 [%jmine+{i * plane}], %jw0;"
    for i in range(4):
        yield f"mov.b32 %jw{4 + i}, {c[i]};"
        for w in range(8):
            left = plane * ((i >> 1) + 2 * (w >> 2)) + 4 * (w & 3)
            right = plane * (4 + (w >> 2)) + 16 * (i & 1) + 4 * (w & 3)
            yield f"ld.shared.u32 %jw1, [%jrow+{left}]; ld.shared.u32 %jw2, [%jcolumn+{right}];"
            yield from sum_products("%jw1", "%jw2", (kinds[0], kinds[1]), 8, 0, f"%jw{4 + i}")
    yield from (f"mov.b32 {d[i]}, %jw{4 + i};" for i in range(4))


REWRITTEN: dict[str, Callable[[Instruction], Iterator[str]]] = {
    **{"shl": shift, "shr": shift, "lop3": logic, "dp4a": dot, "dp2a": dot},
    **{"redux": redux, "vote": vote, "shfl": shuffle, "fma": cut, "cvt": cut},
}
