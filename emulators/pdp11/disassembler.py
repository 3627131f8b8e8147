"""Words of memory -> lines of MACRO-11.

Source: PDP-11 MACRO-11 Language Reference Manual, AA-KX10A-TC, for how an operand is written.
"""

from collections.abc import Callable, Mapping

from anachron.emulators.pdp11.isa import DECODED, FLAG_OPERATORS, REGISTERS

NAMES = {number: name for name, number in REGISTERS.items()}
MODES = ("{r}", "({r})", "({r})+", "@({r})+", "-({r})", "@-({r})", "{x}({r})", "@{x}({r})")
PC_MODES = {2: "#{x}", 3: "@#{x}", 6: "{x}", 7: "@{x}"}


def disassemble(read: Callable[[int], int], pc: int,
                names: Mapping[int, str] | None = None) -> tuple[str, int]:
    """One instruction, and the bytes it occupies; what is none, JMP R too, is a .WORD.

    read   the word at an address
    names  labels by address, used where an operand or a branch is an address

    >>> words = {0o1000: 0o012701, 0o1002: 0o000144}
    >>> disassemble(words.__getitem__, 0o1000)
    ('MOV #144,R1', 4)
    """
    names = names or {}
    word = read(pc)
    row = DECODED[word]
    if row is None or row in FLAG_OPERATORS or row.access == "address" and word & 0o70 == 0:
        return f".WORD {word:o}", 2
    at = (pc + 2) & 0xFFFF

    def place(address: int) -> str:
        return names.get(address, f"{address:o}")

    def operand(spec: int) -> str:
        nonlocal at
        mode, register = spec >> 3, spec & 7
        x = ""
        if mode >= 6 or register == 7 and mode in (2, 3):
            value = read(at)
            at = (at + 2) & 0xFFFF
            if register == 7 and mode >= 6:
                x = place((at + value) & 0xFFFF)
            else:
                x = place(value) if register == 7 and mode == 3 else f"{value:o}"
        form = PC_MODES[mode] if register == 7 and mode in PC_MODES else MODES[mode]
        return form.format(r=NAMES[register], x=x)

    register = NAMES[word >> 6 & 7]
    match row.form:
        case "SSDD":
            source = operand(word >> 6 & 0o77)
            operands = f"{source},{operand(word & 0o77)}"
        case "DD" | "SS":
            operands = operand(word & 0o77)
        case "RDD":
            operands = f"{register},{operand(word & 0o77)}"
        case "RSS":
            operands = f"{operand(word & 0o77)},{register}"
        case "R":
            operands = NAMES[word & 7]
        case "RNN":
            operands = f"{register},{place((at - 2 * (word & 0o77)) & 0xFFFF)}"
        case "OOO":
            operands = place((at + 2 * ((word & 0xFF ^ 0x80) - 0x80)) & 0xFFFF)
        case "N" | "NN" | "NNN":
            operands = f"{word & ~row.mask & 0xFFFF:o}"
        case _:
            operands = ""
    return f"{row.mnemonic} {operands}".rstrip(), (at - pc) & 0xFFFF
