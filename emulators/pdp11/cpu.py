"""The PDP-11's processor: its registers, its memory, its addressing modes and its traps.

    R0..R5 SP PC <-> ALU (alu.py, eis.py)        control.py: jumps, branches, traps, the PSW
          |
      addresses: virtual -> physical (KT11, if MAPPED) -> memory, or the I/O page's devices

The functions here and in alu.py, eis.py, control.py and shortcuts.py are a machine in the sense of
emulators/jit: their globals are the processor's state. The loop around them is written from the
table of isa.py, by dispatch.py and general.py. The few globals in REGISTERS stay in the host's; the
rest are better in memory than taking turns there.

`mem` is the whole Unibus in words. The registers lie behind it, at the addresses -16, -14, ... -2,
so that a register operand has an address like any other; PC is a variable and is written there
when an instruction asks for it. What is below `top` is memory and even, everything else goes
the slow way: odd addresses, the I/O page, places where nothing answers. A device's registers are
words of the I/O page: a program that polls one reads mem; what a device must hear about is left
as a report, and the processor stops behind the instruction until it has been heard (unibus.py).

`time` is in nanoseconds: an instruction's is taken from the table `decode` before it runs, what
depends on data is spent as it runs; the profile counts both where the instruction is. C is c, V is
v, Z and N are nz: Z if its low word is 0, N if bit 15 or 16 is 1. `psw` holds the bits above them.

A trap inside an instruction leaves the loop (`raise`); the next `run` begins with its service.

Sources: PDP-11 Processor Handbook (1976); EK-KD11E-TM-001, tables 2-8 (differences) and 4-10.
"""

# The names that are not defined here are those of the whole machine: see dispatch.py.
# ruff: noqa: F821
# mypy: ignore-errors

from anachron.emulators.jit import subroutine

REGISTERS = "pc time nz ir at".split()
FIELDS = """c v event top count began stop due limit resume psw fault aborted overflow traced
waiting entering written_psw n_reports level space other_sp froze maintenance stepped branch_taken
sob_taken odd_byte trap_ns abort_ns timeout_ns
mul_step mul_negative mul_zero mul_short mul_least mul_least_negative mul_both_least
div_by_zero div_overflow div_odd div_even div_no_quotient div_negative
ash_none ash_left ash_right ash_step
ashc_none ashc_left ashc_left_carry ashc_right ashc_right_carry ashc_step ashc_no_high""".split()
ARRAYS = {"mem": "u2[262144]", "decode": "u4[65536]", "io": "u2[4096]", "place": "i4[8192]",
          "profile": "i8[65536]"}

pc = time = count = c = v = nz = ir = began = at = stop = 0
event = due = limit = resume = psw = fault = aborted = overflow = traced = waiting = 0
n_reports = level = top = space = froze = other_sp = odd_byte = written_psw = entering = 0
abort_ns = timeout_ns = maintenance = stepped = 0

R = 0x3FFF8  # mem[R + n] is register n
SP, PC = R + 6, R + 7
REGISTER_0, REGISTER_7 = -16, -2  # as addresses
IO_PAGE = 0o760000
UNIBUS = 1 << 18
STACK_LIMIT = 0o400
BUS_ERROR, RESERVED, BREAKPOINT, IO_TRAP, EMULATOR, TRAP_ = 4, 0o10, 0o14, 0o20, 0o30, 0o34
MANAGEMENT = 0o250
ATTEND, LIMIT, STOPPED, HALTED, IDLE, DOUBLE = 1, 2, 3, 4, 5, 6  # why the machine left: `stop`
NEVER = 1 << 62
STOP_BIT = 61  # of an entry of the profile that is negative

# io: what a word of the I/O page does; 0 is that nothing answers there.
ANSWERS, TELLS_READ, IS_PSW = 1, 2, 4  # the other bits: how much later than memory, + LATENCY
LATENCY, LATENCY_SHIFT = 4096, 3
# Reports to the devices are triples in mem, behind the Unibus: address, value, and what it was.
REPORTS, REPORTED_READ, REPORTED_WRITE, REPORTED_BYTE = 1 << 17, 0, 1, 2
RESET_REPORT = 0  # the address of the report that INIT was given

# place: what is added to a virtual address, by 64 bytes, for reading and then for writing, in
# kernel mode, in user mode, in the modes there are not, and where nothing is relocated. ELSEWHERE
# makes the slow way translate.
ELSEWHERE, WRITES, SPACE = 1 << 20, 1024, 2048
NO_SUCH_MODE, UNRELOCATED = 2 * SPACE, 3 * SPACE
SR0, SR2 = 0o777572, 0o777576
ENABLE, MAINTENANCE = 1, 0o400  # of SR0; maintenance relocates nothing but destinations
KERNEL_PDR, USER_PDR, PAR_OFFSET = 0o772300, 0o777600, 0o40
NON_RESIDENT, PAGE_LENGTH, READ_ONLY, ABORTS = 0o100000, 0o040000, 0o020000, 0o160000
WRITTEN = 0o100  # of a PDR


# ---- the slow way
@subroutine
def report(ea, value, what):
    """Leave word for the device at ea; it is heard behind this instruction."""
    global n_reports
    k = REPORTS + 4 * (n_reports & 15)
    mem[k] = ea & 0xFFFF
    mem[k + 1] = value
    mem[k + 2] = what
    n_reports += 1


@subroutine
def translate(ea, write):
    """A virtual address + ELSEWHERE -> physical, as the KT11 does; -1 after an abort."""
    global fault, aborted, froze
    va = ea & 0xFFFF
    pdr_at = KERNEL_PDR if space == 0 else USER_PDR
    mode = psw >> 14
    if space != space_of(psw):
        mode = psw >> 12 & 3
    pdr_at = (pdr_at >> 1) + (va >> 13)
    pdr = mem[pdr_at]
    block = va >> 6 & 0o177
    bound = pdr >> 8 & 0o177
    reason = 0
    if pdr & 2 == 0 or pdr & 0o6 == 4 or space == NO_SUCH_MODE:
        reason = NON_RESIDENT
    if (pdr & 8 and block < bound) or (pdr & 8 == 0 and block > bound):
        reason |= PAGE_LENGTH
    if write and pdr & 6 == 2:
        reason |= READ_ONLY
    if reason:
        if mem[SR0 >> 1] & ABORTS == 0:
            froze = 1
            mem[SR0 >> 1] = mem[SR0 >> 1] & 0o401 | reason | mode << 5 | va >> 13 << 1
        fault = MANAGEMENT
        aborted = abort_ns
        return -1
    par = mem[pdr_at + (PAR_OFFSET >> 1)]
    pa = ((par & 0o7777) + block << 6 | va & 63) & UNIBUS - 1
    if write and pdr & WRITTEN == 0 and pa & -2 != SR0:
        mem[pdr_at] = pdr | WRITTEN
        report(SR0, 0, REPORTED_READ)
    return pa


@subroutine
def refuse(ns):
    """A trap to 4 instead of an access: the address is odd, or nothing answers."""
    global fault, aborted
    fault = BUS_ERROR
    aborted = ns


@subroutine
def find(ea, write, byte, size):
    """The Unibus address of an address that is not plain memory; -1 if it traps."""
    if ea & 1 and not byte:
        refuse(abort_ns)
        return -1
    if MAPPED:
        if ea >= ELSEWHERE:
            ea = translate(ea, write)
            if ea < 0:
                return -1
    elif ea >= IO_PAGE & 0xFFFF:
        ea |= IO_PAGE
    if ea >= IO_PAGE:
        if io[ea >> 1 & 0xFFF]:
            return ea
    elif ea < size:
        return ea
    refuse(timeout_ns)
    return -1


@subroutine
def read_bus(ea, byte, vc, nzs, now, size):
    """A value and (above it) how much later than memory it came, + LATENCY; -1 if it traps."""
    page = ea >> 13 & 7
    ea = find(ea, 0, byte, size)
    if ea < 0:
        return -1
    w = mem[ea >> 1]
    k = LATENCY << LATENCY_SHIFT
    if ea >= IO_PAGE:
        k = io[ea >> 1 & 0xFFF]
        if k & IS_PSW:
            w = psw | vc | (nzs & 0xFFFF == 0) << 2 | (nzs & 0x18000 != 0) << 3
        elif ea & -2 == SR2 and mem[SR0 >> 1] & ABORTS == 0:
            w = now
        elif ea & -2 == SR0 and w & (ABORTS | ENABLE) == ENABLE:  # it shows the page in use
            w = w & (MAINTENANCE | ENABLE) | psw >> 14 << 5 | page << 1
        if k & TELLS_READ:
            report(ea, w, REPORTED_READ)
    if byte:
        w = w >> (ea & 1) * 8 & 0xFF
    return w | k >> LATENCY_SHIFT << 16


@subroutine
def write_bus(ea, w, byte, vc, nzs, size):
    """How much later than memory it was taken, + LATENCY; -1 if it traps."""
    global written_psw
    ea = find(ea, 1, byte, size)
    if ea < 0:
        return -1
    if ea < IO_PAGE:
        k = (ea & 1) * 8
        if byte:
            w = (mem[ea >> 1] & ~(255 << k)) | (w & 255) << k
        mem[ea >> 1] = w
        return LATENCY
    k = io[ea >> 1 & 0xFFF]
    if k & IS_PSW:
        old = psw | vc | (nzs & 0xFFFF == 0) << 2 | (nzs & 0x18000 != 0) << 3
        if byte and ea & 1:
            w = old & 0xFF | (w & 0xFF) << 8
        elif byte:
            w = old & 0xFF00 | w & 0xFF
        written_psw = w & 0xFFFF
    else:
        report(ea, w, REPORTED_WRITE + REPORTED_BYTE * byte)
    return k >> LATENCY_SHIFT


@subroutine
def pointer(ea, size):
    """A word that is an address; the answer as that of read_bus."""
    if MAPPED:
        if ea >= 0:
            ea += place[space + (ea >> 6)]
    if ea & 1 or ea >= size:
        return read_bus(ea, 0, 0, 1, 0, size)
    return mem[ea >> 1] | LATENCY << 16


# ---- memory
def spend(ns):
    """Time that this instruction takes."""
    global time
    time += ns
    profile[at] += ns


def settle(w):
    """Take what the slow way answered: the value, its time, or a trap."""
    global event
    event = 0  # whatever came of it is seen to behind this instruction
    if w < 0:
        raise StopIteration
    spend((w >> 16) - LATENCY)
    return w & 0xFFFF


def load(ea, byte):
    """The operand at an address, which may be a register's."""
    if MAPPED:
        if ea >= 0:
            ea += place[space + (ea >> 6)]
    if ea >= top or (ea & 1 if not byte else 0):
        w = settle(read_bus(ea, byte, c | v << 1, nz, at, top))
    elif byte:
        w = mem[ea >> 1] >> (ea & 1) * 8 & 0xFF
    else:
        w = mem[ea >> 1]
    return w


def store(ea, w, byte):
    """Put an operand to an address, which may be a register's."""
    global pc, event
    if MAPPED:
        if ea >= 0:
            ea += place[space + WRITES + (ea >> 6)]
    if ea >= top or (ea & 1 if not byte else 0):
        event = 0
        k = write_bus(ea, w, byte, c | v << 1, nz, top)
        if k < 0:
            raise StopIteration
        spend(k - LATENCY)
    else:
        if byte:
            k = (ea & 1) * 8
            w = (mem[ea >> 1] & ~(255 << k)) | w << k
        mem[ea >> 1] = w & 0xFFFF
        if ea == REGISTER_7:
            pc = mem[PC]


def fetch():
    """The next word of the program."""
    global pc
    w = load(pc, 0)
    pc = (pc + 2) & 0xFFFF
    return w


def fetch_unusual():
    """The first word of an instruction where the profile has a mark; stop if it is for that."""
    global traced
    if profile[pc] >> STOP_BIT & 1 and time != resume:
        traced = 0
        leave(STOPPED)
    return fetch()


def fetch_operand():
    """A word behind the instruction's first."""
    global pc
    if MAPPED or pc >= top:
        w = settle(pointer(pc, top))
    else:
        w = mem[pc >> 1]
    pc = (pc + 2) & 0xFFFF
    return w


def push(w):
    """Put a word on the stack; going below the limit traps behind the instruction."""
    global overflow, event
    mem[SP] = (mem[SP] - 2) & 0xFFFF
    if mem[SP] < STACK_LIMIT and psw >> 14 == 0:
        overflow = 1
        event = 0
    store(mem[SP], w, 0)


def pop():
    """Take a word from the stack."""
    k = mem[SP]
    w = load(k, 0)
    mem[SP] = (k + 2) & 0xFFFF
    return w


# ---- addressing modes
def step(r, byte):
    """How far a register moves: a byte's address by 1, but SP and PC stay even."""
    return 1 if byte and r < 6 else 2


def decrement(r, by):
    """A register, counted down; SP below its limit traps behind the instruction."""
    global overflow, event
    k = (mem[R + r] - by) & 0xFFFF
    mem[R + r] = k
    if r == 6 and k < STACK_LIMIT:
        if psw >> 14 == 0:
            overflow = 1
            event = 0
    return k


def operand(spec, byte):
    """The address of an operand: spec is its mode and register.

    `stepped` remembers a register that was incremented, 8 * by how much and its number, until what
    it pointed to has been read.
    """
    global pc, stepped
    r = spec & 7
    mode = spec >> 3
    stepped = 0
    if mode == 0:
        ea = REGISTER_0 + 2 * r
        if r == 7:
            mem[PC] = pc
    elif r == 7:
        ea = pc_operand(mode)
    else:
        match mode:
            case 1:
                ea = mem[R + r]
            case 2:
                ea = mem[R + r]
                k = step(r, byte)
                mem[R + r] = (ea + k) & 0xFFFF
                stepped = k << 3 | r
            case 3:
                k = mem[R + r]
                mem[R + r] = (k + 2) & 0xFFFF
                stepped = 2 << 3 | r
                ea = settle(pointer(k, top))
                stepped = 0
            case 4:
                ea = decrement(r, step(r, byte))
            case 5:
                ea = settle(pointer(decrement(r, 2), top))
            case 6:
                k = fetch_operand()
                ea = (mem[R + r] + k) & 0xFFFF
            case _:
                k = fetch_operand()
                ea = settle(pointer((mem[R + r] + k) & 0xFFFF, top))
    if byte and ea & 1:
        spend(odd_byte)
    return ea


def pc_operand(mode):
    """The address of an operand whose register is PC."""
    global pc
    match mode:
        case 1:
            ea = pc
        case 2:
            ea = pc
            pc = (pc + 2) & 0xFFFF
        case 3:
            ea = fetch_operand()
        case 4 | 5:
            pc = (pc - 2) & 0xFFFF
            ea = pc
        case _:
            k = fetch_operand()
            ea = (pc + k) & 0xFFFF
    if mode & 1 and mode > 3:
        ea = settle(pointer(ea, top))
    return ea
