"""The RAM Expansion Unit, as kernels use it -> assembly text: bytes fetched or stored, one a cycle.

A transfer begins after the store to the command register and holds the CPU until it is done.  The
unit's address stays where the transfer ended, so what is read in order needs no other; a store to
the low half of the C64's address or of the length brings the high half back, too.  No transfer may
cross a block.

Source: Commodore 1700/1764/1750 RAM Expansion Module User's Guide (1987), ch. on the registers.
"""

from __future__ import annotations

from anachron.kernels.mos6502.instructions import lines

STATUS, COMMAND, HOST, AT, LENGTH, INTERRUPTS = 0xDF00, 0xDF01, 0xDF02, 0xDF04, 0xDF07, 0xDF09
STASH, FETCH = 0x90, 0x91  # at once, and the addresses stay advanced
BLOCK = 0x80000  # bytes: the upper address bits do not count on
SIGNATURE_BYTES = 8  # at the unit's address 0: whose contents these are


def _set(register: int, value: str) -> str:
    return f"    lda #{value}\n    sta ${register:04x}"


def point(address: int) -> str:
    """The unit's address becomes a constant."""
    return lines(*(_set(AT + i, str(address >> 8 * i & 0xFF)) for i in range(3)))


def point_at(pointer: str) -> str:
    """The unit's address becomes three bytes of memory."""
    return lines(*(f"    lda {pointer}+{i}\n    sta ${AT + i:04x}" for i in range(3)))


def constant(address: int) -> tuple[str, str, str]:
    """An address's bytes as operands."""
    return str(address & 0xFF), str(address >> 8 & 0xFF), str(address >> 16)


def locate(
    target: str, index: str, index_bytes: int, stride: int, base: tuple[str, str, str]
) -> str:
    """target (3 bytes) = base + stride * the number at a label; uses A, term."""
    text = [f"    lda {index}\n    sta term\n    sta term+3"]
    text.append(f"    lda {index}+1" if index_bytes == 2 else "    lda #0")
    text.append("    sta term+1\n    sta term+4\n    lda #0\n    sta term+2")
    for bit in f"{stride:b}"[1:]:
        text.append("    asl term\n    rol term+1\n    rol term+2")
        if bit == "1":
            text.append(
                "    clc\n    lda term\n    adc term+3\n    sta term\n    lda term+1\n"
                "    adc term+4\n    sta term+1\n    lda term+2\n    adc #0\n    sta term+2"
            )
    text.append("    clc")
    for i in range(3):
        text.append(f"    lda term+{i}\n    adc #{base[i]}\n    sta {target}+{i}")
    return lines(*text)


def set_up(place: str, size: int) -> str:
    """What `again` leaves out, once before it: the high halves."""
    return lines(_set(HOST + 1, f">({place})"), _set(LENGTH + 1, str(size >> 8)))


def again(command: int, place: str, size: int) -> str:
    """size bytes from where the unit's address is, to or from a place; set_up came before."""
    return lines(
        _set(HOST, f"<({place})"),
        _set(LENGTH, str(size & 0xFF)),
        f"    lda #${command:02x}\n    sta ${COMMAND:04x}           ;@ plus {size}",
    )


def move(command: int, place: str, size: int) -> str:
    """The same in full."""
    return lines(set_up(place, size), again(command, place, size))


def check_contents() -> str:
    """`check_contents`: the zero flag is set where the unit is there and its contents are ours."""
    return lines(
        f"; check_contents: is `signature` at the unit's first bytes?  uses A, X\ncheck_contents:"
        f"\n    lda #0\n    sta ${INTERRUPTS:04x}\n    sta ${INTERRUPTS + 1:04x}",
        point(0),
        move(FETCH, "signature_found", SIGNATURE_BYTES),
        f"    ldx #{SIGNATURE_BYTES - 1}\n_byte:\n    lda signature,x\n    cmp signature_found,x\n"
        "    bne _other\n    dex\n    bpl _byte\n    lda #0\n_other:\n    rts",
    )
