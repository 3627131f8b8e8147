"""The NMOS 6510's operations on values: what each mnemonic does with what it was given.

A function named as a mnemonic takes the operand's value; one of isa.MODIFIES returns the new value.

Sources: MCS6500 Family Programming Manual (January 1976), appendix B; Bruce Clark, "Decimal Mode
in NMOS 6500 series" (6502.org) for the flags of decimal ADC and SBC; "No More Secrets" for the
undocumented, and W. Lorenz' test suite 2.15 for the constant of ANE and LXA.
"""

# The names that are not defined here are those of the whole machine: see machine.py.
# ruff: noqa: F821
# mypy: ignore-errors

UNSTABLE_CONSTANT = 0xEE  # of ANE and LXA; differs from chip to chip, and with its temperature


# ---- loads and moves
def LDA(m):
    global a, nz
    a = nz = m


def LDX(m):
    global x, nz
    x = nz = m


def LDY(m):
    global y, nz
    y = nz = m


def LAX(m):
    global a, x, nz
    a = x = nz = m


def LXA(m):
    LAX((a | UNSTABLE_CONSTANT) & m)


def ANE(m):
    LDA((a | UNSTABLE_CONSTANT) & x & m)


def LAS(m):
    global s
    s = m & s
    LAX(s)


def TAX():
    LDX(a)


def TAY():
    LDY(a)


def TXA():
    LDA(x)


def TYA():
    LDA(y)


def TSX():
    LDX(s)


def TXS():
    global s
    s = x


def PHA():
    push(a)


def PLA():
    LDA(pull())


def PHP():
    push(flags() | 0x10)


def PLP():
    remember_i()
    unpack(pull())


# ---- logic
def AND(m):
    global a, nz
    a = nz = a & m


def ORA(m):
    global a, nz
    a = nz = a | m


def EOR(m):
    global a, nz
    a = nz = a ^ m


def BIT(m):
    global nz, v
    nz = a & m | (m & 0x80) << 1
    v = m & 0x40


def ANC(m):
    global c
    AND(m)
    c = a >> 7


def ALR(m):
    global a
    a = LSR(a & m)


def ARR(m):
    global a, c, v, nz
    t = a & m
    a = nz = t >> 1 | c << 7
    if p & 8:
        v = (t ^ a) & 0x40
        if (t & 15) + (t & 1) > 5:
            a = a & 0xF0 | (a + 6) & 15
        c = 1 if (t & 0xF0) + (t & 0x10) > 0x50 else 0
        if c:
            a = (a + 0x60) & 0xFF
    else:
        c = a >> 6 & 1
        v = (a ^ a << 1) & 0x40


# ---- arithmetic
def ADC(m):
    """In decimal mode Z is the binary sum's, N and V those before the high digit is corrected."""
    global a, c, v, nz
    t = a + m + c
    if p & 8:
        low = (a & 15) + (m & 15) + c
        if low > 9:
            low = ((low + 6) & 15) + 16
        u = (a & 0xF0) + (m & 0xF0) + low
        v = ~(a ^ m) & (a ^ u) & 0x80
        nz = (1 if t & 0xFF else 0) | (u & 0x80) << 1
        if u > 0x9F:
            u += 0x60
        c = 1 if u > 0xFF else 0
        a = u & 0xFF
    else:
        v = ~(a ^ m) & (a ^ t) & 0x80
        c = t >> 8
        a = nz = t & 0xFF


def SBC(m):
    """All flags are those of the binary difference, in decimal mode too."""
    global a, c, v, nz
    t = a - m - 1 + c
    v = (a ^ m) & (a ^ t) & 0x80
    nz = t & 0xFF
    if p & 8:
        low = (a & 15) - (m & 15) - 1 + c
        if low < 0:
            low = ((low - 6) & 15) - 16
        u = (a & 0xF0) - (m & 0xF0) + low
        if u < 0:
            u -= 0x60
        a = u & 0xFF
    else:
        a = nz
    c = t >> 8 & 1 ^ 1


def compare(r, m):
    global c, nz
    c = (r - m) >> 8 & 1 ^ 1
    nz = (r - m) & 0xFF


def CMP(m):
    compare(a, m)


def CPX(m):
    compare(x, m)


def CPY(m):
    compare(y, m)


def AXS(m):
    global x
    t = a & x
    compare(t, m)
    x = (t - m) & 0xFF


def INX():
    LDX((x + 1) & 0xFF)


def INY():
    LDY((y + 1) & 0xFF)


def DEX():
    LDX((x - 1) & 0xFF)


def DEY():
    LDY((y - 1) & 0xFF)


# ---- read, modify, write: the new value
def ASL(m):
    global c, nz
    c = m >> 7
    nz = m << 1 & 0xFF
    return nz


def LSR(m):
    global c, nz
    c = m & 1
    nz = m >> 1
    return nz


def ROL(m):
    global c, nz
    t = m << 1 | c
    c = t >> 8
    nz = t & 0xFF
    return nz


def ROR(m):
    global c, nz
    nz = m >> 1 | c << 7
    c = m & 1
    return nz


def INC(m):
    global nz
    nz = (m + 1) & 0xFF
    return nz


def DEC(m):
    global nz
    nz = (m - 1) & 0xFF
    return nz


def SLO(m):
    t = ASL(m)
    ORA(t)
    return t


def RLA(m):
    t = ROL(m)
    AND(t)
    return t


def SRE(m):
    t = LSR(m)
    EOR(t)
    return t


def RRA(m):
    t = ROR(m)
    ADC(t)
    return t


def DCP(m):
    t = DEC(m)
    CMP(t)
    return t


def ISC(m):
    t = INC(m)
    SBC(t)
    return t


# ---- stores: the value
def STA():
    return a


def STX():
    return x


def STY():
    return y


def SAX():
    return a & x


def unstable(ea, value, index):
    """Store value AND (high byte of the unindexed address + 1), which also replaces the high byte
    of the address where a page is crossed."""
    base = (ea - index) & 0xFFFF
    m = value & ((base >> 8) + 1)
    write(ea & 0xFF | m << 8 if (base ^ ea) & 0xFF00 else ea, m, 1)


def SHA(ea):
    unstable(ea, a & x, y)


def SHX(ea):
    unstable(ea, x, y)


def SHY(ea):
    unstable(ea, y, x)


def TAS(ea):
    global s
    s = a & x
    unstable(ea, s, y)


# ---- flags
def CLC():
    global c
    c = 0


def SEC():
    global c
    c = 1


def CLV():
    global v
    v = 0


def CLD():
    global p
    p = p & 4


def SED():
    global p
    p = p | 8


def CLI():
    global p, limit
    remember_i()
    p = p & 8
    if irq_since < NEVER:
        limit = 0


def SEI():
    global p
    remember_i()
    p = p | 4


def NOP(m):
    pass
