"""The extended instruction set: MUL, DIV, ASH, ASHC, their flags, and the time that data costs.

Part of the machine whose text begins in cpu.py. The processor does these bit by bit, so their time
depends on what they work on; the fields used here are those of `Extended` in timing.py. The
register pair is r and r | 1: with an odd r, only the low word of a result stays.

Sources: PDP-11 Processor Handbook (1976), chapter 4; flags after an overflow as SIMH's 11/34.
"""

# ruff: noqa: F821
# mypy: ignore-errors

c = v = nz = time = 0

LEAST = 0x8000  # -32768: one word has no opposite


def signed(w):
    return (w ^ LEAST) - LEAST


def pair(r):
    """Registers r (high) and r | 1 as one signed number."""
    return (signed(mem[R + r]) << 16) + mem[R + (r | 1)]


def put_pair(r, k):
    """Store a long result in r and r | 1, and set N and Z."""
    global nz, pc
    mem[R + r] = k >> 16 & 0xFFFF
    mem[R + (r | 1)] = k & 0xFFFF
    nz = (k >> 31 & 1) << 16 | (k & 0xFFFFFFFF != 0)
    if r >= 6:
        pc = mem[PC]


def read_pc(r):
    """PC among the registers of a pair."""
    if r >= 6:
        mem[PC] = pc


def transitions(w):
    """How often the bits of a word change, from the right, beginning at a 0."""
    k = (w ^ w << 1) & 0xFFFF
    k = k - (k >> 1 & 0x5555)
    k = (k & 0x3333) + (k >> 2 & 0x3333)
    k = k + (k >> 4) & 0x0F0F
    return k + (k >> 8) & 31


def MUL(r, y):
    global c, v, time
    read_pc(r)
    x = mem[R + r]
    k = signed(x) * signed(y)
    time += mul_step * transitions(x)
    if y >= LEAST:
        time += mul_negative
        if y == LEAST:
            least(x)
    if k == 0:
        time += mul_zero
    elif k >> 16 == 0 or k >> 16 == -1:
        time += mul_short
    put_pair(r, k)
    v = 0
    c = k != signed(k & 0xFFFF)


def least(x):
    """The time where the source is -32768, instead of a step a transition."""
    global time
    time -= mul_step * transitions(x)
    if x == LEAST:
        time += mul_both_least
    elif x > LEAST:
        time += mul_least_negative
    else:
        time += mul_least


def DIV(r, y):
    global c, v, nz, time
    read_pc(r)
    k = pair(r)
    d = signed(y)
    v = 1
    if d == 0:
        c = 1
        nz = 0
        time += div_by_zero
    else:
        c = 0
        if k < 0:
            time += div_negative
        q = magnitude(k) // magnitude(d)
        if (k ^ d) < 0:
            q = -q
        if q == signed(q & 0xFFFF):
            v = 0
            nz = q & 0xFFFF
            mem[R + r] = q & 0xFFFF
            mem[R + (r | 1)] = k - q * d & 0xFFFF
            if r >= 6:
                pc_from_pair()
            if q == 0:
                time += div_no_quotient
            elif q & 1:
                time += div_odd
            else:
                time += div_even
        else:
            nz = (q < 0) << 16 | 1
            time += div_overflow


def pc_from_pair():
    global pc
    pc = mem[PC]


def magnitude(k):
    return -k if k < 0 else k


def shift(k, n, bits):
    """Arithmetic shift of a number of so many bits by -32 to 31."""
    global c, v
    c = 0
    v = 0
    if n < 0:
        c = k >> -n - 1 & 1
        k = k >> -n
    elif n > 0:
        k = k << n
        c = k >> bits & 1
        v = k << 64 - bits >> 64 - bits != k
    return k


def ASH(r, y):
    global time, pc
    read_pc(r)
    n = (y & 63 ^ 32) - 32
    k = shift(signed(mem[R + r]), n, 16)
    mem[R + r] = result(k, 0)
    if r == 7:
        pc = mem[PC]
    if n == 0:
        time += ash_none
    elif n > 0:
        time += ash_left + ash_step * n
    else:
        time += ash_right - ash_step * n


def ASHC(r, y):
    global time
    read_pc(r)
    n = (y & 63 ^ 32) - 32
    k = shift(pair(r), n, 32)
    put_pair(r, k)
    if n == 0:
        time += ashc_none
    elif n > 0:
        time += ashc_left + ashc_step * n
        if c:
            time += ashc_left_carry
    else:
        time += ashc_right - ashc_step * n
        if c:
            time += ashc_right_carry
    if k >> 16 & 0xFFFF == 0:
        time += ashc_no_high
