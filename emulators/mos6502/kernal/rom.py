"""Stand-ins for the C64's three ROMs -> bytes to map: none of Commodore's code is in them.

The KERNAL's stand-in has its jump table and its interrupt entries, so that vectors in RAM work as
ever; behind them lies JAM ($02), which stops the processor, and kernal.py serves the address it
stopped at. BASIC's is JAM from end to end. The character ROM is drawn from font.py.
The user's own ROM files are read by `read_roms`.

CODE is the machine code: address, bytes, text; to add a routine, a row. tests/test_kernal.py
disassembles the bytes and compares the text.

Sources: Commodore 64 Programmer's Reference Guide (1982), ch. 5, the KERNAL jump table; Mapping
the Commodore 64 (S. Leemon, 1984), $0314-$0333 and $EA31, $EA81, $FF48, what an interrupt saves.
"""

from dataclasses import dataclass
from pathlib import Path

from anachron.emulators.containers.files import read_file
from anachron.emulators.mos6502 import font

JAM, RTS, JMP_INDIRECT = 0x02, 0x60, 0x6C
BASIC_START, KERNAL_START, ROM_SIZE, CHARACTER_SIZE = 0xA000, 0xE000, 0x2000, 0x1000

# RAM vector -> what it points to after RESTOR; the jump table's entries that go through RAM.
VECTORS = {
    0x0314: 0xEA31, 0x0316: 0xFE66, 0x0318: 0xFE47, 0x031A: 0xF34A, 0x031C: 0xF291, 0x031E: 0xF20E,
    0x0320: 0xF250, 0x0322: 0xF333, 0x0324: 0xF157, 0x0326: 0xF1CA, 0x0328: 0xF6ED, 0x032A: 0xF13E,
    0x032C: 0xF32F, 0x032E: 0xFE66, 0x0330: 0xF4A5, 0x0332: 0xF5ED,
}
INDIRECT = {
    0xFFC0: 0x031A, 0xFFC3: 0x031C, 0xFFC6: 0x031E, 0xFFC9: 0x0320, 0xFFCC: 0x0322, 0xFFCF: 0x0324,
    0xFFD2: 0x0326, 0xFFE1: 0x0328, 0xFFE4: 0x032A, 0xFFE7: 0x032C,
}
WAIT, KEY = 0xE5CD, 0xE5D6  # CHRIN's loop until a key is there, and the service behind it
GETIN, GETIN_KEY = 0xF13E, 0xF146  # a key from the queue; the service if there is one
DIRECT, DIRECT_CODE = 0xA480, 0xA483  # BASIC's loop that reads a line, code by code
IRQ_SERVICE, IRQ_EXIT = 0xEA65, 0xEA7E

# The 60 Hz interrupt takes 219 cycles as long as no key is down and no cursor blinks, as
# Commodore's does (measured with VICE 3.10); what needs more goes to the service at its end.
CODE: tuple[tuple[int, str, str], ...] = (
    (0xFF48, "48", "PHA"),
    (0xFF49, "8a", "TXA"),
    (0xFF4A, "48", "PHA"),
    (0xFF4B, "98", "TYA"),
    (0xFF4C, "48", "PHA"),
    (0xFF4D, "ba", "TSX"),
    (0xFF4E, "bd 04 01", "LDA $0104,X"),
    (0xFF51, "29 10", "AND #$10"),
    (0xFF53, "f0 03", "BEQ $FF58"),
    (0xFF55, "6c 16 03", "JMP ($0316)"),
    (0xFF58, "6c 14 03", "JMP ($0314)"),

    (0xEA31, "20 9b f6", "JSR $F69B"),  # the clock
    (0xEA34, "a5 cc", "LDA $CC"),
    (0xEA36, "f0 2d", "BEQ $EA65"),  # the cursor blinks
    (0xEA38, "a9 00", "LDA #$00"),
    (0xEA3A, "8d 00 dc", "STA $DC00"),
    (0xEA3D, "ad 01 dc", "LDA $DC01"),
    (0xEA40, "c9 ff", "CMP #$FF"),
    (0xEA42, "d0 21", "BNE $EA65"),  # a key is down
    (0xEA44, "a5 cb", "LDA $CB"),
    (0xEA46, "c9 40", "CMP #$40"),
    (0xEA48, "d0 1b", "BNE $EA65"),  # a key was down
    (0xEA4A, "a9 7f", "LDA #$7F"),
    (0xEA4C, "8d 00 dc", "STA $DC00"),
    (0xEA4F, "a2 10", "LDX #$10"),
    (0xEA51, "ca", "DEX"),
    (0xEA52, "d0 fd", "BNE $EA51"),
    (0xEA54, "4c 7e ea", "JMP $EA7E"),
    (IRQ_SERVICE, "02", "JAM"),
    (IRQ_EXIT, "ad 0d dc", "LDA $DC0D"),
    (0xEA81, "68", "PLA"),
    (0xEA82, "a8", "TAY"),
    (0xEA83, "68", "PLA"),
    (0xEA84, "aa", "TAX"),
    (0xEA85, "68", "PLA"),
    (0xEA86, "40", "RTI"),

    (0xF69B, "e6 a2", "INC $A2"),
    (0xF69D, "d0 06", "BNE $F6A5"),
    (0xF69F, "e6 a1", "INC $A1"),
    (0xF6A1, "d0 02", "BNE $F6A5"),
    (0xF6A3, "e6 a0", "INC $A0"),
    (0xF6A5, "a6 a0", "LDX $A0"),
    (0xF6A7, "e0 4f", "CPX #$4F"),  # $4F1A00 jiffies: midnight
    (0xF6A9, "90 0c", "BCC $F6B7"),
    (0xF6AB, "a6 a1", "LDX $A1"),
    (0xF6AD, "e0 1a", "CPX #$1A"),
    (0xF6AF, "90 06", "BCC $F6B7"),
    (0xF6B1, "a9 00", "LDA #$00"),
    (0xF6B3, "85 a0", "STA $A0"),
    (0xF6B5, "85 a1", "STA $A1"),
    (0xF6B7, "ad 01 dc", "LDA $DC01"),
    (0xF6BA, "cd 01 dc", "CMP $DC01"),
    (0xF6BD, "d0 f8", "BNE $F6B7"),
    (0xF6BF, "85 91", "STA $91"),
    (0xF6C1, "60", "RTS"),

    (0xFE43, "78", "SEI"),
    (0xFE44, "6c 18 03", "JMP ($0318)"),
    (0xFE47, "48", "PHA"),
    (0xFE48, "8a", "TXA"),
    (0xFE49, "48", "PHA"),
    (0xFE4A, "98", "TYA"),
    (0xFE4B, "48", "PHA"),
    (0xFE4C, "ad 0d dd", "LDA $DD0D"),
    (0xFE4F, "4c bc fe", "JMP $FEBC"),
    (0xFEBC, "68", "PLA"),
    (0xFEBD, "a8", "TAY"),
    (0xFEBE, "68", "PLA"),
    (0xFEBF, "aa", "TAX"),
    (0xFEC0, "68", "PLA"),
    (0xFEC1, "40", "RTI"),

    (GETIN, "a5 99", "LDA $99"),
    (0xF140, "d0 04", "BNE $F146"),
    (0xF142, "a5 c6", "LDA $C6"),
    (0xF144, "f0 02", "BEQ $F148"),
    (GETIN_KEY, "02", "JAM"),
    (0xF147, "60", "RTS"),
    (0xF148, "18", "CLC"),
    (0xF149, "60", "RTS"),

    (WAIT, "a5 c6", "LDA $C6"),
    (0xE5CF, "85 cc", "STA $CC"),  # 0: the cursor blinks
    (0xE5D1, "8d 92 02", "STA $0292"),
    (0xE5D4, "f0 f7", "BEQ $E5CD"),
    (KEY, "02", "JAM"),
    (0xE5D7, "60", "RTS"),

    (0xFFEA, "4c 9b f6", "JMP $F69B"),
    (0xFF9F, "4c 87 ea", "JMP $EA87"),
    (0xFFD5, "4c 9e f4", "JMP $F49E"),
    (0xF49E, "86 c3", "STX $C3"),
    (0xF4A0, "84 c4", "STY $C4"),
    (0xF4A2, "6c 30 03", "JMP ($0330)"),
    (0xFFD8, "6c 32 03", "JMP ($0332)"),

    (DIRECT, "20 cf ff", "JSR $FFCF"),
    (DIRECT_CODE, "02", "JAM"),
)
NMI, RESET, IRQ = 0xFE43, 0xFCE2, 0xFF48


@dataclass(frozen=True)
class Roms:
    """The three ROMs' bytes; real where they are the user's own."""

    basic: bytes
    kernal: bytes
    characters: bytes
    real: bool


def stand_ins(services: tuple[int, ...] | frozenset[int] = ()) -> Roms:
    """Our own ROMs; services are the addresses that return to their caller after JAM."""
    image = bytearray([JAM]) * 0x10000
    for address in services:
        image[address + 1] = RTS
    for address, vector in INDIRECT.items():
        image[address:address + 3] = bytes([JMP_INDIRECT, vector & 0xFF, vector >> 8])
    for address, code, _ in CODE:
        piece = bytes.fromhex(code)
        image[address:address + len(piece)] = piece
    for at, vector in ((0xFFFA, NMI), (0xFFFC, RESET), (0xFFFE, IRQ)):
        image[at:at + 2] = vector.to_bytes(2, "little")
    return Roms(bytes(image[BASIC_START:BASIC_START + ROM_SIZE]),
                bytes(image[KERNAL_START:KERNAL_START + ROM_SIZE]), font.character_rom(), False)


NAMES = {  # as VICE and others name them
    "basic": ("basic", "basic.bin", "basic.rom", "basic-901226-01.bin"),
    "kernal": ("kernal", "kernal.bin", "kernal.rom", "kernal-901227-03.bin"),
    "characters": ("chargen", "chargen.bin", "chargen.rom", "chargen-901225-01.bin"),
}


def read_roms(folder: str | Path) -> Roms:
    """The user's ROMs from a folder with kernal, basic and chargen; ValueError if one is amiss."""
    found = {}
    for part, names in NAMES.items():
        size = CHARACTER_SIZE if part == "characters" else ROM_SIZE
        path = next((p for name in names if (p := Path(folder) / name).is_file()), None)
        if path is None:
            raise ValueError(f"{folder}: no {part} ROM there: a file named "
                             f"{' or '.join(names)} is needed")
        found[part] = read_file(path, size)
        if len(found[part]) != size:
            raise ValueError(f"{path}: {len(found[part])} bytes: this ROM has {size}")
    return Roms(found["basic"], found["kernal"], found["characters"], True)
