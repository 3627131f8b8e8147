"""The NMOS 6510: its registers, its buses, its addressing modes and its interrupts.

                 +-------+
   /IRQ, /NMI -> | logic | -> began, at, opcode: the instruction under way
                 +-------+
   A X Y S P PC <-> ALU (alu.py)     zero page, stack: RAM, always
                 +-------+
   address, data | banks | -> mem: what lies there now (RAM, ROM, cartridge), or a device
                 +-------+

The functions here and in alu.py are a machine in the sense of emulators/jit: their globals are the
chip's registers, and dispatch.py writes the loop around them from the table of isa.py. An
instruction is a whole: `cycles` is advanced first, by the table, and an access knows how long
before the instruction's end it happens (`back`: 1 is the last cycle). That is enough to be exact:
what the VIC-II takes is added at the end of the instruction (`bus_time` tells devices when an
access really happens), and so are interrupts, which the chip samples before its last cycle.

p holds only D and I. C is c, V is v (any bit), N and Z are nz: Z if its low byte is 0, N if bit 7
or 8 is 1. `flags` puts them together.

Sources: MCS6500 Hardware Manual (January 1976), appendix A, for what is on the bus in each cycle;
"NMOS 6510 Unintended Opcodes - No More Secrets" for indexed dummy reads and for SHA, SHX, SHY, TAS.
"""

# The names that are not defined here are those of the whole machine: see machine.py.
# ruff: noqa: F821
# mypy: ignore-errors

REGISTERS = "a x y s p pc cycles c v nz stop".split()
FIELDS = ("limit stop_at resume irq_since irq_was_since irq_released nmi_since i_before "
          "due opcode began at").split()
a = x = y = s = p = pc = cycles = c = v = nz = opcode = began = at = stop = 0
limit = stop_at = resume = irq_since = irq_was_since = irq_released = 0
nmi_since = i_before = due = 0

READ, WRITE, STOP = 1, 2, 4  # bits of attr: a device answers reads, or writes; stop before this
LIMIT, STOPPED, JAMMED = 0, 1, 2  # why the machine left: `stop`
NEVER = 1 << 62  # a time that does not come
PAGE_WRITES = 16  # bank: 16 pages as they are read, then 16 as they are written
NMI_VECTOR, RESET_VECTOR, IRQ_VECTOR = 0xFFFA, 0xFFFC, 0xFFFE
PLP_CODE, CLI_CODE, SEI_CODE = 0x28, 0x58, 0x78


# ---- the buses
def leave(why):
    """Stop in front of the instruction under way."""
    global pc, cycles, stop
    pc = at
    cycles = began
    stop = why
    raise StopIteration


def place(address):
    """Where in mem an address is read."""
    if BANKED:
        return address + bank[address >> 12]
    return address


def fetch():
    global pc
    m = mem[place(pc)]
    pc = (pc + 1) & 0xFFFF
    return m


def read(ea, back):
    if BANKED:
        k = place(ea)
        if attr[k] & READ:
            return device_read(ea, cycles - back)
        return mem[k]
    return mem[ea]


def write(ea, m, back):
    if BANKED:
        k = ea + bank[PAGE_WRITES + (ea >> 12)]
        if attr[k] & WRITE:
            device_write(ea, m, cycles - back)
        else:
            mem[k] = m
    else:
        mem[ea] = m


def store(ea, m):
    """Write to the zero page, where the 6510 has its port."""
    if BANKED and ea < 2:
        device_write(ea, m, cycles - 1)
    else:
        mem[ea] = m


def touch(ea, back):
    """A read whose value nobody wants; devices notice."""
    if BANKED and attr[place(ea)] & READ:
        device_read(ea, cycles - back)


def push(m):
    global s
    mem[0x100 + s] = m
    s = (s - 1) & 0xFF


def pull():
    global s
    s = (s + 1) & 0xFF
    return mem[0x100 + s]


# ---- addressing modes: the effective address
# `dummy`: 0 for an instruction that reads, and spends a cycle more only if a page is crossed;
# otherwise it always reads at the address whose high byte is not yet mended, `dummy` cycles
# before its end.
def imm(dummy):
    global pc
    pc = (pc + 1) & 0xFFFF
    return (pc - 1) & 0xFFFF


def zp(dummy):
    return fetch()


def zpx(dummy):
    return (fetch() + x) & 0xFF


def zpy(dummy):
    return (fetch() + y) & 0xFF


def abs(dummy):
    low = fetch()
    return low | fetch() << 8


def indexed(low, high, dummy):
    global cycles
    if dummy:
        touch(high << 8 | low & 0xFF, dummy)
    elif BANKED:
        if low > 0xFF:
            cycles += 1
            touch(high << 8 | low & 0xFF, 2)
    else:
        cycles += low >> 8
    return ((high << 8) + low) & 0xFFFF


def abx(dummy):
    low = fetch() + x
    return indexed(low, fetch(), dummy)


def aby(dummy):
    low = fetch() + y
    return indexed(low, fetch(), dummy)


def izx(dummy):
    k = (fetch() + x) & 0xFF
    return mem[k] | mem[(k + 1) & 0xFF] << 8


def izy(dummy):
    k = fetch()
    return indexed(mem[k] + y, mem[(k + 1) & 0xFF], dummy)


# ---- control flow
def branch(taken):
    global pc, cycles
    distance = fetch()
    if taken:
        to = (pc + (distance ^ 0x80) - 0x80) & 0xFFFF
        cycles += 2 if (to ^ pc) & 0xFF00 else 1
        pc = to


def push_pc():
    push(pc >> 8)
    push(pc & 0xFF)


def pull_pc():
    global pc
    low = pull()
    pc = low | pull() << 8


def JMP(ea):
    global pc
    pc = ea


def JMP_indirect(ea):
    """The pointer's high byte comes from the same page: the NMOS chip does not carry."""
    global pc
    low = read(ea, 2)
    pc = low | read(ea & 0xFF00 | (ea + 1) & 0xFF, 1) << 8


def JSR():
    """The address's high byte is fetched last, after the pushes."""
    global pc
    low = fetch()
    push_pc()
    pc = low | fetch() << 8


def RTS():
    global pc
    pull_pc()
    pc = (pc + 1) & 0xFFFF


def RTI():
    unpack(pull())
    pull_pc()


def BRK():
    global pc
    pc = (pc + 1) & 0xFFFF
    push_pc()
    push(flags() | 0x10)
    go_through(IRQ_VECTOR)


def JAM():
    leave(JAMMED)


# ---- flags
def flags():
    """P as it is pushed by an interrupt: bit 5 set, B clear."""
    return (p | 0x20 | c | (0 if nz & 0xFF else 2)
            | (0x40 if v else 0) | (0x80 if nz & 0x180 else 0))


def unpack(m):
    """Set all flags from a byte; one that allows interrupts lets a waiting one in."""
    global c, v, p, nz, limit
    c = m & 1
    v = m & 0x40
    p = m & 0x0C
    nz = (m >> 1 & 1 ^ 1) | (m & 0x80) << 1
    if not m & 4 and irq_since < NEVER:
        limit = 0


def remember_i():
    """CLI, SEI and PLP are sampled with the I flag as it was before them."""
    global i_before
    i_before = p & 4


def BPL():
    branch(nz & 0x180 == 0)


def BMI():
    branch(nz & 0x180 != 0)


def BVC():
    branch(v == 0)


def BVS():
    branch(v != 0)


def BCC():
    branch(c == 0)


def BCS():
    branch(c != 0)


def BNE():
    branch(nz & 0xFF != 0)


def BEQ():
    branch(nz & 0xFF == 0)


# ---- interrupts
def go_through(vector):
    global p, pc
    p = p | 4
    pc = mem[place(vector)] | mem[place(vector + 1)] << 8


def sampled_until():
    """The last moment at which a line must be low for the interrupt to follow this instruction.

    It is sampled before the last cycle; a taken branch within its page sampled before its second.
    """
    if opcode & 0x1F == 0x10 and branched_within_page():
        return cycles - 3
    return cycles - 2


def irq_sampled(latest):
    """Was /IRQ low when the chip looked, even if it has been let go since?"""
    return irq_since <= latest or irq_was_since <= latest and irq_released >= cycles - 2


def branched_within_page():
    return pc != (at + 2) & 0xFFFF and (pc ^ (at + 2)) & 0xFF00 == 0


def masked():
    """The I flag as the sampling of this instruction saw it."""
    if opcode == CLI_CODE or opcode == SEI_CODE or opcode == PLP_CODE:
        return i_before
    return p & 4


def interrupt():
    """The seven cycles between an instruction and a handler's first."""
    global cycles, began, at, opcode, due
    vector = due
    due = 0
    began = cycles
    cycles += 7
    opcode = 0  # from here on as BRK: for stalls its writes are the same
    push_pc()
    push(flags())
    go_through(vector)
    at = pc
    if PROFILE:
        profile[at] += 7
    if BANKED:
        stall()
        devices_until(cycles)
    yield_to_nmi()


def yield_to_nmi():
    """An NMI that comes before BRK, or an IRQ's sequence, has fetched its vector, takes its place.

    One that comes later waits for the handler's first instruction: the sequence does not sample.
    """
    global nmi_since
    if nmi_since <= cycles - 4:
        nmi_since = NEVER
        go_through(NMI_VECTOR)


def attend():
    """An instruction has ended at or after `limit`: see what was due.

    In order: a stall within the instruction; what the devices did meanwhile; is an interrupt due;
    a transfer of the expansion; the interrupt, unless the run ends here (then it begins the next).
    """
    global nmi_since, irq_was_since, due
    if BANKED:
        stall()
        devices_until(cycles)
    latest = sampled_until()
    if opcode == 0:
        yield_to_nmi()
    elif nmi_since <= latest:
        nmi_since = NEVER
        due = NMI_VECTOR
    elif irq_sampled(latest) and not masked():
        due = IRQ_VECTOR
    irq_was_since = NEVER
    if BANKED and dma_waiting:
        transfer_all()
    if due and cycles < stop_at:
        interrupt()
    look_next()


def look_next():
    """The next time to attend."""
    global limit
    limit = stop_at
    if BANKED:
        limit = min_of(limit, next_due())
    limit = min_of(limit, nmi_since)
    if not p & 4:
        limit = min_of(limit, irq_since)


def min_of(one, other):
    return one if one < other else other
