"""Jumps, subroutines, branches, traps and the processor status word.

Part of the machine whose text begins in cpu.py. The constants in capitals that are not defined
there are a model's traits (models.py).

Sources: PDP-11 Processor Handbook (1976), chapters 4 and 9, appendix (differences);
EK-KD11E-TM-001, sections 4.11 (service) and 4.12 (modes); order of traps as SIMH's.
"""

# ruff: noqa: F821
# mypy: ignore-errors

c = v = nz = pc = time = count = stop = began = at = ir = 0
psw = event = fault = aborted = overflow = traced = waiting = entering = written_psw = 0
space = other_sp = froze = stepped = 0

TRACE = 0o20  # the T bit
PRIORITY = 0o340
MODE, PREVIOUS_MODE, USER_BIT = 0o140000, 0o030000, 0o100000


# ---- status
def status():
    """The whole PSW."""
    return psw | zero() << 2 | negative() << 3 | v << 1 | c


def set_flags(w):
    global c, v, nz
    c = w & 1
    v = w >> 1 & 1
    nz = (w >> 2 & 1 ^ 1) | (w & 8) << 13


def set_status(w):
    """Load the PSW; where the mode changes, so does the stack pointer."""
    global psw, event, other_sp, space
    w = w & PSW_BITS
    set_flags(w)
    if (w ^ psw) & USER_BIT:
        k = mem[SP]
        mem[SP] = other_sp
        other_sp = k
    psw = w & 0xFFF0
    space = instruction_space()
    event = 0


def space_of(w):
    """Where the pages of a PSW's mode lie in `place`."""
    k = NO_SUCH_MODE
    if w & MODE == 0:
        k = 0
    elif w & MODE == MODE:
        k = SPACE
    return k


def instruction_space():
    """The pages of all that is not a destination."""
    return UNRELOCATED if MAPPED and maintenance else space_of(psw)


def relocate_destination(on):
    """In maintenance mode: the destination's own mode for this, and back again."""
    global space
    if MAPPED and maintenance:
        space = space_of(psw) if on else UNRELOCATED


# ---- between two instructions
def leave(why):
    global stop
    stop = why
    raise StopIteration


def attend():
    """Whatever has come up, in the order of its priority."""
    global written_psw, overflow, traced, event
    if n_reports or time >= due:
        leave(ATTEND)
    if written_psw >= 0:
        k = written_psw
        written_psw = -1
        if not T_WRITABLE:
            k = k & ~TRACE | psw & TRACE
        set_status(k)
    if fault | traced | overflow:
        k = fault | traced
        serve(fault if fault else BREAKPOINT if traced else BUS_ERROR, 0 if fault else trap_ns)
        if not k:
            overflow = 0
    if level << 5 > psw & PRIORITY:
        leave(ATTEND)
    if waiting:
        idle()
    if time >= limit:
        leave(LIMIT)
    event = due if due < limit else limit
    if overflow or fault:
        event = 0
    elif psw & TRACE:
        traced = 1
        event = time + 1  # one instruction


def idle():
    """WAIT: until a device has something to say."""
    k = due if due < limit else limit
    if k >= NEVER:
        leave(IDLE)
    if k > time:
        spend(k - time)
    leave(ATTEND if time >= due else LIMIT)


def serve(vector, ns):
    """A trap: ns more, or as long as the aborted instruction took until now."""
    global fault, aborted, traced, waiting, overflow, froze, stepped
    if aborted:
        if INCREMENT_AFTER_READ and fault == BUS_ERROR and aborted == timeout_ns:
            k = R + (stepped & 7)
            mem[k] = (mem[k] - (stepped >> 3)) & 0xFFFF
        spend(began + aborted - time)
        overflow = 0
        if froze:
            mem[SR2 >> 1] = at
    spend(ns)
    fault = 0
    aborted = 0
    froze = 0
    stepped = 0
    traced = 0
    waiting = 0
    enter(vector)


def enter(vector):
    """Save PSW and PC on the stack of the vector's PSW, and go where the vector says."""
    global pc, entering, space
    entering = vector
    old = status()
    space = UNRELOCATED if MAPPED and maintenance else 0
    k = load(vector, 0)
    w = load(vector + 2, 0)
    if MANAGED:
        w = w & ~PREVIOUS_MODE | old >> 2 & PREVIOUS_MODE
    set_status(w)
    push(old)
    push(pc)
    pc = k
    entering = 0


def trap(vector):
    """A trap behind this instruction."""
    global fault, event
    fault = vector
    event = 0


# ---- jumps
def destination(ea):
    """Where JMP or JSR goes, its operand being at ea."""
    if JUMP_AFTER_INCREMENT and ir & 0o70 == 0o20:
        ea = pc if ir & 7 == 7 else mem[R + (ir & 7)]
    return ea


def JMP(ea):
    global pc
    if ir & 0o70 == 0:
        trap(REGISTER_JUMP_VECTOR)
    else:
        pc = destination(ea)


def JSR(ea):
    global pc
    if ir & 0o70 == 0:
        trap(REGISTER_JUMP_VECTOR)
    else:
        ea = destination(ea)
        r = ir >> 6 & 7
        k = pc
        if r < 6:
            k = mem[R + r]
        elif r == 6:  # it is pushed as it is then
            k = mem[SP] - 2 & 0xFFFF
        push(k)
        if r < 7:
            mem[R + r] = pc
        pc = ea


def RTS():
    global pc
    r = ir & 7
    if r < 7:
        pc = mem[R + r]
    w = pop()
    if r < 7:
        mem[R + r] = w
    else:
        pc = w


def MARK():
    global pc
    k = (pc + 2 * (ir & 63)) & 0xFFFF
    pc = mem[R + 5]
    mem[R + 5] = load(k, 0)
    mem[SP] = (k + 2) & 0xFFFF


def SOB():
    global pc
    r = ir >> 6 & 7
    if r == 7:
        mem[PC] = pc
    k = (mem[R + r] - 1) & 0xFFFF
    mem[R + r] = k
    if r == 7:
        pc = k
    if k:
        pc = (pc - 2 * (ir & 63)) & 0xFFFF
        spend(sob_taken)


def branch(taken):
    global pc
    if taken:
        pc = (pc + 2 * ((ir & 0xFF ^ 0x80) - 0x80)) & 0xFFFF
        spend(branch_taken)


def BR(): branch(1)
def BNE(): branch(not zero())
def BEQ(): branch(zero())
def BGE(): branch(negative() == v)
def BLT(): branch(negative() != v)
def BGT(): branch((zero() | negative() ^ v) == 0)
def BLE(): branch(zero() | negative() ^ v)
def BPL(): branch(not negative())
def BMI(): branch(negative())
def BHI(): branch((c | zero()) == 0)
def BLOS(): branch(c | zero())
def BVC(): branch(v == 0)
def BVS(): branch(v != 0)
def BCC(): branch(c == 0)
def BCS(): branch(c != 0)


# ---- traps and status
def EMT(): trap(EMULATOR)
def TRAP(): trap(TRAP_)
def BPT(): trap(BREAKPOINT)
def IOT(): trap(IO_TRAP)
def RESERVED_(): trap(RESERVED)


def NOP():
    pass


def clear_flags():
    global c, v
    if ir & 0o14:
        set_flags(status() & ~ir)
    else:
        c = c & ~ir
        v = v & ~(ir >> 1)


def set_some_flags():
    global c, v
    if ir & 0o14:
        set_flags(status() | ir & 0o17)
    else:
        c = c | ir & 1
        v = v | ir >> 1 & 1


def RTI():
    """RTI, and RTT, which never traces."""
    global pc, traced
    k = pop()
    w = pop()
    if psw & MODE:  # a user's program changes neither its priority nor back to kernel mode
        w = w & ~PRIORITY | psw & (PRIORITY | MODE | PREVIOUS_MODE)
    set_status(w)
    pc = k
    if RTI_TRACES and ir == 2 and psw & TRACE:
        traced = 1


def MTPS(y):
    global psw, event
    set_flags(y)
    if psw & MODE == 0:
        psw = psw & ~PRIORITY | y & PRIORITY
        event = 0


def SPL():
    global psw, event
    if psw & MODE == 0:
        psw = psw & ~PRIORITY | (ir & 7) << 5
        event = 0


def HALT():
    if psw & MODE:
        trap(RESERVED)
    else:
        leave(HALTED)


def WAIT():
    global waiting, event
    waiting = 1
    event = 0


def RESET():
    """INIT on the Unibus, but not for a user."""
    global event
    if psw & MODE == 0:
        event = 0
        report(RESET_REPORT, 0, REPORTED_WRITE)


# ---- the other mode's memory (there is no separate data space here)
def previous_space():
    global space
    space = space_of(psw << 2)


def own_space():
    global space
    space = instruction_space()


def other_stack(spec):
    """Is it the SP of the previous mode, and that not ours?"""
    return (spec == 6) & ((psw ^ psw << 2) & USER_BIT != 0)


def MFPI(ea):
    if other_stack(ir & 0o77):
        w = other_sp
    else:
        previous_space()
        w = load(ea, 0)
        own_space()
    push(MOV(w, 0))


def MTPI(ea, x):
    global other_sp
    if other_stack(ir & 0o77):
        other_sp = x
    else:
        previous_space()
        store(ea, x, 0)
        own_space()
