"""The extended instruction set: MUL, DIV, ASH, ASHC, their flags, and the time that data costs.

Part of the machine whose text begins in cpu.py. The processor does these bit by bit, so their time
depends on what they work on; the fields used here are those of `Extended` in timing.py. The
register pair is r and r | 1: with an odd r, only the low word of a result stays.

Sources: PDP-11 Processor Handbook (1976), chapter 4; flags after an overflow as SIMH's 11/34.
"""

# ruff: noqa: F821
# mypy: ignore-errors

c = v = nz = 0

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
    global c, v
    read_pc(r)
    x = mem[R + r]
    k = signed(x) * signed(y)
    ns = mul_step * transitions(x)
    if y >= LEAST:
        if y == LEAST:
            ns = least_ns(x)
        ns += mul_negative
    if k == 0:
        ns += mul_zero
    elif k >> 16 == 0 or k >> 16 == -1:
        ns += mul_short
    spend(ns)
    put_pair(r, k)
    v = 0
    c = k != signed(k & 0xFFFF)


def least_ns(x):
    """The time where the source is -32768, instead of a step a transition."""
    if x == LEAST:
        ns = mul_both_least
    elif x > LEAST:
        ns = mul_least_negative
    else:
        ns = mul_least
    return ns


def DIV(r, y):
    global c, v, nz
    read_pc(r)
    k = pair(r)
    d = signed(y)
    v = 1
    if d == 0:
        c = 1
        nz = 0
        spend(div_by_zero)
    else:
        c = 0
        if k < 0:
            spend(div_negative)
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
                spend(div_no_quotient)
            elif q & 1:
                spend(div_odd)
            else:
                spend(div_even)
        else:
            nz = (q < 0) << 16 | 1
            spend(div_overflow)


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
    global pc
    read_pc(r)
    n = (y & 63 ^ 32) - 32
    k = shift(signed(mem[R + r]), n, 16)
    mem[R + r] = result(k, 0)
    if r == 7:
        pc = mem[PC]
    if n == 0:
        spend(ash_none)
    elif n > 0:
        spend(ash_left + ash_step * n)
    else:
        spend(ash_right - ash_step * n)


def ASHC(r, y):
    read_pc(r)
    n = (y & 63 ^ 32) - 32
    k = shift(pair(r), n, 32)
    put_pair(r, k)
    if n == 0:
        ns = ashc_none
    elif n > 0:
        ns = ashc_left + ashc_step * n + c * ashc_left_carry
    else:
        ns = ashc_right - ashc_step * n + c * ashc_right_carry
    if k >> 16 & 0xFFFF == 0:
        ns += ashc_no_high
    spend(ns)
