"""The PDP-11's front panel and its teletype's paper."""
from anachron.emulators.pdp11 import panel

REGISTERS = {"pc": 0o001234, "r0": 0o177777}


def test_lamps_stand_in_groups_of_three_like_octal_digits() -> None:
    assert panel.lamps(0o052, 6, colours=False) == "●○● ○●○"
    assert panel.lamps(1, 16, colours=False) == "○ ○○○ ○○○ ○○○ ○○○ ○○●"


def test_panel_of_the_11_20_has_lamps_and_of_the_11_34a_digits() -> None:
    lamps = "\n".join(panel.draw("pdp11/20", REGISTERS, True, "", 24, colours=False))
    digits = "\n".join(panel.draw("pdp11/34a", REGISTERS, True, "", 24, colours=False))
    assert "ADDRESS  ○○○ ○○○ ○○● ○●○ ○●● ●○○" in lamps and "RUN ●" in lamps
    assert "001234" in digits and "177777" not in digits
    halted = "\n".join(panel.draw("pdp11/34a", REGISTERS, False, "", 24, colours=False))
    assert "177777" in halted and "RUN ○" in halted


def test_paper_shows_its_last_lines() -> None:
    lines = panel.draw("pdp11/34a", REGISTERS, True, "ONE\r\nTWO\r\nTHREE", 7, colours=False)
    assert len(lines) == 7 and [line.strip() for line in lines[-2:]] == ["TWO", "THREE"]


def test_carriage_return_prints_over_and_backspace_goes_back() -> None:
    assert panel.type_out("ABC\rX\nDE\bF") == ["XBC", "DF"]
