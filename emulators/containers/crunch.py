"""A .prg -> a smaller .prg that unpacks itself: for images that a 1541 would load for minutes.

RUN starts a few instructions that move the packed bytes to the top of memory and unpack them to
where the program belongs, all in RAM, and jump to it. The packed bytes are tokens:

    00                     the end
    01-7F n bytes          n literal bytes
    80-BF distance         2 to 65 bytes again, from at most 256 bytes before
    C0-FF distance 2 bytes 4 to 67 bytes again, from anywhere before

a distance being minus what it says, its low byte first; that of the short token has no high byte.

Source: the scheme is J. Ziv and A. Lempel's (1977); the tokens and the code are ours.
"""

from collections.abc import Iterator

from anachron.emulators.containers.prg import BASIC_START, Prg, basic_stub, pack

LITERALS, NEAR_LENGTHS, FAR_LENGTHS = 127, range(2, 66), range(4, 68)
NEAR, FAR = 0x80, 0xC0
NEAR_DISTANCE = 256
CANDIDATES = 24  # places with the same two or four bytes that are looked at
UNPACKER, LOWEST, HIGHEST = 0x0334, 0x0400, 0xFF00

# The code, `{}` being what depends on the program; tests/test_crunch.py runs it.
START = """
78           sei
a9 {end:l}   lda #<packed_end-256
85 fb        sta $fb
a9 {end:h}   lda #>packed_end-256
85 fc        sta $fc
a9 {to:l}    lda #<program
85 fd        sta $fd
a9 {to:h}    lda #>program
85 fe        sta $fe
a9 00        lda #$00
85 ae        sta $ae
a9 ff        lda #$ff
85 af        sta $af
a2 00        ldx #$00
bd {code:lh} copy lda code,x
9d 34 03     sta unpacker,x
e8           inx
e0 {size:l}  cpx #size
d0 f5        bne copy
4c 34 03     jmp unpacker
"""
CODE = """
a9 34        lda #$34    ; RAM everywhere
85 01        sta $01
a2 {pages:l} ldx #pages
a0 00        ldy #$00
88           move dey
b1 fb        lda ($fb),y
91 ae        sta ($ae),y
98           tya
d0 f8        bne move
c6 fc        dec $fc
c6 af        dec $af
ca           dex
d0 f1        bne move
a9 {from:l}  lda #<top_of_memory-packed_size
85 fb        sta $fb
a9 {from:h}  lda #>top_of_memory-packed_size
85 fc        sta $fc
a0 00        next ldy #$00
20 ad 03     jsr get
c9 00        cmp #$00
f0 5a        beq done
30 11        bmi match
aa           tax
20 ad 03     literal jsr get
91 fd        sta ($fd),y
e6 fd        inc $fd
d0 02        bne same_page
e6 fe        inc $fe
ca           same_page dex
d0 f2        bne literal
f0 e4        beq next
aa           match tax
29 3f        and #$3f
e0 c0        cpx #$c0
b0 0b        bcs far
69 02        adc #$02
85 02        sta $02     ; the length
20 ad 03     jsr get
a2 ff        ldx #$ff
d0 0d        bne again
69 03        far adc #$03    ; and the carry
85 02        sta $02
20 ad 03     jsr get
48           pha
20 ad 03     jsr get
aa           tax
68           pla
18           again clc
65 fd        adc $fd
85 ae        sta $ae
8a           txa
65 fe        adc $fe
85 af        sta $af
b1 ae        byte lda ($ae),y
91 fd        sta ($fd),y
c8           iny
c4 02        cpy $02
d0 f7        bne byte
98           tya
18           clc
65 fd        adc $fd
85 fd        sta $fd
90 aa        bcc next
e6 fe        inc $fe
d0 a6        bne next
b1 fb        get lda ($fb),y
e6 fb        inc $fb
d0 02        bne got
e6 fc        inc $fc
60           got rts
a9 37        done lda #$37
85 01        sta $01
58           cli
4c {entry:lh} jmp entry
"""


class _Word(int):
    """A number whose bytes a line of the code takes: `l` low, `h` high, `lh` both."""

    def __format__(self, which: str) -> str:
        return " ".join(f"{self >> 8 * (part == 'h') & 0xFF:02x}" for part in which)


def _assemble(text: str, **numbers: int) -> bytes:
    """The bytes of the code's first column."""
    hexadecimal = "".join(line.partition("}")[0] + "}" if "{" in line else line[:12]
                          for line in text.strip().splitlines())
    return bytes.fromhex(hexadecimal.format(**{k: _Word(v) for k, v in numbers.items()}))


def crunch(program: Prg, entry: int) -> bytes:
    """The bytes of a .prg for RUN that unpacks program and jumps to entry.

    Raises ValueError for a program outside $0400-$FEFF, or one that packing does not make smaller.
    """
    if not LOWEST <= program.load or program.end > HIGHEST:
        raise ValueError(f"crunch: {program!r}: only what lies in ${LOWEST:04X} to "
                         f"${HIGHEST - 1:04X} can be unpacked in memory")
    packed = b"".join(_tokens(program.data)) + b"\0"
    _check_room(program, packed)
    start = BASIC_START + len(basic_stub(10000))
    size = len(_assemble(CODE, pages=0, entry=0, **{"from": 0}))
    code_at = start + len(_assemble(START, end=0, to=0, code=0, size=0))
    end = code_at + size + len(packed)
    first = _assemble(START, end=end - 256, to=program.load, code=code_at, size=size)
    code = _assemble(CODE, pages=-(-len(packed) // 256), entry=entry,
                     **{"from": 0x10000 - len(packed)})
    content = basic_stub(start).ljust(start - BASIC_START, b"\0") + first + code + packed
    if len(content) >= len(program.data):
        raise ValueError(f"crunch: {len(program.data)} bytes become {len(content)}: "
                         "leave this program unpacked")
    return pack(BASIC_START, content)


def _check_room(program: Prg, packed: bytes) -> None:
    """ValueError if unpacking would write over packed bytes that it has still to read."""
    written, read = program.load, 0x10000 - len(packed)
    at = 0
    while token := packed[at]:
        size = token + 1 if token < NEAR else 2 if token < FAR else 3
        length = (token if token < NEAR else (token & 0x3F)
                  + (NEAR_LENGTHS if token < FAR else FAR_LENGTHS).start)
        at += size
        written += length
        if written > read + at:
            raise ValueError(f"crunch: {program!r} leaves too little memory to unpack in")


def _tokens(data: bytes) -> Iterator[bytes]:
    """The tokens of data, without the end."""
    literal = bytearray()
    places: dict[bytes, list[int]] = {}
    at = noted = 0
    while at < len(data):
        for place in range(noted, at):
            for size in (2, 4):
                places.setdefault(data[place:place + size], []).append(place)
        noted = at
        length, distance = _longest(data, at, places)
        if not length:
            literal.append(data[at])
            at += 1
        if len(literal) == LITERALS or (literal and (length or at == len(data))):
            yield bytes([len(literal)]) + bytes(literal)
            literal.clear()
        if length:
            near = distance <= NEAR_DISTANCE and length in NEAR_LENGTHS
            yield (bytes([NEAR | length - NEAR_LENGTHS.start, -distance & 0xFF]) if near else
                   bytes([FAR | length - FAR_LENGTHS.start, -distance & 0xFF,
                          -distance >> 8 & 0xFF]))
            at += length


def _longest(data: bytes, at: int, places: dict[bytes, list[int]]) -> tuple[int, int]:
    """The earlier copy of what comes next that saves most: its length and distance, or 0, 0."""
    best, saved = (0, 0), 0
    for size, lengths, cost in ((2, NEAR_LENGTHS, 2), (4, FAR_LENGTHS, 3)):
        for place in places.get(data[at:at + size], [])[:-CANDIDATES - 1:-1]:
            if size == 2 and at - place > NEAR_DISTANCE:
                break
            limit = min(lengths[-1], len(data) - at)
            length = size
            while length < limit and data[place + length] == data[at + length]:
                length += 1
            if length <= limit and length - cost > saved:
                best, saved = (length, at - place), length - cost
    return best
