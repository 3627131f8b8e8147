"""Bytes of memory -> 6502 assembly text, one instruction at a time, from the table of isa.py.

The text assembles to the same bytes: an absolute address in the zero page is written `@w $0012`, as
64tass has it, and an opcode whose name another one owns as its bytes, `.byte $1A ; NOP`.
"""

from collections.abc import Callable, Mapping

from anachron.emulators.mos6502.isa import INSTRUCTIONS, MODES, OPCODES, Instruction

Read = Callable[[int], int]

SHORT_MODES = {"abs": "zp", "abx": "zpx", "aby": "zpy"}


def operand_value(row: Instruction, address: int, read: Read) -> int | None:
    """The number behind the opcode; for a branch the address it goes to; None if there is none."""
    match row.length:
        case 1:
            return None
        case 2:
            byte = int(read(address + 1 & 0xFFFF))
            if row.mode != "rel":
                return byte
            return (address + 2 + (byte ^ 0x80) - 0x80) & 0xFFFF
    return int(read(address + 1 & 0xFFFF)) | int(read(address + 2 & 0xFFFF)) << 8


def disassemble(
    read: Read, address: int, labels: Mapping[int, str] | None = None
) -> tuple[str, int]:
    """The text of the instruction at address, and its length in bytes.

    read    address -> byte; memory.__getitem__ will do
    labels  address -> name, used in place of addresses (not for immediate operands)

    >>> disassemble({0: 0xBD, 1: 0x20, 2: 0xD0}.__getitem__, 0)
    ('LDA $D020,X', 3)
    """
    row = INSTRUCTIONS[int(read(address))]
    value = operand_value(row, address, read)
    operand = ""
    if value is not None:
        digits = 4 if row.length == 3 or row.mode == "rel" else 2
        name = labels.get(value) if labels and row.mode != "imm" else None
        operand = name or f"${value:0{digits}X}"
        if value < 256 and (row.mnemonic, SHORT_MODES.get(row.mode)) in OPCODES:
            operand = f"@w {operand}"
    text = f"{row.mnemonic} {MODES[row.mode][1].format(operand)}".rstrip()
    if OPCODES[row.mnemonic, row.mode] != row.opcode:
        data = ",".join(f"${int(read(address + k & 0xFFFF)):02X}" for k in range(row.length))
        text = f".byte {data} ; {text}"
    return text, row.length


def listing(
    read: Read, start: int, end: int, labels: Mapping[int, str] | None = None
) -> list[str]:
    """Lines `address  bytes  instruction` for start <= address < end, labels on lines of their own.

    >>> listing({0: 0xA9, 1: 0x07, 2: 0x60}.__getitem__, 0, 3, {0: "seven"})
    ['seven:', '0000  A9 07     LDA #$07', '0002  60        RTS']
    """
    lines = []
    address = start
    while address < end:
        text, length = disassemble(read, address, labels)
        if labels and address in labels:
            lines.append(f"{labels[address]}:")
        data = " ".join(f"{int(read(address + k & 0xFFFF)):02X}" for k in range(length))
        lines.append(f"{address:04X}  {data:<8}  {text}")
        address += length
    return lines
