"""The table of isa.py -> the text of the loop that runs instructions: one `case` an opcode,
or several opcodes that do the same."""

from anachron.emulators.mos6502.isa import INSTRUCTIONS, Instruction

# Where the operation is not called as the mnemonic is.
OPERATIONS = {0xAB: "LXA", 0x6C: "JMP_indirect"}
UNSTABLE_STORES = ("SHA", "SHX", "SHY", "TAS")
ZERO_PAGE = ("zp", "zpx", "zpy")

LOOP = """
def run():
    global cycles, began, at, opcode, a, stop
    if BANKED and errand:
        do_errand()
        raise StopIteration
    if due:
        interrupt()
        look_next()
        if cycles >= stop_at:
            stop = LIMIT
            raise StopIteration
    while 1:
        began = cycles
        at = pc
        if attr[place(pc)] & (STOP | READ):
            if attr[place(pc)] & STOP and cycles != resume:
                leave(STOPPED)
            if BANKED and attr[place(pc)] & READ:
                fetch_from_device(pc, cycles)
        opcode = fetch()
        match opcode:
{cases}
        if PROFILE:
            profile[at] += cycles - began
        if cycles >= limit:
            attend()
            if cycles >= stop_at:
                stop = LIMIT
                raise StopIteration
"""


def statements(row: Instruction) -> list[str]:
    """What one opcode does, after its cycles have been counted."""
    name = OPERATIONS.get(row.opcode, row.mnemonic)
    near = row.mode in ZERO_PAGE
    match row.access, row.mode:
        case "none", "imp":
            return ["pass"] if name == "NOP" else [f"{name}()"]
        case "none", "acc":
            return [f"a = {name}(a)"]
        case "none", "imm":
            return ["imm(0)"] if name == "NOP" else [f"{name}(fetch())"]
        case "none", "rel":
            return [f"{name}()"]
        case "none", _:
            return ["JSR()"] if name == "JSR" else [f"{name}(abs(0))"]
        case "read", _ if near:
            return [f"{name}(mem[{row.mode}(0)])"]
        case "read", _:
            return [f"{name}(read({row.mode}(0), 1))"]
        case "write", _ if near:
            return [f"store({row.mode}(0), {name}())"]
        case "write", _ if name in UNSTABLE_STORES:
            return [f"{name}({row.mode}(2))"]
        case "write", _:
            return [f"write({row.mode}(2), {name}(), 1)"]
        case _ if near:
            return [f"ea = {row.mode}(0)", f"store(ea, {name}(mem[ea]))"]
    return [f"ea = {row.mode}(4)", "m = read(ea, 3)", "if BANKED: write(ea, m, 2)",
            f"write(ea, {name}(m), 1)"]


def loop() -> str:
    """The text of run(): counts an instruction's cycles, does it, and attends to what is due."""
    bodies: dict[tuple[str, ...], list[int]] = {}
    for row in INSTRUCTIONS:
        body = (f"cycles += {row.cycles}", *statements(row))
        bodies.setdefault(body, []).append(row.opcode)
    cases = []
    for body, opcodes in bodies.items():
        cases.append(f"            case {' | '.join(map(str, opcodes))}:")
        cases += [f"                {line}" for line in body]
    return LOOP.format(cases="\n".join(cases))
