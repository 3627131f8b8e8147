"""An EasyFlash cartridge: its banks and modes, as VICE 3.10 shows them for the same file."""

from pathlib import Path
from types import ModuleType

import pytest
from test_images_vice import ZEROS, unraisable, vicectl

from anachron.compiler.targets.mos6502.assembler import assemble
from anachron.emulators import create
from anachron.emulators.containers import crt
from anachron.emulators.containers.files import write_file

__all__ = ["vicectl"]

# In Ultimax mode ROMH's bank 0 is at $E000: sei / ldx #$ff / txs / copy $e020.. to $0300 / jmp
BOOT = bytes.fromhex("78 a2ff 9a a200 bd20e0 9d0003 e8 e060 d0f5 4c0003")
# For each bank: stx $de00 / lda $8000 / sta $0400,x / lda $9fff / sta $0440,x; then the RAM at
# $df00; then with $01 = $37 and bank 5: 16 KB (7), 8 KB (6), off (4), a byte of each to $0481 on.
READ = bytes.fromhex(
    "a200 8e00de ad0080 9d0004 adff9f 9d4004 e8 e040 d0ec a95a 8d10df ad10df 8d8004"
    "a937 8501 a92f 8500 a907 8d02de a905 8d00de ad00a0 8d8104 ad0080 8d8204"
    "a906 8d02de ad0080 8d8304 a904 8d02de ad0080 8d8404 02")


def test_every_bank_and_mode_is_where_easyflash_has_it(tmp_path: Path) -> None:
    banks = {(bank, crt.ROML): bytes([bank ^ 0x55]) * 8191 + bytes([bank]) for bank in range(64)}
    banks |= {(bank, crt.ROMH): bytes([bank + 100]) * 8192 for bank in range(1, 64)}
    code = BOOT.ljust(0x20, b"\xea") + READ
    banks[0, crt.ROMH] = code.ljust(0x1FFC, b"\xff") + b"\x00\xe0\x00\x00"
    write_file(tmp_path / "x.crt", crt.pack(crt.easyflash(banks)))
    machine = create("c64+crt")
    machine.load(tmp_path / "x.crt")
    machine.memory[0x8000] = 0x99
    assert machine.run(max_cycles=100_000).startswith("JAM")
    read = bytes(machine.memory[0x0400:0x0485])
    assert read[:0x40] == bytes(bank ^ 0x55 for bank in range(64))
    assert read[0x40:0x80] == bytes(range(64))
    assert list(read[0x80:]) == [0x5A, 105, 0x50, 0x50, 0x99]


# Each of EasyFlash's modes with each of the processor port's: what is read at PLACES, and where a
# store there goes.  All of it runs below $1000, which is RAM in every mode.
PLACES = (0x0FFF, 0x8001, 0x9FFE, 0xA001, 0xBFFE, 0xE001, 0xFFF0)
RAM, LOW, HIGH, BANK = 0x5A, 0xC3, 0x3C, 9
SEEN, SIZE = 0x0400, 64 * 2 * len(PLACES)
MODES = f"""\
mode = $02
port = $03
to = $04
* = $0300
start:
    lda #$2f
    sta $00
    lda #<${SEEN:04x}
    sta to
    lda #>${SEEN:04x}
    sta to+1
    lda #$37
    sta $01
    lda #{BANK}
    sta $de00
    ldx #7
    stx mode
_mode:
    ldx #$37
    stx port
_port:
    lda #$37
    sta $01
    lda #4              ; the cartridge out: all RAM
    sta $de02
    lda #$34
    sta $01
    lda #{RAM}
    jsr fill
    lda #$37
    sta $01
    lda mode
    sta $de02
    lda port
    sta $01
    ldy #0
{{reads}}
    lda #$99
    jsr fill            ; wherever that goes
    lda #$37
    sta $01
    lda #4
    sta $de02
    lda #$34
    sta $01
{{looks}}
    tya
    clc
    adc to
    sta to
    bcc _same
    inc to+1
_same:
    dec port
    lda port
    cmp #$2f
    beq *+5
    jmp _port
    dec mode
    bmi _end
    jmp _mode
_end:
    lda #$37
    sta $01
    lda #4
    sta $de02
done:
    jmp done
fill:
{{stores}}
    rts
end:
"""


def modes_cartridge() -> tuple[bytes, int]:
    """The cartridge's file, and where its program has ended."""
    read = "\n".join(f"    lda ${place:04x}\n    sta (to),y\n    iny" for place in PLACES)
    stores = "\n".join(f"    sta ${place:04x}" for place in PLACES)
    program = assemble(MODES.format(reads=read, looks=read, stores=stores), "modes.asm")
    ((start, code),) = program.segments
    assert start == 0x0300 and len(code) <= 0x100
    # sei / ldx #$ff / txs / inx / lda $e010,x / sta $0300,x / inx / bne / jmp $0300
    boot = bytes.fromhex("78 a2ff 9a e8 bd20e0 9d0003 e8 d0f7 4c0003").ljust(0x20, b"\xea")
    romh = (boot + bytes(code)).ljust(0x1FFC, b"\xff") + b"\x00\xe0\x00\x00"
    banks = {(0, crt.ROMH): romh, (0, crt.ROML): bytes(8192)}
    banks |= {(BANK, crt.ROML): bytes([LOW]) * 8192, (BANK, crt.ROMH): bytes([HIGH]) * 8192}
    return crt.pack(crt.easyflash(banks)), program.symbols["done"]


def modes_results(memory: bytes) -> list[tuple[int, int, list[str]]]:
    """(mode, port, what each place was before and after the store) from the program's RAM."""
    names = {RAM: "ram", LOW: "roml", HIGH: "romh", 0x99: "written"}
    found, width = [], 2 * len(PLACES)
    for i in range(64):
        mode, port = 7 - i // 8, 0x37 - i % 8
        row = memory[i * width : (i + 1) * width]
        found.append((mode, port, [names.get(byte, "other") for byte in row]))
    return found


def expected(mode: int, port: int) -> list[str]:
    """What is read, by the PLA's table; Ultimax mode leaves the bus open at $A000."""
    low, high = port & 1, port >> 1 & 1
    kernal = ["other"] * 2 if high else ["ram"] * 2
    match mode:
        case 7:
            roml = "roml" if low and high else "ram"
            romh = "romh" if high else "ram"
            return ["ram", roml, roml, romh, romh, *kernal]
        case 6:
            basic = "other" if low and high else "ram"
            roml = "roml" if low and high else "ram"
            return ["ram", roml, roml, basic, basic, *kernal]
        case 4:
            return ["ram"] * 3 + ["other" if low and high else "ram"] * 2 + kernal
    return ["ram", "roml", "roml", "open", "open", "romh", "romh"]


def run_modes(tmp_path: Path) -> tuple[Path, list[tuple[int, int, list[str]]]]:
    data, done = modes_cartridge()
    write_file(tmp_path / "modes.crt", data)
    machine = create("c64+crt")
    machine.load(tmp_path / "modes.crt")
    machine.run(max_cycles=1_000_000, until=done)
    assert machine.registers["pc"] == done
    return tmp_path / "modes.crt", modes_results(bytes(machine.ram[SEEN:SEEN + SIZE]))


def test_each_mode_and_port_shows_what_the_pla_chooses(tmp_path: Path) -> None:
    _, results = run_modes(tmp_path)
    n = len(PLACES)
    for mode, port, names in results:
        if mode in (7, 6, 4, 5):
            wanted = expected(mode, port)
            seen = [a if b != "open" else b for a, b in zip(names[:n], wanted, strict=True)]
            assert seen == wanted, (mode, hex(port))
            ultimax = mode == 5
            places = ["written", *["ram" if ultimax else "written"] * (n - 1)]
            assert names[n:] == places, (mode, hex(port))


@unraisable
@pytest.mark.vice
def test_vice_shows_the_same_in_each_mode(vicectl: ModuleType, tmp_path: Path) -> None:
    path, ours = run_modes(tmp_path)
    with vicectl.Vice(None, extra=(*ZEROS, "-cartcrt", str(path))) as vice:
        vice.run_cycles(200_000)
        theirs = modes_results(bytes(vice.mem(SEEN, SEEN + SIZE - 1)))
        vice.s.close()
    for (mode, port, mine), (_, _, other) in zip(ours, theirs, strict=True):
        ultimax = mode & 2 == 0 and mode != 4
        opened = {3, 4} if ultimax else set()
        for i, (a, b) in enumerate(zip(mine, other, strict=True)):
            assert a == b or i in opened, (mode, hex(port), i)
