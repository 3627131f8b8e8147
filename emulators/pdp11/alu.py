"""What the PDP-11's arithmetic and logic instructions do to values and flags.

Part of the machine whose text begins in cpu.py. Operands come and go in 16 bits, or in 8 where
`byte` is 1; x is the source, y the destination. `top_bit` is the sign's place.

Source: PDP-11 Processor Handbook (1976), chapter 4; MUL and the rest of the extended set in eis.py.
"""

# ruff: noqa: F821
# mypy: ignore-errors

c = v = nz = 0


def result(w, byte):
    """Set N and Z from a result cut to size, and give it back."""
    global nz
    w = w & (0xFF if byte else 0xFFFF)
    nz = w << 8 if byte else w
    return w


def top_bit(byte):
    return 7 if byte else 15


# ---- two operands
def MOV(x, byte):
    global v
    v = 0
    return result(x, byte)


def CMP(x, y, byte):
    global c, v
    k = x - y
    v = ((x ^ y) & (x ^ k)) >> top_bit(byte) & 1
    c = k >> 16 & 1
    result(k, byte)


def BIT(x, y, byte):
    MOV(x & y, byte)


def BIC(x, y, byte):
    return MOV(y & ~x, byte)


def BIS(x, y, byte):
    return MOV(y | x, byte)


def ADD(x, y, byte):
    global c, v
    k = x + y
    v = (~(x ^ y) & (x ^ k)) >> 15 & 1
    c = k >> 16
    return result(k, 0)


def SUB(x, y, byte):
    global c, v
    k = y - x
    v = ((x ^ y) & (y ^ k)) >> 15 & 1
    c = k >> 16 & 1
    return result(k, 0)


def XOR(x, y, byte):
    return MOV(x ^ y, 0)


# ---- one operand
def CLR(byte):
    global c, v
    c = 0
    v = 0
    return result(0, byte)


def SXT(byte):
    global v, nz
    v = 0
    n = negative()
    nz = n << 16 | n
    return -n & 0xFFFF


def COM(y, byte):
    global c, v
    c = 1
    v = 0
    return result(~y, byte)


def INC(y, byte):
    global v
    k = y + 1
    v = (k & ~y) >> top_bit(byte) & 1
    return result(k, byte)


def DEC(y, byte):
    global v
    k = y - 1
    v = (y & ~k) >> top_bit(byte) & 1
    return result(k, byte)


def NEG(y, byte):
    global c, v
    k = result(-y, byte)
    c = k != 0
    v = (k & y) >> top_bit(byte) & 1
    return k


def ADC(y, byte):
    global c, v
    k = y + c
    v = (k & ~y) >> top_bit(byte) & 1
    c = k >> top_bit(byte) + 1
    return result(k, byte)


def SBC(y, byte):
    global c, v
    k = y - c
    v = (y & ~k) >> top_bit(byte) & 1
    c = k >> 16 & 1
    return result(k, byte)


def TST(y, byte):
    global c
    c = 0
    MOV(y, byte)


def shifted(w, carry, byte):
    """After a shift or rotation by one: V is N exclusive-or C."""
    global c, v
    c = carry
    w = result(w, byte)
    v = w >> top_bit(byte) ^ carry
    return w


def ROR(y, byte):
    return shifted(y >> 1 | c << top_bit(byte), y & 1, byte)


def ROL(y, byte):
    return shifted(y << 1 | c, y >> top_bit(byte), byte)


def ASR(y, byte):
    return shifted(y >> 1 | y & 1 << top_bit(byte), y & 1, byte)


def ASL(y, byte):
    return shifted(y << 1, y >> top_bit(byte), byte)


def SWAB(y, byte):
    global c, v, nz
    nz = y & 0xFF00
    c = 0
    if SWAB_CLEARS_V:
        v = 0
    return (y >> 8 | y << 8) & 0xFFFF


# ---- flags as tests
def negative():
    return nz & 0x18000 != 0


def zero():
    return nz & 0xFFFF == 0
