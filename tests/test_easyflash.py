"""An EasyFlash cartridge: its banks and modes, as VICE 3.10 shows them for the same file."""
from pathlib import Path

from anachron.emulators import create
from anachron.emulators.containers import crt
from anachron.emulators.containers.files import write_file

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
