"""Unicode <-> PETSCII <-> screen codes: the letters of the C64.

The machine prints PETSCII and shows screen codes; both character sets (capitals and graphics, or
small letters and capitals) are the same codes with other pictures. UPPER and LOWER are the
pictures as Unicode, one string of 128 a set; a screen code with bit 7 set is the same, reversed.

Sources: Commodore 64 Programmer's Reference Guide (1982), app. B (screen codes) and C (CHR$);
the Unicode Consortium's L2/19-025, mapping C64IPRI and C64IALT, for the graphics.
"""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FIRST = "@{}[£]↑←"
_SYMBOLS = " !\"#$%&'()*+,-./0123456789:;<=>?"
_GRAPHICS_40 = "─{}┼\U0001FB8C│{}"
_SHAPES = ("♠\U0001FB72\U0001FB78\U0001FB77\U0001FB76\U0001FB7A\U0001FB71\U0001FB74╮╰╯"
           "\U0001FB7C╲╱\U0001FB7D\U0001FB7E●\U0001FB7B♥\U0001FB70╭╳○♣\U0001FB75♦")
_GRAPHICS_60 = ("\u00a0▌▄▔▁▏▒▕\U0001FB8F{}\U0001FB87├▗└┐▂"
                "┌┴┬┤▎▍\U0001FB88\U0001FB82\U0001FB83▃{}▖▝┘▘▚")

UPPER = (_FIRST.format(_LETTERS) + _SYMBOLS + _GRAPHICS_40.format(_SHAPES, "π◥")
         + _GRAPHICS_60.format("◤", "\U0001FB7F"))
LOWER = (_FIRST.format(_LETTERS.lower()) + _SYMBOLS
         + _GRAPHICS_40.format(_LETTERS, "\U0001FB95\U0001FB98")
         + _GRAPHICS_60.format("\U0001FB99", "✓"))

# Characters of other keyboards that the C64 has under another code or picture; those of ASCII each
# have a code of their own, so that nothing typed is taken for something else.
_SUBSTITUTES = {"\n": 0x0D, "\r": 0x0D, "^": 0x5E, "_": 0xA4, "\x7f": 0x14, "\b": 0x14, "|": 0xDD,
                "‘": 0x27, "’": 0x27, "“": 0x22, "”": 0x22, "\\": 0x5C, "{": 0xB3, "}": 0xAB,
                "~": 0xB1, "`": 0xAD, "\u00a0": 0xA0}


def screen_code(petscii: int) -> int:
    """The screen code (0 to 127) of a printable PETSCII code, as the KERNAL converts it.

    >>> [screen_code(code) for code in (0x41, 0x20, 0xC1, 0xFF)]
    [1, 32, 65, 94]
    """
    if petscii == 0xFF:
        return 0x5E
    match petscii >> 5:
        case 2 | 5:
            return petscii - 0x40
        case 3:
            return petscii - 0x20
        case 6 | 7:
            return petscii & 0x7F
        case _:
            return petscii & 0x3F


def petscii_of_screen_code(code: int) -> int:
    """The PETSCII code that the KERNAL's screen input reads for a screen code; bit 7 ignored.

    >>> [petscii_of_screen_code(code) for code in (1, 32, 65, 0x81)]
    [65, 32, 193, 65]
    """
    code &= 0x7F
    if code < 0x20:
        return code | 0x40
    if code < 0x40:
        return code
    return code + 0x80 if code < 0x60 else code + 0x40


def encode(text: str, lower: bool = False) -> bytes:
    """PETSCII of a text; a character that the C64 lacks becomes `?`.

    lower  for the set of small letters and capitals; without it letters of either case are the
           capitals of the set that the machine starts with

    >>> encode("Hi").hex(), encode("Hi", lower=True).hex()
    ('4849', 'c849')
    """
    table = _TO_PETSCII[lower]
    return bytes(table.get(character, 0x3F) for character in text)


def decode(petscii: bytes, lower: bool = False) -> str:
    """Text of printed PETSCII; control codes are dropped, carriage returns become newlines.

    >>> decode(b"HI\\x0d\\xc1")
    'HI\\n♠'
    """
    pictures = LOWER if lower else UPPER
    return "".join(
        "\n" if code & 0x7F == 0x0D else pictures[screen_code(code)].replace("\u00a0", " ")
        for code in petscii if code & 0x60 or code & 0x7F == 0x0D)


def _encoder(lower: bool) -> dict[str, int]:
    table = dict(_SUBSTITUTES)
    pictures = LOWER if lower else UPPER
    for code in (*range(0x20, 0x60), *range(0xA1, 0xE0)):
        table.setdefault(pictures[screen_code(code)], code)
    if not lower:
        table |= {letter.lower(): code for letter, code in table.items() if letter in _LETTERS}
    return table | {chr(code): code for code in range(0x20) if code not in (8, 10)}


_TO_PETSCII = {lower: _encoder(lower) for lower in (False, True)}
