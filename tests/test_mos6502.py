"""The 6502 against single steps of a cycle-exact one, public programs, and itself in CPython."""

from pathlib import Path

import numpy as np
import pytest

from anachron.emulators import create
from anachron.emulators.mos6502.isa import ALIASES, INSTRUCTIONS, OPCODES

VECTORS = Path(__file__).parents[2] / "shared" / "vectors" / "mos6502_steps.npz"
FAILURES_SHOWN = 5
PUSH_P = (0x00, 0x08)  # BRK, PHP: the vectors lack the B flag that the chip pushes


@pytest.fixture(scope="module")
def steps():
    if not VECTORS.is_file():
        pytest.skip("needs ../shared/vectors/mos6502_steps.npz")
    with np.load(VECTORS) as file:
        return {name: file[name].tolist() for name in file}


def step_through(machine, steps, rows) -> list[str]:
    """Run one instruction for each row; what differed."""
    wrong = []
    get, registers, memory = machine.get, machine.registers, machine.memory
    for i in rows:
        bus = list(zip(*(steps[f"bus_{k}"][i] for k in ("addr", "data", "write")), strict=True))
        bus = bus[:steps["cycles"][i]]
        for address, data, write in reversed(bus):
            if not write:
                memory[address] = data
        for name in ("a", "x", "y", "s", "p", "pc"):
            registers[name] = steps[f"{name}0"][i]
        cycles = machine.step()
        if cycles != steps["cycles"][i]:
            wrong.append(f"row {i}: {steps['opcode'][i]:02X}: {cycles} cycles")
        if INSTRUCTIONS[steps["opcode"][i]].status == "unstable":
            continue
        for name in ("a", "x", "y", "s", "pc"):
            if get(name) != steps[f"{name}1"][i]:
                wrong.append(f"row {i}: {steps['opcode'][i]:02X}: {name} {get(name):02X}")
        if registers["p"] != steps["p1"][i]:
            wrong.append(f"row {i}: {steps['opcode'][i]:02X}: p {registers['p']:02X}")
        writes = {a: d for a, d, write in bus if write}
        if steps["opcode"][i] in PUSH_P:
            address, data = list(writes.items())[-1]
            writes[address] = data | 0x10
        for address, data in writes.items():
            if memory[address] != data:
                wrong.append(f"row {i}: {steps['opcode'][i]:02X}: memory {address:04X}")
    return wrong


def test_every_single_step_vector_agrees(steps) -> None:
    wrong = step_through(create("6502"), steps, range(len(steps["opcode"])))
    assert wrong[:FAILURES_SHOWN] == []


def test_the_same_text_agrees_in_cpython(steps) -> None:
    rows = range(0, len(steps["opcode"]), 16)
    assert step_through(create("6502", compiled=False), steps, rows)[:FAILURES_SHOWN] == []


def test_write_cycles_of_the_table_are_those_of_the_bus(steps) -> None:
    for opcode, cycles, writes in zip(
            steps["opcode"], steps["cycles"], steps["bus_write"], strict=True):
        mask = sum(1 << k for k in range(cycles) if writes[k])
        assert mask == INSTRUCTIONS[opcode].writes, INSTRUCTIONS[opcode]


def test_the_table_has_every_opcode_once_and_every_alias_means_one() -> None:
    assert [row.opcode for row in INSTRUCTIONS] == list(range(256))
    mnemonics = {row.mnemonic for row in INSTRUCTIONS}
    assert set(ALIASES.values()) <= mnemonics and not set(ALIASES) & mnemonics
    assert sum(row.status == "documented" for row in INSTRUCTIONS) == 151
    for (mnemonic, mode), opcode in OPCODES.items():
        assert (INSTRUCTIONS[opcode].mnemonic, INSTRUCTIONS[opcode].mode) == (mnemonic, mode)


def program(*code: int, at: int = 0xC000, compiled: bool = True):
    m = create("6502", compiled=compiled)
    m.memory[at:at + len(code)] = code
    m.registers["pc"] = at
    m.registers["s"] = 0xFF
    return m


@pytest.mark.parametrize("seed", range(4))
def test_random_instructions_do_the_same_compiled_and_in_cpython(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, 0x10000).astype(np.uint8)
    jams = [row.opcode for row in INSTRUCTIONS if row.mnemonic == "JAM"]
    image[np.isin(image, jams)] = 0xEA
    states = []
    for compiled in (True, False):
        m = create("6502", compiled=compiled)
        m.memory[:] = image
        m.registers["pc"] = 0x1234
        reason = m.run(max_cycles=20_000)
        states.append((reason, m.cycles, repr(m.registers), m.memory.tobytes(),
                       m.profile().tobytes()))
    assert states[0] == states[1], f"seed {seed}"
    assert states[0][1] > 20_000 or "JAM" in states[0][0]


def test_jam_stops_at_its_address_and_stays_there() -> None:
    m = program(0xEA, 0x02)
    assert m.run(max_cycles=100) == "JAM ($02) at $C001"
    assert m.run(max_cycles=100) == "JAM ($02) at $C001"
    assert m.registers["pc"] == 0xC001


def test_an_endless_loop_ends_at_the_limit() -> None:
    m = program(0x4C, 0x00, 0xC0)
    before = m.cycles
    assert m.run(max_cycles=3000) == "limit: $C000"
    assert m.cycles - before == 3000


def test_run_stops_before_an_address_or_a_label_but_not_at_once() -> None:
    m = program(0xE8, 0xE8, 0x4C, 0x00, 0xC0)  # INX INX JMP $C000
    m.labels["again"] = 0xC000
    assert m.run(until="again") == "until $C000 (again)"
    assert m.registers["x"] == 2
    assert m.run(until=[0xC001, "again"]) == "until $C001"
    assert m.registers["x"] == 3
    with pytest.raises(ValueError, match="no label 'absent'"):
        m.run(until="absent")


def test_a_hook_is_called_before_each_instruction_there_and_may_jump() -> None:
    m = program(0xE8, 0x4C, 0x00, 0xC0, at=0xC000)
    seen = []
    m.hook(0xC001, lambda m: seen.append(m.registers["x"]))
    m.run(max_cycles=25)
    assert seen == [1, 2, 3, 4, 5]
    m.unhook(0xC001)
    m.hook(0xC000, lambda m: m.registers.__setitem__("pc", 0xC001))
    m.run(max_cycles=25)
    assert m.registers["x"] == 5 and len(seen) == 5


def test_profile_adds_up_to_the_cycles_and_sums_by_label() -> None:
    m = program(0xA2, 0x0A, 0xCA, 0xD0, 0xFD, 0x02)  # LDX #10; loop: DEX; BNE loop; JAM
    m.labels |= {"start": 0xC000, "loop": 0xC002, "done": 0xC005}
    before = m.cycles
    m.run()
    assert m.profile_by_label() == {"loop": 10 * 5 - 1, "start": 2}
    assert m.profile().sum() == m.cycles - before


def test_a_snapshot_brings_everything_back() -> None:
    m = program(0xE6, 0x10, 0x4C, 0x00, 0xC0)
    m.run(max_cycles=1000)
    kept = m.snapshot()
    here = (m.cycles, repr(m.registers), m.memory.tobytes())
    m.run(max_cycles=1000)
    after = (m.cycles, repr(m.registers), m.memory.tobytes())
    m.restore(kept)
    assert (m.cycles, repr(m.registers), m.memory.tobytes()) == here
    m.run(max_cycles=1000)
    assert (m.cycles, repr(m.registers), m.memory.tobytes()) == after


# ---- interrupts: cycle by cycle
HANDLER = 0xD000


def interruptible(*code: int):
    """A program with I clear, /IRQ and /NMI handlers of NOPs, and the cycles counted from 0."""
    m = program(*code, *[0xEA] * 8)
    m.memory[HANDLER:HANDLER + 8] = 0xEA
    m.memory[0xE000:0xE008] = 0xEA
    m.memory[0xFFFA:0x10000] = [0x00, 0xE0, 0, 0, 0x00, 0xD0]
    m.registers["p"] = 0
    m.put("cycles", 0)
    return m


def trail(m, n: int) -> list[tuple[int, int]]:
    """(cycle, pc) before each of the next n steps."""
    out = []
    for _ in range(n):
        out.append((m.cycles, m.registers["pc"]))
        m.step()
    return out


NOP, CLI, SEI, BRK, PLP, RTI = 0xEA, 0x58, 0x78, 0x00, 0x28, 0x40


@pytest.mark.parametrize(("at", "began"), [(0, 2), (1, 4), (2, 4), (3, 6)])
def test_an_irq_must_be_there_before_the_last_cycle(at: int, began: int) -> None:
    m = interruptible(NOP, NOP, NOP)
    m.put("irq_since", at)
    steps = dict((pc, cycle) for cycle, pc in trail(m, 6))
    assert steps[HANDLER] == began + 7


@pytest.mark.parametrize(("at", "began"), [(0, 3), (1, 5), (2, 5), (3, 5)])
def test_a_taken_branch_within_its_page_samples_one_cycle_earlier(at: int, began: int) -> None:
    m = interruptible(0xD0, 0x00, NOP, NOP)  # BNE to the next instruction... one further:
    m.memory[0xC001] = 0x01
    m.put("nz", 1)
    m.put("irq_since", at)
    steps = dict((pc, cycle) for cycle, pc in trail(m, 6))
    assert steps[HANDLER] == began + 7


def test_cli_lets_one_more_instruction_go_first() -> None:
    m = interruptible(CLI, NOP, NOP)
    m.registers["p"] = 4
    m.put("irq_since", 0)
    assert trail(m, 4) == [(0, 0xC000), (2, 0xC001), (4, 0xC002), (11, HANDLER)]


def test_sei_is_too_late_for_an_irq_that_was_there_and_pushes_i_set() -> None:
    m = interruptible(SEI, NOP, NOP)
    m.put("irq_since", 0)
    assert trail(m, 3) == [(0, 0xC000), (2, 0xC001), (9, HANDLER)]
    assert m.memory[0x1FD] & 4


def test_rti_opens_the_door_at_once() -> None:
    m = interruptible(RTI)
    m.registers["p"] = 4
    m.registers["s"] = 0xFC
    m.memory[0x1FD:0x200] = [0x00, 0x00, 0xC0]
    m.memory[0xC000] = RTI
    m.put("irq_since", 0)
    assert trail(m, 3) == [(0, 0xC000), (6, 0xC000), (13, HANDLER)]


def test_an_interrupt_pushes_pc_and_flags_without_b_and_sets_i() -> None:
    m = interruptible(NOP, NOP)
    m.registers["p"] = 0xCB
    m.put("irq_since", 0)
    trail(m, 2)
    assert m.memory[0x1FD:0x200].tolist() == [0xEB, 0x01, 0xC0]
    assert m.registers["p"] == 0xEF and m.registers["s"] == 0xFC


def test_brk_pushes_b_and_the_address_behind_its_second_byte() -> None:
    m = interruptible(BRK, 0xFF)
    m.step()
    assert m.cycles == 7 and m.registers["pc"] == HANDLER
    assert m.memory[0x1FD:0x200].tolist() == [0x30, 0x02, 0xC0]


def test_an_nmi_comes_through_with_i_set_and_only_once() -> None:
    m = interruptible(NOP, NOP)
    m.registers["p"] = 4
    m.put("nmi_since", 0)
    assert trail(m, 4) == [(0, 0xC000), (2, 0xC001), (9, 0xE000), (11, 0xE001)]


def test_an_nmi_during_brk_takes_its_vector() -> None:
    m = interruptible(BRK, 0xFF)
    m.put("nmi_since", 3)
    m.step()
    assert m.registers["pc"] == 0xE000
    assert m.memory[0x1FD] & 0x10
    assert trail(m, 2) == [(7, 0xE000), (9, 0xE001)]


def test_an_nmi_during_the_irq_sequence_takes_its_vector() -> None:
    m = interruptible(NOP, NOP)
    m.put("irq_since", 0)
    m.put("nmi_since", 4)
    m.step()
    m.step()
    assert (m.cycles, m.registers["pc"]) == (9, 0xE000)


def test_the_irq_line_is_a_level_and_can_be_let_go() -> None:
    m = interruptible(NOP, NOP)
    m.registers["p"] = 4
    m.irq(True)
    m.run(max_cycles=4)
    m.irq(False)
    m.registers["p"] = 0
    m.run(max_cycles=4)
    assert m.registers["pc"] == 0xC004


def test_reset_takes_the_vector_and_three_from_the_stack_pointer() -> None:
    m = program(NOP)
    m.memory[0xFFFC:0xFFFE] = [0x34, 0x12]
    m.registers["s"] = 0x01
    m.reset()
    assert (m.registers["pc"], m.registers["s"], m.cycles) == (0x1234, 0xFE, 7)
    assert m.registers["p"] & 4
