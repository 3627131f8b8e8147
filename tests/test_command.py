"""`anachron emulate`: what is printed, what is written, and the exit status."""
import json
import os
import pty
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from anachron.emulators.command import main, unescape
from anachron.emulators.containers import d64, labels, lda, prg

START = prg.BASIC_START + 12
# ldx #0 / lda text,x / jsr $ffd2 / inx / cpx #3 / bne / jsr $ffcf / cmp #13 / bne / rts / "HI?"
GREETER = bytes.fromhex("a200 bd2208 20d2ff e8 e003 d0f5 20cfff c90d d0f9 60") + b"HI?"
# Waits for the key H on the switches, interrupts off, then makes the border white:
# sei / lda #$f7 / sta $dc00 / lda $dc01 / and #$20 / bne / lda #1 / sta $d020 / jam
SCANNER = bytes.fromhex("78 a9f7 8d00dc ad01dc 2920 d0f9 a901 8d20d0 02")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, code in (("greeter", GREETER), ("scanner", SCANNER), ("jam", b"\x02")):
        content = prg.pack(prg.BASIC_START, prg.basic_stub(START) + code)
        (tmp_path / f"{name}.prg").write_bytes(content)
    (tmp_path / "greeter.lbl").write_text(labels.format_vice({"start": START}))
    # mov #text,r0 / movb (r0)+,r1 / beq / tstb @#177564 / bpl / movb r1,@#177566 / br / halt
    words = (0o012700, 0o1030, 0o112001, 0o001406, 0o105737, 0o177564, 0o100375, 0o110137,
             0o177566, 0o000770, 0, 0)
    code = struct.pack(f"<{len(words)}H", *words) + b"HELLO\r\n\0"
    (tmp_path / "hello.lda").write_bytes(lda.pack([(0o1000, code)], 0o1000))
    # tstb @#177560 / bpl / movb @#177562,r0 / tstb @#177564 / bpl / movb r0,@#177566 / br
    words = (0o105737, 0o177560, 0o100375, 0o113700, 0o177562, 0o105737, 0o177564, 0o100375,
             0o110037, 0o177566, 0o000765)
    code = struct.pack(f"<{len(words)}H", *words)
    (tmp_path / "echo.lda").write_bytes(lda.pack([(0o1000, code)], 0o1000))
    return tmp_path


def test_screen_is_printed_and_typed_at(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["greeter.prg", "--on", "c64", "--type", r"YES\n", "--screen"]) == 0
    shown = capsys.readouterr()
    assert "\nHI?YES\n" in shown.out
    assert shown.err.startswith("the program has ended; ")


def test_program_that_waits_for_ever_is_left(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["greeter.prg", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["stopped"] == "waits for input" and "HI?" in report["screen"]
    assert main(["greeter.prg", "--json", "--max-cycles", "3_000_000"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["stopped"].startswith("limit") and 0 <= report["cycles"] - 3_000_007 < 10


def test_program_that_scans_the_switches_is_typed_at(
        folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["scanner.prg", "--type", "H", "--max-cycles", "2000000", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["stopped"] == "JAM ($02) at $081F"


def test_program_that_polls_getin_is_left_when_nothing_is_typed(
        folder: Path, capsys: pytest.CaptureFixture) -> None:
    code = bytes.fromhex("20e4ff f0fb 60")  # jsr getin / beq / rts
    program = prg.pack(prg.BASIC_START, prg.basic_stub(START) + code)
    (folder / "poll.prg").write_bytes(program)
    for typed, reason in (("", "waits for input"), ("X", "the program has ended")):
        assert main(["poll.prg", "--type", typed, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["stopped"] == reason


def test_program_without_a_basic_line_is_started_at_its_first_byte(
        folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "high.prg").write_bytes(prg.pack(0xC000, bytes.fromhex("a92a 4cd2ff")))
    assert main(["high.prg", "--screen"]) == 0
    assert "SYS49152\n*\nREADY." in capsys.readouterr().out


def test_jam_is_a_failure(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["jam.prg"]) == 1
    assert "JAM ($02) at $080D" in capsys.readouterr().err


def test_disk_is_started_and_read_from(folder: Path, capsys: pytest.CaptureFixture) -> None:
    # jsr setlfs 1,8,1 / jsr setnam "B" / lda #0 / jsr load / rts; the name behind it
    code = bytes.fromhex("a901 a208 a001 20baff a901 a221 a008 20bdff a900 4cd5ff") + b"B"
    at = START + code.index(b"B")
    code = code.replace(b"\xa2\x21\xa0\x08", bytes([0xA2, at & 0xFF, 0xA0, at >> 8]))
    files = [("A", prg.pack(prg.BASIC_START, prg.basic_stub(START) + code)),
             ("B", prg.pack(0x0400 + 24 * 40, b"\x0c\x0f\x01\x04\x05\x04"))]
    (folder / "x.d64").write_bytes(d64.pack(files))
    assert main(["x.d64", "--screen"]) == 0
    assert capsys.readouterr().out.endswith("LOADED\n")


def test_picture_sound_and_profile_are_written(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["greeter.prg", "--png", "x.png", "--wav", "x.wav", "--profile"]) == 0
    assert (folder / "x.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "x.wav").read_bytes().startswith(b"RIFF")
    assert any(line.endswith(" start") for line in capsys.readouterr().out.splitlines())


def test_trace_shows_what_runs_between_two_places(
        folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["greeter.prg", "--trace", "start:0812", "--max-cycles", "1000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["LDX #$00", "LDA $0822,X"]


def test_console_is_printed_as_it_prints(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["hello.lda"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "HELLO\r\n" and shown.err.startswith("HALT at 001024")


@pytest.mark.parametrize("options", [[], ["--on", "pdp11/20"], ["--baud", "110"],
                                     ["--model", "dec", "--on", "pdp11/34a"]])
def test_console_is_typed_at(folder: Path, capsys: pytest.CaptureFixture,
                             options: list[str]) -> None:
    assert main(["echo.lda", "--type", "HEY", "--json", *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["console"], report["stopped"]) == ("HEY", "waits for input")


def test_teletype_takes_its_time(folder: Path, capsys: pytest.CaptureFixture) -> None:
    times = []
    for baud in ("110", "9600"):
        main(["echo.lda", "--type", "ABCDEFGH", "--json", "--baud", baud, "--max-cycles", "1e5"])
        times.append(json.loads(capsys.readouterr().out)["console"])
    assert len(times[0]) < len(times[1]) == 8


@pytest.mark.parametrize("arguments", [
    ["missing.prg"], ["greeter.prg", "--on", "vax"], ["hello.lda", "--on", "c64"],
    ["greeter.prg", "--on", "pdp11/20"], ["greeter.prg", "--tape", "x"],
    ["hello.lda", "--reu", "x"],
    ["greeter.prg", "--trace", "start"], ["greeter.prg", "--until", "nowhere"],
    ["greeter.prg", "--live", "fast"], ["greeter.prg", "--roms", "."],
    ["greeter.prg", "--reu", "hello.lda"], ["hello.lda", "--model", "guess"],
    ["greeter.prg", "--png", "no/such/folder.png"]])
def test_mistake_is_one_line_and_status_2(folder: Path, capsys: pytest.CaptureFixture,
                                          arguments: list[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("anachron emulate: ") and len(error) > 25


def test_basic_program_is_said_to_need_the_roms(folder: Path,
                                                capsys: pytest.CaptureFixture) -> None:
    line = b"\x0e\x08\x0a\x00\x99\"HELLO\"\0\0\0"
    (folder / "basic.prg").write_bytes(prg.pack(0x0801, line))
    assert main(["basic.prg"]) == 2
    assert "--roms" in capsys.readouterr().err


def test_escapes_are_replaced() -> None:
    assert unescape(r"A\nB\\n\t") == "A\nB\\n\t"


def test_live_screen_draws_takes_keys_and_gives_the_terminal_back(folder: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from anachron.emulators.command import main; "
         "sys.exit(main(sys.argv[1:]))", "greeter.prg", "--live", "max"],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "LINES": "30"})
    os.close(theirs)
    shown, typed = b"", False
    try:
        while chunk := _read(ours):
            shown += chunk
            if not typed and b"HI?" in shown:
                os.write(ours, b"yes\r")
                typed = True
    finally:
        if process.poll() is None and not typed:
            process.kill()
        os.close(ours)
    assert process.wait(timeout=30) == 0
    assert b"\x1b[?1049h" in shown and b"HI?YES" in shown and b"the program has ended" in shown
    assert shown.index(b"\x1b[?1049l") > shown.index(b"HI?")


def _read(handle: int) -> bytes:
    """What a pseudo-terminal has; nothing once its other side is closed."""
    try:
        return os.read(handle, 65536)
    except OSError:
        return b""
