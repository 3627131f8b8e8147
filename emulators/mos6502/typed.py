"""What a person's terminal sends -> PETSCII for the C64's keyboard.

Source: xterm's "ctlseqs" for the sequences of the cursor and function keys.
"""

from anachron.emulators.mos6502 import petscii

SEQUENCES = {
    b"\x1b[A": 0x91, b"\x1b[B": 0x11, b"\x1b[C": 0x1D, b"\x1b[D": 0x9D, b"\x1b[H": 0x13,
    b"\x1b[2~": 0x94, b"\x1bOP": 0x85, b"\x1bOQ": 0x89, b"\x1bOR": 0x86, b"\x1bOS": 0x8A,
    b"\x1b[15~": 0x87, b"\x1b[17~": 0x8B, b"\x1b[18~": 0x88, b"\x1b[19~": 0x8C,
    b"\x1b": 0x03, b"\x03": 0x03, b"\x7f": 0x14, b"\x08": 0x14, b"\n": 0x0D,
}


def petscii_of_keys(typed: bytes, small: bool = False) -> bytes:
    """PETSCII codes of what was typed; sequences that mean nothing to a C64 are dropped.

    >>> petscii_of_keys(b"a\\x1b[A\\r").hex(" ")
    '41 91 0d'
    """
    codes = bytearray()
    text = typed
    while text:
        for length in (5, 4, 3, 1):
            if text[:length] in SEQUENCES and (length > 1 or text[:2] not in (b"\x1b[", b"\x1bO")):
                codes.append(SEQUENCES[text[:length]])
                text = text[length:]
                break
        else:
            if text[:1] == b"\x1b":
                text = text.lstrip(b"\x1b[O0123456789;")[1:]
                continue
            length = 1 if text[0] < 0x80 else 2 if text[0] < 0xE0 else 3 if text[0] < 0xF0 else 4
            codes += petscii.encode(text[:length].decode("utf-8", "ignore"), small)
            text = text[length:]
    return bytes(codes)
