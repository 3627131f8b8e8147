"""Shorter ways to the operands that programs have most: words of plain memory, and registers.

Part of the machine whose text begins in cpu.py. `near` looks whether an operand is where it can be
taken from without a second thought, and only then moves its register; otherwise nothing has
happened, and the instruction runs in general (dispatch.py). An operand's `way` is its addressing
mode, + BY_PC where the register is PC.

Source: the modes are those of cpu.py's `operand`.
"""

# ruff: noqa: F821
# mypy: ignore-errors

pc = 0

BY_PC = 8
DIRECT, DEFERRED, INCREMENT, DECREMENT, INDEX = 0, 1, 2, 4, 6
IMMEDIATE, ABSOLUTE, RELATIVE = BY_PC + 2, BY_PC + 3, BY_PC + 6
NOWHERE = -1


def way_of(spec):
    return spec >> 3 | (spec & 7 == 7) << 3


def plain(ea):
    """Is it the address of a word of memory, and nothing else?"""
    return (ea < top) & (ea & 1 == 0)


def near(way, r):
    """The address of a word in a register or in plain memory, or NOWHERE."""
    global pc
    ea = NOWHERE
    if way == DIRECT:
        ea = REGISTER_0 + 2 * r
    elif way == DEFERRED:
        k = mem[R + r]
        if plain(k):
            ea = k
    elif way == INCREMENT:
        k = mem[R + r]
        if plain(k):
            mem[R + r] = (k + 2) & 0xFFFF
            ea = k
    elif way == DECREMENT:
        k = (mem[R + r] - 2) & 0xFFFF
        if plain(k) and k >= STACK_LIMIT:
            mem[R + r] = k
            ea = k
    elif way == INDEX:
        k = (mem[R + r] + mem[pc >> 1]) & 0xFFFF
        if plain(k) and pc < top:
            pc = (pc + 2) & 0xFFFF
            ea = k
    elif way == IMMEDIATE:
        if pc < top:
            ea = pc
            pc = (pc + 2) & 0xFFFF
    elif way == ABSOLUTE:
        k = mem[pc >> 1]
        if plain(k) and pc < top:
            pc = (pc + 2) & 0xFFFF
            ea = k
    elif way == RELATIVE:
        k = (pc + 2 + mem[pc >> 1]) & 0xFFFF
        if plain(k) and pc < top:
            pc = (pc + 2) & 0xFFFF
            ea = k
    return ea
