"""Containers: what is packed is what is parsed, to the byte of the format's own document."""
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anachron.emulators import containers
from anachron.emulators.containers import crt, d64, files, labels, lda, prg, reu


def test_prg_begins_with_its_load_address() -> None:
    assert prg.pack(0xC000, b"\xa9\x01") == b"\x00\xc0\xa9\x01"
    assert prg.parse(b"\x00\xc0\xa9\x01") == prg.Prg(0xC000, b"\xa9\x01")


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\x08", b"\xff\xff\x00\x00"])
def test_prg_that_is_too_short_or_runs_past_the_end_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="^bad.prg: "):
        prg.parse(data, "bad.prg")


def test_basic_stub_is_the_line_that_basic_would_store() -> None:
    # As entered on a C64: 10 SYS 2061
    assert prg.basic_stub(2061) == bytes.fromhex("0b 08 0a 00 9e 32 30 36 31 00 00 00")


@given(st.integers(0, 65535), st.integers(0, 63999))
def test_sys_address_is_what_the_stub_jumps_to(entry: int, line: int) -> None:
    assert prg.sys_address(prg.basic_stub(entry, line)) == entry


@pytest.mark.parametrize(("text", "address"), [
    (b"\x9e 2061", 2061), (b"\x9e(2061)", 2061), (b"\x9e2061:\x8f HI", 2061),
    (b"\x99 \"HI\"", None), (b"\x9e A", None), (b"\x9e 70000", None), (b"\x9e 20\xaa41", None),
    (b"", None)])
def test_sys_address_needs_a_sys_and_a_plain_number(text: bytes, address: int | None) -> None:
    assert prg.sys_address(b"\x0b\x08\x0a\x00" + text + b"\0\0\0") == address


def test_d64_has_the_size_of_35_tracks() -> None:
    assert len(d64.pack([])) == 174848
    assert sorted(d64.SIZES) == [174848, 175531, 196608, 197376]


def test_empty_d64_has_664_blocks_free() -> None:
    assert d64.parse(d64.pack([])).blocks_free() == 664
    assert d64.parse(d64.pack([])).entries() == ()


def test_d64_files_read_back_by_name_and_wildcard() -> None:
    contents = {f"FILE{n}": bytes([n]) * (n * 254 + n % 3) for n in range(20)}
    disk = d64.parse(d64.pack(list(contents.items()), name="WEIGHTS", identity="AN"))
    assert [bytes(entry.name).decode() for entry in disk.entries()] == list(contents)
    assert [disk.read(name) for name in contents] == list(contents.values())
    assert disk.read("*") == contents["FILE0"]
    assert disk.read("0:FILE1?,P") == contents["FILE10"]
    assert disk.find("*9").name == b"FILE0"  # DOS compares nothing behind the star
    assert disk.name == b"WEIGHTS" and disk.identity == b"AN\xa02A"


def test_d64_bam_counts_what_the_files_left() -> None:
    files_ = [("A", bytes(254 * 100)), ("B", bytes(1))]
    disk = d64.parse(d64.pack(files_))
    bam = disk.sector(18, 0)
    assert disk.blocks_free() == 664 - 101
    for track in range(1, 36):
        bits = int.from_bytes(bam[4 * track + 1:4 * track + 4], "little")
        assert bits.bit_count() == bam[4 * track]
        assert bits < 1 << d64.SECTORS[track - 1]


def test_d64_file_starts_on_track_17_and_goes_in_steps_of_ten() -> None:
    disk = d64.parse(d64.pack([("A", bytes(254 * 22))]))
    entry = disk.find("A")
    places = [(entry.track, entry.sector)] + [(b[0], b[1]) for b in disk.chain(17, 0)]
    # 21 sectors: past the last, DOS subtracts 21 and one more.
    assert places[:6] == [(17, 0), (17, 10), (17, 20), (17, 8), (17, 18), (17, 6)]
    assert places[21][0] == 16


def test_d64_directory_goes_in_steps_of_three() -> None:
    disk = d64.parse(d64.pack([(f"F{n}", b"xx") for n in range(20)]))
    assert [(b[0], b[1]) for b in disk.chain(18, 1)] == [(18, 4), (18, 7), (0, 255)]


def test_d64_holds_664_blocks_and_144_files_and_no_more() -> None:
    full = bytes(range(251)) * 672
    assert d64.parse(d64.pack([("FULL", full[:664 * 254])])).read("FULL") == full[:664 * 254]
    assert d64.parse(d64.pack([("FULL", full[:664 * 254])])).blocks_free() == 0
    with pytest.raises(ValueError, match="664 blocks"):
        d64.pack([("FULL", full[:664 * 254 + 1])])
    many = [(f"F{n}", b"x") for n in range(145)]
    assert len(d64.parse(d64.pack(many[:144])).entries()) == 144
    with pytest.raises(ValueError, match="144 files"):
        d64.pack(many)


def test_d64_names_are_checked() -> None:
    for name in ("", "A" * 17, "A*", 'A"B', "A,P"):
        with pytest.raises(ValueError, match="characters allowed"):
            d64.pack([(name, b"x")])
    with pytest.raises(ValueError, match='two files named "A"'):
        d64.pack([("A", b"x"), ("a", b"y")])


def test_d64_of_40_tracks_with_error_bytes_is_read() -> None:
    data = bytearray(d64.pack([("A", b"hello")]).ljust(197376, b"\0"))
    place = d64.FIRST_BLOCK[39] * 256
    data[place:place + 4] = b"\x00\x03hi"
    data[d64.FIRST_BLOCK[16] * 256:d64.FIRST_BLOCK[16] * 256 + 2] = b"\x28\x00"  # link to track 40
    assert d64.parse(bytes(data)).read("A").endswith(b"hi")


def test_d64_chain_in_a_circle_is_an_error() -> None:
    data = bytearray(d64.pack([("A", bytes(600))]))
    data[d64.FIRST_BLOCK[16] * 256:d64.FIRST_BLOCK[16] * 256 + 2] = b"\x11\x00"
    with pytest.raises(ValueError, match="comes back to track 17, sector 0"):
        d64.parse(bytes(data)).read("A")
    directory = d64.FIRST_BLOCK[17] * 256 + 256
    data[directory:directory + 2] = b"\x12\x01"
    with pytest.raises(ValueError, match="comes back to track 18, sector 1"):
        d64.parse(bytes(data)).entries()


def test_reu_is_padded_to_a_size_that_exists() -> None:
    assert reu.pack(b"abc") == b"abc" + bytes(131072 - 3)
    assert len(reu.pack(bytes(131073))) == 262144
    assert len(reu.pack(b"", 16 << 20)) == 16 << 20
    assert reu.parse(reu.pack(b"abc")).data[:3] == b"abc"
    for wrong in (b"", bytes(131071), bytes(3 << 17)):
        with pytest.raises(ValueError, match="16384 KB"):
            reu.parse(wrong)
    with pytest.raises(ValueError, match="powers of two"):
        reu.pack(bytes(10), 1000)


def test_easyflash_cartridge_reads_back() -> None:
    banks = {(0, crt.ROML): b"lo", (0, crt.ROMH): b"hi", (63, crt.ROMH): bytes(8192)}
    cart = crt.easyflash(banks, "WEIGHTS")
    data = crt.pack(cart)
    assert crt.parse(data) == cart
    assert len(data) == 64 + 3 * (16 + 8192)
    assert data[:16] == b"C64 CARTRIDGE   " and data[0x16:0x1A] == bytes([0, 32, 1, 0])
    low, high = cart.roms()
    assert len(low) == len(high) == 64 * 8192
    assert low[:3] == b"lo\xff" and high[:3] == b"hi\xff" and high[63 * 8192] == 0


def test_generic_16k_cartridge_has_both_roms() -> None:
    cart = crt.Crt(crt.GENERIC, 0, 0, "X", (crt.Chip(0, 0x8000, b"L" * 8192 + b"H" * 8192),))
    assert crt.parse(crt.pack(cart)).roms() == (b"L" * 8192, b"H" * 8192)


def test_lda_block_is_the_handbooks() -> None:
    tape = lda.pack([(0o1000, b"\x01\x02\x03")], 0o1000)
    block = bytes.fromhex("01 00 09 00 00 02 01 02 03 ee")
    assert tape.strip(b"\0").startswith(block)
    assert lda.parse(tape) == lda.Lda(((0o1000, b"\x01\x02\x03"),), 0o1000)


def test_lda_blocks_are_at_most_512_bytes() -> None:
    data = bytes(range(256)) * 8
    tape = lda.parse(lda.pack([(0o2000, data)], None))
    assert [(address, len(part)) for address, part in tape.blocks] == [
        (0o2000, 512), (0o3000, 512), (0o4000, 512), (0o5000, 512)]
    assert b"".join(part for _, part in tape.blocks) == data
    assert tape.start is None


def test_lda_leader_of_any_length_is_skipped_and_every_bit_is_checked() -> None:
    tape = lda.pack([(0o1000, b"hello")], 0o1000).strip(b"\0")
    assert lda.parse(bytes(500) + tape) == lda.parse(b"\xff" * 9 + tape)
    block = bytearray(tape)
    for at in range(6, 12):
        for bit in range(8):
            block[at] ^= 1 << bit
            with pytest.raises(ValueError, match="checksum"):
                lda.parse(bytes(block))
            block[at] ^= 1 << bit


def test_labels_read_back_from_both_formats() -> None:
    names = {"start": 0x0801, "forward": 0xC000, "a.b": 0o177564}
    assert labels.parse(labels.format_vice(names)) == names
    assert labels.parse(labels.format_simh(names)) == names
    assert labels.parse("al c000 .x\n\n# note\n") == {"x": 0xC000}
    with pytest.raises(ValueError, match="^x.lbl:2: "):
        labels.parse("al C:c000 .x\nal zz y\n", "x.lbl")


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(min_size=1, max_size=1500)),
                max_size=5), st.integers(0, 0x7FFF))
@settings(deadline=None, max_examples=50)
def test_lda_memory_survives_the_tape(pieces: list[tuple[int, bytes]], start: int) -> None:
    pieces = [(address, data[:0x10000 - address]) for address, data in pieces]
    memory, loaded = bytearray(0x10000), bytearray(0x10000)
    for address, data in pieces:
        memory[address:address + len(data)] = data
    tape = lda.parse(lda.pack(pieces, start * 2))
    for address, data in tape.blocks:
        loaded[address:address + len(data)] = data
    assert loaded == memory and tape.start == start * 2


def test_read_chooses_by_suffix_and_refuses_large_files(tmp_path: Path) -> None:
    path = tmp_path / "X.PRG"
    path.write_bytes(b"\x01\x08\x00")
    assert containers.read(path) == prg.Prg(0x0801, b"\0")
    path.write_bytes(bytes(prg.SIZE_LIMIT + 1))
    with pytest.raises(ValueError, match="at most 65538 allowed"):
        containers.read(path)
    for name in ("x.bin", "missing.prg"):
        with pytest.raises(ValueError, match=name):
            containers.read(tmp_path / name)
    with pytest.raises(ValueError, match="not a regular file"):
        files.read_file(tmp_path, 10)


def test_write_leaves_the_whole_file_or_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.prg"
    files.write_file(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["x.prg"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    with pytest.raises(ValueError, match="cannot be written"):
        files.write_file(tmp_path / "no" / "x.prg", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="cannot be written"):
        files.write_file(tmp_path / "folder", b"x")
    for name in ("a" * 300, "a\0b"):
        with pytest.raises(ValueError, match="cannot be written"):
            files.write_file(tmp_path / name, b"x")
    assert sorted(os.listdir(tmp_path)) == ["folder", "x.prg"]


@pytest.mark.vice
def test_c1541_validates_what_was_packed_without_changing_a_byte(tmp_path: Path) -> None:
    tool = os.environ.get("C1541") or shutil.which("c1541")
    if tool is None:
        pytest.skip("VICE's c1541 is not installed (set C1541)")
    contents = {f"file {n}": bytes([n]) * (3000 * n + 7) for n in range(10)}
    image = d64.pack(list(contents.items()))
    files.write_file(tmp_path / "x.d64", image)
    # VICE 3.10 crashes where the folder of its log is missing.
    (tmp_path / ".local/state/vice").mkdir(parents=True)
    shown = subprocess.run([tool, "x.d64", "-validate", "-list"], cwd=tmp_path, timeout=60,
                           check=True, capture_output=True, text=True,
                           env={**os.environ, "HOME": str(tmp_path)}).stdout
    blocks = {name: -(-len(content) // 254) for name, content in contents.items()}
    listed = {line.split('"')[1]: int(line.split()[0]) for line in shown.splitlines()
              if line.rstrip().endswith("prg")}
    assert listed == blocks
    assert f"{664 - sum(blocks.values())} blocks free." in shown
    assert (tmp_path / "x.d64").read_bytes() == image


@pytest.mark.simh
def test_simh_loads_the_tape_to_the_same_memory(tmp_path: Path) -> None:
    if shutil.which("pdp11") is None:
        pytest.skip("SIMH's pdp11 is not installed")
    words = [0o012700, 0o000042, 0, 0o123456, *range(600)]
    data = b"".join(word.to_bytes(2, "little") for word in words)
    files.write_file(tmp_path / "x.lda", lda.pack([(0o1000, data)], 0o1000))
    (tmp_path / "x.sym").write_text(labels.format_simh({"START": 0o1000}))
    (tmp_path / "x.do").write_text("set cpu 11/34\ndo x.sym\nload x.lda\n"
                                   f"ex -o 1000-{0o1000 + len(data) - 2:o}\nex pc\nquit\n")
    shown = subprocess.run(["pdp11", "x.do"], cwd=tmp_path, capture_output=True, text=True,
                           timeout=60, check=True).stdout
    memory = {int(a, 8): int(v, 8) for line in shown.splitlines()
              for a, colon, v in [line.partition(":")] if colon and a.isdigit()}
    assert [memory[0o1000 + 2 * n] for n in range(len(words))] == words
    assert "PC:\t001000" in shown
